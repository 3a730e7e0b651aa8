//! `reader logs` prints what is stored, all of it and nothing twice, while the reader works on it and after it died.

use std::fs;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::Signal;
use standpipe_tests::deadline::{PROGRAM_SPAN, until, within};
use standpipe_tests::privilege::needs_seams;
use standpipe_tests::programs::{self, Launch, Output, Process, command};
use standpipe_tests::stands::{Stand, add_pipe};
use standpipe_tests::world::{Check, Writer, lines, open_archive, raw, stream_of, wait_stored, write_all};

/// Prints the same in every way that was asked; nothing on standard error.
fn prints(launch: Launch, expected: &[u8]) {
    let Output { code, stdout, stderr } = launch.run();
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert!(stdout == expected, "{} bytes instead of {}", stdout.len(), expected.len());
}

#[test]
fn one_log_is_printed_however_it_is_named() {
    let (stand, _reader) = Stand::started("rotate_size = \"4KiB\"\n");
    let sent = [&lines(0, 200, 100)[..], b"\0 \xff \x1b[31m\r\nno end"].concat();
    stand.write(&sent);
    stand.wait_stored(&sent);
    let plain = || Launch::new("reader").arg("logs");
    prints(stand.logs(), &sent);
    prints(stand.logs().arg("app"), &sent);
    prints(plain().arg(stand.log_dir()), &sent);
    prints(plain().arg(stand.scratch.logs()), &sent);
    prints(plain().arg("app/").cwd(stand.scratch.logs()), &sent);
    prints(plain().arg(".").cwd(stand.log_dir()), &sent);
    prints(plain().env("STANDPIPE_LOGS", stand.scratch.logs()).arg("app"), &sent);
    fs::write(stand.scratch.pipes().join("defaults.toml"), "logs = \"../logs\"\n").unwrap();
    prints(plain().cwd(stand.scratch.pipes()).arg("app"), &sent);
    prints(plain().env("STANDPIPE_DIR", stand.scratch.pipes()), &sent);
}

#[test]
fn a_log_that_is_not_there_is_an_error_that_names_those_that_are() {
    let (stand, _reader) = Stand::started("");
    let unknown = stand.logs().arg("ap").run();
    assert_eq!((unknown.code, unknown.stdout.len()), (2, 0));
    assert!(unknown.stderr.contains("there are: app"), "{}", unknown.stderr);
    let missing = stand.logs().arg("./no/such").run();
    assert_eq!(missing.code, 3);
    assert!(missing.stderr.contains("./no/such: No such file"), "{}", missing.stderr);
}

#[test]
fn several_logs_are_printed_with_every_line_whole_and_in_order() {
    let stand = Stand::new("rotate_size = \"20KiB\"\n");
    let (other, _held) = add_pipe(&stand.scratch, "other");
    let (third, held) = add_pipe(&stand.scratch, "third");
    let _reader = stand.reader().start();
    let writers = [(0, &stand.fifo), (1, &other)].map(|(n, fifo)| Writer::start(fifo, n, Some(2000), Duration::ZERO));
    let written = writers.map(Writer::join);
    write_all(&held, b"not asked for\n");
    wait_stored(&stand.scratch.logs().join("third"), b"not asked for\n");
    assert!(third.exists());
    for (name, written) in [("app", &written[0]), ("other", &written[1])] {
        let stored = || stream_of(&stand.scratch.logs().join(name)).len() as u64;
        until("all is stored", || stored() == written.bytes);
    }
    let by_path = [stand.log_dir(), stand.scratch.logs().join("other")];
    for launch in [stand.logs().args(["app", "other"]), stand.logs().args(["other", "app"]), stand.logs().args(by_path)]
    {
        let output = launch.arg("--no-prefix").run();
        let mut check = Check::new();
        check.feed(&output.stdout);
        let tally = check.finish(&[(0, 2000), (1, 2000)]);
        assert!(tally.is_whole() && output.code == 0 && output.stderr.is_empty(), "{tally:?} {}", output.stderr);
    }
}

#[test]
fn what_is_printed_while_parts_are_made_is_the_beginning_of_the_stream() {
    let (stand, _reader) = Stand::started("rotate_size = \"16KiB\"\n");
    // Slow enough that the archiver keeps up where the machine is busy, or there would be ever more to print.
    let writer = Writer::start(&stand.fifo, 0, None, Duration::from_micros(200));
    let mut prints = 0;
    while prints < 30 || stand.archives().len() < 50 {
        let before = stream_of(&stand.log_dir()).len();
        let output = stand.logs().arg("app").run();
        assert_eq!((output.code, output.stderr.as_str()), (0, ""));
        let (printed, stream) = (output.stdout, stream_of(&stand.log_dir()));
        let same = printed.iter().zip(&stream).take_while(|(printed, stored)| printed == stored).count();
        let all = printed.len();
        assert!(same == all && same >= before, "{before} bytes were there; {same} of {all} are right");
        prints += 1;
    }
    let written = writer.stop();
    until("all is stored", || stream_of(&stand.log_dir()).len() as u64 == written.bytes);
}

/// `reader logs` that prints into a pipe of the test.
fn print_into_pipe(log_dir: &Path) -> Process {
    let mut command = command(programs::path("reader"));
    command.arg("logs").arg(log_dir).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Process::start(&mut command)
}

/// Its exit code, and what it said on standard error.
fn end_of(mut child: Process) -> (Option<i32>, String) {
    let ended = within(PROGRAM_SPAN, || child.try_wait().unwrap().is_some());
    if !ended {
        child.kill().unwrap();
    }
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    (child.wait().unwrap().code().filter(|_| ended), said)
}

#[test]
fn what_comes_while_it_is_printed_leaves_no_hole() {
    let (stand, reader) = Stand::started("");
    let first = lines(0, 10_000, 100);
    stand.write(&first);
    stand.wait_stored(&first);
    // More than the pipe and its own buffer take, so it stands still in the middle of the active segment.
    let mut printing = print_into_pipe(&stand.log_dir());
    let mut printed = vec![0; 1000];
    printing.stdout.as_mut().unwrap().read_exact(&mut printed).unwrap();
    stand.write(&lines(10_000, 10, 100));
    stand.wait_stored(&lines(0, 10_010, 100));
    reader.signal(Signal::SIGALRM);
    stand.wait_archived(1);
    stand.write(&lines(10_010, 10, 100));
    stand.wait_stored(&lines(0, 10_020, 100));
    printing.stdout.take().unwrap().read_to_end(&mut printed).unwrap();
    assert_eq!(end_of(printing), (Some(0), String::new()));
    assert!(printed.len() >= first.len(), "{} bytes", printed.len());
    assert!(lines(0, 10_020, 100).starts_with(&printed), "there is a hole in it");
}

#[test]
fn whoever_has_seen_enough_may_leave() {
    let (stand, _reader) = Stand::started("rotate_size = \"100KiB\"\n");
    let sent = lines(0, 20_000, 100);
    stand.write(&sent);
    stand.wait_stored(&sent);
    let mut printing = print_into_pipe(&stand.log_dir());
    let mut head = vec![0; 100];
    printing.stdout.as_mut().unwrap().read_exact(&mut head).unwrap();
    assert_eq!(head, lines(0, 1, 100));
    drop(printing.stdout.take());
    assert_eq!(end_of(printing), (Some(0), String::new()));
}

/// Three parts: an archive of two frames and more, a small one, the active segment.
fn with_three_parts() -> (Stand, Vec<u8>) {
    let (stand, reader) = Stand::started("");
    for (first, count) in [(0, 30_000), (30_000, 10)] {
        stand.write(&lines(first, count, 100));
        stand.wait_stored(&lines(0, first + count, 100));
        reader.signal(Signal::SIGALRM);
        stand.wait_archived(if first == 0 { 1 } else { 2 });
    }
    stand.write(&lines(30_010, 10, 100));
    let sent = lines(0, 30_020, 100);
    stand.wait_stored(&sent);
    (stand, sent)
}

#[test]
fn a_damaged_frame_is_reported_and_the_rest_is_printed() {
    let (stand, sent) = with_three_parts();
    let path = &stand.archives()[0];
    let frame = open_archive(path).frames()[1];
    let file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let middle = frame.offset + u64::from(frame.compressed) / 2;
    let mut bytes = [0; 4];
    file.read_exact_at(&mut bytes, middle).unwrap();
    file.write_all_at(&bytes.map(|byte| !byte), middle).unwrap();
    let output = stand.logs().arg("app").run();
    assert_eq!(output.code, 2, "{}", output.stderr);
    let (from, to) = (frame.raw_offset as usize, frame.raw_offset as usize + frame.raw as usize);
    assert!(output.stdout == [&sent[..from], &sent[to..]].concat(), "{} bytes", output.stdout.len());
    let gap = format!("the log lacks {} bytes from offset {from}", frame.raw);
    assert!(output.stderr.contains(&gap) && output.stderr.contains(&path.display().to_string()), "{}", output.stderr);
    assert_eq!(output.stderr.lines().count(), 1, "{}", output.stderr);
}

#[test]
fn an_archive_without_its_end_is_reported_and_the_rest_is_printed() {
    let (stand, sent) = with_three_parts();
    let path = &stand.archives()[0];
    let second = open_archive(path).frames()[1];
    let whole = fs::metadata(path).unwrap().len();
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    for (len, printed) in [(whole - 1, 3_000_000), (second.offset, second.raw_offset as usize)] {
        file.set_len(len).unwrap();
        let output = stand.logs().run();
        assert_eq!(output.code, 2, "{}", output.stderr);
        assert!(output.stdout == [&sent[..printed], &sent[3_000_000..]].concat(), "{} bytes", output.stdout.len());
        assert!(output.stderr.contains("incomplete: it has no seek table"), "{}", output.stderr);
    }
}

#[test]
fn bytes_in_the_mailbox_of_a_dead_reader_are_counted() {
    needs_seams(|| {
        let (stand, mut reader) = Stand::started("");
        stand.write_and_wait("stored\n");
        prints(stand.logs(), b"stored\n");
        assert_eq!(reader.terminate(), 0);
        stand.faults("kill arrived 1\n");
        let mut reader = stand.steered_reader().start();
        stand.write(b"on its way\n");
        assert_eq!(reader.wait_exit(), 137, "{}", reader.stderr());
        let output = stand.logs().run();
        assert_eq!((output.code, &output.stdout[..]), (0, &b"stored\n"[..]));
        assert!(
            output.stderr.contains("app: 11 more bytes in the mailbox of a reader that was killed"),
            "{}",
            output.stderr
        );
        let reader = stand.reader().start();
        reader.wait_line("recovered 11 bytes");
        prints(stand.logs(), b"stored\non its way\n");
        prints(stand.logs().arg(stand.log_dir()), b"stored\non its way\n");
    });
}

#[test]
fn a_part_of_many_frames_is_printed_as_it_is() {
    let (stand, sent) = with_three_parts();
    assert_eq!(open_archive(&stand.archives()[0]).frames().len(), 3);
    assert!(raw(&stand.archives()[0]) == sent[..3_000_000]);
    prints(stand.logs().arg("app"), &sent);
}
