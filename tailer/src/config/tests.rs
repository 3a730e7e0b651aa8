//! What files and flags say.

mod mistakes;
mod reference;
mod spools;

use std::time::Duration;

use super::*;
use crate::out::timestamp::Format;

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
    config.state_file.iter_mut().chain(&mut config.metrics_file).for_each(moved);
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
    metrics_file = "m/tailer.prom"
    pipe = "p"
    output = "json"
    poll_interval_ms = 1_000
    inotify = false
    late_writer_max_ms = 0
    durable_ms = 500
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
        window: Some(Duration::from_millis(100)),
        state_file: Some("/DIR/s/state.json".into()),
        metrics_file: Some("/DIR/m/tailer.prom".into()),
        output: LineForm::Json,
        on_corrupt: OnCorrupt::Beginning,
        inotify: false,
        late_writer_max: Duration::ZERO,
        durable_span: Duration::from_millis(500),
        files: vec![
            FileConfig {
                exclude: Vec::new(),
                ignore_older: None,
                format: Records::Plain,
                path: "/DIR/app.log".into(),
                is_glob: false,
                name: Some("app".to_string()),
                pipe: Some("/q".into()),
                priority: -3,
                rate_limit: "64K/s, burst 1M".parse().ok(),
                start_at: StartAt::Beginning,
                rotated: vec!["old/app.log*".to_string(), "/o/*".to_string()],
                timestamp: Format::of("%d.%m.%Y %H:%M:%S"),
                max_idle: Duration::from_millis(10),
            },
            FileConfig { format: Records::Plain, is_glob: true, pipe: Some("/DIR/p".into()), ..file("/DIR/*.log") },
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
    let text = "order: timestamp\nwindow_ms: 100\nstate_file: s/state.json\nmetrics_file: m/tailer.prom\npipe: p\noutput: json\n\
                poll_interval_ms: 1000\ninotify: false\nlate_writer_max_ms: 0\ndurable_ms: 500\non_corrupt: 'beginning'\nfiles:\n\
                - {path: app.log, name: app, pipe: /q, priority: -3, rate_limit: '64KiB/s, burst 1M', start_at: beginning,\n   \
                   rotated: [\"old/app.log*\", /o/*], timestamp: \"%d.%m.%Y %H:%M:%S\", max_idle_ms: 10}\n\
                - path: ./*.log\n";
    assert_eq!(yaml(text).unwrap(), toml(FULL).unwrap());
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
        assert!(error.contains("line 1, column 6: not valid UTF-8"), "{error}");
    }
}

#[test]
fn flags_count_instead_of_the_file() {
    let given = Overrides {
        order: Some(Order::Read),
        state: Some("/s".into()),
        follow_from_start: true,
        output: Some(LineForm::Raw),
        metrics_file: Some("/m.prom".into()),
    };
    let text = "order = \"timestamp\"\npipe = \"/p\"\n[[files]]\npath = \"/a\"\nstart_at = \"end\"";
    let config = loaded_as("t.toml", text, &given).unwrap();
    assert_eq!((config.order, config.output, config.state_file.clone()), (Order::Read, LineForm::Raw, given.state));
    assert_eq!(config.files[0].start_at, StartAt::Beginning);
    assert_eq!(config.metrics_file, given.metrics_file);
}

#[test]
fn a_metrics_file_ends_in_prom_and_needs_a_state() {
    for (top, complaint) in [
        ("metrics_file = \"/m.prom\"", "line 1, column 16: a metrics file needs a state file: add `state_file = "),
        ("metrics_file = \"/m\"", "line 1, column 16: `/m`: the name must end in .prom"),
        ("metrics_file = \"\"", "line 1, column 16: `metrics_file` cannot be"),
        ("metrics_file = 7", "line 1, column 16: 7 is a number"),
    ] {
        let refusal = toml(&format!("{top}\n[[files]]\npath = \"/a\"")).unwrap_err();
        assert!(refusal.contains(complaint), "{refusal}");
    }
    let given = Overrides { metrics_file: Some("m.prom".into()), ..Overrides::default() };
    let refusal = Config::of_paths(&["/a".into()], None, &given).unwrap_err().to_string();
    assert!(refusal.starts_with("a metrics file needs a state file: add `--state FILE`"), "{refusal}");
    let given = Overrides { state: Some("s".into()), ..given };
    let config = Config::of_paths(&["/a".into()], None, &given).unwrap();
    assert_eq!(config.metrics_file, Some(std::env::current_dir().unwrap().join("m.prom")));
}

#[test]
fn paths_of_a_command_line_are_no_globs_and_start_at_the_current_directory() {
    let given = Overrides { state: Some("state.json".into()), ..Overrides::default() };
    let dir = tempfile::tempdir().unwrap();
    let odd = dir.path().join("a[b]*.log");
    std::fs::write(&odd, "").unwrap();
    let paths = [odd.clone(), "./x.log".into(), "x.log".into()];
    let config = Config::of_paths(&paths, Some(Path::new("p")), &given).unwrap();
    let here = std::env::current_dir().unwrap();
    let with_pipe = |path: PathBuf| FileConfig { path, pipe: Some(here.join("p")), ..FileConfig::default() };
    assert_eq!(config.files, [with_pipe(odd), with_pipe(here.join("x.log"))]);
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
        ("/s/state.json.changes", true),
        ("/s/state.json.durable.changes", true),
        ("/s/state.json.stage-0123", true),
        ("/s/state.jsonl", false),
        ("/s/other.json", false),
        ("/t/state.json", false),
    ] {
        assert_eq!(config.is_state(Path::new(path)), ours, "{path}");
        assert!(!Config::default().is_state(Path::new(path)));
    }
}
