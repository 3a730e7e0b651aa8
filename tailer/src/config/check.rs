//! From the tree of a configuration file to a [`Config`], or to every flaw in it.
//!
//! Invariant: what one key may say by itself is looked at in `table`; here, only what keys say together.

use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use glob::Pattern;
use standpipe_common::config_text::Flaw;

use super::keys;
use super::spool;
use super::table::{Table, beside};
use super::tree::Node;
use super::{Config, FileConfig, Language, Overrides};

/// Checks `root`, which stands in a file in the absolute directory `dir`.
pub(super) fn check(root: &Node, dir: &Path, language: Language, given: &Overrides) -> Result<Config, Vec<Flaw>> {
    let mut flaws = Vec::new();
    let top = Table::checked(root, keys::TOP, &mut flaws);
    let default_pipe = top.text("pipe");
    let mut files = Vec::new();
    let mut seen = SoFar::default();
    for node in top.nodes("files") {
        let table = Table::checked(node, keys::FILE, &mut flaws);
        seen.note(&table, dir, &mut flaws);
        if let Some((path, _)) = table.required("a file", "path", node, &mut flaws) {
            files.push(file_config(&table, path, default_pipe.map(|(pipe, _)| pipe), dir));
        }
    }
    let spools = spool::check(top.nodes("spool"), default_pipe.map(|(pipe, _)| pipe), dir, &mut flaws);
    if top.nodes("files").is_empty() && top.nodes("spool").is_empty() && flaws.is_empty() {
        let span = top.get("files").map_or(0..0, |node| node.span.clone());
        flaws.push(Flaw { message: format!("there is no file to follow: add {}", language.sample_file()), span });
    }

    let mut config = Config { files, spools, ..Config::said_in(&top, dir) };
    config.take(given);
    for file in config.files.iter().filter(|file| !file.is_glob && config.is_state(&file.path)) {
        let span = seen.paths.get(&file.path).cloned().unwrap_or_default();
        flaws
            .push(Flaw { message: "this file belongs to tailer's own state and cannot be followed".to_string(), span });
    }
    if config.state_file.is_none() && root.get("state_file").is_none() {
        let pipe = default_pipe.map(|(_, span)| span.clone()).or(seen.pipe).or(pipe_of(top.nodes("spool")));
        let metrics_file = top.text("metrics_file").map(|(_, span)| span.clone());
        let needs = [("delivery into a pipe", pipe), ("a metrics file", metrics_file)];
        for (what, span) in needs.into_iter().filter_map(|(what, span)| Some((what, span?))) {
            let sample = language.sample_state();
            let message = format!("{what} needs a state file: add `{sample}` at the top, or say --state FILE");
            flaws.push(Flaw { message, span });
        }
    }
    debug_assert!(config.files.iter().all(|file| file.path.is_absolute()));
    debug_assert!(config.spools.iter().all(|spool| spool.dir.is_absolute()));
    if flaws.is_empty() { Ok(config) } else { Err(flaws) }
}

/// Names, paths and pipes of the files so far, and where they stand.
#[derive(Default)]
struct SoFar {
    names: HashMap<String, Range<usize>>,
    paths: HashMap<PathBuf, Range<usize>>,
    pipe: Option<Range<usize>>,
}

impl SoFar {
    fn note(&mut self, table: &Table<'_>, dir: &Path, flaws: &mut Vec<Flaw>) {
        let path = table.text("path");
        let name = table.text("name");
        if let Some((path, span)) = path
            && self.paths.insert(beside(dir, path), span.clone()).is_some()
        {
            flaws.push(Flaw { message: format!("`{path}` is listed twice: remove one"), span: span.clone() });
        }
        if let (Some((path, _)), Some((_, span))) = (path, name)
            && is_glob(path)
        {
            let message = "a glob cannot have one `name` for all its files: leave it out to use the file names";
            flaws.push(Flaw { message: message.to_string(), span: span.clone() });
        } else if let Some((name, span)) = name
            && self.names.insert(name.to_string(), span.clone()).is_some()
        {
            flaws.push(Flaw { message: format!("another file already has the name `{name}`"), span: span.clone() });
        }
        if let (Some((path, _)), Some(exclude)) = (path, table.get("exclude"))
            && !is_glob(path)
            && !table.nodes("exclude").is_empty()
        {
            let message = format!("`exclude` applies to globs, but `{path}` is a single file: leave it out");
            flaws.push(Flaw { message, span: exclude.span.clone() });
        }
        self.pipe = self.pipe.take().or_else(|| table.text("pipe").map(|(_, span)| span.clone()));
    }
}

fn file_config(table: &Table<'_>, path: &str, default_pipe: Option<&str>, dir: &Path) -> FileConfig {
    let mut file = FileConfig::said_in(table, dir);
    file.is_glob = is_glob(path);
    if file.is_glob {
        file.path = beside(Path::new(&escaped(dir)), path);
    }
    file.exclude.iter_mut().for_each(|glob| *glob = excluded(dir, glob));
    file.pipe = file.pipe.or_else(|| default_pipe.map(|pipe| beside(dir, pipe)));
    file
}

/// A glob of file names as it is, one of paths in a file of `dir` as an absolute one.
fn excluded(dir: &Path, glob: &str) -> String {
    if !glob.contains('/') {
        return glob.to_string();
    }
    beside(Path::new(&escaped(dir)), glob).to_string_lossy().into_owned()
}

/// Where the first pipe of these tables stands.
fn pipe_of(nodes: &[Node]) -> Option<Range<usize>> {
    let entries = nodes.iter().flat_map(Node::entries);
    entries.filter(|entry| entry.key == "pipe").map(|entry| entry.node.span.clone()).next()
}

/// Whether a path of a configuration file means more than one file.
fn is_glob(path: &str) -> bool {
    path.contains(['*', '?', '['])
}

/// A directory as the beginning of a glob.
fn escaped(dir: &Path) -> String {
    Pattern::escape(&dir.to_string_lossy())
}
