//! When a generation is finished, and when the next one may be read. Pure.

use std::time::Duration;

use crate::follow::settings::Settings;
use crate::lease::Writers;

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

/// Whether nothing can be added to it any more, as far as it can be known.
///
/// Where the kernel does not say who writes, quiet has to do: what is appended to a finished file that still has a name
/// is found by its size and read late.
pub fn is_finished(facts: &Facts, settings: &Settings) -> bool {
    if settings.is_batch {
        return true;
    }
    if facts.is_live {
        return false;
    }
    match facts.writers {
        Some(Writers::Nobody) => true,
        Some(Writers::Somebody) | None => false,
        Some(Writers::Unknown) => {
            // Another writer than the one that closed it may still complete a line.
            let is_left = facts.was_closed && !facts.is_inside_line;
            facts.quiet >= settings.drain_idle || (is_left && facts.quiet >= settings.max_idle)
        }
    }
}

/// Whether the generation after it may be read although this one is not finished.
pub fn may_pass(facts: &Facts, settings: &Settings) -> bool {
    let is_quiet = facts.writers == Some(Writers::Unknown) && facts.quiet >= settings.quiet;
    // In a batch it is closed only until there is a descriptor for it.
    !settings.is_batch && !facts.is_live && (is_quiet || facts.rotated >= settings.late_writer_max)
}

/// Whether its descriptor may be given back while it waits.
pub fn may_close(facts: &Facts, settings: &Settings) -> bool {
    let unknown = facts.writers == Some(Writers::Unknown);
    !facts.is_live && unknown && facts.has_name && facts.quiet >= settings.max_idle
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
            assert_eq!(is_finished(&facts, &settings), expected, "{facts:?}");
        }
        let batch = Settings { is_batch: true, ..settings };
        assert!(is_finished(&Facts { is_live: true, ..facts(None, 0, 0) }, &batch));
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
            assert_eq!(may_pass(&facts, &settings), expected, "{facts:?}");
            assert!(!may_pass(&facts, &Settings { is_batch: true, ..settings.clone() }), "{facts:?}");
        }
    }

    #[test]
    fn a_quiet_generation_with_a_name_is_closed_where_the_kernel_says_nothing() {
        let settings = Settings::default();
        let unnamed = Facts { has_name: false, ..facts(Some(Writers::Unknown), 5_000, 5_000) };
        assert!(may_close(&facts(Some(Writers::Unknown), 5_000, 5_000), &settings));
        assert!(!may_close(&facts(Some(Writers::Unknown), 4_999, 5_000), &settings));
        assert!(!may_close(&facts(Some(Writers::Somebody), 5_000, 5_000), &settings));
        assert!(!may_close(&unnamed, &settings));
    }

    #[test]
    fn questions_become_rarer() {
        let ms = |closed| (1..=8).map(|asked| ask_again_after(asked, closed).as_millis()).collect::<Vec<_>>();
        assert_eq!(ms(None), [1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]);
        assert_eq!(ms(Some(Duration::from_secs(1))), ms(None));
        assert_eq!(ms(Some(Duration::from_millis(999))), [10, 20, 40, 80, 160, 320, 640, 640]);
    }
}
