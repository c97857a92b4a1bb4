//! A local-only use case's requests end at local upstreams, or nowhere. The configuration refuses most
//! of what is tried here; the data path holds without it.

use std::sync::Arc;

use cutover_gateway::Live;
use cutover_route::balance::mix;
use cutover_route::{Draft, Snapshot};
use cutover_store::{KeyRing, NewKey, Options, Secret, Store};
use cutover_testkit::fake::{Fake, Fault, Persona, Reply};
use cutover_units::{UseCaseName, WeightBp};

use crate::harness::{Arm, Rig, ask, ask_stream, docs_on, now, service, two_arms, until};

/// The candidate `small` is local, the baseline `big` is not, or the other way round.
fn rig(cloud: &Fake, own: &Fake, weight: &str, local: &str) -> Rig {
    let upstream = if local == "small" { "[upstreams.own]" } else { "[upstreams.cloud]" };
    let config = two_arms(&cloud.base_url(), &own.base_url(), weight)
        .replace(upstream, &format!("{upstream}\nlocal = true"));
    let rig = Rig::start(&config);
    let mut live = Live::clone(&rig.gateway.live());
    let mut draft = Draft {
        variants: live.snapshot.variants().to_vec(),
        use_cases: live.snapshot.use_cases().to_vec(),
        default: live.snapshot.default_variant(),
    };
    for variant in &mut draft.variants {
        variant.local = variant.name.as_str() == local;
    }
    draft.use_cases[0].local_only = true;
    live.snapshot = Snapshot::build(draft);
    rig.gateway.publish(live);
    rig.copy(WeightBp::ALL);
    rig.feed().watch();
    rig
}

#[test]
fn where_no_local_variant_may_answer_nobody_does() {
    let (cloud, own) = (Fake::start(Persona::OpenAi), Fake::start(Persona::LlamaCpp));
    let rig = rig(&cloud, &own, "0%", "small");
    let response = rig.chat(&["x-unit: u1"], &ask("app"));
    assert_eq!(response.status, 503);
    assert_eq!(response.json()["error"]["code"], "residency_no_local_upstream");
    assert_eq!(response.header("x-should-retry"), Some("false"));
    let stream = rig.chat(&["x-unit: u1"], &ask_stream("app"));
    assert_eq!((stream.status, stream.header("x-cutover-attempts")), (503, Some("0")));
    assert_eq!((cloud.bytes(), own.bytes()), (0, 0));
    let metrics = rig.metrics();
    let booked = |outcome: &str| {
        let outcome = format!("outcome=\"{outcome}\"}} 2");
        metrics.lines().any(|l| l.starts_with("cutover_requests_total{") && l.ends_with(&outcome))
    };
    assert!(booked("upstream_error"), "{metrics}");
    assert!(!booked("internal_error"), "nothing of cutover's is broken");
}

#[test]
fn a_failed_local_candidate_is_not_repeated_in_the_cloud() {
    let (cloud, own) = (Fake::start(Persona::OpenAi), Fake::start(Persona::LlamaCpp));
    let rig = rig(&cloud, &own, "100%", "small");
    assert_eq!(rig.chat(&["x-unit: u1"], &ask("app")).status, 200);
    own.always(Reply::fault(Fault::status(500)));
    assert_eq!(rig.chat(&["x-unit: u1"], &ask("app")).status, 502);
    assert_eq!(cloud.bytes(), 0);
    let (feed, mut seen) = (rig.feed(), Vec::new());
    until("both are told of", || {
        feed.drain(&mut seen);
        seen.len() == 2
    });
    assert!(seen.iter().all(|exposure| !exposure.leaked));
}

#[test]
fn a_candidate_in_the_cloud_gets_neither_requests_nor_copies() {
    let (cloud, own) = (Fake::start(Persona::OpenAi), Fake::start(Persona::LlamaCpp));
    // The baseline is the local one here.
    let rig = rig(&own, &cloud, "100%", "big");
    for _ in 0..3 {
        let response = rig.chat(&["x-unit: u1"], &ask("app"));
        assert_eq!(response.header("x-cutover-arm"), Some("baseline"), "{}", response.text());
    }
    assert_eq!(rig.copies().waiting(), (0, 0));
    assert_eq!(cloud.bytes(), 0);
}

/// What the controller is told is seen where requests are sent, not taken from the router's word.
#[test]
fn a_router_that_is_wrong_is_found_out() {
    let (cloud, own) = (Fake::start(Persona::OpenAi), Fake::start(Persona::LlamaCpp));
    let rig = rig(&cloud, &own, "0%", "small");
    let mut live = Live::clone(&rig.gateway.live());
    let mut draft = Draft {
        variants: live.snapshot.variants().to_vec(),
        use_cases: live.snapshot.use_cases().to_vec(),
        default: None,
    };
    draft.variants[0].local = true;
    live.snapshot = Snapshot::build(draft);
    rig.gateway.publish(live);
    assert_eq!(rig.chat(&["x-unit: u1"], &ask("app")).header("x-cutover-upstream"), Some("cloud"));
    let (feed, mut seen) = (rig.feed(), Vec::new());
    until("it is told of", || {
        feed.drain(&mut seen);
        !seen.is_empty()
    });
    assert!(seen[0].leaked);
}

/// Keys `kept` (local-only), `free`, and `lost` of a use case that no config has.
fn ring() -> Arc<KeyRing> {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(Options::new(dir.path(), now)).unwrap();
    let keys = tokio::runtime::Runtime::new().unwrap().block_on(async {
        let lost = UseCaseName::new("patient").unwrap();
        for (name, local_only, use_case) in
            [("kept", true, None), ("free", false, None), ("lost", false, Some(lost))]
        {
            let secret = Secret::new(&name.repeat(10)).unwrap();
            let (name, actor) = (name.to_owned(), "test".to_owned());
            let key =
                NewKey { name, secret, use_case, local_only, batch: false, actor, now: now() };
            store.add_key(key).await.unwrap();
        }
        store.load_keys().await.unwrap()
    });
    Arc::new(KeyRing::new(keys))
}

/// A use case that is not local-only: baseline in the cloud, candidate at home.
fn open_to_all(cloud: &Fake, own: &Fake, weight: &str) -> String {
    two_arms(&cloud.base_url(), &own.base_url(), weight)
        .replace("[upstreams.own]", "[upstreams.own]\nlocal = true\nprobes = false")
}

/// Anthropic's clients must say how long an answer may be.
fn with_limit(body: &str) -> String {
    body.replacen('{', "{\"max_tokens\":5,", 1)
}

const LOCAL: &str = "x-cutover-residency: local-only";

#[test]
fn a_header_keeps_a_request_at_home_and_cannot_release_one() {
    let (cloud, own) = (Fake::start(Persona::OpenAi), Fake::start(Persona::LlamaCpp));
    let config = open_to_all(&cloud, &own, "1%");
    let rig = Rig::start(&config);
    rig.feed().watch();
    for unit in ["x-unit: u1", "x-unit: u2", "x-unit: u3"] {
        let response = rig.chat(&[unit, LOCAL], &ask("app"));
        assert_eq!(response.header("x-cutover-upstream"), Some("own"), "{}", response.text());
    }
    for wrong in ["any", "local", "", "LOCAL-ONLY"] {
        let response = rig.chat(&[&format!("x-cutover-residency: {wrong}")], &ask("app"));
        let error = response.json()["error"].clone();
        assert_eq!((response.status, &error["code"]), (400, &"invalid_value".into()));
        assert_eq!(error["param"], "x-cutover-residency");
    }
    assert_eq!(rig.chat(&[LOCAL, LOCAL], &ask("app")).status, 400, "twice is not once");
    assert_eq!(cloud.bytes(), 0);
    let (feed, mut seen) = (rig.feed(), Vec::new());
    until("all are told of", || {
        feed.drain(&mut seen);
        seen.len() == 3
    });
    assert!(seen.iter().all(|exposure| !exposure.random), "they count in no comparison");
    // Nobody at home may answer what no use case matches, nor what the candidate serves no more.
    for (weight, model) in [("1%", "other"), ("0%", "app")] {
        rig.reload(&config.replace("1%", weight));
        let refused = rig.chat(&["x-unit: u1", LOCAL], &ask(model));
        assert_eq!(refused.status, 503);
        assert_eq!(refused.json()["error"]["code"], "residency_no_local_upstream");
    }
    assert_eq!(cloud.bytes(), 0);
    assert_eq!(rig.chat(&["x-unit: u1"], &ask("app")).header("x-cutover-upstream"), Some("cloud"));
}

/// Its use case may have been local-only before it was renamed.
#[test]
fn a_key_of_a_use_case_that_is_gone_reaches_nobody() {
    let (cloud, own) = (Fake::start(Persona::OpenAi), Fake::start(Persona::LlamaCpp));
    let config = open_to_all(&cloud, &own, "0%") + "[server]\nkeys = \"required\"\n";
    let rig = Rig::start_with(&config, Some(ring()));
    let bearer = format!("authorization: Bearer {}", "lost".repeat(10));
    for (path, body) in [
        ("/v1/chat/completions", ask("app")),
        ("/v1/messages", with_limit(&ask("other"))),
        ("/v1/files", "x".to_owned()),
    ] {
        // A name that the client gives does not stand in for the one that its key has.
        for header in ["x-unit: u1", "x-cutover-use-case: docs"] {
            let refused = rig.post(path, &[header, &bearer], &body);
            assert_eq!(refused.status, 403, "{path}: {}", refused.text());
            assert!(refused.text().contains("'patient'"), "{}", refused.text());
        }
    }
    assert_eq!((cloud.bytes(), own.bytes()), (0, 0));
}

#[test]
fn a_key_keeps_all_its_requests_at_home() {
    let (cloud, own) = (Fake::start(Persona::OpenAi), Fake::start(Persona::LlamaCpp));
    let config = open_to_all(&cloud, &own, "0%") + "[server]\nkeys = \"required\"\n";
    let rig = Rig::start_with(&config, Some(ring()));
    let bearer = |name: &str| format!("authorization: Bearer {}", name.repeat(10));
    for (path, body) in [
        ("/v1/chat/completions", ask("app")),
        ("/v1/chat/completions", ask_stream("other")),
        ("/v1/messages", with_limit(&ask("app"))),
        ("/api/chat", ask("app")),
        ("/v1/files", "x".to_owned()),
    ] {
        let refused = rig.post(path, &["x-unit: u1", &bearer("kept")], &body);
        assert_eq!(refused.status, 503, "{path}: {}", refused.text());
    }
    assert_eq!((cloud.bytes(), own.bytes()), (0, 0));
    let free = rig.chat(&["x-unit: u1", &bearer("free")], &ask("app"));
    assert_eq!(free.header("x-cutover-upstream"), Some("cloud"));
}

/// Dialects without metadata dropped the very entry that decides, and sent the prompt to the cloud.
#[test]
fn what_metadata_keeps_at_home_stays_there_in_every_dialect() {
    let (cloud, own) = (Fake::start(Persona::OpenAi), Fake::start(Persona::LlamaCpp));
    let local = format!("{}local = true\nprobes = false", service("llamacpp", &own.base_url()));
    let ward = docs_on(&[Arm::small(local)], "residency = \"local-only\"")
        .replace("{ model = \"app\" }", "{ metadata = { team = \"ward\", floor = \"3\" } }");
    let cloud_lines = service("openai-compatible", &cloud.base_url());
    let config = format!("default_upstream = \"cloud\"\n[upstreams.cloud]\n{cloud_lines}{ward}");
    let rig = Rig::start(&config);
    let told = |body: &str| body.replacen('{', r#"{"metadata":{"te\u0061m":"ward","floor":3},"#, 1);
    let chat = ask("other");
    let (text, contents) = (
        r#"{"model":"other","prompt":"hi","input":"hi"}"#,
        r#"{"contents":[{"role":"user","parts":[{"text":"hi"}]}]}"#,
    );
    for (path, body) in [
        ("/v1/chat/completions", &*chat),
        ("/v1/completions", r#"{"model":"other","prompt":"hi"}"#),
        ("/v1/embeddings", r#"{"model":"other","input":"hi"}"#),
        ("/v1/responses", r#"{"model":"other","input":"hi"}"#),
        ("/v1/messages", &with_limit(&chat)),
        ("/v1/messages/count_tokens", &chat),
        ("/api/chat", &chat),
        ("/api/generate", text),
        ("/api/embed", text),
        ("/v1beta/models/other:generateContent", contents),
        ("/v1beta/models/other:streamGenerateContent", contents),
    ] {
        let before = own.seen().len();
        let answer = rig.post(path, &[], &told(body));
        assert_eq!(cloud.bytes(), 0, "{path}: {}", answer.text());
        let is_home = own.seen().len() > before || answer.header("x-cutover-upstream").is_none();
        assert!(is_home, "{path}: {answer:?}");
        let inferred = answer.header("x-cutover-use-case");
        assert!(inferred.is_none_or(|name| name == "docs"), "{path}: {answer:?}");
    }
    assert!(own.inferences().len() >= 8, "{}", own.inferences().len());
    let free = rig.post("/v1/messages", &[], &with_limit(&chat));
    assert_eq!(free.header("x-cutover-upstream"), Some("cloud"), "{free:?}");
}

/// A word that is none is no hint there, in a header it is an error.
#[test]
fn the_hint_in_the_metadata_is_read_in_every_dialect() {
    let (cloud, own) = (Fake::start(Persona::OpenAi), Fake::start(Persona::LlamaCpp));
    let rig = Rig::start(&two_arms(&cloud.base_url(), &own.base_url(), "50%"));
    let usual = |path| rig.post(path, &["x-unit: u1"], &with_limit(&ask("app")));
    let other = match usual("/v1/messages").header("x-cutover-arm") {
        Some("baseline") => ("cost", "candidate"),
        _ => ("quality", "baseline"),
    };
    for path in ["/v1/chat/completions", "/v1/messages", "/api/chat"] {
        let before = usual(path).header("x-cutover-arm").map(str::to_owned).unwrap();
        for (word, arm) in [other, ("cheap", &*before)] {
            let hint = format!("{{\"metadata\":{{\"priority\":\"{word}\"}},");
            let body = with_limit(&ask("app")).replacen('{', &hint, 1);
            let answer = rig.post(path, &["x-unit: u1"], &body);
            assert_eq!(answer.header("x-cutover-arm"), Some(arm), "{path} {word}");
        }
    }
}

#[test]
fn an_absent_home_is_told_as_what_it_is() {
    let (cloud, mut own) = (Fake::start(Persona::OpenAi), Fake::start(Persona::LlamaCpp));
    let rig = Rig::start(&open_to_all(&cloud, &own, "50%"));
    own.go_down();
    for body in [ask("app"), ask_stream("app")] {
        let refused = rig.chat(&["x-unit: u1", LOCAL], &body);
        assert_eq!(refused.status, 503);
        assert_eq!(refused.json()["error"]["code"], "residency_no_local_upstream");
    }
    assert_eq!(cloud.bytes(), 0);
}

/// Over sockets, what `cutover_route::residency` proves of decisions a hundred thousand times: whatever
/// fails, waits or is full at home, not a byte goes elsewhere.
#[test]
fn no_byte_leaves_whatever_happens_at_home() {
    const CASES: u64 = 120;
    let (cloud, own) = (Fake::start(Persona::OpenAi), Fake::start(Persona::LlamaCpp));
    let extras = ["", "overflow = {}\n", "overflow = { batch = true, unpriced = true }\n"];
    let queues = ["", "queue = { length = 0 }", "queue = { wait = \"5 ms\" }\nin_flight_limit = 1"];
    let weights = ["0%", "0.01%", "50%", "99.99%", "100%"];
    let rig = Rig::start(&open_to_all(&cloud, &own, "50%"));
    let (mut answered, mut refused) = (0, 0);
    for case in 0..CASES {
        let mut state = case;
        let mut below = |n: usize| {
            state = state.wrapping_add(1);
            usize::try_from(mix(state ^ (case << 20)) % n as u64).unwrap()
        };
        let config = open_to_all(&cloud, &own, weights[below(weights.len())])
            .replace("probes = false", &format!("probes = false\n{}", queues[below(3)]))
            + extras[below(3)];
        rig.forgive(&config);
        rig.copy([WeightBp::NONE, WeightBp::ALL][below(2)]);
        let faults = [
            Reply::words(2),
            Reply::words(2),
            Reply::words(2),
            Reply::words(2),
            Reply::words(2),
            Reply::fault(Fault::Reset),
            Reply::fault(Fault::status(503)),
            Reply::fault(Fault::status(429)),
            Reply::fault(Fault::Html(200)),
            Reply::fault(Fault::ErrorEvent),
            Reply::words(3).and_then(1, Fault::Cut),
        ];
        own.always(faults[below(faults.len())].clone());
        let unit = format!("x-unit: u{}", below(1_000));
        let model = ["app", "app", "app", "other"][below(4)];
        let body = if below(2) == 0 { ask(model) } else { ask_stream(model) };
        let path = ["/v1/chat/completions", "/v1/chat/completions", "/api/chat"][below(3)];
        let hint = ["x-a: b", "x-cutover-priority: quality", "x-cutover-priority-class: batch"];
        let response = rig.post(path, &[&unit, LOCAL, hint[below(3)]], &body);
        if response.status == 200 {
            answered += 1;
        } else {
            refused += 1;
        }
        assert_eq!(cloud.bytes(), 0, "case {case}: {path} {body} under {config}");
    }
    assert!(answered > 20 && refused > 20, "{answered} answered, {refused} refused");
    assert_eq!(rig.copies().waiting(), (0, 0), "nor is anything copied");
}

/// What a key that stays local could not use is not listed, and nobody that is not local is asked for it.
#[test]
fn a_local_only_keys_lists_are_of_local_models_alone() {
    let (cloud, own) = (Fake::start(Persona::OpenAi), Fake::start(Persona::LlamaCpp));
    let config = two_arms(&cloud.base_url(), &own.base_url(), "0%")
        .replace("[upstreams.own]", "[upstreams.own]\nlocal = true");
    let config = format!(
        "{config}[variants.home]\nupstream = \"own\"\nmodel = \"fake-model\"\n\
         [use_cases.kept]\nmatch = {{ model = \"kept-app\" }}\nbaseline = \"home\"\n"
    );
    let rig = Rig::start_with(&config, Some(ring()));
    let get = |name: &str, path: &str, more: &str| {
        let key = format!("authorization: Bearer {}", name.repeat(10));
        let mut raw = rig.raw();
        let headers = [&*key, more].into_iter().filter(|line| !line.is_empty());
        raw.request(&format!("GET {path}"), &headers.collect::<Vec<_>>(), "").unwrap();
        raw.response().unwrap().unwrap()
    };
    let lists = ["/v1/models", "/api/tags", "/v1beta/models"];
    for (name, more) in [("kept", ""), ("free", LOCAL)] {
        for path in lists {
            let list = get(name, path, more);
            let text = list.text();
            assert_eq!(list.status, 200, "{path} {text}");
            assert!(text.contains("kept-app") && !text.contains("\"app\""), "{path} {text}");
            assert!(!text.contains("fake-model"), "{path} {text}");
        }
        assert_eq!(get(name, "/v1/models/fake-model", more).status, 404);
        assert_eq!(get(name, "/v1/models/app", more).status, 404);
        assert_eq!(get(name, "/v1/models/kept-app", more).status, 200);
    }
    assert_eq!(cloud.bytes(), 0, "not a byte");
    for path in lists {
        let text = get("free", path, "").text();
        assert!(text.contains("fake-model") && text.contains("kept-app"), "{path} {text}");
    }
}
