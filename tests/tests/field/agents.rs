//! Agents that follow the files of a log, as docs/shipping.md has them: killed and restarted, and not a line is missing.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::example::rounds;
use crate::stack::{Server, as_user};
use standpipe_tests::daemon::Launch;
use standpipe_tests::deadline::{CONDITION_SPAN, until, within};
use standpipe_tests::privilege::{give, needs_tools};
use standpipe_tests::scratch::{KEEP_ALL, Scratch};
use standpipe_tests::stored::parts;
use standpipe_tests::traffic::{Check, Tally, Writer};

/// Where Debian has it, which is not on everybody's PATH.
const RSYSLOG: &str = "/usr/sbin/rsyslogd";
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

/// What became of the lines in a file that has some of them more than once.
fn tally(followed: &Path, lines: u64) -> Tally {
    let mut check = Check::new();
    check.feed(&fs::read(followed).unwrap_or_default());
    check.finish(&[(1, lines)])
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
        let holder = Launch::new("holder").arg(scratch.pipes()).start();
        let mut reader = Launch::new("reader").arg(scratch.pipes()).arg("--logs").arg(scratch.logs()).start();
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
        within(CONDITION_SPAN, || tally(&followed, written.lines).lost == 0);
        let found = tally(&followed, written.lines);
        println!("{found:?} of {} lines, {} kills", written.lines, rounds());
        rsyslog.stop(Signal::SIGKILL);
        assert_eq!(reader.terminate(), 0, "{}", reader.stderr());
        assert_eq!((found.found, found.lost), (written.lines, 0), "{found:?}");
        drop(holder);
    });
}
