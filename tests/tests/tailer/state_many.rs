//! The state of thousands of files: what a save writes is in proportion to what changed, and a kill at any moment repeats
//! and loses nothing.

use std::fs;
use std::os::unix::fs::MetadataExt;

use standpipe_tests::deadline::until;
use standpipe_tests::privilege::give;
use standpipe_tests::stands::Tailing;
use standpipe_tests::world::{Log, Owner};

/// So many files that the state is far longer than one that is written whole each time.
const QUIET_FILES: usize = 1000;
const SAVES: u64 = 3;

fn bytes_of(stand: &Tailing, name: &str) -> u64 {
    fs::metadata(stand.work(name)).map_or(0, |metadata| metadata.len())
}

/// All that the tailer passed to `write` and its like.
fn written(stand: &Tailing) -> u64 {
    let text = fs::read_to_string(format!("/proc/{}/io", stand.daemon().pid())).unwrap();
    text.lines().find_map(|line| line.strip_prefix("wchar: ")?.parse().ok()).unwrap()
}

/// One log among many that are quiet, into a pipe.
fn stand() -> (Tailing, Log) {
    let stand = Tailing::into_pipe(Owner::Tailer, true);
    stand.configure("durable_ms = 50\n", &[("*.log", "")]);
    for number in 0..QUIET_FILES {
        let path = stand.log_path(&format!("quiet-{number:04}.log"));
        fs::write(&path, "").unwrap();
        give(&path);
    }
    let log = stand.log("app.log", 1);
    (stand, log)
}

/// Writes some lines, and waits until it is on disk how far they were delivered.
fn write_and_wait_saved(stand: &Tailing, log: &mut Log) {
    log.write(3);
    let size = fs::metadata(&log.path).unwrap().len();
    let is_in =
        |name| fs::read_to_string(stand.work(name)).is_ok_and(|text| text.contains(&format!("\"offset\":{size},")));
    until("a save", || is_in("state.json.changes") || is_in("state.json"));
}

#[test]
fn a_save_writes_what_changed_and_a_kill_repeats_and_loses_nothing() {
    let (mut stand, mut log) = stand();
    stand.start();
    // In several rounds: not all of them are in the part that is written whole.
    until("all files are known", || {
        let known = ["state.json", "state.json.changes"].map(|name| fs::read_to_string(stand.work(name)));
        let known = known.map(Result::unwrap_or_default).concat();
        (0..QUIET_FILES).all(|number| known.contains(&format!("/quiet-{number:04}.log")))
    });
    // What the saves before left to do.
    write_and_wait_saved(&stand, &mut log);
    let whole = || fs::metadata(stand.work("state.json")).unwrap().ino();
    let bytes = loop {
        let (before, before_ino) = (written(&stand), whole());
        for _ in 0..SAVES {
            write_and_wait_saved(&stand, &mut log);
        }
        // Once in a hundred saves or so all is written.
        if whole() == before_ino {
            break written(&stand) - before;
        }
    };
    assert!(bytes_of(&stand, "state.json.changes") > 0);
    assert!(bytes < 15_000, "{SAVES} saves wrote {bytes} bytes; the state has more than ten times as many");
    until("what is on disk for certain follows", || bytes_of(&stand, "state.json.durable.changes") > 0);
    for _ in 0..2 {
        log.write(50);
        stand.kill9_and_start();
        write_and_wait_saved(&stand, &mut log);
        log.write(50);
    }
    stand.finish(&[&log]);
    // So that a tailer that knows of no journal can go on.
    for name in ["state.json.changes", "state.json.durable.changes"] {
        assert!(!stand.work(name).exists(), "{name}");
    }
    let size = fs::metadata(&log.path).unwrap().len();
    let state = fs::read_to_string(stand.work("state.json")).unwrap();
    assert!(state.contains(&format!("\"offset\":{size},")));
}
