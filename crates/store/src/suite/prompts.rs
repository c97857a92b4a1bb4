use cutover_prompts::{LabelName, Reference, STORED_BYTES_MAX, TEXT_BYTES_MAX};
use cutover_units::{Generation, Millis, PromptName};

use crate::audit::Action;
use crate::backend::Backend;
use crate::chain::AuditVerdict;
use crate::prompts::{MoveLabel, NewPrompt, PromptError};

fn name() -> PromptName {
    PromptName::new("extraction").unwrap()
}

fn label() -> LabelName {
    LabelName::new("production").unwrap()
}

pub(crate) fn prompt(text: &str) -> NewPrompt {
    NewPrompt {
        name: name(),
        text: text.to_owned(),
        note: "a note".into(),
        label: None,
        actor: "ann".into(),
        now: Millis(7),
    }
}

pub(crate) fn to(version: u32, expected: Option<u64>) -> MoveLabel {
    MoveLabel {
        name: name(),
        label: label(),
        version,
        expected: expected.map(Generation),
        actor: "bob".into(),
        reason: "a reason".into(),
        now: Millis(8),
    }
}

fn on(backend: &mut dyn Backend) -> Option<u32> {
    let book = backend.prompts().unwrap();
    let reference = Reference::parse("extraction@production").unwrap();
    book.resolve(&reference).ok().map(|version| version.version)
}

pub(crate) fn versions_are_numbered_and_never_change(backend: &mut dyn Backend) {
    let first = backend.add_prompt(&prompt("one")).unwrap();
    assert!(first.new && first.label.is_none());
    assert_eq!((first.version.version, first.version.digest.len()), (1, 64));
    let again = backend.add_prompt(&prompt("one")).unwrap();
    assert!(!again.new);
    assert_eq!(again.version, first.version);
    assert_eq!(backend.add_prompt(&prompt("two")).unwrap().version.version, 2);
    // Only the newest is compared with: to go back is to add it again, or better to move a label.
    assert_eq!(backend.add_prompt(&prompt("one")).unwrap().version.version, 3);
    let book = backend.prompts().unwrap();
    let texts: Vec<_> = book.versions().map(|v| (v.version, v.text.to_string())).collect();
    assert_eq!(texts, [(1, "one".into()), (2, "two".into()), (3, "one".into())]);
    assert_eq!(book.versions().next(), Some(&first.version));
}

pub(crate) fn a_label_moves_only_from_the_generation_that_was_read(backend: &mut dyn Backend) {
    let labelled = NewPrompt { label: Some((label(), None)), ..prompt("one") };
    let added = backend.add_prompt(&labelled).unwrap();
    assert_eq!(added.label.map(|label| label.generation), Some(Generation(1)));
    backend.add_prompt(&prompt("two")).unwrap();
    assert_eq!(on(backend), Some(1));
    assert_eq!(backend.move_label(&to(2, Some(1))).unwrap().generation, Generation(2));
    let conflict = backend.move_label(&to(1, Some(1))).unwrap_err();
    assert!(matches!(conflict, PromptError::Conflict { found: Generation(2), .. }), "{conflict}");
    let unknown = backend.move_label(&to(9, None)).unwrap_err();
    assert_eq!(unknown, PromptError::Unknown { name: name(), version: 9 });
    assert_eq!(on(backend), Some(2));
    // A lost label takes its version with it.
    let late = NewPrompt { label: Some((label(), Some(Generation(1)))), ..prompt("three") };
    assert!(backend.add_prompt(&late).is_err());
    assert_eq!(backend.prompts().unwrap().versions().count(), 2);
    backend.move_label(&to(1, None)).unwrap();
    assert_eq!(on(backend), Some(1));
}

pub(crate) fn who_added_and_moved_what_is_in_the_audit_log(backend: &mut dyn Backend) {
    backend.add_prompt(&prompt("secret text")).unwrap();
    backend.move_label(&to(1, Some(0))).unwrap();
    backend.move_label(&to(1, None)).unwrap();
    let changes = backend.changes(9).unwrap();
    let shown: Vec<_> = changes
        .iter()
        .map(|c| (c.action, c.subject.as_str(), c.actor.as_str(), c.before.as_deref()))
        .collect();
    assert_eq!(
        shown,
        [
            (Action::PromptLabelled, "extraction@production", "bob", Some("1")),
            (Action::PromptLabelled, "extraction@production", "bob", None),
            (Action::PromptAdded, "extraction@1", "ann", None),
        ]
    );
    assert!(!format!("{changes:?}").contains("secret text"));
    assert!(matches!(backend.verify_changes().unwrap(), AuditVerdict::Whole { entries: 3, .. }));
}

pub(crate) fn what_is_kept_of_prompts_has_a_limit(backend: &mut dyn Backend) {
    let mut texts = (0..).map(|at: u32| format!("{at:08}{}", "x".repeat(TEXT_BYTES_MAX - 8)));
    for text in texts.by_ref().take(STORED_BYTES_MAX / TEXT_BYTES_MAX) {
        backend.add_prompt(&prompt(&text)).unwrap();
    }
    let error = backend.add_prompt(&prompt(&texts.next().unwrap())).unwrap_err();
    assert!(matches!(error, PromptError::TooMany(_)), "{error}");
}
