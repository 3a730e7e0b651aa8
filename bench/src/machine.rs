//! What a run was measured on: the machine in one line, and who was there to be compared with.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

/// A peer: its program, and the Debian package whose version it has where it does not say one itself.
const PEERS: [(&str, &str); 5] = [
    ("s6-log", "s6"),
    ("svlogd", "runit"),
    ("multilog", "daemontools"),
    ("rotatelogs", "apache2-utils"),
    ("zstd", "zstd"),
];

/// The same of the followers.
const FOLLOWERS: [(&str, &str); 3] = [("tail", "coreutils"), ("rsyslogd", "rsyslog"), ("syslog-ng", "syslog-ng-core")];

/// The same of what searches.
const SEARCHERS: [(&str, &str); 5] =
    [("zstdgrep", "zstd"), ("rg", "ripgrep"), ("ugrep", "ugrep"), ("grep", "grep"), ("tail", "coreutils")];

/// The same of a web server and its load.
const SERVERS: [(&str, &str); 2] = [("nginx", "nginx"), ("wrk", "wrk")];

/// The lines that stand before a table.
pub fn describe(dir: &Path) -> String {
    describe_beside(dir, &PEERS)
}

/// The same before those of followers.
pub fn describe_followers(dir: &Path) -> String {
    describe_beside(dir, &FOLLOWERS)
}

/// The same before those of what searches.
pub fn describe_searchers(dir: &Path) -> String {
    describe_beside(dir, &SEARCHERS)
}

/// The same before those of servers.
pub fn describe_servers(dir: &Path) -> String {
    describe_beside(dir, &SERVERS)
}

fn describe_beside(dir: &Path, peers: &[(&'static str, &str)]) -> String {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cores = thread::available_parallelism().map_or(0, usize::from);
    let user = if nix::unistd::Uid::effective().is_root() { "root" } else { "a user" };
    let build = if cfg!(debug_assertions) { "; A DEBUG BUILD, which says nothing about speed" } else { "" };
    let (here, missing): (Vec<_>, Vec<_>) = peers.iter().copied().partition(|(program, _)| is_installed(program));
    let versions: Vec<String> = here.iter().map(|(program, package)| version(program, package)).collect();
    let mut text = format!(
        "{cores} cores, Linux {}, {}, as {user}; {}{build}\n",
        kernel.trim(),
        file_system(dir),
        versions.join(", ")
    );
    for (program, _) in missing {
        text.push_str("not installed: ");
        text.push_str(program);
        text.push('\n');
    }
    text
}

/// Whether a program stands on the PATH.
pub fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

/// `s6-log (s6 2.11)`, as the package manager has it, where there is one that knows.
fn version(program: &str, package: &str) -> String {
    let asked = Command::new("dpkg-query").args(["-W", "-f", "${Version}", package]).stderr(Stdio::null()).output();
    match asked {
        Ok(answer) if answer.status.success() => {
            format!("{program} ({package} {})", String::from_utf8_lossy(&answer.stdout).trim())
        }
        _ => program.to_owned(),
    }
}

fn file_system(dir: &Path) -> String {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    type_of(&mounts, dir).unwrap_or("an unknown file system").to_owned()
}

/// The type of the mount that `dir` is in: the one with the longest mount point above it, the last of equals.
fn type_of<'a>(mountinfo: &'a str, dir: &Path) -> Option<&'a str> {
    let mounts = mountinfo.lines().filter_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        Some((before.split(' ').nth(4)?, after.split(' ').next()?))
    });
    mounts.filter(|(point, _)| dir.starts_with(point)).max_by_key(|(point, _)| point.len()).map(|(_, kind)| kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_mount_tells_the_file_system() {
        let mounts = "22 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n\
                      30 22 0:27 / /tmp rw shared:1 - tmpfs tmpfs rw\n\
                      31 22 0:28 / /tmpfs rw - xfs /dev/vdb rw\n";
        for (dir, kind) in [("/tmp/x", Some("tmpfs")), ("/tmpx", Some("ext4")), ("/", Some("ext4")), ("x", None)] {
            assert_eq!(type_of(mounts, Path::new(dir)), kind, "{dir}");
        }
    }
}
