//! Who has which FIFO open, as far as /proc shows it: one pass over all processes, nothing is opened.
//!
//! A process is a holder or a reader by the name of its program, and only if it really has the FIFO open. Whoever was
//! found is certain. That nobody else is there is certain of a FIFO for which [`Openers::all_seen_on`] holds: a process
//! that /proc hides (another user's, from an ordinary user) may have any FIFO open, a single descriptor that cannot be
//! examined only one with its inode number. Processes of another pid namespace are beyond what can be seen, as are
//! descriptors on their way through a socket.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use nix::errno::Errno;
use nix::libc;
use standpipe_common::fifo::Identity;
use standpipe_common::shown::Shown as _;

const PROC: &str = "/proc";
/// A process that closes descriptors while we look, as a holder after HUP, is looked at so often.
const LOOKS_MAX: usize = 4;

/// What a process is to a FIFO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The program `holder`.
    Holder,
    /// The program `reader`.
    Reader,
    /// Any other.
    Stranger,
}

/// A process.
#[derive(Debug, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// The name of its program, at most 15 bytes of it.
    pub command: OsString,
    /// Its user.
    pub uid: u32,
    /// What it is.
    pub role: Role,
}

/// A process that has a FIFO open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opener {
    /// Who.
    pub process: Rc<Process>,
    /// It could read.
    pub reads: bool,
    /// It could write.
    pub writes: bool,
}

impl Opener {
    /// Whether the FIFO cannot come to its end as long as this process has it open: a holder or reader of ours at work.
    pub fn keeps(&self) -> bool {
        self.process.role != Role::Stranger && self.reads && self.writes
    }
}

/// Who has which FIFO open.
#[derive(Debug, Default)]
pub struct Openers {
    by_fifo: HashMap<Identity, Vec<Opener>>,
    doubtful: HashSet<Identity>,
    hidden: Vec<Rc<Process>>,
    is_proc_hidden: bool,
}

impl Openers {
    /// Looks for everybody who has one of these FIFOs open, but for ourselves.
    pub fn of(wanted: &HashSet<Identity>) -> Openers {
        Openers::below(Path::new(PROC), wanted)
    }

    /// Those of one FIFO, by number.
    pub fn on(&self, fifo: Identity) -> &[Opener] {
        self.by_fifo.get(&fifo).map_or(&[], Vec::as_slice)
    }

    /// Those of all FIFOs.
    pub fn all(&self) -> impl Iterator<Item = &Opener> {
        self.by_fifo.values().flatten()
    }

    /// Whether nobody else can have this FIFO open.
    pub fn all_seen_on(&self, fifo: Identity) -> bool {
        !self.is_proc_hidden && !self.doubtful.contains(&fifo)
    }

    /// Processes of which something could not be examined that may be one of these FIFOs, by number.
    pub fn hidden(&self) -> &[Rc<Process>] {
        &self.hidden
    }

    /// Whether /proc does not even list other users' processes, or is not mounted.
    pub fn is_proc_hidden(&self) -> bool {
        self.is_proc_hidden
    }

    fn below(proc: &Path, wanted: &HashSet<Identity>) -> Openers {
        // Where even the first process is not there, /proc is mounted with hidepid, or not at all.
        let mut openers = Openers { is_proc_hidden: !proc.join("1").exists(), ..Openers::default() };
        for pid in pids(proc) {
            openers.add(pid, &proc.join(pid.to_string()), wanted);
        }
        openers
    }

    fn add(&mut self, pid: u32, dir: &Path, wanted: &HashSet<Identity>) {
        let mut seen = Seen::default();
        match look(dir, wanted, &mut seen) {
            Err(error) if is_gone(&error) => return,
            Err(_) => seen.doubt(wanted, None),
            Ok(()) => {}
        }
        if seen.found.is_empty() && seen.doubtful.is_empty() {
            return;
        }
        let process = Rc::new(describe(pid, dir));
        if !seen.doubtful.is_empty() {
            self.hidden.push(Rc::clone(&process));
        }
        debug_assert!(seen.found.keys().chain(&seen.doubtful).all(|fifo| wanted.contains(fifo)), "nobody asked for it");
        self.doubtful.extend(seen.doubtful);
        for (fifo, Access { reads, writes }) in seen.found {
            self.by_fifo.entry(fifo).or_default().push(Opener { process: Rc::clone(&process), reads, writes });
        }
    }
}

/// What a process can do with a FIFO, by all its descriptors together.
#[derive(Clone, Copy, Default)]
struct Access {
    reads: bool,
    writes: bool,
}

/// What was seen of one process.
#[derive(Default)]
struct Seen {
    found: HashMap<Identity, Access>,
    /// A descriptor that could not be examined may lead to these.
    doubtful: HashSet<Identity>,
}

impl Seen {
    fn add(&mut self, fifo: Identity, access: Access) {
        let known = self.found.entry(fifo).or_default();
        known.reads |= access.reads;
        known.writes |= access.writes;
    }

    /// A descriptor of this inode number, or of any, may lead to one of them.
    fn doubt(&mut self, wanted: &HashSet<Identity>, inode: Option<u64>) {
        // Of a process that keeps all its descriptors to itself the first says it all.
        if self.doubtful.len() < wanted.len() {
            self.doubtful.extend(wanted.iter().filter(|fifo| inode.is_none_or(|inode| fifo.ino == inode)));
        }
    }
}

/// Adds what one process has open of `wanted`. A descriptor that goes meanwhile may have got a successor with a number
/// that was passed already, so then all of them are looked at again.
fn look(dir: &Path, wanted: &HashSet<Identity>, seen: &mut Seen) -> io::Result<()> {
    for _ in 0..LOOKS_MAX {
        let mut went = false;
        for entry in fs::read_dir(dir.join("fd"))? {
            let entry = entry?;
            let fdinfo = dir.join("fdinfo").join(entry.file_name());
            match look_at(&entry.path(), wanted) {
                Ok(None) => {}
                Ok(Some(fifo)) => match access(&fdinfo) {
                    Ok(Some(access)) => seen.add(fifo, access),
                    Ok(None) => {}
                    Err(error) if is_gone(&error) => went = true,
                    Err(_) => drop(seen.doubtful.insert(fifo)),
                },
                Err(error) if is_gone(&error) => went = true,
                Err(_) => match inode(&fdinfo) {
                    Err(error) if is_gone(&error) => went = true,
                    inode => seen.doubt(wanted, inode.unwrap_or_default()),
                },
            }
        }
        if !went {
            break;
        }
    }
    Ok(())
}

/// The FIFO of `wanted` that a descriptor stands on, by `stat` through its link in /proc, which opens nothing.
fn look_at(fd: &Path, wanted: &HashSet<Identity>) -> io::Result<Option<Identity>> {
    let metadata = fs::metadata(fd)?;
    let identity = Identity::from(&metadata);
    Ok((metadata.file_type().is_fifo() && wanted.contains(&identity)).then_some(identity))
}

/// What the flags of a descriptor allow. `None`: it is one that only names the file.
fn access(fdinfo: &Path) -> io::Result<Option<Access>> {
    Ok(fs::read_to_string(fdinfo).map(|text| parse_access(&text))?.filter(|access| access.reads || access.writes))
}

/// The inode number of a descriptor whose file system does not let us examine it, as FUSE keeps out even root.
/// `None`: the kernel does not tell.
fn inode(fdinfo: &Path) -> io::Result<Option<u64>> {
    let text = fs::read_to_string(fdinfo)?;
    Ok(text.lines().find_map(|line| line.strip_prefix("ino:")).and_then(|ino| ino.trim().parse().ok()))
}

fn parse_access(fdinfo: &str) -> Option<Access> {
    let flags = fdinfo.lines().find_map(|line| line.strip_prefix("flags:"))?;
    let flags = i32::from_str_radix(flags.trim(), 8).ok()?;
    if flags & libc::O_PATH != 0 {
        return None;
    }
    let mode = flags & libc::O_ACCMODE;
    Some(Access { reads: mode != libc::O_WRONLY, writes: mode != libc::O_RDONLY })
}

/// The numbers of all processes but ours, in order.
fn pids(proc: &Path) -> Vec<u32> {
    let entries = fs::read_dir(proc).into_iter().flatten();
    let mut pids: Vec<u32> = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    pids.retain(|&pid| pid != std::process::id());
    pids.sort_unstable();
    pids
}

/// All processes but ours that /proc lists.
pub fn processes() -> Vec<Process> {
    let proc = Path::new(PROC);
    pids(proc).into_iter().map(|pid| describe(pid, &proc.join(pid.to_string()))).collect()
}

/// A process that has this file open for writing.
pub fn has_open(file: Identity) -> Option<u32> {
    let proc = Path::new(PROC);
    pids(proc).into_iter().find(|pid| {
        let dir = proc.join(pid.to_string());
        let descriptors = fs::read_dir(dir.join("fd")).into_iter().flatten().flatten();
        let is_it = |entry: &fs::DirEntry| fs::metadata(entry.path()).is_ok_and(|is| Identity::from(&is) == file);
        let writes = |entry: &fs::DirEntry| {
            let access = access(&dir.join("fdinfo").join(entry.file_name()));
            access.is_ok_and(|access| access.is_some_and(|access| access.writes))
        };
        descriptors.into_iter().any(|entry| is_it(&entry) && writes(&entry))
    })
}

/// What a process is called, for people.
pub fn command_of(pid: u32) -> String {
    command(&Path::new(PROC).join(pid.to_string())).shown().to_string()
}

fn command(dir: &Path) -> OsString {
    let mut command = fs::read(dir.join("comm")).unwrap_or_default();
    if command.last() == Some(&b'\n') {
        command.pop();
    }
    OsString::from_vec(command)
}

fn describe(pid: u32, dir: &Path) -> Process {
    let command = command(dir);
    let role = role(&command, fs::read_link(dir.join("exe")).ok());
    Process { pid, command, uid: fs::metadata(dir).map_or(u32::MAX, |metadata| metadata.uid()), role }
}

/// By either name: a program may run under another one, and its file may have been replaced while it runs.
fn role(command: &OsString, exe: Option<PathBuf>) -> Role {
    let exe = exe.and_then(|exe| exe.file_name().map(OsString::from));
    let is = |name: &str| command == name || exe.as_ref().is_some_and(|exe| exe == name);
    match () {
        () if is("holder") => Role::Holder,
        () if is("reader") => Role::Reader,
        () => Role::Stranger,
    }
}

fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(Errno::ESRCH as i32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::OpenOptionsExt;

    #[test]
    fn flags_tell_what_a_descriptor_can_do() {
        for (flags, expected) in [
            ("0100000", Some((true, false))),
            ("0100001", Some((false, true))),
            ("0104002", Some((true, true))),
            ("012100000", None),
        ] {
            let text = format!("pos:\t0\nflags:\t{flags}\nmnt_id:\t29\n");
            assert_eq!(parse_access(&text).map(|access| (access.reads, access.writes)), expected, "{flags}");
        }
        assert!(parse_access("").is_none());
    }

    #[test]
    fn a_program_is_ours_by_its_name_or_its_file() {
        for (command, exe, expected) in [
            ("holder", None, Role::Holder),
            ("holder", Some("/usr/bin/holder (deleted)"), Role::Holder),
            ("main", Some("/usr/bin/holder"), Role::Holder),
            ("reader", Some("/usr/bin/reader"), Role::Reader),
            ("cat", Some("/usr/bin/cat"), Role::Stranger),
            ("holders", None, Role::Stranger),
        ] {
            assert_eq!(role(&OsString::from(command), exe.map(PathBuf::from)), expected, "{command} {exe:?}");
        }
    }

    /// A /proc of our own, with one process 7 that has these descriptors.
    fn proc_with(fds: &[(&str, &Path, &str)]) -> tempfile::TempDir {
        let proc = tempfile::tempdir().unwrap();
        for dir in ["1/fd", "7/fd", "7/fdinfo"] {
            fs::create_dir_all(proc.path().join(dir)).unwrap();
        }
        fs::write(proc.path().join("7/comm"), "cat\n").unwrap();
        for (fd, target, flags) in fds {
            std::os::unix::fs::symlink(target, proc.path().join("7/fd").join(fd)).unwrap();
            fs::write(proc.path().join("7/fdinfo").join(fd), format!("flags:\t{flags}\n")).unwrap();
        }
        proc
    }

    #[test]
    fn the_descriptors_of_a_process_count_together_and_only_on_wanted_fifos() {
        let dir = tempfile::tempdir().unwrap();
        let paths = ["app", "other"].map(|name| dir.path().join(name));
        for path in &paths {
            nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        }
        let [app, other] = paths.clone().map(|path| Identity::from(&fs::metadata(path).unwrap()));
        let fds = [("3", &*paths[0], "00"), ("4", &*paths[0], "01"), ("5", &*paths[1], "02"), ("6", dir.path(), "00")];
        let proc = proc_with(&fds);
        let openers = Openers::below(proc.path(), &HashSet::from([app]));
        let [opener] = openers.on(app) else { panic!("{openers:?}") };
        assert_eq!((opener.process.pid, opener.process.command.to_str()), (7, Some("cat")));
        assert!(opener.reads && opener.writes && !opener.keeps());
        assert!(openers.on(other).is_empty() && openers.all_seen_on(app) && openers.hidden().is_empty());
        let only_named = proc_with(&[("3", &paths[0], "010000000")]);
        assert!(Openers::below(only_named.path(), &HashSet::from([app])).on(app).is_empty());
    }

    #[test]
    fn what_cannot_be_seen_is_told() {
        let fifo = Identity { dev: 1, ino: 1 };
        let wanted = HashSet::from([fifo]);
        let empty = tempfile::tempdir().unwrap();
        let openers = Openers::below(empty.path(), &wanted);
        assert!(openers.is_proc_hidden() && !openers.all_seen_on(fifo), "the first process is hidden");
        let proc = proc_with(&[]);
        fs::remove_dir(proc.path().join("7/fd")).unwrap();
        assert!(Openers::below(proc.path(), &wanted).all_seen_on(fifo), "a process that went");
        fs::write(proc.path().join("7/fd"), "").unwrap();
        let openers = Openers::below(proc.path(), &wanted);
        let [hidden] = openers.hidden() else { panic!("{openers:?}") };
        assert_eq!((openers.all_seen_on(fifo), hidden.pid), (false, 7));
    }

    #[test]
    fn a_descriptor_that_cannot_be_examined_leaves_certain_what_is_certain() {
        let dir = tempfile::tempdir().unwrap();
        let [first, second] = ["first", "second"].map(|name| {
            let path = dir.path().join(name);
            nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
            path
        });
        let identity = |path: &Path| Identity::from(&fs::metadata(path).unwrap());
        let (known, other) = (identity(&first), identity(&second));
        // A link that leads to itself cannot be followed by root either. It comes first, last and in between.
        let looped = dir.path().join("loop");
        std::os::unix::fs::symlink(&looped, &looped).unwrap();
        for (fdinfo, seen_on_other) in
            [("00\nino:\t1".to_owned(), true), (format!("00\nino:\t{}", other.ino), false), ("00".to_owned(), false)]
        {
            let fds: [(&str, &Path, &str); 3] = [("3", &looped, &fdinfo), ("4", &first, "01"), ("5", &looped, &fdinfo)];
            let openers = Openers::below(proc_with(&fds).path(), &HashSet::from([known, other]));
            let [opener] = openers.on(known) else { panic!("{openers:?}") };
            assert!(opener.writes && !opener.reads, "{openers:?}");
            assert_eq!((openers.all_seen_on(other), openers.hidden().is_empty()), (seen_on_other, seen_on_other));
        }
    }

    #[test]
    fn we_do_not_find_ourselves() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let file = fs::OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(&path).unwrap();
        let app = Identity::from(&file.metadata().unwrap());
        assert!(Openers::of(&HashSet::from([app])).on(app).is_empty());
    }
}
