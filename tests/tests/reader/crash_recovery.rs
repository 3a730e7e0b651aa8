//! What a start makes of mailboxes that others left: several, damaged, of another boot or version, of lanes that are
//! gone or sick; and that nothing about it takes a pipe from its writers.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;
use standpipe_tests::deadline::until;
use standpipe_tests::directory::{files_of, set_mode};
use standpipe_tests::privilege::{give, needs_seams};
use standpipe_tests::programs::{Daemon, has_open};
use standpipe_tests::stands::{Bench, MAILBOX_BYTES};
use standpipe_tests::world::{Check, Writer, assert_same, hold, parts, put, queued, stream_of, wait_empty};

/// Where the header of a mailbox has its version and its boot.
const VERSION_AT: usize = 8;
const BOOT_AT: usize = 16;

/// Leaves `chunk` of a pipe in a mailbox by a kill after its read. The first writes are those of `.standpipe`, one a
/// lane.
fn leave_in_mailbox(bench: &Bench, pipe: &fs::File, chunk: &[u8], fault: &str) {
    put(pipe, chunk);
    bench.faults(fault);
    bench.steered_reader().run_to_kill();
    bench.faults("");
    assert_eq!(queued(pipe), 0, "the chunk has left the pipe");
}

/// The one mailbox that holds `chunk`, taken out of the log root.
fn take_out(bench: &Bench, chunk: &[u8]) -> Vec<u8> {
    let holds = |path: &PathBuf| {
        let bytes = fs::read(path).expect("a mailbox");
        bytes.windows(chunk.len()).any(|window| window == chunk)
    };
    let path = bench.root_files(".mailbox-").into_iter().find(holds).expect("a mailbox with the chunk");
    let bytes = fs::read(&path).expect("a mailbox");
    fs::remove_file(path).expect("a mailbox");
    bytes
}

fn put_in(bench: &Bench, number: usize, bytes: &[u8], change: impl FnOnce(&mut [u8])) {
    let mut bytes = bytes.to_vec();
    change(&mut bytes);
    let path = bench.scratch.logs().join(format!(".mailbox-{number}"));
    fs::write(&path, bytes).expect("a mailbox");
    set_mode(&path, 0o600);
    give(&path);
}

#[test]
fn r48_each_mailbox_found_is_recovered_or_set_aside_with_one_line() {
    needs_seams(|| {
        let bench = Bench::new();
        let (a, b) = (hold(&bench.scratch.pipe("a")), hold(&bench.scratch.pipe("b")));
        leave_in_mailbox(&bench, &a, b"one of a\n", "kill write 3");
        let of_a = take_out(&bench, b"one of a\n");
        leave_in_mailbox(&bench, &b, b"one of b\n", "kill arrived 1");
        let of_b = take_out(&bench, b"one of b\n");
        assert_eq!((of_a.len(), of_b.len()), (MAILBOX_BYTES, MAILBOX_BYTES));
        put_in(&bench, 3, &of_a, |_| ());
        put_in(&bench, 4, &of_b, |_| ());
        put_in(&bench, 5, &of_a, |bytes| bytes[0] ^= 1);
        put_in(&bench, 6, &of_b, |bytes| bytes[VERSION_AT] += 1);
        put_in(&bench, 7, &of_a, |bytes| bytes[BOOT_AT] ^= 1);
        put_in(&bench, 8, &of_a[..MAILBOX_BYTES - 1], |_| ());
        put_in(&bench, 9, b"", |_| ());
        put(&a, b"two of a\n");
        put(&b, b"two of b\n");
        let reader = bench.reader().start();
        bench.wait_stored("a", b"one of a\ntwo of a\n");
        bench.wait_stored("b", b"one of b\ntwo of b\n");
        reader.wait_line("recovered 18 bytes");
        assert_eq!(reader.lines_with("set aside as").len(), 4, "{}", reader.stderr());
        assert_eq!(reader.lines_with("it is damaged").len(), 2, "{}", reader.stderr());
        reader.wait_line("it has version 2; this reader knows 1");
        let boot = reader.wait_line("it is from another boot");
        assert!(boot.contains("error: a: 9 bytes for 20") && boot.contains("/.salvaged-"), "{boot}");
        assert_eq!(bench.root_files(".salvaged-").len(), 4);
        assert!(bench.root_files(".mailbox-").len() <= 3, "{:?}", bench.root_files(".mailbox-"));
        reader.stop();
    });
}

#[test]
fn a_mailbox_whose_maker_was_killed_is_made_anew_without_a_word() {
    needs_seams(|| {
        for fault in ["kill allocate 1", "kill map 1", "kill word 1", "kill word 2", "kill allocate 2"] {
            let (bench, pipe) = Bench::new().holding("app");
            bench.faults(fault);
            assert_eq!(bench.steered_reader().start_unready().wait_exit(), 137, "{fault}");
            bench.faults("");
            put(&pipe, b"one\n");
            let reader = bench.steered_reader().start();
            bench.wait_stored("app", b"one\n");
            assert_eq!(reader.lines().len(), 1, "{fault}: {}", reader.stderr());
            assert!(bench.root_files(".salvaged-").is_empty(), "{fault}");
            reader.stop();
        }
    });
}

#[test]
fn a_lane_whose_link_is_gone_is_recovered_all_the_same() {
    needs_seams(|| {
        for fault in ["kill arrived 1", "kill write 3", "half write 3", "kill write 4"] {
            let (bench, pipe) = Bench::new().holding("gone");
            bench.scratch.pipe("other");
            leave_in_mailbox(&bench, &pipe, b"its last words\n", fault);
            fs::remove_file(bench.scratch.pipes().join("gone")).expect("the link");
            let reader = bench.reader().start();
            assert_same(&stream_of(&bench.log("gone")), b"its last words\n", fault);
            reader.wait_line("recovered 15 bytes");
            assert!(bench.root_files(".salvaged-").is_empty());
            reader.stop();
        }
    });
}

#[test]
fn a_lane_whose_log_cannot_be_opened_keeps_its_chunk_until_it_can() {
    needs_seams(|| {
        for fault in ["kill arrived 1", "kill write 3", "half write 3"] {
            let (bench, pipe) = Bench::new().holding("app");
            let other = hold(&bench.scratch.pipe("other"));
            leave_in_mailbox(&bench, &pipe, b"one\n", fault);
            set_mode(&bench.log("app"), 0);
            put(&pipe, b"two\n");
            put(&other, b"other\n");
            let reader = bench.reader().start();
            reader.wait_line("not reading app until this is fixed");
            bench.wait_stored("other", b"other\n");
            set_mode(&bench.log("app"), 0o750);
            bench.wait_stored("app", b"one\ntwo\n");
            assert_eq!(reader.wait_lines("app: recovered; reading again", 1).len(), 1);
            assert_eq!(reader.lines_with("error").len(), 1, "{}", reader.stderr());
            reader.stop();
        }
    });
}

#[test]
fn a_chunk_whose_segment_was_changed_while_its_log_was_out_of_reach_is_set_aside() {
    needs_seams(|| {
        let (bench, pipe) = Bench::new().holding("app");
        leave_in_mailbox(&bench, &pipe, b"one\n", "kill write 2");
        set_mode(&bench.log("app"), 0);
        let reader = bench.reader().start();
        reader.wait_line("not reading app until this is fixed");
        // Only root could change it while nobody can enter it.
        reader.freeze();
        set_mode(&bench.log("app"), 0o750);
        for part in parts(&bench.log("app")) {
            fs::remove_file(part).expect("the segment");
        }
        reader.signal(Signal::SIGCONT);
        put(&pipe, b"two\n");
        bench.wait_stored("app", b"two\n");
        let said = reader.wait_line("set aside as");
        assert!(said.contains("app: 4 bytes for 20"), "{said}");
        assert_eq!(bench.root_files(".salvaged-").len(), 1);
        reader.stop();
    });
}

#[test]
fn a_chunk_whose_segment_was_removed_or_changed_by_hand_is_set_aside() {
    needs_seams(|| {
        let changes: [fn(&Path); 3] = [
            |part| fs::remove_file(part).expect("the segment"),
            |part| fs::write(part, "shorter\n").expect("the segment"),
            |part| fs::write(part, "before\nsomebody else's\n").expect("the segment"),
        ];
        for change in changes {
            let (bench, pipe) = Bench::new().holding("app");
            put(&pipe, b"before\n");
            let reader = bench.reader().start();
            bench.wait_stored("app", b"before\n");
            reader.stop();
            leave_in_mailbox(&bench, &pipe, b"the chunk\n", "kill write 1");
            change(&parts(&bench.log("app"))[0]);
            let kept = stream_of(&bench.log("app"));
            let reader = bench.reader().start();
            let said = reader.wait_lines("app: 10 bytes for 20", 1);
            assert!(said.len() == 1 && said[0].contains("set aside as"), "{said:?}");
            put(&pipe, b"after\n");
            bench.wait_stored("app", &[&kept[..], b"after\n"].concat());
            let aside = fs::read(&bench.root_files(".salvaged-")[0]).expect("the mailbox set aside");
            assert!(aside.windows(10).any(|window| window == b"the chunk\n"));
            reader.stop();
        }
    });
}

/// Segments that wait for their archives since long.
fn sealed_segments(dir: &Path, count: usize) -> Vec<u8> {
    let mut stream = Vec::new();
    for number in 0..count {
        let line = format!("old {number}\n");
        let path = dir.join(format!("2020-01-01T00-{:02}-{:02}.000000Z.log", number / 60, number % 60));
        fs::write(&path, &line).expect("a segment");
        give(&path);
        stream.extend_from_slice(line.as_bytes());
    }
    stream
}

#[test]
fn r51_no_writer_dies_while_a_reader_starts_slowly_and_the_holder_goes() {
    needs_seams(|| {
        let bench = Bench::new();
        let (app, other) = (bench.scratch.pipe("app"), bench.scratch.pipe("other"));
        let holders = [hold(&app), hold(&other)];
        leave_in_mailbox(&bench, &holders[0], b"left behind\n", "kill write 3");
        let mut expected = sealed_segments(&bench.log("app"), 200);
        expected.extend_from_slice(b"left behind\n");
        let writers = [&app, &other].map(|fifo| Writer::start(fifo, 1, None, Duration::from_millis(1)));
        until("the writers have begun", || writers.iter().all(|writer| writer.lines() > 3));
        bench.faults("delay truncate 700\ndelay archive-read 20\ndelay sync 20\n");
        let reader = bench.traced_reader().start_unready();
        until("it recovers", || bench.passes("truncate") > 0);
        assert!(has_open(reader.pid(), &app) && has_open(reader.pid(), &other), "its pipes are open first");
        drop(holders);
        let written = writers.iter().map(Writer::lines).collect::<Vec<_>>();
        until("they go on", || writers.iter().zip(&written).all(|(writer, before)| writer.lines() > before + 50));
        reader.wait_line("recovered 12 bytes");
        let written = writers.map(Writer::stop);
        let log = [bench.log("app"), bench.log("other")];
        let heads = [&expected[..], b""];
        for ((log, head), written) in log.iter().zip(heads).zip(&written) {
            assert!(written.error.is_none(), "{:?}", written.error);
            let bytes = head.len() + written.bytes as usize;
            until("all is stored", || stream_of(log).len() >= bytes);
            let stream = stream_of(log);
            assert_same(&stream[..head.len()], head, "what was there before");
            let mut check = Check::new();
            check.feed(&stream[head.len()..]);
            let tally = check.finish(&[(1, written.lines)]);
            assert!(tally.is_whole() && tally.found == written.lines, "{tally:?}");
        }
        reader.stop();
    });
}

#[test]
fn r52_after_another_boot_nuls_are_cut_the_part_is_sealed_and_the_mailbox_set_aside() {
    needs_seams(|| {
        const NULS: usize = 1 << 20;
        let bench = Bench::new();
        let booted = |boot: &str| bench.steered_reader().env("STANDPIPE_TEST_BOOT", boot);
        let pipe = hold(&bench.scratch.pipe("app"));
        put(&pipe, b"one\ntwo\n");
        let reader: Daemon = booted("first").start();
        bench.wait_stored("app", b"one\ntwo\n");
        reader.stop();
        put(&pipe, b"three\n");
        bench.faults("kill write 1");
        booted("first").run_to_kill();
        bench.faults("");
        let part = parts(&bench.log("app")).remove(0);
        let mut bytes = fs::read(&part).expect("the segment");
        bytes.resize(bytes.len() + NULS, 0);
        fs::write(&part, bytes).expect("the segment");

        let reader = booted("second").start();
        let part_name = part.file_name().expect("a name").to_string_lossy().into_owned();
        let cut = reader.wait_lines("NUL bytes at its end", 1);
        assert!(cut.len() == 1 && cut[0].contains(&part_name) && cut[0].contains(": removed 1048576 NUL"), "{cut:?}");
        let aside = reader.wait_lines("set aside as", 1);
        assert!(aside.len() == 1 && aside[0].contains("app: 6 bytes for 20"), "{aside:?}");
        put(&pipe, b"four\n");
        bench.wait_stored("app", b"one\ntwo\nfour\n");
        until("the part is archived", || !part.exists());
        assert_eq!(files_of(&bench.log("app"), |name| name == format!("{part_name}.zst")).len(), 1);
        assert_eq!(parts(&bench.log("app")).len(), 2);
        reader.stop();
        // The boot is known now.
        let reader = booted("second").start();
        wait_empty(&pipe);
        assert_eq!(reader.stop().lines().count(), 1);
    });
}
