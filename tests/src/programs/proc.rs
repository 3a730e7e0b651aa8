//! What the kernel tells of a process.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

/// What `/proc/PID/stat` says behind the name, which may hold anything.
fn stat(pid: u32) -> Vec<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("a living process");
    stat.rsplit(')').next().unwrap_or_default().split_whitespace().map(str::to_owned).collect()
}

/// CPU time that a process has used, in steps of 10 ms.
pub fn cpu_time(pid: u32) -> Duration {
    let ticks: u64 = stat(pid)[11..13].iter().map(|ticks| ticks.parse::<u64>().expect("ticks")).sum();
    Duration::from_millis(ticks * 10)
}

/// The state letter of a process.
pub fn state_of(pid: u32) -> char {
    stat(pid)[0].chars().next().expect("a state")
}

/// Whether a process has this file open.
pub fn has_open(pid: u32, path: &Path) -> bool {
    let wanted = fs::metadata(path).map(|is| (is.dev(), is.ino())).expect("a file");
    let fds = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    fds.filter_map(|fd| fs::metadata(fd.path()).ok()).any(|is| (is.dev(), is.ino()) == wanted)
}
