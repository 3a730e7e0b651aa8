//! The names in directories, read once for all sources that live there.
//!
//! A directory is looked at once a round, and read again only if it changed. A time of change has a grain, up to 2 s,
//! and may come from the clock of another machine: so a directory whose time of change is new is read again each round,
//! until that time has stood still for longer by our own clock.

use std::cell::OnceCell;
use std::cmp::Ordering;
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, DirEntry, FileType};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirEntryExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use standpipe_common::error::{Cannot, Result};

use crate::file::identity::Identity;
use crate::file::network;
use crate::file::open::{At, look};
use crate::file::packed::Packing;
use crate::names::siblings::names::begins_with_year;

/// The coarsest grain of a time of change, and a little.
const GRAIN: Duration = Duration::from_millis(2100);

/// For so many times as long as a directory took to be listed it is not asked whether its names are others: names that come
/// without end, in one of fifty thousand, take a tenth of the time at most.
const REST_RATIO: u32 = 10;

/// A directory that nobody asks for is forgotten after so many rounds.
const UNUSED_ROUNDS_MAX: u64 = 100;

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EntryKind {
    /// A directory.
    Directory,
    /// A link to anything or nothing.
    Link,
    /// A file of any other kind.
    File,
}

impl EntryKind {
    /// That of what stands there. `None`: nothing does, or it cannot be looked at.
    pub fn of(path: &Path) -> Option<EntryKind> {
        fs::symlink_metadata(path).ok().map(|metadata| EntryKind::from(metadata.file_type()))
    }
}

impl From<FileType> for EntryKind {
    fn from(file_type: FileType) -> EntryKind {
        if file_type.is_dir() {
            EntryKind::Directory
        } else if file_type.is_symlink() {
            EntryKind::Link
        } else {
            EntryKind::File
        }
    }
}

/// The names in a directory, sorted; and in other orders, each made when it is asked for, once for all who look there.
#[derive(Debug, Default)]
pub struct Listing {
    entries: Vec<NamedFile>,
    /// The numbers that stand beside names are those of the inodes.
    is_numbered: bool,
    /// Names that begin with a year, by how they end unpacked.
    dated: OnceCell<Vec<u32>>,
    /// All, by their numbers.
    numbered: OnceCell<Vec<u32>>,
    /// Which files all of them are.
    identities: OnceCell<Vec<Option<Identity>>>,
}

impl PartialEq for Listing {
    fn eq(&self, other: &Listing) -> bool {
        self.entries == other.entries && self.is_numbered == other.is_numbered
    }
}

impl Eq for Listing {}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct NamedFile {
    name: OsString,
    kind: EntryKind,
    ino: u64,
}

impl Listing {
    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&OsStr, EntryKind)> {
        self.entries.iter().map(|entry| (entry.name.as_os_str(), entry.kind))
    }

    /// All that may be this file, or all.
    pub fn that_may_be(&self, file: Option<&Identity>) -> impl Iterator<Item = &OsStr> {
        let number = file.filter(|_| self.is_numbered).map(|file| file.ino);
        let all = number.is_none().then(|| self.entries.iter()).into_iter().flatten();
        let one = number.into_iter().flat_map(|number| {
            let numbered = self.numbered.get_or_init(|| self.ordered(|_| true, |one, other| one.ino.cmp(&other.ino)));
            let from = numbered.partition_point(|at| self.at(*at).ino < number);
            numbered[from..].iter().map(|at| self.at(*at)).take_while(move |entry| entry.ino == number)
        });
        all.chain(one).map(|entry| entry.name.as_os_str())
    }

    /// Those that begin with a year and end, unpacked, as a name does that begins otherwise.
    pub fn dated_before<'a>(&'a self, live: &'a OsStr) -> impl Iterator<Item = &'a OsStr> {
        let dated = self.dated.get_or_init(|| {
            let by_end = |one: &NamedFile, other: &NamedFile| backwards(&one.name).cmp(backwards(&other.name));
            self.ordered(|entry| begins_with_year(&entry.name), by_end)
        });
        let from = dated.partition_point(|at| backwards(&self.at(*at).name).lt(live.as_bytes().iter().rev()));
        let names = dated[from..].iter().map(|at| self.at(*at).name.as_os_str());
        names.take_while(|name| Packing::unpacked(name).as_bytes().ends_with(live.as_bytes()))
    }

    /// All of them in `dir`, and which files they were when that was first asked, if that could be said.
    pub fn files(&self, dir: &Path) -> impl Iterator<Item = (&OsStr, Option<&Identity>)> {
        let identity = |entry: &NamedFile| match look(&dir.join(&entry.name)) {
            At::File(found) => Some(found.identity),
            _ => None,
        };
        let identities = self.identities.get_or_init(|| self.entries.iter().map(identity).collect());
        self.entries.iter().zip(identities).map(|(entry, identity)| (entry.name.as_os_str(), identity.as_ref()))
    }

    /// Where some of the names stand, in another order.
    fn ordered(&self, is_one: fn(&NamedFile) -> bool, order: impl Fn(&NamedFile, &NamedFile) -> Ordering) -> Vec<u32> {
        let mut all: Vec<u32> = (0..self.entries.len() as u32).filter(|at| is_one(self.at(*at))).collect();
        all.sort_unstable_by(|one, other| order(self.at(*one), self.at(*other)));
        all
    }

    fn at(&self, at: u32) -> &NamedFile {
        &self.entries[at as usize]
    }

    /// Those that begin with `prefix`.
    pub fn beginning<'a>(&'a self, prefix: &'a OsStr) -> impl Iterator<Item = &'a OsStr> {
        let from = self.entries.partition_point(|entry| entry.name.as_os_str() < prefix);
        let names = self.entries[from..].iter().map(|entry| entry.name.as_os_str());
        names.take_while(move |name| name.as_bytes().starts_with(prefix.as_bytes()))
    }

    /// Whether this name is there.
    pub fn contains(&self, name: &OsStr) -> bool {
        self.entries.binary_search_by(|other| other.name.as_os_str().cmp(name)).is_ok()
    }
}

/// What was read of directories.
#[derive(Debug)]
pub struct Directories {
    known: HashMap<PathBuf, Directory>,
    round: u64,
    now: Instant,
}

#[derive(Debug)]
struct Directory {
    /// Device, inode and time of change. `None`: it does not exist.
    stamp: Option<[i64; 4]>,
    /// When this stamp was first seen.
    since: Instant,
    /// When the names were last read.
    read_at: Instant,
    /// In which round it was last looked at, and last asked for.
    round: u64,
    used: u64,
    /// Until when its names may be others unnoticed.
    rests_until: Instant,
    listing: Rc<Listing>,
    /// Grows whenever the names are others.
    version: u64,
}

impl Directories {
    /// Knows nothing yet.
    pub fn new(now: Instant) -> Directories {
        Directories { known: HashMap::new(), round: 0, now }
    }

    /// From here on directories may be others than they were.
    pub fn begin_round(&mut self, now: Instant) {
        debug_assert!(now >= self.now, "time goes on");
        self.round += 1;
        self.now = now;
        if self.round.is_multiple_of(UNUSED_ROUNDS_MAX) {
            let oldest = self.round - UNUSED_ROUNDS_MAX;
            self.known.retain(|_, known| known.used >= oldest);
        }
    }

    /// The same within a round, for one who saw that what was looked at before is not what is there.
    pub fn forget_round(&mut self) {
        self.begin_round(self.now);
    }

    /// The names in a directory and how often they were seen to change; a missing directory has none.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn list(&mut self, dir: &Path) -> Result<(Rc<Listing>, u64)> {
        if let Some(known) = self.known.get_mut(dir).filter(|known| known.round == self.round) {
            known.used = self.round;
            return Ok((known.listing.clone(), known.version));
        }
        // The stamp comes first: a change after it is seen next time.
        let stamp = stamp(dir).cannot("inspect", dir)?;
        if let Some(known) = self.known.get_mut(dir).filter(|known| known.stamp == stamp) {
            (known.round, known.used) = (self.round, self.round);
            if known.read_at.duration_since(known.since) >= GRAIN {
                return Ok((known.listing.clone(), known.version));
            }
        }
        let began = Instant::now();
        let listing = read(dir).cannot("read", dir)?;
        Ok(self.remember(dir, stamp, listing, self.now + REST_RATIO * began.elapsed()))
    }

    /// How often the names in a directory were seen to change, for one who asks only whether they did: where listing it
    /// takes long that is not seen at once.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn version(&mut self, dir: &Path) -> Result<u64> {
        if let Some(known) = self.known.get_mut(dir).filter(|known| self.now < known.rests_until) {
            known.used = self.round;
            return Ok(known.version);
        }
        self.list(dir).map(|(_, version)| version)
    }

    fn remember(
        &mut self,
        dir: &Path,
        stamp: Option<[i64; 4]>,
        listing: Listing,
        rests_until: Instant,
    ) -> (Rc<Listing>, u64) {
        let (round, now) = (self.round, self.now);
        let Some(known) = self.known.get_mut(dir) else {
            let listing = Rc::new(listing);
            let known = Directory {
                stamp,
                since: now,
                read_at: now,
                round,
                used: round,
                rests_until,
                listing: listing.clone(),
                version: round,
            };
            self.known.insert(dir.to_path_buf(), known);
            return (listing, round);
        };
        known.read_at = now;
        (known.round, known.used, known.rests_until) = (round, round, rests_until);
        if known.stamp == stamp && *known.listing == listing {
            // With all that was found out of it.
            return (known.listing.clone(), known.version);
        }
        if known.stamp != stamp {
            known.stamp = stamp;
            known.since = now;
        }
        if !known.listing.iter().eq(listing.iter()) {
            // A round, so that it grows also over a time in which the directory was forgotten.
            known.version = round;
        }
        known.listing = Rc::new(listing);
        (known.listing.clone(), known.version)
    }
}

fn stamp(dir: &Path) -> io::Result<Option<[i64; 4]>> {
    match fs::metadata(dir) {
        Ok(metadata) => {
            let [dev, ino] = [metadata.dev(), metadata.ino()].map(u64::cast_signed);
            Ok(Some([dev, ino, metadata.mtime(), metadata.mtime_nsec()]))
        }
        Err(error) if is_missing(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn read(dir: &Path) -> io::Result<Listing> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if is_missing(&error) => return Ok(Listing::default()),
        Err(error) => return Err(error),
    };
    // Where directories do not say it, each is asked; what went meanwhile is as good as any file.
    let kind = |entry: &DirEntry| entry.file_type().map_or(EntryKind::File, EntryKind::from);
    let numbered = |entry: DirEntry| NamedFile { name: entry.file_name(), kind: kind(&entry), ino: entry.ino() };
    let mut entries = entries.map(|entry| entry.map(numbered)).collect::<io::Result<Vec<_>>>()?;
    entries.sort_unstable();
    Ok(Listing { entries, is_numbered: network::is_numbered(dir), ..Listing::default() })
}

/// From the end of a name, unpacked, to its beginning.
fn backwards(name: &OsStr) -> impl Iterator<Item = &u8> {
    Packing::unpacked(name).as_bytes().iter().rev()
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(listing: &Listing, prefix: &str) -> Vec<String> {
        listing.beginning(OsStr::new(prefix)).map(|name| name.to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn names_are_found_by_what_they_begin_with() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b.log.1", "a.log", "b.log", "c.log", "b", "b.log.10"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        let (listing, _) = Directories::new(Instant::now()).list(dir.path()).unwrap();
        assert_eq!(names(&listing, "b.log"), ["b.log", "b.log.1", "b.log.10"]);
        assert_eq!(names(&listing, "").len(), 6);
        assert!(names(&listing, "d").is_empty());
        assert!(listing.contains(OsStr::new("b")) && !listing.contains(OsStr::new("b.l")));
        let file = Identity::from(&fs::metadata(dir.path().join("c.log")).unwrap());
        let that_may_be = |listing: &Listing| listing.that_may_be(Some(&file)).map(OsStr::to_owned).collect::<Vec<_>>();
        assert!(!listing.is_numbered || that_may_be(&listing) == ["c.log"]);
        assert_eq!(
            that_may_be(&Listing {
                entries: read(dir.path()).unwrap().entries,
                is_numbered: false,
                ..Listing::default()
            })
            .len(),
            6
        );
    }

    #[test]
    fn names_with_a_date_first_are_found_by_how_they_end() {
        let dir = tempfile::tempdir().unwrap();
        for name in
            ["20261121-a.log", "20261122-a.log.gz", "20261121-ba.log", "2000.log", "a.log", "b-a.log", "20261121-a.lo"]
        {
            fs::write(dir.path().join(name), "").unwrap();
        }
        let (listing, _) = Directories::new(Instant::now()).list(dir.path()).unwrap();
        let dated = |live: &str| {
            let mut names: Vec<_> = listing.dated_before(OsStr::new(live)).map(OsStr::to_owned).collect();
            names.sort();
            names
        };
        assert_eq!(dated("-a.log"), ["20261121-a.log", "20261122-a.log.gz"]);
        assert_eq!(dated("a.log").len(), 3);
        assert_eq!(dated("b.log").len(), 0);
        assert_eq!(dated("log").len(), 4);
    }

    #[test]
    fn what_was_found_out_of_a_listing_is_kept_while_it_is_the_same() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a.log"), "").unwrap();
        let mut directories = Directories::new(Instant::now());
        let (first, _) = directories.list(dir.path()).unwrap();
        let known = |listing: &Listing| listing.files(dir.path()).map(|(_, file)| file.copied()).collect::<Vec<_>>();
        let file = Identity::from(&fs::metadata(dir.path().join("a.log")).unwrap());
        assert_eq!(known(&first), [Some(file)]);
        directories.forget_round();
        assert!(Rc::ptr_eq(&first, &directories.list(dir.path()).unwrap().0), "read again, and the same");
        fs::write(dir.path().join("b.log"), "").unwrap();
        directories.forget_round();
        let (second, _) = directories.list(dir.path()).unwrap();
        assert!(!Rc::ptr_eq(&first, &second) && known(&second).len() == 2);
    }

    #[test]
    fn a_change_is_seen_in_the_next_round_even_if_the_time_of_change_is_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let start = Instant::now();
        let mut directories = Directories::new(start);
        let (_, before) = directories.list(dir.path()).unwrap();
        let modified = fs::metadata(dir.path()).unwrap().modified().unwrap();
        fs::write(dir.path().join("app.log.1"), "").unwrap();
        fs::File::open(dir.path()).unwrap().set_modified(modified).unwrap();
        assert_eq!(directories.list(dir.path()).unwrap().1, before, "one round, one answer");
        directories.begin_round(start + Duration::from_millis(10));
        let (listing, after) = directories.list(dir.path()).unwrap();
        assert_eq!(names(&listing, ""), ["app.log.1"]);
        assert!(after > before);
        directories.begin_round(start + Duration::from_millis(20));
        assert_eq!(directories.list(dir.path()).unwrap().1, after);
    }

    #[test]
    fn a_directory_that_stood_still_is_not_read_again_until_it_changes() {
        let dir = tempfile::tempdir().unwrap();
        let start = Instant::now();
        let mut directories = Directories::new(start);
        let read_at = |directories: &Directories| directories.known[dir.path()].read_at;
        for seconds in [0, 1, 2, 3, 4, 5] {
            directories.begin_round(start + Duration::from_secs(seconds));
            directories.list(dir.path()).unwrap();
        }
        assert_eq!(read_at(&directories), start + Duration::from_secs(3));
        fs::write(dir.path().join("app.log.1"), "").unwrap();
        directories.begin_round(start + Duration::from_secs(6));
        assert_eq!(names(&directories.list(dir.path()).unwrap().0, "app"), ["app.log.1"]);
        let modified = fs::metadata(dir.path()).unwrap().modified().unwrap();
        fs::write(dir.path().join("app.log.2"), "").unwrap();
        fs::File::open(dir.path()).unwrap().set_modified(modified).unwrap();
        directories.begin_round(start + Duration::from_millis(6010));
        assert_eq!(names(&directories.list(dir.path()).unwrap().0, "app"), ["app.log.1", "app.log.2"]);
    }

    #[test]
    fn one_that_takes_long_to_be_listed_rests_for_who_asks_whether_it_changed() {
        let dir = tempfile::tempdir().unwrap();
        let (large, small) = (dir.path().join("large"), dir.path().join("small"));
        let start = Instant::now();
        let mut directories = Directories::new(start);
        let at = |round: u64| start + Duration::from_secs(1) + Duration::from_millis(10) * round as u32;
        for dir in [&large, &small] {
            fs::create_dir(dir).unwrap();
            directories.list(dir).unwrap();
        }
        let mut listings = 0;
        directories.known.get_mut(&large).unwrap().rests_until = at(50);
        for round in 0..100 {
            directories.begin_round(at(round));
            for dir in [&large, &small] {
                fs::write(dir.join(round.to_string()), "").unwrap();
                directories.version(dir).unwrap();
            }
            if directories.known[&large].read_at == at(round) {
                // As if it took 5 ms.
                listings += 1;
                directories.known.get_mut(&large).unwrap().rests_until = at(round + 5);
            }
            assert_eq!(directories.known[&small].version, directories.round, "others notice nothing");
            directories.known.get_mut(&small).unwrap().rests_until = at(round);
        }
        assert_eq!(listings, 10);
        assert_eq!(directories.list(&large).unwrap().0.iter().count(), 100, "who decides knows all");
    }

    #[test]
    fn a_missing_directory_is_empty_and_one_that_is_not_asked_for_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let olddir = dir.path().join("olddir");
        let mut directories = Directories::new(Instant::now());
        let (listing, before) = directories.list(&olddir).unwrap();
        assert_eq!(*listing, Listing::default());
        fs::create_dir(&olddir).unwrap();
        fs::write(olddir.join("app.log.1"), "").unwrap();
        for _ in 0..=2 * UNUSED_ROUNDS_MAX {
            directories.begin_round(Instant::now());
        }
        assert!(directories.known.is_empty());
        let (listing, after) = directories.list(&olddir).unwrap();
        assert!(after > before && listing.contains(OsStr::new("app.log.1")));
    }
}
