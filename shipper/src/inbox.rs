//! What wakes the loop beside the logs: signals, and turns that are done.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::libc::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::low_level::pipe;
use standpipe_common::error::{Cannot, Result};

/// Whatever wakes the loop writes a byte into it.
pub struct Inbox {
    reader: UnixStream,
    bell: Bell,
    stopping: Arc<AtomicBool>,
    hung_up: Arc<AtomicBool>,
}

/// Wakes the loop, from any thread.
pub struct Bell(UnixStream);

impl Bell {
    /// The loop has something to do.
    pub fn ring(&self) {
        // Full: it is about to wake anyway.
        (&self.0).write_all(&[0]).ok();
    }

    /// Another one.
    pub fn try_clone(&self) -> Result<Bell> {
        Ok(Bell(self.0.try_clone().cannot("wait for", "turns")?))
    }
}

impl Inbox {
    /// Takes over the signals. A second TERM or INT ends the program at once, whatever it is at.
    pub fn new() -> Result<Inbox> {
        Inbox::take_over().cannot("take over", "signals")
    }

    fn take_over() -> io::Result<Inbox> {
        let (reader, writer) = UnixStream::pair()?;
        reader.set_nonblocking(true)?;
        writer.set_nonblocking(true)?;
        let [stopping, hung_up] = [(); 2].map(|()| Arc::new(AtomicBool::new(false)));
        for signal in [SIGTERM, SIGINT] {
            // In this order: the first one sets the flag, the second one finds it set.
            flag::register_conditional_shutdown(signal, 0, Arc::clone(&stopping))?;
            flag::register(signal, Arc::clone(&stopping))?;
            pipe::register(signal, writer.try_clone()?)?;
        }
        flag::register(SIGHUP, Arc::clone(&hung_up))?;
        pipe::register(SIGHUP, writer.try_clone()?)?;
        Ok(Inbox { reader, bell: Bell(writer), stopping, hung_up })
    }

    /// What rings it.
    pub fn bell(&self) -> &Bell {
        &self.bell
    }

    /// Set once the program is to end.
    pub fn stopping(&self) -> &Arc<AtomicBool> {
        &self.stopping
    }

    /// What signals asked for. Whoever rang is forgotten first: what they ring for is to be looked at after this.
    pub fn asked(&self) -> Asked {
        let mut bytes = [0; 64];
        while (&self.reader).read(&mut bytes).is_ok_and(|read| read > 0) {}
        if self.stopping.load(Ordering::Relaxed) {
            Asked::Stop
        } else if self.hung_up.swap(false, Ordering::Relaxed) {
            Asked::Reread
        } else {
            Asked::Nothing
        }
    }
}

/// What signals ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// None came since this was asked last.
    Nothing,
    /// HUP: what may have changed is read again.
    Reread,
    /// TERM or INT.
    Stop,
}

impl AsFd for Inbox {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
}
