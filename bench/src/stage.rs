//! Where a run takes place: one directory that goes with it, however the run ends.
//!
//! Whoever interrupts a run, and the clock when a run takes too long, ends it at once: every child is killed, the
//! directory is removed. Only SIGKILL of the run itself leaves something behind.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::panic;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, syncfs};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use standpipe_common::error::{Cannot, Error, Result};

/// Sweeps over the children of an ended run: a thread may be about to start one more.
const SWEEPS: u32 = 5;
const SWEEP_SPAN: Duration = Duration::from_millis(20);
/// What an interrupted shell command exits with.
const EXIT_INTERRUPTED: i32 = 130;

/// The run is being ended from another thread.
static ABANDONED: AtomicBool = AtomicBool::new(false);

/// The directory of one run.
#[derive(Debug)]
pub struct Stage {
    dir: PathBuf,
}

impl Stage {
    /// Makes it in `parent`, or where cargo builds; the run ends after `bound` at the latest.
    pub fn set(parent: Option<&Path>, bound: Duration) -> Result<Stage> {
        let parent = parent.map_or_else(target_dir, Path::to_path_buf);
        fs::create_dir_all(&parent).cannot("make", &parent)?;
        let parent = fs::canonicalize(&parent).cannot("look at", &parent)?;
        let made = tempfile::Builder::new().prefix("standpipe-bench-").tempdir_in(&parent).cannot("make", &parent)?;
        let dir = made.keep();
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).cannot("take over signals for", &dir)?;
        let (interrupted, late) = (dir.clone(), dir.clone());
        thread::spawn(move || {
            if signals.forever().next().is_some() {
                abandon(&interrupted, "interrupted", EXIT_INTERRUPTED);
            }
        });
        thread::spawn(move || {
            thread::sleep(bound);
            abandon(&late, &format!("took longer than {} s", bound.as_secs()), 1);
        });
        Ok(Stage { dir })
    }

    /// The same for the harness of the tests: its temporary directories go into this one, which everybody may enter.
    pub fn set_for_tests(parent: Option<&Path>, bound: Duration) -> Result<Stage> {
        let stage = Stage::set(Some(parent.unwrap_or(&env::temp_dir())), bound)?;
        fs::set_permissions(&stage.dir, fs::Permissions::from_mode(0o755)).cannot("open up", &stage.dir)?;
        tempfile::env::override_temp_dir(&stage.dir)
            .map_err(|_| Error::because("use", &stage.dir, "another temporary directory is in use"))?;
        Ok(stage)
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// An empty directory in it, instead of the one of the last time.
    pub fn fresh(&self, name: &str) -> Result<PathBuf> {
        let path = self.dir.join(name);
        remove(&path)?;
        fs::create_dir(&path).cannot("make", &path)?;
        Ok(path)
    }

    /// Waits until nothing of the file system is left to be written.
    pub fn sync(&self) -> Result<()> {
        let dir = fs::File::open(&self.dir).cannot("open", &self.dir)?;
        syncfs(dir).cannot("sync", &self.dir)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        while ABANDONED.load(Ordering::SeqCst) {
            // What failed here failed because the run is being ended; who ends it says so and exits.
            thread::park();
        }
        if let Err(error) = remove(&self.dir) {
            eprintln!("bench: error: {error}");
        }
    }
}

/// Removes a directory that may not be there.
pub fn remove(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::new("remove", dir, error)),
        _ => Ok(()),
    }
}

/// `target` of `target/release/bench`.
fn target_dir() -> PathBuf {
    let program = env::current_exe().unwrap_or_default();
    program.ancestors().nth(2).map_or_else(env::temp_dir, Path::to_path_buf)
}

fn abandon(dir: &Path, why: &str, code: i32) -> ! {
    ABANDONED.store(true, Ordering::SeqCst);
    // The harness panics when its programs go; that is no news any more.
    panic::set_hook(Box::new(|_| ()));
    for _ in 0..SWEEPS {
        for pid in children() {
            kill(pid, Signal::SIGKILL).ok();
        }
        thread::sleep(SWEEP_SPAN);
        remove(dir).ok();
    }
    eprintln!("bench: {why}");
    process::exit(code);
}

/// The children of all our threads.
fn children() -> Vec<Pid> {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    let pids: Vec<i32> =
        lists.flat_map(|list| list.split_whitespace().flat_map(str::parse).collect::<Vec<i32>>()).collect();
    pids.into_iter().map(Pid::from_raw).collect()
}
