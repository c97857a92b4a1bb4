use proptest::prelude::*;

use super::*;

fn read(pages: &[(Page, u16, &str)]) -> Facts {
    let mut facts = Facts::default();
    for (page, status, body) in pages {
        page.read(*status, body.as_bytes(), &mut facts);
    }
    facts
}

#[test]
fn ollama_tells_what_is_loaded() {
    let loaded = r#"{"models":[{"name":"smollm2:135m","model":"smollm2:135m","size":244307720,
        "details":{"format":"gguf"},"expires_at":"2026-11-21T08:47:10Z","size_vram":99971235,
        "context_length":4096}]}"#;
    let facts = read(&[
        (Page::OllamaVersion, 200, r#"{"version":"0.33.0"}"#),
        (Page::OllamaLoaded, 200, loaded),
    ]);
    assert_eq!((facts.fitness, facts.version.as_deref()), (Fitness::Ready, Some("0.33.0")));
    let model = &facts.loaded.as_deref().unwrap()[0];
    assert_eq!((model.name.as_str(), model.context_length), ("smollm2:135m", Some(4096)));
    assert_eq!((model.size, model.size_vram), (244_307_720, 99_971_235));
    assert_eq!(read(&[(Page::OllamaLoaded, 200, r#"{"models":[]}"#)]).loaded, Some(Vec::new()));
    assert_eq!(read(&[(Page::OllamaLoaded, 404, "404 page not found")]).loaded, None);
}

#[test]
fn vllm_is_understood_under_its_old_and_new_names() {
    let new = "# HELP vllm:num_requests_running Number of requests\n\
        vllm:num_requests_running{engine=\"0\",model_name=\"a b}\"} 3.0\n\
        vllm:num_requests_running{engine=\"1\",model_name=\"a\"} 2.0\n\
        vllm:num_requests_waiting{engine=\"0\"} 7.0\n\
        vllm:kv_cache_usage_perc{engine=\"0\"} 0.25\n\
        vllm:kv_cache_usage_perc{engine=\"1\"} 0.5004\n";
    let facts = read(&[(Page::VllmHealth, 200, ""), (Page::VllmMetrics, 200, new)]);
    assert_eq!(facts.fitness, Fitness::Ready);
    assert_eq!((facts.running, facts.waiting), (Some(5), Some(7)));
    assert_eq!(facts.cache_permille, Some(500));
    let old = "vllm:gpu_cache_usage_perc{model_name=\"a\"} 0.9\n";
    assert_eq!(read(&[(Page::VllmMetrics, 200, old)]).cache_permille, Some(900));
    assert_eq!(read(&[(Page::VllmHealth, 503, "")]).fitness, Fitness::Unfit);
    for page in [Page::VllmHealth, Page::LlamaHealth, Page::OllamaVersion] {
        for (status, fitness) in [
            (404, Fitness::Silent),
            (401, Fitness::Silent),
            (302, Fitness::Silent),
            (502, Fitness::Unfit),
        ] {
            assert_eq!(read(&[(page, status, "")]).fitness, fitness, "{page:?} {status}");
        }
    }
}

#[test]
fn llama_cpp_tells_by_what_is_switched_on() {
    let slots = r#"[{"id":0,"n_ctx":2048,"is_processing":true},{"id":1,"is_processing":false}]"#;
    let facts =
        read(&[(Page::LlamaHealth, 200, r#"{"status":"ok"}"#), (Page::LlamaSlots, 200, slots)]);
    assert_eq!((facts.slots, facts.running, facts.waiting), (Some(2), Some(1), None));
    let metrics = "llamacpp:requests_processing 2\nllamacpp:requests_deferred 1\n";
    let facts = read(&[(Page::LlamaMetrics, 200, metrics)]);
    assert_eq!((facts.running, facts.waiting), (Some(2), Some(1)));
    // Both pages tell of the same requests.
    let metrics = "llamacpp:requests_processing 1\nllamacpp:requests_deferred 3\n";
    let facts = read(&[(Page::LlamaSlots, 200, slots), (Page::LlamaMetrics, 200, metrics)]);
    assert_eq!((facts.slots, facts.running, facts.waiting), (Some(2), Some(1), Some(3)));
    let off = r#"{"error":{"message":"This server does not support metrics endpoint."}}"#;
    assert_eq!(read(&[(Page::LlamaMetrics, 501, off)]), Facts::default());
    assert_eq!(read(&[(Page::LlamaHealth, 503, "")]).fitness, Fitness::Loading);
}

#[test]
fn a_number_that_is_none_tells_nothing() {
    for text in ["NaN", "-1", "+Inf", "x", ""] {
        let line = format!("vllm:num_requests_waiting {text}\n");
        assert_eq!(read(&[(Page::VllmMetrics, 200, &line)]).waiting, None, "{text}");
    }
}

#[test]
fn a_model_without_a_tag_is_the_latest() {
    assert_eq!(with_tag("llama3"), "llama3:latest");
    assert_eq!(with_tag("llama3:8b"), "llama3:8b");
    assert_eq!(with_tag("reg:5000/me/llama3"), "reg:5000/me/llama3:latest");
}

/// A variant's model written otherwise than `/api/ps` writes it was never in memory, and had a context
/// length of its own.
#[test]
fn names_are_the_same_that_ollama_takes_for_the_same() {
    let page = r#"{"models":[{"name":"qwen2.5:7b","context_length":8192}]}"#;
    let facts = read(&[(Page::OllamaLoaded, 200, page)]);
    let pins = [(with_tag("Qwen2.5:7B").into_owned(), 4_096)].into();
    let settings = crate::OllamaSettings { pins, ..crate::OllamaSettings::default() };
    for same in [
        "qwen2.5:7b",
        "Qwen2.5:7B",
        "library/qwen2.5:7b",
        "registry.ollama.ai/library/qwen2.5:7b",
        "https://Registry.Ollama.AI/Library/QWEN2.5:7b",
    ] {
        assert_eq!(with_tag(same), "qwen2.5:7b", "{same}");
        assert_eq!((facts.context_of(same), settings.context_of(same)), (Some(8_192), Some(4_096)));
    }
    for (name, other) in [
        ("Qwen2.5", "qwen2.5:latest"),
        ("me/Qwen2.5:7b", "me/qwen2.5:7b"),
        ("registry.ollama.ai/me/m:1", "me/m:1"),
        ("reg:5000/library/m:1", "reg:5000/library/m:1"),
        ("library/library/m", "library/library/m:latest"),
        ("library", "library:latest"),
        ("a/b/c/Library/m:LATEST", "a/b/c/library/m:latest"),
        ("häßlich/Ä:é", "häßlich/Ä:é"),
    ] {
        assert_eq!(with_tag(name), other);
        assert_eq!((facts.context_of(name), settings.context_of(name)), (None, None));
    }
}

proptest! {
    #[test]
    fn any_page_is_read_without_a_panic(status in 0u16..600, body in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut facts = Facts::default();
        for provider in crate::providers::PROVIDERS {
            for page in provider.probes {
                page.read(status, &body, &mut facts);
            }
        }
        prop_assert!(facts.cache_permille.is_none_or(|permille| permille <= 1_000));
    }
}

#[test]
fn what_fits_is_told_by_each_engine_in_its_own_place() {
    let vllm = r#"{"object":"list","data":[{"id":"a","max_model_len":2048},{"id":"b"}]}"#;
    let facts = read(&[(Page::VllmHealth, 200, ""), (Page::Models, 200, vllm)]);
    assert_eq!((facts.context_of("a"), facts.context_of("b")), (Some(2048), None));
    assert_eq!(facts.context_of("c"), None);
    let llama = r#"{"data":[{"id":"x.gguf","meta":{"n_ctx":4096,"n_ctx_train":8192}}]}"#;
    let facts = read(&[(Page::Models, 200, llama)]);
    assert_eq!(facts.context_of("any name"), Some(4096));
    let loaded = r#"{"models":[{"name":"m:latest","context_length":8192}]}"#;
    let facts = read(&[(Page::OllamaLoaded, 200, loaded)]);
    assert_eq!((facts.context_of("m"), facts.context_of("n")), (Some(8192), None));
    assert_eq!(read(&[(Page::Models, 401, "{}")]).context_of("a"), None);
}
