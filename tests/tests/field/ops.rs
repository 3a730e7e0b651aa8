//! `examples/ops`: pipes that come and go, a log root that moves, and the logs of other loggers, brought along. Others'
//! lines flow on meanwhile, and all of them arrive.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use nix::unistd::{Gid, Group};

use crate::example::{example, programs};
use crate::supervised::{Supervisor, Tree};
use standpipe_tests::deadline::until;
use standpipe_tests::directory::{Scratch, set_mode};
use standpipe_tests::privilege::{NOBODY, give, is_root, needs_tools, ordinary_user};
use standpipe_tests::programs::{Launch, Process, command};
use standpipe_tests::world::{Check, Writer, is_held, stream_of};

const PAUSE: Duration = Duration::from_micros(200);

fn script(name: &str) -> Command {
    let mut script = command(example(&format!("ops/{name}")));
    script.env("PATH", format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", programs())).stdin(Stdio::null());
    script
}

/// The same for the pipes of a supervision tree.
fn script_for(tree: &Tree, name: &str) -> Command {
    let group = if is_root() { Gid::from_raw(NOBODY) } else { Gid::effective() };
    let group = Group::from_gid(group).expect("groups").expect("a group of that number").name;
    let mut script = script(name);
    script.env("PIPES", tree.scratch.pipes()).env("GROUP", group);
    script
}

fn succeed(script: &mut Command) -> String {
    let output = script.output().expect("a script");
    assert!(output.status.success(), "{script:?}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn refused(script: &mut Command, because: &str) {
    let output: Output = script.output().expect("a script");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains(because), "{because}: {output:?}");
}

/// Ends the tree behind its writer, and counts what its pipe brought.
fn finish(tree: Tree, writer: Writer, log: &Path) {
    let written = writer.stop();
    assert!(written.error.is_none(), "{written:?}");
    let _scratch = tree.stop();
    let mut check = Check::new();
    check.feed(&stream_of(log));
    let tally = check.finish(&[(1, written.lines)]);
    assert!(tally.is_whole() && tally.found > 0, "{tally:?} of {}", written.lines);
}

#[test]
fn a_pipe_is_added_and_removed_with_nothing_lost_in_it_or_beside_it() {
    needs_tools(&["runsvdir"], || {
        let tree = Tree::start(Supervisor::Runit);
        let log = tree.scratch.logs().join("app");
        let writer = Writer::start(&tree.scratch.run("app"), 1, None, PAUSE);
        let (web, link) = (tree.scratch.run("web"), tree.scratch.pipes().join("web"));
        tree.scratch.write_policy("web.toml", "stage = true\n");
        for _again in 0..2 {
            let said = succeed(script_for(&tree, "add-pipe").arg("web").arg(&web));
            assert!(said.contains("is held and read"), "{said}");
            assert!(is_held(&web));
        }
        refused(script_for(&tree, "add-pipe").args(["web", "/run/elsewhere"]), "leads to");
        refused(script_for(&tree, "add-pipe").arg("no/name"), "cannot be the name of a pipe");
        let mut server = OpenOptions::new().write(true).open(&web).expect("a FIFO that is held");
        server.write_all(b"a line\n").expect("a reader");
        refused(script_for(&tree, "remove-pipe").arg("web"), "is still open in ");
        server.write_all(b"its last line\n").expect("a reader");
        assert!(link.exists() && is_held(&web));
        drop(server);
        let said = succeed(script_for(&tree, "remove-pipe").arg("web"));
        assert!(said.contains("web: removed"), "{said}");
        assert!(!link.exists() && fs::symlink_metadata(&link).is_err() && !web.exists());
        assert!(!tree.scratch.run("web.stage").exists());
        assert_eq!(stream_of(&tree.scratch.logs().join("web")), b"a line\nits last line\n");
        finish(tree, writer, &log);
    });
}

#[test]
fn a_log_root_moves_within_its_file_system_and_to_another_while_servers_write() {
    needs_tools(&["runsvdir", "rsync"], || {
        let tree = Tree::start(Supervisor::Runit);
        let writer = Writer::start(&tree.scratch.run("app"), 1, None, PAUSE);
        let elsewhere = tempfile::tempdir_in("/dev/shm").expect("another file system");
        give(elsewhere.path());
        let reader = tree.services.join("reader").display().to_string();
        let roots =
            [tree.scratch.path().join("moved"), elsewhere.path().join("moved"), tree.scratch.path().join("home")];
        let mut old = tree.scratch.logs();
        for new in &roots {
            let lines = writer.lines();
            until("some lines were written", || writer.lines() > lines + 100);
            let mut script = script_for(&tree, "move-log-root");
            script.env("STOP_READER", format!("sv -w 60 stop {reader}"));
            let said = succeed(script.env("START_READER", format!("sv -w 60 start {reader}")).arg(new));
            let copied = old.starts_with("/dev/shm") != new.starts_with("/dev/shm");
            assert_eq!(said.contains(&format!("rm -r {}", old.display())), copied, "{said}");
            assert_eq!(old.exists(), copied);
            old.clone_from(new);
        }
        refused(script_for(&tree, "move-log-root").arg(&old), "is there already");
        finish(tree, writer, &old.join("app"));
    });
}

#[test]
fn a_script_that_cannot_finish_takes_back_what_it_made() {
    needs_tools(&["runsvdir", "rsync"], || {
        let tree = Tree::start(Supervisor::Runit);
        let (web, link) = (tree.scratch.run("web"), tree.scratch.pipes().join("web"));
        let nothing_is_left = |what: &str| {
            let made: Vec<_> =
                files(&tree.scratch.path().join("run")).into_iter().filter(|name| name.starts_with("web")).collect();
            assert!(made.is_empty() && fs::symlink_metadata(&link).is_err(), "{what}: {made:?}");
        };
        let failing = |name: &str| {
            let mut script = script_for(&tree, name);
            script.env("RELOAD", "false").env("TIMEOUT", "5");
            script
        };
        refused(failing("add-pipe").arg("web").arg(&web), "");
        nothing_is_left("no reload");
        refused(
            script_for(&tree, "add-pipe").env("GROUP", "no-such-group").arg("web").arg(&web),
            "cannot give a FIFO to",
        );
        nothing_is_left("no such group");
        if let Some(id) = ordinary_user() {
            // Who may make a FIFO there, and nothing else.
            set_mode(&tree.scratch.path().join("run"), 0o777);
            let mut stranger = script_for(&tree, "add-pipe");
            refused(stranger.uid(id - 1).gid(id - 1).arg("web").arg(&web), "as that user or as root");
            nothing_is_left("a user without rights");
        }
        let app = tree.scratch.pipes().join("app");
        let target = fs::read_link(&app).expect("a link");
        refused(failing("remove-pipe").arg("app"), "");
        assert_eq!(fs::read_link(&app).expect("it is back"), target);
        let elsewhere = tempfile::tempdir_in("/dev/shm").expect("another file system");
        give(elsewhere.path());
        let defaults = fs::read(tree.scratch.pipes().join("defaults.toml")).expect("a policy");
        for new in [tree.scratch.path().join("moved"), elsewhere.path().join("moved")] {
            let mut script = script_for(&tree, "move-log-root");
            refused(script.env("STOP_READER", "false").env("START_READER", "true").arg(&new), "");
            let left = files(new.parent().expect("a directory"));
            assert!(!left.iter().any(|name| name.starts_with("moved")), "{left:?}");
        }
        assert_eq!(fs::read(tree.scratch.pipes().join("defaults.toml")).expect("a policy"), defaults);
        let old = tree.scratch.make_dir("old-log");
        for name in ["@400000006000000000000000.s", "current"] {
            fs::write(old.join(name), "a line\n").expect("a file");
            give(&old.join(name));
        }
        set_mode(&old.join("@400000006000000000000000.s"), 0);
        refused(as_logger(script("migrate").arg(&old)), "nothing was changed");
        assert!(!files(tree.scratch.path()).iter().any(|name| name.starts_with("old-log.")));
        tree.stop();
    });
}

/// A package may give the programs longer names, of which the kernel keeps 15 bytes; and what only reads is left alone.
#[test]
fn the_programs_of_a_pipes_directory_are_found_by_either_name_and_no_others() {
    let scratch = Scratch::new();
    scratch.pipe("app");
    let pipes = scratch.pipes().display().to_string();
    let long = scratch.path().join("standpipe-holder");
    std::os::unix::fs::symlink(format!("{}/holder", programs()), &long).expect("a link");
    let quiet = |command: &mut Command| Process::start(command.stdin(Stdio::null()).stderr(Stdio::null()));
    let short = quiet(as_logger(command(format!("{}/holder", programs())).current_dir(scratch.pipes())));
    let long = quiet(as_logger(command(long).arg(scratch.pipes())));
    let _other = quiet(as_logger(command(format!("{}/holder", programs())).arg(scratch.make_dir("other"))));
    let find = || {
        let mut shell = command("sh");
        let find = format!(". {}; daemons holder", example("ops/pipes.sh").display());
        let output = shell.args(["-c", &find]).env("PIPES", &pipes).output().expect("a shell");
        let mut found: Vec<u32> =
            String::from_utf8_lossy(&output.stdout).lines().map(|pid| pid.parse().expect("a number")).collect();
        found.sort_unstable();
        found
    };
    let mut both = [short.id(), long.id()];
    both.sort_unstable();
    until("both are found", || find() == both);
}

/// A logger that people come from, with small files, and what packs them.
fn logger(tool: &str, dir: &Path, packed: bool) -> Command {
    let mut logger = command(tool);
    let pack = packed.then_some("!gzip");
    match tool {
        "svlogd" => {
            fs::write(dir.join("config"), format!("s4096\nn100\n{}\n", pack.unwrap_or_default())).expect("a file");
        }
        _ => {
            logger.args(["n100", "s4096"]).args(pack);
        }
    }
    logger.arg(dir).stdin(Stdio::piped()).stderr(Stdio::null());
    if let Some(id) = ordinary_user() {
        logger.uid(id).gid(id);
    }
    logger
}

fn as_logger(script: &mut Command) -> &mut Command {
    if let Some(id) = ordinary_user() {
        script.uid(id).gid(id);
    }
    script
}

#[test]
fn the_logs_of_svlogd_s6_log_and_multilog_are_brought_along_packed_or_not() {
    const LINES: usize = 1000;
    needs_tools(&["svlogd", "s6-log", "multilog"], || {
        let scratch = Scratch::new();
        for (tool, packed) in
            ["svlogd", "s6-log", "multilog"].into_iter().flat_map(|tool| [(tool, false), (tool, true)])
        {
            let dir = scratch.make_dir(&format!("{tool}-{packed}"));
            let mut logger = Process::start(&mut logger(tool, &dir, packed));
            let mut input = logger.stdin.take().expect("a pipe");
            let mut expected = String::new();
            for line in 0..LINES {
                let line = format!("line {line} of a log that goes on\n");
                input.write_all(line.as_bytes()).expect("it reads");
                expected.push_str(&line);
            }
            let has_rotated = || files(&dir).iter().any(|name| name.starts_with('@'));
            until("it is at work", has_rotated);
            refused(as_logger(script("migrate").arg(&dir)), "another logger is running");
            drop(input);
            until("it has ended", || logger.try_wait().is_ok_and(|status| status.is_some()));
            let theirs = files(&dir);
            assert!(theirs.iter().filter(|name| name.starts_with('@')).count() > 1, "{tool}: {theirs:?}");
            let said = succeed(as_logger(script("migrate").arg(&dir)));
            assert!(said.contains(&format!("{LINES} lines brought along")), "{tool}: {said}");
            assert_eq!(files(&PathBuf::from(format!("{}.old", dir.display()))), theirs, "{tool}");
            refused(as_logger(script("migrate").arg(&dir)), "is there already");
            let (reader, mut service) = std::io::pipe().expect("a pipe");
            service.write_all(b"and goes on\n").expect("room");
            drop(service);
            let output = Launch::new("reader").args(["stdin", "--continue"]).arg(&dir).stdin(reader).run();
            assert_eq!(output.code, 0, "{output:?}");
            let output = Launch::new("reader").arg("logs").arg(&dir).run();
            assert!(output.stdout == (expected + "and goes on\n").as_bytes(), "{tool}, packed {packed}: {output:?}");
        }
    });
}

/// The end of the script is two renames; whatever it was killed at, the next run repeats no line.
#[test]
fn a_migration_that_was_interrupted_goes_on() {
    let scratch = Scratch::new();
    let dir = scratch.make_dir("log");
    fs::write(dir.join("current"), "a line\nhalf a line").expect("a file");
    let half = scratch.make_dir("log.new");
    fs::write(half.join("garbage"), "of a run before").expect("a file");
    succeed(as_logger(script("migrate").arg(&dir)));
    let (old, new) = (scratch.path().join("log.old"), scratch.path().join("log.new"));
    fs::rename(&dir, &new).expect("as between the two renames");
    succeed(as_logger(script("migrate").arg(&dir)));
    assert!(old.exists() && !new.exists());
    assert_eq!(stream_of(&dir), b"a line\nhalf a line");
}

fn files(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap_or_else(|error| panic!("cannot list {}: {error}", dir.display())).flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort_unstable();
    names
}
