//! What an operator reads when a file is wrong.

use super::{report, snapshot};

/// Two upstreams and a variant that other parts can refer to.
const GROUND: &str = "default_upstream = \"cloud\"\n\
    [upstreams.cloud]\nprovider = \"openai\"\n\
    [upstreams.gpus]\nprovider = \"ollama\"\n\
    [variants.today]\nupstream = \"cloud\"\nmodel = \"gpt-4o\"\n\
    [variants.later]\nupstream = \"gpus\"\nmodel = \"qwen\"\n";

/// Each text with its report below, so that one snapshot reads as a table.
fn table(texts: &[&str]) -> String {
    let rows: Vec<_> = texts.iter().map(|text| row(text, &report(text))).collect();
    rows.concat()
}

fn row(text: &str, report: &str) -> String {
    let report = report.trim_end().replace('\n', "\n       ");
    format!("{}\n    => {report}\n", text.trim())
}

#[test]
fn all_mistakes_are_reported_at_once_with_their_places() {
    snapshot(
        "all_mistakes_are_reported_at_once_with_their_places",
        &report(
            r#"
defualt_upstream = "cloud"
[server]
listen = "127.0.0.1"
body_limit = "32 MB"
header_count = 5
drain_timeout = 30
  [log]
  level = "warning"
[upstreams.gpus]
provider = "olama"
instanses = ["http://gpu-1:11434"]
[upstreams."my cloud"]
provider = "openai"
key = "sk-1234567890"
[variants.a]
upstream = "cloud"
model = 5
temperature = 2.5
[use_cases.x]
baseline = "b"
weight = 25
"#,
        ),
    );
}

#[test]
fn a_syntax_error_does_not_hide_the_other_mistakes() {
    snapshot(
        "a_syntax_error_does_not_hide_the_other_mistakes",
        &report(
            "[server]\nlisten = \nbody_limit = 5\n[server]\nx = 1\n[upstreams.a\nprovider = \"openai\"\n",
        ),
    );
}

#[test]
fn wrong_values() {
    snapshot(
        "wrong_values",
        &table(&[
            "server = 5",
            "upstreams = { a = 5 }",
            "[[upstreams]]\nprovider = \"openai\"",
            "[server]\nlisten = \":4000\"",
            "[server]\nlisten = 4000",
            "[server]\nlisten = \"example.com:80\"",
            "[server]\nport = 4000",
            "[server]\nkeys = \"of\"",
            "[server]\nworkers = 0",
            "[server]\nworkers = 0x10",
            "[server]\nworkers = 99999999999999999999",
            "[server]\nbody_timeout = \"5m\"",
            "[server]\nbody_timeout = \"0 s\"",
            "[server]\nbody_timeout = \"2 d\"",
            "[server]\nbody_timeout = 1979-05-27",
            "[state]\nretention = \"5 min\"",
            "[state]\nrecords = \"yes\"",
            "[state]\ndirectory = \"\"",
            "[log]\nformat = 'jsno'",
        ]),
    );
}

#[test]
fn listeners_that_would_be_open_to_others() {
    snapshot(
        "listeners_that_would_be_open_to_others",
        &table(&[
            "[server]\nlisten = \"0.0.0.0:4000\"\nkeys = \"off\"",
            "[server]\nlisten = \"[::]:4000\"",
            "[admin]\nlisten = \"0.0.0.0:4001\"",
            "[admin]\nlisten = \"0.0.0.0:4001\"\ntoken = { env = \"T\" }",
            "[admin]\ntoken = \"secret\"",
            "[admin]\ntoken = { env = \"T\", file = \"t\" }",
            "[admin]\ntoken = { evn = \"T\" }",
            "[admin]\ntoken = { env = \"sk-123\" }",
            "[admin]\nlisten = \"127.0.0.1:4000\"",
        ]),
    );
}

#[test]
fn upstreams() {
    let with = |rest: &str| format!("[upstreams.a]\nprovider = \"openai-compatible\"\n{rest}");
    let texts = [
        with(""),
        with("base_url = \"gpu:8000\""),
        with("base_url = \"http://169.254.169.254/v1\""),
        with("base_url = \"http://key:sk-1@host/v1\""),
        with("base_url = \"http://a\"\ninstances = [\"http://a\"]"),
        with("instances = []"),
        with("instances = [\"http://a\", \"http://a/v1\"]"),
        with("instances = [\"http://a\",\n  \"nonsense\"]"),
        with("instances = \"http://a\""),
        with("base_url = \"http://a\"\nmodel = \"m\"\nslots = 2"),
        with("base_url = \"http://a\"\nkey = \"sk-1\""),
        with("base_url = \"http://a\"\nkey = 5"),
        with("base_url = \"http://a\"\nkey = \"client\""),
        format!(
            "{}\n[server]\nkeys = \"required\"",
            with("base_url = \"http://a\"\nkey = \"client\"")
        ),
        with(
            "base_url = \"http://a\"\nheaders = { \"x y\" = \"1\", host = \"b\", authorization = \"Bearer sk-1\", x-a = \"é\", X-B = \"1\", x-b = \"2\", x-c = { env = \"C\" }, x-d = 5 }",
        ),
        with("base_url = \"http://example.com/v1\"\nlocal = true"),
        with("base_url = \"http://example.com/v1\"\nkey = { env = \"K\" }"),
        with("base_url = \"http://a\"\ntimeout = \"5 s\""),
        "[upstreams.openai]".to_owned(),
        "[upstreams.a]".to_owned(),
        "[upstreams.a]\nprovider = \"embedded\"\nbase_url = \"http://a\"\nkey = \"none\""
            .to_owned(),
        "[upstreams.a]\nprovider = \"ollama\"\nstream_usage = \"never\"".to_owned(),
        with("base_url = \"http://a\"\nstream_usage = \"no\""),
        "[upstreams.a]\nprovider = \"vllm\"\nbase_url = \"http://a\"\nresponses = true".to_owned(),
        with("base_url = \"http://a\"\nresponses = \"yes\""),
        "[upstreams.a]\nprovider = \"openai\"\n[upstreams.b]\nprovider = \"openai\"".to_owned(),
        "default_upstream = \"opnai\"\n[upstreams.openai]\nprovider = \"openai\"".to_owned(),
        "default_upstream = \"openai\"".to_owned(),
    ];
    snapshot("upstreams", &table(&texts.iter().map(String::as_str).collect::<Vec<_>>()));
}

/// Reports for parts that stand on the common ground; the ground itself is not shown.
fn on_ground(parts: &[&str]) -> String {
    let rows: Vec<_> =
        parts.iter().map(|part| row(part, &report(&format!("{GROUND}{part}")))).collect();
    rows.concat()
}

#[test]
fn variants() {
    snapshot(
        "variants",
        &on_ground(&[
            "[variants.a]",
            "[variants.a]\nupstream = \"gpu\"\nmodel = \"m\"",
            "[variants.a]\nupstream = \"cloud\"",
            "[variants.\"\"]\nupstream = \"cloud\"\nmodel = \"m\"",
            "[variants.a]\nupstream = \"cloud\"\nmodel = \"m\\nn\"",
            "[variants.a]\nupstream = \"cloud\"\nmodel = \"m\"\ntemperature = nan\ntop_p = \"1\"\nseed = 1.5\nmax_tokens = 0",
            "[variants.a]\nupstream = \"cloud\"\nmodel = \"m\"\nsystem_prompt = \"\"",
            "[variants.a]\nupstream = \"cloud\"\nmodel = \"m\"\nsystem_prompt = { path = \"p\" }",
            "[variants.a]\nupstream = \"cloud\"\nmodel = \"m\"\nollama = { num_ctx = 10, keep_alive = 5, thikn = true }",
            "[variants.a]\nupstream = \"gpus\"\nmodel = \"m\"\nollama = { keep_alive = \"5m\", think = true }",
            "[variants.a]\nupstream = \"gpus\"\nmodel = \"m\"\nollama = { keep_alive = \"9000 d\" }",
            "[variants.a]\nupstream = \"gpus\"\nmodel = \"m\"\nollama = { keep_alive = \"500 ms\" }",
            "[variants.a]\nupstream = \"cloud\"\nmodel = \"m\"\nprice = { input_usd_per_mtok = \"$1\" }",
            "[variants.a]\nupstream = \"cloud\"\nmodel = \"m\"\nprice = { input_usd_per_mtok = -1, output_usd_per_mtok = 1e3 }",
        ]),
    );
}

#[test]
fn use_cases() {
    let used =
        "[use_cases.u]\nmatch = { model = \"m\" }\nbaseline = \"today\"\ncandidate = \"later\"\n";
    let with = |rest: &str| format!("{used}{rest}");
    let parts = [
        "[use_cases.u]".to_owned(),
        "[use_cases.u]\nmatch = {}\nbaseline = \"today\"".to_owned(),
        "[use_cases.u]\nmatch = { header = { x = 5 } }\nbaseline = \"today\"".to_owned(),
        "[use_cases.u]\nmatch = { headers = { x = \"5\" } }\nbaseline = \"today\"".to_owned(),
        "[use_cases.u]\nmatch = { header = { X-A = \"1\", x-a = \"2\" } }\nbaseline = \"today\"".to_owned(),
        "[use_cases.u]\nmatch = { model = \"m\" }\nbaseline = \"tody\"\ncandidate = \"latr\"".to_owned(),
        "[use_cases.u]\nmatch = { model = \"m\" }\nbaseline = \"today\"\ncandidate = \"today\"".to_owned(),
        "[use_cases.u]\nmatch = { model = \"m\" }\nbaseline = \"today\"\nweight = \"5%\"\npilot = [\"a\"]".to_owned(),
        "[use_cases.u]\nmatch = { key = \"k\" }\nunit = \"key\"\nbaseline = \"today\"\ncandidate = \"later\"".to_owned(),
        with("weight = \"150%\""),
        with("weight = 0.5"),
        with("unit = \"session\""),
        with("unit = { header = \"a b\" }"),
        with("unit = { header = \"a\", metadata = \"b\" }"),
        with("pilot = [\"a\", \"b\"]\nexcluded = [\"b\"]"),
        with("pilot = [\"a\", \"a\"]"),
        with("unit = \"request\"\npilot = [\"a\"]"),
        with("smoothing = { interval = \"1 s\", max_delay = \"50 ms\" }"),
        with("[use_cases.v]\nmatch.model = \"m\"\nbaseline = \"later\""),
        with("[use_cases.v.rollout]\ngates = []"),
        with(""),
    ];
    snapshot("use_cases", &on_ground(&parts.iter().map(String::as_str).collect::<Vec<_>>()));
}

#[test]
fn what_nothing_uses_is_a_warning() {
    snapshot("what_nothing_uses_is_a_warning", &on_ground(&[""]));
}

#[test]
fn a_file_beyond_the_limit_is_refused() {
    let text = "#".repeat(crate::TEXT_BYTES_MAX + 1);
    insta::assert_snapshot!(report(&text), @"cutover.toml:1:1: a config file has at most 4194304 bytes");
}

#[test]
fn overflow_that_can_never_happen_is_told() {
    let case = |more: &str| format!("{GROUND}[use_cases.x]\nmatch = {{ model = \"x\" }}\n{more}");
    let reports = [
        "baseline = \"today\"\noverflow = {}\n",
        "baseline = \"later\"\ncandidate = \"today\"\noverflow = {}\n",
        "baseline = \"today\"\ncandidate = \"later\"\noverflow = { budget_per_day = -1, wait = 3 }\n",
        "baseline = \"today\"\ncandidate = \"later\"\noverflow = {}\npriority_class = \"low\"\n",
    ]
    .map(|more| report(&case(more)));
    let expected = [
        "there is no candidate whose excess could go elsewhere",
        "nothing tells when upstream cloud is full",
        "expected a duration",
        "one of \"interactive\" or \"batch\"",
    ];
    for (report, expected) in reports.iter().zip(expected) {
        assert!(report.contains(expected), "{expected:?} is not in\n{report}");
    }
    let local = "baseline = \"later\"\nresidency = \"local-only\"\noverflow = {}\n";
    let report = report(&case(local));
    assert!(report.contains("what is local-only never overflows"), "{report}");
}

/// What the model's name was to keep at home left with a header that somebody sent along.
#[test]
fn a_use_case_that_takes_what_is_local_only_is_warned_of() {
    let with = |other: &str| {
        report(&format!(
            "default_upstream = \"cloud\"\n[server]\nkeys = \"required\"\n\
             [upstreams.cloud]\nprovider = \"openai\"\n\
             [upstreams.own]\nprovider = \"vllm\"\nbase_url = \"http://10.0.0.1:8000\"\nlocal = true\n\
             [variants.here]\nupstream = \"own\"\nmodel = \"m\"\n\
             [variants.there]\nupstream = \"cloud\"\nmodel = \"m\"\n\
             [use_cases.kept]\nmatch = {{ model = \"k\", metadata = {{ team = \"a\" }} }}\n\
             baseline = \"here\"\nresidency = \"local-only\"\n\
             [use_cases.other]\nbaseline = \"there\"\n{other}\n"
        ))
    };
    let told = "use_cases.kept.residency: a request that fits use case other, too, is other's";
    for taken in [
        "match = { header = { x = \"1\" } }",
        "match = { key = \"app\" }",
        "match = { metadata = { team = \"a\", b = \"c\" } }",
        "match = { metadata = { b = \"c\", d = \"e\" } }",
        "match = { model = \"k\", header = { x = \"1\" } }",
    ] {
        let said = with(taken);
        assert!(
            said.contains(told) && said.contains("use_cases.other.residency"),
            "{taken}: {said}"
        );
    }
    for left in [
        // No request is both's, or the local-only one's is found first.
        "match = { model = \"o\", header = { x = \"1\" } }",
        "match = { header = { x = \"1\" }, metadata = { team = \"b\" } }",
        "match = { model = \"k\" }",
        // It says which of them may leave.
        "match = { model = \"k\", metadata = { team = \"a\" }, header = { x = \"1\" } }",
    ] {
        let said = with(left);
        assert!(said.starts_with("accepted") && !said.contains("local-only"), "{left}: {said}");
    }
    let both =
        with("match = { key = \"app\" }\nresidency = \"local-only\"").replace("there", "here");
    assert!(!both.contains(told), "{both}");
}

#[test]
fn names_are_resolved_where_there_are_names() {
    let own = |more: &str| format!("[upstreams.own]\nprovider = \"vllm\"\n{more}\n");
    let texts = [
        own("base_url = \"http://10.0.0.1:8000\"\nresolve = \"5 s\""),
        own("base_url = \"http://vllm:8000\"\nname_server = \"127.0.0.1:8600\""),
        own("base_url = \"http://vllm:8000\"\nresolve = \"100 ms\""),
        own("base_url = \"http://vllm:8000\"\nresolve = \"5 s\"\nname_server = \"consul:8600\""),
        own("base_url = \"http://vllm:8000\"\nresolve = \"5 s\"\nname_server = \"127.0.0.1:0\""),
        own("base_url = \"http://vllm:8000\"\nresolve = \"5 s\"\nname_server = \"[::1]:8600\""),
        own("base_url = \"http://_http._tcp.vllm.models\"\nresolve = \"5 s\""),
        "[upstreams.engine]\nprovider = \"embedded\"\nresolve = \"5 s\"\n".to_owned(),
    ];
    let texts: Vec<_> = texts.iter().map(String::as_str).collect();
    snapshot("names_are_resolved_where_there_are_names", &table(&texts));
}

#[test]
fn what_can_never_happen_is_warned_of() {
    let two = |arms: &str, more: &str| {
        format!(
            "default_upstream = \"cloud\"\n\
             [upstreams.cloud]\nprovider = \"openai\"\n\
             [upstreams.own]\nprovider = \"vllm\"\n{arms}\n\
             [variants.now]\nupstream = \"cloud\"\nmodel = \"a\"\n\
             [variants.next]\nupstream = \"own\"\nmodel = \"b\"\n\
             [use_cases.app]\nmatch = {{ model = \"app\" }}\nbaseline = \"now\"\n\
             candidate = \"next\"\n{more}\n"
        )
    };
    let one = "base_url = \"http://gpu-1:8000\"";
    let several = "instances = [\"http://gpu-1:8000\", \"http://gpu-2:8000\"]";
    let texts = [
        two(one, "hedge_after = \"2 s\""),
        two(several, "hedge_after = \"2 s\""),
        two(&format!("{several}\ncancel_on_disconnect = false"), "hedge_after = \"2 s\""),
        two(&format!("{one}\nresolve = \"5 s\""), "hedge_after = \"2 s\""),
        two(one, "on_interrupt = \"continue\""),
        two(several, "on_interrupt = \"continue\""),
        two(one, "on_interrupt = \"continue\"")
            .replace("model = \"a\"", "model = \"a\"\nprefill = true"),
        two(several, "on_interrupt = \"continue\"")
            .replace("model = \"b\"", "model = \"b\"\nprefill = false"),
        two(one, "overflow = {}")
            .replace("upstream = \"own\"", "upstream = \"cloud\"")
            .replace("[variants.now]", "in_flight_limit = 4\n[variants.now]"),
    ];
    let texts: Vec<_> = texts.iter().map(String::as_str).collect();
    snapshot("what_can_never_happen_is_warned_of", &table(&texts));
}

fn with_own(provider: &str, upstream: &str, use_case: &str) -> String {
    format!(
        "default_upstream = \"cloud\"\n\
             [upstreams.cloud]\nprovider = \"openai\"\n\
         [variants.now]\nupstream = \"cloud\"\nmodel = \"a\"\n\
         [variants.next]\nupstream = \"own\"\nmodel = \"b\"\n\
         [use_cases.app]\nmatch = {{ model = \"app\" }}\nbaseline = \"now\"\n\
         candidate = \"next\"\n{use_case}\n\
         [upstreams.own]\nprovider = \"{provider}\"\nbase_url = \"http://gpu-1:8000\"\n{upstream}\n"
    )
}

const COLD: &str = "cold = \"baseline\"";
const QUEUE: &str = "queue = { wait = \"10 s\" }";

/// Each was taken in silence, and whoever wrote it waited for it to work.
#[test]
fn what_changes_nothing_is_warned_of_where_it_stands() {
    let blind = "probes = false";
    let told = [
        (
            "vllm",
            "",
            COLD,
            "14:8: use_cases.app.cold: without effect: upstream own is of provider vllm",
        ),
        ("ollama", blind, COLD, "14:8: use_cases.app.cold: without effect: nobody knows what"),
        (
            "vllm",
            "balance = \"model-aware\"",
            "",
            "18:11: upstreams.own.balance: the same as \"least-",
        ),
        (
            "ollama",
            "probes = false\nbalance = \"model-aware\"",
            "",
            "19:11: upstreams.own.balance: ",
        ),
        ("vllm", "probes = false\nwaiting_limit = 3", "", "19:17: upstreams.own.waiting_limit: "),
        (
            "vllm",
            "probes = false\nprobe_interval = \"9 s\"",
            "",
            "19:18: upstreams.own.probe_interval",
        ),
        (
            "vllm",
            "in_flight_limit = 600",
            "",
            "18:19: upstreams.own.in_flight_limit: never reached: ",
        ),
        (
            "vllm",
            QUEUE,
            "overflow = { wait = \"20 s\" }",
            "14:21: use_cases.app.overflow.wait: longer than upstreams.own.queue.wait",
        ),
        (
            "vllm",
            "in_flight_limit = 4",
            "overflow = { wait = \"1 s\" }",
            "14:21: use_cases.app.overflow.wait: without effect: upstream own has no queue",
        ),
    ];
    for (provider, upstream, use_case, expected) in told {
        let report = report(&with_own(provider, upstream, use_case));
        assert!(report.starts_with("accepted"), "{report}");
        assert!(report.contains(&format!("cutover.toml:{expected}")), "{expected}\n{report}");
    }
    let warm = with_own("ollama", blind, "").replace("model = \"b\"", "model = \"b\"\nwarm = true");
    assert!(
        report(&warm).contains("cutover.toml:10:8: variants.next.warm: without effect: nobody")
    );
    let alone = with_own("ollama", "", COLD).replace("candidate = \"next\"\n", "");
    assert!(report(&alone).contains("app.cold: without effect: there is no candidate"));
}

#[test]
fn what_has_its_effect_is_not_warned_of() {
    let quiet = [
        ("ollama", "", COLD),
        ("ollama", "balance = \"model-aware\"", ""),
        ("ollama", "max_connections = 2", ""),
        ("vllm", "waiting_limit = 3\nprobe_interval = \"9 s\"", ""),
        ("vllm", "in_flight_limit = 512", ""),
        ("vllm", QUEUE, "overflow = { wait = \"10 s\" }"),
        ("vllm", "queue = { wait = \"1 s\" }", "overflow = {}"),
    ];
    for (provider, upstream, use_case) in quiet {
        assert_eq!(report(&with_own(provider, upstream, use_case)), "accepted\n", "{upstream}");
    }
}

/// A client shows one key. At two vendors' upstreams one of the arms could never be asked, and at two of one
/// kind both would be shown it: neither is seen before the first request unless the check says it.
#[test]
fn one_key_of_a_client_is_not_two_vendors() {
    let file = |candidate: &str, key: &str| {
        format!(
            "default_upstream = \"cloud\"\n[server]\nkeys = \"off\"\n\
             [upstreams.cloud]\nprovider = \"openai\"\nkey = \"client\"\n\
             [upstreams.other]\nprovider = {candidate:?}\nbase_url = \"https://a.example.com\"\n{key}\n\
             [variants.today]\nupstream = \"cloud\"\nmodel = \"a\"\n\
             [variants.later]\nupstream = \"other\"\nmodel = \"b\"\n\
             [use_cases.x]\nmatch = {{ model = \"x\" }}\nbaseline = \"today\"\ncandidate = \"later\"\n"
        )
    };
    let clients = "key = \"client\"";
    for (candidate, expected) in [
        ("anthropic", "is refused for the candidate's upstream other, which takes x-api-key"),
        ("gemini", "is refused for the candidate's upstream other, which takes x-goog-api-key"),
        ("openai-compatible", "is shown to both upstream cloud and upstream other"),
    ] {
        let report = report(&file(candidate, clients));
        assert!(report.starts_with("accepted"), "{report}");
        assert!(report.contains(expected), "{report}");
        assert!(report.contains("set upstreams.other.key = { env = \"NAME\" }"), "{report}");
    }
    let own = report(&file("anthropic", "key = { file = \"k\" }"));
    assert!(!own.contains("client"), "{own}");
}

/// It is left out of each request, so that nobody waits for it to work.
#[test]
fn a_stop_that_anthropic_does_not_take_is_warned_of() {
    let file = |provider: &str, stop: &str| {
        format!(
            "default_upstream = \"cloud\"\n\
             [upstreams.cloud]\nprovider = \"{provider}\"\nkey = {{ file = \"k\" }}\n\
             [variants.today]\nupstream = \"cloud\"\nmodel = \"a\"\nstop = [\"{stop}\"]\n\
             [use_cases.x]\nmatch = {{ model = \"x\" }}\nbaseline = \"today\"\n"
        )
    };
    for (provider, stop, warned) in
        [("anthropic", "\\n", true), ("anthropic", "END", false), ("openai", "\\n", false)]
    {
        let report = report(&file(provider, stop));
        assert!(report.starts_with("accepted"), "{report}");
        let told = report.contains("Anthropic stops at no white space alone");
        assert_eq!(told, warned, "{report}");
    }
}
