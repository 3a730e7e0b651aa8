//! Finds the time that a line begins with, and tells which bytes of the line it is.
//!
//! One [`Parser`] a source: it remembers which form fitted last, tries that first, and where it does not fit those that
//! the first byte of the line allows. Nothing here allocates but for lines with color; the fixed forms are read digit by
//! digit, jiff is asked for zones and patterns.
//! Deliberately not here: what is done with a line without a time.

mod calendar;
mod colored;
mod forms;
mod keyed;
mod local;
mod scan;
mod zones;

use jiff::fmt::strtime::BrokenDownTime;
use jiff::tz::TimeZone;

use calendar::{Date, Written};
pub use colored::Colored;
use local::Local;

/// Which forms of a time are looked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// All but patterns.
    #[default]
    Auto,
    /// This one.
    Form(TimeForm),
    /// A strptime pattern, at the start of a line.
    Pattern(String),
}

/// A form of a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeForm {
    /// `2026-11-21T10:00:00.123+01:00`, also with a space for the `T`, `/` for `-`, a comma before the fraction, the
    /// offset as `Z`, `+0100`, a name or none, and in brackets.
    Iso8601,
    /// `1795255200` or `1795255200.123`: ten digits; also in brackets.
    Epoch,
    /// `1795255200123`: thirteen digits; also in brackets.
    EpochMs,
    /// `<34>1 2026-11-21T10:00:00.123Z`
    Rfc5424,
    /// `Nov 21 10:00:00`, also behind `<34>`.
    Rfc3164,
    /// `[10/Oct/2000:13:55:36 -0700]`, near the start of the line.
    Clf,
    /// A member of a JSON object: `{"time":"2026-11-21T10:00:00Z"}`.
    Json,
    /// A field: `ts=2026-11-21T10:00:00Z level=info`.
    Logfmt,
    /// `@400000006b016baa000007cf` as multilog and svlogd write it.
    Tai64n,
    /// The same as s6 writes it.
    Tai64nS6,
    /// An epoch of any unit that is plausible.
    Number,
    /// Any written day and time, also behind a level, a process, or something in brackets.
    Written,
    /// `I1128 10:00:00.123456`
    Klog,
    /// `[  123.456789]`, since the boot.
    Kernel,
}

/// A number that nothing calls a time is one, in a file with other times, if it is so near to the last of them.
const NUMBER_NS_MAX: i64 = 31 * 86_400 * 1_000_000_000;
/// How far ahead of its reading a time can be whose year has two digits; others are another order of the three numbers.
const AHEAD_NS_MAX: i64 = 86_400 * 1_000_000_000;
/// How far clocks of machines are apart.
const SKEW_NS_MAX: i64 = 1_000_000_000;

/// What a file of other systems may begin with.
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Formats that have a name.
pub const NAMED: [(&str, Format); 11] = [
    ("auto", Format::Auto),
    ("iso8601", Format::Form(TimeForm::Iso8601)),
    ("epoch", Format::Form(TimeForm::Epoch)),
    ("epoch_ms", Format::Form(TimeForm::EpochMs)),
    ("clf", Format::Form(TimeForm::Clf)),
    ("rfc3164", Format::Form(TimeForm::Rfc3164)),
    ("rfc5424", Format::Form(TimeForm::Rfc5424)),
    ("json", Format::Form(TimeForm::Json)),
    ("logfmt", Format::Form(TimeForm::Logfmt)),
    ("tai64n", Format::Form(TimeForm::Tai64n)),
    ("tai64n-s6", Format::Form(TimeForm::Tai64nS6)),
];

impl Format {
    /// One of these, or a pattern.
    pub fn of(text: &str) -> Format {
        let named = NAMED.into_iter().find(|(name, _)| *name == text);
        named.map_or_else(|| Format::Pattern(text.to_owned()), |(_, format)| format)
    }
}

/// A time, and how exactly it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time {
    /// Ns since the epoch.
    pub ns: i64,
    /// Digits of its fraction of a second, at most 9.
    pub digits: u8,
}

impl Time {
    /// By our own clock, which is shown to the microsecond.
    pub fn of_clock(ns: i64) -> Time {
        Time { ns, digits: 6 }
    }
}

/// A time in a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeFound {
    /// The time.
    pub time: Time,
    /// Where it starts in the line.
    pub start: usize,
    /// Behind its last byte, brackets included.
    pub end: usize,
}

/// Finds times in the lines of one source.
#[derive(Clone, Debug)]
pub struct Parser {
    format: Format,
    local: Local,
    /// What fitted last.
    last: TimeForm,
    /// The time that was found last.
    last_ns: Option<i64>,
    /// A label showed that it is one of s6.
    is_s6: bool,
}

impl Parser {
    /// `zone`: that of times that name none.
    pub fn new(format: Format, zone: TimeZone) -> Parser {
        Parser { format, local: Local::new(zone), last: TimeForm::Iso8601, last_ns: None, is_s6: false }
    }

    /// The time that stands in a line (without its newline) that was read at `read_ns`.
    pub fn find(&mut self, line: &[u8], read_ns: i64) -> Option<TimeFound> {
        let at = if line.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
        let found = self.find_plain(line, at, read_ns);
        found.or_else(|| {
            let colored = Colored::of(&line[at..])?;
            let found = self.find_plain(&colored.text, 0, read_ns)?;
            // What stays in the line has no place.
            let place = |place: usize| if found.end == 0 { 0 } else { at + place };
            let (start, end) = (place(colored.start(found.start)), place(colored.end(found.end)));
            Some(TimeFound { start, end, ..found })
        })
    }

    fn find_plain(&mut self, line: &[u8], at: usize, read_ns: i64) -> Option<TimeFound> {
        match &self.format {
            Format::Pattern(pattern) => {
                let (time, len) = BrokenDownTime::parse_prefix(pattern, &line[at..]).ok()?;
                let end = at + len;
                let has_fraction = time.subsec_nanosecond().is_some();
                let digits = if has_fraction { scan::digits_of_fraction(&line[at..end]) } else { 0 };
                let ns = self.local.broken_down(time, read_ns)?;
                Some(TimeFound { time: Time { ns, digits }, start: at, end })
            }
            Format::Form(form) => {
                let stamp = forms::find(*form, line, at)?;
                Some(found(self.local.time_ns(&stamp, read_ns)?, &stamp))
            }
            Format::Auto => self.find_any(line, at, read_ns),
        }
    }

    fn find_any(&mut self, line: &[u8], at: usize, read_ns: i64) -> Option<TimeFound> {
        let last = self.last;
        if let Some(found) = self.find_form(last, line, at, read_ns) {
            return Some(found);
        }
        let others = possible(line.get(at).copied()).iter().copied().filter(|form| *form != last);
        for form in others {
            if let Some(found) = self.find_form(form, line, at, read_ns) {
                self.last = form;
                return Some(found);
            }
        }
        None
    }

    fn find_form(&mut self, form: TimeForm, line: &[u8], at: usize, read_ns: i64) -> Option<TimeFound> {
        let stamp = forms::find(form, line, at)?;
        let mut ns = self.local.time_ns(&stamp, read_ns)?;
        let is_odd = match (form, stamp.date) {
            (TimeForm::Number, _) => self.last_ns.is_some_and(|last| (ns - last).abs() > NUMBER_NS_MAX),
            (_, Date::ShortYear(_)) => ns > read_ns.saturating_add(AHEAD_NS_MAX),
            (TimeForm::Tai64n, _) => {
                ns = self.time_of_label(ns, read_ns);
                false
            }
            _ => false,
        };
        if is_odd {
            return None;
        }
        self.last_ns = Some(ns);
        Some(found(ns, &stamp))
    }

    /// A label that is of the future by the one distance from TAI and not by the other shows that s6 wrote it.
    fn time_of_label(&mut self, ns: i64, read_ns: i64) -> i64 {
        let by_s6 = ns - (forms::TAI_OFFSET_S6 - forms::TAI_OFFSET) * 1_000_000_000;
        let now = read_ns.saturating_add(SKEW_NS_MAX);
        self.is_s6 |= by_s6 <= now && now < ns;
        if self.is_s6 { by_s6 } else { ns }
    }
}

fn found(ns: i64, stamp: &Written<'_>) -> TimeFound {
    TimeFound { time: Time { ns, digits: stamp.fraction.digits }, start: stamp.start, end: stamp.end }
}

/// The forms that a line can have that begins with this byte, cheap and certain first.
fn possible(first: Option<u8>) -> &'static [TimeForm] {
    match first {
        Some(b'{') => &[TimeForm::Json],
        Some(b'@') => &[TimeForm::Tai64n],
        Some(b'0'..=b'9') => &[TimeForm::Iso8601, TimeForm::Number, TimeForm::Written, TimeForm::Clf],
        Some(b'[') => &[TimeForm::Iso8601, TimeForm::Number, TimeForm::Kernel, TimeForm::Written, TimeForm::Clf],
        Some(b'<') => &[TimeForm::Rfc5424, TimeForm::Rfc3164, TimeForm::Kernel, TimeForm::Written, TimeForm::Clf],
        Some(byte) if byte.is_ascii_alphabetic() => {
            &[TimeForm::Rfc3164, TimeForm::Klog, TimeForm::Logfmt, TimeForm::Number, TimeForm::Written, TimeForm::Clf]
        }
        _ => &[TimeForm::Logfmt, TimeForm::Written, TimeForm::Clf],
    }
}

#[cfg(test)]
mod tests;
