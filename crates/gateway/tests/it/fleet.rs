//! Instances of one upstream that are not alike: one refuses what another takes.

use std::net::TcpListener;
use std::time::Instant;

use cutover_route::health::State;
use cutover_testkit::fake::{Fake, Fault, Gate, Persona, Reply, Setup};

use crate::harness::{Rig, ask, ask_stream, engines, now, one_arm, until};

/// Several instances of the default upstream, and a use case that they serve.
fn fleet(provider: &str, instances: &[&Fake], more: &str) -> String {
    let own = format!("{}\n{more}", engines(provider, instances));
    format!("default_upstream = \"own\"\n{}", one_arm(&own))
}

fn state(rig: &Rig, instance: usize) -> State {
    let live = rig.gateway.live();
    let at = live.snapshot.use_cases()[0].baseline;
    live.lane(at).unwrap().upstream.instances[instance].state(now())
}

/// It refuses sooner than any other answers. Nobody is told of it, and it is soon not asked any more.
#[test]
fn an_instance_that_refuses_what_another_takes_rests() {
    for model in ["app", "fake-model"] {
        let [well, refusing] = [(); 2].map(|()| Fake::start(Persona::Vllm));
        refusing.always(Reply::fault(Fault::status(401)));
        let rig = Rig::start(&fleet("vllm", &[&refusing, &well], "probes = false"));
        let began = Instant::now();
        for asked in 0..60 {
            let body = if asked % 2 == 0 { ask(model) } else { ask_stream(model) };
            let response = rig.chat(&[], &body);
            assert_eq!(response.status, 200, "{}", response.text());
        }
        let rests = began.elapsed().as_secs();
        let asked = refusing.inferences().len() as u64;
        assert!((5..=6 + rests).contains(&asked), "{model}: {asked} in {rests} s");
    }
}

/// It rested for all models, and was soon asked for none.
#[test]
fn an_instance_without_a_model_is_passed_over_for_that_one_alone() {
    let well = Fake::start(Persona::Vllm);
    let other = Fake::start_with(Setup::new(Persona::Vllm).models(&["another"]));
    let config = fleet("vllm", &[&other, &well], "probes = false\nbalance = \"round-robin\"");
    let rig = Rig::start(&config);
    for asked in 0..20 {
        let body = if asked % 2 == 0 { ask("fake-model") } else { ask_stream("fake-model") };
        assert_eq!(rig.chat(&[], &body).status, 200);
    }
    assert_eq!((other.inferences().len(), state(&rig, 0)), (1, State::Healthy));
    // The one that has it is well for it, and the first to be asked.
    for _ in 0..4 {
        assert_eq!(rig.chat(&[], &ask("another")).status, 200);
    }
    assert_eq!(other.inferences().len(), 5);
    // A reload forgets nothing; where nobody else is left it is asked all the same.
    rig.reload(&format!("{config}\n[variants.more]\nupstream = \"own\"\nmodel = \"x\"\n"));
    assert_eq!(rig.chat(&[], &ask("fake-model")).status, 200);
    assert_eq!(other.inferences().len(), 5);
    well.always(Reply::fault(Fault::status(404)));
    assert_eq!(rig.chat(&[], &ask("fake-model")).status, 404);
    assert_eq!(other.inferences().len(), 6);
}

/// No SDK repeats a 404, and applications drop the model: whichever is asked first, the one that has it is only full.
#[test]
fn that_another_lacks_the_model_is_not_told_of_one_that_is_full() {
    for well_first in [false, true] {
        let full = Fake::start(Persona::Vllm);
        let other = Fake::start_with(Setup::new(Persona::Vllm).models(&["another"]));
        let both = if well_first { [&full, &other] } else { [&other, &full] };
        let rig = Rig::start(&fleet("vllm", &both, "probes = false\nbalance = \"round-robin\""));
        full.always(Reply::fault(Fault::status(429)));
        for body in [ask("fake-model"), ask_stream("fake-model")].iter().cycle().take(6) {
            let answer = rig.chat(&[], body);
            assert_eq!(answer.status, 429, "{}", answer.text());
        }
        assert!(!other.inferences().is_empty());
    }
}

/// What all refuse is the configuration's fault, or the client's.
#[test]
fn nobody_rests_for_what_all_refuse() {
    for status in [401, 403, 404] {
        let both = [(); 2].map(|()| Fake::start(Persona::Vllm));
        let rig = Rig::start(&fleet("vllm", &[&both[0], &both[1]], "probes = false"));
        for fake in &both {
            fake.always(Reply::fault(Fault::status(status)));
        }
        for _ in 0..12 {
            assert_eq!(rig.chat(&[], &ask("app")).status, 502);
        }
        for (instance, fake) in both.iter().enumerate() {
            assert_eq!(state(&rig, instance), State::Healthy, "{status}");
            assert_eq!(fake.inferences().len(), 12, "{status}: each is asked for each");
            fake.always(Reply::words(2));
        }
        assert_eq!(rig.chat(&[], &ask("app")).status, 200);
    }
}

/// The engine is well, and slower than this use case has time for.
#[test]
fn what_a_requests_own_deadline_cuts_off_is_not_the_instances_fault() {
    let silent = Fake::start(Persona::Vllm);
    let gate = Gate::new();
    let config = |upstream: &str, deadline: &str| {
        let more = format!("probes = false\n{upstream}");
        format!("{}deadline = \"{deadline}\"\n", fleet("vllm", &[&silent], &more))
    };
    let rig = Rig::start(&config("", "100 ms"));
    // That is known.
    rig.gateway.live().lanes[0].upstream.instances[0].instance.live().succeeded(1_000_000);
    for reply in [Reply::words(2).hold_first_token(&gate), Reply::words(2).hold_headers(&gate)] {
        silent.always(reply);
        for _ in 0..6 {
            let response = rig.chat(&[], &ask_stream("app"));
            assert_eq!(response.status, 504, "{}", response.text());
        }
    }
    for _ in 0..6 {
        assert_eq!(rig.chat(&[], &ask("app")).status, 504);
    }
    assert_eq!(state(&rig, 0), State::Healthy);
    assert_eq!(rig.gateway.live().unserved(now()), Vec::<String>::new());
    let cut = "result=\"deadline\"";
    let metrics = rig.metrics();
    assert!(metrics.contains(cut), "{metrics}");
    // Its own deadlines hold as ever.
    rig.reload(&config("first_token_timeout = \"100 ms\"", "60 s"));
    for _ in 0..5 {
        assert_eq!(rig.chat(&[], &ask_stream("app")).status, 504);
    }
    assert_eq!(state(&rig, 0), State::Ejected);
}

#[test]
fn the_list_of_models_is_asked_of_another_where_one_is_gone_or_silent() {
    let mut gone = Fake::start(Persona::OpenAi);
    gone.go_down();
    let well = Fake::start(Persona::OpenAi);
    let list = |rig: &Rig| {
        let mut raw = rig.raw();
        raw.request("GET /v1/models", &[], "").unwrap();
        raw.response().unwrap().expect("an answer")
    };
    let rig = Rig::start(&fleet("openai-compatible", &[&gone, &well], ""));
    for _ in 0..4 {
        let listed = list(&rig);
        assert_eq!(listed.status, 200, "{}", listed.text());
        assert!(listed.text().contains("fake-model"), "{}", listed.text());
    }
    let failures = |rig: &Rig, instance: usize| {
        let live = rig.gateway.live();
        let at = live.snapshot.use_cases()[0].baseline;
        live.lane(at).unwrap().upstream.instances[instance].health.failures()
    };
    assert_eq!(failures(&rig, 0), 1, "asked after the other from then on");
    // It takes the connection and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let config = fleet("openai-compatible", &[&gone, &well], "");
    let rig = Rig::start(&config.replace(&gone.address().to_string(), &address.to_string()));
    for _ in 0..3 {
        assert_eq!(list(&rig).status, 200);
    }
    assert_eq!((failures(&rig, 0), failures(&rig, 1)), (1, 0));
    // Nobody is there at all.
    let rig = Rig::start(&fleet("openai-compatible", &[&gone], ""));
    for _ in 0..6 {
        assert_eq!(list(&rig).status, 200, "what the file names is listed all the same");
    }
    assert_eq!(state(&rig, 0), State::Healthy);
}

/// Words of four letters: the scripted engine counts a token for every four bytes.
fn ask_long(words: usize) -> String {
    ask("app").replace("hi", &"word".repeat(words))
}

/// Both tell how much they hold.
#[test]
fn a_prompt_goes_to_an_instance_that_holds_it() {
    let holding = |context| Fake::start_with(Setup { context, ..Setup::new(Persona::Vllm) });
    let (small, large) = (holding(300), holding(4_000));
    let more = "probe_interval = \"1 s\"\nbalance = \"round-robin\"";
    let rig = Rig::start(&fleet("vllm", &[&small, &large], more));
    rig.watch_instances();
    until("both have told", || {
        let live = rig.gateway.live();
        let at = live.snapshot.use_cases()[0].baseline;
        live.lane(at).unwrap().upstream.instances.iter().all(|i| i.health.facts().is_some())
    });
    // Surely too long for the small one: 4,800 bytes are 600 tokens at least.
    for _ in 0..6 {
        let response = rig.chat(&[], &ask_long(1_200));
        assert_eq!(response.status, 200, "{}", response.text());
        assert_eq!(response.header("x-cutover-attempts"), Some("1"));
    }
    assert_eq!((small.inferences().len(), large.inferences().len()), (0, 6));
    // Perhaps not too long, and it is: what one refuses the larger one is asked.
    for _ in 0..6 {
        let response = rig.chat(&[], &ask_long(500));
        assert_eq!(response.status, 200, "{}", response.text());
    }
    assert!(!small.inferences().is_empty());
    assert_eq!(state(&rig, 0), State::Healthy);
    // Too long for all: told is what the larger one holds, whoever finds out.
    for words in [5_000, 40_000] {
        for _ in 0..3 {
            let response = rig.chat(&[], &ask_long(words));
            assert_eq!(response.status, 400, "{}", response.text());
            assert_eq!(response.json()["error"]["code"], "context_length_exceeded");
            assert!(response.text().contains("4000"), "{}", response.text());
        }
    }
    // A short one goes to either.
    let before = small.inferences().len();
    for _ in 0..4 {
        assert_eq!(rig.chat(&[], &ask("app")).status, 200);
    }
    assert!(small.inferences().len() > before);
}

/// No instance tells what it holds, and the smallest finds out: another is asked, and one only.
#[test]
fn a_prompt_that_one_refuses_as_too_long_goes_to_another_that_may_hold_more() {
    let holding = |context| Fake::start_with(Setup { context, ..Setup::new(Persona::Vllm) });
    let (small, large) = (holding(300), holding(4_000));
    let more = "probes = false\nbalance = \"round-robin\"";
    let rig = Rig::start(&fleet("vllm", &[&small, &large], more));
    for _ in 0..6 {
        let response = rig.chat(&[], &ask_long(500));
        assert_eq!(response.status, 200, "{}", response.text());
    }
    let refused = small.inferences().len();
    assert!(refused > 0 && large.inferences().len() == 6, "{refused}");
    assert_eq!((state(&rig, 0), state(&rig, 1)), (State::Healthy, State::Healthy));

    let all = [300, 301, 302].map(holding);
    let rig = Rig::start(&fleet("vllm", &[&all[0], &all[1], &all[2]], more));
    let response = rig.chat(&[], &ask_long(500));
    assert_eq!((response.status, response.header("x-cutover-attempts")), (400, Some("2")));
    assert_eq!(response.json()["error"]["code"], "context_length_exceeded");
    assert_eq!(all.iter().map(|fake| fake.inferences().len()).sum::<usize>(), 2);
    // A service's own instances hold the same.
    let cloud = [300, 301]
        .map(|context| Fake::start_with(Setup { context, ..Setup::new(Persona::OpenAi) }));
    let hosted = fleet("openai-compatible", &[&cloud[0], &cloud[1]], "balance = \"round-robin\"");
    let response = Rig::start(&hosted).chat(&[], &ask_long(500));
    assert_eq!((response.status, response.header("x-cutover-attempts")), (400, Some("1")));
}

#[test]
fn a_figure_that_an_engine_does_not_tell_any_more_goes() {
    let mut engine = Fake::start(Persona::Vllm);
    let rig = Rig::start(&fleet("vllm", &[&engine], "probe_interval = \"1 s\""));
    rig.watch_instances();
    let told = || rig.metrics().contains("cutover_upstream_engine_running_requests{");
    until("it has told", told);
    engine.go_down();
    until("it is known to be gone", || state(&rig, 0) == State::Down);
    until("nothing is told of it", || !told());
    engine.come_back();
    until("it tells again", told);
}
