//! Numbers as they stand in a time: digits, a fraction to 10⁻⁹, and what is left of the text behind them.

/// A decimal number without sign.
pub(super) struct Number {
    pub(super) digits: usize,
    /// `None`: more than can be counted.
    pub(super) whole: Option<i64>,
    billionths: i32,
}

impl Number {
    pub(super) fn of(text: &str) -> Option<Number> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let is_number = !whole.is_empty() && whole.bytes().all(|byte| byte.is_ascii_digit());
        let billionths = billionths(fraction)?;
        is_number.then(|| Number { digits: whole.len(), whole: whole.parse().ok(), billionths })
    }

    pub(super) fn fraction_of(&self, ns: i64) -> i128 {
        i128::from(self.billionths) * i128::from(ns) / 1_000_000_000
    }
}

/// The digits of a fraction as a whole number of 10⁻⁹; what is less is dropped.
pub(super) fn billionths(digits: &str) -> Option<i32> {
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let with_digit = |sum: i32, byte: u8| sum * 10 + i32::from(byte - b'0');
    is_number.then(|| digits.bytes().chain([b'0'; 9]).take(9).fold(0, with_digit))
}

pub(super) fn split_while(text: &str, belongs: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !belongs(c)).unwrap_or(text.len()))
}

pub(super) fn too_long() -> String {
    "that is beyond the year 9999".to_owned()
}
