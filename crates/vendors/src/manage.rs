//! Models on an engine's disk and in its memory: what is asked to list, fetch, load and remove them, and
//! what the answers mean.
//!
//! Ollama alone manages models over its API. Engines of OpenAI's dialect list what they were started
//! with.

use memchr::memmem;
use serde::Deserialize;
use serde_json::{Value, json};

use cutover_wire::OllamaSettings;
use cutover_wire::openai::models::{Listed, read_list};
use cutover_wire::providers::{Dialect, Provider};

/// What is done with a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// Tells which there are.
    List,
    /// Tells of one.
    Show,
    /// Fetches one from its registry.
    Pull,
    /// Removes one from the disk.
    Remove,
    /// Reads one into memory.
    Warm,
}

impl Deed {
    /// The word on the command line and in the admin API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Show => "show",
            Self::Pull => "pull",
            Self::Remove => "remove",
            Self::Warm => "warm",
        }
    }

    /// The deed of a word.
    pub fn from_word(word: &str) -> Option<Self> {
        let all = [Self::List, Self::Show, Self::Pull, Self::Remove, Self::Warm];
        all.into_iter().find(|deed| deed.as_str() == word)
    }

    /// Whether it takes minutes, or as long as an engine likes. What reads, and what removes, ends within seconds.
    pub fn lasts(self) -> bool {
        matches!(self, Self::Pull | Self::Warm)
    }

    /// Whether the engines of a provider do it over their API.
    pub fn is_done_by(self, provider: &Provider) -> bool {
        match provider.dialect {
            Dialect::Ollama => true,
            _ => provider.self_hosted && provider.default_base.is_some() && self == Self::List,
        }
    }
}

const GENERATE: &str = "/api/generate";

/// A request to an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// The method.
    pub method: &'static str,
    /// The path, from the server's root.
    pub path: &'static str,
    /// JSON; empty: none.
    pub body: Vec<u8>,
}

/// The request for a deed at a provider that does it. A model is loaded as requests will ask for it:
/// with another context length the first of them would load it anew.
pub fn order(deed: Deed, provider: &Provider, (model, settings): (&str, &OllamaSettings)) -> Order {
    if provider.dialect != Dialect::Ollama {
        return Order { method: "GET", path: "/v1/models", body: Vec::new() };
    }
    let (method, path, body) = match deed {
        Deed::List => return Order { method: "GET", path: "/api/tags", body: Vec::new() },
        Deed::Show => ("POST", "/api/show", json!({"model": model})),
        Deed::Pull => ("POST", "/api/pull", json!({"model": model, "stream": true})),
        Deed::Remove => ("DELETE", "/api/delete", json!({"model": model})),
        Deed::Warm => ("POST", GENERATE, loading(model, settings)),
    };
    Order { method, path, body: body.to_string().into_bytes() }
}

/// What does the same where an order was refused like this: a model that makes embeddings alone is loaded by their route.
pub fn instead(refused: &Order, (status, body): (u16, &[u8])) -> Option<Order> {
    let makes_none = memmem::find(body, b"does not support generate").is_some();
    let is_it = refused.path == GENERATE && status == 400 && makes_none;
    is_it.then(|| Order { path: "/api/embed", ..refused.clone() })
}

/// A request without a prompt: Ollama loads the model and generates nothing.
fn loading(model: &str, settings: &OllamaSettings) -> Value {
    let mut body = json!({"model": model, "stream": false});
    if let Some(keep_alive) = &settings.keep_alive {
        // A bare number is seconds, and negative is for ever; as a text it would be refused.
        let number = keep_alive.parse::<i64>().ok();
        body["keep_alive"] = number.map_or_else(|| json!(keep_alive), |number| json!(number));
    }
    if let Some(tokens) = settings.context_of(model) {
        body["options"] = json!({"num_ctx": tokens});
    }
    body
}

/// A model that an engine has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kept {
    /// Its name.
    pub name: String,
    /// What it takes on the disk, in bytes.
    pub size: Option<u64>,
    /// How large it is, in the engine's words: `32.8B`.
    pub parameters: Option<String>,
    /// How its weights are held: `Q4_K_M`.
    pub quantization: Option<String>,
    /// Its longest context, in tokens.
    pub context: Option<u64>,
    /// What it can do: `tools`, `vision`.
    pub capabilities: Vec<String>,
}

impl Kept {
    /// What an engine tells of a model. Whatever of it cannot be read is not known.
    fn told(name: &str, told: &Value) -> Self {
        let detail = |key: &str| told["details"][key].as_str().map(brief);
        let capabilities = told["capabilities"].as_array().map(Vec::as_slice).unwrap_or_default();
        Self {
            name: brief(name),
            size: told["size"].as_u64(),
            parameters: detail("parameter_size"),
            quantization: detail("quantization_level"),
            context: None,
            capabilities: capabilities.iter().filter_map(Value::as_str).map(brief).collect(),
        }
    }
}

/// Reads a list, and how many of its entries have no name and are left out. None: it is none.
pub fn read_models(provider: &Provider, body: &[u8]) -> Option<(Vec<Kept>, usize)> {
    if provider.dialect != Dialect::Ollama {
        let listed = read_list(body)?.into_iter();
        let kept = |model: Listed| Kept {
            name: brief(&model.id),
            context: model.context_tokens,
            ..Kept::default()
        };
        return Some((listed.map(kept).collect(), 0));
    }
    let tags: Value = serde_json::from_slice(body).ok()?;
    let kept = |tag: &Value| Some(Kept::told(tag["name"].as_str()?, tag));
    let tags = match tags.get("models")? {
        // An empty slice, as Go writes it.
        Value::Null => &[],
        models => models.as_array()?.as_slice(),
    };
    let models: Vec<_> = tags.iter().filter_map(kept).collect();
    let nameless = tags.len() - models.len();
    Some((models, nameless))
}

/// Reads what Ollama shows of a model. None: it is not that.
pub fn read_shown(model: &str, body: &[u8]) -> Option<Kept> {
    let shown: Value = serde_json::from_slice(body).ok()?;
    let mut known = shown["model_info"].as_object()?.iter();
    let longest = known.find(|(key, _)| key.ends_with(".context_length"));
    Some(Kept {
        size: None,
        context: longest.and_then(|(_, value)| value.as_u64()),
        ..Kept::told(model, &shown)
    })
}

/// How far a deed is at one instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// It goes on.
    Working,
    /// It is done.
    Done,
    /// It failed.
    Failed,
    /// It was ended before it was done.
    Cancelled,
}

/// What is done at one instance.
#[derive(Debug, Clone)]
pub struct Line {
    /// The instance's id.
    pub instance: String,
    /// How far it is.
    pub stage: Stage,
    /// What it does, or why it failed; perhaps in the engine's words.
    pub text: String,
    /// Bytes fetched, and in all.
    pub bytes: Option<(u64, u64)>,
    /// The models that the instance has or shows.
    pub models: Vec<Kept>,
    /// The names of those in its memory, if its probe told.
    pub loaded: Option<Vec<String>>,
}

impl Line {
    /// One at which it has begun.
    pub fn new(instance: String) -> Self {
        let (stage, text) = (Stage::Working, String::new());
        Self { instance, stage, text, bytes: None, models: Vec::new(), loaded: None }
    }
}

/// How far a model has been fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// It goes on.
    Step {
        /// What is being done, in the engine's words.
        what: String,
        /// Bytes so far, and in all, of the part that is fetched now.
        bytes: Option<(u64, u64)>,
    },
    /// It is there.
    Done,
    /// It failed, with the engine's words.
    Failed(String),
}

/// Reads a line of a fetch's progress. None: it is none.
pub fn read_progress(line: &[u8]) -> Option<Progress> {
    #[derive(Deserialize)]
    struct Line {
        #[serde(default)]
        status: Option<String>,
        #[serde(default)]
        total: Value,
        #[serde(default)]
        completed: Value,
        #[serde(default)]
        error: Option<Value>,
    }
    let line: Line = serde_json::from_slice(line).ok()?;
    if let Some(error) = line.error {
        return Some(Progress::Failed(words(&error)));
    }
    let what = line.status?;
    if what == "success" {
        return Some(Progress::Done);
    }
    // Odd figures are none; its words count all the same.
    let completed = line.completed.as_u64().unwrap_or(0);
    let bytes = line.total.as_u64().map(|total| (completed, total));
    Some(Progress::Step { what: brief(&what), bytes })
}

/// Whether the answer to an order says that it was done: a model that was read in is told of, and of one that
/// was removed there is nothing to say. A page of what stands before an engine has a good status, too.
pub fn is_done(deed: Deed, body: &[u8]) -> bool {
    let value: Option<Value> = serde_json::from_slice(body).ok();
    let told = value.is_some_and(|told| {
        told.get("error").is_none() && (told["done"] == true || told["embeddings"].is_array())
    });
    told || (deed == Deed::Remove && body.trim_ascii().is_empty())
}

/// What an engine said of its refusal, for operators.
pub fn read_refusal(status: u16, body: &[u8]) -> String {
    let value: Option<Value> = serde_json::from_slice(body).ok();
    let error = value.as_ref().and_then(|value| value.get("error"));
    error.map_or_else(|| format!("it answered with status {status}"), words)
}

fn words(error: &Value) -> String {
    let text = error.as_str().or_else(|| error.get("message")?.as_str());
    text.map_or_else(|| "an error without words".to_owned(), brief)
}

/// One short line without control characters: it is printed on a terminal. Names are, too.
fn brief(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ollama() -> &'static Provider {
        Provider::by_name("ollama").unwrap()
    }

    #[test]
    fn a_model_is_loaded_as_requests_will_ask_for_it() {
        let settings = OllamaSettings {
            keep_alive: Some("-1".to_owned()),
            pins: [("m:latest".to_owned(), 16_384)].into(),
            ..OllamaSettings::default()
        };
        let sent = order(Deed::Warm, ollama(), ("m", &settings));
        let body: Value = serde_json::from_slice(&sent.body).unwrap();
        assert_eq!((sent.method, sent.path), ("POST", "/api/generate"));
        assert_eq!(
            body,
            json!({"model": "m", "stream": false, "keep_alive": -1, "options": {"num_ctx": 16_384}})
        );
        let bare = order(Deed::Warm, ollama(), ("m", &OllamaSettings::default()));
        let body: Value = serde_json::from_slice(&bare.body).unwrap();
        assert_eq!(body, json!({"model": "m", "stream": false}), "nothing that would load it anew");
    }

    #[test]
    fn only_ollama_manages_and_engines_list() {
        let by = |deed: Deed, name: &str| deed.is_done_by(Provider::by_name(name).unwrap());
        for deed in [Deed::List, Deed::Show, Deed::Pull, Deed::Remove, Deed::Warm] {
            assert!(by(deed, "ollama"));
            assert_eq!(by(deed, "vllm"), deed == Deed::List);
            assert_eq!(by(deed, "llamacpp"), deed == Deed::List);
            assert!(!by(deed, "openai") && !by(deed, "embedded"));
            assert_eq!(Deed::from_word(deed.as_str()), Some(deed));
        }
    }

    #[test]
    fn what_a_real_ollama_shows_is_read() {
        let exchange = include_str!("../../wire/fixtures/ollama/show.http");
        let (_, captured) = exchange.split_once("\r\n\r\n").unwrap();
        let shown = read_shown("smollm2:135m", captured.as_bytes()).unwrap();
        assert_eq!(shown.parameters.as_deref(), Some("134.52M"));
        assert_eq!((shown.quantization.as_deref(), shown.context), (Some("Q4_1"), Some(8192)));
    }

    #[test]
    fn a_page_of_a_proxys_is_no_deed_done() {
        let done = br#"{"model":"m","response":"","done":true,"done_reason":"load"}"#;
        assert!(is_done(Deed::Warm, done) && is_done(Deed::Remove, b""));
        assert!(is_done(Deed::Warm, br#"{"model":"m","embeddings":[]}"#));
        for body in ["", "<html>log in</html>", "{}", "null", "[1]", r#"{"done":false}"#] {
            assert!(!is_done(Deed::Warm, body.as_bytes()), "{body}");
        }
        for body in ["<html>log in</html>", "{}", r#"{"error":"no"}"#] {
            assert!(!is_done(Deed::Remove, body.as_bytes()), "{body}");
        }
    }

    #[test]
    fn lists_are_read_in_both_dialects() {
        let tags = br#"{"models":[{"name":"a:7b","size":5,"details":{"parameter_size":"7B"}}]}"#;
        let (kept, _) = read_models(ollama(), tags).unwrap();
        assert_eq!((kept[0].name.as_str(), kept[0].size), ("a:7b", Some(5)));
        let vllm = Provider::by_name("vllm").unwrap();
        let list = br#"{"object":"list","data":[{"id":"b","max_model_len":2048}]}"#;
        let (kept, _) = read_models(vllm, list).unwrap();
        assert_eq!((kept[0].name.as_str(), kept[0].context), ("b", Some(2048)));
        assert_eq!(read_models(ollama(), br#"{"models":null}"#), Some((Vec::new(), 0)));
        for body in [&b"404"[..], b"{}", b"null", br#"{"models":5}"#] {
            assert_eq!(read_models(ollama(), body), None, "{}", body.escape_ascii());
        }
    }

    /// One entry with a null or a negative size hid all of an instance's models.
    #[test]
    fn what_is_odd_of_one_model_is_unknown_and_hides_no_other() {
        let odd = [
            r#"{"name":"a","size":-1}"#,
            r#"{"name":"b","details":null,"capabilities":null,"size":"5"}"#,
            r#"{"name":"c","details":{"parameter_size":7},"capabilities":["tools",null]}"#,
            "{}",
            "null",
            r#"{"name":"d","size":6}"#,
        ];
        let kept = read_models(ollama(), format!(r#"{{"models":[{}]}}"#, odd.join(",")).as_bytes());
        let (kept, nameless) = kept.unwrap();
        assert_eq!(nameless, 2);
        let names: Vec<_> = kept.iter().map(|model| (model.name.as_str(), model.size)).collect();
        assert_eq!(names, [("a", None), ("b", None), ("c", None), ("d", Some(6))]);
        assert_eq!(
            (&kept[2].parameters, &kept[2].capabilities[..]),
            (&None, &["tools".into()][..])
        );
        let shown = br#"{"details":null,"model_info":{"x.context_length":-1},"capabilities":null}"#;
        let shown = read_shown("a", shown).unwrap();
        assert_eq!((shown.context, shown.capabilities.len()), (None, 0));
    }

    #[test]
    fn progress_is_read_and_an_error_is_no_progress() {
        let read = |line: &str| read_progress(line.as_bytes());
        assert_eq!(
            read(r#"{"status":"pulling 1a2b","digest":"sha256:1a2b","total":100,"completed":40}"#),
            Some(Progress::Step { what: "pulling 1a2b".to_owned(), bytes: Some((40, 100)) })
        );
        assert_eq!(read(r#"{"status":"success"}"#), Some(Progress::Done));
        let failed = read(r#"{"error":"pull model manifest: file does not exist"}"#);
        let words = "pull model manifest: file does not exist".to_owned();
        assert_eq!(failed, Some(Progress::Failed(words)));
        for (figures, bytes) in [
            (r#""total":-1"#, None),
            (r#""total":"5","completed":1"#, None),
            (r#""total":5,"completed":-1"#, Some((0, 5))),
        ] {
            let step = read(&format!(r#"{{"status":"pulling","digest":"d",{figures}}}"#));
            assert_eq!(step, Some(Progress::Step { what: "pulling".to_owned(), bytes }));
        }
        assert_eq!(read("{}"), None);
        assert_eq!(read("nonsense"), None);
    }

    #[test]
    fn an_engine_s_words_cannot_move_the_cursor() {
        let body = b"{\"error\":\"a\\u001b[2Jb\"}";
        assert_eq!(read_refusal(400, body), "a [2Jb");
        let tags = b"{\"models\":[{\"name\":\"a\\u001b[2Jb\",\"details\":{\"parameter_size\":\"\\u001bc\"}}]}";
        let (kept, _) = read_models(ollama(), tags).unwrap();
        assert_eq!((kept[0].name.as_str(), kept[0].parameters.as_deref()), ("a [2Jb", Some(" c")));
        let vllm = Provider::by_name("vllm").unwrap();
        let list = b"{\"object\":\"list\",\"data\":[{\"id\":\"\\u001bb\"}]}";
        assert_eq!(read_models(vllm, list).unwrap().0[0].name, " b");
        assert_eq!(read_refusal(502, b"<html>"), "it answered with status 502");
    }
}
