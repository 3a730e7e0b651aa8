//! Names of pipes, and what the name of a directory entry makes of it.
//!
//! Invariant: a [`PipeName`] is a single path component that can name a log directory and a policy file: 1 to
//! [`NAME_MAX`] bytes, no `/`, no control character, no leading dot or dash. Names need not be UTF-8. Only names are looked at
//! here; what kind of file an entry is says [`crate::pipes`].

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use crate::shown::steers;

/// Longest name of a pipe in bytes: leaves room for `.toml` and for our suffixes within the kernel's 255.
pub const NAME_MAX: usize = 200;

/// The file with everybody's policy.
pub const DEFAULTS: &str = "defaults.toml";

/// The checked name of a pipe.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PipeName(OsString);

impl PipeName {
    /// Checks a name by the same rule as [`classify`]; the refusal is a reason such as `it starts with a dot`.
    pub fn new(name: impl AsRef<OsStr>) -> Result<PipeName, &'static str> {
        match refusal(name.as_ref().as_bytes()) {
            None => Ok(PipeName(name.as_ref().to_os_string())),
            Some(reason) => Err(reason),
        }
    }

    /// The name as it stands in the directory.
    pub fn as_os_str(&self) -> &OsStr {
        &self.0
    }

    /// The name of this pipe's policy file: `NAME.toml`.
    pub fn policy_file(&self) -> OsString {
        let mut bytes = self.0.as_bytes().to_vec();
        bytes.extend_from_slice(b".toml");
        OsString::from_vec(bytes)
    }
}

impl AsRef<OsStr> for PipeName {
    fn as_ref(&self) -> &OsStr {
        &self.0
    }
}

impl AsRef<Path> for PipeName {
    fn as_ref(&self) -> &Path {
        Path::new(&self.0)
    }
}

impl fmt::Display for PipeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Printable(&self.0).fmt(f)
    }
}

/// Shows any name on one line: control characters and bytes that are not UTF-8 become `\n`, `\x1b`, `\xff`, and what
/// changes the direction of writing `\u{202e}`.
#[derive(Clone, Copy, Debug)]
pub struct Printable<'a>(pub &'a OsStr);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.as_bytes().utf8_chunks() {
            for c in chunk.valid().chars() {
                match c {
                    '\n' | '\r' | '\t' => write!(f, "{}", c.escape_default())?,
                    c if c.is_control() => write!(f, "\\x{:02x}", u32::from(c))?,
                    c if steers(c) => write!(f, "{}", c.escape_unicode())?,
                    c => write!(f, "{c}")?,
                }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

/// What the name of an entry of a pipes directory says about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Class {
    /// An editor's or a package manager's leftover, or hidden: not looked at, not spoken of.
    Ignored,
    /// `defaults.toml`.
    Defaults,
    /// `NAME.toml`: the policy of this pipe.
    Policy(PipeName),
    /// The name of a pipe, if the entry is a link.
    Pipe(PipeName),
    /// No pipe may be called so; the reason reads on after "cannot use NAME: ".
    Bad(&'static str),
}

/// Sorts the entries of a pipes directory by their names alone.
pub fn classify(name: &OsStr) -> Class {
    let bytes = name.as_bytes();
    if is_leftover(bytes) {
        return Class::Ignored;
    }
    if name == DEFAULTS {
        return Class::Defaults;
    }
    match bytes.strip_suffix(b".toml") {
        Some(stem) => PipeName::new(OsStr::from_bytes(stem)).map_or_else(Class::Bad, Class::Policy),
        None => PipeName::new(name).map_or_else(Class::Bad, Class::Pipe),
    }
}

/// Hidden files, backups of editors, and what dpkg and rpm put beside a file that they did not dare to replace.
fn is_leftover(name: &[u8]) -> bool {
    let extension = name.iter().rposition(|&byte| byte == b'.').map_or(&b""[..], |dot| &name[dot + 1..]);
    name.starts_with(b".")
        || name.ends_with(b"~")
        || extension.starts_with(b"dpkg-")
        || [&b"rpmnew"[..], b"rpmsave", b"rpmorig"].contains(&extension)
}

fn refusal(name: &[u8]) -> Option<&'static str> {
    if name.is_empty() {
        Some("the name is empty")
    } else if name.starts_with(b".") {
        Some("the name starts with a dot")
    } else if name.starts_with(b"-") {
        Some("the name starts with a dash, like an option")
    } else if name.contains(&b'/') {
        Some("the name contains a slash")
    } else if has_control(name) {
        Some("the name contains a control character")
    } else if name == b"defaults" {
        Some("its policy file would be defaults.toml, which applies to all pipes")
    } else if name.ends_with(b".toml") {
        Some("names ending in .toml are policy files")
    } else if name.ends_with(b".stage") {
        Some("names ending in .stage are staging pipes")
    } else if name.len() > NAME_MAX {
        Some("the name is longer than 200 bytes")
    } else {
        None
    }
}

fn has_control(name: &[u8]) -> bool {
    name.utf8_chunks().any(|chunk| chunk.valid().chars().any(char::is_control))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pipe(name: &str) -> Class {
        Class::Pipe(PipeName(name.into()))
    }

    fn policy(name: &str) -> Class {
        Class::Policy(PipeName(name.into()))
    }

    #[test]
    fn the_name_of_an_entry_says_what_it_is() {
        for (name, class) in [
            ("nginx-access", pipe("nginx-access")),
            ("app.log", pipe("app.log")),
            ("mit Leerzeichen", pipe("mit Leerzeichen")),
            ("größe", pipe("größe")),
            ("README.md", pipe("README.md")),
            ("app.toml", policy("app")),
            ("app.log.toml", policy("app.log")),
            ("defaults.toml", Class::Defaults),
            (".hidden", Class::Ignored),
            (".toml", Class::Ignored),
            ("app.toml~", Class::Ignored),
            ("app.dpkg-old", Class::Ignored),
            ("app.toml.dpkg-new", Class::Ignored),
            ("app.toml.dpkg-dist", Class::Ignored),
            ("app.toml.dpkg-tmp", Class::Ignored),
            ("app.toml.rpmnew", Class::Ignored),
            ("app.toml.rpmsave", Class::Ignored),
            ("app.toml.rpmorig", Class::Ignored),
            ("dpkg-log", pipe("dpkg-log")),
            ("rpmnew", pipe("rpmnew")),
        ] {
            assert_eq!(classify(OsStr::new(name)), class, "{name}");
        }
    }

    #[test]
    fn bad_names_are_refused_with_their_reason() {
        let long = "x".repeat(NAME_MAX + 1);
        for (name, reason) in [
            ("a\nb", "control character"),
            ("a\u{1b}[31m", "control character"),
            ("a\u{85}", "control character"),
            ("a\nb.toml", "control character"),
            ("-rf", "dash"),
            ("--logs.toml", "dash"),
            ("defaults", "defaults.toml"),
            ("app.stage", ".stage"),
            ("app.stage.toml", ".stage"),
            ("defaults.toml.toml", ".toml"),
            (&long, "longer than 200 bytes"),
        ] {
            match classify(OsStr::new(name)) {
                Class::Bad(given) => assert!(given.contains(reason), "{name}: {given}"),
                other => panic!("{name}: {other:?}"),
            }
        }
        assert_eq!(classify(OsStr::new(&long[1..])), pipe(&long[1..]));
        assert!(PipeName::new("a/b").is_err() && PipeName::new("").is_err() && PipeName::new("..").is_err());
    }

    #[test]
    fn a_printed_name_stays_on_one_line_and_moves_no_cursor() {
        for (name, printed) in [
            (&b"app"[..], "app"),
            (b"a\nb\tc\r", "a\\nb\\tc\\r"),
            (b"\x1b[31m\x7f", "\\x1b[31m\\x7f"),
            ("ä\u{9b}".as_bytes(), "ä\\x9b"),
            (b"a\xffb", "a\\xffb"),
            ("a\u{202e}b".as_bytes(), "a\\u{202e}b"),
        ] {
            assert_eq!(Printable(OsStr::from_bytes(name)).to_string(), printed);
        }
    }

    #[test]
    fn names_that_are_not_utf_8_are_kept_byte_for_byte() {
        let name = OsStr::from_bytes(b"caf\xe9");
        let Class::Pipe(pipe) = classify(name) else { panic!("{:?}", classify(name)) };
        assert_eq!(pipe.as_os_str(), name);
        assert_eq!(pipe.policy_file().as_bytes(), b"caf\xe9.toml");
    }
}
