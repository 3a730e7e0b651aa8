//! The tests' own promises: whatever becomes of a test, nothing that it started is left, and no directory; and whoever
//! starts the tests with signals ignored changes nothing. And no file of tests is forgotten.

use std::env;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use nix::sys::signal::{Signal, raise};

use standpipe_common::shown::Shown as _;
use standpipe_tests::deadline::until;
use standpipe_tests::directory::Scratch;
use standpipe_tests::programs::{self, Daemon, Process, command, holder};

/// Tells this test, started again, how its test is to end, and where to note what it started.
const END: &str = "STANDPIPE_TESTS_END";
const NOTES: &str = "STANDPIPE_TESTS_NOTES";

/// A shell with a child in its process group and one in a session of its own, which says so when all are there.
const FAMILY: &str = "sleep 1000 & own=$!; setsid sleep 1000 & echo $$ $own $! >\"$0\"; exec sleep 1000";

/// A holder, a family, and their process ids.
fn start(scratch: &Scratch) -> (Daemon, Process, Vec<u32>) {
    scratch.pipe("app");
    let holder = holder(scratch).start();
    let note = scratch.path().join("family");
    let family = Process::start(command("sh").args(["-c", FAMILY]).arg(&note).stdin(Stdio::null()));
    until("a family", || numbers(&note).len() == 3);
    let pids = [numbers(&note), vec![holder.pid()]].concat();
    (holder, family, pids)
}

fn numbers(file: &Path) -> Vec<u32> {
    let text = fs::read_to_string(file).unwrap_or_default();
    if text.ends_with('\n') { text.split_whitespace().map(|number| number.parse().unwrap()).collect() } else { vec![] }
}

/// A zombie counts as gone: who reaps it is not ours to say.
fn is_running(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
}

/// Whether a process ignores INT or QUIT.
fn is_deaf(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a living process");
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).expect("ignored signals").trim();
    let mask = [Signal::SIGINT, Signal::SIGQUIT].map(|signal| 1_u64 << (signal as i32 - 1));
    u64::from_str_radix(ignored, 16).expect("a mask") & (mask[0] | mask[1]) != 0
}

/// Not a test of its own: the one whose end is watched.
#[test]
fn body() {
    let (Some(end), Some(notes)) = (env::var_os(END), env::var_os(NOTES).map(PathBuf::from)) else { return };
    let scratch = Scratch::new();
    let (holder, _family, pids) = start(&scratch);
    assert!(is_deaf(std::process::id()), "this test is started as with `&` from a script");
    assert!(!is_deaf(holder.pid()) && !is_deaf(pids[0]), "what it starts hears");
    fs::write(notes.join("dir"), programs::dir().to_str().expect("a temporary directory")).unwrap();
    let pids: Vec<String> = pids.iter().map(u32::to_string).collect();
    fs::write(notes.join("pids"), pids.join(" ") + "\n").unwrap();
    match end.to_str() {
        Some("panic") => panic!("as it shall"),
        Some("abort") => std::process::abort(),
        _ => raise(Signal::SIGKILL).unwrap(),
    }
}

#[test]
fn nothing_is_left_of_a_test_however_it_ends() {
    for end in ["panic", "abort", "kill"] {
        let notes = Scratch::new();
        let mut test = command("sh");
        test.args(["-c", "trap '' INT QUIT; exec \"$0\" --exact harness::body"]).arg(env::current_exe().unwrap());
        test.env(END, end).env(NOTES, notes.path());
        let output = test.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let pids = numbers(&notes.path().join("pids"));
        assert!(!output.status.success() && pids.len() == 4, "{end}: {said}");
        let dir = PathBuf::from(fs::read_to_string(notes.path().join("dir")).unwrap());
        until(&format!("after {end} {pids:?} are gone"), || !pids.iter().any(|pid| is_running(*pid)));
        until(&format!("after {end} {} is gone", dir.display()), || !dir.exists());
    }
}

#[test]
fn a_panic_ends_at_once_what_the_test_started() {
    let mut pids = Vec::new();
    let scratch = Scratch::new();
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let (_holder, _family, started) = start(&scratch);
        pids = started;
        std::panic::resume_unwind(Box::new("as it shall"));
    }));
    assert!(panicked.is_err());
    let [shell, child, _elsewhere, holder] = pids[..] else { panic!("{pids:?}") };
    until("they are gone", || ![shell, child, holder].into_iter().any(is_running));
}

#[test]
fn each_file_beside_the_main_file_of_a_test_program_is_a_module_of_it() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let paths = |dir: &Path| fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    let packages: Vec<PathBuf> = paths(&workspace);
    let programs: Vec<PathBuf> =
        packages.iter().flat_map(|package| -> Vec<_> { paths(&package.join("tests")) }).collect();
    let mut modules = 0;
    for program in programs {
        let Ok(main) = fs::read_to_string(program.join("main.rs")) else { continue };
        let files: Vec<PathBuf> = paths(&program);
        for file in files {
            let name = file.file_stem().and_then(|name| name.to_str()).expect("a name in ASCII");
            let is_named = name == "main" || main.lines().any(|line| line == format!("mod {name};"));
            assert!(is_named, "{} is not run: `mod {name};` is not in its main.rs", file.shown());
            modules += 1;
        }
    }
    assert!(modules > 100, "{modules}");
}
