//! The index of an archive tells when each line arrived, and costs next to nothing.

use std::fs;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::sys::signal::Signal;
use standpipe_common::archive::{Archive, Decoder, Index};
use standpipe_tests::deadline::until;
use standpipe_tests::directory::Scratch;
use standpipe_tests::privilege::needs_seams;
use standpipe_tests::programs::{query, text};
use standpipe_tests::stands::Stand;
use standpipe_tests::world::{archive, log_dir, marks, open_archive, raw, stem, wait_empty};

const LINES_A_SECOND: u64 = 200_000;

fn now_ns() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as i64
}

/// Lines such as a web server writes, at that rate for a second, in pieces that end inside a line. Returns them.
fn write_stream(stand: &Stand) -> Vec<u8> {
    let started = Instant::now();
    let (mut sent, mut count, mut written) = (Vec::new(), 0, 0);
    while count < LINES_A_SECOND {
        let due = (started.elapsed().as_micros() as u64 * LINES_A_SECOND / 1_000_000).min(LINES_A_SECOND);
        for number in count..due {
            let (user, size) = (number * 7919 % 1009, number * 104_729 % 65_521);
            sent.extend(
                format!("10.0.{}.{} GET /item/{user}?page={} 200 {size}\n", user % 4, user % 251, size % 7).bytes(),
            );
        }
        let end = sent.len().saturating_sub(20).max(written);
        stand.write(&sent[written..end]);
        (count, written) = (due, end);
        thread::sleep(Duration::from_millis(1));
    }
    stand.write(&sent[written..]);
    sent
}

/// Arrival times rise, lie within the stream's, and stand at beginnings of lines.
fn check_marks(index: &Index, sent: &[u8], first_ns: i64, last_ns: i64) {
    assert!(index.marks.len() >= 20, "{} marks for a second", index.marks.len());
    assert_eq!(index.marks[0].offset, 0);
    assert!(index.marks.windows(2).all(|pair| pair[0].time_ns <= pair[1].time_ns && pair[0].offset < pair[1].offset));
    assert!(index.marks.iter().all(|mark| (first_ns..=last_ns).contains(&mark.time_ns)));
    assert!(index.marks[1..].iter().all(|mark| sent[mark.offset as usize - 1] == b'\n'), "a mark inside a line");
    let span = index.highest_ns().unwrap() - index.lowest_ns().unwrap();
    assert!(span > 500_000_000, "the second is {span} ns long");
}

/// Frames end at line ends and know their lines.
fn check_frames(archive: &Archive, index: &Index, sent: &[u8]) {
    let mut bytes = Vec::new();
    for (number, frame) in index.frames.iter().enumerate() {
        archive.read_frame(number, &mut Decoder::new().unwrap(), &mut bytes).unwrap();
        let at = archive.frames()[number].raw_offset as usize;
        assert!(bytes == sent[at..at + bytes.len()] && bytes.ends_with(b"\n") && bytes.len() <= 1 << 20);
        assert_eq!(frame.lines as usize, bytes.split(|byte| *byte == b'\n').count() - 1);
        assert!(frame.lowest_ns <= frame.first_ns && frame.first_ns <= frame.highest_ns && !frame.goes_back);
        assert!(!frame.begins_inside && !frame.ends_inside);
    }
}

#[test]
fn marks_of_a_fast_stream_are_plausible_and_take_less_than_a_hundredth() {
    let (stand, reader) = Stand::started("");
    let first_ns = now_ns();
    let sent = write_stream(&stand);
    wait_empty(&stand.pipe);
    let last_ns = now_ns() + 20_000_000;
    stand.wait_stored(&sent);
    reader.signal(Signal::SIGALRM);
    let path = stand.wait_archived(1).remove(0);
    let archive = open_archive(&path);
    let index = archive.index().expect("an index");
    assert_eq!((index.raw_bytes, index.lines, index.guessed), (sent.len() as u64, LINES_A_SECOND, false));
    assert!(raw(&path) == sent);
    check_marks(index, &sent, first_ns, last_ns);
    check_frames(&archive, index, &sent);
    let (size, index_bytes) = (fs::metadata(&path).unwrap().len() as usize, index.encode().len());
    assert!(index_bytes * 100 <= size, "{index_bytes} of {size} bytes are index");
}

#[test]
fn a_line_has_the_arrival_time_of_its_first_byte() {
    needs_seams(|| {
        let (stand, clock, mut reader) = Stand::started_at("", "1000000000");
        let mut expected = Vec::new();
        let mut offset = 0;
        for (round, line) in ["one\n", "two\n", "three, ", "ends\nfour\n", "five\n"].into_iter().enumerate() {
            let time_ns = (round as i64 + 1) * 1_000_000_000;
            clock.set(&time_ns.to_string());
            stand.write_and_wait(line);
            let start = line.find('\n').filter(|_| line.starts_with("ends")).map_or(0, |end| end + 1);
            expected.push((offset + start as u64, time_ns));
            offset += line.len() as u64;
            if round == 2 {
                reader.kill9();
                reader = clock.steer(stand.reader()).start();
            }
        }
        reader.signal(Signal::SIGALRM);
        let path = stand.wait_archived(1).remove(0);
        let archive = open_archive(&path);
        let index = archive.index().expect("an index");
        let found: Vec<_> = expected.iter().map(|(offset, _)| (*offset, index.arrival_ns(*offset))).collect();
        assert_eq!(found, expected);
        assert_eq!((index.lines, index.marks.len()), (5, 5));
    });
}

#[test]
fn lost_marks_cost_resolution_and_no_line() {
    let (stand, mut reader) = Stand::started("");
    let first_ns = now_ns() - 1_000_000_000;
    stand.write_and_wait("one\ntwo\n");
    assert_eq!(reader.terminate(), 0);
    for entry in fs::read_dir(stand.log_dir()).unwrap().flatten() {
        if entry.path().extension().is_some_and(|extension| extension == "times") {
            fs::remove_file(entry.path()).unwrap();
        }
    }
    let reader = stand.reader().start();
    reader.signal(Signal::SIGALRM);
    until("it is archived", || stand.archives().len() == 1);
    let archive = open_archive(&stand.archives()[0]);
    let index = archive.index().expect("an index");
    assert!(index.guessed && index.lines == 2 && index.marks.len() <= 2);
    assert!((first_ns..=now_ns()).contains(&index.arrival_ns(4)));
    stand.wait_stored(b"one\ntwo\n");
}

#[test]
fn damaged_marks_cost_resolution_within_a_frame_and_no_line() {
    let scratch = Scratch::new();
    let app = log_dir(&scratch, "app");
    let path = archive(&app, &stem(0), b"one\ntwo\n", marks(&[(0, 1), (4, 5)]), false);
    let times = || {
        let output = query("logs", &scratch).args(["app", "-t", "--utc"]).run();
        assert_eq!((output.code, output.stderr.as_str()), (0, ""));
        text(&output)
    };
    let [first, second] = ["2026-11-21T10:00:01.000000+00:00", "2026-11-21T10:00:05.000000+00:00"];
    assert_eq!(times(), format!("{first} one\n{second} two\n"));
    let mut bytes = fs::read(&path).unwrap();
    // The index ends with the marks.
    let index = memchr::memmem::rfind(&bytes, b"standpip").unwrap();
    let payload_bytes = u32::from_le_bytes(bytes[index - 4..index].try_into().unwrap()) as usize;
    bytes[index + payload_bytes - 1] ^= 1;
    fs::write(&path, bytes).unwrap();
    assert_eq!(times(), format!("{first} one\n{first} two\n"));
    let verified = query("verify", &scratch).run();
    assert!(verified.code == 1 && text(&verified).ends_with(": the marks in its index are damaged\n"), "{verified:?}");
}
