//! `holder status`: what is shown of pipes from outside, and that looking at them harms nobody.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::libc;
use serde_json::{Value, json};
use standpipe_tests::deadline::{CONDITION_SPAN, until, within};
use standpipe_tests::directory::{Scratch, make_fifo, set_mode};
use standpipe_tests::privilege::{NOBODY, needs_root, needs_tool};
use standpipe_tests::programs::{Launch, Output, Process, command, holder};
use standpipe_tests::world::{open_reader, open_writer, queued, read_all};

fn ask(scratch: &Scratch) -> Launch {
    Launch::new("holder").arg("status").arg(scratch.pipes())
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("names that are not UTF-8 are escaped")
}

/// What scripts see, with the exit code. As whoever runs the tests.
fn report(scratch: &Scratch) -> (i32, Value) {
    let output = ask(scratch).arg("--json").as_tests().run();
    (output.code, serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("no JSON: {output:?}")))
}

fn row<'a>(report: &'a Value, name: &str) -> &'a Value {
    let pipes = report["pipes"].as_array().expect("an array of pipes");
    pipes.iter().find(|pipe| pipe["name"] == name).unwrap_or_else(|| panic!("no pipe {name}: {report}"))
}

fn pids(processes: &Value) -> Vec<u32> {
    processes.as_array().into_iter().flatten().map(|process| process["pid"].as_u64().unwrap() as u32).collect()
}

/// Another program that has this FIFO open; killed with the test.
struct Stranger(Process);

impl Stranger {
    fn start(program: &str, args: &[&OsStr], file: &Path) -> Stranger {
        let mut started = command(program);
        Stranger(Process::start(started.args(args).arg(file).stdin(Stdio::null()).stdout(Stdio::null())))
    }
}

#[test]
fn a_held_pipe_is_shown_with_all_who_have_it_open_and_how_full_it_is() {
    let scratch = Scratch::new();
    let fifo = scratch.pipe("app");
    let holder = holder(&scratch).as_tests().start();
    let mut server = open_writer(&fifo, 0).unwrap();
    server.write_all(&[b'x'; 1000]).unwrap();
    let _named_only = fs::OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(&fifo).unwrap();
    let before = fs::metadata(&fifo).unwrap();
    let (mut code, mut report) = report(&scratch);
    // Another test may be about to start a program, which has our descriptors until it does.
    within(CONDITION_SPAN, || {
        (code, report) = self::report(&scratch);
        pids(&row(&report, "app")["writers"]) == [std::process::id()]
    });
    assert_eq!((code, &report["version"]), (0, &json!(1)), "{report}");
    let app = row(&report, "app");
    assert_eq!(app["target"], fifo.canonicalize().unwrap().to_str().unwrap());
    assert_eq!((&app["held"], pids(&app["holders"])), (&json!(true), vec![holder.pid()]), "{report}");
    assert_eq!(pids(&app["writers"]), [std::process::id()], "{report}");
    assert!(pids(&app["readers"]).is_empty(), "a descriptor that only names it reads nothing: {report}");
    let level = (&app["queued_bytes"], &app["capacity_bytes"], &app["full"], &app["problem"]);
    assert_eq!(level, (&json!(1000), &json!(1 << 20), &json!(false), &Value::Null));
    // Nothing was taken, added or touched.
    assert_eq!(queued(&server), 1000);
    let times = |is: &fs::Metadata| (is.modified().unwrap(), is.accessed().unwrap());
    assert_eq!(times(&before), times(&fs::metadata(&fifo).unwrap()));

    let shown = text(&ask(&scratch).as_tests().run());
    let lines: Vec<_> = shown.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).collect();
    assert_eq!(lines[0], ["PIPE", "TARGET", "HELD", "READERS", "WRITERS", "QUEUED", "SIZE", "FULL"], "{shown}");
    assert!(lines[1].starts_with(&["app"]) && lines[1].ends_with(&["1000", "1MiB", "no"]), "{shown}");
    assert!(lines[1].contains(&"yes"), "{shown}");
}

#[test]
fn a_fifo_that_is_not_held_has_a_reason() {
    needs_root(|| {
        let scratch = Scratch::new();
        scratch.pipe("app");
        let shut = scratch.pipe("shut");
        std::os::unix::fs::chown(&shut, Some(1), Some(1)).unwrap();
        set_mode(&shut, 0o060);
        let holder = holder(&scratch).start();
        scratch.pipe("new");
        let (_, report) = report(&scratch);
        let reason = |name: &str| row(&report, name)["problem"].as_str().unwrap_or_default().to_owned();
        let said = reason("shut");
        assert!(said.contains("cannot read and write it (mode 0060, owner daemon, group daemon)"), "{said}");
        let expected = format!("holder (pid {}) has not opened it: ", holder.pid());
        assert_eq!(reason("new"), expected + "send it HUP if the pipe is new, or read its messages");
        assert_eq!(reason("app"), "");
        let shown = text(&ask(&scratch).as_tests().env("COLUMNS", "500").run());
        assert!(shown.contains("\nshut: holder runs as user ") && shown.contains("\nnew: holder (pid "), "{shown}");
    });
}

#[test]
fn readers_are_named_and_many_are_counted() {
    let scratch = Scratch::new();
    let (app, many) = (scratch.pipe("app"), scratch.pipe("many"));
    let _holder = holder(&scratch).as_tests().start();
    let cat = Stranger::start("cat", &[], &app);
    let _others = [1, 2, 3].map(|_| Stranger::start("cat", &[], &many));
    let shown = || text(&ask(&scratch).as_tests().env("COLUMNS", "200").run());
    until("all of them have it open", || shown().contains("3 processes"));
    until("and the one", || shown().contains(&format!("cat {}", cat.0.id())));
}

#[test]
fn a_pipe_is_full_when_a_writer_would_wait_whatever_its_bytes_say() {
    let scratch = Scratch::new();
    let fifo = scratch.pipe("app");
    scratch.write_policy("app.toml", "pipe_size = \"64KiB\"\n");
    let _holder = holder(&scratch).as_tests().start();
    let mut server = open_writer(&fifo, 0).unwrap();
    while server.write(&[b'x'; 2100]).is_ok() {}
    let (code, report) = report(&scratch);
    let app = row(&report, "app");
    assert_eq!((code, &app["full"], &app["capacity_bytes"]), (1, &json!(true), &json!(65536)), "{report}");
    assert!(app["queued_bytes"].as_u64().unwrap() < 40_000, "51 % of its bytes: {report}");
    read_all(&mut open_reader(&fifo));
    let (code, report) = self::report(&scratch);
    assert_eq!((code, &row(&report, "app")["full"]), (0, &json!(false)));
}

#[test]
fn a_full_pipe_that_nobody_reads_is_a_problem_and_one_that_a_reader_is_at_is_not() {
    let scratch = Scratch::new();
    let (app, _web) = (scratch.pipe("app"), scratch.pipe("web"));
    scratch.write_policy("app.toml", "pipe_size = \"16KiB\"\n");
    let _holder = holder(&scratch).as_tests().start();
    let mut server = open_writer(&app, 0).unwrap();
    while server.write(&[b'x'; 2100]).is_ok() {}
    let problem = |report: &Value| row(report, "app")["problem"].as_str().unwrap_or_default().to_owned();
    let (code, full) = report(&scratch);
    assert!(code == 1 && problem(&full).contains("its server waits"), "{full}");
    assert_eq!(row(&full, "web")["problem"], Value::Null);
    let shown = text(&ask(&scratch).as_tests().run());
    let line = shown.lines().find(|line| line.starts_with("app ")).unwrap();
    assert!(line.ends_with("yes, not read") && shown.contains("\napp: the pipe is full and no"), "{shown}");
    // A server that has it open for reading, too, is no reader.
    let both = fs::OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(&app).unwrap();
    let (code, full) = report(&scratch);
    assert!(code == 1 && problem(&full).contains("no reader is visible"), "{full}");
    drop(both);
    let _reader = Stranger::start("sh", &["-c", "exec sleep 1000 <\"$0\""].map(OsStr::new), &app);
    until("a reader is found", || row(&self::report(&scratch).1, "app")["readers"] != Value::Null);
    let (code, full) = report(&scratch);
    assert_eq!((code, problem(&full), &row(&full, "app")["full"]), (0, String::new(), &json!(true)), "{full}");
}

/// A file system in user space lets in nobody but whoever mounted it.
#[test]
fn a_descriptor_that_cannot_be_examined_makes_nothing_else_unknown() {
    let test = || {
        let scratch = Scratch::new();
        scratch.pipe("app");
        let [hidden, _] = ["hidden", "mounted"].map(|name| scratch.make_dir(name));
        fs::write(hidden.join("file"), "").unwrap();
        let as_nobody = format!("setpriv --reuid {NOBODY} --regid {NOBODY} --clear-groups");
        let script = format!(
            "cd {}; mknod -m 666 fuse c 10 229 && mount --bind fuse /dev/fuse && \
             {as_nobody} bindfs --no-allow-other hidden mounted || exit; \
             \"$0\" --notify-fd 3 \"$1\" 3>ready 2>/dev/null & holder=$!; until [ -s ready ]; do sleep 0.01; done; \
             {as_nobody} sh -c 'exec sleep 1000 3<mounted/file 4>run/app' & other=$!; \
             until [ /proc/$other/fd/4 -ef run/app ]; do sleep 0.01; done; stat -L /proc/$other/fd/3 2>&1; \
             \"$0\" status --json \"$1\"; echo $?; kill $other $holder",
            scratch.path().display(),
        );
        let output = in_own_world(&scratch, &script);
        let shown = text(&output);
        let lines: Vec<_> = shown.lines().collect();
        let [denied, report, "0"] = lines[..] else { panic!("{output:?}") };
        assert!(denied.contains("Permission denied"), "{denied}");
        let report: Value = serde_json::from_str(report).unwrap();
        let app = row(&report, "app");
        assert_eq!((&app["held"], &app["readers"]), (&json!(true), &json!([])), "{report}");
        assert_eq!(pids(&app["writers"]).len(), 1, "{report}");
        assert_eq!((&report["all_processes_seen"], &report["hidden_processes"]), (&json!(true), &json!([])));
    };
    needs_root(|| needs_tool("bindfs", test));
}

#[test]
fn h16_two_holders_are_both_shown() {
    let scratch = Scratch::new();
    scratch.pipe("app");
    let (mut first, second) = (holder(&scratch).as_tests().start(), holder(&scratch).as_tests().start());
    let (code, both) = report(&scratch);
    let mut expected = [first.pid(), second.pid()];
    expected.sort_unstable();
    assert_eq!((code, pids(&row(&both, "app")["holders"])), (0, expected.to_vec()), "{both}");
    assert!(text(&ask(&scratch).as_tests().run()).contains("2 holders"));
    assert_eq!(first.terminate(), 0);
    let (code, one) = report(&scratch);
    assert_eq!((code, pids(&row(&one, "app")["holders"])), (0, vec![second.pid()]), "{one}");
}

/// A thread that waits in `open` for the other side of a FIFO, and tells what came of it.
fn waiting(fifo: PathBuf, for_writing: bool) -> mpsc::Receiver<std::io::Result<File>> {
    let (started, wait) = mpsc::channel();
    let (opened, result) = mpsc::channel();
    thread::spawn(move || {
        started.send(nix::unistd::gettid()).unwrap();
        opened.send(fs::OpenOptions::new().write(for_writing).read(!for_writing).open(fifo)).ok();
    });
    let thread = wait.recv_timeout(CONDITION_SPAN).expect("the thread runs");
    until("the server waits in open", || {
        let stat = fs::read_to_string(format!("/proc/self/task/{thread}/stat")).unwrap_or_default();
        stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('S'))
    });
    result
}

#[test]
fn h17_whoever_waits_in_open_is_not_let_in_by_a_look() {
    let scratch = Scratch::new();
    let fifos = ["written", "read"].map(|name| scratch.pipe(name));
    let server = waiting(fifos[0].clone(), true);
    let cat = waiting(fifos[1].clone(), false);
    for command in ["status", "check"] {
        for launch in [Launch::new("holder"), Launch::new("holder").as_tests()] {
            let output = launch.arg(command).arg("--json").arg(scratch.pipes()).run();
            let report: Value = serde_json::from_slice(&output.stdout).unwrap();
            assert!(command == "check" || output.code == 1, "{report}");
            if command == "status" {
                assert!(report["pipes"].as_array().unwrap().iter().all(|pipe| pipe["held"] != true), "{report}");
            }
        }
    }
    for waits in [&server, &cat] {
        let timed_out = waits.recv_timeout(Duration::from_millis(50)).err();
        assert_eq!(timed_out, Some(mpsc::RecvTimeoutError::Timeout), "somebody was let in");
    }
    let _holder = holder(&scratch).start();
    let mut server = server.recv_timeout(CONDITION_SPAN).expect("a holder lets it in").unwrap();
    server.write_all(b"alive\n").unwrap();
    cat.recv_timeout(CONDITION_SPAN).expect("a holder lets it in").unwrap();
    // And now a look neither ends nor disturbs anybody.
    assert_eq!(ask(&scratch).as_tests().run().code, 0);
    server.write_all(b"still\n").unwrap();
    assert_eq!(read_all(&mut open_reader(&fifos[0])), b"alive\nstill\n");
}

#[test]
fn what_an_ordinary_user_cannot_see_is_unknown_and_never_no() {
    needs_root(|| {
        let scratch = Scratch::new();
        scratch.pipe("app");
        scratch.link("gone", "/nowhere/fifo");
        let _holder = holder(&scratch).as_user(NOBODY - 1).start();
        let output = ask(&scratch).arg("--json").as_user(NOBODY).run();
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((output.code, &report["all_processes_seen"]), (1, &json!(false)), "{report}");
        let app = row(&report, "app");
        for key in ["held", "holders", "readers", "writers", "queued_bytes", "capacity_bytes", "full"] {
            assert_eq!(app[key], Value::Null, "{key}: {report}");
        }
        assert_eq!(row(&report, "gone")["held"], json!(false), "nothing is there to be held");
        let shown = text(&ask(&scratch).as_user(NOBODY).run());
        let line = shown.lines().find(|line| line.starts_with("app")).unwrap();
        assert_eq!(line.split_whitespace().filter(|cell| *cell == "?").count(), 6, "{shown}");
        // Who sees the holder is sure of it, whatever else is hidden.
        let output = ask(&scratch).arg("--json").as_user(NOBODY - 1).run();
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let app = row(&report, "app");
        assert_eq!((&app["held"], &app["readers"], &app["queued_bytes"]), (&json!(true), &Value::Null, &json!(0)));
        // Whoever was found is named, and so is whoever could not be looked into, with a command that finds us.
        let (_server, cat) = (open_writer(&scratch.run("app"), 0).unwrap(), scratch.run("app"));
        let _cat = Stranger::start(
            "setpriv",
            &["--reuid=65533", "--regid=65533", "--clear-groups", "cat"].map(OsStr::new),
            &cat,
        );
        let shown = || text(&ask(&scratch).as_user(NOBODY - 1).run());
        until("cat is found", || shown().lines().any(|line| line.contains("  cat ") && line.contains(" +?  ?")));
        let shown = shown();
        let path = standpipe_tests::programs::path("holder");
        let cure = format!("; as root: sudo {} status {}", path.display(), scratch.pipes().display());
        assert!(shown.contains("\n?: cannot inspect pid ") && shown.contains(&cure), "{shown}");
    });
}

#[test]
fn off_a_terminal_a_row_is_a_line_with_its_whole_path() {
    let scratch = Scratch::new();
    let fifo = scratch.run(&"x".repeat(200));
    make_fifo(&fifo, 0o666);
    scratch.link(&"n".repeat(100), &fifo);
    let _holder = holder(&scratch).as_tests().start();
    let shown = text(&ask(&scratch).as_tests().run());
    let fifo = fifo.canonicalize().unwrap();
    let lines: Vec<_> = shown.lines().filter(|line| line.contains(fifo.to_str().unwrap())).collect();
    assert!(lines.len() == 1 && lines[0].contains("  yes  "), "{shown}");
    let narrow = text(&ask(&scratch).as_tests().env("COLUMNS", "100").run());
    let row = narrow.lines().find(|line| line.starts_with("nnn")).unwrap();
    assert!(row.contains("...nnn") && row.contains("...xxx") && row.len() <= 100, "{narrow}");
}

/// A world of its own, in which every process can be seen: runs `script` with the holder as `$0`, the pipes directory
/// as `$1`.
fn in_own_world(scratch: &Scratch, script: &str) -> Output {
    let world = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", script];
    holder(scratch).as_tests().under(world).run()
}

#[test]
fn who_sees_every_process_is_told_no() {
    needs_root(|| {
        let scratch = Scratch::new();
        let fifo = scratch.pipe("app");
        let ready = scratch.path().join("ready");
        let script = format!(
            "\"$0\" status --json \"$1\"; echo $?; \"$0\" --notify-fd 3 \"$1\" 3>{0} 2>/dev/null & \
             until [ -s {0} ]; do sleep 0.01; done; \"$0\" status --json \"$1\"; echo $?; kill $!",
            ready.display()
        );
        let output = in_own_world(&scratch, &script);
        let shown = text(&output);
        let lines: Vec<_> = shown.lines().collect();
        let [before, "1", after, "0"] = lines[..] else { panic!("{output:?}") };
        let [before, after] = [before, after].map(|line| serde_json::from_str::<Value>(line).unwrap());
        let (was, is) = (row(&before, "app"), row(&after, "app"));
        assert_eq!((&was["held"], &was["holders"], &was["full"]), (&json!(false), &json!([]), &Value::Null));
        assert_eq!((&was["problem"], &is["problem"]), (&json!("no holder is running"), &Value::Null));
        assert_eq!((&is["held"], &is["readers"], &is["full"]), (&json!(true), &json!([]), &json!(false)));
        assert!(fifo.exists());
    });
}

#[test]
fn links_that_lead_to_no_fifo_are_shown_with_what_is_wrong() {
    let scratch = Scratch::new();
    let app = scratch.pipe("app");
    fs::write(scratch.run("file"), "").unwrap();
    scratch.link("file", "../run/file");
    scratch.link("gone", "../run/gone");
    scratch.link("twin", &app);
    let _holder = holder(&scratch).as_tests().start();
    let (code, report) = report(&scratch);
    assert_eq!(code, 1);
    let problem = |name: &str| row(&report, name)["problem"].as_str().unwrap_or_default().to_owned();
    assert_eq!(problem("app"), "");
    assert!(problem("file").contains("it leads to a regular file, not to a FIFO"), "{report}");
    assert!(problem("gone").contains("../run/gone does not exist"), "{report}");
    assert!(problem("twin").contains("it leads to the same FIFO as app"), "{report}");
    for name in ["file", "gone"] {
        assert_eq!(row(&report, name)["held"], json!(false), "{report}");
    }
    assert!(text(&ask(&scratch).as_tests().run()).contains("file: cannot open "));
}

#[test]
fn the_command_line_is_checked_and_words_win_over_directories() {
    let scratch = Scratch::new();
    let run = |args: &[&str], cwd: &Path| Launch::new("holder").args(args).cwd(cwd).run();
    for (args, code, said) in [
        (&["status", "/nowhere/pipes.d"][..], 3, "cannot read pipes directory /nowhere/pipes.d"),
        (&["check", "/dev/null"], 3, "Not a directory"),
        (&["status", "--nonsense"], 2, "unexpected argument"),
        (&["status", "a", "b"], 2, "unexpected argument"),
        (&["pipes.d", "status"], 2, "cannot be used with '[DIR]'"),
        (&["status"], 2, "Usage: holder status"),
        (&["check"], 2, "Usage: holder check"),
    ] {
        let output = run(args, &scratch.run(""));
        assert_eq!((output.code, output.stderr.contains(said)), (code, true), "{args:?}: {}", output.stderr);
        assert!(output.stdout.is_empty(), "{args:?}");
    }
    assert_eq!(run(&["status"], &scratch.pipes()).code, 2, "an empty directory that nobody named");
    let empty = run(&["status", scratch.pipes().to_str().unwrap()], Path::new("/"));
    assert_eq!((empty.code, text(&empty)), (0, "no pipes\n".to_owned()));
    // A directory of that name is a directory with a slash.
    let dir = scratch.make_dir("status");
    std::os::unix::fs::symlink(scratch.fifo("app"), dir.join("app")).unwrap();
    let holder = Launch::new("holder").arg("./status").cwd(scratch.path()).start();
    holder.wait_line("holds 1 pipe of ./status");
    let status = run(&["status", "./status"], scratch.path());
    assert_eq!((status.code, text(&status).contains("app")), (0, true), "{status:?}");
}

#[test]
fn tables_fit_their_screen_and_names_stay_on_their_line() {
    let scratch = Scratch::new();
    let raw = OsStr::from_bytes(b"caf\xe9");
    for name in [raw, OsStr::new("größe"), OsStr::new("plain")] {
        let fifo = scratch.path().join("run").join(name);
        make_fifo(&fifo, 0o666);
        std::os::unix::fs::symlink(&fifo, scratch.pipes().join(name)).unwrap();
    }
    let _holder = holder(&scratch).as_tests().start();
    for (columns, locale) in [("80", "C.UTF-8"), ("40", "C.UTF-8"), ("80", "C"), ("40", "C")] {
        let launch = ask(&scratch).as_tests().env("COLUMNS", columns).env("LC_ALL", locale);
        let shown = text(&launch.run());
        let width: usize = columns.parse().unwrap();
        // Below 60 columns a row is a block, whose values are as long as they are.
        let too_long = shown.lines().find(|line| line.chars().count() > width && width >= 60);
        assert_eq!(too_long, None, "{columns} {locale}\n{shown}");
        assert!(shown.contains("caf\\xe9") && shown.contains("plain"), "{shown}");
        assert_eq!(shown.is_ascii(), locale == "C", "{shown}");
    }
    let (code, report) = report(&scratch);
    assert_eq!((code, row(&report, "caf\\xe9")["held"].as_bool()), (0, Some(true)), "{report}");
}

#[test]
fn a_fifo_that_cannot_be_reached_or_written_is_unknown() {
    needs_root(|| {
        let scratch = Scratch::new();
        let fifo = scratch.pipe("app");
        let closed = scratch.make_dir("closed");
        make_fifo(&closed.join("app"), 0o666);
        scratch.link("closed", closed.join("app"));
        let _holder = holder(&scratch).as_tests().start();
        std::os::unix::fs::chown(&closed, Some(0), Some(0)).unwrap();
        set_mode(&closed, 0o700);
        std::os::unix::fs::chown(&fifo, Some(0), Some(0)).unwrap();
        set_mode(&fifo, 0o600);
        let output = ask(&scratch).arg("--json").run();
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((output.code, &row(&report, "closed")["held"]), (1, &Value::Null), "{report}");
        assert!(row(&report, "closed")["problem"].as_str().unwrap().contains("Permission denied"), "{report}");
        assert_eq!(row(&report, "app")["queued_bytes"], Value::Null, "{report}");
    });
}
