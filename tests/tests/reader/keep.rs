//! How much is kept: each limit alone and together takes the oldest parts, as many as it must and no other file, and
//! says so.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::fcntl::{FallocateFlags, fallocate};
use nix::sys::signal::Signal;
use standpipe_tests::deadline::until;
use standpipe_tests::directory::{name, names};
use standpipe_tests::privilege::{give, needs_seams};
use standpipe_tests::programs::{Daemon, reader_stdin};
use standpipe_tests::stands::{Stand, add_pipe};
use standpipe_tests::world::{
    Random, archives, lines, newest_is_empty, parts, stream_of, wait_empty, wait_stored, write_all,
};

/// Everything off but what is added.
const OFF: &str = "keep_size = \"off\"\nkeep_free = \"off\"\n";

/// Bytes of a log that nothing compresses: hexadecimal digits at random.
fn noise(bytes: usize, seed: u64) -> Vec<u8> {
    let mut random = Random(2 * seed + 1);
    let mut digit = || b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ+-"[random.below(64)];
    (0..bytes).map(|at| if at % 128 == 127 || at + 1 == bytes { b'\n' } else { digit() }).collect()
}

/// Writes something, rotates and waits for the archive.
fn rotate(stand: &Stand, reader: &Daemon, text: &[u8]) {
    stand.write(text);
    until("it is stored", || stream_of(&stand.log_dir()).ends_with(text));
    reader.signal(Signal::SIGALRM);
    until("it is sealed", || newest_is_empty(&stand.segments()));
    until("it is archived", || stand.segments().len() == 1);
}

/// What was said to be removed, and the reason.
fn removed(reader: &Daemon) -> Vec<String> {
    let of = |line: &String| line.split(": removed ").nth(1).map(str::to_owned);
    reader.lines().iter().filter_map(of).collect()
}

/// Makes archives with nothing removed, and returns the stand and their names.
fn with_archives(count: usize, bytes: usize) -> (Stand, Vec<String>) {
    let (stand, mut reader) = Stand::started(OFF);
    for number in 0..count {
        rotate(&stand, &reader, &noise(bytes, number as u64 + 1));
    }
    assert_eq!(reader.terminate(), 0);
    let names: Vec<_> = stand.archives().iter().map(|archive| name(archive)).collect();
    assert_eq!((names.len(), removed(&reader)), (count, vec![]));
    (stand, names)
}

/// Starts a reader with these limits, waits until that many archives are left, and checks that the oldest went.
fn lowered(stand: &Stand, all: &[String], limits: &str, left: usize, reasons: &[&str]) {
    stand.scratch.write_policy("defaults.toml", limits);
    let mut reader = stand.reader().start();
    until("the limits hold", || removed(&reader).len() == all.len() - left);
    stand.write_and_wait("more\n");
    assert_eq!(reader.terminate(), 0);
    let names: Vec<_> = stand.archives().iter().map(|archive| name(archive)).collect();
    assert_eq!(names, all[all.len() - left..], "{limits}");
    let expected: Vec<_> = all.iter().zip(reasons).map(|(name, reason)| format!("{name} ({reason})")).collect();
    assert_eq!(removed(&reader), expected, "{limits}");
}

#[test]
fn r29_a_number_of_parts() {
    let (stand, all) = with_archives(6, 100);
    lowered(&stand, &all, &format!("{OFF}keep_files = 2\n"), 2, &["keep_files 2"; 4]);
}

#[test]
fn r29_a_size_on_disk() {
    let (stand, all) = with_archives(6, 60_000);
    // An archive of 60,000 characters of 6 bits each takes 48 KiB; the segment that is written counts as well.
    assert!((40_000..60_000).contains(&disk_bytes(&stand.archives()[0])), "{}", disk_bytes(&stand.archives()[0]));
    let limits = "keep_size = \"170KiB\"\nkeep_free = \"off\"\n";
    lowered(&stand, &all, limits, 3, &["keep_size 170KiB"; 3]);
}

#[test]
fn r29_free_space_takes_down_to_what_each_pipe_keeps() {
    let (stand, all) = with_archives(6, 100);
    lowered(&stand, &all, "keep_free = \"99%\"\nkeep_min = 4\n", 4, &["keep_free 99%"; 2]);
    let left = &all[2..];
    let limits = "keep_free = \"99%\"\nkeep_min = 4\nkeep_files = 1\n";
    lowered(&stand, left, limits, 1, &["keep_files 1"; 3]);
}

#[test]
fn r29_together_they_take_until_all_hold() {
    let (stand, all) = with_archives(6, 60_000);
    let limits = "keep_size = \"120KiB\"\nkeep_files = 4\nkeep_free = \"99%\"\nkeep_min = 1\n";
    let reasons = ["keep_files 4", "keep_files 4", "keep_size 120KiB", "keep_size 120KiB", "keep_free 99%"];
    lowered(&stand, &all, limits, 1, &reasons);
}

fn disk_bytes(file: &Path) -> u64 {
    fs::metadata(file).unwrap().blocks() * 512
}

#[test]
fn r29_an_age_since_the_newest_line_without_new_input() {
    needs_seams(|| {
        let (stand, clock, mut reader) =
            Stand::started_at(&format!("{OFF}keep_age = \"2d\"\n"), "2026-11-21T10:00:00Z");
        for time in ["2026-11-21T10:30:00Z", "2026-11-21T12:00:00Z", "2026-11-22T09:00:00Z"] {
            clock.set(time);
            rotate(&stand, &reader, format!("at {time}\n").as_bytes());
        }
        let all: Vec<_> = stand.archives().iter().map(|archive| name(archive)).collect();
        let newest = fs::metadata(&stand.archives()[0]).unwrap().mtime();
        assert_eq!(newest, 1_795_257_000, "an archive is as old as its newest line");
        // The hourly look is due one hour after the start, and each hour from then on.
        clock.set("2026-11-23T10:29:59Z");
        stand.write_and_wait("still here\n");
        assert_eq!(stand.archives().len(), 3);
        clock.set("2026-11-23T11:30:00Z");
        until("the oldest is gone", || stand.archives().len() == 2);
        clock.set("2026-11-24T09:30:00Z");
        until("all of the archives are gone", || removed(&reader).len() == 3);
        assert!(stand.archives().is_empty());
        assert_eq!(reader.terminate(), 0);
        let expected: Vec<_> = all.iter().map(|name| format!("{name} (keep_age 2d)")).collect();
        assert_eq!(removed(&reader), expected);
        stand.wait_stored(b"still here\n");
    });
}

#[test]
fn r30_the_newest_is_never_removed_first_whatever_the_clock_does() {
    needs_seams(|| {
        let (stand, clock, reader) =
            Stand::started_at(&format!("{OFF}keep_files = 3\nkeep_age = \"30d\"\n"), "2026-11-21T10:00:00Z");
        let mut all = Vec::new();
        for (round, time) in [
            "2026-11-21T10:00:00Z",
            "2026-11-20T10:00:00Z",
            "2026-11-20T10:00:01Z",
            "2026-11-22T10:00:00Z",
            "2026-11-21T23:00:00Z",
        ]
        .into_iter()
        .enumerate()
        {
            clock.set(time);
            rotate(&stand, &reader, format!("round {round}\n").as_bytes());
            until("no more than three are kept", || stand.archives().len() <= 3);
            all.push(name(stand.archives().last().unwrap()));
        }
        assert!(all.is_sorted(), "{all:?}");
        until("both removals are told", || removed(&reader).len() == 2);
        assert_eq!(removed(&reader).iter().map(|line| &line[..all[0].len()]).collect::<Vec<_>>(), all[..2]);
        assert_eq!(stand.archives().iter().map(|archive| name(archive)).collect::<Vec<_>>(), all[2..]);
    });
}

#[test]
fn r31_foreign_files_neither_count_nor_go() {
    let (stand, all) = with_archives(3, 100);
    let archive = &all[0];
    let foreign = [format!("{archive}.bak"), format!("{archive}~"), format!("x{archive}"), "access.log.1".to_owned()];
    for name in &foreign {
        let path = stand.log_dir().join(name);
        fs::write(&path, noise(100_000, 9)).unwrap();
        give(&path);
    }
    let linked = stand.log_dir().join("2020-01-01T00-00-00.000000Z.times");
    std::os::unix::fs::symlink("/etc/hostname", &linked).unwrap();
    stand.scratch.write_policy("defaults.toml", "keep_size = \"60KiB\"\nkeep_files = 1\nkeep_free = \"off\"\n");
    let mut reader = stand.reader().start();
    let expected: Vec<_> = all[..2].iter().map(|name| format!("{name} (keep_files 1)")).collect();
    until("two are removed", || removed(&reader) == expected);
    assert_eq!(reader.terminate(), 0);
    assert!(stand.log_dir().join(&all[2]).exists(), "foreign files do not count");
    assert!(foreign.iter().all(|name| stand.log_dir().join(name).exists()) && linked.is_symlink());
}

#[test]
fn segments_that_stay_plain_are_what_goes() {
    let (stand, reader) =
        Stand::started(&format!("{OFF}compress = \"none\"\nrotate_size = \"1KiB\"\nkeep_files = 3\n"));
    let sent = lines(0, 100, 100);
    stand.write(&sent);
    let left = || stream_of(&stand.log_dir());
    until("three are left beside the active one", || parts(&stand.log_dir()).len() == 4 && sent.ends_with(&left()));
    let left = left();
    assert!(sent.ends_with(&left) && left.len() > 3000, "{} bytes are left", left.len());
    assert!(removed(&reader).iter().all(|line| line.ends_with(".log (keep_files 3)")), "{:?}", removed(&reader));
}

#[test]
fn a_failing_archiver_does_not_keep_the_disk_filling() {
    needs_seams(|| {
        let stand = Stand::new(&format!("{OFF}keep_files = 2\n"));
        stand.faults("EIO unnamed 1 1000000\n");
        let reader = stand.steered_reader().start();
        for number in 0..5 {
            stand.write_and_wait(&format!("line {number}\n"));
            reader.signal(Signal::SIGALRM);
            until("it is sealed", || newest_is_empty(&stand.segments()));
        }
        until("two are left beside the active one", || stand.segments().len() == 3);
        stand.wait_stored(b"line 3\nline 4\n");
        stand.faults("");
        stand.wait_archived(2);
    });
}

#[test]
fn r25_what_cannot_be_compressed_stays_plain_and_is_tried_again() {
    needs_seams(|| {
        std::thread::scope(|scope| {
            for fault in ["ENOSPC unnamed", "EIO archive-read", "ENOSPC times", "EIO link"] {
                scope.spawn(move || cannot_compress(fault));
            }
        });
    });
}

fn cannot_compress(fault: &str) {
    let stand = Stand::new("");
    stand.faults(&format!("{fault} 1 1000000\n"));
    let reader = stand.steered_reader().start();
    let mut sent = Vec::new();
    for number in 0..3 {
        let line = format!("line {number}\n");
        stand.write_and_wait(&line);
        sent.extend(line.into_bytes());
        reader.signal(Signal::SIGALRM);
        until("it is sealed", || newest_is_empty(&stand.segments()));
        reader.wait_line("keeping the part uncompressed, retrying in 1 s");
        assert_eq!((stand.archives().len(), stand.segments().len()), (0, number + 2), "{fault}");
        stand.wait_stored(&sent);
    }
    reader.wait_line("keeping the part uncompressed, retrying in 2 s");
    stand.faults("");
    until("all is archived", || stand.segments().len() == 1);
    stand.wait_stored(&sent);
    reader.wait_line("app: archiving works again");
}

#[test]
fn h19_a_wrong_policy_deletes_nothing() {
    let (stand, all) = with_archives(1, 100);
    // More than is kept where no file says otherwise, as is so while one is wrong.
    let large = stand.log_dir().join("2020-01-01T00-00-00.000000Z.log.zst");
    let file = fs::File::create(&large).unwrap();
    fallocate(&file, FallocateFlags::empty(), 0, 1100 << 20).unwrap();
    give(&large);
    stand.scratch.write_policy("defaults.toml", "keep_free = \"off\"\n");
    stand.scratch.write_policy("app.toml", "keep_files = \"one\"\n");
    let mut reader = stand.reader().start();
    stand.write(b"more\n");
    wait_empty(&stand.pipe);
    reader.signal(Signal::SIGALRM);
    until("it is archived", || stand.archives().len() == all.len() + 2);
    assert_eq!((reader.terminate(), removed(&reader)), (0, vec![]));
    stand.scratch.write_policy("app.toml", "");
    let reader = stand.reader().start();
    until("it is removed", || removed(&reader) == [format!("{} (keep_size 1GiB)", name(&large))]);
}

/// A log of a pipe whose link is gone, with three archives and a plain part.
fn with_orphan() -> (Stand, Vec<String>) {
    let (stand, all) = with_archives(3, 100);
    stand.write(b"the last line\n");
    let mut reader = stand.reader().start();
    until("it is stored", || stream_of(&stand.log_dir()).ends_with(b"the last line\n"));
    assert_eq!(reader.terminate(), 0);
    fs::remove_file(stand.scratch.pipes().join("app")).unwrap();
    be_unlinked_for_long(&stand);
    (stand, all)
}

/// The log is one that no link has led to for more than a day.
fn be_unlinked_for_long(stand: &Stand) {
    let mut state = fs::OpenOptions::new().append(true).open(stand.log_dir().join(".standpipe")).unwrap();
    std::io::Write::write_all(&mut state, b"unlinked 2026-01-01T00:00:00Z\n").unwrap();
}

#[test]
fn logs_whose_pipe_is_gone_go_on_expiring() {
    let (stand, all) = with_orphan();
    let foreign = stand.scratch.logs().join("foreign");
    fs::create_dir(&foreign).unwrap();
    give(&foreign);
    for name in &all {
        fs::write(foreign.join(name), "not ours: there is no .standpipe").unwrap();
        give(&foreign.join(name));
    }
    stand.scratch.write_policy("defaults.toml", &format!("{OFF}keep_files = 2\n"));
    let mut reader = stand.reader().start();
    until("two parts are removed", || removed(&reader).len() == 2);
    assert_eq!(reader.terminate(), 0);
    assert_eq!(parts(&stand.log_dir()).len(), 2);
    assert_eq!(stand.archives().iter().map(|archive| name(archive)).collect::<Vec<_>>(), all[2..]);
    assert!(stream_of(&stand.log_dir()).ends_with(b"the last line\n"), "the newest part counts, and stays");
    assert_eq!(names(&foreign), all);
    assert_eq!(removed(&reader), [format!("{} (keep_files 2)", all[0]), format!("{} (keep_files 2)", all[1])]);
}

#[test]
fn logs_whose_pipe_is_gone_are_left_alone_while_the_defaults_are_wrong() {
    let (stand, all) = with_orphan();
    stand.scratch.write_policy("defaults.toml", "keep_files = 1\nlevle = 3\n");
    let (_fifo, pipe) = add_pipe(&stand.scratch, "web");
    let mut reader = stand.reader().start();
    write_all(&pipe, b"line\n");
    wait_stored(&stand.scratch.logs().join("web"), b"line\n");
    reader.signal(Signal::SIGALRM);
    until("a round of the archiver is over", || archives(&stand.scratch.logs().join("web")).len() == 1);
    assert_eq!((stand.archives().len(), removed(&reader)), (all.len(), vec![]));
    assert_eq!(reader.terminate(), 0);
}

#[test]
fn a_log_that_another_reader_has_is_not_expired() {
    let (stand, all) = with_orphan();
    let (input, output) = std::io::pipe().unwrap();
    let flags = ["--keep-size", "off", "--keep-free", "off", "--continue"];
    let _other = reader_stdin(stand.log_dir()).args(flags).stdin(input).start();
    be_unlinked_for_long(&stand);
    stand.scratch.write_policy("defaults.toml", &format!("{OFF}keep_files = 1\n"));
    let (_fifo, pipe) = add_pipe(&stand.scratch, "web");
    let reader = stand.reader().start();
    for number in 0..3 {
        write_all(&pipe, format!("line {number}\n").as_bytes());
        until("it is taken", || {
            stream_of(&stand.scratch.logs().join("web")).ends_with(format!("{number}\n").as_bytes())
        });
        reader.signal(Signal::SIGALRM);
        until("it is sealed", || newest_is_empty(&parts(&stand.scratch.logs().join("web"))));
    }
    until("web expires", || removed(&reader).len() == 2);
    assert_eq!(stand.archives().len(), all.len());
    drop(output);
}

#[test]
fn a_reader_of_standard_input_has_the_same_limits_as_flags() {
    let stand = Stand::new("");
    let log_dir = stand.log_dir();
    let (input, mut output) = std::io::pipe().unwrap();
    let flags = ["--rotate-size", "1KiB", "--keep-files", "2", "--keep-free", "off"];
    let mut reader = reader_stdin(&log_dir).args(flags).stdin(input).start();
    std::io::Write::write_all(&mut output, &lines(0, 50, 100)).unwrap();
    drop(output);
    assert_eq!(reader.wait_exit(), 0, "{}", reader.stderr());
    assert_eq!(archives(&log_dir).len(), 2, "{:?}", names(&log_dir));
    assert!(removed(&reader).iter().all(|line| line.ends_with("(keep_files 2)")), "{}", reader.stderr());
}
