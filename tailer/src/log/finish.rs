//! When a generation is finished, and when the next one may be read. Pure.

use std::time::Duration;

use crate::file::lease::Writers;
use crate::log::settings::Settings;

/// What is known of a generation whose end was reached.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// It has the live name.
    pub is_live: bool,
    /// What the kernel said of its writers; `None`: it was not asked since the file grew.
    pub writers: Option<Writers>,
    /// A writer was seen to close it since it grew.
    pub was_closed: bool,
    /// It has a name somewhere.
    pub has_name: bool,
    /// Its last line has no newline yet.
    pub is_inside_line: bool,
    /// Since it grew, or lost the live name if that is later.
    pub quiet: Duration,
    /// Since it lost the live name.
    pub rotated: Duration,
}

/// What may be done with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Nothing can be added to it any more, as far as it can be known.
    pub is_finished: bool,
    /// The generation after it may be read although this one is not finished.
    pub may_pass: bool,
    /// Its descriptor may be given back while it waits.
    pub may_close: bool,
}

/// What may be done with it, and after how long something else may be though nothing happens to it.
///
/// Where the kernel does not say who writes, quiet has to do: what is appended to a finished file that still has a name
/// is found by its size and read late.
pub fn judge(facts: &Facts, settings: &Settings) -> (Verdict, Option<Duration>) {
    if settings.is_batch {
        // One that is closed until there is a descriptor for it is not passed.
        return (Verdict { is_finished: true, ..Verdict::default() }, None);
    }
    if facts.is_live {
        return (Verdict::default(), None);
    }
    let is_unknown = facts.writers == Some(Writers::Unknown);
    let is_quiet = |span: Duration| is_unknown && facts.quiet >= span;
    // Another writer than the one that closed it may still complete a line.
    let is_left = facts.was_closed && !facts.is_inside_line;
    let verdict = Verdict {
        is_finished: facts.writers == Some(Writers::Nobody)
            || is_quiet(settings.drain_idle)
            || (is_left && is_quiet(settings.max_idle)),
        may_pass: is_quiet(settings.quiet) || facts.rotated >= settings.late_writer_max,
        may_close: facts.has_name && is_quiet(settings.max_idle),
    };
    let of_quiet = [settings.quiet, settings.max_idle, settings.drain_idle];
    let of_quiet = of_quiet.into_iter().filter(|_| is_unknown).map(|span| span.saturating_sub(facts.quiet));
    let of_all = of_quiet.chain([settings.late_writer_max.saturating_sub(facts.rotated)]);
    (verdict, of_all.filter(|left| !left.is_zero()).min())
}

/// A writer that closes its file is told of before it counts as gone: for so long the kernel is asked more often.
const CLOSING_SPAN: Duration = Duration::from_secs(1);

/// How long after a question to the kernel the next one is asked: 1 s, doubling to a minute; 10 ms, doubling, where a
/// writer was seen to close the file so long ago.
pub fn ask_again_after(asked: u32, closed: Option<Duration>) -> Duration {
    let doublings = asked.saturating_sub(1).min(6);
    let first = if closed.is_some_and(|ago| ago < CLOSING_SPAN) { 10 } else { 1000 };
    Duration::from_millis(first << doublings).min(Duration::from_secs(60))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(writers: Option<Writers>, quiet: u64, rotated: u64) -> Facts {
        let (quiet, rotated) = (Duration::from_millis(quiet), Duration::from_millis(rotated));
        Facts { is_live: false, writers, was_closed: false, has_name: true, is_inside_line: false, quiet, rotated }
    }

    #[test]
    fn a_generation_is_finished_when_nobody_can_write_or_it_was_quiet_for_long() {
        let settings = Settings::default();
        let table = [
            (facts(Some(Writers::Nobody), 0, 0), true),
            (facts(Some(Writers::Somebody), 100_000, 100_000), false),
            (facts(None, 100_000, 100_000), false),
            (facts(Some(Writers::Unknown), 59_999, 100_000), false),
            (facts(Some(Writers::Unknown), 60_000, 100_000), true),
            (Facts { was_closed: true, ..facts(Some(Writers::Unknown), 4_999, 9_000) }, false),
            (Facts { was_closed: true, ..facts(Some(Writers::Unknown), 5_000, 9_000) }, true),
            (Facts { was_closed: true, is_inside_line: true, ..facts(Some(Writers::Unknown), 59_999, 90_000) }, false),
            (Facts { was_closed: true, is_inside_line: true, ..facts(Some(Writers::Unknown), 60_000, 90_000) }, true),
            (Facts { is_live: true, ..facts(Some(Writers::Nobody), 100_000, 100_000) }, false),
        ];
        for (facts, expected) in table {
            assert_eq!(judge(&facts, &settings).0.is_finished, expected, "{facts:?}");
        }
        let batch = Settings { is_batch: true, ..settings };
        assert!(judge(&Facts { is_live: true, ..facts(None, 0, 0) }, &batch).0.is_finished);
    }

    #[test]
    fn the_next_generation_waits_for_a_writer_but_not_for_ever() {
        let settings = Settings::default();
        let table = [
            (facts(Some(Writers::Somebody), 9_999, 9_999), false),
            (facts(Some(Writers::Somebody), 0, 10_000), true),
            (facts(None, 0, 10_000), true),
            (facts(Some(Writers::Unknown), 999, 5_000), false),
            (facts(Some(Writers::Unknown), 1_000, 5_000), true),
            (facts(Some(Writers::Unknown), 0, 10_000), true),
            (Facts { is_live: true, ..facts(Some(Writers::Unknown), 90_000, 90_000) }, false),
        ];
        for (facts, expected) in table {
            assert_eq!(judge(&facts, &settings).0.may_pass, expected, "{facts:?}");
            assert!(!judge(&facts, &Settings { is_batch: true, ..settings.clone() }).0.may_pass, "{facts:?}");
        }
    }

    #[test]
    fn a_quiet_generation_with_a_name_is_closed_where_the_kernel_says_nothing() {
        let settings = Settings::default();
        let unnamed = Facts { has_name: false, ..facts(Some(Writers::Unknown), 5_000, 5_000) };
        let may_close = |facts| judge(&facts, &settings).0.may_close;
        assert!(may_close(facts(Some(Writers::Unknown), 5_000, 5_000)));
        assert!(!may_close(facts(Some(Writers::Unknown), 4_999, 5_000)));
        assert!(!may_close(facts(Some(Writers::Somebody), 5_000, 5_000)));
        assert!(!may_close(unnamed));
    }

    #[test]
    fn time_alone_changes_nothing_before_the_moment_that_is_returned() {
        let settings = Settings::default();
        let all = [None, Some(Writers::Nobody), Some(Writers::Somebody), Some(Writers::Unknown)];
        for (writers, bits) in all.into_iter().flat_map(|writers| (0..8).map(move |bits| (writers, bits))) {
            let kind = |quiet, rotated| Facts {
                was_closed: bits & 1 > 0,
                has_name: bits & 2 > 0,
                is_inside_line: bits & 4 > 0,
                ..facts(writers, quiet, rotated)
            };
            let (mut passed, mut steps, head_start) = (0, 0, 300);
            while let (verdict, Some(left)) = judge(&kind(passed, passed + head_start), &settings) {
                let left = left.as_millis() as u64;
                let before = judge(&kind(passed + left - 1, passed + left - 1 + head_start), &settings);
                assert_eq!(
                    before,
                    (verdict, Some(Duration::from_millis(1))),
                    "{:?}",
                    kind(passed, passed + head_start)
                );
                (passed, steps) = (passed + left, steps + 1);
            }
            let last = judge(&kind(passed, passed + head_start), &settings).0;
            assert_eq!(judge(&kind(1 << 40, 1 << 40), &settings), (last, None), "it comes to an end");
            assert_eq!(steps, if writers == Some(Writers::Unknown) { 4 } else { 1 });
        }
    }

    #[test]
    fn questions_become_rarer() {
        let ms = |closed| (1..=8).map(|asked| ask_again_after(asked, closed).as_millis()).collect::<Vec<_>>();
        assert_eq!(ms(None), [1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]);
        assert_eq!(ms(Some(Duration::from_secs(1))), ms(None));
        assert_eq!(ms(Some(Duration::from_millis(999))), [10, 20, 40, 80, 160, 320, 640, 640]);
    }
}
