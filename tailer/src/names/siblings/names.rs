//! Which names a rotator gives to what was the live file, and in which order it gave them. Pure.
//!
//! | form | who |
//! |---|---|
//! | `app.log.1` | logrotate, Python `RotatingFileHandler`, log4j, Docker, savelog, newsyslog |
//! | `app.log-20261121`, `-2026112117`, `-20261121-1793293200`, `-1793293200`, `app.log20261121` | logrotate `dateext`, `dateformat` |
//! | `app.log-20261121-2026112117.backup` | logrotate, where the name was taken |
//! | `app.log.2026-11-21`, `app.log.2026-11-21_10-00`, `app.log.2026-11-21.1` | log4j, Python `TimedRotatingFileHandler`, logback, winston |
//! | `0.log.20261121-101112` | kubelet |
//! | `app-20261121.log`, `app20261121_001.log`, `app.1.log` | logrotate `extension`, Serilog, logback |
//! | `app-2026-11-21-1.log`, `app-11-21-2026.log`, `app-2026-11-21.log.1` | log4j, logback, winston |
//! | `app-2026-11-21T10-00-00.000.log`, `app-2026-11-21T10-00-00.000-size.log` | lumberjack, timberjack |
//! | `app__2026-11-21_10-00-00.log` | pm2-logrotate |
//! | `20261121-1000-01-app.log` | rotating-file-stream |
//! | `@400000006921e3f41d8a2b3c.s` beside `current` | svlogd, s6-log, multilog |
//! | `app.log.old` | Xorg, samba |
//!
//! Each may be packed (see [`Packing`]). Not among them: `app-1.log`, which is as often the live file of another
//! process; `app.log.bak`, which people make; and what compressors and editors have in the works. For these there are
//! the configured names; and what was read already is known under any name, by what it is and by what it holds.

use std::cmp::Reverse;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use crate::file::packed::Packing;

/// What svlogd, s6-log and multilog write to.
const CURRENT: &str = "current";
/// What the labels of these years begin with.
const TAI: [&str; 1] = ["@4"];
/// What a name begins with that has a date first.
const YEARS: [&str; 3] = ["19", "20", "21"];

/// Where a generation stands by its name alone, oldest first: to be asked only where birth times say nothing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// The name does not tell.
    Unknown,
    /// By date, and by a count that grows after it: year, month, day, …
    Dated(Vec<u64>),
    /// By number: 1 is the newest.
    Numbered(Reverse<u64>),
    /// There is only one.
    Old,
}

/// Whether `candidate` is the name of a rotated generation of the file with the name `live`, beside it.
pub fn is_rotation_of(live: &OsStr, candidate: &OsStr) -> bool {
    rank(live, candidate).is_some()
}

/// Where `candidate` stands among the rotated generations of `live`. `None`: it is none.
pub fn rank(live: &OsStr, candidate: &OsStr) -> Option<Rank> {
    // The beginning decides nearly always, and costs nothing.
    if !candidate.as_bytes().starts_with(stem(live).as_bytes()) {
        return before_the_name(live, candidate);
    }
    if candidate == stem(live) {
        return None;
    }
    let plain = Packing::of(candidate).map(|(plain, _)| plain);
    let name = plain.unwrap_or(candidate).as_bytes();
    if let Some(suffix) = name.strip_prefix(live.as_bytes()) {
        // The packed live name itself is what `gzip app.log` leaves.
        return if suffix.is_empty() { plain.map(|_| Rank::Old) } else { after_the_name(suffix) };
    }
    let (stem, extension) = split(live.as_bytes());
    within_the_name(name.strip_prefix(stem)?, extension)
}

/// What the names of rotated generations of `live` can begin with, where no date is.
pub fn beginnings(live: &OsStr) -> impl Iterator<Item = &OsStr> {
    let tai = TAI.into_iter().filter(move |_| live == CURRENT);
    std::iter::once(stem(live)).chain(tai.map(OsStr::new))
}

/// Whether rotated generations of `live` may have a date before that name.
pub fn may_be_dated_before(live: &OsStr) -> bool {
    live != CURRENT && !begins_with_year(live)
}

/// Whether a name may have a date first.
pub fn begins_with_year(name: &OsStr) -> bool {
    YEARS.iter().any(|year| name.as_bytes().starts_with(year.as_bytes()))
}

/// What the names of nearly all rotated generations of `live` begin with: the name up to its last dot.
pub fn stem(live: &OsStr) -> &OsStr {
    OsStr::from_bytes(split(live.as_bytes()).0)
}

fn split(live: &[u8]) -> (&[u8], &[u8]) {
    match live.iter().rposition(|byte| *byte == b'.') {
        Some(dot) if dot > 0 => live.split_at(dot),
        _ => (live, b""),
    }
}

/// `app.log` + suffix.
fn after_the_name(suffix: &[u8]) -> Option<Rank> {
    if suffix == b".old" {
        return Some(Rank::Old);
    }
    let suffix = suffix.strip_suffix(b".backup").unwrap_or(suffix);
    numbered(suffix).or_else(|| dated(suffix))
}

/// `app` + inset + `.log`, and then perhaps a number that grows.
fn within_the_name(rest: &[u8], extension: &[u8]) -> Option<Rank> {
    if let Some(inset) = rest.strip_suffix(extension) {
        return numbered(inset).or_else(|| dated(inset));
    }
    let dot = rest.iter().rposition(|byte| *byte == b'.')?;
    let count = number(&rest[dot + 1..])?;
    let Rank::Dated(mut date) = dated(rest[..dot].strip_suffix(extension)?)? else { return None };
    date.push(count);
    Some(Rank::Dated(date))
}

/// A date, times and counts before the name; or a TAI64N label beside `current`.
fn before_the_name(live: &OsStr, candidate: &OsStr) -> Option<Rank> {
    if live == CURRENT {
        return labelled(candidate.as_bytes());
    }
    if !begins_with_year(candidate) || begins_with_year(live) {
        return None;
    }
    let name = Packing::unpacked(candidate).as_bytes();
    let (separator, label) = name.strip_suffix(live.as_bytes())?.split_last()?;
    is_separator(*separator).then(|| date(label, true)).flatten()
}

/// `@` and 24 hexadecimal digits, then what says how whole it is: `.s` safely written, `.u` perhaps not.
fn labelled(name: &[u8]) -> Option<Rank> {
    let label = name.strip_prefix(b"@")?;
    let digits = label.strip_suffix(b".s").or(label.strip_suffix(b".u")).filter(|digits| digits.len() == 24)?;
    let digits = std::str::from_utf8(digits).ok().filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))?;
    let part = |range: std::ops::Range<usize>| u64::from_str_radix(&digits[range], 16).ok();
    Some(Rank::Dated(vec![part(0..16)?, part(16..24)?]))
}

/// `.N`, of up to five digits.
fn numbered(suffix: &[u8]) -> Option<Rank> {
    let digits = suffix.strip_prefix(b".").filter(|digits| digits.len() <= 5)?;
    number(digits).map(|number| Rank::Numbered(Reverse(number)))
}

/// A separator and a date; a date that is one number needs no separator.
fn dated(suffix: &[u8]) -> Option<Rank> {
    let begin = if suffix.starts_with(b"__") { 2 } else { usize::from(is_separator(*suffix.first()?)) };
    date(&suffix[begin..], begin > 0)
}

/// A date, times and counts with separators between them, then perhaps the reason of the rotation.
pub(super) fn date(text: &[u8], is_separated: bool) -> Option<Rank> {
    let mut groups: Vec<&[u8]> = text.split(|byte| is_separator(*byte) || matches!(byte, b':' | b'T')).collect();
    // Only behind a time to the second: `app-2026-11-21-error.log` is another log.
    let is_word = |group: &&[u8]| group.len() > 1 && group.iter().all(u8::is_ascii_lowercase);
    if groups.len() > 6 && groups.last().is_some_and(is_word) {
        groups.pop();
    }
    let numbers: Vec<u64> = groups.iter().map(|digits| number(digits)).collect::<Option<_>>()?;
    let lengths: Vec<usize> = groups.iter().map(|digits| digits.len()).collect();
    let year_of = |digits: &[u8]| number(digits).filter(|year| is_year(*year));
    let (mut date, after) = match lengths[..] {
        [8 | 10 | 12 | 14, ..] if year_of(&groups[0][..4]).is_some() => (compact(groups[0]), 1),
        // Seconds or milliseconds since the epoch, of this century.
        [10 | 13, ..] => (vec![numbers[0]], 1),
        _ if !is_separated => return None,
        [4, 2, 2, ..] => (numbers[..3].to_vec(), 3),
        [4, 2, ..] => (numbers[..2].to_vec(), 2),
        // Month or day first, nobody knows: the year counts before both.
        [2, 2, 4, ..] => (vec![numbers[2], numbers[0], numbers[1]], 3),
        [8, ..] => (vec![year_of(&groups[0][4..])?, number(&groups[0][..2])?, number(&groups[0][2..4])?], 1),
        _ => return None,
    };
    let is_date = date.len() == 1 || (is_year(date[0]) && date[1] <= 31);
    date.extend(&numbers[after..]);
    is_date.then_some(Rank::Dated(date))
}

/// `20261121…` as year, month, day, and further pairs.
fn compact(digits: &[u8]) -> Vec<u64> {
    let (year, pairs) = digits.split_at(4);
    [year].into_iter().chain(pairs.chunks(2)).filter_map(number).collect()
}

pub(super) fn is_separator(byte: u8) -> bool {
    matches!(byte, b'-' | b'.' | b'_')
}

fn is_year(number: u64) -> bool {
    (1970..2200).contains(&number)
}

/// Digits and nothing else.
pub(super) fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 18 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(digits.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_rotators_give_and_others() {
        let cases = [
            ("app.log", "app.log.1", true),
            ("app.log", "app.log.0", true),
            ("app.log", "app.log.12345.gz", true),
            ("app.log", "app.log-20261121", true),
            ("app.log", "app.log-2026112117.zst", true),
            ("app.log", "app.log-20261121-1793293200", true),
            ("app.log", "app.log-1793293200.xz", true),
            ("app.log", "app.log-20261121171500", true),
            ("app.log", "app.log-2026112102.1", true),
            ("app.log", "app.log-20261121-2026112117.backup", true),
            ("app.log", "app.log.2026-11-21", true),
            ("app.log", "app.log.2026-11-21_10-00", true),
            ("app.log", "app.log.2026-11-21T10:00:01.250", true),
            ("app.log", "app.log.2026-11-21.1.bz2", true),
            ("app.log", "app.log.2026-11", true),
            ("0.log", "0.log.20261121-101112", true),
            ("0.log", "0.log.20261121-101112.gz", true),
            ("app.log", "app-20261121.log", true),
            ("app.log", "app-20261121.log.gz", true),
            ("app.log", "app.1.log", true),
            ("app.log", "app-2026-11-21-1.log", true),
            ("app.log", "app-11-21-2026.log.gz", true),
            ("app.log", "app.log.old", true),
            ("app.log", "app.log.gz", true),
            ("app.log", "app.log20261121", true),
            ("app.log", "app.log20261121.gz", true),
            ("app.log", "app.log1793293200", true),
            ("app.log", "app.log-21112026", true),
            ("app.log", "app20261121.log", true),
            ("app.log", "app20261121_001.log", true),
            ("app.log", "app-2026-11-21T10-00-00.000.log", true),
            ("app.log", "app-2026-11-21T10-00-00.000.log.gz", true),
            ("app.log", "app-2026-11-21T10-00-00.000-size.log", true),
            ("app.log", "app-2026-11-21T10-00-00.000-time.log.zst", true),
            ("app.log", "app.log-2026-11-21T10-00-00.000-size", true),
            ("app-out.log", "app-out__2026-11-21_10-00-00.log", true),
            ("app-out.log", "app-out__2026-11-21_10-00-00.log.gz", true),
            ("app.log", "app-2026-11-21.log.1", true),
            ("app.log", "app-2026-11-21.log.12.gz", true),
            ("app.log", "app.2021-10-19_17-42-14_757655.log", true),
            ("app.log", "20261121-1000-01-app.log", true),
            ("app.log", "20261121-1000-01-app.log.gz", true),
            ("app.log", "2026-11-21-app.log", true),
            ("current", "@400000006921e3f41d8a2b3c.s", true),
            ("current", "@400000006921e3f41d8a2b3c.u", true),
            ("current", "@400000006921e3f41d8a2b3c.t", false),
            ("current", "@400000006921e3f4.s", false),
            ("current", "previous", false),
            ("app.log", "@400000006921e3f41d8a2b3c.s", false),
            ("app.log", "app-2026-11-21-error.log", false),
            ("app.log", "app-error-2026-11-21.log", false),
            ("app.log", "app-2026-11-21T10-00-00.000-s.log", false),
            ("app.log", "20261121-1000-01-myapp.log", false),
            ("app.log", "20261121app.log", false),
            ("2026-11-21.log", "2026-11-20-2026-11-21.log", false),
            ("app.log", "app.log2", false),
            ("messages", "messages.1", true),
            ("messages", "messages-20261121", true),
            (".hidden", ".hidden.1", true),
            ("app.log", "app.log", false),
            ("app.log", "app.log1", false),
            ("app.log", "app.log.", false),
            ("app.log", "app.log.1.gz.tmp", false),
            ("app.log", "app.log.1.tmp", false),
            ("app.log", "app.log.1~", false),
            ("app.log", ".app.log.1.swp", false),
            ("app.log", "app.log.bak", false),
            ("app.log", "app.log.1.bak", false),
            ("app.log", "app.log.dpkg-old", false),
            ("app.log", "app.log.123456", false),
            ("app.log", "app.log-99991121", false),
            ("app.log", "app.log-12", false),
            ("app.log", "app-1.log", false),
            ("app.log", "app2.log", false),
            ("app.log", "app2-20261121.log", false),
            ("app.log", "application.log.1", false),
            ("app.log", "app.logs.1", false),
            ("app.log", "myapp.log.1", false),
            ("worker-1.log", "worker-10.log", false),
            ("worker-1.log", "worker-1.log.1", true),
            ("worker.log", "worker-1.log.1", false),
            ("app.log", "app", false),
            ("app.log", "app.", false),
            ("app.log", ".log", false),
        ];
        for (live, candidate, expected) in cases {
            assert_eq!(is_rotation_of(OsStr::new(live), OsStr::new(candidate)), expected, "{live} {candidate}");
        }
    }

    #[test]
    fn names_in_the_order_in_which_they_were_given() {
        for order in [
            &["app.log.10", "app.log.9.gz", "app.log.2", "app.log.1", "app.log.0"][..],
            &["app.log-20251231", "app.log-20261121", "app.log-20261121.1", "app.log-2026112117", "app.log-20261122"],
            &["app.log.2026-11-20_23-00", "app.log.2026-11-21", "app.log-20261121.1", "app.log.2026-11-21_10-00"],
            &["app-12-31-2025.log", "app-11-21-2026.log", "app-11-21-2026-1.log", "app-2026-12-01.log"],
            &["app.log-1793293200", "app.log-1793293201"],
            &["app-2026-11-21.log", "app-2026-11-21.log.1", "app-2026-11-21.log.10", "app-2026-11-22.log"],
            &["app-2026-11-21T10-00-00.000-size.log", "app-2026-11-21T10-00-00.001-time.log"],
            &["20261121-1000-01-app.log", "20261121-1000-02-app.log", "20261121-1001-01-app.log"],
            &["app.log-20261121", "app.log.2", "app.log.1", "app.log.old"],
        ] {
            let ranks: Vec<Rank> =
                order.iter().map(|name| rank(OsStr::new("app.log"), OsStr::new(name)).unwrap()).collect();
            assert!(ranks.is_sorted(), "{order:?} {ranks:?}");
            assert!(ranks.windows(2).all(|pair| pair[0] != pair[1]), "{order:?} {ranks:?}");
        }
    }
}
