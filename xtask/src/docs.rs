//! The generated references: what the code says, as a document that a test compares.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::Path;
use std::process::Command;

use cutover_units::codes::{Row, TABLE};

/// One document that this tool writes itself.
struct Page {
    path: &'static str,
    text: fn() -> String,
}

const PAGES: &[Page] = &[Page { path: "docs/reference/errors.md", text: errors }];

/// The tests that compare the other references, and write them where `UPDATE_DOCS` is set. They
/// live where the tables are, so that this tool need not link half the product.
const TESTS: &[&[&str]] = &[
    &["--package", "cutover-config", "no_drift"],
    &["--package", "cutover-dialects", "the_reference"],
    &["--package", "cutover-vendors", "--test", "fields", "the_reference"],
    &["--package", "xtask", "--test", "references"],
    &["--package", "cutover", "--lib", "reference"],
];

/// Writes every reference.
pub(crate) fn write(root: &Path, out: &mut impl Write) -> io::Result<bool> {
    write_pages(root, out)?;
    let mut all = true;
    for words in TESTS {
        let mut cargo = Command::new("cargo");
        cargo.args(["test", "--quiet"]).args(*words);
        all &= cargo.env("UPDATE_DOCS", "1").current_dir(root).status()?.success();
    }
    Ok(all)
}

fn write_pages(root: &Path, out: &mut impl Write) -> io::Result<()> {
    for page in PAGES {
        let path = root.join(page.path);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(&path, (page.text)())?;
        writeln!(out, "wrote {}", page.path)?;
    }
    Ok(())
}

/// Compares the references that this tool writes itself; `cargo test` compares the others. Whether
/// all are the same.
pub(crate) fn check(root: &Path, out: &mut impl Write) -> io::Result<bool> {
    let mut same = true;
    for page in PAGES {
        let found = std::fs::read_to_string(root.join(page.path)).unwrap_or_default();
        if found != (page.text)() {
            writeln!(out, "{}: differs from the code: run `cargo xtask docs`", page.path)?;
            same = false;
        }
    }
    Ok(same)
}

fn errors() -> String {
    let mut page = String::from(
        "# Errors\n\n\
         <!-- Generated from crates/units/src/codes.rs by `cargo xtask docs`. Do not edit. -->\n\n\
         Every error that an API client can see from cutover. The body has the four keys of the \
         OpenAI dialect:\n\n\
         ```json\n{\"error\": {\"message\": \"...\", \"type\": \"...\", \"param\": null, \"code\": \"...\"}}\n```\n\n\
         `side` says who caused it: `client` (the request; sending it again unchanged cannot help), \
         `upstream` (a service behind cutover) or `us` (cutover itself). `retry` says whether sending it \
         again can help. The official SDKs send 408, 409, 429 and 5xx again by themselves; they are told \
         `x-should-retry: false` where `retry` is `no` at a status from 429 on, and where it is `yes` but \
         cutover itself has asked more than once already and the upstream did not name a time to wait. \
         The header is never sent with `true`.\n\n\
         An answer that has begun keeps its status 200; what happens then arrives as an event in the \
         stream, with the same body. Before the first content (the head is sent early when a prefill takes \
         longer than `server.keep_alive_interval`) it has the code that it would have had as an answer. \
         After it, whatever an upstream did is `stream_interrupted`; an upstream's word that the request \
         itself is at fault keeps its code, and the end of cutover's own process is `shutting_down`.\n\n\
         Errors of a request head (`malformed_http`, `request_headers_too_large`) are in the OpenAI \
         dialect unless the head could be read. A connection is closed without an answer when a head does \
         not arrive within `server.header_timeout`, when nothing is asked for `server.idle_timeout`, when \
         a client takes nothing of its answer for 60 s, and when it begins to speak HTTP/2.\n\n\
         | status | code | type | side | retry |\n|---|---|---|---|---|\n",
    );
    for row in TABLE {
        page.push_str(&table_row(row));
    }
    for row in TABLE {
        let doc: Vec<&str> = row.doc.lines().map(str::trim).collect();
        // Writing to a String cannot fail.
        let _infallible = write!(page, "\n## {}\n\n{}\n", row.name, doc.join("\n"));
    }
    page
}

fn table_row(row: &Row) -> String {
    let retry = if row.retry { "yes" } else { "no" };
    let (status, name, kind) = (row.status, row.name, row.kind);
    format!("| {status} | [{name}](#{name}) | {kind} | {} | {retry} |\n", row.side.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_references_are_what_the_code_says() {
        let mut out = Vec::new();
        let same = check(&crate::root(), &mut out).expect("a page can be read");
        assert!(same, "{}", String::from_utf8_lossy(&out));
    }

    #[test]
    fn a_reference_that_differs_is_found_and_mended() {
        let folder = std::env::temp_dir().join(format!("cutover-xtask-{}", std::process::id()));
        let mut out = Vec::new();
        assert!(!check(&folder, &mut out).expect("a missing page reads as empty"));
        write_pages(&folder, &mut out).expect("the pages can be written");
        assert!(check(&folder, &mut out).expect("the pages can be read"));
        std::fs::remove_dir_all(&folder).expect("the folder was made above");
    }
}
