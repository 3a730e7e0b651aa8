//! What the holder makes of the links of its directory: good, bad, added, removed, and replaced behind its back.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

use nix::unistd::{Uid, geteuid};
use standpipe_common::account::user_name;
use standpipe_tests::deadline::until;
use standpipe_tests::directory::{Scratch, make_fifo, set_mode};
use standpipe_tests::privilege::{needs_seams, ordinary_user};
use standpipe_tests::programs::{Daemon, holder};
use standpipe_tests::world::{is_held, open_reader, open_writer, queued, read_all};

#[test]
fn h5_a_fifo_made_anew_is_held_at_once_and_the_old_one_until_it_is_empty_and_left() {
    let scratch = Scratch::new();
    let fifo = scratch.pipe("app");
    let holder = holder(&scratch).start();
    let (mut server, mut reader) = (open_writer(&fifo, 0).unwrap(), open_reader(&fifo));
    server.write_all(b"old\n").unwrap();
    fs::remove_file(&fifo).unwrap();
    make_fifo(&fifo, 0o666);
    holder.wait_line("app: FIFO was replaced; now holding the new one");
    assert!(is_held(&fifo));
    server.write_all(b"more\n").expect("the old one is held as well");
    assert_eq!(read_all(&mut reader), b"old\nmore\n");
    holder.hang_up("holds 1 pipe of");
    server.write_all(b"last\n").expect("and after a HUP");
    assert_eq!(read_all(&mut reader), b"last\n");
    assert!(holder.lines_with("closed its ").is_empty(), "{}", holder.stderr());
    drop(server);
    assert_eq!(holder.wait_line("closed its "), "holder: app: FIFO replaced; closed its pipe, which was empty");
    assert!(is_held(&fifo));
    assert_eq!(holder.lines_with("now holding").len(), 1, "{}", holder.stderr());
}

#[test]
fn h5_bytes_that_go_with_a_replaced_fifo_are_counted_as_an_error() {
    needs_seams(|| {
        let scratch = Scratch::new();
        let fifo = scratch.pipe("app");
        let holder = holder(&scratch).env("STANDPIPE_TEST_RETIRED_MS", "300").start();
        let mut server = open_writer(&fifo, 0).unwrap();
        server.write_all(&[b'x'; 100]).unwrap();
        // In one step, so that there is no moment without a FIFO.
        make_fifo(&scratch.run("new"), 0o666);
        fs::rename(scratch.run("new"), &fifo).unwrap();
        let line = holder.wait_line("closed its ");
        assert_eq!(
            line,
            "holder: error: app: FIFO replaced; closed its pipe with 100 bytes in it, lost unless another process has it \
             open"
        );
        let error = server.write_all(b"x").unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe, "it was indeed let go");
        assert!(is_held(&fifo));
    });
}

#[test]
fn a_pipe_without_its_link_is_let_go_when_it_is_empty() {
    let scratch = Scratch::new();
    let (app, web) = (scratch.pipe("app"), scratch.pipe("web"));
    let holder = holder(&scratch).start();
    open_writer(&app, 0).unwrap().write_all(b"to be read\n").unwrap();
    fs::remove_file(scratch.pipes().join("app")).unwrap();
    fs::remove_file(scratch.pipes().join("web")).unwrap();
    holder.hang_up("holds 0 pipes of");
    holder.wait_line("holder: web: link removed; closed its pipe, which was empty");
    assert!(!is_held(&web));
    assert!(is_held(&app), "somebody may come to read it");
    let mut line = [0; 11];
    open_reader(&app).read_exact(&mut line).unwrap();
    assert_eq!(&line, b"to be read\n");
    holder.wait_line("holder: app: link removed; closed its pipe, which was empty");
    until("nobody holds it", || !is_held(&app));
}

/// Until a pipe that is let go only when its time is up has gone: by then any other that began before has gone too.
fn wait_until_time_is_up(scratch: &Scratch, holder: &Daemon) {
    let marker = scratch.pipe("marker");
    holder.hang_up("holds ");
    let _server = open_writer(&marker, 0).unwrap();
    fs::remove_file(scratch.pipes().join("marker")).unwrap();
    holder.hang_up("holds ");
    holder.wait_line("marker: link removed; closed its pipe");
}

#[test]
fn a_link_that_comes_back_finds_its_pipe_with_all_its_bytes() {
    needs_seams(|| {
        let scratch = Scratch::new();
        let fifo = scratch.pipe("app");
        let holder = holder(&scratch).env("STANDPIPE_TEST_RETIRED_MS", "1500").start();
        open_writer(&fifo, 0).unwrap().write_all(b"kept\n").unwrap();
        fs::remove_file(scratch.pipes().join("app")).unwrap();
        holder.hang_up("holds 0 pipes of");
        scratch.link("app", &fifo);
        holder.hang_up("holds 1 pipe of");
        wait_until_time_is_up(&scratch, &holder);
        assert_eq!(read_all(&mut open_reader(&fifo)), b"kept\n");
        assert_eq!(holder.lines_with("closed its ").len(), 1, "{}", holder.stderr());
    });
}

#[test]
fn links_that_swap_their_fifos_or_their_names_lose_nothing() {
    needs_seams(|| {
        let scratch = Scratch::new();
        let (app, web) = (scratch.pipe("app"), scratch.pipe("web"));
        let holder = holder(&scratch).env("STANDPIPE_TEST_RETIRED_MS", "300").start();
        open_writer(&app, 0).unwrap().write_all(b"app\n").unwrap();
        open_writer(&web, 0).unwrap().write_all(b"web\n").unwrap();
        for name in ["app", "web"] {
            fs::remove_file(scratch.pipes().join(name)).unwrap();
        }
        scratch.link("app", &web);
        scratch.link("web", &app);
        holder.hang_up("holds 2 pipes of");
        fs::rename(scratch.pipes().join("app"), scratch.pipes().join("zoo")).unwrap();
        holder.hang_up("holds 2 pipes of");
        wait_until_time_is_up(&scratch, &holder);
        assert_eq!(read_all(&mut open_reader(&app)), b"app\n");
        assert_eq!(read_all(&mut open_reader(&web)), b"web\n");
        assert_eq!(holder.lines_with("closed its ").len(), 1, "{}", holder.stderr());
    });
}

/// Every bad entry that one user can make, with what is said of it.
fn bad_entries(scratch: &Scratch) -> Vec<(&'static str, String)> {
    let run = |name: &str| scratch.run(name).display().to_string();
    fs::write(scratch.run("file"), "content").unwrap();
    UnixListener::bind(scratch.run("socket")).unwrap();
    make_fifo(&scratch.run("closed"), 0o000);
    scratch.link("dangling", run("nothing"));
    scratch.link("relative", "run/app");
    scratch.link("loop", "loop");
    scratch.link("to-file", run("file"));
    scratch.link("to-dir", run(""));
    scratch.link("to-device", "/dev/full");
    scratch.link("to-socket", run("socket"));
    scratch.link("twin", run("good"));
    scratch.link("two\nlines", run("good"));
    scratch.link("denied", run("closed"));
    let pipes = scratch.pipes();
    let user = user_name(Uid::from_raw(ordinary_user().unwrap_or_else(|| geteuid().as_raw())));
    let cannot = |name: &str, cause: String| format!("holder: error: cannot open {}/{name}: {cause}", pipes.display());
    let kind = |name: &str, kind: &str| cannot(name, format!("it leads to {kind}, not to a FIFO"));
    vec![
        ("dangling", cannot("dangling", format!("{} does not exist", run("nothing")))),
        (
            "relative",
            cannot(
                "relative",
                format!(
                    "run/app does not exist (a relative link starts at the directory it is in: {}/run/app)",
                    pipes.display()
                ),
            ),
        ),
        ("loop", cannot("loop", "Too many symbolic links encountered".to_owned())),
        ("to-file", kind("to-file", "a regular file")),
        ("to-dir", kind("to-dir", "a directory")),
        ("to-device", kind("to-device", "a device")),
        ("to-socket", kind("to-socket", "a socket")),
        ("twin", format!("holder: error: cannot hold {}/twin: it leads to the same FIFO as good", pipes.display())),
        (
            "two",
            format!(
                "holder: error: cannot use {}/two\\nlines as a pipe: the name contains a control character",
                pipes.display()
            ),
        ),
        (
            "denied",
            cannot(
                "denied",
                format!(
                    "Permission denied (only user {user} has access to {}/denied (mode 0000), and this runs as user {user})",
                    pipes.display()
                ),
            ),
        ),
    ]
}

#[test]
fn h6_a_bad_entry_is_one_line_and_changes_nothing_for_the_others() {
    let scratch = Scratch::new();
    let good = scratch.pipe("good");
    let holder = holder(&scratch).start();
    open_writer(&good, 0).unwrap().write_all(b"kept").unwrap();
    let bad = bad_entries(&scratch);
    for round in 1..=2 {
        holder.hang_up("holds 1 pipe of");
        for (name, expected) in &bad {
            let lines = holder.lines_with(expected);
            assert_eq!(lines, vec![expected.clone(); round], "{name}:\n{}", holder.stderr());
        }
        assert_eq!(holder.lines_with("error").len(), round * bad.len(), "{}", holder.stderr());
        assert!(is_held(&good));
    }
    assert_eq!(fs::read(scratch.run("file")).unwrap(), b"content");
    assert!(!scratch.run("nothing").exists() && !scratch.pipes().join("run").exists(), "nothing was created");
    assert_eq!(read_all(&mut open_reader(&good)), b"kept");
}

#[test]
fn h6_the_same_holds_at_the_start() {
    let scratch = Scratch::new();
    let good = scratch.pipe("good");
    let bad = bad_entries(&scratch);
    let holder = holder(&scratch).start();
    for (name, expected) in &bad {
        assert_eq!(holder.lines_with(expected), std::slice::from_ref(expected), "{name}:\n{}", holder.stderr());
    }
    assert_eq!(holder.lines_with("error").len(), bad.len(), "{}", holder.stderr());
    holder.wait_line("holder: holds 1 pipe of");
    assert!(is_held(&good));
}

#[test]
fn h6_a_link_that_is_added_is_held_after_hup() {
    let scratch = Scratch::new();
    scratch.pipe("app");
    let holder = holder(&scratch).start();
    let web = scratch.pipe("web");
    holder.hang_up("holds 2 pipes of");
    assert!(is_held(&web));
}

#[test]
fn h6_a_dangling_link_is_held_when_its_target_appears_however_deep() {
    let scratch = Scratch::new();
    let deep = scratch.path().join("run/a/b/app");
    scratch.link("app", "../run/a/b/app");
    symlink(scratch.run("middle"), scratch.pipes().join("web")).unwrap();
    let holder = holder(&scratch).start();
    assert_eq!(holder.lines_with("does not exist").len(), 2, "{}", holder.stderr());
    scratch.make_dir("run/a");
    scratch.make_dir("run/a/b");
    make_fifo(&deep, 0o666);
    holder.wait_line("holder: app: FIFO appeared; now holding it open");
    symlink(scratch.run("web"), scratch.run("middle")).unwrap();
    make_fifo(&scratch.run("web"), 0o666);
    holder.wait_line("holder: web: FIFO appeared; now holding it open");
    assert!(is_held(&deep) && is_held(&scratch.run("web")));
}

#[test]
fn a_fifo_that_becomes_accessible_is_held() {
    let scratch = Scratch::new();
    let fifo = scratch.run("app");
    make_fifo(&fifo, 0o000);
    scratch.link("app", &fifo);
    let holder = holder(&scratch).start();
    holder.wait_line("app: Permission denied");
    set_mode(&fifo, 0o660);
    holder.wait_line("holder: app: FIFO appeared; now holding it open");
    set_mode(&fifo, 0o000);
    let expected = holder.hang_up("Permission denied");
    assert!(!expected.contains("still holding"), "{expected}");
    holder.wait_lines("holds 1 pipe of", 1);
}

#[test]
fn h7_a_regular_file_in_the_place_of_a_fifo_is_one_alarm_and_the_fifo_stays_held() {
    let scratch = Scratch::new();
    let fifo = scratch.pipe("app");
    scratch.link("later", scratch.run("later"));
    let holder = holder(&scratch).start();
    let mut server = open_writer(&fifo, 0).unwrap();
    fs::rename(&fifo, scratch.run("app.1")).unwrap();
    fs::write(&fifo, "from a rotating logger\n").unwrap();
    let alarm = holder.wait_line("pipes.d/app: it leads to a regular file, not to a FIFO");
    assert!(
        alarm.starts_with("holder: error: cannot open ") && alarm.ends_with("; still holding the previous FIFO"),
        "{alarm}"
    );
    set_mode(&fifo, 0o600);
    set_mode(&fifo, 0o644);
    make_fifo(&scratch.run("later"), 0o666);
    holder.wait_line("later: FIFO appeared; now holding it open");
    assert_eq!(holder.lines_with("it leads to a regular file").len(), 1, "{}", holder.stderr());
    server.write_all(b"still\n").expect("the server knows of nothing");
    holder.hang_up("holds 1 pipe of");
    assert_eq!(holder.lines_with("it leads to a regular file").len(), 2, "once, and once for HUP");
    assert_eq!(fs::read(&fifo).unwrap(), b"from a rotating logger\n");
    server.write_all(b"alive\n").expect("nor after a HUP");
    fs::rename(scratch.run("app.1"), &fifo).unwrap();
    holder.wait_line("holder: app: FIFO reappeared; it was kept open throughout");
    assert_eq!(read_all(&mut open_reader(&fifo)), b"still\nalive\n");
    holder.hang_up("holds 2 pipes of");
}

#[test]
fn the_second_of_two_links_to_one_fifo_takes_over_when_the_first_leaves_it() {
    let scratch = Scratch::new();
    let fifo = scratch.pipe("app");
    scratch.link("web", "../run/app-too");
    fs::hard_link(&fifo, scratch.run("app-too")).unwrap();
    let holder = holder(&scratch).start();
    holder.wait_line("pipes.d/web: it leads to the same FIFO as app");
    let reader = open_reader(&fifo);
    open_writer(&fifo, 0).unwrap().write_all(b"kept\n").unwrap();
    fs::remove_file(&fifo).unwrap();
    make_fifo(&fifo, 0o666);
    holder.wait_line("holder: app: FIFO was replaced; now holding the new one");
    holder.wait_line("holder: web: FIFO appeared; now holding it open");
    assert_eq!(queued(&reader), 5);
    drop(reader);
    assert_eq!(read_all(&mut open_reader(&scratch.run("app-too"))), b"kept\n");
    assert!(holder.lines_with("closed its ").is_empty(), "{}", holder.stderr());
}

#[test]
fn a_directory_that_goes_leaves_everything_held() {
    let scratch = Scratch::new();
    let fifo = scratch.pipe("app");
    let mut holder = holder(&scratch).start();
    fs::rename(scratch.pipes(), scratch.path().join("away")).unwrap();
    let line = holder.hang_up("cannot read pipes directory");
    assert!(line.ends_with("No such file or directory; keeping the previous configuration"), "{line}");
    assert!(is_held(&fifo));
    fs::rename(scratch.path().join("away"), scratch.pipes()).unwrap();
    holder.hang_up("holds 1 pipe of");
    assert_eq!(holder.terminate(), 0);
}

#[test]
fn a_directory_on_the_way_that_is_made_anew_is_followed() {
    let scratch = Scratch::new();
    let dir = scratch.make_dir("run/x");
    let fifo = dir.join("app");
    make_fifo(&fifo, 0o666);
    scratch.link("app", &fifo);
    let holder = holder(&scratch).start();
    for round in 1..=3 {
        // While somebody has it open, a directory that was removed does not tell so itself.
        let _open = fs::File::open(&dir).unwrap();
        fs::remove_dir_all(&dir).unwrap();
        holder.wait_lines("does not exist; still holding the previous FIFO", round);
        scratch.make_dir("run/x");
        make_fifo(&fifo, 0o666);
        holder.wait_lines("app: FIFO was replaced; now holding the new one", round);
        assert!(is_held(&fifo));
    }
}
