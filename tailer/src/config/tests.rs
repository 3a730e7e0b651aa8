//! What files and flags say, and how each mistake in them is told.

mod reference;
mod spools;

use super::*;

fn loaded_as(name: &str, text: &str, given: &Overrides) -> Result<Config, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    std::fs::write(&path, text).unwrap();
    let shown = |error: ConfigError| error.to_string().replace(dir.path().to_str().unwrap(), "DIR");
    let mut config = load(&path, given).map_err(shown)?;
    let moved = |path: &mut PathBuf| {
        if let Ok(below) = path.strip_prefix(dir.path()) {
            *path = Path::new("/DIR").join(below);
        }
    };
    config.state_file.iter_mut().for_each(moved);
    for file in &mut config.files {
        moved(&mut file.path);
        file.pipe.iter_mut().for_each(moved);
    }
    for spool in &mut config.spools {
        moved(&mut spool.dir);
        spool.done.iter_mut().chain(&mut spool.pipe).for_each(moved);
    }
    Ok(config)
}

fn toml(text: &str) -> Result<Config, String> {
    loaded_as("t.toml", text, &Overrides::default())
}

#[cfg(feature = "yaml")]
fn yaml(text: &str) -> Result<Config, String> {
    loaded_as("t.yaml", text, &Overrides::default())
}

fn file(path: &str) -> FileConfig {
    FileConfig { path: path.into(), ..FileConfig::default() }
}

const FULL: &str = r#"
    order = "timestamp"
    window_ms = 100
    state_file = "s/state.json"
    pipe = "p"
    output = "json"
    poll_interval_ms = 1_000
    inotify = false
    late_writer_max_ms = 0
    on_corrupt = "beginning"
    [[files]]
    path = "app.log"
    name = "app"
    pipe = "/q"
    priority = -3
    rate_limit = "64KiB/s, burst 1M"
    start_at = "beginning"
    rotated = ["old/app.log*", "/o/*"]
    timestamp = "%d.%m.%Y %H:%M:%S"
    max_idle_ms = 10
    [[files]]
    path = "./*.log"
"#;

#[test]
fn each_key_reaches_its_field() {
    let expected = Config {
        poll_interval: Duration::from_secs(1),
        order: Order::Timestamp,
        window: Duration::from_millis(100),
        state_file: Some("/DIR/s/state.json".into()),
        output: Format::Json,
        on_corrupt: OnCorrupt::Beginning,
        inotify: false,
        late_writer_max: Duration::ZERO,
        files: vec![
            FileConfig {
                path: "/DIR/app.log".into(),
                is_glob: false,
                name: Some("app".to_string()),
                pipe: Some("/q".into()),
                priority: -3,
                rate_limit: "64K/s, burst 1M".parse().ok(),
                start_at: StartAt::Beginning,
                rotated: vec!["old/app.log*".to_string(), "/o/*".to_string()],
                timestamp: "%d.%m.%Y %H:%M:%S".to_string(),
                max_idle: Duration::from_millis(10),
            },
            FileConfig { is_glob: true, pipe: Some("/DIR/p".into()), ..file("/DIR/*.log") },
        ],
        spools: Vec::new(),
    };
    assert_eq!(toml(FULL).unwrap(), expected);
}

#[test]
fn a_file_that_says_nothing_else_gets_the_defaults() {
    let config = toml("[[files]]\npath = \"/a\"").unwrap();
    assert_eq!(config, Config { files: vec![file("/a")], ..Config::default() });
}

#[cfg(feature = "yaml")]
#[test]
fn the_yaml_that_people_come_with_works_as_it_stands() {
    let text = "poll_interval_ms: 250\norder: timestamp\nstate_file: state.json\nfiles:\n  - path: /var/log/app.log\n    \
                name: app.log\n    max_idle_ms: 5000   # idle\n";
    let expected = Config {
        order: Order::Timestamp,
        state_file: Some("/DIR/state.json".into()),
        files: vec![FileConfig { name: Some("app.log".to_string()), ..file("/var/log/app.log") }],
        ..Config::default()
    };
    assert_eq!(yaml(text).unwrap(), expected);
    assert_eq!(loaded_as("t.yml", text, &Overrides::default()).unwrap(), expected);
}

#[cfg(feature = "yaml")]
#[test]
fn yaml_and_toml_say_the_same() {
    let text = "order: timestamp\nwindow_ms: 100\nstate_file: s/state.json\npipe: p\noutput: json\n\
                poll_interval_ms: 1000\ninotify: false\nlate_writer_max_ms: 0\non_corrupt: 'beginning'\nfiles:\n\
                - {path: app.log, name: app, pipe: /q, priority: -3, rate_limit: '64KiB/s, burst 1M', start_at: beginning,\n   \
                   rotated: [\"old/app.log*\", /o/*], timestamp: \"%d.%m.%Y %H:%M:%S\", max_idle_ms: 10}\n\
                - path: ./*.log\n";
    assert_eq!(yaml(text).unwrap(), toml(FULL).unwrap());
}

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
        ("order = \"time\"", "line 1, column 9", "`time` cannot be `order`: write `read` or `timestamp`"),
        ("order = true", "line 1, column 9", "`true` cannot be `order`"),
        ("order = read", "line 1, column 9", "string values must be quoted"),
        ("output = \"xml\"", "line 1, column 10", "write `text`, `json` or `raw`"),
        ("poll_interval_ms = 9", "line 1, column 20", "9 is out of range: write 10 to 60000"),
        ("poll_interval_ms = 60001", "line 1, column 20", "60001 is out of range"),
        ("poll_interval_ms = \"250\"", "line 1, column 20", "`250` cannot be `poll_interval_ms`: write a number"),
        ("poll_interval_ms = 0.25", "line 1, column 20", "a fraction cannot be"),
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
        ("pth = 1", "line 3, column 1", "unknown key `pth`, expected one of `path`, `name`"),
        ("name = \"\"", "line 3, column 8", "write a name of 1 to 200 bytes without blanks"),
        ("name = \"a b\"", "line 3, column 8", "without blanks"),
        ("name = 7", "line 3, column 8", "write it in quotes"),
        ("priority = 2147483648", "line 3, column 12", "write -2147483648 to 2147483647"),
        ("start_at = \"start\"", "line 3, column 12", "write `end` or `beginning`"),
        ("rotated = \"old/*\"", "line 3, column 11", "write a list of globs"),
        ("rotated = [\"a\", \"b[\"]", "line 3, column 17", "`b[` is no glob"),
        ("rotated = [1]", "line 3, column 12", "1 is no glob"),
        ("timestamp = \"iso\"", "line 3, column 13", "is no form of a timestamp"),
        ("timestamp = \"%Y %Q\"", "line 3, column 13", "no time can be read with"),
        ("max_idle_ms = 0", "line 3, column 15", "write 10 to 86400000"),
        ("max_idle_ms = 86400001", "line 3, column 15", "write 10 to 86400000"),
        ("[[files]]\nname = \"b\"", "line 3, column 1", "a file needs a `path`"),
        ("[[files]]\npath = \"/a\"", "line 4, column 8", "`/a` is followed already"),
        ("[[files]]\npath = \"/./a\"", "line 4, column 8", "is followed already"),
        ("[[files]]\npath = \"\"", "line 4, column 8", "write a path or a glob"),
        ("[[files]]\npath = \"/b/\"", "line 4, column 8", "is a directory"),
        ("[[files]]\npath = \"/b[a\"", "line 4, column 8", "`/b[a` is no glob"),
        ("[[files]]\npath = \"/*\"\nname = \"all\"", "line 5, column 8", "one name for all that match a glob"),
        ("name = \"x\"\n[[files]]\npath = \"/b\"\nname = \"x\"", "line 6, column 8", "called `x` already"),
        ("[[files]]\npath = \"/s.1\"", "line 4, column 8", "a file of our own state"),
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
    assert!(error.contains("3 cannot stand here: write one of `path`"), "{error}");
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
        ("order: time", "line 3, column 8", "`time` cannot be `order`"),
        ("poll_interval_ms: 9", "line 3, column 19", "9 is out of range: write 10 to 60000"),
        ("poll_interval_ms: fast", "line 3, column 19", "write a number from 10 to 60000"),
        ("state_file:", "line 3, column 1", "nothing cannot be `state_file`"),
        ("inotify: no", "line 3, column 10", "write `true` or `false`"),
        ("pipe: p", "line 3, column 7", "add `state_file: state.json` at the top"),
        ("order: read\norder: read", "line 4, column 1", "duplicate"),
        ("- path: /b", "line 3, column 3", "did not find expected key"),
        ("order: [read", "line 3, column 8", ""),
        ("order: &a read\noutput: *b", "line 4, column 9", ""),
        ("order: !!int read", "line 3, column 14", ""),
        ("output: text\n---\noutput: raw", "line ", ""),
        ("  name: 'a b'", "line 3, column 9", "without blanks"),
        ("  name: 2026", "line 3, column 9", "2026 is a number, but `name` takes a text: write it in quotes"),
        ("- pth: /b\n  path: /c", "line 3, column 3", "unknown key `pth`"),
        ("- path: /a", "line 3, column 9", "is followed already"),
        ("- name: b", "line 3, column 3", "a file needs a `path`"),
        ("  timestamp: '%Q'", "line 3, column 14", "no time can be read"),
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

#[cfg(not(feature = "yaml"))]
#[test]
fn without_the_feature_yaml_is_refused_in_a_sentence() {
    let error = loaded_as("t.yaml", "files:\n- path: /a\n", &Overrides::default()).unwrap_err();
    assert!(error.contains("this tailer was built without YAML: write it in TOML"), "{error}");
}

#[test]
fn a_relative_glob_in_a_directory_whose_name_looks_like_one_means_that_directory() {
    let dir = tempfile::tempdir().unwrap();
    let odd = dir.path().join("logs[1]*");
    std::fs::create_dir(&odd).unwrap();
    std::fs::write(odd.join("t.toml"), "[[files]]\npath = \"*.log\"\n[[files]]\npath = \"app\"").unwrap();
    let config = load(&odd.join("t.toml"), &Overrides::default()).unwrap();
    assert!(config.files[0].path.ends_with("logs[[]1[]][*]/*.log"), "{config:?}");
    assert_eq!(config.files[1].path, odd.join("app"));
}

#[test]
fn the_extension_says_the_language() {
    for name in ["t", "t.json", "t.TOML", ".toml", "toml"] {
        let error = loaded_as(name, "", &Overrides::default()).unwrap_err();
        assert!(error.contains("must end in .toml, .yaml or .yml"), "{name}: {error}");
    }
    let error = load(Path::new("/nowhere/t.toml"), &Overrides::default()).unwrap_err();
    assert_eq!(error.to_string(), "cannot read /nowhere/t.toml: No such file or directory");
}

#[test]
fn what_is_not_utf_8_is_told_at_its_place() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["t.toml", "t.yaml"] {
        let path = dir.path().join(name);
        std::fs::write(&path, b"# caf\xe9\n").unwrap();
        let error = load(&path, &Overrides::default()).unwrap_err().to_string();
        assert!(error.contains("line 1, column 6: this is not UTF-8"), "{error}");
    }
}

#[test]
fn flags_count_instead_of_the_file() {
    let given = Overrides {
        order: Some(Order::Read),
        state: Some("/s".into()),
        follow_from_start: true,
        output: Some(Format::Raw),
    };
    let text = "order = \"timestamp\"\npipe = \"/p\"\n[[files]]\npath = \"/a\"\nstart_at = \"end\"";
    let config = loaded_as("t.toml", text, &given).unwrap();
    assert_eq!((config.order, config.output, config.state_file.clone()), (Order::Read, Format::Raw, given.state));
    assert_eq!(config.files[0].start_at, StartAt::Beginning);
}

#[test]
fn paths_of_a_command_line_are_no_globs_and_start_at_the_current_directory() {
    let given = Overrides { state: Some("state.json".into()), ..Overrides::default() };
    let paths = ["/a[b]*.log", "./x.log", "x.log"].map(PathBuf::from);
    let config = Config::of_paths(&paths, Some(Path::new("p")), &given).unwrap();
    let here = std::env::current_dir().unwrap();
    let with_pipe = |path: PathBuf| FileConfig { path, pipe: Some(here.join("p")), ..FileConfig::default() };
    assert_eq!(config.files, [with_pipe("/a[b]*.log".into()), with_pipe(here.join("x.log"))]);
    assert_eq!(config.state_file, Some(here.join("state.json")));

    let error = Config::of_paths(&paths, Some(Path::new("p")), &Overrides::default()).unwrap_err();
    assert!(error.to_string().contains("add `--state FILE`"), "{error}");
    assert!(Config::of_paths(&paths, None, &Overrides::default()).is_ok());
}

#[test]
fn our_own_state_is_known_by_its_name() {
    let config = Config { state_file: Some("/s/state.json".into()), ..Config::default() };
    for (path, ours) in [
        ("/s/state.json", true),
        ("/s/state.json.1", true),
        ("/s/state.json.lock", true),
        ("/s/state.json.stage-0123", true),
        ("/s/state.jsonl", false),
        ("/s/other.json", false),
        ("/t/state.json", false),
    ] {
        assert_eq!(config.is_state(Path::new(path)), ours, "{path}");
        assert!(!Config::default().is_state(Path::new(path)));
    }
}
