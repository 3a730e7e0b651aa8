//! The sample directory `pipes.d` can be copied as it is, and its `defaults.toml` tells the truth about the defaults.
//!
//! `UPDATE_DOCS=1 cargo test -p standpipe-common` rewrites `defaults.toml`.

use std::fmt::Write;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use standpipe_common::pipes::scan;
use standpipe_common::policy::keys::{BuiltIn, KEYS};
use standpipe_common::policy::{Policy, PolicyKind, load};

const WIDTH: usize = 100;

fn sample() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "..", "pipes.d"].iter().collect()
}

/// The sample file: prose behind `# `, keys behind a bare `#`.
fn defaults() -> String {
    let mut text = String::from(
        "# The policy of all pipes in this directory. NAME.toml takes the same keys, except logs,\n\
         # mailbox_dir and metrics_file, and applies to the pipe NAME only.\n\
         # Every key is shown with its built-in default. Remove the # to change one.\n\
         # A part is one file of a log: a segment (plain text) or an archive (compressed).\n\
         # Sizes: K M G T are powers of 1024. Spans: ms s m h d w. Limits and triggers can be \"off\".\n",
    );
    let mut table = "";
    for key in KEYS {
        if key.table != table {
            table = key.table;
            write!(text, "\n# Creating a missing FIFO. Remove this # too, to set any of the keys below.\n#[{table}]\n")
                .unwrap();
        }
        text.push('\n');
        wrap(&format!("{} {}", key.meaning, key.reason), &mut text);
        wrap(&format!("Values: {}.", key.takes), &mut text);
        if let BuiltIn::NoneSuchAs(_) = key.default {
            wrap("No default.", &mut text);
        }
        writeln!(text, "#{} = {}", key.name, key.default.sample()).unwrap();
    }
    text
}

fn wrap(sentences: &str, text: &mut String) {
    let mut line = String::from("#");
    for word in sentences.split(' ') {
        if line.chars().count() + 1 + word.chars().count() > WIDTH {
            writeln!(text, "{line}").unwrap();
            line = String::from("#");
        }
        write!(line, " {word}").unwrap();
    }
    writeln!(text, "{line}").unwrap();
}

#[test]
fn the_sample_is_what_the_code_does() {
    let file = sample().join("defaults.toml");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&file, defaults()).unwrap();
    }
    let text = std::fs::read_to_string(file).unwrap();
    assert!(text == defaults(), "pipes.d/defaults.toml is out of date: run UPDATE_DOCS=1 cargo test");
}

#[test]
fn every_key_uncommented_is_the_built_in_default() {
    let text = defaults();
    let uncommented = |line: &str| match line.strip_prefix('#') {
        Some(key) if !key.starts_with(' ') => key.to_string(),
        _ => line.to_string(),
    };
    let lines: Vec<_> = text.lines().map(uncommented).collect();
    let keys = lines.iter().filter(|line| line.contains(" = ") && !line.starts_with('#')).count();
    assert_eq!(keys, KEYS.len());

    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("defaults.toml");
    std::fs::write(&file, lines.join("\n")).unwrap();
    let raw = load(&file, PolicyKind::Defaults).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(Policy::from_raw(&raw), Policy::default());
    assert_eq!(raw.paths(&file).logs, Some(PathBuf::from("/var/log/standpipe")));
}

#[test]
fn a_copy_of_the_sample_is_a_sound_pipes_directory() {
    let dir = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(sample()).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), dir.path().join(entry.file_name())).unwrap();
    }
    symlink("/run/standpipe/app", dir.path().join("app")).unwrap();
    let scan = scan(dir.path()).unwrap();
    assert!(scan.findings.is_empty(), "{:?}", scan.findings);
    assert_eq!((scan.entries.len(), scan.logs), (1, None));
    assert!(scan.entries[0].sound && *scan.entries[0].policy == Policy::default());
}

#[test]
fn a_directory_that_is_not_there_is_an_error_of_its_own() {
    for (path, cause) in [("/nowhere/pipes.d", "No such file or directory"), ("/dev/null", "Not a directory")] {
        let error = scan(path.as_ref()).unwrap_err();
        assert_eq!(error.to_string(), format!("cannot read pipes directory {path}: {cause}"));
    }
}

#[test]
fn keys_that_hardly_go_together_are_one_warning_for_each_pipe() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["app", "web"] {
        symlink("/nowhere/fifo", dir.path().join(name)).unwrap();
    }
    std::fs::write(dir.path().join("app.toml"), "keep_size = \"1MiB\"").unwrap();
    let scan = scan(dir.path()).unwrap();
    let told: Vec<_> = scan.findings.iter().map(ToString::to_string).collect();
    assert!(scan.check() && told.len() == 1, "{told:?}");
    assert!(told[0].contains("/app: keep_size 1MiB is not larger than rotate_size 64MiB"), "{told:?}");
}
