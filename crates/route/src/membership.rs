//! Which addresses of a name are instances: they join with the first answer that holds them, and leave
//! with the first that does not. Who has left is kept until what it has begun has ended.
//!
//! ```text
//!   in an answer               not in an answer                    idle
//!  ───────────────▶ present ────────────────────▶ leaving ───────────────▶ forgotten
//!                      ▲        in an answer again   │
//!                      └─────────────────────────────┘
//! ```
//!
//! An address that is in an answer is at once asked, and one that is not is at once left alone: behind a
//! headless service a pod is taken out of the answer when it begins to end. An answer without addresses is
//! none, and is not brought here: the last known set stays.
//!
//! Invariants: an address is a member once; its number is never another's as long as the process lives, so
//! that metrics and records do not mix two machines; at most so many are present as there is room for.

use std::net::IpAddr;

/// One address of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// The address.
    pub address: IpAddr,
    /// What tells it from those before and after it; from 1.
    pub number: u32,
    /// Whether no new request goes there.
    pub leaving: bool,
}

/// The addresses of one name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Members {
    all: Vec<Member>,
    last: u32,
}

/// What an answer changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// They are asked from now on.
    pub joined: Vec<Member>,
    /// They are asked no more.
    pub left: Vec<Member>,
    /// So many there was no room for.
    pub beyond: usize,
}

impl Changes {
    /// Whether it changed nothing.
    pub fn is_empty(&self) -> bool {
        self.joined.is_empty() && self.left.is_empty()
    }
}

impl Members {
    /// Those that are asked, then those that only end what they have begun.
    pub fn all(&self) -> impl Iterator<Item = &Member> {
        let of = |leaving: bool| self.all.iter().filter(move |member| member.leaving == leaving);
        of(false).chain(of(true))
    }

    /// How many are asked.
    pub fn present(&self) -> usize {
        self.all.iter().filter(|member| !member.leaving).count()
    }

    /// Takes an answer, of which at most `room` addresses are taken: those that are present already,
    /// then in order. An answer without addresses changes nothing.
    pub fn answered(&mut self, found: &[IpAddr], room: usize) -> Changes {
        if found.is_empty() {
            return Changes::default();
        }
        let mut wanted = found.to_vec();
        wanted.sort_unstable();
        wanted.dedup();
        // A sort keeps the order among equals.
        wanted.sort_by_key(|address| !self.is_present(*address));
        let beyond = wanted.len().saturating_sub(room);
        wanted.truncate(room);
        let mut changes = Changes { beyond, ..Changes::default() };
        for member in &mut self.all {
            let leaves = !wanted.contains(&member.address);
            if leaves != member.leaving {
                member.leaving = leaves;
                if leaves { &mut changes.left } else { &mut changes.joined }.push(*member);
            }
        }
        for address in wanted {
            if self.all.iter().any(|member| member.address == address) {
                continue;
            }
            self.last = self.last.saturating_add(1);
            let member = Member { address, number: self.last, leaving: false };
            self.all.push(member);
            changes.joined.push(member);
        }
        changes
    }

    /// Forgets those that have left and are idle.
    pub fn forget(&mut self, is_idle: impl Fn(&Member) -> bool) -> Vec<Member> {
        let (gone, kept) = self.all.drain(..).partition(|member| member.leaving && is_idle(member));
        self.all = kept;
        gone
    }

    fn is_present(&self, address: IpAddr) -> bool {
        self.all.iter().any(|member| member.address == address && !member.leaving)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn address(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    fn addresses(last: &[u8]) -> Vec<IpAddr> {
        last.iter().copied().map(address).collect()
    }

    fn shown(members: &Members) -> Vec<(u32, bool)> {
        members.all().map(|member| (member.number, member.leaving)).collect()
    }

    #[test]
    fn addresses_join_leave_and_are_forgotten_when_idle() {
        let mut members = Members::default();
        let first = members.answered(&addresses(&[2, 1, 2]), 64);
        assert_eq!(first.joined.iter().map(|m| m.number).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(members.all().next().map(|m| m.address), Some(address(1)));
        let second = members.answered(&addresses(&[2, 3]), 64);
        assert_eq!((second.joined.len(), second.left.len()), (1, 1));
        assert_eq!(shown(&members), [(2, false), (3, false), (1, true)]);
        assert!(members.forget(|_| false).is_empty(), "it still answers somebody");
        assert_eq!(members.forget(|_| true).len(), 1);
        // It is another one now, whoever it was.
        members.answered(&addresses(&[1, 2, 3]), 64);
        assert_eq!(shown(&members), [(2, false), (3, false), (4, false)]);
    }

    #[test]
    fn one_that_comes_back_while_it_ends_is_the_same() {
        let mut members = Members::default();
        members.answered(&addresses(&[1, 2]), 64);
        members.answered(&addresses(&[2]), 64);
        let back = members.answered(&addresses(&[1, 2]), 64);
        assert_eq!(back.joined, [Member { address: address(1), number: 1, leaving: false }]);
        assert!(members.answered(&addresses(&[2, 1]), 64).is_empty());
    }

    #[test]
    fn no_answer_and_an_empty_one_change_nothing() {
        let mut members = Members::default();
        members.answered(&addresses(&[1]), 64);
        assert!(members.answered(&[], 64).is_empty());
        assert_eq!(shown(&members), [(1, false)]);
    }

    #[test]
    fn without_room_those_that_are_there_stay() {
        let mut members = Members::default();
        members.answered(&addresses(&[8, 9]), 2);
        let changes = members.answered(&addresses(&[1, 2, 8, 9]), 2);
        assert_eq!(changes, Changes { beyond: 2, ..Changes::default() });
        let changes = members.answered(&addresses(&[1, 2, 9]), 2);
        assert_eq!((changes.joined.len(), changes.left.len(), changes.beyond), (1, 1, 1));
    }

    proptest! {
        #[test]
        fn whatever_is_answered_the_present_are_the_answer_and_numbers_are_unique(
            answers in prop::collection::vec((prop::collection::vec(0u8..12, 0..12), 0u8..12), 1..40),
            room in 1usize..8,
        ) {
            let (mut members, mut numbers) = (Members::default(), BTreeSet::new());
            for (answer, idle) in answers {
                let before = members.clone();
                let found = addresses(&answer);
                let changes = members.answered(&found, room);
                for joined in &changes.joined {
                    let back = before.all().any(|m| m.leaving && m.number == joined.number);
                    prop_assert!(back || numbers.insert(joined.number));
                }
                prop_assert!(members.present() <= room);
                if !found.is_empty() {
                    let distinct: BTreeSet<_> = found.iter().collect();
                    prop_assert_eq!(members.present(), distinct.len().min(room));
                    prop_assert_eq!(changes.beyond, distinct.len().saturating_sub(room));
                    prop_assert!(members.all().all(|m| m.leaving || found.contains(&m.address)));
                    // Nobody leaves who is in the answer, unless room shrank.
                    prop_assert!(changes.left.iter().all(|m| !found.contains(&m.address)));
                }
                let all: BTreeSet<_> = members.all().map(|m| m.address).collect();
                prop_assert_eq!(all.len(), members.all().count());
                let gone = members.forget(|member| member.address == address(idle));
                prop_assert!(gone.iter().all(|member| member.leaving));
            }
        }
    }
}
