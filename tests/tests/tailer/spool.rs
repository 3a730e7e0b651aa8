//! A spool in detail: what is delivered, what is not, what is removed, and what is said.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};

use standpipe_tests::deadline::{CONDITION_SPAN, until, until_next_stamp, within};
use standpipe_tests::directory::{Mounted, make_fifo};
use standpipe_tests::privilege;
use standpipe_tests::stands::Spooling;
use standpipe_tests::world::Owner;

const MARKERS: &str = "done = \"done\"\n";

/// Lines of a file that no single block holds.
fn large(name: &str, lines: usize) -> Vec<u8> {
    (0..lines).flat_map(|number| format!("{name} {number:08} {}\n", "x".repeat(80)).into_bytes()).collect()
}

fn is_empty(stand: &Spooling) -> bool {
    stand.left() == (Vec::new(), Vec::new())
}

#[test]
fn files_come_in_the_order_of_their_markers_and_go_with_them() {
    let mut stand = Spooling::new(Owner::Tailer);
    stand.configure(MARKERS, "");
    for name in ["b", "a", "c\nd", "none", ".hidden"] {
        stand.put(name, format!("of {name:?}\nand its last line").as_bytes());
    }
    for name in ["c\nd", "b", "a"] {
        stand.mark(name);
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    stand.put("empty", b"");
    stand.mark("empty");
    stand.start();
    let last = "and its last line";
    stand.expect(format!("of \"c\\nd\"\n{last}\nof \"b\"\n{last}\nof \"a\"\n{last}\n").as_bytes());
    until("all are removed", || stand.left() == (vec![".hidden".into(), "none".into()], Vec::new()));
    stand.mark("none");
    until("the last one", || stand.left().0 == [".hidden"]);
}

#[test]
fn without_markers_a_file_is_complete_when_its_writer_has_gone() {
    let mut stand = Spooling::new(Owner::Tailer);
    stand.configure("", "");
    stand.put("a", b"");
    let mut writer = OpenOptions::new().append(true).open(stand.file("a")).unwrap();
    writer.write_all(b"1\n").unwrap();
    stand.put("b", b"b\n");
    stand.put("made-to-be-opened", b"");
    stand.start();
    stand.expect(b"b\n");
    writer.write_all(b"2\n").unwrap();
    drop(writer);
    stand.expect(b"b\n1\n2\n");
    until("both are gone", || stand.left().0 == ["made-to-be-opened"]);
}

#[test]
fn without_markers_and_leases_nothing_is_delivered_and_it_is_said_once() {
    privilege::needs_root(|| {
        let mut stand = Spooling::new(Owner::Other);
        stand.configure("", "");
        stand.put("a", b"a\n");
        stand.start();
        let said = stand.daemon().wait_line("set `done`");
        assert!(said.contains("cannot deliver") && said.contains("file leases unavailable (need CAP_LEASE"), "{said}");
        stand.put("b", b"b\n");
        std::thread::sleep(std::time::Duration::from_millis(100));
        assert_eq!(stand.daemon().lines_with("set `done`").len(), 1);
        assert_eq!((stand.drain.bytes(), stand.left().0.len()), (Vec::new(), 2));
    });
}

#[test]
fn a_large_file_stays_in_one_piece_across_kills_and_beside_others() {
    let mut stand = Spooling::new(Owner::Tailer);
    let log = stand.scratch.path().join("run/app.log");
    stand.configure(MARKERS, &format!("[[files]]\npath = \"{}\"\nstart_at = \"beginning\"\n", log.display()));
    let (first, second) = (large("first", 20_000), large("second", 10_000));
    stand.put("first", &first);
    stand.put("second", &second);
    // Done before, but still written: it comes after what was begun meanwhile, also for the next tailer.
    stand.put("older", b"older\n");
    let mut writer = Some(OpenOptions::new().append(true).open(stand.file("older")).unwrap());
    stand.mark("older");
    until_next_stamp();
    stand.mark("first");
    let mut app = OpenOptions::new().create(true).append(true).open(&log).unwrap();
    for round in 0..8 {
        stand.drain.set_draining(round % 2 == 1);
        stand.start();
        writeln!(app, "app {round}").unwrap();
        if round == 2 {
            stand.mark("second");
        }
        let before = stand.drain.bytes().len();
        within(std::time::Duration::from_millis(40), || stand.drain.bytes().len() > before + 200_000);
        stand.daemon().kill9();
        writer.take();
    }
    stand.drain.set_draining(true);
    stand.start();
    let all = first.len() + second.len() + 8 * "app 0\n".len() + "older\n".len();
    until("all of it", || stand.drain.bytes().len() >= all);
    // A kill between the two leaves a marker without its file, which is harmless and goes after `max_age`.
    let is_removed = within(CONDITION_SPAN, || stand.left().0.is_empty());
    let got = stand.drain.bytes();
    assert!(is_removed, "{} of {all} bytes came, {:?} are left:\n{}", got.len(), stand.left(), stand.daemon().stderr());
    assert_eq!(got.len(), all);
    for file in [&first, &second] {
        assert!(memchr::memmem::find(&got, file).is_some(), "not in one piece");
    }
}

#[test]
fn a_kill_at_each_step_of_the_removal_repeats_nothing() {
    privilege::needs_seams(|| {
        for (point, left) in [("spool-remove", vec!["a".to_owned()]), ("spool-unmark", Vec::new())] {
            let mut stand = Spooling::new(Owner::Tailer);
            stand.configure("done = \"done\"\nmax_age = \"1s\"\n", "");
            stand.put("a", b"a\n");
            stand.mark("a");
            stand.faults(&format!("kill {point} 1\n"));
            let mut daemon = stand.launch().start_unready();
            daemon.wait_exit();
            stand.daemon = Some(daemon);
            assert_eq!(stand.left(), (left, vec!["a".to_owned()]), "{point}");
            stand.faults("");
            stand.start();
            stand.put("b", b"b\n");
            stand.mark("b");
            stand.expect(b"a\nb\n");
            until("all is removed", || is_empty(&stand));
        }
    });
}

#[test]
fn what_cannot_be_removed_is_said_once_and_comes_once_also_after_a_restart() {
    privilege::needs_seams(|| {
        let mut stand = Spooling::new(Owner::Tailer);
        stand.configure(MARKERS, "");
        stand.put("a", b"a\n");
        fs::set_permissions(stand.scratch.path().join("spool"), fs::Permissions::from_mode(0o555)).unwrap();
        stand.mark("a");
        stand.start();
        stand.expect(b"a\n");
        let said = stand.daemon().wait_line("cannot remove");
        assert!(said.contains("Permission denied") && said.contains("spool/a"), "{said}");
        std::thread::sleep(std::time::Duration::from_millis(100));
        assert_eq!(stand.daemon().lines_with("cannot remove").len(), 1);
        stand.daemon().kill9();
        stand.start();
        stand.daemon().wait_line("cannot remove");
        fs::set_permissions(stand.scratch.path().join("spool"), fs::Permissions::from_mode(0o755)).unwrap();
        until("it is removed at last", || is_empty(&stand));
        stand.put("b", b"b\n");
        stand.mark("b");
        stand.expect(b"a\nb\n");
    });
}

#[test]
fn old_files_without_markers_are_delivered_or_removed_and_old_markers_go() {
    for (stale, bytes, told) in [
        ("deliver", "a\nb\n", "has no marker after its max_age; delivering it anyway"),
        ("remove", "b\n", "was never completed; removed it (2 bytes)"),
    ] {
        let mut stand = Spooling::new(Owner::Tailer);
        stand.configure(&format!("{MARKERS}max_age = \"1s\"\nstale = \"{stale}\"\n"), "");
        stand.put("a", b"a\n");
        stand.mark("orphan");
        stand.put("written", b"w");
        let writer = OpenOptions::new().append(true).open(stand.file("written")).unwrap();
        stand.start();
        let said = stand.daemon().wait_line(told);
        assert!(said.contains("spool/a "), "{said}");
        stand.daemon().wait_line("removed 1 old marker without a file, 1 in total");
        until("only what is written is left", || stand.left().0 == ["written"]);
        stand.put("b", b"b\n");
        stand.mark("b");
        stand.expect(bytes.as_bytes());
        assert_eq!(stand.daemon().lines_with(told).len(), 1);
        drop(writer);
    }
}

#[test]
fn what_is_no_file_and_no_marker_is_refused_once_and_left() {
    let mut stand = Spooling::new(Owner::Tailer);
    stand.configure(&format!("{MARKERS}max_age = \"1s\"\nstale = \"remove\"\n"), "");
    let secret = stand.scratch.path().join("run/secret");
    fs::write(&secret, "secret\n").unwrap();
    symlink(&secret, stand.file("link")).unwrap();
    make_fifo(&stand.file("fi\nfo"), 0o666);
    fs::create_dir(stand.file("directory")).unwrap();
    for name in ["link", "fi\nfo", "directory"] {
        stand.mark(name);
    }
    stand.put("a", b"a\n");
    symlink(stand.file("a"), stand.marker("a")).unwrap();
    stand.put("b", b"b\n");
    fs::create_dir(stand.marker("b")).unwrap();
    // Files that are written are never old.
    let writers = ["a", "b"].map(|name| OpenOptions::new().append(true).open(stand.file(name)).unwrap());
    let before = stand.left();
    stand.start();
    for (path, what) in [
        ("spool/link", "a link, not a regular file"),
        ("spool/fi\\nfo", "a FIFO, not a regular file"),
        ("spool/directory", "a directory, not a regular file"),
        ("done/a", "a link, not a marker"),
        ("done/b", "a directory, not a marker"),
    ] {
        let told = format!("{path} refused: {what}");
        stand.daemon().wait_line(&told);
        std::thread::sleep(std::time::Duration::from_millis(30));
        assert_eq!(stand.daemon().lines_with(&told).len(), 1, "{}", stand.daemon().stderr());
    }
    assert_eq!((stand.left(), stand.drain.bytes()), (before, Vec::new()));
    drop(writers);
}

#[test]
fn what_is_appended_after_delivery_is_not_lost_and_a_file_written_anew_is_another() {
    privilege::needs_seams(|| {
        let mut stand = Spooling::new(Owner::Tailer);
        stand.configure(MARKERS, "");
        stand.put("a", b"one\n");
        stand.put("b", b"a first life\n");
        stand.mark("a");
        stand.faults("EACCES spool-remove 1 1000000\n");
        stand.start();
        stand.expect(b"one\n");
        stand.mark("b");
        stand.expect(b"one\na first life\n");
        stand.daemon().kill9();
        OpenOptions::new().append(true).open(stand.file("a")).unwrap().write_all(b"two\n").unwrap();
        fs::write(stand.file("b"), "a new life, which is longer\n").unwrap();
        stand.faults("");
        stand.start();
        until("what was appended", || stand.drain.bytes().ends_with(b"two\n"));
        stand.daemon().kill9();
        stand.start();
        stand.mark("b");
        // The kill may have left the marker of "a".
        until("both are removed", || stand.left().0.is_empty());
        until("all is drained", || stand.drain.bytes().ends_with(b"longer\n"));
        let text = String::from_utf8(stand.drain.bytes()).unwrap();
        assert_eq!(text, "one\na first life\ntwo\na new life, which is longer\n");
    });
}

#[test]
fn a_spool_on_a_file_system_that_is_full_is_collected() {
    privilege::needs_root(|| {
        let mut stand = Spooling::new(Owner::Tailer);
        stand.configure(MARKERS, "");
        let dir = stand.scratch.path().join("spool");
        let mounted = Mounted::tmpfs(&dir, "size=64k,mode=0755,uid=65534,gid=65534");
        fs::create_dir(dir.join("done")).unwrap();
        privilege::give(&dir.join("done"));
        stand.put("a", b"a\n");
        stand.mark("a");
        fs::write(stand.file("b"), vec![b'x'; 1 << 20]).unwrap_err();
        stand.start();
        stand.expect(b"a\n");
        until("it is removed", || stand.left() == (vec!["b".to_owned()], Vec::new()));
        stand.daemon().terminate();
        drop(mounted);
    });
}

#[test]
fn another_configuration_changes_a_spool_and_takes_it_away() {
    let mut stand = Spooling::new(Owner::Tailer);
    stand.configure(MARKERS, "");
    stand.put("never", b"n\n");
    stand.start();
    stand.configure(&format!("{MARKERS}max_age = \"0s\"\nstale = \"remove\"\n"), "");
    stand.daemon().signal(nix::sys::signal::Signal::SIGHUP);
    until("it is stale now", || is_empty(&stand));
    let log = stand.scratch.path().join("run/app.log");
    let text = format!("[[files]]\npath = \"{}\"\n", log.display());
    fs::write(stand.scratch.path().join("tailer/tailer.toml"), format!("state_file = \"state.json\"\n{text}")).unwrap();
    stand.daemon().hang_up("watching 1 file");
    stand.put("a", b"a\n");
    stand.mark("a");
    assert!(!within(std::time::Duration::from_millis(300), || is_empty(&stand)));
    assert_eq!(stand.drain.bytes(), b"");
}
