//! Agents that follow the files of a log, as docs/shipping.md has them: killed and restarted, and not a line is missing.

use std::collections::HashSet;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::example::rounds;
use crate::stack::{Server, as_user};
use standpipe_tests::deadline::{CONDITION_SPAN, until, within};
use standpipe_tests::directory::{KEEP_ALL, Scratch};
use standpipe_tests::privilege::{give, needs_tools};
use standpipe_tests::programs::{holder, reader};
use standpipe_tests::world::{Writer, content, parts};

/// Where Debian has it, which is not on everybody's PATH.
const RSYSLOG: &str = "/usr/sbin/rsyslogd";
/// rsyslog 8.2302 knows a file by its first bytes. It notes its place when a file has grown to that length, before it
/// passes on the line that it has just read, so a kill right then loses this line, whatever the configuration says.
const HASHED_BYTES: usize = 512;
const PAUSE: Duration = Duration::from_micros(200);

/// The configuration of that page, with a file in place of the receiver.
fn rsyslog_conf(scratch: &Scratch, followed: &Path) -> String {
    let page = include_str!("../../../docs/shipping.md");
    let (_, block) = page.split_once("```rsyslog\n").expect("a block");
    let (block, _) = block.split_once("```").expect("its end");
    let forward = block.lines().find(|line| line.contains("omfwd")).expect("an action");
    let to_file = format!("    action(type=\"omfile\" file=\"{}\" template=\"line\")", followed.display());
    let conf = block
        .replace("/var/spool/rsyslog", &scratch.path().join("spool").display().to_string())
        .replace("/var/log/standpipe", &scratch.logs().display().to_string())
        .replace(forward, &to_file);
    format!("template(name=\"line\" type=\"string\" string=\"%msg%\\n\")\n{conf}")
}

/// The lines of a log that the agent has not passed on.
#[derive(Debug, Default, PartialEq, Eq)]
struct Missed {
    lines: u64,
    /// Across byte [`HASHED_BYTES`] of a part.
    known: Vec<String>,
    others: Vec<String>,
}

fn missed(log_dir: &Path, followed: &Path) -> Missed {
    let followed = fs::read(followed).unwrap_or_default();
    let passed_on: HashSet<&[u8]> = followed.split_inclusive(|&byte| byte == b'\n').collect();
    let mut missed = Missed::default();
    for part in parts(log_dir) {
        let stored = content(&part).expect("a part");
        let mut end = 0;
        for line in stored.split_inclusive(|&byte| byte == b'\n') {
            let crosses = (end..end + line.len()).contains(&HASHED_BYTES);
            end += line.len();
            missed.lines += 1;
            if !passed_on.contains(line) {
                let group = if crosses { &mut missed.known } else { &mut missed.others };
                group.push(format!("{}, byte {}", part.display(), end - line.len()));
            }
        }
    }
    missed
}

/// A kill leaves the end of the file inside a line, which comes again.
fn end_line(followed: &Path) {
    let is_open = fs::read(followed).unwrap_or_default().last().is_some_and(|last| *last != b'\n');
    if is_open {
        OpenOptions::new().append(true).open(followed).expect("a file").write_all(b"\n").expect("a file");
    }
}

fn bytes(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}

#[test]
fn rsyslog_that_follows_a_log_and_is_killed_misses_no_line() {
    needs_tools(&[RSYSLOG], || {
        let scratch = Scratch::new();
        let fifo = scratch.pipe("app");
        scratch.write_policy("defaults.toml", &format!("rotate_size = \"64KiB\"\narchive_after = \"1m\"\n{KEEP_ALL}"));
        let holder = holder(&scratch).start();
        let mut reader = reader(&scratch).start();
        scratch.make_dir("spool");
        let out = scratch.make_dir("out");
        let (followed, conf) = (out.join("followed"), out.join("rsyslog.conf"));
        fs::write(&conf, rsyslog_conf(&scratch, &followed)).expect("a file");
        give(&conf);
        let start = || {
            end_line(&followed);
            let mut rsyslog = as_user(RSYSLOG);
            rsyslog.arg("-n").arg("-f").arg(&conf).arg("-i").arg(out.join("pid"));
            Server::start(&mut rsyslog, out.join("said"))
        };
        let writer = Writer::start(&fifo, 1, None, PAUSE);
        let mut rsyslog = start();
        for round in 0..rounds() {
            let before = bytes(&followed);
            until("it follows", || {
                assert!(rsyslog.is_running(), "round {round}: {}", rsyslog.said());
                bytes(&followed) > before + 64 * 1024
            });
            rsyslog.stop(Signal::SIGKILL);
            let sealed = parts(&scratch.logs().join("app")).len();
            until("parts are finished while it is down", || parts(&scratch.logs().join("app")).len() > sealed + 1);
            rsyslog = start();
        }
        let written = writer.stop();
        assert!(written.error.is_none(), "{written:?}");
        let log = scratch.logs().join("app");
        let ends = || {
            let missed = missed(&log, &followed);
            missed.lines == written.lines && missed.others.is_empty()
        };
        let arrived = within(CONDITION_SPAN, ends);
        let missed = missed(&log, &followed);
        println!("{missed:?} of {} lines, {} kills", written.lines, rounds());
        rsyslog.stop(Signal::SIGKILL);
        assert_eq!(reader.terminate(), 0, "{}", reader.stderr());
        assert!(arrived, "{missed:?} of {} lines", written.lines);
        assert!(missed.known.len() <= rounds(), "{missed:?}");
        drop(holder);
    });
}
