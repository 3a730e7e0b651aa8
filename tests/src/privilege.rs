//! Who a test runs as, and what it cannot run without.
//!
//! Programs run as an ordinary user: as the one who runs the tests, or as `nobody` where that is root. A test that
//! cannot run says so and passes, see [`not_run`], unless `STANDPIPE_TESTS_ALL=1` demands that every test runs.

use std::env;
use std::fs::{self, File};
use std::os::unix::fs::chown;
use std::path::Path;
use std::process::Stdio;

use landlock::{AccessFs, CompatLevel, Compatible as _, Ruleset, RulesetAttr as _};
use nix::unistd::Uid;

use crate::not_run;
use crate::programs::command;

/// User and group of `nobody`.
pub const NOBODY: u32 = 65534;

/// Whether the tests run as root.
pub fn is_root() -> bool {
    Uid::effective().is_root()
}

/// The user that programs run as unless a test says otherwise, if that is not the tests' own.
pub fn ordinary_user() -> Option<u32> {
    is_root().then_some(NOBODY)
}

/// Gives a file, not what it may lead to, to the user that programs run as.
pub fn give(path: &Path) {
    if let Some(id) = ordinary_user() {
        chown(path, Some(id), Some(id)).unwrap_or_else(|error| panic!("cannot give away {}: {error}", path.display()));
    }
}

/// Runs a test that only root can run.
pub fn needs_root(test: impl FnOnce()) {
    run_if(is_root(), "root", test);
}

/// Runs a test that needs a tool on the PATH, or by its path.
pub fn needs_tool(tool: &str, test: impl FnOnce()) {
    needs_tools(&[tool], test);
}

/// Runs a test that needs all these tools.
pub fn needs_tools(tools: &[&str], test: impl FnOnce()) {
    let is_missing = |tool: &&&str| {
        let mut asked = command(tool);
        asked.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // 126: nowhere on the PATH either, of which a directory is closed to this user.
        !asked.status().is_ok_and(|status| !matches!(status.code(), Some(126 | 127)))
    };
    let missing = tools.iter().find(is_missing);
    run_if(missing.is_none(), missing.unwrap_or(&""), test);
}

/// Runs a test that mounts a file system by FUSE. A kernel that has none excuses it, a device that is closed does not.
pub fn needs_fuse(test: impl FnOnce()) {
    needs_tool("bindfs", || {
        let can_open = File::options().read(true).write(true).open("/dev/fuse").is_ok();
        let known = fs::read_to_string("/proc/filesystems").unwrap_or_default();
        if can_open || known.lines().any(|line| line.ends_with("\tfuse")) {
            run_if(can_open, "/dev/fuse", test);
        } else {
            not_run::note("a kernel with FUSE");
        }
    });
}

/// Whether the user may be root of a user namespace of his own; otherwise the test is not run.
pub fn has_user_namespaces() -> bool {
    let mut asked = command("unshare");
    asked.args(["-Ur", "true"]).stdin(Stdio::null()).stderr(Stdio::null());
    let can = asked.status().is_ok_and(|status| status.success());
    run_if(can, "user namespaces", || ());
    can
}

/// Runs a test of programs that confine themselves by Landlock.
pub fn needs_landlock(test: impl FnOnce()) {
    let rules = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    run_if(rules.handle_access(AccessFs::Refer).is_ok(), "a kernel with Landlock", test);
}

/// Runs a test that steers time or faults: programs built for release cannot be steered.
pub fn needs_seams(test: impl FnOnce()) {
    run_if(cfg!(debug_assertions), "test seams (a debug build)", test);
}

fn run_if(can_run: bool, need: &str, test: impl FnOnce()) {
    if can_run {
        test();
    } else if env::var_os("STANDPIPE_TESTS_ALL").is_some_and(|all| all == "1") {
        panic!("needs {need}, and STANDPIPE_TESTS_ALL=1 wants every test to run");
    } else {
        not_run::note(need);
    }
}
