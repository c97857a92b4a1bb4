//! Client keys: whom they let in, and what happens while nobody knows.

use std::sync::Arc;

use cutover_store::{KeyRing, NewKey, Options, Secret, Store};
use cutover_testkit::fake::{Fake, Persona};

use crate::harness::{Rig, ask, now, two_arms};

/// Keys of these names; the secret of each is its name ten times.
pub(crate) fn ring(names: &[&str]) -> Arc<KeyRing> {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(Options::new(dir.path(), now)).unwrap();
    let keys = tokio::runtime::Runtime::new().unwrap().block_on(async {
        for name in names {
            let secret = Secret::new(&name.repeat(10)).unwrap();
            let (name, actor) = ((*name).to_owned(), "test".to_owned());
            let (use_case, local_only, batch) = (None, false, false);
            let key = NewKey { name, secret, use_case, local_only, batch, actor, now: now() };
            store.add_key(key).await.unwrap();
        }
        store.load_keys().await.unwrap()
    });
    Arc::new(KeyRing::new(keys))
}

/// A start while the database was held ended, and all requests with it; a ring without keys would have
/// answered 401, for which clients throw a good key away.
#[test]
fn while_the_keys_cannot_be_read_a_key_is_neither_let_in_nor_refused_as_wrong() {
    let cloud = Fake::start(Persona::OpenAi);
    let config = two_arms(&cloud.base_url(), &cloud.base_url(), "0%");
    let rig = Rig::start_with(&config, Some(Arc::new(KeyRing::unread())));
    for header in ["authorization: Bearer ck-one", "x-api-key: ck-one"] {
        let answer = rig.chat(&[header], &ask("app"));
        assert_eq!(answer.status, 503, "{}", answer.text());
        assert_eq!(answer.json()["error"]["code"], "client_keys_unavailable");
        assert_eq!(answer.header("x-should-retry"), None, "SDKs ask again after a 503");
    }
    assert_eq!(rig.chat(&[], &ask("app")).status, 401, "none is none");
    assert!(cloud.inferences().is_empty(), "nothing was sent on");
}
