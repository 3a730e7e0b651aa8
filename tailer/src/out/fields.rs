//! Finds a field in a line of JSON or logfmt without parsing all of it: keys and values as they stand there.
//!
//! Nothing here allocates or fails: what is no such line has no fields, and one that is cut off has those before the
//! cut. Of a JSON object the members of the top level are given; escapes stay escaped.

use memchr::{memchr, memchr2};

/// Most fields of a line that are looked at.
const FIELDS_MAX: usize = 64;

/// A field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// Its name, without quotes.
    pub key: &'a [u8],
    /// What it says, without quotes.
    pub value: &'a [u8],
    /// Whether the value is a text in quotes.
    pub is_quoted: bool,
}

impl Field<'_> {
    /// Whether it has one of these names, whatever their case.
    pub fn is_called(&self, names: &[&str]) -> bool {
        names.iter().any(|name| name.as_bytes().eq_ignore_ascii_case(self.key))
    }
}

/// The fields of a line, of whichever kind it is.
pub fn fields(line: &[u8]) -> impl Iterator<Item = Field<'_>> {
    let members = line.starts_with(b"{").then(|| members(line)).into_iter().flatten();
    members.chain(is_logfmt(line).then(|| pairs(line)).into_iter().flatten())
}

/// Whether a line begins with `key=`.
pub fn is_logfmt(line: &[u8]) -> bool {
    let key = line.iter().take_while(|byte| is_key(**byte)).count();
    key > 0 && line.get(key) == Some(&b'=')
}

/// The members of the object that a text begins with.
pub fn members(text: &[u8]) -> impl Iterator<Item = Field<'_>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let opener = if at == 0 { b'{' } else { b',' };
        let (field, end) = member(text, behind_blanks(text, at), opener)?;
        at = end;
        Some(field)
    })
    .take(FIELDS_MAX)
}

fn member(text: &[u8], at: usize, opener: u8) -> Option<(Field<'_>, usize)> {
    let at = behind(text, at, opener)?;
    let key_end = string_end(text, at)?;
    let at_value = behind(text, behind_blanks(text, key_end), b':')?;
    let at_value = behind_blanks(text, at_value);
    let end = value_end(text, at_value)?;
    let is_quoted = text[at_value] == b'"';
    let value = if is_quoted { &text[at_value + 1..end - 1] } else { &text[at_value..end] };
    Some((Field { key: &text[at + 1..key_end - 1], value, is_quoted }, end))
}

/// Behind this byte and blanks.
fn behind(text: &[u8], at: usize, byte: u8) -> Option<usize> {
    (text.get(at) == Some(&byte)).then(|| behind_blanks(text, at + 1))
}

fn behind_blanks(text: &[u8], at: usize) -> usize {
    at + text[at.min(text.len())..].iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count()
}

/// Behind the closing quote of the string that begins at `at`.
fn string_end(text: &[u8], at: usize) -> Option<usize> {
    if text.get(at) != Some(&b'"') {
        return None;
    }
    let mut at = at + 1;
    loop {
        at += memchr2(b'"', b'\\', text.get(at..)?)?;
        if text[at] == b'"' {
            return Some(at + 1);
        }
        at += 2;
    }
}

fn value_end(text: &[u8], at: usize) -> Option<usize> {
    match text.get(at)? {
        b'"' => string_end(text, at),
        b'{' | b'[' => nested_end(text, at),
        _ => {
            let len = text[at..].iter().position(|byte| matches!(byte, b',' | b'}' | b' ' | b'\t'))?;
            (len > 0).then_some(at + len)
        }
    }
}

fn nested_end(text: &[u8], mut at: usize) -> Option<usize> {
    let mut depth = 0;
    loop {
        match text.get(at)? {
            b'"' => {
                at = string_end(text, at)?;
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        at += 1;
        if depth == 0 {
            return Some(at);
        }
    }
}

/// The pairs of a line of logfmt; words between them are passed over.
fn pairs(line: &[u8]) -> impl Iterator<Item = Field<'_>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            at = behind_blanks(line, at);
            let key = at..at + line[at..].iter().take_while(|byte| is_key(**byte)).count();
            if key.is_empty() || line.get(key.end) != Some(&b'=') {
                at += memchr(b' ', line.get(at..).filter(|rest| !rest.is_empty())?)?;
                continue;
            }
            let start = key.end + 1;
            let is_quoted = line.get(start) == Some(&b'"');
            let value = if is_quoted {
                at = string_end(line, start)?;
                start + 1..at - 1
            } else {
                at = start + memchr(b' ', &line[start..]).unwrap_or(line.len() - start);
                start..at
            };
            return Some(Field { key: &line[key], value: &line[value], is_quoted });
        }
    })
    .take(FIELDS_MAX)
}

fn is_key(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'@')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(line: &str) -> Vec<(&str, &str)> {
        let text = |bytes| str::from_utf8(bytes).unwrap();
        fields(line.as_bytes()).map(|field| (text(field.key), text(field.value))).collect()
    }

    #[test]
    fn the_members_of_the_top_level() {
        for (line, expected) in [
            (r#"{"a":"x","b":5,"c":true}"#, vec![("a", "x"), ("b", "5"), ("c", "true")]),
            (r#"{ "a" : "x\"}," , "b" : -1.5e3 }"#, vec![("a", r#"x\"},"#), ("b", "-1.5e3")]),
            (r#"{"a":{"b":[1,"}"]},"c":[],"d":{}}"#, vec![("a", r#"{"b":[1,"}"]}"#), ("c", "[]"), ("d", "{}")]),
            (r#"{"a":"x","b":"cut of"#, vec![("a", "x")]),
            (r#"{"a":1"#, vec![]),
            (r#"{"a":"\"#, vec![]),
            (r#"{"a" "b"}"#, vec![]),
            ("{}", vec![]),
            ("{", vec![]),
            ("[1]", vec![]),
            ("", vec![]),
        ] {
            assert_eq!(all(line), expected, "{line}");
        }
    }

    #[test]
    fn the_pairs_of_logfmt() {
        for (line, expected) in [
            ("a=x b=\"y z\\\" w\" c=", vec![("a", "x"), ("b", "y z\\\" w"), ("c", "")]),
            ("a=1 words in between b.c-d=2", vec![("a", "1"), ("b.c-d", "2")]),
            ("a=\"cut of", vec![]),
            ("a = 1", vec![]),
            ("words a=1", vec![]),
            ("=1", vec![]),
        ] {
            assert_eq!(all(line), expected, "{line}");
        }
    }

    #[test]
    fn names_have_no_case() {
        let field = Field { key: b"Time", value: b"", is_quoted: false };
        assert!(field.is_called(&["x", "time"]) && !field.is_called(&["tim", "times"]));
    }
}
