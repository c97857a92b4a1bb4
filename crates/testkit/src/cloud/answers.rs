//! What the cloud says, in shapes that the vendor's own SDK accepts in strict mode.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::http::{Head, Told};
use super::{Arrived, Kept, Thing};

/// When everything was made.
const CREATED: u64 = 1_795_000_000;

/// How much sound a sentence is.
const SOUND_BYTES: usize = 300_000;

/// A picture of one pixel.
const PIXEL: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

/// Answers a request.
pub(super) fn answer(head: &Head, arrived: &Arrived, kept: &mut Kept) -> Told {
    match head.fault() {
        Some("401") => {
            return Told::error(401, "Incorrect API key: sk-par***tial", "invalid_api_key");
        }
        Some("429") => return Told::error(429, "slow down", "rate_limit_exceeded"),
        Some("500") => return Told::error(500, "sorry", "server_error"),
        Some("html500") => {
            let page = b"<html>upstream secrets</html>".to_vec();
            return Told { status: 500, ..Told::bytes("text/html", page) };
        }
        Some("redirect") => {
            let mut told = Told::error(302, "", "");
            told.headers.push(("location", "http://169.254.169.254/".to_owned()));
            return told;
        }
        _ => {}
    }
    let path: Vec<&str> = head.path().split('/').skip(1).collect();
    let told = match (head.method.as_str(), path.as_slice()) {
        ("POST", ["files"]) => Some(make_file(arrived, kept)),
        ("POST", ["moderations"]) => Some(Told::json(&moderation())),
        ("POST", ["audio", "speech"]) => Some(sound()),
        ("POST", ["audio", "transcriptions" | "translations"]) => {
            let form = Form::read(arrived);
            let bytes = form.file().map_or(0, |(_, content)| content.len());
            let text = format!("{bytes} bytes for {}", form.text("model").unwrap_or("none"));
            Some(Told::json(&json!({ "text": text })))
        }
        ("POST", ["images", "generations"]) => Some(picture(arrived)),
        ("POST", ["images", "edits" | "variations"]) => Some(Told::json(&pictures())),
        ("POST", ["batches"]) => Some(make(kept, "batch", &batch(arrived))),
        ("POST", ["batches", id, "cancel"]) => {
            Some(change(kept, id, ("status", json!("cancelling"))))
        }
        ("POST", ["vector_stores"]) => Some(make(kept, "vs", &vector_store(arrived))),
        ("POST", ["vector_stores", _, "search"]) => Some(Told::json(&found())),
        ("POST", ["uploads"]) => Some(make(kept, "upload", &upload(arrived))),
        ("POST", ["uploads", id, "parts"]) => {
            let part = json!({"object": "upload.part", "created_at": CREATED, "upload_id": id});
            Some(make(kept, "part", &part))
        }
        ("POST", ["uploads", id, "complete"]) => {
            Some(change(kept, id, ("status", json!("completed"))))
        }
        ("GET" | "HEAD", ["files", id, "content"]) => Some(content(head, kept, id)),
        ("GET", [kind @ ("files" | "batches" | "vector_stores")]) => Some(list(kept, kind)),
        ("GET", [_, id]) => kept.things.get(*id).map(|thing| Told::json(&thing.shown)),
        ("DELETE", [_, id]) => kept.things.remove(*id).map(|thing| {
            let mut object = thing.shown["object"].clone();
            if object != "file" {
                object = format!("{}.deleted", object.as_str().unwrap_or_default()).into();
            }
            Told::json(&json!({"id": id, "object": object, "deleted": true}))
        }),
        _ => None,
    };
    let mut told = told.unwrap_or_else(|| Told::error(404, "No such thing.", "not_found"));
    told.head_only = head.method == "HEAD";
    told
}

fn make(kept: &mut Kept, prefix: &str, shown: &Value) -> Told {
    kept.made += 1;
    let id = format!("{prefix}-{}", kept.made);
    let mut shown = shown.clone();
    shown["id"] = json!(id);
    kept.things.insert(id, Thing { shown: shown.clone(), content: Vec::new() });
    Told::json(&shown)
}

fn change(kept: &mut Kept, id: &str, (name, value): (&str, Value)) -> Told {
    let Some(thing) = kept.things.get_mut(id) else {
        return Told::error(404, "No such thing.", "not_found");
    };
    thing.shown[name] = value;
    Told::json(&thing.shown)
}

fn list(kept: &Kept, kind: &str) -> Told {
    let prefix = match kind {
        "files" => "file-",
        "batches" => "batch-",
        _ => "vs-",
    };
    let of_kind = kept.things.iter().filter(|(id, _)| id.starts_with(prefix));
    let data: Vec<Value> = of_kind.map(|(_, thing)| thing.shown.clone()).collect();
    let id = |thing: Option<&Value>| thing.map_or(Value::Null, |thing| thing["id"].clone());
    Told::json(&json!({
        "object": "list", "data": data, "has_more": false,
        "first_id": id(data.first()), "last_id": id(data.last()),
    }))
}

fn make_file(arrived: &Arrived, kept: &mut Kept) -> Told {
    let form = Form::read(arrived);
    let (name, content) = form.file().unwrap_or(("large.bin", &[]));
    let bytes = if content.is_empty() { arrived.body_bytes } else { content.len() as u64 };
    let shown = json!({
        "object": "file", "bytes": bytes, "created_at": CREATED, "filename": name,
        "purpose": form.text("purpose").unwrap_or("user_data"), "status": "processed",
    });
    let told = make(kept, "file", &shown);
    let id = format!("file-{}", kept.made);
    if let Some(thing) = kept.things.get_mut(&id) {
        thing.content = content.to_vec();
    }
    told
}

/// A file's content, whole or a part of it.
fn content(head: &Head, kept: &Kept, id: &str) -> Told {
    let Some(thing) = kept.things.get(id) else {
        return Told::error(404, "No such File object.", "not_found");
    };
    let mut told = Told::bytes("application/octet-stream", thing.content.clone());
    let name = thing.shown["filename"].as_str().unwrap_or_default();
    told.headers.push(("content-disposition", format!("attachment; filename=\"{name}\"")));
    told.headers.push(("etag", "\"v1\"".to_owned()));
    told.headers.push(("accept-ranges", "bytes".to_owned()));
    let range = head.header("range").and_then(|range| range.strip_prefix("bytes="));
    let ends = range.and_then(|range| range.split_once('-'));
    let ends = ends.and_then(|(from, to)| Some((from.parse().ok()?, to.parse::<usize>().ok()?)));
    if let Some((from, to)) = ends.filter(|(from, to)| from <= to && *to < thing.content.len()) {
        told.status = 206;
        let range = format!("bytes {from}-{to}/{}", thing.content.len());
        told.headers.push(("content-range", range));
        told.body = thing.content[from..=to].to_vec();
    }
    told
}

fn sound() -> Told {
    let body = (0..SOUND_BYTES).map(|at| u8::try_from(at % 251).unwrap_or(0)).collect();
    Told { chunked: true, ..Told::bytes("audio/mpeg", body) }
}

fn pictures() -> Value {
    json!({"created": CREATED, "data": [{"b64_json": PIXEL}]})
}

fn picture(arrived: &Arrived) -> Told {
    let asked: Value =
        serde_json::from_slice(arrived.body.as_deref().unwrap_or_default()).unwrap_or_default();
    if asked["stream"] != json!(true) {
        return Told::json(&pictures());
    }
    let common = json!({
        "b64_json": PIXEL, "created_at": CREATED, "size": "1024x1024", "quality": "low",
        "background": "opaque", "output_format": "png",
    });
    let mut partial = common.clone();
    partial["type"] = json!("image_generation.partial_image");
    partial["partial_image_index"] = json!(0);
    let mut done = common;
    done["type"] = json!("image_generation.completed");
    let usage = json!({"input_tokens": 1, "output_tokens": 2, "total_tokens": 3,
        "input_tokens_details": {"image_tokens": 0, "text_tokens": 1}});
    done["usage"] = usage;
    let mut events = String::new();
    for event in [partial, done] {
        let kind = event["type"].as_str().unwrap_or_default();
        // Writing to a String cannot fail.
        let _ = write!(events, "event: {kind}\ndata: {event}\n\n");
    }
    Told { chunked: true, ..Told::bytes("text/event-stream", events.into_bytes()) }
}

fn moderation() -> Value {
    const KINDS: [&str; 13] = [
        "harassment",
        "harassment/threatening",
        "hate",
        "hate/threatening",
        "illicit",
        "illicit/violent",
        "self-harm",
        "self-harm/instructions",
        "self-harm/intent",
        "sexual",
        "sexual/minors",
        "violence",
        "violence/graphic",
    ];
    let all = |value: Value| -> Value {
        KINDS.iter().map(|kind| ((*kind).to_owned(), value.clone())).collect()
    };
    let result = json!({
        "flagged": false, "categories": all(json!(false)), "category_scores": all(json!(0.01)),
        "category_applied_input_types": all(json!(["text"])),
    });
    json!({"id": "modr-1", "model": "omni-moderation-latest", "results": [result]})
}

fn member(arrived: &Arrived, name: &str) -> Value {
    let body = arrived.body.as_deref().unwrap_or_default();
    serde_json::from_slice::<Value>(body).map(|mut body| body[name].take()).unwrap_or_default()
}

fn batch(arrived: &Arrived) -> Value {
    json!({
        "object": "batch", "endpoint": member(arrived, "endpoint"), "status": "validating",
        "input_file_id": member(arrived, "input_file_id"), "created_at": CREATED,
        "completion_window": member(arrived, "completion_window"),
    })
}

fn upload(arrived: &Arrived) -> Value {
    json!({
        "object": "upload", "bytes": member(arrived, "bytes"), "created_at": CREATED,
        "filename": member(arrived, "filename"), "purpose": member(arrived, "purpose"),
        "status": "pending", "expires_at": CREATED + 3_600,
    })
}

fn vector_store(arrived: &Arrived) -> Value {
    let counts = json!({"in_progress": 0, "completed": 0, "failed": 0, "cancelled": 0, "total": 0});
    json!({
        "object": "vector_store", "created_at": CREATED, "name": member(arrived, "name"),
        "usage_bytes": 0, "file_counts": counts, "status": "completed", "last_active_at": CREATED,
        "metadata": {},
    })
}

fn found() -> Value {
    let hit = json!({"file_id": "file-1", "filename": "a.txt", "score": 0.9, "attributes": {},
        "content": [{"type": "text", "text": "parcel"}]});
    json!({"object": "vector_store.search_results.page", "search_query": ["parcel"], "data": [hit],
        "has_more": false, "next_page": null})
}

/// A multipart form, taken apart in memory: only small ones are kept.
struct Form<'a>(Vec<(String, Option<String>, &'a [u8])>);

impl<'a> Form<'a> {
    fn read(arrived: &'a Arrived) -> Self {
        let body = arrived.body.as_deref().unwrap_or_default();
        let boundary = arrived.header("content-type").and_then(|kind| kind.split_once("boundary="));
        let Some((_, boundary)) = boundary else { return Self(Vec::new()) };
        let line = format!("--{}", boundary.trim_matches('"'));
        let mut parts = Vec::new();
        let mut rest = body;
        while let Some(at) = find(rest, line.as_bytes()) {
            rest = &rest[at + line.len()..];
            let Some(head_end) = find(rest, b"\r\n\r\n") else { break };
            let head = String::from_utf8_lossy(&rest[..head_end]).into_owned();
            let content = &rest[head_end + 4..];
            let Some(end) = find(content, format!("\r\n{line}").as_bytes()) else { break };
            let word = |name: &str| {
                let from = head.split_once(&format!("{name}=\""))?.1;
                from.split_once('"').map(|(word, _)| word.to_owned())
            };
            parts.push((word(" name").unwrap_or_default(), word("filename"), &content[..end]));
            rest = &content[end + 2..];
        }
        Self(parts)
    }

    fn file(&self) -> Option<(&str, &'a [u8])> {
        self.0.iter().find_map(|(_, file, content)| Some((file.as_deref()?, *content)))
    }

    fn text(&self, name: &str) -> Option<&'a str> {
        let (_, _, content) =
            self.0.iter().find(|(part, file, _)| part == name && file.is_none())?;
        std::str::from_utf8(content).ok()
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
