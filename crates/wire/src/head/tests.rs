use super::*;
use proptest::prelude::*;
use std::fmt::Write as _;

fn chat(body: &str) -> Result<Head, Fault> {
    Head::read(Endpoint::ChatCompletions, &Bytes::copy_from_slice(body.as_bytes()))
}

fn chat_of(body: &Bytes) -> Result<Head, Fault> {
    Head::read(Endpoint::ChatCompletions, body)
}

fn param(body: &str) -> (Code, Option<String>) {
    let fault = chat(body).expect_err(body);
    (fault.code, fault.param)
}

#[test]
fn routed_fields_are_read() {
    let body = Bytes::from_static(
        br#" { "model": "a\u0062c", "stream":true, "stream_options":{"include_usage":true},
        "n":2,"user":"u","safety_identifier":"s","prompt_cache_key":"k","max_tokens":5,
        "max_completion_tokens":7,"metadata":{"use_case":"x","priority":"cost","odd":1},
        "tools":[{"type":"function","function":{"name":"f","parameters":{}}}],
        "response_format":{"type":"json_object"},"client_metadata":{"a":[1]},
        "messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"x"}}]}]} "#,
    );
    let head = Head::read(Endpoint::ChatCompletions, &body).unwrap();
    assert_eq!(&*head.model, "abc");
    assert!(head.stream && head.include_usage && head.has_tools && head.has_response_format);
    assert_eq!((head.n, head.max_tokens), (2, Some(7)));
    assert_eq!(head.user.as_deref(), Some("u"));
    assert_eq!(head.safety_identifier.as_deref(), Some("s"));
    assert_eq!(head.prompt_cache_key.as_deref(), Some("k"));
    assert_eq!(head.metadata(&body, "use_case").as_deref(), Some("x"));
    assert_eq!(head.metadata(&body, "priority").as_deref(), Some("cost"));
    // A number names somebody, too.
    assert_eq!(head.metadata(&body, "odd").as_deref(), Some("1"));
    assert_eq!(head.metadata(&body, "nobody"), None);
    assert!(head.has_images(&body) && !head.has_audio(&body));
    assert!(head.est_prompt_tokens > 10);
}

#[test]
fn text_that_talks_about_images_is_no_image() {
    let body = Bytes::from_static(
        br#"{"model":"m","messages":[{"role":"user","content":"send \"image_url\" please"}]}"#,
    );
    let head = Head::read(Endpoint::ChatCompletions, &body).unwrap();
    assert!(!head.has_images(&body));
}

/// Whoever reads the JSON finds them, so that a model without eyes was sent them.
#[test]
fn images_and_audio_are_found_with_letters_by_their_numbers() {
    for (part, image) in [
        (r#"{"type":"image\u005furl","image\u005Furl":{"url":"data:"}}"#, true),
        (r#"{"type":"input\u005faudio","inp\u0075t_audio":{"data":""}}"#, false),
    ] {
        let body = format!(r#"{{"model":"m","messages":[{{"role":"user","content":[{part}]}}]}}"#);
        let body = Bytes::from(body);
        let head = Head::read(Endpoint::ChatCompletions, &body).unwrap();
        assert_eq!((head.has_images(&body), head.has_audio(&body)), (image, !image), "{part}");
    }
}

#[test]
fn a_wrong_type_names_its_field() {
    let cases = [
        (r#"{"model":1,"messages":[]}"#, "model"),
        (r#"{"model":"m","messages":{}}"#, "messages"),
        (r#"{"model":"m","messages":[],"stream":"yes"}"#, "stream"),
        (r#"{"model":"m","messages":[],"stream_options":1}"#, "stream_options"),
        (
            r#"{"model":"m","messages":[],"stream_options":{"include_usage":3}}"#,
            "stream_options.include_usage",
        ),
        (r#"{"model":"m","messages":[],"n":1.5}"#, "n"),
        (r#"{"model":"m","messages":[],"n":-1}"#, "n"),
        (r#"{"model":"m","messages":[],"user":{}}"#, "user"),
        (r#"{"model":"m","messages":[],"metadata":[]}"#, "metadata"),
        (r#"{"model":"m","messages":[],"max_tokens":"x"}"#, "max_tokens"),
        (r#"{"model":"m","messages":[],"tools":{}}"#, "tools"),
        (r#"{"model":"m","messages":[],"tools":["x"]}"#, "tools[0]"),
        (
            r#"{"model":"m","messages":[],"tools":[{"function":{"parameters":[]}}]}"#,
            "tools[0].function.parameters",
        ),
        (r#"{"model":"m","messages":[],"response_format":"json"}"#, "response_format"),
    ];
    for (body, name) in cases {
        assert_eq!(param(body), (Code::InvalidType, Some(name.into())), "{body}");
    }
}

#[test]
fn missing_and_empty_fields_are_told() {
    assert_eq!(param("{}"), (Code::MissingField, Some("model".into())));
    assert_eq!(param(r#"{"model":null}"#), (Code::MissingField, Some("model".into())));
    assert_eq!(param(r#"{"model":"m"}"#), (Code::MissingField, Some("messages".into())));
    assert_eq!(param(r#"{"model":"","messages":[]}"#), (Code::InvalidValue, Some("model".into())));
    assert_eq!(
        param(r#"{"model":"m","messages":[],"n":0}"#),
        (Code::InvalidValue, Some("n".into()))
    );
}

#[test]
fn a_repeated_known_field_is_refused_however_it_is_spelt() {
    let plain = r#"{"model":"a","messages":[],"model":"b"}"#;
    assert_eq!(param(plain), (Code::InvalidValue, Some("model".into())));
    let escaped = r#"{"model":"a","messages":[],"m\u006fdel":"b"}"#;
    assert_eq!(param(escaped), (Code::InvalidValue, Some("model".into())));
    assert!(chat(r#"{"model":"a","messages":[],"zzz":1,"zzz":2}"#).is_ok());
}

#[test]
fn malformed_bodies_are_refused() {
    let garbage: [&[u8]; 10] = [
        b"",
        b"null",
        b"[]",
        b"{",
        b"{\"model\":\"m\",\"messages\":[]}x",
        b"{\"model\":\"m\",\"messages\":[],\"x\":nul}",
        b"{\"model\":\"m\",\"messages\":[],\"x\":\"\xff\"}",
        b"{\"model\":\"m\",\"messages\":[],\"x\":\"\n\"}",
        b"{\"model\":\"m\",\"messages\":[],}",
        b"\xef\xbb\xbf{}",
    ];
    for body in garbage {
        let fault = Head::read(Endpoint::ChatCompletions, &Bytes::from_static(body)).unwrap_err();
        assert!(
            matches!(fault.code, Code::InvalidJson | Code::InvalidType),
            "{body:?} gave {fault:?}"
        );
    }
    let deep =
        format!(r#"{{"model":"m","messages":[],"x":{}{}}}"#, "[".repeat(200), "]".repeat(200));
    assert_eq!(param(&deep).0, Code::InvalidJson);
}

#[test]
fn a_value_named_null_by_whitespace_is_absent() {
    let head =
        chat("{\"model\":\"m\",\"messages\":[],\"n\": null ,\"max_tokens\":\tnull}").unwrap();
    assert_eq!((head.n, head.max_tokens), (1, None));
}

/// Each is billed: a list of two hundred prompts was estimated as one answer.
#[test]
fn answers_are_counted_as_they_may_be_billed() {
    for (fields, answers, longest) in [
        (r#""prompt":"a","max_tokens":7"#, 1, Some(7)),
        (r#""prompt":["a,\"b","[c"," d"],"max_tokens":7,"n":2"#, 6, Some(7)),
        (r#""prompt":["a","b"],"n":2,"best_of":5"#, 10, None),
        (r#""prompt":"a","n":3,"best_of": 2 "#, 3, None),
        (r#""prompt":"a","best_of":"many""#, 1, None),
        (r#""prompt":[5, 6, 7]"#, 1, None),
        (r#""prompt":[[5,6],[7], []]"#, 3, None),
        (r#""prompt":[]"#, 1, None),
        (r#""prompt":"a","best_of":18446744073709551615,"n":2"#, u64::MAX, None),
        (r#""prompt":["a","b"],"best_of":18446744073709551615"#, u64::MAX, None),
        (r#""prompt":"a","max_tokens":9000,"max_completion_tokens":5"#, 1, Some(9000)),
    ] {
        let body = Bytes::from(format!(r#"{{"model":"m",{fields}}}"#));
        let head = Head::read(Endpoint::Completions, &body).unwrap();
        assert_eq!((head.answers, head.longest), (answers, longest), "{fields}");
        let made = Head::of_made(Endpoint::Completions, &body).unwrap();
        assert_eq!((made.answers, made.longest), (answers, longest), "{fields}");
    }
    // The content of a chat is no list of prompts, nor are the texts of one embedding answers.
    let head = chat(r#"{"model":"m","n":2,"messages":[{"role":"user"},{"role":"user"}]}"#).unwrap();
    assert_eq!(head.answers, 2);
    let body = Bytes::from_static(br#"{"model":"m","input":["a","b"]}"#);
    assert_eq!(Head::read(Endpoint::Embeddings, &body).unwrap().answers, 1);
}

#[test]
fn prompts_and_inputs_may_be_texts_or_lists() {
    for (endpoint, field) in [(Endpoint::Completions, "prompt"), (Endpoint::Embeddings, "input")] {
        for ok in ["\"x\"", "[\"x\"]", "[1,2]", "[[1],[2]]"] {
            let body = format!(r#"{{"model":"m","{field}":{ok},"stream":true}}"#);
            let head = Head::read(endpoint, &Bytes::from(body)).unwrap();
            assert_eq!(head.stream, endpoint == Endpoint::Completions);
        }
        let body = format!(r#"{{"model":"m","{field}":5}}"#);
        let fault = Head::read(endpoint, &Bytes::from(body)).unwrap_err();
        assert_eq!(fault.param.as_deref(), Some(field));
    }
}

#[test]
fn a_head_is_not_used_with_another_body() {
    let body = Bytes::from_static(br#"{"model":"m","messages":[],"metadata":{"a":"b"}}"#);
    let head = Head::read(Endpoint::ChatCompletions, &body).unwrap();
    assert_eq!(head.metadata(&Bytes::from_static(b"{}"), "a"), None);
}

/// The strings of which a head knows whether they stand in a body.
const WORDS: [(&str, Words); 9] = [
    ("name", Words::NAME),
    ("detail", Words::DETAIL),
    ("developer", Words::DEVELOPER),
    ("image_url", Words::IMAGE),
    ("input_audio", Words::AUDIO),
    ("reasoning", Words::OTHERS),
    ("reasoning_content", Words::OTHERS),
    ("reasoning_details", Words::OTHERS),
    ("extra_content", Words::OTHERS),
];

/// JSON with those strings, and ones like them, as names and as values, at any depth.
fn wordy() -> impl Strategy<Value = serde_json::Value> {
    let word = prop_oneof![
        prop::sample::select(WORDS.map(|(word, _)| word.to_owned()).to_vec()),
        "[a-z_\"\\\\]{0,12}",
    ];
    let leaf = prop_oneof![Just(serde_json::Value::Null), word.clone().prop_map(Into::into)];
    leaf.prop_recursive(4, 12, 3, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Into::into),
            prop::collection::vec((word.clone(), inner), 0..3)
                .prop_map(|members| members.into_iter().collect::<serde_json::Map<_, _>>().into()),
        ]
    })
}

proptest! {
    /// What is searched for only where it may stand: the head must not miss any.
    #[test]
    fn words_are_known_of_wherever_they_stand(value in wordy()) {
        let body = format!(r#"{{"model":"m","messages":[],"x":{value}}}"#);
        let head = chat(&body).unwrap();
        for (word, kind) in WORDS {
            let stands = body.contains(&format!("{word:?}"));
            prop_assert!(!stands || head.may_have(kind), "{word}: {body}");
        }
        let some = WORDS.iter().any(|(word, _)| body.contains(word));
        prop_assert!(some || WORDS.iter().all(|(_, kind)| !head.may_have(*kind)), "{body}");
    }

    #[test]
    fn no_bytes_make_the_head_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let body = Bytes::from(bytes);
        for endpoint in Endpoint::ALL {
            let _ = Head::read(endpoint, &body);
        }
    }

    /// A body that was made here is read alike, whoever checks it.
    #[test]
    fn a_made_body_is_read_like_any_other(
        model in "[a-zé\"]{0,4}",
        extra in proptest::collection::vec(("[a-z_\"]{5,9}", any::<i32>()), 0..6),
        limit in proptest::option::of(any::<u32>()),
        stream in any::<bool>(),
        again in any::<bool>(),
    ) {
        let said = serde_json::json!([{"role": "user", "content": format!("}}]{model}")}]);
        let mut members = vec![
            format!("\"model\":{}", serde_json::Value::from(model)),
            format!("\"messages\":{said}"),
            format!("\"stream\":{stream}"),
        ];
        members.extend(limit.map(|limit| format!("\"max_tokens\":{limit}")));
        members.extend(again.then(|| "\"stream\":false".to_owned()));
        let named = |(name, value): (String, i32)| format!("{}:{value}", serde_json::to_string(&name).unwrap());
        members.extend(extra.into_iter().map(named));
        let body = format!("{{{}}}", members.join(","));
        let body = Bytes::from(body);
        let (read, made) = (chat_of(&body), Head::of_made(Endpoint::ChatCompletions, &body));
        let told = |head: Result<Head, Fault>| match head {
            Ok(head) => Ok(format!("{:?}", Head { nesting: 0, words: Words::ANY, ..head })),
            Err(fault) => Err(fault),
        };
        prop_assert_eq!(told(read), told(made));
    }

    #[test]
    fn member_ranges_hold_their_values(
        model in "[a-z\"\\\\\u{e9}]{1,12}",
        extra in proptest::collection::vec(("[a-z]{9,12}", any::<i32>()), 0..6),
        space in "[ \n\t]{0,3}",
    ) {
        let mut text = format!("{space}{{{space}\"model\"{space}:{space}{}", json::string(&model));
        for (key, value) in &extra {
            let _ = write!(text, "{space},{space}\"{key}\":{space}{value}");
        }
        let _ = write!(text, ",\"messages\":[]{space}}}{space}");
        let body = Bytes::from(text);
        let head = Head::read(Endpoint::ChatCompletions, &body).unwrap();
        prop_assert_eq!(&*head.model, model.as_str());
        for (member, (_, value)) in head.members[1..].iter().zip(&extra) {
            prop_assert_eq!(head.text(&body, &member.value), value.to_string());
        }
    }
}

#[test]
fn a_tier_with_prices_of_its_own_is_told_from_the_usual_one() {
    for (tier, chosen) in [
        ("", false),
        (r#","service_tier":null"#, false),
        (r#","service_tier":"auto""#, false),
        (r#","service_tier":"default""#, false),
        (r#","service_tier":"flex""#, true),
        (r#","service_tier":"priority""#, true),
    ] {
        let body = Bytes::from(format!(r#"{{"model":"m","messages":[]{tier}}}"#));
        let head = Head::read(Endpoint::ChatCompletions, &body).unwrap();
        assert_eq!(head.chooses_tier(&body), chosen, "{tier}");
    }
}

/// `"cust": 7` lost its unit, and an empty `safety_identifier` hid the user.
#[test]
fn a_unit_is_a_number_too_and_never_empty() {
    let read = |more: &str| {
        let body = format!(r#"{{"model":"m","messages":[],{more}}}"#);
        let body = Bytes::from(body);
        (Head::read(Endpoint::ChatCompletions, &body).unwrap(), body)
    };
    let (head, body) =
        read(r#""metadata":{"a":7,"b":1.50,"c":true,"d":null,"e":[1],"f":"x","g":{"h":1}}"#);
    let of = |name| head.metadata(&body, name);
    let found = ["a", "b", "c", "d", "e", "f", "g"].map(of);
    let expected = [Some("7"), Some("1.50"), Some("true"), None, None, Some("x"), None];
    assert_eq!(found, expected.map(|text| text.map(str::to_owned)));
    let (head, body) = read(r#""metadata":{"\ud800":1,"a":"x"}"#);
    assert_eq!(head.metadata(&body, "a").as_deref(), Some("x"), "half a character hides nothing");
    let (head, _) = read(r#""user":"u","safety_identifier":"""#);
    assert_eq!((head.safety_identifier.as_deref(), head.user.as_deref()), (None, Some("u")));
}

#[test]
fn an_embedding_of_nothing_is_the_clients_mistake() {
    for input in ["[]", "[ \n]", "\"\""] {
        let body = Bytes::from(format!(r#"{{"model":"m","input":{input}}}"#));
        let fault = Head::read(Endpoint::Embeddings, &body).unwrap_err();
        assert_eq!((fault.code, fault.param.as_deref()), (Code::InvalidValue, Some("input")));
    }
    for input in ["[\"\"]", "[[]]", "\" \"", "[1]"] {
        let body = Bytes::from(format!(r#"{{"model":"m","input":{input}}}"#));
        assert!(Head::read(Endpoint::Embeddings, &body).is_ok(), "{input}");
    }
}
