//! Archives as others see them: whole whenever one is there, whoever is slow or dies, for every tool that knows zstd.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::sys::signal::Signal;
use standpipe_tests::deadline::until;
use standpipe_tests::directory::{name, names};
use standpipe_tests::privilege::{needs_seams, needs_tool};
use standpipe_tests::programs::{Daemon, command};
use standpipe_tests::stands::Stand;
use standpipe_tests::world::{Check, Writer, lines, open_archive, parts, raw, stream_of, wait_empty};

/// Memory of a process that is in use now, bytes.
fn resident_bytes(reader: &Daemon) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", reader.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

#[test]
fn r24_a_slow_archiver_makes_no_writer_wait_and_takes_no_memory() {
    needs_seams(|| {
        let stand = Stand::new("rotate_size = \"256KiB\"\n");
        stand.faults("delay unnamed 20000\n");
        let reader = stand.steered_reader().start();
        let first = Writer::start(&stand.fifo, 0, Some(5000), Duration::ZERO).join();
        until("a part is sealed", || stand.segments().len() > 1);
        let before = resident_bytes(&reader);
        let second = Writer::start(&stand.fifo, 1, Some(30_000), Duration::ZERO).join();
        let slowest = first.slowest.max(second.slowest);
        assert!(slowest < Duration::from_secs(5), "a write took {slowest:?}");
        let total = first.bytes + second.bytes;
        until("all is stored", || stored_bytes(&stand) == total);
        assert!(resident_bytes(&reader) < before + (4 << 20), "{before} bytes became {}", resident_bytes(&reader));
        assert!(stand.archives().is_empty() && stand.segments().len() as u64 > total >> 19, "{total}");
        drop(reader);
        let _reader = stand.reader().start();
        until("the archiver has caught up", || stand.segments().len() == 1);
        let mut check = Check::new();
        check.feed(&stream_of(&stand.log_dir()));
        assert!(check.finish(&[(0, 5000), (1, 30_000)]).is_whole());
    });
}

#[test]
fn what_is_sealed_while_the_archiver_fails_is_archived_when_it_goes_on() {
    needs_seams(|| {
        let stand = Stand::new("");
        stand.faults("EIO unnamed 1 1\n");
        let reader = stand.steered_reader().start();
        for sealed in 1..=3 {
            stand.write_and_wait(&format!("line {sealed}\n"));
            reader.signal(Signal::SIGALRM);
            until("a part is sealed", || parts(&stand.log_dir()).len() == sealed + 1);
        }
        assert_eq!(stand.wait_archived(3).len(), 3);
        stand.wait_stored(b"line 1\nline 2\nline 3\n");
        assert_eq!(reader.lines_with("keeping the part uncompressed").len(), 1, "{}", reader.stderr());
        reader.wait_line("app: archiving works again");
    });
}

/// Bytes of all segments.
fn stored_bytes(stand: &Stand) -> u64 {
    stand.segments().iter().map(|segment| fs::metadata(segment).map_or(0, |metadata| metadata.size())).sum()
}

/// A stand with one sealed segment that no archiver has seen yet, and what is stored there.
fn with_sealed_segment() -> (Stand, Vec<u8>) {
    let stand = Stand::new("");
    stand.faults("kill unnamed 1\n");
    let mut reader = stand.steered_reader().start();
    let sent = lines(0, 15_000, 100);
    stand.write(&sent);
    stand.wait_stored(&sent);
    reader.signal(Signal::SIGALRM);
    assert_eq!(reader.wait_exit(), 137, "{}", reader.stderr());
    assert_eq!((stand.archives().len(), stand.segments().len()), (0, 2), "{:?}", names(&stand.log_dir()));
    (stand, sent)
}

/// How often each step is passed by a reader that archives that segment.
fn passes(faults: &str) -> Vec<(String, usize)> {
    let (stand, _) = with_sealed_segment();
    stand.faults(faults);
    let reader = stand.traced_reader().start();
    stand.wait_archived(1);
    reader.stop();
    let steps = ["unnamed", "create", "write", "sync", "link", "rename", "remove"];
    steps.iter().map(|step| ((*step).to_owned(), stand.passes(step))).filter(|(_, count)| *count > 0).collect()
}

/// Kills the archiving reader at one step; then whoever looks sees whole archives alone, and the next reader ends it.
fn die_while_archiving(faults: &str, fault: &str) {
    let (stand, sent) = with_sealed_segment();
    stand.faults(&format!("{fault}\n{faults}"));
    let mut reader = stand.steered_reader().start_unready();
    assert_eq!(reader.wait_exit(), 137, "{fault}: {}", reader.stderr());
    for archive in stand.archives() {
        assert!(raw(&archive) == sent && open_archive(&archive).complete().is_ok(), "{fault}: half an archive");
    }
    assert!(stream_of(&stand.log_dir()) == sent, "{fault}: {:?}", names(&stand.log_dir()));
    let reader = stand.reader().start();
    let archives = stand.wait_archived(1);
    assert!(raw(&archives[0]) == sent && stream_of(&stand.log_dir()) == sent, "{fault}: not exactly once");
    assert!(names(&stand.log_dir()).iter().all(|name| !name.contains(".part")), "{fault}: leftovers");
    assert!(reader.lines_with("error").is_empty(), "{fault}: {}", reader.stderr());
}

/// Every step is the last one once.
fn die_at_every_step(faults: &str) {
    let passes = passes(faults);
    let cases = passes.iter().flat_map(|(step, count)| (1..=*count).map(move |pass| format!("{step} {pass}")));
    for case in cases {
        die_while_archiving(faults, &format!("kill {case}"));
        if case.starts_with("write") {
            die_while_archiving(faults, &format!("half {case}"));
        }
    }
    let archiving = passes.iter().filter(|(step, count)| step == "write" && *count >= 3);
    assert_eq!(archiving.count(), 1, "frames, index and seek table are written: {passes:?}");
}

#[test]
fn r26_an_archive_is_whole_or_absent_wherever_the_archiver_dies() {
    needs_seams(|| die_at_every_step(""));
}

#[test]
fn r26_so_it_is_where_the_file_system_has_no_unnamed_files() {
    needs_seams(|| die_at_every_step("EOPNOTSUPP unnamed 1 1000000\n"));
}

#[test]
fn r27_an_archive_is_whole_the_moment_it_appears() {
    const ROTATIONS: usize = 40;
    let (stand, _reader) = Stand::started("rotate_size = \"1KiB\"\n");
    let log_dir = stand.log_dir();
    let inotify = Inotify::init(InitFlags::IN_NONBLOCK).unwrap();
    inotify.add_watch(&log_dir, AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO).unwrap();
    let sent = lines(0, ROTATIONS * 10 + 1, 102);
    let mut copies = Vec::new();
    thread::scope(|scope| {
        let writing = scope.spawn(|| {
            stand.write(&sent);
            stand.wait_stored(&sent);
            until("all is archived", || stand.segments().len() == 1);
        });
        let mut watches_on = true;
        while watches_on {
            watches_on = !writing.is_finished();
            thread::sleep(Duration::from_millis(1));
            for event in inotify.read_events().unwrap_or_default() {
                let path = log_dir.join(event.name.unwrap_or_default());
                if path.extension().is_some_and(|extension| extension == "zst") {
                    assert!(open_archive(&path).complete().is_ok(), "{} is not complete", path.display());
                    copies.push(raw(&path));
                }
            }
        }
    });
    assert_eq!(copies.len(), ROTATIONS);
    copies.push(raw(&stand.segments()[0]));
    assert!(copies.concat() == sent, "the copies are not the log");
}

/// A log in one archive.
fn with_archive() -> (Stand, Vec<u8>, PathBuf) {
    let (stand, reader) = Stand::started("");
    let sent = lines(0, 40_000, 100);
    stand.write(&sent);
    stand.wait_stored(&sent);
    reader.signal(Signal::SIGALRM);
    let archive = stand.wait_archived(1).remove(0);
    (stand, sent, archive)
}

/// What a tool says of a file, if it is content.
fn output_of(tool: &str, args: &[&str], archive: &Path) -> Vec<u8> {
    let output = command(tool).args(args).arg(archive).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{tool}: {said}");
    output.stdout
}

#[test]
fn the_tools_of_zstd_read_our_archives() {
    needs_tool("zstd", || {
        let (_stand, sent, archive) = with_archive();
        output_of("zstd", &["-q", "-t"], &archive);
        assert!(output_of("zstdcat", &[], &archive) == sent, "zstdcat gives other bytes");
        assert_eq!(output_of("zstdgrep", &["-c", "line 39999 of"], &archive), b"1\n");
        assert_eq!(output_of("zstdgrep", &["-c", "of app"], &archive), b"40000\n");
    });
}

#[test]
fn archives_and_what_is_beside_them_have_their_names_and_modes() {
    let (stand, _, archive) = with_archive();
    let segment = name(&stand.segments()[0]);
    assert_eq!(names(&stand.log_dir()), [".standpipe", &name(&archive), &segment, "current"]);
    for (path, mode) in [
        (stand.scratch.logs().join("app"), 0o2750),
        (archive, 0o640),
        (stand.segments().remove(0), 0o640),
        (stand.scratch.logs().join(".mailbox-0"), 0o600),
        (stand.scratch.logs().join(".lock"), 0o640),
    ] {
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, mode, "{}", path.display());
    }
}

#[test]
fn a_pipe_that_is_not_to_be_compressed_keeps_plain_segments() {
    let (stand, mut reader) = Stand::started("rotate_size = \"2KiB\"\ncompress = \"none\"\n");
    let sent = lines(0, 100, 100);
    stand.write(&sent);
    stand.wait_stored(&sent);
    assert_eq!((stand.archives().len(), stand.segments().len()), (0, 5));
    assert_eq!(reader.terminate(), 0);
    wait_empty(&stand.pipe);
    let _reader = stand.reader().start();
    stand.write_and_wait("more\n");
    assert_eq!((stand.archives().len(), parts(&stand.log_dir()).len()), (0, 5));
}
