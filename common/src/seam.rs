//! The door through which tests make the kernel fail: every step that changes a disk or a mailbox passes a named
//! point here first.
//!
//! In a release without the feature `test-seams` every function is empty and vanishes. Otherwise the file named by
//! `STANDPIPE_TEST_FAULTS`, read anew at each pass so that a fault can heal, has one fault a line:
//!
//! ```text
//! kill   POINT N        SIGKILL to ourselves at the N-th pass of POINT, before its action
//! half   POINT N        do half of that write, then the same
//! ENOSPC POINT N COUNT  fail so, COUNT times from the N-th pass on (any errno's name)
//! delay  POINT MS       sleep so long at each pass
//! touch  POINT PATH     make that file at each pass, if we may
//! ```
//! `*` is any point. With `STANDPIPE_TEST_TRACE` the name of each point passed is appended to that file.

pub use imp::*;

#[cfg(not(any(debug_assertions, feature = "test-seams")))]
mod imp {
    use std::io;

    /// Nothing, in a release.
    #[inline]
    pub fn pass(_point: &'static str) -> io::Result<()> {
        Ok(())
    }

    /// All of it, in a release.
    #[inline]
    pub fn pass_write(_point: &'static str, len: usize) -> io::Result<usize> {
        Ok(len)
    }

    /// Never called in a release: no write is cut short there.
    #[inline]
    pub fn die() {}
}

#[cfg(any(debug_assertions, feature = "test-seams"))]
mod imp {
    use std::collections::HashMap;
    use std::fs::{self, File, OpenOptions};
    use std::io::{self, Write};
    use std::sync::{LazyLock, Mutex};
    use std::thread;
    use std::time::Duration;

    use nix::errno::Errno;
    use nix::sys::signal::{Signal, raise};

    static PASSES: LazyLock<Mutex<HashMap<&'static str, u64>>> = LazyLock::new(Mutex::default);
    static FAULTS: LazyLock<Option<std::ffi::OsString>> = LazyLock::new(|| std::env::var_os("STANDPIPE_TEST_FAULTS"));
    /// Kept open, for later it could not be opened out of the sandbox.
    static TRACE: LazyLock<Option<File>> = LazyLock::new(|| {
        let path = std::env::var_os("STANDPIPE_TEST_TRACE")?;
        OpenOptions::new().append(true).create(true).open(path).ok()
    });

    /// Passes a point; the error is the one that a test asked for.
    pub fn pass(point: &'static str) -> io::Result<()> {
        pass_write(point, 0).map(drop)
    }

    /// Passes a point before a write of `len` bytes: how many of them are to be written before [`die`].
    pub fn pass_write(point: &'static str, len: usize) -> io::Result<usize> {
        if FAULTS.is_none() && TRACE.is_none() {
            return Ok(len);
        }
        let (any, own) = count(point);
        if let Some(mut trace) = TRACE.as_ref() {
            trace.write_all(format!("{point}\n").as_bytes())?;
        }
        let Some(path) = &*FAULTS else { return Ok(len) };
        for line in fs::read_to_string(path).unwrap_or_default().lines() {
            let mut words = line.split_whitespace();
            let (Some(action), Some(place)) = (words.next(), words.next()) else { continue };
            if action == "touch" && place == point {
                words.next().map(File::create);
                continue;
            }
            let pass = match place {
                "*" => any,
                name if name == point => own,
                _ => continue,
            };
            let mut number = |default| words.next().and_then(|word| word.parse().ok()).unwrap_or(default);
            let first: u64 = number(1);
            match action {
                "kill" if pass == first => die(),
                "half" if pass == first && len > 0 => return Ok(len / 2),
                "kill" | "half" => {}
                "delay" => thread::sleep(Duration::from_millis(first)),
                errno => {
                    if (first..first.saturating_add(number(1))).contains(&pass) {
                        return Err(named(errno).into());
                    }
                }
            }
        }
        Ok(len)
    }

    /// SIGKILL, as from outside.
    pub fn die() {
        raise(Signal::SIGKILL).ok();
    }

    fn count(point: &'static str) -> (u64, u64) {
        let mut passes = PASSES.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut bump = |name| {
            let n = passes.entry(name).or_default();
            *n += 1;
            *n
        };
        (bump("*"), bump(point))
    }

    fn named(name: &str) -> Errno {
        [Errno::ENOSPC, Errno::EDQUOT, Errno::EROFS, Errno::EACCES, Errno::ENODEV, Errno::EOPNOTSUPP, Errno::EMFILE]
            .into_iter()
            .find(|errno| format!("{errno:?}") == name)
            .unwrap_or(Errno::EIO)
    }
}
