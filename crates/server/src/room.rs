//! Memory that request bodies hold together: counted, bounded, and the kernel's again as soon as nobody holds them.
//!
//! What is small, or comes in one piece, is not counted: it is no more than a connection reads at once. A body of
//! more has its [`Share`] of the [`Room`] from its first byte until the last holder of its [`Bytes`] is gone, however
//! that comes about: the share is given back by being dropped. It counts bytes that came, not those announced, so
//! that nobody takes room by promising.
//!
//! Large bodies have pages of their own. The allocator keeps what a thread gave back until that thread needs memory
//! again, which after a burst of large bodies held hundreds of megabytes for as long as nobody asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use bytes::{Bytes, BytesMut};
use memmap2::MmapMut;

/// Up to so many bytes a body is not counted: as much as is read at once.
pub(crate) const SMALL_BYTES_MAX: usize = 128 * 1024;

/// From so many bytes a body has pages of its own. What they cost, a fault for each, is little beside reading them.
const PAGES_FROM: usize = 1024 * 1024;

/// There is no room for more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full;

/// What all bodies may hold together. Clones count together.
#[derive(Debug, Clone)]
pub struct Room {
    held: Arc<AtomicUsize>,
    bytes_max: usize,
}

impl Room {
    /// A room in which nothing is.
    pub fn new(bytes_max: usize) -> Self {
        Self { held: Arc::default(), bytes_max }
    }

    /// The same with another bound. What is in it stays counted.
    #[must_use]
    pub fn resized(&self, bytes_max: usize) -> Self {
        Self { bytes_max, ..self.clone() }
    }

    /// Bytes that are held now.
    pub fn held(&self) -> usize {
        self.held.load(Relaxed)
    }

    /// Most bytes that may be.
    pub(crate) fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// Whether so many more fit, at the moment.
    pub(crate) fn check(&self, more: usize) -> Result<(), Full> {
        self.with(self.held(), more).map(|_| ()).ok_or(Full)
    }

    fn with(&self, held: usize, more: usize) -> Option<usize> {
        held.checked_add(more).filter(|sum| *sum <= self.bytes_max)
    }
}

/// What one body holds of a room, until it is dropped.
struct Share {
    room: Room,
    bytes: usize,
}

impl Share {
    fn grow(&mut self, more: usize) -> Result<(), Full> {
        let with = |held| self.room.with(held, more);
        self.room.held.fetch_update(Relaxed, Relaxed, with).map_err(|_| Full)?;
        self.bytes += more;
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.room.held.fetch_sub(self.bytes, Relaxed);
    }
}

enum Memory {
    Heap(Vec<u8>),
    Pages(MmapMut),
}

impl Memory {
    /// Pages that nothing was written to yet take no memory.
    fn of(capacity: usize) -> Result<Self, Full> {
        if capacity < PAGES_FROM {
            return Ok(Self::Heap(Vec::with_capacity(capacity)));
        }
        MmapMut::map_anon(capacity).map(Self::Pages).map_err(|_| Full)
    }

    fn capacity(&self) -> usize {
        match self {
            Self::Heap(bytes) => bytes.capacity(),
            Self::Pages(pages) => pages.len(),
        }
    }

    /// Writes where what was written before ends. It must fit.
    fn write(&mut self, at: usize, data: &[u8]) {
        match self {
            Self::Heap(bytes) => bytes.extend_from_slice(data),
            Self::Pages(pages) => pages[at..at + data.len()].copy_from_slice(data),
        }
    }
}

/// A body that is counted.
struct Large {
    memory: Memory,
    bytes: usize,
    share: Share,
}

impl Large {
    fn new(room: &Room, capacity: usize) -> Result<Self, Full> {
        let share = Share { room: room.clone(), bytes: 0 };
        Ok(Self { memory: Memory::of(capacity)?, bytes: 0, share })
    }

    fn push(&mut self, data: &[u8]) -> Result<(), Full> {
        self.share.grow(data.len())?;
        let end = self.bytes + data.len();
        if end > self.memory.capacity() {
            let mut larger = Memory::of(end.saturating_mul(2))?;
            larger.write(0, self.as_ref());
            self.memory = larger;
        }
        self.memory.write(self.bytes, data);
        self.bytes = end;
        Ok(())
    }
}

impl AsRef<[u8]> for Large {
    fn as_ref(&self) -> &[u8] {
        match &self.memory {
            Memory::Heap(bytes) => bytes,
            Memory::Pages(pages) => &pages[..self.bytes],
        }
    }
}

/// A body that comes in pieces.
pub(crate) struct Pieces<'r> {
    room: &'r Room,
    kind: Kind,
}

enum Kind {
    Small(BytesMut),
    Large(Large),
}

impl<'r> Pieces<'r> {
    /// Of so many bytes, as far as is known.
    pub(crate) fn new(room: &'r Room, capacity: usize) -> Result<Self, Full> {
        let kind = match capacity {
            ..=SMALL_BYTES_MAX => Kind::Small(BytesMut::with_capacity(capacity)),
            _ => Kind::Large(Large::new(room, capacity)?),
        };
        Ok(Self { room, kind })
    }

    pub(crate) fn len(&self) -> usize {
        match &self.kind {
            Kind::Small(bytes) => bytes.len(),
            Kind::Large(large) => large.bytes,
        }
    }

    pub(crate) fn push(&mut self, data: &[u8]) -> Result<(), Full> {
        match &mut self.kind {
            Kind::Small(bytes) if bytes.len() + data.len() <= SMALL_BYTES_MAX => {
                bytes.extend_from_slice(data);
                Ok(())
            }
            Kind::Small(bytes) => {
                let mut large = Large::new(self.room, 2 * (bytes.len() + data.len()))?;
                large.push(bytes)?;
                large.push(data)?;
                self.kind = Kind::Large(large);
                Ok(())
            }
            Kind::Large(large) => large.push(data),
        }
    }

    pub(crate) fn whole(self) -> Bytes {
        match self.kind {
            Kind::Small(bytes) => bytes.freeze(),
            Kind::Large(large) => Bytes::from_owner(large),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ROOM: usize = 6 * 1024 * 1024;

    /// What befalls bodies: one begins, a piece comes, its client is gone, it is whole, somebody shares it, somebody
    /// lets it go.
    #[derive(Debug, Clone)]
    enum Event {
        Begin { announced: usize },
        Piece { body: usize, bytes: usize },
        Break { body: usize },
        End { body: usize },
        Share { whole: usize },
        Drop { whole: usize },
    }

    fn events() -> impl Strategy<Value = Vec<Event>> {
        let sizes = prop_oneof![Just(0), 1..SMALL_BYTES_MAX * 2, 1..ROOM];
        let event = prop_oneof![
            2 => sizes.prop_map(|announced| Event::Begin { announced }),
            8 => (0..8_usize, 1..SMALL_BYTES_MAX * 3)
                .prop_map(|(body, bytes)| Event::Piece { body, bytes }),
            1 => (0..8_usize).prop_map(|body| Event::Break { body }),
            2 => (0..8_usize).prop_map(|body| Event::End { body }),
            1 => (0..8_usize).prop_map(|whole| Event::Share { whole }),
            2 => (0..8_usize).prop_map(|whole| Event::Drop { whole }),
        ];
        proptest::collection::vec(event, 1..80)
    }

    fn counted(is_large: bool, bytes: usize) -> usize {
        if is_large { bytes } else { 0 }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn what_is_held_is_what_bodies_hold_and_within_the_bound(events in events()) {
            let room = Room::new(ROOM);
            let mut open: Vec<(Pieces<'_>, Vec<u8>)> = Vec::new();
            let mut whole: Vec<Bytes> = Vec::new();
            for (step, event) in events.into_iter().enumerate() {
                match event {
                    Event::Begin { announced } => {
                        open.push((Pieces::new(&room, announced).unwrap(), Vec::new()));
                    }
                    Event::Piece { body, bytes } if body < open.len() => {
                        let piece = vec![u8::try_from(step).unwrap(); bytes];
                        let (pieces, sent) = &mut open[body];
                        match pieces.push(&piece) {
                            Ok(()) => sent.extend_from_slice(&piece),
                            // Who is refused is gone.
                            Err(Full) => drop(open.swap_remove(body)),
                        }
                    }
                    Event::Break { body } if body < open.len() => drop(open.swap_remove(body)),
                    Event::End { body } if body < open.len() => {
                        let (pieces, sent) = open.swap_remove(body);
                        let bytes = pieces.whole();
                        prop_assert!(bytes == sent, "other bytes than were sent");
                        whole.push(bytes);
                    }
                    Event::Share { whole: at } if at < whole.len() => {
                        whole.push(whole[at].slice(..whole[at].len() / 2));
                    }
                    Event::Drop { whole: at } if at < whole.len() => drop(whole.swap_remove(at)),
                    _ => {}
                }
                prop_assert!(room.held() <= ROOM);
                let arriving: usize = open
                    .iter()
                    .map(|(pieces, sent)| counted(matches!(pieces.kind, Kind::Large(_)), sent.len()))
                    .sum();
                prop_assert!(room.held() >= arriving);
                if whole.is_empty() {
                    prop_assert_eq!(room.held(), arriving);
                }
            }
            drop((open, whole));
            prop_assert_eq!(room.held(), 0, "something was not given back");
        }
    }

    #[test]
    fn a_full_room_refuses_and_stays_as_it_is() {
        let room = Room::new(300_000);
        let mut first = Pieces::new(&room, 200_000).unwrap();
        first.push(&vec![1; 200_000]).unwrap();
        let mut second = Pieces::new(&room, 0).unwrap();
        second.push(&vec![2; 100_000]).unwrap();
        assert_eq!((room.held(), second.push(&vec![2; 50_000])), (200_000, Err(Full)));
        assert_eq!((room.check(100_000), room.check(100_001)), (Ok(()), Err(Full)));
        let body = first.whole();
        drop(body.slice(..1));
        assert_eq!(room.held(), 200_000);
        assert_eq!(room.resized(150_000).check(1), Err(Full), "what it held is counted");
        drop(body);
        assert_eq!(room.held(), 0);
    }
}
