//! `holder check --bundle FILE`: everything that whoever helps will ask for, in one archive (`.tar.zst`).
//!
//! Log lines and configuration can hold secrets, so the file is for its owner alone, and it is said what is in it. It
//! replaces nothing. What cannot be had is a line in `problems.txt`, not the end of it.
//!
//! - [`mod@ask`]: what reader and tailer say;
//! - [`tar`]: the archive.

pub mod ask;
pub mod tar;

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::sys::statvfs::statvfs;
use standpipe_common::error::{Cannot, Result};
use standpipe_common::shell::quoted;
use standpipe_common::shown::{Shown as _, counted};
use standpipe_common::units::ByteSize;
use standpipe_common::{clock, config_text, standard};

use crate::openers::Role;
use crate::survey::Survey;
use ask::{Printed, ask};
use tar::Tar;

/// How many lines of each pipe are in it.
const LINES: &str = "1000";
/// Longer lines are cut, and say so.
const LINE_BYTES_MAX: &str = "16K";
/// Larger files of a configuration are left out.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// So many files of a directory are taken.
const FILES_MAX: usize = 1000;
const TOP: &str = "standpipe-bundle";
/// What is read as it stands there.
const SYSTEM: [&str; 14] = [
    "/etc/os-release",
    "/etc/logrotate.conf",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/self/limits",
    "/proc/self/mountinfo",
    "/proc/sys/fs/file-nr",
    "/proc/sys/fs/inotify/max_user_instances",
    "/proc/sys/fs/inotify/max_user_watches",
    "/proc/sys/fs/pipe-max-size",
    "/proc/sys/fs/pipe-user-pages-soft",
    "/proc/sys/fs/protected_fifos",
    "/proc/uptime",
    "/proc/version",
];

/// A bundle that is being written.
struct Bundle {
    tar: Tar<zstd::Encoder<'static, File>>,
    problems: Vec<String>,
}

/// Writes it, with what `check` and `status` have to say already as files of these names, and says so.
pub fn write(path: &Path, survey: &Survey, own: &[(&str, String)]) -> Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).cannot("create", path)?;
    if let Err(error) = fill(file, survey, own) {
        fs::remove_file(path).ok();
        return Err(error).cannot("write", path);
    }
    standard::say(format_args!(
        "wrote {}: findings, status, configuration, and the last {LINES} lines of each pipe ({}); look through it before \
         you send it, because log lines and configuration can contain secrets: tar --zstd -xf {}",
        path.shown(),
        counted(survey.pipes.len() as u64, "pipe"),
        quoted(path)
    ));
    Ok(())
}

fn fill(file: File, survey: &Survey, own: &[(&str, String)]) -> io::Result<()> {
    let mtime_s = u64::try_from(clock::now_ns() / 1_000_000_000).unwrap_or_default();
    let tar = Tar::new(zstd::Encoder::new(file, 0)?, TOP, mtime_s);
    let mut bundle = Bundle { tar, problems: Vec::new() };
    for (name, text) in own {
        bundle.tar.add(name, text.as_bytes())?;
    }
    bundle.add_versions()?;
    bundle.add_system(survey)?;
    bundle.add_processes(survey)?;
    bundle.add_files("pipes.d", &survey.dir)?;
    bundle.add_files("etc-standpipe", Path::new("/etc/standpipe"))?;
    bundle.add_others(survey)?;
    bundle.add_logs(survey)?;
    let problems = bundle.problems.join("\n") + "\n";
    bundle.tar.add("problems.txt", problems.as_bytes())?;
    bundle.tar.finish()?.finish()?.sync_all()
}

impl Bundle {
    fn take(&mut self, answer: Printed) -> Vec<u8> {
        self.problems.extend(answer.problem);
        answer.text
    }

    fn add_versions(&mut self) -> io::Result<()> {
        let mut text = Vec::new();
        for program in ["holder", "reader", "tailer"] {
            let version = ask(program, &["--version".as_ref()]);
            text.extend(self.take(version));
        }
        self.tar.add("versions.txt", &text)
    }

    fn add_system(&mut self, survey: &Survey) -> io::Result<()> {
        for path in SYSTEM {
            self.add_file(&format!("system/{}", path.trim_start_matches('/').replace('/', "-")), Path::new(path))?;
        }
        let mut text = String::new();
        let targets = survey.pipes.iter().filter_map(|pipe| pipe.target.parent());
        let mut dirs: Vec<&Path> =
            [survey.dir.as_path()].into_iter().chain(survey.logs.as_deref()).chain(targets).collect();
        dirs.sort_unstable();
        dirs.dedup();
        for dir in dirs {
            let _infallible = match statvfs(dir) {
                Ok(is) => {
                    let [size, free] =
                        [is.blocks(), is.blocks_available()].map(|blocks| ByteSize(blocks * is.fragment_size()));
                    let (inodes, left) = (is.files(), is.files_available());
                    writeln!(text, "{}: {free} of {size} free, {left} of {inodes} inodes", dir.shown())
                }
                Err(error) => writeln!(text, "{}: {}", dir.shown(), error.desc()),
            };
        }
        self.tar.add("system/space.txt", text.as_bytes())
    }

    /// Of others' processes only the names are in the status.
    fn add_processes(&mut self, survey: &Survey) -> io::Result<()> {
        let all = survey.pipes.iter().flat_map(|pipe| &pipe.openers).map(|opener| &opener.process);
        let mut ours: Vec<_> =
            all.filter(|process| process.role != Role::Stranger).map(|process| process.pid).collect();
        ours.sort_unstable();
        ours.dedup();
        for pid in ours {
            for name in ["cmdline", "status", "limits"] {
                self.add_file(
                    &format!("processes/{pid}-{name}"),
                    &Path::new("/proc").join(pid.to_string()).join(name),
                )?;
            }
        }
        Ok(())
    }

    /// The files of a directory, and a list of what else is in it.
    fn add_files(&mut self, name: &str, dir: &Path) -> io::Result<()> {
        let mut paths: Vec<_> = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        paths.sort();
        let mut list = format!("{}\n", dir.shown());
        for path in paths.iter().take(FILES_MAX) {
            let Ok(metadata) = fs::symlink_metadata(path) else { continue };
            let file_name = path.file_name().unwrap_or_default().shown();
            let target = fs::read_link(path).map_or_else(|_| String::new(), |to| format!(" -> {}", to.shown()));
            let _infallible = writeln!(list, "{file_name}{target}");
            if metadata.is_file() {
                self.add_file(&format!("{name}/{file_name}"), path)?;
            }
        }
        self.tar.add(&format!("{name}.txt"), list.as_bytes())
    }

    fn add_file(&mut self, name: &str, path: &Path) -> io::Result<()> {
        match config_text::read(path, FILE_BYTES_MAX) {
            Ok(bytes) => self.tar.add(name, &bytes),
            Err(error) => {
                self.problems.push(error.to_string());
                Ok(())
            }
        }
    }

    /// What reader and tailer say of themselves.
    fn add_others(&mut self, survey: &Survey) -> io::Result<()> {
        for (name, program, words) in [
            ("reader-status.txt", "reader", &["status"][..]),
            ("reader-status.json", "reader", &["status", "--json"]),
            ("reader-list.txt", "reader", &["list", "--utc"]),
            ("tailer-status.txt", "tailer", &["status", "--all"]),
            ("tailer-status.json", "tailer", &["status", "--all", "--json"]),
        ] {
            let logs = survey.logs.iter().filter(|_| program == "reader");
            let logs = logs.flat_map(|logs| [OsStr::new("--logs"), logs.as_os_str()]);
            let args: Vec<&OsStr> = words.iter().map(OsStr::new).chain(logs).collect();
            let text = self.take(ask(program, &args));
            self.tar.add(name, &text)?;
        }
        Ok(())
    }

    fn add_logs(&mut self, survey: &Survey) -> io::Result<()> {
        for pipe in &survey.pipes {
            let name = pipe.entry.name.as_os_str();
            let words =
                ["logs", "-n", LINES, "-t", "--utc", "--no-prefix", "--no-pager", "--color", "never", "--max-line"];
            let mut args: Vec<&OsStr> = words.iter().map(OsStr::new).chain([OsStr::new(LINE_BYTES_MAX)]).collect();
            args.extend(survey.logs.iter().flat_map(|logs| [OsStr::new("--logs"), logs.as_os_str()]));
            args.extend([OsStr::new("--"), name]);
            let text = self.take(ask("reader", &args));
            self.tar.add(&format!("logs/{}.log", String::from_utf8_lossy(name.as_bytes())), &text)?;
        }
        Ok(())
    }
}
