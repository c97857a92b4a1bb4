//! A chain of hashes over texts: the audit log and the decisions of rollouts are each one.
//!
//! ```text
//!   hash(n) = SHA-256(domain, hash(n-1), entry(n))      hash(0) = 32 zero bytes
//! ```
//! An entry is hashed and read as the very text that is stored, so there is no second form of it
//! that could differ. Whoever alters, removes or reorders entries must rewrite every later hash; the
//! newest hash, noted elsewhere, shows that, too, and shows entries cut off the end.

pub(crate) use cutover_units::hex;
use sha2::{Digest, Sha256};

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

/// One of the chains.
#[derive(Debug)]
pub(crate) struct Chain {
    /// Keeps an entry of one chain from standing in another.
    pub(crate) domain: &'static [u8],
    /// The place that an entry's text says it has; none if it is no entry.
    pub(crate) place: fn(&str) -> Option<u64>,
}

impl Chain {
    pub(crate) fn hash(&self, previous: &Hash, entry: &str) -> Hash {
        let mut digest = Sha256::new();
        digest.update(self.domain);
        digest.update(previous);
        digest.update(entry.as_bytes());
        digest.finalize().into()
    }
}

/// An entry as it is stored.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    pub(crate) seq: u64,
    pub(crate) entry: String,
    pub(crate) previous: Vec<u8>,
    pub(crate) hash: Vec<u8>,
}

/// Follows a chain link by link.
#[derive(Debug)]
pub(crate) struct Follower {
    chain: &'static Chain,
    entries: u64,
    head: Hash,
}

impl Follower {
    pub(crate) fn new(chain: &'static Chain) -> Self {
        Self { chain, entries: 0, head: GENESIS }
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
        let hash = self.chain.hash(&self.head, &link.entry);
        if link.hash != hash {
            return Err(broken("its text does not match its hash"));
        }
        if (self.chain.place)(&link.entry) != Some(seq) {
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
