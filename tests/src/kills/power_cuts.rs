//! Power cuts: programs at work on a file system in an image, of which copies are taken in an instant while they run; each
//! copy is mounted as another boot of the machine finds it, and they start on it.
//!
//! A copy is a reflink on an XFS of our own: what the file system had given to its disk by then, and nothing else, so of
//! what the kernel still had in memory nothing. Meanwhile a server writes into a pipe, another into a file that the tailer
//! follows into a second pipe, and the reader rotates, archives and hands over all the time. After each cut the reader
//! is killed while it recovers; after some the power is cut once more in the middle of that.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::{self, File};
use std::io::Write;
use std::ops::AddAssign;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::deadline::{CONDITION_SPAN, within};
use crate::directory::{Scratch, names};
use crate::privilege::is_root;
use crate::programs::{Launch, command};
use crate::world::{Check, Random, Writer, length, line, stream_of};

use super::Lives;

/// The smallest image that each of them takes, MiB.
const IMAGE_MIB: u64 = 320;
/// Room for the copies, which share what is the same.
const OUTER_MIB: u64 = 8 << 10;
/// So that parts are archived all the time.
const POLICY: &str = r#"
rotate_size = "64KiB"
keep_size = "off"
keep_free = "off"
hook = ["sh", "-c", "echo $(basename $(dirname $STANDPIPE_ARCHIVE))/$(basename $STANDPIPE_ARCHIVE) $STANDPIPE_BYTES >> $SAID"]
"#;
/// Between two cuts.
const LIFE_MIN: Duration = Duration::from_millis(100);
const LIFE_MAX: Duration = Duration::from_millis(500);
/// How far a recovery may come that is killed.
const RECOVERY_MAX: Duration = Duration::from_millis(80);
/// Rest of a server after each line.
const PAUSE: Duration = Duration::from_micros(300);
/// Every so many-th cut is followed by another while the reader recovers.
const AGAIN_EVERY: u64 = 3;
/// More lines than a server can write meanwhile.
const WRITTEN_MAX: u64 = 10_000_000;

/// A file system, and how it is mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileSystem {
    /// As it is by default: data go to the disk late, and a file grows when they have.
    Ext4,
    /// A file grows before its data are on the disk.
    Ext4NoDelalloc,
    /// Sizes are in its log.
    Xfs,
    /// Copy on write.
    Btrfs,
}

impl FileSystem {
    /// All of them.
    pub const ALL: [FileSystem; 4] = [FileSystem::Ext4, FileSystem::Ext4NoDelalloc, FileSystem::Xfs, FileSystem::Btrfs];

    fn make(self, image: &Path) -> bool {
        let (program, args): (_, &[&str]) = match self {
            FileSystem::Ext4 | FileSystem::Ext4NoDelalloc => ("mkfs.ext4", &["-q", "-F"]),
            FileSystem::Xfs => ("mkfs.xfs", &["-q"]),
            FileSystem::Btrfs => ("mkfs.btrfs", &["-q"]),
        };
        sparse(image, IMAGE_MIB) && run(program, args.iter().map(AsRef::as_ref).chain([image.as_os_str()]))
    }

    fn options(self) -> &'static str {
        match self {
            // Many commits in a short time: more of them fall between two steps of ours.
            FileSystem::Ext4 | FileSystem::Btrfs => "loop,commit=1",
            FileSystem::Ext4NoDelalloc => "loop,commit=1,nodelalloc",
            FileSystem::Xfs => "loop,nouuid",
        }
    }
}

/// How much of it.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// On what.
    pub file_system: FileSystem,
    /// Power cuts.
    pub cuts: u64,
    /// For the moments of the cuts and kills; where it is even, the log of the tailer's pipe has a `sync`.
    pub seed: u64,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Power cuts.
    pub cuts: u64,
    /// Archives that were durable at the cuts, and are the same afterwards.
    pub archives: u64,
    /// Archives that the hook got after the cuts.
    pub handed_over: u64,
    /// Segments that came back beside their archives and went again.
    pub came_back: u64,
    /// Lines that the tailer delivered again, and said so.
    pub repeated: u64,
    /// Cuts that left NUL bytes within a part, told with their places.
    pub with_nuls: u64,
    /// What must not be.
    pub faults: Vec<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| cuts | durable archives, all as they were | handed over after the cuts | segments that came back and went | lines repeated, said | cuts with NUL bytes within a part, told | faults |\n|---|---|---|---|---|---|---|"
        )?;
        let Report { cuts, archives, handed_over, came_back, repeated, with_nuls, faults } = self;
        writeln!(
            f,
            "| {cuts} | {archives} | {handed_over} | {came_back} | {repeated} | {with_nuls} | {} |",
            faults.len()
        )?;
        faults.iter().try_for_each(|fault| writeln!(f, "{fault}"))
    }
}

impl AddAssign for Report {
    fn add_assign(&mut self, other: Report) {
        self.cuts += other.cuts;
        self.archives += other.archives;
        self.handed_over += other.handed_over;
        self.came_back += other.came_back;
        self.repeated += other.repeated;
        self.with_nuls += other.with_nuls;
        self.faults.extend(other.faults);
    }
}

/// Carries out a plan. `None`: we are not root, or this machine has no loop devices, or not these file systems.
pub fn run_plan(plan: Plan) -> Option<Report> {
    if !is_root() {
        return None;
    }
    let stand = Stand::new(plan)?;
    let cuts = stand.work();
    let mut report = Report::default();
    for cut in &cuts {
        stand.recover(cut, &mut report);
        report.cuts += 1;
    }
    Some(report)
}

/// A copy of the image, and what was durable before it was taken.
struct Cut {
    image: PathBuf,
    archives: BTreeMap<PathBuf, Vec<u8>>,
    /// What the hook had been given.
    said: Vec<(String, u64)>,
}

/// What a machine that came back has come to.
struct Found {
    /// What all programs said.
    stderr: String,
    /// What the tailer followed, as the cut left it.
    source: Vec<u8>,
    /// What the hook was given since the cut.
    said: Vec<(String, u64)>,
    /// All that waited is stored, and the programs ended in order.
    ended_well: bool,
}

struct Stand {
    plan: Plan,
    scratch: Scratch,
    outer: Mount,
    /// Somebody holds the pipes.
    _held: Vec<File>,
}

impl Stand {
    fn new(plan: Plan) -> Option<Stand> {
        let scratch = Scratch::new();
        // The programs run as root: only root can give them another boot.
        for dir in [scratch.path().to_owned(), scratch.pipes()] {
            chown(dir, Some(0), Some(0)).expect("root may");
        }
        let outer = outer(&scratch)?;
        let held = ["app", "src"].map(|name| {
            let fifo = scratch.pipe(name);
            File::options().read(true).write(true).open(fifo).expect("a FIFO")
        });
        let stand = Stand { plan, scratch, outer, _held: held.into() };
        stand.scratch.write_policy("defaults.toml", POLICY);
        if plan.seed.is_multiple_of(2) {
            // Then the log is on disk before the tailer's state: lines come twice instead of being late.
            stand.scratch.write_policy("src.toml", "sync = \"200ms\"\n");
        }
        let toml = format!(
            "state_file = \"{}\"\npipe = \"{}\"\npoll_interval_ms = 50\n[[files]]\npath = \"{}\"\nstart_at = \"beginning\"\n",
            stand.disk().join("state.json").display(),
            stand.scratch.run("src").display(),
            stand.source().display()
        );
        fs::write(stand.scratch.path().join("tailer.toml"), toml).expect("a file of our own");
        stand.plan.file_system.make(&stand.image("disk")).then_some(stand)
    }

    /// Where the image is mounted.
    fn disk(&self) -> PathBuf {
        self.scratch.path().join("disk")
    }

    fn image(&self, name: &str) -> PathBuf {
        self.outer.dir.join(format!("{name}.img"))
    }

    fn log(&self, name: &str) -> PathBuf {
        self.disk().join("logs").join(name)
    }

    /// What the tailer follows.
    fn source(&self) -> PathBuf {
        self.disk().join("source.log")
    }

    /// Where the hook says what it got in a boot: one of a reader that was killed may say it in the next.
    fn said_path(&self, boot: &str) -> PathBuf {
        self.scratch.path().join(format!("said-{boot}"))
    }

    /// What the hook said: archives, each with its bytes.
    fn said(&self, boot: &str) -> Vec<(String, u64)> {
        let said = fs::read_to_string(self.said_path(boot)).unwrap_or_default();
        let parsed =
            |line: &str| line.split_once(' ').and_then(|(name, bytes)| Some((name.to_owned(), bytes.parse().ok()?)));
        said.lines().filter_map(parsed).collect()
    }

    fn mount(&self, image: &Path) -> Mount {
        Mount::new(image, &self.disk(), self.plan.file_system.options()).expect("it was mounted before")
    }

    /// A program, in the boot of that name.
    fn launch(&self, program: &str, boot: &str) -> Launch {
        let id = self.scratch.path().join(format!("boot-{boot}"));
        fs::write(&id, format!("{boot}\n")).expect("a file of our own");
        let shell = format!("mount --bind {} /proc/sys/kernel/random/boot_id && exec \"$0\" \"$@\"", id.display());
        Launch::new(program).as_tests().env("SAID", self.said_path(boot)).under(["unshare", "-m", "sh", "-c", &shell])
    }

    fn reader(&self, boot: &str) -> Launch {
        self.launch("reader", boot).arg(self.scratch.pipes()).arg("--logs").arg(self.disk().join("logs"))
    }

    fn tailer(&self, boot: &str) -> Launch {
        self.launch("tailer", boot).arg("--config").arg(self.scratch.path().join("tailer.toml"))
    }

    /// All at work, and the cuts.
    fn work(&self) -> Vec<Cut> {
        let mount = self.mount(&self.image("disk"));
        let (mut reader, mut tailer) = (self.reader("first").start(), self.tailer("first").start());
        let server = Writer::start(&self.scratch.run("app"), 1, None, PAUSE);
        let is_over = Arc::new(AtomicBool::new(false));
        let followed = follow(self.source(), Arc::clone(&is_over));
        let is_there = within(CONDITION_SPAN, || !self.durable().is_empty());
        assert!(is_there, "no archive: {}", reader.stderr());
        let lives = Lives::between(LIFE_MIN, LIFE_MAX, self.plan.seed);
        let mut cuts = Vec::new();
        super::run(
            &mut cuts,
            lives,
            |_, number| number == self.plan.cuts,
            |cuts, number, _| {
                let (archives, said) = (self.durable(), self.said("first"));
                let image = self.image(&format!("cut-{number}"));
                self.copy(&self.image("disk"), &image);
                cuts.push(Cut { image, archives, said });
            },
        );
        is_over.store(true, Ordering::Relaxed);
        followed.join().expect("a server");
        server.stop();
        reader.kill9();
        tailer.kill9();
        drop(mount);
        cuts
    }

    /// Archives whose segments are gone.
    fn durable(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let names = ["app", "src"].map(|name| names(&self.log(name)).into_iter().map(move |file| (name, file)));
        let all: BTreeSet<(&str, String)> = names.into_iter().flatten().collect();
        let is_alone = |name: &str, file: &str| {
            let segment = file.strip_suffix(".zst").filter(|_| file.ends_with(".log.zst") && !file.starts_with('.'));
            segment.is_some_and(|segment| !all.contains(&(name, segment.to_owned())))
        };
        let alone = all.iter().filter(|(name, file)| is_alone(name, file));
        let paths = alone.map(|(name, file)| self.log(name).join(file));
        paths.map(|path| (path.clone(), fs::read(path).expect("an archive"))).collect()
    }

    /// The machine comes back on what the cut left.
    fn recover(&self, cut: &Cut, report: &mut Report) {
        let number = report.cuts;
        let mut random = Random(self.plan.seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let (mut image, mut boot) = (cut.image.clone(), format!("cut-{number}"));
        let mut mount = self.mount(&image);
        let mut killed = self.reader(&boot).start_unready();
        thread::sleep(random.span(RECOVERY_MAX));
        if number.is_multiple_of(AGAIN_EVERY) {
            boot = format!("again-{number}");
            image = self.image(&boot);
            self.copy(&cut.image, &image);
        }
        killed.kill9();
        if image != cut.image {
            drop(mount);
            mount = self.mount(&image);
        }
        let (mut reader, mut tailer) = (self.reader(&boot).start(), self.tailer(&boot).start());
        let source = fs::read(self.source()).unwrap_or_default();
        let is_settled = within(CONDITION_SPAN, || self.is_settled() && self.missing(&source) == 0);
        let codes = (tailer.terminate(), reader.terminate());
        let found = Found {
            stderr: [killed.stderr(), reader.stderr(), tailer.stderr()].concat(),
            source,
            said: [self.said(&format!("cut-{number}")), self.said(&format!("again-{number}"))].concat(),
            ended_well: codes == (0, 0) && is_settled,
        };
        let faults = self.judge(cut, &found, report);
        report.faults.extend(faults.iter().map(|fault| format!("{:?}, {boot}: {fault}", self.plan.file_system)));
        if !faults.is_empty() {
            report.faults.push(found.stderr);
        }
        drop(mount);
        fs::remove_file(&image).ok();
        fs::remove_file(&cut.image).ok();
    }

    /// What must not be after a cut.
    fn judge(&self, cut: &Cut, found: &Found, report: &mut Report) -> Vec<String> {
        let mut faults = Vec::new();
        let (app, src) = (stream_of(&self.log("app")), stream_of(&self.log("src")));
        let mut demand = |is_so: bool, fault: String| {
            if !is_so {
                faults.push(fault);
            }
        };
        demand(
            found.ended_well,
            format!("{} lines of the source are missing, or parts wait", self.missing(&found.source)),
        );
        demand(!found.stderr.contains("panicked"), "a panic".to_owned());
        for (path, bytes) in &cut.archives {
            demand(fs::read(path).is_ok_and(|now| now == *bytes), format!("{} is not what it was", path.display()));
        }
        for (name, bytes) in &found.said {
            let had_more = cut.said.iter().any(|(other, more)| other == name && more > bytes);
            demand(!had_more, format!("the hook got {name} again, with only {bytes} bytes"));
        }
        let mut check = Check::new();
        check.feed(&app);
        let tally = check.finish(&[(1, WRITTEN_MAX)]);
        demand(
            tally.repeated == 0 && tally.disordered == 0,
            format!("repeated or out of order, without a tailer: {tally:?}"),
        );
        let repeated = repeated_lines(&src);
        let is_said = found.stderr.contains("lines from the last second before that may be repeated");
        demand(repeated == 0 || is_said, format!("{repeated} lines of the tailer come twice, and nothing says so"));
        let has_nuls = app.contains(&0) || src.contains(&0) && !found.source.contains(&0);
        let is_said = found.stderr.contains(" in place of data lost in a power failure");
        demand(!has_nuls || is_said, "NUL bytes in the log, and nothing says so".to_owned());
        report.archives += cut.archives.len() as u64;
        report.handed_over += found.said.len() as u64;
        report.came_back += found.stderr.matches("a leftover of a kill or power failure").count() as u64;
        report.repeated += repeated;
        report.with_nuls += u64::from(has_nuls);
        faults
    }

    /// In an instant.
    fn copy(&self, from: &Path, to: &Path) {
        let args = ["--reflink=always".as_ref(), from.as_os_str(), to.as_os_str()];
        assert!(run("cp", args), "cannot copy {} in {}", from.display(), self.outer.dir.display());
    }

    /// Every part but the newest has its archive, and nothing else beside it.
    fn is_settled(&self) -> bool {
        ["app", "src"].iter().all(|name| {
            let files = names(&self.log(name));
            files.iter().filter(|file| Path::new(file).extension().is_some_and(|end| end == "log")).count() == 1
        })
    }

    /// Lines that the source has, and the log has not.
    fn missing(&self, source: &[u8]) -> usize {
        let stream = stream_of(&self.log("src"));
        let stored: BTreeSet<&[u8]> = stream.split(|byte| *byte == b'\n').collect();
        let whole = source.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        let lines = source[..whole].split(|byte| *byte == b'\n').filter(|line| !line.contains(&0));
        lines.filter(|line| !stored.contains(line)).count()
    }
}

/// Lines that are there once more than before.
fn repeated_lines(stream: &[u8]) -> u64 {
    let mut seen = BTreeSet::new();
    stream.split(|byte| *byte == b'\n').filter(|line| !line.is_empty() && !seen.insert(*line)).count() as u64
}

/// A server that writes lines into a file.
fn follow(path: PathBuf, is_over: Arc<AtomicBool>) -> thread::JoinHandle<()> {
    let mut file = File::create(path).expect("a file of our own");
    thread::spawn(move || {
        for seq in 0.. {
            if is_over.load(Ordering::Relaxed) {
                return;
            }
            file.write_all(&line(2, seq, length(2, seq))).expect("room");
            thread::sleep(PAUSE);
        }
    })
}

/// An XFS, in memory where there is room: each sync of a disk in a disk in a disk would take its time.
fn outer(scratch: &Scratch) -> Option<Mount> {
    let shm = Path::new("/dev/shm");
    let dir = if shm.is_dir() { shm } else { scratch.path() };
    let image = dir.join(format!("standpipe-outer-{}-{}", std::process::id(), scratch.path().file_name()?.display()));
    let made = sparse(&image, OUTER_MIB) && run("mkfs.xfs", ["-q".as_ref(), image.as_os_str()]);
    let mount = if made { Mount::new(&image, &scratch.path().join("outer"), "loop") } else { None };
    // It lasts as long as it is mounted.
    fs::remove_file(&image).ok();
    mount
}

fn sparse(path: &Path, mib: u64) -> bool {
    File::create(path).and_then(|file| file.set_len(mib << 20)).is_ok()
}

fn run<'a>(program: &str, args: impl IntoIterator<Item = &'a std::ffi::OsStr>) -> bool {
    let mut called = command(program);
    called.args(args).stdout(Stdio::null()).stderr(Stdio::null());
    called.status().is_ok_and(|status| status.success())
}

/// A file system in a file, which is let go of when this is dropped.
struct Mount {
    dir: PathBuf,
}

impl Mount {
    fn new(image: &Path, dir: &Path, options: &str) -> Option<Mount> {
        fs::create_dir_all(dir).ok()?;
        let args = ["-o".as_ref(), options.as_ref(), image.as_os_str(), dir.as_os_str()];
        run("mount", args).then(|| Mount { dir: dir.to_owned() })
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // The namespaces of programs that were killed go a moment later.
        within(CONDITION_SPAN, || run("umount", [self.dir.as_os_str()]));
    }
}
