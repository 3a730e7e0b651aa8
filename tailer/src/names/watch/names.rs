//! Who wants to know about which name in a directory.
//!
//! Thousands of logs may share one directory, and each event in it carries one name: whoever it concerns is found by
//! that name, never by asking all.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use crate::names::siblings::names::{is_rotation_of, stem};
use crate::names::watch::Who;
use crate::sources::part::Awaited;

/// Names that somebody wants to know about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Want {
    /// This one.
    Exactly(OsString),
    /// Those that rotators give to the file of this name.
    RotationOf(OsString),
    /// All that begin so.
    Beginning(OsString),
    /// Those that come where a glob or a spool waits for them.
    Awaited(Awaited),
}

impl Want {
    fn beginning(&self) -> &OsStr {
        match self {
            Want::Exactly(name) | Want::Beginning(name) => name,
            Want::RotationOf(live) => stem(live),
            Want::Awaited(awaited) => awaited.beginning(),
        }
    }
}

/// All that is wanted of one directory.
#[derive(Debug, Default)]
pub struct Names {
    exactly: HashMap<OsString, Vec<Who>>,
    beginnings: HashMap<OsString, Vec<(Want, Who)>>,
    /// How many of the beginnings have this length: few lengths, however many logs.
    lengths: BTreeMap<usize, usize>,
}

impl Names {
    /// Adds what is not there yet.
    pub fn add(&mut self, want: &Want, who: Who) {
        if let Want::Exactly(name) = want {
            let known = self.exactly.entry(name.clone()).or_default();
            if !known.contains(&who) {
                known.push(who);
            }
            return;
        }
        debug_assert_eq!(self.lengths.values().sum::<usize>(), self.beginnings.len());
        let beginning = want.beginning();
        let known = self.beginnings.entry(beginning.to_os_string()).or_insert_with(|| {
            *self.lengths.entry(beginning.len()).or_default() += 1;
            Vec::with_capacity(1)
        });
        if !known.iter().any(|(known, by)| *by == who && known == want) {
            known.push((want.clone(), who));
        }
    }

    /// Takes back what was added.
    pub fn remove(&mut self, want: &Want, who: Who) {
        let beginning = want.beginning();
        if let Want::Exactly(name) = want {
            let Some(known) = self.exactly.get_mut(name) else { return };
            known.retain(|by| *by != who);
            if known.is_empty() {
                self.exactly.remove(name);
            }
            return;
        }
        let Some(known) = self.beginnings.get_mut(beginning) else { return };
        known.retain(|(known, by)| *by != who || known != want);
        if known.is_empty() {
            self.beginnings.remove(beginning);
            let count = self.lengths.entry(beginning.len()).or_default();
            *count -= 1;
            if *count == 0 {
                self.lengths.remove(&beginning.len());
            }
        }
    }

    /// Whom `name`, which may be that of a directory, concerns.
    pub fn concerned(&self, name: &OsStr, is_directory: bool) -> impl Iterator<Item = Who> {
        let exactly = self.exactly.get(name).into_iter().flatten().copied();
        let lengths = self.lengths.range(..=name.len()).map(|(length, _)| *length);
        let beginnings =
            lengths.filter_map(|length| self.beginnings.get(OsStr::from_bytes(&name.as_bytes()[..length])));
        let fits = move |want: &Want| match want {
            Want::RotationOf(live) => is_rotation_of(live, name),
            Want::Awaited(awaited) => awaited.has(name, is_directory),
            Want::Exactly(_) | Want::Beginning(_) => true,
        };
        exactly.chain(beginnings.flatten().filter(move |(want, _)| fits(want)).map(|(_, who)| *who))
    }

    /// Everybody who wants to know anything, some more than once.
    pub fn everybody(&self) -> impl Iterator<Item = Who> {
        let beginnings = self.beginnings.values().flatten().map(|(_, who)| *who);
        self.exactly.values().flatten().copied().chain(beginnings)
    }

    /// Whether nobody wants to know anything.
    pub fn is_empty(&self) -> bool {
        self.exactly.is_empty() && self.beginnings.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::out::lines::SourceId;

    #[test]
    fn a_name_concerns_its_log_its_rotations_and_what_begins_so() {
        let mut names = Names::default();
        let source = |id| Who::Source(SourceId(id));
        let wants = [
            (Want::Exactly("app.log".into()), source(1)),
            (Want::RotationOf("app.log".into()), source(1)),
            (Want::RotationOf("app2.log".into()), source(2)),
            (Want::Beginning("app.log-o".into()), source(3)),
            (Want::Beginning("".into()), source(4)),
        ];
        for (want, who) in &wants {
            names.add(want, *who);
            names.add(want, *who);
        }
        let concerned = |names: &Names, name: &str| names.concerned(OsStr::new(name), false).collect::<Vec<_>>();
        assert_eq!(concerned(&names, "app.log"), [source(1), source(4)]);
        assert_eq!(concerned(&names, "app.log.1"), [source(4), source(1)]);
        assert_eq!(concerned(&names, "app2.log-20261121"), [source(4), source(2)]);
        assert_eq!(concerned(&names, "app.log-old"), [source(4), source(3)]);
        assert_eq!(concerned(&names, "x"), [source(4)]);
        for (want, who) in &wants {
            assert!(!names.is_empty());
            names.remove(want, *who);
            names.remove(want, *who);
        }
        assert!(names.is_empty() && names.lengths.is_empty());
    }
}
