//! How the holder starts: what its command line may say, and what it says of a directory that is not quite its own.

use std::fs;

use nix::libc;
use nix::sys::signal::Signal;
use standpipe_tests::directory::{Scratch, make_fifo, set_mode};
use standpipe_tests::privilege::needs_root;
use standpipe_tests::programs::{Launch, holder};
use standpipe_tests::world::{is_held, open_writer};

#[test]
fn the_command_line_decides_whether_nothing_is_an_error() {
    let scratch = Scratch::new();
    let empty = scratch.pipes();
    let run = |launch: Launch| launch.cwd(&empty).run();
    let usage = run(Launch::new("holder"));
    assert_eq!(usage.code, 2);
    assert!(usage.stderr.contains("no pipes in the current directory"), "{}", usage.stderr);
    assert!(usage.stderr.contains("Usage: holder [OPTIONS] [DIR]"), "{}", usage.stderr);
    for (wrong, code, complaint) in [
        (&["--nonsense"][..], 2, "unexpected argument '--nonsense'"),
        (&["--notify-fd", "2"], 2, "write 3 or more"),
        (&["--notify-fd", "77"], 2, "descriptor 77 is not open"),
        (&["a", "b"], 2, "cannot be used with '[DIR]'"),
        (&["/nowhere/pipes.d"], 3, "cannot read pipes directory /nowhere/pipes.d: No such file or directory"),
        (&["/dev/null"], 3, "cannot read pipes directory /dev/null: Not a directory"),
        (&["--help"], 0, ""),
    ] {
        let output = run(Launch::new("holder").args(wrong));
        assert_eq!(output.code, code, "{wrong:?}: {}", output.stderr);
        assert!(output.stderr.contains(complaint), "{wrong:?}: {}", output.stderr);
    }
    let closed = scratch.make_dir("closed");
    set_mode(&closed, 0o000);
    let output = run(Launch::new("holder").arg(&closed));
    assert_eq!((output.code, output.stderr.contains("Permission denied")), (3, true), "{}", output.stderr);

    let mut holder = Launch::new("holder").arg(&empty).start();
    holder.wait_line("holder: holds 0 pipes of");
    let fifo = scratch.pipe("app");
    let in_place = Launch::new("holder").cwd(&empty).start();
    in_place.wait_line("holder: holds 1 pipe of .");
    assert!(is_held(&fifo));
    holder.signal(Signal::SIGTERM);
    assert_eq!(holder.wait_exit(), 0);
}

#[test]
fn a_fifo_itself_and_other_strangers_are_warned_of_and_left_alone() {
    let scratch = Scratch::new();
    scratch.pipe("app");
    make_fifo(&scratch.pipes().join("direct"), 0o666);
    fs::write(scratch.pipes().join("notes"), "").unwrap();
    fs::write(scratch.pipes().join("app.dpkg-old"), "").unwrap();
    let holder = holder(&scratch).start();
    holder.wait_line("direct is a FIFO, but must be a link to one");
    holder.wait_line("notes is a regular file");
    assert_eq!(holder.lines_with("warning").len(), 2, "{}", holder.stderr());
    let direct = open_writer(&scratch.pipes().join("direct"), 0).unwrap_err();
    assert_eq!(direct.raw_os_error(), Some(libc::ENXIO));
}

#[test]
fn as_root_it_works_and_says_once_that_it_should_not_be_root() {
    needs_root(|| {
        let scratch = Scratch::new();
        let fifo = scratch.pipe("app");
        let holder = holder(&scratch).as_tests().start();
        holder.hang_up("holds 1 pipe of");
        assert_eq!(holder.lines_with("warning: running as root is unnecessary").len(), 1, "{}", holder.stderr());
        assert!(is_held(&fifo));
    });
}
