//! What did not run, remembered across the test processes of one `cargo test`, which hides what a test that passes says.
//!
//! A run is known by the process that starts the test processes, which is the same for all of them. Each run has a file
//! of its own in `tests-not-run` beside the programs; the last test target prints it and removes it.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::thread;

use crate::programs;

/// Says, now and in the summary, that the test of this thread does not run for want of `need`.
pub fn note(need: &str) {
    let line = format!("not run: needs {need}: {}", test());
    println!("{line}");
    let path = record();
    let dir = path.parent().expect("a file in a directory");
    // Tests of another user may come after the first ones.
    if fs::create_dir(dir).is_ok() {
        fs::set_permissions(dir, Permissions::from_mode(0o1777)).ok();
    }
    let written = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .and_then(|mut file| file.write_all(format!("{line}\n").as_bytes()));
    written.unwrap_or_else(|error| panic!("cannot note in {} that a test does not run: {error}", path.display()));
}

/// What was noted in this run, a line a test. It is forgotten by this.
pub fn take() -> BTreeSet<String> {
    let path = record();
    let noted = fs::read_to_string(&path).unwrap_or_default();
    fs::remove_file(&path).ok();
    noted.lines().map(str::to_owned).collect()
}

/// `tests-not-run/4242-987654`, by who started this process.
fn record() -> PathBuf {
    programs::profile_dir().join("tests-not-run").join(programs::starter().1)
}

/// `holder::check::a_test`.
fn test() -> String {
    let name = programs::test_name();
    let thread = thread::current();
    format!("{name}::{}", thread.name().unwrap_or("a thread without a name"))
}
