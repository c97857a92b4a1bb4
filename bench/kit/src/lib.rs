//! The bench kit: what the load client and the mock upstream are made of.
//!
//! Here: a monotonic clock, header look-up, a chunked decoder.

use std::io;

pub mod ask;
pub mod client;
pub mod tally;
pub mod timer;

/// CLOCK_MONOTONIC in nanoseconds: one clock for every process of the machine.
pub fn now_ns() -> u64 {
    let mut ts = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `ts` is a valid timespec to write to.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut ts) };
    ts.tv_sec as u64 * 1_000_000_000 + ts.tv_nsec as u64
}

pub fn header<'a>(headers: &[httparse::Header<'a>], name: &str) -> Option<&'a [u8]> {
    headers.iter().find(|h| h.name.eq_ignore_ascii_case(name)).map(|h| h.value)
}

pub fn contains_token(value: &[u8], token: &str) -> bool {
    value.windows(token.len()).any(|w| w.eq_ignore_ascii_case(token.as_bytes()))
}

pub fn parse_usize(v: &[u8]) -> Option<usize> {
    std::str::from_utf8(v).ok()?.trim().parse().ok()
}

pub fn bad(msg: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, msg)
}

/// Incremental decoder of HTTP/1.1 chunked bodies.
#[derive(Default)]
pub struct Chunked {
    state: St,
    left: usize,
    line: Vec<u8>,
}

#[derive(Default, PartialEq, Clone, Copy)]
enum St {
    #[default]
    Size,
    Data,
    DataEnd,
    Trailer,
    Done,
}

impl Chunked {
    pub fn done(&self) -> bool {
        self.state == St::Done
    }

    /// Takes what it can of `input`, appends body bytes to `out`; returns how many bytes it used.
    pub fn feed(&mut self, input: &[u8], out: &mut Vec<u8>) -> io::Result<usize> {
        let mut i = 0;
        while i < input.len() && self.state != St::Done {
            match self.state {
                St::Data => {
                    let n = self.left.min(input.len() - i);
                    out.extend_from_slice(&input[i..i + n]);
                    i += n;
                    self.left -= n;
                    if self.left == 0 {
                        self.state = St::DataEnd;
                    }
                }
                _ => {
                    let b = input[i];
                    i += 1;
                    if b != b'\n' {
                        if b != b'\r' {
                            self.line.push(b);
                        }
                        continue;
                    }
                    let line = std::mem::take(&mut self.line);
                    match self.state {
                        St::DataEnd => self.state = St::Size,
                        St::Size => {
                            let hex = line.split(|&c| c == b';').next().unwrap_or(&[]);
                            let s = std::str::from_utf8(hex).map_err(|_| bad("chunk size"))?;
                            self.left = usize::from_str_radix(s.trim(), 16)
                                .map_err(|_| bad("chunk size"))?;
                            self.state = if self.left == 0 { St::Trailer } else { St::Data };
                        }
                        St::Trailer => {
                            if line.is_empty() {
                                self.state = St::Done;
                            }
                        }
                        _ => {}
                    }
                }
            }
        }
        Ok(i)
    }
}
