//! Numbers for a metrics system: a page in the text format of Prometheus, as `node_exporter`'s textfile collector reads it.
//!
//! - here: the text, by <https://prometheus.io/docs/instrumenting/exposition_formats/>;
//! - [`file`](mod@file): the file, replaced in one step;
//! - [`exporter`]: when it is written, and what is said where it cannot be.
//!
//! Invariants: a family is one block with its HELP and TYPE; no two samples of a page have the same name and labels, for
//! the collector refuses a whole file over that. Which numbers there are is the business of the programs.

pub mod exporter;
pub mod file;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fmt::Write;
use std::path::PathBuf;

use crate::shown::Shown as _;

/// First line of each page, by which a file is known as one of ours.
pub const BEGINNING: &str = "# standpipe metrics\n";

/// A path of a metrics file, unless `node_exporter` would not read it.
///
/// # Errors
/// It would not.
pub fn checked(path: impl Into<PathBuf>) -> Result<PathBuf, String> {
    let path = path.into();
    if path.extension().is_some_and(|extension| extension == "prom") {
        return Ok(path);
    }
    Err(format!("`{}`: the name must end in .prom, because node_exporter reads only such files", path.shown()))
}

/// What a number means over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FamilyKind {
    /// It grows, and begins anew when the program does; its name ends in `_total`.
    Counter,
    /// It goes up and down.
    Gauge,
}

impl FamilyKind {
    fn name(self) -> &'static str {
        match self {
            FamilyKind::Counter => "counter",
            FamilyKind::Gauge => "gauge",
        }
    }
}

/// A name and what it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Family {
    /// With its unit at the end: `_bytes`, `_seconds`.
    pub name: &'static str,
    /// What a number means over time.
    pub kind: FamilyKind,
    /// One sentence, without backslashes or newlines.
    pub help: &'static str,
}

impl Family {
    /// A number that grows.
    pub const fn counter(name: &'static str, help: &'static str) -> Family {
        Family { name, kind: FamilyKind::Counter, help }
    }

    /// A number that goes up and down.
    pub const fn gauge(name: &'static str, help: &'static str) -> Family {
        Family { name, kind: FamilyKind::Gauge, help }
    }

    /// Its line in the reference.
    pub fn row(&self) -> String {
        format!("| `{}` | {} | {} |\n", self.name, self.kind.name(), self.help)
    }
}

/// What tells the samples of a family apart.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Labels(String);

impl Labels {
    /// The same and one more. A name that is not text is shown as in messages.
    #[must_use]
    pub fn with(&self, name: &str, value: impl AsRef<OsStr>) -> Labels {
        let comma = if self.0.is_empty() { "" } else { "," };
        let value = value.as_ref().shown().to_string().replace('\\', "\\\\").replace('"', "\\\"");
        Labels(format!("{}{comma}{name}=\"{value}\"", self.0))
    }
}

/// A page as it grows.
#[derive(Debug)]
pub struct Page(String);

impl Default for Page {
    fn default() -> Page {
        Page(BEGINNING.to_owned())
    }
}

impl Page {
    /// Adds a family. Without a sample it is left out; of two with the same labels the first counts.
    pub fn put(&mut self, family: &Family, samples: impl IntoIterator<Item = (Labels, f64)>) {
        let Family { name, kind, help } = family;
        debug_assert_eq!(name.ends_with("_total"), *kind == FamilyKind::Counter, "{name}");
        debug_assert!(!help.contains(['\\', '\n']), "{name}: {help}");
        let mut seen = BTreeSet::new();
        for (Labels(labels), value) in samples {
            if seen.is_empty() {
                let head =
                    format_args!("# HELP {0} {1}\n# TYPE {0} {2}\n", family.name, family.help, family.kind.name());
                let _infallible = self.0.write_fmt(head);
            }
            let _infallible = match labels.as_str() {
                _ if seen.contains(&labels) => continue,
                "" => writeln!(self.0, "{} {value}", family.name),
                _ => writeln!(self.0, "{}{{{labels}}} {value}", family.name),
            };
            seen.insert(labels);
        }
    }

    /// The text.
    pub fn into_text(self) -> String {
        self.0
    }
}

/// Nanoseconds as what Prometheus counts in.
pub fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt;

    const BYTES: Family = Family::counter("x_bytes_total", "Bytes.");
    const AGE: Family = Family::gauge("x_age_seconds", "Age.");

    fn pipe(name: &[u8]) -> Labels {
        Labels::default().with("logs", "/l").with("pipe", OsStr::from_bytes(name))
    }

    #[test]
    fn a_family_is_one_block_and_an_empty_one_is_none() {
        let mut page = Page::default();
        page.put(&BYTES, [(pipe(b"a"), 7.0), (pipe(b"b"), 1e16)]);
        page.put(&Family::gauge("x_none", "None."), []);
        page.put(&AGE, [(Labels::default(), seconds(1_500_000_000))]);
        let expected = "# standpipe metrics\n\
            # HELP x_bytes_total Bytes.\n# TYPE x_bytes_total counter\n\
            x_bytes_total{logs=\"/l\",pipe=\"a\"} 7\nx_bytes_total{logs=\"/l\",pipe=\"b\"} 10000000000000000\n\
            # HELP x_age_seconds Age.\n# TYPE x_age_seconds gauge\nx_age_seconds 1.5\n";
        assert_eq!(page.into_text(), expected);
    }

    #[test]
    fn whatever_a_name_is_it_stays_one_label() {
        for (name, value) in [
            (&b"a\"b\\c"[..], r#"a\"b\\c"#),
            ("größe".as_bytes(), "größe"),
            (b"caf\xe9", r"caf\\xe9"),
            (b"a\nb\x1b[2J", r"a\\nb\\x1b[2J"),
            (b"}", "}"),
            (b"", ""),
        ] {
            assert_eq!(pipe(name).0, format!("logs=\"/l\",pipe=\"{value}\""));
        }
    }

    #[test]
    fn no_sample_is_there_twice() {
        let mut page = Page::default();
        // Two names that look alike.
        page.put(&BYTES, [(pipe(b"caf\xe9"), 1.0), (pipe(br"caf\xe9"), 2.0), (pipe(b"z"), 3.0)]);
        let text = page.into_text();
        assert_eq!(text.matches("caf").count(), 1, "{text}");
        assert!(text.contains("pipe=\"z\"} 3\n"), "{text}");
    }
}
