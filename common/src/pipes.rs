//! A pipes directory, read as one list of pipes and one of findings.
//!
//! Invariants: a link is never opened nor followed here (opening a FIFO lets a waiting server in, and closing it again
//! kills that server); a wrong file never takes a pipe off the list. Whether a link leads to a FIFO, and whether two
//! of them lead to the same one, is seen by whoever opens them.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fmt;
use std::fs::{self, FileType};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::errno::Errno;

use crate::error::{Cannot, Error, Result};
use crate::name::{Class, DEFAULTS, PipeName, Printable, classify};
use crate::policy::{Paths, Policy, PolicyKind, Raw, load};
use crate::shown::Shown as _;
use crate::way::{self, Use};

/// What was found in a pipes directory.
#[derive(Debug)]
pub struct Scan {
    /// The directory, as it was named.
    pub dir: PathBuf,
    /// The pipes, sorted by name.
    pub entries: Vec<Entry>,
    /// The log root that `defaults.toml` names: absolute, or with [`Scan::dir`] before it.
    pub logs: Option<PathBuf>,
    /// Where `defaults.toml` wants the mailboxes, in the same manner.
    pub mailbox_dir: Option<PathBuf>,
    /// Where it wants numbers for a metrics system, in the same manner.
    pub metrics_file: Option<PathBuf>,
    /// What the files say of logs that no link leads to.
    pub unlinked: Unlinked,
    /// What is not as it should be, sorted by name.
    pub findings: Vec<Finding>,
    /// Whether there is a link or a `*.toml` at all, good or bad.
    pub ours: bool,
}

/// One link of a pipes directory.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The link's name.
    pub name: PipeName,
    /// Its path: the directory as it was named, then the name.
    pub link: PathBuf,
    /// What its files say; the built-in defaults if one of them is wrong.
    pub policy: Arc<Policy>,
    /// Whether its files are right. If not, the pipe is held and drained all the same, but nothing is deleted for it.
    pub sound: bool,
}

/// The policies of logs that no link leads to, by what the files name: built-in limits alone remove nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Unlinked {
    /// By each `NAME.toml` without its link; `None` where it is wrong.
    pub own: BTreeMap<PipeName, Option<Policy>>,
    /// By `defaults.toml`; `None` where it is not there, or wrong.
    pub others: Option<Policy>,
}

/// One thing to tell, in a full sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// Odd, but nothing is done differently because of it.
    Warning(String),
    /// Something that stands there does not count.
    Error(String),
}

impl Finding {
    /// Sends it to the log at its level.
    pub fn log(&self) {
        match self {
            Finding::Warning(sentence) => log::warn!("{sentence}"),
            Finding::Error(sentence) => log::error!("{sentence}"),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Finding::Warning(sentence) | Finding::Error(sentence) => f.write_str(sentence),
        }
    }
}

impl Scan {
    /// Whether neither a link nor a `*.toml` is there: probably somebody's wrong directory.
    pub fn nothing_of_ours(&self) -> bool {
        !self.ours
    }

    /// What stands there and does not count.
    pub fn mistakes(&self) -> impl Iterator<Item = &str> {
        self.findings.iter().filter_map(|finding| match finding {
            Finding::Error(sentence) => Some(sentence.as_str()),
            Finding::Warning(_) => None,
        })
    }

    /// Whether `--check-config` may exit 0: no finding is an error.
    pub fn check(&self) -> bool {
        self.mistakes().next().is_none()
    }

    /// Sends what may not be what was meant to the log, for whoever checks a configuration.
    pub fn log_remarks(&self) {
        for entry in &self.entries {
            for remark in entry.policy.remarks() {
                log::warn!("{}: {remark}", entry.link.shown());
            }
        }
    }

    /// Sends every finding to the log.
    pub fn log_findings(&self) {
        self.findings.iter().for_each(Finding::log);
    }
}

/// The pipes directory of the machine.
pub const SYSTEM_DIR: &str = "/etc/standpipe/pipes.d";

/// Where pipes are looked for when no directory is named: `STANDPIPE_DIR`, the current one, that of the machine.
pub fn usual_dirs() -> impl Iterator<Item = PathBuf> {
    let named = env::var_os("STANDPIPE_DIR").filter(|dir| !dir.is_empty()).map(PathBuf::from);
    named.into_iter().chain([PathBuf::from("."), PathBuf::from(SYSTEM_DIR)])
}

/// The first of them that is a pipes directory for certain, or else the first that may be one.
pub fn scan_usual() -> Option<Scan> {
    let mut scans: Vec<Scan> = usual_dirs().filter_map(|dir| scan(&dir).ok()).collect();
    scans.retain(|scan| !scan.nothing_of_ours());
    let first = scans.iter().position(is_certain).unwrap_or(0);
    scans.into_iter().nth(first)
}

/// Links alone are in many a directory, such as `/`.
fn is_certain(scan: &Scan) -> bool {
    let leads_to_fifo = |entry: &Entry| fs::metadata(&entry.link).is_ok_and(|is| is.file_type().is_fifo());
    scan.dir.join(DEFAULTS).is_file() || scan.entries.iter().any(leads_to_fifo)
}

/// Reads a pipes directory and its policy files. Fails only if the directory itself cannot be listed.
pub fn scan(dir: &Path) -> Result<Scan> {
    let listing = Listing::of(dir)?;
    let mut findings = listing.findings;
    let (defaults, Paths { logs, mailbox_dir, metrics_file }) = if listing.defaults {
        read(&dir.join(DEFAULTS), PolicyKind::Defaults, &mut findings)
    } else {
        (Some(Raw::default()), Paths::default())
    };

    // Ten thousand pipes without files of their own share one policy.
    let built_in = Arc::new(Policy::default());
    let shared = defaults.as_ref().map(|raw| Arc::new(Policy::from_raw(raw)));
    let read_own =
        |name: &PipeName, findings: &mut _| read(&dir.join(name.policy_file()), PolicyKind::Pipe, findings).0;
    let mut entries = Vec::new();
    for name in &listing.links {
        let policy = if listing.policies.contains(name) {
            let own = read_own(name, &mut findings).zip(defaults.clone());
            own.map(|(own, defaults)| Arc::new(Policy::from_raw(&own.over(defaults))))
        } else {
            shared.clone()
        };
        let sound = policy.is_some();
        let policy = policy.unwrap_or_else(|| Arc::clone(&built_in));
        let link = dir.join(name);
        let odd = policy.oddities().into_iter().map(|odd| Finding::Warning(format!("{}: {odd}", link.shown())));
        findings.extend(odd);
        entries.push(Entry { name: name.clone(), link, policy, sound });
    }
    let others = defaults.as_ref().filter(|_| listing.defaults).map(Policy::of_unlinked);
    let mut unlinked = Unlinked { own: BTreeMap::new(), others };
    for name in listing.policies.difference(&listing.links) {
        let file = dir.join(name.policy_file());
        findings.push(Finding::Warning(format!(
            "{} belongs to no pipe: add the link {name}, or remove the file",
            file.shown()
        )));
        let own = read_own(name, &mut findings).zip(defaults.clone());
        unlinked.own.insert(name.clone(), own.map(|(own, defaults)| Policy::of_unlinked(&own.over(defaults))));
    }
    debug_assert!(entries.is_sorted_by(|one, next| one.name < next.name), "each name once, in order");
    Ok(Scan {
        dir: dir.to_path_buf(),
        entries,
        logs,
        mailbox_dir,
        metrics_file,
        unlinked,
        findings,
        ours: listing.ours,
    })
}

/// A policy file, unless it is wrong, and the paths that it names, which count even then.
fn read(file: &Path, kind: PolicyKind, findings: &mut Vec<Finding>) -> (Option<Raw>, Paths) {
    match load(file, kind) {
        Ok(raw) => {
            let paths = raw.paths(file);
            (Some(raw), paths)
        }
        Err(error) => {
            findings.extend(error.sentences().iter().cloned().map(Finding::Error));
            (None, error.paths().clone())
        }
    }
}

/// The names of a directory, sorted into what they are.
#[derive(Default)]
struct Listing {
    links: BTreeSet<PipeName>,
    policies: BTreeSet<PipeName>,
    defaults: bool,
    findings: Vec<Finding>,
    ours: bool,
}

impl Listing {
    fn of(dir: &Path) -> Result<Listing> {
        const ACTION: &str = "read pipes directory";
        let mut found = Vec::new();
        let looked = way::open(dir, Use::Read).cannot(ACTION, dir)?;
        if !looked.metadata().is_dir() {
            return Err(Error::new(ACTION, dir, Errno::ENOTDIR));
        }
        for entry in fs::read_dir(looked.path()).cannot(ACTION, dir)? {
            let entry = entry.cannot(ACTION, dir)?;
            // Of the entry itself, not of what it leads to. One that went meanwhile is none.
            if let Ok(kind) = entry.file_type() {
                found.push((entry.file_name(), kind));
            }
        }
        found.sort_unstable_by(|(left, _), (right, _)| left.cmp(right));

        let mut listing = Listing::default();
        for (name, kind) in found {
            listing.add(dir, classify(&name), kind, Printable(&name));
        }
        Ok(listing)
    }

    fn add(&mut self, dir: &Path, class: Class, kind: FileType, shown: Printable<'_>) {
        let path = || format!("{}/{shown}", dir.shown());
        match class {
            Class::Ignored => {}
            Class::Defaults => {
                self.ours = true;
                self.defaults = true;
            }
            Class::Policy(name) => {
                self.ours = true;
                self.policies.insert(name);
            }
            Class::Pipe(name) if kind.is_symlink() => {
                self.ours = true;
                self.links.insert(name);
            }
            Class::Pipe(name) if kind.is_file() && is_readme(&name) => {}
            Class::Pipe(name) => self.findings.push(Finding::Warning(no_link(dir, &name, kind))),
            Class::Bad(reason) => {
                self.ours |= kind.is_symlink() || shown.0.as_encoded_bytes().ends_with(b".toml");
                self.findings.push(Finding::Error(format!("cannot use {} as a pipe: {reason}", path())));
            }
        }
    }
}

/// A note to people may lie in any directory of configuration.
fn is_readme(name: &PipeName) -> bool {
    ["README", "README.md"].iter().any(|readme| name.as_os_str() == *readme)
}

fn no_link(dir: &Path, name: &PipeName, kind: FileType) -> String {
    let what = match kind {
        kind if kind.is_fifo() => {
            return format!(
                "{dir}/{name} is a FIFO, but must be a link to one: move it to /run/standpipe/{name}, for example, and run \
                 `ln -s /run/standpipe/{name} {dir}/{name}`",
                dir = dir.shown()
            );
        }
        kind if kind.is_dir() => "a directory",
        kind if kind.is_socket() => "a socket",
        kind if kind.is_file() => "a regular file",
        _ => "a device",
    };
    format!("{}/{name} is {what}, neither a link to a FIFO nor a policy file (*.toml); ignored", dir.shown())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Limit;
    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;
    use tempfile::TempDir;

    /// A pipes directory with these links (all dangling) and these files.
    fn directory(links: &[&str], files: &[(&str, &str)]) -> TempDir {
        let dir = tempfile::tempdir().unwrap();
        for link in links {
            symlink("/nowhere/fifo", dir.path().join(link)).unwrap();
        }
        for (name, text) in files {
            fs::write(dir.path().join(name), text).unwrap();
        }
        dir
    }

    fn scanned(links: &[&str], files: &[(&str, &str)]) -> Scan {
        scan(directory(links, files).path()).unwrap()
    }

    fn errors(scan: &Scan) -> usize {
        scan.findings.iter().filter(|finding| matches!(finding, Finding::Error(_))).count()
    }

    #[test]
    fn every_link_is_a_pipe_and_they_are_sorted_by_name() {
        let dir = directory(&["web", "app", "größe", ".hidden", "old~"], &[("README.md", "")]);
        let scan = scan(dir.path()).unwrap();
        let names: Vec<_> = scan.entries.iter().map(|entry| entry.name.to_string()).collect();
        assert_eq!(names, ["app", "größe", "web"]);
        assert!(scan.entries.iter().all(|entry| entry.sound && *entry.policy == Policy::default()));
        assert_eq!(scan.entries[0].link, dir.path().join("app"));
        assert!(scan.findings.is_empty() && scan.check(), "{:?}", scan.findings);
    }

    #[test]
    fn own_keys_stand_over_defaults_and_defaults_over_what_is_built_in() {
        let files =
            [("defaults.toml", "logs = \"../logs\"\nstamp = \"iso\"\nmax_line = 10"), ("app.toml", "max_line = 20")];
        let scan = scanned(&["app", "web"], &files);
        let [app, web] = &scan.entries[..] else { panic!("{scan:?}") };
        assert_eq!((app.policy.max_line, web.policy.max_line), (20, 10));
        assert_eq!(app.policy.stamper, web.policy.stamper);
        assert_eq!(app.policy.rotate_size, Limit::At(64 << 20));
        assert_eq!(scan.logs, Some(scan.dir.join("../logs")));
        assert_eq!(scan.unlinked.others.as_ref().map(|policy| policy.max_line), Some(10));
        assert!(scan.check());
    }

    #[test]
    fn a_wrong_file_takes_no_pipe_off_the_list() {
        let files = [("defaults.toml", "stamp = \"iso\""), ("app.toml", "max_line = 0")];
        let scan = scanned(&["app", "web"], &files);
        let [app, web] = &scan.entries[..] else { panic!("{scan:?}") };
        assert_eq!((app.sound, &*app.policy), (false, &Policy::default()));
        assert!(web.sound && !web.policy.stamper.is_plain());
        let sentence = scan.findings[0].to_string();
        let expected =
            format!("cannot use {}: line 1, column 12: 0 bytes hold no line", app.link.with_extension("toml").shown());
        assert!(sentence.starts_with(&expected), "{sentence}");
        assert!(errors(&scan) == 1 && !scan.check());
    }

    #[test]
    fn wrong_defaults_make_every_pipe_unsound_but_keep_the_log_root() {
        let defaults = "logs = \"/l\"\nmailbox_dir = \"m\"\nlevle = 3";
        let files = [("defaults.toml", defaults), ("app.toml", "stamp = \"iso\"")];
        let scan = scanned(&["app", "web"], &files);
        assert!(scan.entries.iter().all(|entry| !entry.sound && *entry.policy == Policy::default()));
        assert_eq!((scan.logs.as_deref(), errors(&scan)), (Some(Path::new("/l")), 1));
        assert_eq!(scan.mailbox_dir, Some(scan.dir.join("m")));
        assert_eq!(scan.unlinked, Unlinked::default(), "nothing may be deleted by them");
    }

    #[test]
    fn a_policy_that_cannot_be_read_is_an_error_and_the_pipe_stays() {
        let dir = directory(&["app"], &[]);
        symlink("/nowhere/app.toml", dir.path().join("app.toml")).unwrap();
        let scan = scan(dir.path()).unwrap();
        assert_eq!((scan.entries.len(), scan.entries[0].sound), (1, false));
        let expected = format!("cannot read {}: No such file or directory", dir.path().join("app.toml").shown());
        assert_eq!(scan.findings, [Finding::Error(expected)]);
    }

    #[test]
    fn a_policy_without_its_link_is_one_warning() {
        let scan = scanned(&[], &[("app.toml", "stamp = \"iso\"")]);
        let expected =
            format!("{}/app.toml belongs to no pipe: add the link app, or remove the file", scan.dir.shown());
        assert_eq!(scan.findings, [Finding::Warning(expected)]);
        assert!(scan.check() && scan.entries.is_empty());
        assert!(!scanned(&[], &[("app.toml", "stamp = 3")]).check(), "what is wrong is said before the link is there");
    }

    #[test]
    fn a_log_without_a_link_has_the_limits_that_its_files_name_and_no_others() {
        let limits = |policy: &Policy| (policy.keep.size, policy.keep.files, policy.keep.age);
        let defaults = ("defaults.toml", "keep_files = 2\nstamp = \"iso\"");
        let scan = scanned(&["web"], &[defaults, ("app.toml", "keep_age = \"7d\""), ("bad.toml", "keep_files = 0")]);
        let own = |name: &str| scan.unlinked.own.get(&PipeName::new(OsStr::new(name)).unwrap()).unwrap().as_ref();
        let week = Limit::At(std::time::Duration::from_secs(7 * 86400));
        assert_eq!(own("app").map(limits), Some((Limit::Off, Limit::At(2), week)));
        assert_eq!(own("bad"), None);
        assert_eq!(scan.unlinked.others.as_ref().map(limits), Some((Limit::Off, Limit::At(2), Limit::Off)));
        let scan = scanned(&[], &[("app.toml", "stamp = \"iso\"")]);
        assert_eq!(scan.unlinked.others, None, "without a file there is no limit");
        assert!(scan.unlinked.own.values().flatten().all(|own| limits(own).0 == Limit::Off));
    }

    #[test]
    fn what_is_neither_link_nor_policy_is_one_warning_that_names_it() {
        let dir = directory(&[], &[("notes.txt", "")]);
        fs::create_dir(dir.path().join("old")).unwrap();
        fs::create_dir(dir.path().join("README")).unwrap();
        mkfifo(&dir.path().join("app"), Mode::S_IRWXU).unwrap();
        let scan = scan(dir.path()).unwrap();
        let sentences: Vec<_> = scan
            .findings
            .iter()
            .map(|finding| finding.to_string().replace(dir.path().to_str().unwrap(), "D"))
            .collect();
        let left_alone = "neither a link to a FIFO nor a policy file (*.toml); ignored";
        assert_eq!(
            sentences,
            [
                format!("D/README is a directory, {left_alone}"),
                "D/app is a FIFO, but must be a link to one: move it to /run/standpipe/app, for example, and run \
                 `ln -s /run/standpipe/app D/app`"
                    .to_string(),
                format!("D/notes.txt is a regular file, {left_alone}"),
                format!("D/old is a directory, {left_alone}"),
            ]
        );
        assert!(scan.check() && scan.nothing_of_ours());
    }

    #[test]
    fn each_bad_name_is_one_error_on_one_line() {
        let dir = directory(&["a\nb", "defaults", "app.stage"], &[("x.stage.toml", "")]);
        let scan = scan(dir.path()).unwrap();
        assert_eq!((scan.entries.len(), scan.findings.len(), errors(&scan)), (0, 4, 4));
        let sentence = scan.findings[0].to_string();
        assert!(sentence.ends_with("/a\\nb as a pipe: the name contains a control character"), "{sentence}");
        assert!(scan.findings.iter().all(|finding| !finding.to_string().contains('\n')));
        assert!(!scan.nothing_of_ours());
    }

    #[test]
    fn a_directory_is_certain_by_its_defaults_or_a_link_that_leads_to_a_fifo() {
        let dir = directory(&[], &[("Cargo.toml", "")]);
        let is_certain = || super::is_certain(&scan(dir.path()).unwrap());
        std::os::unix::fs::symlink("/usr/bin", dir.path().join("bin")).unwrap();
        assert!(!is_certain());
        mkfifo(&dir.path().join("fifo"), Mode::S_IRWXU).unwrap();
        std::os::unix::fs::symlink("fifo", dir.path().join("app")).unwrap();
        assert!(is_certain());
        fs::remove_file(dir.path().join("fifo")).unwrap();
        assert!(!is_certain());
        fs::write(dir.path().join("defaults.toml"), "").unwrap();
        assert!(is_certain());
    }

    #[test]
    fn a_directory_is_ours_by_a_link_or_a_policy_alone() {
        for (links, files, nothing) in [
            (&[][..], &[][..], true),
            (&[], &[("notes.txt", ""), (".app.toml", ""), ("app.toml~", "")], true),
            (&["app"], &[], false),
            (&[], &[("defaults.toml", "")], false),
            (&[], &[("app.toml", "")], false),
        ] {
            assert_eq!(scanned(links, files).nothing_of_ours(), nothing, "{links:?} {files:?}");
        }
    }

    #[test]
    fn a_scan_lets_no_server_in() {
        let dir = directory(&[], &[("app.toml", "")]);
        let fifo = dir.path().join(".fifo");
        mkfifo(&fifo, Mode::S_IRWXU).unwrap();
        symlink(&fifo, dir.path().join("app")).unwrap();
        let watch = nix::sys::inotify::Inotify::init(nix::sys::inotify::InitFlags::IN_NONBLOCK).unwrap();
        watch.add_watch(&fifo, nix::sys::inotify::AddWatchFlags::IN_OPEN).unwrap();
        assert_eq!(scan(dir.path()).unwrap().entries.len(), 1);
        assert_eq!(watch.read_events().err(), Some(nix::errno::Errno::EAGAIN), "somebody opened the FIFO");
    }

    #[test]
    fn a_name_that_is_not_utf_8_finds_its_policy() {
        let dir = tempfile::tempdir().unwrap();
        let name = OsStr::from_bytes(b"caf\xe9");
        symlink("/nowhere", dir.path().join(name)).unwrap();
        fs::write(dir.path().join(OsStr::from_bytes(b"caf\xe9.toml")), "max_line = 7").unwrap();
        let scan = scan(dir.path()).unwrap();
        assert_eq!((scan.entries[0].policy.max_line, scan.findings.len()), (7, 0));
    }
}
