//! Which files are sources, and what they are called.

use super::*;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::Duration;

use tempfile::TempDir;

use crate::names::watch::Watch;

use standpipe_common::shown::Shown as _;

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
    let prefix = format!("{}/", dir.path().shown());
    let show = |found: &FoundSource| format!("{} as {}", found.path.shown(), found.name).replace(&prefix, "");
    sources.found.iter().map(show).collect()
}

fn expanded(dir: &TempDir, paths: &[&str]) -> Vec<String> {
    shown(dir, &find(&config(dir, paths)))
}

/// All sources, where nothing is known of any.
fn find(config: &Config) -> Sources {
    expand(config, &globs(config), &Remembered::default(), &is_rotation)
}

/// The globs of a configuration, looked through.
fn globs(config: &Config) -> Globs {
    let (mut globs, now) = (Globs::default(), Instant::now());
    globs.set(config, None);
    globs.look(now, Duration::from_secs(1), None, &mut Directories::new(now));
    globs
}

#[test]
fn a_source_is_called_by_its_file_name_or_by_what_tells_it_apart() {
    let dir = tree(&["a/app.log", "b/app.log", "b/web.log", "c/d/app.log", "c/.hidden.log"]);
    let whole = |path: &str| dir.path().join(path).shown().to_string();
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
    let two = find(&config(&dir, &["a/app.log", "b/app.log"]));
    let names: Vec<&str> = two.found.iter().map(|found| found.name.as_str()).collect();
    assert_eq!(names, [whole("a/app.log"), whole("b/app.log")], "plain paths have nothing else to tell them apart");
    let two = find(&config(&dir, &["a/*.log", "b/*.log"]));
    let names: Vec<&str> = two.found.iter().map(|found| found.name.as_str()).collect();
    assert_eq!(names, [&whole("a/app.log"), &whole("b/app.log"), "web.log"]);
}

#[test]
fn a_name_that_was_given_never_gives_way() {
    let dir = tree(&["a/app.log", "b/app.log", "b/x.log"]);
    let mut config = config(&dir, &["b/x.log", "*/app.log"]);
    config.files[0].name = Some("app.log".to_string());
    let sources = find(&config);
    assert_eq!(shown(&dir, &sources), ["b/x.log as app.log", "a/app.log as a/app.log", "b/app.log as b/app.log"]);
    config.files[0].name = Some("a/app.log".to_string());
    let sources = find(&config);
    assert_eq!(sources.found[1].name, dir.path().join("a/app.log").shown().to_string());
}

#[test]
fn a_file_that_two_entries_reach_belongs_to_the_first() {
    let dir = tree(&["a.log", "b.log"]);
    let sources = find(&config(&dir, &["b.log", "*.log", "?.log"]));
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
    assert_eq!(find(&config).found.len(), 1);
    let live = dir.path().join("app.log");
    let is_remembered = || Remembered { remembered: HashSet::from([live.as_path()]), ..Remembered::default() };
    assert_eq!(expand(&config, &globs(&config), &is_remembered(), &is_rotation).found, []);
    let is_away = Remembered { away: vec![&live], ..is_remembered() };
    let away = expand(&config, &globs(&config), &is_away, &is_rotation);
    assert_eq!(shown(&dir, &away), ["app.log as app.log"], "its name is away, and what was rotated is its own");
}

#[test]
fn what_is_followed_already_is_not_found_again_and_keeps_its_name() {
    let dir = tree(&["a/app.log", "b/app.log", "b/app.log.1", "b/web.log"]);
    let config = config(&dir, &["*/*"]);
    let live = dir.path().join("a/app.log");
    let known = Remembered {
        followed: HashSet::from([live.as_path()]),
        names: HashSet::from(["app.log"]),
        ..Remembered::default()
    };
    let new = expand(&config, &globs(&config), &known, &is_rotation);
    assert_eq!(shown(&dir, &new), ["b/app.log as b/app.log", "b/web.log as web.log"]);
}

#[test]
fn our_own_state_and_directories_are_no_sources() {
    let dir = tree(&["state.json", "state.json.1", "state.json.lock", "a.log", "sub/b.log"]);
    let mut config = config(&dir, &["*"]);
    config.state_file = Some(dir.path().join("state.json"));
    assert_eq!(shown(&dir, &find(&config)), ["a.log as a.log"]);
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
fn names_are_matched_as_by_a_shell_whatever_their_bytes() {
    let dir = tree(&[".app1.log", "app1.log", "a/.git/x.log", "a/app[1].log", "b*/x.out"]);
    let odd = OsStr::from_bytes(b"caf\xe9.log");
    for place in ["", "a", "a/.git"] {
        fs::write(dir.path().join(place).join(odd), "").unwrap();
    }
    let odd_dir = dir.path().join(OsStr::from_bytes(b"d\xff"));
    fs::create_dir(&odd_dir).unwrap();
    fs::write(odd_dir.join("x.log"), "").unwrap();
    let odd = odd.to_string_lossy();
    for (path, expected) in [
        ("*.log", vec!["app1.log".to_owned(), odd.to_string()]),
        (".app*.log", vec![".app1.log".to_owned()]),
        ("caf?.log", vec![odd.to_string()]),
        (
            "**/*.log",
            vec!["a/app[1].log".into(), format!("a/{odd}"), "app1.log".into(), odd.into(), "d\u{fffd}/x.log".into()],
        ),
        ("*/app[[]1].log", vec!["a/app[1].log".into()]),
        ("a/.g*/x.log", vec!["a/.git/x.log".into()]),
        ("b[*]/x.[!l]*", vec!["b*/x.out".into()]),
        ("?/../*1.log", vec!["a/../app1.log".into()]),
        ("**", vec![]),
    ] {
        let config = config(&dir, &[path]);
        let found = find(&config).found;
        let below = |found: &FoundSource| found.path.strip_prefix(dir.path()).unwrap().to_string_lossy().into_owned();
        assert_eq!(found.iter().map(below).collect::<Vec<_>>(), expected, "{path}");
        let globs = globs(&config);
        let (glob, _) = globs.get(0).unwrap();
        assert!(found.iter().all(|found| glob.is_match(&found.path)), "{path}");
        assert!(!glob.is_match(&dir.path().join("a/.git/app1.txt")), "{path}");
    }
}

#[test]
fn links_to_directories_are_followed_but_never_in_a_circle() {
    let dir = tree(&["a/x.log", "b/y.log"]);
    for (target, link) in [("../b", "a/to-b"), ("../a", "b/to-a"), (".", "a/here"), ("a", "top"), ("a/x.log", "x.log")]
    {
        symlink(target, dir.path().join(link)).unwrap();
    }
    let paths = |glob: &str| {
        let found = find(&config(&dir, &[glob])).found;
        let below = |found: &FoundSource| found.path.strip_prefix(dir.path()).unwrap().to_str().unwrap().to_owned();
        found.iter().map(below).collect::<Vec<_>>()
    };
    let all = ["a/to-b/y.log", "a/x.log", "b/to-a/x.log", "b/y.log", "top/to-b/y.log", "top/x.log", "x.log"];
    assert_eq!(paths("**/*.log"), all);
    assert_eq!(paths("*/here/*.log"), ["a/here/x.log", "top/here/x.log"], "one that is asked for");
}

#[test]
fn what_cannot_be_looked_into_is_told_once_and_names_without_a_wildcard_are_found_there() {
    let dir = tree(&["a/app.log"]);
    let config = config(&dir, &["*/app.log", "*/*.log"]);
    let now = Instant::now();
    let (mut globs, mut directories) = (Globs::default(), Directories::new(now));
    globs.set(&config, None);
    let mut look = |at: u64| {
        let now = now + Duration::from_secs(at);
        let may_be_new = globs.look(now, Duration::from_secs(1), None, &mut directories);
        (may_be_new, globs.get(0).unwrap().1.len(), globs.get(1).unwrap().1.len(), globs.take_unreadable())
    };
    assert_eq!(look(0), (true, 1, 1, vec![]));
    let shut = fs::Permissions::from_mode(0o100);
    fs::set_permissions(dir.path().join("a"), shut).unwrap();
    assert_eq!(look(0), (false, 1, 1, vec![]), "not due");
    if fs::read_dir(dir.path().join("a")).is_err() {
        let (may_be_new, literal, wild, said) = look(1);
        assert_eq!((may_be_new, literal, wild, said.len()), (true, 1, 0, 1), "{said:?}");
        assert!(said[0].starts_with("cannot read ") && said[0].contains("/a: Permission denied"), "{said:?}");
        assert_eq!(look(2), (false, 1, 0, vec![]));
    }
    fs::set_permissions(dir.path().join("a"), fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(look(3).2, 1);
}

/// How many directories are watched.
fn watched(watch: &Watch) -> usize {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", watch.raw_fd())).unwrap();
    info.lines().filter(|line| line.starts_with("inotify wd:")).count()
}

#[test]
fn directories_are_watched_as_long_as_a_glob_leads_there() {
    let dir = tree(&["logs/a/x.log", "logs/b/x.log", "logs/c/sub/x.log", "other/x.log"]);
    let at = |path: &str| dir.path().join(path);
    let mut watch = Watch::new().unwrap();
    let now = Instant::now();
    let (mut globs, mut directories) = (Globs::default(), Directories::new(now));
    let mut look = |globs: &mut Globs, watch: &mut Watch| {
        globs.hint(&watch.hints().globs);
        let may_be_new = globs.look(now, Duration::from_secs(1), Some(watch), &mut directories);
        (may_be_new, globs.get(0).map_or(0, |(_, files)| files.len()))
    };
    globs.set(&config(&dir, &["logs/*/*.log", "other/*.log"]), Some(&mut watch));
    assert_eq!(look(&mut globs, &mut watch), (true, 2));
    // logs, a, b, c, other, and those above.
    let all = watched(&watch);
    assert_eq!(look(&mut globs, &mut watch), (false, 2));
    fs::write(at("logs/a/.x.log"), "").unwrap();
    fs::write(at("logs/file"), "").unwrap();
    fs::write(at("other/x.log.1"), "").unwrap();
    fs::create_dir(at("other/dir.log")).unwrap();
    assert_eq!(look(&mut globs, &mut watch), (false, 2), "nothing that matches");
    // What is made in a directory before it is watched is found with it.
    fs::create_dir(at("logs/d")).unwrap();
    fs::write(at("logs/d/x.log"), "").unwrap();
    assert_eq!((look(&mut globs, &mut watch), watched(&watch)), ((true, 3), all + 1));
    fs::write(at("logs/d/y.log"), "").unwrap();
    assert_eq!(look(&mut globs, &mut watch), (true, 4));
    fs::rename(at("logs/c/sub"), at("logs/e")).unwrap();
    assert_eq!((look(&mut globs, &mut watch), watched(&watch)), ((true, 5), all + 2));
    fs::rename(at("logs/d"), at("d")).unwrap();
    fs::remove_dir_all(at("logs/e")).unwrap();
    assert_eq!((look(&mut globs, &mut watch), watched(&watch)), ((true, 2), all));
    globs.set(&config(&dir, &["other/*.log", "other/x.log"]), Some(&mut watch));
    assert_eq!((look(&mut globs, &mut watch), watched(&watch)), ((true, 1), all - 4));
    globs.set(&config(&dir, &["other/x.log"]), Some(&mut watch));
    assert_eq!((look(&mut globs, &mut watch), watched(&watch)), ((false, 0), 0));
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
    let config = config(&dir, &["worker.*"]);
    let is_asked = |_: &OsStr, _: &OsStr| {
        asked.set(asked.get() + 1);
        false
    };
    let sources = expand(&config, &globs(&config), &Remembered::default(), &is_asked);
    assert_eq!(sources.found.len(), 2000);
    assert!(asked.take() < 20_000, "{} comparisons", asked.get());
    let followed = sources.found.iter().map(|found| found.path.as_path()).collect();
    let again = expand(&config, &globs(&config), &Remembered { followed, ..Remembered::default() }, &is_asked);
    assert_eq!((again.found.len(), asked.get()), (0, 0), "what is followed is judged once");
}
