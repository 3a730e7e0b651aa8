//! Files in a log root that are of a later version, locked by others, or made to cost: the lane that has them says so in a
//! sentence, and nobody else notices.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, chown};

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use standpipe_tests::directory::set_mode;
use standpipe_tests::privilege::needs_root;
use standpipe_tests::programs::Launch;
use standpipe_tests::stands::Bench;
use standpipe_tests::world::{hold, put, queued};

#[test]
fn a_state_file_of_a_later_version_is_left_alone_and_its_lane_with_it() {
    let bench = Bench::new();
    let (app, web) = (hold(&bench.scratch.pipe("app")), hold(&bench.scratch.pipe("web")));
    put(&app, b"one\n");
    let reader = bench.reader().start();
    bench.wait_stored("app", b"one\n");
    reader.stop();
    let state = bench.log("app").join(".standpipe");
    let later = "standpipe 2\nboot 0\npattern %Y\nwhatever comes then\n";
    fs::write(&state, later).unwrap();
    let clock = bench.scratch.logs().join(".clock");
    fs::write(&clock, "standpipe clock 2\n").unwrap();
    put(&app, b"two\n");
    put(&web, b"two\n");
    let reader = bench.reader().start();
    bench.wait_stored("web", b"two\n");
    let said = reader.wait_line(".standpipe in it has version 2; this reader knows 1");
    assert!(said.contains("not reading app until this is fixed"), "{said}");
    assert_eq!(queued(&app), 4);
    reader.stop();
    assert_eq!(fs::read_to_string(&state).unwrap(), later);
    assert_eq!(fs::read_to_string(&clock).unwrap(), "standpipe clock 2\n");
    let shown = Launch::new("reader").args(["logs", "app", "--logs"]).arg(bench.scratch.logs()).run();
    assert!(shown.code == 3 && shown.stderr.contains("has version 2"), "{shown:?}");
    fs::write(&state, "standpipe 1\n").unwrap();
    let reader = bench.reader().start();
    bench.wait_stored("app", b"one\ntwo\n");
    reader.stop();
}

/// A read lock on byte 0, for as long as the file is open.
fn read_lock(file: &File) {
    let byte =
        libc::flock { l_type: libc::F_RDLCK as i16, l_whence: libc::SEEK_SET as i16, l_start: 0, l_len: 1, l_pid: 0 };
    fcntl(file, FcntlArg::F_OFD_SETLK(&byte)).expect("nobody has a write lock");
}

#[test]
fn whoever_may_read_the_lock_keeps_no_reader_out_and_makes_nobody_believe_that_one_runs() {
    let (bench, app) = Bench::new().holding("app");
    bench.reader().start().stop();
    let lock = bench.scratch.logs().join(".lock");
    let opened = File::open(&lock).unwrap();
    read_lock(&opened);
    let running = || {
        let output = Launch::new("reader").args(["status", "--json"]).arg(bench.scratch.logs()).run();
        let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        status["running"].clone()
    };
    assert_eq!(running(), false);
    let reader = bench.reader().start();
    put(&app, b"one\n");
    bench.wait_stored("app", b"one\n");
    assert_eq!(running(), true);
    let mode = |name: &str| fs::metadata(bench.scratch.logs().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(".lock"), mode(".exclusive")), (0o640, 0o600));
    let second = bench.reader().run();
    assert!(second.code == 3 && second.stderr.contains("another reader is using it"), "{second:?}");
    reader.stop();
}

#[test]
fn a_lock_file_of_another_is_not_used() {
    needs_root(|| {
        for name in [".lock", ".exclusive"] {
            let bench = Bench::new();
            bench.scratch.pipe("app");
            let lock = bench.scratch.logs().join(name);
            fs::write(&lock, "").unwrap();
            chown(&lock, Some(61_001), Some(61_001)).unwrap();
            set_mode(&lock, 0o666);
            let output = bench.reader().run();
            assert!(output.code == 3 && output.stderr.contains("not one of our files"), "{output:?}");
        }
    });
}

/// A seek table of `entries` frames of no bytes, which are said to hold one raw byte each.
fn empty_frames(entries: u32) -> Vec<u8> {
    let payload = entries as usize * 8 + 9;
    let mut bytes = Vec::with_capacity(payload + 8);
    bytes.extend(0x184D_2A5E_u32.to_le_bytes());
    bytes.extend((payload as u32).to_le_bytes());
    for _ in 0..entries {
        bytes.extend([0, 0, 0, 0, 1, 0, 0, 0]);
    }
    bytes.extend(entries.to_le_bytes());
    bytes.push(0);
    bytes.extend(0x8F92_EAB1_u32.to_le_bytes());
    bytes
}

/// `entries` frames of eight bytes that are none, each of which is said to hold a byte, with a seek table.
fn bad_frames(entries: u32) -> Vec<u8> {
    let mut bytes = vec![0; entries as usize * 8];
    let mut table = empty_frames(entries);
    for entry in table[8..8 + entries as usize * 8].chunks_exact_mut(8) {
        entry[0] = 8;
    }
    bytes.extend(table);
    bytes
}

#[test]
fn an_archive_of_millions_of_damaged_frames_costs_little_and_is_one_sentence() {
    let (bench, app) = Bench::new().holding("app");
    put(&app, b"one\n");
    let reader = bench.reader().start();
    bench.wait_stored("app", b"one\n");
    reader.stop();
    let archive = bench.log("app").join("2020-01-01T00-00-00.000000Z.log.zst");
    for bytes in [empty_frames(1 << 22), bad_frames(1 << 20)] {
        fs::write(&archive, bytes).unwrap();
        // Address space is what can be limited: the program itself, its threads' stacks and 500 MB
        // more; and time of a processor, in seconds.
        let launch = Launch::new("reader").prelude("ulimit -v 900000 && ulimit -t 20").args(["logs", "app", "--logs"]);
        let shown = launch.arg(bench.scratch.logs()).run();
        assert_eq!((shown.code, &shown.stdout[..]), (2, &b"one\n"[..]), "{}", shown.stderr);
        assert_eq!(shown.stderr.lines().count(), 1, "{}", shown.stderr);
    }
}
