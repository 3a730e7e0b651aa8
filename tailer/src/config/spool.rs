//! The tables of spools, and what their keys say together.
//!
//! Whether a directory may be a spool at the moment is found out in [`crate::spool`], for directories come and go.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ValueEnum;
use standpipe_common::config_text::Flaw;
use standpipe_common::units::Span;

use super::check::{beside, lacks};
use super::keys;
use super::table::Table;
use super::tree::{Node, Value};
use crate::turns::rate::Rate;

/// One entry of `spool`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpoolConfig {
    /// The directory of the files; absolute.
    pub dir: PathBuf,
    /// The directory of their markers; absolute.
    pub done: Option<PathBuf>,
    /// Where the files go; standard output without.
    pub pipe: Option<PathBuf>,
    /// The highest is served first.
    pub priority: i32,
    /// How fast it may be read; as fast as it can be without.
    pub rate_limit: Option<Rate>,
    /// How long a file without a marker, or a marker without its file, is left alone.
    pub max_age: Duration,
    /// What becomes of such a file then.
    pub stale: Stale,
}

/// What becomes of a file that is never complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Stale {
    /// It is delivered as it is.
    Deliver,
    /// It is removed.
    Remove,
}

impl Default for SpoolConfig {
    fn default() -> SpoolConfig {
        SpoolConfig {
            dir: PathBuf::new(),
            done: None,
            pipe: None,
            priority: 0,
            rate_limit: None,
            max_age: Duration::from_secs(86_400),
            stale: Stale::Deliver,
        }
    }
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
        let table = Table::checked(node, keys::SPOOL, flaws);
        let Some((dir, span)) = table.text("dir") else {
            if matches!(node.value, Value::Table(_)) && lacks(node, "dir") {
                flaws.push(Flaw { message: "a spool needs a `dir`".to_string(), span: node.span.clone() });
            }
            continue;
        };
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
    let defaults = SpoolConfig::default();
    // Without a slash at its end, so that one directory is one path.
    let dir: PathBuf = beside(base, dir).components().collect();
    let done = table.text("done").map(|(done, _)| beside(&dir, done).components().collect());
    let pipe = table.text("pipe").map(|(pipe, _)| pipe).or(default_pipe).map(|pipe| beside(base, pipe));
    let max_age = table.text("max_age").and_then(|(text, _)| text.parse::<Span>().ok());
    let max_age = max_age.map_or(defaults.max_age, |Span(span)| span);
    SpoolConfig {
        dir,
        done,
        pipe,
        priority: table.number("priority").map_or(defaults.priority, |number| number as i32),
        rate_limit: table.text("rate_limit").and_then(|(text, _)| text.parse().ok()),
        max_age,
        stale: table.word("stale").unwrap_or(defaults.stale),
    }
}
