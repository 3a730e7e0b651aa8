//! The files of `examples`, as they stand, or with the paths and users of a test in place of a machine's.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use standpipe_tests::directory::{Scratch, set_mode};
use standpipe_tests::privilege::{give, is_root};
use standpipe_tests::programs;

/// Where the examples have the programs.
pub const BIN: &str = "/usr/lib/standpipe/bin";

/// The path of an example, by its name below `examples`.
pub fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(name)
}

/// Its text.
pub fn read(name: &str) -> String {
    let path = example(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
}

/// The directory of all three programs.
pub fn programs() -> String {
    let dirs =
        ["holder", "reader", "tailer"].map(|name| programs::path(name).parent().expect("a directory").to_owned());
    assert!(dirs.iter().all(|dir| *dir == dirs[0]));
    dirs[0].display().to_string()
}

/// How often something is killed or restarted: 10 times, or as `STANDPIPE_TESTS_ROUNDS` says.
pub fn rounds() -> usize {
    env::var("STANDPIPE_TESTS_ROUNDS").map_or(10, |rounds| rounds.parse().expect("STANDPIPE_TESTS_ROUNDS is a number"))
}

/// An example's text in a test's directory: its programs, pipes directory, FIFOs and logs, and the users that the test
/// has. As root that is `nobody` for all; an ordinary user changes to no other.
pub fn at_home(text: &str, scratch: &Scratch) -> String {
    let path = |path: PathBuf| path.display().to_string();
    let mut text = text
        .replace(BIN, &programs())
        .replace("/etc/standpipe/pipes.d", &path(scratch.pipes()))
        .replace("/etc/standpipe/shipper.toml", &path(scratch.path().join("shipper.toml")))
        .replace("/var/log/standpipe", &path(scratch.logs()))
        .replace("/var/log/myservice", &path(scratch.path().join("log/myservice")))
        .replace("/run/standpipe", &path(scratch.path().join("run")))
        .replace("/usr/local/bin", &path(scratch.path().join("bin")));
    for user in ["standpipe", "myservice"] {
        for tool in ["s6-setuidgid", "chpst -u"] {
            let nobody = if is_root() { format!("{tool} nobody") } else { String::new() };
            text = text.replace(&format!("{tool} {user}"), &nobody);
        }
    }
    text
}

/// Copies a directory of examples, each file as [`at_home`] has it.
pub fn copy(name: &str, to: &Path, scratch: &Scratch) {
    fs::create_dir_all(to).unwrap_or_else(|error| panic!("cannot make {}: {error}", to.display()));
    give(to);
    for entry in fs::read_dir(example(name)).expect("examples").flatten() {
        let file = entry.file_name().into_string().expect("a name in ASCII");
        let (from, to) = (format!("{name}/{file}"), to.join(&file));
        if entry.path().is_dir() {
            copy(&from, &to, scratch);
        } else {
            fs::write(&to, at_home(&read(&from), scratch)).expect("a file");
            give(&to);
            set_mode(&to, entry.metadata().expect("a file").permissions().mode() & 0o777);
        }
    }
}
