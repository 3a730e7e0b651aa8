//! Standard output and standard error, letter by letter, as the documented transcripts have them.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use standpipe_tests::deadline::until;
use standpipe_tests::directory::Scratch;
use standpipe_tests::programs::Launch;
use standpipe_tests::stands::Tailing;
use standpipe_tests::world::{Owner, numbered};

/// A configuration as the transcripts have it, without inotify.
fn configure(stand: &Tailing, interval_ms: u32, names: &[&str]) {
    let mut yaml =
        format!("poll_interval_ms: {interval_ms}\norder: timestamp\nstate_file: state.json\ninotify: false\nfiles:\n");
    for name in names {
        let path = stand.log_path(name);
        writeln!(yaml, "  - path: {}\n    name: {name}\n    max_idle_ms: 5000", path.display()).unwrap();
    }
    fs::write(stand.work("logs.yml"), yaml).unwrap();
}

fn start(stand: &mut Tailing) {
    let state = stand.work("state.json");
    let launch = Launch::new("tailer").arg("--config").arg(stand.work("logs.yml"));
    stand.start_by(launch.args(["--order", "timestamp", "--state"]).arg(state));
}

fn append(path: &Path, lines: &str) {
    File::options().append(true).create(true).open(path).unwrap().write_all(lines.as_bytes()).unwrap();
}

fn inode(path: &Path) -> u64 {
    fs::metadata(path).unwrap().ino()
}

fn wait_output(stand: &Tailing, golden: &str) {
    until("all lines", || stand.delivered().len() >= golden.len());
    assert_eq!(String::from_utf8(stand.delivered()).unwrap(), golden);
}

#[test]
fn three_files_of_which_one_is_rotated() {
    let mut stand = Tailing::to_stdout(Owner::Tailer);
    let names = ["app.log", "api.log", "worker.log"];
    configure(&stand, 250, &names);
    let paths = names.map(|name| stand.log_path(name));
    for path in &paths {
        append(path, "");
    }
    start(&mut stand);
    stand.daemon().wait_lines("inode=", 3);
    // All three are there before it looks again.
    stand.daemon().freeze();
    append(&paths[2], "2026-01-01T12:00:02Z INFO batch=17 processed=200\n");
    append(&paths[1], "2026-01-01T12:00:02Z WARN upstream timeout id=9f2c\n");
    append(&paths[0], "2026-01-01T12:00:01Z INFO started pid=23312\n");
    stand.daemon().signal(Signal::SIGCONT);
    let mut golden = "\
2026-01-01T12:00:01Z app.log INFO started pid=23312
2026-01-01T12:00:02Z api.log WARN upstream timeout id=9f2c
2026-01-01T12:00:02Z worker.log INFO batch=17 processed=200
"
    .to_owned();
    until("three lines", || stand.lines_delivered() == 3);
    let mut inodes = paths.clone().map(|path| inode(&path)).to_vec();
    fs::rename(&paths[0], numbered(&paths[0], 1)).unwrap();
    append(&paths[0], "2026-01-01T12:00:10Z INFO rotation detected, continuing\n");
    inodes.push(inode(&paths[0]));
    golden += "2026-01-01T12:00:10Z app.log INFO rotation detected, continuing\n";
    wait_output(&stand, &golden);
    let said = stand.stop();
    let logs = stand.logs();
    let (logs, [app, api, worker, new]) = (logs.display(), inodes[..].try_into().unwrap());
    let golden = format!(
        "\
[tailer] watching 3 files with poll() interval=250ms
[tailer] {logs}/app.log inode={app}
[tailer] {logs}/api.log inode={api}
[tailer] {logs}/worker.log inode={worker}
[tailer] app.log rotated (inode changed {app} -> {new}), reopening
"
    );
    assert_eq!(said, golden);
}

#[test]
fn a_line_waits_until_every_polled_file_was_looked_at() {
    let mut stand = Tailing::to_stdout(Owner::Tailer);
    configure(&stand, 800, &["a.log", "b.log"]);
    for name in ["a.log", "b.log"] {
        append(&stand.log_path(name), "");
    }
    start(&mut stand);
    stand.daemon().wait_lines("inode=", 2);
    let written_at = Instant::now();
    append(&stand.log_path("a.log"), "2026-01-01T12:00:00Z INFO one\n");
    until("the line", || stand.lines_delivered() == 1);
    // The window of 200 ms begins when the other file may have been looked at.
    assert!(written_at.elapsed() >= Duration::from_secs(1), "{:?}", written_at.elapsed());
    stand.stop();
}

#[test]
fn two_files_of_which_one_is_truncated() {
    let mut stand = Tailing::to_stdout(Owner::Tailer);
    configure(&stand, 100, &["a.log", "b.log"]);
    let [a, b] = ["a.log", "b.log"].map(|name| stand.log_path(name));
    append(&a, "");
    append(&b, "");
    start(&mut stand);
    stand.daemon().wait_lines("inode=", 2);
    append(&a, "2026-01-01T12:00:00Z INFO boot\n");
    append(&b, "2026-01-01T12:00:01Z INFO ready\n");
    until("two lines", || stand.lines_delivered() == 2);
    File::options().write(true).open(&a).unwrap().set_len(0).unwrap();
    stand.daemon().wait_line("truncated");
    append(&a, "2026-01-01T12:00:02Z INFO rotated\n");
    wait_output(
        &stand,
        "\
2026-01-01T12:00:00Z a.log INFO boot
2026-01-01T12:00:01Z b.log INFO ready
2026-01-01T12:00:02Z a.log INFO rotated
",
    );
    let said = stand.stop();
    let (logs, one, two) = (stand.logs(), inode(&a), inode(&b));
    let logs = logs.display();
    let golden = format!(
        "\
[tailer] watching 2 files with poll() interval=100ms
[tailer] {logs}/a.log inode={one}
[tailer] {logs}/b.log inode={two}
[tailer] a.log truncated (size decreased), reset offset
"
    );
    assert_eq!(said, golden);
    let state: serde_json::Value = serde_json::from_slice(&fs::read(stand.work("state.json")).unwrap()).unwrap();
    let entry = &state["files"][a.to_str().unwrap()];
    let metadata = fs::metadata(&a).unwrap();
    assert_eq!(state["version"], 1);
    assert_eq!((&entry["dev"], &entry["ino"]), (&metadata.dev().into(), &metadata.ino().into()));
    assert_eq!(entry["offset"], metadata.len());
    let hash = xxhash_rust::xxh3::xxh3_64(b"2026-01-01T12:00:02Z INFO rotated\n");
    assert_eq!(entry["last_line_hash"], format!("{hash:016x}"));
}

#[test]
fn a_missing_file() {
    let mut stand = Tailing::to_stdout(Owner::Tailer);
    configure(&stand, 250, &["missing.log"]);
    let launch = Launch::new("tailer").arg("--config").arg(stand.work("logs.yml"));
    stand.start_by(launch);
    stand.daemon().wait_line("retry");
    let missing = stand.log_path("missing.log");
    let golden = format!("[tailer] error opening {}: ENOENT\n[tailer] retry in 1s (backoff)\n", missing.display());
    let said = stand.stop();
    assert!(said.starts_with(&golden), "{said}");
    assert_eq!(stand.exit_code(), 0);
}

#[test]
fn the_same_files_give_the_same_output_on_every_run() {
    let scratch = Scratch::new();
    let path = |name: &str| scratch.path().join(name);
    append(&path("a.log"), "2026-01-01T12:00:00Z a start\n2026-01-01T12:00:01Z a step\n");
    append(&path("b.log"), "2026-01-01T12:00:00Z b init\n2026-01-01T12:00:02Z b done\n");
    for _ in 0..3 {
        let launch = Launch::new("tailer").args(["--batch", "--order", "timestamp"]);
        let output = launch.arg(path("a.log")).arg(path("b.log")).run();
        let golden = "\
2026-01-01T12:00:00Z a.log - a start
2026-01-01T12:00:00Z b.log - b init
2026-01-01T12:00:01Z a.log - a step
2026-01-01T12:00:02Z b.log - b done
";
        assert_eq!((String::from_utf8(output.stdout).unwrap().as_str(), output.code), (golden, 0), "{}", output.stderr);
    }
}

#[test]
fn exit_codes_are_those_of_the_transcripts() {
    let scratch = Scratch::new();
    let config = scratch.path().join("bad.yml");
    fs::write(&config, "files: 5\n").unwrap();
    assert_eq!(Launch::new("tailer").arg("--config").arg(&config).run().code, 2);
    let app = scratch.path().join("app.log");
    append(&app, "x\n");
    let state = scratch.path().join("nowhere/state.json");
    assert_eq!(Launch::new("tailer").arg("--batch").arg("--state").arg(state).arg(&app).run().code, 3);
}
