//! A restart that nobody notices: whoever holds the sockets starts the next process, then ends the
//! first; what connects meanwhile waits in the kernel's queue.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use cutover_testkit::fake::{Fake, Gate, Persona, Reply, Setup};
use cutover_testkit::raw::{Raw, Response, exchange};
use cutover_testkit::wait::until;
use serde_json::json;

const BINARY: &str = env!("CARGO_BIN_EXE_cutover");

struct Supervisor {
    clients: TcpListener,
    operators: TcpListener,
    folder: tempfile::TempDir,
}

impl Supervisor {
    fn new(upstream: &Fake) -> Self {
        Self::with(upstream, "")
    }

    fn with(upstream: &Fake, more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = format!(
            "default_upstream = \"one\"\n[upstreams.one]\nprovider = \"openai-compatible\"\nbase_url = \"{}/v1\"\n\
             models = [\"fake-model\"]\n[server]\nlisten = \"127.0.0.1:0\"\n\
             drain_timeout = \"2 min\"\n[admin]\nlisten = \"127.0.0.1:0\"\n{more}",
            upstream.base_url()
        );
        std::fs::write(folder.path().join("cutover.toml"), config).unwrap();
        let socket = || TcpListener::bind("127.0.0.1:0").unwrap();
        Self { clients: socket(), operators: socket(), folder }
    }

    fn url(&self) -> String {
        format!("http://{}", self.clients.local_addr().unwrap())
    }

    fn start(&self, log: &Path) -> Running {
        self.start_with("cutover.toml", log)
    }

    fn start_with(&self, config: &str, log: &Path) -> Running {
        self.start_within("unlimited", config, log)
    }

    /// Starts a process with both sockets, whose files grow to so many blocks. The shell gives them their places, as
    /// systemd does.
    fn start_within(&self, blocks: &str, config: &str, log: &Path) -> Running {
        let fd = |socket: &TcpListener| Stdio::from(OwnedFd::from(socket.try_clone().unwrap()));
        let state = self.folder.path().join("state");
        let script = "ulimit -f \"$2\"; exec 3<&0 4<&1 0</dev/null 1>&2; \
                      LISTEN_FDS=2 LISTEN_PID=$$ exec \"$0\" serve --wait --state-dir \"$1\"";
        let child = Command::new("/bin/sh")
            .args(["-c", script, BINARY])
            .arg(&state)
            .arg(blocks)
            .env("CUTOVER_CONFIG", self.folder.path().join(config))
            .env("HOME", self.folder.path())
            .stdin(fd(&self.clients))
            .stdout(fd(&self.operators))
            .stderr(std::fs::File::create(log).unwrap())
            .spawn();
        Running(child.unwrap())
    }

    fn log(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }
}

/// A process that does not outlive a failed test.
struct Running(Child);

impl Running {
    fn terminate(&self) {
        self.signal("TERM");
    }

    fn signal(&self, name: &str) {
        let pid = self.0.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    fn ends_well(&mut self) -> bool {
        self.0.wait().unwrap().success()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Fails for one that has ended, as all do in a test that passes.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Tells a thread to stop, also when the test fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn chat(stream: bool) -> String {
    json!({"model": "fake-model", "stream": stream, "messages": [{"role": "user", "content": "hi"}]})
        .to_string()
}

#[test]
fn a_restart_refuses_nobody_and_cuts_no_stream() {
    let upstream = Fake::start_with(Setup::new(Persona::OpenAi).name("upstream"));
    let supervisor = Supervisor::new(&upstream);
    let (first_log, second_log) = (supervisor.log("first"), supervisor.log("second"));
    let mut first = supervisor.start(&first_log);
    let url = supervisor.url();
    let ask = || exchange(&url, "POST /v1/chat/completions", &["connection: close"], chat(false));
    // It waits in the socket's queue until the process is there.
    assert_eq!(ask().unwrap().status, 200);

    let gate = Gate::new();
    upstream.once(Reply::words(4).hold_each_chunk(&gate));
    let mut stream = Raw::open(&url).unwrap();
    stream.request("POST /v1/chat/completions", &[], chat(true)).unwrap();
    gate.release(1);
    stream.read_until("w0 ").unwrap();

    let (stop, asked) = (AtomicBool::new(false), AtomicU32::new(0));
    let failed = std::thread::scope(|scope| {
        let stopping = Stop(&stop);
        let asking = scope.spawn(|| {
            let mut failed = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                match ask() {
                    Ok(answer) if answer.status == 200 => {}
                    Ok(answer) => failed.push(answer.text()),
                    Err(error) => failed.push(error.to_string()),
                }
                asked.fetch_add(1, Ordering::Relaxed);
            }
            failed
        });
        let more = |count: u32| {
            let since = asked.load(Ordering::Relaxed);
            until("more answers", || asked.load(Ordering::Relaxed) >= since + count);
        };
        more(5);
        let mut second = supervisor.start(&second_log);
        let said = |log: &Path, text: &str| std::fs::read_to_string(log).unwrap().contains(text);
        until("the second to wait", || said(&second_log, "waits until another cutover"));
        more(5);
        first.terminate();
        until("the second to serve", || said(&second_log, "serving"));
        more(20);
        assert!(first.0.try_wait().unwrap().is_none(), "the first still has its stream");
        gate.open();
        let rest = stream.read_until("[DONE]").unwrap();
        assert!(rest.contains("w3"), "{rest}");
        assert!(first.ends_well(), "{}", std::fs::read_to_string(&first_log).unwrap());
        more(5);
        drop(stopping);
        let failed = asking.join().unwrap();
        second.terminate();
        assert!(second.ends_well());
        failed
    });
    assert_eq!(failed, Vec::<String>::new(), "of {} requests", asked.load(Ordering::Relaxed));
}

/// It waited all the same, was taken for ready, and ended when the one before had gone: nobody served.
#[test]
fn a_next_process_that_cannot_start_says_so_before_it_waits() {
    let upstream = Fake::start_with(Setup::new(Persona::OpenAi).name("upstream"));
    let supervisor = Supervisor::with(&upstream, "[state]\ndirectory = \"state\"\n");
    let folder = supervisor.folder.path();
    let good = std::fs::read_to_string(folder.join("cutover.toml")).unwrap();
    let mut first = supervisor.start(&supervisor.log("first"));
    let url = supervisor.url();
    let ask = || exchange(&url, "POST /v1/chat/completions", &["connection: close"], chat(false));
    assert_eq!(ask().unwrap().status, 200);

    let next = folder.join("next.toml");
    let cloud =
        "[upstreams.x]\nprovider = \"openai-compatible\"\nbase_url = \"http://127.0.0.1:1\"\n";
    let variant =
        "[variants.y]\nupstream = \"one\"\nmodel = \"fake-model\"\nprompt = \"terms@prod\"\n";
    std::fs::write(folder.join("empty"), "").unwrap();
    let cases = [
        (
            format!("{cloud}key = {{ env = \"CUTOVER_TEST_NEVER_SET\" }}\n"),
            "CUTOVER_TEST_NEVER_SET",
        ),
        (format!("{cloud}key = {{ file = \"empty\" }}\n"), "file empty is empty"),
        (
            "[admin.operators.ann]\ntoken = { file = \"none\" }\n".to_owned(),
            "admin.operators.ann.token",
        ),
        (variant.to_owned(), "terms"),
    ];
    for (mistake, told) in cases {
        std::fs::write(&next, format!("{good}{mistake}")).unwrap();
        let log = supervisor.log("next");
        let mut process = supervisor.start_with("next.toml", &log);
        until("it to end", || process.0.try_wait().unwrap().is_some());
        let said = std::fs::read_to_string(&log).unwrap();
        assert_eq!(process.0.wait().unwrap().code(), Some(3), "{said}");
        let error = said.lines().find(|line| line.starts_with("error:"));
        assert!(error.is_some_and(|error| error.contains(told)), "{said}");
        assert!(!said.contains("waits until"), "{said}");
    }
    assert_eq!(ask().unwrap().status, 200);

    // With its prompt, which is read beside the process that serves, the last of them waits and takes over.
    let terms = folder.join("terms.txt");
    std::fs::write(&terms, "Be brief.").unwrap();
    let added = Command::new(BINARY)
        .args(["prompt", "add", "terms"])
        .arg(&terms)
        .args(["--label", "prod"])
        .env("CUTOVER_CONFIG", folder.join("cutover.toml"))
        .env("HOME", folder)
        .output()
        .unwrap();
    assert!(added.status.success(), "{}", String::from_utf8_lossy(&added.stderr));
    let log = supervisor.log("next");
    let mut second = supervisor.start_with("next.toml", &log);
    let said = |text: &str| std::fs::read_to_string(&log).unwrap().contains(text);
    until("it to wait", || said("waits until another cutover"));
    // Whoever reloads all that there is ended it, and with the first one's end nobody served.
    second.signal("HUP");
    first.terminate();
    until("it to serve", || said("serving"));
    assert!(first.ends_well());
    assert_eq!(ask().unwrap().status, 200);
    second.terminate();
    assert!(second.ends_well());
}

/// The kernel ends whoever writes past it.
#[test]
fn a_limit_of_file_sizes_costs_records_and_no_answer() {
    let upstream = Fake::start_with(Setup::new(Persona::OpenAi).name("upstream"));
    let supervisor = Supervisor::new(&upstream);
    let log = supervisor.log("log");
    let mut process = supervisor.start_within("512", "cutover.toml", &log);
    let (url, mut asked) = (supervisor.url(), 0);
    let said = |text: &str| std::fs::read_to_string(&log).unwrap().contains(text);
    while !said("operation=\"write_records\"") {
        for _ in 0..50 {
            let answer = exchange(&url, "POST /v1/chat/completions", &[], chat(false)).unwrap();
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
        asked += 50;
        assert!(asked < 50_000, "the limit was not met");
    }
    process.terminate();
    assert!(process.ends_well());
}

/// A token costs a dollar, and an answer is estimated at a thousand of them.
const OVERFLOWS: &str = "price = { input_usd_per_mtok = 0, output_usd_per_mtok = 1000000 }
[use_cases.docs]
match = { model = \"app\" }
baseline = \"cloud\"
candidate = \"small\"
weight = \"100%\"
overflow = { budget_per_day = \"1399\" }
";

/// Each handover gave all of the day's money once more: what the process before still spent was in nobody's sum.
#[test]
fn the_next_process_counts_what_the_one_before_still_spends() {
    let (cloud, own) = (Fake::start(Persona::OpenAi), Fake::start(Persona::LlamaCpp));
    let own_config = format!(
        "[upstreams.own]\nprovider = \"llamacpp\"\nbase_url = \"{}\"\nprobes = false\nin_flight_limit = 1\n\
         queue = {{ length = 0 }}\n[variants.small]\nupstream = \"own\"\nmodel = \"fake-model\"\n\
         [variants.cloud]\nupstream = \"one\"\nmodel = \"fake-model\"\n{OVERFLOWS}",
        own.base_url()
    );
    let supervisor = Supervisor::with(&cloud, &own_config);
    let url = supervisor.url();
    let ask_for = |stream: bool| {
        let body = chat(stream).replace("fake-model", "app");
        exchange(&url, "POST /v1/chat/completions", &["connection: close"], &body).unwrap()
    };
    let ask = || ask_for(false);
    let is_overflow = |answer: &Response| answer.header("x-cutover-overflow").is_some();
    let mut first = supervisor.start(&supervisor.log("first"));
    until("its candidate has its weight", || ask().header("x-cutover-upstream") == Some("own"));

    std::thread::scope(|scope| {
        // One holds the only place in each process, and one of the first's is under way at the cloud.
        let (held, billed) = (Gate::new(), Gate::new());
        own.once(Reply::words(1).hold_headers(&held));
        let a = scope.spawn(ask);
        until("the place is taken", || held.arrivals() == 1);
        cloud.once(Reply::words(400).hold_headers(&billed));
        let b = scope.spawn(ask);
        until("another overflows", || billed.arrivals() == 1);
        let mut second = supervisor.start(&supervisor.log("second"));
        first.terminate();
        until("the next has the weight", || ask().header("x-cutover-upstream") == Some("own"));
        own.once(Reply::words(1).hold_headers(&held));
        let c = scope.spawn(ask);
        until("its place is taken", || held.arrivals() == 2);

        // Slow and cheap, so that it is not these that spend the money.
        cloud.always(Reply::words(1).pace(Duration::from_millis(100)));
        assert!(is_overflow(&ask()), "there is money");
        billed.open();
        assert!(is_overflow(&b.join().unwrap()));
        let before = cloud.inferences().len();
        until("what it cost is counted", || ask_for(true).status == 503);
        let since = cloud.inferences().len() - before;
        assert!(since < 390, "{since} of a dollar each");
        held.open();
        assert_eq!([a, c].map(|one| one.join().unwrap().status), [200, 200]);
        second.terminate();
        assert!(first.ends_well() && second.ends_well());
    });
}

#[test]
fn one_socket_is_not_enough() {
    let upstream = Fake::start_with(Setup::new(Persona::OpenAi).name("upstream"));
    let supervisor = Supervisor::new(&upstream);
    let script =
        "exec 3<&0 0</dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec \"$0\" serve --state-dir \"$1\"";
    let output = Command::new("/bin/sh")
        .args(["-c", script, BINARY])
        .arg(supervisor.folder.path().join("state"))
        .env("CUTOVER_CONFIG", supervisor.folder.path().join("cutover.toml"))
        .env("HOME", supervisor.folder.path())
        .stdin(Stdio::from(OwnedFd::from(supervisor.clients.try_clone().unwrap())))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("hand over two"), "{said}");
}
