use super::*;
use crate::responses::{Conversation, ConversationQuery, RESPONSE_BYTES_MAX};
use crate::suite::kept;
use crate::{Document, KeptResponse};

fn after(id: &str, previous: Option<&str>) -> KeptResponse {
    KeptResponse { previous: previous.map(str::to_owned), ..kept(id, Some(1), 1) }
}

fn query(id: &str, owner: Option<i64>) -> ConversationQuery {
    ConversationQuery { id: id.to_owned(), owner, turns_max: 3, bytes_max: 1_000 }
}

fn ids(found: Conversation) -> Vec<String> {
    match found {
        Conversation::Whole(turns) => turns.into_iter().map(|turn| turn.id).collect(),
        Conversation::Missing(id) => vec![format!("missing {id}")],
        Conversation::TooLong => vec!["too long".to_owned()],
    }
}

#[tokio::test]
async fn what_waits_is_read_and_deleted_like_what_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let sink = store.responses();
    // Nobody else can write, so the second one waits.
    assert!(sink.try_keep(after("a", None)));
    store.flush().await.unwrap();
    assert_eq!(sink.stats().written, 1);
    let lock = Lock::take(&dir);
    assert!(sink.try_keep(after("b", Some("a"))));
    assert!(sink.try_keep(after("c", Some("b"))));
    let load = |id: &'static str, owner| {
        let store = store.clone();
        async move { ids(store.conversation(query(id, owner)).await.unwrap()) }
    };
    assert_eq!(load("c", Some(1)).await, ["a", "b", "c"]);
    assert_eq!(load("c", Some(2)).await, ["missing c"]);
    assert_eq!(sink.stats().waiting, 2);
    lock.release();
    assert!(!store.delete_response("c".to_owned(), None).await.unwrap());
    assert!(store.delete_response("c".to_owned(), Some(1)).await.unwrap());
    assert_eq!(load("c", Some(1)).await, ["missing c"]);
    store.flush().await.unwrap();
    assert_eq!(load("b", Some(1)).await, ["a", "b"]);
    // A hole in the middle is told.
    assert!(store.delete_response("a".to_owned(), Some(1)).await.unwrap());
    assert_eq!(load("b", Some(1)).await, ["missing a"]);
    assert_eq!(sink.stats().waiting, 0);
}

#[tokio::test]
async fn a_conversation_has_limits_and_a_damaged_one_ends() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let sink = store.responses();
    for (id, previous) in [("a", None), ("b", Some("a")), ("c", Some("b")), ("d", Some("c"))] {
        assert!(sink.try_keep(after(id, previous)));
    }
    assert_eq!(ids(store.conversation(query("d", Some(1))).await.unwrap()), ["too long"]);
    let small = ConversationQuery { bytes_max: 20, ..query("c", Some(1)) };
    assert_eq!(ids(store.conversation(small).await.unwrap()), ["too long"]);
    // Nobody writes such a thing; it must not be followed for ever.
    assert!(sink.try_keep(after("x", Some("x"))));
    assert_eq!(ids(store.conversation(query("x", Some(1))).await.unwrap()), ["too long"]);
}

#[tokio::test]
async fn what_has_no_room_is_counted_and_told_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let (options, seen) = options(&dir);
    let store = Store::open(options).unwrap();
    store.check().await.unwrap();
    let sink = store.responses();
    let large = |id: &str, bytes: usize| KeptResponse {
        document: Document("x".repeat(bytes)),
        ..after(id, None)
    };
    assert!(!sink.try_keep(large("larger", RESPONSE_BYTES_MAX + 1)));
    let lock = Lock::take(&dir);
    let taken = (0..10).filter(|n| sink.try_keep(large(&format!("r{n}"), RESPONSE_BYTES_MAX)));
    assert_eq!(taken.count(), 4);
    let waits = || {
        let told = seen.lock().unwrap();
        told.iter().filter(|event| matches!(event, StoreEvent::ResponsesWait(_))).count() == 1
    };
    until("it is told that answers wait", waits).await;
    lock.release();
    until("they are written", || sink.stats().written == 4).await;
    assert_eq!((sink.stats().waiting, sink.stats().dropped), (0, 7));
    assert!(sink.has_room());
    until("it is told", || seen.lock().unwrap().contains(&StoreEvent::ResponsesFlow)).await;
    assert!(sink.try_keep(after("last", None)));
    store.close().await;
    assert_eq!(sink.stats().written, 5);
    assert!(!sink.has_room() && !sink.try_keep(after("late", None)));
}

#[tokio::test]
async fn answers_older_than_their_retention_go() {
    let dir = tempfile::tempdir().unwrap();
    let (options, _) = options(&dir);
    let options = Options { retain_responses: Some(Millis(1_000)), ..options };
    let store = Store::open(options).unwrap();
    let sink = store.responses();
    // The store's clock stands at 1,000,000.
    assert!(sink.try_keep(KeptResponse { at: Millis(999_500), ..after("young", None) }));
    assert!(sink.try_keep(KeptResponse { at: Millis(998_000), ..after("old", None) }));
    store.close().await;
    let (options, _) = self::options(&dir);
    let store = Store::open(Options { retain_responses: Some(Millis(1_000)), ..options }).unwrap();
    until("the old one goes", || read(&dir, "SELECT count(*) FROM responses") == 1).await;
    assert_eq!(ids(store.conversation(query("young", Some(1))).await.unwrap()), ["young"]);
}

/// Whoever is told that an answer is stored may lose nothing by a kill: another process reads it by then.
#[tokio::test]
async fn what_is_told_to_be_written_is_in_the_database() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    store.check().await.unwrap();
    for (id, count) in [("a", 1), ("b", 2), ("c", 3)] {
        assert!(store.responses().keep(after(id, None)).written().await);
        assert_eq!(read(&dir, "SELECT count(*) FROM responses"), count);
    }
    store.close().await;
    assert!(!store.responses().keep(after("late", None)).written().await);
    assert_eq!(store.responses().stats().dropped, 1);
}

#[tokio::test]
async fn nobody_waits_for_a_database_that_takes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    store.check().await.unwrap();
    let lock = Lock::take(&dir);
    let sink = store.responses();
    assert!(!sink.keep(after("a", None)).written().await, "it waits in memory");
    assert!(!sink.keep(after("b", None)).written().await);
    assert_eq!(sink.stats().waiting, 2);
    lock.release();
    until("they are written", || sink.stats().waiting == 0).await;
    assert!(sink.keep(after("c", None)).written().await);
    assert_eq!(sink.stats().written, 3);
}

#[tokio::test]
async fn a_delete_that_fails_has_deleted_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    store.check().await.unwrap();
    let lock = Lock::take(&dir);
    assert!(store.responses().try_keep(after("a", None)));
    assert!(store.delete_response("a".to_owned(), Some(1)).await.is_err());
    assert!(store.response("a".to_owned(), Some(1)).await.unwrap().is_some(), "as was told");
    lock.release();
    assert!(store.delete_response("a".to_owned(), Some(1)).await.unwrap());
    assert!(store.response("a".to_owned(), Some(1)).await.unwrap().is_none());
}
