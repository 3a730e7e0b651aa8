//! A configuration file as a tree of values that know their place, whatever language it was written in.
//!
//! Invariants: a name stands once in a table; a span lies in the text it came from. What the values mean is
//! deliberately elsewhere, so that a mistake is told in the same words in TOML and in YAML.

use std::fmt;
use std::ops::Range;

use standpipe_common::config_text::Flaw;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A value and its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// From which byte of the text to which.
    pub span: Range<usize>,
    /// What stands there.
    pub value: Value,
}

/// What can stand in a configuration file.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A text.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// `true` or `false`.
    Bool(bool),
    /// Values in a row.
    List(Vec<Node>),
    /// Values by name.
    Table(Vec<Pair>),
    /// What no key takes, in words: a fraction, a time, nothing.
    Other(&'static str),
}

/// A value under its name.
#[derive(Clone, Debug, PartialEq)]
pub struct Pair {
    /// The name.
    pub key: String,
    /// Where the name stands.
    pub key_span: Range<usize>,
    /// The value.
    pub node: Node,
}

impl Node {
    /// The text, if it is one.
    pub fn as_text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// What stands under a name of a table.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entries().iter().find(|entry| entry.key == key).map(|entry| &entry.node)
    }

    /// The entries of a table; none of anything else.
    pub fn entries(&self) -> &[Pair] {
        match &self.value {
            Value::Table(entries) => entries,
            _ => &[],
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Text(text) => write!(f, "`{}`", text.escape_debug()),
            Value::Integer(number) => write!(f, "{number}"),
            Value::Bool(flag) => write!(f, "`{flag}`"),
            Value::List(_) => f.write_str("a list"),
            Value::Table(_) => f.write_str("a table"),
            Value::Other(words) => f.write_str(words),
        }
    }
}

/// Reads TOML.
pub fn from_toml(text: &str) -> Result<Node, Flaw> {
    let table = DeTable::parse(text)?;
    Ok(Node { span: table.span(), value: table_of(table.get_ref()) })
}

fn table_of(table: &DeTable<'_>) -> Value {
    let entry = |(key, node): (&Spanned<_>, &Spanned<DeValue<'_>>)| {
        let key_text: &std::borrow::Cow<'_, str> = key.get_ref();
        Pair { key: key_text.to_string(), key_span: key.span(), node: node_of(node) }
    };
    Value::Table(table.iter().map(entry).collect())
}

fn node_of(node: &Spanned<DeValue<'_>>) -> Node {
    let value = match node.get_ref() {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(number) => {
            let parsed = i64::from_str_radix(number.as_str(), number.radix());
            parsed.map_or(Value::Other("a number beyond 64 bits"), Value::Integer)
        }
        DeValue::Boolean(flag) => Value::Bool(*flag),
        DeValue::Float(_) => Value::Other("a fraction"),
        DeValue::Datetime(_) => Value::Other("a time"),
        DeValue::Array(list) => Value::List(list.iter().map(node_of).collect()),
        DeValue::Table(table) => table_of(table),
    };
    Node { span: node.span(), value }
}
