//! What a line is: its bytes, its name and its time, whatever it holds and wherever it stands.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Write;

use standpipe_tests::deadline::until;
use standpipe_tests::directory::Scratch;
use standpipe_tests::privilege::{give, needs_seams};
use standpipe_tests::programs::{Launch, reader_stdin};
use standpipe_tests::world;

use super::sink::{self, Sink};
use super::{assert_whole, log, log_dir, numbered, ship, stored_lines};

#[test]
fn a_body_is_a_string_where_it_is_utf8_and_bytes_where_it_is_not() {
    let scratch = Scratch::new();
    let sink = Sink::new(|_| sink::taken());
    let long = vec![b'x'; 3 << 20];
    let bodies: [&[u8]; 7] = [b"plain", b"", "grüße".as_bytes(), b"nul \0 inside", b"bad \xff\xfe", b"\r", &long];
    let all: Vec<u8> = bodies.iter().flat_map(|body| [body, &b"\n"[..]].concat()).collect();
    log(&scratch, "app", &all, &[]);
    let _shipper = ship(&scratch, &sink.url(), &[]);
    let records = sink.wait_kept(bodies.len());
    assert_whole(&records, &bodies.map(<[u8]>::to_vec));
    assert_eq!(records.iter().position(|record| !record.is_string), Some(4));
    assert_eq!(records.iter().filter(|record| !record.is_string).count(), 1);
}

/// The uid of a line is where it begins, in the log, the part and the bytes of the part.
#[test]
fn a_uid_leads_to_the_line() {
    let scratch = Scratch::new();
    let sink = Sink::new(|_| sink::taken());
    log(&scratch, "app", &numbered(0..3000), &["--rotate-size", "16KiB"]);
    let _shipper = ship(&scratch, &sink.url(), &[]);
    let records = sink.wait_kept(3000);
    let mut parts = HashMap::new();
    for part in world::parts(&log_dir(&scratch, "app")) {
        let stem = part.file_name().unwrap().to_str().unwrap().split(".log").next().unwrap().to_owned();
        parts.insert(stem, world::content(&part).unwrap());
    }
    for record in &records {
        let [log, part, offset] = record.uid.split('/').collect::<Vec<_>>()[..] else { panic!("{}", record.uid) };
        assert!(log.len() == 32 && log.bytes().all(|digit| digit.is_ascii_hexdigit()), "{log}");
        let line = &parts[part][offset.parse::<usize>().unwrap()..];
        assert!(line.starts_with(&record.body) && line[record.body.len()] == b'\n', "{}", record.uid);
    }
}

#[test]
fn a_line_over_the_end_of_a_part_is_one_and_is_named_by_its_beginning() {
    let scratch = Scratch::new();
    let sink = Sink::new(|_| sink::taken());
    log(&scratch, "app", b"one\ntw", &[]);
    let _shipper = ship(&scratch, &sink.url(), &[]);
    assert_whole(&sink.wait_kept(1), &[b"one".to_vec()]);
    log(&scratch, "app", b"o\nthree\n", &[]);
    let all = sink.wait_kept(3);
    assert_whole(&all, &[b"one".to_vec(), b"two".to_vec(), b"three".to_vec()]);
    let oldest = world::parts(&log_dir(&scratch, "app"))[0].file_name().unwrap().to_str().unwrap().to_owned();
    let stem = oldest.split(".log").next().unwrap();
    assert!(all[1].uid.ends_with(&format!("/{stem}/4")), "{}: in {stem}", all[1].uid);
}

#[test]
fn an_open_line_waits_for_its_end() {
    let scratch = Scratch::new();
    let sink = Sink::new(|_| sink::taken());
    let (stdin, mut server) = std::io::pipe().unwrap();
    let _reader =
        Launch::new("reader").args(["stdin", "--continue"]).arg(log_dir(&scratch, "app")).stdin(stdin).start();
    server.write_all(b"whole\nhal").unwrap();
    let _shipper = ship(&scratch, &sink.url(), &[]);
    assert_whole(&sink.wait_kept(1), &[b"whole".to_vec()]);
    server.write_all(b"f\n").unwrap();
    assert_whole(&sink.wait_kept(2), &[b"whole".to_vec(), b"half".to_vec()]);
}

/// The same log is sent to one receiver while it is plain, and to another one from archives.
#[test]
fn a_line_has_the_same_name_and_time_from_a_segment_and_from_its_archive() {
    let scratch = Scratch::new();
    let (one, other) = (Sink::new(|_| sink::taken()), Sink::new(|_| sink::taken()));
    let (stdin, mut server) = std::io::pipe().unwrap();
    let reader = reader_stdin(log_dir(&scratch, "app")).stdin(stdin).start();
    let shipper = ship(&scratch, &one.url(), &[]);
    for n in 0..40 {
        // More than a block of an archive, in chunks that each have a mark.
        server.write_all(&numbered(n * 1500..(n + 1) * 1500)).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(12));
    }
    let plain = one.wait_kept(60_000);
    drop((shipper, server));
    let mut reader = reader;
    assert_eq!(reader.wait_exit(), 0);
    assert!(world::parts(&log_dir(&scratch, "app"))[0].extension().is_some_and(|end| end == "zst"));
    let _shipper = ship(&scratch, &other.url(), &["--name", "other"]);
    let archived = other.wait_kept(60_000);
    let first_odd = plain.iter().zip(&archived).position(|(one, other)| one != other);
    assert!(plain == archived, "{first_odd:?}: {:?}", first_odd.map(|n| (&plain[n], &archived[n])));
    assert_whole(&plain, &stored_lines(&scratch, "app"));
}

const T: i64 = 1_795_255_200_000_000_000;

#[test]
fn no_two_lines_have_one_time_though_the_clock_goes_back() {
    needs_seams(|| {
        let scratch = Scratch::new();
        let sink = Sink::new(|_| sink::taken());
        let clock = scratch.path().join("clock");
        let set = |ns: i64| {
            fs::write(clock.with_extension("new"), ns.to_string()).unwrap();
            fs::rename(clock.with_extension("new"), &clock).unwrap();
        };
        set(T);
        let (stdin, mut server) = std::io::pipe().unwrap();
        let reader = Launch::new("reader").env("STANDPIPE_TEST_CLOCK", &clock);
        let dir = log_dir(&scratch, "app");
        let _reader = reader.args(["stdin", "--continue"]).arg(&dir).stdin(stdin).start();
        let mut expected = Vec::new();
        for back_ns in [0, 1, 0, 3_600_000_000_000, 0, 5_000_000, 2_000_000] {
            set(T - back_ns);
            let lines = numbered(0..50);
            server.write_all(&lines).unwrap();
            expected.extend(lines);
            until("they are logged", || world::stream_of(&dir) == expected);
        }
        let _shipper = ship(&scratch, &sink.url(), &[]);
        assert_whole(&sink.wait_kept(350), &stored_lines(&scratch, "app"));
    });
}

#[test]
fn a_line_beyond_eight_mebibytes_comes_in_pieces() {
    let scratch = Scratch::new();
    let sink = Sink::new(|_| sink::taken());
    let long = vec![b'x'; (8 << 20) + 1000];
    log(&scratch, "app", &[&b"before\n"[..], &long, b"\nafter\n"].concat(), &[]);
    let _shipper = ship(&scratch, &sink.url(), &[]);
    let records = sink.wait_kept(4);
    let sizes: Vec<usize> = records.iter().map(|record| record.body.len()).collect();
    assert_eq!(sizes, [6, 8 << 20, 1000, 5]);
    assert!(records.is_sorted_by(|one, other| one.time_ns < other.time_ns));
}

/// The reader is killed between a chunk and its mark: what the chunk brought has no time yet that would stay.
#[test]
fn a_chunk_without_its_mark_waits_for_the_reader() {
    needs_seams(|| {
        let scratch = Scratch::new();
        let sink = Sink::new(|_| sink::taken());
        let [faults, trace] = ["faults", "trace"].map(|name| {
            let path = scratch.path().join(name);
            fs::write(&path, "").unwrap();
            give(&path);
            path
        });
        let dir = log_dir(&scratch, "app");
        let (stdin, mut server) = std::io::pipe().unwrap();
        let reader = Launch::new("reader").env("STANDPIPE_TEST_FAULTS", &faults).env("STANDPIPE_TEST_TRACE", &trace);
        let mut reader = reader.args(["stdin", "--continue"]).arg(&dir).stdin(stdin).start();
        server.write_all(b"one\n").unwrap();
        let has_mark = || {
            let mut files = fs::read_dir(&dir).unwrap().flatten();
            let marks = files.find(|file| file.path().extension().is_some_and(|end| end == "times"));
            marks.is_some_and(|marks| marks.metadata().unwrap().len() == 16)
        };
        until("the first line has its mark", || dir.exists() && has_mark());
        // At most one mark is made in ten milliseconds.
        std::thread::sleep(std::time::Duration::from_millis(15));
        let writes = fs::read_to_string(&trace).unwrap().lines().filter(|point| *point == "write").count();
        fs::write(&faults, format!("kill write {}\n", writes + 2)).unwrap();
        server.write_all(b"two\n").unwrap();
        reader.wait_exit();
        assert_eq!(world::stream_of(&dir), b"one\ntwo\n");

        let shipper = ship(&scratch, &sink.url(), &[]);
        sink.wait_kept(1);
        shipper.wait_signals_handled();
        assert_whole(&sink.kept(), &[b"one".to_vec()]);
        log(&scratch, "app", b"three\n", &["--continue"]);
        let records = sink.wait_kept(3);
        assert_whole(&records, &[b"one".to_vec(), b"two".to_vec(), b"three".to_vec()]);
        assert!(records[1].time_ns - records[0].time_ns > 10_000_000, "{records:?}");
    });
}

/// A line of text put into a log by hand, without marks: times are those of the part's name.
#[test]
fn a_log_without_marks_is_sent_with_the_time_of_its_part() {
    let scratch = Scratch::new();
    let sink = Sink::new(|_| sink::taken());
    log(&scratch, "app", &numbered(0..10), &["--continue"]);
    for entry in fs::read_dir(log_dir(&scratch, "app")).unwrap().flatten() {
        if entry.path().extension().is_some_and(|extension| extension == "times") {
            fs::remove_file(entry.path()).unwrap();
        }
    }
    let _shipper = ship(&scratch, &sink.url(), &[]);
    assert_whole(&sink.wait_kept(10), &stored_lines(&scratch, "app"));
    File::open(log_dir(&scratch, "app")).unwrap();
}
