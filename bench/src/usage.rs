//! What processes use: CPU time, memory of their own, descriptors.
//!
//! CPU of a living process is the sum over its threads of `/proc/PID/task/*/schedstat`, in nanoseconds; that of one
//! that ended, with the children it waited for, comes from `getrusage(2)`. Memory is what goes with the process,
//! `RssAnon` and `RssShmem`; pages of mapped files are the kernel's. Mailboxes are counted by their blocks on disk.

use std::fs;
use std::ops::Add;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage, setrlimit};
use nix::sys::time::TimeValLike;

/// Bytes of a block, as `stat(2)` counts them.
const BLOCK_BYTES: u64 = 512;
/// Between two looks for the largest memory.
const PEAK_LOOK_SPAN: Duration = Duration::from_millis(10);

/// CPU time of all living threads of a process. Zero: it is gone.
pub fn cpu(pid: u32) -> Duration {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let of_each = tasks.filter_map(|task| fs::read_to_string(task.path().join("schedstat")).ok());
    Duration::from_nanos(of_each.filter_map(|text| first_number(&text)).sum())
}

/// CPU time of all children that were waited for, and of theirs.
pub fn cpu_of_ended() -> Duration {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_CHILDREN) else { return Duration::ZERO };
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Duration::from_micros(micros as u64)
}

/// Memory of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// `RssAnon`, bytes.
    pub anon: u64,
    /// `RssShmem`, bytes.
    pub shmem: u64,
}

impl Memory {
    /// Of a living process.
    pub fn of(pid: u32) -> Memory {
        fs::read_to_string(format!("/proc/{pid}/status")).map_or_else(|_| Memory::default(), |text| parse(&text))
    }

    /// Both.
    pub fn bytes(self) -> u64 {
        self.anon + self.shmem
    }
}

/// The most that a living process ever had in memory, its program's and libraries' pages included, bytes. 0: it is gone.
pub fn high_water(pid: u32) -> u64 {
    fs::read_to_string(format!("/proc/{pid}/status")).map_or(0, |status| field(&status, "VmHWM:"))
}

impl Add for Memory {
    type Output = Memory;

    fn add(self, other: Memory) -> Memory {
        Memory { anon: self.anon + other.anon, shmem: self.shmem + other.shmem }
    }
}

/// Watches the memory of a process for its largest value.
#[derive(Debug)]
pub struct Peak {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl Peak {
    /// Looks every 10 ms.
    pub fn watch(pid: u32) -> Peak {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = thread::spawn(move || {
            let mut most = 0;
            while !stopped.load(Ordering::Relaxed) {
                most = most.max(Memory::of(pid).bytes());
                thread::sleep(PEAK_LOOK_SPAN);
            }
            most
        });
        Peak { stop, thread }
    }

    /// The largest value seen, bytes.
    pub fn bytes(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or(0)
    }
}

/// Bytes on disk of the mailboxes of a log root.
pub fn mailbox_bytes(log_root: &Path) -> u64 {
    let entries = fs::read_dir(log_root).into_iter().flatten().flatten();
    let mailboxes = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(".mailbox-"));
    mailboxes.filter_map(|entry| entry.metadata().ok()).map(|is| is.blocks() * BLOCK_BYTES).sum()
}

/// Descriptors that a process has open.
pub fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

/// Raises our limit of open files as far as it goes; our children inherit it. The limit.
pub fn raise_descriptors() -> u64 {
    let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return 0 };
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).ok();
    hard
}

fn first_number(text: &str) -> Option<u64> {
    text.split_whitespace().next()?.parse().ok()
}

/// Takes `/proc/PID/status` apart.
fn parse(status: &str) -> Memory {
    Memory { anon: field(status, "RssAnon:"), shmem: field(status, "RssShmem:") }
}

/// A field of `/proc/PID/status`, which counts in kB and means KiB.
fn field(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(first_number).map_or(0, |kib| kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_taken_apart() {
        let status = "Name:\treader\nVmRSS:\t    9000 kB\nRssAnon:\t     340 kB\nRssFile:\t 1 kB\nRssShmem:\t 12 kB\n";
        assert_eq!(parse(status), Memory { anon: 340 << 10, shmem: 12 << 10 });
        assert_eq!(parse("Name:\tzombie\n"), Memory::default());
        assert_eq!(first_number("1234567 89 10\n"), Some(1_234_567));
    }

    #[test]
    fn our_own_use_can_be_seen() {
        assert!(Memory::of(std::process::id()).anon > 0);
        assert!(cpu(std::process::id()) > Duration::ZERO);
        assert!(descriptors(std::process::id()) > 2);
    }
}
