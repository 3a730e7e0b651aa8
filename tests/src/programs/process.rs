//! Processes that a test starts: whatever becomes of the test, they and all that they start end with it.
//!
//! There are two nets. What a test starts is the first of a process group, which is killed when its [`Process`] goes,
//! by a panic as well. And beside each test process stands its keeper, a shell that does nothing until the test process
//! has gone: by its own end, by a panic within a panic, by SIGKILL. Then it kills whatever bears the test process's
//! mark, an environment variable that children inherit wherever they go, and removes the directory that all scratch
//! directories are in.
//!
//! Signals that whoever started the tests ignores, as a shell script does for what it starts with `&`, are ignored by
//! none of these processes.

use std::ffi::OsStr;
use std::fs;
use std::ops::{Deref, DerefMut};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{LazyLock, PoisonError, RwLock};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// The mark: its value is the directory of the test process.
const MARK: &str = "STANDPIPE_TESTS_OF";

/// `$0` is the mark's name, `$1` its value. Standard input ends when the test process has gone.
const KEEPER: &str = r#"
    trap '' HUP INT QUIT TERM
    read -r nothing
    for turn in 1 2 3 4 5 6 7 8 9 10; do
        found=$(grep -lzsxF "$0=$1" /proc/[0-9]*/environ)
        [ "$found" ] || break
        for environ in $found; do pid=${environ#/proc/}; kill -KILL "${pid%/environ}"; done
        sleep 0.1
    done
    while read -r device mount rest; do case $mount in "$1"/*) umount -l "$mount";; esac; done </proc/mounts
    chmod -R u+rwx "$1"
    rm -rf --one-file-system "$1"
"#;

/// The directory of this test process, which everybody may enter. It goes with the process.
pub fn dir() -> &'static Path {
    static PLACE: LazyLock<(PathBuf, Child)> = LazyLock::new(|| {
        let made = tempfile::Builder::new().prefix("standpipe-").tempdir().expect("a temporary directory");
        fs::set_permissions(made.path(), fs::Permissions::from_mode(0o755)).expect("a directory of our own");
        let dir = made.keep();
        spread(&dir);
        let keeper = keep(&dir);
        (dir, keeper)
    });
    &PLACE.0
}

/// Asks the file system to keep the directories that are made in this one far apart. An ext4 without a journal gives no
/// inode again for a minute or more: among thousands that tests have just removed it steps over each of them whenever a
/// file is made, which was a third of the kernel's work in the tests. Other file systems need no such thing.
#[expect(clippy::disallowed_methods, reason = "the mark names the directory, which is not ready yet")]
fn spread(dir: &Path) {
    let mut asked = Command::new("chattr");
    asked.arg("+T").arg(dir).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().ok();
}

/// The keeper of that directory: our end of its standard input is closed by our end, and no earlier.
#[expect(clippy::disallowed_methods, reason = "the keeper itself bears no mark")]
fn keep(dir: &Path) -> Child {
    let mut keeper = Command::new("sh");
    keeper.args(["-c", KEEPER, MARK]).arg(dir).env_remove(MARK).current_dir("/").process_group(0);
    keeper.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("a shell")
}

/// A command that bears the mark and ignores no signal. A program that is not there is an exit code of 127.
#[expect(clippy::disallowed_methods, reason = "this is what is to be used instead")]
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("env");
    command.arg("--default-signal").arg(program).env(MARK, dir());
    command
}

/// Read: a process is being started, and has our descriptors until it is.
static STARTS: RwLock<()> = RwLock::new(());

/// Does something while no process is being started. Who closes the last reader of a pipe does it so: a copy in a process
/// that another test starts at this moment would take what is written to it, and lose it.
pub fn between_starts<T>(act: impl FnOnce() -> T) -> T {
    let _no_start = STARTS.write().unwrap_or_else(PoisonError::into_inner);
    act()
}

/// A process of a test, to be used as the [`Child`] that it is. It is killed, with its group, when this is dropped.
#[derive(Debug)]
pub struct Process(Child);

impl Process {
    /// Starts what [`command`] made.
    pub fn start(command: &mut Command) -> Process {
        let starting = STARTS.read().unwrap_or_else(PoisonError::into_inner);
        let started = command.process_group(0).spawn();
        drop(starting);
        Process(started.unwrap_or_else(|error| panic!("cannot start {command:?}: {error}")))
    }

    /// Kills it and all of its group, and reaps it. Nothing, if it was reaped.
    pub fn kill_group(&mut self) {
        if self.0.try_wait().is_ok_and(|ended| ended.is_some()) {
            return;
        }
        killpg(Pid::from_raw(self.0.id() as i32), Signal::SIGKILL).ok();
        self.0.wait().ok();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill_group();
    }
}

impl Deref for Process {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.0
    }
}

impl DerefMut for Process {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.0
    }
}
