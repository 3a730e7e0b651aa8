//! Each part against the one before it: whether lines that go over their ends go on, and whether they arrived in the
//! order of their names. Pure.
//!
//! What neither tells is no finding: the part before the oldest one has expired, a segment does not tell how it begins,
//! and a part that is damaged may have begun or ended in any way.

use super::examine::{Edges, Examined, Finding, Kind};

/// Takes the parts one after the other.
#[derive(Default)]
pub struct Chain {
    before: Option<(usize, Edges)>,
}

impl Chain {
    /// The next part of a pipe, with what comes of the one before it. `None`: it has expired.
    pub fn link(&mut self, pipe: usize, examined: Option<Examined>) -> Option<Examined> {
        let before = self.before.take().filter(|(of, _)| *of == pipe).map(|(_, edges)| edges);
        let mut examined = examined?;
        let text = before.as_ref().and_then(|before| between(before, &examined.edges));
        if let Some((kind, text)) = text {
            examined.findings.insert(0, Finding::of(kind, &examined.path, None, text));
        }
        self.before = Some((pipe, examined.edges));
        Some(examined)
    }
}

fn between(before: &Edges, this: &Edges) -> Option<(Kind, &'static str)> {
    match (before.ends_inside, this.begins_inside) {
        (Some(true), Some(false)) => {
            return Some((
                Kind::Gap,
                "the previous part ends inside a line that does not continue here: bytes are missing",
            ));
        }
        (Some(false), Some(true)) => {
            return Some((
                Kind::Gap,
                "it begins inside a line whose beginning is not in the previous part: bytes are missing",
            ));
        }
        _ => {}
    }
    let is_earlier = this.span.zip(before.span).is_some_and(|(this, before)| this.1 < before.0);
    let text = "its lines arrived before those of the previous part: a file was renamed, or the clock was set back";
    is_earlier.then_some((Kind::Order, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edges(begins_inside: Option<bool>, ends_inside: Option<bool>, span: Option<(i64, i64)>) -> Edges {
        Edges { begins_inside, ends_inside, span }
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
}
