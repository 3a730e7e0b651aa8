//! Which tailers can be seen from here: one that runs has its status file open, and one that does not run is known by the
//! configuration of the machine.
//!
//! Other users' processes show their descriptors to root alone. Nothing is opened.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use standpipe_common::error::Stop;

use super::SUFFIX;
use crate::config::{Overrides, load};

const PROC: &str = "/proc";
/// The configuration of the machine's tailer.
const SYSTEM_CONFIG: &str = "/etc/standpipe/tailer.toml";

/// The state files of all of them, by name.
///
/// # Errors
/// The configuration of the machine is wrong.
pub fn state_files() -> Result<BTreeSet<PathBuf>, Stop> {
    let mut found = at_work(Path::new(PROC));
    let config = Path::new(SYSTEM_CONFIG);
    if fs::metadata(config).is_ok() {
        found.extend(load(config, &Overrides::default())?.state_file);
    }
    Ok(found)
}

fn at_work(proc: &Path) -> BTreeSet<PathBuf> {
    let processes = fs::read_dir(proc).into_iter().flatten().flatten().map(|entry| entry.path());
    let tailers = processes.filter(|dir| fs::read(dir.join("comm")).is_ok_and(|comm| comm == b"tailer\n"));
    let open = tailers.flat_map(|dir| fs::read_dir(dir.join("fd")).into_iter().flatten().flatten());
    open.filter_map(|fd| state_of(&fs::read_link(fd.path()).ok()?)).collect()
}

/// `/var/lib/x.json` of `/var/lib/x.json.status`.
fn state_of(open: &Path) -> Option<PathBuf> {
    let state = open.as_os_str().as_bytes().strip_suffix(SUFFIX.as_bytes())?;
    let state = PathBuf::from(std::ffi::OsString::from_vec(state.to_vec()));
    (state.is_absolute() && open.is_file()).then_some(state)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_tailer_at_work_is_found_by_its_status_file_and_nobody_else_is() {
        let dir = tempfile::tempdir().unwrap();
        let (proc, state) = (dir.path().join("proc"), dir.path().join("state.json"));
        let status = dir.path().join("state.json.status");
        fs::write(&status, "").unwrap();
        for (pid, comm, target) in [
            ("1", "tailer", status.clone()),
            ("2", "cat", dir.path().join("state.json.status")),
            ("3", "tailer", dir.path().join("gone.status")),
            ("4", "tailer", state.clone()),
        ] {
            fs::create_dir_all(proc.join(pid).join("fd")).unwrap();
            fs::write(proc.join(pid).join("comm"), format!("{comm}\n")).unwrap();
            symlink(target, proc.join(pid).join("fd/3")).unwrap();
        }
        assert_eq!(at_work(&proc), BTreeSet::from([state.clone()]));
        fs::remove_dir_all(proc.join("1")).unwrap();
        assert_eq!(at_work(&proc), BTreeSet::new());
    }
}
