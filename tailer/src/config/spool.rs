//! The tables of spools, and what their keys say together.
//!
//! Whether a directory may be a spool at the moment is found out in [`crate::spool`], for directories come and go.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use standpipe_common::config_text::Flaw;

use super::keys::SPOOL;
pub use super::keys::SpoolConfig;
use super::table::{Table, beside};
use super::tree::Node;

/// What becomes of a file that is never complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Stale {
    /// It is delivered as it is.
    Deliver,
    /// It is removed.
    Remove,
}

/// All spools of a file in `base`, and what is wrong with them.
pub(super) fn check(
    nodes: &[Node],
    default_pipe: Option<&str>,
    base: &Path,
    flaws: &mut Vec<Flaw>,
) -> Vec<SpoolConfig> {
    let mut spools = Vec::new();
    let mut dirs = HashSet::new();
    for node in nodes {
        let table = Table::checked(node, SPOOL, flaws);
        let Some((dir, span)) = table.required("a spool", "dir", node, flaws) else { continue };
        let spool = spool(&table, dir, default_pipe, base);
        if spool.done.as_ref() == Some(&spool.dir) {
            let span = table.get("done").map_or(span.clone(), |node| node.span.clone());
            let message = "markers need a directory of their own: write another one, such as \"done\"";
            flaws.push(Flaw { message: message.to_string(), span });
        }
        if !dirs.insert(spool.dir.clone()) {
            let message = format!("`{dir}` is listed twice: remove one");
            flaws.push(Flaw { message, span: span.clone() });
        }
        spools.push(spool);
    }
    spools
}

fn spool(table: &Table<'_>, dir: &str, default_pipe: Option<&str>, base: &Path) -> SpoolConfig {
    let said = SpoolConfig::said_in(table, base);
    // Without a slash at its end, so that one directory is one path.
    let dir: PathBuf = beside(base, dir).components().collect();
    let done = table.text("done").map(|(done, _)| beside(&dir, done).components().collect());
    let pipe = said.pipe.or_else(|| default_pipe.map(|pipe| beside(base, pipe)));
    SpoolConfig { dir, done, pipe, ..said }
}
