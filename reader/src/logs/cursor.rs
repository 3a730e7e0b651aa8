//! Where reading got to, kept in a file or handed on as a text: one line of JSON.
//!
//! ```text
//! {"standpipe_cursor":1,"pipes":{"app":{"part":"2026-11-28T10-00-00.000000Z","offset":1234}}}
//! ```
//! A place is told by its part and by the raw bytes before it, so it is the same before and after archiving.
//!
//! Invariant: a file is replaced as a whole, and only one that is ours or empty.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use standpipe_common::error::{Cannot, Error, Result};

const VERSION: u32 = 1;

/// Places in the logs of pipes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    standpipe_cursor: u32,
    /// By the name of the pipe.
    pub pipes: BTreeMap<String, KeptPlace>,
}

/// A place in the log of a pipe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptPlace {
    /// The stem of the part.
    pub part: String,
    /// Raw bytes of the part before it.
    pub offset: u64,
}

impl Default for Cursor {
    fn default() -> Cursor {
        Cursor { standpipe_cursor: VERSION, pipes: BTreeMap::new() }
    }
}

impl Cursor {
    /// Reads a cursor as it was printed. The error says what is wrong with it.
    pub fn parse(text: &str) -> std::result::Result<Cursor, String> {
        let cursor: Cursor =
            serde_json::from_str(text.trim()).map_err(|_| "not a cursor that --show-cursor printed".to_owned())?;
        match cursor.standpipe_cursor {
            VERSION => Ok(cursor),
            other => Err(format!("a cursor of version {other}; this reader knows {VERSION}")),
        }
    }

    /// As it is printed.
    pub fn text(&self) -> String {
        serde_json::to_string(self).expect("strings and numbers")
    }

    /// Reads the file. `None`: it is not there, or empty.
    ///
    /// # Errors
    /// It cannot be read, or is something else.
    pub fn read(path: &Path) -> Result<Option<Cursor>> {
        match fs::read_to_string(path) {
            Ok(text) if text.is_empty() => Ok(None),
            Ok(text) => Cursor::parse(&text).map(Some).map_err(|cause| Error::because("use cursor file", path, cause)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) if error.kind() == ErrorKind::InvalidData => {
                Err(Error::because("use cursor file", path, "not a cursor that --show-cursor printed"))
            }
            Err(error) => Err(error).cannot("read cursor file", path),
        }
    }

    /// Replaces the file. Whoever reads it meanwhile reads one or the other.
    pub fn write(&self, path: &Path) -> Result<()> {
        let fresh = fresh_name(path);
        let mut file = fs::File::create(&fresh).cannot("write cursor file", &fresh)?;
        let written = file.write_all((self.text() + "\n").as_bytes()).and_then(|()| fs::rename(&fresh, path));
        written.inspect_err(|_| drop(fs::remove_file(&fresh))).cannot("write cursor file", path)
    }
}

fn fresh_name(path: &Path) -> PathBuf {
    let mut name = OsString::from(path.as_os_str());
    name.push(".new");
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_as_it_was() {
        let mut cursor = Cursor::default();
        cursor
            .pipes
            .insert("app".to_owned(), KeptPlace { part: "2026-11-28T10-00-00.000000Z".to_owned(), offset: 1234 });
        let text = r#"{"standpipe_cursor":1,"pipes":{"app":{"part":"2026-11-28T10-00-00.000000Z","offset":1234}}}"#;
        assert_eq!(cursor.text(), text);
        assert_eq!(Cursor::parse(&format!("{text}\n")), Ok(cursor));
        assert!(Cursor::parse(&text.replace(":1,", ":2,")).unwrap_err().contains("version 2"));
        assert!(Cursor::parse("s=abc;i=1").is_err());
    }

    #[test]
    fn a_file_that_is_no_cursor_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cursor");
        assert_eq!(Cursor::read(&path).unwrap(), None);
        fs::write(&path, "").unwrap();
        assert_eq!(Cursor::read(&path).unwrap(), None);
        Cursor::default().write(&path).unwrap();
        assert_eq!(Cursor::read(&path).unwrap(), Some(Cursor::default()));
        fs::write(&path, "notes").unwrap();
        assert!(Cursor::read(&path).is_err());
    }
}
