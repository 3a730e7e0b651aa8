//! Cursors: what they keep, and what is done where one cannot be believed, written or had.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::thread;

use nix::sys::signal::Signal;
use standpipe_tests::deadline::until;
use standpipe_tests::directory::Scratch;
use standpipe_tests::privilege::{give, needs_root, needs_seams};

use super::sink::{Sink, taken};
use super::{assert_whole, launch, log, log_dir, numbered, ship, stored_lines};

fn cursor(scratch: &Scratch) -> PathBuf {
    log_dir(scratch, "app").join(".cursor-otlp")
}

fn said(scratch: &Scratch, key: &str) -> Option<String> {
    let text = fs::read_to_string(cursor(scratch)).ok()?;
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ').map(str::to_owned))
}

/// The file of faults, with this in it, that the program can read.
fn faults(scratch: &Scratch, text: &str) -> PathBuf {
    let faults = scratch.path().join("faults");
    fs::write(&faults, text).unwrap();
    give(&faults);
    faults
}

#[test]
fn a_cursor_is_there_before_anything_is_sent_and_says_how_far_it_is() {
    let scratch = Scratch::new();
    let sink = Sink::new(|_| taken());
    log(&scratch, "app", &numbered(0..100), &[]);
    let shipper = ship(&scratch, "http://127.0.0.1:9", &[]);
    until("a cursor is there", || said(&scratch, "offset") == Some("0".to_owned()));
    until("it says why", || said(&scratch, "answer") == Some("Connection refused".to_owned()));
    drop(shipper);
    let _shipper = ship(&scratch, &sink.url(), &[]);
    let bytes = numbered(0..100).len().to_string();
    until("it is at the end", || said(&scratch, "offset").as_ref() == Some(&bytes));
    assert_eq!([said(&scratch, "sent"), said(&scratch, "refused")], [Some(bytes), Some("0".to_owned())]);
    assert_eq!(said(&scratch, "answer"), Some("200 OK".to_owned()));
    let [state, cursor] =
        [".standpipe", ".cursor-otlp"].map(|name| fs::metadata(log_dir(&scratch, "app").join(name)).unwrap());
    assert_eq!((cursor.mode(), cursor.uid(), cursor.gid()), (state.mode(), state.uid(), state.gid()));
}

#[test]
fn a_cursor_that_is_damaged_newer_or_foreign_is_said_and_never_begun_anew() {
    let of_other_log = |text: &str| {
        let (before, after) = text.split_once("\nlog ").unwrap();
        let digit = if after.starts_with('f') { "e" } else { "f" };
        with_crc(&format!("{before}\nlog {digit}{}", &after[1..]))
    };
    let cases: [(&Change, &str); 5] = [
        (&|text| text.replace("offset ", "offset 1"), "it is damaged"),
        (&|_| with_crc("standpipe-cursor 2\n"), "it has version 2; this program knows 1"),
        (&|_| String::new(), "it is damaged"),
        (&of_other_log, "it belongs to log "),
        (&|text| with_crc(&text.replace("\npart 20", "\npart x")), " is not the name of a part"),
    ];
    thread::scope(|scope| {
        for (change, sentence) in cases {
            scope.spawn(move || is_left_alone(change, sentence));
        }
    });
}

/// Of what a cursor says.
type Change = dyn Fn(&str) -> String + Sync;

fn is_left_alone(change: &Change, sentence: &str) {
    let scratch = Scratch::new();
    let sink = Sink::new(|_| taken());
    log(&scratch, "app", &numbered(0..100), &[]);
    let mut shipper = ship(&scratch, &sink.url(), &[]);
    until("all is sent", || said(&scratch, "sent").is_some_and(|sent| sent != "0"));
    assert_eq!(shipper.terminate(), 0);
    log(&scratch, "other", &numbered(0..5), &[]);
    let changed = change(&fs::read_to_string(cursor(&scratch)).unwrap());
    fs::write(cursor(&scratch), &changed).unwrap();
    let shipper = ship(&scratch, &sink.url(), &[]);
    let line = shipper.wait_line("app: cannot use cursor");
    assert!(line.contains(sentence), "{line}");
    // The other log is sent, and this one neither sent nor is its cursor touched.
    assert_eq!(sink.wait_kept(105).len(), 105);
    assert_eq!(fs::read_to_string(cursor(&scratch)).unwrap(), changed);
    fs::remove_file(cursor(&scratch)).unwrap();
    assert_eq!(sink.wait_kept(205).len(), 205, "begun anew once it is removed");
}

/// The checksum of a cursor, made good again.
fn with_crc(text: &str) -> String {
    let body = &text[..text.rfind("crc ").unwrap_or(text.len())];
    format!("{body}crc {:08x}\n", crc_of(body.as_bytes()))
}

fn crc_of(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}

#[test]
fn two_shippers_do_not_send_one_log_under_one_name() {
    let scratch = Scratch::new();
    let (one, other) = (Sink::new(|_| taken()), Sink::new(|_| taken()));
    log(&scratch, "app", &numbered(0..10), &[]);
    let mut first = ship(&scratch, &one.url(), &[]);
    let second = launch(&scratch, &other.url()).run();
    assert_eq!(second.code, 3, "{second:?}");
    assert!(second.stderr.contains("another shipper sends this log under that name"), "{}", second.stderr);
    let _named = ship(&scratch, &other.url(), &["--name", "other"]);
    other.wait_kept(10);
    one.wait_kept(10);
    first.kill9();
    let _again = ship(&scratch, &one.url(), &[]);
}

/// The disk is full while the cursor is written: the old one stands, nothing more is sent, and nothing again.
#[test]
fn a_cursor_that_cannot_be_written_stands_and_nothing_is_sent_until_it_can() {
    needs_seams(|| {
        let stands = |point: &str| {
            let scratch = Scratch::new();
            let sink = Sink::new(|_| taken());
            log(&scratch, "app", &numbered(0..100), &[]);
            let faults = faults(&scratch, "");
            let mut shipper = launch(&scratch, &sink.url()).env("STANDPIPE_TEST_FAULTS", &faults).start();
            sink.wait_kept(100);
            until("it is written down", || said(&scratch, "sent").is_some_and(|sent| sent != "0"));
            shipper.wait_signals_handled();
            let before = fs::read(cursor(&scratch)).unwrap();
            fs::write(&faults, format!("ENOSPC {point} 1 1000000\n")).unwrap();
            log(&scratch, "app", &numbered(100..110), &[]);
            let line = shipper.wait_line("No space left on device");
            assert!(line.contains("app: cannot "), "{line}");
            assert_eq!(sink.kept().len(), 110, "{point}: {}", shipper.stderr());
            log(&scratch, "app", &numbered(110..120), &[]);
            assert_eq!(fs::read(cursor(&scratch)).unwrap(), before, "{point}: the old one stands");
            let requests = sink.requests().len();
            fs::write(&faults, "").unwrap();
            assert_whole(&sink.wait_kept(120), &stored_lines(&scratch, "app"));
            assert_eq!(sink.requests().len(), requests + 1, "{point}: nothing was sent again");
            assert_eq!(shipper.terminate(), 0);
        };
        thread::scope(|scope| {
            for point in ["create", "write", "sync", "rename"] {
                scope.spawn(move || stands(point));
            }
        });
    });
}

#[test]
fn a_signal_that_comes_while_it_wakes_for_another_ends_it() {
    needs_seams(|| {
        let scratch = Scratch::new();
        let sink = Sink::new(|_| taken());
        log(&scratch, "app", &numbered(0..10), &[]);
        let awake = scratch.make_dir("awake").join("now");
        let text = ["touch shipper-asked ", awake.to_str().unwrap(), "\ndelay shipper-asked 300\n"].concat();
        let faults = faults(&scratch, &text);
        let mut shipper = launch(&scratch, &sink.url()).env("STANDPIPE_TEST_FAULTS", &faults).start();
        until("all is sent", || said(&scratch, "sent").is_some_and(|sent| sent != "0"));
        shipper.wait_signals_handled();
        fs::remove_file(&awake).unwrap();
        shipper.signal(Signal::SIGHUP);
        until("it wakes", || awake.exists());
        assert_eq!(shipper.terminate(), 0);
    });
}

#[test]
fn a_kill_at_any_step_of_a_cursor_loses_nothing() {
    needs_seams(|| {
        let loses_nothing = |point: &str, pass: u32| {
            let scratch = Scratch::new();
            let sink = Sink::new(|_| taken());
            log(&scratch, "app", &numbered(0..100), &[]);
            let faults = faults(&scratch, &format!("kill {point} {pass}\n"));
            let mut killed = launch(&scratch, &sink.url()).env("STANDPIPE_TEST_FAULTS", &faults).start_unready();
            killed.wait_exit();
            let mut shipper = ship(&scratch, &sink.url(), &[]);
            log(&scratch, "app", &numbered(100..101), &[]);
            until("the last line arrives", || sink.kept().iter().any(|record| record.body.starts_with(b"line 100 ")));
            assert_eq!(shipper.terminate(), 0);
            let mut kept = sink.kept();
            kept.sort_by_key(|record| record.time_ns);
            kept.dedup();
            assert_whole(&kept, &stored_lines(&scratch, "app"));
        };
        thread::scope(|scope| {
            for (point, pass) in [("create", 2), ("write", 2), ("sync", 3), ("rename", 2), ("sync", 4)] {
                scope.spawn(move || loses_nothing(point, pass));
            }
        });
    });
}

/// Whoever sends a log as root leaves it to the user whose log it is.
#[test]
fn root_leaves_cursors_to_the_owner_of_the_log() {
    needs_root(|| {
        let scratch = Scratch::new();
        let sink = Sink::new(|_| taken());
        log(&scratch, "app", &numbered(0..10), &[]);
        let mut shipper = launch(&scratch, &sink.url()).as_tests().start();
        sink.wait_kept(10);
        log(&scratch, "app", &numbered(10..20), &[]);
        sink.wait_kept(20);
        assert_eq!(shipper.terminate(), 0, "{}", shipper.stderr());
        let owner = |name: &str| fs::metadata(log_dir(&scratch, "app").join(name)).unwrap().uid();
        assert_eq!([owner(".cursor-otlp"), owner(".cursor-otlp.lock")], [owner(".standpipe"); 2]);
        let _shipper = ship(&scratch, &sink.url(), &[]);
        log(&scratch, "app", &numbered(20..30), &[]);
        assert_whole(&sink.wait_kept(30), &stored_lines(&scratch, "app"));
    });
}
