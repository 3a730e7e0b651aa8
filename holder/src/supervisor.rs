//! How a program of ours is started and reloaded where a supervisor has it: the command of that supervisor, and no other.
//!
//! What is known is what files say: units of systemd, and service directories at their usual places. Where nothing is
//! known, nothing is said here.

use std::fs;
use std::path::{Path, PathBuf};

use standpipe_common::shell::quoted;

use crate::advice::as_root;
use crate::openers::Process;

/// systemd is at work where this is.
const SYSTEMD: &str = "/run/systemd/system";
/// Where its units are, the strongest first.
const UNITS: [&str; 4] =
    ["/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system"];
/// Where services of runit and s6 are, with what starts one and what reloads one.
const SERVICES: [(&str, &str, &str); 4] = [
    ("/etc/service", "sv up", "sv hup"),
    ("/var/service", "sv up", "sv hup"),
    ("/service", "sv up", "sv hup"),
    ("/run/service", "s6-svc -u", "s6-svc -h"),
];
/// Larger files are no units.
const UNIT_BYTES_MAX: u64 = 64 << 10;

/// The command that starts `program`, `holder` or `reader`, for the pipes directory `dir`.
pub fn start(program: &str, dir: &Path) -> Option<String> {
    start_in(Path::new("/"), program, dir)
}

/// The command that sends HUP to a process, if a supervisor has it.
pub fn reload(process: &Process) -> Option<String> {
    let cgroup = fs::read_to_string(format!("/proc/{}/cgroup", process.pid)).ok()?;
    reload_in(Path::new("/"), &cgroup)
}

fn start_in(root: &Path, program: &str, dir: &Path) -> Option<String> {
    let runs =
        |text: &str, line: &str| text.lines().any(|is| is.trim_start().starts_with(line) && names(is, program, dir));
    let unit = units(root).into_iter().find(|unit| runs(&text_of(unit), "ExecStart="));
    if let Some(unit) = unit {
        return Some(as_root(&format!("systemctl start {}", quoted(Path::new(unit.file_stem()?)))));
    }
    SERVICES.iter().find_map(|(services, start, _)| {
        let services = below(root, services);
        let mut found = entries(&services).into_iter();
        let service = found.find(|service| runs(&text_of(&service.join("run")), ""))?;
        Some(as_root(&format!("{start} {}", quoted(&service))))
    })
}

fn reload_in(root: &Path, cgroup: &str) -> Option<String> {
    let name = cgroup.lines().find_map(|line| line.rsplit('/').next().filter(|name| name.ends_with(".service")))?;
    let unit = units(root).into_iter().find(|unit| unit.file_name().is_some_and(|is| is == name))?;
    let can = text_of(&unit).lines().any(|line| line.trim_start().starts_with("ExecReload="));
    can.then(|| as_root(&format!("systemctl reload {}", quoted(Path::new(name.trim_end_matches(".service"))))))
}

/// Whether a command line has the program, and the directory if it has one at all.
fn names(line: &str, program: &str, dir: &Path) -> bool {
    let mut words = line.split(['=', ' ', '\t', '"', '\'']).filter(|word| !word.is_empty());
    let is_program = |word: &str| {
        let name = word.trim_start_matches(['-', '@', '+', '!', ':']).rsplit('/').next().unwrap_or_default();
        name == program || name.strip_prefix("standpipe-") == Some(program)
    };
    if !words.any(is_program) {
        return false;
    }
    let paths: Vec<&str> = words.filter(|word| word.starts_with('/')).collect();
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    paths.iter().any(|path| real(Path::new(path)) == real(dir))
}

fn units(root: &Path) -> Vec<PathBuf> {
    if !below(root, SYSTEMD).is_dir() {
        return Vec::new();
    }
    let all = UNITS.iter().flat_map(|dir| entries(&below(root, dir)));
    all.filter(|path| path.extension().is_some_and(|is| is == "service")).collect()
}

fn below(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

fn text_of(path: &Path) -> String {
    let is_small = fs::metadata(path).is_ok_and(|is| is.is_file() && is.len() <= UNIT_BYTES_MAX);
    let bytes = if is_small { fs::read(path).unwrap_or_default() } else { Vec::new() };
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(root: &Path, path: &str, text: &str) {
        let path = below(root, path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn a_unit_for_the_directory_is_started_and_reloaded_by_systemd() {
        let root = tempfile::tempdir().unwrap();
        let (root, dir) = (root.path(), Path::new("/etc/standpipe/pipes.d"));
        let unit = "[Service]\nExecStart=/usr/lib/standpipe/bin/reader /etc/standpipe/pipes.d\nExecReload=/bin/kill\n";
        put(root, "/usr/lib/systemd/system/logs.service", unit);
        put(root, "/usr/lib/systemd/system/other.service", "ExecStart=/usr/bin/reader /elsewhere\n");
        assert_eq!(start_in(root, "reader", dir), None, "systemd does not run");
        fs::create_dir_all(below(root, SYSTEMD)).unwrap();
        let start = start_in(root, "reader", dir).unwrap();
        assert!(start.ends_with("systemctl start logs"), "{start}");
        assert_eq!((start_in(root, "holder", dir), start_in(root, "reader", Path::new("/x"))), (None, None));
        let reload = reload_in(root, "0::/system.slice/logs.service\n").unwrap();
        assert!(reload.ends_with("systemctl reload logs"), "{reload}");
        assert_eq!(reload_in(root, "0::/system.slice/other.service\n"), None, "it has no such command");
        assert_eq!(reload_in(root, "0::/user.slice/session-1.scope\n"), None);
    }

    #[test]
    fn a_service_directory_is_started_by_its_supervisor() {
        let dir = Path::new("/etc/standpipe/pipes.d");
        for (services, expected) in [("/etc/service", "sv up "), ("/run/service", "s6-svc -u ")] {
            let root = tempfile::tempdir().unwrap();
            let run = "#!/bin/sh\nexec chpst -u standpipe /usr/lib/standpipe/bin/holder --notify-fd 3 /etc/standpipe/pipes.d\n";
            put(root.path(), &format!("{services}/pipes/run"), run);
            let start = start_in(root.path(), "holder", dir).unwrap();
            assert!(start.contains(expected) && start.ends_with(&format!("{services}/pipes")), "{start}");
            assert_eq!(start_in(root.path(), "reader", dir), None);
        }
    }
}
