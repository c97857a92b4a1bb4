//! The full form of a checked file: every default written out, one spelling for everything. What
//! `cutover check` prints, and what the digest is taken over.

mod adaptation;
mod failover;
mod loading;
mod numbers;
mod overflow;
mod resolve;
mod rollouts;
mod surface;

use std::fmt::{Display, Write as _};
use std::path::Path;
use std::time::Duration;

use cutover_units::hex;
use sha2::{Digest, Sha256};

use crate::checked::{
    Admin, Checked, ClientKeys, KeepAlive, Log, OllamaSettings, Server, State, SystemPrompt, Unit,
    Upstream, UseCase, Variant,
};
use crate::providers;
use crate::quantity::{print_duration, print_price, print_size};
use crate::reader::{bare_or_quoted, quote};
use crate::secret::{HeaderValue, SecretRef, UpstreamKey};

pub use rollouts::render_rollout;

impl Checked {
    /// The full form. Checking it gives this value again (warnings aside, which carry positions).
    pub fn to_toml(&self) -> String {
        let mut out = Toml(String::new());
        out.text("default_upstream", self.default_upstream().name.as_str());
        out.server(&self.server);
        out.admin(&self.admin);
        out.state(&self.state);
        out.log(&self.log);
        out.surface(self, &self.surface);
        out.images(&self.images);
        out.prices(&self.prices);
        out.hardware(&self.hardware);
        for upstream in &self.upstreams {
            out.upstream(upstream);
        }
        for variant in &self.variants {
            self.variant(&mut out, variant);
        }
        for use_case in &self.use_cases {
            self.use_case(&mut out, use_case);
        }
        for webhook in &self.webhooks {
            out.webhook(webhook);
        }
        out.0
    }

    /// SHA-256 of the full form in hexadecimal: equal for files that mean the same.
    pub fn digest(&self) -> String {
        hex(&Sha256::digest(self.to_toml().as_bytes()))
    }

    fn variant(&self, out: &mut Toml, variant: &Variant) {
        out.table("variants", variant.name.as_str());
        out.text("upstream", self.upstreams[variant.upstream].name.as_str());
        out.text("model", &variant.model);
        match &variant.system_prompt {
            Some(SystemPrompt::Text(text)) => out.text("system_prompt", text),
            Some(SystemPrompt::File(path)) => {
                out.line("system_prompt", format!("{{ file = {} }}", quote_path(path)));
            }
            None => {}
        }
        out.adaptation(&variant.adaptation);
        // Debug keeps the point that makes a TOML float one.
        out.optional("temperature", variant.temperature.map(|t| format!("{t:?}")));
        out.optional("top_p", variant.top_p.map(|p| format!("{p:?}")));
        out.optional("max_tokens", variant.max_tokens);
        out.optional("seed", variant.seed);
        out.text("unsupported", variant.unsupported.as_str());
        out.optional("tools", variant.tools);
        out.optional("images", variant.images);
        out.optional("prefill", variant.prefill);
        if variant.ollama != OllamaSettings::default()
            || self.upstreams[variant.upstream].provider.name == "ollama"
        {
            out.line("warm", variant.warm);
            out.line("ollama", ollama(&variant.ollama));
        }
        if let Some(price) = &variant.price {
            let inner = format!(
                "{{ input_usd_per_mtok = \"{}\", cached_input_usd_per_mtok = \"{}\", \
                 output_usd_per_mtok = \"{}\" }}",
                print_price(price.input_nano_usd_per_mtok),
                print_price(price.cached_input_nano_usd_per_mtok),
                print_price(price.output_nano_usd_per_mtok),
            );
            out.line("price", inner);
        }
    }

    fn use_case(&self, out: &mut Toml, use_case: &UseCase) {
        out.table("use_cases", use_case.name.as_str());
        out.line("match", matches(use_case));
        let unit = match &use_case.unit {
            Unit::Header(name) => format!("{{ header = {} }}", quote(name)),
            Unit::Metadata(name) => format!("{{ metadata = {} }}", quote(name)),
            Unit::User => quote("user"),
            Unit::Key => quote("key"),
            Unit::Request => quote("request"),
        };
        out.line("unit", unit);
        out.text("baseline", self.variants[use_case.baseline].name.as_str());
        if let Some(candidate) = use_case.candidate {
            out.text("candidate", self.variants[candidate].name.as_str());
        }
        out.text("weight", &use_case.weight.to_string());
        out.line("pilot", list(&use_case.pilot));
        out.line("excluded", list(&use_case.excluded));
        out.text("salt", &use_case.salt);
        out.line("failover", use_case.failover);
        out.endurance(&use_case.endurance);
        out.text("cold", use_case.cold.as_str());
        out.line("priority_hint", use_case.priority_hint);
        if let Some(smoothing) = &use_case.smoothing {
            let inner = format!(
                "{{ interval = \"{}\", max_delay = \"{}\" }}",
                print_duration(smoothing.interval),
                print_duration(smoothing.delay_max)
            );
            out.line("smoothing", inner);
        }
        out.overflow(use_case.overflow.as_ref());
        out.text("priority_class", if use_case.batch { "batch" } else { "interactive" });
        out.text("residency", if use_case.local_only { "local-only" } else { "any" });
        out.migration(use_case);
    }
}

/// TOML being written. Writing to a String cannot fail, so results of `write!` are dropped.
struct Toml(String);

impl Toml {
    fn table(&mut self, section: &str, name: &str) {
        let _ = write!(self.0, "\n[{section}.{}]\n", bare_or_quoted(name));
    }

    fn section(&mut self, name: &str) {
        let _ = write!(self.0, "\n[{name}]\n");
    }

    fn line(&mut self, key: &str, value: impl Display) {
        let _ = writeln!(self.0, "{key} = {value}");
    }

    fn optional(&mut self, key: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.line(key, value);
        }
    }

    fn text(&mut self, key: &str, value: &str) {
        self.line(key, quote(value));
    }

    fn duration(&mut self, key: &str, value: Duration) {
        self.text(key, &print_duration(value));
    }

    fn size(&mut self, key: &str, bytes: u64) {
        self.text(key, &print_size(bytes));
    }

    fn server(&mut self, server: &Server) {
        self.section("server");
        self.text("listen", &server.listen.to_string());
        let keys = match server.keys {
            ClientKeys::Required => "required",
            ClientKeys::Off => "off",
        };
        self.text("keys", keys);
        self.size("body_limit", server.body_limit_bytes);
        self.size("body_memory", server.body_memory_bytes);
        self.size("header_limit", server.header_limit_bytes);
        self.line("header_count", server.header_count_max);
        self.duration("header_timeout", server.header_timeout);
        self.duration("idle_timeout", server.idle_timeout);
        self.duration("body_timeout", server.body_timeout);
        self.duration("drain_timeout", server.drain_timeout);
        self.duration("keep_alive_interval", server.keep_alive_interval);
        self.line("max_connections", server.connections_max);
        self.optional("workers", server.workers);
    }

    fn admin(&mut self, admin: &Admin) {
        self.section("admin");
        self.text("listen", &admin.listen.to_string());
        self.optional("token", admin.token.as_ref().map(secret));
        for operator in &admin.operators {
            self.section(&format!("admin.operators.{}", bare_or_quoted(&operator.name)));
            self.line("token", secret(&operator.token));
        }
    }

    fn state(&mut self, state: &State) {
        self.section("state");
        self.optional("directory", state.directory.as_deref().map(quote_path));
        self.duration("retention", state.retention);
        self.line("records", state.records);
        self.line("responses", state.responses);
        self.duration("responses_retention", state.responses_retention);
    }

    fn log(&mut self, log: &Log) {
        self.section("log");
        self.text("level", log.level.as_str());
        self.text("format", log.format.as_str());
        self.line("access", log.access);
        self.duration("slow", log.slow);
        self.text("upstream_messages", log.upstream_messages.as_str());
    }

    fn probing(&mut self, upstream: &Upstream) {
        if upstream.provider.probes.is_empty() {
            return;
        }
        self.line("probes", upstream.probing.is_some());
        if let Some(probing) = &upstream.probing {
            self.duration("probe_interval", probing.every);
            self.line("waiting_limit", probing.waiting_limit);
        }
    }

    fn upstream(&mut self, upstream: &Upstream) {
        self.table("upstreams", upstream.name.as_str());
        self.text("provider", upstream.provider.name);
        if let Some(embedded) = &upstream.embedded {
            self.text("model", &embedded.model);
            self.text("quantization", embedded.quantization.as_str());
            self.line("slots", embedded.slots);
            self.optional("context", embedded.context_tokens);
        } else {
            let urls: Vec<_> = upstream.instances.iter().map(ToString::to_string).collect();
            self.line("instances", list(&urls));
            self.resolve(upstream.resolve.as_ref());
            self.text("balance", upstream.balance.name);
            self.probing(upstream);
            self.loading(upstream.loading);
            let key = match &upstream.key {
                UpstreamKey::None => quote("none"),
                UpstreamKey::Client => quote("client"),
                UpstreamKey::Secret(reference) => secret(reference),
            };
            self.line("key", key);
            self.line("headers", headers(&upstream.headers));
            self.duration("connect_timeout", upstream.timeouts.connect);
            self.line("max_connections", upstream.connections_max);
            if providers::has_stream_options(upstream.provider) {
                self.text("stream_usage", upstream.stream_usage.as_str());
            }
            if providers::may_speak_responses(upstream.provider) {
                self.line("responses", upstream.responses);
            }
            self.optional("ca_file", upstream.ca_file.as_deref().map(quote_path));
            self.line("models", list(&upstream.models));
        }
        self.queue(upstream.queue.as_ref());
        self.line("local", upstream.local);
        self.duration("first_token_timeout", upstream.timeouts.first_token);
        self.duration("first_byte_timeout", upstream.timeouts.first_byte);
        self.duration("idle_timeout", upstream.timeouts.idle);
        self.duration("total_timeout", upstream.timeouts.total);
        self.text("image_urls", upstream.image_urls.as_str());
        self.retries(&upstream.retries);
        self.line("cancel_on_disconnect", upstream.cancel_on_disconnect);
        self.size("answer_limit", upstream.answer_limit_bytes);
        self.size("event_limit", upstream.event_limit_bytes);
    }
}

fn quote_path(path: &Path) -> String {
    // Paths come from the file's own text, so they are UTF-8.
    quote(&path.to_string_lossy())
}

fn secret(reference: &SecretRef) -> String {
    let place = match reference {
        SecretRef::Env { name, .. } => format!("env = {}", quote(name)),
        SecretRef::File { path, .. } => format!("file = {}", quote_path(path)),
    };
    format!("{{ {place}, optional = {} }}", reference.is_optional())
}

fn list(texts: &[String]) -> String {
    let texts: Vec<_> = texts.iter().map(|text| quote(text)).collect();
    format!("[{}]", texts.join(", "))
}

fn inline(entries: &[(String, String)]) -> String {
    if entries.is_empty() {
        return "{}".to_owned();
    }
    let entries: Vec<_> =
        entries.iter().map(|(key, value)| format!("{} = {value}", bare_or_quoted(key))).collect();
    format!("{{ {} }}", entries.join(", "))
}

fn texts(entries: &[(String, String)]) -> String {
    let quoted: Vec<_> = entries.iter().map(|(key, text)| (key.clone(), quote(text))).collect();
    inline(&quoted)
}

fn headers(headers: &[(String, HeaderValue)]) -> String {
    let written: Vec<_> = headers
        .iter()
        .map(|(name, value)| match value {
            HeaderValue::Text(text) => (name.clone(), quote(text)),
            HeaderValue::Secret(reference) => (name.clone(), secret(reference)),
        })
        .collect();
    inline(&written)
}

pub(crate) fn ollama(settings: &OllamaSettings) -> String {
    let mut entries = Vec::new();
    if let Some(tokens) = settings.num_ctx {
        entries.push(("num_ctx".to_owned(), tokens.to_string()));
    }
    if let Some(keep_alive) = settings.keep_alive {
        let text = match keep_alive {
            KeepAlive::For(duration) => print_duration(duration),
            KeepAlive::Forever => "forever".to_owned(),
        };
        entries.push(("keep_alive".to_owned(), quote(&text)));
    }
    if let Some(think) = settings.think {
        entries.push(("think".to_owned(), quote(think.as_str())));
    }
    entries.push(("truncate".to_owned(), settings.truncate.to_string()));
    let template = settings.completions_use_template.to_string();
    entries.push(("completions_use_template".to_owned(), template));
    inline(&entries)
}

fn matches(use_case: &UseCase) -> String {
    let mut entries = Vec::new();
    let matches = &use_case.matches;
    if !matches.headers.is_empty() {
        entries.push(("header".to_owned(), texts(&matches.headers)));
    }
    if let Some(key) = &matches.key {
        entries.push(("key".to_owned(), quote(key)));
    }
    if !matches.metadata.is_empty() {
        entries.push(("metadata".to_owned(), texts(&matches.metadata)));
    }
    if let Some(model) = &matches.model {
        entries.push(("model".to_owned(), quote(model)));
    }
    inline(&entries)
}
