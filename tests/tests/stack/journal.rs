//! Under systemd every line of a message has its priority, also that of a program which ends at its start.

use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use nix::sys::stat::fstat;
use standpipe_tests::directory::Scratch;
use standpipe_tests::programs::{self, command};

/// What a program says to a journal.
fn said(name: &str, args: &[&str]) -> String {
    let (mut journal, theirs) = UnixStream::pair().unwrap();
    let stat = fstat(&theirs).unwrap();
    let mut program = command(programs::path(name));
    program.args(args).env("JOURNAL_STREAM", format!("{}:{}", stat.st_dev, stat.st_ino)).stderr(OwnedFd::from(theirs));
    assert!(!program.status().unwrap().success(), "{name} {args:?}");
    drop(program);
    let mut text = String::new();
    journal.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn an_error_that_ends_a_program_has_the_priority_of_one_on_every_line() {
    let scratch = Scratch::new();
    std::fs::write(scratch.path().join("tailer.toml"), "ordr = 'read'\nwindow_ms = 'x'\n").unwrap();
    let config = scratch.path().join("tailer.toml");
    let config = config.to_str().unwrap();
    for (name, args) in [
        ("holder", &["/nowhere/pipes.d"][..]),
        ("reader", &["/nowhere/pipes.d", "--logs", "/nowhere/logs"]),
        ("reader", &["stdin", "/proc/none"]),
        ("tailer", &["--config", config]),
    ] {
        let text = said(name, args);
        assert!(!text.is_empty() && text.lines().all(|line| line.starts_with("<3>")), "{name} {args:?}: {text}");
    }
}
