//! The program's own pages: those that only its start used are given back to the kernel.
//!
//! A program is mapped, not read: a page counts as resident once it was touched, and the kernel maps its
//! neighbours in the same 64 kB along with it. What reads a configuration, prepares a database and prints
//! a greeting is touched once, and stays resident for as long as nothing else wants the memory.
//! [`Program::give_back`] unmaps all of the program's read-only pages (and its libraries'); what requests
//! need is mapped again from the kernel's cache when it is needed, at a microsecond for each 64 kB.
//!
//! This is the one place with `unsafe` code. Two invariants. Only mappings are unmapped that are private,
//! that cannot be written to, that belong to a file, and of which not one page differs from the file: the
//! kernel says so of each (`Anonymous` and `Swap` in `/proc/self/smaps`). Reading them again brings the
//! same bytes. Tables that the loader filled in and then protected are no such mapping. And only mappings
//! that the program was started with ([`Program::at_start`]): they last as long as the process. What is
//! opened later (a driver's library, the resolver's) may be relocated or closed by another thread between
//! the look at it and the unmapping, and its addresses hold that thread's data then.

use std::io;

mod smaps;

use smaps::Mapping;

/// The mappings that the program was started with.
#[derive(Debug)]
pub struct Program(Vec<Mapping>);

impl Program {
    /// Looks at them: before anything was opened at run time, and while nothing is.
    ///
    /// # Errors
    ///
    /// If the kernel does not tell of the mappings. Where it has no `/proc` it is asked for nothing.
    pub fn at_start() -> io::Result<Self> {
        imp::mappings().map(Self)
    }

    /// Gives their read-only pages back. The result is how many bytes of them were resident.
    ///
    /// On other systems than Linux nothing happens.
    ///
    /// # Errors
    ///
    /// If the kernel does not tell of the mappings, or refuses; nothing is lost then.
    pub fn give_back(&self) -> io::Result<u64> {
        let mut given = 0;
        for mapping in imp::mappings()?.iter().filter(|now| self.may_give(now)) {
            imp::drop_pages(mapping)?;
            given += mapping.resident_kb * 1024;
        }
        Ok(given)
    }

    fn may_give(&self, now: &Mapping) -> bool {
        now.can_be_read_again() && self.0.iter().any(|first| first.is_where(now))
    }
}

#[cfg(target_os = "linux")]
mod imp {
    use std::ffi::c_void;
    use std::io;

    use rustix::mm::{Advice, madvise};

    use crate::smaps::{self, Mapping};

    pub(crate) fn mappings() -> io::Result<Vec<Mapping>> {
        Ok(smaps::mappings(&std::fs::read_to_string("/proc/self/smaps")?).collect())
    }

    #[expect(unsafe_code, reason = "there is no safe way to unmap pages of the program itself")]
    pub(crate) fn drop_pages(mapping: &Mapping) -> io::Result<()> {
        let start = std::ptr::with_exposed_provenance_mut::<c_void>(mapping.start);
        // SAFETY: the mapping is private, read-only, backed by a file, and none of its pages is a copy
        // of our own: the kernel reads the same bytes again from the file when they are touched next.
        // It is one of those that the loader made before `main`, which nobody unmaps and into which
        // nobody writes between the look at them and here.
        unsafe { madvise(start, mapping.end - mapping.start, Advice::LinuxDontNeed) }?;
        Ok(())
    }
}

#[cfg(not(target_os = "linux"))]
mod imp {
    use std::io;

    use crate::smaps::Mapping;

    pub(crate) fn mappings() -> io::Result<Vec<Mapping>> {
        Ok(Vec::new())
    }

    pub(crate) fn drop_pages(_: &Mapping) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    /// Something to find in the program's read-only data.
    static WORDS: [&str; 3] = ["one", "two", "three"];

    #[test]
    fn the_program_goes_on_after_its_pages_were_given_back() {
        let before = std::hint::black_box(&WORDS).concat();
        let program = Program::at_start().unwrap();
        let worker = std::thread::spawn(|| (0..2_000_u64).map(std::hint::black_box).sum::<u64>());
        assert!(program.give_back().unwrap() > 0);
        assert_eq!(std::hint::black_box(&WORDS).concat(), before);
        assert_eq!(worker.join().unwrap(), 1_999_000);
        // A second time there is less to give: only what this test has touched since.
        assert!(program.give_back().unwrap() > 0);
        assert!("12,5".parse::<f64>().is_err());
    }

    #[test]
    fn what_was_opened_later_is_left_alone() {
        let mut all = imp::mappings().unwrap();
        let later = all.iter().position(Mapping::can_be_read_again).unwrap();
        let later = all.remove(later);
        let program = Program(all);
        assert!(!program.may_give(&later), "a library may be closed, and its place be another's");
        assert!(program.0.iter().any(|mapping| program.may_give(mapping)));
    }
}
