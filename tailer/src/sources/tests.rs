//! Which files are sources, and what they are called.

use super::*;
use std::fs;

use tempfile::TempDir;

/// Enough of rotation for these tests: something behind the name, or a number before its extension.
fn is_rotation(live: &OsStr, candidate: &OsStr) -> bool {
    let (live, candidate) = (live.to_str().unwrap(), candidate.to_str().unwrap());
    let is_suffix = |rest: &str| rest.starts_with(['.', '-']) && rest[1..].starts_with(|c: char| c.is_ascii_digit());
    let (stem, extension) = live.rsplit_once('.').unwrap_or((live, ""));
    let plain = candidate.strip_suffix(".gz").unwrap_or(candidate);
    candidate.strip_prefix(live).is_some_and(is_suffix)
        || plain.strip_prefix(stem).and_then(|rest| rest.strip_suffix(&format!(".{extension}"))).is_some_and(is_suffix)
}

fn tree(paths: &[&str]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for path in paths {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }
    dir
}

fn entry(dir: &TempDir, path: &str) -> FileConfig {
    FileConfig { path: dir.path().join(path), is_glob: path.contains(['*', '?', '[']), ..FileConfig::default() }
}

fn config(dir: &TempDir, paths: &[&str]) -> Config {
    Config { files: paths.iter().map(|path| entry(dir, path)).collect(), ..Config::default() }
}

/// `path as name`, below `dir`; and each is unique.
fn shown(dir: &TempDir, sources: &Sources) -> Vec<String> {
    let names: HashSet<_> = sources.found.iter().map(|found| &found.name).collect();
    assert_eq!(names.len(), sources.found.len(), "{sources:?}");
    let prefix = format!("{}/", dir.path().display());
    let show = |found: &Found| format!("{} as {}", found.path.display(), found.name).replace(&prefix, "");
    sources.found.iter().map(show).collect()
}

fn expanded(dir: &TempDir, paths: &[&str]) -> Vec<String> {
    shown(dir, &expand(&config(dir, paths), &BTreeSet::new(), &BTreeSet::new(), &is_rotation))
}

#[test]
fn a_source_is_called_by_its_file_name_or_by_what_tells_it_apart() {
    let dir = tree(&["a/app.log", "b/app.log", "b/web.log", "c/d/app.log", "c/.hidden.log"]);
    let whole = |path: &str| dir.path().join(path).display().to_string();
    for (paths, expected) in [
        (vec!["b/*.log"], vec!["b/app.log as app.log", "b/web.log as web.log"]),
        (vec!["*/*.log"], vec!["a/app.log as a/app.log", "b/app.log as b/app.log", "b/web.log as web.log"]),
        (vec!["**/app.log"], vec!["a/app.log as a/app.log", "b/app.log as b/app.log", "c/d/app.log as c/d/app.log"]),
        (vec!["c/*.log"], vec![]),
        (vec!["missing.log"], vec!["missing.log as missing.log"]),
        (vec!["?/app.log", "missing/*"], vec!["a/app.log as a/app.log", "b/app.log as b/app.log"]),
    ] {
        assert_eq!(expanded(&dir, &paths), expected, "{paths:?}");
    }
    let two = expand(&config(&dir, &["a/app.log", "b/app.log"]), &BTreeSet::new(), &BTreeSet::new(), &is_rotation);
    let names: Vec<&str> = two.found.iter().map(|found| found.name.as_str()).collect();
    assert_eq!(names, [whole("a/app.log"), whole("b/app.log")], "plain paths have nothing else to tell them apart");
    let two = expand(&config(&dir, &["a/*.log", "b/*.log"]), &BTreeSet::new(), &BTreeSet::new(), &is_rotation);
    let names: Vec<&str> = two.found.iter().map(|found| found.name.as_str()).collect();
    assert_eq!(names, [&whole("a/app.log"), &whole("b/app.log"), "web.log"]);
}

#[test]
fn a_name_that_was_given_never_gives_way() {
    let dir = tree(&["a/app.log", "b/app.log", "b/x.log"]);
    let mut config = config(&dir, &["b/x.log", "*/app.log"]);
    config.files[0].name = Some("app.log".to_string());
    let sources = expand(&config, &BTreeSet::new(), &BTreeSet::new(), &is_rotation);
    assert_eq!(shown(&dir, &sources), ["b/x.log as app.log", "a/app.log as a/app.log", "b/app.log as b/app.log"]);
    config.files[0].name = Some("a/app.log".to_string());
    let sources = expand(&config, &BTreeSet::new(), &BTreeSet::new(), &is_rotation);
    assert_eq!(sources.found[1].name, dir.path().join("a/app.log").display().to_string());
}

#[test]
fn a_file_that_two_entries_reach_belongs_to_the_first() {
    let dir = tree(&["a.log", "b.log"]);
    let sources = expand(&config(&dir, &["b.log", "*.log", "?.log"]), &BTreeSet::new(), &BTreeSet::new(), &is_rotation);
    let owners: Vec<usize> = sources.found.iter().map(|found| found.file).collect();
    assert_eq!((shown(&dir, &sources), owners), (vec!["b.log as b.log".into(), "a.log as a.log".into()], vec![0, 1]));
}

#[test]
fn rotated_siblings_are_no_sources() {
    let dir = tree(&[
        "app.log",
        "app.log.1",
        "app.log.2.gz",
        "app.log-20261121",
        "app-20261121.log",
        "app-20261121.log.gz",
        "app.error.log",
        "web.1.log",
        "old/app.log.1",
    ]);
    assert_eq!(
        expanded(&dir, &["*.log*"]),
        ["app.error.log as app.error.log", "app.log as app.log", "web.1.log as web.1.log"]
    );
    assert_eq!(
        expanded(&dir, &["*.log*", "web.log"]).len(),
        3,
        "web.log need not be there for web.1.log to be its own"
    );
    assert_eq!(expanded(&dir, &["app.log", "app.log.1"]).len(), 2, "whoever names it, means it");
    assert_eq!(expanded(&dir, &["old/*"]), ["old/app.log.1 as app.log.1"], "of another directory");
}

#[test]
fn between_rename_and_create_a_rotated_file_does_not_become_a_source() {
    let dir = tree(&["app.log.1"]);
    let config = config(&dir, &["*.log*"]);
    assert_eq!(expand(&config, &BTreeSet::new(), &BTreeSet::new(), &is_rotation).found.len(), 1);
    let known = BTreeSet::from([dir.path().join("app.log")]);
    assert_eq!(expand(&config, &known, &BTreeSet::new(), &is_rotation).found, []);
    let away = expand(&config, &known, &known, &is_rotation);
    assert_eq!(shown(&dir, &away), ["app.log as app.log"], "its name is away, and what was rotated is its own");
}

#[test]
fn our_own_state_and_directories_are_no_sources() {
    let dir = tree(&["state.json", "state.json.1", "state.json.lock", "a.log", "sub/b.log"]);
    let mut config = config(&dir, &["*"]);
    config.state_file = Some(dir.path().join("state.json"));
    assert_eq!(shown(&dir, &expand(&config, &BTreeSet::new(), &BTreeSet::new(), &is_rotation)), ["a.log as a.log"]);
}

#[test]
fn directories_are_those_in_which_a_match_can_appear() {
    let dir = tree(&["a/x/app.log", "b/x/app.log", "b/y", "c[1]/app.log"]);
    for (path, expected) in [
        ("a/x/app.log", vec!["a/x"]),
        ("missing/app.log", vec!["missing"]),
        ("a/x/*.log", vec!["a/x"]),
        ("*.log", vec![""]),
        ("*/x/*.log", vec!["", "a", "a/x", "b", "b/x", "c[1]"]),
        ("*/*/app.log", vec!["", "a", "a/x", "b", "b/x", "c[1]"]),
        ("c[[]1]/*.log", vec!["c[1]"]),
        ("missing/*.log", vec!["missing"]),
        ("**/*.log", vec!["", "a", "a/x", "b", "b/x", "c[1]"]),
    ] {
        let expected: Vec<PathBuf> =
            expected.into_iter().map(|path| dir.path().join(path).components().collect()).collect();
        assert_eq!(directories(&entry(&dir, path)), expected, "{path}");
    }
}

#[test]
fn rotated_patterns_start_at_the_directory_of_the_file() {
    let file = FileConfig { rotated: vec!["old/app*".to_string(), "/o/*".to_string()], ..FileConfig::default() };
    let patterns = rotated(&file, Path::new("/l[1]/app.log"));
    for (path, matches) in [("/l[1]/old/app.1", true), ("/o/x", true), ("/l1/old/app.1", false), ("old/app", false)] {
        assert_eq!(patterns.iter().any(|pattern| pattern.matches(path)), matches, "{path}");
    }
}

#[test]
fn many_files_of_a_glob_are_not_compared_each_with_all() {
    let names: Vec<String> = (0..2000).map(|number| format!("worker.{number}")).collect();
    let dir = tree(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let asked = std::cell::Cell::new(0);
    let sources = expand(&config(&dir, &["worker.*"]), &BTreeSet::new(), &BTreeSet::new(), &|_, _| {
        asked.set(asked.get() + 1);
        false
    });
    assert_eq!(sources.found.len(), 2000);
    assert!(asked.get() < 20_000, "{} comparisons", asked.get());
}
