//! Where the state file can stand: made beforehand, a mount of its own, where nothing can be written, on a full disk.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use standpipe_tests::deadline::until;
use standpipe_tests::directory::{Mounted, Scratch, make_fifo, set_mode};
use standpipe_tests::privilege::{give, needs_root, needs_seams};
use standpipe_tests::programs::{Launch, Output};
use standpipe_tests::stands::{Following, Tailing};
use standpipe_tests::world::{Owner, count_lines};

/// As `touch` does, for the user that programs run as.
fn touch(path: &Path) {
    fs::write(path, "").unwrap();
    give(path);
}

/// A log, and a directory for its state.
struct Stand {
    scratch: Scratch,
    log: PathBuf,
    dir: PathBuf,
    lines: u32,
}

impl Stand {
    fn new() -> Stand {
        let scratch = Scratch::new();
        let (log, dir) = (scratch.path().join("app.log"), scratch.make_dir("state"));
        Stand { scratch, log, dir, lines: 0 }
    }

    fn state(&self) -> PathBuf {
        self.dir.join("state.json")
    }

    /// Ten more lines, and what a tailer delivers that reads to their end.
    fn run(&mut self, prelude: &str) -> (Output, usize) {
        let mut log = fs::File::options().append(true).create(true).open(&self.log).unwrap();
        for line in self.lines..self.lines + 10 {
            writeln!(log, "{line}").unwrap();
        }
        self.lines += 10;
        let launch = Launch::new("tailer").arg(&self.log).args(["--follow-from-start", "--batch", "--output", "raw"]);
        let output = launch.arg("--state").arg(self.state()).prelude(prelude).run();
        let lines = count_lines(&output.stdout);
        (output, lines)
    }
}

#[test]
fn a_file_that_somebody_touched_is_a_first_start_without_a_word() {
    let mut stand = Stand::new();
    touch(&stand.state());
    let (output, lines) = stand.run("true");
    assert_eq!((output.code, lines), (0, 10), "{}", output.stderr);
    assert!(!output.stderr.contains("state"), "{}", output.stderr);
    let (output, lines) = stand.run("true");
    assert_eq!((output.code, lines), (0, 10), "{}", output.stderr);
}

#[test]
fn a_file_that_is_a_mount_of_its_own_is_written_in_place() {
    needs_root(|| {
        for is_filled in [false, true] {
            let mut stand = Stand::new();
            let host = stand.scratch.path().join("host.json");
            if is_filled {
                assert_eq!(stand.run("true").1, 10);
                fs::rename(stand.state(), &host).unwrap();
                fs::remove_file(stand.dir.join("state.json.1")).ok();
            } else {
                touch(&host);
            }
            touch(&stand.state());
            let _mounted = Mounted::bind(&host, &stand.state());
            let inode = fs::metadata(&host).unwrap().ino();
            for round in 0..3 {
                let (output, lines) = stand.run("true");
                assert_eq!((output.code, lines), (0, 10), "{is_filled}, {round}: {}", output.stderr);
                assert!(output.stderr.contains("state.json is a separate mount"), "{}", output.stderr);
                // A container that was replaced has the mount and nothing else.
                for name in ["state.json.1", "state.json.lock", "state.json.status"] {
                    fs::remove_file(stand.dir.join(name)).ok();
                }
            }
            assert_eq!(fs::metadata(&host).unwrap().ino(), inode);
        }
    });
}

#[test]
fn a_kill_while_a_mount_is_written_loses_and_repeats_nothing() {
    needs_root(|| {
        needs_seams(|| {
            let mut stand = Tailing::into_pipe(Owner::Tailer, true);
            stand.configure("", &[("app.log", "")]);
            let host = stand.scratch.path().join("host.json");
            for path in [&host, &stand.work("state.json")] {
                fs::write(path, "").unwrap();
                give(path);
            }
            let _mounted = Mounted::bind(&host, &stand.work("state.json"));
            let mut log = stand.log("app.log", 1);
            // The first of all comes before it is ready.
            for pass in 2..5 {
                stand.faults(&format!("half state-overwrite {pass}"));
                stand.start();
                // As much as can be followed: the state is written once a second.
                while stand.is_running() {
                    log.write(20);
                    thread::sleep(Duration::from_millis(1));
                }
            }
            stand.faults("");
            stand.start();
            stand.finish(&[&log]);
        });
    });
}

#[test]
fn a_place_where_no_state_can_be_kept_is_refused_with_the_cause() {
    let mut stand = Stand::new();
    let (state, dir) = (stand.state(), stand.dir.clone());
    let refused = |what: &str, cause: &str| {
        format!(
            "tailer: error: cannot use {}: {what} is not writable ({cause}): the state file needs a directory that tailer \
             can write to\n",
            state.display()
        )
    };
    // A directory that takes no files, with a file in it that can be written, and with what an earlier run left.
    touch(&stand.state());
    for left in ["state.json", "state.json.lock"] {
        touch(&dir.join(left));
        set_mode(&dir, 0o555);
        let (output, lines) = stand.run("true");
        set_mode(&dir, 0o755);
        assert_eq!((output.code, lines), (3, 0), "{left}: {}", output.stderr);
        assert!(output.stderr.contains(&refused("its directory", "Permission denied")), "{}", output.stderr);
    }
    needs_root(|| {
        let mut stand = Stand::new();
        let mounted = Mounted::tmpfs(&stand.dir, "size=1m");
        let state = stand.state();
        let refused = refused("its directory", "Read-only file system")
            .replace(&dir.join("state.json").display().to_string(), &state.display().to_string());
        mounted.remount("ro");
        let (output, lines) = stand.run("true");
        assert_eq!((output.code, lines), (3, 0), "{}", output.stderr);
        assert!(output.stderr.ends_with(&refused), "{}", output.stderr);
    });
}

#[test]
fn a_stop_whose_state_could_not_be_stored_says_so() {
    needs_seams(|| {
        let (mut stand, mut log) = Following::to_stdout().prepare();
        log.write(10);
        stand.start();
        stand.wait_delivered(&[&log]);
        stand.daemon().signal(Signal::SIGTERM);
        assert_eq!(stand.wait_exit(), 0);
        stand.start();
        stand.faults("ENOSPC state-write 1 100000");
        log.write(10);
        stand.wait_delivered(&[&log]);
        stand.daemon().signal(Signal::SIGTERM);
        assert_eq!(stand.wait_exit(), 3, "{}", stand.daemon().stderr());
        let said = stand.daemon().stderr();
        let end = "No space left on device; the next run repeats lines delivered since the last save\n";
        assert!(said.contains("tailer: error: cannot store the last state: ") && said.ends_with(end), "{said}");
    });
}

/// Starts a tailer that takes its time at this point, puts somebody's file in the place of `record` there, and demands
/// that it stays.
fn meddle(stand: &mut Tailing, record: &Path, point: &str, faults: &str) {
    let (trace, theirs) = (stand.work("trace"), stand.work("theirs"));
    for (path, text) in [(&trace, ""), (&theirs, "precious")] {
        fs::write(path, text).unwrap();
        give(path);
    }
    stand.faults(faults);
    stand.start_by(stand.launch().env("STANDPIPE_TEST_TRACE", &trace));
    until(point, || fs::read_to_string(&trace).unwrap().lines().any(|passed| passed == point));
    fs::rename(&theirs, record).unwrap();
    assert_eq!(stand.wait_exit(), 3, "{point}: {}", stand.daemon().stderr());
    assert_eq!(fs::read_to_string(record).unwrap(), "precious", "{point}");
    fs::remove_file(record).unwrap();
}

#[test]
fn what_somebody_else_has_under_the_name_of_a_record_stays() {
    let mut stand = Tailing::into_pipe(Owner::Tailer, true);
    stand.configure("", &[("app.log", "")]);
    stand.start();
    stand.stop();
    let is_record = |path: &PathBuf| path.to_string_lossy().contains("state.json.stage-");
    let record = fs::read_dir(stand.work("")).unwrap().map(|entry| entry.unwrap().path()).find(is_record).unwrap();
    fs::remove_file(&record).unwrap();
    make_fifo(&record, 0o666);
    stand.start_by(stand.launch());
    assert_eq!(stand.wait_exit(), 3, "{}", stand.daemon().stderr());
    assert!(fs::symlink_metadata(&record).unwrap().file_type().is_fifo());
    assert!(
        stand.daemon().stderr().contains(": not one of our files; move it elsewhere"),
        "{}",
        stand.daemon().stderr()
    );
    fs::remove_file(&record).unwrap();
    needs_seams(|| {
        meddle(&mut stand, &record, "stage-make", "delay stage-make 500");
        meddle(&mut stand, &record, "stage-allocate", "delay stage-allocate 500\nENOSPC stage-allocate 1");
    });
}
