//! Signals of the programs that drain: what ends them, what is harmless, what a bus error means.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use nix::libc::{SIGALRM, SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::flag;
use signal_hook_mio::v1_0::Signals;
use standpipe_common::error::{Cannot, EXIT_IO, Result};
use standpipe_common::sys;

/// What somebody asked by a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// TERM, INT: stop in order.
    Stop,
    /// HUP: reread.
    Reread,
    /// ALRM: rotate.
    Rotate,
}

/// The signals, for the poll set.
pub struct Inbox {
    /// To be registered.
    pub source: Signals,
}

impl Inbox {
    /// Takes over the signals. `root` is named if a store into a mailbox fails.
    pub fn new(root: &Path) -> Result<Inbox> {
        Inbox::take_over(root).cannot("take over signals for", root)
    }

    fn take_over(root: &Path) -> io::Result<Inbox> {
        let stopping = Arc::new(AtomicBool::new(false));
        for signal in [SIGTERM, SIGINT] {
            // In this order: the first one sets the flag, the second one finds it set and stops at once, whatever we
            // are at.
            flag::register_conditional_shutdown(signal, 0, Arc::clone(&stopping))?;
            flag::register(signal, Arc::clone(&stopping))?;
        }
        // A handler instead of death: the write fails with EFBIG.
        flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)))?;
        let sentence = format!("reader: error: cannot write a mailbox in {}: its disk failed\n", root.display());
        sys::exit_on_bus_error(sentence, i32::from(EXIT_IO))?;
        let source = Signals::new([SIGTERM, SIGINT, SIGHUP, SIGALRM])?;
        Ok(Inbox { source })
    }

    /// What was asked since the last time.
    pub fn asked(&mut self) -> Vec<Ask> {
        let mut asked = Vec::new();
        for signal in self.source.pending() {
            asked.push(match signal {
                SIGHUP => Ask::Reread,
                SIGALRM => Ask::Rotate,
                _ => Ask::Stop,
            });
        }
        asked
    }
}
