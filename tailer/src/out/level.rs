//! Finds the level of a message.
//!
//! Where it is the first word (bare, in brackets or before a colon, if it is one of those that are known, whatever its
//! case) or stands before the time, it is taken out of the message. Further inside it is only seen, and only behind what
//! programs put before it: processes, threads, places in the source, names of loggers. So no word of a sentence is one.
//! In JSON and logfmt it is the field of that name. Letters, marks and numbers that stand for a level are given as words.

use crate::out::fields::{Field, fields};

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

/// Those that are words of sentences as well: they count in capitals, or in brackets.
const CAPITALS: [(&[u8], Gravity); 19] = [
    (b"log", Gravity::Info),
    (b"note", Gravity::Info),
    (b"system", Gravity::Info),
    (b"information", Gravity::Info),
    (b"success", Gravity::Info),
    (b"severe", Gravity::Error),
    (b"fail", Gravity::Error),
    (b"config", Gravity::Debug),
    (b"fine", Gravity::Debug),
    (b"finer", Gravity::Debug),
    (b"finest", Gravity::Debug),
    (b"verbose", Gravity::Debug),
    (b"inf", Gravity::Info),
    (b"wrn", Gravity::Warning),
    (b"wrng", Gravity::Warning),
    (b"dbg", Gravity::Debug),
    (b"trc", Gravity::Debug),
    (b"ftl", Gravity::Error),
    (b"emergency", Gravity::Error),
];

/// What letters stand for: glog, Android, `MongoDB`, Ruby.
const LETTERS: [(u8, &[u8], Gravity); 9] = [
    (b'I', b"INFO", Gravity::Info),
    (b'W', b"WARNING", Gravity::Warning),
    (b'E', b"ERROR", Gravity::Error),
    (b'F', b"FATAL", Gravity::Error),
    (b'D', b"DEBUG", Gravity::Debug),
    (b'V', b"VERBOSE", Gravity::Debug),
    (b'C', b"CRITICAL", Gravity::Error),
    (b'N', b"NOTICE", Gravity::Info),
    (b'A', b"ANY", Gravity::Info),
];

/// The marks of Redis.
const MARKS: [(u8, &[u8], Gravity); 4] = [
    (b'.', b"debug", Gravity::Debug),
    (b'-', b"verbose", Gravity::Debug),
    (b'*', b"notice", Gravity::Info),
    (b'#', b"warning", Gravity::Warning),
];

/// The numbers of syslog.
const SYSLOG: [(&[u8], Gravity); 8] = [
    (b"emerg", Gravity::Error),
    (b"alert", Gravity::Error),
    (b"crit", Gravity::Error),
    (b"err", Gravity::Error),
    (b"warning", Gravity::Warning),
    (b"notice", Gravity::Info),
    (b"info", Gravity::Info),
    (b"debug", Gravity::Debug),
];

/// Those of pino and bunyan, by tens.
const TENS: [(&[u8], Gravity); 6] = [
    (b"trace", Gravity::Debug),
    (b"debug", Gravity::Debug),
    (b"info", Gravity::Info),
    (b"warn", Gravity::Warning),
    (b"error", Gravity::Error),
    (b"fatal", Gravity::Error),
];

/// What a level is called in JSON and logfmt.
const NAMES: [&str; 11] = [
    "level",
    "severity",
    "lvl",
    "loglevel",
    "log.level",
    "@level",
    "@l",
    "levelname",
    "error_severity",
    "s",
    "priority",
];

/// Longest word that a field may have as its level.
const WORD_BYTES_MAX: usize = 16;
/// How much of a message is looked through.
const NEAR_BYTES_MAX: usize = 160;
/// How many things may stand before a level.
const THINGS_MAX: usize = 6;

/// A level of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Level<'a> {
    /// The word, as it is written, or that for which a letter, mark or number stands.
    pub word: &'a [u8],
    /// Where the message goes on: brackets, colon and blanks are passed. 0: it stays in the message.
    pub end: usize,
    /// It is all that stands before the time.
    pub is_before: bool,
    /// How grave it is.
    pub gravity: Gravity,
}

/// The level of a message, of which `before` stands before its time and `text` behind it.
pub fn find<'a>(before: &'a [u8], text: &'a [u8]) -> Option<Level<'a>> {
    let seen = |(word, gravity)| Level { word, end: 0, is_before: false, gravity };
    if !before.is_empty()
        && let Some(level) = find_before(before, text)
    {
        return Some(level);
    }
    first(text).or_else(|| of_fields(text).map(seen)).or_else(|| inside(text).map(seen))
}

/// Whether a letter stands for a level.
pub fn is_letter(byte: Option<u8>) -> bool {
    byte.is_some_and(|byte| letter(byte).is_some())
}

/// How long the level is that a line begins with before its time: `INFO:`, `INFO`, `I,`
pub fn word_before(text: &[u8]) -> Option<usize> {
    if is_letter(text.first().copied()) && text.get(1..4) == Some(b", [") {
        return Some(2);
    }
    let len = letters(text, 0);
    gravity(&text[..len], true)?;
    Some(len + usize::from(text.get(len) == Some(&b':')))
}

fn find_before<'a>(before: &'a [u8], text: &'a [u8]) -> Option<Level<'a>> {
    let trimmed = before.trim_ascii();
    let level = |(word, gravity), is_before| Level { word, end: 0, is_before, gravity };
    if let Some(word) = first(before) {
        return Some(Level { end: 0, is_before: word.end == before.len(), ..word });
    }
    // Redis: `123:M `, and the mark behind the time.
    let is_redis = before.ends_with(b" ") && before.first().is_some_and(u8::is_ascii_digit);
    if is_redis && text.get(1) == Some(&b' ') {
        let (_, word, gravity) = MARKS.iter().find(|(mark, ..)| *mark == text[0])?;
        return Some(Level { word, end: 2, is_before: false, gravity: *gravity });
    }
    match *trimmed {
        [byte] => letter(byte).map(|found| level(found, true)),
        [b'[', byte] | [b'[', b' ', byte] | [byte, b',', b' ', b'['] => letter(byte).map(|found| level(found, false)),
        [b'[', byte, b']'] => letter(byte).map(|found| level(found, true)),
        _ => None,
    }
}

/// The level that `text` begins with, behind blanks.
fn first(text: &[u8]) -> Option<Level<'_>> {
    let start = behind_blanks(text, 0);
    let is_bracketed = text.get(start) == Some(&b'[');
    let word_at = if is_bracketed { behind_blanks(text, start + 1) } else { start };
    let word = word_at..word_at + letters(text, word_at);
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
    let word = &text[word];
    let gravity = gravity(word, is_bracketed)?;
    Some(Level { word, end: behind_blanks(text, end), is_before: false, gravity })
}

/// A level behind what programs put before it.
fn inside(text: &[u8]) -> Option<(&[u8], Gravity)> {
    let text = &text[..text.len().min(NEAR_BYTES_MAX)];
    let mut at = 0;
    for _ in 0..THINGS_MAX {
        at = behind_separators(text, at);
        if let Some(found) = word_at(text, at).or_else(|| letter_at(text, at)) {
            return Some(found);
        }
        at = behind_thing(text, at)?;
    }
    None
}

/// A word further inside: in capitals, in brackets, or before a colon.
fn word_at(text: &[u8], at: usize) -> Option<(&[u8], Gravity)> {
    let rest = &text[at..];
    if rest.first() == Some(&b'[') {
        return bracketed(rest);
    }
    // Monolog: `app.INFO: `
    let name = rest.iter().take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')).count();
    let start = if rest.get(name) == Some(&b'.') && name > 0 { name + 1 } else { 0 };
    let word = &rest[start..start + letters(rest, start)];
    let behind = rest.get(start + word.len());
    let is_capital = !word.is_empty() && word.iter().all(u8::is_ascii_uppercase);
    let is_word = match behind {
        Some(b':') => true,
        None | Some(b' ' | b'\t' | b'|' | b'/' | b'[' | b',' | b']') => is_capital,
        // PostgreSQL: `DEBUG1: `
        Some(b'1'..=b'5') => word == b"DEBUG",
        Some(_) => false,
    };
    if is_word { Some((word, gravity(word, false)?)) } else { None }
}

/// `[INFO ]`, and Apache's `[core:notice]`
fn bracketed(rest: &[u8]) -> Option<(&[u8], Gravity)> {
    let close = rest.iter().position(|byte| *byte == b']')?;
    let inner = rest[1..close].trim_ascii();
    let word = inner.iter().rposition(|byte| *byte == b':').map_or(inner, |colon| &inner[colon + 1..]);
    let is_word = word.len() <= WORD_BYTES_MAX && word.iter().all(u8::is_ascii_alphabetic);
    if is_word { Some((word, gravity(word, true)?)) } else { None }
}

/// `MongoDB`: `I NETWORK  [conn1]`; Android, behind numbers: `I ActivityManager: `
fn letter_at(text: &[u8], at: usize) -> Option<(&[u8], Gravity)> {
    let found = letter(*text.get(at)?).filter(|_| text.get(at + 1) == Some(&b' '))?;
    let component = behind_blanks(text, at + 1);
    let rest = &text[component..];
    let len = rest.iter().take_while(|byte| byte.is_ascii_uppercase() || **byte == b'-').count();
    let is_mongo = len > 0 && rest[len..].trim_ascii_start().starts_with(b"[") && rest.get(len) == Some(&b' ');
    let tag = rest.iter().position(|byte| *byte == b':' || *byte == b' ');
    let is_android = at > 0 && tag.is_some_and(|tag| tag > 0 && rest[tag] == b':');
    (is_mongo || is_android).then_some(found)
}

/// The place behind a process, a thread, a place in the source, or the name of a logger.
fn behind_thing(text: &[u8], at: usize) -> Option<usize> {
    let rest = text.get(at..).filter(|rest| !rest.is_empty())?;
    let closer = match rest[0] {
        b'[' => b']',
        b'(' => b')',
        b'{' => b'}',
        b'<' => b'>',
        _ => 0,
    };
    if closer != 0 {
        return rest.iter().position(|byte| *byte == closer).map(|len| at + len + 1);
    }
    let len = rest.iter().position(|byte| matches!(byte, b' ' | b'\t')).unwrap_or(rest.len());
    let token = &rest[..len];
    let behind = rest[len..].trim_ascii_start();
    let is_number = token[0].is_ascii_digit() || token[0] == b'#';
    let is_process = token.contains(&b'[') || token.contains(&b'@');
    let is_name = behind.starts_with(b"- ") || behind.starts_with(b"| ");
    let has_process = behind.first() == Some(&b'[') && behind.get(1).is_some_and(u8::is_ascii_digit);
    (is_number || is_process || is_name || has_process).then_some(at + len)
}

fn behind_separators(text: &[u8], at: usize) -> usize {
    at + text[at..].iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'-' | b'|' | b':' | b',' | b']')).count()
}

/// Of the field that says it.
fn of_fields(text: &[u8]) -> Option<(&[u8], Gravity)> {
    fields(text).filter(|field| field.is_called(&NAMES)).find_map(of_field)
}

fn of_field(field: Field<'_>) -> Option<(&[u8], Gravity)> {
    let value = field.value;
    if let Some(number) = str::from_utf8(value).ok().and_then(|text| text.parse::<usize>().ok()) {
        let tens = (number / 10).checked_sub(1).and_then(|ten| TENS.get(ten));
        return if number < 10 { SYSLOG.get(number) } else { tens }.copied();
    }
    if let [byte] | [byte, b'1'..=b'5'] = value {
        return letter(*byte);
    }
    let is_word = !value.is_empty() && value.len() <= WORD_BYTES_MAX && value.iter().all(u8::is_ascii_alphanumeric);
    is_word.then(|| (value, gravity(value, true).unwrap_or(Gravity::Info)))
}

fn letter(byte: u8) -> Option<(&'static [u8], Gravity)> {
    LETTERS.iter().find(|(letter, ..)| *letter == byte).map(|(_, word, gravity)| (*word, *gravity))
}

/// `is_certain`: it stands where only a level does.
fn gravity(word: &[u8], is_certain: bool) -> Option<Gravity> {
    let of = |words: &[(&[u8], Gravity)]| {
        words.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)).map(|(_, gravity)| *gravity)
    };
    of(&WORDS).or_else(|| of(&CAPITALS).filter(|_| is_certain || word.iter().all(u8::is_ascii_uppercase)))
}

/// How many letters stand there.
fn letters(text: &[u8], at: usize) -> usize {
    text[at.min(text.len())..].iter().take(12).take_while(|byte| byte.is_ascii_alphabetic()).count()
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
            ("[info     ] event", "info", "event"),
            ("[System] x", "System", "x"),
            ("SEVERE: x", "SEVERE", "x"),
            ("[INFO]: x", "INFO", "x"),
            ("ERROR:root:x", "ERROR", "root:x"),
            ("fatal: x", "fatal", "x"),
            ("debug", "debug", ""),
            ("CRITICAL x", "CRITICAL", "x"),
        ] {
            let level = find(b"", text.as_bytes()).unwrap_or_else(|| panic!("{text}"));
            assert_eq!((level.word, &text[level.end..]), (word.as_bytes(), rest), "{text}");
        }
        for name in "trace debug info notice warn warning err error crit critical alert emerg fatal panic".split(' ') {
            assert!(find(b"", name.as_bytes()).is_some(), "{name}");
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
            assert_eq!(find(b"", text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn further_inside_it_is_seen_and_stays() {
        for (text, word) in [
            ("[12] LOG:  x", "LOG"),
            ("[12] user@db ERROR:  x", "ERROR"),
            ("[12] DEBUG1:  x", "DEBUG"),
            ("0 [Warning] [MY-010068] [Server] x", "Warning"),
            ("0 [Note] x", "Note"),
            ("- app - ERROR - x", "ERROR"),
            ("app - WARNING - x", "WARNING"),
            ("12#0: [warn] x", "warn"),
            ("[core:notice] [pid 1] x", "notice"),
            ("[proxy_fcgi:error] [pid 1:tid 2] x", "error"),
            ("[12] [INFO] Starting", "INFO"),
            ("[main] INFO  x", "INFO"),
            ("1234 INFO nova.x [-] x", "INFO"),
            ("{file.py:1} INFO - x", "INFO"),
            ("| INFO     | m:f:1 - x", "INFO"),
            (":WARN:oejs.Server:main: x", "WARN"),
            ("local.ERROR: x", "ERROR"),
            ("NOTICE[123] x", "NOTICE"),
            ("fail2ban.actions        [1]: NOTICE  [sshd] x", "NOTICE"),
            ("unbound[123:0] info: x", "info"),
            ("[1][info][main] x", "info"),
            ("#123]  INFO -- : x", "INFO"),
            ("- INFO - x", "INFO"),
            (": INFO/MainProcess] x", "INFO"),
            ("I NETWORK  [conn1] x", "INFO"),
            ("W -        [main] x", "WARNING"),
            ("1234  5678 E Tag: x", "ERROR"),
            (r#"{"level":"warn","msg":"x"}"#, "warn"),
            (r#"{"msg":"level","level":50}"#, "error"),
            (r#"{"level":10}"#, "trace"),
            (r#"{"t":{"$date":"x"},"s":"W"}"#, "WARNING"),
            (r#"{"PRIORITY":"3"}"#, "err"),
            ("time=x level=error msg=\"y z\"", "error"),
        ] {
            let level = find(b"", text.as_bytes()).unwrap_or_else(|| panic!("{text}"));
            assert_eq!((str::from_utf8(level.word).unwrap(), level.end), (word, 0), "{text}");
        }
    }

    #[test]
    fn one_before_the_time_is_taken_out_if_it_is_alone() {
        for (before, text, word, is_before, end) in [
            ("I", "1 main.go:1] x", "INFO", true, 0),
            ("W", "1 main.go:1] x", "WARNING", true, 0),
            ("INFO:     ", "x", "INFO", true, 0),
            ("[ERROR] ", "x", "ERROR", true, 0),
            ("INFO  [main] ", "x", "INFO", false, 0),
            ("I, [", "#12]  INFO -- : x", "INFO", false, 0),
            ("[E ", "ServerApp] x", "ERROR", false, 0),
            ("123:M ", "# x", "warning", false, 2),
            ("123:M ", "* x", "notice", false, 2),
        ] {
            let level = find(before.as_bytes(), text.as_bytes()).unwrap_or_else(|| panic!("{before}"));
            let found = (str::from_utf8(level.word).unwrap(), level.is_before, level.end);
            assert_eq!(found, (word, is_before, end), "{before}");
        }
        assert_eq!(find(b"<34>", b"x"), None);
    }

    #[test]
    fn words_of_a_sentence_are_no_levels() {
        for text in [
            "12 errors found",
            "5 error messages",
            "host app[1]: an error occurred",
            "Fine weather",
            "log rotated",
            "Note that",
            "config loaded",
            "A big test",
            "I am here",
            "[12] in error",
            "(x) see info",
        ] {
            assert_eq!(find(b"", text.as_bytes()), None, "{text}");
        }
    }
}
