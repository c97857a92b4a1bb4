use bytes::Bytes;
use cutover_wire::{Endpoint, Head};
use proptest::prelude::*;

use super::*;

fn kind(content_type: &str) -> Option<Kind> {
    Kind::of([content_type.as_bytes()].into_iter())
}

fn form(boundary: &str) -> Kind {
    Kind::Form { boundary: boundary.to_owned() }
}

#[test]
fn json_and_forms_are_read_and_nothing_else() {
    for json in ["application/json", "Application/JSON; charset=utf-8", "application/json;"] {
        assert_eq!(kind(json), Some(Kind::Json), "{json}");
    }
    for (text, boundary) in [
        ("multipart/form-data; boundary=abc", "abc"),
        ("Multipart/Form-Data;Boundary=\"a b\" ; x=y", "a b"),
        (
            "multipart/form-data; boundary=----WebKitFormBoundary7MA4YWxk",
            "----WebKitFormBoundary7MA4YWxk",
        ),
    ] {
        assert_eq!(kind(text), Some(form(boundary)), "{text}");
    }
    let other = [
        "",
        "text/plain",
        "application/octet-stream",
        "application/jsonl",
        "application/x-www-form-urlencoded",
        "multipart/mixed; boundary=a",
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=a; boundary=b",
        "multipart/form-data; boundary*=utf-8''a; boundary=b",
        "multipart/form-data; boundary=\"a\\\"b\"",
        "multipart/form-data; boundary=\"a",
        "multipart/form-data; boundary=a b",
        "multipart/form-data; boundary=\"a\"b",
    ];
    for text in other {
        assert_eq!(kind(text), None, "{text}");
    }
    assert_eq!(kind(&format!("multipart/form-data; boundary={}", "a".repeat(71))), None);
    let twice = [b"application/json".as_slice(), b"application/json"];
    assert_eq!(Kind::of(twice.into_iter()), None, "of two nobody knows which counts");
    assert_eq!(Kind::of(std::iter::empty()), None);
}

fn json(body: &str) -> Option<(String, Vec<(String, String)>)> {
    let told = Kind::Json.read(body.as_bytes())?;
    let mut metadata: Vec<_> = told.metadata.into_iter().collect();
    metadata.sort();
    Some((told.model, metadata))
}

#[test]
fn of_json_the_outer_model_and_metadata_are_read() {
    let none = || Vec::<(String, String)>::new();
    assert_eq!(json(r#"{"input":"x"}"#), Some((String::new(), none())));
    assert_eq!(json(r#"{"model":null,"metadata":null}"#), Some((String::new(), none())));
    assert_eq!(json(r#" {"x":{"model":"no"},"model":"yes"} "#), Some(("yes".into(), none())));
    assert_eq!(json(r#"{"mod\u0065l":"l\u006fc"}"#), Some(("loc".into(), none())));
    let entries = r#"{"metadata":{"a":"b","n":7,"f":true,"z":null,"o":{"a":"c"}}}"#;
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let read = vec![pair("a", "b"), pair("f", "true"), pair("n", "7")];
    assert_eq!(json(entries), Some((String::new(), read)));
    let doubtful = [
        "",
        "x",
        "[]",
        "null",
        r#"{"model":"a"} {"model":"b"}"#,
        r#"{"model":"a","model":"b"}"#,
        r#"{"model":"a","mod\u0065l":"b"}"#,
        r#"{"model":7}"#,
        r#"{"model":["a"]}"#,
        r#"{"model":"\ud800"}"#,
        r#"{"metadata":7}"#,
        r#"{"metadata":{"a":"b"},"metadata":{}}"#,
        r#"{"metadata":{"a":"b","a":"c"}}"#,
        "\u{feff}{\"model\":\"a\"}",
    ];
    for body in doubtful {
        assert_eq!(json(body), None, "{body}");
    }
    assert!(Kind::Json.read(b"{\"model\":\"\xff\"}").is_none());
    let deep = format!("{{\"x\":{}{},\"model\":\"a\"}}", "[".repeat(9_000), "]".repeat(9_000));
    assert_eq!(json(&deep), Some(("a".into(), none())), "neither a stack nor a doubt");
}

const DISPOSITION: &str = "Content-Disposition: form-data; name=";

fn model_of(body: &str) -> Option<String> {
    form("b").read(body.replace('\n', "\r\n").as_bytes()).map(|told| told.model)
}

#[test]
fn a_forms_model_is_read_wherever_it_stands() {
    let file = format!(
        "{DISPOSITION}\"file\"; filename=\"a;b.mp3\"\nContent-Type: audio/mpeg\n\nID3 --b --bx\n-b-"
    );
    let model = format!("{DISPOSITION}\"model\"\n\nwhisper-1");
    for (first, second) in [(&file, &model), (&model, &file)] {
        for end in ["", "\n"] {
            let body = format!("--b\n{first}\n--b\n{second}\n--b--{end}");
            assert_eq!(model_of(&body).as_deref(), Some("whisper-1"), "{body}");
        }
    }
    let variants = [
        "Content-Disposition: form-data; name=model\n\nm",
        "content-disposition:form-data ;NAME=\"model\"\nContent-Type: text/plain; charset=UTF-8\n\nm",
        "Content-Disposition: form-data; name=\"model\"\nContent-Length: 1\n\nm",
    ];
    for part in variants {
        assert_eq!(model_of(&format!("--b\n{part}\n--b--")).as_deref(), Some("m"), "{part}");
    }
}

#[test]
fn a_form_that_could_be_read_in_two_ways_is_not_read() {
    let part = |name: &str, value: &str| format!("--b\n{DISPOSITION}\"{name}\"\n\n{value}\n");
    let model = part("model", "m");
    let bodies = [
        String::new(),
        model.clone(),
        format!("{model}--b"),
        format!("{model}--b--\n\nmore"),
        format!("{model}--b--{model}--b--"),
        format!("preamble\n{model}--b--"),
        format!("{model}{}--b--", part("model", "other")),
        format!("{model}{}--b--", part("model[]", "other")),
        format!("{model}{}--b--", part("_charset_", "utf-7")),
        format!("{model}{}--b--", part("metadata[team]", "x")),
        format!("{}--b--", part("file", "m")),
        // Nearly a boundary.
        format!("{}--b--", part("model", "m\n--bx\nn")),
        format!("--b \n{DISPOSITION}\"model\"\n\nm\n--b--"),
        format!("--b\n{DISPOSITION}\"model\"; filename=\"m\"\n\nm\n--b--"),
        format!("--b\n{DISPOSITION}\"model\"\nContent-Transfer-Encoding: base64\n\nbQ==\n--b--"),
        format!(
            "--b\n{DISPOSITION}\"model\"\nContent-Type: text/plain; charset=utf-16\n\nm\n--b--"
        ),
        format!("--b\n{DISPOSITION}\"model\"\nContent-Type: application/json\n\n\"m\"\n--b--"),
        format!("--b\n{DISPOSITION}\"x\"; name=\"model\"\n\nm\n--b--"),
        format!("--b\n{DISPOSITION}\"x\"; name*=utf-8''model\n\nm\n--b--"),
        format!("--b\n{DISPOSITION}\"model\"\n{DISPOSITION}\"x\"\n\nm\n--b--"),
        format!("--b\n{DISPOSITION}\n \"model\"\n\nm\n--b--"),
        "--b\nContent-Disposition: attachment; name=\"model\"\n\nm\n--b--".to_owned(),
        "--b\n\nm\n--b--".to_owned(),
    ];
    for body in bodies {
        assert_eq!(model_of(&body), None, "{body}");
    }
    let bare = model.replace('\n', "\r\n") + "x\n--b\r\n\r\n--b--";
    assert!(form("b").read(bare.as_bytes()).is_none(), "some end lines with \\n alone");
}

/// A form as a client writes it: names, whether they are files, and contents.
fn written(parts: &[(String, bool, Vec<u8>)], boundary: &str) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, is_file, content) in parts {
        let file = if *is_file { "; filename=\"f\"\r\nContent-Type: audio/wav" } else { "" };
        body.extend(format!("--{boundary}\r\n{DISPOSITION}\"{name}\"{file}\r\n\r\n").bytes());
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend(format!("--{boundary}--\r\n").bytes());
    body
}

fn some_parts() -> impl Strategy<Value = Vec<(String, bool, Vec<u8>)>> {
    let bytes = prop::sample::select(b"\r\n-b-b x\xff".to_vec());
    let content = prop::collection::vec(bytes, 0..20);
    prop::collection::vec(("model|file|prompt|language", any::<bool>(), content), 0..5)
}

proptest! {
    /// The least likely content, made of the boundary's own letters: what is read is what was written, or nothing.
    #[test]
    fn what_a_form_tells_is_what_was_written(parts in some_parts()) {
        let models: Vec<_> = parts.iter().filter(|part| part.0 == "model").collect();
        let told = form("b-b").read(&written(&parts, "b-b"));
        match (told, &*models) {
            (Some(told), [(_, false, content)]) => prop_assert_eq!(told.model.as_bytes(), &**content),
            (Some(_), _) => prop_assert!(false, "no or many models"),
            // A boundary that no client would take, because it stands in the content, may be refused.
            (None, [(_, false, content)]) => {
                let in_content = parts.iter().any(|part| memmem::find(&part.2, b"--b-b").is_some());
                prop_assert!(in_content || std::str::from_utf8(content).is_err());
            }
            (None, _) => {}
        }
    }

    /// Whatever chats' own reading finds in a body is found here, or nothing is.
    #[test]
    fn json_is_matched_as_a_chats_is(
        model in "[a-z\\\\\"u0]{0,6}",
        team in prop::sample::select(vec!["\"x\"", "7", "1e2", "true", "null", "[]", "\"\\u0041\""]),
        rest in prop::sample::select(vec!["", ",\"model\":\"z\"", ",\"metadata\":{}", ",\"x\":{\"model\":1}"]),
    ) {
        let body = format!("{{\"model\":\"{model}\",\"metadata\":{{\"team\":{team}}},\"input\":\"x\"{rest}}}");
        let body = Bytes::from(body);
        let told = Kind::Json.read(&body);
        if let Ok(head) = Head::read(Endpoint::Embeddings, &body) {
            let told = told.expect("what a chat may say");
            prop_assert_eq!(&*told.model, &*head.model);
            let known = head.metadata(&body, "team");
            prop_assert_eq!(told.metadata("team"), known.as_deref());
        }
    }

    #[test]
    fn nothing_panics(body in prop::collection::vec(prop::sample::select(b"--b\r\n:;=\"{}[]model,\\".to_vec()), 0..80)) {
        let _ = form("b").read(&body);
        let _ = Kind::Json.read(&body);
        let _ = Kind::of([&*body].into_iter());
        let head = [b"--b\r\n".as_slice(), DISPOSITION.as_bytes(), &body].concat();
        let _ = form("b").read(&head);
    }
}

#[test]
fn of_metadata_the_last_counts_and_what_has_no_text_is_left_out() {
    let told = |body: &str| {
        let mut told: Vec<_> = metadata_of(body.as_bytes()).into_iter().collect();
        told.sort();
        told
    };
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let body = r#"{"metadata":{"a":"1"},"m\u0065tadata":{"b":"\u0078","c":7,"d":true,"e":null,"f":{},"b":"y"}}"#;
    assert_eq!(told(body), [pair("b", "y"), pair("c", "7"), pair("d", "true")]);
    let odd = r#" {"\ud800":1,"metadata":{"\ud800":2,"a":"1"}} "#;
    assert_eq!(told(odd), [pair("a", "1")], "half a character hides nothing");
    for none in ["", "[]", "{}", r#"{"metadata":null}"#, r#"{"metadata":[1]}"#] {
        assert_eq!(told(none), [], "{none}");
    }
}
