//! Spools beside others: their limit, their priority, and what can be seen of them from outside.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::time::{Duration, Instant};

use serde_json::Value;
use standpipe_tests::deadline::{CONDITION_SPAN, until, within};
use standpipe_tests::privilege;
use standpipe_tests::programs::Launch;
use standpipe_tests::stands::Spooling;
use standpipe_tests::world::Owner;

const MARKERS: &str = "done = \"done\"\n";
const BEGAN: &str = "spool is held back by its rate_limit";
const ENDED: &str = "spool is no longer held back";

/// So many complete files of so many bytes each.
fn fill(stand: &Spooling, files: usize, bytes: usize) -> usize {
    let mut all = 0;
    for number in 0..files {
        let name = format!("job.{number:05}");
        let line = format!("{name} {}\n", "x".repeat(90));
        let content = line.repeat(bytes / line.len());
        all += content.len();
        stand.put(&name, content.as_bytes());
        stand.mark(&name);
    }
    all
}

fn status(stand: &Spooling) -> (i32, Value) {
    let toml = stand.scratch.path().join("tailer/tailer.toml");
    let output = Launch::new("tailer").arg("status").arg("--config").arg(toml).arg("--json").run();
    let object = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", output.stderr));
    (output.code, object)
}

/// The spool among the sources.
fn shown(stand: &Spooling) -> Value {
    let object = status(stand).1;
    let sources = object["sources"].as_array().unwrap();
    sources.iter().find(|source| source["kind"] == "spool").unwrap_or(&Value::Null).clone()
}

fn log(stand: &Spooling) -> (String, std::path::PathBuf) {
    let path = stand.scratch.path().join("run/app.log");
    (format!("[[files]]\npath = \"{}\"\nstart_at = \"beginning\"\n", path.display()), path)
}

#[test]
fn a_backlog_of_files_takes_as_long_as_the_limit_says_and_is_told_as_it_begins_and_ends() {
    let mut stand = Spooling::new(Owner::Tailer);
    stand.configure(&format!("{MARKERS}rate_limit = \"100000 bytes/s, burst 10000 bytes\"\n"), "");
    let bytes = fill(&stand, 100, 3000);
    let start = Instant::now();
    stand.start();
    until("all of it", || stand.drain.bytes().len() == bytes);
    let took = start.elapsed();
    assert!((Duration::from_millis(2500)..Duration::from_secs(15)).contains(&took), "{took:?}");
    stand.daemon().wait_line(ENDED);
    until("all is removed", || stand.left().0.is_empty());
    // Below the limit nothing waits, and nothing is told.
    stand.put("one", b"one\n");
    stand.mark("one");
    until("one more", || stand.left().0.is_empty());
    assert_eq!(stand.daemon().lines_with(BEGAN).len(), 1, "{}", stand.daemon().stderr());
    assert_eq!(stand.daemon().lines_with(ENDED).len(), 1, "{}", stand.daemon().stderr());
}

#[test]
fn one_large_file_is_paced_as_well_but_nobody_waits_for_its_limit() {
    let mut stand = Spooling::new(Owner::Tailer);
    let (follow, path) = log(&stand);
    stand.configure(&format!("{MARKERS}rate_limit = \"500000 bytes/s\"\n"), &follow);
    let large: Vec<u8> =
        (0..40_000).flat_map(|number| format!("large {number:08} {}\n", "y".repeat(80)).into_bytes()).collect();
    stand.put("large", &large);
    stand.mark("large");
    stand.start();
    stand.daemon().wait_line(BEGAN);
    let before = stand.drain.bytes().len();
    assert!(before < large.len() * 7 / 8, "it was not limited");
    let mut app = OpenOptions::new().create(true).append(true).open(&path).unwrap();
    app.write_all(b"app\n").unwrap();
    let came = within(Duration::from_secs(2), || stand.drain.bytes().len() == large.len() + 4);
    assert!(came, "the live line waits: {}", stand.daemon().stderr());
    let got = stand.drain.bytes();
    assert!(got.starts_with(&large) && got.ends_with(b"app\n"), "the file is not in one piece");
    // It is paid back: what comes next has to wait.
    stand.put("next", b"next\n");
    stand.mark("next");
    assert!(!within(Duration::from_millis(500), || stand.left().0.is_empty()));
    app.write_all(b"app\n").unwrap();
    until("the live line", || stand.drain.bytes().len() == large.len() + 8);
}

#[test]
fn a_kill_amid_a_limited_backlog_loses_and_repeats_nothing() {
    let mut stand = Spooling::new(Owner::Tailer);
    stand.configure(&format!("{MARKERS}rate_limit = \"300 lines/s, burst 30 lines\"\n"), "");
    let bytes = fill(&stand, 200, 400);
    for _ in 0..4 {
        let before = stand.drain.bytes().len();
        stand.start();
        until("some of it", || stand.drain.bytes().len() > before);
        stand.daemon().kill9();
    }
    assert!(stand.drain.bytes().len() < bytes, "it was not limited");
    stand.start();
    until("all of it", || stand.drain.bytes().len() >= bytes);
    until("all is removed", || stand.left().0.is_empty());
    let got = String::from_utf8(stand.drain.bytes()).unwrap();
    let mut names: Vec<_> = got.lines().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!((got.len(), names.is_sorted()), (bytes, true));
    names.dedup();
    assert_eq!(names.len(), 200);
}

/// How much of the first 5 MB is of the spool, and the line of the live file in them.
fn shares(spool: i32, file: i32) -> (usize, usize) {
    let mut stand = Spooling::new(Owner::Tailer);
    let (follow, path) = log(&stand);
    stand.configure(&format!("{MARKERS}priority = {spool}\n"), &format!("{follow}priority = {file}\n"));
    let line = format!("app {}\n", "z".repeat(95));
    fs::write(&path, line.repeat(100_000)).unwrap();
    fill(&stand, 1500, 4000);
    stand.drain.set_draining(false);
    stand.start();
    until("both wait", || {
        let object = status(&stand).1;
        let sources = object["sources"].as_array().unwrap();
        sources.len() == 2 && sources.iter().all(|source| source["blocked_since"].is_object())
    });
    stand.drain.set_draining(true);
    until("5 MB", || stand.drain.bytes().len() > 5 << 20);
    let got = stand.drain.bytes();
    let got = String::from_utf8_lossy(&got[..5 << 20]);
    let of_spool = got.lines().filter(|line| line.starts_with("job")).map(str::len).sum();
    let of_file = got.lines().filter(|line| line.starts_with("app")).map(str::len).sum();
    (of_spool, of_file)
}

#[test]
fn a_spool_and_a_file_share_a_full_pipe_by_priority_and_neither_starves() {
    let (spool, file) = shares(0, 0);
    assert!(spool * 3 > file && file * 3 > spool, "{spool} {file}");
    let (spool, file) = shares(1, 0);
    assert!(spool > file * 4 && file > 30_000, "{spool} {file}");
    let (spool, file) = shares(0, 1);
    assert!(file > spool * 4 && spool > 30_000, "{spool} {file}");
}

#[test]
fn a_spool_is_shown_with_what_waits_in_it_and_since_when_it_is_blocked() {
    let mut stand = Spooling::new(Owner::Tailer);
    stand.configure(&format!("{MARKERS}max_age = \"1s\"\n"), "");
    stand.mark("orphan");
    stand.start();
    until("it is shown", || shown(&stand)["state"] == "ok");
    until("the old marker", || shown(&stand)["old_markers_removed"] == 1);
    let spool = shown(&stand);
    assert_eq!(spool["path"], stand.scratch.path().join("spool").to_str().unwrap());
    assert_eq!(spool["waiting"], serde_json::json!({ "files": 0, "bytes": 0 }));
    assert!(spool["blocked_since"].is_null() && status(&stand).0 == 0, "{spool}");

    stand.drain.set_draining(false);
    let bytes = fill(&stand, 1000, 4000);
    until("it is blocked", || shown(&stand)["blocked_since"].is_object());
    until("most wait", || shown(&stand)["waiting"]["bytes"].as_u64() > Some(bytes as u64 / 3));
    let waiting = shown(&stand)["waiting"].clone();
    let (files, waits) = (waiting["files"].as_u64().unwrap(), waiting["bytes"].as_u64().unwrap() as usize);
    assert!((300..=1000).contains(&files) && waits <= bytes, "{waiting}");
    until("it is behind for long", || status(&stand).0 == 1);
    let toml = stand.scratch.path().join("tailer/tailer.toml");
    let output = Launch::new("tailer").arg("status").arg("--config").arg(toml).run();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("/spool is behind for") && text.contains(" files, "), "{text}");

    stand.drain.set_draining(true);
    until("all is removed", || stand.left().0.is_empty());
    until("nothing waits", || shown(&stand)["waiting"]["files"] == 0 && shown(&stand)["blocked_since"].is_null());
    assert!(shown(&stand)["delivered_bytes"] == bytes && status(&stand).0 == 0, "{}", shown(&stand));
    fs::rename(stand.scratch.path().join("spool"), stand.scratch.path().join("elsewhere")).unwrap();
    until("it is unreadable", || shown(&stand)["state"] == "unreadable");
    assert_eq!(status(&stand).0, 1);
}

#[test]
fn a_spool_gets_descriptors_although_idle_files_have_all() {
    privilege::needs_root(|| {
        let mut stand = Spooling::new(Owner::Tailer);
        let dir = stand.scratch.path().join("run/many");
        fs::create_dir(&dir).unwrap();
        for number in 0..200 {
            fs::write(dir.join(format!("{number}.log")), "line\n").unwrap();
        }
        let follow = format!("[[files]]\npath = \"{}/*.log\"\nstart_at = \"beginning\"\n", dir.display());
        stand.configure(MARKERS, &follow);
        let bytes = fill(&stand, 50, 300);
        let daemon = stand.launch().prelude("ulimit -n 64").start();
        stand.daemon = Some(daemon);
        until("all of it", || stand.drain.bytes().len() == bytes + 200 * "line\n".len());
        until("all is removed", || stand.left().0.is_empty());
    });
}

#[test]
fn two_spools_share_a_full_pipe() {
    let mut stand = Spooling::new(Owner::Tailer);
    let other = stand.scratch.path().join("other");
    fs::create_dir_all(other.join("done")).unwrap();
    for path in [&other, &other.join("done")] {
        privilege::give(path);
    }
    for number in 0..1000 {
        // Ours, so that a lease tells at once that they are complete.
        let file = other.join(format!("{number}"));
        fs::write(&file, format!("other {}\n", "w".repeat(3990))).unwrap();
        privilege::give(&file);
        fs::write(other.join(format!("done/{number}")), "").unwrap();
    }
    fill(&stand, 1000, 4000);
    stand.configure(MARKERS, &format!("[[spool]]\ndir = \"{}\"\n{MARKERS}", other.display()));
    stand.drain.set_draining(false);
    stand.start();
    until("both wait", || {
        let object = status(&stand).1;
        let sources = object["sources"].as_array().unwrap();
        sources.len() == 2 && sources.iter().all(|source| source["waiting"]["files"].as_u64() > Some(0))
    });
    stand.drain.set_draining(true);
    until("3 MB", || stand.drain.bytes().len() > 3 << 20);
    let left = |stand: &Spooling| (stand.left().0.len(), fs::read_dir(&other).unwrap().count());
    let is_done = within(CONDITION_SPAN, || left(&stand) == (0, 1));
    assert!(is_done, "{:?} {}\n{}", left(&stand), status(&stand).1, stand.daemon().stderr());
    let got = stand.drain.bytes();
    let got = String::from_utf8_lossy(&got[..3 << 20]);
    let of_other = got.lines().filter(|line| line.starts_with("other")).map(str::len).sum::<usize>();
    assert!((1 << 19..5 << 19).contains(&of_other), "{of_other} of 3 MB");
}

#[test]
fn a_hup_lifts_a_limit() {
    let mut stand = Spooling::new(Owner::Tailer);
    stand.configure(&format!("{MARKERS}rate_limit = \"1 line/s\"\n"), "");
    let bytes = fill(&stand, 1000, 400);
    stand.start();
    until("the first line", || !stand.drain.bytes().is_empty());
    stand.configure(MARKERS, "");
    stand.daemon().hang_up("watching");
    until("all of it", || stand.drain.bytes().len() == bytes);
    until("all is removed", || stand.left().0.is_empty());
}
