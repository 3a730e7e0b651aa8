//! Renders a time as `2026-11-21T10:00:00.000000Z`, with as many digits as its source has.
//!
//! The last second is kept as text, for most lines share it with the line before.

use jiff::Timestamp;
use jiff::tz::Offset;

use crate::out::timestamp::Time;

const NS_PER_SECOND: i64 = 1_000_000_000;

/// Renders times in UTC.
#[derive(Debug)]
pub(super) struct Stamper {
    second: i64,
    /// `2026-11-21T10:00:00` of that second.
    text: [u8; 19],
}

impl Default for Stamper {
    fn default() -> Stamper {
        Stamper { second: 0, text: *b"1970-01-01T00:00:00" }
    }
}

impl Stamper {
    /// Appends a time.
    pub(super) fn push(&mut self, time: Time, out: &mut Vec<u8>) {
        let second = time.ns.div_euclid(NS_PER_SECOND);
        if second != self.second {
            self.render(second);
        }
        out.extend_from_slice(&self.text);
        if time.digits > 0 {
            let mut fraction = *b".000000000";
            put_digits(time.ns.rem_euclid(NS_PER_SECOND), &mut fraction[1..]);
            out.extend_from_slice(&fraction[..=usize::from(time.digits.min(9))]);
        }
        out.push(b'Z');
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
            let nanos = time_ns.rem_euclid(NS_PER_SECOND);
            let second = Timestamp::from_second(time_ns.div_euclid(NS_PER_SECOND)).unwrap();
            for digits in 0..=9 {
                let mut out = Vec::new();
                stamper.push(Time { ns: time_ns, digits }, &mut out);
                let fraction = format!(".{nanos:09}")[..=usize::from(digits)].to_owned();
                let fraction = if digits == 0 { "" } else { &fraction };
                let text = format!("{}{fraction}Z", second.strftime("%FT%T"));
                assert_eq!(String::from_utf8(out).unwrap(), text, "{expected}");
            }
        }
    }
}
