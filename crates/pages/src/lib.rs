//! The program's own pages: those that only its start used are given back to the kernel.
//!
//! A program is mapped, not read: a page counts as resident once it was touched, and the kernel maps its
//! neighbours in the same 64 kB along with it. What reads a configuration, prepares a database and prints
//! a greeting is touched once, and stays resident for as long as nothing else wants the memory.
//! [`give_back`] unmaps all of the program's read-only pages (and its libraries'); what requests need is
//! mapped again from the kernel's cache when it is needed, at a microsecond for each 64 kB.
//!
//! This is the one place with `unsafe` code. Invariant: only mappings are unmapped that are private, that
//! cannot be written to, that belong to a file, and of which not one page differs from the file: the
//! kernel says so of each (`Anonymous` and `Swap` in `/proc/self/smaps`). Reading them again brings the
//! same bytes. Tables that the loader filled in and then protected are no such mapping.

use std::io;

mod smaps;

/// Gives the program's read-only pages back. The result is how many bytes of them were resident.
///
/// Where the kernel has no `/proc`, and on other systems than Linux, nothing happens.
///
/// # Errors
///
/// If the kernel does not tell of the mappings, or refuses; nothing is lost then.
pub fn give_back() -> io::Result<u64> {
    imp::give_back()
}

#[cfg(target_os = "linux")]
mod imp {
    use std::ffi::c_void;
    use std::io;

    use rustix::mm::{Advice, madvise};

    use crate::smaps::{self, Mapping};

    pub(crate) fn give_back() -> io::Result<u64> {
        let text = std::fs::read_to_string("/proc/self/smaps")?;
        let mut given = 0;
        for mapping in smaps::mappings(&text).filter(Mapping::can_be_read_again) {
            drop_pages(&mapping)?;
            given += mapping.resident_kb * 1024;
        }
        Ok(given)
    }

    #[expect(unsafe_code, reason = "there is no safe way to unmap pages of the program itself")]
    fn drop_pages(mapping: &Mapping) -> io::Result<()> {
        let start = std::ptr::with_exposed_provenance_mut::<c_void>(mapping.start);
        // SAFETY: the mapping is private, read-only, backed by a file, and none of its pages is a copy
        // of our own: the kernel reads the same bytes again from the file when they are touched next.
        // A file that is executed cannot be written to. Nobody writes into these mappings between the
        // look at them and here, for nobody may.
        unsafe { madvise(start, mapping.end - mapping.start, Advice::LinuxDontNeed) }?;
        Ok(())
    }
}

#[cfg(not(target_os = "linux"))]
mod imp {
    use std::io;

    pub(crate) fn give_back() -> io::Result<u64> {
        Ok(0)
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
        let worker = std::thread::spawn(|| (0..2_000_u64).map(std::hint::black_box).sum::<u64>());
        assert!(give_back().unwrap() > 0);
        assert_eq!(std::hint::black_box(&WORDS).concat(), before);
        assert_eq!(worker.join().unwrap(), 1_999_000);
        // A second time there is less to give: only what this test has touched since.
        assert!(give_back().unwrap() > 0);
        assert!("12,5".parse::<f64>().is_err());
    }
}
