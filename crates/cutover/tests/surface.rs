//! The rest of the OpenAI surface through the real program: the same as direct, streamed both ways, and
//! nothing that must not pass.

#![expect(clippy::expect_used, reason = "a failed expectation is a failed test")]

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use cutover_testkit::cloud::{Arrived, Cloud};
use cutover_testkit::fake::{Fake, Persona, Setup};
use cutover_testkit::probes;
use cutover_testkit::program::{self, Program};
use cutover_testkit::raw::{self, Raw, Response};
use cutover_testkit::rig;
use cutover_testkit::wait::until;

const BINARY: &str = env!("CARGO_BIN_EXE_cutover");
const KEY: &str = "sk-upstream";

/// A program in front of this cloud, and a client's key.
fn start(cloud: &Cloud, more: &str) -> (Program, String) {
    let base = cloud.base_url();
    let config = format!(
        r#"
default_upstream = "cloud"
[server]
keys = "required"
[upstreams.cloud]
provider = "openai"
base_url = "{base}"
key = {{ env = "UPSTREAM_KEY" }}
{more}
"#
    );
    let program = program::Setup::new(BINARY, &config).env("UPSTREAM_KEY", KEY).start();
    let key = program.ok(&["key", "add", "app"]);
    let key = key.split_whitespace().find(|word| word.starts_with("ck-")).expect("a key");
    let key = key.to_owned();
    (program, key)
}

#[expect(clippy::too_many_arguments, reason = "a request has these parts")]
fn ask(program: &Program, key: &str, line: &str, headers: &[&str], body: &str) -> Response {
    let bearer = format!("authorization: Bearer {key}");
    let headers: Vec<&str> = headers.iter().copied().chain([bearer.as_str()]).collect();
    raw::exchange(program.url(), line, &headers, body).expect("an answer")
}

/// What the program counts.
fn metrics(program: &Program) -> String {
    program.admin("GET /metrics", "").text()
}

/// Requests that were passed on, beside whatever looks after instances.
fn passed_on(cloud: &Cloud) -> usize {
    let of_ours = |one: &Arrived| !one.target.starts_with("/v1/models") && one.target != "/health";
    cloud.arrived().iter().filter(|one| of_ours(one)).count()
}

fn code(response: &Response) -> (u16, String) {
    let code = response.json()["error"]["code"].as_str().unwrap_or_default().to_owned();
    (response.status, code)
}

/// No request that arrived carries anything of the client's.
fn assert_nothing_of_the_clients(arrived: &[Arrived], key: &str) {
    for one in arrived {
        assert_eq!(one.header("authorization"), Some("Bearer sk-upstream"), "{one:?}");
        let text = format!("{:?} {}", one.headers, one.target);
        for secret in [key, "cookie", "x-stainless", "x-forwarded", "session=1"] {
            assert!(!text.contains(secret), "{secret} reached the upstream: {text}");
        }
    }
}

#[test]
fn the_sdk_gets_the_same_as_direct() {
    let direct = Cloud::start(KEY);
    let Some(wants) = rig::require(probes::run_python_surface(&direct.base_url(), KEY)) else {
        return;
    };
    wants.assert_all_pass(19);
    let cloud = Cloud::start(KEY);
    let (program, key) = start(&cloud, "");
    let url = format!("{}/v1", program.url());
    let found = probes::run_python_surface(&url, &key).expect("it ran before");
    found.assert_all_pass(19);
    for (want, found) in wants.0.iter().zip(&found.0) {
        assert_eq!((&want.name, &want.detail), (&found.name, &found.detail));
    }
    let requests = |cloud: &Cloud| -> Vec<_> {
        let arrived = cloud.arrived().into_iter();
        // Boundaries of forms are random.
        arrived.map(|one| (one.method, one.target, one.body_bytes)).collect()
    };
    assert_eq!(requests(&direct), requests(&cloud));
    assert_nothing_of_the_clients(&cloud.arrived(), &key);
    let sent: u64 = cloud.arrived().iter().map(|one| one.body_bytes).sum();
    assert_eq!(recorded_bytes(&program, cloud.arrived().len()).0, sent, "what the cloud was sent");
    let metrics = metrics(&program);
    let counted =
        "cutover_surface_requests_total{endpoint=\"audio\",upstream=\"cloud\",outcome=\"ok\"} 4";
    assert!(metrics.contains(counted), "{metrics}");
    assert!(!metrics.contains("cutover_unpriced_requests_total{use_case=\"-\",arm=\"default\",variant=\"default\",upstream=\"cloud\"} 1"));
}

/// The bytes that the records of passed requests have: up and down, once there are so many records.
fn recorded_bytes(program: &Program, records: usize) -> (u64, u64) {
    let path = program.state().join("cutover.db");
    let sums = || -> (usize, u64, u64) {
        let database = rusqlite::Connection::open(&path).expect("the database");
        let sql = "SELECT count(bytes_up), sum(bytes_up), sum(bytes_down) FROM records";
        let read = |row: &rusqlite::Row<'_>| {
            let count: i64 = row.get(0)?;
            let (up, down): (Option<i64>, Option<i64>) = (row.get(1)?, row.get(2)?);
            Ok((count, up.unwrap_or(0), down.unwrap_or(0)))
        };
        let (count, up, down) = database.query_row(sql, [], read).expect("the sums");
        let whole = |number: i64| u64::try_from(number).expect("not negative");
        (usize::try_from(count).expect("not negative"), whole(up), whole(down))
    };
    until("the records", || sums().0 >= records);
    let (_, up, down) = sums();
    (up, down)
}

#[test]
fn a_record_has_the_bytes_that_went_up_and_came_down() {
    let cloud = Cloud::start(KEY);
    let (program, key) = start(&cloud, "");
    let body = "{\"input\":\"I want to hug them.\"}";
    let response = ask(&program, &key, "POST /v1/moderations", &[], body);
    assert_eq!(response.status, 200, "{}", response.text());
    let down = response.body.len() as u64;
    assert_eq!(recorded_bytes(&program, 1), (body.len() as u64, down));
    // A chat is none of them.
    let chat = "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}";
    ask(&program, &key, "POST /v1/chat/completions", &[], chat);
    let listed = ask(&program, &key, "GET /v1/files", &[], "");
    let down = down + listed.body.len() as u64;
    assert_eq!(recorded_bytes(&program, 2), (body.len() as u64, down));
}

/// Memory of the program in bytes: what it holds now, and the most it ever held.
fn memory(program: &Program) -> (u64, u64) {
    let status = fs::read_to_string(format!("/proc/{}/status", program.pid())).expect("a process");
    let of = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a line");
        line.split_whitespace().next().expect("a number").parse::<u64>().expect("a number") * 1024
    };
    (of("VmRSS:"), of("VmHWM:"))
}

const PIECE: usize = 1 << 20;

#[test]
fn two_hundred_megabytes_go_through_and_are_not_held() {
    const PIECES: usize = 200;
    let cloud = Cloud::start(KEY);
    let (program, key) = start(&cloud, "");
    let (before, _) = memory(&program);
    for chunked in [false, true] {
        let mut raw = Raw::open(program.url()).expect("a connection");
        let framing = if chunked {
            "transfer-encoding: chunked".to_owned()
        } else {
            format!("content-length: {}", PIECES * PIECE)
        };
        let kind = "content-type: multipart/form-data; boundary=x1";
        raw.send(format!(
            "POST /v1/files HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {key}\r\n{kind}\r\n{framing}\r\n\r\n"
        ))
        .expect("sent");
        for at in 0..PIECES {
            let piece = vec![u8::try_from(at).expect("small"); PIECE];
            if chunked {
                raw.send(format!("{PIECE:x}\r\n")).expect("sent");
            }
            raw.send(&piece).expect("sent");
            if chunked {
                raw.send("\r\n").expect("sent");
            }
        }
        if chunked {
            raw.send("0\r\n\r\n").expect("sent");
        }
        let response = raw.response().expect("an answer").expect("an answer");
        assert_eq!(response.status, 200, "{}", response.text());
        assert_eq!(response.json()["bytes"], PIECES * PIECE);
    }
    let arrived = cloud.arrived();
    assert_eq!(arrived[0].header("content-length"), Some("209715200"));
    assert_eq!(arrived[0].header("content-type"), Some("multipart/form-data; boundary=x1"));
    assert_eq!(arrived[1].header("transfer-encoding"), Some("chunked"));
    assert_eq!(arrived[0].sha256, arrived[1].sha256);
    let (_, most) = memory(&program);
    let more = most.saturating_sub(before);
    assert!(more < 16 << 20, "400 MB took {more} bytes of memory");
}

#[test]
fn an_upstream_that_does_not_read_holds_the_client_back() {
    let cloud = Cloud::start(KEY);
    let (program, key) = start(&cloud, "");
    let address = program.url().trim_start_matches("http://");
    let mut client = TcpStream::connect(address).expect("a connection");
    client.set_nonblocking(true).expect("a socket");
    let head = format!(
        "POST /v1/files?fault=never_reads HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {key}\r\ncontent-length: 500000000\r\n\r\n"
    );
    client.write_all(head.as_bytes()).expect("sent");
    let piece = vec![0; PIECE];
    let mut sent = 0_usize;
    let (before, _) = memory(&program);
    let mut refusals = 0;
    until("the socket takes no more", || {
        match client.write(&piece) {
            Ok(count) => {
                sent += count;
                refusals = 0;
            }
            Err(_) => refusals += 1,
        }
        refusals > 100
    });
    assert!(sent < 64 << 20, "{sent} bytes were taken for an upstream that reads none");
    let (now, _) = memory(&program);
    assert!(now.saturating_sub(before) < 8 << 20, "{before} > {now}");
    // The client leaves: its upstream is told.
    drop(client);
    cloud.open_gate();
    let arrived = cloud.wait_for(1);
    assert!(!arrived[0].whole);
    until("the request is counted as its client's", || {
        metrics(&program).contains("outcome=\"client_gone\"} 1")
    });
}

#[test]
fn what_is_too_large_or_too_slow_is_told_and_what_comes_early_is_passed_on() {
    let cloud = Cloud::start(KEY);
    let limits = "[surface]\nupload_limit = \"64 KiB\"\nidle_timeout = \"300 ms\"\n";
    let (program, key) = start(&cloud, limits);
    let announced = ask(&program, &key, "POST /v1/files", &[], &"x".repeat(70_000));
    assert_eq!(code(&announced), (413, "request_too_large".to_owned()));
    assert_eq!(cloud.bytes_read(), 0, "the announced length was enough to refuse it");

    let head = |framing: &str| {
        format!(
            "POST /v1/files HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {key}\r\n{framing}\r\n\r\n"
        )
    };
    let mut raw = Raw::open(program.url()).expect("a connection");
    raw.send(head("transfer-encoding: chunked")).expect("sent");
    for _ in 0..3 {
        raw.send(format!("{:x}\r\n{}\r\n", 30_000, "x".repeat(30_000))).expect("sent");
    }
    let response = raw.response().expect("an answer").expect("an answer");
    assert_eq!(code(&response), (413, "request_too_large".to_owned()));
    assert_eq!(response.header("connection"), Some("close"));

    let mut raw = Raw::open(program.url()).expect("a connection");
    raw.send(head("content-length: 1000")).expect("sent");
    raw.send("some").expect("sent");
    let response = raw.response().expect("an answer").expect("an answer");
    assert_eq!(code(&response), (408, "request_timeout".to_owned()));

    let early = ask(&program, &key, "POST /v1/files?fault=early413", &[], &"x".repeat(60_000));
    assert_eq!((early.status, early.json()["error"]["message"].as_str()), (413, Some("too large")));
    let metrics = metrics(&program);
    for limit in ["surface.upload_limit\"} 2", "surface.idle_timeout\"} 1"] {
        assert!(metrics.contains(limit), "{limit}: {metrics}");
    }
}

#[test]
fn a_client_that_leaves_a_download_ends_it_and_one_that_breaks_off_never_looks_whole() {
    let cloud = Cloud::start(KEY);
    let (program, key) = start(&cloud, "");
    let body = r#"{"model":"tts-1","input":"x","voice":"alloy"}"#;
    let bearer = format!("authorization: Bearer {key}");

    let mut raw = Raw::open(program.url()).expect("a connection");
    raw.request("POST /v1/audio/speech?fault=stall", &[&bearer], body).expect("sent");
    // The first half comes while the upstream stalls: nothing waits for the whole.
    raw.read_until("audio/mpeg").expect("the head");
    drop(raw);
    until("the upstream's connection is closed", || {
        metrics(&program)
            .contains("endpoint=\"audio\",upstream=\"cloud\",outcome=\"client_gone\"} 1")
    });
    cloud.open_gate();
    until("the cloud could not send the rest", || cloud.left() == 1);

    let mut raw = Raw::open(program.url()).expect("a connection");
    raw.request("POST /v1/audio/speech?fault=cut", &[&bearer], body).expect("sent");
    let response = raw.response().expect("an answer").expect("an answer");
    assert!(response.status == 200 && !response.complete, "a half answer looked whole");
    until("it is counted as interrupted", || {
        metrics(&program)
            .contains("endpoint=\"audio\",upstream=\"cloud\",outcome=\"interrupted\"} 1")
    });
}

#[test]
fn trouble_at_the_upstream_says_nothing_of_our_side() {
    let cloud = Cloud::start(KEY);
    let (program, key) = start(&cloud, "");
    for (fault, wants) in [
        ("401", (502, "upstream_authentication")),
        ("html500", (502, "bad_gateway")),
        ("redirect", (502, "bad_gateway")),
        ("429", (429, "rate_limit_exceeded")),
        ("500", (500, "server_error")),
    ] {
        let response = ask(&program, &key, &format!("GET /v1/files?fault={fault}"), &[], "");
        assert_eq!(code(&response), (wants.0, wants.1.to_owned()), "{fault}");
        assert!(!response.text().contains("sk-par") && !response.text().contains("secrets"));
        for name in ["set-cookie", "location", "server"] {
            assert_eq!(response.header(name), None, "{fault}");
        }
    }
    let gone = {
        let gone = Cloud::start(KEY);
        gone.base_url()
    };
    let config =
        format!("[upstreams.gone]\nprovider = \"openai\"\nbase_url = \"{gone}\"\nkey = \"none\"\n");
    let program = Program::start(BINARY, &config);
    let response = raw::exchange(program.url(), "GET /v1/files", &[], "").expect("an answer");
    // The listener of an ended cloud takes its last connection and closes it.
    assert!(matches!(response.status, 502 | 503), "{}", response.text());
    assert!(!response.text().contains("127.0.0.1"), "{}", response.text());
}

#[test]
fn headers_pass_by_list_and_keys_in_queries_stay() {
    let cloud = Cloud::start(KEY);
    let (program, key) = start(&cloud, "");
    let made = ask(&program, &key, "POST /v1/files", &["content-type: text/plain"], "hello");
    let id = made.json()["id"].as_str().expect("an id").to_owned();
    let line = format!("GET /files/{id}?key={key}&include[]=a&api_key={key}");
    let sent = [
        "cookie: session=1",
        "x-api-key: mine",
        "x-forwarded-for: 1.2.3.4",
        "openai-organization: org-1",
        "openai-beta: assistants=v2",
        "if-none-match: \"v0\"",
        "x-stainless-retry-count: 1",
        "x-anything: 1",
    ];
    let response = ask(&program, &key, &line, &sent, "");
    assert_eq!(response.status, 200);
    let seen = cloud.arrived().pop().expect("a request");
    assert_eq!(seen.target, format!("/v1/files/{id}?include[]=a"));
    let mut names: Vec<&str> = seen.headers.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        ["accept-encoding", "authorization", "host", "if-none-match", "openai-beta", "user-agent",]
    );
    assert_nothing_of_the_clients(&cloud.arrived(), &key);
    let mut told: Vec<&str> = response.headers.iter().map(|(name, _)| name.as_str()).collect();
    told.sort_unstable();
    assert_eq!(
        told,
        [
            "content-length",
            "content-type",
            "date",
            "openai-processing-ms",
            "x-cutover-instance",
            "x-cutover-upstream",
            "x-ratelimit-remaining-requests",
            "x-request-id",
        ]
    );
    assert_ne!(response.header("x-request-id"), Some("theirs"));
    let head = ask(&program, &key, &format!("HEAD /v1/files/{id}/content"), &[], "");
    assert_eq!((head.status, head.header("accept-ranges")), (200, Some("bytes")));
}

#[test]
fn what_never_passes_reaches_nobody() {
    let cloud = Cloud::start(KEY);
    let config = "[surface]\nallow = [\"files\"]\n";
    let (program, key) = start(&cloud, config);
    for (line, wants) in [
        ("GET /v1/organization/admin_api_keys", (403, "permission_denied")),
        ("POST /v1/organization/projects", (403, "permission_denied")),
        ("GET /organization/costs", (403, "permission_denied")),
        ("DELETE /v1/projects/p", (403, "permission_denied")),
        ("GET /v1/chat/completions/chatcmpl-1", (403, "permission_denied")),
        ("POST /v1/realtime/client_secrets", (501, "not_supported")),
        ("POST /v1/threads", (501, "not_supported")),
        ("POST /v1/moderations", (403, "permission_denied")),
        ("GET /v1/files/../organization/users", (404, "not_found")),
        ("GET /v1/files/%2e%2e%2forganization", (404, "not_found")),
        ("GET /v1/unheard_of", (404, "not_found")),
        ("PATCH /v1/files/file-1", (405, "method_not_allowed")),
        ("PUT /v1/files", (405, "method_not_allowed")),
    ] {
        let response = ask(&program, &key, line, &[], "");
        assert_eq!(code(&response), (wants.0, wants.1.to_owned()), "{line}");
    }
    let nobody = raw::exchange(program.url(), "GET /v1/files", &[], "").expect("an answer");
    assert_eq!(code(&nobody), (401, "invalid_api_key".to_owned()));
    assert_eq!(passed_on(&cloud), 0);
}

/// Use cases of a vendor's, of an engine of one's own, and of one without these endpoints.
fn apart(other: &Cloud, local: &Cloud) -> String {
    format!(
        r#"
[upstreams.other]
provider = "openai-compatible"
base_url = "{}"
key = {{ env = "UPSTREAM_KEY" }}
[upstreams.local]
provider = "vllm"
base_url = "{}"
key = {{ env = "UPSTREAM_KEY" }}
local = true
probes = false
[upstreams.without]
provider = "ollama"
base_url = "http://127.0.0.1:9"
local = true
probes = false
[variants.big]
upstream = "other"
model = "m"
[variants.small]
upstream = "local"
model = "m"
[variants.tiny]
upstream = "without"
model = "m"
[use_cases.moving]
match = {{ header = {{ x-app = "moving" }} }}
baseline = "big"
candidate = "small"
weight = "100%"
[use_cases.secret]
match = {{ header = {{ x-app = "secret" }} }}
residency = "local-only"
baseline = "small"
[use_cases.hidden]
match = {{ header = {{ x-app = "hidden" }} }}
residency = "local-only"
baseline = "tiny"
"#,
        other.base_url(),
        local.base_url()
    )
}

#[test]
fn a_use_case_leads_to_its_own_vendor_and_a_local_only_one_to_a_local_engine_alone() {
    let (cloud, other, local) = (Cloud::start(KEY), Cloud::start(KEY), Cloud::start(KEY));
    let (program, key) = start(&cloud, &apart(&other, &local));
    let made = ask(&program, &key, "POST /v1/files", &["x-app: moving"], "x");
    assert_eq!((made.status, made.header("x-cutover-upstream")), (200, Some("other")));
    assert_eq!(made.header("x-cutover-use-case"), Some("moving"));
    let id = made.json()["id"].as_str().expect("an id").to_owned();
    let line = format!("GET /v1/files/{id}");
    for names in ["x-app: moving", "x-cutover-use-case: moving"] {
        assert_eq!(ask(&program, &key, &line, &[names], "").status, 200, "its id leads back");
    }
    assert_eq!(ask(&program, &key, &line, &[], "").status, 404, "it is not the default's");
    let stays = "x-cutover-residency: local-only";
    for line in ["POST /v1/files", "POST /v1/moderations", "GET /v1/files/file-1/content"] {
        // What its upstream does not have would be the default upstream's, a vendor.
        for headers in [&["x-app: hidden"][..], &["x-app: moving", stays], &[stays]] {
            let refused = ask(&program, &key, line, headers, "");
            assert_eq!(code(&refused), (503, "residency_no_local_upstream".to_owned()), "{line}");
        }
    }
    for headers in [&["x-app: secret"][..], &["x-app: secret", stays]] {
        let kept = ask(&program, &key, "POST /v1/files", headers, "x");
        assert_eq!((kept.status, kept.header("x-cutover-upstream")), (200, Some("local")));
    }
    assert_eq!((passed_on(&cloud), passed_on(&other), passed_on(&local)), (1, 3, 2));

    // A misspelt use case goes nowhere rather than to the default upstream.
    let misspelt = ask(&program, &key, &line, &["x-cutover-use-case: secert"], "");
    assert_eq!(code(&misspelt), (400, "invalid_value".to_owned()));
    assert_eq!(passed_on(&cloud), 1);

    // A bound key beats what a header says.
    let bound = program.ok(&["key", "add", "bound", "--use-case", "secret"]);
    let bound = bound.split_whitespace().find(|word| word.starts_with("ck-")).expect("a key");
    let kept = ask(&program, bound, "GET /v1/files", &["x-app: moving"], "");
    assert_eq!((kept.status, kept.header("x-cutover-upstream")), (200, Some("local")));
}

#[test]
fn an_upstream_without_these_endpoints_is_not_asked() {
    let fake = Fake::start_with(Setup::new(Persona::Ollama));
    let config =
        format!("[upstreams.o]\nprovider = \"ollama\"\nbase_url = \"{}\"\n", fake.base_url());
    let program = Program::start(BINARY, &config);
    let response = raw::exchange(program.url(), "GET /v1/files", &[], "").expect("an answer");
    assert_eq!(code(&response), (501, "not_supported".to_owned()));
    assert!(response.text().contains("surface.upstream"), "{}", response.text());
    let asked = |path: &str| path.contains("files");
    assert!(!fake.seen().iter().any(|seen| asked(&seen.target)));
}

/// A server of pictures, and of what is none.
struct Pictures {
    address: std::net::SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Pictures {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&seen);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let noted = Arc::clone(&noted);
                std::thread::spawn(move || show(stream, &noted));
            }
        });
        Self { address, seen }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().expect("a list").clone()
    }
}

const PNG: &[u8] = b"\x89PNG\r\n\x1a\nsecret-pixels";

fn show(mut stream: TcpStream, seen: &Mutex<Vec<String>>) {
    let mut head = Vec::new();
    let mut piece = [0; 4096];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut piece) {
            Ok(count) if count > 0 => head.extend_from_slice(&piece[..count]),
            _ => return,
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    seen.lock().expect("a list").push(head);
    let whole = |head: &str, body: &[u8]| {
        let mut text =
            format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\n\r\n", body.len()).into_bytes();
        text.extend_from_slice(body);
        text
    };
    let answer = match path.as_str() {
        "/inside" => whole("302 Found\r\nlocation: http://169.254.169.254/latest/", b""),
        "/svg" => whole("200 OK\r\ncontent-type: image/png", b"<svg>secret-pixels</svg>"),
        "/gone" => whole("404 Not Found", b"secret-pixels"),
        "/big" => whole("200 OK", "x".repeat(70_000).as_bytes()),
        "/gzip" => whole("200 OK\r\ncontent-encoding: gzip", b"\x1f\x8bxx"),
        "/slow" => b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n\x89PNG".to_vec(),
        _ => whole("200 OK\r\ncontent-type: text/plain", PNG),
    };
    let _ = stream.write_all(&answer);
    if path == "/slow" {
        // Until the other side gives up.
        while matches!(stream.read(&mut piece), Ok(count) if count > 0) {}
    }
}

fn chat(urls: &[String]) -> String {
    let part = |url: &String| serde_json::json!({"type": "image_url", "image_url": {"url": url}});
    let parts: Vec<_> = urls.iter().map(part).collect();
    serde_json::json!({"model": "app", "messages": [{"role": "user", "content": parts}]})
        .to_string()
}

/// A use case on an engine that sees images by these rules.
fn seeing(engine: &Fake, provider: &str, more: &str) -> String {
    format!(
        r#"
[upstreams.gpus]
provider = "{provider}"
base_url = "{}"
local = true
{more}
[variants.own]
upstream = "gpus"
model = "fake-model"
unsupported = "lenient"
[use_cases.app]
match = {{ model = "app" }}
baseline = "own"
"#,
        engine.base_url()
    )
}

const FETCH: &str = "image_urls = \"fetch\"\n[images]\nplain_http = true\nprivate_hosts = [\"127.0.0.1\"]\nimage_limit = \"64 KiB\"\ntimeout = \"2 s\"\n";

fn talk(program: &Program, body: &str) -> Response {
    raw::exchange(program.url(), "POST /v1/chat/completions", &[], body).expect("an answer")
}

#[test]
fn images_are_fetched_and_go_inside_the_request() {
    let (pictures, engine) = (Pictures::start(), Fake::start_with(Setup::new(Persona::Ollama)));
    // No proxy is asked: this one would refuse.
    let program = program::Setup::new(BINARY, &seeing(&engine, "ollama", FETCH))
        .env("HTTP_PROXY", "http://127.0.0.1:9")
        .env("http_proxy", "http://127.0.0.1:9")
        .start();
    let urls: Vec<String> = (0..10).map(|at| pictures.url(&format!("/{at}.png?x=1"))).collect();
    let answer = talk(&program, &chat(&urls));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let asked = engine.inferences();
    let images = asked[0].json()["messages"][0]["images"].clone();
    let images = images.as_array().expect("images");
    assert_eq!(images.len(), 10);
    assert!(images.iter().all(|image| image == "iVBORw0KGgpzZWNyZXQtcGl4ZWxz"), "{images:?}");
    for head in pictures.seen() {
        let head = head.to_ascii_lowercase();
        assert!(!head.contains("cookie") && !head.contains("authorization"), "{head}");
    }

    let eleven: Vec<String> = (0..11).map(|at| pictures.url(&format!("/{at}.png"))).collect();
    let refused = talk(&program, &chat(&eleven));
    assert_eq!(code(&refused), (400, "invalid_image_url".to_owned()));
    assert_eq!(pictures.seen().len(), 10, "none is fetched of too many");

    // Another dialect's image takes the same way, and its errors are in that dialect's words.
    let claude = |url: &str| {
        let image = serde_json::json!({"type": "image", "source": {"type": "url", "url": url}});
        let messages = serde_json::json!([{"role": "user", "content": [image]}]);
        let body = serde_json::json!({"model": "app", "max_tokens": 9, "messages": messages});
        raw::exchange(program.url(), "POST /v1/messages", &[], body.to_string()).expect("an answer")
    };
    assert_eq!(claude(&pictures.url("/a.png")).status, 200);
    let refused = claude("http://10.0.0.1/a.png");
    assert_eq!((refused.status, refused.json()["type"].as_str()), (400, Some("error")));
    assert_eq!(refused.json()["error"]["type"], "invalid_request_error");
}

#[test]
fn what_cannot_be_fetched_is_told_without_a_word_of_the_server() {
    let (pictures, engine) = (Pictures::start(), Fake::start_with(Setup::new(Persona::Ollama)));
    let program = Program::start(BINARY, &seeing(&engine, "ollama", FETCH));
    let silent = "'messages[0].content[0].image_url.url' could not be fetched";
    for (url, wants, why, said) in [
        (pictures.url("/inside"), "image_fetch_failed", "address_not_public", silent),
        (pictures.url("/gone"), "image_fetch_failed", "status", silent),
        (pictures.url("/slow"), "image_fetch_failed", "late", silent),
        ("http://10.0.0.1/".to_owned(), "image_fetch_failed", "address_not_public", silent),
        ("http://localhost/".to_owned(), "image_fetch_failed", "address_not_public", silent),
        ("http://no.such.host.invalid/".to_owned(), "image_fetch_failed", "dns", silent),
        (
            "http://[::ffff:169.254.169.254]/".to_owned(),
            "image_fetch_failed",
            "address_not_public",
            silent,
        ),
        (pictures.url("/svg"), "invalid_image_url", "not_an_image", "does not lead to"),
        (pictures.url("/big"), "invalid_image_url", "too_large", "too large"),
        (pictures.url("/gzip"), "invalid_image_url", "compressed", "compresses"),
        ("file:///etc/passwd".to_owned(), "invalid_image_url", "scheme", "https"),
        ("http://u:p@127.0.0.1/".to_owned(), "invalid_image_url", "user_info", "user name"),
        ("nonsense".to_owned(), "invalid_image_url", "not_a_url", "not a URL"),
    ] {
        let answer = talk(&program, &chat(std::slice::from_ref(&url)));
        assert_eq!(code(&answer), (400, wants.to_owned()), "{url}");
        let text = answer.text();
        assert!(text.contains(said), "{url}: {text}");
        assert!(!text.contains("secret-pixels") && !text.contains("169.254"), "{text}");
        assert_eq!(answer.json()["error"]["param"], "messages[0].content[0].image_url.url");
        let counted = format!("cutover_image_fetches_total{{upstream=\"gpus\",result=\"{why}\"}}");
        assert!(metrics(&program).contains(&counted), "{url}: {why}\n{}", metrics(&program));
    }
    assert_eq!(engine.inferences().len(), 0);
    assert!(!program.log().contains("169.254") && !program.log().contains("secret-pixels"));
}

#[test]
fn an_engine_inside_the_network_sees_no_address_by_default() {
    let (pictures, engine) = (Pictures::start(), Fake::start_with(Setup::new(Persona::LlamaCpp)));
    let program = Program::start(BINARY, &seeing(&engine, "llamacpp", ""));
    let outside = pictures.url("/a.png");
    let hidden = format!(
        r#"{{"model":"app","messages":[{{"role":"user","content":[{{"type":"text","text":"x","image\u005Furl":{{"u\u0072l":"{outside}"}}}}]}}]}}"#
    );
    let film = format!(
        r#"{{"model":"app","messages":[{{"role":"user","content":[{{"type":"video_url","video_url":{{"url":"{outside}"}}}}]}}]}}"#
    );
    for body in [chat(std::slice::from_ref(&outside)), hidden, film] {
        let refused = talk(&program, &body);
        assert_eq!(code(&refused), (400, "invalid_image_url".to_owned()), "{body}");
    }
    for wrong in ["data:image/png;base64,QUJD", "data:text/html,x", "data:image/png;base64,@@@@"] {
        let refused = talk(&program, &chat(&[wrong.to_owned()]));
        assert_eq!(code(&refused), (400, "invalid_image_url".to_owned()), "{wrong}");
    }
    assert_eq!((engine.inferences().len(), pictures.seen().len()), (0, 0));
    let inside = "data:image/png;base64,iVBORw0KGgpzZWNyZXQtcGl4ZWxz".to_owned();
    assert_eq!(talk(&program, &chat(std::slice::from_ref(&inside))).status, 200);
    assert!(String::from_utf8_lossy(&engine.inferences()[0].body).contains(&inside));
}

#[test]
fn what_one_arm_may_not_see_goes_to_the_other() {
    let (cloud, own) = (
        Fake::start_with(Setup::new(Persona::OpenAi)),
        Fake::start_with(Setup::new(Persona::LlamaCpp)),
    );
    let config = format!(
        r#"
default_upstream = "cloud"
[upstreams.cloud]
provider = "openai-compatible"
base_url = "{}"
image_urls = "pass"
[upstreams.own]
provider = "llamacpp"
base_url = "{}"
[variants.big]
upstream = "cloud"
model = "fake-model"
[variants.small]
upstream = "own"
model = "fake-model"
[use_cases.app]
match = {{ model = "app" }}
baseline = "big"
candidate = "small"
weight = "100%"
"#,
        cloud.base_url(),
        own.base_url()
    );
    let program = Program::start(BINARY, &config);
    let answer = talk(&program, &chat(&["https://images.example.com/a.png".to_owned()]));
    assert_eq!(
        (answer.status, answer.header("x-cutover-arm")),
        (200, Some("baseline")),
        "{}",
        answer.text()
    );
    assert_eq!((own.inferences().len(), cloud.inferences().len()), (0, 1));
}

#[test]
fn a_local_only_use_case_fetches_from_listed_hosts_alone() {
    let (pictures, engine) = (Pictures::start(), Fake::start_with(Setup::new(Persona::Ollama)));
    let open = "image_urls = \"fetch\"\n[images]\nplain_http = true\n";
    for (rules, status) in [(open, 400), (FETCH, 200)] {
        let config = seeing(&engine, "ollama", rules) + "residency = \"local-only\"\n";
        let program = Program::start(BINARY, &config);
        let answer = talk(&program, &chat(&[pictures.url("/a.png")]));
        assert_eq!(answer.status, status, "{}", answer.text());
        let public = talk(&program, &chat(&["http://images.example.com/a.png".to_owned()]));
        assert_eq!(code(&public), (400, "invalid_image_url".to_owned()));
        assert!(public.text().contains("not on the list"), "{}", public.text());
    }
    assert_eq!((pictures.seen().len(), engine.inferences().len()), (1, 1));
}
