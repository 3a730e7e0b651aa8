//! The programs under test: built once a `cargo test`, from the same sources and with the same profile.
//!
//! They end up beside the test itself. Where the user that runs them cannot reach that place, they are copied to one
//! that everybody can reach. Where tests cannot build, `STANDPIPE_TESTS_PROGRAMS` names a directory in which they are
//! built already.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::env;
use std::fs;
use std::hash::{Hash, Hasher};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, PoisonError};

use nix::unistd::{Uid, getppid};

use super::command;
use crate::privilege;

/// The path of a program such as `holder`, which is built if this process has not done so. A path is its own.
///
/// # Panics
/// It cannot be built; cargo's words are on standard error.
pub fn path(program: &str) -> PathBuf {
    static BUILT: LazyLock<Mutex<HashMap<String, PathBuf>>> = LazyLock::new(Mutex::default);
    if program.contains('/') {
        return PathBuf::from(program);
    }
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    built.entry(program.to_owned()).or_insert_with(|| reachable(build(program))).clone()
}

/// `cargo build` of the package of that name, unless a test process before this one did so for the same `cargo test`:
/// it takes half a second to find nothing to do. Cargo's own lock makes room for other test processes.
fn build(program: &str) -> PathBuf {
    if let Some(dir) = env::var_os("STANDPIPE_TESTS_PROGRAMS") {
        return Path::new(&dir).join(program);
    }
    let dir = profile_dir();
    let (starter, run) = starter();
    let record = dir.join("tests-built");
    let known = fs::read_to_string(&record).unwrap_or_default();
    let built = if known.lines().next() == Some(&run) { known } else { format!("{run}\n") };
    if starter == "cargo" && built.lines().any(|line| line == program) {
        return dir.join(program);
    }
    let (target, profile) = (dir.parent(), dir.file_name().and_then(|name| name.to_str()));
    let (Some(target), Some(profile)) = (target, profile) else { panic!("no target directory: {}", dir.display()) };
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = command(cargo)
        .args(["build", "--quiet", "--bins", "--package", &package(program)])
        .args(["--profile", if profile == "debug" { "dev" } else { profile }])
        .arg("--target-dir")
        .arg(target)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .status();
    assert!(status.as_ref().is_ok_and(std::process::ExitStatus::success), "cannot build {program}: {status:?}");
    fs::write(record, format!("{built}{program}\n")).ok();
    dir.join(program)
}

/// The package that has a program.
fn package(program: &str) -> String {
    format!("standpipe-{}", if program == "standpipe" { "front" } else { program })
}

/// Who started this process: its name, and `4242-987654`, its number and when it was started, which tell one
/// `cargo test` from another.
pub(crate) fn starter() -> (String, String) {
    let parent = getppid();
    let stat = fs::read_to_string(format!("/proc/{parent}/stat")).unwrap_or_default();
    // The name, in parentheses, may hold anything; the 22nd field is the time.
    let (start, rest) = stat.rsplit_once(") ").unwrap_or_default();
    let name = start.split_once('(').map_or("", |(_, name)| name);
    let started = rest.split_whitespace().nth(19).unwrap_or("0");
    (name.to_owned(), format!("{parent}-{started}"))
}

/// `target/debug` of `target/debug/deps/holder-1234`; a program of the bench is in `target/release` itself.
pub(crate) fn profile_dir() -> PathBuf {
    let test = env::current_exe().expect("a test knows its own path");
    let dir = test.parent().expect("a program is in a directory");
    if dir.ends_with("deps") { dir.parent().unwrap_or(dir).to_owned() } else { dir.to_owned() }
}

/// `holder` of the same: the test target that this process is.
pub(crate) fn test_name() -> String {
    let test = env::current_exe().expect("a test knows its own path");
    let stem = test.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    stem.rsplit_once('-').map_or(stem.clone(), |(name, _)| name.to_owned())
}

/// The program itself, or a copy below /tmp that replaces the one of an earlier build.
fn reachable(program: PathBuf) -> PathBuf {
    if privilege::ordinary_user().is_none() || program.ancestors().all(everybody_may_enter) {
        return program;
    }
    let mut hasher = DefaultHasher::new();
    // In one place, for they look for each other beside themselves.
    program.parent().hash(&mut hasher);
    let dir = env::temp_dir().join(format!("standpipe-tests-{}-{:016x}", Uid::effective(), hasher.finish()));
    let copied = fs::create_dir(&dir).or_else(|error| if dir.is_dir() { Ok(()) } else { Err(error) }).and_then(|()| {
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755))?;
        let name = program.file_name().unwrap_or_default();
        let copy = dir.join(name);
        if is_copy(&copy, &program) {
            return Ok(copy);
        }
        // Another test process may run the old one: it is replaced, not written to.
        let new = dir.join(format!(".{}-{}", name.display(), std::process::id()));
        fs::copy(&program, &new)?;
        fs::set_permissions(&new, fs::Permissions::from_mode(0o755))?;
        fs::rename(&new, &copy)?;
        Ok(copy)
    });
    copied.unwrap_or_else(|error| panic!("cannot copy {} to {}: {error}", program.display(), dir.display()))
}

fn everybody_may_enter(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.mode() & 0o001 != 0)
}

fn is_copy(copy: &Path, program: &Path) -> bool {
    let (Ok(copy), Ok(program)) = (fs::metadata(copy), fs::metadata(program)) else { return false };
    copy.len() == program.len()
        && copy.modified().is_ok_and(|copied| program.modified().is_ok_and(|built| copied >= built))
}
