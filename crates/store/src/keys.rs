//! Client keys: how they are kept, and how a request's key is looked up.
//!
//! A key is random text made by the binary and shown once. What is kept is
//! `SHA-256(domain, salt, key)` with a random salt of this database, so a stolen database opens no
//! door and its hashes fit no other installation. A slow hash would protect nothing more: a key has
//! 256 random bits.
//!
//! The [`KeyRing`] finds a key by the first 8 bytes of its hash and then compares all 32 in constant
//! time. Which slot is looked at does depend on the presented key, but through a hash whose salt the
//! caller does not know, so nothing about a stored key can be learnt from how long a refusal takes.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use cutover_units::{Millis, NameError, UseCaseName};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::error::StoreError;

/// Shortest secret accepted: 32 characters of base 64 hold 192 bits.
pub const SECRET_BYTES_MIN: usize = 32;

/// Longest secret looked at: a longer one is refused before it is hashed.
pub const SECRET_BYTES_MAX: usize = 512;

/// Replaced secrets of one key that may open the door at once. More would be forgotten doors.
pub const FORMER_MAX: usize = 8;

/// Characters of a key that lists show, to tell keys apart.
const PREFIX_CHARS: usize = 8;

/// The text of a key. Its `Debug` shows nothing.
#[derive(Clone)]
pub struct Secret(Box<str>);

/// Why a text is not taken as a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a key has {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX} visible ASCII characters")]
pub struct WeakSecret;

impl Secret {
    /// Takes a key's text.
    pub fn new(text: &str) -> Result<Self, WeakSecret> {
        let fits = (SECRET_BYTES_MIN..=SECRET_BYTES_MAX).contains(&text.len());
        if fits && text.bytes().all(|b| b.is_ascii_graphic()) {
            Ok(Self(text.into()))
        } else {
            Err(WeakSecret)
        }
    }

    pub(crate) fn hash(&self, salt: &Salt) -> KeyHash {
        hash(salt, self.0.as_bytes())
    }

    pub(crate) fn prefix(&self) -> String {
        self.0.chars().take(PREFIX_CHARS).collect()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// A key to be added.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// Its name: what records and matchers call it.
    pub name: String,
    /// Its text.
    pub secret: Secret,
    /// The use case all its requests belong to, if any.
    pub use_case: Option<UseCaseName>,
    /// Whether its requests stay with local upstreams.
    pub local_only: bool,
    /// Whether nobody waits for its answers, so that others go first.
    pub batch: bool,
    /// Who adds it.
    pub actor: String,
    /// Now.
    pub now: Millis,
}

/// A key to be revoked.
#[derive(Debug, Clone)]
pub struct RevokeKey {
    /// Its name.
    pub name: String,
    /// Whether only the secrets are revoked that a rotation replaced.
    pub former: bool,
    /// Who revokes it.
    pub actor: String,
    /// Why.
    pub reason: String,
    /// Now.
    pub now: Millis,
}

/// A key to be given another secret.
#[derive(Debug, Clone)]
pub struct RotateKey {
    /// Its name.
    pub name: String,
    /// Its text from now on.
    pub secret: Secret,
    /// How long the text before opens the door. With none no former text does, from now on.
    pub overlap: Millis,
    /// Who rotates it.
    pub actor: String,
    /// Why.
    pub reason: String,
    /// Now.
    pub now: Millis,
}

/// A stored key, without its hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Its id, which no other key ever gets.
    pub id: i64,
    /// Its name.
    pub name: Arc<str>,
    /// Its first characters.
    pub prefix: String,
    /// The use case all its requests belong to, if any.
    pub use_case: Option<UseCaseName>,
    /// Whether its requests stay with local upstreams.
    pub local_only: bool,
    /// Whether nobody waits for its answers, so that others go first.
    pub batch: bool,
    /// When it was made.
    pub created: Millis,
    /// When it was revoked.
    pub revoked: Option<Millis>,
    /// Until when a text that a rotation replaced opens the door.
    pub former_until: Option<Millis>,
}

/// Why a key was not added.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddKeyError {
    /// A key, perhaps a revoked one, has the name. Names stay unique so that records stay clear.
    #[error("there is a key {0:?} already")]
    NameTaken(String),
    /// The name breaks the rule for names.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The database did not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a key was not revoked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RevokeKeyError {
    /// No key has the name.
    #[error("there is no key {0:?}")]
    Unknown(String),
    /// The database did not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a key was not rotated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RotateKeyError {
    /// No key has the name.
    #[error("there is no key {0:?}")]
    Unknown(String),
    /// It was revoked, and stays so.
    #[error("key {0:?} was revoked: make another, or rotate before you revoke")]
    Revoked(String),
    /// Too many of its former secrets open the door still.
    #[error("{FORMER_MAX} former secrets of key {0:?} are valid still: revoke them first")]
    TooMany(String),
    /// The database did not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The names of keys obey the rule of all names, which keeps them fit for labels and headers.
pub(crate) fn check_name(name: &str) -> Result<(), NameError> {
    UseCaseName::new(name).map(drop)
}

pub(crate) type Salt = [u8; 32];
pub(crate) type KeyHash = [u8; 32];

pub(crate) fn hash(salt: &Salt, secret: &[u8]) -> KeyHash {
    let mut digest = Sha256::new();
    digest.update(b"cutover key 1\n");
    digest.update(salt);
    digest.update(secret);
    digest.finalize().into()
}

/// All keys of the database with what is needed to recognise them.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys {
    pub(crate) salt: Salt,
    pub(crate) rows: Vec<(Key, KeyHash)>,
    /// By the keys' ids: former secrets, and until when they open the door.
    pub(crate) former: Vec<(i64, KeyHash, Millis)>,
}

impl Keys {
    /// The keys, revoked ones included, in order of making.
    pub fn list(&self) -> impl Iterator<Item = &Key> {
        self.rows.iter().map(|(key, _)| key)
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.list()).finish()
    }
}

/// The keys that open the door now, in memory.
#[derive(Clone)]
pub struct KeyRing {
    salt: Salt,
    slots: HashMap<u64, Vec<Entry>>,
    keys: usize,
    unread: bool,
}

#[derive(Clone)]
struct Entry {
    hash: KeyHash,
    key: Arc<Key>,
    /// Set for a former secret.
    until: Option<Millis>,
}

impl KeyRing {
    /// The ring of all keys that are not revoked.
    pub fn new(keys: Keys) -> Self {
        let mut ring = Self { salt: keys.salt, ..Self::unread() };
        ring.unread = false;
        for (key, hash) in keys.rows.into_iter().filter(|(key, _)| key.revoked.is_none()) {
            let (id, key) = (key.id, Arc::new(key));
            let former = keys.former.iter().filter(|(of, ..)| *of == id);
            for (_, hash, until) in former {
                ring.put(Entry { hash: *hash, key: Arc::clone(&key), until: Some(*until) });
            }
            ring.put(Entry { hash, key, until: None });
            ring.keys += 1;
        }
        ring
    }

    /// The ring while the keys cannot be read: it opens to nobody, and says why.
    pub fn unread() -> Self {
        Self { salt: [0; 32], slots: HashMap::new(), keys: 0, unread: true }
    }

    fn put(&mut self, entry: Entry) {
        self.slots.entry(slot(&entry.hash)).or_default().push(entry);
    }

    /// Whether the keys could not be read, so that nobody knows whether a key is one.
    pub fn is_unread(&self) -> bool {
        self.unread
    }

    /// The key that a request presents, if it is one of the ring's.
    pub fn find(&self, presented: &[u8], now: Millis) -> Option<&Arc<Key>> {
        if presented.len() > SECRET_BYTES_MAX {
            return None;
        }
        let presented = hash(&self.salt, presented);
        let slot = self.slots.get(&slot(&presented))?;
        let entry = slot.iter().find(|entry| bool::from(entry.hash.ct_eq(&presented)))?;
        entry.until.is_none_or(|until| now < until).then_some(&entry.key)
    }

    /// The key of this name, if it opens the door.
    pub fn named(&self, name: &str) -> Option<&Arc<Key>> {
        let keys = self.slots.values().flatten().map(|entry| &entry.key);
        keys.into_iter().find(|key| &*key.name == name)
    }

    /// How many keys open the door.
    pub fn len(&self) -> usize {
        self.keys
    }

    /// Whether no key opens the door.
    pub fn is_empty(&self) -> bool {
        self.keys == 0
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRing").field("keys", &self.len()).finish_non_exhaustive()
    }
}

fn slot(hash: &KeyHash) -> u64 {
    hash.first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Millis = Millis(10);

    fn key(id: i64, revoked: Option<Millis>) -> Key {
        let name = format!("key-{id}").into();
        Key {
            id,
            name,
            prefix: "ck-".into(),
            use_case: None,
            local_only: false,
            batch: false,
            created: Millis(1),
            revoked,
            former_until: None,
        }
    }

    fn ring(secrets: &[(&str, Option<Millis>)]) -> KeyRing {
        let salt = [7; 32];
        let rows = secrets
            .iter()
            .zip(1..)
            .map(|((text, revoked), id)| (key(id, *revoked), hash(&salt, text.as_bytes())));
        KeyRing::new(Keys { salt, rows: rows.collect(), former: Vec::new() })
    }

    #[test]
    fn a_known_key_is_found_and_a_revoked_or_unknown_one_is_not() {
        let ring = ring(&[("first", None), ("second", Some(Millis(5))), ("third", None)]);
        assert_eq!(ring.find(b"third", NOW).map(|key| key.id), Some(3));
        assert!(ring.find(b"second", NOW).is_none());
        assert!(ring.find(b"", NOW).is_none());
        assert!(ring.find("x".repeat(100_000).as_bytes(), NOW).is_none());
        assert_eq!(ring.len(), 2);
    }

    #[test]
    fn a_former_secret_opens_the_door_until_its_end_or_its_keys() {
        let salt = [7; 32];
        let of = |revoked| {
            let former = vec![(1, hash(&salt, b"before"), Millis(20))];
            let rows = vec![(key(1, revoked), hash(&salt, b"now"))];
            KeyRing::new(Keys { salt, rows, former })
        };
        let ring = of(None);
        assert_eq!(ring.find(b"before", Millis(19)).map(|key| key.id), Some(1));
        assert!(ring.find(b"before", Millis(20)).is_none());
        assert!(ring.find(b"now", Millis(u64::MAX)).is_some());
        assert_eq!(ring.len(), 1, "one key with two secrets");
        assert!(of(Some(Millis(5))).find(b"before", NOW).is_none());
    }

    #[test]
    fn a_ring_that_could_not_be_read_knows_that() {
        let ring = KeyRing::unread();
        assert!(ring.is_unread() && ring.is_empty() && ring.find(b"any", NOW).is_none());
        assert!(!self::ring(&[]).is_unread());
    }

    #[test]
    fn secrets_and_hashes_stay_out_of_debug_output() {
        let text = "ck-0123456789abcdef0123456789abcdef";
        let secret = Secret::new(text).unwrap();
        let new = NewKey {
            name: "a".into(),
            secret,
            use_case: None,
            local_only: false,
            batch: false,
            actor: String::new(),
            now: Millis(0),
        };
        assert!(!format!("{new:?}").contains("0123"));
        let ring = ring(&[(text, None)]);
        assert_eq!(format!("{ring:?}"), "KeyRing { keys: 1, .. }");
    }

    #[test]
    fn weak_secrets_are_refused() {
        assert!(Secret::new("short").is_err());
        assert!(Secret::new(&"x".repeat(513)).is_err());
        assert!(Secret::new(&"with space ".repeat(4)).is_err());
        assert!(Secret::new(&"x".repeat(32)).is_ok());
    }

    proptest! {
        #[test]
        fn no_bytes_open_the_door_but_the_key(presented in prop::collection::vec(any::<u8>(), 0..600)) {
            let ring = ring(&[("the only key", None)]);
            prop_assert_eq!(ring.find(&presented, NOW).is_some(), presented == b"the only key");
        }
    }
}
