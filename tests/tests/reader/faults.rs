//! A disk that fails for a while: the lane that meets it waits, all others go on, one line says so and one that it is
//! over, and nothing is lost.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::thread;
use std::time::Duration;

use standpipe_tests::deadline::until;
use standpipe_tests::directory::files_ending;
use standpipe_tests::privilege::needs_seams;
use standpipe_tests::programs::{Daemon, KILLED};
use standpipe_tests::stands::Bench;
use standpipe_tests::world::{assert_same, content, hold, parts, put, queued, stream_of, wait_empty};

/// Two pipes and a running reader that has stored a line of each.
struct Two {
    bench: Bench,
    sick: File,
    well: File,
    reader: Daemon,
}

impl Two {
    fn new(policy: &str) -> Two {
        let bench = Bench::new();
        bench.scratch.write_policy("sick.toml", policy);
        let (sick, well) = (hold(&bench.scratch.pipe("sick")), hold(&bench.scratch.pipe("well")));
        put(&sick, b"first\n");
        put(&well, b"first\n");
        let reader = bench.traced_reader().start();
        bench.wait_stored("sick", b"first\n");
        bench.wait_stored("well", b"first\n");
        until("its marks are written too", || bench.passes("write") >= 6);
        until("the archiver has put room by, in a file without a name", || has_spare(&reader));
        Two { bench, sick, well, reader }
    }

    /// Makes the next pass of a point fail, and the next after that as often as `count` says.
    fn fail(&self, errno: &str, point: &str, count: usize) {
        let next = self.bench.passes(point) + 1;
        self.bench.faults(&format!("{errno} {point} {next} {count}"));
    }

    /// One line when it began and one when it was over, and no other.
    fn said_twice(&self, began: &str, over: &str) {
        let (began, over) = (self.reader.wait_lines(began, 1), self.reader.wait_lines(over, 1));
        assert_eq!((began.len(), over.len()), (1, 1), "{}", self.reader.stderr());
        let lines = self.reader.lines();
        let place = |line| lines.iter().position(|said| said == line);
        assert!(place(&began[0]) < place(&over[0]), "{lines:?}");
        assert_eq!(self.reader.lines_with("error").len(), 1, "{lines:?}");
    }
}

/// Larger than a mailbox, one of which is kept in reserve as well.
fn has_spare(reader: &Daemon) -> bool {
    let descriptors = std::fs::read_dir(format!("/proc/{}/fd", reader.pid())).expect("the reader runs");
    let size_of = |entry: std::io::Result<std::fs::DirEntry>| std::fs::metadata(entry.ok()?.path()).ok();
    descriptors.filter_map(size_of).any(|file| file.is_file() && file.nlink() == 0 && file.len() > 4 << 20)
}

#[test]
fn a_chunk_that_cannot_be_written_waits_in_its_mailbox_and_delays_no_other_lane() {
    needs_seams(|| {
        for errno in ["ENOSPC", "EDQUOT", "EIO"] {
            let two = Two::new("");
            two.fail(errno, "write", 1);
            put(&two.sick, b"second\n");
            two.reader.wait_line("not reading sick until this is fixed");
            put(&two.sick, b"third\n");
            put(&two.well, b"second\n");
            two.bench.wait_stored("well", b"first\nsecond\n");
            assert_same(&stream_of(&two.bench.log("sick")), b"first\n", "before it is tried again");
            assert_eq!(queued(&two.sick), b"third\n".len(), "a sick lane is not read");
            two.bench.wait_stored("sick", b"first\nsecond\nthird\n");
            two.said_twice("not reading sick until this is fixed", "sick: recovered; reading again");
            two.reader.stop();
        }
    });
}

#[test]
fn a_failure_that_lasts_is_said_once_and_its_chunk_survives_term_and_kill() {
    needs_seams(|| {
        for kill in [false, true] {
            let mut two = Two::new("");
            two.fail("ENOSPC", "write", 1000);
            put(&two.sick, b"second\n");
            two.reader.wait_line("not reading sick until this is fixed");
            until("it was tried again", || two.bench.passes("write") >= 8);
            assert_eq!(two.reader.lines_with("error").len(), 1, "{}", two.reader.stderr());
            put(&two.sick, b"third\n");
            if kill {
                two.reader.kill9();
            } else {
                assert_eq!(two.reader.terminate(), 0);
                two.reader.wait_line("sick: 6 bytes left in the pipe");
            }
            two.bench.faults("");
            let reader = two.bench.steered_reader().start();
            two.bench.wait_stored("sick", b"first\nsecond\nthird\n");
            reader.wait_line("recovered 7 bytes");
            reader.stop();
        }
    });
}

#[test]
fn a_part_that_cannot_be_begun_holds_its_lane_only() {
    needs_seams(|| {
        let two = Two::new("rotate_size = \"1K\"\n");
        let second = [vec![b'2'; 1020], b"\n".to_vec()].concat();
        two.fail("ENOSPC", "create", 1);
        put(&two.sick, &second);
        two.reader.wait_line("not reading sick until this is fixed");
        assert_eq!(queued(&two.sick), second.len(), "nothing is taken that has no place");
        put(&two.well, b"second\n");
        two.bench.wait_stored("well", b"first\nsecond\n");
        two.bench.wait_stored("sick", &[b"first\n", &second[..]].concat());
        two.said_twice("not reading sick until this is fixed", "sick: recovered; reading again");
        assert_eq!(parts(&two.bench.log("sick")).len(), 2);
        two.reader.stop();
    });
}

#[test]
fn room_that_cannot_be_had_for_a_read_leaves_the_bytes_in_the_pipe() {
    needs_seams(|| {
        let two = Two::new("");
        two.fail("ENOSPC", "populate", 1);
        put(&two.sick, b"second\n");
        two.reader.wait_line("not reading sick until this is fixed");
        assert_eq!(queued(&two.sick), 7);
        put(&two.well, b"second\n");
        two.bench.wait_stored("well", b"first\nsecond\n");
        two.bench.wait_stored("sick", b"first\nsecond\n");
        two.said_twice("not reading sick until this is fixed", "sick: recovered; reading again");
        two.reader.stop();
    });
}

#[test]
fn an_archive_that_fails_leaves_its_segment_and_comes_later() {
    needs_seams(|| {
        let points = [
            ("EIO", "sync"),
            ("EIO", "link"),
            ("EIO", "archive-read"),
            ("ENOSPC", "unnamed"),
            ("EIO", "remove"),
            ("ENOSPC", "write"),
        ];
        thread::scope(|scope| {
            for (errno, point) in points {
                let named = thread::Builder::new().name(point.to_owned());
                named.spawn_scoped(scope, move || an_archive_fails_at(errno, point)).expect("a thread");
            }
        });
    });
}

fn an_archive_fails_at(errno: &str, point: &str) {
    let two = Two::new("");
    let next = two.bench.passes(point) + 1;
    // Both parts end before the first archive is complete, and what ends a part removes something, too.
    let next = if point == "remove" { next + 2 } else { next };
    // Where room is missing the archiver has some put by, and tries again at once.
    let times = if errno == "ENOSPC" { 2 } else { 1 };
    // The numbers of the two parts that begin are written, too; that they cannot be stops nothing.
    let times = if point == "write" { times + 2 } else { times };
    two.bench.faults(&format!("delay sync 50\n{errno} {point} {next} {times}\n"));
    two.reader.signal(nix::sys::signal::Signal::SIGALRM);
    let began = two.reader.wait_line("error: cannot ");
    assert!(began.contains("; keeping the part uncompressed, retrying in 1 s"), "{point}: {began}");
    put(&two.sick, b"second\n");
    put(&two.well, b"second\n");
    two.bench.wait_stored("sick", b"first\nsecond\n");
    two.bench.wait_stored("well", b"first\nsecond\n");
    for name in ["sick", "well"] {
        let archives = || files_ending(&two.bench.log(name), ".log.zst");
        until("it is archived", || archives().len() == 1);
        assert_eq!(content(&archives()[0]).expect("an archive"), b"first\n", "{point}");
    }
    two.said_twice("keeping the part uncompressed", "archiving works again");
    two.bench.wait_stored("sick", b"first\nsecond\n");
    two.reader.stop();
}

#[test]
fn without_a_mailbox_left_a_lane_waits_until_another_gives_its_own_back() {
    needs_seams(|| {
        let bench = Bench::new();
        let pipes = ["a", "b", "c"].map(|name| hold(&bench.scratch.pipe(name)));
        let reader = bench.traced_reader().start();
        let next = |point| bench.passes(point) + 1;
        bench.faults(&format!("ENOSPC write {} 1000\nENOSPC allocate {} 1000\n", next("write"), next("allocate")));
        for (pipe, name) in pipes.iter().zip(["a", "b"]) {
            put(pipe, b"one\n");
            reader.wait_line(&format!("not reading {name} until this is fixed"));
            wait_empty(pipe);
        }
        put(&pipes[2], b"one\n");
        let said = reader.wait_line("not reading c until this is fixed");
        assert!(said.contains("a mailbox needs 1056768 bytes, but only "), "{said}");
        assert_eq!(queued(&pipes[2]), 4);
        bench.faults("");
        for name in ["a", "b", "c"] {
            bench.wait_stored(name, b"one\n");
            reader.wait_line(&format!("{name}: recovered; reading again"));
        }
        assert_eq!(reader.lines_with("error").len(), 3, "{}", reader.stderr());
        assert_eq!(bench.root_files(".salvaged-").len(), 0);
        reader.stop();
    });
}

#[test]
fn a_reader_that_finds_no_room_for_mailboxes_is_refused_before_it_opens_a_pipe() {
    needs_seams(|| {
        for (fault, sentence) in [
            ("ENOSPC allocate 1", "a mailbox needs 1056768 bytes, but only "),
            ("ENOSPC allocate 2", "a mailbox needs 1056768 bytes, but only "),
            ("ENODEV map 1 99", "has no shared mappings"),
            ("EIO create 1", "cannot open "),
        ] {
            let bench = Bench::new();
            // Nobody holds it: one who opened and closed it would be seen by its writers.
            bench.scratch.pipe("app");
            bench.faults(fault);
            let output = bench.steered_reader().run();
            assert_eq!(output.code, 3, "{}", output.stderr);
            assert!(output.stderr.contains(sentence) && output.stderr.lines().count() == 1, "{}", output.stderr);
            assert_eq!(bench.root_files(".mailbox-1").len(), 0, "what could not be made does not stay");
            bench.faults("");
            let reader = bench.steered_reader().start();
            assert_eq!(bench.root_files(".salvaged-").len(), 0);
            reader.stop();
        }
    });
}

#[test]
fn a_kill_in_the_middle_of_a_failure_loses_nothing() {
    needs_seams(|| {
        for point in ["write", "truncate", "word"] {
            let mut two = Two::new("");
            let next = two.bench.passes("write") + 1;
            two.bench.faults(&format!("ENOSPC write {next} 1"));
            put(&two.sick, b"second\n");
            two.reader.wait_line("not reading sick until this is fixed");
            let again = two.bench.passes(point) + 1;
            two.bench.faults(&format!("ENOSPC write {next} 1\nkill {point} {again}"));
            assert_eq!(two.reader.wait_exit_within(Duration::from_secs(10)), KILLED);
            two.bench.faults("");
            let reader = two.bench.steered_reader().start();
            two.bench.wait_stored("sick", b"first\nsecond\n");
            reader.stop();
        }
    });
}
