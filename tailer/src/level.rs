//! Finds the level that a message begins with.
//!
//! It is the first word, bare, in brackets or before a colon, if it is one of those that are known, whatever its case.
//! Not here: levels further inside a line, and priorities of syslog.

use std::ops::Range;

/// How grave a level is, for colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gravity {
    /// For who wrote the program.
    Debug,
    /// Ordinary.
    Info,
    /// Somebody should look.
    Warning,
    /// Something failed.
    Error,
}

const WORDS: [(&[u8], Gravity); 14] = [
    (b"info", Gravity::Info),
    (b"warn", Gravity::Warning),
    (b"error", Gravity::Error),
    (b"debug", Gravity::Debug),
    (b"warning", Gravity::Warning),
    (b"notice", Gravity::Info),
    (b"trace", Gravity::Debug),
    (b"err", Gravity::Error),
    (b"crit", Gravity::Error),
    (b"critical", Gravity::Error),
    (b"alert", Gravity::Error),
    (b"emerg", Gravity::Error),
    (b"fatal", Gravity::Error),
    (b"panic", Gravity::Error),
];

/// A level in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Level {
    /// The word, as it is written.
    pub word: Range<usize>,
    /// Where the message goes on: brackets, colon and blanks are passed.
    pub end: usize,
    /// How grave it is.
    pub gravity: Gravity,
}

/// The level that `text` begins with, behind blanks.
pub fn find(text: &[u8]) -> Option<Level> {
    let start = behind_blanks(text, 0);
    let is_bracketed = text.get(start) == Some(&b'[');
    let word_at = if is_bracketed { behind_blanks(text, start + 1) } else { start };
    let letters = text[word_at..].iter().take(9).take_while(|byte| byte.is_ascii_alphabetic()).count();
    let word = word_at..word_at + letters;
    let mut end = word.end;
    if is_bracketed {
        end = behind_blanks(text, end);
        if text.get(end) != Some(&b']') {
            return None;
        }
        end += 1;
    }
    match text.get(end) {
        Some(b':') => end += 1,
        None | Some(b' ' | b'\t') => {}
        Some(_) if is_bracketed => {}
        Some(_) => return None,
    }
    let gravity = gravity(&text[word.clone()])?;
    Some(Level { word, end: behind_blanks(text, end), gravity })
}

fn gravity(word: &[u8]) -> Option<Gravity> {
    WORDS.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)).map(|(_, gravity)| *gravity)
}

fn behind_blanks(text: &[u8], at: usize) -> usize {
    at + text[at..].iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_the_first_word() {
        for (text, word, rest) in [
            ("INFO started", "INFO", "started"),
            (" Warn  padded", "Warn", "padded"),
            ("[error] 12#0: *1 open()", "error", "12#0: *1 open()"),
            ("[ WARN ]x", "WARN", "x"),
            ("[INFO]: x", "INFO", "x"),
            ("ERROR:root:x", "ERROR", "root:x"),
            ("fatal: x", "fatal", "x"),
            ("debug", "debug", ""),
            ("CRITICAL x", "CRITICAL", "x"),
        ] {
            let level = find(text.as_bytes()).unwrap_or_else(|| panic!("{text}"));
            assert_eq!((&text[level.word], &text[level.end..]), (word, rest), "{text}");
        }
        for name in "trace debug info notice warn warning err error crit critical alert emerg fatal panic".split(' ') {
            assert!(find(name.as_bytes()).is_some(), "{name}");
        }
    }

    #[test]
    fn other_words_are_none() {
        for text in [
            "",
            " ",
            "[",
            "[]",
            "[info",
            "info, x",
            "information",
            "infos x",
            "GET /",
            "host INFO x",
            "info-x",
            "[a b]",
        ] {
            assert_eq!(find(text.as_bytes()), None, "{text}");
        }
    }
}
