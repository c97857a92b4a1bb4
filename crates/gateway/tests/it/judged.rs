//! Endpoints that are passed on where a local-only use case knows its requests by what stands in their bodies: not a
//! byte of those leaves, nor of what nobody can judge.

use cutover_gateway::explain::Question;
use cutover_route::balance::mix;
use cutover_testkit::cloud::Cloud;
use cutover_testkit::raw::Response;
use cutover_units::Code;

use crate::harness::Rig;

const CASES: &str = r#"
[upstreams.own]
provider = "vllm"
base_url = "http://127.0.0.1:9"
local = true
probes = false
[variants.big]
upstream = "cloud"
model = "m"
[variants.small]
upstream = "own"
model = "m"
[use_cases.open]
match = { model = "open" }
baseline = "big"
[use_cases.app]
match = { header = { x-app = "shop" } }
baseline = "big"
"#;

const BY_MODEL: &str = "[use_cases.loc]\nmatch = { model = \"loc\" }\nbaseline = \"small\"\nresidency = \"local-only\"\n";

const BY_METADATA: &str = "[use_cases.ward]\nmatch = { metadata = { team = \"ward\" } }\nbaseline = \"small\"\nresidency = \"local-only\"\n";

fn config(cloud: &Cloud, surface: &str, more: &str) -> String {
    let base = cloud.base_url();
    let base = base.strip_suffix("/v1").unwrap_or(&base);
    format!(
        "default_upstream = \"cloud\"\n[surface]\n{surface}[upstreams.cloud]\nprovider = \"openai\"\n\
         key = {{ env = \"KEY\" }}\ninstances = [\"{base}\"]\n{CASES}{more}"
    )
}

fn cloud() -> Cloud {
    Cloud::start("upstream-secret")
}

fn rig(cloud: &Cloud) -> Rig {
    Rig::start(&config(cloud, "", &format!("{BY_MODEL}{BY_METADATA}")))
}

const JSON: &str = "content-type: application/json";
const FORM: &str = "content-type: multipart/form-data; boundary=b";

fn send(rig: &Rig, path: &str, headers: &[&str], body: &[u8]) -> Response {
    let mut raw = rig.raw();
    let (line, length) =
        (format!("POST {path} HTTP/1.1"), format!("content-length: {}", body.len()));
    let head = [&[&*line, "host: localhost", &*length], headers].concat();
    raw.send(head.join("\r\n") + "\r\n\r\n").unwrap();
    // A body that is refused by its head may not be taken any more.
    let _ = raw.send(body);
    raw.response().unwrap().expect("an answer")
}

/// A form: names and values, and at last a file.
fn form(fields: &[(&str, &str)]) -> Vec<u8> {
    let part = |name: &str, more: &str, value: &str| {
        format!("--b\r\ncontent-disposition: form-data; name=\"{name}\"{more}\r\n\r\n{value}\r\n")
    };
    let mut parts: Vec<_> = fields.iter().map(|(name, value)| part(name, "", value)).collect();
    parts.insert(parts.len() / 2, part("file", "; filename=\"call.mp3\"", "--sound--"));
    (parts.concat() + "--b--\r\n").into_bytes()
}

fn is_refused(response: &Response) -> bool {
    let refused = response.status == 503;
    if refused {
        assert_eq!(response.json()["error"]["code"], "residency_no_local_upstream");
        assert_eq!(response.header("x-should-retry"), Some("false"));
    }
    refused
}

fn nothing_left(cloud: &Cloud, what: &str) {
    assert_eq!((cloud.arrived().len(), cloud.bytes_read()), (0, 0), "{what}");
}

/// Such requests went to the default upstream: on these endpoints a use case was known by key and headers alone.
#[test]
fn a_use_case_that_is_known_by_model_or_metadata_stays_local_on_every_endpoint() {
    let cloud = cloud();
    let rig = rig(&cloud);
    let paths = ["moderations", "audio/speech", "images/generations", "batches", "conversations"];
    for path in paths.map(|path| format!("/v1/{path}")) {
        for body in [
            r#"{"model":"loc","input":"secret"}"#,
            r#"{"input":"secret","mod\u0065l":"lo\u0063"}"#,
            r#"{"metadata":{"team":"ward"},"model":"open","input":"secret"}"#,
        ] {
            let refused = send(&rig, &path, &[JSON], body.as_bytes());
            assert!(is_refused(&refused), "{path} {body}: {}", refused.text());
            assert!(refused.text().contains("is local-only"), "{}", refused.text());
        }
    }
    for path in ["/v1/audio/transcriptions", "/v1/images/edits"] {
        let refused = send(&rig, path, &[FORM], &form(&[("language", "en"), ("model", "loc")]));
        assert!(is_refused(&refused), "{path}: {}", refused.text());
    }
    nothing_left(&cloud, "a local-only use case's");
}

#[test]
fn what_nobody_can_judge_is_refused_and_says_how_to_mend_it() {
    let cloud = cloud();
    let small = config(&cloud, "", &format!("{BY_MODEL}[server]\nbody_limit = \"1 KiB\"\n"));
    let rig = Rig::start(&small);
    let large = format!("{{\"model\":\"open\",\"input\":\"{}\"}}", "x".repeat(2_000));
    let (batch, open) = (form(&[("purpose", "batch")]), form(&[("model", "open")]));
    let jsonl = b"{\"body\":{\"model\":\"loc\"}}\n";
    for (path, headers, body) in [
        ("/v1/files", FORM, &*batch),
        ("/v1/files", FORM, &*open),
        ("/v1/uploads/upload-1/parts", FORM, &*form(&[])),
        ("/v1/audio/transcriptions", FORM, &*form(&[("language", "en")])),
        ("/v1/audio/transcriptions", FORM, &*form(&[("model", "open"), ("model", "loc")])),
        ("/v1/audio/transcriptions", "content-type: multipart/form-data", &*open),
        ("/v1/audio/transcriptions", "x-a: b", &*open),
        ("/v1/files", "content-type: application/jsonl", jsonl),
        ("/v1/moderations", "content-type: text/plain", br#"{"model":"open"}"#),
        ("/v1/moderations", JSON, br#"{"model":"open","model":"loc"}"#),
        ("/v1/moderations", JSON, br#"[{"model":"loc"}]"#),
        ("/v1/moderations", JSON, large.as_bytes()),
    ] {
        let refused = send(&rig, path, &[headers], body);
        assert!(is_refused(&refused), "{path} {headers}: {} {}", refused.status, refused.text());
        assert!(refused.text().contains("x-cutover-use-case"), "{}", refused.text());
        nothing_left(&cloud, path);
    }
    let named = send(&rig, "/v1/files", &[FORM, "x-cutover-use-case: open"], &batch);
    assert_eq!((named.status, named.header("x-cutover-upstream")), (200, Some("cloud")));
    assert_eq!(cloud.wait_for(1)[0].body.as_deref(), Some(&*batch));
    assert!(rig.metrics().contains("limit=\"server.body_limit\"} 1"), "the limit is counted");
}

/// Clients that do not know a body's length send it in chunks, also where there is none.
#[test]
fn an_empty_body_in_chunks_tells_nothing_and_passes() {
    let cloud = cloud();
    let rig = rig(&cloud);
    for (line, more) in [
        ("DELETE /v1/files/f1", ""),
        ("POST /v1/batches/b/cancel", ""),
        ("POST /v1/batches/b/cancel", "content-type: application/json\r\n"),
    ] {
        let mut raw = rig.raw();
        let head = format!(
            "{line} HTTP/1.1\r\nhost: localhost\r\n{more}transfer-encoding: chunked\r\n\r\n"
        );
        raw.send(head + "0\r\n\r\n").unwrap();
        let passed = raw.response().unwrap().expect("an answer");
        assert_eq!(passed.header("x-cutover-upstream"), Some("cloud"), "{line}: {passed:?}");
    }
    let mut raw = rig.raw();
    raw.send("POST /v1/batches/b/cancel HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n").unwrap();
    raw.send("1\r\nx\r\n0\r\n\r\n").unwrap();
    assert!(is_refused(&raw.response().unwrap().expect("an answer")));
}

/// What comes in pieces is judged whole, and what breaks off is not sent at all.
#[test]
fn a_body_in_pieces_leaves_when_all_of_it_is_known() {
    let cloud = cloud();
    let rig = rig(&cloud);
    let head = format!(
        "POST /v1/moderations HTTP/1.1\r\nhost: localhost\r\n{JSON}\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    let mut raw = rig.raw();
    raw.send(&head).unwrap();
    raw.send("11\r\n{\"input\":\"secret\"\r\n").unwrap();
    raw.send("e\r\n,\"model\":\"loc\"\r\n1\r\n}\r\n0\r\n\r\n").unwrap();
    assert!(is_refused(&raw.response().unwrap().expect("an answer")));
    // The connection goes on.
    raw.send(&head).unwrap();
    raw.send("7\r\n{\"input\r\n").unwrap();
    raw.finish_sending().unwrap();
    assert!(raw.response().unwrap().is_none_or(|answer| answer.status == 400));
    nothing_left(&cloud, "nor a part");
    let mut raw = rig.raw();
    raw.send(&head).unwrap();
    raw.send("10\r\n{\"model\": \"open\"\r\n1\r\n}\r\n0\r\n\r\n").unwrap();
    assert_eq!(raw.response().unwrap().expect("an answer").status, 200);
    assert_eq!(cloud.wait_for(1)[0].body_bytes, 17);
}

#[test]
fn nothing_is_read_where_no_use_case_asks_for_it_or_nothing_would_leave() {
    let cloud = cloud();
    let base = cloud.base_url();
    let base = base.strip_suffix("/v1").unwrap_or(&base);
    let local = config(&cloud, "", BY_MODEL)
        .replace("provider = \"openai\"", "provider = \"openai\"\nlocal = true");
    let elsewhere = config(&cloud, "upstream = \"own\"\n", BY_MODEL)
        .replace("http://127.0.0.1:9", base)
        .replace("local = true", "local = true\nkey = { env = \"KEY\" }");
    for config in [config(&cloud, "", ""), local, elsewhere] {
        let rig = Rig::start(&config);
        let before = cloud.arrived().len();
        for (path, headers, body) in [
            ("/v1/moderations", JSON, br#"{"model":"loc"}"#.as_slice()),
            ("/v1/files", FORM, &*form(&[("purpose", "batch")])),
            ("/v1/files", "content-type: application/jsonl", b"{"),
        ] {
            let passed = send(&rig, path, &[headers], body);
            assert!(passed.header("x-cutover-upstream").is_some(), "{}", passed.text());
        }
        let arrived = cloud.wait_for(before + 3);
        assert_eq!(arrived.last().unwrap().body.as_deref(), Some(b"{".as_slice()));
    }
}

/// Who asks where a request would go is told what would be done.
#[test]
fn what_is_explained_is_what_is_done() {
    let cloud = cloud();
    let rig = rig(&cloud);
    let told = |content_type: Option<&str>, body: &str| {
        let mut request = http::Request::post("/v1/moderations");
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        let question = Question { head, body: body.to_owned().into(), caller: None };
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(rig.gateway.explain(question)).map(drop).map_err(|fault| fault.code)
    };
    for content_type in [None, Some("application/json")] {
        assert_eq!(told(content_type, r#"{"model":"loc"}"#), Err(Code::NoLocalUpstream));
        assert_eq!(told(content_type, r#"{"model":"open"}"#), Ok(()));
        assert_eq!(told(content_type, ""), Ok(()));
    }
    assert_eq!(told(Some("text/plain"), r#"{"model":"open"}"#), Err(Code::NoLocalUpstream));
    nothing_left(&cloud, "nobody was asked");
}

/// Bodies by chance, against what was meant when they were written.
#[test]
fn whatever_is_sent_a_local_only_use_cases_bytes_stay() {
    const CASES: u64 = 300;
    let cloud = cloud();
    let rig = rig(&cloud);
    let (mut refused, mut passed) = (0, 0);
    for case in 0..CASES {
        let mut state = case << 20;
        let mut below = |n: usize| {
            state += 1;
            usize::try_from(mix(state) % n as u64).unwrap()
        };
        let model = ["loc", "open", "other", ""][below(4)];
        let team = ["ward", "shop"][below(2)];
        let paths = ["moderations", "audio/transcriptions", "images/edits", "batches", "files"];
        let path = format!("/v1/{}", paths[below(paths.len())]);
        let spaces = " ".repeat(below(3));
        let input = "\"model\":\"open\"}".repeat(below(4)).replace('"', "\\\"");
        let (headers, body, stays) = match below(4) {
            0 | 1 => {
                let mut members = [
                    format!("\"model\":{spaces}\"{model}\""),
                    format!("\"metadata\":{{\"team\":\"{team}\"}}"),
                    format!("\"input\":\"{input}\""),
                ];
                members.rotate_left(below(3));
                let body = format!("{{{}}}", members.join(&format!(",{spaces}")));
                (JSON, body.into_bytes(), model == "loc" || team == "ward")
            }
            2 => {
                let body =
                    form(&[("prompt", &input), ("model", model), ("response_format", "text")]);
                let telling = ["/v1/audio/transcriptions", "/v1/images/edits"];
                (FORM, body, model == "loc" || !telling.contains(&&*path))
            }
            _ => (["x-a: b", "content-type: text/plain"][below(2)], b"loc".to_vec(), true),
        };
        let before = (cloud.arrived().len(), cloud.bytes_read());
        let response = send(&rig, &path, &[headers], &body);
        let text = String::from_utf8_lossy(&body);
        assert_eq!(is_refused(&response), stays, "case {case}: {path} {headers} {text}");
        if stays {
            refused += 1;
            assert_eq!((cloud.arrived().len(), cloud.bytes_read()), before, "case {case}: {text}");
        } else {
            passed += 1;
            assert_eq!(cloud.wait_for(before.0 + 1).last().unwrap().body.as_deref(), Some(&*body));
        }
    }
    assert!(refused > 50 && passed > 50, "{refused} refused, {passed} passed");
}

#[test]
fn what_is_of_no_local_only_use_case_passes_as_it_came() {
    let cloud = cloud();
    let rig = rig(&cloud);
    let speech = r#" {"voice":"alloy", "model": "tts-1", "input":"x","metadata":{"team":"shop"}} "#;
    let open = form(&[("model", "open")]);
    let mut sent = Vec::new();
    for (path, headers, body) in [
        ("/v1/audio/speech", &[JSON][..], speech.as_bytes()),
        ("/v1/moderations", &[JSON], br#"{"input":"x"}"#),
        ("/v1/audio/transcriptions", &[FORM], &open),
        ("/v1/files", &[FORM, "x-cutover-use-case: open"], &open),
        ("/v1/moderations", &[JSON, "x-cutover-use-case: open"], br#"{"model":"loc"}"#),
        // What headers say comes before what bodies say, as with chats.
        ("/v1/moderations", &[JSON, "x-app: shop"], br#"{"model":"loc"}"#),
    ] {
        let passed = send(&rig, path, headers, body);
        assert_eq!(passed.header("x-cutover-upstream"), Some("cloud"), "{path}: {}", passed.text());
        sent.push(body.to_vec());
        let arrived = cloud.wait_for(sent.len());
        let last = arrived.last().unwrap();
        assert_eq!(last.body.as_deref(), Some(body), "{path}");
        assert_eq!(last.header("content-length"), Some(&*body.len().to_string()));
    }
    // Without a body there is nothing to judge.
    let before = cloud.arrived().len();
    for line in ["GET /v1/files", "DELETE /v1/files/file-1", "POST /v1/batches/b-1/cancel"] {
        let mut raw = rig.raw();
        raw.request(line, &[], "").unwrap();
        let answer = raw.response().unwrap().expect("an answer");
        assert_eq!(answer.header("x-cutover-upstream"), Some("cloud"), "{line}");
    }
    assert_eq!(cloud.wait_for(before + 3).len(), before + 3);
}
