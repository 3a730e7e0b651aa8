//! Where the files of mailboxes lie: in the log root, or in `mailbox_dir`, with a link in the log root that leads there.
//!
//! Invariants: the names in the log root alone tell which mailboxes there are, so another configuration finds what an
//! earlier one left; a link bears the name of a mailbox only while its target is a whole one; no file in `mailbox_dir`
//! has a name that another had before. A link is followed only if root or our own uid made it, and only to a regular
//! file of our uid with one name. What mailboxes hold is not known here.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::SFlag;
use nix::unistd::{AccessFlags, faccessat};
use standpipe_common::error::{Cannot, Error, Result};
use standpipe_common::own;

use crate::disk::{self, Dir};
use crate::mailbox::{Home, Mailbox, NAME_PREFIX};

/// Start of the names in `mailbox_dir`; a random number follows, so that any number of log roots can share one.
const TARGET_PREFIX: &str = "standpipe-mailbox-";

/// Start of the name of a link whose target is being made or removed.
const UNFINISHED_PREFIX: &str = ".unfinished-mailbox-";

const NOT_OURS: &str = "not a regular file owned by this user with a single link; move it elsewhere";

/// The place of all mailboxes of a log root.
#[derive(Debug)]
pub struct Shelf {
    root: Dir,
    elsewhere: Option<Dir>,
}

/// The place of one mailbox file.
#[derive(Debug)]
pub struct MailboxFile {
    /// The directory that has it.
    pub dir: Dir,
    /// Its name there.
    pub file: PathBuf,
}

impl Shelf {
    /// That of `root`, which we have locked; new mailboxes come into `mailbox_dir`, if there is one.
    ///
    /// # Errors
    /// `mailbox_dir` is not there, cannot be written, or others may write it and we are root.
    pub fn open(root: Dir, mailbox_dir: Option<&Path>) -> Result<Shelf> {
        let elsewhere = mailbox_dir.map(open_elsewhere).transpose()?;
        let shelf = Shelf { root, elsewhere };
        for name in shelf.names_with(UNFINISHED_PREFIX)? {
            shelf.finish_removal(&name)?;
        }
        Ok(shelf)
    }

    /// The log root.
    pub fn root(&self) -> &Dir {
        &self.root
    }

    /// The directories outside of the log root that have mailboxes, or get them.
    pub fn outside(&self) -> Result<Vec<Dir>> {
        let mut dirs: Vec<Dir> = self.elsewhere.iter().map(Dir::try_clone).collect::<Result<_>>()?;
        for name in self.names()? {
            if self.root.read_link(&name).is_ok() {
                dirs.extend(self.place(&name)?.map(|place| place.dir));
            }
        }
        Ok(dirs)
    }

    /// The mailboxes that are there, sorted.
    pub fn names(&self) -> Result<Vec<String>> {
        self.names_with(NAME_PREFIX)
    }

    /// Makes one for chunks of `data_bytes` under a name that is free.
    pub fn make(&self, home: &Home, data_bytes: usize) -> Result<Mailbox> {
        let name = self.root.free_name(|number| format!("{NAME_PREFIX}{number}"));
        let Some(dir) = &self.elsewhere else { return Mailbox::create(&self.root, &name, &name, home, data_bytes) };
        let file = target_name().cannot("create mailbox in", dir.path())?;
        let unfinished = unfinished_name(&name);
        self.root.symlink(dir.path_of(&file).as_os_str(), &unfinished)?;
        let made = Mailbox::create(dir, &file, &name, home, data_bytes);
        match made {
            Ok(mailbox) => self.root.rename_new(&unfinished, &name).map(|()| mailbox),
            Err(error) => {
                self.root.remove(&unfinished).ok();
                Err(error)
            }
        }
    }

    /// Whether a mailbox lies where new ones come.
    pub fn is_in_place(&self, name: &str) -> bool {
        let target = self.root.read_link(name).ok();
        let dir = target.as_ref().and_then(|target| Path::new(target).parent());
        dir == self.elsewhere.as_ref().map(Dir::path)
    }

    /// Where a mailbox lies. `None`: its link leads to nothing.
    ///
    /// # Errors
    /// The kernel's; or it is not ours: a log root in a directory that a group may write can have one of anybody.
    pub fn place(&self, name: &str) -> Result<Option<MailboxFile>> {
        let Some(place) = place(&self.root, OsStr::new(name))? else { return Ok(None) };
        let path = place.dir.path_of(&place.file);
        let found = place.dir.stat(&place.file).cannot("inspect mailbox", &path)?;
        if disk::is_ours(&found) { Ok(Some(place)) } else { Err(Error::because("open mailbox", path, NOT_OURS)) }
    }

    /// Removes a mailbox, link and file.
    pub fn remove(&self, name: &str) -> Result<()> {
        if self.root.read_link(name).is_err() {
            return self.root.remove(name);
        }
        let unfinished = unfinished_name(name);
        self.root.rename_new(name, &unfinished)?;
        self.finish_removal(&unfinished)
    }

    /// Removes the unfinished link `name` and the file that it leads to, if that is one of ours. Where a mailbox has the
    /// same target, only its renaming was not finished.
    fn finish_removal(&self, name: &str) -> Result<()> {
        let target = self.root.read_link(name).unwrap_or_default();
        let is_ours =
            Path::new(&target).file_name().is_some_and(|file| file.as_bytes().starts_with(TARGET_PREFIX.as_bytes()));
        if !is_ours {
            return Err(own::refusal(&self.root.path_of(name)));
        }
        let finished = name.replacen(UNFINISHED_PREFIX, NAME_PREFIX, 1);
        let is_kept = self.root.read_link(finished).is_ok_and(|other| other == target);
        if !is_kept && let Ok(Some(MailboxFile { dir, file })) = self.place(name) {
            dir.remove(&file)?;
        }
        self.root.remove(name)
    }

    fn names_with(&self, prefix: &str) -> Result<Vec<String>> {
        let names = self.root.names()?.into_iter().filter_map(|name| name.into_string().ok());
        let mut names: Vec<String> = names.filter(|name| name.starts_with(prefix)).collect();
        names.sort();
        Ok(names)
    }
}

/// Opens a mailbox for reading only, wherever it lies.
pub fn open_read(root: &Dir, name: &OsStr) -> Result<File> {
    match place(root, name)? {
        Some(place) => place.dir.open_read(&place.file),
        None => Err(Error::new("open", root.path_of(name), Errno::ENOENT)),
    }
}

fn place(root: &Dir, name: &OsStr) -> Result<Option<MailboxFile>> {
    let path = root.path_of(name);
    let found = root.stat(name).cannot("inspect mailbox", &path)?;
    if !disk::is_kind(&found, SFlag::S_IFLNK) {
        return Ok(Some(MailboxFile { dir: root.try_clone()?, file: name.into() }));
    }
    if !disk::is_trusted(&found) {
        let cause = format!("a link made by user {}; reader follows links of root and its own user only", found.st_uid);
        return Err(Error::because("open mailbox", path, cause));
    }
    let target = root.path().join(root.read_link(name).cannot("read link", &path)?);
    let (Some(parent), Some(file)) = (target.parent(), target.file_name()) else { return Ok(None) };
    let dir = match Dir::open(parent) {
        Err(error) if matches!(error.errno(), Some(Errno::ENOENT | Errno::ENOTDIR)) => return Ok(None),
        other => other?,
    };
    match dir.stat(file) {
        Err(Errno::ENOENT) => Ok(None),
        Err(errno) => Err(Error::new("inspect mailbox", target, errno)),
        Ok(stat) if disk::is_ours(&stat) => Ok(Some(MailboxFile { file: file.into(), dir })),
        Ok(_) => Err(Error::because("open mailbox", target, NOT_OURS)),
    }
}

fn open_elsewhere(path: &Path) -> Result<Dir> {
    // Links in the log root lead there whatever our current directory is.
    let dir = Dir::open_itself(path)?;
    disk::refuse_if_others_may_write(&dir)?;
    let may_write = faccessat(&dir, ".", AccessFlags::W_OK | AccessFlags::X_OK, AtFlags::empty());
    may_write.cannot("write into mailbox_dir", dir.path())?;
    Ok(dir)
}

fn unfinished_name(name: &str) -> String {
    name.replacen(NAME_PREFIX, UNFINISHED_PREFIX, 1)
}

fn target_name() -> std::io::Result<String> {
    let mut bytes = [0; 8];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(format!("{TARGET_PREFIX}{:016x}", u64::from_le_bytes(bytes)))
}
