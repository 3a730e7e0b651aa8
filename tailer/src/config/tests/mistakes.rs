//! How each mistake in a configuration is told.

use super::*;

/// The sentence of each mistake without its picture: `line 1, column 3: …`.
fn told(error: &str) -> Vec<String> {
    let lines = error.lines().filter(|line| line.starts_with("cannot"));
    lines.map(|line| line.split_once(": ").map_or("", |(_, rest)| rest).to_string()).collect()
}

#[track_caller]
fn assert_refused(text: &str, refusal: Result<Config, String>, place: &str, complaint: &str) {
    let error = refusal.map(drop).expect_err(text);
    let told = told(&error);
    assert!(told.len() == 1 && told[0].starts_with(place) && told[0].contains(complaint), "{text}\n{error}");
    assert!(error.lines().count() == 4 && error.ends_with('^'), "no caret under one line: {text}\n{error}");
}

#[test]
fn each_mistake_in_toml_is_told_at_its_place() {
    for (text, place, complaint) in [
        ("ordr = \"read\"", "line 1, column 1", "unknown key `ordr`, expected one of `files`, `spool`, `order`"),
        ("order = \"time\"", "line 1, column 9", "`order` cannot be `time`: write `read` or `timestamp`"),
        ("order = true", "line 1, column 9", "`order` cannot be `true`"),
        ("order = read", "line 1, column 9", "string values must be quoted"),
        ("output = \"xml\"", "line 1, column 10", "write `text`, `json` or `raw`"),
        ("poll_interval_ms = 9", "line 1, column 20", "9 is out of range: write 10 to 60000"),
        ("poll_interval_ms = 60001", "line 1, column 20", "60001 is out of range"),
        ("poll_interval_ms = \"250\"", "line 1, column 20", "`poll_interval_ms` cannot be `250`: write a number"),
        ("poll_interval_ms = 0.25", "line 1, column 20", "cannot be a fraction"),
        ("window_ms = -1", "line 1, column 13", "write 0 to 60000"),
        ("window_ms = 99999999999999999999", "line 1, column 13", "a number beyond 64 bits"),
        ("inotify = \"no\"", "line 1, column 11", "write `true` or `false`"),
        ("state_file = \"\"", "line 1, column 14", "write a path"),
        ("state_file = 3", "line 1, column 14", "write it in quotes"),
        ("on_corrupt = \"skip\"", "line 1, column 14", "write `fail`, `beginning` or `end`"),
        ("order = \"read\"\norder = \"read\"", "line 2, column 1", "duplicate key"),
    ] {
        let text = format!("{text}\n[[files]]\npath = \"/a\"");
        assert_refused(&text, toml(&text), place, complaint);
    }
}

#[test]
fn each_mistake_of_a_file_is_told_at_its_place() {
    for (text, place, complaint) in [
        ("pth = 1", "line 3, column 1", "unknown key `pth`, expected one of `path`, `exclude`, `name`"),
        ("name = \"\"", "line 3, column 8", "write a name of 1 to 200 bytes without spaces"),
        ("name = \"a b\"", "line 3, column 8", "without spaces"),
        ("name = 7", "line 3, column 8", "write it in quotes"),
        ("priority = 2147483648", "line 3, column 12", "write -2147483648 to 2147483647"),
        ("start_at = \"start\"", "line 3, column 12", "write `end` or `beginning`"),
        ("rotated = \"old/*\"", "line 3, column 11", "write a list of globs"),
        ("rotated = [\"a\", \"b[\"]", "line 3, column 17", "`b[` is not a glob"),
        ("rotated = [1]", "line 3, column 12", "1 is not a glob"),
        ("exclude = \"*.gz\"", "line 3, column 11", "write a list of globs"),
        ("exclude = [\"a\", \"b[\"]", "line 3, column 17", "`b[` is not a glob"),
        ("exclude = [\"b*\"]", "line 3, column 11", "`/a` is a single file: leave it out"),
        ("ignore_older = \"long\"", "line 3, column 16", "span"),
        ("ignore_older = 7", "line 3, column 16", "write it in quotes"),
        ("timestamp = \"iso\"", "line 3, column 13", "is not a timestamp format"),
        ("timestamp = \"%Y %Q\"", "line 3, column 13", "cannot read times with"),
        ("max_idle_ms = 0", "line 3, column 15", "write 10 to 86400000"),
        ("max_idle_ms = 86400001", "line 3, column 15", "write 10 to 86400000"),
        ("[[files]]\nname = \"b\"", "line 3, column 1", "a file needs a `path`"),
        ("[[files]]\npath = \"/a\"", "line 4, column 8", "`/a` is listed twice: remove one"),
        ("[[files]]\npath = \"/./a\"", "line 4, column 8", "is listed twice"),
        ("[[files]]\npath = \"\"", "line 4, column 8", "write a path or a glob"),
        ("[[files]]\npath = \"/b/\"", "line 4, column 8", "is a directory"),
        ("[[files]]\npath = \"/b[a\"", "line 4, column 8", "`/b[a` is not a glob"),
        ("[[files]]\npath = \"/[b/a]\"", "line 4, column 8", "`[b` is not a glob"),
        (
            "[[files]]\npath = \"/*\"\nname = \"all\"",
            "line 5, column 8",
            "a glob cannot have one `name` for all its files",
        ),
        (
            "name = \"x\"\n[[files]]\npath = \"/b\"\nname = \"x\"",
            "line 6, column 8",
            "another file already has the name `x`",
        ),
        ("[[files]]\npath = \"/s.1\"", "line 4, column 8", "belongs to tailer's own state"),
        ("pipe = \"p\"", "line 3, column 8", "add `state_file = \"state.json\"` at the top, or say --state FILE"),
    ] {
        let text = format!("[[files]]\npath = \"/a\"\n{text}");
        let state = text.contains("/s.1").then(|| PathBuf::from("/s"));
        let refusal = loaded_as("t.toml", &text, &Overrides { state, ..Overrides::default() });
        assert_refused(&text, refusal, place, complaint);
    }
}

#[test]
fn a_configuration_without_files_is_refused() {
    for text in ["", "files = []", "order = \"read\""] {
        let error = toml(text).unwrap_err();
        assert!(error.contains("line 1, column") && error.contains("no file to follow: add `[[files]]`"), "{error}");
    }
    let error = toml("files = [3]").unwrap_err();
    assert!(error.contains("3 is not allowed here: write one of `path`"), "{error}");
    let error = toml("files = \"/a\"").unwrap_err();
    assert!(error.contains("write a table for each file"), "{error}");
}

#[test]
fn every_mistake_is_told_and_nothing_else() {
    let text = "window_ms = -1\n[[files]]\npath = \"/a\"\npriority = \"x\"\n[[files]]\npth = \"/b\"\n[[files]]\n\
                path = \"/a\"\nmax_idle_ms = 1\n";
    let error = toml(text).unwrap_err();
    let places: Vec<String> = told(&error).iter().map(|told| told.split(',').next().unwrap().to_string()).collect();
    assert_eq!(places, ["line 1", "line 4", "line 5", "line 6", "line 8", "line 9"], "{error}");
    let many = (0..100).map(|key| format!("x{key} = 1\n")).collect::<Vec<_>>().concat();
    assert_eq!(told(&toml(&many).unwrap_err()).len(), FLAWS_MAX);
}

#[test]
fn a_mistake_is_drawn() {
    let text = "order = \"read\"\n[[files]]\npath = \"/a\"\nmax_idle_ms = 5\n";
    let expected = "cannot use DIR/t.toml: line 4, column 15: 5 is out of range: write 10 to 86400000\n  |\n4 | \
                    max_idle_ms = 5\n  |               ^";
    assert_eq!(toml(text).unwrap_err(), expected);
}

#[cfg(feature = "yaml")]
#[test]
fn each_mistake_in_yaml_is_told_at_its_place() {
    for (text, place, complaint) in [
        ("ordr: read", "line 3, column 1", "unknown key `ordr`, expected one of `files`"),
        ("order: time", "line 3, column 8", "`order` cannot be `time`"),
        ("poll_interval_ms: 9", "line 3, column 19", "9 is out of range: write 10 to 60000"),
        ("poll_interval_ms: fast", "line 3, column 19", "write a number from 10 to 60000"),
        ("state_file:", "line 3, column 1", "`state_file` cannot be nothing"),
        ("inotify: no", "line 3, column 10", "write `true` or `false`"),
        ("pipe: p", "line 3, column 7", "add `state_file: state.json` at the top"),
        ("order: read\norder: read", "line 4, column 1", "duplicate"),
        ("- path: /b", "line 3, column 3", "did not find expected key"),
        ("order: [read", "line 3, column 8", ""),
        ("order: &a read\noutput: *b", "line 4, column 9", ""),
        ("order: !!int read", "line 3, column 14", ""),
        ("output: text\n---\noutput: raw", "line ", ""),
        ("  name: 'a b'", "line 3, column 9", "without spaces"),
        ("  name: 2026", "line 3, column 9", "2026 is a number, but `name` needs a string: write it in quotes"),
        ("- pth: /b\n  path: /c", "line 3, column 3", "unknown key `pth`"),
        ("- path: /a", "line 3, column 9", "is listed twice"),
        ("- name: b", "line 3, column 3", "a file needs a `path`"),
        ("  timestamp: '%Q'", "line 3, column 14", "cannot read times with"),
    ] {
        let indent = if text.starts_with("- path: /b") { "  " } else { "" };
        let text = format!("files:\n{indent}- path: /a\n{text}");
        assert_refused(&text, yaml(&text), place, complaint);
    }
    for text in ["", "files:", "files: []", "---\n"] {
        let error = yaml(text).unwrap_err();
        assert!(error.contains("there is no file to follow: add `files:`") || error.contains("`files`"), "{error}");
    }
}
