//! What is known of models, in Ollama's shapes. What nobody knows is empty or zero, as Ollama itself
//! shows it for models that live elsewhere.

use bytes::Bytes;
use cutover_units::{Millis, Utc};
use cutover_wire::Fault;

use crate::answer::Answer;
use crate::inbound::ModelFacts;
use crate::read::{At, Obj};
use crate::write::{self, Json};

/// The version whose API this is: clients compare it with the oldest they can work with.
const API_VERSION: &str = "0.12.0";

/// 64 hexadecimal digits that differ by name: clients cut a short id out of them. They are no digest of
/// anything, because nobody here has the model's file.
fn digest(name: &str) -> String {
    let word = |seed: u64| {
        let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        name.bytes().fold(0xcbf2_9ce4_8422_2325 ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15), mix)
    };
    let [a, b, c, d] = [1, 2, 3, 4].map(word);
    format!("{a:016x}{b:016x}{c:016x}{d:016x}")
}

fn details(json: &mut Json) {
    json.put_object("details", |j| {
        j.put("parent_model", "");
        j.put("format", "");
        j.put("family", "");
        j.put_array("families", |_| {});
        j.put("parameter_size", "");
        j.put("quantization_level", "");
    });
}

fn entry(json: &mut Json, model: &ModelFacts) {
    json.put("name", &model.name);
    json.put("model", &model.name);
    json.put_number("size", 0);
    json.put("digest", &digest(&model.name));
    details(json);
}

/// `GET /api/tags`.
pub fn tags(models: &[ModelFacts]) -> Answer {
    Answer::json(write::object(|j| {
        j.put_array("models", |j| {
            for model in models {
                j.object(|j| {
                    entry(j, model);
                    j.put("modified_at", &Utc::at(model.modified).rfc3339());
                });
            }
        });
    }))
}

/// `GET /api/ps`: the models that are loaded now, as far as the caller knows.
pub fn running(models: &[ModelFacts], until: Millis) -> Answer {
    Answer::json(write::object(|j| {
        j.put_array("models", |j| {
            for model in models {
                j.object(|j| {
                    entry(j, model);
                    j.put("expires_at", &Utc::at(until).rfc3339());
                    j.put_number("size_vram", 0);
                    if let Some(tokens) = model.context_tokens {
                        j.put_number("context_length", tokens);
                    }
                });
            }
        });
    }))
}

/// `GET /api/version`.
pub fn version() -> Answer {
    Answer::json(write::object(|j| j.put("version", API_VERSION)))
}

/// The model that a `POST /api/show` asks for.
pub fn show_name(body: &Bytes) -> Result<String, Fault> {
    let root = Obj::of_body(body)?;
    let name = match root.text(At::Root, "model")? {
        Some(name) => name,
        None => root.text(At::Root, "name")?.ok_or_else(|| At::Root.key("model").missing())?,
    };
    Ok(name.decode().into_owned())
}

/// `POST /api/show`. Templates and parameters are not shown: they may hold an operator's prompt.
pub fn show(model: &ModelFacts) -> Answer {
    let mut can: Vec<&str> = vec![if model.embeds { "embedding" } else { "completion" }];
    for (known, word) in
        [(model.tools, "tools"), (model.images, "vision"), (model.thinking, "thinking")]
    {
        if known == Some(true) {
            can.push(word);
        }
    }
    Answer::json(write::object(|j| {
        for empty in ["license", "modelfile", "parameters", "template"] {
            j.put(empty, "");
        }
        details(j);
        j.put_object("model_info", |j| {
            j.put("general.architecture", "cutover");
            if let Some(tokens) = model.context_tokens {
                j.put_number("cutover.context_length", tokens);
            }
        });
        j.put_array("capabilities", |j| can.iter().for_each(|word| j.text(word)));
        j.put("modified_at", &Utc::at(model.modified).rfc3339());
    }))
}
