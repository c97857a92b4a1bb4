//! Two attempts at once, until one of them is good.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

/// What an attempt came to, and the place that it had.
pub type Ended<T, E, P> = (Result<T, E>, Option<P>);

/// Awaits both until one of them is good, or neither is. None: it was still under way. With the place of the one that was
/// good, or else of the last; one that fails while the other is under way leaves its own at once.
pub async fn first_good<T, E, P>(
    mut one: Pin<&mut impl Future<Output = Ended<T, E, P>>>,
    mut two: Pin<&mut impl Future<Output = Ended<T, E, P>>>,
) -> ([Option<Result<T, E>>; 2], Option<P>) {
    let (mut answers, mut kept) = ([None, None], None);
    poll_fn(|context| {
        let [first, second] = &mut answers;
        if first.is_none()
            && let Poll::Ready((answer, place)) = one.as_mut().poll(context)
        {
            kept = place.filter(|_| answer.is_ok() || second.is_some());
            *first = Some(answer);
        }
        let is_good = |answer: &Option<Result<T, E>>| answer.as_ref().is_some_and(Result::is_ok);
        if !is_good(first)
            && second.is_none()
            && let Poll::Ready((answer, place)) = two.as_mut().poll(context)
        {
            kept = place.filter(|_| answer.is_ok() || first.is_some());
            *second = Some(answer);
        }
        let over = is_good(first) || is_good(second) || (first.is_some() && second.is_some());
        if over { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    (answers, kept)
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::Arc;
    use std::task::{Context, Waker};

    use tokio::sync::oneshot;

    use super::*;

    #[test]
    fn the_first_good_one_keeps_its_place_and_one_that_fails_leaves_its_own() {
        // In which order they end, and how; who is still under way then, and whose place is kept.
        for (ends, under_way, kept) in [
            (&[(0, true)][..], Some(1), 0),
            (&[(1, true)], Some(0), 1),
            (&[(0, false), (1, true)], None, 1),
            (&[(1, false), (0, true)], None, 0),
            (&[(0, false), (1, false)], None, 1),
            (&[(1, false), (0, false)], None, 0),
        ] {
            let places = [0, 1].map(Arc::new);
            let (senders, mut calls): (Vec<_>, Vec<_>) =
                (0..2).map(|_| oneshot::channel::<Result<(), ()>>()).unzip();
            let mut senders: Vec<_> = senders.into_iter().map(Some).collect();
            let mut attempt = |at: usize| {
                let (called, place) = (calls.remove(0), Arc::clone(&places[at]));
                async move { (called.await.unwrap(), Some(place)) }
            };
            let (one, two) = (pin!(attempt(0)), pin!(attempt(1)));
            let mut race = pin!(first_good(one, two));
            let mut context = Context::from_waker(Waker::noop());
            assert!(race.as_mut().poll(&mut context).is_pending());
            let mut over = None;
            for (nth, (at, good)) in ends.iter().enumerate() {
                let sender = senders[*at].take().unwrap();
                sender.send(if *good { Ok(()) } else { Err(()) }).unwrap();
                match race.as_mut().poll(&mut context) {
                    Poll::Ready(ended) => over = Some(ended),
                    Poll::Pending => {
                        assert_eq!(nth, 0, "{ends:?}");
                        assert_eq!(Arc::strong_count(&places[*at]), 1, "{ends:?}: left");
                    }
                }
            }
            let (answers, place) = over.unwrap();
            assert_eq!(answers.iter().position(Option::is_none), under_way, "{ends:?}");
            assert_eq!(place.as_deref(), Some(&kept), "{ends:?}");
        }
    }
}
