//! Renders a time as `2026-11-21T10:00:00.000000Z`.
//!
//! The last second is kept as text, for most lines share it with the line before.

use jiff::Timestamp;
use jiff::tz::Offset;

const NS_PER_SECOND: i64 = 1_000_000_000;
const NS_PER_MICROSECOND: i64 = 1000;

/// Renders times in UTC with microseconds.
#[derive(Debug)]
pub(super) struct Stamper {
    second: i64,
    /// `2026-11-21T10:00:00.` of that second.
    text: [u8; 20],
}

impl Default for Stamper {
    fn default() -> Stamper {
        Stamper { second: 0, text: *b"1970-01-01T00:00:00." }
    }
}

impl Stamper {
    /// Appends a time, in ns since the epoch.
    pub(super) fn push(&mut self, time_ns: i64, out: &mut Vec<u8>) {
        let second = time_ns.div_euclid(NS_PER_SECOND);
        if second != self.second {
            self.render(second);
        }
        let mut text = *b"2026-11-21T10:00:00.000000Z";
        text[..20].copy_from_slice(&self.text);
        put_digits(time_ns.rem_euclid(NS_PER_SECOND) / NS_PER_MICROSECOND, &mut text[20..26]);
        out.extend_from_slice(&text);
    }

    fn render(&mut self, second: i64) {
        // Any second of an `i64` of ns lies within the years that jiff knows.
        let time = Offset::UTC.to_datetime(Timestamp::from_second(second).unwrap_or_default());
        put_digits(time.year().into(), &mut self.text[0..4]);
        for (at, number) in
            [(5, time.month()), (8, time.day()), (11, time.hour()), (14, time.minute()), (17, time.second())]
        {
            put_digits(number.into(), &mut self.text[at..at + 2]);
        }
        self.second = second;
    }
}

fn put_digits(mut number: i64, out: &mut [u8]) {
    for digit in out.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_agrees_with_jiff() {
        let mut stamper = Stamper::default();
        for time_ns in [0, 1999, -1, 951_782_399_999_999_999, 1_795_255_200_000_001_000, i64::MAX, i64::MIN, 0] {
            let expected = Timestamp::from_nanosecond(time_ns.into()).unwrap();
            let mut out = Vec::new();
            stamper.push(time_ns, &mut out);
            let micros = time_ns.rem_euclid(NS_PER_SECOND) / 1000;
            let second = Timestamp::from_second(time_ns.div_euclid(NS_PER_SECOND)).unwrap();
            assert_eq!(
                String::from_utf8(out).unwrap(),
                format!("{}.{micros:06}Z", second.strftime("%FT%T")),
                "{expected}"
            );
        }
    }
}
