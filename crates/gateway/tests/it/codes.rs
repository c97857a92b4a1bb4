//! Every error of the table is one that a client can meet: each row is brought about here, or names the
//! test that does.

use std::path::Path;

use cutover_testkit::fake::{Fake, Fault, Gate, Persona, Refusing, Reply};
use cutover_units::Code;
use cutover_units::codes::TABLE;

use crate::harness::{Rig, ask, ask_stream, two_arms};

/// How a code comes about.
enum How {
    /// By these bytes behind the request line and `host`.
    Sent(&'static str, &'static str),
    /// By what the only upstream does.
    Done(Fault),
    /// In a test of the workspace: file under `crates`, function.
    In(&'static str, &'static str),
}

const CHAT: &str = "POST /v1/chat/completions";
const PROMPTS: &str = "gateway/tests/it/prompts.rs";
const RESPONSES: &str = "gateway/tests/it/responses.rs";
const SURFACE: &str = "cutover/tests/surface.rs";
const BODIES: &str = "gateway/tests/it/bodies.rs";
const ENDING: &str = "gateway/tests/it/ending.rs";
const FEEDBACK: &str = "gateway/tests/it/feedback.rs";
const HTTP: &str = "gateway/tests/it/http.rs";
const KEYS: &str = "gateway/tests/it/keys.rs";
const DOORS: &str = "gateway/tests/it/doors.rs";

/// A new code must say here how it comes about.
fn how(code: Code) -> How {
    use How::{Done, In, Sent};
    match code {
        Code::InvalidJson => Sent(CHAT, "{"),
        Code::MissingField => Sent(CHAT, r#"{"model":"app"}"#),
        Code::InvalidType => Sent(CHAT, "[]"),
        Code::InvalidValue => Sent(CHAT, r#"{"model":"app","model":"b","messages":[]}"#),
        Code::UnsupportedParameter => {
            In(RESPONSES, "without_a_store_nothing_is_kept_and_that_is_said")
        }
        Code::ContextLengthExceeded => In(
            "cutover/tests/ollama.rs",
            "a_prompt_that_does_not_fit_is_an_error_and_not_a_silent_cut",
        ),
        Code::InvalidImageUrl | Code::ImageFetchFailed => {
            In(SURFACE, "what_cannot_be_fetched_is_told_without_a_word_of_the_server")
        }
        Code::InvalidRequest => Done(Fault::status(400)),
        Code::MalformedHttp => In(HTTP, "where_a_request_ends_is_said_in_one_way_or_it_is_refused"),
        Code::PreviousResponseNotFound => In(RESPONSES, "to_another_key_an_answer_is_not_there"),
        Code::InvalidApiKey => {
            In("gateway/tests/it/faults.rs", "the_clients_own_key_being_wrong_is_the_clients_401")
        }
        Code::PermissionDenied => Sent("POST /v1/organization/projects", "{}"),
        Code::NotFound => Sent("GET /v1/unheard_of", ""),
        Code::ModelNotFound => Sent("GET /v1/models/no-such-model", ""),
        Code::MethodNotAllowed => Sent("DELETE /v1/chat/completions", ""),
        Code::RequestTimeout => In(DOORS, "slow_heads_and_slow_bodies_are_cut"),
        Code::RequestTooLarge => In(DOORS, "oversized_bodies_are_413_announced_or_not"),
        Code::HeadTooLarge => {
            In(DOORS, "heads_beyond_the_limits_are_answered_and_counted_to_the_byte")
        }
        Code::UpstreamConflict => Done(Fault::status(409)),
        Code::RateLimitExceeded => Done(Fault::status(429)),
        Code::InsufficientQuota => Done(Fault::status(402)),
        Code::Internal => In(RESPONSES, "a_stored_answer_that_was_damaged_is_our_error"),
        Code::NotSupported => Sent("POST /v1/threads", "{}"),
        Code::BadGateway => Done(Fault::Html(200)),
        Code::UpstreamAuth => Done(Fault::status(401)),
        Code::UpstreamUnavailable => Done(Fault::Reset),
        Code::Overloaded => Done(Fault::status(503)),
        Code::StoredResponsesUnavailable => {
            In(RESPONSES, "a_store_that_is_away_is_an_error_of_what_needs_it_alone")
        }
        Code::ClientKeysUnavailable => {
            In(KEYS, "while_the_keys_cannot_be_read_a_key_is_neither_let_in_nor_refused_as_wrong")
        }
        Code::PromptUnavailable => {
            In(PROMPTS, "a_chat_is_not_answered_without_the_prompt_of_its_variant")
        }
        Code::FeedbackBusy => {
            In(FEEDBACK, "verdicts_beyond_the_queue_are_503_and_those_within_are_written")
        }
        Code::BodiesFull => {
            In(BODIES, "a_body_without_room_is_refused_at_once_in_each_dialect_and_counted")
        }
        Code::ShuttingDown => In(
            ENDING,
            "a_request_that_waits_for_its_answer_gets_503_and_so_does_one_that_still_sends",
        ),
        Code::NoLocalUpstream => {
            In("gateway/tests/it/residency.rs", "where_no_local_variant_may_answer_nobody_does")
        }
        Code::UpstreamTimeout => Done(Fault::status(504)),
        Code::StreamInterrupted => In(
            "cutover/tests/faults.rs",
            "a_stream_that_breaks_after_content_ends_with_an_error_and_is_never_repeated",
        ),
    }
}

/// What a function of a test file says, up to the next one.
fn body_of(file: &str, function: &str) -> Option<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file);
    let text = std::fs::read_to_string(path).ok()?;
    let (_, rest) = text.split_once(&format!("fn {function}("))?;
    Some(rest.split("\n}\n").next()?.to_owned())
}

#[test]
fn every_code_is_brought_about_over_a_socket() {
    let cloud = Fake::start(Persona::OpenAi);
    for row in TABLE {
        // Each has a gateway of its own: failures in a row would rest the instance.
        let rig = Rig::start(&two_arms(&cloud.base_url(), &cloud.base_url(), "0%"));
        let response = match how(row.code) {
            How::Sent(line, body) => {
                let mut raw = rig.raw();
                raw.request(line, &[], body).unwrap();
                raw.response().unwrap().unwrap()
            }
            How::Done(fault) => {
                // For good: it may be asked again.
                cloud.always(Reply::fault(fault));
                rig.chat(&[], &ask("app"))
            }
            How::In(file, function) => {
                let body = body_of(file, function);
                let body = body.unwrap_or_else(|| panic!("{file} has no test {function}"));
                assert!(body.contains(row.name), "{function} does not say {}", row.name);
                continue;
            }
        };
        let error = &response.json()["error"];
        let seen = (response.status, error["code"].as_str(), error["type"].as_str());
        assert_eq!(seen, (row.status, Some(row.name), Some(row.kind)), "{error}");
        if !row.retry {
            let expected = (row.status >= 429).then_some("false");
            assert_eq!(response.header("x-should-retry"), expected, "{}", row.name);
        }
    }
}

#[test]
fn nobody_there_and_nobody_answering_have_their_codes_in_time() {
    let own = Fake::start(Persona::OpenAi);
    let config = two_arms(&own.base_url(), &own.base_url(), "0%").replace(
        "provider = \"openai-compatible\"",
        "provider = \"openai-compatible\"\nfirst_token_timeout = \"300 ms\"",
    );
    let rig = Rig::start(&config);
    own.always(Reply::words(2).hold_first_token(&Gate::new()));
    let response = rig.chat(&[], &ask_stream("app"));
    assert_eq!(response.status, 504, "{}", response.text());
    assert_eq!(response.json()["error"]["code"], "upstream_timeout");
    let dead = Refusing::start();
    let rig = Rig::start(&two_arms(&dead.base_url(), &dead.base_url(), "0%"));
    let response = rig.chat(&[], &ask("app"));
    assert_eq!(response.json()["error"]["code"], "upstream_unavailable");
}
