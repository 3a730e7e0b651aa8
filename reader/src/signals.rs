//! Signals of the programs that drain: what ends them, what is harmless, what a bus error means.
//!
//! A terminal sends INT and QUIT to every program of a pipeline at once, and the server's last lines come after that.
//! So the reader of standard input takes the first of them for the server's, and only the second for its own.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::libc::{SIGALRM, SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::flag;
use signal_hook_mio::v1_0::Signals;
use standpipe_common::error::{Cannot, EXIT_IO, Result};
use standpipe_common::shown::Shown as _;
use standpipe_common::{called, logger, sys};

/// What somebody asked by a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// TERM, INT: stop in order.
    Stop,
    /// HUP: reread.
    Reread,
    /// ALRM: rotate.
    Rotate,
    /// INT, QUIT: the terminal ends the whole pipeline, and the input ends when the server is done.
    EndWithInput,
}

/// Who is asked to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The daemon: TERM and INT are meant for it.
    Daemon,
    /// One program of a pipeline, which ends when its input does.
    Filter {
        /// TERM does not end it either.
        ignores_term: bool,
    },
}

/// The signals, for the poll set.
pub struct Inbox {
    /// To be registered.
    pub source: Signals,
    role: Role,
    /// Whoever sets this has the next TERM or INT stop us at once, whatever we are at.
    stopping: Arc<AtomicBool>,
    /// The terminal has ended the pipeline once.
    is_interrupted: bool,
}

impl Inbox {
    /// Takes over the signals. `root` is named if a store into a mailbox fails.
    pub fn new(root: &Path, role: Role) -> Result<Inbox> {
        Inbox::take_over(root, role).cannot("take over signals for", root)
    }

    fn take_over(root: &Path, role: Role) -> io::Result<Inbox> {
        let stopping = Arc::new(AtomicBool::new(false));
        let mut signals = vec![SIGTERM, SIGINT, SIGHUP, SIGALRM];
        match role {
            Role::Daemon => [SIGTERM, SIGINT].into_iter().try_for_each(|signal| stop_at_second(signal, &stopping))?,
            Role::Filter { ignores_term } => {
                signals.push(SIGQUIT);
                if !ignores_term {
                    stop_at_second(SIGTERM, &stopping)?;
                }
                flag::register_conditional_shutdown(SIGINT, 0, Arc::clone(&stopping))?;
            }
        }
        let sentence =
            format!("{}: error: cannot write a mailbox in {}: its disk failed\n", called::name(), root.shown());
        sys::exit_on_bus_error(sentence, logger::own_stderr(), i32::from(EXIT_IO))?;
        Ok(Inbox { source: Signals::new(signals)?, role, stopping, is_interrupted: false })
    }

    /// What was asked since the last time.
    pub fn asked(&mut self) -> Vec<Request> {
        let signals: Vec<_> = self.source.pending().collect();
        signals.into_iter().filter_map(|signal| self.meaning(signal)).collect()
    }

    fn meaning(&mut self, signal: i32) -> Option<Request> {
        match (signal, self.role) {
            (SIGHUP, _) => Some(Request::Reread),
            (SIGALRM, _) => Some(Request::Rotate),
            (SIGTERM, Role::Filter { ignores_term: true }) => None,
            (SIGINT | SIGQUIT, Role::Filter { .. }) if !std::mem::replace(&mut self.is_interrupted, true) => {
                Some(Request::EndWithInput)
            }
            _ => {
                self.stopping.store(true, Ordering::SeqCst);
                Some(Request::Stop)
            }
        }
    }

    /// The input is at its end. What remains is finished, unless TERM or INT comes twice.
    pub fn note_end_of_input(&self) -> Result<()> {
        let again = Arc::new(AtomicBool::new(self.is_interrupted));
        let stopped = [SIGTERM, SIGINT].into_iter().try_for_each(|signal| stop_at_second(signal, &again));
        stopped.cannot("take over signals for", "the end of input")
    }
}

/// In this order: the first one sets the flag, the second one finds it set and stops at once, whatever we are at.
fn stop_at_second(signal: i32, flag: &Arc<AtomicBool>) -> io::Result<()> {
    flag::register_conditional_shutdown(signal, 0, Arc::clone(flag))?;
    flag::register(signal, Arc::clone(flag)).map(drop)
}
