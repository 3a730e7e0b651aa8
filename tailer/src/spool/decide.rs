//! What is to be done with one file of a spool, by what is known of it: a table.
//!
//! A file is complete when it has a marker that was made after it was born, for a process may have the name of one
//! that is long gone, and when nobody writes it any more. Where the kernel does not tell who writes, the marker decides,
//! once file and marker have rested for [`REST_SPAN`]. Without a directory for markers, nobody writing is enough.

use std::time::Duration;

use crate::config::spool::Stale;
use crate::file::lease::Writers;

/// How long a file and its marker are not touched before the marker counts where nobody tells of writers: one that
/// writes its last line right after its marker is not cut short.
pub const REST_SPAN: Duration = Duration::from_secs(1);

/// What is known of a file. Times are ns since the epoch.
#[derive(Clone, Copy, Debug)]
pub struct FileFacts {
    /// Its birth; of one that was written anew in place, its last write.
    pub born_ns: i64,
    /// Its last write.
    pub written_ns: i64,
    /// Bytes.
    pub size: u64,
    /// When its marker was touched. `None`: there is none.
    pub marked_ns: Option<i64>,
}

/// What holds for all files of a spool.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Whether there are markers.
    pub has_markers: bool,
    /// How long a file without one is left alone.
    pub max_age: Duration,
    /// What becomes of it then.
    pub stale: Stale,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is complete.
    Deliver,
    /// It never will be; it is delivered as it is.
    DeliverStale,
    /// It never will be; it goes.
    RemoveStale,
    /// Not yet.
    Wait,
    /// Nobody can tell.
    Unknown,
}

/// Decides. `ask` is called where it matters who writes the file.
pub fn decide(facts: FileFacts, rules: Rules, now_ns: i64, ask: impl FnOnce() -> Writers) -> Decision {
    let is_old = elapsed(facts.written_ns, now_ns) >= rules.max_age;
    if !rules.has_markers {
        return match ask() {
            Writers::Nobody if facts.size > 0 => Decision::Deliver,
            // Made to be opened again, perhaps.
            Writers::Nobody if is_old => Decision::RemoveStale,
            Writers::Nobody | Writers::Somebody => Decision::Wait,
            Writers::Unknown => Decision::Unknown,
        };
    }
    if let Some(marked_ns) = facts.marked_ns.filter(|marked_ns| *marked_ns >= facts.born_ns) {
        let rested = elapsed(facts.written_ns.max(marked_ns), now_ns) >= REST_SPAN;
        return match ask() {
            Writers::Nobody => Decision::Deliver,
            Writers::Unknown if rested => Decision::Deliver,
            Writers::Somebody | Writers::Unknown => Decision::Wait,
        };
    }
    if !is_old || ask() == Writers::Somebody {
        return Decision::Wait;
    }
    match rules.stale {
        Stale::Deliver => Decision::DeliverStale,
        Stale::Remove => Decision::RemoveStale,
    }
}

/// A time that is to come is as far as one that was: nobody waits for what a wrong clock wrote.
pub fn elapsed(since_ns: i64, now_ns: i64) -> Duration {
    Duration::from_nanos(now_ns.saturating_sub(since_ns).unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = 1_000_000_000;
    const NOW: i64 = 1000 * S;
    const RULES: Rules = Rules { has_markers: true, max_age: Duration::from_secs(100), stale: Stale::Deliver };

    fn facts(born: i64, written: i64, marked: Option<i64>) -> FileFacts {
        FileFacts { born_ns: born * S, written_ns: written * S, size: 5, marked_ns: marked.map(|at| at * S) }
    }

    #[test]
    fn a_marker_counts_if_it_is_no_older_than_the_file_and_nobody_writes() {
        use Decision::{Deliver, DeliverStale, Wait};
        use Writers::{Nobody, Somebody, Unknown};
        for (born, written, marked, writers, expected) in [
            (990, 995, Some(995), Nobody, Deliver),
            (990, 1000, Some(995), Nobody, Deliver),
            (990, 995, Some(990), Nobody, Deliver),
            (990, 995, Some(989), Nobody, Wait),
            (990, 995, None, Nobody, Wait),
            (990, 995, Some(995), Somebody, Wait),
            (990, 995, Some(995), Unknown, Deliver),
            // Without leases the file and its marker rest first.
            (990, 1000, Some(995), Unknown, Wait),
            (990, 995, Some(1000), Unknown, Wait),
            (990, 999, Some(999), Unknown, Deliver),
            (990, 995, Some(989), Unknown, Wait),
            // Old ones.
            (800, 899, None, Nobody, DeliverStale),
            (800, 901, None, Nobody, Wait),
            (800, 899, Some(799), Nobody, DeliverStale),
            (800, 899, None, Somebody, Wait),
            (800, 899, None, Unknown, DeliverStale),
        ] {
            let decision = decide(facts(born, written, marked), RULES, NOW, || writers);
            assert_eq!(decision, expected, "{born} {written} {marked:?} {writers:?}");
        }
        let remove = Rules { stale: Stale::Remove, ..RULES };
        assert_eq!(decide(facts(800, 899, None), remove, NOW, || Nobody), Decision::RemoveStale);
        assert_eq!(decide(facts(800, 899, Some(990)), remove, NOW, || Nobody), Decision::Deliver);
    }

    #[test]
    fn without_markers_a_file_is_complete_when_nobody_writes_it() {
        let rules = Rules { has_markers: false, ..RULES };
        let empty = FileFacts { size: 0, ..facts(990, 995, None) };
        let old = FileFacts { size: 0, ..facts(800, 899, None) };
        for (facts, writers, expected) in [
            (facts(990, 995, None), Writers::Nobody, Decision::Deliver),
            (facts(990, 995, None), Writers::Somebody, Decision::Wait),
            (facts(800, 899, None), Writers::Somebody, Decision::Wait),
            (facts(990, 995, None), Writers::Unknown, Decision::Unknown),
            (empty, Writers::Nobody, Decision::Wait),
            (old, Writers::Nobody, Decision::RemoveStale),
        ] {
            assert_eq!(decide(facts, rules, NOW, || writers), expected, "{facts:?} {writers:?}");
        }
    }

    #[test]
    fn nobody_is_asked_where_it_does_not_matter() {
        let asked = decide(facts(990, 995, None), RULES, NOW, || panic!("asked"));
        assert_eq!(asked, Decision::Wait);
    }
}
