//! A value that threads share, and that some of them wait for.
//!
//! Invariant: whoever waits is told of every change that [`Monitor::change`] makes, once the lock is let go. What a
//! thread that panicked left is used on: nothing here is ever half changed between two statements that can panic.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A value under a lock, and those who wait for it to change.
#[derive(Debug, Default)]
pub struct Monitor<T> {
    value: Mutex<T>,
    changed: Condvar,
}

impl<T> Monitor<T> {
    /// To look at it, or to change what nobody waits for.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes it, and tells those who wait.
    pub fn change<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        let done = change(&mut self.lock());
        self.changed.notify_all();
        done
    }

    /// Lets go of it until it changes, for `span` at most; it may be as it was even so.
    pub fn wait<'a>(&self, value: MutexGuard<'a, T>, span: Duration) -> MutexGuard<'a, T> {
        self.changed.wait_timeout(value, span).unwrap_or_else(PoisonError::into_inner).0
    }

    /// Waits as long as `is_so`, for `span` at most. `false`: it still is.
    pub fn wait_while(&self, span: Duration, is_so: impl FnMut(&mut T) -> bool) -> bool {
        let waited = self.changed.wait_timeout_while(self.lock(), span, is_so);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }
}
