//! A hostile tenant beside an honest one: whatever he does with his own files and pipes, lines of the other are
//! delivered within a second, the tailer ends in time, and nothing is lost.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::iter;
use std::os::unix::fs::{FileExt, lchown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use nix::sys::signal::Signal;
use standpipe_tests::deadline::within;
use standpipe_tests::directory::make_fifo;
use standpipe_tests::privilege::{is_root, needs_tool};
use standpipe_tests::programs::{KeptOff, Process, command};
use standpipe_tests::stands::Tailing;
use standpipe_tests::world::{Drain, Log, Owner, numbered, rename_and_create};

/// Within what the lines of the honest one come, but for the time for which others kept the tailer off.
const LATENCY_MAX: Duration = Duration::from_secs(1);
/// Within what the tailer ends; the same goes for it.
const STOP_MAX: Duration = Duration::from_secs(2);
/// Several times as many as one round unpacks, about 20 MB.
const LARGE_LINES: u64 = 200_000;
/// Members that give nothing, of which so many take a second or more.
const EMPTY: usize = 100_000;
const PROBES: usize = 20;
/// By which the hostile one's log is followed.
const HIS_LOG: [(&str, &str); 1] = [("../tenant/logs/app.log", "")];
/// The user whom nobody trusts, where there are rights to be him.
const TENANT: u32 = 12_345;

/// A tailer that follows the log of an honest tenant into its standard output, and what a hostile one has.
struct House {
    stand: Tailing,
    honest: Log,
}

impl House {
    fn new() -> House {
        let stand = Tailing::to_stdout(Owner::Tailer);
        stand.scratch.make_dir("tenant");
        if is_root() {
            // The tailer runs as root, below whose directories the tenants have theirs.
            for own in [stand.scratch.path(), &stand.work("")] {
                lchown(own, Some(0), Some(0)).unwrap();
            }
        }
        let honest = stand.log("honest.log", 1);
        House { stand, honest }
    }

    /// A path in the hostile one's directory.
    fn at(&self, name: &str) -> PathBuf {
        self.stand.scratch.path().join("tenant").join(name)
    }

    /// All that he made is his.
    fn give(&self) {
        if is_root() {
            give_all(&self.at(""));
        }
    }

    /// A log of the hostile one with 200 lines that a run before delivered.
    fn with_his_log(&mut self) -> (PathBuf, Log) {
        let path = self.stand.scratch.make_dir("tenant/logs").join("app.log");
        let mut his = Log::open(&path, 2, Owner::Tailer);
        his.write(200);
        self.give();
        self.start("", &HIS_LOG);
        self.stand.wait_delivered(&[&his]);
        self.end();
        (path, his)
    }

    /// Follows the honest log, and what a table says of the hostile ones.
    fn start(&mut self, general: &str, files: &[(&str, &str)]) {
        let mut tables = vec![("honest.log", "")];
        tables.extend(files);
        self.stand.configure(general, &tables);
        let launch = self.stand.launch();
        self.stand.start_by(if is_root() { launch.as_tests() } else { launch });
    }

    /// Writes line after line into the honest log; each is there in time.
    fn probe(&mut self) {
        let mut latest = Duration::ZERO;
        for _ in 0..PROBES {
            let before = self.stand.lines_delivered();
            let (began, mut kept_off) = (Instant::now(), KeptOff::watch(self.stand.daemon().pid()));
            self.honest.write(1);
            let is_there = kept_off.within(10 * LATENCY_MAX, || self.stand.lines_delivered() > before);
            assert!(is_there, "not after {:?}:\n{}", began.elapsed(), self.stand.daemon().stderr());
            latest = latest.max(began.elapsed().saturating_sub(kept_off.span()));
        }
        assert!(latest < LATENCY_MAX, "a line took {latest:?}:\n{}", self.stand.daemon().stderr());
    }

    /// Ends the tailer in time; what it said.
    fn end(&mut self) -> String {
        let (began, mut kept_off) = (Instant::now(), KeptOff::watch(self.stand.daemon().pid()));
        self.stand.daemon().signal(Signal::SIGTERM);
        let is_over = kept_off.within(10 * STOP_MAX, || !self.stand.is_running());
        let (took, kept_off, said) = (began.elapsed(), kept_off.span(), self.stand.daemon().stderr());
        assert!(is_over && took < STOP_MAX + kept_off, "after {took:?}, {kept_off:?} of it kept off:\n{said}");
        assert_eq!(self.stand.wait_exit(), 0, "{said}");
        said
    }

    /// The same, with each honest line delivered once.
    fn stop(mut self) -> String {
        let said = self.end();
        let tally = self.stand.tally(&[&self.honest]);
        assert!(tally.is_whole(), "{tally:?}\n{said}");
        said
    }
}

fn give_all(path: &Path) {
    lchown(path, Some(TENANT), Some(TENANT)).unwrap();
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            give_all(&entry.unwrap().path());
        }
    }
}

/// The lock by which tailers tell each other that a staging pipe is in use.
fn lock(pipe: &File) {
    let (kind, whence) = (libc::F_WRLCK as i16, libc::SEEK_SET as i16);
    let lock = libc::flock { l_type: kind, l_whence: whence, l_start: 1, l_len: 1, l_pid: 0 };
    fcntl(pipe, FcntlArg::F_OFD_SETLK(&lock)).unwrap();
}

#[test]
fn who_locks_his_staging_pipe_waits_alone() {
    let mut house = House::new();
    let (fifo, stage) = (house.at("T"), house.at("T.stage"));
    for path in [&fifo, &stage] {
        make_fifo(path, 0o660);
    }
    fs::write(house.at("T.log"), "his own line\n").unwrap();
    house.give();
    let drain = Drain::start(&fifo);
    let holder = File::options().read(true).write(true).open(&stage).unwrap();
    lock(&holder);
    house.start("", &[("../tenant/T.log", &format!("pipe = {fifo:?}\n"))]);
    house.stand.daemon().wait_line("T.stage: another tailer or another program has locked it; waiting");
    house.probe();
    assert_eq!(drain.bytes(), b"");
    drop(holder);
    let own = File::options().read(true).write(true).open(&stage).unwrap();
    let is_there = within(10 * LATENCY_MAX, || drain.bytes() == b"his own line\n");
    assert!(is_there, "{}", house.stand.daemon().stderr());
    // Meanwhile, in a pipe that takes the place of the one in use.
    fs::remove_file(&stage).unwrap();
    make_fifo(&stage, 0o660);
    house.give();
    let other = File::options().read(true).write(true).open(&stage).unwrap();
    lock(&other);
    let mut log = File::options().append(true).open(house.at("T.log")).unwrap();
    log.write_all(b"another\n").unwrap();
    house.stand.daemon().wait_lines("has locked it; waiting", 2);
    house.probe();
    assert_eq!(drain.bytes(), b"his own line\n");
    house.stop();
    drop(own);
}

/// Takes a write lease on each of these files as the tenant, and takes it again whenever it is broken.
fn lease(paths: &[PathBuf]) -> Process {
    const SCRIPT: &str = "
        use Fcntl qw(F_SETLEASE F_WRLCK);
        $SIG{IO} = sub {};
        my @files = map { open(my $file, '+<', $_) or die; $file } @ARGV;
        fcntl($_, F_SETLEASE, F_WRLCK) or die \"no lease: $!\" for @files;
        $| = 1;
        print \"taken\\n\";
        while (1) { fcntl($_, F_SETLEASE, F_WRLCK) for @files; select(undef, undef, undef, 0.01); }
    ";
    let mut perl = command("perl");
    perl.arg("-e").arg(SCRIPT).args(paths).stdout(Stdio::piped());
    if is_root() {
        perl.uid(TENANT).gid(TENANT);
    }
    let mut process = Process::start(&mut perl);
    let mut said = [0; 6];
    process.stdout.take().unwrap().read_exact(&mut said).unwrap();
    assert_eq!(said, *b"taken\n");
    process
}

#[test]
fn who_has_leases_on_his_files_delays_his_own_lines_alone() {
    needs_tool("perl", || {
        let mut house = House::new();
        let spool = house.stand.scratch.make_dir("tenant/spool");
        let fifo = house.at("spooled");
        make_fifo(&fifo, 0o660);
        let drain = Drain::start(&fifo);
        let path = house.stand.scratch.make_dir("tenant/logs").join("app.log");
        let mut his = Log::open(&path, 2, Owner::Tailer);
        his.write(10);
        house.give();
        let keys = format!("[[spool]]\ndir = {spool:?}\npipe = {fifo:?}\n");
        let tables = HIS_LOG;
        let configured = |house: &mut House| house.start(&keys, &tables);
        configured(&mut house);
        house.stand.wait_delivered(&[&his]);
        house.end();
        // What was rotated meanwhile: twice, and packed once.
        for _ in 0..2 {
            his.write(10);
            rename_and_create(&mut his);
            his.write(10);
        }
        let packed = pack_with(&numbered(&path, 2), gzip, ".gz");
        fs::write(spool.join("whole"), "spooled\n").unwrap();
        // A lease is for a file that nobody else has open.
        drop(his.reopen_elsewhere(&house.at("unfollowed")));
        house.give();
        let holder = lease(&[path.clone(), numbered(&path, 1), packed, spool.join("whole")]);
        configured(&mut house);
        house.probe();
        house.end();
        configured(&mut house);
        house.probe();
        drop(holder);
        house.stand.wait_delivered(&[&house.honest, &his]);
        let is_there = within(10 * LATENCY_MAX, || drain.bytes() == b"spooled\n");
        assert!(is_there, "{}", house.stand.daemon().stderr());
        let tally = house.stand.tally(&[&house.honest, &his]);
        assert!(tally.is_whole(), "{tally:?}\n{}", house.stand.daemon().stderr());
        house.stand.stop();
    });
}

/// How a file is packed, of which each part may stand alone.
type Packer = fn(&[u8]) -> Vec<u8>;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

/// Packs a file as rotators do: the packed one has its times, and it is gone.
fn pack_with(path: &Path, pack: impl Fn(&[u8]) -> Vec<u8>, end: &str) -> PathBuf {
    let packed = PathBuf::from(format!("{}{end}", path.display()));
    let mut file = File::create(&packed).unwrap();
    file.write_all(&pack(&fs::read(path).unwrap())).unwrap();
    file.set_modified(fs::metadata(path).unwrap().modified().unwrap()).unwrap();
    fs::remove_file(path).unwrap();
    packed
}

/// What a bomb has behind its beginning: about 11 MB.
#[derive(Clone, Copy, Debug)]
enum Bomb {
    /// 300 GB.
    Frames,
    /// 11 GB.
    Members,
    EmptyFrames,
    EmptyMembers,
    /// Frames of 4 GB that are to be skipped, of nothing but holes.
    Skipped,
    /// As the first, with its end cut off.
    CutOff,
}

const BOMBS: [Bomb; 6] =
    [Bomb::Frames, Bomb::Members, Bomb::EmptyFrames, Bomb::EmptyMembers, Bomb::Skipped, Bomb::CutOff];

impl Bomb {
    fn end(self) -> &'static str {
        if matches!(self, Bomb::Members | Bomb::EmptyMembers) { ".gz" } else { ".zst" }
    }

    /// Writes files of this kind that begin like `begin`.
    fn write(self, paths: &[PathBuf], begin: &[u8]) {
        let pack: Packer = if self.end() == ".gz" { gzip } else { zstd };
        let begin = pack(begin);
        let part = match self {
            Bomb::EmptyFrames | Bomb::EmptyMembers => pack(b""),
            Bomb::Skipped => b"\x50\x2a\x4d\x18\xff\xff\xff\xff".to_vec(),
            Bomb::Frames | Bomb::Members | Bomb::CutOff => pack(&vec![b'x'; 64 << 20]),
        };
        // How many parts there are, and what is skipped behind each.
        let (parts, gap) = match self {
            Bomb::Skipped => (200, u64::from(u32::MAX)),
            _ => ((11 << 20) / part.len() as u64, 0),
        };
        let together = if gap == 0 { part.repeat(parts as usize) } else { Vec::new() };
        for path in paths {
            let file = File::create(path).unwrap();
            file.write_all_at(&[&begin[..], &together].concat(), 0).unwrap();
            let at = |number: u64| begin.len() as u64 + number * (part.len() as u64 + gap);
            for number in 0..if gap == 0 { 0 } else { parts } {
                file.write_all_at(&part, at(number)).unwrap();
            }
            file.set_len(at(parts) - u64::from(matches!(self, Bomb::CutOff))).unwrap();
        }
    }
}

#[test]
fn packed_files_without_end_delay_their_own_log_alone() {
    let mut house = House::new();
    let logs = house.stand.scratch.make_dir("tenant/logs");
    let named = |bomb: Bomb| format!("{bomb:?}.log");
    let mut his: Vec<Log> =
        (2..).zip(BOMBS).map(|(writer, bomb)| Log::open(&logs.join(named(bomb)), writer, Owner::Tailer)).collect();
    for log in &mut his {
        log.write(200);
    }
    house.give();
    let names = BOMBS.map(|bomb| format!("../tenant/logs/{}", named(bomb)));
    let tables: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "")).collect();
    house.start("", &tables);
    house.stand.wait_delivered(&his.iter().collect::<Vec<_>>());
    house.end();
    for bomb in BOMBS {
        let path = logs.join(named(bomb));
        let begin = fs::read(&path).unwrap();
        let siblings = [1, 2, 3].map(|number| format!("{}{}", numbered(&path, number).display(), bomb.end()));
        bomb.write(&siblings.map(PathBuf::from), &begin);
        // As long as what they may be copies of.
        File::options().write(true).open(&path).unwrap().set_len(400 << 30).unwrap();
    }
    house.give();
    for _ in 0..2 {
        house.start("", &tables);
        house.probe();
        house.end();
    }
    house.start("", &tables);
    house.probe();
    let said = house.end();
    let logs: Vec<&Log> = iter::once(&house.honest).chain(&his).collect();
    let tally = house.stand.tally(&logs);
    assert!(tally.is_whole(), "{tally:?}\n{said}");
}

#[test]
fn members_that_give_nothing_delay_their_own_log_alone() {
    let mut house = House::new();
    let (path, mut his) = house.with_his_log();
    his.write(200);
    rename_and_create(&mut his);
    his.write(200);
    // They stand between lines that are read on behind what was read.
    let halves = |bytes: &[u8]| {
        let (begin, end) = bytes.split_at(bytes.len() * 3 / 4);
        [gzip(begin), gzip(b"").repeat(EMPTY), gzip(end)].concat()
    };
    pack_with(&numbered(&path, 1), halves, ".gz");
    house.give();
    house.start("", &HIS_LOG);
    house.probe();
    house.end();
    house.start("", &HIS_LOG);
    house.probe();
    house.stand.finish(&[&house.honest, &his]);
}

#[test]
fn a_log_that_was_packed_is_gone_through_bit_by_bit_and_delivered_in_order() {
    for (pack, end) in [(gzip as Packer, ".gz"), (zstd, ".zst")] {
        let mut house = House::new();
        let (path, mut his) = house.with_his_log();
        for lines in [LARGE_LINES, 1000] {
            his.write(lines);
            rename_and_create(&mut his);
        }
        for number in 1..=2 {
            pack_with(&numbered(&path, number), pack, end);
        }
        his.write(1000);
        house.give();
        // It takes seconds to go through it: they are not gone through when the tailer ends, in order or not.
        let begin = gzip(&house.stand.delivered());
        fs::write(format!("{}.gz", numbered(&path, 3).display()), [begin, gzip(b"").repeat(EMPTY)].concat()).unwrap();
        let before = house.stand.lines_delivered();
        house.start("", &HIS_LOG);
        house.stand.daemon().wait_line("watching");
        house.end();
        house.start("", &HIS_LOG);
        house.stand.daemon().wait_line("watching");
        house.stand.kill9();
        assert_eq!(house.stand.lines_delivered(), before);
        house.start("", &HIS_LOG);
        house.probe();
        house.stand.finish(&[&house.honest, &his]);
    }
}

#[test]
fn who_has_thousands_of_files_delays_his_own_lines_alone() {
    const FILES: usize = 1000;
    let mut house = House::new();
    let (fifo, many) = (house.at("T"), house.stand.scratch.make_dir("tenant/many"));
    make_fifo(&fifo, 0o660);
    house.give();
    let drain = Drain::start(&fifo);
    house.start("", &[("../tenant/many/*.log", &format!("pipe = {fifo:?}\n"))]);
    let name = |number: usize| many.join(format!("{number}.log"));
    let lines = |wanted: usize| {
        let is_there = within(60 * LATENCY_MAX, || drain.bytes().len() == 4 * wanted);
        assert!(is_there, "{wanted} lines");
    };
    for number in 0..FILES {
        fs::write(name(number), "one\n").unwrap();
    }
    house.give();
    house.probe();
    lines(FILES);
    for number in 0..FILES {
        File::options().append(true).open(name(number)).unwrap().write_all(b"two\n").unwrap();
    }
    house.probe();
    for number in 0..FILES {
        fs::rename(name(number), numbered(&name(number), 1)).unwrap();
    }
    house.probe();
    lines(2 * FILES);
    fs::remove_dir_all(&many).unwrap();
    house.probe();
    house.stop();
}

#[test]
fn who_makes_holes_without_end_is_told_of_once_a_second() {
    const HOLES: u64 = 2000;
    let mut house = House::new();
    let (fifo, log) = (house.at("T"), house.at("T.log"));
    make_fifo(&fifo, 0o660);
    fs::write(&log, "").unwrap();
    house.give();
    let drain = Drain::start(&fifo);
    house.start("", &[("../tenant/T.log", &format!("pipe = {fifo:?}\n"))]);
    let (file, began) = (File::options().write(true).open(&log).unwrap(), Instant::now());
    for hole in 1..=HOLES {
        file.write_all_at(b"line\n", hole << 16).unwrap();
    }
    let is_there = within(60 * LATENCY_MAX, || drain.bytes().len() as u64 == 5 * HOLES);
    assert!(is_there, "{} bytes", drain.bytes().len());
    house.probe();
    let seconds = began.elapsed().as_secs_f64();
    let said = house.stop();
    let told = said.lines().filter(|line| line.contains("skipped a hole")).count();
    // A few at once, and what is held back at the end.
    assert!((2..=6 + seconds as usize).contains(&told), "{told} in {seconds} s:\n{said}");
    assert!(said.contains("more messages like this were left out"), "{said}");
}
