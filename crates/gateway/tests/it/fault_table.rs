//! The table of faults, run over real sockets: each fault, in each dialect, whole and as a stream, where
//! another arm can answer, where there is but one, and where both fail. The table is
//! `cutover_testkit::fault_table`, and `docs/reference/failures.md` is printed from it.
//!
//! Besides what the client sees it is held for each request that there is one record, that its attempts
//! are those that upstreams saw, and that what the answer took is booked once.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use cutover_store::{Options, Store};
use cutover_testkit::fake::{Fake, Persona, Refusing, Reply, Setup};
use cutover_testkit::fault_table::{DIALECTS, Dialect, FAULTS, Kind, Row, Seen, Within, Words};
use cutover_testkit::raw::Response;
use serde_json::{Value, json};

use crate::harness::{Arm, BY_UNIT, PRICE, Rig, docs_on, now, until};

/// Who fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Setting {
    /// The candidate; the baseline answers.
    Moved,
    /// The baseline, which is all there is.
    Alone,
    /// Both.
    Both,
}

const SETTINGS: [Setting; 3] = [Setting::Moved, Setting::Alone, Setting::Both];

/// What kind of upstream is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Service {
    /// One of OpenAI's dialect.
    Compatible,
    /// Google's, whose answers are converted.
    Gemini,
}

impl Service {
    fn persona(self) -> Persona {
        match self {
            Self::Compatible => Persona::OpenAi,
            Self::Gemini => Persona::Gemini,
        }
    }

    fn provider(self) -> &'static str {
        match self {
            Self::Compatible => "provider = \"openai-compatible\"",
            Self::Gemini => "provider = \"gemini\"\nkey = { env = \"KEY\" }",
        }
    }
}

/// What stands behind the gateway.
struct Behind {
    good: Fake,
    /// Those that fail: the candidate, and the baseline where both do.
    bad: [Fake; 2],
    nobody: Refusing,
    /// Answers what is no TLS.
    plain: SocketAddr,
}

struct Stage {
    row: &'static Row,
    setting: Setting,
    service: Service,
    behind: Behind,
    config: String,
    rig: Rig,
    /// Closed last.
    store: Option<Store>,
    dir: tempfile::TempDir,
}

/// Says in plain text what a server says to TLS at the wrong port, as long as the test's process lives.
fn plain_text() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 64]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
        }
    });
    address
}

fn address(row: &Row, bad: &Fake, (nobody, plain): (&Refusing, SocketAddr)) -> String {
    match row.kind {
        Kind::Refused => nobody.base_url(),
        Kind::NoSuchHost => "http://no-such-host.invalid:1".to_owned(),
        Kind::NoTls => format!("https://{plain}"),
        _ => bad.base_url(),
    }
}

/// Short only where the fault is that nothing comes: else a busy machine would look like it.
fn timeouts(row: &Row) -> &'static str {
    match row.kind {
        Kind::Silent => "first_token_timeout = \"700 ms\"\nfirst_byte_timeout = \"700 ms\"\n",
        Kind::Within(Within::Stall, _) => "idle_timeout = \"1 s\"\n",
        // A resolver that lost a packet asks again after five seconds.
        Kind::NoSuchHost => "connect_timeout = \"60 s\"\n",
        _ => "",
    }
}

impl Stage {
    fn new(row: &'static Row, setting: Setting, service: Service) -> Self {
        let fake = |name| Fake::start_with(Setup::new(service.persona()).name(name));
        let provider = service.provider();
        let behind = Behind {
            good: fake("good"),
            bad: [fake("hemlock"), fake("wormwood")],
            nobody: Refusing::start(),
            plain: plain_text(),
        };
        let bad = |at: usize| address(row, &behind.bad[at], (&behind.nobody, behind.plain));
        let (baseline, weight) = match setting {
            Setting::Moved => (behind.good.base_url(), "100%"),
            Setting::Alone => (bad(0), "0%"),
            Setting::Both => (bad(1), "100%"),
        };
        let lines = |url: &str, fails: bool| {
            let slow = if fails { timeouts(row) } else { "" };
            format!("{provider}\nbase_url = \"{url}\"\n{slow}")
        };
        let big = Arm::big(lines(&baseline, setting != Setting::Moved)).with(PRICE);
        let small = Arm::small(lines(&bad(0), true)).with(PRICE);
        let docs = docs_on(&[big, small], &format!("{BY_UNIT}weight = \"{weight}\""));
        let config = format!("default_upstream = \"cloud\"\n{docs}");
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(Options::new(dir.path(), now)).unwrap();
        let rig = Rig::start_storing(&config, None, Some(&store));
        Self { row, setting, service, behind, config, rig, store: Some(store), dir }
    }

    fn script(&self, stream: bool) {
        for bad in &self.behind.bad {
            bad.always(self.row.reply(stream).unwrap_or_default());
        }
        self.behind.good.always(Reply::text("all is well"));
    }

    /// Attempts that a request makes.
    fn attempts(&self, seen: Seen) -> u64 {
        if self.setting == Setting::Alone || seen.after_content { 1 } else { 2 }
    }

    /// All dialects at once, whole or as streams.
    fn run(&self, stream: bool) -> Vec<Asked> {
        self.script(stream);
        // Each round is fewer failures than make a candidate rest, which is another matter than its fault.
        self.rig.forgive(&self.config);
        std::thread::scope(|scope| {
            let ask = |dialect: &'static Dialect| {
                scope.spawn(move || {
                    let body = body(dialect, stream).to_string();
                    let response = self.rig.post(&path(dialect, stream), &["x-unit: u1"], &body);
                    let cell = format!(
                        "{:?} / {} / {} / {}",
                        self.setting,
                        self.row.name,
                        dialect.name,
                        if stream { "stream" } else { "whole" }
                    );
                    Asked { dialect, stream, response, cell }
                })
            };
            let asked: Vec<_> = DIALECTS.iter().map(ask).collect();
            asked.into_iter().map(|asked| asked.join().unwrap()).collect()
        })
    }

    fn check(&self, asked: &Asked) {
        let seen = self.row.seen(asked.stream);
        let Asked { response, cell, .. } = asked;
        let attempts = self.attempts(seen).to_string();
        assert_eq!(
            response.header("x-cutover-attempts"),
            Some(attempts.as_str()),
            "{cell}: {}",
            response.text()
        );
        if seen.after_content {
            assert_eq!(response.status, 200, "{cell}");
            asked.assert_broke_off();
        } else if self.setting == Setting::Moved {
            assert_eq!(response.status, 200, "{cell}: {}", response.text());
            assert_eq!(response.header("x-cutover-arm"), Some("baseline"), "{cell}");
            assert_eq!(response.header("x-cutover-assigned-arm"), Some("candidate"), "{cell}");
            asked.assert_well("all is well");
        } else {
            asked.assert_refused(seen);
            let retried = attempts != "1" && seen.wait_s.is_none();
            let told = response.header("x-should-retry");
            assert_eq!(told, retried.then_some("false"), "{cell}");
        }
    }

    fn record(asked: &Asked, connection: &rusqlite::Connection) -> Booked {
        let id = asked.id();
        let mut found = connection
            .prepare(
                "SELECT attempts, outcome, code, marks, prompt_tokens, completion_tokens,
                        cost_nano_usd
                 FROM records WHERE request_id = ?1",
            )
            .unwrap();
        let rows: Vec<Booked> = found
            .query_map([id], |row| {
                Ok(Booked {
                    attempts: number(row, 0)?.unwrap_or(0),
                    outcome: row.get(1)?,
                    code: row.get(2)?,
                    marks: row.get::<_, Option<String>>(3)?.unwrap_or_default(),
                    prompt: number(row, 4)?,
                    completion: number(row, 5)?,
                    cost: number(row, 6)?,
                })
            })
            .unwrap()
            .map(Result::unwrap)
            .collect();
        assert_eq!(rows.len(), 1, "{}: one request, one record", asked.cell);
        rows.into_iter().next().unwrap()
    }

    fn check_books(&self, asked: &Asked, booked: &Booked) {
        let (cell, seen) = (&asked.cell, self.row.seen(asked.stream));
        assert_eq!(booked.attempts, self.attempts(seen), "{cell}");
        let partial = booked.marks.contains("cost_partial");
        // Gemini tells with each event what was used so far.
        let told = seen.after_content && self.service == Service::Gemini;
        assert_eq!(partial, seen.billed, "{cell}: {booked:?}");
        let expected = match (seen.after_content, self.setting) {
            (true, _) => ("interrupted", Some("stream_interrupted")),
            (false, Setting::Moved) => ("ok", None),
            (false, _) => ("upstream_error", Some(seen.code)),
        };
        assert_eq!((booked.outcome.as_str(), booked.code.as_deref()), expected, "{cell}");
        if expected.0 == "ok" || told {
            let (prompt, completion) = (booked.prompt.unwrap(), booked.completion.unwrap());
            assert!(prompt > 0 && completion > 0, "{cell}");
            assert_eq!(
                booked.cost,
                Some(prompt * 1_000 + completion * 2_000),
                "{cell}: one answer's"
            );
        } else {
            assert_eq!(booked.cost, None, "{cell}: nobody told what it took, and 0 would be a lie");
        }
    }

    /// What all requests of this stage together must have left behind.
    fn finish(mut self, all: &[Asked]) {
        let want = all.len() as u64;
        let store = self.store.take().unwrap();
        until("the records are written", || store.stats().written >= want);
        let path = self.dir.path().join("cutover.db");
        let connection = rusqlite::Connection::open(path).unwrap();
        let books: Vec<Booked> = all.iter().map(|asked| Self::record(asked, &connection)).collect();
        for (asked, booked) in all.iter().zip(&books) {
            self.check_books(asked, booked);
        }
        let count = "SELECT count(*) FROM records";
        let records = connection.query_row(count, [], |row| number(row, 0)).unwrap();
        assert_eq!(records, Some(want), "{:?} {}", self.setting, self.row.name);
        let total = |of: fn(&Booked) -> Option<u64>| books.iter().filter_map(of).sum::<u64>();
        let metrics = self.rig.metrics();
        let sum = |name: &str, label: &str| {
            let named = |line: &&str| line.starts_with(name) && line.contains(label);
            let figure = |line: &str| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap();
            metrics.lines().filter(named).map(figure).sum::<u64>()
        };
        let figure = |name| sum(name, "");
        assert_eq!(figure("cutover_requests_total{"), want);
        assert_eq!(figure("cutover_prompt_tokens_total{"), total(|b| b.prompt));
        assert_eq!(figure("cutover_completion_tokens_total{"), total(|b| b.completion));
        let attempts: u64 = books.iter().map(|b| b.attempts).sum();
        assert_eq!(figure("cutover_attempts_total{"), attempts, "{metrics}");
        // A stream that broke off is no success.
        let good = books.iter().filter(|b| b.outcome == "ok").count() as u64;
        assert_eq!(sum("cutover_attempts_total{", "result=\"ok\""), good, "{metrics}");
        let fakes = self.behind.bad.iter().chain([&self.behind.good]);
        let arrived: u64 = fakes.map(|fake| fake.inferences().len() as u64).sum();
        let lost = match (self.row.arrives(), self.setting) {
            (true, _) => 0,
            // The candidate's attempts arrived nowhere, the baseline's did.
            (false, Setting::Moved) => want,
            (false, _) => attempts,
        };
        assert_eq!(arrived + lost, attempts, "{:?} {}", self.setting, self.row.name);
    }
}

#[derive(Debug)]
struct Booked {
    attempts: u64,
    outcome: String,
    code: Option<String>,
    marks: String,
    prompt: Option<u64>,
    completion: Option<u64>,
    cost: Option<u64>,
}

struct Asked {
    dialect: &'static Dialect,
    stream: bool,
    response: Response,
    cell: String,
}

/// A count; none of NULL.
fn number(row: &rusqlite::Row<'_>, at: usize) -> rusqlite::Result<Option<u64>> {
    Ok(row.get::<_, Option<i64>>(at)?.map(i64::cast_unsigned))
}

/// Google's paths say whether a stream is wanted.
fn path(dialect: &Dialect, stream: bool) -> String {
    if !stream {
        return dialect.path.to_owned();
    }
    dialect.path.replace(":generateContent", ":streamGenerateContent?alt=sse")
}

fn body(dialect: &Dialect, stream: bool) -> Value {
    let messages = json!([{"role": "user", "content": "hi"}]);
    match dialect.name {
        "OpenAI Responses" => json!({"model": "app", "input": "hi", "stream": stream}),
        "Anthropic" => {
            json!({"model": "app", "max_tokens": 100, "messages": messages, "stream": stream})
        }
        "Gemini" => json!({"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}),
        _ => json!({"model": "app", "messages": messages, "stream": stream}),
    }
}

fn said(value: &Value, path: &str) -> String {
    value.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned()
}

impl Asked {
    fn id(&self) -> &str {
        let id = self.response.header("x-request-id");
        id.unwrap_or_else(|| panic!("{}: no request id", self.cell))
    }

    /// The events, or lines, of a stream.
    fn events(&self) -> Vec<Value> {
        let text = self.response.text();
        let all = text.lines().map(|line| line.strip_prefix("data: ").unwrap_or(line));
        all.filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    fn ends_well(&self) -> bool {
        let last = self.events().last().cloned().unwrap_or_default();
        match self.dialect.name {
            "OpenAI chat" => self.response.text().trim_end().ends_with("data: [DONE]"),
            "OpenAI Responses" => last["type"] == "response.completed",
            "Anthropic" => last["type"] == "message_stop",
            "Gemini" => !last["candidates"][0]["finishReason"].is_null(),
            _ => last["done"] == true,
        }
    }

    fn assert_well(&self, text: &str) {
        let cell = &self.cell;
        if !self.stream {
            let path = match self.dialect.name {
                "OpenAI chat" => "/choices/0/message/content",
                "OpenAI Responses" => "/output/0/content/0/text",
                "Anthropic" => "/content/0/text",
                "Gemini" => "/candidates/0/content/parts/0/text",
                _ => "/message/content",
            };
            assert_eq!(said(&self.response.json(), path), text, "{cell}");
            return;
        }
        let path = match self.dialect.name {
            "OpenAI chat" => "/choices/0/delta/content",
            "OpenAI Responses" => "/delta",
            "Anthropic" => "/delta/text",
            "Gemini" => "/candidates/0/content/parts/0/text",
            _ => "/message/content",
        };
        let all: String = self.events().iter().map(|event| said(event, path)).collect();
        assert_eq!(all, text, "{cell}: {}", self.response.text());
        assert!(self.ends_well(), "{cell}: {}", self.response.text());
    }

    fn assert_broke_off(&self) {
        let (cell, events) = (&self.cell, self.events());
        let last = events.last().unwrap_or_else(|| panic!("{cell}: no event"));
        let (path, expected) = match self.dialect.name {
            "OpenAI chat" => ("/error/code", "stream_interrupted"),
            "OpenAI Responses" => ("/response/error/code", "server_error"),
            "Anthropic" => ("/error/type", "api_error"),
            "Gemini" => ("/error/details/0/reason", "STREAM_INTERRUPTED"),
            _ => ("/error", ""),
        };
        let code = said(last, path);
        assert!(code.starts_with(expected) && !code.is_empty(), "{cell}: {last}");
        assert!(!self.ends_well(), "{cell}: no false end");
        assert!(self.response.complete, "{cell}: the body ends in an orderly way");
        assert!(events.len() > 2, "{cell}: content came first");
    }

    fn assert_refused(&self, seen: Seen) {
        let (cell, response) = (&self.cell, &self.response);
        let words = Words::of(seen.code).unwrap();
        let body = response.json();
        let (status, path, expected) = match self.dialect.name {
            "Anthropic" => (words.anthropic_status, "/error/type", words.anthropic_type),
            "Ollama" => (words.status, "/error", ""),
            "Gemini" => (words.status, "/error/status", words.gemini_status),
            _ => (words.status, "/error/code", seen.code),
        };
        assert_eq!(response.status, status, "{cell}: {}", response.text());
        let code = said(&body, path);
        assert!(code.starts_with(expected) && !code.is_empty(), "{cell}: {body}");
        let wait = seen.wait_s.map(|seconds| seconds.to_string());
        assert_eq!(response.header("retry-after"), wait.as_deref(), "{cell}");
        for word in ["127.0.0.1", ".invalid", "hemlock", "wormwood"] {
            assert!(!response.text().contains(word), "{cell}: no name of ours reaches a client");
        }
    }
}

fn play(row: &'static Row, setting: Setting, service: Service) {
    let stage = Stage::new(row, setting, service);
    let all: Vec<Asked> = [false, true].into_iter().flat_map(|stream| stage.run(stream)).collect();
    for asked in &all {
        stage.check(asked);
    }
    stage.finish(&all);
}

/// Plays the table, several stages at a time.
fn play_all(settings: &[Setting], service: Service) {
    let stages: Vec<_> =
        FAULTS.iter().flat_map(|row| settings.iter().map(move |setting| (row, *setting))).collect();
    let next = AtomicUsize::new(0);
    let work = || -> Vec<String> {
        let mut failed = Vec::new();
        loop {
            let at = next.fetch_add(1, Relaxed);
            let Some((row, setting)) = stages.get(at).copied() else { return failed };
            if let Err(why) = std::panic::catch_unwind(|| play(row, setting, service)) {
                let why = why.downcast_ref::<String>().cloned().unwrap_or_default();
                failed.push(format!("{} {setting:?}: {why}", row.name));
            }
        }
    };
    let failed: Vec<String> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..6).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    assert!(failed.is_empty(), "{} stages failed:\n{}", failed.len(), failed.join("\n"));
}

/// The whole table: 16 faults, 3 settings, 5 dialects, whole and as a stream.
#[test]
fn every_fault_is_what_the_table_says() {
    play_all(&SETTINGS, Service::Compatible);
}

/// The same where Gemini is what fails, and all there is.
#[test]
fn every_fault_of_geminis_is_what_the_table_says() {
    play_all(&[Setting::Alone], Service::Gemini);
}
