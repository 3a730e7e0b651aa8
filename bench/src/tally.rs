//! What became of numbered lines: how many of those written a follower lost, repeated, or brought in another order.
//!
//! A line is `n=NNNNNNNN` and a filler, and all are equally long. What looks otherwise was torn.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use standpipe_common::error::{Cannot, Result};

/// Bytes of a line, its end included.
pub const LINE_BYTES: usize = 80;
const NUMBER: std::ops::Range<usize> = 2..10;

/// The line of this number.
pub fn line(number: u32) -> Vec<u8> {
    let mut line = format!("n={number:08} ").into_bytes();
    line.resize(LINE_BYTES - 1, b'a' + (number % 26) as u8);
    line.push(b'\n');
    line
}

/// What a follower made of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Written and not delivered.
    pub lost: usize,
    /// Of these, those that still could be read in a file of the rotator's when all was over.
    pub avoidable: usize,
    /// Delivered once more than they were written.
    pub twice: usize,
    /// Places at which a line came before one that was written earlier.
    pub inversions: usize,
    /// Lines that nobody wrote so.
    pub torn: usize,
}

impl Tally {
    /// Of what was `delivered` of the lines 1 to `written`, beside the rotator's directory `files`.
    pub fn of(delivered: &Path, written: u32, files: &Path) -> Result<Tally> {
        let bytes = fs::read(delivered).cannot("read", delivered)?;
        let mut left = HashSet::new();
        for entry in fs::read_dir(files).cannot("list", files)?.flatten() {
            let path = entry.path();
            left.extend(numbers(&fs::read(&path).cannot("read", &path)?).flatten());
        }
        Ok(Tally::count(&bytes, written, &left))
    }

    fn count(delivered: &[u8], written: u32, left: &HashSet<u32>) -> Tally {
        let mut tally = Tally::default();
        let mut seen = HashSet::new();
        let mut before = 0;
        for number in numbers(delivered) {
            match number {
                None => tally.torn += 1,
                // The line that is there before anything happens.
                Some(0) => {}
                Some(number) if !seen.insert(number) => tally.twice += 1,
                Some(number) => {
                    tally.inversions += usize::from(number < before);
                    before = number;
                }
            }
        }
        let lost = (1..=written).filter(|number| !seen.contains(number));
        for number in lost {
            tally.lost += 1;
            tally.avoidable += usize::from(left.contains(&number));
        }
        tally
    }
}

/// The numbers of all lines; `None` is a torn one.
fn numbers(text: &[u8]) -> impl Iterator<Item = Option<u32>> {
    text.split_inclusive(|&byte| byte == b'\n').map(|found| {
        let digits = str::from_utf8(found.get(NUMBER)?).ok()?;
        let number = digits.parse().ok()?;
        (line(number) == found).then_some(number)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fate_of_a_line_is_told_from_the_others() {
        let text = |numbers: &[u32]| numbers.iter().flat_map(|&number| line(number)).collect::<Vec<_>>();
        let count = |delivered: &[u8]| Tally::count(delivered, 4, &HashSet::from([1, 2]));
        let none = Tally::default();
        for (delivered, expected) in [
            (text(&[0, 1, 2, 3, 4]), none),
            (text(&[1, 4]), Tally { lost: 2, avoidable: 1, ..none }),
            (text(&[1, 2, 1, 2, 3, 4]), Tally { twice: 2, ..none }),
            (text(&[2, 1, 4, 3]), Tally { inversions: 2, ..none }),
            ([text(&[1, 2, 3, 4]), line(1)[5..].to_vec()].concat(), Tally { torn: 1, ..none }),
            ([text(&[1, 2, 3]), line(4)[..79].to_vec()].concat(), Tally { lost: 1, torn: 1, ..none }),
        ] {
            assert_eq!(count(&delivered), expected, "{}", delivered.escape_ascii());
        }
        assert!(line(7).len() == LINE_BYTES && line(7) != line(8));
    }
}
