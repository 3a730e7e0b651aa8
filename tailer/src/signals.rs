//! Signals: what ends the program, and what makes it read its configuration again.

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use nix::libc::{SIGHUP, SIGINT, SIGIO, SIGTERM};
use signal_hook::flag;
use signal_hook_mio::v1_0::Signals;
use standpipe_common::error::{Cannot, Result};

/// What somebody asked by a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// TERM, INT: stop in order.
    Stop,
    /// HUP: read the configuration again. HUP with the end of the terminal that it was started at means to stop.
    Reread,
}

/// The signals, for the poll set.
pub struct Inbox {
    /// To be registered.
    pub source: Signals,
    /// Whether it was started at a terminal.
    has_terminal: bool,
}

/// Whether standard input or error is a terminal that has not been hung up.
fn is_at_terminal() -> bool {
    io::stdin().is_terminal() || io::stderr().is_terminal()
}

impl Inbox {
    /// Takes over the signals. A second TERM or INT ends the program at once, whatever it is at.
    pub fn new() -> Result<Inbox> {
        Inbox::take_over().cannot("take over", "signals")
    }

    fn take_over() -> io::Result<Inbox> {
        let stopping = Arc::new(AtomicBool::new(false));
        for signal in [SIGTERM, SIGINT] {
            // In this order: the first one sets the flag, the second one finds it set.
            flag::register_conditional_shutdown(signal, 0, Arc::clone(&stopping))?;
            flag::register(signal, Arc::clone(&stopping))?;
        }
        // A lease that is broken while we hold it raises this one, which would kill us.
        flag::register(SIGIO, Arc::new(AtomicBool::new(false)))?;
        Ok(Inbox { source: Signals::new([SIGTERM, SIGINT, SIGHUP])?, has_terminal: is_at_terminal() })
    }

    /// What was asked since the last time.
    pub fn asked(&mut self) -> Vec<Ask> {
        let is_left = self.has_terminal && !is_at_terminal();
        let ask = |signal| if signal == SIGHUP && !is_left { Ask::Reread } else { Ask::Stop };
        self.source.pending().map(ask).collect()
    }
}
