//! Logs that look sound from outside and hide something: room that was made in advance, and a file that is a mount.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use serde_json::Value;
use standpipe_tests::deadline::until;
use standpipe_tests::directory::Mounted;
use standpipe_tests::privilege::{give, has_user_namespaces, is_root};
use standpipe_tests::programs::Launch;
use standpipe_tests::stands::{Following, Tailing};
use standpipe_tests::world::{Owner, owners, rename_and_create};

const ROOM: u64 = 16 << 20;

/// What `tailer status` says of the only source, its sentences, and its exit code.
fn status(stand: &Tailing) -> (Value, String, i32) {
    let ask = || Launch::new("tailer").arg("status").arg("--config").arg(stand.work("tailer.toml"));
    let object: Value = serde_json::from_slice(&ask().arg("--json").run().stdout).unwrap();
    let text = ask().run();
    (object["sources"][0].clone(), String::from_utf8(text.stdout).unwrap(), text.code)
}

fn wait_state(stand: &Tailing, state: &str) -> (Value, String, i32) {
    until(state, || status(stand).0["state"] == state);
    status(stand)
}

/// How room is made: by zeros that are written, or by none.
fn make_room(path: &Path, by_zeros: bool) -> File {
    let file = File::options().write(true).open(path).unwrap();
    if by_zeros {
        file.write_all_at(&vec![0; ROOM as usize], 0).unwrap();
    } else {
        file.set_len(ROOM).unwrap();
    }
    file
}

#[test]
fn a_log_with_room_is_told_once_and_shown_and_its_lines_are_delivered_as_they_come() {
    let starts = ["start_at = \"end\"\n", "start_at = \"beginning\"\n"];
    for ((owner, by_zeros), start) in
        owners().into_iter().flat_map(|owner| [(owner, true), (owner, false)]).zip(starts.into_iter().cycle())
    {
        let (mut stand, mut log) = Following::to_stdout().owner(owner).keys(start).prepare();
        let mut room = make_room(&log.path, by_zeros);
        stand.start();
        let said =
            "app.log ends in 16777216 zero bytes: they are not delivered until something is written over or after";
        stand.daemon().wait_line(said);
        let (source, text, code) = wait_state(&stand, "preallocated");
        assert_eq!((source["preallocated"].as_bool(), source["lag"]["bytes"].as_u64(), code), (Some(true), Some(0), 0));
        assert!(
            text.contains("/app.log ends in zero bytes: they are not delivered until something is written"),
            "{text}"
        );
        for _ in 0..3 {
            log.write_through(&mut room, 10);
            stand.wait_delivered(&[&log]);
            assert_eq!(status(&stand).0["state"], "preallocated");
        }
        let said = stand.stop();
        assert!(!said.contains("left"), "{said}");
        stand.start();
        log.write_through(&mut room, 10);
        stand.wait_delivered(&[&log]);
        stand.daemon().wait_line("app.log ends in ");
        // What was not needed is cut off.
        let end = std::io::Seek::stream_position(&mut room).unwrap();
        room.set_len(end).unwrap();
        let (source, text, code) = wait_state(&stand, "ok");
        assert!(source["preallocated"] == false && !text.contains("zero bytes") && code == 0, "{text}");
        drop(room);
        drop(rename_and_create(&mut log));
        log.write(10);
        stand.wait_delivered(&[&log]);
        assert_eq!(stand.daemon().lines_with("zero bytes").len(), 1, "{}", stand.daemon().stderr());
        stand.finish(&[&log]);
    }
}

#[test]
fn zeros_that_are_waited_for_are_neither_lag_nor_left_at_the_end() {
    let (mut stand, mut log) = Following::into_pipe().prepare();
    let mut room = make_room(&log.path, true);
    stand.start();
    log.write_through(&mut room, 1000);
    stand.wait_delivered(&[&log]);
    // What was delivered is shown a moment later.
    until("no lag", || wait_state(&stand, "preallocated").0["lag"]["bytes"] == 0);
    let said = stand.stop();
    assert!(!said.contains("left") && !said.contains("delivered;"), "{said}");
    log.write_through(&mut room, 1000);
    stand.start();
    stand.finish(&[&log]);
}

#[test]
fn a_file_that_is_a_mount_is_told_once_and_shown() {
    let mut stand = Tailing::to_stdout(Owner::Tailer);
    stand.configure("", &[("app.log", "")]);
    // What stands outside, and the name over which it is mounted.
    let outside = stand.log("outside.log", 1).path;
    let mut log = stand.log("outside.log", 1);
    let inside = stand.log_path("app.log");
    fs::write(&inside, "").unwrap();
    give(&inside);
    let mounted = is_root().then(|| Mounted::bind(&outside, &inside));
    if mounted.is_some() {
        stand.start();
    } else if has_user_namespaces() {
        let (from, to) = (outside.display(), inside.display());
        let script = format!("mount --bind '{from}' '{to}' && exec \"$0\" \"$@\"");
        let launch = stand.launch().under(["unshare", "-Urm", "sh", "-c", &script]);
        stand.start_by(launch);
    } else {
        return;
    }
    let said = format!("{} is a separate mount: rotation by renaming is not visible here", inside.display());
    stand.daemon().wait_line(&said);
    log.write(10);
    stand.wait_delivered(&[&log]);
    let (source, text, code) = wait_state(&stand, "mount");
    assert_eq!((source["mount"].as_bool(), code), (Some(true), 0));
    assert!(text.contains("/app.log is a separate mount: rotation by renaming is not visible"), "{text}");
    // The rotation is not seen: what is written to the old file is read, nothing else.
    fs::rename(&outside, stand.log_path("outside.log.1")).unwrap();
    log.write(10);
    stand.wait_delivered(&[&log]);
    assert_eq!(stand.daemon().lines_with("is a separate mount").len(), 1, "{}", stand.daemon().stderr());
    if let Some(mounted) = mounted {
        drop(mounted);
        let (source, ..) = wait_state(&stand, "ok");
        assert_eq!(source["mount"], false);
    }
    stand.finish(&[&log]);
}
