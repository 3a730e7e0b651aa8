//! Damaged and hostile inputs for everything of standpipe that reads what others can write.
//!
//! Each [`Target`] is one reader of bytes with a few good inputs. [`run`] changes these at random, gives them to the
//! reader, and watches it: no panic, no more memory than the target's bound, no more time than [`TIME_MAX`]. The same
//! seed makes the same inputs. What once failed stands in `corpus/TARGET`, and is tried first.
//!
//! [`mutate`] changes inputs, [`targets`] has all readers, [`seeds`] what they are begun with.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use peak_alloc::PeakAlloc;

use crate::mutate::Mutator;

pub mod mutate;
pub mod seeds;
pub mod targets;

/// Counts what is allocated, and the most of it.
#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Most CPU time that one input may take, in a debug build on a slow machine.
pub const TIME_MAX: Duration = Duration::from_secs(2);

/// Longest input, bytes.
pub const INPUT_BYTES_MAX: usize = 1 << 16;

/// One reader of bytes.
pub struct Target {
    /// What it is called, and its directory in the corpus.
    pub name: &'static str,
    /// Inputs that are right.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Words that mean something to it.
    pub words: &'static [&'static [u8]],
    /// Makes the checksum of a changed input right again, so that what stands behind it is reached.
    pub mend: fn(&mut [u8]),
    /// Reads an input; whatever it finds is right unless it panics.
    pub read: fn(&[u8]),
    /// Most memory that it may take besides the input, bytes.
    pub memory_max: usize,
}

/// What went wrong.
#[derive(Debug)]
pub struct Failure {
    /// With which input.
    pub input: Vec<u8>,
    /// What.
    pub what: String,
}

/// When it is enough.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    /// After so many inputs.
    Inputs(u64),
    /// After so much CPU time.
    Time(Duration),
}

/// Tries a target; how many inputs it read.
///
/// # Errors
/// The first input that it could not bear.
pub fn run(target: &Target, seed: u64, until: Until) -> Result<u64, Failure> {
    let seeds = (target.seeds)();
    let known = corpus(target.name);
    for input in known.iter().chain(&seeds) {
        try_one(target, input)?;
    }
    let mut mutator = Mutator::new(seed, target.words);
    let (begun, mut inputs) = (cpu_time(), 0);
    loop {
        let is_enough = match until {
            Until::Inputs(most) => inputs >= most,
            Until::Time(span) => inputs % 16 == 0 && cpu_time().saturating_sub(begun) >= span,
        };
        if is_enough {
            return Ok(inputs);
        }
        let mut input = mutator.mutate(&seeds);
        input.truncate(INPUT_BYTES_MAX);
        // Every fourth keeps the checksum that does not fit.
        if inputs % 4 != 0 {
            (target.mend)(&mut input);
        }
        try_one(target, &input)?;
        inputs += 1;
    }
}

fn try_one(target: &Target, input: &[u8]) -> Result<(), Failure> {
    let fail = |what: String| Err(Failure { input: input.to_vec(), what });
    let (begun, before) = (cpu_time(), MEMORY.current_usage());
    MEMORY.reset_peak_usage();
    let outcome = catch_unwind(AssertUnwindSafe(|| (target.read)(input)));
    let (spent, peak) = (cpu_time().saturating_sub(begun), MEMORY.peak_usage().saturating_sub(before));
    if outcome.is_err() {
        return fail("it panicked".to_owned());
    }
    if peak > target.memory_max {
        return fail(format!("it took {peak} bytes of memory; {} is the most", target.memory_max));
    }
    if spent > TIME_MAX {
        return fail(format!("it took {spent:?} of CPU time; {TIME_MAX:?} is the most"));
    }
    Ok(())
}

/// CPU time of this thread: whatever else the machine does.
fn cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

/// What once failed, in the order of its names.
fn corpus(target: &str) -> Vec<Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let mut paths: Vec<PathBuf> =
        fs::read_dir(dir).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort_unstable();
    paths.iter().filter_map(|path| fs::read(path).ok()).collect()
}
