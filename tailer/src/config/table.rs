//! A table of a configuration file, checked against the keys that it may have.
//!
//! Invariant: what a [`Table`] gives out is of the kind that its key takes; all that is not was noted as a flaw, so
//! that every mistake is told at once.

use std::ops::Range;
use std::path::{Path, PathBuf, absolute};
use std::time::Duration;

use clap::ValueEnum;
use glob::Pattern;
use standpipe_common::config_text::Flaw;
use standpipe_common::likeness;
use standpipe_common::metrics;
use standpipe_common::units::Span;

use super::keys::{Key, NAME_BYTES_MAX, Takes};
use super::spool::Stale;
use super::tree::{Node, Pair, Value};
use super::{LineForm, OnCorrupt, Order, Records, StartAt, timestamp};
use crate::out::timestamp::Format;
use crate::turns::rate::Rate;

/// The entries of a table that are right.
#[derive(Default)]
pub(super) struct Table<'n>(Vec<&'n Pair>);

impl<'n> Table<'n> {
    /// Takes what fits `keys`, and notes what does not.
    pub(super) fn checked(node: &'n Node, keys: &[Key], flaws: &mut Vec<Flaw>) -> Table<'n> {
        let mut good = Vec::new();
        let entries = match &node.value {
            Value::Table(entries) => entries.as_slice(),
            Value::Other("nothing") => &[],
            value => {
                let message = format!("{value} is not allowed here: write {}", expected(keys));
                flaws.push(Flaw { message, span: node.span.clone() });
                &[]
            }
        };
        for entry in entries {
            let Some(key) = keys.iter().find(|key| key.name == entry.key) else {
                let question = likeness::question(&entry.key, keys.iter().map(|key| key.name));
                let message =
                    format!("unknown key `{}`, expected {}{question}", entry.key.escape_debug(), expected(keys));
                flaws.push(Flaw { message, span: entry.key_span.clone() });
                continue;
            };
            match refusal(key, &entry.node) {
                Some(flaw) => flaws.push(flaw),
                None => good.push(entry),
            }
        }
        Table(good)
    }

    pub(super) fn get(&self, key: &str) -> Option<&'n Node> {
        self.0.iter().find(|entry| entry.key == key).map(|entry| &entry.node)
    }

    pub(super) fn text(&self, key: &str) -> Option<(&'n str, &'n Range<usize>)> {
        let node = self.get(key)?;
        Some((node.as_text()?, &node.span))
    }

    /// A text that has to be there, in the table of `node`. A wrong one was told already.
    pub(super) fn required(
        &self,
        what: &str,
        key: &str,
        node: &Node,
        flaws: &mut Vec<Flaw>,
    ) -> Option<(&'n str, &'n Range<usize>)> {
        if matches!(node.value, Value::Table(_)) && node.get(key).is_none() {
            flaws.push(Flaw { message: format!("{what} needs a `{key}`"), span: node.span.clone() });
        }
        self.text(key)
    }

    pub(super) fn nodes(&self, key: &str) -> &'n [Node] {
        match self.get(key).map(|node| &node.value) {
            Some(Value::List(nodes)) => nodes,
            _ => &[],
        }
    }
}

fn expected(keys: &[Key]) -> String {
    let names: Vec<String> = keys.iter().map(|key| format!("`{}`", key.name)).collect();
    format!("one of {}", names.join(", "))
}

/// What is wrong with the value of a key.
fn refusal(key: &Key, node: &Node) -> Option<Flaw> {
    let (value, span) = (&node.value, node.span.clone());
    let wrong = |cause: String| Some(Flaw { message: cause, span: span.clone() });
    let not_that = || wrong(format!("`{}` cannot be {value}: write {}", key.name, key.takes.in_words()));
    match (key.takes, value) {
        (Takes::Number(min, max), Value::Integer(number)) if !(min..=max).contains(number) => {
            wrong(format!("{number} is out of range: write {min} to {max}"))
        }
        (Takes::Word(words), Value::Text(text)) if !words().contains(text) => not_that(),
        (Takes::Name, Value::Text(text)) if !is_name(text) => not_that(),
        (Takes::Path | Takes::MetricsPath | Takes::PathInDir | Takes::PathOrGlob, Value::Text(text))
            if text.is_empty() || text.contains('\0') =>
        {
            not_that()
        }
        (Takes::MetricsPath, Value::Text(text)) => metrics::checked(text).err().and_then(wrong),
        (Takes::PathOrGlob, Value::Text(text)) if text.ends_with('/') => {
            wrong(format!("`{text}` is a directory: write a file, or `{text}*.log` for files in it"))
        }
        (Takes::PathOrGlob, Value::Text(text)) => {
            // Directory for directory, so a bracket does not reach across a slash.
            std::iter::once(text.as_str()).chain(text.split('/')).find_map(|part| glob_refusal(part, &span))
        }
        (Takes::Span, Value::Text(text)) => text.parse::<Span>().err().and_then(wrong),
        (Takes::Timestamp, Value::Text(text)) => timestamp::refusal(text).and_then(wrong),
        (Takes::Rate, Value::Text(text)) => text.parse::<Rate>().err().and_then(wrong),
        (Takes::Globs, Value::List(nodes)) => nodes.iter().find_map(|node| match &node.value {
            Value::Text(text) if !text.is_empty() => glob_refusal(text, &node.span),
            value => Some(Flaw { message: format!("{value} is not a glob: write a string"), span: node.span.clone() }),
        }),
        (Takes::Number(..), Value::Integer(_))
        | (Takes::Word(_) | Takes::Name | Takes::Path | Takes::PathInDir, Value::Text(_))
        | (Takes::Flag, Value::Bool(_))
        | (Takes::Files | Takes::Spools, Value::List(_)) => None,
        (
            Takes::Name
            | Takes::Path
            | Takes::MetricsPath
            | Takes::PathInDir
            | Takes::PathOrGlob
            | Takes::Span
            | Takes::Timestamp
            | Takes::Word(_),
            Value::Integer(_),
        ) => wrong(format!("{value} is a number, but `{}` needs a string: write it in quotes", key.name)),
        _ => not_that(),
    }
}

fn is_name(text: &str) -> bool {
    let odd = |c: char| c.is_whitespace() || c.is_control();
    !text.is_empty() && text.len() <= NAME_BYTES_MAX && !text.contains(odd)
}

fn glob_refusal(text: &str, span: &Range<usize>) -> Option<Flaw> {
    let error = Pattern::new(text).err()?;
    let message = format!("`{}` is not a glob: {} at character {}", text.escape_debug(), error.msg, error.pos + 1);
    Some(Flaw { message, span: span.clone() })
}

/// A path in a file of `dir`, absolute and without `.` in it.
pub(super) fn beside(dir: &Path, path: &str) -> PathBuf {
    let joined = dir.join(path);
    absolute(&joined).unwrap_or(joined)
}

/// What a value of the kind that its key takes becomes in a checked struct.
pub(super) trait FromNode: Sized {
    /// A path starts at `dir`. `None`: nothing says it, and it has to be said.
    fn from_node(node: Option<&Node>, dir: &Path) -> Option<Self>;
}

impl<T: FromNode> FromNode for Option<T> {
    fn from_node(node: Option<&Node>, dir: &Path) -> Option<Option<T>> {
        Some(node.and_then(|node| T::from_node(Some(node), dir)))
    }
}

impl FromNode for PathBuf {
    fn from_node(node: Option<&Node>, dir: &Path) -> Option<PathBuf> {
        // Without the path that it has to say a table is a flaw.
        Some(node.and_then(Node::as_text).map_or_else(PathBuf::new, |path| beside(dir, path)))
    }
}

impl FromNode for Duration {
    /// A number of milliseconds, or a span.
    fn from_node(node: Option<&Node>, _dir: &Path) -> Option<Duration> {
        match &node?.value {
            Value::Integer(millis) => Some(Duration::from_millis(millis.unsigned_abs())),
            Value::Text(text) => text.parse().ok().map(|Span(span)| span),
            _ => None,
        }
    }
}

macro_rules! said {
    ($($type:ty: $value:pat => $read:expr;)+) => {$(
        impl FromNode for $type {
            fn from_node(node: Option<&Node>, _dir: &Path) -> Option<$type> {
                match &node?.value {
                    $value => $read,
                    _ => None,
                }
            }
        }
    )+};
}

said! {
    bool: Value::Bool(flag) => Some(*flag);
    i32: Value::Integer(number) => (*number).try_into().ok();
    Vec<String>: Value::List(nodes) => Some(nodes.iter().filter_map(Node::as_text).map(str::to_owned).collect());
    String: Value::Text(text) => Some(text.clone());
    Rate: Value::Text(text) => text.parse().ok();
    Format: Value::Text(text) => Some(Format::of(text));
    LineForm: Value::Text(text) => word(text);
    OnCorrupt: Value::Text(text) => word(text);
    Order: Value::Text(text) => word(text);
    Records: Value::Text(text) => word(text);
    Stale: Value::Text(text) => word(text);
    StartAt: Value::Text(text) => word(text);
}

fn word<T: ValueEnum>(text: &str) -> Option<T> {
    T::from_str(text, false).ok()
}
