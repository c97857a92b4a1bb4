//! From a unit to a bucket: integer only, the same on every machine and in every release.
//!
//! `bucket = (murmur3_32(salt ":" use case ":" unit) * 10_000) >> 32`, so that bucket b belongs to the
//! candidate when `b < weight in basis points`. An arm owns a prefix of the buckets: a larger weight
//! only adds units. MurmurHash3 (Austin Appleby, public domain) is what feature-flag systems use for
//! this (Unleash, flagd), with good spread on short ids.

use std::hash::Hasher;

use cutover_units::WeightBp;
use siphasher::sip::SipHasher24;

/// The number of buckets; one is one basis point.
pub const BUCKETS: u16 = 10_000;

/// What a hash is for. Purposes have separate salts: otherwise the users of an early ramp would
/// also be the ones whose traffic is shadowed, and never anybody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Which arm a unit belongs to.
    Arm,
    /// Whether a unit takes part at all.
    Eligibility,
    /// Whether a unit's requests are copied to the candidate.
    Shadow,
}

impl Purpose {
    fn salt(self) -> &'static [u8] {
        match self {
            Self::Arm => b"arm",
            Self::Eligibility => b"eligibility",
            Self::Shadow => b"shadow",
        }
    }
}

/// The bucket of a unit, 0 to 9,999.
pub fn bucket(purpose: Purpose, salt: &str, unit: &str) -> u16 {
    let mut hash = Murmur3::default();
    for part in [purpose.salt(), b":", salt.as_bytes(), b":", unit.as_bytes()] {
        hash.push(part);
    }
    let scaled = (u64::from(hash.finish()) * u64::from(BUCKETS)) >> 32;
    // The product of a 32-bit value and 10,000, shifted by 32, is below 10,000.
    u16::try_from(scaled).unwrap_or(BUCKETS - 1)
}

/// Whether a bucket is the candidate's at a weight.
pub fn candidate_owns(bucket: u16, weight: WeightBp) -> bool {
    bucket < weight.basis_points()
}

/// What a record keeps of a unit: a keyed hash (SipHash-2-4), so that the store holds no customer id
/// and nobody without the installation's key can test a guess.
pub fn unit_hash(key: &[u8; 16], unit: &str) -> u64 {
    let mut hash = SipHasher24::new_with_key(key);
    hash.write(unit.as_bytes());
    hash.finish()
}

/// MurmurHash3 x86 32-bit, seed 0, fed in pieces.
#[derive(Default)]
struct Murmur3 {
    state: u32,
    /// What does not fill a block yet, in its lowest bits.
    tail: u64,
    tail_bits: u32,
    total_bytes: u32,
}

impl Murmur3 {
    fn push(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<4>();
        for word in words {
            // Wherever the piece before ended, a block is what comes next.
            self.tail |= u64::from(u32::from_le_bytes(*word)) << self.tail_bits;
            self.block();
        }
        for byte in rest {
            self.tail |= u64::from(*byte) << self.tail_bits;
            self.tail_bits += 8;
            if self.tail_bits == 32 {
                self.block();
                self.tail_bits = 0;
            }
        }
        let pushed = u32::try_from(bytes.len() % (1 << 32)).unwrap_or(u32::MAX);
        self.total_bytes = self.total_bytes.wrapping_add(pushed);
    }

    fn block(&mut self) {
        self.state ^= scramble(low(self.tail));
        self.state = self.state.rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64);
        self.tail >>= 32;
    }

    fn finish(mut self) -> u32 {
        if self.tail_bits > 0 {
            self.state ^= scramble(low(self.tail));
        }
        let mut h = self.state ^ self.total_bytes;
        h ^= h >> 16;
        h = h.wrapping_mul(0x85eb_ca6b);
        h ^= h >> 13;
        h = h.wrapping_mul(0xc2b2_ae35);
        h ^ (h >> 16)
    }
}

/// The lowest 32 bits.
fn low(bits: u64) -> u32 {
    u32::try_from(bits & 0xffff_ffff).unwrap_or(0)
}

fn scramble(block: u32) -> u32 {
    block.wrapping_mul(0xcc9e_2d51).rotate_left(15).wrapping_mul(0x1b87_3593)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn murmur3(bytes: &[u8]) -> u32 {
        let mut hash = Murmur3::default();
        hash.push(bytes);
        hash.finish()
    }

    #[test]
    fn murmur3_agrees_with_published_vectors() {
        // Seed 0, from the reference implementation's test values.
        assert_eq!(murmur3(b""), 0);
        assert_eq!(murmur3(b"test"), 0xba6b_d213);
        assert_eq!(murmur3(b"Hello, world!"), 0xc036_3e43);
        assert_eq!(murmur3(b"The quick brown fox jumps over the lazy dog"), 0x2e4f_f723);
    }

    proptest! {
        #[test]
        fn pieces_hash_as_the_whole(pieces in prop::collection::vec("[a-z]{0,9}", 0..6)) {
            let mut hash = Murmur3::default();
            for piece in &pieces {
                hash.push(piece.as_bytes());
            }
            prop_assert_eq!(hash.finish(), murmur3(pieces.concat().as_bytes()));
        }
    }

    #[test]
    fn buckets_never_change_between_releases() {
        assert_eq!(bucket(Purpose::Arm, "statements", "customer-1"), 4_480);
        assert_eq!(bucket(Purpose::Arm, "statements", "customer-2"), 8_037);
    }

    #[test]
    fn buckets_spread_evenly() {
        let mut tenths = [0u32; 10];
        for n in 0..100_000 {
            tenths[usize::from(bucket(Purpose::Arm, "s", &format!("u{n}")) / 1_000)] += 1;
        }
        // 10,000 expected each, standard deviation 95: five of them.
        assert!(tenths.iter().all(|&n| n.abs_diff(10_000) < 475), "{tenths:?}");
    }

    #[test]
    fn purposes_are_independent() {
        // Of the units below 10 % by arm, a tenth are below 10 % by shadow, not all of them.
        let early: Vec<_> = (0..20_000)
            .map(|n| format!("u{n}"))
            .filter(|u| bucket(Purpose::Arm, "s", u) < 1_000)
            .collect();
        let both = early.iter().filter(|u| bucket(Purpose::Shadow, "s", u) < 1_000).count();
        let share = both as f64 / early.len() as f64;
        assert!((0.07..0.13).contains(&share), "{share}");
    }

    proptest! {
        #[test]
        fn growing_a_weight_moves_no_unit_back(unit in ".{0,40}", a in 0u16..=10_000, b in 0u16..=10_000) {
            let (small, large) = (a.min(b), a.max(b));
            let at = bucket(Purpose::Arm, "salt", &unit);
            let owns = |bp| candidate_owns(at, WeightBp::new(bp).unwrap());
            prop_assert!(!owns(small) || owns(large));
            prop_assert!(at < BUCKETS);
        }

        #[test]
        fn pieces_hash_like_the_whole(text in prop::collection::vec(any::<u8>(), 0..60), cut in 0usize..60) {
            let cut = cut.min(text.len());
            let mut hash = Murmur3::default();
            hash.push(&text[..cut]);
            hash.push(&text[cut..]);
            prop_assert_eq!(hash.finish(), murmur3(&text));
        }
    }
}
