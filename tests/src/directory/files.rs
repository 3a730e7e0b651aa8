//! What is in a directory, by name.

use std::fs;
use std::path::{Path, PathBuf};

/// The name without its directory.
pub fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Everything in a directory, sorted; of one that is not there, nothing.
pub fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| name(&entry.path())).collect();
    names.sort();
    names
}

/// Sorted paths of a directory's files with such names.
pub fn files_of(dir: &Path, wanted: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    assert!(dir.is_dir(), "no directory {}", dir.display());
    names(dir).into_iter().filter(|name| wanted(name)).map(|name| dir.join(name)).collect()
}

/// Those whose names end so.
pub fn files_ending(dir: &Path, ending: &str) -> Vec<PathBuf> {
    files_of(dir, |name| name.ends_with(ending))
}

/// Demands that a page of `docs` has this text between two marks, or writes it there if `UPDATE_DOCS` is set.
pub fn check_generated(page: &str, [begin, end]: [&str; 2], text: &str, package: &str) {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "..", "docs", page].iter().collect();
    let found = fs::read_to_string(&path).expect("a page of ours");
    let (before, rest) = found.split_once(begin).expect("the first mark");
    let (_, after) = rest.split_once(end).expect("the last mark");
    let expected = format!("{before}{begin}{text}{end}{after}");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(path, expected).expect("a page of ours");
    } else {
        assert!(found == expected, "docs/{page} is out of date: run UPDATE_DOCS=1 cargo test -p {package}");
    }
}

/// Writes a file that everybody may read and that is the old one or the new one at any time.
pub fn replace(path: &Path, text: &str) {
    let fresh = path.with_extension("new");
    fs::write(&fresh, text).expect("a file in a directory of our own");
    super::set_mode(&fresh, 0o644);
    fs::rename(&fresh, path).expect("a file in a directory of our own");
}
