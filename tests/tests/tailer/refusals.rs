//! What the tailer is asked wrongly, on the command line and in its configuration, and outputs that are not there.

use std::fs;
use std::path::Path;

use standpipe_tests::deadline::until;
use standpipe_tests::directory::make_fifo;
use standpipe_tests::programs::{Launch, Output};
use standpipe_tests::stands::Tailing;
use standpipe_tests::world::{Owner, count_lines, open_reader, read_all};

/// Runs with this configuration.
fn run(stand: &Tailing, file: &str, text: &str, flags: &[&str]) -> Output {
    fs::write(stand.work(file), text).unwrap();
    Launch::new("tailer").arg("--config").arg(stand.work(file)).args(flags).run()
}

/// Configurations that are wrong, and what is said of them.
const WRONG: [(&str, &str, &str); 11] = [
    ("a.toml", "no_such = 1\n[[files]]\npath = \"/a\"\n", "a.toml: line 1, column 1: "),
    ("a.toml", "window_ms = \"long\"\n[[files]]\npath = \"/a\"\n", "a.toml: line 1, column 13: "),
    ("a.toml", "[[files]]\npath = \"/a\"\nmax_idle_ms = 5\n", "a.toml: line 3, column 15: 5 is out of range"),
    ("a.toml", "[[files]]\npath = 7\n", "a.toml: line 2, column 8: "),
    (
        "a.toml",
        "[[files]]\npath = \"/a\"\nname = \"x\"\n[[files]]\npath = \"/b\"\nname = \"x\"\n",
        "line 6, column 8: ",
    ),
    ("a.toml", "[[files]]\npath = \"/a\"\ntimestamp = \"%Q nonsense\"\n", "a.toml: line 3, column 13: "),
    ("a.toml", "[[files]]\npath = \"/a\"\npipe = \"/p\"\n", "state_file = \"state.json\""),
    ("a.toml", "order = \"read\"\n", "there is no file to follow"),
    ("a.toml", "[[files]\n", "a.toml: line 1, column "),
    ("a.yaml", "order: sideways\nfiles:\n  - path: /a\n", "a.yaml: line 1, column 8: "),
    ("a.yaml", "files:\n  - path: /a\n    pipe: /p\n", "state_file: state.json"),
];

#[test]
fn a_wrong_configuration_is_told_by_line_and_column_with_exit_code_2() {
    let stand = Tailing::to_stdout(Owner::Tailer);
    for (file, text, complaint) in WRONG {
        for flags in [&[] as &[&str], &["--check-config"]] {
            let output = run(&stand, file, text, flags);
            assert_eq!((output.code, output.stdout.len()), (2, 0), "{text}{}", output.stderr);
            let is_told = output.stderr.starts_with("tailer: error: cannot use ") && output.stderr.contains(complaint);
            assert!(is_told, "{text}{}", output.stderr);
        }
    }
    assert!(!stand.work("state.json").exists());
}

#[test]
fn check_config_tells_all_mistakes_and_nothing_of_a_sound_one() {
    let stand = Tailing::to_stdout(Owner::Tailer);
    let text = "no_such = 1\nwindow_ms = -1\n[[files]]\npath = \"/a\"\npriority = \"high\"\n";
    let output = run(&stand, "a.toml", text, &["--check-config"]);
    assert_eq!(output.code, 2);
    for place in ["line 1, column 1: ", "line 2, column 13: ", "line 5, column 12: "] {
        assert!(output.stderr.contains(place), "{}", output.stderr);
    }
    assert_eq!(output.stderr.lines().filter(|line| line.ends_with('^')).count(), 3, "a caret each:\n{}", output.stderr);
    let sound = "state_file = \"state.json\"\n[[files]]\npath = \"/nowhere/a.log\"\npipe = \"/nowhere/p\"\n";
    let output = run(&stand, "a.toml", sound, &["--check-config"]);
    assert_eq!((output.code, output.stdout.len(), output.stderr.as_str()), (0, 0, ""));
    assert!(!stand.work("state.json").exists() && !stand.work("state.json.lock").exists());
}

#[test]
fn a_configuration_that_cannot_be_read_is_an_error() {
    let stand = Tailing::to_stdout(Owner::Tailer);
    for (path, complaint) in
        [("missing.toml", "No such file or directory"), ("tailer.ini", "its name must end in .toml, .yaml or .yml")]
    {
        let output = Launch::new("tailer").arg("--config").arg(stand.work(path)).run();
        assert_eq!(output.code, 2, "{}", output.stderr);
        assert!(output.stderr.contains(complaint), "{}", output.stderr);
    }
}

#[test]
fn a_pipe_without_a_state_is_refused_with_the_flag_to_add() {
    let stand = Tailing::to_stdout(Owner::Tailer);
    let log = stand.log("app.log", 1);
    let output = Launch::new("tailer").arg(&log.path).arg("--pipe").arg(stand.scratch.fifo("out")).run();
    assert_eq!(output.code, 2, "{}", output.stderr);
    assert!(output.stderr.contains("add `--state FILE`"), "{}", output.stderr);
    assert_eq!(Launch::new("tailer").run().code, 2);
}

/// Follows `app.log` into this pipe.
fn into(stand: &Tailing, pipe: &Path) -> Launch {
    let launch = Launch::new("tailer").arg(stand.log_path("app.log")).arg("--pipe").arg(pipe);
    launch.arg("--state").arg(stand.work("state.json")).arg("--follow-from-start")
}

#[test]
fn a_pipe_that_nobody_holds_is_told_once_and_written_when_somebody_does() {
    let stand = Tailing::to_stdout(Owner::Tailer);
    let mut log = stand.log("app.log", 1);
    log.write(20);
    let fifo = stand.scratch.fifo("out");
    let mut daemon = into(&stand, &fifo).start_unready();
    let told = daemon.wait_line(fifo.to_str().unwrap());
    log.write(5);
    // Over two retries.
    daemon.wait_line("inode=");
    std::thread::sleep(std::time::Duration::from_millis(2500));
    assert_eq!(daemon.lines_with("no reader or holder has it open"), [told], "{}", daemon.stderr());
    let mut pipe = open_reader(&fifo);
    let mut got = Vec::new();
    until("all lines", || {
        std::io::Read::read_to_end(&mut pipe, &mut got).ok();
        count_lines(&got) == 25
    });
    assert!(got == fs::read(&log.path).unwrap());
    assert_eq!(daemon.terminate(), 0, "{}", daemon.stderr());
}

#[test]
fn a_pipe_that_is_none_is_told_and_never_written_to() {
    let stand = Tailing::to_stdout(Owner::Tailer);
    let mut log = stand.log("app.log", 1);
    log.write(20);
    let output = stand.scratch.run("out");
    fs::write(&output, "precious").unwrap();
    let mut daemon = into(&stand, &output).start_unready();
    daemon.wait_line("it is not a FIFO");
    assert_eq!(fs::read_to_string(&output).unwrap(), "precious");
    fs::remove_file(&output).unwrap();
    make_fifo(&output, 0o666);
    let keeper = fs::File::options().read(true).write(true).open(&output).unwrap();
    let mut pipe = open_reader(&output);
    let mut got = Vec::new();
    until("all lines", || {
        got.extend(read_all(&mut pipe));
        count_lines(&got) == 20
    });
    drop(keeper);
    assert_eq!(daemon.terminate(), 0, "{}", daemon.stderr());
}
