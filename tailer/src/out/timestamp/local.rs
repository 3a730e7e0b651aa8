//! From a time as it is written to one since the epoch: zones, and years that are not written.
//!
//! The last civil minute and its offset are kept, for lines of one source are close to each other and a zone is slow to
//! ask. A time that a zone has twice is the earlier one, one that it has not is moved forward, as everywhere in jiff.

use jiff::Timestamp;
use jiff::fmt::strtime::BrokenDownTime;
use jiff::tz::{Offset, TimeZone};
use standpipe_common::clock;

use super::calendar::{Date, Written, Zone};
use super::{scan, zones};

const DAY_SECONDS: i64 = 86_400;
const NS_PER_SECOND: i64 = 1_000_000_000;
/// From one 29th of February to the next, at most.
const YEARS_MAX: i64 = 8;

/// A zone, and what was asked of it last.
#[derive(Clone, Debug)]
pub(super) struct Local {
    zone: TimeZone,
    /// The last civil minute since 1970, and its offset.
    minute: i64,
    offset: i64,
    now: Now,
    /// The place that was named last.
    place: Option<(Vec<u8>, TimeZone)>,
    /// When the machine was started, once it was asked.
    boot_ns: Option<i64>,
}

/// The civil time of a read.
#[derive(Clone, Copy, Debug)]
struct Now {
    /// Minute of the read time, since the epoch.
    minute: i64,
    /// Its civil seconds since 1970.
    second: i64,
    year: i64,
}

impl Local {
    pub(super) fn new(zone: TimeZone) -> Local {
        let now = Now { minute: i64::MIN, second: 0, year: 0 };
        Local { zone, minute: i64::MIN, offset: 0, now, place: None, boot_ns: None }
    }

    /// `None`: beyond what an `i64` of ns holds.
    pub(super) fn time_ns(&mut self, stamp: &Written<'_>, read_ns: i64) -> Option<i64> {
        let days = match stamp.date {
            Date::Boot => {
                let boot_ns = *self.boot_ns.get_or_insert_with(clock::boot_ns);
                return (stamp.second * NS_PER_SECOND + stamp.fraction.nanos).checked_add(boot_ns);
            }
            Date::Days(days) | Date::ShortYear(days) => days,
            Date::MonthDay(month, day) => self.nearest(month, day, stamp.second, read_ns)?,
        };
        let civil = days * DAY_SECONDS + stamp.second;
        let offset = match stamp.zone {
            Zone::Offset(offset) => offset,
            Zone::Local => self.offset_of(civil)?,
            Zone::Named(name) => self.offset_of_named(name, civil)?,
        };
        (civil - offset).checked_mul(NS_PER_SECOND)?.checked_add(stamp.fraction.nanos)
    }

    /// What a strptime pattern read.
    pub(super) fn broken_down(&mut self, mut time: BrokenDownTime, read_ns: i64) -> Option<i64> {
        let nanos = i64::from(time.subsec_nanosecond().unwrap_or(0));
        if let Some(timestamp) = time.timestamp() {
            // `%s%.f`: jiff leaves the fraction out.
            return timestamp.as_second().checked_mul(NS_PER_SECOND)?.checked_add(nanos);
        }
        if time.year().is_none()
            && let (Some(month), Some(day)) = (time.month(), time.day())
        {
            let clock = [time.hour(), time.minute(), time.second()].map(|part| i64::from(part.unwrap_or(0)));
            let second = clock[0] * 3600 + clock[1] * 60 + clock[2];
            let days = self.nearest(month.into(), day.into(), second, read_ns)?;
            let date = Offset::UTC.to_datetime(Timestamp::from_second(days * DAY_SECONDS).ok()?);
            time.set_year(Some(date.year())).ok()?;
        }
        let civil = Offset::UTC.to_timestamp(time.to_datetime().ok()?).ok()?.as_second();
        let offset = match time.offset() {
            Some(offset) => offset.seconds().into(),
            None => self.offset_of(civil)?,
        };
        (civil - offset).checked_mul(NS_PER_SECOND)?.checked_add(nanos)
    }

    /// The same in a zone by its name; the local one where there is no such place.
    fn offset_of_named(&mut self, name: &[u8], civil: i64) -> Option<i64> {
        if matches!(name, b"UTC" | b"GMT") {
            return Some(0);
        }
        if let Some(offset) = zones::abbreviation(name) {
            return Some(self.offset_if_called(name, civil).unwrap_or(offset));
        }
        if self.place.as_ref().is_none_or(|(known, _)| known != name) {
            let zone = str::from_utf8(name).ok().and_then(|name| TimeZone::get(name).ok());
            self.place = Some((name.to_vec(), zone.unwrap_or_else(|| self.zone.clone())));
        }
        let (_, zone) = self.place.as_ref()?;
        let datetime = Offset::UTC.to_datetime(Timestamp::from_second(civil).ok()?);
        Some(civil - zone.to_ambiguous_timestamp(datetime).compatible().ok()?.as_second())
    }

    /// The local offset at this civil second, if the zone is called so then.
    fn offset_if_called(&self, name: &[u8], civil: i64) -> Option<i64> {
        let datetime = Offset::UTC.to_datetime(Timestamp::from_second(civil).ok()?);
        let timestamp = self.zone.to_ambiguous_timestamp(datetime).compatible().ok()?;
        let info = self.zone.to_offset_info(timestamp);
        (info.abbreviation().as_bytes() == name).then(|| info.offset().seconds().into())
    }

    /// Seconds east of UTC at this civil second since 1970.
    fn offset_of(&mut self, civil: i64) -> Option<i64> {
        let minute = civil.div_euclid(60);
        if minute != self.minute {
            let datetime = Offset::UTC.to_datetime(Timestamp::from_second(minute * 60).ok()?);
            let timestamp = self.zone.to_ambiguous_timestamp(datetime).compatible().ok()?;
            self.offset = minute * 60 - timestamp.as_second();
            self.minute = minute;
        }
        Some(self.offset)
    }

    /// Days since 1970 of the latest such day, at that second of it, that is not more than a day after the read.
    fn nearest(&mut self, month: i64, day: i64, second: i64, read_ns: i64) -> Option<i64> {
        let now = self.now_at(read_ns)?;
        (now.year - YEARS_MAX..=now.year + 1)
            .rev()
            .filter_map(|year| scan::days(year, month, day))
            .find(|days| days * DAY_SECONDS + second <= now.second + DAY_SECONDS)
    }

    fn now_at(&mut self, read_ns: i64) -> Option<Now> {
        let minute = read_ns.div_euclid(60 * NS_PER_SECOND);
        if minute != self.now.minute {
            let read = Timestamp::from_second(minute * 60).ok()?;
            let offset = self.zone.to_offset(read);
            let year = offset.to_datetime(read).year();
            self.now = Now { minute, second: minute * 60 + i64::from(offset.seconds()), year: year.into() };
        }
        // To the second, for a line of the very minute.
        Some(Now { second: self.now.second + read_ns.div_euclid(NS_PER_SECOND) - minute * 60, ..self.now })
    }
}
