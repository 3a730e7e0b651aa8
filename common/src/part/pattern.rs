//! The pattern of part names, `filename`: a text with fields of the time, as strftime has them, in UTC or a local time.
//!
//! Invariants: the names of one pattern sort by time as plain byte strings. For that its fields stand from the most
//! significant on without a gap, each has a fixed width, and what is coarser than a microsecond carries a
//! [`counter`] behind it. A name is given back exactly or it is not the pattern's.
//!
//! In a local time the clock on the wall takes the place of UTC: it goes back once a year, and so names go on from the
//! last one until it has caught up, as they do when a clock is set back. They always carry a counter, for the wall does
//! not tell when exactly a part was born.

use std::ffi::OsStr;
use std::fmt;

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use super::{PartName, counter};
use crate::units::{Value, parses_as_value};

/// Longest name without its counter: with that, `.log.zst` and what marks unfinished files a file name has room for it.
const STEM_MAX: usize = 160;

const ALLOWED: &str = "the fields are %Y, then %m and %d, or %j, then %H, %M, %S, %3f or %6f, in this order, as many as \
                       needed; or %s, then %3f or %6f";

/// A pattern of which every name sorts. Two are the same if they give the same names; which local time it is does not
/// show in them.
#[derive(Clone, Debug)]
pub struct Pattern {
    text: String,
    pieces: Vec<Token>,
    last: Field,
    /// `None`: UTC.
    zone: Option<TimeZone>,
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.text == other.text && self.zone.is_some() == other.zone.is_some()
    }
}

impl Eq for Pattern {}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Text(String),
    Field(Field),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Year,
    Month,
    Day,
    DayOfYear,
    Hour,
    Minute,
    Second,
    Epoch,
    Millis,
    Micros,
}

/// As they are written, and their widths.
const FIELDS: [(&str, Field, usize); 10] = [
    ("%Y", Field::Year, 4),
    ("%m", Field::Month, 2),
    ("%d", Field::Day, 2),
    ("%j", Field::DayOfYear, 3),
    ("%H", Field::Hour, 2),
    ("%M", Field::Minute, 2),
    ("%S", Field::Second, 2),
    ("%s", Field::Epoch, 10),
    ("%3f", Field::Millis, 3),
    ("%6f", Field::Micros, 6),
];

impl Field {
    fn width(self) -> usize {
        FIELDS.iter().find(|(_, field, _)| *field == self).map_or(0, |(_, _, width)| *width)
    }

    /// Whether names sort with this field behind `before`.
    fn may_follow(self, before: Option<Field>) -> bool {
        match before {
            None => matches!(self, Field::Year | Field::Epoch),
            Some(Field::Year) => matches!(self, Field::Month | Field::DayOfYear),
            Some(Field::Month) => self == Field::Day,
            Some(Field::Day | Field::DayOfYear) => self == Field::Hour,
            Some(Field::Hour) => self == Field::Minute,
            Some(Field::Minute) => self == Field::Second,
            Some(Field::Second | Field::Epoch) => matches!(self, Field::Millis | Field::Micros),
            Some(Field::Millis | Field::Micros) => false,
        }
    }

    /// Microseconds of a period that this field ends; `None`: the calendar tells.
    fn period_us(self) -> Option<i64> {
        const SECOND: i64 = 1_000_000;
        Some(match self {
            Field::Year | Field::Month => return None,
            Field::Day | Field::DayOfYear => 86_400 * SECOND,
            Field::Hour => 3600 * SECOND,
            Field::Minute => 60 * SECOND,
            Field::Second | Field::Epoch => SECOND,
            Field::Millis => 1000,
            Field::Micros => 1,
        })
    }
}

parses_as_value!(Pattern);

impl Value for Pattern {
    const EXPECTED: &'static str = "a pattern such as \"%Y-%m-%d\"";

    fn from_text(text: &str) -> Result<Self, String> {
        if text.starts_with(['.', '-']) {
            return Err("a name cannot begin with `.` or `-`".to_string());
        }
        if [".log", ".zst"].iter().any(|suffix| text.ends_with(suffix)) {
            return Err("leave out the ending: parts get `.log`, archives `.log.zst`".to_string());
        }
        let pieces = pieces(text)?;
        let last = pieces.iter().rev().find_map(|piece| match piece {
            Token::Field(field) => Some(*field),
            Token::Text(_) => None,
        });
        let Some(last) = last else {
            return Err(format!("it contains no time: {ALLOWED}"));
        };
        let pattern = Pattern { text: text.to_string(), pieces, last, zone: None };
        let bytes = pattern.render(0).len();
        if bytes > STEM_MAX {
            return Err(format!("names would have {bytes} bytes; at most {STEM_MAX} are allowed"));
        }
        Ok(pattern)
    }
}

/// Takes a pattern apart, from left to right.
fn pieces(text: &str) -> Result<Vec<Token>, String> {
    let mut pieces = Vec::new();
    let mut before = None;
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if first == '%' {
            let Some((spelling, field, _)) = FIELDS.iter().find(|(spelling, ..)| rest.starts_with(spelling)) else {
                let end = rest[1..].find(|c: char| !c.is_ascii_digit()).map_or(rest.len(), |at| at + 2);
                let shown = rest.get(..end).unwrap_or("%");
                return Err(format!("`{}` is not a time field: {ALLOWED}", shown.escape_debug()));
            };
            if !field.may_follow(before) {
                return Err(format!("names with `{spelling}` in this place would not sort by time: {ALLOWED}"));
            }
            before = Some(*field);
            pieces.push(Token::Field(*field));
            rest = &rest[spelling.len()..];
            continue;
        }
        let end = rest.find('%').unwrap_or(rest.len());
        let literal = &rest[..end];
        if let Some(odd) = literal.chars().find(|c| !c.is_ascii_alphanumeric() && !"-_.+@".contains(*c)) {
            let shown = odd.escape_debug();
            return Err(format!("names cannot contain `{shown}`: beside the fields use A-Z a-z 0-9 - _ . + @"));
        }
        pieces.push(Token::Text(literal.to_string()));
        rest = &rest[end..];
    }
    Ok(pieces)
}

impl Default for Pattern {
    fn default() -> Pattern {
        let fine = Pattern::from_text(Pattern::DEFAULT);
        fine.unwrap_or_else(|refusal| unreachable!("{}: {refusal}", Pattern::DEFAULT))
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Pattern {
    /// The built-in pattern: microseconds, no counter.
    pub const DEFAULT: &str = "%Y-%m-%dT%H-%M-%S.%6fZ";

    /// The built-in pattern in a local time, which is not UTC as its last letter says.
    const DEFAULT_LOCAL: &str = "%Y-%m-%dT%H-%M-%S.%6f";

    /// What ends the line of a local pattern in a list.
    const LOCAL: &str = " local";

    /// The built-in pattern for that zone.
    pub fn built_in(zone: &TimeZone) -> Pattern {
        if *zone == TimeZone::UTC {
            return Pattern::default();
        }
        let fine = Pattern::from_text(Pattern::DEFAULT_LOCAL);
        fine.unwrap_or_else(|refusal| unreachable!("{}: {refusal}", Pattern::DEFAULT_LOCAL)).in_zone(zone)
    }

    /// The same in the time of that zone. Seconds since the epoch are the same everywhere.
    #[must_use]
    pub fn in_zone(self, zone: &TimeZone) -> Pattern {
        let is_utc = *zone == TimeZone::UTC || self.has_epoch();
        Pattern { zone: (!is_utc).then(|| zone.clone()), ..self }
    }

    /// Whether its names tell UTC.
    pub fn is_utc(&self) -> bool {
        self.zone.is_none() && !self.has_epoch()
    }

    /// As it stands in a list of patterns: with a word more if its names tell a local time.
    pub fn listed(&self) -> String {
        format!("{}{}", self.text, if self.zone.is_some() { Pattern::LOCAL } else { "" })
    }

    /// Reads that back. A local one gives back names, and makes new ones by UTC until it is told its zone.
    pub fn from_listed(line: &str) -> Option<Pattern> {
        match line.strip_suffix(Pattern::LOCAL) {
            Some(text) => Some(Pattern { zone: Some(TimeZone::UTC), ..text.parse().ok()? }),
            None => line.parse().ok(),
        }
    }

    /// Whether its names carry a counter, and tell their birth less exactly than to the microsecond.
    pub fn is_coarse(&self) -> bool {
        self.last != Field::Micros || self.zone.is_some()
    }

    fn has_epoch(&self) -> bool {
        self.pieces.contains(&Token::Field(Field::Epoch))
    }

    /// What names tell of a time: microseconds of the clock on the wall, counted as if that showed UTC.
    fn wall_us(&self, now_ns: i64) -> i64 {
        let us = now_ns.div_euclid(1000);
        let Some(zone) = &self.zone else { return us };
        let time = Timestamp::from_microsecond(us).unwrap_or(Timestamp::UNIX_EPOCH);
        us + i64::from(zone.to_offset(time).seconds()) * 1_000_000
    }

    /// The name of a part that is born at `now_ns` and comes after `last`, the newest part there, of whichever pattern.
    ///
    /// It is greater than `last` even if the clock is not, and even if a coarse name would tell an earlier time than
    /// `last` does: then it tells the next period, and the names after it count on there until the clock gets to it.
    pub fn born(&self, now_ns: i64, last: Option<&PartName>) -> PartName {
        let period = self.floor(self.wall_us(now_ns));
        let Some(last) = last.filter(|last| last.birth_us >= period) else { return self.name(period, 0) };
        let next = self.ceil(last.birth_us);
        let born = match last.counter {
            _ if next > last.birth_us => self.name(next, 0),
            _ if !self.is_coarse() => self.name(next + 1, 0),
            None => self.name(next, 0),
            Some(counter) => self.name(next, counter + 1),
        };
        debug_assert!(born > *last, "{born:?} after {last:?}");
        born
    }

    /// Whether a part that is born at `now_ns` would get a name of a later period than `name`, which was given at least
    /// `age_ns` ago.
    pub fn is_past(&self, name: &PartName, now_ns: i64, age_ns: i64) -> bool {
        let wall_us = self.wall_us(now_ns);
        self.floor(wall_us) > name.birth_us && wall_us - name.birth_us >= age_ns / 1000
    }

    /// Whether it gives this file name to a part, as a segment, an archive or otherwise.
    pub fn gives(&self, file_name: &OsStr) -> bool {
        PartName::parse(file_name, std::slice::from_ref(self)).is_some()
    }

    /// Takes the name of a part apart. `None`: not of this pattern.
    pub(super) fn parse(&self, stem: &str) -> Option<PartName> {
        let mut rest = stem;
        let mut time = Parts::default();
        for piece in &self.pieces {
            match piece {
                Token::Text(text) => rest = rest.strip_prefix(text.as_str())?,
                Token::Field(field) => {
                    let (digits, after) = rest.split_at_checked(field.width())?;
                    time.set(*field, digits)?;
                    rest = after;
                }
            }
        }
        let counter = if self.is_coarse() { counter::parse(rest.strip_prefix('-')?)? } else { 0 };
        let name = self.name(time.us()?, counter);
        (name.stem == stem).then_some(name)
    }

    fn name(&self, birth_us: i64, counter: u64) -> PartName {
        let mut stem = self.render(birth_us);
        let counter = self.is_coarse().then_some(counter);
        if let Some(counter) = counter {
            stem = format!("{stem}-{}", counter::text(counter));
        }
        PartName { birth_us, counter, stem }
    }

    fn render(&self, us: i64) -> String {
        let time = civil(us);
        let mut stem = String::with_capacity(STEM_MAX);
        for piece in &self.pieces {
            let field = match piece {
                Token::Text(text) => {
                    stem.push_str(text);
                    continue;
                }
                Token::Field(field) => *field,
            };
            let number = match field {
                Field::Year => i64::from(time.year()),
                Field::Month => i64::from(time.month()),
                Field::Day => i64::from(time.day()),
                Field::DayOfYear => i64::from(time.day_of_year()),
                Field::Hour => i64::from(time.hour()),
                Field::Minute => i64::from(time.minute()),
                Field::Second => i64::from(time.second()),
                Field::Epoch => us.div_euclid(1_000_000),
                Field::Millis => us.rem_euclid(1_000_000) / 1000,
                Field::Micros => us.rem_euclid(1_000_000),
            };
            let digits = number.to_string();
            stem.extend(std::iter::repeat_n('0', field.width().saturating_sub(digits.len())));
            stem.push_str(&digits);
        }
        stem
    }

    /// The beginning of the period that `us` lies in.
    fn floor(&self, us: i64) -> i64 {
        // Seconds since the epoch have no sign here.
        let us = if self.has_epoch() { us.max(0) } else { us };
        if let Some(period) = self.last.period_us() {
            return us.div_euclid(period) * period;
        }
        let date = civil(us).date();
        let month = if self.last == Field::Month { date.month() } else { 1 };
        Date::new(date.year(), month, 1).map_or(us, midnight_us)
    }

    /// The first beginning of a period that is not before `us`.
    fn ceil(&self, us: i64) -> i64 {
        let start = self.floor(us);
        if start >= us {
            return start;
        }
        if let Some(period) = self.last.period_us() {
            return start + period;
        }
        let span = if self.last == Field::Month { 1.month() } else { 1.year() };
        civil(start).date().checked_add(span).map_or(us, midnight_us)
    }
}

/// The numbers of a name.
#[derive(Default)]
struct Parts {
    year: i16,
    month: Option<i8>,
    day: Option<i8>,
    day_of_year: Option<i16>,
    hour: i8,
    minute: i8,
    second: i8,
    epoch: Option<i64>,
    sub_us: i64,
}

impl Parts {
    fn set(&mut self, field: Field, digits: &str) -> Option<()> {
        if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        match field {
            Field::Year => self.year = digits.parse().ok()?,
            Field::Month => self.month = Some(digits.parse().ok()?),
            Field::Day => self.day = Some(digits.parse().ok()?),
            Field::DayOfYear => self.day_of_year = Some(digits.parse().ok()?),
            Field::Hour => self.hour = digits.parse().ok()?,
            Field::Minute => self.minute = digits.parse().ok()?,
            Field::Second => self.second = digits.parse().ok()?,
            Field::Epoch => self.epoch = Some(digits.parse().ok()?),
            Field::Millis => self.sub_us = digits.parse::<i64>().ok()? * 1000,
            Field::Micros => self.sub_us = digits.parse().ok()?,
        }
        Some(())
    }

    /// Microseconds since the epoch. `None`: there is no such time, or none that a clock of ours can have.
    fn us(&self) -> Option<i64> {
        let seconds_us = if let Some(seconds) = self.epoch {
            seconds.checked_mul(1_000_000)?
        } else {
            let first = Date::new(self.year, self.month.unwrap_or(1), self.day.unwrap_or(1)).ok()?;
            let date = self.day_of_year.map_or(Ok(first), |day| first.with().day_of_year(day).build()).ok()?;
            let time = Time::new(self.hour, self.minute, self.second, 0).ok()?;
            date.to_datetime(time).to_zoned(TimeZone::UTC).ok()?.timestamp().as_microsecond()
        };
        let us = seconds_us.checked_add(self.sub_us)?;
        us.checked_mul(1000).map(|_| us)
    }
}

fn civil(us: i64) -> DateTime {
    Timestamp::from_microsecond(us).unwrap_or(Timestamp::UNIX_EPOCH).to_zoned(TimeZone::UTC).datetime()
}

fn midnight_us(date: Date) -> i64 {
    date.to_zoned(TimeZone::UTC).map_or(0, |zoned| zoned.timestamp().as_microsecond())
}

#[cfg(test)]
mod tests;
