//! A directory of a test's own: FIFOs in `run`, links and policies in `pipes.d`, a log root in `logs`.
//!
//! All of it belongs to the user that the programs run as, and everybody may enter. It goes with the test, and is in
//! the directory of the test process, see [`process::dir`].

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use tempfile::TempDir;

use crate::privilege;
use crate::programs;

/// A policy by which no part is ever removed, however full the disk of the tests is.
pub const KEEP_ALL: &str = "keep_size = \"off\"\nkeep_free = \"off\"\n";

/// One such directory.
#[derive(Debug)]
pub struct Scratch {
    dir: TempDir,
}

impl Default for Scratch {
    fn default() -> Scratch {
        Scratch::new()
    }
}

impl Scratch {
    /// With empty `run`, `pipes.d` and `logs`.
    pub fn new() -> Scratch {
        let made = tempfile::Builder::new().prefix("").tempdir_in(programs::dir());
        let dir = made.expect("a temporary directory");
        let scratch = Scratch { dir };
        set_mode(scratch.path(), 0o755);
        privilege::give(scratch.path());
        for name in ["run", "pipes.d", "logs"] {
            scratch.make_dir(name);
        }
        scratch
    }

    /// Gives it, and the directories in it, to another user than programs run as otherwise; only root can.
    pub fn give_to(&self, id: u32) {
        for name in ["", "run", "pipes.d", "logs"] {
            let path = self.path().join(name);
            chown(&path, Some(id), Some(id)).unwrap_or_else(|error| panic!("cannot give {}: {error}", path.display()));
        }
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The pipes directory.
    pub fn pipes(&self) -> PathBuf {
        self.path().join("pipes.d")
    }

    /// The log root.
    pub fn logs(&self) -> PathBuf {
        self.path().join("logs")
    }

    /// Where the FIFO `name` stands, or would stand.
    pub fn run(&self, name: &str) -> PathBuf {
        self.path().join("run").join(name)
    }

    /// Makes a directory of mode 0755, by its path below this one.
    pub fn make_dir(&self, name: &str) -> PathBuf {
        let path = self.path().join(name);
        fs::create_dir(&path).unwrap_or_else(|error| panic!("cannot make {}: {error}", path.display()));
        set_mode(&path, 0o755);
        privilege::give(&path);
        path
    }

    /// Makes the FIFO `run/NAME`, which everybody may open.
    pub fn fifo(&self, name: &str) -> PathBuf {
        let path = self.run(name);
        make_fifo(&path, 0o666);
        path
    }

    /// Makes the link `pipes.d/NAME`.
    pub fn link(&self, name: &str, target: impl AsRef<Path>) -> PathBuf {
        let link = self.pipes().join(name);
        symlink(target, &link).unwrap_or_else(|error| panic!("cannot link {}: {error}", link.display()));
        link
    }

    /// Makes `run/NAME` and `pipes.d/NAME`, which leads to it.
    pub fn pipe(&self, name: &str) -> PathBuf {
        let fifo = self.fifo(name);
        self.link(name, &fifo);
        fifo
    }

    /// Writes `pipes.d/FILE`, such as `defaults.toml`, as whoever runs the tests.
    pub fn write_policy(&self, file: &str, toml: &str) -> PathBuf {
        let path = self.pipes().join(file);
        fs::write(&path, toml).unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
        path
    }
}

/// Makes a FIFO with exactly these permissions, of the user that programs run as.
pub fn make_fifo(path: &Path, mode: u32) {
    mkfifo(path, Mode::empty()).unwrap_or_else(|error| panic!("cannot make {}: {error}", path.display()));
    privilege::give(path);
    set_mode(path, mode);
}

/// Sets permissions.
pub fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .unwrap_or_else(|error| panic!("cannot change {}: {error}", path.display()));
}
