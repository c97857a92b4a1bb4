//! `cutover instances`, from the command line: an instance is taken out of service, stays out over a reload
//! and a restart, and comes back; names are resolved by the real program.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::net::Ipv4Addr;

use cutover_testkit::fake::{Fake, Gate, Persona, Reply, Setup};
use cutover_testkit::names::{NameServer, Say};
use cutover_testkit::program::Program;
use cutover_testkit::raw::Raw;
use cutover_testkit::wait::until;
use serde_json::Value;

const BINARY: &str = env!("CARGO_BIN_EXE_cutover");

const ASK: &str = r#"{"messages":[{"role":"user","content":"hi"}],"model":"app"}"#;

fn config(instances: &str) -> String {
    format!(
        r#"
[upstreams.gpus]
provider = "llamacpp"
balance = "round-robin"
{instances}
[variants.small]
upstream = "gpus"
model = "fake-model"
[use_cases.app]
match = {{ model = "app" }}
baseline = "small"
"#
    )
}

fn of(fakes: &[&Fake]) -> String {
    let urls: Vec<_> = fakes.iter().map(|fake| format!("{:?}", fake.base_url())).collect();
    config(&format!("instances = [{}]", urls.join(", ")))
}

/// The status of an answer, and the instance that gave it.
fn asked(program: &Program) -> (u16, String) {
    let mut raw = Raw::open(program.url()).unwrap();
    raw.request("POST /v1/chat/completions", &[], ASK).unwrap();
    let response = raw.response().unwrap().unwrap();
    (response.status, response.header("x-cutover-instance").unwrap_or_default().to_owned())
}

fn listed(program: &Program) -> Value {
    serde_json::from_str(&program.ok(&["instances", "list", "--json"])).unwrap()
}

fn served(program: &Program) -> Vec<String> {
    (0..6).map(|_| asked(program)).map(|(status, by)| format!("{status} {by}")).collect()
}

#[test]
fn an_instance_that_is_taken_out_stays_out_until_it_is_put_back() {
    let (one, two, gate) =
        (Fake::start(Persona::LlamaCpp), Fake::start(Persona::LlamaCpp), Gate::new());
    let mut program = Program::start(BINARY, &of(&[&one, &two]));
    one.always(Reply::words(3).hold_each_chunk(&gate));
    gate.release(1);
    // A stream at the first instance.
    let mut streams = Vec::new();
    for _ in 0..2 {
        let mut raw = Raw::open(program.url()).unwrap();
        let body = ASK.replace("\"model\"", "\"stream\":true,\"model\"");
        raw.request("POST /v1/chat/completions", &[], &body).unwrap();
        let head = raw.response_head().unwrap().expect("a head");
        streams.push((head.header("x-cutover-instance").unwrap().to_owned(), raw, head));
    }
    let at = streams.iter().position(|(id, ..)| id == "gpus/0").expect("they take turns");
    let (_, mut raw, mut head) = streams.swap_remove(at);

    let told =
        program.ok(&["instances", "drain", "gpus/0", "--reason", "a new card", "--actor", "ann"]);
    assert_eq!(told, format!("gpus/{}: out of service, 1 requests to end\n", one.address()));
    assert!(served(&program).iter().all(|served| served == "200 gpus/1"));
    let status = program.ok(&["status"]);
    assert!(status.contains("draining (by ann: a new card)"), "{status}");
    until("the metric says so", || {
        program.metrics().contains("upstream_instance=\"gpus/0\",state=\"draining\"} 1")
    });
    gate.open();
    raw.response_body(&mut head).unwrap();
    assert_eq!(head.events().last().map(String::as_str), Some("[DONE]"), "{}", head.text());

    // Over a reload that puts it at another place, and over a restart.
    let before = listed(&program);
    program.write_config(&of(&[&two, &one]));
    program.admin("POST /admin/reload", "");
    assert!(served(&program).iter().all(|served| served == "200 gpus/1"), "it keeps its number");
    assert_eq!(listed(&program)["drained"], before["drained"]);
    program.kill();
    program.start_again();
    assert!(served(&program).iter().all(|served| served == "200 gpus/0"), "two is the first now");

    // Without any other the answer says so.
    let output = program.cli(&["instances", "drain", &two.address().to_string()]);
    let warned = String::from_utf8(output.stderr).unwrap();
    assert!(warned.contains("no instance of gpus takes requests any more"), "{warned}");
    assert_eq!(asked(&program).0, 503);
    program.ok(&["instances", "resume", "gpus/0"]);
    let told = program.ok(&["instances", "resume", &format!("gpus/{}", one.address())]);
    assert_eq!(told, format!("gpus/{}: in service\n", one.address()));
    let served = served(&program);
    assert!(served.iter().any(|s| s == "200 gpus/0") && served.iter().any(|s| s == "200 gpus/1"));
    assert_eq!(listed(&program)["drained"], Value::Array(Vec::new()));
}

#[test]
fn one_that_the_file_names_no_more_is_listed_until_it_has_ended_what_it_began() {
    let (one, two, gate) =
        (Fake::start(Persona::LlamaCpp), Fake::start(Persona::LlamaCpp), Gate::new());
    let mut program = Program::start(BINARY, &of(&[&one]));
    one.always(Reply::words(3).hold_each_chunk(&gate));
    gate.release(1);
    let mut raw = Raw::open(program.url()).unwrap();
    let body = ASK.replace("\"model\"", "\"stream\":true,\"model\"");
    raw.request("POST /v1/chat/completions", &[], &body).unwrap();
    let mut head = raw.response_head().unwrap().expect("a head");
    assert_eq!(head.header("x-cutover-instance"), Some("gpus/0"));

    program.write_config(&of(&[&two]));
    program.admin("POST /admin/reload", "");
    assert!(served(&program).iter().all(|served| served == "200 gpus/1"));
    let shown = |program: &Program| -> Vec<String> {
        let one = |one: &Value| format!("{} {} {}", one["id"], one["state"], one["in_flight"]);
        let listed = listed(program);
        let all = listed["instances"].as_array().unwrap().iter();
        all.map(one).map(|text| text.replace('"', "")).collect()
    };
    until("it is shown with its request", || {
        shown(&program) == ["gpus/0 draining 1", "gpus/1 healthy 0"]
    });
    let status = program.ok(&["status"]);
    assert!(status.contains(&one.address().to_string()), "{status}");
    gate.open();
    raw.response_body(&mut head).unwrap();
    assert_eq!(head.events().last().map(String::as_str), Some("[DONE]"), "{}", head.text());
    until("it may be switched off", || shown(&program) == ["gpus/1 healthy 0"]);
}

/// `list` and `status` left them out, and what was not shown could not be taken out.
#[test]
fn instances_of_upstreams_that_nobody_names_are_shown_and_taken_out_too() {
    let (used, default, spare) = (
        Fake::start(Persona::LlamaCpp),
        Fake::start(Persona::OpenAi),
        Fake::start(Persona::LlamaCpp),
    );
    let upstream = |name: &str, provider: &str, fake: &Fake| {
        format!("[upstreams.{name}]\nprovider = {provider:?}\nbase_url = {:?}\n", fake.base_url())
    };
    let config = |spare: &str| {
        format!(
            "default_upstream = \"cloud\"\n{}{}{spare}",
            upstream("cloud", "openai-compatible", &default),
            of(&[&used])
        )
    };
    let unnamed = upstream("spare", "llamacpp", &spare);
    let mut program = Program::start(BINARY, &config(&unnamed));
    let states = |program: &Program| -> Vec<String> {
        let listed = listed(program);
        let one = |one: &Value| format!("{} {}", one["id"], one["state"]).replace('"', "");
        listed["instances"].as_array().unwrap().iter().map(one).collect()
    };
    let shown = ["cloud/0 healthy", "gpus/0 healthy", "spare/0 unused"];
    until("all of them", || states(&program) == shown);
    let status = program.ok(&["status"]);
    assert!(status.contains("cloud/0") && status.contains("spare/0"), "{status}");
    let told = program.ok(&["instances", "drain", "spare/0", "--reason", "cold"]);
    assert!(told.contains("out of service, and idle"), "{told}");
    assert!(states(&program).contains(&"spare/0 draining".to_owned()));
    // It stays out when a variant names it.
    let variant = "[variants.other]\nupstream = \"spare\"\nmodel = \"fake-model\"\n";
    program.write_config(&config(&format!("{unnamed}{variant}")));
    program.admin("POST /admin/reload", "");
    assert!(states(&program).contains(&"spare/0 draining".to_owned()));
    program.ok(&["instances", "resume", "spare/0"]);
    until("it is back", || states(&program).contains(&"spare/0 healthy".to_owned()));
    program.ok(&["instances", "drain", "cloud/0"]);
    assert!(
        states(&program).contains(&"cloud/0 draining".to_owned()),
        "the default upstream's, too"
    );
}

#[test]
fn what_is_no_instance_is_refused_with_a_word_to_the_wise() {
    let one = Fake::start(Persona::LlamaCpp);
    let program = Program::start(BINARY, &of(&[&one]));
    let output = program.cli(&["instances", "drain", "gpus/7"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(5), "{said}");
    assert!(said.contains("there is no instance \"gpus/7\""), "{said}");
    assert_eq!(asked(&program).0, 200);
}

#[test]
fn the_program_resolves_names_and_shows_them() {
    let names = NameServer::start();
    let at = |last: u8, port| (Ipv4Addr::new(127, 0, 0, last), port).into();
    let setup = || Setup::new(Persona::LlamaCpp);
    let one = Fake::start_at(setup(), at(1, 0));
    let two = Fake::start_at(setup(), at(2, one.address().port()));
    names.set("gpus.test", &[Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 0, 0, 2)]);
    let port = one.address().port();
    let mut program = Program::start(
        BINARY,
        &config(&format!(
            "base_url = \"http://gpus.test:{port}\"\nresolve = \"1 s\"\nname_server = \"{}\"",
            names.address()
        )),
    );
    // It has waited for the first answer, so that the first request finds somebody.
    assert_eq!(listed(&program)["instances"].as_array().unwrap().len(), 2);
    assert_eq!(asked(&program).0, 200);
    let status = program.ok(&["status"]);
    assert!(
        status.contains("gpus.test") && status.contains(&two.address().to_string()),
        "{status}"
    );
    // An address that is out stays out while its name leads elsewhere and back.
    program.ok(&["instances", "drain", &two.address().to_string()]);
    names.set("gpus.test", &[Ipv4Addr::LOCALHOST]);
    until("it has left", || listed(&program)["instances"].as_array().unwrap().len() == 1);
    names.set("gpus.test", &[Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 0, 0, 2)]);
    until("it is there again", || listed(&program)["instances"].as_array().unwrap().len() == 2);
    assert!(served(&program).iter().all(|served| served == "200 gpus/0.1"));
    assert!(two.inferences().len() <= 1, "the first request, before it was taken out");

    // A reload to another name waits for its first answer: no request comes to nobody in between.
    names.set("others.test", &[Ipv4Addr::LOCALHOST]);
    let with = |name: &str| {
        let at = format!("http://{name}:{port}");
        config(&format!(
            "base_url = \"{at}\"\nresolve = \"1 s\"\nname_server = \"{}\"",
            names.address()
        ))
    };
    program.write_config(&with("others.test"));
    program.admin("POST /admin/reload", "");
    assert_eq!(asked(&program), (200, "gpus/1.1".to_owned()));
    // One that is never answered is not waited for without end, and is told of.
    names.say("silent.test", Say::Silence);
    program.write_config(&with("silent.test"));
    let told = program.admin("POST /admin/reload", "");
    assert!(told.text().contains("no address of silent.test is known yet"), "{}", told.text());
    assert_eq!(asked(&program).0, 503);
    let status = program.ok(&["status"]);
    assert!(status.contains("silent.test"), "{status}");
    names.set("silent.test", &[Ipv4Addr::LOCALHOST]);
    until("it is known at last", || asked(&program).0 == 200);
}
