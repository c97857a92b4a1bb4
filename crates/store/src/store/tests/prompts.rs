//! Label moves by many at once: as if one had come after the other.

use cutover_prompts::Reference;
use cutover_units::Generation;

use super::*;
use crate::suite::{prompt, to};
use crate::{PromptError, Store};

async fn label(store: &Store) -> (u32, u64) {
    let book = store.prompts().await.unwrap();
    let reference = Reference::parse("extraction@production").unwrap();
    let version = book.resolve(&reference).unwrap().version;
    (version, book.labels().next().unwrap().generation.0)
}

/// Each reads, then moves from what it read; the loser reads again. Were a move lost or made twice, the
/// generation would not be the count of moves.
#[expect(clippy::disallowed_methods, reason = "the movers race, and the test awaits them all")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn moves_from_what_was_read_are_never_lost() {
    let dir = tempfile::tempdir().unwrap();
    // Two handles with a thread each: as two processes.
    let stores = [open(&dir), open(&dir)];
    for text in ["one", "two", "three"] {
        stores[0].add_prompt(prompt(text)).await.unwrap();
    }
    stores[0].move_label(to(1, Some(0))).await.unwrap();
    let moving = (0..4u32).map(|mover| {
        let store = stores[mover as usize % 2].clone();
        tokio::spawn(async move {
            let (mut made, mut conflicts) = (0, 0);
            while made < 5 {
                let (version, generation) = label(&store).await;
                match store.move_label(to(version % 3 + 1, Some(generation))).await {
                    Ok(moved) => {
                        assert_eq!(moved.generation, Generation(generation + 1));
                        made += 1;
                    }
                    Err(PromptError::Conflict { found, .. }) => {
                        assert!(found > Generation(generation));
                        conflicts += 1;
                    }
                    // The other thread writes.
                    Err(PromptError::Store(error)) if error.may_pass() => {}
                    Err(error) => panic!("{error}"),
                }
            }
            conflicts
        })
    });
    for mover in moving.collect::<Vec<_>>() {
        mover.await.unwrap();
    }
    // 1 + 20 moves, each by one version on.
    assert_eq!(label(&stores[0]).await, (20 % 3 + 1, 21));
    // The log tells the same story, without a gap.
    let changes = stores[0].changes(100).await.unwrap();
    let mut moves: Vec<_> =
        changes.iter().filter(|c| c.subject == "extraction@production").collect();
    moves.reverse();
    assert_eq!(moves.len(), 21);
    for pair in moves.windows(2) {
        assert_eq!(pair[0].after, pair[1].before);
    }
}

#[tokio::test]
async fn versions_stay_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    store.add_prompt(prompt("one")).await.unwrap();
    let other = Connection::open(dir.path().join("cutover.db")).unwrap();
    for sql in ["UPDATE prompts SET text = 'x'", "DELETE FROM prompts"] {
        let error = other.execute(sql, []).unwrap_err().to_string();
        assert!(error.contains("a version of a prompt"), "{error}");
    }
}
