//! A word that is taken for something else than it was meant for: a command for a path, a pipes directory for a pipe. The
//! answer says what was meant, and where a log root came from.

use std::fs;

use standpipe_tests::directory::Scratch;
use standpipe_tests::programs::Launch;

#[test]
fn a_command_that_is_spelt_wrongly_is_not_taken_for_a_path() {
    let scratch = Scratch::new();
    for (program, words, meant) in [
        ("reader", "stats", "reader status"),
        ("reader", "log app", "reader logs"),
        ("reader", "log app -n 5", "reader logs"),
        ("reader", "statu --json", "reader status"),
        ("reader", "lsit", "reader list"),
        ("reader", "verfiy", "reader verify"),
        ("reader", "hist", "reader histogram"),
        ("reader", "rotat app", "reader rotate"),
        ("reader", "stdni dir", "reader stdin"),
        ("reader", "--logs x stats", "reader status"),
        ("reader", "--logs x log app", "reader logs"),
        ("holder", "stat", "holder status"),
        ("holder", "chekc", "holder check"),
        ("holder", "Check", "holder check"),
        ("holder", "--check-config statsu", "holder status"),
        ("tailer", "statsu", "tailer status"),
        ("tailer", "stat --config c.toml", "tailer status"),
        ("tailer", "--debug stats", "tailer status"),
    ] {
        let output = Launch::new(program).args(words.split(' ')).cwd(scratch.path()).run();
        let first = output.stderr.lines().next().unwrap_or_default();
        let is_said =
            first.starts_with(&format!("{program}: error: ")) && first.contains(&format!("did you mean `{meant}`?"));
        assert!(output.code == 2 && is_said, "{program} {words}: {output:?}");
    }
    for (program, words, meant) in [
        ("reader", "--logs x status", "reader status"),
        ("tailer", "--debug status", "tailer status"),
        ("holder", "--check-config check", "holder check"),
    ] {
        let output = Launch::new(program).args(words.split(' ')).cwd(scratch.path()).run();
        let is_said = output.stderr.contains(&format!("must be the first word, as in `{meant}`"));
        assert!(output.code == 2 && is_said, "{program} {words}: {output:?}");
    }
}

#[test]
fn a_path_that_is_there_or_written_as_one_stays_a_path() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.path().join("stats")).unwrap();
    fs::write(scratch.path().join("statsu"), "one\n").unwrap();
    for (program, words, said) in [
        ("holder", "--check-config stats", ""),
        ("holder", "./stat", "cannot read pipes directory ./stat"),
        ("holder", "-- stat", "cannot read pipes directory stat"),
        ("reader", "-- log", "cannot read pipes directory log"),
        ("reader", "pipes", "cannot read pipes directory pipes"),
        ("reader", "status --nosuch", "unexpected argument '--nosuch'"),
        ("reader", "help nosuch", "unrecognized subcommand 'nosuch'"),
        ("tailer", "--batch statsu", ""),
    ] {
        let output = Launch::new(program).args(words.split(' ')).cwd(scratch.path()).run();
        assert!(
            !output.stderr.contains("did you mean") && output.stderr.contains(said),
            "{program} {words}: {output:?}"
        );
        assert_eq!(output.code == 0, said.is_empty(), "{program} {words}: {output:?}");
    }
}

#[test]
fn an_error_in_a_log_root_that_nobody_typed_says_where_it_came_from() {
    let scratch = Scratch::new();
    let reader = |words: &str| Launch::new("reader").args(words.split(' ')).cwd(scratch.path());
    scratch.pipe("app");
    scratch.write_policy("defaults.toml", "logs = \"../logs\"\n");
    fs::write(scratch.logs().join(".lock"), "").unwrap();
    let from_file = "(log root from `logs` in pipes.d/defaults.toml)";
    for words in ["status nope", "logs nope", "list nope", "verify nope", "histogram nope", "rotate nope", "status"] {
        let said = reader(words).env("STANDPIPE_DIR", "pipes.d").run();
        assert!(said.code > 1 && said.stderr.contains(from_file), "{words}: {said:?}");
        let said = reader(words).env("STANDPIPE_LOGS", scratch.logs()).run();
        assert!(said.code > 1 && said.stderr.contains("(log root from STANDPIPE_LOGS)"), "{words}: {said:?}");
        let said = reader(words).arg("--logs").arg(scratch.logs()).run();
        assert!(said.code > 1 && !said.stderr.contains("log root from"), "{words}: {said:?}");
    }
    let meant = "is a pipes directory: for its logs give --logs ";
    for words in ["status pipes.d", "status ./pipes.d", "logs pipes.d", "list pipes.d/", "rotate pipes.d"] {
        let said = reader(words).env("STANDPIPE_LOGS", scratch.logs()).run();
        assert!(said.code > 1 && said.stderr.contains(meant), "{words}: {said:?}");
    }
}

#[test]
fn a_reader_started_by_a_unit_takes_the_log_root_of_the_unit_unless_the_pipes_directory_names_one() {
    let scratch = Scratch::new();
    scratch.pipe("app");
    let start = || {
        let logs = format!("{}:/elsewhere", scratch.logs().display());
        Launch::new("reader").arg(scratch.pipes()).env("LOGS_DIRECTORY", logs).start()
    };
    let mut reader = start();
    assert!(scratch.logs().join("app").is_dir(), "{}", reader.stderr());
    reader.hang_up("after HUP");
    assert!(!reader.stderr().contains("remains the log root"), "{}", reader.stderr());
    scratch.write_policy("defaults.toml", "logs = \"../other\"\n");
    reader.hang_up("remains the log root until reader restarts");
    reader.terminate();
    let mut reader = start();
    assert!(scratch.path().join("other/app").is_dir(), "{}", reader.stderr());
    reader.terminate();
}
