//! Each part against those before it: whether parts or bytes are missing by their numbers and offsets, whether lines that
//! go over their ends go on, and whether they arrived in the order of their names. Pure.
//!
//! What none of these tells is no finding: the part before the oldest one has expired, a segment does not tell how it
//! begins, and a part that is damaged may have begun or ended in any way. Archives of another log that somebody put
//! among these are held against their own like.

use std::collections::BTreeMap;

use standpipe_common::serial::{LogId, Serial};

use super::examine::{Edges, Examined, Finding, Kind};

/// Takes the parts one after the other.
#[derive(Default)]
pub struct Chain {
    pipe: usize,
    before: Option<Edges>,
    /// What comes next in each log.
    next: BTreeMap<LogId, Serial>,
}

impl Chain {
    /// The next part of a pipe, with what comes of those before it. `None`: it has expired.
    pub fn link(&mut self, pipe: usize, examined: Option<Examined>) -> Option<Examined> {
        if pipe != self.pipe || examined.is_none() {
            *self = Chain { pipe, ..Chain::default() };
        }
        let mut examined = examined?;
        let this = examined.edges;
        let numbers = this.serial.and_then(|serial| by_number(*self.next.get(&serial.log)?, serial));
        let edges = || self.before.and_then(|before| between(&before, &this));
        if let Some((kind, text)) = numbers.or_else(edges) {
            examined.findings.insert(0, Finding::of(kind, &examined.path, None, text));
        }
        match (this.serial, this.next) {
            (Some(serial), Some(next)) => drop(self.next.insert(serial.log, next)),
            // Nobody knows what it is, or where it ends.
            _ => self.next.clear(),
        }
        self.before = Some(this);
        Some(examined)
    }
}

/// What is missing before a part, where `expected` was to come.
fn by_number(expected: Serial, this: Serial) -> Option<(Kind, String)> {
    let bytes = this.offset.checked_sub(expected.offset).filter(|count| *count > 0).map(|count| match count {
        1 => format!("byte {}", expected.offset),
        _ => format!("bytes {} to {}", expected.offset, this.offset - 1),
    });
    let (first, last) = (expected.number, this.number.saturating_sub(1));
    if this.number < first {
        let text = format!("it is part {} of the log, but follows part {}", this.number, first - 1);
        return Some((Kind::Order, text + ": a file was renamed or copied"));
    }
    let text = match (this.number - first, bytes) {
        (0, None) => return None,
        (0, Some(bytes)) => format!("the end of the previous part is missing: {bytes} of the log"),
        (1, None) => format!("part {first} of the log is missing before it"),
        (1, Some(bytes)) => format!("part {first} of the log, {bytes}, is missing before it"),
        (_, None) => format!("parts {first} to {last} of the log are missing before it"),
        (_, Some(bytes)) => format!("parts {first} to {last} of the log, {bytes}, are missing before it"),
    };
    Some((Kind::Gap, text))
}

fn between(before: &Edges, this: &Edges) -> Option<(Kind, String)> {
    let finding = |kind, text: &str| Some((kind, text.to_owned()));
    match (before.ends_inside, this.begins_inside) {
        (Some(true), Some(false)) => {
            return finding(
                Kind::Gap,
                "the previous part ends inside a line that does not continue here: bytes are missing",
            );
        }
        (Some(false), Some(true)) => {
            return finding(
                Kind::Gap,
                "it begins inside a line whose beginning is not in the previous part: bytes are missing",
            );
        }
        _ => {}
    }
    let is_earlier = this.span.zip(before.span).is_some_and(|(this, before)| this.1 < before.0);
    let text = "its lines arrived before those of the previous part: a file was renamed, or the clock was set back";
    if is_earlier { finding(Kind::Order, text) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edges(begins_inside: Option<bool>, ends_inside: Option<bool>, span: Option<(i64, i64)>) -> Edges {
        Edges { begins_inside, ends_inside, span, ..Edges::default() }
    }

    #[test]
    fn a_line_that_does_not_go_on_is_a_gap_if_both_sides_tell() {
        let (yes, no) = (Some(true), Some(false));
        for (ends, begins, is_gap) in [
            (yes, no, true),
            (no, yes, true),
            (yes, yes, false),
            (no, no, false),
            (yes, None, false),
            (None, yes, false),
        ] {
            let found = between(&edges(None, ends, None), &edges(begins, None, None));
            assert_eq!(found.map(|(kind, _)| kind), is_gap.then_some(Kind::Gap), "{ends:?} {begins:?}");
        }
    }

    #[test]
    fn parts_that_overlap_in_time_are_in_order() {
        let found = |before, this| between(&edges(None, None, before), &edges(None, None, this)).is_some();
        assert!(found(Some((10, 20)), Some((1, 9))));
        assert!(!found(Some((10, 20)), Some((1, 10))));
        assert!(!found(Some((10, 20)), Some((20, 20))));
        assert!(!found(None, Some((1, 9))) && !found(Some((10, 20)), None));
    }

    #[test]
    fn what_is_missing_is_told_by_number_and_bytes() {
        let log: LogId = "00112233445566778899aabbccddeeff".parse().unwrap();
        let at = |number, offset| Serial { log, number, offset };
        for (this, said) in [
            (at(5, 100), None),
            (at(5, 90), None),
            (at(5, 120), Some("the end of the previous part is missing: bytes 100 to 119 of the log")),
            (at(5, 101), Some("the end of the previous part is missing: byte 100 of the log")),
            (at(6, 100), Some("part 5 of the log is missing before it")),
            (at(6, 120), Some("part 5 of the log, bytes 100 to 119, is missing before it")),
            (at(8, 100), Some("parts 5 to 7 of the log are missing before it")),
            (at(8, 120), Some("parts 5 to 7 of the log, bytes 100 to 119, are missing before it")),
            (at(4, 80), Some("it is part 4 of the log, but follows part 4: a file was renamed or copied")),
        ] {
            assert_eq!(by_number(at(5, 100), this).map(|(_, text)| text).as_deref(), said, "{this:?}");
        }
    }
}
