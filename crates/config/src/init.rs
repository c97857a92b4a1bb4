//! The first config file, from what was found on the machine. Finding is the caller's business.
//!
//! Invariant: whatever was found, the text passes [`crate::check`]. What cannot stand in a file (an
//! address that is none, a model's name with control characters) is left out.

use std::fmt::Write as _;

use crate::address::{BaseUrl, Reach};
use crate::providers::{self, PROVIDERS, Provider};
use crate::reader::quote;

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Discovery {
    /// Environment variables of [`SERVICES`] that are set.
    pub keys: Vec<String>,
    /// Servers that answered.
    pub servers: Vec<FoundServer>,
}

/// A server that answered, one of the [`usual_servers`] or one that was named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundServer {
    /// Its provider's name.
    pub provider: String,
    /// Where it answered.
    pub base_url: String,
    /// The models that it lists.
    pub models: Vec<String>,
}

/// A cloud service that is known by the environment variable of its key.
#[derive(Debug)]
pub struct Service {
    /// Name for the upstream.
    pub name: &'static str,
    /// The environment variable.
    pub env: &'static str,
    /// Its provider's name.
    pub provider: &'static str,
    /// Its base URL, where the provider does not tell.
    pub base_url: Option<&'static str>,
    /// A model that it serves, for the example.
    pub model: &'static str,
}

/// The cloud services that are looked for, the likeliest first. Addresses and models are those of
/// the vendors' documentation.
pub const SERVICES: &[Service] = &[
    Service {
        name: "openai",
        env: "OPENAI_API_KEY",
        provider: "openai",
        base_url: None,
        model: "gpt-4o-mini",
    },
    Service {
        name: "anthropic",
        env: "ANTHROPIC_API_KEY",
        provider: "anthropic",
        base_url: None,
        model: "claude-haiku-4-5",
    },
    Service {
        name: "gemini",
        env: "GEMINI_API_KEY",
        provider: "gemini",
        base_url: None,
        model: "gemini-2.5-flash",
    },
    Service {
        name: "gemini",
        env: "GOOGLE_API_KEY",
        provider: "gemini",
        base_url: None,
        model: "gemini-2.5-flash",
    },
    Service {
        name: "openrouter",
        env: "OPENROUTER_API_KEY",
        provider: "openai-compatible",
        base_url: Some("https://openrouter.ai/api/v1"),
        model: "openai/gpt-4o-mini",
    },
    Service {
        name: "mistral",
        env: "MISTRAL_API_KEY",
        provider: "openai-compatible",
        base_url: Some("https://api.mistral.ai/v1"),
        model: "mistral-small-latest",
    },
    Service {
        name: "groq",
        env: "GROQ_API_KEY",
        provider: "openai-compatible",
        base_url: Some("https://api.groq.com/openai/v1"),
        model: "llama-3.3-70b-versatile",
    },
    Service {
        name: "deepseek",
        env: "DEEPSEEK_API_KEY",
        provider: "openai-compatible",
        base_url: Some("https://api.deepseek.com/v1"),
        model: "deepseek-chat",
    },
];

/// Self-hosted providers with the address each usually answers on.
pub fn usual_servers() -> impl Iterator<Item = (&'static Provider, BaseUrl)> {
    PROVIDERS.iter().filter_map(|provider| {
        let url = providers::base_url(provider, provider.default_base?).ok()?;
        provider.self_hosted.then_some((*provider, url))
    })
}

/// A server that is named as `PROVIDER=URL`, to be looked for there.
pub fn server_at(text: &str) -> Result<(&'static Provider, BaseUrl), String> {
    let (name, url) = text.split_once('=').ok_or("write PROVIDER=URL")?;
    let mut kinds = usual_servers().map(|(provider, _)| provider);
    let Some(provider) = kinds.find(|provider| provider.name == name) else {
        let known: Vec<_> = usual_servers().map(|(provider, _)| provider.name).collect();
        return Err(format!("{name:?} is none of {}", known.join(", ")));
    };
    let url = providers::base_url(provider, url)?;
    if url.is_tls() {
        return Err("only http:// is looked at; write an https:// upstream by hand".to_owned());
    }
    Ok((provider, url))
}

/// Models shown in a comment, per server.
const MODELS_SHOWN_MAX: usize = 20;

/// One upstream of the file to be.
struct Found {
    name: String,
    lines: Vec<String>,
    /// A model for the example, first what is sure to be there.
    models: Vec<String>,
}

/// The text of a first config file.
pub fn render_init(discovery: &Discovery) -> String {
    let mut upstreams: Vec<_> =
        SERVICES.iter().filter(|s| discovery.keys.iter().any(|k| k == s.env)).map(cloud).collect();
    // Google's key goes by two names; the first that is set is taken.
    upstreams.dedup_by(|later, first| later.name == first.name);
    let cloud_count = upstreams.len();
    let mut seen = Vec::new();
    for server in &discovery.servers {
        upstreams.extend(self_hosted(server, &mut seen));
    }
    let mut out = String::from(
        "# Written by `cutover init` from what was found here. Every key and its default:\n\
         # docs/reference/config.md. Check a change with `cutover check`.\n",
    );
    // Writing to a String cannot fail, here and below.
    match upstreams.first() {
        Some(first) => {
            let name = quote(&first.name);
            let _ = write!(
                out,
                "\n# Where requests go that no use case below matches, as they are.\n\
                 default_upstream = {name}\n"
            );
        }
        None => out.push_str(NOTHING_FOUND),
    }
    out.push_str(SERVER);
    for upstream in &upstreams {
        let _ = write!(out, "\n[upstreams.{}]\n{}\n", upstream.name, upstream.lines.join("\n"));
    }
    use_case(&mut out, &upstreams, cloud_count);
    out
}

const NOTHING_FOUND: &str = "\n# No key of a cloud service was found in the environment and no server on the usual ports, so\n\
     # requests are answered by the embedded engine: a small real model on the CPU.\n";

const SERVER: &str = "\n[server]\n\
    listen = \"127.0.0.1:4000\" # clients' base_url: http://127.0.0.1:4000/v1\n\
    # For other machines: listen on \"0.0.0.0:4000\", and give each client a key by `cutover key add`.\n";

fn cloud(service: &Service) -> Found {
    let mut lines = vec![format!("provider = {}", quote(service.provider))];
    if let Some(url) = service.base_url {
        lines.push(format!("base_url = {}", quote(url)));
    }
    lines.push(format!("key = {{ env = {} }}", quote(service.env)));
    Found { name: service.name.to_owned(), lines, models: vec![service.model.to_owned()] }
}

/// `None` for what cannot stand in a file, or was found before.
fn self_hosted(server: &FoundServer, seen: &mut Vec<(String, BaseUrl)>) -> Option<Found> {
    let provider = PROVIDERS.iter().find(|p| p.name == server.provider)?;
    if providers::is_embedded(provider) {
        return None;
    }
    let url = providers::base_url(provider, &server.base_url).ok()?;
    if seen.iter().any(|(_, other)| *other == url) {
        return None;
    }
    let same = seen.iter().filter(|(name, _)| name == provider.name).count();
    seen.push((provider.name.to_owned(), url.clone()));
    // Of another machine only its owner can say what it may see.
    let here = url.reach() == Reach::Loopback;
    let name = format!("{}{}", if here { "local-" } else { "" }, provider.name);
    let name = if same == 0 { name } else { format!("{name}-{}", same + 1) };
    let local = if here { "" } else { "# is the machine your own? Then say so: " };
    let mut models: Vec<_> = server.models.iter().filter(|m| is_usable(m)).cloned().collect();
    // The example is about chat; stable, so that the server's own order holds otherwise.
    models.sort_by_key(|model| is_for_embeddings(model));
    let mut lines = vec![
        format!("provider = {}", quote(provider.name)),
        format!("base_url = {}", quote(&url.to_string())),
        format!("{local}local = true # may see data that must not leave your own machines"),
    ];
    lines.extend(models.iter().take(MODELS_SHOWN_MAX).map(|m| format!("# serves {m}")));
    if let Some(more @ 1..) = models.len().checked_sub(MODELS_SHOWN_MAX) {
        lines.push(format!("# and {more} more"));
    }
    Some(Found { name, lines, models })
}

/// Whether a model's name says that it makes embeddings.
fn is_for_embeddings(model: &str) -> bool {
    let model = model.to_ascii_lowercase();
    ["embed", "minilm", "bge-", "e5-"].iter().any(|word| model.contains(word))
}

/// Whether a model's name can stand in a file, also in a comment.
fn is_usable(model: &str) -> bool {
    !model.trim().is_empty() && model.len() <= 256 && !model.chars().any(char::is_control)
}

/// The example: a real use case if two models are known, else one to fill in.
fn use_case(out: &mut String, upstreams: &[Found], cloud_count: usize) {
    let models = |of: &'_ [Found]| -> Vec<(String, String)> {
        of.iter().flat_map(|u| u.models.iter().map(|m| (u.name.clone(), m.clone()))).collect()
    };
    let (cloud, own) = upstreams.split_at(cloud_count.min(upstreams.len()));
    let (cloud, own) = (models(cloud), models(own));
    let pair = match (cloud.as_slice(), own.as_slice()) {
        ([baseline, ..], [candidate, ..]) | ([], [baseline, candidate, ..]) => {
            Some((baseline, candidate))
        }
        _ => None,
    };
    let Some((baseline, candidate)) = pair else {
        out.push_str(USE_CASE_TO_FILL_IN);
        return;
    };
    let _ = write!(
        out,
        "\n# A use case moves from its baseline to its candidate as one unit. This one takes only\n\
         # requests with the header `x-use-case: example`, and all of them go to the baseline until\n\
         # you move the weight: `cutover weight example 5%`. Undo: `cutover rollback example`.\n\
         [variants.today]\nupstream = {}\nmodel = {}\n\n\
         [variants.candidate]\nupstream = {}\nmodel = {}\n\n\
         [use_cases.example]\nmatch = {{ header = {{ x-use-case = \"example\" }} }}\n\
         unit = \"user\" # who stays on one side: here the request's `user` field\n\
         baseline = \"today\"\ncandidate = \"candidate\"\n",
        quote(&baseline.0),
        quote(&baseline.1),
        quote(&candidate.0),
        quote(&candidate.1),
    );
}

const USE_CASE_TO_FILL_IN: &str = "\n# A use case moves from its baseline to its candidate as one unit. Fill in and uncomment:\n\
    # [upstreams.own]\n# provider = \"ollama\"\n# base_url = \"http://127.0.0.1:11434\"\n# local = true\n\
    #\n\
    # [variants.today]\n# upstream = \"openai\"\n# model = \"gpt-4o-mini\"\n\
    #\n\
    # [variants.candidate]\n# upstream = \"own\"\n# model = \"qwen2.5:7b\"\n\
    #\n\
    # [use_cases.example]\n# match = { header = { x-use-case = \"example\" } }\n# unit = \"user\"\n\
    # baseline = \"today\"\n# candidate = \"candidate\"\n";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check;
    use proptest::prelude::*;

    fn accepted(text: &str) -> crate::Checked {
        let set = |_: &str| Some("x".to_owned());
        check(text, "cutover.toml", &set).unwrap_or_else(|problems| panic!("{problems:?}\n{text}"))
    }

    fn ollama(models: &[&str]) -> FoundServer {
        FoundServer {
            provider: "ollama".into(),
            base_url: "http://127.0.0.1:11434".into(),
            models: models.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn nothing_found_is_served_by_the_embedded_engine() {
        let checked = accepted(&render_init(&Discovery::default()));
        assert_eq!(checked.default_upstream().provider.name, "embedded");
    }

    #[test]
    fn a_key_and_a_local_server_give_a_use_case_that_changes_nothing_yet() {
        let discovery = Discovery {
            keys: vec!["OPENAI_API_KEY".into()],
            servers: vec![ollama(&["nomic-embed-text", "qwen2.5:7b"])],
        };
        let text = render_init(&discovery);
        let checked = accepted(&text);
        assert_eq!(checked.default_upstream().name.as_str(), "openai");
        assert_eq!(checked.use_cases[0].weight, cutover_units::WeightBp::NONE);
        assert_eq!(checked.warnings, []);
        crate::tests::snapshot("init", &text);
    }

    #[test]
    fn only_a_server_on_this_machine_is_local_by_itself() {
        let at = |base_url: &str| FoundServer { base_url: base_url.into(), ..ollama(&["m"]) };
        for (url, local) in [
            ("http://127.0.0.1:1", true),
            ("http://localhost:1", true),
            ("http://[::1]:1", true),
            ("http://gpu-1:11434", false),
            ("http://192.168.1.7:11434", false),
            ("http://rented.example:11434", false),
        ] {
            let text = render_init(&Discovery { keys: Vec::new(), servers: vec![at(url)] });
            let checked = accepted(&text);
            let upstream = checked.default_upstream();
            assert_eq!(
                (upstream.local, upstream.name.as_str()),
                (local, if local { "local-ollama" } else { "ollama" }),
                "{url}"
            );
            // One line to take the sign from.
            let said = text.replace("# is the machine your own? Then say so: ", "");
            assert!(accepted(&said).default_upstream().local, "{url}");
        }
        let both = vec![at("http://127.0.0.1:1"), at("http://gpu-1:1"), at("http://gpu-2:1")];
        let checked = accepted(&render_init(&Discovery { keys: Vec::new(), servers: both }));
        let mut names: Vec<_> = checked.upstreams.iter().map(|u| u.name.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, ["local-ollama", "ollama-2", "ollama-3"]);
    }

    #[test]
    fn vendors_of_other_dialects_are_found_once_by_whichever_name_their_key_has() {
        for keys in [
            &["ANTHROPIC_API_KEY"][..],
            &["GEMINI_API_KEY"],
            &["GOOGLE_API_KEY"],
            &["GEMINI_API_KEY", "GOOGLE_API_KEY"],
        ] {
            let keys: Vec<_> = keys.iter().map(ToString::to_string).collect();
            let text = render_init(&Discovery { keys: keys.clone(), ..Discovery::default() });
            assert!(text.contains(&format!("key = {{ env = \"{}\" }}", keys[0])), "{text}");
            let name = if keys[0].starts_with('A') { "anthropic" } else { "gemini" };
            assert_eq!(accepted(&text).default_upstream().name.as_str(), name);
            assert_eq!(accepted(&text).upstreams.len(), 1, "{text}");
        }
    }

    #[test]
    fn a_server_is_named_by_its_provider_and_its_address() {
        let named = |text: &str| server_at(text).map(|(p, url)| format!("{} {url}", p.name));
        assert_eq!(named("vllm=http://gpu-1:8001").unwrap(), "vllm http://gpu-1:8001/v1");
        assert_eq!(named("ollama=http://[::1]:1").unwrap(), "ollama http://[::1]:1");
        for (wrong, part) in [
            ("http://gpu-1:8001", "PROVIDER=URL"),
            ("openai=http://gpu-1", "is none of"),
            ("embedded=http://gpu-1", "is none of"),
            ("ollama=gpu-1", "http"),
            ("ollama=https://gpu-1", "only http://"),
        ] {
            let told = named(wrong).unwrap_err();
            assert!(told.contains(part), "{wrong}: {told}");
        }
    }

    #[test]
    fn the_use_case_to_fill_in_is_valid_once_uncommented() {
        let text =
            render_init(&Discovery { keys: vec!["OPENAI_API_KEY".into()], ..Discovery::default() });
        let at = text.find("Fill in and uncomment").expect("the example is there");
        let (head, example) = text.split_at(at);
        let lines: Vec<_> =
            example.lines().skip(1).map(|l| l.trim_start_matches("# ").trim_matches('#')).collect();
        let checked = accepted(&format!("{head}\n{}", lines.join("\n")));
        assert_eq!(checked.use_cases.len(), 1);
    }

    proptest! {
        #[test]
        fn whatever_was_found_the_file_is_valid(
            keys in proptest::sample::subsequence(
                SERVICES.iter().map(|s| s.env.to_owned()).collect::<Vec<_>>(), 0..=SERVICES.len()),
            servers in proptest::collection::vec((
                proptest::sample::select(vec!["ollama", "vllm", "llamacpp", "embedded", "other"]),
                "(http://[a-z]{1,3}(:[0-9]{1,5})?(/v1|/api)?|.{0,12})",
                proptest::collection::vec(".{0,12}", 0..30),
            ), 0..6),
        ) {
            let servers = servers.into_iter().map(|(provider, base_url, models)| FoundServer {
                provider: provider.to_owned(),
                base_url,
                models,
            });
            accepted(&render_init(&Discovery { keys, servers: servers.collect() }));
        }
    }
}
