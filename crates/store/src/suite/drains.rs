use cutover_units::{Millis, UpstreamName};

use crate::audit::Action;
use crate::backend::Backend;
use crate::drains::{Drain, SetDrain};

pub(crate) fn an_instance_that_was_taken_out_is_out_until_it_is_put_back(store: &mut dyn Backend) {
    let drain = |upstream: &str, actor: &str, at| Drain {
        upstream: UpstreamName::new(upstream).unwrap(),
        address: "gpu-1:8000".to_owned(),
        actor: actor.to_owned(),
        reason: "a new card".to_owned(),
        at: Millis(at),
    };
    let set = |drain: Drain, out| SetDrain { drain, out };
    let first = drain("gpus", "ann", 5);
    assert_eq!(store.set_drain(&set(first.clone(), true)).unwrap(), vec![first.clone()]);
    // Who was first and why stays.
    let again = store.set_drain(&set(drain("gpus", "bob", 6), true)).unwrap();
    assert_eq!(again, vec![first.clone()]);
    let other = drain("more-gpus", "bob", 7);
    assert_eq!(store.set_drain(&set(other.clone(), true)).unwrap(), [first, other.clone()]);
    assert_eq!(store.set_drain(&set(drain("gpus", "bob", 8), false)).unwrap(), vec![other.clone()]);
    assert_eq!(store.set_drain(&set(drain("gpus", "bob", 9), false)).unwrap(), vec![other.clone()]);
    assert_eq!(store.drains().unwrap(), [other]);
    let changes = store.changes(10).unwrap();
    let told: Vec<_> = changes
        .iter()
        .map(|change| (change.action, change.subject.as_str(), change.actor.as_str()))
        .collect();
    assert_eq!(
        told,
        [
            (Action::InstanceResumed, "gpus/gpu-1:8000", "bob"),
            (Action::InstanceDrained, "more-gpus/gpu-1:8000", "bob"),
            (Action::InstanceDrained, "gpus/gpu-1:8000", "ann"),
        ]
    );
}
