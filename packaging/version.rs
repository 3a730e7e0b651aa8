//! The build script of every program: what `--version` says beside the number.
//!
//! `STANDPIPE_VERSION` is `0.1.0, commit 6fc9f91a2b3c, features: yaml`. Where there is no git, or the sources are not a
//! checkout of their own (a copy in somebody else's repository), there is no commit.

// Cargo takes paths as they are, and nothing that is started here outlives this.
#![allow(clippy::disallowed_methods)]

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What goes into a program beside its own sources.
const SHARED: [&str; 3] = ["common/src", "Cargo.toml", "Cargo.lock"];

fn main() {
    let package = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo runs this"));
    let top = package.parent().expect("a package of the workspace");
    let own = package.join("src");
    for path in SHARED.iter().map(|path| top.join(path)).chain([own.clone()]) {
        println!("cargo:rerun-if-changed={}", path.display());
    }
    let number = env::var("CARGO_PKG_VERSION").expect("cargo runs this");
    let commit = commit(top, &own).map(|commit| format!("commit {commit}"));
    let features = match features() {
        features if features.is_empty() => "no features".to_owned(),
        features => format!("features: {}", features.join(" ")),
    };
    let is_debug = env::var("PROFILE").is_ok_and(|profile| profile == "debug");
    let debug = is_debug.then(|| "debug build".to_owned());
    let version: Vec<String> = [Some(number), commit, Some(features), debug].into_iter().flatten().collect();
    println!("cargo:rustc-env=STANDPIPE_VERSION={}", version.join(", "));
}

/// The commit that is checked out, with a + where the sources differ from it.
fn commit(top: &Path, own: &Path) -> Option<String> {
    let checkout = PathBuf::from(git(top, &["rev-parse", "--show-toplevel"])?);
    if checkout.canonicalize().ok()? != top.canonicalize().ok()? {
        return None;
    }
    // It grows with each commit, checkout and rebase; where there is none, HEAD and what it names change.
    for name in ["logs/HEAD", "HEAD"] {
        let path = top.join(git(top, &["rev-parse", "--git-path", name])?);
        if path.exists() {
            println!("cargo:rerun-if-changed={}", path.display());
        }
    }
    let commit = git(top, &["rev-parse", "--short=12", "HEAD"])?;
    let own = own.to_str()?;
    let is_clean = git(top, &[&["diff", "--quiet", "HEAD", "--", own], &SHARED[..]].concat()).is_some();
    Some(if is_clean { commit } else { commit + "+" })
}

/// What it prints, if it succeeds.
fn git(top: &Path, args: &[&str]) -> Option<String> {
    let mut command = Command::new("git");
    // Of a hook that builds, these would name its repository.
    command.env_remove("GIT_DIR").env_remove("GIT_WORK_TREE").env_remove("GIT_INDEX_FILE");
    let output = command.args(args).current_dir(top).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim_end().to_owned())
}

/// Those of the package that are on, by name.
fn features() -> Vec<String> {
    let names = env::vars().filter_map(|(name, _)| Some(name.strip_prefix("CARGO_FEATURE_")?.to_lowercase()));
    let mut features: Vec<String> = names.filter(|name| name != "default").map(|name| name.replace('_', "-")).collect();
    features.sort();
    features
}
