//! Requests that are wrong, or only odd, and what becomes of each at each dialect's door: one table that a
//! test runs over sockets (`cutover/tests/bad_input_table.rs`) and that `docs/reference/bad-input.md` is
//! printed from. What the page says is what was seen.
//!
//! An outcome is a refusal with its code and the field by the client's own name, or an answer: then it
//! counts what the upstream was sent, and what was reported as lost.

use std::fmt::Write as _;

use serde_json::{Value, json};

mod bodies;
mod chat;
mod gemini;
mod messages;
mod ollama;
mod responses;

pub use bodies::BODY_LIMIT;

/// How a dialect says that something is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `{"error": {message, type, param, code}}`.
    OpenAi,
    /// `{"type": "error", "error": {type, message}, "request_id"}`; the message names the field.
    Anthropic,
    /// `{"error": "..."}`; the message names the field.
    Ollama,
    /// `{"error": {code, message, status, details}}`; the details name cutover's code and the field.
    Gemini,
}

/// Where clients of a dialect ask.
#[derive(Debug)]
pub struct Door {
    /// The dialect, for the page.
    pub name: &'static str,
    /// Its path.
    pub path: &'static str,
    /// How it says errors.
    pub shape: Shape,
    /// Whether it takes a list of messages.
    prompt: &'static str,
}

/// Chat completions.
pub static CHAT: Door = Door {
    name: "OpenAI chat completions",
    path: "/v1/chat/completions",
    shape: Shape::OpenAi,
    prompt: "messages",
};
/// Completions.
pub static COMPLETIONS: Door = Door {
    name: "OpenAI completions",
    path: "/v1/completions",
    shape: Shape::OpenAi,
    prompt: "prompt",
};
/// Responses.
pub static RESPONSES: Door =
    Door { name: "OpenAI Responses", path: "/v1/responses", shape: Shape::OpenAi, prompt: "input" };
/// Anthropic's Messages.
pub static MESSAGES: Door = Door {
    name: "Anthropic Messages",
    path: "/v1/messages",
    shape: Shape::Anthropic,
    prompt: "messages",
};
/// Ollama's chat.
pub static OLLAMA_CHAT: Door =
    Door { name: "Ollama chat", path: "/api/chat", shape: Shape::Ollama, prompt: "messages" };
/// Ollama's generate.
pub static OLLAMA_GENERATE: Door =
    Door { name: "Ollama generate", path: "/api/generate", shape: Shape::Ollama, prompt: "prompt" };

/// Gemini's generateContent. The path names the model.
pub static GEMINI: Door = Door {
    name: "Gemini generateContent",
    path: "/v1beta/models/{model}:generateContent",
    shape: Shape::Gemini,
    prompt: "contents",
};

/// All doors.
pub static DOORS: [&Door; 7] =
    [&CHAT, &COMPLETIONS, &RESPONSES, &MESSAGES, &OLLAMA_CHAT, &OLLAMA_GENERATE, &GEMINI];

/// The models that the table asks for, and what stands behind each.
pub const MODELS: [(&str, &str); 4] = [
    ("app", "OpenAI, a strict variant"),
    ("own", "a vLLM, with images fetched"),
    ("native", "an Ollama"),
    ("claude", "Anthropic"),
];

impl Door {
    /// The path that asks for a model.
    fn path_for(&self, model: &str) -> String {
        self.path.replace("{model}", model)
    }

    /// A good request, as small as can be.
    pub fn good(&self, model: &str) -> Value {
        let turn = json!([{"role": "user", "content": "hi"}]);
        match self.path {
            "/v1/chat/completions" => json!({"model": model, "messages": turn}),
            "/v1/completions" => json!({"model": model, "prompt": "hi"}),
            "/v1/responses" => json!({"model": model, "input": "hi"}),
            "/v1/messages" => json!({"model": model, "max_tokens": 50, "messages": turn}),
            "/api/chat" => json!({"model": model, "stream": false, "messages": turn}),
            _ if self.shape == Shape::Gemini => json!({"contents": [{"parts": [{"text": "hi"}]}]}),
            _ => json!({"model": model, "stream": false, "prompt": "hi"}),
        }
    }

    /// The same with these members, which replace its own.
    fn with(&self, model: &str, more: &Value) -> Value {
        let mut body = self.good(model);
        for (name, value) in more.as_object().into_iter().flatten() {
            body[name] = value.clone();
        }
        body
    }

    /// A good request whose conversation is this.
    fn talk(&self, model: &str, turns: &Value) -> Value {
        self.with(model, &json!({self.prompt: turns}))
    }
}

/// What becomes of a request.
#[derive(Debug)]
pub enum Outcome {
    /// An error with this code, which names this field.
    Refused {
        /// The code in OpenAI's dialect.
        code: &'static str,
        /// The field, by the client's name for it.
        param: Option<&'static str>,
    },
    /// It is answered.
    Passes {
        /// What the upstream was sent: a pointer into its request, and what stood there. `#` behind the
        /// pointer asks for the number of elements.
        sent: Vec<(&'static str, Value)>,
        /// What the loss report named.
        lost: Option<&'static str>,
    },
    /// It is answered without anybody being asked.
    Now,
}

/// A refusal.
fn refused(code: &'static str, param: &'static str) -> Outcome {
    Outcome::Refused { code, param: Some(param).filter(|param| !param.is_empty()) }
}

/// It passes, and this reached the upstream.
fn passes(sent: &[(&'static str, Value)]) -> Outcome {
    Outcome::Passes { sent: sent.to_vec(), lost: None }
}

impl Outcome {
    /// A passing request whose report names a field.
    fn reported(self, field: &'static str) -> Self {
        match self {
            Self::Passes { sent, .. } => Self::Passes { sent, lost: Some(field) },
            other => other,
        }
    }
}

/// One request and what becomes of it.
#[derive(Debug)]
pub struct Case {
    /// Where it is asked.
    pub door: &'static Door,
    /// The door's path, with the model in it where it names one.
    pub path: String,
    /// What is wrong or odd.
    pub input: &'static str,
    /// Header lines beside the key.
    pub headers: Vec<&'static str>,
    /// Whether the key is sent.
    pub with_key: bool,
    /// The body.
    pub body: Vec<u8>,
    /// The outcome.
    pub outcome: Outcome,
}

impl Case {
    fn new(
        door: &'static Door,
        input: &'static str,
        body: impl Into<Vec<u8>>,
        outcome: Outcome,
    ) -> Self {
        let (headers, path) = (Vec::new(), door.path_for("app"));
        Self { door, path, input, headers, with_key: true, body: body.into(), outcome }
    }

    /// The same for another model, where the path names it.
    fn for_model(self, model: &str) -> Self {
        Self { path: self.door.path_for(model), ..self }
    }

    fn header(mut self, line: &'static str) -> Self {
        self.headers.push(line);
        self
    }
}

/// Cases of one door: what is odd, the body, the outcome.
type Rows = Vec<(&'static str, Value, Outcome)>;

fn of(door: &'static Door, rows: Rows) -> impl Iterator<Item = Case> {
    rows.into_iter().map(move |(input, mut body, outcome)| {
        let named = (door.shape == Shape::Gemini).then(|| body["model"].take());
        if let Some(members) = body.as_object_mut().filter(|_| named.is_some()) {
            members.remove("model");
        }
        // What no JSON value of ours can hold stands for itself in the text.
        let body = body
            .to_string()
            .replace("\"PAIR\"", "\"\\ud800\"")
            .replace("\"HUGE\"", "1e999")
            .replace("\"again:", "\"");
        let model = named.as_ref().and_then(Value::as_str).unwrap_or("app");
        Case::new(door, input, body, outcome).for_model(model)
    })
}

/// A conversation of so many messages.
fn turns(count: usize) -> Vec<Value> {
    // The last is the user's.
    let role = |at: usize| if (count - at).is_multiple_of(2) { "assistant" } else { "user" };
    (0..count).map(|at| json!({"role": role(at), "content": "hi"})).collect()
}

/// The whole table.
pub fn cases() -> Vec<Case> {
    let mut all: Vec<Case> = DOORS.iter().flat_map(|door| bodies::cases(door)).collect();
    all.extend(of(&CHAT, chat::chat()));
    all.extend(of(&COMPLETIONS, chat::completions()));
    all.extend(of(&RESPONSES, responses::rows()));
    all.extend(of(&MESSAGES, messages::rows()));
    all.extend(of(&OLLAMA_CHAT, ollama::chat()));
    all.extend(of(&OLLAMA_GENERATE, ollama::generate()));
    all.extend(of(&GEMINI, gemini::rows()));
    all
}

/// The page of all this.
pub fn reference() -> String {
    let mut page = String::from(
        "# Bad input\n\n\
         <!-- Generated from crates/testkit/src/bad_input.rs by `cargo xtask docs`. Do not edit. -->\n\n\
         Requests that are wrong, or only odd, and what becomes of each in each dialect. A test sends every \
         one of them to the program over a socket, reads the error in the dialect's own shape, and looks at \
         what the upstream was sent. It reads this very table.\n\n\
         An error names the field as the client wrote it, also where the trouble was found after the \
         conversion to another dialect: in the member `param` where the dialect has one, and in the message. \
         Status, type and advice of each code: [errors](errors.md). Anthropic's clients get their own types \
         and statuses for the codes ([dialects](dialects.md)).\n\n\
         The model is behind a strict variant of an OpenAI upstream unless another is named.\n",
    );
    let all = cases();
    for door in DOORS {
        // Writing to a String cannot fail.
        let _infallible = write!(
            page,
            "\n## {}\n\n`POST {}`\n\n| input | outcome | field |\n|---|---|---|\n",
            door.name, door.path
        );
        for case in all.iter().filter(|case| case.door.path == door.path) {
            let (outcome, field) = match &case.outcome {
                Outcome::Refused { code, param } => {
                    (format!("[`{code}`](errors.md#{code})"), param.unwrap_or_default())
                }
                Outcome::Passes { lost: None, .. } => ("passes".to_owned(), ""),
                Outcome::Passes { lost: Some(lost), .. } => ("passes, reported".to_owned(), *lost),
                Outcome::Now => ("answered by cutover".to_owned(), ""),
            };
            let field = if field.is_empty() { String::new() } else { format!("`{field}`") };
            let _infallible = writeln!(page, "| {} | {outcome} | {field} |", case.input);
        }
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_case_of_a_door_has_its_own_name() {
        let all = cases();
        for (at, case) in all.iter().enumerate() {
            let same =
                |other: &&Case| other.input == case.input && other.door.path == case.door.path;
            assert!(all[..at].iter().find(same).is_none(), "{} {}", case.door.path, case.input);
        }
    }

    #[test]
    fn each_door_has_refusals_and_odd_requests_that_pass() {
        for door in DOORS {
            let all = cases();
            let own = || all.iter().filter(|case| case.door.path == door.path);
            let refused = own().filter(|case| matches!(case.outcome, Outcome::Refused { .. }));
            assert!(refused.count() >= 15, "{}", door.path);
            let passes = own().filter(|case| matches!(case.outcome, Outcome::Passes { .. }));
            assert!(passes.count() >= 2, "{}", door.path);
        }
    }
}
