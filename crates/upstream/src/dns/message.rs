//! Questions and answers of the domain name system (RFC 1035), as much of them as asking for addresses
//! takes: one question, and the addresses at the end of its chain of aliases.
//!
//! What comes back was written by somebody else: every length is checked, names follow at most so many
//! pointers, and what is not understood is an error, never a guess.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
}

impl Kind {
    fn code(self) -> u16 {
        match self {
            Self::A => 1,
            Self::Aaaa => 28,
        }
    }
}

/// The type of an alias.
const CNAME: u16 = 5;
/// The only class there is.
const IN: u16 = 1;
/// A head's bytes.
const HEAD_BYTES: usize = 12;
/// A name's bytes on the wire, at most.
const NAME_BYTES_MAX: usize = 255;
/// Pointers that a name may follow: real ones follow two or three.
const POINTERS_MAX: usize = 32;
/// Aliases that an answer may pass through, as resolvers limit them, too.
const ALIASES_MAX: usize = 16;
/// The largest answer taken in one datagram: what fits every path without being cut in pieces.
pub(super) const DATAGRAM_BYTES: u16 = 1_232;

/// What an answer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said {
    /// These addresses; perhaps none of this kind.
    Addresses(Vec<IpAddr>),
    /// There is no such name.
    NoSuchName,
    /// The answer did not fit the datagram: it must be asked for over a connection.
    Truncated,
    /// The server would or could not answer: the code of the response.
    Refused(u8),
}

/// A name as it travels: its labels with their lengths, in lower case. None: no such name can exist.
pub(super) fn wire_name(text: &str) -> Option<Vec<u8>> {
    let text = text.strip_suffix('.').unwrap_or(text);
    let mut out = Vec::with_capacity(text.len() + 2);
    for label in text.split('.') {
        let length = u8::try_from(label.len()).ok().filter(|length| (1..=63).contains(length))?;
        out.push(length);
        out.extend(label.bytes().map(|byte| byte.to_ascii_lowercase()));
    }
    out.push(0);
    (out.len() <= NAME_BYTES_MAX).then_some(out)
}

/// A question, which allows answers of [`DATAGRAM_BYTES`].
pub(super) fn question(id: u16, name: &[u8], kind: Kind) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEAD_BYTES + name.len() + 15);
    // Recursion is wanted; one question, one additional record.
    let head = [id, 0x0100, 1, 0, 0, 1];
    out.extend(head.iter().flat_map(|word| word.to_be_bytes()));
    out.extend_from_slice(name);
    out.extend([kind.code(), IN].iter().flat_map(|word| word.to_be_bytes()));
    // EDNS0 (RFC 6891): root name, type OPT, the largest datagram, nothing else.
    out.push(0);
    out.extend([41, DATAGRAM_BYTES, 0, 0, 0].iter().flat_map(|word| word.to_be_bytes()));
    out
}

/// Reads the answer to a question. None: it is not the answer to this one, or cannot be read.
pub(super) fn read(answer: &[u8], id: u16, (name, kind): (&[u8], Kind)) -> Option<Said> {
    let mut at = Cursor { all: answer, at: 0 };
    let (its_id, flags) = (at.word()?, at.word()?);
    let (questions, answers) = (at.word()?, at.word()?);
    at.skip(4)?;
    let is_response = flags & 0x8000 != 0 && flags & 0x7800 == 0;
    if its_id != id || !is_response || questions != 1 {
        return None;
    }
    if at.name()? != name || at.word()? != kind.code() || at.word()? != IN {
        return None;
    }
    if flags & 0x0200 != 0 {
        return Some(Said::Truncated);
    }
    match flags & 0x000f {
        0 => records(&mut at, answers, (name, kind)).map(Said::Addresses),
        3 => Some(Said::NoSuchName),
        code => Some(Said::Refused(u8::try_from(code).unwrap_or(u8::MAX))),
    }
}

/// The addresses that the name leads to, directly or by aliases.
fn records(at: &mut Cursor<'_>, count: u16, (name, kind): (&[u8], Kind)) -> Option<Vec<IpAddr>> {
    let (mut aliases, mut addresses) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let owner = at.name()?;
        let (of, class) = (at.word()?, at.word()?);
        at.skip(4)?;
        let length = usize::from(at.word()?);
        let end = at.at.checked_add(length).filter(|end| *end <= at.all.len())?;
        if class == IN && of == CNAME {
            aliases.push((owner, at.name()?));
        } else if class == IN && of == kind.code() {
            addresses.push((owner, address(at.all.get(at.at..end)?, kind)?));
        }
        at.at = end;
    }
    let mut owner = name;
    for _ in 0..ALIASES_MAX {
        let Some((_, target)) = aliases.iter().find(|(alias, _)| alias == owner) else { break };
        owner = target;
    }
    Some(addresses.into_iter().filter(|(of, _)| of == owner).map(|(_, found)| found).collect())
}

fn address(data: &[u8], kind: Kind) -> Option<IpAddr> {
    match kind {
        Kind::A => <[u8; 4]>::try_from(data).ok().map(|octets| Ipv4Addr::from(octets).into()),
        Kind::Aaaa => <[u8; 16]>::try_from(data).ok().map(|octets| Ipv6Addr::from(octets).into()),
    }
}

/// Where reading is.
struct Cursor<'a> {
    all: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn word(&mut self) -> Option<u16> {
        let bytes = self.all.get(self.at..self.at.checked_add(2)?)?;
        self.at += 2;
        Some(u16::from_be_bytes(bytes.try_into().ok()?))
    }

    fn skip(&mut self, bytes: usize) -> Option<()> {
        self.at = self.at.checked_add(bytes).filter(|at| *at <= self.all.len())?;
        Some(())
    }

    /// A name in lower case, with its pointers followed.
    fn name(&mut self) -> Option<Vec<u8>> {
        let (mut out, mut at, mut pointers) = (Vec::new(), self.at, 0);
        loop {
            let length = *self.all.get(at)?;
            match length {
                0 => {
                    out.push(0);
                    if pointers == 0 {
                        self.at = at + 1;
                    }
                    return Some(out);
                }
                1..=63 => {
                    let end = at + 1 + usize::from(length);
                    out.push(length);
                    out.extend(self.all.get(at + 1..end)?.iter().map(u8::to_ascii_lowercase));
                    at = end;
                }
                0xc0.. => {
                    let low = *self.all.get(at + 1)?;
                    if pointers == 0 {
                        self.at = at + 2;
                    }
                    pointers += 1;
                    at = usize::from(u16::from_be_bytes([length & 0x3f, low]));
                }
                _ => return None,
            }
            if pointers > POINTERS_MAX || out.len() > NAME_BYTES_MAX {
                return None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: u16 = 0x1234;

    /// An answer to a question: records of (owner, type, data).
    fn answer(flags: u16, kind: Kind, records: &[(&[u8], u16, &[u8])]) -> Vec<u8> {
        let count = u16::try_from(records.len()).unwrap();
        let mut out: Vec<u8> =
            [ID, flags, 1, count, 0, 0].iter().flat_map(|word| word.to_be_bytes()).collect();
        out.extend(wire_name("gpus.models").unwrap());
        out.extend([kind.code(), IN].iter().flat_map(|word| word.to_be_bytes()));
        for (owner, of, data) in records {
            out.extend_from_slice(owner);
            let length = u16::try_from(data.len()).unwrap();
            out.extend([*of, IN, 0, 30, length].iter().flat_map(|word| word.to_be_bytes()));
            out.extend_from_slice(data);
        }
        out
    }

    fn said(answer: &[u8], kind: Kind) -> Option<Said> {
        read(answer, ID, (&wire_name("GPUs.models.").unwrap(), kind))
    }

    /// Points at the question's name.
    const QUESTION: &[u8] = &[0xc0, 12];

    #[test]
    fn addresses_are_read_and_follow_aliases() {
        let plain = answer(
            0x8180,
            Kind::A,
            &[(QUESTION, 1, &[10, 0, 0, 1]), (QUESTION, 1, &[10, 0, 0, 2])],
        );
        let expected = ["10.0.0.1", "10.0.0.2"].map(|text| text.parse().unwrap()).to_vec();
        assert_eq!(said(&plain, Kind::A), Some(Said::Addresses(expected)));
        let other = wire_name("pods.models").unwrap();
        let stranger = wire_name("stranger").unwrap();
        let aliased = answer(
            0x8180,
            Kind::Aaaa,
            &[
                (QUESTION, CNAME, &other),
                (&other, 28, &[0; 16]),
                (&stranger, 28, &[1; 16]),
                (&other, 1, &[10, 0, 0, 1]),
            ],
        );
        let expected = vec!["::".parse().unwrap()];
        assert_eq!(said(&aliased, Kind::Aaaa), Some(Said::Addresses(expected)));
    }

    #[test]
    fn what_is_no_list_of_addresses_is_told_apart() {
        assert_eq!(said(&answer(0x8180, Kind::A, &[]), Kind::A), Some(Said::Addresses(Vec::new())));
        assert_eq!(said(&answer(0x8183, Kind::A, &[]), Kind::A), Some(Said::NoSuchName));
        assert_eq!(said(&answer(0x8182, Kind::A, &[]), Kind::A), Some(Said::Refused(2)));
        assert_eq!(said(&answer(0x8380, Kind::A, &[]), Kind::A), Some(Said::Truncated));
        // A question, another question's answer, another id's.
        assert_eq!(said(&answer(0x0100, Kind::A, &[]), Kind::A), None);
        assert_eq!(said(&answer(0x8180, Kind::Aaaa, &[]), Kind::A), None);
        let name = wire_name("gpus.models").unwrap();
        assert_eq!(read(&answer(0x8180, Kind::A, &[]), 7, (&name, Kind::A)), None);
        // An address of the wrong length, and a pointer to itself.
        assert_eq!(said(&answer(0x8180, Kind::A, &[(QUESTION, 1, &[10, 0])]), Kind::A), None);
        let looped = answer(0x8180, Kind::A, &[(&[0xc0, 40], 1, &[10, 0, 0, 1])]);
        assert_eq!(said(&looped, Kind::A), None);
    }

    #[test]
    fn names_that_cannot_exist_are_not_asked_for() {
        assert!(wire_name("a..b").is_none() && wire_name("").is_none());
        assert!(wire_name(&"a".repeat(64)).is_none());
        assert!(wire_name(&["a"; 128].join(".")).is_none());
        assert_eq!(wire_name("A.b.").unwrap(), b"\x01a\x01b\0");
    }

    proptest::proptest! {
        #[test]
        fn no_answer_panics(
            bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200),
        ) {
            let mut answer = answer(0x8180, Kind::A, &[(QUESTION, 1, &[10, 0, 0, 1])]);
            let name = wire_name("gpus.models").unwrap();
            let _ = read(&bytes, ID, (&name, Kind::A));
            // Nearly right ones go deeper.
            for (at, byte) in bytes.iter().enumerate() {
                let places = answer.len();
                answer[(at * 7) % places] = *byte;
                let _ = read(&answer, ID, (&name, Kind::A));
            }
        }
    }
}
