//! Words that belong to one place in the source, or to none.

use super::floors::is_pure;
use crate::tidy::Report;
use crate::tidy::repo::{File, Repo};

/// Where a row looks.
enum In {
    /// Code that ships.
    Product,
    /// All code, tests included.
    Code,
    /// Everything written, comments included.
    Text,
}

struct Row {
    /// What must not stand there.
    words: &'static [&'static str],
    place: In,
    /// The files it looks at.
    files: fn(&File) -> bool,
    /// What to do instead.
    message: &'static str,
}

/// Words in pieces where they would find this file.
const ROWS: &[Row] = &[
    Row {
        words: &[
            "Instant::now",
            "SystemTime",
            "rand::",
            "getrandom",
            "std::fs",
            "std::env",
            "std::net::Tcp",
            "std::thread",
            "std::process",
        ],
        place: In::Product,
        files: |f| f.crate_folder().is_some_and(|c| is_pure(&format!("cutover-{c}"))),
        message: "a pure crate takes time, chance and bytes as arguments",
    },
    Row {
        words: &["errors::body(", "error_event("],
        place: In::Product,
        // A dialect shapes errors and the embedded engine answers as an upstream would; rescue decides
        // what a client sees.
        files: |f| {
            let own = [
                "crates/wire/",
                "crates/dialects/",
                "crates/vendors/",
                "crates/gateway/src/rescue",
                "crates/engine/",
            ];
            !own.iter().any(|p| f.path.starts_with(p))
        },
        message: "only gateway::rescue makes error answers",
    },
    Row {
        words: &["Store", "StoreError"],
        place: In::Product,
        files: |f| f.crate_folder() == Some("gateway"),
        message: "the gateway never waits for the store: it knows key ring, record and sink only",
    },
    Row {
        words: &[concat!("un", "safe"), concat!("un", "safe_code")],
        place: In::Code,
        files: |f| f.crate_folder().is_some_and(|folder| folder != "pages"),
        message: "what the compiler cannot check stands in crate pages alone, with its reason",
    },
    Row {
        words: &["todo!(", "unimplemented!("],
        place: In::Code,
        files: |_| true,
        message: "finish it, or return an error that says what is missing",
    },
    Row {
        words: &["#[ignore"],
        place: In::Code,
        files: |_| true,
        message: "a test that does not run proves nothing",
    },
    Row {
        words: &["#[allow(", "#![allow("],
        place: In::Code,
        files: |_| true,
        message: "use #[expect(lint, reason = ...)]: it goes away with its cause",
    },
    Row {
        words: &[concat!("FIX", "ME"), concat!("XX", "X"), concat!("HA", "CK")],
        place: In::Text,
        files: |_| true,
        message: "mend it now, or write an issue",
    },
];

pub(crate) fn words_stay_in_their_place(repo: &Repo, report: &mut Report) {
    for row in ROWS {
        for file in repo.files.iter().filter(|f| (row.files)(f)) {
            for (n, line) in lines(file, &row.place) {
                for word in row.words.iter().filter(|word| has_word(line, word)) {
                    report.add(&file.path, n, format!("{word}: {}", row.message));
                }
            }
        }
    }
}

fn lines<'a>(file: &'a File, place: &In) -> Box<dyn Iterator<Item = (usize, &'a str)> + 'a> {
    match (place, &file.rust, file.product()) {
        (In::Product, _, Some(rust)) => Box::new(rust.product()),
        (In::Code, Some(rust), _) => {
            Box::new(rust.code.iter().enumerate().map(|(n, line)| (n + 1, line.as_str())))
        }
        (In::Text, Some(_), _) => Box::new(file.lines()),
        _ => Box::new(std::iter::empty()),
    }
}

/// Whether a line holds a word that is not the tail or the head of a longer one.
fn has_word(line: &str, word: &str) -> bool {
    let joins = |c: char| c.is_alphanumeric() || c == '_';
    let touches = |mine: Option<char>, other: Option<char>| {
        mine.is_some_and(joins) && other.is_some_and(joins)
    };
    line.match_indices(word).any(|(at, _)| {
        let (before, after) =
            (line[..at].chars().next_back(), line[at + word.len()..].chars().next());
        !touches(word.chars().next(), before) && !touches(word.chars().next_back(), after)
    })
}

/// How SQL begins. Upper case, as the store writes it.
const SQL: &[&str] = &[
    "SELECT ",
    "INSERT INTO ",
    "INSERT OR ",
    "UPDATE ",
    "DELETE FROM ",
    "CREATE TABLE ",
    "PRAGMA ",
];

/// Members of provider JSON that mean nothing elsewhere.
const PROVIDER_MEMBERS: &[&str] =
    &["choices", "tool_calls", "stream_options", "prompt_eval_count", "done_reason", "guided_json"];

/// The crates that know provider JSON.
const PROVIDER_JSON: &[&str] = &["wire", "dialects", "vendors"];

pub(crate) fn literals_stay_in_their_place(repo: &Repo, report: &mut Report) {
    for file in &repo.files {
        let (Some(rust), Some(folder)) = (file.product(), file.crate_folder()) else { continue };
        for (n, literal) in rust.product_literals() {
            let begins = |word: &&&str| literal.trim_start().starts_with(**word);
            if let Some(word) = SQL.iter().find(begins).filter(|_| folder != "store") {
                report.add(&file.path, n, format!("{word:?}: only the store knows SQL"));
            }
            let holds = |word: &&&str| is_member(literal, word);
            let knows = PROVIDER_JSON.contains(&folder);
            if let Some(word) = PROVIDER_MEMBERS.iter().find(holds).filter(|_| !knows) {
                let message =
                    format!("{word:?}: only wire, vendors and dialects know provider JSON");
                report.add(&file.path, n, message);
            }
        }
    }
}

/// Whether a literal is a JSON member's name, or JSON text that holds it.
fn is_member(literal: &str, word: &str) -> bool {
    literal == word
        || literal.contains(&format!("\"{word}\""))
        || literal.contains(&format!("\\\"{word}\\\""))
}

pub(crate) fn tests_do_not_sleep(repo: &Repo, report: &mut Report) {
    for file in repo.with_extension("rs") {
        let Some(rust) = &file.rust else { continue };
        let paused = file.text.contains("start_paused") || file.text.contains("time::pause()");
        for (n, line) in rust.code.iter().enumerate().map(|(n, line)| (n + 1, line)) {
            let sleeps =
                line.contains("thread::sleep") || (!paused && line.contains("time::sleep"));
            let polls = is_loop_head(rust.code[..n - 1].last());
            if sleeps && !polls && file.is_test_line(n) {
                report.add(&file.path, n, "wait for a condition, or pause tokio's clock");
            }
        }
    }
}

/// Whether a sleep right behind this line is a pause between two looks at a condition.
fn is_loop_head(line: Option<&String>) -> bool {
    line.is_some_and(|l| l.trim_start().starts_with("while ") && l.trim_end().ends_with('{'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: [usize; 0] = [];

    fn found(rule: fn(&Repo, &mut Report), path: &str, text: &str) -> Vec<usize> {
        let mut report = Report::default();
        rule(&Repo::sample(&[(path, text)]), &mut report);
        report.findings.into_iter().map(|f| f.line).collect()
    }

    fn words(path: &str, text: &str) -> Vec<usize> {
        found(words_stay_in_their_place, path, text)
    }

    #[test]
    fn a_clock_in_a_pure_crate_is_found() {
        let text = "// Instant::now\nlet t = Instant::now();\n";
        assert_eq!(words("crates/route/src/a.rs", text), [2]);
        assert_eq!(words("crates/store/src/a.rs", text), NONE);
        assert_eq!(words("crates/route/tests/a.rs", text), NONE);
    }

    #[test]
    fn an_error_answer_outside_rescue_is_found() {
        let text = "let body = wire::errors::body(&fault);\n";
        assert_eq!(words("crates/control/src/a.rs", text), [1]);
        assert_eq!(words("crates/gateway/src/attempt.rs", text), [1]);
        assert_eq!(words("crates/gateway/src/rescue.rs", text), NONE);
        assert_eq!(words("crates/gateway/src/rescue/body.rs", text), NONE);
    }

    #[test]
    fn the_store_in_the_gateway_is_found() {
        assert_eq!(words("crates/gateway/src/a.rs", "use cutover_store::Store;\n"), [1]);
        assert_eq!(words("crates/gateway/src/a.rs", "use cutover_store::RecordSink;\n"), NONE);
        assert_eq!(words("crates/control/src/a.rs", "use cutover_store::Store;\n"), NONE);
    }

    #[test]
    fn what_the_compiler_cannot_check_is_found_outside_its_crate() {
        let text = concat!("un", "safe { f() }\n");
        assert_eq!(words("crates/wire/src/a.rs", text), [1]);
        assert_eq!(words("crates/pages/src/lib.rs", text), NONE);
    }

    #[test]
    fn unfinished_and_hidden_things_are_found_in_tests_too() {
        let text = format!(
            "fn a() {{ todo!() }}\n#[ignore]\n#[allow(dead_code)]\n// {} later\n",
            concat!("FIX", "ME")
        );
        assert_eq!(words("crates/x/tests/a.rs", &text), [1, 2, 3, 4]);
        assert_eq!(words("crates/x/src/a.rs", "// \"todo!()\" in words\n"), NONE);
    }

    #[test]
    fn a_word_inside_a_longer_one_is_another_word() {
        assert!(has_word("rand::random()", "rand::"));
        assert!(!has_word("operand::new()", "rand::"));
        assert!(!has_word("getrandom_seed", "getrandom"));
    }

    #[test]
    fn sql_and_provider_json_outside_their_crates_are_found() {
        let sql = "q(\"SELECT a FROM b\");\n";
        assert_eq!(found(literals_stay_in_their_place, "crates/control/src/a.rs", sql), [1]);
        assert_eq!(found(literals_stay_in_their_place, "crates/store/src/a.rs", sql), NONE);
        for json in
            ["x[\"choices\"];\n", "f(r#\"{\"choices\":[]}\"#);\n", "f(\"{\\\"choices\\\":1}\");\n"]
        {
            assert_eq!(found(literals_stay_in_their_place, "crates/gateway/src/a.rs", json), [1]);
            assert_eq!(found(literals_stay_in_their_place, "crates/wire/src/a.rs", json), NONE);
            assert_eq!(found(literals_stay_in_their_place, "crates/dialects/src/a.rs", json), NONE);
        }
        assert_eq!(
            found(literals_stay_in_their_place, "crates/gateway/src/a.rs", "f(\"choices are\");\n"),
            NONE
        );
    }

    #[test]
    fn a_sleeping_test_is_found_unless_its_clock_is_paused() {
        let sleep = "fn a() { tokio::time::sleep(d).await }\n";
        assert_eq!(found(tests_do_not_sleep, "crates/x/tests/a.rs", sleep), [1]);
        let paused = format!("{sleep}#[tokio::test(start_paused = true)]\n");
        assert_eq!(found(tests_do_not_sleep, "crates/x/tests/a.rs", &paused), NONE);
        let blocking = format!("{paused}fn b() {{ std::thread::sleep(d) }}\n");
        assert_eq!(found(tests_do_not_sleep, "crates/x/tests/a.rs", &blocking), [3]);
        assert_eq!(found(tests_do_not_sleep, "crates/x/src/a.rs", sleep), NONE);
        let inline = format!("#[cfg(test)]\nmod tests {{\n{sleep}}}\n");
        assert_eq!(found(tests_do_not_sleep, "crates/x/src/a.rs", &inline), [3]);
        let polling = format!("fn a() {{\nwhile !met() {{\n{sleep}}}\n}}\n");
        assert_eq!(found(tests_do_not_sleep, "crates/x/tests/a.rs", &polling), NONE);
    }
}
