//! The hook: what it is given, how often it runs, and that nothing waits for it, whatever it does.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use standpipe_tests::deadline::{until, within};
use standpipe_tests::directory::{name, names, set_mode};
use standpipe_tests::privilege::{needs_seams, needs_tool};
use standpipe_tests::programs::reader_stdin;
use standpipe_tests::stands::{Clock, Stand};
use standpipe_tests::world::open_archive;

/// A stand whose hook is this shell script; it runs in the scratch directory, through a relative path.
fn with_script(script: &str, more: &str) -> Stand {
    let stand = Stand::new(&format!("hook = [\"../hook\", \"two words\"]\n{more}"));
    write_script(&stand, "hook", script);
    stand
}

fn write_script(stand: &Stand, name: &str, script: &str) {
    let path = stand.scratch.path().join(name);
    let fresh = path.with_extension("new");
    fs::write(&fresh, format!("#!/bin/sh\ncd {} || exit 99\n{script}\n", stand.scratch.path().display())).unwrap();
    set_mode(&fresh, 0o755);
    fs::rename(fresh, path).unwrap();
}

/// Lines of a file in the scratch directory.
fn said(stand: &Stand, file: &str) -> Vec<String> {
    let text = fs::read_to_string(stand.scratch.path().join(file)).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// Archives that the hook has not had.
fn todos(stand: &Stand) -> Vec<String> {
    names(&stand.log_dir()).into_iter().filter(|name| name.starts_with(".todo-")).collect()
}

fn wait_nothing_to_do(stand: &Stand, archives: usize) {
    until("the hook has had them all", || stand.archives().len() == archives && todos(stand).is_empty());
}

#[test]
fn a_hook_is_given_the_archive_and_nothing_of_ours() {
    needs_seams(|| {
        let script = r#"{
            env | grep ^STANDPIPE_ | sort
            echo "args $# $1"
            grep -E '^Sig(Blk|Ign)' /proc/$$/status | tr -d '\t'
            for n in $(seq 3 200); do [ -e /proc/$$/fd/$n ] && echo "fd $n $(readlink /proc/$$/fd/$n)"; done
            echo "stdin $(readlink /proc/$$/fd/0)"
            echo "umask $(umask)"
            echo "group $(ps -o pgid= -p $$ | tr -d ' ') $$"
        } 2>&1 > /dev/null 4> said.new >&4 4>&-
        mv said.new said"#;
        let stand = with_script(script, "");
        let clock = Clock::new(&stand.scratch, "2026-11-21T10:00:00.5Z");
        let launch = clock.steer(stand.reader()).prelude("exec 7</etc/hostname && umask 027");
        let reader = launch.start();
        stand.write_and_wait("line 1\n");
        clock.set("2026-11-21T10:00:01.123456789Z");
        stand.seal(&reader, "line 2\n");
        wait_nothing_to_do(&stand, 1);
        let archive = stand.archives().remove(0);
        let opened = open_archive(&archive);
        let serial = opened.index().unwrap().serial.unwrap();
        // The C library ignores a signal of its own, or not, by how the tests were started.
        let bare = |line: String| line.replace("SigIgn:0000000080000000", "SigIgn:0000000000000000");
        let said: Vec<String> = said(&stand, "said").into_iter().map(bare).collect();
        // The shell has its script open, and puts its own output aside.
        let is_shell = |line: &str| line.starts_with("fd ") && (line.ends_with("/hook") || line.ends_with("(deleted)"));
        let is_ours =
            |line: &&String| !line.starts_with("STANDPIPE_TEST") && !line.starts_with("group ") && !is_shell(line);
        let expected = [
            format!("STANDPIPE_ARCHIVE={}", archive.display()),
            "STANDPIPE_BYTES=14".to_owned(),
            format!("STANDPIPE_DATA_BYTES={}", opened.data_bytes()),
            "STANDPIPE_FIRST=2026-11-21T10:00:00.500000000Z".to_owned(),
            "STANDPIPE_LAST=2026-11-21T10:00:01.123456789Z".to_owned(),
            "STANDPIPE_LINES=2".to_owned(),
            format!("STANDPIPE_LOG_ID={}", serial.log),
            "STANDPIPE_NUMBER=0".to_owned(),
            "STANDPIPE_PIPE=app".to_owned(),
            "args 1 two words".to_owned(),
            "SigBlk:0000000000000000".to_owned(),
            "SigIgn:0000000000000000".to_owned(),
            "stdin /dev/null".to_owned(),
            "umask 0027".to_owned(),
        ];
        assert_eq!(said.iter().filter(is_ours).collect::<Vec<_>>(), expected.iter().collect::<Vec<_>>());
        let group = said.iter().find_map(|line| line.strip_prefix("group ")).unwrap();
        let (leader, pid) = group.split_once(' ').unwrap();
        assert_eq!(leader, pid, "it leads a process group");
        assert!(reader.lines_with("error").is_empty(), "{}", reader.stderr());
    });
}

/// As in a container, where `unshare` is refused.
#[test]
fn a_hook_has_the_umask_of_whoever_started_the_reader_even_where_a_thread_can_have_none_of_its_own() {
    needs_tool("strace", || {
        let stand = with_script("umask >said.new && mv said.new said", "");
        let refused = ["strace", "-f", "-D", "-qq", "-o", "/dev/null", "-e", "trace=unshare"];
        let refused = refused.into_iter().chain(["-e", "inject=unshare:error=EPERM"]);
        let reader = stand.reader().prelude("umask 027").under(refused).start();
        stand.seal(&reader, "line\n");
        wait_nothing_to_do(&stand, 1);
        assert_eq!(said(&stand, "said"), ["0027"], "{}", reader.stderr());
    });
}

#[test]
fn a_hook_that_fails_is_tried_again_until_it_succeeds_one_at_a_time_and_nothing_waits_for_it() {
    let script = r#"mkdir running || echo overlap >> said
        echo "$(basename $STANDPIPE_ARCHIVE)" >> said
        sleep 0.02; rmdir running
        [ -e good ]"#;
    let stand = with_script(script, "");
    let reader = stand.reader().start();
    for number in 0..3 {
        stand.seal(&reader, &format!("line {number}\n"));
    }
    until("all are archived", || stand.archives().len() == 3);
    reader.wait_line("its exit code was 1; retrying later");
    assert_eq!(todos(&stand).len(), 3);
    fs::write(stand.scratch.path().join("good"), "").unwrap();
    wait_nothing_to_do(&stand, 3);
    let said = said(&stand, "said");
    assert!(!said.contains(&"overlap".to_owned()), "{said:?}");
    for archive in stand.archives() {
        assert!(said.contains(&name(&archive)), "{said:?}");
    }
    assert_eq!(said.len(), 3 + reader.lines_with("its exit code was 1").len(), "{said:?}");
}

#[test]
fn a_program_that_is_missing_is_run_when_it_is_there() {
    let (stand, reader) = Stand::started("hook = [\"../later\"]\n");
    stand.seal(&reader, "line\n");
    let line = reader.wait_line("cannot run hook");
    assert!(line.contains("/later: No such file or directory"), "{line}");
    stand.write_and_wait("meanwhile\n");
    write_script(&stand, "later", "echo there >> said");
    wait_nothing_to_do(&stand, 1);
    assert_eq!(said(&stand, "said"), ["there"]);
}

fn is_alive(pid: &str) -> bool {
    Path::new("/proc").join(pid).exists()
}

#[test]
fn a_hook_that_hangs_is_ended_with_all_that_it_started() {
    let script = "echo $$ >> pids; sleep 300 & echo $! >> pids; [ -e good ] || wait; kill $!";
    let stand = with_script(script, "hook_timeout = \"200ms\"\n");
    let reader = stand.reader().start();
    stand.seal(&reader, "line\n");
    reader.wait_line("it was ended because it took longer than 0.2 s");
    let pids = said(&stand, "pids");
    until("both are gone", || pids.iter().take(2).all(|pid| !is_alive(pid)));
    fs::write(stand.scratch.path().join("good"), "").unwrap();
    wait_nothing_to_do(&stand, 1);
}

#[test]
fn what_a_hook_leaves_running_keeps_nothing_of_ours() {
    let script = "(trap '' HUP; exec sleep 300) & echo $! > pid";
    let stand = with_script(script, "");
    let mut reader = stand.reader().start();
    stand.seal(&reader, "line\n");
    wait_nothing_to_do(&stand, 1);
    let pid = said(&stand, "pid").remove(0);
    // Until then it is the shell, which has the script open.
    until("it is the program", || fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm == "sleep\n"));
    let open: Vec<PathBuf> = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten().map(|fd| fd.path()).collect();
    let open: Vec<_> = open.iter().filter_map(|fd| fs::read_link(fd).ok()).collect();
    assert!(!open.iter().any(|path| path.starts_with(stand.scratch.path())), "{open:?}");
    reader.kill9();
    let _next = stand.reader().start();
    stand.write_and_wait("the lock is free\n");
    kill(Pid::from_raw(pid.parse().unwrap()), Signal::SIGKILL).unwrap();
}

#[test]
fn a_killed_reader_hands_over_again_at_the_next_start() {
    let script = "echo $STANDPIPE_ARCHIVE >> said; [ -e good ] || { echo $$ > pid; exec sleep 300; }";
    let stand = with_script(script, "");
    let mut reader = stand.reader().start();
    stand.seal(&reader, "line\n");
    until("it runs", || !said(&stand, "pid").is_empty());
    reader.kill9();
    assert_eq!(todos(&stand).len(), 1);
    kill(Pid::from_raw(said(&stand, "pid")[0].parse().unwrap()), Signal::SIGKILL).unwrap();
    fs::write(stand.scratch.path().join("good"), "").unwrap();
    // TERM waits for no hook either.
    let mut reader = stand.reader().start();
    wait_nothing_to_do(&stand, 1);
    let said = said(&stand, "said");
    assert_eq!((said.len(), &said[0]), (2, &said[1]));
    assert_eq!(reader.terminate(), 0);
}

#[test]
fn term_waits_for_no_hook() {
    let stand = with_script("echo $$ > pid; exec sleep 300", "");
    let mut reader = stand.reader().start();
    stand.seal(&reader, "line\n");
    until("it runs", || !said(&stand, "pid").is_empty());
    reader.signal(Signal::SIGTERM);
    assert_eq!(reader.wait_exit_within(Duration::from_secs(10)), 0);
    assert_eq!(todos(&stand).len(), 1);
    kill(Pid::from_raw(said(&stand, "pid")[0].parse().unwrap()), Signal::SIGKILL).unwrap();
}

#[test]
fn no_archive_is_forgotten_wherever_the_archiver_dies() {
    needs_seams(|| {
        // The .todo is the second file that is made after the first segment, its link the first.
        for fault in ["kill link 1", "kill sync 1", "kill sync 2", "kill remove 3", "kill times 1"] {
            let stand = with_script("echo $STANDPIPE_LINES >> said", "");
            let mut reader = stand.steered_reader().start();
            stand.write_and_wait("line\n");
            stand.faults(&format!("{fault}\n"));
            reader.signal(Signal::SIGALRM);
            let died = within(Duration::from_secs(3), || !reader.is_running());
            assert!(died || fault.contains("remove"), "{fault}");
            drop(reader);
            stand.faults("");
            let _next = stand.reader().start();
            wait_nothing_to_do(&stand, 1);
            until("it was handed over", || !said(&stand, "said").is_empty());
            assert!(said(&stand, "said").iter().all(|lines| lines == "1"), "{fault}");
        }
    });
}

#[test]
fn no_hook_runs_while_a_policy_is_wrong() {
    let stand = with_script("echo ran >> said; exit 1", "");
    let mut reader = stand.reader().start();
    stand.seal(&reader, "line 1\n");
    reader.wait_line("its exit code was 1");
    assert_eq!(reader.terminate(), 0);
    fs::remove_file(stand.scratch.path().join("said")).unwrap();
    stand.scratch.write_policy("app.toml", "hook_timeout = \"0s\"\n");
    let mut reader = stand.reader().start();
    stand.seal(&reader, "line 2\n");
    until("it is archived", || stand.archives().len() == 2);
    assert_eq!((reader.terminate(), said(&stand, "said").len(), todos(&stand).len()), (0, 0, 1));
}

#[test]
fn a_hook_that_prints_megabytes_is_no_trouble() {
    let stand = with_script("head -c 3000000 /dev/zero | tr '\\0' x; echo; echo ran > said", "");
    let reader = stand.reader().start();
    stand.seal(&reader, "line\n");
    wait_nothing_to_do(&stand, 1);
    assert_eq!(said(&stand, "said"), ["ran"]);
    assert!(reader.stderr().len() > 3_000_000);
}

#[test]
fn a_reader_of_standard_input_waits_for_its_hook() {
    let stand = with_script("sleep 0.3; echo $STANDPIPE_PIPE $2 > said", "");
    let hook = stand.scratch.path().join("hook");
    let (input, mut output) = std::io::pipe().unwrap();
    let launch = reader_stdin(stand.log_dir()).stdin(input);
    let mut reader = launch.arg("--hook").arg(&hook).args(["--hook", "-v", "--hook", "last"]).start();
    output.write_all(b"line\n").unwrap();
    drop(output);
    assert_eq!(reader.wait_exit(), 0, "{}", reader.stderr());
    assert_eq!((said(&stand, "said"), todos(&stand).len()), (vec!["app last".to_owned()], 0));
}
