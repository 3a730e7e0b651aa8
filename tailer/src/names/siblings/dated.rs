//! The files that came before the one that a link leads to, where the path of that has a date: `current.log` leads to
//! `app-2026-11-24.log` (winston, Serilog) or to `2026/11/24/app.log` (cronolog), and the days before stand beside it.
//!
//! What differs is the date alone, in the name or in the directories above it. Pure, but for [`Dated::dirs`].

use std::ffi::OsStr;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::directories::Directories;
use super::names::{Rank, date, is_separator, number};
use crate::file::packed::Packing;

/// So many directories before that of the live file are looked into, the newest: a season of days, four days of hours.
const DIRS_MAX: usize = 100;

/// A path with a date.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Dated {
    path: PathBuf,
    /// Where in it the date stands.
    date: Range<usize>,
    /// What stands behind it, but for a count at the end.
    ending: Vec<u8>,
    rank: Rank,
}

impl Dated {
    /// Of the file at `path`, by the last date in it.
    pub(super) fn of(path: &Path) -> Option<Dated> {
        let bytes = path.as_os_str().as_bytes();
        let mut end = bytes.len();
        while let Some(last) = bytes[..end].iter().rposition(u8::is_ascii_digit) {
            let start = bytes[..last].iter().rposition(|byte| !may_be_in_date(*byte)).map_or(0, |before| before + 1);
            if let Some(date) = longest_date(bytes, start..last + 1) {
                let whole = &bytes[date.end..];
                let ending = counted(whole).map_or(whole, |(ending, _)| ending).to_vec();
                let rank = rank(&bytes[date.start..], &ending)?;
                return Some(Dated { path: path.to_path_buf(), date, ending, rank });
            }
            end = start;
        }
        None
    }

    /// Where the file at `path` stands, if it has an earlier date in the same place and differs in nothing else.
    pub(super) fn before(&self, path: &Path) -> Option<Rank> {
        let plain = Packing::of(path.file_name()?).map(|(plain, _)| path.with_file_name(plain));
        let bytes = plain.as_deref().unwrap_or(path).as_os_str().as_bytes();
        let rank = rank(bytes.strip_prefix(self.start())?, &self.ending)?;
        (rank < self.rank).then_some(rank)
    }

    /// What the names of such files begin with.
    pub(super) fn beginning(&self) -> &OsStr {
        let bytes = self.path.as_os_str().as_bytes();
        let name = bytes.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
        let end = if self.date.end > name { self.date.start.max(name) } else { bytes.len() };
        OsStr::from_bytes(&bytes[name..end])
    }

    /// The directories where such files are, up to that of the live file; and those that cannot be listed are given to
    /// `failed`.
    pub(super) fn dirs(
        &self,
        directories: &mut Directories,
        mut failed: impl FnMut(&Path, standpipe_common::error::Error),
    ) -> Vec<PathBuf> {
        let bytes = self.path.as_os_str().as_bytes();
        let parent = super::parent(&self.path);
        let Some(root) = self.start().iter().rposition(|byte| *byte == b'/') else { return vec![parent.to_path_buf()] };
        let mut at = root + 1;
        let mut dirs = vec![PathBuf::from(OsStr::from_bytes(&bytes[..root.max(1)]))];
        while let Some(len) = bytes[at..].iter().position(|byte| *byte == b'/') {
            let mut deeper = Vec::new();
            for dir in dirs {
                let (listing, _) = match directories.list(&dir) {
                    Ok(listed) => listed,
                    Err(error) => {
                        failed(&dir, error);
                        continue;
                    }
                };
                let names =
                    listing.beginning(OsStr::new("")).filter(|name| self.is_like(name.as_bytes(), at..at + len));
                deeper.extend(names.map(|name| dir.join(name)));
            }
            // Of equal length, so that they are in the order of their dates.
            at += len + 1;
            deeper.retain(|dir| dir.as_os_str().as_bytes() <= &bytes[..at - 1]);
            deeper.drain(..deeper.len().saturating_sub(DIRS_MAX));
            dirs = deeper;
        }
        dirs
    }

    /// Whether a name is what stands in this place, with another date.
    fn is_like(&self, name: &[u8], place: Range<usize>) -> bool {
        let own = &self.path.as_os_str().as_bytes()[place.clone()];
        let is_dated = |at: usize| self.date.contains(&(place.start + at));
        let is_same = |(at, (one, other)): (usize, (&u8, &u8))| {
            one == other || (is_dated(at) && one.is_ascii_digit() && other.is_ascii_digit())
        };
        own.len() == name.len() && own.iter().zip(name).enumerate().all(is_same)
    }

    fn start(&self) -> &[u8] {
        &self.path.as_os_str().as_bytes()[..self.date.start]
    }
}

/// Of a path from its date on.
fn rank(rest: &[u8], ending: &[u8]) -> Option<Rank> {
    let (text, count) = match (rest.strip_suffix(ending), counted(rest)) {
        (Some(text), _) => (text, None),
        (None, counted) => {
            let (rest, count) = counted?;
            (rest.strip_suffix(ending)?, Some(count))
        }
    };
    let Rank::Dated(mut numbers) = date_in(text)? else { return None };
    numbers.extend(count);
    Some(Rank::Dated(numbers))
}

/// A date with slashes in it, too.
fn date_in(text: &[u8]) -> Option<Rank> {
    let text: Vec<u8> = text.iter().map(|byte| if *byte == b'/' { b'-' } else { *byte }).collect();
    date(&text, true)
}

/// What ends in a dot and a count, without it.
fn counted(text: &[u8]) -> Option<(&[u8], u64)> {
    let dot = text.iter().rposition(|byte| *byte == b'.')?;
    Some((&text[..dot], number(&text[dot + 1..])?))
}

fn may_be_in_date(byte: u8) -> bool {
    byte.is_ascii_digit() || is_separator(byte) || matches!(byte, b'/' | b':' | b'T')
}

/// The date that begins first, as long as it can be, in a range that has nothing but digits and separators.
fn longest_date(bytes: &[u8], range: Range<usize>) -> Option<Range<usize>> {
    let is_digit = |at: usize| range.contains(&at) && bytes[at].is_ascii_digit();
    let is_start = |at: &usize| is_digit(*at) && (*at == range.start || !is_digit(at - 1));
    let is_end = |at: &usize| is_digit(at - 1) && !is_digit(*at);
    let ends = |start: usize| (start + 1..=range.end).rev().filter(is_end);
    let dates = range.clone().filter(is_start).flat_map(|start| ends(start).map(move |end| start..end));
    dates.into_iter().find(|date| date_in(&bytes[date.clone()]).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn before(live: &str, path: &str) -> bool {
        Dated::of(Path::new(live)).unwrap().before(Path::new(path)).is_some()
    }

    #[test]
    fn earlier_dates_in_the_same_place_come_before() {
        for (live, path, expected) in [
            ("/l/app-2026-11-24.log", "/l/app-2026-11-23.log", true),
            ("/l/app-2026-11-24.log", "/l/app-2025-12-31.log.gz", true),
            ("/l/app-2026-11-24.log", "/l/app-2026-11-24.log", false),
            ("/l/app-2026-11-24.log", "/l/app-2026-11-25.log", false),
            ("/l/app-2026-11-24.log", "/l/api-2026-11-23.log", false),
            ("/l/app-2026-11-24.log", "/l/app-2026-11-23-error.log", false),
            ("/l/app-2026-11-24.log", "/l/app-2026-11-23.txt", false),
            ("/l/app-2026-11-24.log", "/l/app-2026-11-23.log.2", true),
            ("/l/app-2026-11-24.log.1", "/l/app-2026-11-24.log", true),
            ("/l/app-2026-11-24.log.2", "/l/app-2026-11-24.log.1.gz", true),
            ("/l/app-2026-11-24.log.2", "/l/app-2026-11-24.log.10", false),
            ("/l/app-2026-11-24-10.log", "/l/app-2026-11-24-09.log", true),
            ("/l/app20261124_001.log", "/l/app20261124.log", true),
            ("/l/app20261124.log", "/l/app20261123_002.log", true),
            ("/l/access.log.2026-11-24", "/l/access.log.2026-11-23", true),
            ("/l/access.1793293200", "/l/access.1793206800", true),
            ("/l/web1-2026.11.24.log", "/l/web1-2026.11.23.log", true),
            ("/l/web1-2026.11.24.log", "/l/web2-2026.11.23.log", false),
            ("/l/20200101/app-2026-11-24.log", "/l/20200101/app-2026-11-23.log", true),
            ("/l/2026-11-24.log", "/l/2026-11-23.log", true),
            ("/l/2026/11/24/app.log", "/l/2026/11/23/app.log", true),
            ("/l/2026/11/24/app.log", "/l/2026/11/23/app.log.gz", true),
            ("/l/2026/11/24/app.log", "/l/2026/11/23/api.log", false),
            ("/l/2026/11/24/10.log", "/l/2026/11/24/09.log", true),
            ("/l/2026-11/24/app.log", "/l/2025-12/31/app.log", true),
        ] {
            assert_eq!(before(live, path), expected, "{live} {path}");
        }
        for undated in ["/l/app.log", "/l/app.log.1", "/l/10.0.0.1/app-12.log", "app"] {
            assert_eq!(Dated::of(Path::new(undated)), None, "{undated}");
        }
        let beginning = |path: &str| Dated::of(Path::new(path)).unwrap().beginning().to_owned();
        assert_eq!(beginning("/l/app-2026-11-24.log"), "app-");
        assert_eq!(beginning("/l/2026/11/24/app.log"), "app.log");
        assert_eq!(beginning("/l/2026/11/24.log"), "");
    }
}
