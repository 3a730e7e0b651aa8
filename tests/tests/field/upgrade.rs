//! Other programs take the place of those that run, one after the other, while servers write: docs/operations.md.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use standpipe_tests::deadline::until;
use standpipe_tests::directory::{KEEP_ALL, Scratch};
use standpipe_tests::privilege::give;
use standpipe_tests::programs::{self, Daemon, Launch};
use standpipe_tests::world::{Check, Writer, stream_of};

use crate::example::rounds;

const PROGRAMS: [&str; 3] = ["reader", "holder", "tailer"];
const PAUSE: Duration = Duration::from_micros(200);

/// What is installed, and runs.
struct Installed {
    scratch: Scratch,
    running: Vec<Daemon>,
}

impl Installed {
    /// A pipe that a server writes into, and one that the tailer brings a server's file to.
    fn new() -> Installed {
        let scratch = Scratch::new();
        for pipe in ["app", "tailed"] {
            scratch.pipe(pipe);
        }
        let logs = scratch.logs().display().to_string();
        scratch.write_policy("defaults.toml", &format!("logs = \"{logs}\"\nrotate_size = \"256KiB\"\n{KEEP_ALL}"));
        scratch.write_policy("tailed.toml", "stage = true\n");
        for dir in ["bin", "tailer", "server"] {
            scratch.make_dir(dir);
        }
        fs::write(scratch.path().join("server/server.log"), "").expect("a file");
        give(&scratch.path().join("server/server.log"));
        Installed { scratch, running: Vec::new() }
    }

    /// Puts the program of `from` into the place of the one that is there, as `install` does.
    fn install(&self, name: &str, from: &Path) {
        let [new, bin] = [".new", name].map(|file| self.scratch.path().join("bin").join(file));
        fs::copy(from.join(name), &new).expect("a program");
        fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).expect("our own file");
        fs::rename(new, bin).expect("our own directory");
    }

    /// Starts what is installed now.
    fn start(&self, name: &str) -> Daemon {
        let path = |name: &str| self.scratch.path().join(name);
        let run = format!("shift; exec '{}' \"$@\"", path("bin").join(name).display());
        // The program that tests run is shifted away.
        let launch = Launch::new(name).under(["sh", "-c", &run, "sh"]);
        match name {
            "tailer" => {
                let launch = launch.arg(path("server/server.log")).arg("--pipe").arg(self.scratch.run("tailed"));
                launch.arg("--follow-from-start").arg("--state").arg(path("tailer/state.json")).start()
            }
            _ => launch.arg(self.scratch.pipes()).start(),
        }
    }

    /// Replaces all programs, and restarts each in the order that is documented.
    fn replace(&mut self, from: &Path) {
        for name in PROGRAMS {
            self.install(name, from);
        }
        for (number, name) in PROGRAMS.iter().enumerate() {
            let running = &mut self.running[number];
            assert_eq!(running.terminate(), 0, "{name}: {}", running.stderr());
            self.running[number] = self.start(name);
        }
    }
}

/// The programs under test, and those of another version: `STANDPIPE_TESTS_OTHER_PROGRAMS` names their directory. Without
/// it they are the same.
fn versions() -> [PathBuf; 2] {
    let [ours, ..] = PROGRAMS.map(|name| programs::path(name).parent().expect("a directory").to_owned());
    let other = env::var_os("STANDPIPE_TESTS_OTHER_PROGRAMS").map_or(ours.clone(), PathBuf::from);
    [ours, other]
}

#[test]
fn no_line_is_lost_while_programs_are_replaced_by_newer_and_by_older_ones() {
    let [ours, other] = versions();
    let mut installed = Installed::new();
    for name in PROGRAMS {
        installed.install(name, &other);
    }
    installed.running = PROGRAMS.iter().map(|name| installed.start(name)).collect();
    let (fifo, file) = (installed.scratch.run("app"), installed.scratch.path().join("server/server.log"));
    let writers = [Writer::start(&fifo, 0, None, PAUSE), Writer::start(&file, 1, None, PAUSE)];
    for _ in 0..rounds().div_ceil(2) {
        for version in [&ours, &other] {
            let seen = writers.iter().map(Writer::lines).collect::<Vec<_>>();
            installed.replace(version);
            until("servers write on", || writers.iter().zip(&seen).all(|(writer, seen)| writer.lines() > seen + 100));
        }
    }
    let written = writers.map(Writer::stop);
    let delivered = installed.scratch.logs().join("tailed");
    until("the tailer has delivered all", || stream_of(&delivered).len() as u64 >= written[1].bytes);
    for running in installed.running.iter_mut().rev() {
        assert_eq!(running.terminate(), 0, "{}", running.stderr());
    }
    for (pipe, written) in ["app", "tailed"].iter().zip(written) {
        assert!(written.error.is_none(), "{written:?}");
        let mut check = Check::new();
        check.feed(&stream_of(&installed.scratch.logs().join(pipe)));
        let tally = check.finish(&[(written.writer, written.lines)]);
        println!("{pipe}: {} lines, replaced {} times: {tally:?}", written.lines, rounds().div_ceil(2) * 2);
        assert!(tally.is_whole(), "{pipe}: {tally:?}");
    }
}
