//! Requests that their client left: what they took nobody told, and their records say so.

use cutover_store::{Options, Store};
use cutover_testkit::fake::{Fake, Gate, Persona, Reply};

use crate::harness::{Rig, ask, ask_stream, now, two_arms, until};

#[test]
fn a_request_that_was_left_may_be_billed_and_its_record_says_so() {
    let (cloud, own) = (Fake::start(Persona::OpenAi), Fake::start(Persona::LlamaCpp));
    let priced = "price = { input_usd_per_mtok = 10, output_usd_per_mtok = 10 }\n";
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(Options::new(dir.path(), now)).unwrap();
    let gate = Gate::new();
    let config = two_arms(&cloud.base_url(), &own.base_url(), "0%");
    let config = config.replace("[variants.small]", &format!("{priced}[variants.small]"));
    let rig = Rig::start_storing(&config, None, Some(&store));
    let connection = rusqlite::Connection::open(dir.path().join("cutover.db")).unwrap();
    // After the first content, before it, and waiting for a whole answer.
    for (nth, (body, reply, seen)) in [
        (ask_stream("app"), Reply::words(2_000).pace(std::time::Duration::from_millis(50)), "w0"),
        (ask_stream("app"), Reply::words(3).hold_first_token(&gate), ""),
        (ask("app"), Reply::words(3).hold_headers(&gate), ""),
    ]
    .into_iter()
    .enumerate()
    {
        let count = nth as u64 + 1;
        cloud.always(reply);
        let mut raw = rig.raw();
        raw.request("POST /v1/chat/completions", &[], body).unwrap();
        if seen.is_empty() {
            until("it is asked", || cloud.inferences().len() as u64 == count);
        } else {
            raw.read_until(seen).unwrap();
        }
        drop(raw);
        until("it is recorded", || store.stats().written == count);
        let row =
            "SELECT outcome, cost_nano_usd, coalesce(marks, '') FROM records ORDER BY id DESC";
        let row = connection.query_row(row, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
        let (outcome, cost, marks): (String, Option<i64>, String) = row.unwrap();
        assert_eq!((outcome.as_str(), cost), ("client_gone", None), "{nth}");
        assert_eq!(marks, "[\"cost_partial\"]", "{nth}");
    }
}
