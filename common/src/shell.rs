//! How a path is written in a command that a message offers, so that it can be pasted into a shell.

use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A path as a shell takes it.
pub fn quoted(path: &Path) -> String {
    let bytes = path.as_os_str().as_bytes();
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-+:@%=,".contains(byte);
    match str::from_utf8(bytes) {
        Ok(text) if !text.is_empty() && bytes.iter().all(is_plain) && !text.starts_with('-') => text.to_owned(),
        Ok(text) if !text.contains(char::is_control) && !text.starts_with('-') => {
            format!("'{}'", text.replace('\'', r"'\''"))
        }
        _ => escaped(bytes),
    }
}

/// In the way of bash and the other large shells, for what has no printable form.
fn escaped(bytes: &[u8]) -> String {
    let mut text = String::from(if bytes.starts_with(b"-") { "./$'" } else { "$'" });
    for &byte in bytes {
        let _infallible = match byte {
            b'\'' | b'\\' => write!(text, "\\{}", char::from(byte)),
            b' '..=b'~' => write!(text, "{}", char::from(byte)),
            byte => write!(text, "\\x{byte:02x}"),
        };
    }
    text + "'"
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;

    #[test]
    fn a_path_reaches_the_shell_as_it_is() {
        for (path, expected) in [
            (&b"/run/standpipe/app.log"[..], "/run/standpipe/app.log"),
            (b"/run/a b", "'/run/a b'"),
            (b"it's", r"'it'\''s'"),
            ("größe".as_bytes(), "'größe'"),
            (b"a\nb", r"$'a\x0ab'"),
            (b"caf\xe9'", r"$'caf\xe9\''"),
            (b"-rf", "./$'-rf'"),
            (b"", "''"),
        ] {
            assert_eq!(quoted(Path::new(OsStr::from_bytes(path))), expected);
        }
    }
}
