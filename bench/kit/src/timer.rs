//! Waiting for a moment, to the nanosecond.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use tokio::io::unix::AsyncFd;

use crate::now_ns;

/// A timer with nanosecond steps (tokio's own has 1 ms).
pub struct Timer(AsyncFd<OwnedFd>);

impl Timer {
    pub fn new() -> io::Result<Timer> {
        // SAFETY: timerfd_create returns a new descriptor or -1.
        let fd = unsafe {
            libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_NONBLOCK | libc::TFD_CLOEXEC)
        };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: `fd` is open and owned by nothing else.
        Ok(Timer(unsafe { AsyncFd::register(OwnedFd::from_raw_fd(fd)) }?))
    }

    pub async fn until(&self, at: u64) -> io::Result<()> {
        if now_ns() >= at {
            return Ok(());
        }
        let spec = libc::itimerspec {
            it_interval: libc::timespec { tv_sec: 0, tv_nsec: 0 },
            it_value: libc::timespec {
                tv_sec: (at / 1_000_000_000) as i64,
                tv_nsec: (at % 1_000_000_000) as i64,
            },
        };
        // SAFETY: a valid timer descriptor and a valid spec.
        if unsafe {
            libc::timerfd_settime(
                self.0.as_raw_fd(),
                libc::TFD_TIMER_ABSTIME,
                &spec,
                std::ptr::null_mut(),
            )
        } < 0
        {
            return Err(io::Error::last_os_error());
        }
        loop {
            let mut g = self.0.readable().await?;
            let mut n = [0u8; 8];
            let r = g.try_io(|fd| {
                // SAFETY: reads at most 8 bytes into `n`.
                let r = unsafe { libc::read(fd.as_raw_fd(), n.as_mut_ptr().cast(), 8) };
                if r < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
            });
            if let Ok(r) = r {
                return r;
            }
        }
    }
}
