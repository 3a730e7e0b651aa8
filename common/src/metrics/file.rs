//! The file of a page: written under another name in the same directory, then renamed over the one before.
//!
//! Invariants: whoever reads the file finds a whole page; no stranger's link leads elsewhere, and what stands there and
//! is not ours stays; while it is written its name does not end as the collector wants it. Everybody may read it, for
//! `node_exporter` is another user. Nothing is synced: after a power failure the next page comes soon.

use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, renameat};
use nix::sys::stat::{Mode, SFlag, fstatat};
use nix::unistd::{UnlinkatFlags, geteuid, unlinkat};

use super::BEGINNING;
use crate::error::{Cannot, Error, Result};
use crate::fifo::Identity;
use crate::way::{self, Spot};
use crate::{own, seam};

const ACTION: &str = "write metrics file";
const MODE: u32 = 0o644;

/// A metrics file, by its path.
#[derive(Debug)]
pub struct MetricsFile {
    path: PathBuf,
    /// The one that we made last.
    made: Option<Identity>,
}

impl MetricsFile {
    /// At an absolute path. Nothing is touched yet.
    pub fn new(path: PathBuf) -> MetricsFile {
        MetricsFile { path, made: None }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Replaces the file.
    ///
    /// # Errors
    /// It could not be made; or it was, but in the place of another program's.
    pub fn replace(&mut self, page: &str) -> Result<()> {
        let spot =
            way::place(&self.path, geteuid()).map_err(|error| match error.raw_os_error().map(Errno::from_raw) {
                Some(Errno::ENOENT) => Error::because(ACTION, &self.path, "its directory does not exist"),
                _ => Error::new(ACTION, &self.path, error),
            })?;
        let before = self.require_own(&spot, Path::new(&spot.name))?;
        let mut fresh = spot.name.clone();
        fresh.push(".new");
        let fresh = Path::new(&fresh);
        if self.require_own(&spot, fresh)?.is_some() {
            unlinkat(&spot.dir, fresh, UnlinkatFlags::NoRemoveDir).cannot(ACTION, &self.path)?;
        }
        let is_shared = self.made.zip(before).is_some_and(|(made, before)| made != before);
        let made = make(&spot, fresh, page).inspect_err(|_| {
            unlinkat(&spot.dir, fresh, UnlinkatFlags::NoRemoveDir).ok();
        });
        self.made = Some(made.cannot(ACTION, &self.path)?);
        if is_shared {
            let cause = "another program writes it, too; each needs one of its own";
            return Err(Error::because("share metrics file", &self.path, cause));
        }
        Ok(())
    }

    /// The file under a name there, if there is one. One that is not ours is refused.
    fn require_own(&self, spot: &Spot, name: &Path) -> Result<Option<Identity>> {
        let path = spot.path.with_file_name(name);
        let stat = match fstatat(&spot.dir, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Err(Errno::ENOENT) => return Ok(None),
            found => found.cannot(ACTION, &path)?,
        };
        match SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT {
            SFlag::S_IFDIR => return Err(Error::because(ACTION, &self.path, "it is a directory")),
            SFlag::S_IFREG if stat.st_uid == geteuid().as_raw() => {}
            _ => return Err(own::refusal(&path)),
        }
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let file = File::from(openat(&spot.dir, name, flags, Mode::empty()).cannot("read", &path)?);
        if !own::is_ours(&file, own::begins_with(BEGINNING.as_bytes())).cannot("read", &path)? {
            return Err(own::refusal(&path));
        }
        Ok(Some(Identity::from(&file.metadata().cannot("read", &path)?)))
    }
}

fn make(spot: &Spot, fresh: &Path, page: &str) -> io::Result<Identity> {
    seam::pass("metrics-write")?;
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let mut file = File::from(openat(&spot.dir, fresh, flags, Mode::S_IRUSR | Mode::S_IWUSR)?);
    file.write_all(page.as_bytes())?;
    // Whatever the umask is.
    file.set_permissions(Permissions::from_mode(MODE))?;
    seam::pass("metrics-rename")?;
    renameat(&spot.dir, fresh, &spot.dir, Path::new(&spot.name))?;
    Ok(Identity::from(&file.metadata()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    const PAGE: &str = "# standpipe metrics\nx 1\n";

    #[test]
    fn a_page_is_replaced_whole_and_everybody_may_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("standpipe.prom");
        let mut file = MetricsFile::new(path.clone());
        for page in [PAGE, "# standpipe metrics\n"] {
            // What a killed run left.
            fs::write(dir.path().join("standpipe.prom.new"), "# standp").unwrap();
            file.replace(page).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), page);
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o644);
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        }
        fs::remove_file(&path).unwrap();
        file.replace(PAGE).unwrap();
        assert!(path.exists(), "one that somebody removed comes back");
    }

    #[test]
    fn what_is_not_ours_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("standpipe.prom");
        for name in ["standpipe.prom", "standpipe.prom.new"] {
            let other = dir.path().join(name);
            fs::write(&other, "precious 1\n").unwrap();
            let refusal = MetricsFile::new(path.clone()).replace(PAGE).unwrap_err().to_string();
            assert!(refusal.ends_with(&format!("/{name}: not one of our files; move it elsewhere")), "{refusal}");
            assert_eq!(fs::read_to_string(&other).unwrap(), "precious 1\n");
            fs::remove_file(&other).unwrap();
        }
        fs::create_dir(&path).unwrap();
        let refusal = MetricsFile::new(path.clone()).replace(PAGE).unwrap_err().to_string();
        assert!(refusal.ends_with("/standpipe.prom: it is a directory"), "{refusal}");
        let refusal = MetricsFile::new(dir.path().join("none/x.prom")).replace(PAGE).unwrap_err().to_string();
        assert!(refusal.ends_with("/none/x.prom: its directory does not exist"), "{refusal}");
    }

    #[test]
    fn a_link_of_our_own_is_followed_and_stays() {
        let dir = tempfile::tempdir().unwrap();
        let (link, target) = (dir.path().join("link.prom"), dir.path().join("target.prom"));
        symlink(&target, &link).unwrap();
        MetricsFile::new(link.clone()).replace(PAGE).unwrap();
        assert!(link.is_symlink() && !target.is_symlink());
        assert_eq!(fs::read_to_string(target).unwrap(), PAGE);
    }

    #[test]
    fn two_programs_that_share_a_file_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("standpipe.prom");
        let (mut one, mut two) = (MetricsFile::new(path.clone()), MetricsFile::new(path));
        one.replace(PAGE).unwrap();
        one.replace(PAGE).unwrap();
        two.replace(PAGE).unwrap();
        for file in [&mut one, &mut two] {
            let sentence = file.replace(PAGE).unwrap_err().to_string();
            assert!(sentence.ends_with("another program writes it, too; each needs one of its own"), "{sentence}");
        }
        two.replace(PAGE).unwrap();
    }
}
