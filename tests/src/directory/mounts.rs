//! A small file system of a test's own, mounted as root and unmounted when it goes.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::privilege::give;
use crate::programs::command;

/// A mounted file system.
#[derive(Debug)]
pub struct Mounted(PathBuf);

impl Mounted {
    /// A tmpfs on `dir`, with options such as `size=4m`, for the user that programs run as.
    pub fn tmpfs(dir: &Path, options: &str) -> Mounted {
        run("mount", &["-t".as_ref(), "tmpfs".as_ref(), "-o".as_ref(), options.as_ref(), "none".as_ref(), dir]);
        give(dir);
        Mounted(dir.to_owned())
    }

    /// An ext4 of that size in the sparse file `image`, on `dir`.
    pub fn ext4(image: &Path, mib: u64, dir: &Path) -> Mounted {
        File::create(image).and_then(|file| file.set_len(mib << 20)).expect("a sparse file");
        run("mkfs.ext4", &["-q".as_ref(), "-F".as_ref(), image]);
        run("mount", &["-o".as_ref(), "loop".as_ref(), image, dir]);
        give(dir);
        Mounted(dir.to_owned())
    }

    /// An overlay on `lower` itself, which is written to `upper` from then on; `work` is empty.
    pub fn overlay(lower: &Path, upper: &Path, work: &Path) -> Mounted {
        let [low, up, beside] = [lower, upper, work].map(Path::display);
        let options = format!("lowerdir={low},upperdir={up},workdir={beside}");
        run("mount", &["-t".as_ref(), "overlay".as_ref(), "-o".as_ref(), options.as_ref(), "none".as_ref(), lower]);
        Mounted(lower.to_owned())
    }

    /// What stands at `from`, a file or a directory, also at `to`.
    pub fn bind(from: &Path, to: &Path) -> Mounted {
        run("mount", &["--bind".as_ref(), from, to]);
        Mounted(to.to_owned())
    }

    /// The directory `real` on `dir` by FUSE, which has neither flags of renames nor files without names.
    pub fn bindfs(real: &Path, dir: &Path) -> Mounted {
        run("bindfs", &[real, dir]);
        Mounted(dir.to_owned())
    }

    /// Changes options, such as `size=64m`.
    pub fn remount(&self, options: &str) {
        run("mount", &["-o".as_ref(), format!("remount,{options}").as_ref(), &self.0]);
    }

    /// Where it is mounted.
    pub fn dir(&self) -> &Path {
        &self.0
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let done = command("umount").arg("-l").arg(&self.0).stderr(Stdio::null()).status();
        if !done.is_ok_and(|status| status.success()) {
            // As an ordinary user, who may end a FUSE mount of their own.
            command("fusermount").arg("-uz").arg(&self.0).status().ok();
        }
    }
}

fn run(program: &str, args: &[&Path]) {
    let done = command(program).args(args).status();
    assert!(done.as_ref().is_ok_and(std::process::ExitStatus::success), "{program} {args:?}: {done:?}");
}
