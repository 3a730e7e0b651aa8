//! The counter of names that are coarser than a microsecond: three digits as a rule, and no end.
//!
//! ```text
//! 000 … 899   900000 … 989999   990000000 … 998999999   999000000000 …
//! ```
//! So many leading nines, so many more groups of three: a longer counter begins with a nine where all shorter ones
//! have a smaller digit. So counters rise as plain byte strings whatever their length, and none has two spellings.

/// Most leading nines: more than ten million million parts in one period.
const NINES_MAX: usize = 5;

/// How many counters have that many leading nines.
fn size(nines: usize) -> u64 {
    900 * 100_u64.pow(nines as u32)
}

/// Digits after the leading nines.
fn width(nines: usize) -> usize {
    3 + 2 * nines
}

/// The text of a counter.
pub fn text(counter: u64) -> String {
    let (mut nines, mut rest) = (0, counter);
    while nines < NINES_MAX && rest >= size(nines) {
        rest -= size(nines);
        nines += 1;
    }
    format!("{}{rest:0width$}", "9".repeat(nines), width = width(nines))
}

/// Reads it back. `None`: it is not the text of a counter.
pub fn parse(text: &str) -> Option<u64> {
    let nines = text.bytes().take_while(|byte| *byte == b'9').count();
    let digits = text.get(nines..)?;
    let is_counter =
        nines <= NINES_MAX && digits.len() == width(nines) && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_counter.then(|| Some((0..nines).map(size).sum::<u64>() + digits.parse::<u64>().ok()?))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_have_three_digits_as_long_as_they_can() {
        for (counter, expected) in [
            (0, "000"),
            (7, "007"),
            (899, "899"),
            (900, "900000"),
            (901, "900001"),
            (90_899, "989999"),
            (90_900, "990000000"),
            (9_090_899, "998999999"),
            (9_090_900, "999000000000"),
        ] {
            assert_eq!(text(counter), expected);
            assert_eq!(parse(expected), Some(counter));
        }
    }

    #[test]
    fn counters_rise_as_byte_strings_and_come_back() {
        let mut last = text(0);
        for counter in 1..=2_000_000 {
            let next = text(counter);
            assert!(last < next, "{next} after {last}");
            assert_eq!(parse(&next), Some(counter));
            last = next;
        }
    }

    #[test]
    fn what_is_not_written_so_is_no_counter() {
        for text in
            ["", "0", "00", "0000", "900", "999", "99", "90000", "9000000", "-01", "+01", "00a", "00ä", "990000"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(parse(&"9".repeat(40)), None);
    }
}
