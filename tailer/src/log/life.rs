//! What becomes of a generation, and who has its file meanwhile.
//!
//! | | `cut` | `end` | `seek` | `hide` | `go_on` | `finish` | `park` | `come_back` |
//! |---|---|---|---|---|---|---|---|---|
//! | reading, open | cut | | sought | | reading | over, open | reading, parked | as it is |
//! | reading, unpacking | | | sought | | reading | over, unpacking | reading, parked | as it is |
//! | reading, parked | | | sought | | reading | over, parked | as it is | as it is |
//! | cut | | over, parked | | | reading | over, open | | as it is |
//! | sought | | | sought | hidden | reading | over, parked | | as it is |
//! | hidden | | | sought | | | over, parked | | as it is |
//! | over, in any hand | | | sought | | reading | as it is | over, parked | reading |
//!
//! What is empty does not happen; debug builds assert it. Who is sought or hidden has no file, who was cut has an open one.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::time::Instant;

use crate::log::happening::Truncation;

/// Who has the bytes of a generation.
pub enum Hand {
    /// An open file.
    Open(File),
    /// An open packed file, of which those that were seen were unpacked.
    Unpacking(Box<dyn Read>),
    /// A file that is closed, or none.
    Parked,
}

/// What a generation is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Course {
    /// It is read.
    Reading,
    /// A truncation showed, and the next look deals with it.
    Cut(Truncation),
    /// Its file is gone or begins anew; its rest is looked for in other files.
    Sought {
        /// Since when.
        since: Instant,
        /// How long it was when it was last seen, if that is known.
        size: Option<u64>,
    },
    /// It may stand where nothing can be listed. What came later is read meanwhile, and the next list looks for it.
    Hidden {
        /// The same.
        size: Option<u64>,
    },
    /// It was read to its end, and that is final.
    Over,
}

/// The course that one is in, with what it has in it.
#[derive(Debug)]
pub struct Life {
    course: Course,
    hand: Hand,
}

impl Life {
    /// It is read from this.
    pub fn new(hand: Hand) -> Life {
        Life { course: Course::Reading, hand }
    }

    /// What it is at.
    pub fn course(&self) -> Course {
        self.course
    }

    /// Who has its bytes.
    pub fn hand(&self) -> &Hand {
        &self.hand
    }

    /// Its packed file, to go on in it.
    pub fn unpacking(&mut self) -> Option<&mut dyn Read> {
        match &mut self.hand {
            Hand::Unpacking(stream) => Some(stream),
            _ => None,
        }
    }

    /// Whether it is read, or will be when it is opened.
    pub fn is_reading(&self) -> bool {
        self.course == Course::Reading
    }

    /// Whether its file is gone, or begins anew, and the rest is looked for.
    pub fn is_sought(&self) -> bool {
        matches!(self.course, Course::Sought { .. } | Course::Hidden { .. })
    }

    /// Whether nothing more of it is read.
    pub fn is_over(&self) -> bool {
        self.course == Course::Over
    }

    /// Its file was truncated.
    pub fn cut(&mut self, why: Truncation) {
        debug_assert!(self.is_reading() && matches!(self.hand, Hand::Open(_)), "{self:?} is cut");
        self.set(Course::Cut(why));
    }

    /// What was truncated is over, and its file is another's.
    pub fn end(&mut self) -> Option<(Truncation, File)> {
        let Course::Cut(why) = self.course else { return None };
        let hand = std::mem::replace(&mut self.hand, Hand::Parked);
        self.set(Course::Over);
        if let Hand::Open(file) = hand { Some((why, file)) } else { None }
    }

    /// Its rest is looked for, of so many bytes.
    pub fn seek(&mut self, since: Instant, size: Option<u64>) {
        debug_assert!(!matches!(self.course, Course::Cut(_)), "what was cut ends first");
        self.hand = Hand::Parked;
        self.set(Course::Sought { since, size });
    }

    /// It may stand where nothing can be listed.
    pub fn hide(&mut self) {
        let Course::Sought { size, .. } = self.course else { return debug_assert!(false, "{self:?} hides") };
        self.set(Course::Hidden { size });
    }

    /// It is read from this.
    pub fn go_on(&mut self, hand: Hand) {
        debug_assert!(!matches!(self.course, Course::Hidden { .. }), "{self:?} goes on");
        self.hand = hand;
        self.set(Course::Reading);
    }

    /// What was read is all that anybody gets.
    pub fn finish(&mut self) {
        self.set(Course::Over);
    }

    /// Its file is closed.
    pub fn park(&mut self) {
        debug_assert!(matches!(self.course, Course::Reading | Course::Over), "{self:?} is parked");
        self.hand = Hand::Parked;
    }

    /// It may have more after all, if it was over.
    pub fn come_back(&mut self) {
        if self.course == Course::Over {
            self.set(Course::Reading);
        }
    }

    fn set(&mut self, course: Course) {
        self.course = course;
        let fits = match course {
            Course::Cut(_) => matches!(self.hand, Hand::Open(_)),
            Course::Sought { .. } | Course::Hidden { .. } => matches!(self.hand, Hand::Parked),
            Course::Reading | Course::Over => true,
        };
        debug_assert!(fits, "{self:?}");
    }
}

impl fmt::Debug for Hand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Hand::Open(_) => "Open",
            Hand::Unpacking(_) => "Unpacking",
            Hand::Parked => "Parked",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATES: [&str; 9] =
        ["open", "unpacking", "parked", "cut", "sought", "hidden", "over", "over packed", "over parked"];

    fn life(state: &str, now: Instant) -> Life {
        let open = || Life::new(Hand::Open(tempfile::tempfile().unwrap()));
        let packed = || Life::new(Hand::Unpacking(Box::new(std::io::empty())));
        let mut life = match state {
            "unpacking" | "over packed" => packed(),
            "parked" | "sought" | "hidden" | "over parked" => Life::new(Hand::Parked),
            _ => open(),
        };
        match state {
            "cut" => life.cut(Truncation::SizeDecreased),
            "sought" => life.seek(now, None),
            "hidden" => {
                life.seek(now, None);
                life.hide();
            }
            _ if state.starts_with("over") => life.finish(),
            _ => {}
        }
        life
    }

    fn shown(life: &Life) -> String {
        let course = match life.course() {
            Course::Reading => "reading",
            Course::Cut(_) => "cut",
            Course::Sought { .. } => "sought",
            Course::Hidden { .. } => "hidden",
            Course::Over => "over",
        };
        format!("{course} {:?}", life.hand())
    }

    /// A step of the table, and what becomes of each state by it; what is empty is asserted not to happen.
    type Row = (fn(&mut Life, Instant), [&'static str; 9]);

    #[test]
    fn each_step_leads_where_the_table_says() {
        let now = Instant::now();
        let rows: [Row; 8] = [
            (|life, _| life.cut(Truncation::SizeDecreased), ["cut Open", "", "", "", "", "", "", "", ""]),
            (|life, _| assert!(life.end().is_some()), ["", "", "", "over Parked", "", "", "", "", ""]),
            (
                |life, now| life.seek(now, None),
                [
                    "sought Parked",
                    "sought Parked",
                    "sought Parked",
                    "",
                    "sought Parked",
                    "sought Parked",
                    "sought Parked",
                    "sought Parked",
                    "sought Parked",
                ],
            ),
            (|life, _| life.hide(), ["", "", "", "", "hidden Parked", "", "", "", ""]),
            (
                |life, _| life.go_on(Hand::Parked),
                [
                    "reading Parked",
                    "reading Parked",
                    "reading Parked",
                    "reading Parked",
                    "reading Parked",
                    "",
                    "reading Parked",
                    "reading Parked",
                    "reading Parked",
                ],
            ),
            (
                |life, _| life.finish(),
                [
                    "over Open",
                    "over Unpacking",
                    "over Parked",
                    "over Open",
                    "over Parked",
                    "over Parked",
                    "over Open",
                    "over Unpacking",
                    "over Parked",
                ],
            ),
            (
                |life, _| life.park(),
                [
                    "reading Parked",
                    "reading Parked",
                    "reading Parked",
                    "",
                    "",
                    "",
                    "over Parked",
                    "over Parked",
                    "over Parked",
                ],
            ),
            (
                |life, _| life.come_back(),
                [
                    "reading Open",
                    "reading Unpacking",
                    "reading Parked",
                    "cut Open",
                    "sought Parked",
                    "hidden Parked",
                    "reading Open",
                    "reading Unpacking",
                    "reading Parked",
                ],
            ),
        ];
        for (step, (take, expected)) in rows.into_iter().enumerate() {
            for (state, expected) in STATES.into_iter().zip(expected).filter(|(_, expected)| !expected.is_empty()) {
                let mut life = life(state, now);
                take(&mut life, now);
                assert_eq!(shown(&life), expected, "step {step} from {state}");
            }
        }
    }
}
