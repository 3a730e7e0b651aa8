//! Intervals of time that lie behind one another, and how many lines each has. Pure.
//!
//! Invariants: they begin where clocks of the zone show a round time: those that divide a day begin anew each midnight,
//! so that the day on which clocks are set has a longer or shorter one; those of whole days begin at midnight. There
//! are at most [`ROWS_MAX`].

use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};

/// Intervals at most.
pub const ROWS_MAX: usize = 10_000;
/// About as many are wanted, if nobody says how long they are.
const ROWS_WANTED: i64 = 40;

const MS_NS: i64 = 1_000_000;
const SECOND_NS: i64 = 1000 * MS_NS;
const MINUTE_NS: i64 = 60 * SECOND_NS;
const HOUR_NS: i64 = 60 * MINUTE_NS;
const DAY_NS: i64 = 24 * HOUR_NS;

/// How long an interval is, ns; whole days are those of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval(i64);

impl Interval {
    /// As somebody wants it.
    pub fn exactly(span: Duration) -> Result<Interval, String> {
        let ns = i64::try_from(span.as_nanos()).unwrap_or(i64::MAX);
        if ns < MS_NS { Err("--interval must be at least 1ms".to_owned()) } else { Ok(Interval(ns)) }
    }

    /// One that clocks or calendars have, so that `span_ns` is about as many rows as are wanted.
    fn fitting(span_ns: i64) -> Interval {
        const STEPS: [i64; 32] = [
            MS_NS,
            2 * MS_NS,
            5 * MS_NS,
            10 * MS_NS,
            20 * MS_NS,
            50 * MS_NS,
            100 * MS_NS,
            200 * MS_NS,
            500 * MS_NS,
            SECOND_NS,
            2 * SECOND_NS,
            5 * SECOND_NS,
            10 * SECOND_NS,
            15 * SECOND_NS,
            30 * SECOND_NS,
            MINUTE_NS,
            2 * MINUTE_NS,
            5 * MINUTE_NS,
            10 * MINUTE_NS,
            15 * MINUTE_NS,
            30 * MINUTE_NS,
            HOUR_NS,
            2 * HOUR_NS,
            3 * HOUR_NS,
            6 * HOUR_NS,
            12 * HOUR_NS,
            DAY_NS,
            2 * DAY_NS,
            7 * DAY_NS,
            14 * DAY_NS,
            28 * DAY_NS,
            91 * DAY_NS,
        ];
        let fits = |step: &&i64| span_ns / **step < ROWS_WANTED;
        Interval(STEPS.iter().find(fits).copied().unwrap_or_else(|| (span_ns / ROWS_WANTED / DAY_NS + 1) * DAY_NS))
    }
}

/// Intervals without a gap between them, each with its lines.
#[derive(Debug, Default)]
pub struct Rows {
    step: Option<Interval>,
    starts: Vec<i64>,
    /// Where the last one ends.
    end: i64,
    lines: Vec<u64>,
}

impl Rows {
    /// Those in which any time from `first` to `last` lies.
    pub fn new((first, last): (i64, i64), step: Option<Interval>, zone: &TimeZone) -> Result<Rows, String> {
        let span = last.saturating_sub(first);
        let step = step.unwrap_or_else(|| Interval::fitting(span));
        if span / step.0 >= ROWS_MAX as i64 {
            return Err(format!(
                "--interval gives {} intervals, more than {ROWS_MAX}: choose a longer interval, or a later --since",
                span / step.0 + 1
            ));
        }
        let mut starts = Vec::new();
        let mut start = first_start(first, step, zone);
        while start <= last {
            starts.push(start);
            let next = next_start(start, step, zone);
            // The end of time.
            if next <= start {
                break;
            }
            start = next;
        }
        debug_assert!(starts.is_sorted_by(|start, next| start < next), "an interval lies before the one before it");
        Ok(Rows { step: Some(step), lines: vec![0; starts.len()], starts, end: start })
    }

    /// In which one a time lies, and -1 or their number before and behind them: a time that is later never gives less.
    pub fn place(&self, time_ns: i64) -> i64 {
        debug_assert_eq!(self.starts.len(), self.lines.len());
        if time_ns >= self.end {
            return self.starts.len() as i64;
        }
        self.starts.partition_point(|start| *start <= time_ns) as i64 - 1
    }

    /// So many lines arrived then; those that arrived before or behind all intervals are nobody's.
    pub fn add(&mut self, time_ns: i64, lines: u64) {
        let place = usize::try_from(self.place(time_ns)).ok();
        if let Some(count) = place.and_then(|place| self.lines.get_mut(place)) {
            *count += lines;
        }
    }

    /// Where each begins and ends, and its lines.
    pub fn iter(&self) -> impl Iterator<Item = (i64, i64, u64)> {
        let ends = self.starts.iter().skip(1).copied().chain([self.end]);
        self.starts.iter().zip(ends).zip(&self.lines).map(|((start, end), lines)| (*start, end, *lines))
    }

    /// How long one is by the clock, if there are any.
    pub fn step_ms(&self) -> Option<i64> {
        self.step.map(|step| step.0 / MS_NS)
    }
}

/// Where the interval begins in which `time_ns` lies.
fn first_start(time_ns: i64, Interval(step): Interval, zone: &TimeZone) -> i64 {
    let midnight = midnight_ns(date_of(time_ns, zone), zone);
    if step % DAY_NS == 0 { midnight } else { midnight + time_ns.saturating_sub(midnight).div_euclid(step) * step }
}

fn next_start(start: i64, Interval(step): Interval, zone: &TimeZone) -> i64 {
    let date = date_of(start, zone);
    if step % DAY_NS == 0 {
        return midnight_ns(date.saturating_add((step / DAY_NS).days()), zone).max(start.saturating_add(1));
    }
    let next = start.saturating_add(step);
    if DAY_NS % step == 0 { next.min(midnight_ns(date.saturating_add(1.day()), zone)) } else { next }
}

fn date_of(time_ns: i64, zone: &TimeZone) -> Date {
    zone.to_datetime(Timestamp::from_nanosecond(time_ns.into()).expect("64 bits of ns are within the calendar")).date()
}

/// When a day begins; beyond what can be told, the end of time, or its beginning.
fn midnight_ns(date: Date, zone: &TimeZone) -> i64 {
    let zoned = zone.to_ambiguous_zoned(date.to_datetime(jiff::civil::Time::midnight())).compatible();
    let ns = zoned.map_or(i128::MAX, |zoned| zoned.timestamp().as_nanosecond());
    i64::try_from(ns).unwrap_or(if ns < 0 { i64::MIN } else { i64::MAX })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ns(time: &str) -> i64 {
        time.parse::<Timestamp>().unwrap().as_nanosecond() as i64
    }

    /// The beginnings, and the end, of the rows from one time to another.
    fn starts(first: &str, last: &str, step: Option<&str>, zone: &str) -> Vec<String> {
        let step =
            step.map(|step| Interval::exactly(step.parse::<standpipe_common::units::Span>().unwrap().0).unwrap());
        let rows = Rows::new((ns(first), ns(last)), step, &TimeZone::get(zone).unwrap()).unwrap();
        let all = rows.starts.iter().chain([&rows.end]);
        all.map(|start| Timestamp::from_nanosecond((*start).into()).unwrap().to_string()).collect()
    }

    #[test]
    fn the_step_gives_about_forty_rows() {
        for (span_ns, step) in [
            (0, MS_NS),
            (39 * SECOND_NS, SECOND_NS),
            (40 * SECOND_NS, 2 * SECOND_NS),
            (HOUR_NS, 2 * MINUTE_NS),
            (DAY_NS, HOUR_NS),
            (30 * DAY_NS, DAY_NS),
            (365 * DAY_NS, 14 * DAY_NS),
        ] {
            assert_eq!(Interval::fitting(span_ns), Interval(step), "{span_ns}");
        }
        for span_ns in (0..63).map(|power| 1_i64 << power) {
            assert!(span_ns / Interval::fitting(span_ns).0 < ROWS_WANTED, "{span_ns}");
        }
    }

    #[test]
    fn rows_begin_at_round_times_of_the_zone() {
        let found = starts("2026-11-21T10:07:00Z", "2026-11-21T10:31:00Z", Some("15m"), "Asia/Kathmandu");
        assert_eq!(
            found,
            ["2026-11-21T10:00:00Z", "2026-11-21T10:15:00Z", "2026-11-21T10:30:00Z", "2026-11-21T10:45:00Z"]
        );
        let found = starts("2026-11-21T10:00:00Z", "2026-11-21T10:00:00Z", Some("1d"), "Asia/Kathmandu");
        assert_eq!(found, ["2026-11-20T18:15:00Z", "2026-11-21T18:15:00Z"]);
        let found = starts("2026-11-21T08:00:00Z", "2026-11-21T16:00:00Z", Some("7h"), "UTC");
        assert_eq!(found, ["2026-11-21T07:00:00Z", "2026-11-21T14:00:00Z", "2026-11-21T21:00:00Z"]);
    }

    #[test]
    fn a_day_on_which_clocks_are_set_begins_and_ends_at_midnight() {
        let found = starts("2026-10-24T22:00:00Z", "2026-10-26T00:00:00Z", Some("1d"), "Europe/Berlin");
        assert_eq!(found, ["2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z", "2026-10-26T23:00:00Z"]);
        let found = starts("2026-10-25T10:00:00Z", "2026-10-26T00:00:00Z", Some("12h"), "Europe/Berlin");
        assert_eq!(
            found,
            ["2026-10-25T10:00:00Z", "2026-10-25T22:00:00Z", "2026-10-25T23:00:00Z", "2026-10-26T11:00:00Z"]
        );
    }

    #[test]
    fn lines_are_counted_where_they_lie_and_those_outside_are_not() {
        let mut rows = Rows::new((0, 3 * SECOND_NS), Some(Interval(SECOND_NS)), &TimeZone::UTC).unwrap();
        for (time, lines) in [(-1, 9), (0, 1), (SECOND_NS - 1, 2), (SECOND_NS, 4), (4 * SECOND_NS, 9), (i64::MAX, 9)] {
            rows.add(time, lines);
        }
        assert_eq!(rows.iter().map(|(_, _, lines)| lines).collect::<Vec<_>>(), [3, 4, 0, 0]);
        assert_eq!([-1, 0, 4 * SECOND_NS].map(|time| rows.place(time)), [-1, 0, 4]);
        Rows::default().add(0, 1);
    }

    #[test]
    fn too_many_rows_and_no_interval_are_refused() {
        let refusal = Rows::new((0, DAY_NS), Some(Interval(SECOND_NS)), &TimeZone::UTC).unwrap_err();
        assert!(refusal.contains("86401 intervals, more than 10000"), "{refusal}");
        assert!(Interval::exactly(Duration::ZERO).is_err());
        // The ends of time.
        for (first, last) in [(i64::MIN, i64::MAX), (i64::MAX, i64::MAX), (i64::MIN, i64::MIN)] {
            let rows = Rows::new((first, last), None, &TimeZone::UTC).unwrap();
            assert!(rows.iter().count() <= 100, "{first} {last}");
        }
    }
}
