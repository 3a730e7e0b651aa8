//! How a path is spelled in JSON, whose strings are Unicode while paths are any bytes but NUL.
//!
//! A path that is UTF-8 stands as it is. Any other, and one that itself begins with `bytes:`, is `bytes:` and its
//! bytes, of which `%` and all that is not printable ASCII are `%` and two hexadecimal digits. So different paths have
//! different spellings, and each leads back to its path.

use std::borrow::Cow;
use std::ffi::OsString;
use std::fmt::Write;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

const ESCAPED: &str = "bytes:";

/// The spelling of a path.
pub(super) fn of(path: &Path) -> Cow<'_, str> {
    if let Some(text) = path.to_str().filter(|text| !text.starts_with(ESCAPED)) {
        return Cow::Borrowed(text);
    }
    let mut text = ESCAPED.to_owned();
    for &byte in path.as_os_str().as_bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => text.push(char::from(byte)),
            // A String takes all that is written to it.
            _ => write!(text, "%{byte:02X}").unwrap_or_default(),
        }
    }
    Cow::Owned(text)
}

/// The path so spelled. `None`: `bytes:` with a `%` that is not followed by two digits.
pub(super) fn path(text: &str) -> Option<PathBuf> {
    let Some(escaped) = text.strip_prefix(ESCAPED) else { return Some(PathBuf::from(text)) };
    let mut rest = escaped.as_bytes();
    let mut bytes = Vec::with_capacity(rest.len());
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        if byte == b'%' {
            let (digits, behind) = rest.split_at_checked(2)?;
            rest = behind;
            bytes.push(digit(digits[0])? << 4 | digit(digits[1])?);
        } else {
            bytes.push(byte);
        }
    }
    Some(PathBuf::from(OsString::from_vec(bytes)))
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_read_back_as_it_was() {
        let cases: [(&[u8], &str); 8] = [
            (b"/var/log/app.log", "/var/log/app.log"),
            ("/var/log/käse.log".as_bytes(), "/var/log/käse.log"),
            (b"/100%41.log", "/100%41.log"),
            (b"/caf\xe9 \"1\".log", "bytes:/caf%E9 \"1\".log"),
            (b"/\xff%\n\xc3\xa4", "bytes:/%FF%25%0A%C3%A4"),
            (b"bytes:/x", "bytes:bytes:/x"),
            (b"bytes:%zz", "bytes:bytes:%25zz"),
            (b"", ""),
        ];
        for (bytes, spelling) in cases {
            let original = PathBuf::from(OsString::from_vec(bytes.to_vec()));
            assert_eq!(of(&original), spelling);
            assert_eq!(path(spelling), Some(original), "{spelling}");
        }
    }

    #[test]
    fn what_nothing_is_spelled_like_is_refused() {
        for text in ["bytes:%", "bytes:/a%4", "bytes:%G0", "bytes:%+1"] {
            assert_eq!(path(text), None, "{text}");
        }
    }
}
