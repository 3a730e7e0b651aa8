//! The count of lines can fail: each way in which a line can go wrong is seen as what it is.

use super::*;

fn stream(lines: &[u64]) -> Vec<u8> {
    lines.iter().flat_map(|&seq| line(7, seq, length(7, seq))).collect()
}

fn tally(bytes: &[u8], written: u64) -> Tally {
    let mut check = Check::new();
    bytes.chunks(97).for_each(|piece| check.feed(piece));
    check.finish(&[(7, written)])
}

#[test]
fn a_line_follows_from_its_numbers_and_no_two_are_alike() {
    for (seq, len) in [(0, LINE_BYTES_MIN), (1, 180), (99_999_999, LINE_BYTES_MAX)] {
        let line = line(3, seq, len);
        assert_eq!((line.len(), memchr::memchr(b'\n', &line)), (len, Some(len - 1)));
        assert_eq!(head(&line), Some((3, seq, len)));
    }
    assert_ne!(line(3, 1, 180)[20..], line(3, 2, 180)[20..]);
    let lengths: Vec<_> = (0..10_000).map(|seq| length(1, seq)).collect();
    assert!(lengths.iter().all(|len| (LINE_BYTES_MIN..=LINE_BYTES_MAX).contains(len)));
    assert!(lengths.iter().any(|&len| len > 3000) && lengths.iter().any(|&len| len < 30));
}

#[test]
fn all_lines_once_and_in_order_are_whole() {
    let tally = tally(&stream(&[0, 1, 2, 3]), 4);
    assert!(tally.is_whole() && tally.found == 4, "{tally:?}");
}

#[test]
fn what_is_lost_repeated_or_out_of_order_is_counted() {
    assert_eq!(tally(&stream(&[0, 1, 3]), 5), Tally { found: 3, lost: 2, ..Tally::default() });
    let repeated = Tally { found: 3, repeated: 1, ..Tally::default() };
    assert_eq!(tally(&stream(&[0, 1, 2, 2]), 3), repeated);
    assert_eq!(tally(&stream(&[0, 2, 1]), 3), Tally { found: 3, disordered: 1, ..Tally::default() });
    assert_eq!(tally(&stream(&[0, 1, 2]), 2), Tally { found: 2, foreign: 1, ..Tally::default() });
}

#[test]
fn what_is_torn_or_not_ours_is_counted() {
    let mut bytes = stream(&[0, 1, 2]);
    bytes[30] ^= 1;
    assert_eq!(tally(&bytes, 3), Tally { found: 2, lost: 1, torn: 1, ..Tally::default() });
    let cut = &stream(&[0, 1])[..stream(&[0, 1]).len() - 1];
    assert_eq!(tally(cut, 2), Tally { found: 1, lost: 1, torn: 1, ..Tally::default() });
    assert_eq!(tally(b"hello\n\n", 0), Tally { foreign: 2, ..Tally::default() });
    assert_eq!(tally(&line(8, 0, 50), 0), Tally { foreign: 1, ..Tally::default() });
}

#[test]
fn a_stamp_is_taken_off() {
    let mut check = Check::stamped(4);
    for seq in 0..3 {
        check.feed(b"now ");
        check.feed(&line(7, seq, 40));
    }
    assert!(check.finish(&[(7, 3)]).is_whole());
}
