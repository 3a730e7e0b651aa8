//! `standpipe`: one command for three programs, whose messages and advice name it.

use std::fs;
use std::path::Path;

use nix::sys::signal::Signal;
use serde_json::Value;
use standpipe_tests::deadline::until;
use standpipe_tests::directory::Scratch;
use standpipe_tests::programs::{self, Daemon, Launch, Output, holder};

/// The front, with the others beside it.
fn front() -> Launch {
    for beside in ["holder", "reader", "tailer"] {
        programs::path(beside);
    }
    Launch::new("standpipe")
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// What `standpipe --help` lists.
fn commands() -> Vec<String> {
    let help = text(&front().arg("--help").run());
    let (_, list) = help.split_once("Commands:\n").unwrap_or_else(|| panic!("{help}"));
    let list = list.split("\n\n").next().unwrap_or_default();
    list.lines().map(|line| line.split_whitespace().next().unwrap().to_owned()).collect()
}

#[test]
fn each_command_that_help_lists_is_there_and_speaks_of_the_front() {
    let commands = commands();
    assert!(commands.len() >= 11 && commands.contains(&"histogram".to_owned()), "{commands:?}");
    for command in commands.iter().filter(|command| *command != "help") {
        let output = front().arg(command).arg("--help").run();
        let help = text(&output);
        assert_eq!(output.code, 0, "{command}: {output:?}");
        assert!(help.contains(&format!("Usage: standpipe {command}")), "{help}");
        let others =
            ["reader logs", "reader list", "reader verify", "reader histogram", "holder check", "tailer status"];
        assert!(!others.iter().any(|other| help.contains(other)), "{command}: {help}");
        assert_eq!(text(&front().args(["help", command]).run()), help, "{command}");
    }
    let output = front().arg("stat").run();
    assert!(output.code == 2 && output.stderr.contains("'status'"), "{}", output.stderr);
}

#[test]
fn messages_and_advice_name_what_was_typed() {
    let scratch = Scratch::new();
    let output = front().args(["logs", "app", "--logs"]).arg(scratch.logs()).run();
    assert!(output.code == 2 && output.stderr.starts_with("standpipe: error: "), "{output:?}");
    scratch.write_policy("defaults.toml", "no_such_key = 1\n");
    let path = programs::path("standpipe");
    let output = front().arg("check").arg(scratch.pipes()).run();
    let advice = format!("fix:  {} hold --check-config {}", path.display(), scratch.pipes().display());
    assert!(output.code == 1 && text(&output).contains(&advice), "{output:?}");
    let output = front().args(["hold", "--check-config"]).arg(scratch.pipes()).run();
    assert!(output.code == 2 && output.stderr.starts_with("standpipe hold: error: "), "{output:?}");
    let output = front().args(["read", "statsu"]).run();
    assert!(output.code == 2 && output.stderr.contains("did you mean `standpipe status`"), "{output:?}");
    // Nothing of a word is the front's business.
    let output = front().args(["stdin", "--", "--odd"]).cwd(scratch.path()).run();
    assert!(
        output.stderr.contains("standard input is not a pipe; try: cat FILE | standpipe stdin --odd"),
        "{output:?}"
    );
}

#[test]
fn a_link_to_a_program_is_what_its_messages_and_advice_name() {
    let scratch = Scratch::new();
    for name in ["holder", "reader"] {
        let link = scratch.path().join(format!("standpipe-{name}"));
        std::os::unix::fs::symlink(programs::path(name), link).unwrap();
    }
    scratch.write_policy("defaults.toml", "no_such_key = 1\n");
    let linked = scratch.path().join("standpipe-holder");
    // The program itself is the shell's `$0`, and not run.
    let output = Launch::new("holder").under(["sh", "-c", "link=$1; shift; exec \"$link\" \"$@\""]);
    let output = output.arg(&linked).arg("check").arg(scratch.pipes()).run();
    let advice = format!("fix:  {} --check-config {}", linked.display(), scratch.pipes().display());
    assert!(output.code == 1 && text(&output).contains(&advice), "{output:?}");
}

struct Stack {
    scratch: Scratch,
    holder: Daemon,
    reader: Daemon,
    tailer: Daemon,
}

/// A pipe with all three at work, the tailer following a log into nothing.
fn stack() -> Stack {
    let scratch = Scratch::new();
    scratch.pipe("app");
    scratch.write_policy("defaults.toml", "logs = \"../logs\"\nkeep_free = \"off\"\n");
    let work = scratch.make_dir("work");
    fs::write(work.join("web.log"), "one\n").unwrap();
    let holder = holder(&scratch).start();
    let reader = Launch::new("reader").arg(scratch.pipes()).start();
    let (log, state) = (work.join("web.log"), work.join("state.json"));
    let tailer = Launch::new("tailer").arg(log).arg("--state").arg(state).start();
    Stack { scratch, holder, reader, tailer }
}

impl Stack {
    fn state(&self) -> std::path::PathBuf {
        self.scratch.path().join("work/state.json")
    }

    fn status(&self) -> Launch {
        front().arg("status").arg(self.scratch.pipes()).arg("--state").arg(self.state())
    }

    fn object(&self) -> (i32, Value) {
        let output = self.status().arg("--json").run();
        (output.code, serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}")))
    }
}

#[test]
fn status_shows_all_three_and_ends_with_the_worst_code() {
    let mut stack = stack();
    until("all is well", || stack.object().0 == 0);
    let output = stack.status().run();
    let shown = text(&output);
    let titles = ["PIPE  TARGET", "PIPE  BYTES", "PATH  "].map(|title| shown.find(title));
    assert!(output.code == 0 && titles.is_sorted() && titles[0].is_some(), "{shown}");
    let (_, object) = stack.object();
    assert_eq!((&object["version"], &object["errors"]), (&1.into(), &Value::Array(vec![])));
    assert_eq!(object["holder"]["pipes"][0]["held"], true, "{object}");
    assert_eq!(object["reader"]["pid"], stack.reader.pid(), "{object}");
    assert_eq!(object["tailers"][0]["pid"], stack.tailer.pid(), "{object}");

    // A reader that is gone is a finding, a log root that is gone is worse.
    stack.reader.kill9();
    let (code, object) = stack.object();
    assert_eq!((code, &object["reader"]["running"]), (1, &false.into()), "{object}");
    fs::rename(stack.scratch.logs(), stack.scratch.path().join("away")).unwrap();
    let (code, object) = stack.object();
    assert_eq!((code, &object["reader"]), (3, &Value::Null), "{object}");
    let said = object["errors"][0].as_str().unwrap();
    assert!(said.starts_with("standpipe: error: cannot open directory "), "{said}");
    assert_eq!(object["holder"]["pipes"][0]["held"], true, "the others are shown all the same");
    let output = stack.status().run();
    assert!(output.code == 3 && text(&output).contains("PATH  "), "{output:?}");
    stack.tailer.signal(Signal::SIGTERM);
    stack.holder.signal(Signal::SIGTERM);
}

#[test]
fn a_tailer_that_runs_is_found_without_a_word() {
    let mut stack = stack();
    let found = || {
        let output = Launch::new("tailer").args(["status", "--all", "--json"]).run();
        let object: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
        let states = object["tailers"].as_array().unwrap().iter();
        states.filter_map(|tailer| tailer["state_file"].as_str()).any(|state| Path::new(state) == stack.state())
    };
    until("it is found", found);
    let output = front().arg("status").arg(stack.scratch.pipes()).run();
    assert!(
        text(&output).contains(&format!("{}: tailer {} ", stack.state().display(), stack.tailer.pid())),
        "{output:?}"
    );
    stack.tailer.terminate();
    let output = Launch::new("tailer").args(["status", "--all"]).run();
    assert!(!text(&output).contains(stack.state().to_str().unwrap()), "one that ended is not known: {output:?}");
}
