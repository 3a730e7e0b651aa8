//! What is told of the staging pipe: by the holder when it cannot make or keep it, by `holder status` and `check`.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{FileTypeExt, MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;

use serde_json::{Value, json};
use standpipe_tests::deadline::{CONDITION_SPAN, until};
use standpipe_tests::directory::{Scratch, make_fifo, set_mode};
use standpipe_tests::privilege::{NOBODY, is_root, needs_root};
use standpipe_tests::programs::{Daemon, Launch, holder};
use standpipe_tests::world::{is_held, open_writer};

const STAGE: &str = "stage = true\n";

/// Group and permissions of a FIFO.
fn rights(path: &Path) -> (u32, u32) {
    let metadata = fs::symlink_metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert!(metadata.file_type().is_fifo(), "{}", path.display());
    (metadata.gid(), metadata.mode() & 0o7777)
}

/// The names beside the pipes.
fn names(scratch: &Scratch) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(scratch.run("")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// How `holder status` and `holder check` have it.
fn look(scratch: &Scratch, command: &str) -> (i32, Value) {
    let output = Launch::new("holder").arg(command).arg("--json").arg(scratch.pipes()).as_tests().run();
    (output.code, serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("no JSON: {output:?}")))
}

fn status_of(scratch: &Scratch, name: &str) -> Value {
    let report = look(scratch, "status").1;
    let pipes = report["pipes"].as_array().unwrap();
    pipes.iter().find(|pipe| pipe["name"] == name).unwrap_or_else(|| panic!("no {name}: {report}")).clone()
}

/// The finding about the staging pipe of `app`, if there is one.
fn finding(scratch: &Scratch) -> Option<Value> {
    let report = look(scratch, "check").1;
    let findings = report["findings"].as_array().unwrap();
    findings.iter().find(|finding| finding["kind"].as_str().unwrap().starts_with("stage")).cloned()
}

/// Puts bytes into a staging pipe, as the tailer does, which has it open all the time.
fn tailer(stage: &Path, bytes: &[u8]) -> fs::File {
    let mut pipe = open_writer(stage, 0).unwrap();
    assert_eq!(pipe.write(bytes).unwrap(), bytes.len());
    pipe
}

/// A pipe `app` whose staging pipe is held, and that.
fn staged(scratch: &Scratch) -> (Daemon, PathBuf) {
    scratch.pipe("app");
    scratch.write_policy("defaults.toml", STAGE);
    let holder = holder(scratch).start();
    let stage = scratch.run("app.stage");
    assert!(is_held(&stage));
    (holder, stage)
}

#[test]
fn h21_status_and_the_last_words_leave_the_canary_out() {
    let scratch = Scratch::new();
    let (mut holder, stage) = staged(&scratch);
    let shown = || {
        let output = Launch::new("holder").arg("status").arg(scratch.pipes()).as_tests().env("COLUMNS", "200").run();
        (output.code, String::from_utf8(output.stdout).unwrap())
    };
    for (bytes, data) in [(&b""[..], 0), (b"c", 0), (b"line\n", 5)] {
        let _tailer = tailer(&stage, bytes);
        let app = status_of(&scratch, "app");
        assert_eq!(app["stage"], json!({"held": true, "queued_bytes": data}), "{app}");
        assert_eq!(app["queued_bytes"], 0, "what is in it is not in the pipe: {app}");
    }
    let (code, text) = shown();
    assert!(code == 0 && text.contains("yes +stage") && text.contains("0 +5 "), "{text}");
    holder.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(holder.wait_exit(), 0);
    let last = holder.lines_with("in the staging pipe");
    assert!(last.len() == 1 && last[0].contains("app: 5 bytes left in the staging pipe"), "{last:?}");
    let app = status_of(&scratch, "app");
    assert_ne!(app["stage"]["held"], true, "{app}");
    assert_eq!((shown().0, &app["stage"]["queued_bytes"]), (1, &Value::Null), "nobody looks into what nobody holds");
}

#[test]
fn h21_the_canary_alone_is_not_worth_a_last_word() {
    let scratch = Scratch::new();
    let (mut holder, stage) = staged(&scratch);
    let _tailer = tailer(&stage, b"c");
    assert_eq!(holder.terminate(), 0);
    assert!(holder.lines_with("left in").is_empty(), "{}", holder.stderr());
}

#[test]
fn h21_a_group_that_the_holder_is_not_in_is_one_line_and_root_can_make_it() {
    needs_root(|| {
        let scratch = Scratch::new();
        let fifo = scratch.pipe("app");
        chown(&fifo, Some(NOBODY), Some(4)).unwrap();
        scratch.write_policy("defaults.toml", STAGE);
        let holder = holder(&scratch).start();
        let line = holder.wait_line("app.stage: it needs the group of its target, adm");
        assert!(line.contains(&format!("p {} 0660 nobody adm -", scratch.run("app.stage").display())), "{line}");
        assert_eq!((is_held(&fifo), names(&scratch)), (true, vec!["app".to_owned()]));
        // A look for another reason says nothing again, one that was asked for does.
        set_mode(&fifo, 0o660);
        set_mode(&fifo, 0o666);
        holder.hang_up("holds 1 pipe of");
        let found = finding(&scratch).unwrap();
        assert_eq!(found["kind"], "stage_missing", "{found}");
        mend(&found);
        until("what root made is held", || is_held(&scratch.run("app.stage")));
        assert_eq!(rights(&scratch.run("app.stage")), (4, 0o660));
        assert_eq!(holder.lines_with("error").len(), 2, "{}", holder.stderr());
        assert_eq!(finding(&scratch), None);
    });
}

/// Runs the command that is said to mend it.
fn mend(finding: &Value) {
    let command = finding["mend"].as_str().unwrap();
    let status = standpipe_tests::programs::command("sh").arg("-c").arg(command).status().unwrap();
    assert!(status.success(), "{command}");
}

#[test]
fn h21_check_finds_what_is_wrong_with_it_and_the_command_mends_it() {
    let scratch = Scratch::new();
    let (holder, stage) = staged(&scratch);
    assert_eq!(finding(&scratch), None, "all is well");
    set_mode(&stage, 0o666);
    let found = finding(&scratch).unwrap();
    assert_eq!((&found["kind"], &found["path"]), (&json!("stage_rights"), &json!(stage.canonicalize().unwrap())));
    assert!(found["what"].as_str().unwrap().contains("everybody can use"), "{found}");
    mend(&found);
    assert_eq!((finding(&scratch), rights(&stage).1), (None, 0o660));
    if is_root() {
        chown(&stage, None, Some(4)).unwrap();
        let found = finding(&scratch).unwrap();
        assert!(found["what"].as_str().unwrap().contains("has group adm, but its pipe has group nogroup"), "{found}");
        mend(&found);
        assert_eq!(finding(&scratch), None);
    }
    assert_eq!(look(&scratch, "status").0, 0);
    fs::remove_file(&stage).unwrap();
    assert_eq!(look(&scratch, "status").0, 1, "the pipe is held, what should be beside it is not");
    let found = finding(&scratch).unwrap();
    let mend_line = format!("kill -HUP {}", holder.pid());
    assert_eq!((&found["kind"], &found["mend"]), (&json!("stage_missing"), &json!(mend_line)), "{found}");
    mend(&found);
    until("it is made anew", || is_held(&stage));
    fs::remove_file(&stage).unwrap();
    fs::write(&stage, "").unwrap();
    let found = finding(&scratch).unwrap();
    assert_eq!(found["kind"], "stage_no_fifo", "{found}");
    mend(&found);
    until("it is made once more", || is_held(&stage));
}

/// A thread that waits in `open` for the other side of a FIFO, and tells that it was let in.
fn waiting(fifo: PathBuf, for_writing: bool) -> mpsc::Receiver<bool> {
    let (opened, wait) = mpsc::channel();
    thread::spawn(move || opened.send(fs::OpenOptions::new().write(for_writing).read(!for_writing).open(fifo).is_ok()));
    wait
}

#[test]
fn h17_a_look_does_not_open_a_staging_pipe_that_nobody_holds() {
    let scratch = Scratch::new();
    let waits = [("written", true), ("read", false)].map(|(name, for_writing)| {
        scratch.pipe(name);
        let stage = scratch.run(&format!("{name}.stage"));
        make_fifo(&stage, 0o666);
        waiting(stage, for_writing)
    });
    for _ in 0..5 {
        for name in ["written", "read"] {
            let pipe = status_of(&scratch, name);
            assert_ne!(pipe["stage"]["held"], true, "{pipe}");
        }
        look(&scratch, "check");
    }
    for wait in &waits {
        assert!(wait.try_recv().is_err(), "somebody was let in");
    }
    let _holder = holder(&scratch).start();
    for wait in &waits {
        assert_eq!(wait.recv_timeout(CONDITION_SPAN), Ok(true));
    }
}
