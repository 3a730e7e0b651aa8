//! How far a long run has got: one line of a terminal that is written again and again, and gone at the end.
//!
//! Where there is no terminal it is silent.

use std::io::{Write, stderr};
use std::time::Instant;

use standpipe_common::shown::size;

/// The line.
pub struct Progress {
    total: u64,
    since: Instant,
    is_terminal: bool,
    is_shown: bool,
}

impl Progress {
    /// Of so many bytes.
    pub fn new(total: u64, is_terminal: bool) -> Progress {
        Progress { total, since: Instant::now(), is_terminal, is_shown: false }
    }

    /// So many are done.
    pub fn show(&mut self, done: u64) {
        if self.is_terminal {
            write!(stderr(), "\r\x1b[K{}", line(done, self.total, self.since.elapsed().as_secs_f64())).ok();
            self.is_shown = true;
        }
    }

    /// Makes room for other lines.
    pub fn clear(&mut self) {
        if self.is_shown {
            write!(stderr(), "\r\x1b[K").ok();
            self.is_shown = false;
        }
    }
}

fn line(done: u64, total: u64, seconds: f64) -> String {
    const CELLS: u64 = 30;
    // What is written meanwhile is read as well.
    let total = total.max(done).max(1);
    let filled = done.saturating_mul(CELLS) / total;
    let bar = format!("{}{}", "#".repeat(filled as usize), ".".repeat((CELLS - filled) as usize));
    let rate = size((done as f64 / seconds.max(0.001)) as u64);
    format!("[{bar}] {:3} %  {} of {}  {rate}/s", done.saturating_mul(100) / total, size(done), size(total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_has_share_bytes_and_rate() {
        let half = line(512 << 20, 1 << 30, 2.0);
        assert_eq!(half, "[###############...............]  50 %  512.0 MiB of 1.0 GiB  256.0 MiB/s");
        assert!(line(0, 0, 0.0).contains("  0 %  0 B of 1 B"));
        assert!(line(10, 5, 1.0).contains("100 %  10 B of 10 B"));
    }
}
