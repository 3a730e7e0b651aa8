//! Saves that are killed, or fail, at each of their steps: in a process of their own, which is this test binary again.

use std::env;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use standpipe_tests::process::command;

use super::*;

/// Not a test by itself: the process that [`run_child`] starts. It saves generations 3 to 6, the 4th and 6th durably,
/// tries a save that failed once more, and prints each that succeeded.
#[test]
fn child() {
    let Some(path) = env::var_os("STANDPIPE_TEST_STATE") else { return };
    let mut checkpoint = Checkpoint::open(Path::new(&path), OnCorrupt::End).unwrap().checkpoint;
    for offset in 3..7 {
        for _ in 0..2 {
            match checkpoint.save(&states(offset), offset % 2 == 0) {
                Ok(()) => {
                    println!("\nsaved {offset}");
                    break;
                }
                Err(error) => println!("\nfailed: {error}"),
            }
        }
    }
}

/// Runs [`child`] with this fault; how it ended, the last generation that it saved, and what it said.
fn run_child(stand: &Stand, fault: &str) -> (ExitStatus, Option<u64>, String) {
    let (faults, trace) = (stand.path("faults"), stand.path("trace"));
    fs::write(&faults, fault).unwrap();
    let output = command(env::current_exe().unwrap())
        .args(["--exact", "checkpoint::tests::kills::child", "--nocapture", "--test-threads=1"])
        .env("STANDPIPE_TEST_STATE", stand.state())
        .env("STANDPIPE_TEST_FAULTS", faults)
        .env("STANDPIPE_TEST_TRACE", trace)
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let last = said.lines().filter_map(|line| line.strip_prefix("saved ")?.parse().ok()).next_back();
    (output.status, last, said)
}

/// The states from which the scenarios below start, and the offset that they lead to.
fn beginnings() -> [(&'static str, Stand, u64); 3] {
    let damaged = Stand::with_two();
    fs::write(damaged.state(), "{").unwrap();
    let lost = Stand::with_two();
    fs::write(lost.state(), "{").unwrap();
    fs::remove_file(lost.path("state.json.1")).unwrap();
    [("whole", Stand::with_two(), 2), ("damaged", damaged, 1), ("both lost", lost, 0)]
}

/// How many points the child passes when nothing fails.
fn passes(place: usize) -> usize {
    let (_, stand, _) = &beginnings()[place];
    let (status, last, said) = run_child(stand, "");
    assert!(status.success() && last == Some(6), "{said}");
    fs::read_to_string(stand.path("trace")).unwrap().lines().count()
}

/// From a killed run: never less than was saved, never what was not, and damage only where there was nothing else.
fn assert_resumes(stand: &Stand, last: Option<u64>, begun: u64, what: &str) {
    match stand.open_with(OnCorrupt::End).unwrap().start {
        Start::Known(found) => {
            let saved = last.unwrap_or(begun);
            let is_one = found == states(saved) || found == states(last.map_or(3, |last| last + 1));
            assert!(is_one, "{what}: {found:?} after {saved}");
        }
        Start::End => assert!(begun == 0 && last.is_none(), "{what}: all is gone after {last:?}"),
        start => panic!("{what}: {start:?} after {last:?}"),
    }
}

#[test]
fn killed_at_any_point_the_last_generation_or_the_next_is_there() {
    if !cfg!(debug_assertions) {
        return;
    }
    for place in 0..3 {
        for pass in 1..=passes(place) {
            // Half of what is a write.
            for action in ["kill", "half"] {
                let (name, stand, begun) = beginnings().into_iter().nth(place).unwrap();
                let (status, last, said) = run_child(&stand, &format!("{action} * {pass}"));
                let what = format!("{name}, {action} at {pass}");
                assert!(status.signal() == Some(9) || action == "half", "{what}: {said}");
                assert_resumes(&stand, last, begun, &what);
            }
        }
    }
}

#[test]
fn a_step_that_fails_leaves_what_was_there_and_the_next_save_mends_it() {
    if !cfg!(debug_assertions) {
        return;
    }
    for place in 0..3 {
        for pass in 1..=passes(place) {
            for errno in ["ENOSPC", "EOPNOTSUPP"] {
                let (name, stand, _) = beginnings().into_iter().nth(place).unwrap();
                let (status, last, said) = run_child(&stand, &format!("{errno} * {pass}"));
                let what = format!("{name}, {errno} at {pass}");
                assert!(status.success() && last == Some(6), "{what}: {said}");
                assert_eq!(stand.content("state.json"), Some(states(6)), "{what}");
                let previous =
                    stand.content("state.json.1").unwrap_or_else(|| panic!("{what}: no previous generation"));
                assert!(previous == states(4) || previous == states(5), "{what}: {previous:?}");
                assert!(!stand.names().contains("state.json.new"), "{what}");
            }
        }
    }
}

#[test]
fn a_failing_disk_leaves_the_state_as_it_was() {
    if !cfg!(debug_assertions) {
        return;
    }
    // The step that fails from its second time on, and the last save that succeeds before and after it.
    for (point, expected) in [("state-write", 3), ("state-sync", 5), ("state-rename", 3), ("state-keep", 4)] {
        let stand = Stand::with_two();
        let (status, last, said) = run_child(&stand, &format!("ENOSPC {point} 2 1000"));
        assert!(status.success() && last == Some(expected), "{point}: {said}");
        assert!(said.contains("No space left on device"), "{said}");
        let names = stand.names();
        assert!(["state.json.new", "state.json.1.new"].iter().all(|name| !names.contains(*name)), "{point}: {names:?}");
        let opened = stand.open();
        assert_eq!((opened.start, opened.findings), (Start::Known(states(expected)), Vec::new()), "{point}");
    }
}

#[test]
fn where_there_are_no_links_the_previous_generation_is_a_copy() {
    if !cfg!(debug_assertions) {
        return;
    }
    let stand = Stand::with_two();
    let (status, last, said) = run_child(&stand, "EOPNOTSUPP state-link 1 1000");
    assert!(status.success() && last == Some(6) && !said.contains("failed:"), "{said}");
    assert_eq!(stand.content("state.json.1"), Some(states(4)));
}

/// What only power loss would show: each step, in its order.
#[test]
fn a_durable_save_syncs_file_and_names_and_any_other_nothing() {
    if !cfg!(debug_assertions) {
        return;
    }
    let stand = Stand::with_two();
    let (_, last, said) = run_child(&stand, "");
    assert_eq!(last, Some(6), "{said}");
    let trace = fs::read_to_string(stand.path("trace")).unwrap();
    let opens = ["state-read", "state-sync", "state-sync-dir"];
    let after_durable = ["state-write", "state-link", "state-keep", "state-rename"];
    let durable = ["state-write", "state-sync", "state-rename", "state-sync-dir"];
    let expected = [&opens[..], &after_durable, &durable, &after_durable, &durable].concat();
    assert_eq!(trace.lines().collect::<Vec<_>>(), expected);
}
