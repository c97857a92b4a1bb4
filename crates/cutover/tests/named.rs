//! Files that a config names and that are not there, or are not what they should be: `check` tells of each with file,
//! line and key, no start and no reload takes it.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use cutover_config::{Checked, Holds, NamedFile};
use cutover_testkit::fake::{Fake, Persona};
use cutover_testkit::program::{Program, said};
use cutover_testkit::raw::{self, Response};
use cutover_testkit::wait;

const BINARY: &str = env!("CARGO_BIN_EXE_cutover");

/// A config that names a file of each kind, but for a model, which would be loaded.
fn config(fake: &Fake) -> String {
    format!(
        r#"
default_upstream = "cloud"
[admin.operators.ana]
token = {{ file = "ana" }}
[prices]
file = "prices.csv"
[upstreams.cloud]
provider = "openai-compatible"
base_url = "{}"
key = {{ file = "key" }}
headers = {{ x-tenant = {{ file = "tenant" }} }}
ca_file = "ca.pem" # of no use before plain http: nothing but this looks at it
[variants.now]
upstream = "cloud"
model = "fake-model"
[variants.next]
upstream = "cloud"
model = "fake-model"
system_prompt = {{ file = "prompt.txt" }}
[use_cases.app]
match = {{ model = "app" }}
unit = {{ header = "x-unit" }}
baseline = "now"
candidate = "next"
rollout = {{ gates = ["quality >= 0.95 x baseline"], steps = ["shadow 50%", "canary 5% for 1 h", "100%"] }}
[use_cases.app.scorer]
kind = "json-schema"
schema = "schema.json"
[webhooks.chat]
url = "http://127.0.0.1:1/hook"
secret = {{ file = "hook" }}
"#,
        fake.base_url()
    )
}

/// The same with what a running program is not given.
fn with_model(config: &str) -> String {
    format!("{config}[upstreams.own]\nprovider = \"embedded\"\nmodel = \"tiny.gguf\"\n")
}

fn read(config: &str) -> Checked {
    cutover_config::check(config, "cutover.toml", &|_| None).unwrap()
}

/// Something that is good for this.
fn good(file: &NamedFile<'_>) -> Vec<u8> {
    match file.holds {
        // Each is another one, and long enough for a token.
        Holds::Secret(_) => format!("{}{}", file.key, "-0123456789".repeat(4)).into(),
        Holds::Certificates => {
            let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
            [b"a comment in Latin-1: f\xfcr uns\n", made.cert.pem().as_bytes()].concat()
        }
        Holds::Prices => "provider,model,input_usd_per_mtok,cached_input_usd_per_mtok,\
             cache_write_usd_per_mtok,cache_write_1h_usd_per_mtok,output_usd_per_mtok,source,date\n"
            .into(),
        Holds::Prompt => "Answer in one line.".into(),
        Holds::Document(_) => r#"{"type":"object"}"#.into(),
        Holds::Model(_) => "GGUF and more".into(),
        Holds::State => unreachable!("it is a folder"),
    }
}

/// Something that is not.
fn bad(holds: &Holds<'_>) -> &'static [u8] {
    match holds {
        Holds::Secret(_) | Holds::Prompt => b"\xff\xfe",
        Holds::Certificates => b"no certificate",
        Holds::Prices => b"nothing,of,the,kind\n1,2,3,4\n",
        Holds::Document(_) => b"{\"type\": \"nothing of the kind\"}",
        Holds::Model(_) => b"not a model",
        Holds::State => b"a file",
    }
}

fn write(path: &Path, bytes: &[u8]) {
    if path.is_dir() {
        fs::remove_dir(path).unwrap();
    } else if path.exists() {
        // A pipe that is opened to be written would be waited for.
        fs::remove_file(path).unwrap();
    }
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// What may be wrong with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Damage {
    Missing,
    Bad,
    Large,
    Folder,
    Pipe,
}

const DAMAGES: [Damage; 5] =
    [Damage::Missing, Damage::Bad, Damage::Large, Damage::Folder, Damage::Pipe];

impl Damage {
    fn make(self, path: &Path, holds: &Holds<'_>) {
        write(path, bad(holds));
        match self {
            Self::Bad => {}
            Self::Large => fs::File::create(path).unwrap().set_len((4 << 20) + 1).unwrap(),
            Self::Missing | Self::Folder | Self::Pipe => fs::remove_file(path).unwrap(),
        }
        match self {
            Self::Folder => fs::create_dir(path).unwrap(),
            Self::Pipe => assert!(Command::new("mkfifo").arg(path).status().unwrap().success()),
            Self::Missing | Self::Bad | Self::Large => {}
        }
    }
}

/// Runs a verb that ends by itself.
fn run(folder: &Path, words: &[&str]) -> Output {
    let mut command = Command::new(BINARY);
    command.env_clear().env("HOME", folder).current_dir(folder).args(words);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    wait::until("it ends", || child.try_wait().unwrap().is_some());
    child.wait_with_output().unwrap()
}

fn chat(url: &str) -> Response {
    let body = r#"{"model":"app","messages":[{"role":"user","content":"hi"}]}"#;
    raw::exchange(url, "POST /v1/chat/completions", &[], body).unwrap()
}

/// Where a problem with a key is told.
fn place(config: &str, key: &str) -> String {
    let (line, _) = cutover_config::place_of(config, key).unwrap();
    format!("cutover.toml:{line}: {key}: ")
}

/// Makes all files of a config good, but for the state.
fn heal(files: &[NamedFile<'_>], folder: &Path) {
    for file in files.iter().filter(|file| file.holds != Holds::State) {
        write(&folder.join(file.path), &good(file));
    }
}

#[test]
fn check_tells_of_each_file_that_cannot_be_used() {
    let fake = Fake::start(Persona::OpenAi);
    let folder = tempfile::tempdir().unwrap();
    let text = format!("{}[state]\ndirectory = \"state\"\n", with_model(&config(&fake)));
    fs::write(folder.path().join("cutover.toml"), &text).unwrap();
    let checked = read(&text);
    let files = checked.files();
    assert_eq!(files.len(), 10, "{files:?}");
    let check = || {
        let output = run(folder.path(), &["check", "--secrets"]);
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    heal(&files, folder.path());
    let (code, told) = check();
    assert_eq!(code, Some(0), "{told}");
    let places = |told: &str| told.matches("cutover.toml:").count();
    let usual = places(&told);
    for file in &files {
        let (path, place) = (folder.path().join(file.path), place(&text, &file.key));
        let is_state = file.holds == Holds::State;
        for damage in DAMAGES {
            if is_state && matches!(damage, Damage::Missing | Damage::Folder) {
                continue;
            }
            damage.make(&path, &file.holds);
            let (code, told) = check();
            // All else is served without it.
            let is_model = matches!(file.holds, Holds::Model(_));
            assert_eq!(code, Some(if is_model { 0 } else { 3 }), "{damage:?} {place}: {told}");
            assert!(told.contains(&place), "{damage:?}: {place:?} is not in {told}");
            assert_eq!(places(&told), usual + 1, "{damage:?} {place}: {told}");
            if is_state {
                fs::remove_file(&path).unwrap();
            }
            heal(&files, folder.path());
        }
    }
    // And of all at once.
    let named: Vec<_> = files.iter().filter(|file| file.holds != Holds::State).collect();
    for file in &named {
        Damage::Missing.make(&folder.path().join(file.path), &file.holds);
    }
    let (_, told) = check();
    for file in &named {
        assert!(told.contains(&place(&text, &file.key)), "{}: {told}", file.key);
    }
}

#[test]
fn no_reload_and_no_start_takes_a_file_that_cannot_be_used() {
    let fake = Fake::start(Persona::OpenAi);
    let text = config(&fake);
    let folder = tempfile::tempdir().unwrap();
    let checked = read(&text);
    heal(&checked.files(), folder.path());
    // Where the program will have its folder is not known yet: it starts without files.
    let plain = format!(
        "default_upstream = \"cloud\"\n[upstreams.cloud]\nprovider = \"openai-compatible\"\n\
         base_url = \"{}\"\n",
        fake.base_url()
    );
    let mut program = Program::start(BINARY, &plain);
    let home = program.config_file().parent().unwrap().to_owned();
    heal(&checked.files(), &home);
    program.write_config(&text);
    let reload = |program: &Program| {
        let answer = program.admin("POST /admin/reload", "");
        (answer.status, answer.text())
    };
    let (status, told) = reload(&program);
    assert_eq!(status, 200, "{told}");
    let in_force = |program: &Program| program.status()["config"]["digest"].to_string();
    let before = in_force(&program);
    let refused = |program: &Program, place: &str| {
        let (status, told) = reload(program);
        assert!(status == 422 && told.contains(place), "{place:?} is not in {status} {told}");
        assert_eq!(in_force(program), before);
        assert_eq!(chat(program.url()).status, 200);
    };
    let written = fs::read_to_string(program.config_file()).unwrap();
    let checked = read(&written);
    let files: Vec<_> =
        checked.files().into_iter().filter(|file| file.holds != Holds::State).collect();
    assert_eq!(files.len(), 8, "{files:?}");
    for file in &files {
        for damage in DAMAGES {
            damage.make(&home.join(file.path), &file.holds);
            refused(&program, &place(&written, &file.key));
            heal(std::slice::from_ref(file), &home);
        }
    }
    // What a reload brings new.
    let state = program.state().display().to_string();
    write(&home.join("taken"), b"a file");
    let taken = written.replace(&state, "taken");
    program.write_bare_config(&taken);
    refused(&program, &place(&taken, "state.directory"));
    let modelled = with_model(&written);
    for model in [None, Some(&b"not a model"[..])] {
        if let Some(bytes) = model {
            write(&home.join("tiny.gguf"), bytes);
        }
        program.write_bare_config(&modelled);
        refused(&program, &place(&modelled, "upstreams.own.model"));
    }
    program.write_bare_config(&written);
    assert_eq!(reload(&program).0, 200);

    program.terminate();
    for file in &files {
        for damage in [Damage::Missing, Damage::Bad] {
            damage.make(&home.join(file.path), &file.holds);
            let started = run(&home, &["serve"]);
            let (told, place) = (said(&started), place(&written, &file.key));
            assert_eq!(started.status.code(), Some(3), "{damage:?} {place}: {told}");
            assert!(told.contains(&place), "{damage:?}: {place:?} is not in {told}");
            heal(std::slice::from_ref(file), &home);
        }
    }
    program.start_again();
    assert_eq!(chat(program.url()).status, 200);
}
