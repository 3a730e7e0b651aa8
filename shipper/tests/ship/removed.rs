//! Parts that go before they were sent, by a limit or by hand, and logs that go and come again.

use std::fs;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use standpipe_tests::deadline::until;
use standpipe_tests::directory::Scratch;
use standpipe_tests::programs::{Daemon, Launch};
use standpipe_tests::world;

use super::sink::{Sink, refused, taken};
use super::wire::Record;
use super::{assert_whole, log, log_dir, numbered, ship, stored_lines};

/// How many bytes were told as removed, line by line.
fn told(shipper: &Daemon) -> Vec<u64> {
    let said = shipper.lines_with(" bytes, removed before being sent: what arrived after ");
    let bytes = |line: &String| line.split("app: lost ").nth(1)?.split(' ').next()?.parse().ok();
    said.iter().map(|line| bytes(line).expect("a number")).collect()
}

fn lost(scratch: &Scratch) -> u64 {
    let text = fs::read_to_string(log_dir(scratch, "app").join(".cursor-otlp")).unwrap_or_default();
    text.lines().find_map(|line| line.strip_prefix("lost ")?.parse().ok()).unwrap_or_default()
}

fn bytes_of(records: &[Record]) -> u64 {
    records.iter().map(|record| record.body.len() as u64 + 1).sum()
}

#[test]
fn what_a_limit_removed_before_it_was_sent_is_told_to_the_byte_and_the_rest_arrives() {
    let scratch = Scratch::new();
    let is_open = Arc::new(AtomicBool::new(false));
    let opened = Arc::clone(&is_open);
    let sink = Sink::new(move |_| if opened.load(Ordering::Relaxed) { taken() } else { refused(503) });
    let (stdin, mut server) = std::io::pipe().unwrap();
    let reader = Launch::new("reader").args(["stdin", "--rotate-size", "16KiB", "--keep-files", "3"]);
    let _reader = reader.arg(log_dir(&scratch, "app")).stdin(stdin).start();
    let mut written = 0;
    let mut write = |range| {
        let lines = numbered(range);
        server.write_all(&lines).unwrap();
        written += lines.len() as u64;
        written
    };
    write(0..100);
    let shipper = ship(&scratch, &sink.url(), &[]);
    sink.wait_requests(1);
    let first = world::parts(&log_dir(&scratch, "app"))[0].clone();
    let mut all = 0;
    // Part by part, so that limits have their turn while it is tried again and again.
    for n in 1..40 {
        all = write(n * 200..(n + 1) * 200);
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    until("the limit has had its turn", || {
        let parts = world::parts(&log_dir(&scratch, "app"));
        !parts.contains(&first) && parts.len() <= 5
    });
    is_open.store(true, Ordering::Relaxed);
    until("what was kept arrives", || bytes_of(&sink.kept()) + lost(&scratch) == all);
    let kept = sink.kept();
    assert!(kept.len() > 100 && lost(&scratch) > 100_000, "{} lines, {} lost", kept.len(), lost(&scratch));
    assert_eq!(told(&shipper).iter().sum::<u64>(), lost(&scratch), "{}", shipper.stderr());
    assert!(kept.is_sorted_by(|one, other| one.time_ns < other.time_ns));
}

#[test]
fn a_part_that_somebody_removed_is_told_and_the_others_arrive() {
    let scratch = Scratch::new();
    let sink = Sink::new(|_| taken());
    log(&scratch, "app", &numbered(0..3000), &["--rotate-size", "16KiB"]);
    let parts = world::parts(&log_dir(&scratch, "app"));
    let gone: Vec<u64> = [2, 4].map(|n| world::content(&parts[n]).unwrap().len() as u64).to_vec();
    for n in [2, 4] {
        fs::remove_file(&parts[n]).unwrap();
    }
    let mut shipper = ship(&scratch, &sink.url(), &[]);
    let expected = stored_lines(&scratch, "app");
    assert_whole(&sink.wait_kept(expected.len()), &expected);
    assert_eq!(told(&shipper), gone, "{}", shipper.stderr());
    until("it is counted", || lost(&scratch) == gone.iter().sum::<u64>());
    assert_eq!(shipper.terminate(), 0);

    // Everything but the newest goes while nobody sends.
    log(&scratch, "app", &numbered(3000..4000), &["--rotate-size", "16KiB"]);
    let parts = world::parts(&log_dir(&scratch, "app"));
    let newest = parts.iter().rposition(|part| !world::content(part).unwrap().is_empty()).unwrap();
    for part in &parts[..newest] {
        fs::remove_file(part).unwrap();
    }
    let shipper = ship(&scratch, &sink.url(), &[]);
    let rest = stored_lines(&scratch, "app");
    let all = sink.wait_kept(expected.len() + rest.len());
    assert_whole(&all[expected.len()..], &rest);
    let missing = numbered(3000..4000).len() as u64 - world::content(&parts[newest]).unwrap().len() as u64;
    assert_eq!(told(&shipper), [missing], "{}", shipper.stderr());
}

#[test]
fn a_log_that_is_wiped_and_begun_again_is_another_one() {
    let scratch = Scratch::new();
    let sink = Sink::new(|_| taken());
    log(&scratch, "app", &numbered(0..10), &[]);
    let shipper = ship(&scratch, &sink.url(), &[]);
    let first = sink.wait_kept(10);
    let id = |record: &Record| record.uid.split('/').next().unwrap().to_owned();
    // The directory itself, and then all that is in it.
    shipper.wait_signals_handled();
    fs::remove_dir_all(log_dir(&scratch, "app")).unwrap();
    log(&scratch, "app", &numbered(0..20), &[]);
    let second = sink.wait_kept(30);
    assert_ne!(id(&first[0]), id(&second[10]));
    shipper.wait_signals_handled();
    for entry in fs::read_dir(log_dir(&scratch, "app")).unwrap().flatten() {
        fs::remove_file(entry.path()).unwrap();
    }
    log(&scratch, "app", &numbered(0..5), &[]);
    let third = sink.wait_kept(35);
    assert_ne!(id(&second[10]), id(&third[30]));
    assert_whole(&third[30..], &stored_lines(&scratch, "app"));
    assert!(told(&shipper).is_empty(), "{}", shipper.stderr());
}

/// The second frame of three is damaged.
#[test]
fn a_damaged_frame_is_told_once_and_the_rest_arrives() {
    let scratch = Scratch::new();
    let sink = Sink::new(|_| taken());
    log(&scratch, "app", &numbered(0..70_000), &[]);
    let part = world::parts(&log_dir(&scratch, "app"))[0].clone();
    let mut bytes = fs::read(&part).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xFF;
    fs::write(&part, &bytes).unwrap();
    let shipper = ship(&scratch, &sink.url(), &[]);
    shipper.wait_line("app: ");
    log(&scratch, "app", &numbered(70_000..70_001), &[]);
    let is_last = |record: &Record| record.body.starts_with(b"line 70000 ");
    until("the last line arrives", || sink.kept().iter().any(is_last));
    let kept = sink.kept();
    assert!(kept[0].body.starts_with(b"line 0 ") && kept.len() > 30_000 && kept.len() < 70_000, "{}", kept.len());
    assert!(kept.is_sorted_by(|one, other| one.time_ns < other.time_ns));
    let said = shipper.lines_with("app: ");
    assert!(said.len() == 1 && said[0].contains("damaged"), "{said:?}");
}
