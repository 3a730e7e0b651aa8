//! Saves that are killed, or fail, at each of their steps: in a process of their own, which is this test binary again.

use std::env;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use standpipe_tests::programs::command;

use super::journal::sorted;
use super::*;

/// How much is saved.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Size {
    /// So little that it is written anew each time.
    Few,
    /// So much that there is a journal.
    Many,
}

impl Size {
    /// Generation N. From the 7th on everything of many differs, so that no journal could hold it.
    fn states(self, offset: u64) -> Vec<SourceState> {
        match self {
            Size::Few => states(offset),
            Size::Many => {
                let mut all = journal::many(offset);
                for state in &mut all {
                    state.since_ns += (offset / 7) as i64;
                }
                all
            }
        }
    }

    /// The last one that is saved.
    fn last(self) -> u64 {
        match self {
            Size::Few => 6,
            Size::Many => 10,
        }
    }
}

/// Not a test by itself: the process that [`run_child`] starts. It saves generations 3 to the last, every second durably,
/// tries a save that failed once more, and prints each that succeeded. The last one of many is that of an orderly end.
#[test]
fn child() {
    let Some(path) = env::var_os("STANDPIPE_TEST_STATE") else { return };
    let size = if env::var_os("STANDPIPE_TEST_MANY").is_some() { Size::Many } else { Size::Few };
    let mut checkpoint = Checkpoint::open(Path::new(&path), OnCorrupt::End).unwrap().checkpoint;
    for offset in 3..=size.last() {
        for _ in 0..2 {
            if offset == 10 {
                checkpoint.write_all_next();
            }
            match checkpoint.put(&size.states(offset), offset % 2 == 0) {
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
fn run_child(stand: &Stand, size: Size, fault: &str) -> (ExitStatus, Option<u64>, String) {
    let (faults, trace) = (stand.path("faults"), stand.path("trace"));
    fs::write(&faults, fault).unwrap();
    let mut command = command(env::current_exe().unwrap());
    if size == Size::Many {
        command.env("STANDPIPE_TEST_MANY", "1");
    }
    let output = command
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

/// How many scenarios there are.
const BEGINNINGS: usize = 4;

/// The state from which one of the scenarios below starts, and the offset that it leads to.
fn beginning(place: usize) -> (&'static str, Stand, Size, u64) {
    if place == 3 {
        return ("many", Stand::with_many(2), Size::Many, 2);
    }
    let stand = Stand::with_two();
    if place > 0 {
        fs::write(stand.state(), "{").unwrap();
    }
    match place {
        0 => ("whole", stand, Size::Few, 2),
        1 => ("damaged", stand, Size::Few, 1),
        _ => {
            fs::remove_file(stand.path("state.json.1")).unwrap();
            ("both lost", stand, Size::Few, 0)
        }
    }
}

/// How many points the child passes when nothing fails.
fn passes(place: usize) -> usize {
    let (_, stand, size, _) = beginning(place);
    let (status, last, said) = run_child(&stand, size, "");
    assert!(status.success() && last == Some(size.last()), "{said}");
    fs::read_to_string(stand.path("trace")).unwrap().lines().count()
}

/// From a killed run: never less than was saved, never what was not, and damage only where there was nothing else.
fn assert_resumes(stand: &Stand, size: Size, last: Option<u64>, begun: u64, what: &str) {
    match stand.open_with(OnCorrupt::End).unwrap().start {
        Start::Known(found) => {
            let saved = last.unwrap_or(begun);
            let is_of = |offset| found == sorted(size.states(offset));
            assert!(is_of(saved) || is_of(last.map_or(3, |last| last + 1)), "{what}: after {saved}");
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
    for place in 0..BEGINNINGS {
        for pass in 1..=passes(place) {
            // Half of what is a write.
            for action in ["kill", "half"] {
                let (name, stand, size, begun) = beginning(place);
                let (status, last, said) = run_child(&stand, size, &format!("{action} * {pass}"));
                let what = format!("{name}, {action} at {pass}");
                assert!(status.signal() == Some(9) || action == "half", "{what}: {said}");
                assert_resumes(&stand, size, last, begun, &what);
            }
        }
    }
}

#[test]
fn a_step_that_fails_leaves_what_was_there_and_the_next_save_mends_it() {
    if !cfg!(debug_assertions) {
        return;
    }
    for place in 0..BEGINNINGS {
        for pass in 1..=passes(place) {
            for errno in ["ENOSPC", "EOPNOTSUPP"] {
                let (name, stand, size, _) = beginning(place);
                let (status, last, said) = run_child(&stand, size, &format!("{errno} * {pass}"));
                let what = format!("{name}, {errno} at {pass}");
                assert!(status.success() && last == Some(size.last()), "{what}: {said}");
                // As after any orderly end: one file says all.
                assert!(stand.content("state.json") == Some(sorted(size.states(size.last()))), "{what}");
                assert!(!stand.names().contains("state.json.changes"), "{what}");
                let previous =
                    stand.content("state.json.1").unwrap_or_else(|| panic!("{what}: no previous generation"));
                let is_of = |offset| previous == sorted(size.states(offset));
                let possible = if size == Size::Few { 4..=5 } else { 6..=10 };
                assert!(possible.into_iter().any(is_of), "{what}");
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
        let (status, last, said) = run_child(&stand, Size::Few, &format!("ENOSPC {point} 2 1000"));
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
    let (status, last, said) = run_child(&stand, Size::Few, "EOPNOTSUPP state-link 1 1000");
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
    let (_, last, said) = run_child(&stand, Size::Few, "");
    assert_eq!(last, Some(6), "{said}");
    let trace = fs::read_to_string(stand.path("trace")).unwrap();
    let opens = ["state-read", "state-sync", "state-sync-dir"];
    let after_durable = ["state-write", "state-link", "state-keep", "state-rename"];
    let durable = ["state-write", "state-sync", "state-rename", "state-sync-dir"];
    let expected = [&opens[..], &after_durable, &durable, &after_durable, &durable].concat();
    assert_eq!(trace.lines().collect::<Vec<_>>(), expected);
}

/// The same of many: what is synced, and in which order a state that is written anew takes the place of its journal.
#[test]
fn a_durable_line_is_synced_and_a_journal_goes_when_its_base_is_replaced_for_certain() {
    if !cfg!(debug_assertions) {
        return;
    }
    let stand = Stand::with_many(2);
    let (_, last, said) = run_child(&stand, Size::Many, "");
    assert_eq!(last, Some(10), "{said}");
    let trace = fs::read_to_string(stand.path("trace")).unwrap();
    let opens = ["state-read", "changes-read", "state-sync", "state-sync-dir"];
    let (line, synced) = (["changes-open", "changes-write"], "changes-sync");
    let anew = ["state-write", "state-sync", "state-link", "state-keep"];
    let first_of_all = "state-sync-dir";
    let in_its_place = ["state-rename", "state-sync-dir", "changes-remove", "state-sync-dir"];
    let of_line = |is_durable: bool| line.into_iter().chain(is_durable.then_some(synced));
    let mut expected = opens.to_vec();
    // The 3rd takes the place of what the run before left, the 7th of what became too long, the 10th is the end.
    expected.extend(anew.into_iter().chain([first_of_all]).chain(in_its_place));
    expected.extend(of_line(true).chain(["state-sync-dir"]).chain(of_line(false)).chain(of_line(true)));
    expected.extend(anew.into_iter().chain(in_its_place));
    expected.extend(of_line(true).chain(["state-sync-dir"]).chain(of_line(false)));
    expected.extend(anew.into_iter().chain(in_its_place));
    assert_eq!(trace.lines().collect::<Vec<_>>(), expected);
}
