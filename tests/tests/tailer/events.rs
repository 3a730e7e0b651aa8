//! What the tailer tells on standard error, word by word, with inode numbers masked.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread;
use std::time::Duration;

use standpipe_tests::deadline::until;
use standpipe_tests::programs::Launch;
use standpipe_tests::stands::{Following, Tailing};
use standpipe_tests::world::{Owner, numbered, owners, rename_and_create, shift};

const WATCHING: &str = "[tailer] watching 1 file with poll() interval=250ms (inotify)\n";
const LEASES: &str = "[tailer] using file leases to detect when a rotated file has no writer";

/// What was said so far: the directory of the logs as `LOGS`, the inode of each of `files` as a letter.
fn masked(stand: &Tailing, files: &[u64]) -> String {
    let mut said = stand.daemon().stderr().replace(stand.logs().to_str().unwrap(), "LOGS");
    for (file, letter) in files.iter().zip(["A", "B", "C", "D"]) {
        said = said.replace(&file.to_string(), letter);
    }
    said
}

fn inode(path: &Path) -> u64 {
    fs::metadata(path).unwrap().ino()
}

/// The configuration as it stands in the reference, at the logs of this stand.
fn configure_yaml(stand: &Tailing, names: &[&str]) {
    let mut yaml = "poll_interval_ms: 250\norder: timestamp\nstate_file: state.json\nfiles:\n".to_owned();
    for name in names {
        let path = stand.log_path(name);
        yaml += &["  - path: ", path.to_str().unwrap(), "\n    name: ", name, "\n"].concat();
        yaml += "    max_idle_ms: 5000        # how long a rotated generation may stay idle\n";
    }
    fs::write(stand.work("tailer.yaml"), yaml).unwrap();
}

fn by_yaml(stand: &Tailing) -> Launch {
    Launch::new("tailer").arg("--config").arg(stand.work("tailer.yaml"))
}

#[test]
fn rotations_and_truncations_are_told_in_these_words() {
    let mut stand = Tailing::to_stdout(Owner::Tailer);
    configure_yaml(&stand, &["app.log", "a.log"]);
    let mut app = stand.log("app.log", 1);
    let mut other = stand.log("a.log", 2);
    stand.start_by(by_yaml(&stand));
    stand.daemon().wait_lines("inode=", 2);
    let first = inode(&app.path);
    app.write(3);
    other.write(3);
    until("6 lines", || stand.lines_delivered() == 6);
    stand.daemon().wait_lines("no times found", 2);
    drop(rename_and_create(&mut app));
    let second = inode(&app.path);
    stand.daemon().wait_line("log rotated");
    // This time nobody has the name for a while.
    shift(&app.path);
    app.write(1);
    until("7 lines", || stand.lines_delivered() == 7);
    thread::sleep(Duration::from_millis(300));
    app.reopen();
    let third = inode(&app.path);
    stand.daemon().wait_lines("log rotated", 2);
    fs::File::options().write(true).open(&other.path).unwrap().set_len(0).unwrap();
    stand.daemon().wait_line("truncated");
    stand.stop();
    let golden = "\
[tailer] watching 2 files with poll() interval=250ms (inotify)
[tailer] LOGS/app.log inode=A
[tailer] LOGS/a.log inode=D
[tailer] warning: no times found in app.log: its lines are ordered by the time they were read
[tailer] warning: no times found in a.log: its lines are ordered by the time they were read
[tailer] app.log rotated (inode changed A -> B), reopening
[tailer] app.log rotated (inode changed B -> C), reopening
[tailer] a.log truncated (size decreased), reset offset
";
    assert_eq!(masked(&stand, &[first, second, third, inode(&other.path)]), golden);
}

#[test]
fn a_missing_file_is_told_with_its_retries_and_found_at_once() {
    let mut stand = Tailing::to_stdout(Owner::Tailer);
    configure_yaml(&stand, &["missing.log"]);
    stand.start_by(by_yaml(&stand));
    stand.daemon().wait_line("retry in 2s");
    let golden = "\
[tailer] error opening LOGS/missing.log: ENOENT
[tailer] retry in 1s (backoff)
[tailer] retry in 2s (backoff)
";
    assert_eq!(masked(&stand, &[]), golden);
    // The next look without a hint is two seconds away.
    let mut log = stand.log("missing.log", 1);
    log.write(1);
    let found = standpipe_tests::deadline::within(Duration::from_millis(1500), || !stand.delivered().is_empty());
    assert!(found, "{}", stand.daemon().stderr());
    stand.daemon().wait_line("no times found");
    stand.stop();
    let rest = format!(
        "\
{golden}{WATCHING}[tailer] LOGS/missing.log inode=A
[tailer] LOGS/missing.log opened after all
[tailer] warning: no times found in missing.log: its lines are ordered by the time they were read
"
    );
    assert_eq!(masked(&stand, &[inode(&log.path)]), rest);
}

#[test]
fn a_rotation_while_it_was_down_is_told_by_both_files() {
    let (mut stand, mut log) = Following::to_stdout().prepare();
    log.write(3);
    stand.start();
    stand.wait_delivered(&[&log]);
    stand.stop();
    drop(rename_and_create(&mut log));
    log.write(3);
    stand.start();
    stand.finish(&[&log]);
    let files = [inode(&numbered(&log.path, 1)), inode(&log.path)];
    let golden = "\
[tailer] watching 1 file with poll() interval=50ms (inotify)
[tailer] LOGS/app.log.1 inode=A
[tailer] app.log rotated (inode changed A -> B), reopening
";
    assert_eq!(masked(&stand, &files), golden);
}

#[test]
fn which_way_finished_files_are_known_is_told_once() {
    for owner in owners() {
        let mut stand = Tailing::to_stdout(owner);
        stand.configure("inotify = false\n", &[("a.log", ""), ("b.log", "")]);
        let (mut one, two) = (stand.log("a.log", 1), stand.log("b.log", 2));
        stand.start_by(stand.launch().arg("--debug"));
        stand.daemon().wait_line("leases");
        drop(rename_and_create(&mut one));
        stand.daemon().wait_line("log rotated");
        stand.finish(&[&one, &two]);
        let expected = match owner {
            Owner::Tailer => LEASES,
            Owner::Other => {
                "[tailer] file leases unavailable (need CAP_LEASE or file ownership); rotated files are closed after max_idle_ms of silence"
            }
        };
        assert_eq!(stand.daemon().lines_with("leases"), [expected]);
        assert_eq!(stand.daemon().lines()[0], "[tailer] watching 2 files with poll() interval=50ms");
    }
}

#[test]
fn with_json_output_events_are_objects_a_line() {
    let mut stand = Tailing::to_stdout(Owner::Tailer);
    configure_yaml(&stand, &["app.log", "missing.log"]);
    let mut log = stand.log("app.log", 1);
    stand.start_by(by_yaml(&stand).args(["--output", "json"]));
    stand.daemon().wait_line("\"retry\"");
    let first = inode(&log.path);
    drop(rename_and_create(&mut log));
    stand.daemon().wait_line("\"rotated\"");
    fs::write(&log.path, "").unwrap();
    stand.stop();
    let dev = fs::metadata(&log.path).unwrap().dev();
    let golden = r#"{"event":"watching","files":2,"inotify":true,"interval_ms":250}
{"event":"source","identity":{"dev":DEV,"ino":A},"offset":0,"path":"LOGS/app.log","source":"app.log"}
{"event":"open_error","errno":"ENOENT","path":"LOGS/missing.log"}
{"event":"retry","after_s":1,"path":"LOGS/missing.log"}
{"event":"rotated","new":{"dev":DEV,"ino":B},"old":{"dev":DEV,"ino":A},"source":"app.log"}
"#;
    let golden = golden.replace("DEV", &dev.to_string());
    assert_eq!(masked(&stand, &[first, inode(&log.path)]), golden);
}

#[test]
fn debug_shows_identities_and_offsets_at_each_change() {
    let (mut stand, mut log) = Following::to_stdout().prepare();
    log.write(3);
    let metadata = fs::metadata(&log.path).unwrap();
    let (size, dev) = (metadata.len(), metadata.dev());
    stand.start_by(stand.launch().arg("--debug"));
    stand.wait_delivered(&[&log]);
    let first = inode(&log.path);
    drop(rename_and_create(&mut log));
    stand.daemon().wait_line(&format!("app.log dev={dev} inode={first} read={size} delivered={size}"));
    stand.daemon().wait_line(&format!("app.log inode={first} finished"));
    stand.finish(&[&log]);
}

#[test]
fn what_is_tried_again_is_named_where_there_are_several() {
    let mut stand = Tailing::to_stdout(Owner::Tailer);
    stand.configure("", &[("a.log", ""), ("b.log", "")]);
    stand.start();
    for name in ["a.log", "b.log"] {
        let path = stand.log_path(name);
        stand.daemon().wait_line(&format!("[tailer] retry in 2s (backoff): {}", path.display()));
    }
    stand.stop();
}
