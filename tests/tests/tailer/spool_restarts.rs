//! A spool across restarts: what was on its way is not removed before it has arrived, and a directory that comes late
//! repeats nothing.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use standpipe_tests::deadline::{until, until_next_stamp, within};
use standpipe_tests::privilege;
use standpipe_tests::stands::Spooling;
use standpipe_tests::world::Owner;

const MARKERS: &str = "done = \"done\"\n";

#[test]
fn what_a_killed_run_left_on_its_way_is_not_removed_before_it_has_arrived() {
    let mut stand = Spooling::new(Owner::Tailer);
    stand.configure(MARKERS, "");
    stand.drain.set_draining(false);
    let mut all = Vec::new();
    for number in 0..300 {
        let (name, content) = (format!("job.{number:03}"), format!("job {number:03} {}\n", "x".repeat(5000)));
        stand.put(&name, content.as_bytes());
        stand.mark(&name);
        all.extend_from_slice(content.as_bytes());
    }
    stand.start();
    let mut count = 0;
    // Until the pipe is full, and nothing more is removed.
    until("nothing goes on", || {
        std::thread::sleep(Duration::from_millis(400));
        let before = std::mem::replace(&mut count, stand.left().0.len());
        before == count
    });
    for _ in 0..3 {
        stand.daemon().kill9();
        stand.start();
        let is_removed = within(Duration::from_millis(400), || stand.left().0.len() < count);
        assert!(!is_removed, "removed, and nobody has it: {}", stand.daemon().stderr());
    }
    stand.drain.set_draining(true);
    stand.expect(&all);
    until("all is removed", || stand.left().0.is_empty());
}

#[test]
fn a_directory_that_comes_late_repeats_nothing() {
    privilege::needs_seams(|| {
        let mut stand = Spooling::new(Owner::Tailer);
        stand.configure(MARKERS, "");
        stand.faults("EACCES spool-remove 1 1000000\n");
        stand.start();
        stand.put("a", b"a\n");
        stand.mark("a");
        stand.expect(b"a\n");
        stand.daemon().wait_line("cannot remove");
        stand.daemon().kill9();
        stand.faults("");
        let (here, away) = (stand.scratch.path().join("spool"), stand.scratch.path().join("away"));
        fs::rename(&here, &away).unwrap();
        stand.start();
        stand.daemon().wait_line("cannot use spool");
        // Other files come and go meanwhile, and the checkpoint is written.
        std::thread::sleep(Duration::from_millis(1200));
        fs::rename(&away, &here).unwrap();
        stand.daemon().wait_line("opened after all");
        until("it is removed", || stand.left().0.is_empty());
        stand.put("b", b"b\n");
        stand.mark("b");
        stand.expect(b"a\nb\n");
    });
}

#[test]
fn a_spool_that_is_taken_out_before_a_kill_and_put_back_later_repeats_nothing() {
    privilege::needs_seams(|| {
        let mut stand = Spooling::new(Owner::Tailer);
        stand.configure(MARKERS, "");
        stand.faults("EACCES spool-remove 1 1000000\n");
        stand.start();
        stand.put("a", b"a\n");
        stand.mark("a");
        stand.expect(b"a\n");
        stand.daemon().wait_line("cannot remove");
        let toml = stand.scratch.path().join("tailer/tailer.toml");
        let (pipe, log) = (stand.scratch.run("out"), stand.scratch.path().join("tailer/app.log"));
        let without = format!("state_file = \"state.json\"\npipe = {pipe:?}\n[[files]]\npath = {log:?}\n");
        fs::write(toml, without).unwrap();
        stand.daemon().hang_up("watching");
        stand.daemon().kill9();
        stand.faults("");
        stand.start();
        stand.configure(MARKERS, "");
        stand.daemon().hang_up("watching");
        until("it is removed", || stand.left().0.is_empty());
        stand.put("b", b"b\n");
        stand.mark("b");
        stand.expect(b"a\nb\n");
    });
}

#[test]
fn what_may_not_be_read_is_told_once_and_stays_and_holds_nobody_up() {
    let mut stand = Spooling::new(Owner::Tailer);
    stand.configure(&format!("{MARKERS}max_age = \"0s\"\n"), "");
    for name in ["a", "b"] {
        stand.put(name, format!("{name}\n").as_bytes());
    }
    fs::set_permissions(stand.file("a"), fs::Permissions::from_mode(0o0)).unwrap();
    stand.mark("a");
    until_next_stamp();
    stand.mark("b");
    privilege::needs_seams(|| {
        stand.start();
        until("the other one", || stand.drain.bytes() == b"b\n");
        stand.daemon().wait_line("spool/a");
        std::thread::sleep(Duration::from_millis(200));
        assert_eq!(stand.daemon().lines_with("spool/a").len(), 1, "{}", stand.daemon().stderr());
        assert_eq!(stand.left(), (vec!["a".to_owned()], vec!["a".to_owned()]));
        fs::set_permissions(stand.file("a"), fs::Permissions::from_mode(0o600)).unwrap();
        stand.expect(b"b\na\n");
    });
}

#[test]
fn a_file_that_could_not_be_removed_and_was_written_anew_comes_whole() {
    privilege::needs_seams(|| {
        let mut stand = Spooling::new(Owner::Tailer);
        stand.configure(MARKERS, "");
        stand.faults("EACCES spool-remove 1 1000000\n");
        stand.start();
        stand.put("a", b"one life\n");
        stand.mark("a");
        stand.expect(b"one life\n");
        stand.daemon().wait_line("cannot remove");
        // Longer, so that its size says nothing, and one line end where one was.
        fs::write(stand.file("a"), "another\nlife, which is longer\n").unwrap();
        until_next_stamp();
        stand.mark("a");
        stand.expect(b"one life\nanother\nlife, which is longer\n");
        stand.faults("");
        until("it is removed", || stand.left().0.is_empty());
    });
}

#[test]
fn what_should_have_been_removed_unread_and_gets_its_marker_after_all_comes_whole() {
    privilege::needs_seams(|| {
        let mut stand = Spooling::new(Owner::Tailer);
        stand.configure(&format!("{MARKERS}max_age = \"0s\"\nstale = \"remove\"\n"), "");
        stand.faults("EACCES spool-remove 1 1000000\n");
        stand.put("a", b"the beginning\n");
        stand.start();
        stand.daemon().wait_line("cannot remove");
        let mut file = fs::OpenOptions::new().append(true).open(stand.file("a")).unwrap();
        std::io::Write::write_all(&mut file, b"and the end\n").unwrap();
        drop(file);
        until_next_stamp();
        stand.mark("a");
        stand.expect(b"the beginning\nand the end\n");
    });
}
