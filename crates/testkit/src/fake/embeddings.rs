//! Embeddings: vectors that depend on the text alone, in both encodings that SDKs ask for.

use serde_json::{Value, json};

use super::refusal::Refusal;

const WIDTH: usize = 8;
/// As large as the largest real ones: a test must not be able to ask for all of the memory.
const WIDTH_MAX: usize = 3072;

/// Answers Ollama's `POST /api/embed`.
pub(super) fn ollama(body: &Value) -> Value {
    let inputs: Vec<String> = match &body["input"] {
        Value::Array(items) => items.iter().map(text_of).collect(),
        item => vec![text_of(item)],
    };
    let vectors: Vec<Vec<f32>> = inputs.iter().map(|text| vector(text, WIDTH)).collect();
    let tokens: usize = inputs.iter().map(|text| text.len().div_ceil(4)).sum();
    json!({"model": body["model"], "embeddings": vectors, "total_duration": 5_000_000,
        "load_duration": 1_000_000, "prompt_eval_count": tokens})
}

/// Answers Gemini's `embedContent` and `batchEmbedContents`.
pub(super) fn google(body: &Value) -> Value {
    let one = |request: &Value| {
        let parts = request["content"]["parts"].as_array().into_iter().flatten();
        let text: String = parts.filter_map(|part| part["text"].as_str()).collect();
        let width = request["outputDimensionality"].as_u64().and_then(|n| usize::try_from(n).ok());
        json!({"values": vector(&text, width.unwrap_or(WIDTH).clamp(1, WIDTH_MAX))})
    };
    match body["requests"].as_array() {
        Some(requests) => json!({"embeddings": requests.iter().map(one).collect::<Vec<_>>()}),
        None => json!({"embedding": one(body)}),
    }
}

/// Answers `POST /v1/embeddings`.
pub(super) fn openai(body: &Value) -> Result<Value, Refusal> {
    let bad = || Refusal::BadType { param: "input".to_owned() };
    let inputs: Vec<String> = match &body["input"] {
        Value::String(text) => vec![text.clone()],
        // A list of numbers is one tokenised text.
        Value::Array(items) if items.iter().all(Value::is_number) => {
            vec![body["input"].to_string()]
        }
        Value::Array(items) => items.iter().map(text_of).collect(),
        _ => return Err(bad()),
    };
    let width = match &body["dimensions"] {
        Value::Null => WIDTH,
        value => {
            let asked = value.as_u64().and_then(|count| usize::try_from(count).ok());
            asked.filter(|count| (1..=WIDTH_MAX).contains(count)).ok_or_else(bad)?
        }
    };
    let packed = body["encoding_format"] == "base64";
    let data: Vec<Value> = inputs
        .iter()
        .enumerate()
        .map(|(index, text)| {
            let numbers = vector(text, width);
            let embedding = if packed { json!(base64(&numbers)) } else { json!(numbers) };
            json!({"object": "embedding", "index": index, "embedding": embedding})
        })
        .collect();
    let tokens: usize = inputs.iter().map(|text| text.len().div_ceil(4)).sum();
    Ok(json!({"object": "list", "data": data, "model": body["model"],
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens}}))
}

fn text_of(item: &Value) -> String {
    item.as_str().map_or_else(|| item.to_string(), str::to_owned)
}

/// A unit vector that depends on `text` alone.
fn vector(text: &str, width: usize) -> Vec<f32> {
    let mut state = 0xcbf2_9ce4_8422_2325_u64;
    for byte in text.bytes() {
        state = (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    let raw: Vec<f32> = (0..width)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            f32::from(u16::try_from(state >> 48).unwrap_or(0)) / 32768.0 - 1.0
        })
        .collect();
    let length = raw.iter().map(|lane| lane * lane).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
    raw.iter().map(|lane| lane / length).collect()
}

fn base64(numbers: &[f32]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bytes: Vec<u8> = numbers.iter().flat_map(|lane| lane.to_le_bytes()).collect();
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let at = |index: usize| u32::from(group.get(index).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for position in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * position) & 63) as usize];
            let present = position <= group.len();
            text.push(if present { char::from(letter) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_the_standard_one() {
        assert_eq!(base64(&[1.0, -2.0]), "AACAPwAAAMA=");
    }

    #[test]
    fn vectors_depend_on_the_text_alone() {
        assert_eq!(vector("a", 8), vector("a", 8));
        assert_ne!(vector("a", 8), vector("b", 8));
        assert!((vector("abc", 64).iter().map(|lane| lane * lane).sum::<f32>() - 1.0).abs() < 1e-5);
    }
}
