//! Every byte that was written is stored, once and as it was: lines of any length and content, lines cut in two by a
//! restart, several writers, writers that come and go.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;
use standpipe_tests::deadline::{until, within};
use standpipe_tests::privilege::needs_seams;
use standpipe_tests::programs::{Launch, cpu_time, reader_stdin};
use standpipe_tests::stands::{Bench, Stand, add_pipe};
use standpipe_tests::world::{
    Check, STAMP_BYTES, Writer, archives, contents, parts, queued, raw, stream_of, unstamped, wait_empty, wait_stored,
    write_all,
};

/// Starts a reader, lets it take `first\nAAAA`, ends it by `end`, goes on with another.
fn cut_a_line_in_two(policy: &str, end: Signal) -> Vec<u8> {
    let (stand, mut reader) = Stand::started(policy);
    stand.write(b"first\nAAAA");
    until("the beginning is stored", || stream_of(&stand.log_dir()).ends_with(b"AAAA"));
    reader.signal(end);
    let code = reader.wait_exit_within(Duration::from_secs(10));
    assert_eq!(code, if end == Signal::SIGTERM { 0 } else { 137 }, "{}", reader.stderr());
    stand.write(b"BBBB\nlast\n");
    let _reader = stand.reader().start();
    until("the end is stored", || stream_of(&stand.log_dir()).ends_with(b"last\n"));
    stream_of(&stand.log_dir())
}

#[test]
fn r1_a_line_cut_in_two_by_a_killed_reader_is_one_line() {
    assert_eq!(cut_a_line_in_two("", Signal::SIGKILL), b"first\nAAAABBBB\nlast\n");
    let stamped = cut_a_line_in_two("stamp = \"iso\"\n", Signal::SIGKILL);
    assert_eq!(unstamped(&stamped), b"first\nAAAABBBB\nlast\n");
}

#[test]
fn r2_a_reader_that_is_stopped_waits_for_no_line_end() {
    assert_eq!(cut_a_line_in_two("", Signal::SIGTERM), b"first\nAAAABBBB\nlast\n");
    let stamped = cut_a_line_in_two("stamp = \"iso\"\n", Signal::SIGTERM);
    assert_eq!(unstamped(&stamped), b"first\nAAAABBBB\nlast\n");
}

#[test]
fn r2_what_waits_when_a_reader_is_stopped_is_taken_or_stays() {
    let (stand, mut reader) = Stand::started("");
    let mut sent = Vec::new();
    for round in 0..20 {
        let piece = standpipe_tests::world::lines(round * 100, 100, 80);
        stand.write(&piece);
        sent.extend(piece);
        assert_eq!(reader.terminate(), 0, "{}", reader.stderr());
        assert_eq!(stream_of(&stand.log_dir()).len() + queued(&stand.pipe), sent.len());
        reader = stand.reader().start();
    }
    stand.wait_stored(&sent);
}

#[test]
fn r2_a_reader_of_standard_input_goes_on_in_the_middle_of_a_line() {
    let stand = Stand::new("");
    let log_dir = stand.log_dir();
    let input = || OpenOptions::new().read(true).write(true).open(&stand.fifo).unwrap();
    let mut reader = reader_stdin(&log_dir).stdin(input()).start();
    stand.write(b"first\nAAAA");
    wait_stored(&log_dir, b"first\nAAAA");
    assert_eq!(reader.terminate(), 0, "{}", reader.stderr());
    stand.write(b"BBBB\n");
    let mut reader = reader_stdin(&log_dir).stdin(input()).start();
    wait_stored(&log_dir, b"first\nAAAABBBB\n");
    reader.kill9();
    stand.write(b"last");
    let _reader = reader_stdin(&log_dir).stdin(input()).start();
    wait_stored(&log_dir, b"first\nAAAABBBB\nlast");
}

/// What `reader stdin` with these flags stores of this input; its exit code is 0.
fn store_stdin(log_dir: &Path, flags: &[&str], bytes: &[u8]) {
    let (input, mut writer) = std::io::pipe().unwrap();
    writer.write_all(bytes).unwrap();
    drop(writer);
    let output = reader_stdin(log_dir).args(flags).stdin(input).run();
    assert_eq!(output.code, 0, "{}", output.stderr);
}

#[test]
fn r3_the_last_line_is_stored_though_it_has_no_end() {
    let stand = Stand::new("");
    let log_dir = stand.log_dir();
    store_stdin(&log_dir, &[], b"one\ntwo");
    let archives = archives(&log_dir);
    assert_eq!(archives.len(), 1);
    assert_eq!(raw(&archives[0]), b"one\ntwo");
    assert_eq!(stream_of(&log_dir), b"one\ntwo");
    store_stdin(&log_dir, &[], b"");
    assert_eq!(standpipe_tests::world::archives(&log_dir), archives, "nothing came, nothing is sealed");
}

#[test]
fn r3_the_segment_is_left_to_the_next_run_if_that_is_asked() {
    let stand = Stand::new("");
    let log_dir = stand.log_dir();
    store_stdin(&log_dir, &["--continue", "--stamp", "iso"], b"one\ntwo");
    assert_eq!((archives(&log_dir).len(), parts(&log_dir).len()), (0, 1));
    store_stdin(&log_dir, &["--stamp", "iso"], b" goes on\n");
    assert_eq!((archives(&log_dir).len(), unstamped(&stream_of(&log_dir))), (1, b"one\ntwo goes on\n".to_vec()));
}

#[test]
fn r3_the_end_of_input_waits_for_an_archiver_that_failed_before() {
    needs_seams(|| {
        let stand = Stand::new("");
        let log_dir = stand.log_dir();
        stand.faults("EIO unnamed 1 1\n");
        let (input, mut writer) = std::io::pipe().unwrap();
        let reader = stand.steer(reader_stdin(&log_dir).stdin(input));
        let mut reader = reader.start();
        writer.write_all(b"first\n").unwrap();
        until("it is stored", || stream_of(&log_dir) == b"first\n");
        reader.signal(Signal::SIGALRM);
        reader.wait_line("keeping the part uncompressed");
        writer.write_all(b"last\n").unwrap();
        drop(writer);
        assert_eq!(reader.wait_exit(), 0, "{}", reader.stderr());
        let archives = archives(&log_dir).iter().map(|part| raw(part)).collect::<Vec<_>>();
        assert_eq!(archives, [b"first\n".to_vec(), b"last\n".to_vec()]);
    });
}

#[test]
fn r4_lines_of_every_length_are_whole() {
    let sizes = [1, 2, 4095, 4096, 4097, 8192, 8193, 65535, 65536, 65537, 70_000, 1 << 20, (1 << 20) + 1, 3 << 20];
    let mut sent = Vec::new();
    for (index, size) in sizes.into_iter().enumerate() {
        sent.extend((0..size - 1).map(|at| b'a' + ((at / 7 + index) % 26) as u8));
        sent.push(b'\n');
    }
    for policy in ["rotate_size = \"off\"\n", "rotate_size = \"100KiB\"\n"] {
        let (stand, _reader) = Stand::started(policy);
        stand.write(&sent);
        stand.wait_stored(&sent);
    }
    let (stand, _reader) = Stand::started("stamp = \"iso\"\nrotate_size = \"100KiB\"\n");
    stand.write(&sent);
    until("all is stored", || stream_of(&stand.log_dir()).len() == sent.len() + sizes.len() * STAMP_BYTES);
    assert!(unstamped(&stream_of(&stand.log_dir())) == sent, "the bytes differ");
}

#[test]
fn r5_no_byte_means_anything_but_the_newline() {
    let every: Vec<u8> = (0..=255).cycle().take(5000).collect();
    let pieces: [&[u8]; 10] = [
        b"nul \0 nul\0\n",
        b"\0\0\0\n",
        b"cr\r\n\r\n",
        b"\n",
        b"\n\n\n\n",
        b"invalid \xc3\x28 utf-8 \xff\xfe\n",
        &[0xff; 9000],
        b"\n",
        &every,
        &vec![b'\n'; 70_000],
    ];
    let (plain, stamped) = (Stand::new(""), Stand::new("stamp = \"iso\"\n"));
    let _readers = (plain.reader().start(), stamped.reader().start());
    let mut sent = Vec::new();
    for piece in pieces {
        plain.write(piece);
        stamped.write(piece);
        sent.extend_from_slice(piece);
        // Each is a chunk of its own: also one of 0xff alone, and one that ends so.
        wait_empty(&plain.pipe);
    }
    plain.wait_stored(&sent);
    until("all is stored", || stream_of(&stamped.log_dir()).ends_with(b"Z \n"));
    wait_empty(&stamped.pipe);
    let lines = sent.split(|byte| *byte == b'\n').count() - 1;
    let expected = sent.len() + lines * STAMP_BYTES;
    until("all is stored", || stream_of(&stamped.log_dir()).len() == expected);
    assert!(unstamped(&stream_of(&stamped.log_dir())) == sent, "the bytes differ");
}

#[test]
fn r7_lines_of_four_writers_are_intact_and_all_there() {
    for (policy, stamp_bytes) in [("", 0), ("stamp = \"iso\"\nrotate_size = \"500KiB\"\n", STAMP_BYTES)] {
        let (stand, _reader) = Stand::started(policy);
        let writers: Vec<Writer> =
            (0..4).map(|number| Writer::start(&stand.fifo, number, Some(5000), Duration::ZERO)).collect();
        let written: Vec<_> = writers.into_iter().map(Writer::join).collect();
        assert!(written.iter().all(|written| written.error.is_none()), "{written:?}");
        let bytes = written.iter().map(|written| written.bytes as usize).sum::<usize>() + 20_000 * stamp_bytes;
        until("all is stored", || stream_of(&stand.log_dir()).len() >= bytes);
        let mut check = Check::stamped(stamp_bytes);
        check.feed(&stream_of(&stand.log_dir()));
        let tally = check.finish(&[(0, 5000), (1, 5000), (2, 5000), (3, 5000)]);
        assert!(tally.is_whole() && tally.found == 20_000, "{tally:?}");
    }
}

#[test]
fn r8_a_line_larger_than_a_part_is_whole_in_one() {
    let (stand, reader) = Stand::started("rotate_size = \"64KiB\"\n");
    let mut long = vec![b'x'; 1 << 20];
    long.push(b'\n');
    let sent = [b"before\n", &long[..], b"after\n"].concat();
    stand.write(&sent);
    stand.wait_stored(&sent);
    reader.signal(Signal::SIGALRM);
    until("all is archived", || stand.segments().len() == 1);
    let parts: Vec<Vec<u8>> = stand.archives().iter().map(|part| raw(part)).collect();
    assert!(parts.iter().all(|part| part.ends_with(b"\n")), "a line is split");
    assert_eq!(parts.iter().filter(|part| part.len() > 1 << 20).count(), 1);
}

#[test]
fn r8_a_line_without_end_is_split_when_it_passes_max_line() {
    let (stand, _reader) = Stand::started("stamp = \"iso\"\nrotate_size = \"1KiB\"\nmax_line = \"4KiB\"\n");
    for stored in 1..=20 {
        stand.write(&[b'x'; 1000]);
        until("the piece is stored", || stream_of(&stand.log_dir()).len() == STAMP_BYTES + stored * 1000);
    }
    stand.write(b"\nnext\n");
    until("the next line is stored", || stream_of(&stand.log_dir()).ends_with(b"next\n"));
    let expected = [&vec![b'x'; 20_000][..], b"\nnext\n"].concat();
    assert_eq!(unstamped(&stream_of(&stand.log_dir())), expected);
    let sizes: Vec<usize> = contents(&stand.log_dir()).iter().map(Vec::len).collect();
    assert!(sizes.len() >= 4 && sizes.iter().all(|size| *size <= 7 << 10), "{sizes:?}");
}

#[test]
fn r10_a_second_reader_is_refused_and_reads_nothing() {
    let (stand, _reader) = Stand::started("");
    stand.write(b"one\n");
    stand.wait_stored(b"one\n");
    let other = Stand::new("");
    other.write(b"not to be read\n");
    let refused = Launch::new("reader").arg(other.scratch.pipes()).arg("--logs").arg(stand.scratch.logs()).run();
    assert_eq!(refused.code, 3);
    assert!(refused.stderr.contains("another reader is using it"), "{}", refused.stderr);
    assert_eq!(queued(&other.pipe), 15);
    let (input, mut writer) = std::io::pipe().unwrap();
    writer.write_all(b"not to be read\n").unwrap();
    let refused = reader_stdin(stand.log_dir()).stdin(input.try_clone().unwrap()).run();
    assert_eq!(refused.code, 3);
    assert!(refused.stderr.contains("the log root of a running reader"), "{}", refused.stderr);
    assert_eq!(standpipe_common::sys::bytes_queued(&input).unwrap(), 15);
    stand.write(b"two\n");
    stand.wait_stored(b"one\ntwo\n");
}

#[test]
fn r10_a_log_directory_that_a_reader_of_standard_input_has_is_left_to_it() {
    let stand = Stand::new("");
    let (input, mut writer) = std::io::pipe().unwrap();
    let mut first = reader_stdin(stand.log_dir()).stdin(input).start();
    let (_, other) = add_pipe(&stand.scratch, "other");
    let reader = stand.reader().start();
    reader.wait_line("another reader is using it");
    stand.write(b"waits\n");
    write_all(&other, b"goes on\n");
    wait_stored(&stand.scratch.logs().join("other"), b"goes on\n");
    assert_eq!(queued(&stand.pipe), 6);
    writer.write_all(b"input\n").unwrap();
    drop(writer);
    assert_eq!(first.wait_exit(), 0, "{}", first.stderr());
    stand.wait_stored(b"input\nwaits\n");
    reader.wait_line("app: recovered; reading again");
}

#[test]
fn r11_writers_that_come_and_go_cost_nothing_once_they_are_gone() {
    let bench = Bench::new();
    let (fifo, pipe) = add_pipe(&bench.scratch, "app");
    let reader = bench.reader().start();
    // From here on the reader alone has it open: an end of file would come after each writer.
    drop(pipe);
    let mut sent = Vec::new();
    for number in 0..10_000 {
        let line = format!("line {number}\n");
        OpenOptions::new().append(true).open(&fifo).unwrap().write_all(line.as_bytes()).unwrap();
        sent.extend(line.into_bytes());
    }
    bench.wait_stored("app", &sent);
    let idle = || {
        let before = cpu_time(reader.pid());
        let _whole_span = within(Duration::from_millis(300), || false);
        cpu_time(reader.pid()) == before
    };
    assert!(within(Duration::from_secs(3), idle), "an idle reader uses the CPU");
}
