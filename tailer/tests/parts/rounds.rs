//! The whole tailer, one round at a time, by a clock that the test moves: what goes wrong between its parts only.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Parser;
use nix::libc;
use nix::sys::stat::Mode;
use standpipe_tailer::cli::Cli;
use standpipe_tailer::daemon::Tailer;
use standpipe_tailer::stage::Stage;
use tempfile::TempDir;

use standpipe_common::shown::Shown as _;

/// A second, ns.
const SECOND_NS: i64 = 1_000_000_000;

struct Stand {
    dir: TempDir,
    pipe: File,
    cli: Cli,
    now: Instant,
    now_ns: i64,
}

impl Stand {
    /// A pipe `T` without a staging pipe, which the test holds, and a configuration with these keys and files.
    fn new(keys: &str, files: &[&str]) -> Stand {
        let dir = tempfile::tempdir().unwrap();
        nix::unistd::mkfifo(&dir.path().join("T"), Mode::from_bits_retain(0o600)).unwrap();
        let mut options = OpenOptions::new();
        let pipe = options.read(true).write(true).custom_flags(libc::O_NONBLOCK).open(dir.path().join("T")).unwrap();
        let cli = Cli::parse_from(["tailer", "--config", dir.path().join("tailer.toml").to_str().unwrap()]);
        let stand = Stand { dir, pipe, cli, now: Instant::now(), now_ns: 1_800_000_000 * SECOND_NS };
        stand.configure(keys, files);
        stand
    }

    fn configure(&self, keys: &str, files: &[&str]) {
        let mut toml = format!("state_file = \"state.json\"\n{keys}\n");
        for file in files {
            let (file, pipe) = (self.path(file), self.path("T"));
            let (file, pipe) = (file.shown(), pipe.shown());
            writeln!(toml, "[[files]]\npath = '{file}'\npipe = '{pipe}'\nstart_at = 'beginning'").unwrap();
        }
        fs::write(self.path("tailer.toml"), toml).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn append(&self, name: &str, text: &str) {
        let mut file = OpenOptions::new().create(true).append(true).open(self.path(name)).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn start(&self) -> Tailer {
        Tailer::start(&self.cli, self.now).unwrap()
    }

    fn round(&mut self, tailer: &mut Tailer, passed: Duration) {
        self.now += passed;
        self.now_ns += passed.as_nanos() as i64;
        tailer.round(self.now, self.now_ns).unwrap();
    }

    /// Rounds until nothing can be read, a millisecond each.
    fn rest(&mut self, tailer: &mut Tailer) {
        for _ in 0..1000 {
            self.round(tailer, Duration::from_millis(1));
            if !tailer.is_behind() {
                return;
            }
        }
        panic!("there is always something to be read");
    }

    /// What came through the pipe, over so many seconds.
    fn drain(&mut self, tailer: &mut Tailer, seconds: u32) -> String {
        let mut text = String::new();
        for _ in 0..seconds * 10 {
            self.round(tailer, Duration::from_millis(100));
            let mut some = vec![0; 1 << 20];
            while let Ok(read @ 1..) = self.pipe.read(&mut some) {
                text.push_str(std::str::from_utf8(&some[..read]).unwrap());
                self.round(tailer, Duration::from_millis(1));
            }
        }
        text
    }
}

/// Lines of many lengths, so that what is left of a room hardly ever fits one.
fn uneven(name: &str, count: usize) -> String {
    (0..count).fold(String::new(), |text, n| text + &format!("{name} {n:06} {}\n", "x".repeat(n * 7919 % 97)))
}

#[test]
fn a_source_in_front_of_a_full_pipe_is_at_rest() {
    let mut stand = Stand::new("", &["a.log"]);
    stand.append("a.log", &uneven("a", 20_000));
    let mut tailer = stand.start();
    stand.rest(&mut tailer);
    let text = stand.drain(&mut tailer, 5);
    assert!(text == uneven("a", 20_000), "{} bytes", text.len());
}

#[test]
fn pipes_forget_generations_that_are_finished() {
    let mut stand = Stand::new("inotify = false", &["a.log"]);
    let mut tailer = stand.start();
    let mut text = String::new();
    for n in 0..200 {
        stand.append("a.log", &format!("line {n}\n"));
        text += &stand.drain(&mut tailer, 1);
        fs::rename(stand.path("a.log"), stand.path("a.log.1")).unwrap();
    }
    assert_eq!(text.lines().count(), 200);
    drop(tailer);
    let stage = Stage::open(&stand.path("T"), &stand.path("state.json"), "another boot", 0).unwrap();
    assert!(stage.positions().len() < 150, "{}", stage.positions().len());
}

#[test]
fn a_source_that_leaves_holds_up_nobody() {
    let mut stand = Stand::new("order = \"timestamp\"", &["a.log", "b.log"]);
    stand.append("a.log", &uneven("a", 60_000));
    stand.append("b.log", "");
    let mut tailer = stand.start();
    stand.rest(&mut tailer);
    stand.configure("order = \"timestamp\"", &["b.log"]);
    tailer.reread(&stand.cli, stand.now);
    stand.append("b.log", "b\n");
    let text = stand.drain(&mut tailer, 10);
    assert!(text.lines().any(|line| line == "b"), "{} bytes", text.len());
    let text: String = text.lines().filter(|line| *line != "b").fold(String::new(), |text, line| text + line + "\n");
    assert!(uneven("a", 60_000).starts_with(&text));
    // What is left of it is read when it is named again.
    stand.configure("order = \"timestamp\"", &["b.log", "a.log"]);
    tailer.reread(&stand.cli, stand.now);
    let text = text + &stand.drain(&mut tailer, 10);
    assert!(text == uneven("a", 60_000), "{} bytes", text.len());
}

#[test]
fn a_line_that_is_longer_than_the_room_of_each_of_many_sources_holds_up_nobody() {
    let names: Vec<String> = (0..200).map(|n| format!("{n}.log")).collect();
    let files: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut stand = Stand::new("order = \"timestamp\"", &files);
    for name in &names {
        stand.append(name, &format!("{name}\n"));
    }
    let long = "x".repeat(700_000);
    stand.append("7.log", &long);
    let mut tailer = stand.start();
    let mut text = stand.drain(&mut tailer, 3);
    stand.append("7.log", "\n");
    text += &stand.drain(&mut tailer, 20);
    assert!(text.contains(&long) && text.lines().count() == 201, "{} lines", text.lines().count());
}

#[test]
fn a_clock_that_is_set_back_holds_back_no_line() {
    let mut stand = Stand::new("order = \"timestamp\"", &["a.log", "b.log"]);
    stand.append("a.log", "one\n");
    stand.append("b.log", "");
    let mut tailer = stand.start();
    assert_eq!(stand.drain(&mut tailer, 1), "one\n");
    stand.now_ns -= 3600 * SECOND_NS;
    stand.append("a.log", "two\n");
    assert_eq!(stand.drain(&mut tailer, 2), "two\n");
}

#[test]
fn files_of_a_glob_that_come_and_go_leave_nothing_behind() {
    let mut stand = Stand::new("", &["*.log"]);
    let mut tailer = stand.start();
    let mut text = String::new();
    for n in 0..30 {
        stand.append(&format!("worker-{n}.log"), &format!("line {n}\n"));
        text += &stand.drain(&mut tailer, 1);
        fs::remove_file(stand.path(&format!("worker-{n}.log"))).unwrap();
    }
    // One that rotates and is gone for a while is remembered by what is left of it.
    stand.append("app.log", "one\n");
    text += &stand.drain(&mut tailer, 1);
    fs::rename(stand.path("app.log"), stand.path("app.log.1")).unwrap();
    text += &stand.drain(&mut tailer, 10);
    stand.append("app.log", "two\n");
    text += &stand.drain(&mut tailer, 5);
    let expected = (0..30).fold(String::new(), |text, n| text + &format!("line {n}\n"));
    assert_eq!(text, expected + "one\ntwo\n");
    let state = fs::read_to_string(stand.path("state.json")).unwrap();
    assert!(state.contains("app.log") && !state.contains("worker"), "{state}");
}

#[test]
fn a_checkpoint_does_not_count_what_a_killed_run_left_on_its_way() {
    let mut stand = Stand::new("", &["a.log"]);
    stand.append("a.log", &uneven("a", 3000));
    let mut tailer = stand.start();
    stand.rest(&mut tailer);
    // Killed: it writes no checkpoint.
    drop(tailer);
    let arrived = standpipe_common::sys::bytes_queued(&stand.pipe).unwrap() as u64;
    let all = uneven("a", 3000).len() as u64;
    assert!(arrived > 0 && arrived < all);
    let saved = |stand: &Stand| {
        let state: serde_json::Value = serde_json::from_slice(&fs::read(stand.path("state.json")).unwrap()).unwrap();
        let path = stand.path("a.log");
        state["files"][path.to_str().unwrap()]["offset"].as_u64().unwrap()
    };
    let mut tailer = stand.start();
    stand.rest(&mut tailer);
    tailer.keep_last(stand.now).unwrap();
    assert!(saved(&stand) <= arrived, "{} of {arrived}", saved(&stand));
    stand.drain(&mut tailer, 5);
    assert_eq!(saved(&stand), all);
}
