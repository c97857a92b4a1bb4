//! Errors in each persona's own words and shape, as observed on the real servers.

use serde_json::{Value, json};

use super::Persona;

/// Why a request is refused.
#[derive(Clone, Debug)]
pub(super) enum Refusal {
    BadJson,
    BadType {
        param: String,
    },
    NoMessages,
    UnknownModel {
        model: String,
    },
    Context {
        tokens: u64,
        limit: u64,
    },
    Key,
    TooManyLogprobs,
    /// A member that the service does not know.
    Unrecognized {
        param: &'static str,
    },
    ToolsUnsupported {
        model: String,
    },
    ToolChoiceUnsupported,
    ThinkingUnsupported {
        model: String,
    },
    EmbeddingsOff,
    NoRoute,
    /// Gemini: what is wrong with the request, in its words.
    Argument {
        message: String,
    },
    BadOption {
        name: String,
    },
    Loading,
    QueueFull,
    /// A scripted status.
    Status(u16),
    /// Gemini: the same, with a time to wait.
    Wait(u16, String),
}

/// A refusal in the shape in which it goes out.
pub(super) struct Rendered {
    pub(super) status: u16,
    pub(super) content_type: &'static str,
    pub(super) body: String,
}

/// Message, type and code, before a persona dresses them.
struct Words {
    status: u16,
    message: String,
    kind: &'static str,
    param: Option<String>,
    code: Option<&'static str>,
}

pub(super) fn render(refusal: &Refusal, persona: Persona, native: bool) -> Rendered {
    if let (Persona::Ollama, Refusal::NoRoute) = (persona, refusal) {
        let body = "404 page not found".to_owned();
        return Rendered { status: 404, content_type: "text/plain", body };
    }
    if persona == Persona::Gemini {
        return google(refusal, native);
    }
    let words = match persona {
        Persona::OpenAi | Persona::Gemini => openai(refusal),
        Persona::Vllm => vllm(refusal),
        Persona::LlamaCpp => llamacpp(refusal),
        Persona::Ollama => ollama(refusal),
    };
    let Words { status, message, kind, param, code } = words;
    let body = match (persona, refusal) {
        (Persona::Vllm, Refusal::Key) => json!({"error": "Unauthorized"}),
        (Persona::Vllm, Refusal::NoRoute) => json!({"detail": "Not Found"}),
        (Persona::Vllm, _) => json!({"error":
            {"message": message, "type": kind, "param": param, "code": status}}),
        (Persona::LlamaCpp, Refusal::Context { tokens, limit }) => json!({"error":
            {"code": status, "message": message, "type": kind,
             "n_prompt_tokens": tokens, "n_ctx": limit}}),
        (Persona::LlamaCpp, _) => {
            json!({"error": {"code": status, "message": message, "type": kind}})
        }
        (Persona::Ollama, _) if native => json!({"error": message}),
        (Persona::Ollama, _) => json!({"error":
            {"message": message, "type": kind, "param": null, "code": null}}),
        (Persona::OpenAi | Persona::Gemini, _) => json!({"error":
            {"message": message, "type": kind, "param": param, "code": code}}),
    };
    Rendered { status, content_type: "application/json", body: body.to_string() }
}

/// The error object that a persona puts inside a stream that is already a 200.
pub(super) fn in_stream(persona: Persona, native: bool) -> Value {
    match persona {
        Persona::Ollama if native => json!({"error":
            "an error was encountered while running the model: unexpected EOF"}),
        Persona::Vllm => json!({"error": {
            "message": "EngineCore encountered an issue. See stack trace (above) for the root cause.",
            "type": "InternalServerError", "param": null, "code": 500}}),
        Persona::LlamaCpp => json!({"error":
            {"code": 500, "message": "Context size has been exceeded.", "type": "server_error"}}),
        Persona::Gemini => json!({"error": {"code": 500, "message":
            "An internal error has occurred. Please retry or report in \
             https://developers.generativeai.google/guide/troubleshooting", "status": "INTERNAL"}}),
        Persona::OpenAi | Persona::Ollama => json!({"error": {
            "message": "The server had an error while processing your request. Sorry about that!",
            "type": "server_error", "param": null, "code": null}}),
    }
}

fn words(status: u16, message: impl Into<String>, kind: &'static str) -> Words {
    Words { status, message: message.into(), kind, param: None, code: None }
}

impl Words {
    fn param(mut self, param: &str) -> Self {
        self.param = Some(param.to_owned());
        self
    }

    fn code(mut self, code: &'static str) -> Self {
        self.code = Some(code);
        self
    }
}

fn openai(refusal: &Refusal) -> Words {
    const KIND: &str = "invalid_request_error";
    match refusal {
        Refusal::BadJson => words(400, "We could not parse the JSON body of your request.", KIND),
        Refusal::BadType { param } => {
            let message = format!("Invalid type for '{param}': expected another type.");
            words(400, message, KIND).param(param).code("invalid_type")
        }
        Refusal::NoMessages => words(400, "Missing required parameter: 'messages'.", KIND)
            .param("messages")
            .code("missing_required_parameter"),
        Refusal::UnknownModel { model } => {
            let message =
                format!("The model `{model}` does not exist or you do not have access to it.");
            words(404, message, KIND).code("model_not_found")
        }
        Refusal::Context { tokens, limit } => words(
            400,
            format!(
                "This model's maximum context length is {limit} tokens. However, your messages \
                 resulted in {tokens} tokens. Please reduce the length of the messages."
            ),
            KIND,
        )
        .param("messages")
        .code("context_length_exceeded"),
        Refusal::Key => {
            words(401, "Incorrect API key provided: ****.", KIND).code("invalid_api_key")
        }
        Refusal::TooManyLogprobs => {
            words(400, "Invalid value for 'top_logprobs': must be at most 20.", KIND)
                .param("top_logprobs")
        }
        Refusal::Unrecognized { param } => {
            words(400, format!("Unrecognized request argument supplied: {param}"), KIND)
                .param(param)
        }
        Refusal::NoRoute => words(404, "Invalid URL", KIND),
        Refusal::Status(429) => {
            words(429, "Rate limit reached for requests.", "requests").code("rate_limit_exceeded")
        }
        Refusal::Status(status @ 400..500) => words(*status, "Bad request.", KIND),
        Refusal::Loading | Refusal::QueueFull | Refusal::Status(503) => {
            words(503, "That model is currently overloaded with other requests.", "server_error")
        }
        Refusal::Status(status) => words(
            *status,
            "The server had an error while processing your request. Sorry about that!",
            "server_error",
        ),
        other => words(400, format!("Unsupported: {other:?}"), KIND),
    }
}

fn vllm(refusal: &Refusal) -> Words {
    const KIND: &str = "BadRequestError";
    match refusal {
        Refusal::BadType { param } => {
            let message = format!(
                "1 validation error:\n  {{'type': 'int_parsing', 'loc': 'body.{param}', 'msg': \
                 'Input should be a valid integer'}}"
            );
            words(400, message, "Bad Request").param(&format!("body.{param}"))
        }
        Refusal::UnknownModel { model } => {
            words(404, format!("The model `{model}` does not exist."), "NotFoundError")
                .param("model")
        }
        Refusal::Context { limit, .. } => words(
            400,
            format!(
                "This model's maximum context length is {limit} tokens. However, your prompt \
                 contains at least {} input tokens, which exceeds this limit even without any \
                 output tokens. Please reduce the length of the input prompt.",
                limit + 1
            ),
            KIND,
        )
        .param("input_tokens"),
        Refusal::ToolChoiceUnsupported => {
            words(400, "tool_choice=\"required\" requires --tool-call-parser to be set", KIND)
        }
        Refusal::ToolsUnsupported { .. } => words(
            400,
            "\"auto\" tool choice requires --enable-auto-tool-choice and --tool-call-parser to \
             be set",
            KIND,
        ),
        Refusal::TooManyLogprobs => words(
            400,
            "Requested sample logprobs of 30, which is greater than max allowed: 20",
            KIND,
        )
        .param("top_logprobs"),
        Refusal::QueueFull | Refusal::Status(503) => words(
            503,
            "The engine is currently busy and cannot accept new requests. Please retry later.",
            "Service Unavailable",
        ),
        Refusal::Key => words(401, "Unauthorized", "Unauthorized"),
        Refusal::NoRoute => words(404, "Not Found", "NotFoundError"),
        Refusal::Status(status @ 500..) => {
            words(*status, "EngineCore encountered an issue.", "InternalServerError")
        }
        Refusal::Status(status) => words(*status, "Bad Request", KIND),
        other => words(400, format!("{other:?}"), KIND),
    }
}

/// Errors of Google's APIs. The compatible endpoint puts them into an array.
fn google(refusal: &Refusal, native: bool) -> Rendered {
    const WRONG: &str = "INVALID_ARGUMENT";
    let mut details = Vec::new();
    let (status, kind, message) = match refusal {
        Refusal::Key => {
            details.push(json!({"@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": "API_KEY_INVALID", "domain": "googleapis.com",
                "metadata": {"service": "generativelanguage.googleapis.com"}}));
            (400, WRONG, "API key not valid. Please pass a valid API key.".to_owned())
        }
        Refusal::BadJson => {
            let message = "Invalid JSON payload received. Unexpected token.";
            (400, WRONG, message.to_owned())
        }
        Refusal::Argument { message } => (400, WRONG, message.clone()),
        Refusal::UnknownModel { model } => (
            404,
            "NOT_FOUND",
            format!(
                "models/{model} is not found for API version v1beta, or is not supported for \
                 generateContent. Call ListModels to see the list of available models and their \
                 supported methods."
            ),
        ),
        Refusal::Context { tokens, limit } => (
            400,
            WRONG,
            format!(
                "The input token count ({tokens}) exceeds the maximum number of tokens allowed \
                 ({limit})."
            ),
        ),
        Refusal::NoRoute => (404, "NOT_FOUND", "Requested entity was not found.".to_owned()),
        Refusal::Loading | Refusal::QueueFull => {
            (503, "UNAVAILABLE", "The model is overloaded. Please try again later.".to_owned())
        }
        Refusal::Status(status) | Refusal::Wait(status, _) => {
            let (kind, message) = google_status(*status);
            (*status, kind, message.to_owned())
        }
        other => (400, WRONG, format!("{other:?}")),
    };
    if let Refusal::Wait(_, seconds) = refusal {
        details.push(json!({"@type": "type.googleapis.com/google.rpc.RetryInfo",
            "retryDelay": format!("{seconds}s")}));
    }
    let mut error = json!({"code": status, "message": message, "status": kind});
    if !details.is_empty() {
        error["details"] = json!(details);
    }
    let body = json!({ "error": error });
    let body = if native { body } else { json!([body]) };
    Rendered { status, content_type: "application/json; charset=UTF-8", body: body.to_string() }
}

fn google_status(status: u16) -> (&'static str, &'static str) {
    match status {
        400 => ("INVALID_ARGUMENT", "Request contains an invalid argument."),
        401 => ("UNAUTHENTICATED", "Request had invalid authentication credentials."),
        403 => ("PERMISSION_DENIED", "The caller does not have permission"),
        404 => ("NOT_FOUND", "Requested entity was not found."),
        429 => (
            "RESOURCE_EXHAUSTED",
            "You exceeded your current quota, please check your plan and billing details.",
        ),
        503 => ("UNAVAILABLE", "The model is overloaded. Please try again later."),
        504 => ("DEADLINE_EXCEEDED", "The request timed out. Please try again."),
        other if other < 500 => ("FAILED_PRECONDITION", "Precondition check failed."),
        _ => ("INTERNAL", "An internal error has occurred."),
    }
}

fn llamacpp(refusal: &Refusal) -> Words {
    const KIND: &str = "invalid_request_error";
    match refusal {
        Refusal::BadType { param } => words(
            400,
            format!(
                "Field '{param}': [json.exception.type_error.302] type must be number, but is \
                 string"
            ),
            KIND,
        ),
        Refusal::NoMessages => words(400, "'messages' is required", KIND),
        Refusal::Context { tokens, limit } => words(
            400,
            format!(
                "request ({tokens} tokens) exceeds the available context size ({limit} tokens), \
                 try increasing it"
            ),
            "exceed_context_size_error",
        ),
        Refusal::Key => words(401, "Invalid API Key", "authentication_error"),
        Refusal::NoRoute => words(404, "File Not Found", "not_found_error"),
        Refusal::EmbeddingsOff => words(
            501,
            "This server does not support embeddings. Start it with `--embeddings`",
            "not_supported_error",
        ),
        Refusal::Loading | Refusal::QueueFull | Refusal::Status(503) => {
            words(503, "Loading model", "unavailable_error")
        }
        Refusal::Status(status @ 500..) => words(*status, "internal error", "server_error"),
        Refusal::Status(status) => words(*status, "bad request", KIND),
        other => words(400, format!("{other:?}"), KIND),
    }
}

fn ollama(refusal: &Refusal) -> Words {
    const KIND: &str = "invalid_request_error";
    match refusal {
        Refusal::BadJson => {
            words(400, "invalid character 'x' looking for beginning of value", KIND)
        }
        Refusal::BadType { param } => words(
            400,
            format!(
                "json: cannot unmarshal string into Go struct field ChatCompletionRequest.{param} \
                 of type int"
            ),
            KIND,
        ),
        // Ollama has no keys of its own; this is what a proxy in front of it says.
        Refusal::Key => words(401, "unauthorized", "authentication_error"),
        Refusal::NoMessages => words(400, "[] is too short - 'messages'", KIND),
        Refusal::UnknownModel { model } => {
            words(404, format!("model '{model}' not found"), "not_found_error")
        }
        // The engine's own JSON, nested as a string: what `truncate:false` really gives.
        Refusal::Context { tokens, limit } => words(
            400,
            json!({"error": {
                "code": 400,
                "message": format!("request ({tokens} tokens) exceeds the available context size \
                                    ({limit} tokens), try increasing it"),
                "type": "exceed_context_size_error",
                "n_prompt_tokens": tokens,
                "n_ctx": limit,
            }})
            .to_string(),
            KIND,
        ),
        Refusal::ToolsUnsupported { model } => {
            words(400, format!("registry.ollama.ai/library/{model} does not support tools"), KIND)
        }
        Refusal::ThinkingUnsupported { model } => {
            words(400, format!("\"{model}\" does not support thinking"), KIND)
        }
        Refusal::BadOption { name } => {
            words(500, format!("option \"{name}\" must be of type float32"), "api_error")
        }
        Refusal::EmbeddingsOff => words(
            501,
            "This server does not support embeddings. Start it with `--embeddings`",
            "api_error",
        ),
        Refusal::QueueFull | Refusal::Status(503) => words(
            503,
            "server busy, please try again.  maximum pending requests exceeded",
            "api_error",
        ),
        Refusal::TooManyLogprobs => words(400, "top_logprobs must be between 0 and 20", KIND),
        Refusal::Status(status @ 500..) => words(
            *status,
            "an error was encountered while running the model: unexpected EOF",
            "api_error",
        ),
        Refusal::Status(status) => words(*status, "bad request", KIND),
        other => words(400, format!("{other:?}"), KIND),
    }
}
