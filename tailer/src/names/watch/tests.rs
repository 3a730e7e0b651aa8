//! What is noticed of names, files and globs, with real directories.

use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::rc::Rc;
use std::time::Duration;

use standpipe_tests::deadline::cpu_of_thread;
use tempfile::TempDir;

use super::*;
use crate::config::FileConfig;
use crate::sources::part::{Excludes, Part};

mod limits;

const APP: SourceId = SourceId(1);
const WEB: SourceId = SourceId(2);

fn setup() -> (TempDir, Watch) {
    (tempfile::tempdir().unwrap(), Watch::new().unwrap())
}

fn sources(set: &BTreeSet<SourceId>) -> Vec<u32> {
    set.iter().map(|source| source.0).collect()
}

/// Adds the names of APP, takes a step, and tells whether that was noticed.
fn due(watch: &mut Watch, path: &Path, step: impl FnOnce()) -> bool {
    assert!(watch.add_names(APP, path, None));
    step();
    watch.hints().names.contains(&APP)
}

fn append(path: &Path, text: &str) {
    OpenOptions::new().append(true).create(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

#[test]
fn a_source_hears_of_its_name_and_its_rotations_and_of_no_other() {
    let (dir, mut watch) = setup();
    let at = |name: &str| dir.path().join(name);
    watch.add_names(APP, &at("app.log"), None);
    watch.add_names(WEB, &at("web.log"), None);
    append(&at("other.log"), "");
    append(&at("app-1.log"), "");
    assert_eq!(watch.hints(), Heard::default());
    append(&at("app.log"), "");
    assert_eq!(sources(&watch.hints().names), [1]);
    append(&at("app.log"), "more");
    assert_eq!(watch.hints(), Heard::default(), "what is written is no matter of names");
    fs::rename(at("app.log"), at("app.log.1")).unwrap();
    assert_eq!(sources(&watch.hints().names), [1]);
    fs::copy(at("app.log.1"), at("web.log-20261121")).unwrap();
    assert_eq!(sources(&watch.hints().names), [2]);
    fs::set_permissions(at("web.log-20261121"), fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(sources(&watch.hints().names), [2]);
    fs::remove_file(at("app.log.1")).unwrap();
    assert_eq!(sources(&watch.hints().names), [1]);
    watch.remove_names(APP);
    append(&at("app.log"), "");
    assert_eq!(watch.hints(), Heard::default());
}

#[test]
fn configured_names_are_watched_where_they_are_instead_of_the_others() {
    let (dir, mut watch) = setup();
    let at = |name: &str| dir.path().join(name);
    let rotated = [(at("olddir"), OsString::from("app-"))];
    watch.add_names(APP, &at("app.log"), Some(&rotated));
    append(&at("app.log.1"), "");
    assert_eq!(watch.hints(), Heard::default());
    fs::create_dir(at("olddir")).unwrap();
    assert_eq!(sources(&watch.hints().names), [1]);
    watch.add_names(APP, &at("app.log"), Some(&rotated));
    append(&at("olddir/web-1"), "");
    assert_eq!(watch.hints(), Heard::default());
    append(&at("olddir/app-1"), "");
    assert_eq!(sources(&watch.hints().names), [1]);
}

#[test]
fn directories_may_be_missing_come_go_and_come_again() {
    let (dir, mut watch) = setup();
    let at = |name: &str| dir.path().join(name);
    let path = at("a/b/c/app.log");
    for round in 0..3 {
        assert!(due(&mut watch, &path, || fs::create_dir(at("a")).unwrap()), "{round}");
        assert!(due(&mut watch, &path, || fs::create_dir_all(at("a/b/c")).unwrap()), "{round}");
        assert!(due(&mut watch, &path, || append(&path, "")), "{round}");
        // Somebody stays in the directory, so it tells nothing of its end itself.
        let _open = File::open(at("a/b/c")).unwrap();
        assert!(due(&mut watch, &path, || fs::remove_dir_all(at("a")).unwrap()), "{round}");
    }
    watch.remove_names(APP);
    assert!(watch.directories.is_empty() && watch.roads.is_empty() && watch.roads_by_dir.is_empty());
    assert!(watch.marks.is_empty());
}

#[test]
fn a_directory_is_moved_away_anywhere_on_the_way_and_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let path = at("a/b/c/app.log");
    fs::create_dir_all(at("a/b/c")).unwrap();
    for (round, moved) in ["a/b/c", "a/b", "a"].into_iter().enumerate() {
        let away = at(&format!("away{round}"));
        // What was watched for once is watched for ever.
        let mut watch = Watch::new().unwrap();
        assert!(due(&mut watch, &path, || fs::rename(at(moved), &away).unwrap()), "{moved}");
        assert!(due(&mut watch, &path, || fs::create_dir_all(at("a/b/c")).unwrap()), "{moved}");
        assert!(due(&mut watch, &path, || append(&path, "")), "{moved}");
    }
}

#[test]
fn links_are_watched_along_their_whole_way() {
    let (dir, mut watch) = setup();
    let at = |name: &str| dir.path().join(name);
    fs::create_dir_all(at("releases/1/log")).unwrap();
    fs::create_dir_all(at("releases/2")).unwrap();
    symlink("releases/../releases/1", at("current")).unwrap();
    symlink("current/log/app.log", at("app.log")).unwrap();
    let path = at("app.log");
    assert!(due(&mut watch, &path, || append(&at("releases/1/log/app.log"), "")));
    assert!(due(&mut watch, &path, || append(&at("releases/1/log/app.log.1"), "")), "a rotation of the target");
    assert!(due(&mut watch, &path, || {
        symlink("releases/2", at("next")).unwrap();
        fs::rename(at("next"), at("current")).unwrap();
    }));
    assert!(due(&mut watch, &path, || fs::create_dir(at("releases/2/log")).unwrap()));
    assert!(due(&mut watch, &path, || append(&at("releases/2/log/app.log"), "")));
    assert!(!due(&mut watch, &path, || append(&at("releases/1/log/app.log.2"), "")), "no longer on the way");
    assert!(due(&mut watch, &path, || {
        fs::remove_file(&path).unwrap();
        symlink(dir.path().join("releases/app.log"), &path).unwrap();
    }));
    assert!(due(&mut watch, &path, || append(&at("releases/app.log"), "")));
}

#[test]
fn the_end_of_one_walk_may_have_been_a_step_of_the_one_before() {
    let (dir, mut watch) = setup();
    let at = |name: &str| dir.path().join(name);
    fs::create_dir_all(at("x/y")).unwrap();
    symlink(at("x/y"), at("log")).unwrap();
    let path = at("log/app.log");
    assert!(due(&mut watch, &path, || {
        fs::remove_file(at("log")).unwrap();
        symlink(at("x"), at("log")).unwrap();
    }));
    assert!(!due(&mut watch, &path, || ()));
    assert!(due(&mut watch, &path, || append(&at("x/app.log"), "")));
}

#[test]
fn a_directory_is_made_anew_while_somebody_has_the_old_one_open() {
    let (dir, mut watch) = setup();
    let log = dir.path().join("log");
    fs::create_dir(&log).unwrap();
    let path = log.join("app.log");
    let _open = File::open(&log).unwrap();
    assert!(due(&mut watch, &path, || {
        fs::remove_dir(&log).unwrap();
        fs::create_dir(&log).unwrap();
    }));
    assert!(due(&mut watch, &path, || append(&path, "")));
}

#[test]
fn a_directory_that_may_be_entered_by_others_from_now_on_is_told() {
    let (dir, mut watch) = setup();
    let log = dir.path().join("log");
    fs::create_dir(&log).unwrap();
    let path = log.join("app.log");
    assert!(due(&mut watch, &path, || fs::set_permissions(&log, fs::Permissions::from_mode(0o711)).unwrap()));
    assert!(!due(&mut watch, &path, || ()));
}

#[test]
fn a_mere_name_is_watched_in_the_current_directory() {
    let mut watch = Watch::new().unwrap();
    assert!(watch.add_names(APP, Path::new("no-such-file.log"), None));
    assert_eq!(watch.directories.len(), 1);
}

#[test]
fn a_file_whose_descriptor_was_closed_is_watched_on() {
    let (dir, mut watch) = setup();
    let path = dir.path().join("app.log");
    append(&path, "");
    watch.add_file(APP, GenerationId(1), &File::open(&path).unwrap());
    append(&path, "more");
    assert_eq!(sources(&watch.hints().grown), [1]);
    fs::remove_file(&path).unwrap();
    assert_eq!(sources(&watch.hints().names), [1]);
    assert!(watch.files.is_empty());
}

#[test]
fn links_in_a_circle_end() {
    let (dir, mut watch) = setup();
    let at = |name: &str| dir.path().join(name);
    symlink("b", at("a")).unwrap();
    symlink("a", at("b")).unwrap();
    assert!(due(&mut watch, &at("a"), || fs::remove_file(at("b")).unwrap()));
    symlink("a", at("b")).unwrap();
    assert!(due(&mut watch, &at("a/log/app.log"), || fs::remove_file(at("b")).unwrap()));
}

#[test]
fn a_directory_that_is_shared_by_thousands_is_watched_once_and_tells_only_whom_it_concerns() {
    let (dir, mut watch) = setup();
    let path = |n: u32| dir.path().join(format!("worker-{n}.log"));
    let start = cpu_of_thread();
    for n in 0..10_000 {
        assert!(watch.add_names(SourceId(n), &path(n), None));
    }
    let added = cpu_of_thread().saturating_sub(start);
    let few = dir.path().components().count() + 1;
    assert!(watch.directories.len() <= few, "{}", watch.directories.len());
    for n in 0..10_000 {
        File::create(path(n)).unwrap();
    }
    let start = cpu_of_thread();
    let hints = watch.hints();
    let heard = cpu_of_thread().saturating_sub(start);
    assert_eq!(hints.names.len(), 10_000);
    assert!(!hints.overflow && !hints.more);
    assert!(added + heard < Duration::from_secs(5), "{added:?}, {heard:?}");
    fs::rename(path(1), dir.path().join("worker-1.log.1")).unwrap();
    assert_eq!(sources(&watch.hints().names), [1]);
    for n in 0..10_000 {
        watch.remove_names(SourceId(n));
    }
    assert!(watch.directories.is_empty() && watch.roads.is_empty());
}

#[test]
fn an_open_file_tells_of_writes_and_closes_under_any_name_or_none() {
    let (dir, mut watch) = setup();
    let path = dir.path().join("app.log");
    let mut writer = File::create(&path).unwrap();
    let reader = File::open(&path).unwrap();
    assert!(watch.add_file(APP, GenerationId(7), &reader));
    writer.write_all(b"one\n").unwrap();
    let hints = watch.hints();
    assert_eq!((sources(&hints.grown), hints.names.len(), hints.closed.len()), (vec![1], 0, 0));
    fs::rename(&path, dir.path().join("app.log.1")).unwrap();
    assert_eq!(sources(&watch.hints().names), [1]);
    fs::remove_file(dir.path().join("app.log.1")).unwrap();
    assert_eq!(sources(&watch.hints().names), [1]);
    writer.write_all(b"two\n").unwrap();
    assert_eq!(sources(&watch.hints().grown), [1]);
    writer.set_len(0).unwrap();
    assert_eq!(sources(&watch.hints().grown), [1]);
    drop(writer);
    assert_eq!(watch.hints().closed, BTreeSet::from([(APP, GenerationId(7))]));
    drop(reader);
    watch.hints();
    assert!(watch.files.is_empty(), "the inode is gone");
    watch.remove_file(GenerationId(7));
}

#[test]
fn one_inode_may_be_several_generations_and_is_watched_until_the_last_goes() {
    let (dir, mut watch) = setup();
    let path = dir.path().join("app.log");
    append(&path, "");
    let reader = File::open(&path).unwrap();
    for (source, generation) in [(APP, 1), (APP, 2), (WEB, 3), (WEB, 3)] {
        assert!(watch.add_file(source, GenerationId(generation), &reader));
    }
    watch.remove_file(GenerationId(1));
    watch.remove_file(GenerationId(2));
    append(&path, "x");
    let hints = watch.hints();
    assert_eq!(sources(&hints.grown), [2]);
    assert_eq!(hints.closed, BTreeSet::from([(WEB, GenerationId(3))]));
    watch.remove_file(GenerationId(3));
    append(&path, "x");
    assert_eq!(watch.hints(), Heard::default());
    assert!(watch.files.is_empty());
}

#[test]
fn a_generation_that_is_opened_anew_gives_its_other_watch_back() {
    let (dir, mut watch) = setup();
    let [old, new] = ["old", "new"].map(|name| dir.path().join(name));
    append(&old, "");
    append(&new, "");
    watch.add_file(APP, GenerationId(1), &File::open(&old).unwrap());
    watch.add_file(APP, GenerationId(1), &File::open(&new).unwrap());
    watch.add_file(APP, GenerationId(1), &File::open(&new).unwrap());
    append(&old, "x");
    assert_eq!(watch.hints(), Heard::default());
    append(&new, "x");
    assert_eq!(sources(&watch.hints().grown), [1]);
}

/// What is awaited under these globs in `dir`, and under them alone.
fn awaited(dir: &Path, globs: &[&str], excludes: &[&str]) -> Vec<(PathBuf, Vec<Awaited>)> {
    let exclude = excludes.iter().map(|glob| glob.replace("DIR", dir.to_str().unwrap())).collect();
    let excludes = Rc::new(Excludes::of(&FileConfig { exclude, ..FileConfig::default() }));
    let part = |glob: &str| Part::parse(OsStr::new(glob)).unwrap();
    let of = |glob: &&str| match glob.strip_suffix('/') {
        Some(glob) => Awaited::directories(dir, &part(glob)),
        None => Awaited::files(dir, &part(glob), &excludes),
    };
    vec![(dir.to_path_buf(), globs.iter().map(of).collect())]
}

#[test]
fn a_glob_hears_of_names_that_come_to_its_directories() {
    let (dir, mut watch) = setup();
    let at = |name: &str| dir.path().join(name);
    let glob = Waiter::Glob(3);
    let dirs = [awaited(dir.path(), &["*.log"], &[]), awaited(&at("later"), &["*.log"], &[])].concat();
    fs::write(at("old.log"), "").unwrap();
    let mut due = |step: &dyn Fn()| {
        assert!(watch.add_directories(glob, &dirs));
        step();
        watch.hints().globs.contains(&3)
    };
    assert!(due(&|| append(&at("new.log"), "")));
    assert!(!due(&|| append(&at("new.log"), "more")));
    assert!(!due(&|| fs::remove_file(at("new.log")).unwrap()));
    assert!(due(&|| fs::create_dir(at("later")).unwrap()));
    assert!(due(&|| append(&at("later/x.log"), "")));
    assert!(due(&|| fs::rename(at("later/x.log"), at("later/y.log")).unwrap()));
    assert!(due(&|| fs::remove_dir_all(at("later")).unwrap()));
    assert!(watch.add_directories(glob, &[]));
    assert!(watch.directories.is_empty());
}

#[test]
fn a_name_is_told_only_to_the_globs_that_may_match_it() {
    let (dir, mut watch) = setup();
    let at = |name: &str| dir.path().join(name);
    fs::create_dir(at("elsewhere")).unwrap();
    let globs: [(&[&str], &[&str]); 6] = [
        (&["*.log"], &["debug*", "DIR/old.*"]),
        (&["app-[0-9].*"], &[]),
        (&["*/"], &[]),
        (&["*/", "*.txt"], &[]),
        (&[".app*"], &[]),
        (&["exact.out"], &[]),
    ];
    for (id, (globs, excludes)) in (0..).zip(globs) {
        assert!(watch.add_directories(Waiter::Glob(id), &awaited(dir.path(), globs, excludes)));
    }
    let mut heard = |step: &dyn Fn()| {
        step();
        watch.hints().globs.into_iter().collect::<Vec<_>>()
    };
    for (name, globs) in [
        (".x.log", &[][..]),
        ("web.log.1", &[]),
        ("x", &[]),
        ("debug.log", &[]),
        ("old.log", &[]),
        ("web.log", &[0]),
        ("app-1.log", &[0, 1]),
        ("app-x.out", &[]),
        ("a.txt", &[3]),
        (".app.log", &[4]),
        ("exact.out", &[5]),
        ("exact.out.1", &[]),
    ] {
        assert_eq!(heard(&|| append(&at(name), "")), globs, "{name}");
    }
    assert_eq!(heard(&|| fs::create_dir(at("dir.log")).unwrap()), [2, 3]);
    assert_eq!(heard(&|| fs::create_dir(at(".hidden")).unwrap()), Vec::<usize>::new(), "hidden");
    assert_eq!(heard(&|| symlink("elsewhere", at("link")).unwrap()), [2, 3]);
    assert_eq!(heard(&|| fs::rename(at("x"), at("x.log")).unwrap()), [0]);
    assert_eq!(heard(&|| fs::rename(at("x.log"), at("x")).unwrap()), Vec::<usize>::new());
    let odd = at("").join(OsStr::from_bytes(b"caf\xe9.log"));
    assert_eq!(heard(&|| append(&odd, "")), [0], "no UTF-8");
}
