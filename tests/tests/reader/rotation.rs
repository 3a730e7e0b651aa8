//! Parts end by size, by signal and between lines; whatever is not ours stays as it is.

use std::fs;
use std::os::unix::fs::symlink;

use nix::sys::signal::Signal;
use standpipe_tests::deadline::until;
use standpipe_tests::directory::{name, names};
use standpipe_tests::privilege::{give, needs_seams};
use standpipe_tests::stands::{Clock, Stand, add_pipe};
use standpipe_tests::world::{lines, open_archive, parts, queued, raw, stream_of, unstamped, wait_stored, write_all};

#[test]
fn r6_a_line_that_straddles_the_size_is_whole_in_one_part() {
    let (stand, _reader) = Stand::started("rotate_size = \"1KiB\"\n");
    let before = lines(0, 10, 100);
    stand.write(&[&before[..], b"first half, "].concat());
    until("the first half is stored", || stream_of(&stand.log_dir()).ends_with(b"first half, "));
    let half = [b'x'; 500];
    stand.write(&half);
    until("more of it is stored", || stream_of(&stand.log_dir()).ends_with(&half));
    assert!(stand.archives().is_empty(), "the size was passed inside a line: {:?}", names(&stand.log_dir()));
    stand.write(b" second half\nnext\n");
    let archives = stand.wait_archived(1);
    assert!(raw(&archives[0]).ends_with(b" second half\n"));
    stand.wait_stored(&[&before[..], b"first half, ", &half, b" second half\nnext\n"].concat());
    assert_eq!(raw(&stand.segments()[0]), b"next\n");
}

#[test]
fn r6_a_line_that_straddles_a_moment_is_whole_in_one_part() {
    needs_seams(|| {
        let (stand, clock, _reader) = Stand::started_at("rotate_at = \"hourly\"\n", "2026-11-21T10:59:58Z");
        stand.write_and_wait("before\nfirst half, ");
        clock.set("2026-11-21T11:00:03Z");
        stand.write_and_wait("middle, ");
        assert!(stand.archives().is_empty(), "a line is open: {:?}", names(&stand.log_dir()));
        stand.write(b"second half\n");
        let archives = stand.wait_archived(1);
        assert_eq!(raw(&archives[0]), b"before\nfirst half, middle, second half\n");
        let part_names: Vec<String> = parts(&stand.log_dir()).iter().map(|part| name(part)).collect();
        assert_eq!(part_names, ["2026-11-21T10-59-58.000000Z.log.zst", "2026-11-21T11-00-03.000000Z.log"]);
        assert_eq!(fs::read_link(stand.log_dir().join("current")).unwrap().as_os_str(), part_names[1].as_str());
    });
}

/// Writes a line that does not end for ten seconds, so that a part ends inside it, and then its end.
fn split_by_waiting(stand: &Stand, clock: &Clock, end: &str) {
    stand.write(b"whole\nopen, ");
    until("it is stored", || stream_of(&stand.log_dir()).ends_with(b"open, "));
    clock.set("2026-11-21T10:01:09Z");
    stand.write_and_wait("more, ");
    assert_eq!(parts(&stand.log_dir()).len(), 1, "it is due since a moment, and waits: {:?}", names(&stand.log_dir()));
    clock.set("2026-11-21T10:01:18.9Z");
    stand.write_and_wait("still more, ");
    assert_eq!(parts(&stand.log_dir()).len(), 1, "it waits ten seconds: {:?}", names(&stand.log_dir()));
    clock.set("2026-11-21T10:01:19Z");
    until("the part ends inside the line", || parts(&stand.log_dir()).len() == 2);
    stand.write_and_wait(end);
}

#[test]
fn r6_a_part_ends_inside_a_line_that_does_not_end_for_ten_seconds() {
    needs_seams(|| {
        let (stand, clock, reader) =
            Stand::started_at("rotate_age = \"1m\"\nstamp = \"iso\"\n", "2026-11-21T10:00:00Z");
        split_by_waiting(&stand, &clock, "at last the end\n");
        stand.write(b"next\n");
        until("the next line is stored", || stream_of(&stand.log_dir()).ends_with(b"next\n"));
        reader.signal(Signal::SIGALRM);
        let archives = stand.wait_archived(2);
        let stream = stream_of(&stand.log_dir());
        assert_eq!(unstamped(&stream), b"whole\nopen, more, still more, at last the end\nnext\n");
        assert!(raw(&archives[0]).ends_with(b"still more, ") && raw(&archives[1]).starts_with(b"at last"));
        assert_eq!(flags(&archives), [(false, true), (true, false)]);
    });
}

/// Whether each archive says that it begins and that it ends inside a line.
fn flags(archives: &[std::path::PathBuf]) -> Vec<(bool, bool)> {
    let flags = |path| {
        let archive = open_archive(path);
        let index = archive.index().expect("an index");
        (index.begins_inside, index.ends_inside)
    };
    archives.iter().map(|path| flags(path)).collect()
}

#[test]
fn a_part_that_continues_a_line_says_so_also_if_it_is_archived_with_the_one_before() {
    needs_seams(|| {
        let stand = Stand::new("rotate_age = \"1m\"\n");
        let clock = Clock::new(&stand.scratch, "2026-11-21T10:00:00Z");
        stand.faults("EIO unnamed 1 1000000\n");
        let faulty = stand.steered_reader();
        let mut reader = clock.steer(faulty).start();
        split_by_waiting(&stand, &clock, "the end\n");
        reader.signal(Signal::SIGALRM);
        until("two segments are sealed", || stand.segments().len() == 3);
        assert_eq!(reader.terminate(), 0);
        let _reader = clock.steer(stand.reader()).start();
        let archives = stand.wait_archived(2);
        assert_eq!(flags(&archives), [(false, true), (true, false)]);
    });
}

#[test]
fn r20_no_part_is_larger_than_asked_for_and_none_is_empty() {
    let (stand, _reader) = Stand::started("rotate_size = \"8KiB\"\n");
    let mut sent = Vec::new();
    for (first, count, len) in [(0, 2000, 60), (2000, 300, 1000), (2300, 30, 8000), (2330, 1000, 30)] {
        let piece = lines(first, count, len);
        stand.write(&piece);
        sent.extend(piece);
    }
    stand.wait_stored(&sent);
    until("all but the last is archived", || stand.segments().len() == 1);
    let sizes: Vec<usize> = stand.archives().iter().map(|part| raw(part).len()).collect();
    assert!(sizes.len() >= sent.len() >> 13 && sizes.iter().all(|size| (1..=8 << 10).contains(size)), "{sizes:?}");
    assert!(stand.archives().iter().all(|part| raw(part).ends_with(b"\n")));
}

#[test]
fn r23_a_signal_rotates_once_and_never_nothing() {
    let (stand, reader) = Stand::started("");
    reader.signal(Signal::SIGALRM);
    reader.wait_signals_handled();
    stand.write_and_wait("one\n");
    assert_eq!(parts(&stand.log_dir()).len(), 1, "nothing was there to be sealed: {:?}", names(&stand.log_dir()));
    reader.signal(Signal::SIGALRM);
    let first = stand.wait_archived(1);
    assert_eq!(raw(&first[0]), b"one\n");
    let current = fs::canonicalize(stand.log_dir().join("current")).unwrap();
    assert_eq!(fs::metadata(&current).unwrap().len(), 0);
    for _ in 0..3 {
        reader.signal(Signal::SIGALRM);
    }
    reader.wait_signals_handled();
    stand.write_and_wait("two\n");
    assert_eq!((stand.archives().len(), parts(&stand.log_dir()).len()), (1, 2), "{:?}", names(&stand.log_dir()));
    assert_eq!(fs::read(&current).unwrap(), b"two\n", "the empty segment was kept");
}

#[test]
fn r28_a_read_larger_than_the_size_is_shared_among_parts() {
    let plain = lines(0, 200, 100);
    let one_line = [&vec![b'x'; 20_000][..], b"\n"].concat();
    let mixed = [&lines(0, 30, 100)[..], &[b'y'; 9000], b"\n", &lines(30, 80, 100)].concat();
    for sent in [plain, one_line, mixed, vec![b'\n'; 20_000]] {
        let stand = Stand::new("rotate_size = \"4KiB\"\n");
        // It waits in the pipe, so that it comes in one read.
        stand.write(&sent);
        let _reader = stand.reader().start();
        stand.wait_stored(&sent);
        until("all but the last is archived", || stand.segments().len() == 1);
        let largest_line = sent.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::len).max().unwrap();
        for part in parts(&stand.log_dir()) {
            let size = raw(&part).len();
            assert!(size <= (4 << 10).max(largest_line), "{} has {size} bytes", name(&part));
        }
    }
}

#[test]
fn r31_what_is_not_ours_is_left_alone() {
    let stand = Stand::new("rotate_size = \"1KiB\"\n");
    let log_dir = stand.log_dir();
    stand.scratch.make_dir("logs/app");
    let stem = "2020-01-01T00-00-00.000000Z";
    let ending = [".log.zst.bak", ".log~", ".log.1", ".logs", ".log.zst.tmp"].map(|end| format!("{stem}{end}"));
    let other = ["README", "x.txt", ".hidden", "2020-01-01T00-00-00Z.log.zst", "access.log.1"].map(str::to_owned);
    for foreign in ending.iter().chain(&other) {
        fs::write(log_dir.join(foreign), foreign).unwrap();
    }
    let target = stand.scratch.path().join("precious");
    fs::write(&target, "not ours\n").unwrap();
    symlink(&target, log_dir.join(format!("{stem}.log"))).unwrap();
    let dirs = ["2020-01-02T00-00-00.000000Z.log", "2020-01-03T00-00-00.000000Z.times"].map(|dir| log_dir.join(dir));
    for dir in &dirs {
        fs::create_dir(dir).unwrap();
    }
    let reader = stand.reader().start();
    let sent = lines(0, 100, 100);
    stand.write(&sent);
    until("it is archived", || stand.archives().len() >= 10);
    for foreign in ending.iter().chain(&other) {
        assert_eq!(fs::read_to_string(log_dir.join(foreign)).unwrap(), *foreign);
    }
    assert_eq!(fs::read_link(log_dir.join(format!("{stem}.log"))).unwrap(), target);
    assert_eq!(fs::read_to_string(&target).unwrap(), "not ours\n");
    assert!(dirs.iter().all(|dir| dir.is_dir()));
    assert!(reader.lines_with("error").is_empty(), "{}", reader.stderr());
}

#[test]
fn r31_a_directory_with_logs_of_others_is_refused_with_a_sentence() {
    let stand = Stand::new("rotate_size = \"1KiB\"\n");
    let log_dir = stand.log_dir();
    stand.scratch.make_dir("logs/app");
    let foreign = ["access.log", "x2020-01-01T00-00-00.000000Z.log"];
    for name in foreign {
        fs::write(log_dir.join(name), name).unwrap();
    }
    let (_, other) = add_pipe(&stand.scratch, "other");
    let reader = stand.reader().start();
    let said = reader.wait_line("not one of our files");
    assert!(said.contains(&log_dir.display().to_string()) && said.contains("move such files elsewhere"), "{said}");
    stand.write(b"waits\n");
    write_all(&other, b"goes on\n");
    wait_stored(&stand.scratch.logs().join("other"), b"goes on\n");
    assert_eq!((queued(&stand.pipe), names(&log_dir).len()), (6, 2), "{:?}", names(&log_dir));
    fs::write(log_dir.join(".standpipe"), "").unwrap();
    give(&log_dir.join(".standpipe"));
    reader.wait_line("app: recovered; reading again");
    until("it is read", || queued(&stand.pipe) == 0);
    stand.write(&lines(0, 100, 100));
    until("it is archived", || stand.archives().len() >= 9);
    for name in foreign {
        assert_eq!(fs::read_to_string(log_dir.join(name)).unwrap(), name);
    }
}

#[test]
fn r31_a_part_from_the_future_does_not_make_the_archiver_take_the_active_one() {
    let (stand, reader) = Stand::started("");
    stand.write_and_wait("one\n");
    let future = stand.log_dir().join("2099-01-01T00-00-00.000000Z.log");
    fs::write(&future, "later\n").unwrap();
    give(&future);
    let mut sent = b"one\n".to_vec();
    for round in 0..20 {
        reader.signal(Signal::SIGALRM);
        let line = format!("line {round}\n");
        stand.write(line.as_bytes());
        sent.extend(line.into_bytes());
        until("it is read", || queued(&stand.pipe) == 0);
        reader.wait_signals_handled();
    }
    sent.extend(b"later\n");
    stand.wait_stored(&sent);
    assert!(reader.lines_with("error").is_empty(), "{}", reader.stderr());
}
