//! `mailbox_dir`: mailboxes outside the log root. Whatever the configuration is between two kills, nothing is lost or
//! repeated; no planted link is followed; a directory that cannot be used is refused before a pipe is opened.

use std::fs;
use std::os::unix::fs::{lchown, symlink};
use std::path::{Path, PathBuf};

use standpipe_tests::deadline::until;
use standpipe_tests::directory::{files_of, set_mode};
use standpipe_tests::privilege::{NOBODY, give, is_root, needs_root, needs_seams};
use standpipe_tests::programs::{KILLED, command, query, reader_stdin};
use standpipe_tests::stands::Bench;
use standpipe_tests::world::{assert_same, hold, is_held, put, queued, stream_of, wait_empty};

/// A file system in memory, until this goes.
struct Tmpfs(PathBuf);

impl Tmpfs {
    fn new(dir: &Path) -> Tmpfs {
        let done = command("mount").args(["-t", "tmpfs", "-o", "size=16m,mode=755", "none"]).arg(dir).status();
        assert!(done.is_ok_and(|status| status.success()), "mount {}", dir.display());
        give(dir);
        Tmpfs(dir.to_path_buf())
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        command("umount").arg("-l").arg(&self.0).status().ok();
    }
}

fn configure(bench: &Bench, dir: Option<&str>) {
    let line = dir.map(|dir| format!("mailbox_dir = \"../{dir}\"\n")).unwrap_or_default();
    bench.scratch.write_policy("defaults.toml", &line);
}

/// Where the mailboxes of the log root lie, and that nothing else lies there.
fn assert_lie_in(bench: &Bench, dir: Option<&Path>) {
    let names = bench.root_files(".mailbox-");
    assert_eq!(names.len(), 2, "{names:?}");
    for name in &names {
        let target = fs::read_link(name).ok();
        assert_eq!(target.as_ref().and_then(|target| target.parent()), dir, "{}", name.display());
    }
    assert!(bench.root_files(".unfinished-").is_empty());
    if let Some(dir) = dir {
        assert_eq!(files_of(dir, |_| true).len(), 2, "{:?}", files_of(dir, |_| true));
    }
}

#[test]
fn mailboxes_lie_where_the_configuration_wants_them_and_nowhere_else() {
    let (bench, pipe) = Bench::new().holding("app");
    let (a, b) = (bench.scratch.make_dir("a"), bench.scratch.make_dir("b"));
    for (dir, path) in [(None, None), (Some("a"), Some(&a)), (Some("b"), Some(&b)), (Some("b"), Some(&b)), (None, None)]
    {
        configure(&bench, dir);
        let reader = bench.reader().start();
        put(&pipe, b"line\n");
        wait_empty(&pipe);
        assert_lie_in(&bench, path.map(PathBuf::as_path));
        assert_eq!(reader.stop().lines().count(), 1);
    }
    bench.wait_stored("app", &b"line\n".repeat(5));
    assert!(files_of(&a, |_| true).is_empty() && files_of(&b, |_| true).is_empty());
}

#[test]
fn two_log_roots_share_a_mailbox_dir() {
    let shared = Bench::new();
    let dir = shared.scratch.make_dir("m");
    let benches = [Bench::new(), Bench::new()];
    let readers: Vec<_> = benches
        .iter()
        .map(|bench| {
            let pipe = hold(&bench.scratch.pipe("app"));
            bench.scratch.write_policy("defaults.toml", &format!("mailbox_dir = \"{}\"\nlevle = 1\n", dir.display()));
            put(&pipe, b"line\n");
            let reader = bench.reader().start();
            bench.wait_stored("app", b"line\n");
            (reader, pipe)
        })
        .collect();
    assert_eq!(files_of(&dir, |name| name.starts_with("standpipe-mailbox-")).len(), 4);
    for (reader, _pipe) in readers {
        reader.stop();
    }
}

/// Kills readers at random points while the configuration wanders, with every byte accounted for.
fn killed_while_the_configuration_changes(bench: &Bench, dirs: &[Option<&str>]) {
    let pipe = hold(&bench.scratch.pipe("app"));
    let mut sent = Vec::new();
    let points =
        ["arrived", "word", "write", "populate", "read", "symlink", "rename", "create", "allocate", "map", "remove"];
    for round in 0..66 {
        configure(bench, dirs[round % dirs.len()]);
        let (point, time) = (points[round % points.len()], 1 + round / points.len());
        let how = if point == "write" && round % 2 == 0 { "half" } else { "kill" };
        bench.faults(&format!("{how} {point} {time}"));
        let line = format!("line {round:05} {}\n", "x".repeat(round));
        put(&pipe, line.as_bytes());
        sent.extend(line.into_bytes());
        let mut reader = bench.steered_reader().start_unready();
        until("it is killed, or went past that", || !reader.is_running() || queued(&pipe) == 0);
        if reader.is_running() {
            reader.kill9();
        }
        let said = reader.stderr();
        assert!(!said.contains("error"), "{how} {point} {time}: {said}");
    }
    bench.faults("");
    configure(bench, dirs[0]);
    let reader = bench.reader().start();
    wait_empty(&pipe);
    until("all is stored", || stream_of(&bench.log("app")).len() >= sent.len());
    assert_same(&stream_of(&bench.log("app")), &sent, "all lines");
    reader.stop();
    assert!(bench.root_files(".salvaged-").is_empty());
    assert_lie_in(bench, dirs[0].map(|dir| bench.scratch.path().join(dir)).as_deref());
    for dir in dirs.iter().skip(1).flatten().filter(|dir| Some(**dir) != dirs[0]) {
        let left = files_of(&bench.scratch.path().join(dir), |_| true);
        assert!(left.is_empty(), "{left:?}");
    }
}

#[test]
fn nothing_is_lost_when_the_place_changes_between_kills() {
    needs_seams(|| {
        let bench = Bench::new();
        bench.scratch.make_dir("a");
        bench.scratch.make_dir("b");
        killed_while_the_configuration_changes(&bench, &[Some("a"), None, Some("b")]);
        let bench = Bench::new();
        bench.scratch.make_dir("a");
        killed_while_the_configuration_changes(&bench, &[None, Some("a")]);
    });
}

#[test]
fn nothing_is_lost_when_the_mailboxes_lie_on_another_file_system() {
    needs_root(|| {
        needs_seams(|| {
            let bench = Bench::new();
            let _memory = Tmpfs::new(&bench.scratch.make_dir("a"));
            killed_while_the_configuration_changes(&bench, &[Some("a"), Some("a"), None]);
        });
    });
}

#[test]
fn a_mailbox_that_is_set_aside_stays_where_it_is_and_is_not_used_again() {
    needs_seams(|| {
        let bench = Bench::new();
        let dir = bench.scratch.make_dir("a");
        let pipe = hold(&bench.scratch.pipe("app"));
        configure(&bench, Some("a"));
        put(&pipe, b"the chunk\n");
        bench.faults("kill arrived 1");
        bench.steered_reader().run_to_kill();
        bench.faults("");
        let output = query("logs", &bench.scratch).run();
        assert!(output.stderr.contains("10 more bytes in the mailbox"), "{}", output.stderr);
        for entry in fs::read_dir(bench.log("app")).expect("a log").flatten() {
            fs::remove_file(entry.path()).expect("a file of the log");
        }
        let reader = bench.reader().start();
        let said = reader.wait_line("set aside as");
        assert!(said.contains("app: 10 bytes for 20"), "{said}");
        reader.stop();
        for _ in 0..2 {
            put(&pipe, b"later\n");
            let reader = bench.reader().start();
            wait_empty(&pipe);
            reader.stop();
        }
        let aside = bench.root_files(".salvaged-");
        assert_eq!(aside.len(), 1);
        assert!(fs::read(&aside[0]).expect("a mailbox").windows(10).any(|window| window == b"the chunk\n"));
        assert_eq!(files_of(&dir, |_| true).len(), 3);
    });
}

#[test]
fn a_mailbox_whose_file_is_out_of_reach_is_set_aside_and_can_come_back() {
    needs_seams(|| {
        let bench = Bench::new();
        let dir = bench.scratch.make_dir("a");
        let pipe = hold(&bench.scratch.pipe("app"));
        configure(&bench, Some("a"));
        put(&pipe, b"one\n");
        bench.faults("kill arrived 1");
        bench.steered_reader().run_to_kill();
        bench.faults("");
        fs::rename(&dir, bench.scratch.path().join("away")).expect("a directory of ours");
        configure(&bench, None);
        let reader = bench.reader().start();
        reader.wait_lines("a mailbox was set aside as", 2);
        reader.stop();
        // Its file system is there again: the links still lead to it, and need only their old names.
        fs::rename(bench.scratch.path().join("away"), &dir).expect("a directory of ours");
        for (number, link) in bench.root_files(".salvaged-").into_iter().enumerate() {
            fs::rename(link, bench.scratch.logs().join(format!(".mailbox-{}", 7 + number))).expect("a link of ours");
        }
        let reader = bench.reader().start();
        bench.wait_stored("app", b"one\n");
        reader.stop();
        assert_lie_in(&bench, None);
        assert!(files_of(&dir, |_| true).is_empty());
    });
}

#[test]
fn a_planted_link_is_refused() {
    let victim = |bench: &Bench| {
        let victim = bench.scratch.path().join("victim");
        fs::write(&victim, "precious").expect("a file");
        give(&victim);
        victim
    };
    // By another user: whatever it leads to.
    needs_root(|| {
        let bench = Bench::new();
        bench.scratch.pipe("app");
        let link = bench.scratch.logs().join(".mailbox-0");
        symlink(victim(&bench), &link).expect("a link");
        lchown(&link, Some(1234), Some(1234)).expect("root may");
        let output = bench.reader().run();
        assert_eq!(output.code, 3, "{}", output.stderr);
        assert!(output.stderr.contains("a link made by user 1234"), "{}", output.stderr);
        assert!(!is_held(&bench.scratch.run("app")));
    });
    // By ourselves, to what is no file of ours with one name.
    let bench = Bench::new();
    bench.scratch.pipe("app");
    let link = bench.scratch.logs().join(".mailbox-0");
    let twice = victim(&bench);
    fs::hard_link(&twice, bench.scratch.path().join("twice")).expect("a second name");
    for target in [twice.as_path(), Path::new("/etc/passwd"), Path::new("/dev/null"), &bench.scratch.run("app")] {
        symlink(target, &link).expect("a link");
        if is_root() {
            lchown(&link, Some(NOBODY), Some(NOBODY)).expect("root may");
        }
        let output = bench.reader().run();
        assert_eq!(output.code, 3, "{}", output.stderr);
        let sentence = format!(
            "cannot open mailbox {}: not a regular file owned by this user with a single link",
            target.display()
        );
        assert!(output.stderr.contains(&sentence), "{}", output.stderr);
        assert_eq!(output.stderr.lines().count(), 1, "{}", output.stderr);
        fs::remove_file(&link).expect("a link");
    }
    assert_eq!(fs::read(twice).expect("a file"), b"precious");
}

#[test]
fn a_mailbox_dir_that_cannot_be_used_is_refused_before_a_pipe_is_opened() {
    let bench = Bench::new();
    bench.scratch.pipe("app");
    let dir = bench.scratch.make_dir("locked");
    set_mode(&dir, 0o555);
    fs::write(bench.scratch.path().join("file"), "").expect("a file");
    for (name, cause) in
        [("missing", "No such file or directory"), ("locked", "Permission denied"), ("file", "Not a directory")]
    {
        configure(&bench, Some(name));
        let output = bench.reader().run();
        assert_eq!(output.code, 3, "{}", output.stderr);
        assert!(
            output.stderr.starts_with("reader: error: cannot ") && output.stderr.contains(cause),
            "{}",
            output.stderr
        );
        assert!(
            output.stderr.contains(&format!("/{name}: ")) && output.stderr.lines().count() == 1,
            "{}",
            output.stderr
        );
        assert!(!is_held(&bench.scratch.run("app")));
    }
    bench.scratch.write_policy("app.toml", "mailbox_dir = \"x\"\n");
    let output = bench.reader().arg("--check-config").run();
    assert_eq!(output.code, 2);
    assert!(output.stderr.contains("`mailbox_dir` is allowed in defaults.toml only"), "{}", output.stderr);
}

#[test]
fn reader_stdin_has_it_as_a_flag() {
    needs_seams(|| {
        let bench = Bench::new();
        let dir = bench.scratch.make_dir("m");
        let log = bench.log("app");
        let fifo = bench.scratch.fifo("in");
        let pipe = hold(&fifo);
        let launch = || {
            let input = fs::OpenOptions::new().read(true).write(true).open(&fifo).expect("a FIFO");
            let launch = reader_stdin(&log).arg("--mailbox-dir").arg(&dir);
            bench.steer(launch).stdin(input)
        };
        put(&pipe, b"one\n");
        bench.faults("kill arrived 1");
        assert_eq!(launch().start_unready().wait_exit(), KILLED);
        bench.faults("");
        put(&pipe, b"two\n");
        let reader = launch().start();
        until("both are stored", || stream_of(&log) == b"one\ntwo\n");
        let (files, links) = (files_of(&dir, |_| true), files_of(&log, |name| name.starts_with(".mailbox-")));
        assert!(files.len() == 1 && links.len() == 1 && links[0].is_symlink(), "{files:?} {links:?}");
        reader.stop();
        assert_eq!(files_of(&dir, |_| true).len(), 0);
    });
}
