//! What happened to the files, and to the state, while the tailer was down: T6, T7, T11.

use std::fs;
use std::os::unix::fs::MetadataExt;

use standpipe_tests::deadline::until;
use standpipe_tests::directory::set_mode;
use standpipe_tests::privilege;
use standpipe_tests::privilege::{needs_root, needs_tool};
use standpipe_tests::programs::{Launch, command};
use standpipe_tests::stands::{Following, Tailing};
use standpipe_tests::world::{Log, Owner, copytruncate, length, line, numbered, owners, rename_and_create};

/// A tailer of `app.log`, of which the first 30 lines were delivered when it was killed, or stopped.
fn interrupted(owner: Owner, is_killed: bool) -> (Tailing, Log) {
    let (mut stand, mut log) = Following::to_stdout().owner(owner).start();
    log.write(30);
    stand.wait_delivered(&[&log]);
    if is_killed {
        // Standard output is at least once: what the state knows is not repeated.
        let size = fs::metadata(&log.path).unwrap().len();
        until("the checkpoint", || state(&stand).contains(&format!("\"offset\":{size},")));
        stand.kill9();
    } else {
        stand.stop();
    }
    (stand, log)
}

fn state(stand: &Tailing) -> String {
    fs::read_to_string(stand.work("state.json")).unwrap_or_default()
}

#[test]
fn t6_rotations_while_it_was_down_are_read_in_order_and_once() {
    for owner in owners() {
        for (rotations, is_killed) in [(0, true), (1, false), (3, true)] {
            let (mut stand, mut log) = interrupted(owner, is_killed);
            for _ in 0..rotations {
                log.write(20);
                drop(rename_and_create(&mut log));
            }
            log.write(20);
            stand.start();
            stand.finish(&[&log]);
        }
    }
}

#[test]
fn what_came_and_was_rotated_after_a_tailer_that_saw_nothing_is_read() {
    for owner in owners() {
        let mut stand = Tailing::to_stdout(owner);
        stand.configure("", &[("app.log", "start_at = \"end\"\n")]);
        stand.start();
        until("the checkpoint", || state(&stand).contains("app.log"));
        stand.kill9();
        let mut log = stand.log("app.log", 1);
        log.write(20);
        drop(rename_and_create(&mut log));
        log.write(20);
        stand.start();
        stand.finish(&[&log]);
    }
}

#[test]
fn t6_rotations_while_it_was_down_are_read_from_packed_files_too() {
    // F19
    needs_tool("gzip", || {
        let (mut stand, mut log) = interrupted(Owner::Tailer, false);
        for _ in 0..3 {
            log.write(20);
            drop(rename_and_create(&mut log));
        }
        log.write(20);
        for number in [2, 3] {
            assert!(command("gzip").arg(numbered(&log.path, number)).status().unwrap().success());
        }
        stand.start();
        stand.finish(&[&log]);
    });
}

#[test]
fn t6_a_copytruncate_while_it_was_down_gives_the_rest_of_the_copy_first() {
    // F23, F36
    for owner in owners() {
        let (mut stand, mut log) = interrupted(owner, false);
        log.write(40);
        copytruncate(&log);
        log.write(10);
        stand.start();
        stand.finish(&[&log]);
    }
}

#[test]
fn a_file_that_was_rotated_out_of_reach_while_it_was_down_is_told() {
    // F20
    let (mut stand, mut log) = interrupted(Owner::Tailer, false);
    log.write(40);
    drop(rename_and_create(&mut log));
    fs::remove_file(numbered(&log.path, 1)).unwrap();
    log.write(10);
    stand.start();
    stand.daemon().wait_line("app.log lost an unknown number of bytes: files rotated since the last run were");
    until("the last lines", || stand.tally(&[&log]).found == 40);
    stand.stop();
    let tally = stand.tally(&[&log]);
    assert_eq!((tally.found, tally.lost, tally.repeated, tally.torn), (40, 40, 0, 0));
}

#[test]
fn a_checkpoint_counts_more_than_where_to_start() {
    // F28
    let (mut stand, mut log) = interrupted(Owner::Tailer, false);
    stand.configure("", &[("app.log", "start_at = \"end\"\n")]);
    log.write(10);
    stand.start();
    stand.finish(&[&log]);
}

#[test]
fn t7_another_file_under_the_same_inode_number_is_read_from_its_beginning() {
    let (mut stand, log) = interrupted(Owner::Tailer, false);
    let number = fs::metadata(&log.path).unwrap().ino();
    let path = log.path.clone();
    drop(log);
    fs::remove_file(&path).unwrap();
    let mut others = Vec::new();
    let mut log = loop {
        let log = stand.log("app.log", 2);
        // Where inodes are not used again there is nothing to mistake.
        if fs::metadata(&path).unwrap().ino() == number || others.len() == 200 {
            break log;
        }
        let aside = stand.logs().join(format!("other-{}", others.len()));
        fs::rename(&path, &aside).unwrap();
        others.push(log);
    };
    log.write(60);
    stand.start();
    until("its lines", || stand.tally(&[&log]).found == 60);
    stand.stop();
    assert_eq!(stand.tally(&[&log]).repeated, 0);
}

/// Runs until it ends by itself, with what it said.
fn refused(stand: &Tailing) -> (i32, String) {
    let output = stand.launch().run();
    (output.code, output.stderr)
}

#[test]
fn t11_a_damaged_state_gives_way_to_the_one_before() {
    let (mut stand, mut log) = interrupted(Owner::Tailer, false);
    assert!(stand.work("state.json.1").exists());
    let whole = state(&stand);
    for damaged in ["", "{", &whole[..whole.len() / 2], &whole.replace("\"offset\":", "\"offset\":9")] {
        fs::write(stand.work("state.json"), damaged).unwrap();
        stand.start();
        log.write(5);
        stand.wait_delivered(&[&log]);
        let said = stand.stop();
        assert!(said.contains("state.json"), "it is told: {said}");
    }
    stand.start();
    // What was delivered since the one before was written is repeated; standard output is at least once.
    log.write(1);
    let last = line(1, log.written().1 - 1, length(1, log.written().1 - 1));
    until("the last line", || stand.delivered().ends_with(&last));
    stand.stop();
    let tally = stand.tally(&[&log]);
    assert_eq!((tally.lost, tally.torn, tally.foreign), (0, 0, 0), "{tally:?}");
}

#[test]
fn t11_where_both_states_are_damaged_the_policy_decides() {
    for (policy, expected) in [("", None), ("beginning", Some(70)), ("end", Some(40))] {
        let (mut stand, mut log) = interrupted(Owner::Tailer, false);
        fs::write(stand.work("state.json"), "nonsense").unwrap();
        fs::write(stand.work("state.json.1"), "nonsense").unwrap();
        let keys = if policy.is_empty() { String::new() } else { format!("on_corrupt = {policy:?}\n") };
        stand.configure(&keys, &[("app.log", "")]);
        let Some(expected) = expected else {
            let (code, said) = refused(&stand);
            assert_eq!(code, 3, "{said}");
            assert!(said.contains("state.json") && said.contains("on_corrupt"), "{said}");
            continue;
        };
        stand.start();
        log.write(10);
        until("the lines", || stand.lines_delivered() == expected);
        stand.stop();
    }
}

#[test]
fn t11_a_state_of_a_newer_version_is_left_as_it_is() {
    let (stand, _log) = interrupted(Owner::Tailer, false);
    let newer = "{\"version\":99,\"files\":{}}\n";
    fs::write(stand.work("state.json"), newer).unwrap();
    let (code, said) = refused(&stand);
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("state.json") && said.contains("99"), "{said}");
    assert_eq!(state(&stand), newer);
}

#[test]
fn t11_a_second_tailer_with_the_same_state_is_refused_and_the_first_goes_on() {
    let (mut stand, mut log) = interrupted(Owner::Tailer, false);
    stand.start();
    let (code, said) = refused(&stand);
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("another tailer is using it"), "{said}");
    log.write(10);
    stand.finish(&[&log]);
}

#[test]
fn t11_a_state_that_cannot_be_written_any_more_stops_no_line() {
    needs_root(|| {
        let (mut stand, mut log) = interrupted(Owner::Tailer, false);
        stand.start();
        set_mode(stand.work("").as_path(), 0o555);
        log.write(10);
        drop(rename_and_create(&mut log));
        log.write(10);
        stand.wait_delivered(&[&log]);
        stand.daemon().wait_line("a crash repeats lines delivered from now on");
        set_mode(stand.work("").as_path(), 0o755);
        stand.finish(&[&log]);
        assert_eq!(stand.daemon().lines_with("a crash repeats lines").len(), 1);
    });
}

#[test]
fn t11_a_state_that_cannot_be_made_is_an_error_before_anything_is_read() {
    let stand = Tailing::to_stdout(Owner::Tailer);
    let mut log = stand.log("app.log", 1);
    log.write(3);
    for state in ["/proc/state.json", "/nowhere/state.json"] {
        let launch = Launch::new("tailer").arg(&log.path).args(["--state", state, "--follow-from-start"]);
        let output = launch.run();
        assert_eq!((output.code, output.stdout.len()), (3, 0), "{}", output.stderr);
        assert!(
            output.stderr.starts_with("tailer: error: cannot ") && output.stderr.contains(state),
            "{}",
            output.stderr
        );
    }
}

#[test]
fn a_state_in_the_plain_form_is_taken_up() {
    let (mut stand, mut log) = Following::to_stdout().prepare();
    log.write(20);
    let metadata = fs::metadata(&log.path).unwrap();
    let plain = format!(
        "{{\"version\":1,\"files\":{{{:?}:{{\"dev\":{},\"ino\":{},\"offset\":{},\"last_line_hash\":\"abc\"}}}}}}",
        log.path,
        metadata.dev(),
        metadata.ino(),
        metadata.len()
    );
    fs::write(stand.work("state.json"), plain).unwrap();
    privilege::give(&stand.work("state.json"));
    log.write(10);
    stand.start();
    until("10 lines", || stand.tally(&[&log]).found == 10);
    stand.stop();
    let tally = stand.tally(&[&log]);
    assert_eq!((tally.found, tally.lost), (10, 20), "{tally:?}");
}
