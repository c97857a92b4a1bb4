//! A candidate that fails, or is not asked, where the baseline does not take the request's form: it is the candidate's
//! failure that is told and booked, and one that was spared for the baseline's sake is asked all the same.

use cutover_testkit::fake::{Fake, Fault, Gate, Persona, Refusing, Reply, Setup};
use cutover_testkit::raw::Response;

use crate::harness::{Arm, BY_UNIT, KEY, Rig, ask, docs_on, service, until};

/// The candidate takes a seed; the baseline, which speaks Messages, does not.
fn config(cloud: &str, (provider, base_url): (&str, &str), more: &str) -> String {
    let baseline = Arm::big(service("anthropic", cloud) + KEY);
    let arms = [baseline, Arm::small(service(provider, base_url))];
    let docs = docs_on(&arms, &format!("{BY_UNIT}weight = \"100%\"\n{more}"));
    format!("default_upstream = \"own\"\n{docs}")
}

fn seeded(rig: &Rig, stream: bool) -> Response {
    let body = format!(
        r#"{{"model":"app","stream":{stream},"seed":5,"messages":[{{"role":"user","content":"hi"}}]}}"#
    );
    rig.chat(&["x-unit: u1"], &body)
}

fn plain(rig: &Rig) -> Response {
    rig.chat(&["x-unit: u1"], &ask("app"))
}

/// Whether the one request that was told of has failed, and whether its client had ended it.
fn told(rig: &Rig) -> (bool, bool) {
    let (feed, mut seen) = (rig.feed(), Vec::new());
    until("the request is told of", || {
        assert_eq!(feed.drain(&mut seen), 0);
        !seen.is_empty()
    });
    assert_eq!(seen.len(), 1);
    (seen[0].served.failed, seen[0].client_ended)
}

fn limited() -> Fault {
    Fault::Status { status: 429, retry_after: Some("7".to_owned()), retry_after_ms: None }
}

#[test]
fn the_failure_of_the_arm_that_was_asked_is_told_and_booked() {
    let (cloud, own) = (Fake::start(Persona::OpenAi), Fake::start(Persona::Vllm));
    let rig = Rig::start(&config(&cloud.base_url(), ("vllm", &own.base_url()), ""));
    rig.feed().watch();
    own.always(Reply::words(2));
    assert_eq!(seeded(&rig, false).status, 200);
    assert_eq!(told(&rig), (false, false));
    let faults = [
        (Fault::status(500), 502, "bad_gateway", None),
        (Fault::status(503), 503, "server_is_overloaded", Some("1")),
        (limited(), 429, "rate_limit_exceeded", Some("7")),
        (Fault::Reset, 503, "upstream_unavailable", None),
        (Fault::NotJson, 502, "bad_gateway", None),
    ];
    for (fault, status, code, wait) in faults {
        for stream in [false, true] {
            // A good answer between: the instance is asked whatever came before.
            rig.forgive(&config(&cloud.base_url(), ("vllm", &own.base_url()), ""));
            rig.feed().watch();
            own.always(Reply::fault(fault.clone()));
            let response = seeded(&rig, stream);
            let text = response.text();
            assert_eq!(
                (response.status, response.json()["error"]["code"].as_str()),
                (status, Some(code)),
                "{fault:?} {stream} {text}"
            );
            assert_eq!(response.header("retry-after"), wait, "{fault:?} {text}");
            assert_eq!(response.header("x-cutover-arm"), Some("candidate"), "{text}");
            assert_eq!(response.header("x-cutover-attempts"), Some("1"), "{text}");
            assert_eq!(told(&rig), (true, false), "{fault:?} {stream}");
        }
    }
    assert!(cloud.inferences().is_empty());
    let metrics = rig.metrics();
    let mut mistakes = metrics.lines().filter(|line| line.contains("outcome=\"client_error\""));
    assert!(mistakes.all(|line| line.ends_with(" 0")), "{metrics}");
}

#[test]
fn nobody_at_the_candidates_address_is_told_as_such() {
    let (cloud, gone) = (Fake::start(Persona::OpenAi), Refusing::start());
    let rig = Rig::start(&config(&cloud.base_url(), ("vllm", &gone.base_url()), ""));
    rig.feed().watch();
    // At last it is known to be down, and asked all the same: there is nobody else for this form.
    for _ in 0..9 {
        for stream in [false, true] {
            let response = seeded(&rig, stream);
            let code = &response.json()["error"]["code"];
            assert_eq!((response.status, code.as_str()), (503, Some("upstream_unavailable")));
            assert_eq!(response.header("x-cutover-attempts"), Some("1"), "{}", response.text());
            assert_eq!(told(&rig), (true, false));
        }
    }
}

/// A candidate's own `retries` waited for a baseline that was never asked.
#[test]
fn a_candidate_is_asked_again_where_the_baseline_takes_no_such_request() {
    let (cloud, own) = (Fake::start(Persona::OpenAi), Fake::start(Persona::Vllm));
    let text = config(&cloud.base_url(), ("vllm", &own.base_url()), "")
        .replace("provider = \"vllm\"", "provider = \"vllm\"\nretries = 2");
    let attempts = |response: &Response| response.header("x-cutover-attempts").map(str::to_owned);
    for stream in [false, true] {
        let rig = Rig::start(&text);
        own.always(Reply::words(2));
        for _ in 0..2 {
            own.once(Reply::fault(Fault::status(503)));
        }
        let response = seeded(&rig, stream);
        assert_eq!(response.status, 200, "{}", response.text());
        assert_eq!(response.header("x-cutover-arm"), Some("candidate"));
        assert_eq!(attempts(&response).as_deref(), Some("3"), "{stream}");
        // No oftener than it says, and not for what no retry can mend.
        let rig = Rig::start(&text);
        own.always(Reply::fault(Fault::status(503)));
        let response = seeded(&rig, stream);
        assert_eq!((response.status, attempts(&response).as_deref()), (503, Some("3")), "{stream}");
        let rig = Rig::start(&text);
        own.always(Reply::fault(Fault::status(401)));
        let response = seeded(&rig, stream);
        assert_eq!((response.status, attempts(&response).as_deref()), (502, Some("1")), "{stream}");
        // Who can be asked at once is.
        let rig = Rig::start(&text);
        own.always(Reply::fault(Fault::status(503)));
        let before = own.inferences().len();
        let response = plain(&rig);
        assert_eq!(attempts(&response).as_deref(), Some("2"), "{}", response.text());
        assert_eq!(own.inferences().len(), before + 1);
    }
}

#[test]
fn a_candidate_that_rests_is_asked_where_the_baseline_takes_no_such_request() {
    let (cloud, own) = (Fake::start(Persona::OpenAi), Fake::start(Persona::Vllm));
    let rig = Rig::start(&config(&cloud.base_url(), ("vllm", &own.base_url()), ""));
    own.always(Reply::fault(Fault::status(500)));
    until("it rests", || {
        let before = own.inferences().len();
        plain(&rig);
        own.inferences().len() == before
    });
    own.always(Reply::words(2));
    let before = own.inferences().len();
    for stream in [false, true] {
        let response = seeded(&rig, stream);
        assert_eq!(response.status, 200, "{}", response.text());
        assert_eq!(response.header("x-cutover-arm"), Some("candidate"));
    }
    assert_eq!(own.inferences().len() - before, 2);
}

#[test]
fn a_cold_candidate_is_waited_for_where_the_baseline_takes_no_such_request() {
    let gate = Gate::new();
    let setup = Setup { load_gate: Some(gate.clone()), ..Setup::new(Persona::Ollama) };
    let (own, cloud) = (Fake::start_with(setup), Fake::start(Persona::OpenAi));
    let more = "cold = \"baseline\"";
    let text = config(&cloud.base_url(), ("ollama", &own.base_url()), more)
        .replace("provider = \"ollama\"", "provider = \"ollama\"\nprobe_interval = \"1 s\"");
    let rig = Rig::start(&text);
    rig.watch_instances();
    until("it is known to be cold", || {
        rig.metrics().contains("upstream_instance=\"own/0\",state=\"cold\"} 1")
    });
    // Its model is read in by the request itself or by the word that it is told, whichever is first.
    let mut raw = rig.raw();
    let body = r#"{"model":"app","seed":5,"messages":[{"role":"user","content":"hi"}]}"#;
    raw.request("POST /v1/chat/completions", &["x-unit: u1"], body).unwrap();
    until("it is asked", || own.inferences().iter().any(|seen| seen.json()["messages"].is_array()));
    gate.open();
    let response = raw.response().unwrap().expect("an answer");
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(response.header("x-cutover-arm"), Some("candidate"));
    assert!(cloud.inferences().is_empty());
}
