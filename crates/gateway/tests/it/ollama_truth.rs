//! An Ollama that tells the truth: prompts are answered in full or refused loudly, models are not loaded
//! anew, full instances are passed over, and what is cold is read in before it is needed.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::mpsc;
use std::thread;

use cutover_testkit::fake::{Fake, Fault, Gate, Persona, Reply, Setup};
use cutover_testkit::raw::{Raw, Response};
use cutover_vendors::manage::Deed;
use serde_json::Value;

use crate::harness::{Arm, Rig, ask, docs_on, engines, one_arm, service, until};

/// The fake counts four bytes a token, and few of them repeat.
fn prompt(tokens: usize) -> String {
    let words = ["river ", "stone ", "clock ", "paper ", "light "];
    (0..).map(|n| words[n % words.len()]).flat_map(str::chars).take(tokens * 4).collect()
}

fn long(model: &str, tokens: usize, stream: bool) -> String {
    serde_json::json!({
        "model": model, "stream": stream,
        "messages": [{"role": "user", "content": prompt(tokens)}],
    })
    .to_string()
}

/// A candidate on Ollama that gets everything, before a baseline that takes long prompts.
fn arms(cloud: &Fake, own: &[&Fake], variant: &str, use_case: &str) -> String {
    let engines = engines("ollama", own) + "\nprobe_interval = \"1 s\"";
    let big = Arm::big(service("openai-compatible", &cloud.base_url()));
    let arms = [big, Arm::small(engines).with(variant)];
    let docs = docs_on(&arms, &format!("weight = \"100%\"\n{use_case}"));
    format!("default_upstream = \"own\"\n{docs}")
}

fn cloud() -> Fake {
    Fake::start_with(Setup { context: 200_000, ..Setup::new(Persona::OpenAi).name("cloud") })
}

fn arm(response: &Response) -> Option<&str> {
    response.header("x-cutover-arm")
}

fn code(response: &Response) -> Value {
    let body: Value = serde_json::from_str(&response.text()).unwrap();
    body["error"]["code"].clone()
}

#[test]
fn a_prompt_above_the_context_is_answered_in_full_or_refused_loudly() {
    let (cloud, own) = (cloud(), Fake::start(Persona::Ollama));
    let rig = Rig::start(&arms(&cloud, &[&own], "ollama = { num_ctx = 4096 }", ""));
    for stream in [false, true] {
        // What fits is answered by the candidate.
        let response = rig.chat(&[], &long("app", 3_000, stream));
        assert_eq!((response.status, arm(&response)), (200, Some("candidate")));
        // A little too long: Ollama itself refuses, and the baseline answers it in full.
        let response = rig.chat(&[], &long("app", 5_000, stream));
        assert_eq!((response.status, arm(&response)), (200, Some("baseline")));
        // Surely too long: it is not even sent.
        let asked = own.inferences().len();
        let response = rig.chat(&[], &long("app", 20_000, stream));
        assert_eq!((response.status, arm(&response)), (200, Some("baseline")));
        assert_eq!(own.inferences().len(), asked, "nothing was sent");
        // Without a baseline it is refused, whether it is sent or not.
        for tokens in [5_000, 20_000] {
            let asked = own.inferences().len();
            let response = rig.chat(&[], &long("fake-model", tokens, stream));
            assert_eq!(response.status, 400, "{}", response.text());
            assert_eq!(code(&response), "context_length_exceeded");
            assert_eq!(own.inferences().len() - asked, usize::from(tokens == 5_000));
        }
    }
    for seen in own.inferences() {
        let body: Value = serde_json::from_slice(&seen.body).unwrap();
        assert_eq!((&body["truncate"], &body["options"]["num_ctx"]), (&false.into(), &4096.into()));
    }
    assert_eq!(own.loads(), 0, "one context length for all traffic, so nothing was loaded anew");
}

#[test]
fn an_ollama_that_cuts_all_the_same_has_failed() {
    let (cloud, own) = (
        cloud(),
        Fake::start_with(Setup {
            ignores_truncate: true,
            ..Setup::new(Persona::Ollama).name("own")
        }),
    );
    // What it has loaded is not known, so that the prompt is sent.
    let rig = Rig::start(&arms(&cloud, &[&own], "", ""));
    let response = rig.chat(&[], &long("app", 20_000, false));
    assert_eq!((response.status, arm(&response)), (200, Some("baseline")));
    assert_eq!(own.inferences().len(), 1);
    let response = rig.chat(&[], &long("fake-model", 20_000, false));
    assert_eq!((response.status, code(&response)), (400, "context_length_exceeded".into()));
    // A stream has begun when it shows: it ends in an error and is counted as interrupted.
    let response = rig.chat(&[], &long("fake-model", 20_000, true));
    assert_eq!(response.status, 200);
    let text = response.text();
    assert!(text.contains("context_length_exceeded") && !text.contains("[DONE]"), "{text}");
    until("it is counted", || rig.metrics().contains("outcome=\"interrupted\"} 1"));
    // Who allows the cut gets the answer.
    rig.reload(&arms(&cloud, &[&own], "ollama = { truncate = true }", ""));
    let response = rig.chat(&[], &long("app", 20_000, false));
    assert_eq!((response.status, arm(&response)), (200, Some("candidate")));
}

#[test]
fn the_largest_num_ctx_of_a_model_holds_for_all_its_traffic() {
    let (cloud, own) = (cloud(), Fake::start(Persona::Ollama));
    let config = arms(&cloud, &[&own], "ollama = { num_ctx = 4096 }", "")
        + "[variants.larger]\nupstream = \"own\"\nmodel = \"fake-model:latest\"\n\
           ollama = { num_ctx = 8192 }\n\
           [use_cases.long]\nmatch = { model = \"long\" }\nbaseline = \"larger\"\n";
    let config = config.replace("fake-model:latest", "fake-model");
    let checked = crate::harness::checked(&config);
    let warnings = format!("{:?}", checked.warnings);
    assert!(warnings.contains("asks for 8192"), "{warnings}");
    let rig = Rig::start(&config);
    for model in ["app", "long", "fake-model", "app"] {
        assert_eq!(rig.chat(&[], &ask(model)).status, 200);
    }
    assert_eq!(own.loads(), 1, "loaded once, with the largest");
}

#[test]
fn the_limit_of_an_engine_is_read_from_its_list() {
    let cloud = cloud();
    for persona in [Persona::Vllm, Persona::LlamaCpp] {
        let own = Fake::start_with(Setup { context: 2_048, ..Setup::new(persona).name("own") });
        let name = if persona == Persona::Vllm { "vllm" } else { "llamacpp" };
        let config = arms(&cloud, &[&own], "", "").replace("\"ollama\"", &format!("{name:?}"));
        let rig = Rig::start(&config);
        rig.watch_instances();
        until("the limit is known", || {
            let live = rig.gateway.live();
            let lane = live.lanes.iter().find(|lane| lane.upstream.name.as_str() == "own").unwrap();
            let facts = lane.upstream.instances[0].health.facts();
            facts.and_then(|facts| facts.context_of("fake-model")) == Some(2_048)
        });
        let asked = own.inferences().len();
        let response = rig.chat(&[], &long("app", 20_000, false));
        assert_eq!((response.status, arm(&response)), (200, Some("baseline")));
        assert_eq!(
            code(&rig.chat(&[], &long("fake-model", 20_000, false))),
            "context_length_exceeded"
        );
        assert_eq!(own.inferences().len(), asked, "nothing was sent");
        // Blanks are no tokens by number.
        let blanks = long("app", 1, false).replace("rive", &" ".repeat(80_000));
        rig.chat(&[], &blanks);
        assert_eq!(own.inferences().len(), asked + 1, "what may fit is the engine's to judge");
    }
}

#[test]
fn an_instance_with_enough_to_do_is_passed_over() {
    let gate = Gate::new();
    let (one, two) = (Fake::start(Persona::Ollama), Fake::start(Persona::Ollama));
    for fake in [&one, &two] {
        fake.always(Reply::text("done").hold_headers(&gate));
    }
    let own = engines("ollama", &[&one, &two]);
    let config = one_arm(&format!("{own}\nbalance = \"session\"\nin_flight_limit = 2"));
    let rig = Rig::start(&config);
    // One session, so that all would go to the same instance.
    let body = ask("app").replace("\"model\"", "\"prompt_cache_key\":\"s\",\"model\"");
    let mut open = Vec::new();
    for count in 1..=4 {
        let mut raw = rig.raw();
        raw.request("POST /v1/chat/completions", &[], &body).unwrap();
        open.push(raw);
        until("it is there", || one.in_flight() + two.in_flight() == count);
    }
    assert_eq!((one.in_flight(), two.in_flight()), (2, 2));
    gate.open();
    for mut raw in open {
        assert_eq!(raw.response().unwrap().unwrap().status, 200);
    }
}

#[test]
fn a_full_queue_is_no_failure_and_another_instance_answers() {
    let (full, free) = (Fake::start(Persona::Ollama), Fake::start(Persona::Ollama));
    full.always(Reply::fault(Fault::status(503)));
    let own = engines("ollama", &[&full, &free]);
    let rig = Rig::start(&one_arm(&format!("{own}\nbalance = \"round-robin\"")));
    for _ in 0..20 {
        assert_eq!(rig.chat(&[], &ask("app")).status, 200);
    }
    let live = rig.gateway.live();
    let lane = live.lanes.first().unwrap();
    assert_eq!(lane.upstream.instances[0].health.failures(), 0, "it is well");
    assert!(
        full.inferences().len() <= 3,
        "and left alone for a while: {}",
        full.inferences().len()
    );
}

#[test]
fn a_variant_to_be_kept_warm_is_read_in_before_any_request() {
    let gate = Gate::new();
    let setup = || Setup { load_gate: Some(gate.clone()), ..Setup::new(Persona::Ollama) };
    let (one, two) = (Fake::start_with(setup()), Fake::start_with(setup()));
    let cloud = cloud();
    let variant = "warm = true\nollama = { num_ctx = 8192, keep_alive = \"forever\" }";
    let rig = Rig::start(&arms(&cloud, &[&one, &two], variant, ""));
    rig.watch_instances();
    gate.open();
    until("both have it", || one.loads() + two.loads() == 2);
    let orders: Vec<_> =
        one.seen().into_iter().filter(|seen| seen.path() == "/api/generate").collect();
    let body: Value = serde_json::from_slice(&orders[0].body).unwrap();
    assert_eq!((&body["options"]["num_ctx"], &body["keep_alive"]), (&8192.into(), &(-1).into()));
    assert_eq!(body["prompt"], Value::Null);
    let response = rig.chat(&[], &ask("app"));
    assert_eq!((response.status, arm(&response)), (200, Some("candidate")));
    assert_eq!(one.loads() + two.loads(), 2, "the request loaded nothing anew");
}

#[test]
fn while_the_candidate_is_cold_the_baseline_answers_and_it_is_read_in() {
    let gate = Gate::new();
    let own =
        Fake::start_with(Setup { load_gate: Some(gate.clone()), ..Setup::new(Persona::Ollama) });
    let cloud = cloud();
    let rig = Rig::start(&arms(&cloud, &[&own], "", "cold = \"baseline\""));
    rig.watch_instances();
    until("it is known to be cold", || {
        rig.metrics().contains("upstream_instance=\"own/0\",state=\"cold\"} 1")
    });
    assert!(own.inferences().is_empty(), "no probe asked for the model");
    for _ in 0..5 {
        let response = rig.chat(&[], &ask("app"));
        assert_eq!((response.status, arm(&response)), (200, Some("baseline")));
    }
    until("it is told to load", || own.inferences().len() == 1);
    gate.open();
    until("the candidate answers", || arm(&rig.chat(&[], &ask("app"))) == Some("candidate"));
    assert_eq!(own.loads(), 1, "it was told once");
}

/// Users waited until their requests had it read in anew: in memory by its name alone is not what they ask for.
#[test]
fn a_model_with_another_context_is_as_cold_as_none() {
    let (gate, cloud) = (Gate::new(), cloud());
    let gated = Setup { load_gate: Some(gate.clone()), ..Setup::new(Persona::Ollama) };
    let own = Fake::start_with(Setup { context: 2_048, ..gated });
    // A developer has it in memory, with the engine's own context.
    let body = r#"{"model":"fake-model","prompt":"hi","stream":false}"#;
    let mut raw = Raw::connect(own.address()).unwrap();
    raw.request("POST /api/generate", &[], body).unwrap();
    until("it is being read in", || gate.arrivals() == 1);
    gate.release(1);
    raw.read_until("done").unwrap();
    let variant = "ollama = { num_ctx = 4096 }";
    let rig = Rig::start(&arms(&cloud, &[&own], variant, "cold = \"baseline\""));
    rig.watch_instances();
    until("it is known to be cold", || {
        rig.metrics().contains("upstream_instance=\"own/0\",state=\"cold\"} 1")
    });
    for _ in 0..3 {
        let response = rig.chat(&[], &ask("app"));
        assert_eq!((response.status, arm(&response)), (200, Some("baseline")));
    }
    until("it is read in anew", || gate.arrivals() == 2);
    gate.open();
    until("the candidate answers", || arm(&rig.chat(&[], &ask("app"))) == Some("candidate"));
    assert_eq!(own.loads(), 2);
}

/// Each request told another instance to read the model in, until all did: on machines that hold one model at a time
/// each of those put another out.
#[test]
fn one_cold_instance_is_told_to_read_the_model_in_and_where_it_cannot_the_next() {
    for refuses in [false, true] {
        let gate = Gate::new();
        let setup = || Setup { load_gate: Some(gate.clone()), ..Setup::new(Persona::Ollama) };
        let (one, two) = (Fake::start_with(setup()), Fake::start_with(setup()));
        let cloud = cloud();
        if refuses {
            one.always(Reply::fault(Fault::status(404)));
        }
        let rig = Rig::start(&arms(&cloud, &[&one, &two], "", "cold = \"baseline\""));
        rig.watch_instances();
        for name in ["own/0", "own/1"] {
            let line = format!("upstream_instance=\"{name}\",state=\"cold\"}} 1");
            until("it is known to be cold", || rig.metrics().contains(&line));
        }
        assert_eq!(arm(&rig.chat(&[], &ask("app"))), Some("baseline"));
        until("the first is told", || one.inferences().len() == 1);
        if refuses {
            until("and the next", || {
                arm(&rig.chat(&[], &ask("app"))) == Some("baseline") && two.inferences().len() == 1
            });
        }
        for _ in 0..4 {
            assert_eq!(arm(&rig.chat(&[], &ask("app"))), Some("baseline"));
        }
        gate.open();
        until("it is read in", || one.loads() + two.loads() == 1);
        until("the candidate answers", || arm(&rig.chat(&[], &ask("app"))) == Some("candidate"));
        let told =
            |fake: &Fake| fake.seen().iter().filter(|seen| seen.path() == "/api/generate").count();
        assert_eq!((told(&one), told(&two)), (1, usize::from(refuses)));
    }
}

/// One that is down tells nothing of its models, and counted as having what it had: users waited for cold loads.
#[test]
fn a_warm_instance_that_is_down_warms_nobody() {
    let gate = Gate::new();
    let cold =
        Fake::start_with(Setup { load_gate: Some(gate.clone()), ..Setup::new(Persona::Ollama) });
    let (warm, cloud) = (Fake::start(Persona::Ollama), cloud());
    warm.always(Reply::words(1));
    let rig = Rig::start(&arms(&cloud, &[&cold, &warm], "", "cold = \"baseline\""));
    let body = r#"{"model":"fake-model","prompt":"hi","stream":false}"#;
    let mut raw = Raw::connect(warm.address()).unwrap();
    raw.request("POST /api/generate", &[], body).unwrap();
    raw.read_until("done").unwrap();
    rig.watch_instances();
    let is = |name: &str, state: &str| {
        let line = format!("upstream_instance=\"{name}\",state=\"{state}\"}} 1");
        until(&line, || rig.metrics().contains(&line));
    };
    is("own/0", "cold");
    is("own/1", "healthy");
    assert_eq!(arm(&rig.chat(&[], &ask("app"))), Some("candidate"));
    drop(warm);
    is("own/1", "down");
    for _ in 0..4 {
        assert_eq!(arm(&rig.chat(&[], &ask("app"))), Some("baseline"));
    }
    gate.open();
    until("the cold one was told", || cold.loads() == 1);
}

/// What stands before an engine answers with a page of its own, and 200.
#[test]
fn a_page_of_a_proxys_has_read_in_no_model() {
    let (own, cloud) = (Fake::start(Persona::Ollama), cloud());
    own.always(Reply::fault(Fault::Html(200)));
    let rig = Rig::start(&arms(&cloud, &[&own], "", ""));
    let job = rig.manage("own", Deed::Warm, "fake-model").unwrap();
    until("it has ended", || job.has_ended());
    let lines = job.lines();
    assert_eq!(lines[0].stage, cutover_gateway::Stage::Failed, "{lines:?}");
}

/// So a real Ollama answers the load of one: such a model was never read in.
#[test]
fn a_model_that_makes_embeddings_alone_is_read_in_by_their_route() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base_url = format!("http://{}", listener.local_addr().unwrap());
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        for _ in 0..2 {
            let (mut socket, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"}") {
                let mut piece = [0; 4096];
                let count = socket.read(&mut piece).unwrap();
                request.extend_from_slice(&piece[..count]);
            }
            let request = String::from_utf8(request).unwrap();
            let (status, body) = if request.starts_with("POST /api/generate ") {
                ("400 Bad Request", r#"{"error":"\"e\" does not support generate"}"#)
            } else {
                ("200 OK", r#"{"model":"e","embeddings":[]}"#)
            };
            let head = format!("content-length: {}\r\nconnection: close", body.len());
            write!(socket, "HTTP/1.1 {status}\r\n{head}\r\n\r\n{body}").unwrap();
            tell.send(request).unwrap();
        }
    });
    let declared = format!(
        "[upstreams.new]\nprovider = \"ollama\"\nprobes = false\nbase_url = {base_url:?}\n"
    );
    let (own, cloud) = (Fake::start(Persona::Ollama), cloud());
    let rig = Rig::start(&(arms(&cloud, &[&own], "", "") + &declared));
    let job = rig.manage("new", Deed::Warm, "e").unwrap();
    until("it has ended", || job.has_ended());
    assert_eq!(job.lines()[0].stage, cutover_gateway::Stage::Done, "{:?}", job.lines());
    let [first, then] = [(); 2].map(|()| told.recv().unwrap());
    assert!(then.starts_with("POST /api/embed "), "{then}");
    let body = |request: &str| request.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
    assert_eq!(body(&first), body(&then));
}

/// In the first week engines are declared, then models are fetched, and variants are written last.
#[test]
fn an_upstream_that_no_variant_names_yet_is_there_all_the_same() {
    let (own, new, cloud) = (Fake::start(Persona::Ollama), Fake::start(Persona::Ollama), cloud());
    let declared =
        format!("[upstreams.new]\nprovider = \"ollama\"\nbase_url = {:?}\n", new.base_url());
    let rig = Rig::start(&(arms(&cloud, &[&own], "", "") + &declared));
    for deed in [Deed::Pull, Deed::List] {
        let job = rig.manage("new", deed, "fresh:7b").unwrap();
        until("it has ended", || job.has_ended());
        assert_eq!(job.lines()[0].stage, cutover_gateway::Stage::Done, "{:?}", job.lines());
    }
    let none = rig.manage("no", Deed::List, "").unwrap_err().to_string();
    assert!(none.ends_with("there are: cloud, own, new"), "{none}");
}

#[test]
fn models_are_managed_at_every_instance() {
    let (one, two) = (Fake::start(Persona::Ollama), Fake::start(Persona::Ollama));
    let cloud = cloud();
    let rig = Rig::start(&arms(&cloud, &[&one, &two], "", ""));
    let done = |deed: Deed, model: &str| {
        let job = rig.manage("own", deed, model).unwrap();
        until("it has ended", || job.has_ended());
        job.lines()
    };
    let names = |lines: &[cutover_gateway::Line]| -> Vec<Vec<String>> {
        let of =
            |line: &cutover_gateway::Line| line.models.iter().map(|m| m.name.clone()).collect();
        lines.iter().map(of).collect()
    };
    assert_eq!(names(&done(Deed::List, "")), [["fake-model"], ["fake-model"]]);
    let lines = done(Deed::Pull, "new:7b");
    assert!(lines.iter().all(|line| line.stage == cutover_gateway::Stage::Done), "{lines:?}");
    assert_eq!(lines[0].bytes, Some((98_362_432, 98_362_432)));
    assert_eq!(names(&done(Deed::List, "")), [["fake-model", "new:7b"], ["fake-model", "new:7b"]]);
    assert_eq!(done(Deed::Show, "new:7b")[1].models[0].context, Some(8192));
    done(Deed::Remove, "new:7b");
    assert_eq!(names(&done(Deed::List, "")), [["fake-model"], ["fake-model"]]);
    let lines = done(Deed::Pull, "missing");
    assert!(lines.iter().all(|line| line.text.contains("file does not exist")), "{lines:?}");
    let lines = done(Deed::Remove, "missing");
    assert!(lines.iter().all(|line| line.stage == cutover_gateway::Stage::Failed), "{lines:?}");
    let none = rig.manage("cloud", Deed::Pull, "x").unwrap_err();
    assert_eq!(none.to_string(), "provider openai-compatible does not pull models over its API");
    let none = rig.manage("clod", Deed::List, "").unwrap_err();
    assert!(none.to_string().contains("own") && none.to_string().contains("cloud"), "{none}");
}

/// An Ollama whose fetches are silent after their first line until the gate opens.
fn silent(gate: &Gate) -> Fake {
    let setup = Setup { pull_gate: Some(gate.clone()), ..Setup::new(Persona::Ollama) };
    Fake::start_with(setup)
}

fn stage(job: &cutover_gateway::Job) -> cutover_gateway::Stage {
    job.lines()[0].stage
}

/// A fetch of many minutes held SIGTERM until `drain_timeout`, with no client connected.
#[test]
fn a_fetch_ends_with_the_process_and_says_so() {
    let (gate, cloud) = (Gate::new(), cloud());
    let own = silent(&gate);
    let mut rig = Rig::start(&arms(&cloud, &[&own], "", ""));
    let job = rig.manage("own", Deed::Pull, "new:7b").unwrap();
    until("it has begun", || job.lines()[0].text == "pulling manifest");
    rig.stop();
    until("it has ended", || job.has_ended());
    let lines = job.lines();
    assert_eq!(lines[0].stage, cutover_gateway::Stage::Cancelled, "{lines:?}");
    assert!(lines[0].text.contains("cutover stops"), "{lines:?}");
    until("the engine is left", || own.disconnects().len() == 1);
}

#[test]
fn a_load_that_nobody_waits_for_ends_with_the_process() {
    let (gate, cloud) = (Gate::new(), cloud());
    let own =
        Fake::start_with(Setup { load_gate: Some(gate.clone()), ..Setup::new(Persona::Ollama) });
    let mut rig = Rig::start(&arms(&cloud, &[&own], "warm = true", ""));
    rig.watch_instances();
    until("it reads the model in", || gate.arrivals() == 1);
    rig.stop();
    until("the engine is left", || own.disconnects().len() == 1);
}

/// One that hung could be ended by a restart alone.
#[test]
fn a_load_that_nobody_asked_for_can_be_cancelled_too() {
    let (gate, cloud) = (Gate::new(), cloud());
    let own =
        Fake::start_with(Setup { load_gate: Some(gate.clone()), ..Setup::new(Persona::Ollama) });
    let rig = Rig::start(&arms(&cloud, &[&own], "warm = true", ""));
    rig.watch_instances();
    until("it reads the model in", || gate.arrivals() == 1);
    let job = rig.cancel("own", "fake-model").expect("it is under way");
    until("it has ended", || job.has_ended());
    assert_eq!(stage(&job), cutover_gateway::Stage::Cancelled);
    until("the engine is left", || own.disconnects().len() == 1);
    assert!(rig.cancel("own", "fake-model").is_none(), "it has ended");
}

#[test]
fn what_is_cancelled_is_left_and_the_others_go_on() {
    let (gate, cloud) = (Gate::new(), cloud());
    let own = silent(&gate);
    let rig = Rig::start(&arms(&cloud, &[&own], "", ""));
    let pull = |model: &str| rig.manage("own", Deed::Pull, model).unwrap();
    let (meant, other) = (pull("a:latest"), pull("b"));
    until("both have begun", || gate.arrivals() == 2);
    for (upstream, model) in [("own", "c"), ("cloud", "a")] {
        assert!(rig.cancel(upstream, model).is_none(), "{upstream} {model}");
    }
    assert_eq!(rig.cancel("own", "a").map(|job| job.id), Some(meant.id), "the tag is implied");
    until("it has ended", || meant.has_ended());
    assert_eq!(stage(&meant), cutover_gateway::Stage::Cancelled);
    until("the engine is left", || own.disconnects().len() == 1);
    assert!(rig.cancel("own", "a").is_none(), "it has ended");
    assert_eq!(stage(&other), cutover_gateway::Stage::Working);
    gate.open();
    until("the other has ended", || other.has_ended());
    assert_eq!(stage(&other), cutover_gateway::Stage::Done);
}

/// 32 fetches whose engine was silent had `models list` refused: "32 jobs are under way already".
#[test]
fn fetches_that_hang_keep_nobody_from_looking() {
    let (gate, cloud) = (Gate::new(), cloud());
    let own = silent(&gate);
    let rig = Rig::start(&arms(&cloud, &[&own], "", ""));
    let pull = |number: u32| rig.manage("own", Deed::Pull, &format!("m{number}"));
    let all: Vec<_> = (0..32).map(|number| pull(number).unwrap()).collect();
    until("all have begun", || gate.arrivals() == 32);
    for deed in [Deed::List, Deed::Show] {
        let job = rig.manage("own", deed, "fake-model").unwrap();
        until("it has ended", || job.has_ended());
        assert_eq!(stage(&job), cutover_gateway::Stage::Done, "{:?}", job.lines());
    }
    let refused = pull(32).unwrap_err();
    let cutover_gateway::NotBegun::TooMany { oldest } = refused else { panic!("{refused}") };
    assert_eq!(oldest.map(|job| job.id), Some(all[0].id));
    let ended = rig.cancel("own", "m7").unwrap();
    until("it has ended", || ended.has_ended());
    assert!(pull(32).is_ok(), "there is room again");
}

#[test]
fn the_host_header_is_the_upstream_s_own() {
    let (cloud, own) = (cloud(), Fake::start(Persona::Ollama));
    let rig = Rig::start(&arms(&cloud, &[&own], "", ""));
    assert_eq!(rig.chat(&["X-Forwarded-Host: evil.example"], &ask("app")).status, 200);
    let host = own.address().to_string();
    assert_eq!(own.inferences()[0].header("host"), Some(host.as_str()));
}

/// The fake's own cut leaves half; this one is what a history leaves whose oldest messages were dropped.
#[test]
fn a_history_that_was_cut_until_it_fitted_has_failed_and_teaches_nothing() {
    let (cloud, own) = (cloud(), Fake::start(Persona::Ollama));
    let rig = Rig::start(&arms(&cloud, &[&own], "ollama = { num_ctx = 4096 }", ""));
    for tokens in (1_000..3_000).step_by(100) {
        let response = rig.chat(&[], &long("app", tokens, false));
        assert_eq!((response.status, arm(&response)), (200, Some("candidate")));
    }
    let cut = r#"{"model":"m","message":{"role":"assistant","content":"Hi"},"done":true,
        "done_reason":"stop","prompt_eval_count":3930,"eval_count":1}"#;
    own.always(Reply::fault(Fault::answer("200 OK", "application/json", cut)));
    let asked = own.inferences().len();
    for tokens in [5_000, 5_500, 5_800] {
        let response = rig.chat(&[], &long("app", tokens, false));
        assert_eq!((response.status, arm(&response)), (200, Some("baseline")), "{tokens}");
    }
    assert_eq!(own.inferences().len(), asked + 3, "each was sent");
    // What is nearly too long is not told from a whole one, and yet no reason to send longer ones.
    for _ in 0..20 {
        let response = rig.chat(&[], &long("app", 4_400, false));
        assert_eq!((response.status, arm(&response)), (200, Some("candidate")));
    }
    let asked = own.inferences().len();
    let response = rig.chat(&[], &long("app", 6_500, false));
    assert_eq!((response.status, arm(&response)), (200, Some("baseline")));
    assert_eq!(own.inferences().len(), asked, "surely too long: it is not sent");
}

/// A load was waited for as soon as another instance had the model and was full.
#[test]
fn nobody_waits_for_a_load_because_the_warm_instance_is_full() {
    let (loads, answers) = (Gate::new(), Gate::new());
    let setup = Setup { load_gate: Some(loads.clone()), ..Setup::new(Persona::Ollama) };
    let (warm, cold, cloud) = (Fake::start(Persona::Ollama), Fake::start_with(setup), cloud());
    let config = arms(&cloud, &[&warm, &cold], "", "cold = \"baseline\"");
    let rig = Rig::start(
        &config
            .replace("probe_interval = \"1 s\"", "probe_interval = \"1 s\"\nin_flight_limit = 1"),
    );
    let body = r#"{"model":"fake-model","prompt":"hi","stream":false}"#;
    let mut raw = Raw::connect(warm.address()).unwrap();
    raw.request("POST /api/generate", &[], body).unwrap();
    raw.read_until("done").unwrap();
    rig.watch_instances();
    for line in ["own/0\",state=\"healthy", "own/1\",state=\"cold"] {
        let line = format!("upstream_instance=\"{line}\"}} 1");
        until(&line, || rig.metrics().contains(&line));
    }
    warm.always(Reply::words(1).hold_headers(&answers));
    let asked = warm.inferences().len();
    thread::scope(|scope| {
        let first = scope.spawn(|| rig.chat(&[], &ask("app")));
        until("the warm one is full", || warm.inferences().len() > asked);
        let response = rig.chat(&[], &ask("app"));
        assert_eq!((response.status, arm(&response)), (200, Some("baseline")));
        until("the cold one is told", || cold.inferences().len() == 1);
        answers.open();
        assert_eq!(arm(&first.join().unwrap()), Some("candidate"));
    });
    assert!(cold.inferences().iter().all(|seen| seen.path() == "/api/generate"));
    loads.open();
}

#[test]
fn a_hedge_has_no_second_instance_read_the_model_in() {
    let gate = Gate::new();
    let setup = || Setup { load_gate: Some(gate.clone()), ..Setup::new(Persona::Ollama) };
    let (one, two, cloud) = (Fake::start_with(setup()), Fake::start_with(setup()), cloud());
    let rig = Rig::start(&arms(&cloud, &[&one, &two], "", "hedge_after = \"20 ms\""));
    rig.watch_instances();
    for name in ["own/0", "own/1"] {
        let line = format!("upstream_instance=\"{name}\",state=\"cold\"}} 1");
        until("it is known to be cold", || rig.metrics().contains(&line));
    }
    let asked = || one.inferences().len() + two.inferences().len();
    thread::scope(|scope| {
        let response = scope.spawn(|| rig.chat(&[], &ask("app")));
        until("one is asked", || asked() == 1);
        let since = std::time::Instant::now();
        until("a hedge was due", || since.elapsed().as_millis() > 300 || asked() > 1);
        gate.open();
        assert_eq!(arm(&response.join().unwrap()), Some("candidate"));
    });
    assert_eq!(asked(), 1);
}
