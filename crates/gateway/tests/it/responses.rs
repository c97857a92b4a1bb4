//! Answers of the Responses API that are kept: gone on from, shown, deleted; and whose they are.

use std::sync::Arc;
use std::time::Duration;

use cutover_gateway::{KeptAnswers, Live, Looking, Unavailable, Writing};
use cutover_route::{Draft, Snapshot};
use cutover_store::{
    Conversation, ConversationQuery, KeptResponse, KeyRing, NewKey, Options, Secret, Store,
};
use cutover_testkit::fake::{Fake, Persona, Reply};
use cutover_testkit::raw::Response;
use cutover_units::Millis;
use serde_json::{Value, json};

use crate::harness::{Rig, engines, now, one_arm, two_arms, until};

const PATH: &str = "/v1/responses";

struct Kept {
    rig: Rig,
    own: Fake,
    _cloud: Fake,
    dir: tempfile::TempDir,
    _runtime: tokio::runtime::Runtime,
}

/// The secret of a key, by its name's letter.
fn secret(letter: char) -> String {
    format!("ck-{}", String::from(letter).repeat(40))
}

/// A gateway that keeps answers, with two client keys, `a` and `b`.
fn kept() -> Kept {
    let (cloud, own) = (Fake::start(Persona::OpenAi), Fake::start(Persona::LlamaCpp));
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let store = Store::open(Options::new(dir.path(), now)).unwrap();
    let keys = runtime.block_on(async {
        for letter in ['a', 'b'] {
            let secret = Secret::new(&secret(letter)).unwrap();
            let (actor, name) = ("test".to_owned(), letter.to_string());
            let key = NewKey {
                name,
                secret,
                use_case: None,
                local_only: false,
                batch: false,
                actor,
                now: Millis(1),
            };
            store.add_key(key).await.unwrap();
        }
        store.load_keys().await.unwrap()
    });
    let config = two_arms(&cloud.base_url(), &own.base_url(), "100%");
    let rig = Rig::start_storing(&config, Some(Arc::new(KeyRing::new(keys))), Some(&store));
    Kept { rig, own, _cloud: cloud, dir, _runtime: runtime }
}

impl Kept {
    fn call(&self, method: &str, path: &str, (key, body): (char, &str)) -> Response {
        let header = format!("authorization: Bearer {}", secret(key));
        let mut raw = self.rig.raw();
        raw.request(&format!("{method} {path}"), &[&header], body).unwrap();
        raw.response().unwrap().expect("an answer")
    }

    fn ask(&self, key: char, body: &Value) -> Response {
        self.call("POST", PATH, (key, &body.to_string()))
    }

    /// Asks, and tells the answer's id.
    fn begin(&self, key: char, text: &str) -> String {
        let answer = self.ask(key, &json!({"model": "app", "input": text}));
        assert_eq!(answer.status, 200, "{}", answer.text());
        let answer = answer.json();
        assert_eq!(answer["store"], true);
        answer["id"].as_str().unwrap().to_owned()
    }

    /// The texts of the last request as the upstream saw it.
    fn seen(&self) -> Vec<String> {
        let body: Value =
            serde_json::from_slice(&self.own.inferences().last().unwrap().body).unwrap();
        let messages = body["messages"].as_array().unwrap();
        messages.iter().filter_map(|m| m["content"].as_str()).map(str::to_owned).collect()
    }
}

fn fault(response: &Response) -> (u16, String, String) {
    let error = &response.json()["error"];
    let word = |key: &str| error[key].as_str().unwrap_or_default().to_owned();
    (response.status, word("code"), word("param"))
}

fn refused(status: u16, code: &str, param: &str) -> (u16, String, String) {
    (status, code.to_owned(), param.to_owned())
}

#[test]
fn a_conversation_goes_on_from_its_stored_turns() {
    let kept = kept();
    kept.own.always(Reply::text("one"));
    let first = kept.begin('a', "1st");
    // A stream is kept, too, and can be gone on from as soon as its end was read.
    kept.own.always(Reply::text("two"));
    let body = json!({"model": "app", "input": "2nd", "previous_response_id": first,
                      "stream": true, "instructions": "Only here."});
    let stream = kept.ask('a', &body);
    let events: Vec<Value> =
        stream.events().iter().map(|e| serde_json::from_str(e).unwrap()).collect();
    let last = &events.last().unwrap()["response"];
    assert_eq!((&last["previous_response_id"], &last["store"]), (&json!(first), &json!(true)));
    assert_eq!(kept.seen(), ["Only here.", "1st", "one", "2nd"]);
    let second = last["id"].as_str().unwrap();
    let body = json!({"model": "app", "input": "3rd", "previous_response_id": second});
    assert_eq!(kept.ask('a', &body).status, 200);
    // Instructions are not inherited, everything else is.
    assert_eq!(kept.seen(), ["1st", "one", "2nd", "two", "3rd"]);
    // A fork: the first answer can be gone on from again.
    let body = json!({"model": "app", "input": "other", "previous_response_id": first,
                      "store": false});
    let fork = kept.ask('a', &body).json();
    assert_eq!(kept.seen(), ["1st", "one", "other"]);
    assert_eq!(fork["store"], false);
    let path = format!("{PATH}/{}", fork["id"].as_str().unwrap());
    assert_eq!(kept.call("GET", &path, ('a', "")).status, 404);
}

#[test]
fn a_stored_answer_is_shown_listed_and_deleted() {
    let kept = kept();
    kept.own.always(Reply::text("one"));
    let input = json!([{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]);
    let answer = kept.ask('a', &json!({"model": "app", "input": input})).json();
    let path = format!("{PATH}/{}", answer["id"].as_str().unwrap());
    let shown = kept.call("GET", &path, ('a', ""));
    assert_eq!((shown.status, shown.json()), (200, answer));
    assert!(shown.header("x-request-id").is_some());
    let page = kept.call("GET", &format!("{path}/input_items?limit=1&order=asc"), ('a', ""));
    assert_eq!(page.json()["data"][0]["content"][0]["text"], "a");
    assert_eq!(page.json()["has_more"], true);
    let after = page.json()["last_id"].as_str().unwrap().to_owned();
    let rest = format!("{path}/input_items?order=asc&after={after}");
    assert_eq!(kept.call("GET", &rest, ('a', "")).json()["data"][0]["content"][0]["text"], "b");
    let wrong = kept.call("GET", &format!("{path}/input_items?limit=0"), ('a', ""));
    assert_eq!(fault(&wrong), refused(400, "invalid_value", "limit"));
    let replay = kept.call("GET", &format!("{path}?stream=true"), ('a', ""));
    assert_eq!(fault(&replay), refused(400, "invalid_value", "stream"));
    let deleted = kept.call("DELETE", &path, ('a', ""));
    assert_eq!((deleted.status, &deleted.json()["deleted"]), (200, &json!(true)));
    for method in ["GET", "DELETE"] {
        assert_eq!(fault(&kept.call(method, &path, ('a', ""))), refused(404, "not_found", ""));
    }
}

#[test]
fn to_another_key_an_answer_is_not_there() {
    let kept = kept();
    kept.own.always(Reply::text("one"));
    let id = kept.begin('a', "1st");
    let path = format!("{PATH}/{id}");
    for (method, path) in [
        ("GET", path.clone()),
        ("DELETE", path.clone()),
        ("GET", format!("{path}/input_items")),
        ("GET", format!("{PATH}/resp_nobody")),
    ] {
        assert_eq!(fault(&kept.call(method, &path, ('b', ""))), refused(404, "not_found", ""));
    }
    let seen = kept.own.inferences().len();
    let theirs = json!({"model": "app", "input": "2nd", "previous_response_id": id});
    let made_up = json!({"model": "app", "input": "2nd", "previous_response_id": "resp_x"});
    let (theirs, made_up) = (kept.ask('b', &theirs), kept.ask('b', &made_up));
    let expected = refused(400, "previous_response_not_found", "previous_response_id");
    assert_eq!((fault(&theirs), fault(&made_up)), (expected.clone(), expected));
    // Not one letter tells whether it exists.
    assert_eq!(theirs.text().replace(&id, "resp_x"), made_up.text());
    let item = json!({"model": "app", "input": [{"type": "item_reference", "id": "msg_x_0"}]});
    assert_eq!(fault(&kept.ask('b', &item)), refused(400, "previous_response_not_found", "input"));
    assert_eq!(kept.own.inferences().len(), seen);
    assert_eq!(kept.call("GET", &path, ('a', "")).status, 200);
}

#[test]
fn a_hole_in_a_conversation_is_told() {
    let kept = kept();
    kept.own.always(Reply::text("one"));
    let first = kept.begin('a', "1st");
    let body = json!({"model": "app", "input": "2nd", "previous_response_id": first});
    let second = kept.ask('a', &body).json()["id"].as_str().unwrap().to_owned();
    assert_eq!(kept.call("DELETE", &format!("{PATH}/{first}"), ('a', "")).status, 200);
    let body = json!({"model": "app", "input": "3rd", "previous_response_id": second});
    let answer = kept.ask('a', &body);
    let expected = refused(400, "previous_response_not_found", "previous_response_id");
    assert_eq!(fault(&answer), expected);
    assert!(answer.text().contains("deleted or has expired"));
}

/// A place that takes answers and then tells nothing of them, or never says anything.
struct Away {
    silent: bool,
}

impl Away {
    fn looking<T: Send + 'static>(&self) -> Looking<T> {
        if self.silent {
            Box::pin(std::future::pending())
        } else {
            Box::pin(async { Err(Unavailable) })
        }
    }
}

impl KeptAnswers for Away {
    fn has_room(&self) -> bool {
        !self.silent
    }
    fn keep(&self, _: KeptResponse) -> Writing {
        if self.silent { Box::pin(std::future::pending()) } else { Box::pin(async { false }) }
    }
    fn answer(&self, _: String, _: Option<i64>) -> Looking<Option<KeptResponse>> {
        self.looking()
    }
    fn conversation(&self, _: ConversationQuery) -> Looking<Conversation> {
        self.looking()
    }
    fn delete(&self, _: String, _: Option<i64>) -> Looking<bool> {
        self.looking()
    }
}

#[test]
fn a_store_that_is_away_is_an_error_of_what_needs_it_alone() {
    let own = Fake::start(Persona::LlamaCpp);
    own.always(Reply::text("one"));
    for silent in [false, true] {
        let config = two_arms(&own.base_url(), &own.base_url(), "100%");
        let rig = Rig::keeping(&config, Arc::new(Away { silent }));
        let answer = rig.post(PATH, &[], &json!({"model": "app", "input": "1st"}).to_string());
        // Where there is no room the answer does not claim to be stored.
        assert_eq!((answer.status, &answer.json()["store"]), (200, &json!(!silent)));
        let next = json!({"model": "app", "input": "2nd", "previous_response_id": "resp_1"});
        let next = rig.post(PATH, &[], &next.to_string());
        assert_eq!(fault(&next), refused(503, "stored_responses_unavailable", ""));
        if !silent {
            let mut raw = rig.raw();
            raw.request(&format!("DELETE {PATH}/resp_1"), &[], "").unwrap();
            assert_eq!(raw.response().unwrap().unwrap().status, 503);
        }
    }
}

/// A place that takes answers and tells that they are written, or never tells.
struct Slow {
    writes: bool,
}

impl KeptAnswers for Slow {
    fn has_room(&self) -> bool {
        true
    }
    fn keep(&self, _: KeptResponse) -> Writing {
        if self.writes { Box::pin(async { true }) } else { Box::pin(std::future::pending()) }
    }
    fn answer(&self, _: String, _: Option<i64>) -> Looking<Option<KeptResponse>> {
        Box::pin(async { Ok(None) })
    }
    fn conversation(&self, _: ConversationQuery) -> Looking<Conversation> {
        Box::pin(async { Err(Unavailable) })
    }
    fn delete(&self, _: String, _: Option<i64>) -> Looking<bool> {
        Box::pin(async { Ok(false) })
    }
}

/// A client was told `"store": true` up to 200 ms before the answer was on disk, and a `kill -9` in between
/// took it away.
#[test]
fn the_end_of_an_answer_to_keep_waits_until_it_is_written_but_not_for_ever() {
    let own = Fake::start(Persona::LlamaCpp);
    own.always(Reply::text("one"));
    let config = two_arms(&own.base_url(), &own.base_url(), "100%");
    for (writes, stream) in [(true, false), (true, true), (false, false), (false, true)] {
        let rig = Rig::keeping(&config, Arc::new(Slow { writes }));
        let began = std::time::Instant::now();
        let body = json!({"model": "app", "input": "1st", "stream": stream});
        let answer = rig.post(PATH, &[], &body.to_string());
        let took = began.elapsed();
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(!stream || answer.text().contains("response.completed"), "{}", answer.text());
        let late = format!("cutover_responses_late_total {}\n", u32::from(!writes));
        assert!(rig.metrics().contains(&late), "{writes} {stream}");
        assert!(writes || took >= Duration::from_millis(250), "{took:?}");
        // What is not to be kept waits for nothing.
        let body = json!({"model": "app", "input": "1st", "stream": stream, "store": false});
        assert_eq!(rig.post(PATH, &[], &body.to_string()).status, 200);
        assert!(rig.metrics().contains(&late), "{writes} {stream}");
    }
}

/// What the database gives back is not what was written into it: a disk may do that, and no client can
/// mend it.
#[test]
fn a_stored_answer_that_was_damaged_is_our_error() {
    let kept = kept();
    kept.own.always(Reply::text("one"));
    let id = kept.begin('a', "1st");
    let database = rusqlite::Connection::open(kept.dir.path().join("cutover.db")).unwrap();
    until("it is written, and damaged then", || {
        database.execute("UPDATE responses SET document = '{' WHERE id = ?1", [&id]) == Ok(1)
    });
    let damaged = |response: Response| {
        assert_eq!(response.header("x-should-retry"), None, "a second try may meet a sound one");
        let error = &response.json()["error"];
        let seen = (response.status, error["code"].as_str(), error["type"].as_str());
        assert_eq!(seen, (500, Some("internal_error"), Some("server_error")), "{error}");
    };
    damaged(kept.call("GET", &format!("{PATH}/{id}"), ('a', "")));
    damaged(kept.ask('a', &json!({"model": "app", "input": "2nd", "previous_response_id": id})));
    let other = kept.begin('a', "a conversation of its own");
    assert_eq!(kept.call("GET", &format!("{PATH}/{other}"), ('a', "")).status, 200);
}

#[test]
fn without_a_store_nothing_is_kept_and_that_is_said() {
    let own = Fake::start(Persona::LlamaCpp);
    own.always(Reply::text("one"));
    let rig = Rig::start(&two_arms(&own.base_url(), &own.base_url(), "100%"));
    let answer = rig.post(PATH, &[], &json!({"model": "app", "input": "1st"}).to_string());
    assert_eq!((answer.status, &answer.json()["store"]), (200, &json!(false)));
    let id = answer.json()["id"].as_str().unwrap().to_owned();
    let next = json!({"model": "app", "input": "2nd", "previous_response_id": id});
    let next = rig.post(PATH, &[], &next.to_string());
    assert_eq!(fault(&next), refused(400, "unsupported_parameter", "previous_response_id"));
    assert!(next.text().contains("state.responses"));
    let mut raw = rig.raw();
    raw.request(&format!("GET {PATH}/{id}"), &[], "").unwrap();
    let shown = raw.response().unwrap().unwrap();
    assert_eq!(fault(&shown), refused(404, "not_found", ""));
    for (field, value) in [("background", json!(true)), ("conversation", json!("conv_1"))] {
        let mut body = json!({"model": "app", "input": "1st"});
        body[field] = value;
        let answer = rig.post(PATH, &[], &body.to_string());
        assert_eq!(fault(&answer), refused(400, "unsupported_parameter", field));
    }
}

/// The words of a local-only use case must not reach the cloud through a conversation's next turn.
#[test]
fn a_local_only_conversation_does_not_go_on_elsewhere() {
    let kept = kept();
    kept.own.always(Reply::text("one"));
    let set = |local_only: bool| {
        let mut live = Live::clone(&kept.rig.gateway.live());
        let mut draft = Draft {
            variants: live.snapshot.variants().to_vec(),
            use_cases: live.snapshot.use_cases().to_vec(),
            default: live.snapshot.default_variant(),
        };
        for variant in &mut draft.variants {
            variant.local = variant.name.as_str() == "small";
        }
        draft.use_cases[0].local_only = local_only;
        live.snapshot = Snapshot::build(draft);
        kept.rig.gateway.publish(live);
    };
    set(true);
    let secret = kept.begin('a', "a secret");
    let body = json!({"model": "app", "input": "2nd", "previous_response_id": secret});
    let second = kept.ask('a', &body);
    assert_eq!(second.status, 200, "{}", second.text());
    let second = second.json()["id"].as_str().unwrap().to_owned();
    set(false);
    let open = kept.begin('a', "no secret");
    let seen = kept.own.inferences().len();
    for id in [&secret, &second] {
        for stream in [false, true] {
            let body = json!({"model": "app", "input": "go on", "previous_response_id": id,
                              "stream": stream});
            let answer = kept.ask('a', &body);
            let expected = refused(403, "permission_denied", "previous_response_id");
            assert_eq!(fault(&answer), expected);
        }
    }
    assert_eq!(kept.own.inferences().len(), seen);
    let body = json!({"model": "app", "input": "go on", "previous_response_id": open});
    assert_eq!(kept.ask('a', &body).status, 200);
}

/// The answer said `temperature: 1.0` where the variant's 0.3 had been sent.
#[test]
fn an_answer_repeats_the_settings_that_were_sent() {
    let settings = "temperature = 0.3\ntop_p = 0.9\nmax_tokens = 50";
    for (persona, provider, variant, more, wanted) in [
        (Persona::Vllm, "vllm", settings, json!({}), json!([0.3, 0.9, 50])),
        (
            Persona::Vllm,
            "vllm",
            settings,
            json!({"temperature": 0.7, "max_output_tokens": 20}),
            json!([0.7, 0.9, 20]),
        ),
        (Persona::Vllm, "vllm", "", json!({}), json!([null, null, null])),
        (Persona::Vllm, "vllm", "", json!({"top_p": 0.5}), json!([null, 0.5, null])),
        (Persona::Ollama, "ollama", "", json!({}), json!([1.0, 1.0, null])),
    ] {
        let own = Fake::start(persona);
        let config = one_arm(&engines(provider, &[&own]));
        let model = "model = \"fake-model\"";
        let rig = Rig::start(&config.replace(model, &format!("{model}\n{variant}")));
        for stream in [false, true] {
            let mut body = json!({"model": "app", "input": "hi", "stream": stream});
            body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let answer = rig.post(PATH, &[], &body.to_string());
            let told: Vec<Value> = if stream {
                let events = answer.events();
                let events = events.iter().map(|e| serde_json::from_str::<Value>(e).unwrap());
                events.filter_map(|mut event| event.get_mut("response").map(Value::take)).collect()
            } else {
                vec![answer.json()]
            };
            assert!(told.len() > usize::from(stream), "{}", answer.text());
            for told in told {
                let found = ["temperature", "top_p", "max_output_tokens"].map(|key| &told[key]);
                assert_eq!(json!(found), wanted, "{provider} {more} {stream}");
            }
            let sent: Value =
                serde_json::from_slice(&own.inferences().last().unwrap().body).unwrap();
            let sent = if provider == "ollama" { &sent["options"] } else { &sent };
            assert_eq!((&sent["temperature"], &sent["top_p"]), (&wanted[0], &wanted[1]));
        }
    }
}
