//! One look at a log root from outside: the status file, whether a reader runs, what was set aside.
//!
//! It needs read permission only, takes no lock, writes nothing, and opens regular files and directories alone.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read as _;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use nix::sys::stat::SFlag;
use standpipe_common::error::{Cannot as _, Error, Result};
use standpipe_common::shown::Shown as _;

use super::STATUS;
use super::format::{self, LAYOUT, LaneStatus, Status, WELL};
use super::lag::{Lag, lags};
use super::problems::{self, BYTES_MAX as PROBLEMS_BYTES_MAX, PROBLEMS, Problem};
use crate::disk::{self, Dir};
use crate::listing::{LOCK, SELF};
use crate::mailboxes::SALVAGED_PREFIX;

/// What was seen.
#[derive(Debug)]
pub struct Snapshot {
    /// Whether somebody has the lock. `None`: we may not ask.
    pub running: Option<bool>,
    /// Process id of the reader that wrote last.
    pub pid: u64,
    /// When it started, ns since the epoch.
    pub start_ns: u64,
    /// Whether it is confined, as its status file has it.
    pub sandbox: u64,
    /// Its lanes by name.
    pub lanes: Vec<SeenLane>,
    /// What stands in the way of all of them.
    pub problems: Vec<Problem>,
    /// Files of the log root that hold bytes which did not fit into a log.
    pub salvaged: Vec<String>,
}

/// A lane, by its slot and its log directory.
#[derive(Debug)]
pub struct SeenLane {
    /// Its name; `None`: it was being written whenever we looked.
    pub name: Option<OsString>,
    /// What its slot says.
    pub slot: LaneStatus,
    /// Archives that were set aside, in its log directory.
    pub damaged: Vec<String>,
    /// How far each of its receivers is behind.
    pub lags: Vec<Lag>,
    /// What stands in its way, the worst first.
    pub problems: Vec<Problem>,
}

impl Snapshot {
    /// Looks at the log root at `path`.
    pub fn of(path: &Path) -> Result<Snapshot> {
        let root = Dir::open(path)?;
        let content = content(&root)?;
        let (problems, of_pipes) = problems(&root)?.into_iter().partition(|problem| problem.pipe.is_empty());
        let mut lanes: Vec<SeenLane> = content.slots.into_iter().map(|slot| seen(&root, slot)).collect();
        share(of_pipes, &mut lanes);
        lanes.sort_by(|a, b| a.name.cmp(&b.name));
        let salvaged = salvaged(&root);
        let (pid, start_ns, sandbox) = (content.pid, content.start_ns, content.sandbox);
        Ok(Snapshot { running: is_running(&root), pid, start_ns, sandbox, lanes, problems, salvaged })
    }

    /// The lane of that name; the one of `reader stdin` also by the name of its directory.
    pub fn find(&self, name: &OsStr) -> Option<&SeenLane> {
        self.lanes.iter().find(|lane| lane.name.as_deref() == Some(name))
    }
}

/// Whether a reader has the lock of the log root. `None`: we may not ask.
pub fn is_running(root: &Dir) -> Option<bool> {
    match root.stat(LOCK) {
        Err(nix::errno::Errno::ENOENT) => Some(false),
        Ok(stat) if disk::is_kind(&stat, SFlag::S_IFREG) => disk::is_locked(&root.open_read(LOCK).ok()?).ok(),
        _ => None,
    }
}

/// The names of the lanes of a log root, as far as its status file tells them.
pub fn lane_names(root: &Dir) -> Result<Vec<OsString>> {
    let slots = content(root)?.slots;
    Ok(slots.into_iter().filter_map(|slot| slot.name).map(OsString::from_vec).collect())
}

/// What the status file of a log root says.
pub fn content(root: &Dir) -> Result<Status> {
    let is_whole = |slot: &LaneStatus| slot.name.is_some() && (slot.error.at_ns.is_none() || slot.error.text.is_some());
    LAYOUT.read(
        &root.path_of(STATUS),
        || open(root),
        format::decode,
        |content: &Status| content.slots.iter().all(is_whole),
    )
}

fn open(root: &Dir) -> Result<File> {
    match root.stat(STATUS) {
        Err(nix::errno::Errno::ENOENT) => {
            let cause = format!("{} has none: not a log root, or no reader is at work there", root.path().shown());
            Err(Error::because("read", root.path_of(STATUS), cause))
        }
        Ok(stat) if !disk::is_kind(&stat, SFlag::S_IFREG) => {
            Err(Error::because("read", root.path_of(STATUS), "not a regular file"))
        }
        _ => root.open_read(STATUS),
    }
}

/// What stands in the way, as its file says; there is none while all is well.
fn problems(root: &Dir) -> Result<Vec<Problem>> {
    let is_file = root.stat(PROBLEMS).is_ok_and(|stat| disk::is_kind(&stat, SFlag::S_IFREG));
    if !is_file {
        return Ok(Vec::new());
    }
    let mut bytes = Vec::new();
    match root.open_read(PROBLEMS) {
        // It went meanwhile.
        Err(error) if error.errno() == Some(nix::errno::Errno::ENOENT) => return Ok(Vec::new()),
        file => file?.take(PROBLEMS_BYTES_MAX).read_to_end(&mut bytes).cannot("read", root.path_of(PROBLEMS))?,
    };
    Ok(problems::decode(&bytes))
}

/// Gives each lane what stands in its way. A pipe that has no lane because of that gets a row of its own.
fn share(problems: Vec<Problem>, lanes: &mut Vec<SeenLane>) {
    let mut by_name: BTreeMap<OsString, Vec<Problem>> = BTreeMap::new();
    for problem in problems {
        by_name.entry(problem.pipe.clone()).or_default().push(problem);
    }
    for lane in &mut *lanes {
        lane.problems = lane.name.as_ref().and_then(|name| by_name.remove(name)).unwrap_or_default();
    }
    lanes.extend(by_name.into_iter().map(|(name, problems)| SeenLane {
        name: Some(name),
        slot: LaneStatus { state: WELL, ..LaneStatus::default() },
        damaged: Vec::new(),
        lags: Vec::new(),
        problems,
    }));
}

fn seen(root: &Dir, slot: LaneStatus) -> SeenLane {
    let name = slot.name.clone().map(OsString::from_vec);
    let is_damaged = |name: &[u8]| name.ends_with(b".damaged");
    let dir = name.as_deref().and_then(|name| log_dir(root, name));
    let damaged = dir.as_ref().map_or_else(Vec::new, |dir| names(dir, is_damaged));
    // What cannot be listed is not shown.
    let lags = dir.and_then(|dir| lags(&dir).ok()).unwrap_or_default();
    SeenLane { name, slot, damaged, lags, problems: Vec::new() }
}

/// The log directory of a lane.
pub fn log_dir(root: &Dir, name: &OsStr) -> Option<Dir> {
    if name == SELF {
        return root.try_clone().ok();
    }
    // A name is one step down, whatever the file says.
    let is_step = !name.as_bytes().contains(&b'/');
    is_step.then(|| Dir::open(&root.path().join(name)).ok()).flatten()
}

/// Paths of the files that hold bytes which did not fit into a log.
pub fn salvaged(root: &Dir) -> Vec<String> {
    names(root, |name| name.starts_with(SALVAGED_PREFIX.as_bytes()))
}

/// Sorted paths of the files in `dir` with such names; what we may not list is not told.
fn names(dir: &Dir, wanted: impl Fn(&[u8]) -> bool) -> Vec<String> {
    let listed = dir.names().unwrap_or_default().into_iter().filter(|name| wanted(name.as_bytes()));
    let mut paths: Vec<String> = listed.map(|name| dir.path_of(name).shown().to_string()).collect();
    paths.sort();
    paths
}
