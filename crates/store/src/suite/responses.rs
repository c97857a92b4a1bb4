use std::sync::Arc;

use cutover_units::Millis;

use crate::backend::Backend;
use crate::responses::{Document, KeptResponse};

pub(crate) fn kept(id: &str, owner: Option<i64>, at: u64) -> KeptResponse {
    KeptResponse {
        id: id.into(),
        owner,
        at: Millis(at),
        previous: Some("resp_before".into()),
        local_only: owner.is_some(),
        document: Document(format!("{{\"text\":\"{id}\"}}")),
    }
}

pub(crate) fn a_kept_answer_is_its_keys_alone(backend: &mut dyn Backend) {
    let (mine, open) = (kept("resp_1", Some(7), 5), kept("resp_2", None, 6));
    let batch = [Arc::new(mine.clone()), Arc::new(open.clone())];
    backend.write_responses(&batch).unwrap();
    // Writing the same again, as after a failure, changes nothing.
    backend.write_responses(&batch).unwrap();
    assert_eq!(backend.response("resp_1", Some(7)).unwrap(), Some(mine));
    assert_eq!(backend.response("resp_2", None).unwrap(), Some(open));
    for stranger in [Some(8), None] {
        assert_eq!(backend.response("resp_1", stranger).unwrap(), None);
        assert!(!backend.delete_response("resp_1", stranger).unwrap());
    }
    assert_eq!(backend.response("resp_2", Some(7)).unwrap(), None);
    assert!(backend.delete_response("resp_1", Some(7)).unwrap());
    assert!(!backend.delete_response("resp_1", Some(7)).unwrap());
    assert_eq!(backend.response("resp_1", Some(7)).unwrap(), None);
    assert!(!format!("{:?}", kept("resp_3", None, 1)).contains("text"));
}

pub(crate) fn kept_answers_expire_in_small_steps(backend: &mut dyn Backend) {
    let batch: Vec<_> = (0..5).map(|n| Arc::new(kept(&format!("r{n}"), None, n))).collect();
    backend.write_responses(&batch).unwrap();
    assert_eq!(backend.expire_responses(Millis(4), 3).unwrap(), 3);
    assert_eq!(backend.expire_responses(Millis(4), 3).unwrap(), 1);
    assert_eq!(backend.expire_responses(Millis(4), 3).unwrap(), 0);
    assert!(backend.response("r4", None).unwrap().is_some());
}
