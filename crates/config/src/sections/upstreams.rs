//! `[upstreams.NAME]`.

use cutover_route::balance::{self, Policy};
use cutover_units::UpstreamName;

use crate::address::{BaseUrl, Reach};
use crate::checked::{
    ClientKeys, Embedded, Probing, Quantization, StreamUsage, Timeouts, Upstream,
};
use crate::failover;
use crate::loading;
use crate::overflow;
use crate::providers::{self, Provider};
use crate::reader::{Context, NamedTable, Table, Value, Weight};
use crate::resolve;
use crate::secret::{SecretRef, UpstreamKey};
use crate::sections::{Keys, shapes, surface};
use crate::values::{self, Wrong};

/// Model of the embedded engine unless the file names one.
const EMBEDDED_MODEL: &str = "smollm2-135m-instruct";

/// Most instances of one upstream.
const INSTANCES_MAX: usize = balance::INSTANCES_MAX;

/// The upstream of a file that has none: the embedded engine, read from an empty table so that its
/// defaults come from the same rows as everyone's.
pub(crate) fn embedded_default() -> Option<Upstream> {
    let text = "[upstreams.embedded]\nprovider = \"embedded\"\n";
    let parsed = toml::de::DeTable::parse(text).ok()?;
    let context = Context::new("", text, &|_| None);
    let tables = Table::root(&context, parsed.get_ref()).named("upstreams");
    read(tables.first()?, None)
}

pub(crate) fn read(entry: &NamedTable<'_>, keys: Keys) -> Option<Upstream> {
    let table = &entry.table;
    let name = match UpstreamName::new(entry.name) {
        Ok(name) => Some(name),
        Err(why) => {
            table.note_self(Weight::Wrong, Wrong::new(why.to_string()));
            None
        }
    };
    let provider = provider(entry);
    // Everything is read before anything is given up, so that all problems show at once.
    let timeouts = timeouts(table);
    let retries = failover::retries(table);
    let loading = loading::loading(table, provider);
    let queue = table.given_child("queue").map(|table| overflow::queue(&table));
    let headers = shapes::headers(table, "headers");
    let key = shapes::upstream_key(table, "key");
    let local = table.read("local", values::boolean);
    let cancel_on_disconnect = table.read("cancel_on_disconnect", values::boolean);
    let connections_max = table.read("max_connections", values::count);
    let answer_limit_bytes = table.read("answer_limit", values::size);
    let event_limit_bytes = table.read("event_limit", values::size);
    let stream_usage = table.read("stream_usage", values::choice);
    let responses = table.read("responses", values::boolean);
    let balance = table.read("balance", values::choice).and_then(Policy::by_name);
    let image_urls = surface::image_urls(table);
    let probing = probing(table);
    let resolve = resolve::resolve(table);
    let ca_file = table.read("ca_file", values::path);
    let models = table.read_set("models", values::text);
    let embedded = embedded(table);

    let provider = provider?;
    refuse_what_is_of_others(table, provider);
    let instances = if providers::is_embedded(provider) {
        Some(Vec::new())
    } else {
        instances(table, provider)
    };
    let key = key.unwrap_or_else(|| default_key(provider));
    refuse_own_bearer(table, &key, keys);
    let instances = instances?;
    let upstream = Upstream {
        name: name?,
        provider,
        image_urls: image_urls?.unwrap_or_else(|| surface::usual_image_urls(provider, &instances)),
        instances,
        resolve: resolve?,
        balance: balance.unwrap_or_else(|| providers::usual_policy(provider)),
        probing: probing?.filter(|_| !provider.probes.is_empty()),
        key,
        headers,
        local: local.unwrap_or(providers::is_embedded(provider)),
        timeouts: timeouts?,
        loading,
        queue: queue.map_or(Some(None), |queue| queue.map(Some))?,
        retries: retries?,
        cancel_on_disconnect: cancel_on_disconnect?,
        connections_max: connections_max?,
        answer_limit_bytes: answer_limit_bytes?,
        event_limit_bytes: event_limit_bytes?,
        stream_usage: StreamUsage::from_word(stream_usage?)?,
        responses: responses.unwrap_or(providers::speaks_responses(provider)),
        ca_file,
        models: models?,
        embedded: providers::is_embedded(provider).then_some(embedded?),
    };
    resolve::check(table, &upstream);
    warn_of_reach(table, &upstream);
    loading::warn_of_idle(table, &upstream);
    surface::warn_of_passing(table, &upstream);
    Some(upstream)
}

/// What clients show to us is nothing for others.
fn refuse_own_bearer(table: &Table<'_>, key: &UpstreamKey, keys: Keys) {
    if *key == UpstreamKey::Client && keys == Some(ClientKeys::Required) {
        let message =
            "a client's bearer is a key of cutover's own while server.keys = \"required\"";
        table.conflict("key", message, Some("use { env = \"NAME\" }".to_owned()));
    }
}

/// Keys that mean nothing for this provider.
fn refuse_what_is_of_others(table: &Table<'_>, provider: &Provider) {
    let is_embedded = providers::is_embedded(provider);
    if is_embedded {
        refuse_all(table, NOT_FOR_EMBEDDED, "does not apply to provider embedded");
    } else {
        refuse_all(table, ONLY_FOR_EMBEDDED, "applies to provider embedded only");
    }
    if !providers::has_stream_options(provider) {
        let why = format!("does not apply to provider {}", provider.name);
        refuse_all(table, &["stream_usage"], &why);
    }
    if !providers::may_speak_responses(provider) {
        let why = format!(
            "does not apply to provider {}, whose clients of Responses are answered by way of chat completions",
            provider.name
        );
        refuse_all(table, &["responses"], &why);
    }
    if provider.probes.is_empty() && !is_embedded {
        let why = format!("provider {} has no pages that tell how it is", provider.name);
        refuse_all(table, PROBE_KEYS, &why);
    }
}

fn provider(entry: &NamedTable<'_>) -> Option<&'static Provider> {
    if entry.table.given("provider").is_none() && Provider::by_name(entry.name).is_some() {
        let hint = format!("add provider = {:?}", entry.name);
        entry.table.conflict("provider", "required, but not given", Some(hint));
        return None;
    }
    Provider::by_name(entry.table.read("provider", values::choice)?)
}

fn timeouts(table: &Table<'_>) -> Option<Timeouts> {
    let connect = table.read("connect_timeout", values::duration);
    let first_token = table.read("first_token_timeout", values::duration);
    let idle = table.read("idle_timeout", values::duration);
    let total = table.read("total_timeout", values::duration);
    let first_byte = table.read("first_byte_timeout", values::duration);
    let timeouts = Timeouts {
        connect: connect?,
        first_token: first_token?,
        first_byte: first_byte.or(total)?,
        idle: idle?,
        total: total?,
    };
    if timeouts.total < timeouts.first_byte {
        table.warn(
            "first_byte_timeout",
            "longer than total_timeout, so it never ends a request",
            None,
        );
    }
    if timeouts.total < timeouts.first_token && table.given("first_token_timeout").is_some() {
        table.warn(
            "first_token_timeout",
            "longer than total_timeout, so it never ends a request",
            None,
        );
    }
    Some(timeouts)
}

const ONLY_FOR_EMBEDDED: &[&str] = &["model", "quantization", "slots", "context"];

const NOT_FOR_EMBEDDED: &[&str] = &[
    "base_url",
    "instances",
    "resolve",
    "name_server",
    "in_flight_limit",
    "balance",
    "probes",
    "probe_interval",
    "waiting_limit",
    "key",
    "headers",
    "connect_timeout",
    "max_connections",
    "ca_file",
    "models",
];

const PROBE_KEYS: &[&str] = &["probes", "probe_interval", "waiting_limit"];

/// Some(None): they are switched off.
#[expect(
    clippy::option_option,
    reason = "the outer is whether the file is right, as everywhere here"
)]
fn probing(table: &Table<'_>) -> Option<Option<Probing>> {
    let wanted = table.read("probes", values::boolean);
    let every = table.read("probe_interval", values::duration);
    let waiting_limit = table.read("waiting_limit", values::count);
    let probing = Probing { every: every?, waiting_limit: waiting_limit? };
    Some(wanted?.then_some(probing))
}

fn refuse_all(table: &Table<'_>, keys: &[&'static str], why: &str) {
    for &key in keys {
        if table.given(key).is_some() {
            table.wrong(key, why, None);
        }
    }
}

fn embedded(table: &Table<'_>) -> Option<Embedded> {
    let model = table.read("model", values::text);
    let quantization = table.read("quantization", values::choice);
    let slots = table.read("slots", values::count);
    let context_tokens = table.read("context", values::count);
    Some(Embedded {
        model: model.unwrap_or_else(|| EMBEDDED_MODEL.to_owned()),
        quantization: quantization.map_or(Some(Quantization::Q8_0), Quantization::from_word)?,
        slots: slots.unwrap_or(1),
        context_tokens,
    })
}

fn default_key(provider: &Provider) -> UpstreamKey {
    match provider.key_env {
        Some(name) => UpstreamKey::Secret(SecretRef::Env { name: name.to_owned(), optional: true }),
        None => UpstreamKey::None,
    }
}

fn instances(table: &Table<'_>, provider: &Provider) -> Option<Vec<BaseUrl>> {
    let url = |text: &str| providers::base_url(provider, text);
    let one = |value: &Value<'_>, kind: &crate::fields::Kind| {
        values::text(value, kind).and_then(|text| url(&text).map_err(Wrong::new))
    };
    let given = (table.given("base_url").is_some(), table.given("instances").is_some());
    let single = table.read("base_url", one);
    let several = table.read_set("instances", one);
    match given {
        (true, true) => {
            table.wrong("instances", "give either base_url or instances, not both", None);
            None
        }
        (true, false) => single.map(|url| vec![url]),
        (false, true) => several.filter(|urls| is_good_count(table, urls.len())),
        (false, false) => {
            let Some(address) = provider.default_base else {
                table.missing("base_url");
                return None;
            };
            url(address).ok().map(|url| vec![url])
        }
    }
}

fn is_good_count(table: &Table<'_>, count: usize) -> bool {
    let message = match count {
        0 => "expected at least one URL".to_owned(),
        1..=INSTANCES_MAX => return true,
        _ => format!("expected at most {INSTANCES_MAX} URLs"),
    };
    table.wrong("instances", message, None);
    false
}

fn warn_of_reach(table: &Table<'_>, upstream: &Upstream) {
    let key = if table.given("instances").is_some() { "instances" } else { "base_url" };
    let public = || upstream.instances.iter().filter(|url| url.reach() == Reach::Public);
    if let Some(url) = public().find(|url| !url.is_tls()) {
        let what = match upstream.key {
            UpstreamKey::None => "prompts and answers",
            UpstreamKey::Client | UpstreamKey::Secret(_) => "the key, prompts and answers",
        };
        let message = format!("{what} travel unencrypted to {}", url.host());
        table.warn(key, message, Some("use https://".to_owned()));
    }
    if upstream.local
        && let Some(url) = public().next()
    {
        let message = format!("{} is not on a private network", url.host());
        table.warn("local", message, Some("local = true lets it see local-only data".to_owned()));
    }
}
