//! The audit log: who changed what, when and why, in a chain of hashes.
//!
//! ```text
//!   hash(n) = SHA-256(domain, hash(n-1), entry(n))      hash(0) = 32 zero bytes
//! ```
//! An entry is hashed and read as the very text that is stored, so there is no second form of it
//! that could differ. Whoever alters, removes or reorders entries must rewrite every later hash; the
//! newest hash, noted elsewhere, shows that, too, and shows entries cut off the end.

use cutover_units::{Generation, Millis};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// A weight was set.
    WeightSet,
    /// A use case was rolled back.
    RolledBack,
    /// A client key was made.
    KeyAdded,
    /// A client key was revoked.
    KeyRevoked,
}

/// One entry of the audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Its place in the log, from 1 without gaps.
    pub seq: u64,
    /// When.
    pub at: Millis,
    /// What was done.
    pub action: Action,
    /// To which use case or key.
    pub subject: String,
    /// Who did it.
    pub actor: String,
    /// Why.
    pub reason: String,
    /// What it was before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// What it is now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// The state's generation after a change of weight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<Generation>,
}

/// What a look at the whole chain found.
#[must_use = "a broken chain means that history was altered"]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuditVerdict {
    /// Every entry follows from the one before.
    Whole {
        /// How many entries there are.
        entries: u64,
        /// The newest hash, in hex: note it elsewhere to notice a cut end later.
        head: String,
    },
    /// An entry does not follow from the one before.
    Broken {
        /// Its place.
        seq: u64,
        /// What is wrong with it.
        why: String,
    },
}

pub(crate) type Hash = [u8; 32];

/// The hash before the first entry.
pub(crate) const GENESIS: Hash = [0; 32];

/// An entry as it is stored.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    pub(crate) seq: u64,
    pub(crate) entry: String,
    pub(crate) previous: Vec<u8>,
    pub(crate) hash: Vec<u8>,
}

pub(crate) fn hash(previous: &Hash, entry: &str) -> Hash {
    let mut digest = Sha256::new();
    digest.update(b"cutover audit 1\n");
    digest.update(previous);
    digest.update(entry.as_bytes());
    digest.finalize().into()
}

/// Follows the chain link by link.
#[derive(Debug)]
pub(crate) struct Follower {
    entries: u64,
    head: Hash,
}

impl Follower {
    pub(crate) fn new() -> Self {
        Self { entries: 0, head: GENESIS }
    }

    /// Checks the next link, or says what is wrong with it.
    pub(crate) fn follow(&mut self, link: &Link) -> Result<(), AuditVerdict> {
        let seq = self.entries + 1;
        let broken = |why: &str| AuditVerdict::Broken { seq, why: why.to_owned() };
        if link.seq != seq {
            return Err(broken("an entry is missing"));
        }
        if link.previous != self.head {
            return Err(broken("it does not follow from the entry before"));
        }
        let hash = hash(&self.head, &link.entry);
        if link.hash != hash {
            return Err(broken("its text does not match its hash"));
        }
        let readable = serde_json::from_str::<Change>(&link.entry);
        if readable.ok().is_none_or(|change| change.seq != seq) {
            return Err(broken("its text is no entry, or one of another place"));
        }
        self.entries = seq;
        self.head = hash;
        Ok(())
    }

    pub(crate) fn verdict(&self) -> AuditVerdict {
        AuditVerdict::Whole { entries: self.entries, head: hex(&self.head) }
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
