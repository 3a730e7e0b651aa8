//! Reads digits, and the few fields that several forms of a time share.
//!
//! All take the line and a place in it, and give the place behind what they read: no slice can be out of bounds.

/// A number of exactly `count` decimal digits. `None`: they are none, or too many.
pub(super) fn digits(line: &[u8], at: usize, count: usize) -> Option<i64> {
    let mut number = 0_i64;
    for byte in line.get(at..at + count)? {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number = number.checked_mul(10)?.checked_add(i64::from(digit))?;
    }
    Some(number)
}

/// A number of exactly `count` hexadecimal digits, at most 16, that is not negative.
pub(super) fn hex(line: &[u8], at: usize, count: usize) -> Option<i64> {
    let text = str::from_utf8(line.get(at..at + count)?).ok()?;
    text.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| i64::from_str_radix(text, 16).ok()).flatten()
}

/// How many decimal digits stand there.
pub(super) fn run(line: &[u8], at: usize) -> usize {
    line.get(at..).map_or(0, |rest| rest.iter().take(20).take_while(|byte| byte.is_ascii_digit()).count())
}

/// Whether this byte stands there.
pub(super) fn is(line: &[u8], at: usize, byte: u8) -> bool {
    line.get(at) == Some(&byte)
}

/// Whether a time may end here: no letter or digit goes on with it.
pub(super) fn is_end(line: &[u8], at: usize) -> bool {
    line.get(at).is_none_or(|byte| !byte.is_ascii_alphanumeric())
}

/// `10:00:00`, eight bytes, as seconds of the day. A leap second is the first of the next minute.
pub(super) fn clock(line: &[u8], at: usize) -> Option<i64> {
    let (hour, minute, second) = (digits(line, at, 2)?, digits(line, at + 3, 2)?, digits(line, at + 6, 2)?);
    let is_time = line[at + 2] == b':' && line[at + 5] == b':' && hour < 24 && minute < 60 && second <= 60;
    is_time.then_some(hour * 3600 + minute * 60 + second)
}

/// `100000`: the same without colons, and the place behind it.
pub(super) fn compact_clock(line: &[u8], at: usize) -> Option<(i64, usize)> {
    let (hour, minute, second) = (digits(line, at, 2)?, digits(line, at + 2, 2)?, digits(line, at + 4, 2)?);
    (hour < 24 && minute < 60 && second <= 60).then_some((hour * 3600 + minute * 60 + second, at + 6))
}

/// A fraction of a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Fraction {
    pub nanos: i64,
    /// How many digits it has, at most 9.
    pub digits: u8,
}

/// `.123` or `,123` of any length; none is 0.
pub(super) fn fraction(line: &[u8], at: usize) -> (Fraction, usize) {
    let mut fraction = Fraction::default();
    if !matches!(line.get(at), Some(b'.' | b',')) || !line.get(at + 1).is_some_and(u8::is_ascii_digit) {
        return (fraction, at);
    }
    let (mut unit, mut end) = (100_000_000, at + 1);
    while let Some(digit) = line.get(end).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit <= 9) {
        fraction.nanos += i64::from(digit) * unit;
        fraction.digits = 9.min(fraction.digits + 1);
        unit /= 10;
        end += 1;
    }
    (fraction, end)
}

/// How many digits the last fraction in a text has, at most 9.
pub(super) fn digits_of_fraction(text: &[u8]) -> u8 {
    let point = text.iter().rposition(|byte| matches!(byte, b'.' | b','));
    point.map_or(0, |point| fraction(text, point).0.digits)
}

/// `Jan` to `Dec`, whatever their case, as 1 to 12.
pub(super) fn month(line: &[u8], at: usize) -> Option<i64> {
    let name: [u8; 3] = line.get(at..at + 3)?.try_into().ok()?;
    Some(match &name.map(|letter| letter.to_ascii_lowercase()) {
        b"jan" => 1,
        b"feb" => 2,
        b"mar" => 3,
        b"apr" => 4,
        b"may" => 5,
        b"jun" => 6,
        b"jul" => 7,
        b"aug" => 8,
        b"sep" => 9,
        b"oct" => 10,
        b"nov" => 11,
        b"dec" => 12,
        _ => return None,
    })
}

/// `<34>`: the place behind it, or `at` if there is none.
pub(super) fn behind_priority(line: &[u8], at: usize) -> usize {
    if !is(line, at, b'<') {
        return at;
    }
    let digits = line[at + 1..].iter().take(3).take_while(|byte| byte.is_ascii_digit()).count();
    if digits > 0 && is(line, at + 1 + digits, b'>') { at + digits + 2 } else { at }
}

/// Days since 1970-01-01. `None`: there is no such day.
/// After <https://howardhinnant.github.io/date_algorithms.html#days_from_civil>.
pub(super) fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days_max = match month {
        2 => 28 + i64::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=days_max).contains(&day) {
        return None;
    }
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Some(era * 146_097 + day_of_era - 719_468)
}
