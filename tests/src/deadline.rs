//! Waiting for a condition, with an end.

use std::thread;
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};
use standpipe_common::clock;

/// How long a condition may take before the test fails: an idle machine needs a moment, one that does ten other things
/// needs a while.
pub const CONDITION_SPAN: Duration = Duration::from_secs(60);
/// How long a program may take to start or to end.
pub const PROGRAM_SPAN: Duration = Duration::from_secs(60);
/// Between two looks.
const LOOK_SPAN: Duration = Duration::from_millis(3);

/// Waits until `condition` holds.
///
/// # Panics
/// It does not within [`CONDITION_SPAN`]; names `what`.
pub fn until(what: &str, condition: impl FnMut() -> bool) {
    assert!(within(CONDITION_SPAN, condition), "not within {CONDITION_SPAN:?}: {what}");
}

/// CPU time of the calling thread: what work costs, whatever else the machine does.
pub fn cpu_of_thread() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

/// Waits until a file that is made is younger than those that are there: files are stamped by a clock that stands still
/// for some milliseconds, and longer where a busy host gives a virtual machine no time.
pub fn until_next_stamp() {
    let before = clock::file_ns();
    until("the clock of the files goes on", || clock::file_ns() > before);
}

/// Whether `condition` comes to hold within `span`.
pub fn within(span: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + span;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        thread::sleep(LOOK_SPAN);
    }
}
