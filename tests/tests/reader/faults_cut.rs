//! The reader killed at every step that it takes on disk or mailbox, and killed again while it recovers: whatever the
//! cut, the logs come to be exactly what was written.
//!
//! One run without faults tells how many steps there are; then each has its turn, in the middle of it where it is a
//! write. The kill of the recovery is a choice that the seed tells; `STANDPIPE_TESTS_SEED` makes it again.

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use standpipe_common::serial::Serial;
use standpipe_tests::deadline::{PROGRAM_SPAN, within};
use standpipe_tests::directory::files_ending;
use standpipe_tests::privilege::needs_seams;
use standpipe_tests::programs::KILLED;
use standpipe_tests::stands::Bench;
use standpipe_tests::world::{assert_same, hold, open_archive, put, queued, stream_of};

/// Runs side by side: most of their time they wait for the disk.
const THREADS: usize = 4;
/// How long all cuts may take: the gate has other things to do.
const ALL_SPAN: Duration = Duration::from_secs(35);
/// So many at least, however long a busy machine takes.
const CUTS_MIN: usize = 50;
/// A stamp as `iso` has it, with its space.
const STAMP_BYTES: usize = "2026-11-21T10:00:00.000000Z ".len();

/// The pipes, and the policy of each.
const PIPES: [(&str, &str); 3] = [
    ("plain", "rotate_size = \"1K\"\n"),
    ("stamped", "rotate_size = \"1K\"\nstamp = \"iso\"\n"),
    ("open", "rotate_size = \"2K\"\nprefix = \"open: \"\n"),
];

/// What is written into a pipe at first, and after the cut. Both end inside a line of the third.
fn words(name: &str, phase: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> =
        (0..60).flat_map(|line| format!("{name} {phase}.{line} {}\n", "x".repeat(line)).into_bytes()).collect();
    if name == "open" {
        bytes.truncate(bytes.len() - 7);
    }
    bytes
}

/// What the logs must be in the end, stamps left out.
fn expected(name: &str, bytes: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(bytes);
    let prefix = if name == "open" { "open: " } else { "" };
    text.split_inclusive('\n').flat_map(|line| [prefix, line]).collect::<String>().into_bytes()
}

/// A log without what was put before its lines by the clock.
fn unstamped(name: &str, log: &[u8]) -> Vec<u8> {
    if name != "stamped" {
        return log.to_vec();
    }
    let lines = log.split_inclusive(|byte| *byte == b'\n');
    lines.flat_map(|line| line.get(STAMP_BYTES..).unwrap_or_else(|| panic!("no stamp: {line:?}"))).copied().collect()
}

/// One workload and the cuts in it.
struct Run {
    bench: Bench,
    pipes: Vec<File>,
    written: BTreeMap<&'static str, Vec<u8>>,
    said: String,
}

impl Run {
    fn new() -> Run {
        let bench = Bench::new();
        let pipes = PIPES.map(|(name, policy)| {
            bench.scratch.write_policy(&format!("{name}.toml"), policy);
            hold(&bench.scratch.pipe(name))
        });
        Run { bench, pipes: pipes.into(), written: BTreeMap::new(), said: String::new() }
    }

    /// Bytes come, and a reader with these faults works until they are archived or it is killed. Returns whether it
    /// was.
    fn phase(&mut self, phase: usize, faults: &str, traced: bool) -> bool {
        for (pipe, (name, _)) in self.pipes.iter().zip(PIPES) {
            let bytes = words(name, phase);
            put(pipe, &bytes);
            self.written.entry(name).or_default().extend(bytes);
        }
        self.work(faults, traced)
    }

    fn work(&mut self, faults: &str, traced: bool) -> bool {
        self.bench.faults(faults);
        let launch = if traced { self.bench.traced_reader() } else { self.bench.steered_reader() };
        let mut reader = launch.start_unready();
        let settled = within(PROGRAM_SPAN, || !reader.is_running() || self.is_settled());
        assert!(settled, "{faults}: neither killed nor done:\n{}", reader.stderr());
        let code = if reader.is_running() { reader.terminate() } else { reader.wait_exit() };
        assert!([0, KILLED].contains(&code), "{faults}: {code}\n{}", reader.stderr());
        self.said.push_str(&reader.stderr());
        code == KILLED
    }

    /// All that was written is stored, and all but the active segments archived.
    fn is_settled(&self) -> bool {
        self.pipes.iter().all(|pipe| queued(pipe) == 0)
            && PIPES.iter().all(|(name, _)| {
                let log = self.bench.log(name);
                log.exists()
                    && files_ending(&log, ".log").len() == 1
                    && lines(&stream_of(&log)) >= lines(&self.written[name])
            })
    }

    fn logs(&self) -> Vec<Vec<u8>> {
        PIPES.iter().map(|(name, _)| stream_of(&self.bench.log(name))).collect()
    }

    /// Nothing lost, repeated or changed since `before`, nothing left lying about.
    fn check(&self, before: &[Vec<u8>], what: &str) {
        for (((name, _), log), before) in PIPES.iter().zip(self.logs()).zip(before) {
            assert_same(&unstamped(name, &log), &expected(name, &self.written[name]), &format!("{what}, {name}"));
            assert!(log.starts_with(before), "{what}, {name}: what was stored before the cut has changed");
            self.check_serials(name, what);
            for ending in [".part", ".new"] {
                let left = files_ending(&self.bench.log(name), ending);
                assert!(left.is_empty(), "{what}: {left:?}");
            }
        }
        assert!(!self.said.contains(" bytes for "), "{what}: a chunk was set aside:\n{}", self.said);
        assert!(!self.said.contains("does not match its part"), "{what}:\n{}", self.said);
    }

    /// Archives have every number once, and every byte of the log.
    fn check_serials(&self, name: &str, what: &str) {
        let mut next: Option<Serial> = None;
        for archive in files_ending(&self.bench.log(name), ".log.zst") {
            let archive = open_archive(&archive);
            let serial = archive.index().expect("an index").serial.expect("every part has a number");
            let expected = next.unwrap_or(Serial::first(serial.log));
            assert_eq!(serial, expected, "{what}, {name}: {}", archive.path().display());
            next = Some(serial.after(archive.raw_bytes()));
        }
        assert!(next.is_some(), "{what}, {name}: no archive");
    }
}

fn lines(bytes: &[u8]) -> usize {
    memchr::memchr_iter(b'\n', bytes).count()
}

/// A number that follows from seed and cut (splitmix64).
fn mixed(seed: u64, cut: u64) -> u64 {
    let mut z = seed ^ cut.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

fn seed() -> u64 {
    let given = std::env::var("STANDPIPE_TESTS_SEED").ok().and_then(|seed| seed.parse().ok());
    given.unwrap_or_else(|| SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").subsec_nanos().into())
}

/// One cut, a kill of the recovery, and the end. Returns how many of the two kills took place.
fn cut(fault: &str, again: &str) -> usize {
    let mut run = Run::new();
    let mut kills = usize::from(run.phase(1, fault, false));
    let before = run.logs();
    kills += usize::from(run.phase(2, again, false));
    run.work("", false);
    run.check(&before, &format!("{fault}, then {again}"));
    kills
}

#[test]
fn a_reader_killed_at_any_step_loses_repeats_and_changes_nothing() {
    needs_seams(|| {
        let mut model = Run::new();
        model.phase(1, "", true);
        let points = model.bench.points();
        assert!(!model.phase(2, "", false));
        model.check(&[const { Vec::new() }; PIPES.len()], "no fault");
        assert!(points.len() > 100, "{points:?}");

        let seed = seed();
        let mut faults: Vec<String> = (1..=points.len()).map(|n| format!("kill * {n}")).collect();
        faults.extend((1..=points.len()).filter(|n| points[n - 1] == "write").map(|n| format!("half * {n}")));
        // In an order of the seed's choice, so that a slow machine does not always leave out the same ones.
        faults.sort_by_key(|fault| mixed(seed, fault.bytes().fold(0, |sum, byte| sum * 31 + u64::from(byte))));
        println!("seed {seed}, {} points", points.len());
        let (next, done, kills) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
        let end = Instant::now() + ALL_SPAN;
        let work = || {
            while let Some(fault) = faults.get(next.fetch_add(1, Ordering::Relaxed))
                && (Instant::now() < end || done.load(Ordering::Relaxed) < CUTS_MIN)
            {
                let again = mixed(seed, done.fetch_add(1, Ordering::Relaxed) as u64) % 60 + 1;
                kills.fetch_add(cut(fault, &format!("kill * {again}")), Ordering::Relaxed);
            }
        };
        thread::scope(|scope| (0..THREADS).for_each(|_| drop(scope.spawn(work))));
        let (done, kills) = (done.into_inner(), kills.into_inner());
        println!("{done} of {} cuts, {kills} kills", faults.len());
        assert!(kills >= done && done >= CUTS_MIN, "seed {seed}: {kills} kills in {done} cuts");
    });
}
