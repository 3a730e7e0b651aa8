//! Reading one generation as far as it goes, and finding out there whether that is its end for good.

use nix::errno::Errno;

use crate::file::packed::TAKE_COST_BYTES;
use crate::log::finish::judge;
use crate::log::generation::{Asked, Generation};
use crate::log::happening::Happening;
use crate::log::life::Phase;
use crate::log::reading::{Hands, Step, conclude, step};
use crate::log::settings::Settings;

/// What it came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// More can be read now, or when there is room, or after a look.
    Behind,
    /// All was read that is there.
    AtEnd,
    /// And that is final.
    Finished,
}

/// Reads as far as it goes, at most about `left` bytes, of which what was read is taken.
pub fn drain(generation: &mut Generation, hands: &mut Hands<'_>, settings: &Settings, left: &mut usize) -> Outcome {
    if generation.must_wait(hands.now) {
        return Outcome::AtEnd;
    }
    loop {
        match generation.life.phase() {
            Phase::Over => {
                return if conclude(generation, hands) { Outcome::Finished } else { Outcome::Behind };
            }
            Phase::Cut(_) => return Outcome::Behind,
            Phase::Sought { .. } => return Outcome::AtEnd,
            Phase::Hidden { .. } => return Outcome::Finished,
            Phase::Reading => {}
        }
        hands.bytes_max = *left;
        match step(generation, hands) {
            Step::Went(bytes) => {
                generation.recover(hands.happenings);
                let taken = if generation.is_packed() { TAKE_COST_BYTES } else { 0 };
                *left = left.saturating_sub(bytes + taken);
                if *left == 0 {
                    return Outcome::Behind;
                }
            }
            Step::Full => return Outcome::Behind,
            Step::Truncated(truncation) => generation.life.cut(truncation),
            Step::Failed(errno) => {
                fail(generation, hands, settings, errno);
                if generation.life.is_reading() {
                    return Outcome::AtEnd;
                }
            }
            Step::AtEnd => {
                if generation.is_open() {
                    generation.recover(hands.happenings);
                }
                if !is_over(generation, hands, settings) {
                    return Outcome::AtEnd;
                }
            }
        }
    }
}

/// Whether the generation at whose end we are is finished; if so, it is from now on. `true` also if more was found.
fn is_over(generation: &mut Generation, hands: &mut Hands<'_>, settings: &Settings) -> bool {
    if !generation.is_live() && !settings.is_batch {
        generation.ask(settings.writers, hands.now);
    }
    let (verdict, _) = judge(&generation.facts(hands.now), settings);
    if verdict.is_finished && !generation.is_parked() {
        // What was written before the last writer was gone is read first: one more step must find nothing.
        generation.at_end = None;
        if generation.blank_bytes() > 0 {
            generation.blank.admit(generation.size);
        }
        match step(generation, hands) {
            Step::AtEnd => generation.life.finish(),
            Step::Truncated(truncation) => generation.life.cut(truncation),
            Step::Failed(errno) => fail(generation, hands, settings, errno),
            Step::Went(_) | Step::Full => generation.asked = Asked::default(),
        }
        return !generation.life.is_reading() || generation.at_end.is_none();
    }
    if verdict.may_close && generation.is_delivered() && generation.file().is_some() {
        generation.park();
    }
    false
}

fn fail(generation: &mut Generation, hands: &mut Hands<'_>, settings: &Settings, errno: Errno) {
    // A damaged packed file does not heal, and its stream cannot be wound back; and a batch waits for nothing.
    if settings.is_batch || generation.is_packed() {
        hands.happenings.push(Happening::OpenError { path: generation.path.clone(), errno });
        generation.life.finish();
    } else {
        generation.fail(errno, hands.now, hands.happenings);
    }
}
