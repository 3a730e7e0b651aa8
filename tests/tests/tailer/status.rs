//! `tailer status`: what it shows of a tailer that runs, is stopped, is full, is gone.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::sys::signal::Signal;
use serde_json::Value;
use standpipe_tests::deadline::until;
use standpipe_tests::directory::set_mode;
use standpipe_tests::privilege::needs_root;
use standpipe_tests::programs::{Launch, Output};
use standpipe_tests::stands::{Following, Tailing};
use standpipe_tests::world::{Owner, rename_and_create};

fn status(stand: &Tailing) -> Launch {
    Launch::new("tailer").arg("status").arg("--config").arg(stand.work("tailer.toml"))
}

/// The exit code and the object.
fn json(stand: &Tailing) -> (i32, Value) {
    let output = status(stand).arg("--json").run();
    let object = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", output.stderr));
    (output.code, object)
}

fn text(output: &Output) -> &str {
    str::from_utf8(&output.stdout).unwrap()
}

/// Waits until the first source is so.
fn wait_source(stand: &Tailing, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    until(what, || is(&json(stand).1["sources"][0]));
    json(stand).1
}

/// Neither its mode nor that of its directory lets a group in, so nobody is told to join one.
#[test]
fn whoever_may_not_read_it_is_told_how_to_ask() {
    needs_root(|| {
        let mut stand = Tailing::into_pipe(Owner::Tailer, true);
        stand.configure("", &[("app.log", "")]);
        let mut log = stand.log("app.log", 1);
        log.write(10);
        stand.start();
        stand.wait_delivered(&[&log]);
        let path = fs::read_to_string(stand.work("tailer.toml")).unwrap();
        let state =
            path.lines().find_map(|line| line.strip_prefix("state_file = ")).unwrap().trim_matches('"').to_owned();
        let state = stand.work("tailer.toml").with_file_name(state);
        for mode in [0o755, 0o750] {
            set_mode(state.parent().unwrap(), mode);
            let output = Launch::new("tailer").args(["status", "--state"]).arg(&state).as_user(12345).run();
            let expected = format!("--state {}", state.display());
            assert!(output.code == 3 && output.stderr.contains("and root may read it: run sudo "), "{}", output.stderr);
            assert!(output.stderr.contains(&expected) && !output.stderr.contains("usermod"), "{}", output.stderr);
        }
    });
}

#[test]
fn a_source_at_work_is_shown_with_all_that_happened_to_it() {
    let (mut stand, mut log) = Following::into_pipe().prepare();
    log.write(100);
    stand.start();
    stand.wait_delivered(&[&log]);
    let size = fs::metadata(&log.path).unwrap().len();
    let object = wait_source(&stand, "all is delivered", |source| source["offset"] == size);
    let source = &object["sources"][0];
    assert_eq!(source["path"], log.path.to_str().unwrap());
    assert_eq!(source["identity"]["ino"], fs::metadata(&log.path).unwrap().ino());
    assert_eq!((&source["lag"]["bytes"], &source["lag"]["seconds"]), (&0.into(), &0.0.into()));
    assert_eq!((&source["state"], &source["generations"]["open"]), (&"ok".into(), &1.into()));
    assert_eq!((&object["version"], &object["running"]), (&1.into(), &true.into()));
    assert_eq!(json(&stand).0, 0, "{object}");

    drop(rename_and_create(&mut log));
    log.write(3);
    let ino = fs::metadata(&log.path).unwrap().ino();
    wait_source(&stand, "the new file", |source| source["identity"]["ino"] == ino && source["lag"]["bytes"] == 0);
    fs::File::options().write(true).open(&log.path).unwrap().set_len(0).unwrap();
    wait_source(&stand, "the truncation", |source| source["truncations"] == 1);
    let mode = |name: &str| std::fs::metadata(stand.work(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("state.json"), mode("state.json.status")), (0o600, 0o600), "they name the same files");
    let output = status(&stand).run();
    assert!(output.code == 0 && text(&output).contains("app.log was truncated once"), "{}", text(&output));
    stand.stop();
}

#[test]
fn a_full_pipe_shows_as_lag_and_as_blocked_and_as_neither_when_it_is_drained() {
    let (mut stand, mut log) = Following::into_pipe().start();
    stand.set_draining(false);
    while fs::metadata(&log.path).unwrap().len() < 4 << 20 {
        log.write(1000);
    }
    let object = wait_source(&stand, "blocked", |source| source["blocked_since"].is_object());
    let lag = object["sources"][0]["lag"]["bytes"].as_u64().unwrap();
    assert!((2 << 20..5 << 20).contains(&lag), "{object}");
    assert!(object["sources"][0]["lag"]["seconds"].as_f64().unwrap() < 60.0, "{object}");
    // One became five seconds old before the other.
    let mut said = String::new();
    until("both are findings", || {
        let output = status(&stand).run();
        text(&output).clone_into(&mut said);
        output.code == 1 && said.contains("its output has accepted nothing")
    });
    let since = said.split("app.log is behind for ").nth(1).and_then(|rest| rest.split_once("s, "));
    let seconds: u64 = since.and_then(|(seconds, _)| seconds.parse().ok()).unwrap_or_else(|| panic!("{said}"));
    assert!((5..60).contains(&seconds), "{said}");
    stand.set_draining(true);
    stand.wait_delivered(&[&log]);
    // What was delivered is shown a moment later.
    until("nothing waits", || {
        let (code, object) = json(&stand);
        let source = &object["sources"][0];
        code == 0 && source["blocked_since"].is_null() && source["lag"]["bytes"] == 0
    });
    stand.finish(&[&log]);
}

#[test]
fn a_tailer_that_hangs_or_is_gone_does_not_hide_what_waits() {
    let (mut stand, mut log) = Following::into_pipe().prepare();
    log.write(10);
    stand.start();
    stand.wait_delivered(&[&log]);
    let before = fs::metadata(&log.path).unwrap().len();
    wait_source(&stand, "all is delivered", |source| source["offset"] == before);
    stand.daemon().freeze();
    log.write(10);
    let gained = fs::metadata(&log.path).unwrap().len() - before;
    assert_eq!(json(&stand).1["sources"][0]["lag"]["bytes"], gained);
    stand.daemon().signal(Signal::SIGCONT);
    stand.wait_delivered(&[&log]);
    stand.kill9();
    log.write(10);
    let output = status(&stand).run();
    assert_eq!(output.code, 1);
    let said = text(&output);
    assert!(said.contains("no tailer is running; the last one, ") && said.contains("stopped"), "{said}");
    assert!(said.contains("lines wait in the files until one is started"), "{said}");
    assert_eq!(json(&stand).1["running"], false);
    stand.start();
    stand.finish(&[&log]);
}

#[test]
fn a_file_that_cannot_be_read_and_one_that_is_limited_are_told() {
    let mut stand = Tailing::to_stdout(Owner::Tailer);
    stand.configure("", &[("missing.log", ""), ("slow.log", "rate_limit = \"1 line/s\"\n")]);
    let mut slow = stand.log("slow.log", 1);
    slow.write(100);
    stand.start();
    wait_source(&stand, "it is missing", |source| source["state"] == "unreadable");
    let (code, object) = json(&stand);
    assert_eq!((code, object["sources"][0]["error"].as_str()), (1, Some("ENOENT: No such file or directory")));
    until("it is limited", || json(&stand).1["sources"][1]["limited"] == true);
    let log = stand.log("missing.log", 2);
    wait_source(&stand, "it is there", |source| source["state"] == "ok");
    drop(log);
    // A source that is followed no longer is shown no longer.
    stand.configure("", &[("missing.log", "")]);
    stand.daemon().hang_up("watching");
    until("one source", || json(&stand).1["sources"].as_array().unwrap().len() == 1);
    assert_eq!(status(&stand).run().code, 0);
    stand.stop();
}

#[test]
fn no_line_is_wider_than_its_screen_and_none_has_more_than_ascii_where_it_must_not() {
    let mut stand = Tailing::to_stdout(Owner::Tailer);
    stand.configure("", &[("größe.log", ""), ("a-name-that-is-rather-long-for-a-log.log", "")]);
    let _logs = [stand.log("größe.log", 1), stand.log("a-name-that-is-rather-long-for-a-log.log", 2)];
    stand.start();
    wait_source(&stand, "it is read", |source| source["state"] == "ok");
    for (columns, locale) in [("80", "C.UTF-8"), ("80", "C"), ("40", "C")] {
        let output = status(&stand).env("COLUMNS", columns).env("LC_ALL", locale).run();
        let said = text(&output);
        assert_eq!(output.code, 0, "{said}");
        assert!(locale != "C" || said.is_ascii(), "{said}");
        // Below its table there are sentences; in 40 columns each row is a block.
        let is_wide = |line: &&str| line.chars().count() > 80 && !line.contains("tailer");
        assert_eq!(said.lines().find(is_wide), None, "{said}");
    }
    stand.stop();
}

#[test]
fn what_cannot_be_shown_is_one_sentence() {
    let stand = Tailing::to_stdout(Owner::Tailer);
    stand.configure("", &[("app.log", "")]);
    let file = stand.work("state.json.status");
    let run = |launch: Launch| {
        let output = launch.run();
        (output.code, output.stderr)
    };
    let without = |words: &[&str]| Launch::new("tailer").arg("status").args(words.iter().map(Path::new));
    for (case, content, complaint) in [
        ("none", None, "there is none: no tailer has run with"),
        ("short", Some(vec![7; 100]), "it is damaged"),
        ("newer", Some(newer()), "it has version 9; this program knows 1"),
    ] {
        if let Some(content) = content {
            fs::write(&file, content).unwrap();
        }
        let (code, said) = run(status(&stand));
        assert!(code == 3 && said.contains(complaint) && said.lines().count() == 1, "{case}: {code} {said}");
    }
    let (code, said) = run(without(&[]));
    assert!(code == 2 && said.contains("give --config FILE, --state FILE, or --all"), "{code} {said}");
    let (code, said) = run(without(&["--config", "/none.toml"]));
    assert!(code == 2 && said.contains("/none.toml"), "{code} {said}");
}

/// The header of a status file of a later program.
fn newer() -> Vec<u8> {
    let mut file = vec![0; 4096];
    file[..8].copy_from_slice(b"tailer\n\0");
    file[8..16].copy_from_slice(&9_u64.to_ne_bytes());
    file
}

#[test]
fn a_status_file_that_cannot_be_made_stops_nothing() {
    let (mut stand, mut log) = Following::into_pipe().prepare();
    stand.faults("ENOSPC status-grow 1 1\n");
    stand.start();
    assert_eq!(stand.daemon().lines_with("`tailer status` cannot show").len(), 1);
    log.write(100);
    stand.finish(&[&log]);
    assert!(!stand.work("state.json.status").exists());
}
