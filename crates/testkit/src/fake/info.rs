//! The personas' other routes: health, model lists, properties, metrics.

use serde_json::{Value, json};

use super::{Persona, Setup};

/// A plain answer of an information route.
pub(super) struct Page {
    pub(super) status: u16,
    pub(super) content_type: &'static str,
    pub(super) body: String,
}

fn page(content_type: &'static str, body: impl Into<String>) -> Page {
    Page { status: 200, content_type, body: body.into() }
}

fn object(body: &Value) -> Page {
    page("application/json", body.to_string())
}

/// What the fake knows about itself while it answers.
pub(super) struct Moment<'a> {
    pub(super) setup: &'a Setup,
    /// Context length with which Ollama's model is loaded, if it is.
    pub(super) loaded: Option<u64>,
    pub(super) in_flight: usize,
    /// Models that Ollama has.
    pub(super) models: Vec<String>,
}

/// Answers an information route; none if the persona has no such route.
pub(super) fn answer(path: &str, moment: &Moment<'_>) -> Option<Page> {
    if moment.setup.persona == Persona::Gemini && !path.contains("/openai/") {
        return super::gemini::info(path, moment.setup).map(|page| object(&page));
    }
    if let Some(rest) = path.strip_suffix("/v1/models").or(path.strip_suffix("/models"))
        && !rest.contains("/models")
    {
        return Some(object(&models(moment.setup)));
    }
    match moment.setup.persona {
        Persona::OpenAi => model(path, moment.setup),
        Persona::Vllm => vllm(path, moment),
        Persona::LlamaCpp => llamacpp(path, moment),
        Persona::Ollama => ollama(path, moment),
        Persona::Gemini => None,
    }
}

fn model(path: &str, setup: &Setup) -> Option<Page> {
    let (_, name) = path.split_once("/v1/models/")?;
    let known = setup.models.iter().any(|model| model == name);
    known.then(|| object(&entry(name, setup)))
}

fn models(setup: &Setup) -> Value {
    let data: Vec<Value> = setup.models.iter().map(|name| entry(name, setup)).collect();
    json!({"object": "list", "data": data})
}

fn entry(name: &str, setup: &Setup) -> Value {
    let mut entry =
        json!({"id": name, "object": "model", "created": 1_795_000_000, "owned_by": "fake"});
    match setup.persona {
        Persona::Vllm => {
            entry["owned_by"] = json!("vllm");
            entry["root"] = json!(name);
            entry["max_model_len"] = json!(setup.context);
        }
        Persona::LlamaCpp => {
            entry["owned_by"] = json!("llamacpp");
            entry["meta"] = json!({"n_ctx": setup.context, "n_ctx_train": 8192,
                "n_params": 134_515_008, "size": 96_576_768, "ftype": "Q4_1"});
        }
        Persona::Ollama => entry["owned_by"] = json!("library"),
        Persona::OpenAi | Persona::Gemini => {}
    }
    entry
}

fn vllm(path: &str, moment: &Moment<'_>) -> Option<Page> {
    Some(match path {
        "/health" | "/ping" => page("text/plain", ""),
        "/version" => object(&json!({"version": "0.32.0"})),
        // Always 0 unless the server was started with load tracking.
        "/load" => object(&json!({"server_load": 0})),
        "/metrics" => {
            let name = moment.setup.first_model();
            page(
                "text/plain; version=0.0.4",
                format!(
                    "vllm:num_requests_running{{engine=\"0\",model_name=\"{name}\"}} {}.0\n\
                     vllm:num_requests_waiting{{engine=\"0\",model_name=\"{name}\"}} 0.0\n\
                     vllm:kv_cache_usage_perc{{engine=\"0\",model_name=\"{name}\"}} 0.1\n",
                    moment.in_flight
                ),
            )
        }
        _ => return None,
    })
}

fn llamacpp(path: &str, moment: &Moment<'_>) -> Option<Page> {
    let setup = moment.setup;
    Some(match path {
        "/health" => object(&json!({"status": "ok"})),
        "/props" => object(&json!({
            "default_generation_settings": {"n_ctx": setup.context},
            "total_slots": setup.slots,
            "model_alias": setup.first_model(),
            "chat_template": "{% for m in messages %}{{ m.content }}{% endfor %}",
            "chat_template_caps": {"supports_tools": setup.tools,
                "supports_tool_calls": setup.tools, "supports_system_role": true},
            "modalities": {"vision": false, "audio": false},
            "build_info": "b10434-fake",
            "is_sleeping": false,
        })),
        "/slots" => {
            let slot = |id: usize| json!({"id": id, "n_ctx": setup.context, "is_processing": moment.in_flight > id});
            object(&(0..setup.slots).map(slot).collect())
        }
        "/metrics" => page(
            "text/plain; version=0.0.4",
            format!(
                "llamacpp:requests_processing {}\nllamacpp:requests_deferred 0\n",
                moment.in_flight
            ),
        ),
        _ => return None,
    })
}

fn ollama(path: &str, moment: &Moment<'_>) -> Option<Page> {
    let setup = moment.setup;
    let details = json!({"parent_model": "", "format": "gguf", "family": "llama",
        "families": ["llama"], "parameter_size": "134.52M", "quantization_level": "Q4_1"});
    let mut capabilities = vec!["completion"];
    if setup.tools {
        capabilities.push("tools");
    }
    if setup.thinking {
        capabilities.push("thinking");
    }
    Some(match path {
        "/" => page("text/plain", "Ollama is running"),
        "/api/version" => object(&json!({"version": "0.33.0"})),
        "/api/tags" => {
            let list: Vec<Value> = moment
                .models
                .iter()
                .map(|name| {
                    json!({"name": name, "model": name, "size": 98_362_432,
                        "modified_at": "2026-11-21T08:41:41Z", "digest": "fd5f44c0b5af",
                        "details": details, "capabilities": capabilities})
                })
                .collect();
            object(&json!({"models": list}))
        }
        "/api/ps" => {
            let loaded: Vec<Value> = moment
                .loaded
                .iter()
                .map(|context| {
                    let name = setup.first_model();
                    json!({"name": name, "model": name, "size": 244_307_720,
                        "digest": "fd5f44c0b5af", "details": details,
                        "expires_at": "2026-11-21T08:47:10.101821482Z",
                        "size_vram": 99_971_235, "context_length": context})
                })
                .collect();
            object(&json!({"models": loaded}))
        }
        "/api/show" => object(&json!({"modelfile": "# fake", "details": details,
            "model_info": {"general.architecture": "llama", "llama.context_length": 8192},
            "capabilities": capabilities})),
        _ => return None,
    })
}
