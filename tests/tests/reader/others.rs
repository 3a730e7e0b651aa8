//! Directories that other loggers used, and names of ours that somebody else took: nothing of theirs is renamed over,
//! removed or rewritten, and the sentence says what to do.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{lchown, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Stdio};

use standpipe_tests::deadline::until;
use standpipe_tests::directory::{KEEP_ALL, files_of};
use standpipe_tests::privilege::{NOBODY, give, is_root, needs_tool, ordinary_user};
use standpipe_tests::programs::{self, Output, Process, query, reader_stdin};
use standpipe_tests::stands::Bench;
use standpipe_tests::world::{hold, put, queued, stream_of};

const LOGGERS: [&str; 3] = ["svlogd", "s6-log", "multilog"];
const PRECIOUS: &[u8] = b"precious\n";

/// Another logger at work in a directory.
struct Logger {
    process: Process,
    input: ChildStdin,
}

impl Logger {
    /// Starts it and waits until it has written a line.
    fn start(tool: &str, dir: &Path) -> Logger {
        let mut command = programs::command(tool);
        command.arg(dir).stdin(Stdio::piped()).stderr(Stdio::null());
        if let Some(id) = ordinary_user() {
            command.uid(id).gid(id);
        }
        let mut process = Process::start(&mut command);
        let mut input = process.stdin.take().expect("a pipe");
        input.write_all(b"theirs\n").expect("it reads");
        until("it has written", || fs::read(dir.join("current")).is_ok_and(|text| text.ends_with(b"theirs\n")));
        Logger { process, input }
    }

    fn stop(mut self) {
        drop(self.input);
        self.process.wait().expect("our own child");
    }
}

fn read_stdin(log: &Path) -> Output {
    let (input, mut writer) = std::io::pipe().expect("a pipe");
    writer.write_all(b"ours\n").expect("room in the pipe");
    drop(writer);
    reader_stdin(log).stdin(input).run()
}

/// Runs the command that a sentence offers behind these words.
fn run_offered(sentence: &str, before: &str) {
    let command = sentence.lines().next().and_then(|line| line.split_once(before)).expect("a command").1;
    let command = command.split("; ").next().expect("a command");
    let mut shell = programs::command("sh");
    if let Some(id) = ordinary_user() {
        shell.uid(id).gid(id);
    }
    let done = shell.arg("-c").arg(command).current_dir("/").status().expect("a shell");
    assert!(done.success(), "{command}");
}

fn content_of(dir: &Path, name: &str) -> Option<Vec<u8>> {
    fs::read(dir.join(name)).ok()
}

#[test]
fn the_newest_lines_of_another_logger_are_kept_and_it_can_be_replaced() {
    for tool in LOGGERS {
        needs_tool(tool, || {
            let bench = Bench::new();
            let log = bench.scratch.make_dir("logs/it's app");
            let logger = Logger::start(tool, &log);
            let output = read_stdin(&log);
            let expected = "another logger is running there and has locked lock; stop that logger first";
            assert!(output.code == 3 && output.stderr.contains(expected), "{tool}: {}", output.stderr);
            assert_eq!(files_of(&log, |name| name.starts_with('.')), [] as [PathBuf; 0], "{tool}");
            logger.stop();
            let theirs = content_of(&log, "current").expect("their newest lines");
            let before = files_of(&log, |_| true);
            let output = read_stdin(&log);
            let expected = "current in it is a regular file, not one of our links; move it aside to keep it: mv ";
            assert!(output.code == 3 && output.stderr.contains(expected), "{tool}: {}", output.stderr);
            assert_eq!(files_of(&log, |_| true), before, "{tool}: nothing was put there");
            run_offered(&output.stderr, "move it aside to keep it: ");
            let output = read_stdin(&log);
            assert_eq!((output.code, content_of(&log, "current.old")), (0, Some(theirs)), "{tool}: {}", output.stderr);
            assert_eq!(stream_of(&log), b"ours\n", "{tool}");
        });
    }
}

#[test]
fn a_lane_waits_for_another_logger_and_for_what_it_left_while_others_go_on() {
    for tool in LOGGERS {
        needs_tool(tool, || {
            let bench = Bench::new();
            let (app, web) = (hold(&bench.scratch.pipe("app")), hold(&bench.scratch.pipe("web")));
            let log = bench.scratch.make_dir("logs/app");
            let logger = Logger::start(tool, &log);
            put(&app, b"ours\n");
            put(&web, b"ours\n");
            let reader = bench.reader().start();
            let said = reader.wait_line("not reading app until this is fixed");
            assert!(said.contains("another logger is running there"), "{tool}: {said}");
            bench.wait_stored("web", b"ours\n");
            reader.stop();
            logger.stop();
            let reader = bench.reader().start();
            let said = reader.wait_line("not reading app until this is fixed");
            assert_eq!(queued(&app), 5, "{tool}");
            assert!(content_of(&log, "current").is_some_and(|text| text.ends_with(b"theirs\n")), "{tool}");
            run_offered(&said, "move it aside to keep it: ");
            bench.wait_stored("app", b"ours\n");
            reader.wait_line("app: recovered; reading again");
            assert!(content_of(&log, "current.old").is_some_and(|text| text.ends_with(b"theirs\n")), "{tool}");
            reader.stop();
        });
    }
}

/// What somebody else put under a name of ours.
#[derive(Clone, Copy, Debug)]
enum Planted {
    File,
    Directory,
    Link,
}

/// Puts it there, as our own user's.
fn plant(bench: &Bench, path: &Path, what: Planted) {
    match what {
        Planted::File => fs::write(path, PRECIOUS).expect("a file"),
        Planted::Directory => {
            fs::create_dir(path).expect("a directory");
            fs::write(path.join("inside"), PRECIOUS).expect("a file");
            give(&path.join("inside"));
        }
        Planted::Link => {
            let victim = bench.scratch.path().join("victim");
            fs::write(&victim, PRECIOUS).expect("a file");
            give(&victim);
            symlink(&victim, path).expect("a link");
        }
    }
    if is_root() {
        lchown(path, Some(NOBODY), Some(NOBODY)).expect("root may");
    }
}

/// Whether that is what was planted, whatever it is called now.
fn is_planted(path: &Path, what: Planted) -> bool {
    let is_precious = |path: &Path| fs::read(path).is_ok_and(|content| content == PRECIOUS);
    match what {
        Planted::File => path.is_file() && !path.is_symlink() && is_precious(path),
        Planted::Directory => path.is_dir() && is_precious(&path.join("inside")),
        Planted::Link => path.is_symlink() && is_precious(path),
    }
}

fn survives(dir: &Path, what: Planted) -> bool {
    files_of(dir, |_| true).iter().any(|path| is_planted(path, what))
}

/// A part that waits for its archive, beside names that its archiving needs.
const PART: &str = "2026-11-21T10-00-00.000000Z";

#[test]
fn whatever_stands_under_a_name_of_a_log_directory_survives() {
    let names = [
        "current",
        ".current.new",
        ".standpipe",
        ".standpipe.new",
        ".lock",
        "lock",
        &format!("{PART}.times"),
        &format!("{PART}.log.zst"),
        &format!("{PART}.log.zst.damaged"),
        &format!(".{PART}.log.zst.part"),
        &format!(".todo-{PART}.log.zst"),
        "2026-11-21T09-00-00.000000Z.times",
        ".todo-2026-11-21T09-00-00.000000Z.log.zst",
    ];
    let bench = Bench::new();
    bench.scratch.write_policy("defaults.toml", &format!("{KEEP_ALL}hook = [\"true\"]\n"));
    let mut planted = Vec::new();
    for (number, name) in names.iter().enumerate() {
        for what in [Planted::File, Planted::Directory, Planted::Link] {
            let lane = format!("app-{number}-{what:?}");
            let pipe = hold(&bench.scratch.pipe(&lane));
            let log = bench.scratch.make_dir(&format!("logs/{lane}"));
            fs::write(log.join(format!("{PART}.log")), "old\n").expect("a part");
            give(&log.join(format!("{PART}.log")));
            plant(&bench, &log.join(name), what);
            put(&pipe, b"one\n");
            planted.push((lane, pipe, name, what));
        }
    }
    let reader = bench.reader().start();
    for (lane, pipe, name, what) in &planted {
        let is_told = || reader.lines_with("error").iter().any(|line| line.contains(&format!("/{lane}/")));
        let is_archived = || !bench.log(lane).join(format!("{PART}.log")).exists();
        until(&format!("{name} {what:?} is no obstacle, or told"), || is_told() || queued(pipe) == 0 && is_archived());
    }
    reader.stop();
    for (lane, _, name, what) in &planted {
        assert!(survives(&bench.log(lane), *what), "{name} {what:?}");
    }
}

#[test]
fn whatever_stands_under_a_name_of_a_log_root_survives() {
    let names: [&[&str]; 4] = [
        &[".control", ".status", ".status.new", ".problems", ".problems.new", ".salvaged-2026-11-21T10-00-00Z-0"],
        &[".lock"],
        &[".mailbox-0"],
        &[".unfinished-mailbox-0"],
    ];
    for names in names {
        for what in [Planted::File, Planted::Directory, Planted::Link] {
            let (bench, pipe) = Bench::new().holding("app");
            for name in names {
                plant(&bench, &bench.scratch.logs().join(name), what);
            }
            put(&pipe, b"one\n");
            let mut reader = bench.reader().start_unready();
            until("it drains or is refused", || !reader.is_running() || queued(&pipe) == 0);
            let said = reader.stderr();
            let found = bench.root_files("").iter().filter(|path| is_planted(path, what)).count();
            assert_eq!(found, names.len(), "{names:?} {what:?}:\n{said}");
        }
    }
}

#[test]
fn a_current_that_is_taken_while_a_log_is_written_stays_and_is_told() {
    let (bench, pipe) = Bench::new().holding("app");
    let reader = bench.reader().start();
    put(&pipe, b"one\n");
    bench.wait_stored("app", b"one\n");
    let current = bench.log("app").join("current");
    fs::remove_file(&current).expect("a link");
    File::create(&current).and_then(|mut file| file.write_all(PRECIOUS)).expect("a file");
    query("rotate", &bench.scratch).run();
    let said = reader.wait_line("not one of our files; move it elsewhere");
    assert!(said.contains(&format!("cannot replace {}: ", current.display())), "{said}");
    assert_eq!(fs::read(&current).expect("a file"), PRECIOUS);
    reader.stop();
}
