//! `reader reindex`: gives archives the search filter that they lack.
//!
//! Invariants: an archive's name always stands for a complete archive with the same data frames, byte for byte: the old
//! one until the new one is durable, then that. What somebody removed or replaced meanwhile is left to them. No `.todo`
//! is made, so no hook runs again; an archive whose hook has not succeeded yet stays as it is.
//!
//! A reader may be running: what a kill leaves here, it removes like an unfinished archive of its own.

use std::fs::{File, Metadata};
use std::os::unix::fs::MetadataExt;

use nix::errno::Errno;
use nix::unistd::Gid;
use standpipe_common::archive::format::is_beginning;
use standpipe_common::archive::graft::graft_filter;
use standpipe_common::archive::{Archive, Decoder, FilterFault};
use standpipe_common::error::{Cannot, EXIT_IO, Error, Result, Stop};
use standpipe_common::part::{PartKind, PartName};
use standpipe_common::rename::is_unsupported;
use standpipe_common::shown::{Shown as _, counted, size};
use standpipe_common::standard;

use crate::archiving::{Out, new_file};
use crate::cli::ReindexArgs;
use crate::disk::{self, Dir, FileMode};
use crate::inventory::select;
use crate::listing::{Files, Listing, unfinished_name};

/// Gives filters to what was asked for. The exit code.
pub fn run(args: &ReindexArgs) -> std::result::Result<u8, Stop> {
    let (dirs, errors) = select(&args.selection)?;
    let mut decoder = Decoder::new().cannot("start", "zstd")?;
    let mut report = Sums { failed: errors.len(), ..Sums::default() };
    for dir in &dirs {
        let listing = Listing::read(dir)?;
        for (name, files) in listing.parts.iter().filter(|(_, files)| files.archive) {
            let waits = listing.todos.contains(name);
            report.take(dir, name, reindex(dir, name, *files, waits, &mut decoder));
        }
    }
    standard::say(report.summary());
    Ok(if report.failed == 0 { 0 } else { EXIT_IO })
}

/// What became of an archive.
enum Outcome {
    /// It has a filter now, and is so many bytes longer.
    Made(u64),
    /// It has one.
    HadOne,
    /// It stays as it is, for this reason.
    Left(String),
    /// Somebody removed it meanwhile.
    Gone,
}

#[derive(Default)]
struct Sums {
    made: u64,
    bytes: u64,
    had_one: u64,
    left: u64,
    failed: usize,
}

impl Sums {
    fn take(&mut self, dir: &Dir, name: &PartName, outcome: Result<Outcome>) {
        match outcome {
            Ok(Outcome::Made(bytes)) => {
                self.made += 1;
                self.bytes += bytes;
            }
            Ok(Outcome::HadOne) => self.had_one += 1,
            Ok(Outcome::Left(why)) => {
                self.left += 1;
                standard::warning(format_args!("{}: {why}", dir.path_of(name.file(PartKind::Archive)).shown()));
            }
            Ok(Outcome::Gone) => {}
            Err(error) if error.errno() == Some(Errno::ENOENT) => {}
            Err(error) => {
                self.failed += 1;
                standard::error(error);
            }
        }
    }

    fn summary(&self) -> String {
        let Sums { made, bytes, had_one, left, failed } = *self;
        let told = |count: u64, what: &str| if count > 0 { format!("; {count} {what}") } else { String::new() };
        let (left, failed) = (told(left, "left unchanged"), told(failed as u64, "failed"));
        let made = counted(made, "archive");
        format!("added a search filter to {made} ({}); {had_one} had one{left}{failed}", size(bytes))
    }
}

fn reindex(dir: &Dir, name: &PartName, files: Files, waits: bool, decoder: &mut Decoder) -> Result<Outcome> {
    let left = |why: &str| Ok(Outcome::Left(why.to_owned()));
    let archive_name = name.file(PartKind::Archive);
    let path = dir.path_of(&archive_name);
    let file = dir.open_read(&archive_name)?;
    let metadata = file.metadata().cannot("inspect", &path)?;
    let archive = Archive::open(file.try_clone().cannot("open", &path)?, &path)?;
    match archive.filter(|_, _| ())? {
        Ok(_) => return Ok(Outcome::HadOne),
        Err(FilterFault::Missing | FilterFault::Damaged(_)) => {}
        Err(fault @ FilterFault::Newer(_)) => return Ok(Outcome::Left(fault.to_string())),
    }
    if let Err(fault) = archive.complete() {
        return Ok(Outcome::Left(fault.to_string()));
    }
    if let Err(fault) = archive.index() {
        return Ok(Outcome::Left(fault.to_string()));
    }
    if files.segment {
        return left("its segment is still there; reader decides between the two first");
    }
    if waits {
        return left("its hook has not succeeded yet");
    }
    if !dir.stat(&archive_name).is_ok_and(|stat| disk::is_removable(&stat)) {
        return left("it belongs to another user; run this command as that user");
    }
    let mode = FileMode { mode: metadata.mode() & 0o777, group: Some(Gid::from_raw(metadata.gid())) };
    let (made, unfinished) = new_file(dir, name, mode, None)?;
    let done = graft(&archive, &made, mode, &metadata, decoder).and_then(|bytes| match bytes {
        Some(bytes) => {
            let is_done = replace(dir, name, &made, unfinished.is_some(), metadata.ino())?;
            Ok(if is_done { Outcome::Made(bytes.saturating_sub(metadata.len())) } else { Outcome::Gone })
        }
        None => left("nothing in it can be filtered"),
    });
    match (&done, unfinished) {
        (Ok(Outcome::Made(_)), _) | (_, None) => {}
        (_, Some(unfinished)) => dir.remove_own(&unfinished, is_beginning)?,
    }
    done
}

/// Writes the archive with a filter into `made`, makes it durable, and gives its bytes. `None`: there is no use in it.
fn graft(archive: &Archive, made: &File, mode: FileMode, old: &Metadata, decoder: &mut Decoder) -> Result<Option<u64>> {
    let path = archive.path();
    let mut out = Out::of(made);
    if graft_filter(archive, decoder, &mut out)?.is_none() {
        return Ok(None);
    }
    let bytes = out.bytes();
    let check = Archive::open(made.try_clone().cannot("open", path)?, path)?;
    let is_sound = check.complete().is_ok()
        && check.frames() == archive.frames()
        && check.index().ok() == archive.index().ok()
        && check.filter(|_, _| ())?.is_ok();
    if !is_sound {
        return Err(Error::because("add a search filter to", path, "what was written is not what was meant"));
    }
    // A umask does not count, and a file is as old as the newest line in it.
    disk::set_mode(made, mode).cannot("set the mode of a copy of", path)?;
    disk::set_modified(made, disk::modified_ns(old)).cannot("set the modification time of a copy of", path)?;
    disk::sync(made).cannot("sync a copy of", path)?;
    Ok(Some(bytes))
}

/// Puts the new file in the place of the archive, if that is still the one with this inode. `false`: it is not.
fn replace(dir: &Dir, name: &PartName, made: &File, is_named: bool, old: u64) -> Result<bool> {
    let (archive, fresh) = (name.file(PartKind::Archive), unfinished_name(name));
    let is_old = |name: &str| dir.stat(name).is_ok_and(|stat| stat.st_ino == old);
    if !is_old(&archive) {
        return Ok(false);
    }
    if !is_named {
        dir.remove_own(&fresh, is_beginning)?;
        dir.link(made, &fresh)?;
    }
    match dir.exchange(&fresh, &archive) {
        Ok(()) => {}
        Err(error) if error.errno().is_some_and(is_unsupported) => {
            dir.rename_over(&fresh, &archive)?;
            dir.sync()?;
            return Ok(true);
        }
        Err(error) => {
            dir.remove_own(&fresh, is_beginning)?;
            return Err(error);
        }
    }
    // Somebody else's file may have come to that name in between: it gets it back.
    let is_ours = is_old(&fresh);
    if !is_ours {
        dir.exchange(&fresh, &archive)?;
    }
    dir.sync()?;
    dir.remove_own(&fresh, is_beginning)?;
    Ok(is_ours)
}
