//! Which logs a word means to `reader logs`: names, patterns, paths, and what is said of those that mean nothing.

use std::fs;
use std::path::{Path, PathBuf};

use standpipe_tests::directory::{Scratch, set_mode};
use standpipe_tests::programs::{Launch, Output};

const PART: &str = "2026-11-21T10-00-00.000000Z.log";

/// A log root with logs of these names, each of one line, its name.
fn root(names: &[&str]) -> Scratch {
    let scratch = Scratch::new();
    for name in names {
        log(&scratch.logs().join(name));
    }
    scratch
}

fn log(dir: &Path) -> PathBuf {
    fs::create_dir(dir).unwrap();
    let name = dir.file_name().unwrap().to_string_lossy();
    fs::write(dir.join(PART), format!("{name}\n")).unwrap();
    dir.to_path_buf()
}

fn logs(scratch: &Scratch, what: &[&str]) -> Output {
    Launch::new("reader")
        .args(["logs", "--no-prefix"])
        .arg("--logs")
        .arg(scratch.logs())
        .args(what)
        .cwd(scratch.logs())
        .run()
}

/// What is printed, which must be all there is to say.
fn printed(scratch: &Scratch, what: &[&str]) -> String {
    let Output { code, stdout, stderr } = logs(scratch, what);
    assert_eq!((code, stderr.as_str()), (0, ""), "{what:?}");
    String::from_utf8(stdout).unwrap()
}

/// The sentence of a usage error.
fn refused(scratch: &Scratch, what: &[&str]) -> String {
    let Output { code, stdout, stderr } = logs(scratch, what);
    assert_eq!((code, stdout.len()), (2, 0), "{what:?}: {stderr}");
    stderr
}

#[test]
fn a_pattern_means_every_pipe_that_matches_it() {
    let scratch = root(&["app", "nginx-access", "nginx-error", "[odd]"]);
    assert_eq!(printed(&scratch, &["nginx-*"]), "nginx-access\nnginx-error\n");
    assert_eq!(printed(&scratch, &["a?p"]), "app\n");
    assert_eq!(printed(&scratch, &["[an]*-error", "app"]), "nginx-error\napp\n");
    assert_eq!(printed(&scratch, &["[odd]"]), "[odd]\n", "a name comes before a pattern");
    let refusal = refused(&scratch, &["db-*"]);
    assert!(refusal.contains("has no log named db-*; there are: [odd], app, nginx-access, nginx-error"), "{refusal}");
    let refusal = refused(&scratch, &["app["]);
    assert!(refusal.contains("bad pattern app["), "{refusal}");
}

#[test]
fn a_log_that_is_meant_twice_is_read_once() {
    let scratch = root(&["app", "web"]);
    assert_eq!(printed(&scratch, &["web", "*", "./web", "app", "."]), "web\napp\n");
    std::os::unix::fs::symlink("web", scratch.logs().join("alias")).unwrap();
    assert_eq!(printed(&scratch, &[]), "web\napp\n");
}

#[test]
fn a_word_that_is_no_log_is_refused_with_some_of_the_names() {
    let names: Vec<String> = (10..32).map(|n| format!("p{n}")).collect();
    let scratch = root(&names.iter().map(String::as_str).collect::<Vec<_>>());
    fs::create_dir(scratch.logs().join("empty")).unwrap();
    fs::write(scratch.logs().join("file"), "").unwrap();
    for word in ["p", "empty", "file", ".standpipe", &"x".repeat(300)] {
        let refusal = refused(&scratch, &["p10", word]);
        let expected = format!(
            "has no log named {word}; there are: p10, p11, p12, p13, p14, p15, p16, p17, p18, p19 and 12 more\n"
        );
        assert!(refusal.ends_with(&expected), "{refusal}");
    }
}

#[test]
fn a_directory_without_logs_is_refused() {
    let scratch = root(&["app"]);
    let other = scratch.make_dir("other");
    for path in ["../other", "../run/"] {
        let refusal = refused(&scratch, &[path]);
        assert!(refusal.contains(&format!("{path}: no log and no log directory of reader found there")), "{refusal}");
    }
    assert_eq!(printed(&scratch, &["../logs"]), "app\n");
    let above = Launch::new("reader").args(["logs", ".."]).cwd(scratch.logs().join("app")).run();
    assert_eq!((above.code, above.stdout.as_slice()), (0, &b"app\n"[..]), "{}", above.stderr);
    assert_eq!(logs(&scratch, &[""]).code, 2);
    // A log root may be a single log directory, and one that a reader uses may have no log yet.
    let single = Launch::new("reader").args(["logs", "--logs"]).arg(scratch.logs().join("app")).run();
    assert_eq!((single.code, single.stdout.as_slice()), (0, &b"app\n"[..]), "{}", single.stderr);
    fs::write(other.join(".lock"), "").unwrap();
    assert_eq!(printed(&scratch, &["../other"]), "");
}

#[test]
fn a_log_of_the_selection_that_is_closed_to_the_user_is_reported() {
    let scratch = root(&["app", "closed", "lost+found", "web"]);
    set_mode(&scratch.logs().join("closed"), 0o000);
    set_mode(&scratch.logs().join("lost+found"), 0o000);
    std::os::unix::fs::symlink("nowhere", scratch.logs().join("dangling")).unwrap();
    for what in [&[][..], &["*"], &["."]] {
        let Output { code, stdout, stderr } = logs(&scratch, what);
        assert_eq!(String::from_utf8(stdout).unwrap(), "app\nweb\n");
        assert!(code != 0 && stderr.lines().count() == 1 && stderr.contains("/closed: Permission denied"), "{stderr}");
    }
    let named = logs(&scratch, &["app", "closed"]);
    assert!(
        named.code == 3 && named.stdout.is_empty() && named.stderr.contains("closed: Permission"),
        "{}",
        named.stderr
    );
    set_mode(&scratch.logs().join("closed"), 0o755);
}
