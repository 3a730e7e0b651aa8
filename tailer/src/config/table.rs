//! A table of a configuration file, checked against the keys that it may have.
//!
//! Invariant: what a [`Table`] gives out is of the kind that its key takes; all that is not was noted as a flaw, so
//! that every mistake is told at once.

use std::ops::Range;

use clap::ValueEnum;
use glob::Pattern;
use standpipe_common::config_text::Flaw;
use standpipe_common::metrics;
use standpipe_common::units::Span;

use super::keys::{Key, Kind, NAME_BYTES_MAX};
use super::timestamp;
use super::tree::{Node, Pair, Value};
use crate::turns::rate::Rate;

/// The entries of a table that are right.
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
                let message = format!("unknown key `{}`, expected {}", entry.key.escape_debug(), expected(keys));
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
        match &node.value {
            Value::Text(text) => Some((text, &node.span)),
            _ => None,
        }
    }

    pub(super) fn word<T: ValueEnum>(&self, key: &str) -> Option<T> {
        T::from_str(self.text(key)?.0, false).ok()
    }

    pub(super) fn number(&self, key: &str) -> Option<i64> {
        match self.get(key)?.value {
            Value::Integer(number) => Some(number),
            _ => None,
        }
    }

    pub(super) fn flag(&self, key: &str) -> Option<bool> {
        match self.get(key)?.value {
            Value::Bool(flag) => Some(flag),
            _ => None,
        }
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
    let not_that = || wrong(format!("`{}` cannot be {value}: write {}", key.name, key.kind.takes()));
    match (key.kind, value) {
        (Kind::Number(min, max), Value::Integer(number)) if !(min..=max).contains(number) => {
            wrong(format!("{number} is out of range: write {min} to {max}"))
        }
        (Kind::Word(words), Value::Text(text)) if !words.contains(&text.as_str()) => not_that(),
        (Kind::Name, Value::Text(text)) if !is_name(text) => not_that(),
        (Kind::Path | Kind::MetricsPath | Kind::PathInDir | Kind::PathOrGlob, Value::Text(text))
            if text.is_empty() || text.contains('\0') =>
        {
            not_that()
        }
        (Kind::MetricsPath, Value::Text(text)) => metrics::checked(text).err().and_then(wrong),
        (Kind::PathOrGlob, Value::Text(text)) if text.ends_with('/') => {
            wrong(format!("`{text}` is a directory: write a file, or `{text}*.log` for files in it"))
        }
        (Kind::PathOrGlob, Value::Text(text)) => {
            // Directory for directory, so a bracket does not reach across a slash.
            std::iter::once(text.as_str()).chain(text.split('/')).find_map(|part| glob_refusal(part, &span))
        }
        (Kind::Span, Value::Text(text)) => text.parse::<Span>().err().and_then(wrong),
        (Kind::Timestamp, Value::Text(text)) => timestamp::refusal(text).and_then(wrong),
        (Kind::Rate, Value::Text(text)) => text.parse::<Rate>().err().and_then(wrong),
        (Kind::Globs, Value::List(nodes)) => nodes.iter().find_map(|node| match &node.value {
            Value::Text(text) if !text.is_empty() => glob_refusal(text, &node.span),
            value => Some(Flaw { message: format!("{value} is not a glob: write a string"), span: node.span.clone() }),
        }),
        (Kind::Number(..), Value::Integer(_))
        | (Kind::Word(_) | Kind::Name | Kind::Path | Kind::PathInDir, Value::Text(_))
        | (Kind::Flag, Value::Bool(_))
        | (Kind::Files | Kind::Spools, Value::List(_)) => None,
        (
            Kind::Name
            | Kind::Path
            | Kind::MetricsPath
            | Kind::PathInDir
            | Kind::PathOrGlob
            | Kind::Span
            | Kind::Timestamp
            | Kind::Word(_),
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
