//! When a part ends, and at which byte. Pure: numbers and the time go in, a verdict comes out.
//!
//! A part ends between chunks and at a line end. A due rotation waits for the end of an open line, at most
//! [`LINE_WAIT_NS`] and `max_line` bytes; then the part ends inside the line. A line that alone is larger than the
//! size limit has a part of its own.

use std::time::Duration;

use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan, Zoned};
use standpipe_common::policy::{HourMinute, Moment, RotateAt};
use standpipe_common::units::Limit;

/// How long a due rotation waits for the end of an open line.
pub const LINE_WAIT_NS: i64 = 10_000_000_000;

/// What ends a part.
#[derive(Clone, Debug)]
pub struct Triggers {
    /// Bytes in the part.
    pub size: Limit<u64>,
    /// Age of the part.
    pub age: Limit<Duration>,
    /// Moments of the calendar, in `zone`.
    pub at: RotateAt,
    /// The zone of `at`.
    pub zone: TimeZone,
    /// Bytes of an open line that a due rotation waits for.
    pub line_bytes_max: u64,
}

impl Triggers {
    /// When a part born at `birth_ns` is due, whatever its size. `None`: never.
    pub fn due_ns(&self, birth_ns: i64) -> Option<i64> {
        let by_age = match self.age {
            Limit::At(age) => Some(birth_ns.saturating_add(i64::try_from(age.as_nanos()).unwrap_or(i64::MAX))),
            Limit::Off => None,
        };
        let by_calendar = self.at.0.iter().filter_map(|moment| next_moment(birth_ns, *moment, &self.zone));
        by_age.into_iter().chain(by_calendar).min()
    }

    fn size_bytes(&self) -> u64 {
        match self.size {
            Limit::At(bytes) => bytes,
            Limit::Off => u64::MAX,
        }
    }
}

/// A rotation that waits for the end of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Since when, ns since the epoch.
    pub since_ns: i64,
    /// Length of the part then.
    pub since_len: u64,
}

/// What is known of when the part that is written ends.
#[derive(Debug, Default)]
pub struct PartEnd {
    /// Somebody asked for it.
    is_asked: bool,
    /// It is due and waits for the end of a line.
    waiting: Option<Waiting>,
    /// When a part that was begun then is due by the clock.
    by_clock: Option<(i64, Option<i64>)>,
}

impl PartEnd {
    /// Somebody asks for it, or for that of an empty part, which is none.
    pub fn ask(&mut self, is_empty: bool) {
        self.is_asked = !is_empty;
    }

    /// Whether somebody asked for it.
    pub fn is_asked(&self) -> bool {
        self.is_asked
    }

    /// What it waits for, if it is due.
    pub fn waiting(&self) -> Option<Waiting> {
        self.waiting
    }

    /// It is due and waits from now on, unless it does already.
    pub fn wait(&mut self, now_ns: i64, len: u64) {
        self.waiting.get_or_insert(Waiting { since_ns: now_ns, since_len: len });
    }

    /// It waits for nothing any more: the part goes on as somebody else left it.
    pub fn wait_no_more(&mut self) {
        self.waiting = None;
    }

    /// The part has ended, and another one begins.
    pub fn renew(&mut self) {
        (self.is_asked, self.waiting) = (false, None);
    }

    /// The triggers are others from now on.
    pub fn forget_clock(&mut self) {
        self.by_clock = None;
    }

    /// When it is due by the clock, or is waited for no longer. `None`: never as it stands.
    pub fn due_ns(&mut self, begun_ns: impl FnOnce() -> i64, triggers: &Triggers) -> Option<i64> {
        if let Some(waiting) = self.waiting {
            return Some(waiting.since_ns + LINE_WAIT_NS);
        }
        let begun_ns = begun_ns();
        let known = self.by_clock.filter(|(of_ns, _)| *of_ns == begun_ns);
        let (_, due_ns) = known.unwrap_or_else(|| *self.by_clock.insert((begun_ns, triggers.due_ns(begun_ns))));
        debug_assert!(due_ns.is_none_or(|due_ns| due_ns >= begun_ns), "due before it was begun");
        due_ns
    }
}

/// What to do before the next chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The part goes on, whatever the chunk brings.
    Keep,
    /// The part ends now.
    Rotate,
    /// Some bytes of the chunk may belong to the next part: look at them and ask [`share`].
    Look,
}

/// The part as it stands.
#[derive(Clone, Copy, Debug)]
pub struct ActivePart {
    /// Its length, bytes.
    pub len: u64,
    /// Its last line has no end yet.
    pub open: bool,
    /// Bytes put in front of each line.
    pub text_len: usize,
    /// A rotation is due and waits for the end of the open line.
    pub waiting: Option<Waiting>,
}

/// Decides before a chunk of `queued` bytes.
pub fn decide(part: ActivePart, due: bool, queued: usize, now_ns: i64, triggers: &Triggers) -> Verdict {
    if part.len == 0 {
        let fits = largest_output(queued, part.text_len) <= triggers.size_bytes();
        return if fits { Verdict::Keep } else { Verdict::Look };
    }
    let full = part.len >= triggers.size_bytes();
    if due || full {
        if !part.open {
            return Verdict::Rotate;
        }
        let tired = part.waiting.is_some_and(|waiting| {
            !(0..LINE_WAIT_NS).contains(&(now_ns - waiting.since_ns)) || line_room(part, triggers) == Some(0)
        });
        return if tired { Verdict::Rotate } else { Verdict::Look };
    }
    let fits = part.len.saturating_add(largest_output(queued, part.text_len)) <= triggers.size_bytes();
    if fits { Verdict::Keep } else { Verdict::Look }
}

/// How many bytes of `head`, the beginning of what waits in the pipe, still belong to this part. 0: the part ends
/// before them.
pub fn share(head: &[u8], part: ActivePart, triggers: &Triggers) -> usize {
    let mut taken = 0;
    if part.open {
        let line = memchr::memchr(b'\n', head).map_or(head.len(), |end| end + 1);
        if let Some(room) = line_room(part, triggers) {
            return line.min(usize::try_from(room).unwrap_or(usize::MAX));
        }
        taken = line;
        if taken == head.len() {
            return taken;
        }
    }
    let mut room = triggers.size_bytes().saturating_sub(part.len + taken as u64);
    let mut part_is_empty = part.len + taken as u64 == 0;
    for line in head[taken..].split_inclusive(|byte| *byte == b'\n') {
        let output = (line.len() + part.text_len) as u64;
        if output > room && !part_is_empty {
            break;
        }
        part_is_empty = false;
        room = room.saturating_sub(output);
        taken += line.len();
    }
    debug_assert!(taken <= head.len() && (taken > 0 || part.len > 0), "an empty part takes a line of any length");
    taken
}

/// Bytes that a due rotation still waits for. `None`: none is due.
fn line_room(part: ActivePart, triggers: &Triggers) -> Option<u64> {
    part.waiting.map(|waiting| (waiting.since_len + triggers.line_bytes_max).saturating_sub(part.len))
}

fn largest_output(queued: usize, text_len: usize) -> u64 {
    (queued as u64).saturating_mul(text_len as u64 + 1)
}

/// When a moment of the calendar comes next after `after_ns`.
fn next_moment(after_ns: i64, moment: Moment, zone: &TimeZone) -> Option<i64> {
    let time = Timestamp::from_nanosecond(i128::from(after_ns)).ok()?;
    let local = time.to_zoned(zone.clone());
    let next = match moment {
        Moment::EveryMinutes(minutes) => next_multiple(&local, minutes),
        Moment::Daily(at) => next_time_of_day(&local, at, |_| true),
        Moment::Weekly(weekday, at) => next_time_of_day(&local, at, |date| date.weekday() == weekday),
        Moment::Monthly(day, at) => next_time_of_day(&local, at, |date| date.day() == day.min(date.days_in_month())),
    };
    debug_assert!(next.is_none_or(|next| next > time), "what comes next is later");
    i64::try_from(next?.as_nanosecond()).ok()
}

/// When the clock on the wall says a multiple of so many minutes next: where a change of daylight saving time is no
/// such multiple, the wall decides.
fn next_multiple(local: &Zoned, minutes: i8) -> Option<Timestamp> {
    let past = SignedDuration::from_secs(i64::from(local.minute() % minutes) * 60 + i64::from(local.second()))
        + SignedDuration::from_nanos(i64::from(local.subsec_nanosecond()));
    let mut next = local.timestamp().checked_add(SignedDuration::from_mins(minutes.into()) - past).ok()?;
    let wall = next.to_zoned(local.time_zone().clone());
    if wall.minute() % minutes != 0 {
        // The clock was moved by another span within this one.
        next = next.checked_add(SignedDuration::from_mins((minutes - wall.minute() % minutes).into())).ok()?;
    }
    Some(next)
}

/// When the clock on the wall says that time next, of the days that are wanted; on a day that skips it, the moment it
/// would have.
fn next_time_of_day(local: &Zoned, at: HourMinute, is_wanted: impl Fn(Date) -> bool) -> Option<Timestamp> {
    let time = Time::new(at.hour, at.minute, 0, 0).ok()?;
    let mut day = local.date();
    loop {
        let moment = day.to_datetime(time).to_zoned(local.time_zone().clone()).ok()?.timestamp();
        if moment > local.timestamp() && is_wanted(day) {
            return Some(moment);
        }
        day = day.checked_add(1.day()).ok()?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn triggers(size: u64) -> Triggers {
        Triggers {
            size: Limit::At(size),
            age: Limit::Off,
            at: RotateAt::default(),
            zone: TimeZone::UTC,
            line_bytes_max: 20,
        }
    }

    fn ns(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_nanosecond() as i64
    }

    #[test]
    fn as_many_whole_lines_go_in_as_fit() {
        let waiting = Some(Waiting { since_ns: 0, since_len: 0 });
        // length, open, bytes in front, waiting, head, share
        let cases = [
            (0, false, 0, None, "aaa\nbbb\n", 8),
            (4, false, 0, None, "aaa\nbbb\n", 4),
            (8, false, 0, None, "aaa\n", 0),
            (0, false, 0, None, "a line of more than ten\nb\n", 24),
            (0, false, 0, None, "a line of more than ten", 23),
            (1, false, 0, None, "a line of more than ten\n", 0),
            (9, true, 0, None, "the rest\nb\n", 9),
            (2, true, 0, None, "x\nbbb\ncccc\n", 6),
            (9, true, 0, None, "no end", 6),
            (4, false, 0, None, "aaa\nbb", 6),
            (4, false, 0, None, "aaa\nbbb", 4),
            (0, false, 2, None, "aaa\nbbb\n", 4),
            (3, true, 0, waiting, "x\ny\n", 2),
            (15, true, 0, waiting, "ten bytes or more\n", 5),
        ];
        for (len, open, text_len, waiting, head, expected) in cases {
            let part = ActivePart { len, open, text_len, waiting };
            assert_eq!(share(head.as_bytes(), part, &triggers(10)), expected, "{part:?} {head:?}");
        }
    }

    #[test]
    fn a_part_ends_at_a_line_end_or_when_waiting_was_too_long() {
        let waiting = |since_ns| Some(Waiting { since_ns, since_len: 5 });
        let now = 100 * LINE_WAIT_NS;
        // length, open, waiting, due, queued, verdict
        let cases = [
            (5, false, None, true, 0, Verdict::Rotate),
            (5, true, None, true, 3, Verdict::Look),
            (5, true, waiting(now), true, 3, Verdict::Look),
            (5, true, waiting(now - LINE_WAIT_NS), true, 3, Verdict::Rotate),
            (5, true, waiting(now + 1), true, 3, Verdict::Rotate),
            (25, true, waiting(now), true, 3, Verdict::Rotate),
            (5, false, None, false, 5, Verdict::Keep),
            (5, false, None, false, 6, Verdict::Look),
            (10, false, None, false, 1, Verdict::Rotate),
            (10, true, None, false, 1, Verdict::Look),
            (0, false, None, true, 1, Verdict::Keep),
            (0, false, None, false, 11, Verdict::Look),
        ];
        for (len, open, waiting, due, queued, verdict) in cases {
            let part = ActivePart { len, open, text_len: 0, waiting };
            assert_eq!(decide(part, due, queued, now, &triggers(10)), verdict, "{part:?} {due} {queued}");
        }
    }

    #[test]
    fn moments_follow_the_clock_on_the_wall() {
        let zone = |name| TimeZone::get(name).unwrap();
        let moment = |text: &str| text.parse().unwrap();
        let cases = [
            ("2026-11-21T10:00:00Z", "hourly", "UTC", "2026-11-21T11:00:00Z"),
            ("2026-11-21T10:59:59.9Z", "hourly", "UTC", "2026-11-21T11:00:00Z"),
            ("2026-11-21T10:00:00Z", "daily", "UTC", "2026-11-22T00:00:00Z"),
            ("2026-11-21T10:00:00Z", "daily", "Europe/Berlin", "2026-11-21T23:00:00Z"),
            ("2026-11-21T10:00:00Z", "09:30", "UTC", "2026-11-22T09:30:00Z"),
            ("2026-11-21T09:29:59Z", "09:30", "UTC", "2026-11-21T09:30:00Z"),
            // Spring: 02:30 does not exist on 29 March 2026 in Berlin; autumn: a day of 25 hours.
            ("2026-03-28T12:00:00Z", "02:30", "Europe/Berlin", "2026-03-29T01:30:00Z"),
            ("2026-10-24T22:00:00Z", "daily", "Europe/Berlin", "2026-10-25T23:00:00Z"),
            ("2026-10-25T00:30:00Z", "hourly", "Europe/Berlin", "2026-10-25T01:00:00Z"),
            // Half an hour of daylight saving time, and a zone of 45 minutes.
            ("2026-04-04T14:45:00Z", "hourly", "Australia/Lord_Howe", "2026-04-04T15:30:00Z"),
            ("2026-04-04T14:55:00Z", "every 20m", "Australia/Lord_Howe", "2026-04-04T15:10:00Z"),
            ("2026-11-21T10:00:00Z", "hourly", "Asia/Kathmandu", "2026-11-21T10:15:00Z"),
            ("2026-11-21T10:00:00Z", "every 15m", "UTC", "2026-11-21T10:15:00Z"),
            ("2026-11-21T10:14:59.5Z", "every 15m", "UTC", "2026-11-21T10:15:00Z"),
            ("2026-11-21T10:56:00Z", "every 5m", "Asia/Kathmandu", "2026-11-21T11:00:00Z"),
            // The hour that comes twice has each of its quarters twice, the one that is skipped has none.
            ("2026-10-25T00:45:00Z", "every 15m", "Europe/Berlin", "2026-10-25T01:00:00Z"),
            ("2026-03-29T00:50:00Z", "every 15m", "Europe/Berlin", "2026-03-29T01:00:00Z"),
            // A Saturday.
            ("2026-11-21T10:00:00Z", "weekly monday", "UTC", "2026-11-23T00:00:00Z"),
            ("2026-11-21T10:00:00Z", "weekly saturday", "UTC", "2026-11-28T00:00:00Z"),
            ("2026-11-21T10:00:00Z", "weekly saturday 10:30", "UTC", "2026-11-21T10:30:00Z"),
            ("2026-10-23T10:00:00Z", "weekly sunday 02:30", "Europe/Berlin", "2026-10-25T00:30:00Z"),
            ("2026-11-21T10:00:00Z", "monthly 1", "UTC", "2026-12-01T00:00:00Z"),
            ("2026-11-01T00:00:00Z", "monthly 1 06:30", "Europe/Berlin", "2026-11-01T05:30:00Z"),
            ("2027-01-31T12:00:00Z", "monthly 31", "UTC", "2027-02-28T00:00:00Z"),
            ("2028-02-28T12:00:00Z", "monthly 30", "UTC", "2028-02-29T00:00:00Z"),
        ];
        for (after, text, name, expected) in cases {
            let next = next_moment(ns(after), moment(text), &zone(name));
            assert_eq!(next, Some(ns(expected)), "{after} {text} {name}");
        }
    }

    #[test]
    fn a_part_is_due_by_whichever_comes_first() {
        let day = Duration::from_secs(86400);
        let both = Triggers { age: Limit::At(day), at: "daily".parse().unwrap(), ..triggers(10) };
        assert_eq!(both.due_ns(ns("2026-11-21T10:00:00Z")), Some(ns("2026-11-22T00:00:00Z")));
        let age = Triggers { age: Limit::At(day), ..triggers(10) };
        assert_eq!(age.due_ns(ns("2026-11-21T10:00:00Z")), Some(ns("2026-11-22T10:00:00Z")));
        let list = Triggers { at: "06:30,18:30,every 60m".parse().unwrap(), ..triggers(10) };
        assert_eq!(list.due_ns(ns("2026-11-21T18:10:00Z")), Some(ns("2026-11-21T18:30:00Z")));
        assert_eq!(list.due_ns(ns("2026-11-21T18:30:00Z")), Some(ns("2026-11-21T19:00:00Z")));
        assert_eq!(triggers(10).due_ns(0), None);
    }
}
