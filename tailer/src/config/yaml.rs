//! YAML, for people who come with such a file: read into the same tree as TOML.
//!
//! Invariant: nothing of YAML is known elsewhere. Without the feature `yaml` this is one sentence that says so.

use standpipe_common::config_text::Flaw;

use super::tree::Node;

/// Reads YAML; without the feature it is refused.
#[cfg(not(feature = "yaml"))]
pub fn from_yaml(_text: &str) -> Result<Node, Flaw> {
    let message = "this tailer was built without YAML: write it in TOML, or build with the feature `yaml`";
    Err(Flaw { message: message.to_string(), span: 0..0 })
}

/// Reads YAML: one document.
#[cfg(feature = "yaml")]
pub fn from_yaml(text: &str) -> Result<Node, Flaw> {
    reading::read(text)
}

#[cfg(feature = "yaml")]
mod reading {
    use std::fmt;
    use std::ops::Range;

    use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
    use serde_saphyr::{Location, Spanned};
    use standpipe_common::config_text::Flaw;

    use crate::config::tree::{Node, Pair, Value};

    pub(super) fn read(text: &str) -> Result<Node, Flaw> {
        let options = serde_saphyr::options! { with_snippet: false, strict_booleans: true };
        serde_saphyr::from_str_with_options(text, options).map_err(|error| {
            let span = error.location().map_or(0..0, |place| span_of_error(&place, text));
            let message = error.render_with_formatter(&serde_saphyr::UserMessageFormatter);
            // The place is told by line and column already.
            let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(before, _)| before);
            Flaw { message: message.replace('\n', ", "), span }
        })
    }

    fn span_of(place: &Location) -> Range<usize> {
        let start = place.span().byte_offset().unwrap_or(0) as usize;
        start..start + place.span().byte_len().unwrap_or(0) as usize
    }

    /// Where the parser stopped it knows the line and the column alone.
    fn span_of_error(place: &Location, text: &str) -> Range<usize> {
        if place.span().byte_offset().is_some() {
            return span_of(place);
        }
        let lines = text.split_inclusive('\n').take((place.line() as usize).saturating_sub(1));
        let start = lines.map(str::len).sum::<usize>();
        let line = text[start..].lines().next().unwrap_or("");
        let before = line.chars().take((place.column() as usize).saturating_sub(1));
        let start = start + before.map(char::len_utf8).sum::<usize>();
        start..start
    }

    impl<'de> Deserialize<'de> for Node {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Node, D::Error> {
            let spanned = Spanned::<Value>::deserialize(deserializer)?;
            Ok(Node { span: span_of(&spanned.referenced), value: spanned.value })
        }
    }

    impl<'de> Deserialize<'de> for Value {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
            deserializer.deserialize_any(Any)
        }
    }

    struct Any;

    impl<'de> Visitor<'de> for Any {
        type Value = Value;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a value")
        }

        fn visit_str<E>(self, text: &str) -> Result<Value, E> {
            Ok(Value::Text(text.to_string()))
        }

        fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
            Ok(Value::Bool(flag))
        }

        fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
            Ok(Value::Integer(number))
        }

        fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
            Ok(i64::try_from(number).map_or(Value::Other("a number beyond 64 bits"), Value::Integer))
        }

        fn visit_f64<E>(self, _number: f64) -> Result<Value, E> {
            Ok(Value::Other("a fraction"))
        }

        fn visit_unit<E>(self) -> Result<Value, E> {
            Ok(Value::Other("nothing"))
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Value, A::Error> {
            let mut list = Vec::new();
            while let Some(node) = sequence.next_element()? {
                list.push(node);
            }
            Ok(Value::List(list))
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
            let mut table = Vec::new();
            while let Some(key) = map.next_key::<Spanned<String>>()? {
                let key_span = span_of(&key.referenced);
                table.push(Pair { key: key.value, key_span, node: map.next_value()? });
            }
            Ok(Value::Table(table))
        }
    }
}
