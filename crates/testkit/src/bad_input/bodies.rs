//! What is wrong with a body as a whole, the same at every door.

use serde_json::{Value, json};

use super::{CHAT, COMPLETIONS, Case, Door, Outcome, Shape, passes, refused};

/// Deeper than any reader goes; as deep as the limit allows, many times over.
const DEEP: usize = 20_000;

/// `text` behind a head that says that it is compressed. The bytes are a gzip stream of nothing.
const GZIP: &[u8] =
    b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\x03\x00\x00\x00\x00\x00\x00\x00\x00\x00";

/// The limit of bodies that the program is started with.
pub const BODY_LIMIT: usize = 2 << 20;

pub(super) fn cases(door: &'static Door) -> Vec<Case> {
    let good = door.good("app").to_string();
    let case = |input, body: Vec<u8>, outcome| Case::new(door, input, body, outcome);
    let text = |input, body: String, outcome| case(input, body.into_bytes(), outcome);
    let no_json = || refused("invalid_json", "");
    let nested = "[".repeat(DEEP) + &"]".repeat(DEEP);
    let utf16: Vec<u8> = good.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mut broken = good.clone().into_bytes();
    broken.splice(2..2, *b"\xff");
    let mut all = vec![
        text("no body", String::new(), no_json()),
        text("half of a body", good[..good.len() - 3].to_owned(), no_json()),
        text("two bodies", format!("{good} {good}"), no_json()),
        text("a trailing comma", good.replace('}', ",}"), no_json()),
        text("an array", format!("[{good}]"), refused("invalid_type", "")),
        text("null", "null".to_owned(), refused("invalid_type", "")),
        text("a byte order mark before the body", format!("\u{feff}{good}"), no_json()),
        case("UTF-16", utf16, no_json()),
        case("a byte that is no UTF-8", broken, no_json()),
        text("a raw NUL byte in a text", good.replace("hi", "h\0i"), no_json()),
        text("NaN", with(&good, "\"temperature\":NaN"), no_json()),
        text("20,000 nested arrays", with(&good, &format!("\"x\":{nested}")), no_json()),
        text("a body beyond the limit", good.clone() + &" ".repeat(BODY_LIMIT), too_large()),
        case("a compressed body", GZIP.to_vec(), refused("invalid_value", ""))
            .header("content-encoding: gzip"),
        text("a model that nobody has", door.good("no-such").to_string(), unknown())
            .for_model("no-such"),
        text("a text with an escaped NUL", good.replace("hi", "h\\u0000i"), passes(&[])),
        Case::new(door, "a content type that is no JSON", good.clone(), passes(&[]))
            .header("content-type: text/plain"),
    ];
    all.push(Case { with_key: false, ..case("no key", good.into_bytes(), no_key()) });
    if door.shape != Shape::Gemini {
        all.extend(heads(door));
    }
    all
}

/// What is wrong with the members that every body has, where they are not in the path.
fn heads(door: &'static Door) -> Vec<Case> {
    let good = door.good("app").to_string();
    let case = |input, body: String, outcome| Case::new(door, input, body, outcome);
    vec![
        case("no model", without(door, "model"), refused("missing_required_parameter", "model")),
        case("a model that is a number", set(door, "model", 7), refused("invalid_type", "model")),
        case("a model that is twice there", with(&good, "\"model\":\"own\""), twice()),
        case("half of a surrogate pair as the model", half(door), half_a_pair(door)),
        case(
            "`stream` that is a text",
            set(door, "stream", "yes"),
            refused("invalid_type", "stream"),
        ),
    ]
}

fn too_large() -> Outcome {
    refused("request_too_large", "")
}

fn twice() -> Outcome {
    refused("invalid_value", "model")
}

fn unknown() -> Outcome {
    refused("model_not_found", "model")
}

fn no_key() -> Outcome {
    refused("invalid_api_key", "")
}

fn half_a_pair(door: &Door) -> Outcome {
    let openai = door.path == CHAT.path || door.path == COMPLETIONS.path;
    refused(if openai { "invalid_type" } else { "invalid_value" }, "model")
}

/// A body with one more member, which its own may be.
fn with(good: &str, member: &str) -> String {
    format!("{},{member}}}", good.trim_end_matches('}'))
}

fn without(door: &Door, name: &str) -> String {
    let mut body = door.good("app");
    if let Some(members) = body.as_object_mut() {
        members.remove(name);
    }
    body.to_string()
}

fn set(door: &Door, name: &str, value: impl Into<Value>) -> String {
    door.with("app", &json!({name: value.into()})).to_string()
}

fn half(door: &Door) -> String {
    door.good("app").to_string().replace("\"app\"", "\"\\ud800\"")
}
