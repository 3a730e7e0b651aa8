//! A limit on the length of files (`ulimit -f`) is an error of the write that meets it, and not the end of the program.
//!
//! The signal gets a handler that does nothing, so a program that we start has its default again.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use nix::libc::SIGXFSZ;

/// To be called first of all: even a line on standard error can meet the limit.
pub fn outlive() {
    // Refused only for signals that cannot be handled at all.
    signal_hook::flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false))).ok();
}
