//! The followers that are compared: ours and those of others, each with a configuration of its own, writing what it
//! reads to one file.
//!
//! No follower sees a configuration, a socket or a state of the machine: all of its own lies in the directory of the
//! run. Each is told to begin with the first line, and to write each line as it is.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use standpipe_common::error::{Cannot, Error, Result};
use standpipe_common::shown::Shown as _;
use standpipe_tests::programs;

use crate::machine;
use crate::process::Process;

/// Between two looks at what was written.
const LOOK_SPAN: Duration = Duration::from_millis(2);
/// syslog-ng reads so many files of one pattern.
const FILES_MAX: usize = 20_000;

/// A follower, and the way in which it is asked to follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follower {
    /// Ours, with inotify.
    Tailer,
    /// Ours, looking every 250 ms.
    TailerPolling,
    /// GNU tail, with inotify.
    Tail,
    /// GNU tail, looking every 100 ms, at the name each time.
    TailPolling,
    /// rsyslog, with inotify, told the name.
    Imfile,
    /// The same, told a pattern that the rotated files match as well.
    ImfileGlob,
    /// syslog-ng, looking every 100 ms, told the name.
    SyslogNg,
    /// The same, told a pattern.
    SyslogNgGlob,
}

/// What is followed.
#[derive(Clone, Debug)]
pub enum Source {
    /// One file, by name or, where the follower is asked so, with all names that begin with it.
    File(PathBuf),
    /// All files `*.log` of a directory.
    Directory(PathBuf),
}

/// One that was started.
#[derive(Debug)]
pub struct Running {
    /// The program.
    pub process: Process,
    /// What it read.
    pub output: PathBuf,
}

impl Running {
    /// Bytes that it wrote so far.
    pub fn written(&self) -> u64 {
        fs::metadata(&self.output).map_or(0, |is| is.len())
    }

    /// Waits until it wrote so many bytes.
    ///
    /// # Errors
    /// It ended before, or `bound` has passed.
    pub fn wait_bytes(&mut self, bytes: u64, bound: Duration) -> Result<()> {
        let start = Instant::now();
        while self.written() < bytes {
            let cause = match () {
                () if !self.process.is_running() => "it ended",
                () if start.elapsed() > bound => "it did not come so far in time",
                () => {
                    thread::sleep(LOOK_SPAN);
                    continue;
                }
            };
            let cause =
                format!("{cause}, with {} of {bytes} bytes: {}", self.written(), last_line(&self.process.said()));
            return Err(Error::because("follow into", &self.output, cause));
        }
        Ok(())
    }

    /// Waits until it wrote nothing for `span`.
    pub fn wait_quiet(&self, span: Duration) {
        let (mut before, mut since) = (self.written(), Instant::now());
        while since.elapsed() < span {
            thread::sleep(LOOK_SPAN);
            let now = self.written();
            if now != before {
                (before, since) = (now, Instant::now());
            }
        }
    }
}

fn last_line(said: &str) -> &str {
    said.lines().rfind(|line| !line.is_empty()).unwrap_or("it said nothing")
}

impl Follower {
    /// All of them that are installed; ours first.
    pub fn installed() -> Vec<Follower> {
        let all = [
            Follower::Tailer,
            Follower::TailerPolling,
            Follower::Tail,
            Follower::TailPolling,
            Follower::Imfile,
            Follower::ImfileGlob,
            Follower::SyslogNg,
            Follower::SyslogNgGlob,
        ];
        all.into_iter().filter(|follower| follower.is_ours() || machine::is_installed(follower.program())).collect()
    }

    /// Those that differ when nothing is rotated.
    pub fn installed_by_name() -> Vec<Follower> {
        let is_glob = |follower: &Follower| matches!(follower, Follower::ImfileGlob | Follower::SyslogNgGlob);
        Follower::installed().into_iter().filter(|follower| !is_glob(follower)).collect()
    }

    /// Whether it is what is measured.
    pub fn is_ours(self) -> bool {
        matches!(self, Follower::Tailer | Follower::TailerPolling)
    }

    /// How it is called where nothing is rotated.
    pub fn name(self) -> &'static str {
        match self {
            Follower::Imfile | Follower::ImfileGlob => "rsyslog imfile, inotify",
            Follower::SyslogNg | Follower::SyslogNgGlob => "syslog-ng, polling 0.1 s",
            _ => self.label(),
        }
    }

    /// How it is called in the table of rotations.
    pub fn label(self) -> &'static str {
        match self {
            Follower::Tailer => "`tailer`, inotify",
            Follower::TailerPolling => "`tailer`, polling 0.25 s",
            Follower::Tail => "`tail -F`, inotify",
            Follower::TailPolling => "`tail -F`, polling 0.1 s",
            Follower::Imfile => "rsyslog imfile, `app.log`",
            Follower::ImfileGlob => "rsyslog imfile, `app.log*`",
            Follower::SyslogNg => "syslog-ng `file(app.log)`",
            Follower::SyslogNgGlob => "syslog-ng `wildcard-file(app.log*)`",
        }
    }

    /// Starts it in `dir`, which is empty and its own.
    pub fn start(self, source: &Source, dir: &Path) -> Result<Running> {
        let output = dir.join("out");
        let stdout = File::create(&output).cannot("make", &output)?;
        let mut command = match self {
            Follower::Tailer | Follower::TailerPolling => self.tailer(source, dir)?,
            Follower::Tail | Follower::TailPolling => self.tail(source)?,
            Follower::Imfile | Follower::ImfileGlob => self.rsyslog(source, dir, &output)?,
            Follower::SyslogNg | Follower::SyslogNgGlob => self.syslog_ng(source, dir, &output)?,
        };
        command.stdin(Stdio::null()).current_dir(dir);
        let writes_itself = !self.is_ours() && self.program() != "tail";
        command.stdout(if writes_itself { Stdio::null() } else { stdout.into() });
        Ok(Running { process: Process::start(command, &dir.join("said"))?, output })
    }

    fn program(self) -> &'static str {
        match self {
            Follower::Tailer | Follower::TailerPolling => "tailer",
            Follower::Tail | Follower::TailPolling => "tail",
            Follower::Imfile | Follower::ImfileGlob => "rsyslogd",
            Follower::SyslogNg | Follower::SyslogNgGlob => "syslog-ng",
        }
    }

    fn tailer(self, source: &Source, dir: &Path) -> Result<Command> {
        let config = dir.join("tailer.toml");
        let path = match source {
            Source::File(path) => path.clone(),
            Source::Directory(dir) => dir.join("*.log"),
        };
        let text = format!(
            "state_file = \"state.json\"\npoll_interval_ms = 250\ninotify = {}\n\n[[files]]\npath = {:?}\n",
            self == Follower::Tailer,
            path.shown().to_string(),
        );
        fs::write(&config, text).cannot("write", &config)?;
        let mut command = Command::new(programs::path("tailer"));
        command.arg("--config").arg(config).args(["--follow-from-start", "--output", "raw"]);
        Ok(command)
    }

    fn tail(self, source: &Source) -> Result<Command> {
        let mut command = Command::new("tail");
        command.args(["-q", "-F", "-n", "+1"]);
        if self == Follower::TailPolling {
            command.args(["---disable-inotify", "-s", "0.1", "--max-unchanged-stats=1"]);
        }
        match source {
            Source::File(path) => command.arg(path),
            Source::Directory(dir) => command.args(logs_of(dir)?),
        };
        Ok(command)
    }

    fn rsyslog(self, source: &Source, dir: &Path, output: &Path) -> Result<Command> {
        let file = match source {
            Source::File(path) if self == Follower::ImfileGlob => format!("{}*", path.shown()),
            Source::File(path) => path.shown().to_string(),
            Source::Directory(dir) => format!("{}/*.log", dir.shown()),
        };
        let (config, place, output) = (dir.join("rsyslog.conf"), dir.shown(), output.shown());
        let text = format!(
            "global(workDirectory=\"{place}\" maxMessageSize=\"64k\" processInternalMessages=\"off\")\n\
             module(load=\"imfile\" mode=\"inotify\")\n\
             template(name=\"raw\" type=\"string\" string=\"%msg%\\n\")\n\
             input(type=\"imfile\" File=\"{file}\" Tag=\"x\" reopenOnTruncate=\"on\" freshStartTail=\"off\")\n\
             action(type=\"omfile\" file=\"{output}\" template=\"raw\" flushOnTXEnd=\"on\")\n"
        );
        fs::write(&config, text).cannot("write", &config)?;
        let mut command = Command::new("rsyslogd");
        command.arg("-n").arg("-f").arg(&config).arg("-i").arg(dir.join("pid"));
        Ok(command)
    }

    fn syslog_ng(self, source: &Source, dir: &Path, output: &Path) -> Result<Command> {
        let options = "follow-freq(0.1) flags(no-parse)";
        let wildcard = |dir: &Path, pattern: &str| {
            format!(
                "wildcard-file(base-dir(\"{}\") filename-pattern(\"{pattern}\") max-files({FILES_MAX}) {options})",
                dir.shown()
            )
        };
        let from = match source {
            Source::File(path) if self == Follower::SyslogNgGlob => {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                wildcard(path.parent().unwrap_or(path), &format!("{name}*"))
            }
            Source::File(path) => format!("file(\"{}\" {options} read-old-records(yes))", path.shown()),
            Source::Directory(dir) => wildcard(dir, "*.log"),
        };
        let config = dir.join("syslog-ng.conf");
        let text = format!(
            "@version: 3.35\n\
             options {{ log-msg-size(65536); stats-freq(0); flush-lines(1); }};\n\
             source s {{ {from}; }};\n\
             destination d {{ file(\"{}\" template(\"${{MESSAGE}}\\n\")); }};\n\
             log {{ source(s); destination(d); flags(flow-control); }};\n",
            output.shown()
        );
        fs::write(&config, text).cannot("write", &config)?;
        let mut command = Command::new("syslog-ng");
        command.args(["-F", "--no-caps"]).arg("-f").arg(&config);
        for (flag, name) in [("-p", "pid"), ("-R", "persist"), ("-c", "control")] {
            command.arg(flag).arg(dir.join(name));
        }
        Ok(command)
    }
}

fn logs_of(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir).cannot("list", dir)?;
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_told_only_to_those_that_are_asked_so() {
        let dir = tempfile::tempdir().unwrap();
        let source = Source::File("/x/app.log".into());
        let text = |follower: Follower| {
            let output = dir.path().join("out");
            let (command, config) = match follower.program() {
                "rsyslogd" => (follower.rsyslog(&source, dir.path(), &output), "rsyslog.conf"),
                _ => (follower.syslog_ng(&source, dir.path(), &output), "syslog-ng.conf"),
            };
            command.unwrap();
            fs::read_to_string(dir.path().join(config)).unwrap()
        };
        assert!(text(Follower::Imfile).contains("File=\"/x/app.log\""));
        assert!(text(Follower::ImfileGlob).contains("File=\"/x/app.log*\""));
        assert!(text(Follower::SyslogNg).contains("file(\"/x/app.log\" "));
        assert!(text(Follower::SyslogNgGlob).contains("base-dir(\"/x\") filename-pattern(\"app.log*\")"));
    }
}
