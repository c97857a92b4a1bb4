//! What `/proc/self/smaps` tells of the mappings.

/// A mapping.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Mapping {
    pub(crate) start: usize,
    pub(crate) end: usize,
    /// As `r-xp`.
    rights: [u8; 4],
    of_file: bool,
    pub(crate) resident_kb: u64,
    /// Pages that are no longer the file's; None: the kernel did not say.
    own_kb: Option<u64>,
    swapped_kb: Option<u64>,
}

impl Mapping {
    /// Whether it is the same part of memory, with the same rights.
    pub(crate) fn is_where(&self, other: &Self) -> bool {
        let place = |mapping: &Self| (mapping.start, mapping.end, mapping.rights);
        self.of_file && place(self) == place(other)
    }

    /// Whether all of it stands in a file, unchanged, and is worth unmapping.
    pub(crate) fn can_be_read_again(&self) -> bool {
        let [read, write, _, shared] = self.rights;
        let untouchable = read == b'r' && write == b'-' && shared == b'p';
        let unchanged = self.own_kb == Some(0) && self.swapped_kb == Some(0);
        self.of_file && untouchable && unchanged && self.resident_kb > 0
    }
}

/// The mappings of a text of that form. Lines that are not understood change nothing.
pub(crate) fn mappings(text: &str) -> impl Iterator<Item = Mapping> {
    let mut lines = text.lines().peekable();
    std::iter::from_fn(move || {
        let mut mapping = lines.by_ref().find_map(head)?;
        while let Some(line) = lines.next_if(|line| head(line).is_none()) {
            let mut words = line.split_ascii_whitespace();
            let (name, kb) = (words.next(), words.next().and_then(|n| n.parse().ok()));
            match name {
                Some("Rss:") => mapping.resident_kb = kb.unwrap_or(0),
                Some("Anonymous:") => mapping.own_kb = kb,
                Some("Swap:") => mapping.swapped_kb = kb,
                _ => {}
            }
        }
        Some(mapping)
    })
}

/// `55d0-55d4 r-xp 00001000 fe:00 123   /usr/bin/cutover`.
fn head(line: &str) -> Option<Mapping> {
    let mut words = line.split_ascii_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let address = |text| usize::from_str_radix(text, 16).ok();
    let rights = words.next()?.as_bytes().try_into().ok()?;
    let (_offset, _device) = (words.next()?, words.next()?);
    let inode: u64 = words.next()?.parse().ok()?;
    let of_file = inode != 0 && words.next().is_some_and(|path| path.starts_with('/'));
    let (start, end) = (address(start)?, address(end)?);
    (start < end).then(|| Mapping { start, end, rights, of_file, ..Mapping::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(head: &str, own: &str, swap: &str) -> bool {
        let text = format!(
            "{head}\nSize:   8 kB\nRss:    8 kB\nAnonymous:  {own} kB\nSwap:   {swap} kB\nVmFlags: rd mr\n"
        );
        let all: Vec<_> = mappings(&text).collect();
        assert_eq!(all.len(), 1, "{text}");
        all[0].can_be_read_again()
    }

    #[test]
    fn only_what_stands_unchanged_in_a_file_is_given_back() {
        let program = "08048000-0804a000 r-xp 00001000 fe:00 71 /usr/bin/cutover";
        assert!(one(program, "0", "0"));
        assert!(one(&program.replace("r-x", "r--"), "0", "0"));
        assert!(!one(program, "4", "0"), "a breakpoint, or an address that the loader wrote");
        assert!(!one(program, "0", "4"), "the same, swapped out");
        assert!(!one(program, "?", "0"), "the kernel does not say");
        assert!(!one(&program.replace("r-x", "rw-"), "0", "0"));
        assert!(!one(&program.replace("r-x", "---"), "0", "0"));
        assert!(
            !one(&program.replace("r-xp", "r-xs"), "0", "0"),
            "another process may write to it"
        );
        assert!(!one("08048000-0804a000 r-xp 00000000 00:00 0 [vdso]", "0", "0"));
        assert!(!one("08048000-0804a000 r--p 00000000 00:00 0", "0", "0"));
    }

    #[test]
    fn mappings_are_told_apart() {
        let text = "\
00400000-00401000 r--p 00000000 fe:00 7 /bin/a b
Rss:                   4 kB
Anonymous:             0 kB
Swap:                  0 kB
00401000-00403000 rw-p 00001000 fe:00 7 /bin/a b
Rss:                   8 kB
Anonymous:             8 kB
Swap:                  0 kB
7fff00000000-7fff00001000 r-xp 00000000 00:00 0 [vdso]
nonsense
";
        let all: Vec<_> = mappings(text).collect();
        assert_eq!(all.len(), 3);
        assert_eq!((all[0].start, all[0].end, all[0].resident_kb), (0x40_0000, 0x40_1000, 4));
        assert_eq!((all[1].resident_kb, all[1].own_kb), (8, Some(8)));
        assert_eq!(all.iter().filter(|m| m.can_be_read_again()).count(), 1);
        assert_eq!(mappings("").count(), 0);
        assert_eq!(mappings("Rss: 4 kB\n").count(), 0);
    }
}
