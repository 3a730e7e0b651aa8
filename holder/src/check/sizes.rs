//! Rules about the size of a pipe: smaller than its policy asks for, and which limit of the kernel made it so.

use standpipe_common::policy::PipeSize;
use standpipe_common::shown::counted;
use standpipe_common::sys::PAGE_BYTES;
use standpipe_common::units::ByteSize;

use super::facts::Facts;
use super::finding::{Finding, Severity};
use super::traffic::{names, start_or_tell};
use crate::advice::{as_root, hang_up};
use crate::beside::There;
use crate::sizing::{AUTO_BYTES_MAX, KERNEL_DEFAULT_BYTES, mending_pages};
use crate::survey::{Answer, Pipe, Survey};

/// Pipes of the size `auto` that have less than the kernel gives everybody: one finding for all.
pub fn of_shares(survey: &Survey, facts: &Facts) -> Option<Finding> {
    let is_auto = |pipe: &&Pipe| pipe.entry.policy.pipe_size == PipeSize::Auto;
    let is_small = |pipe: &&Pipe| granted(pipe).is_some_and(|bytes| bytes < KERNEL_DEFAULT_BYTES);
    let pipes = survey.pipes.iter().filter(is_auto).count() + staging(survey);
    let small: Vec<&Pipe> = survey.pipes.iter().filter(is_auto).filter(is_small).collect();
    let least = small.iter().filter_map(|pipe| granted(pipe)).min()?;
    Some(Finding {
        pipe: None,
        severity: Severity::Warning,
        kind: "small_share",
        what: format!(
            "{} smaller than {} (the smallest: {least} bytes): {}",
            counted(small.len() as u64, "pipe"),
            bytes(KERNEL_DEFAULT_BYTES),
            names(&small)
        ),
        path: survey.dir.clone(),
        why: format!(
            "a small pipe fills up sooner, and a full pipe makes its server wait; all pipes of a user share fs.pipe-user-pages-soft = {} pages",
            facts.pages_soft
        ),
        mend: raise("pipe-user-pages-soft", mending_pages(pipes).max(facts.pages_soft as usize), facts),
    })
}

/// A pipe with less than the number that its policy names.
pub fn of_pipe(pipe: &Pipe, survey: &Survey, facts: &Facts) -> Option<Finding> {
    let PipeSize::Bytes(wanted) = pipe.entry.policy.pipe_size else { return None };
    let wanted = (wanted as usize).max(PAGE_BYTES).next_power_of_two();
    let granted = granted(pipe).filter(|&granted| granted < wanted)?;
    let is_unlimited = facts.account.as_ref().is_some_and(|account| account.is_unlimited);
    let (cause, mend) = match limit(wanted, is_unlimited, facts) {
        KernelLimit::One => (
            format!("without CAP_SYS_RESOURCE a pipe is limited to fs.pipe-max-size = {}", facts.pipe_bytes_max),
            raise("pipe-max-size", wanted, facts),
        ),
        KernelLimit::All => (
            format!("all pipes of a user share fs.pipe-user-pages-soft = {} pages", facts.pages_soft),
            raise("pipe-user-pages-soft", facts.pages_soft as usize + pages(survey), facts),
        ),
        KernelLimit::None => {
            ("holder has not read this setting yet".to_owned(), start_or_tell("holder", survey, facts))
        }
    };
    let what = format!("its size is {}, less than its pipe_size of {}", bytes(granted), bytes(wanted));
    let why = format!("it fills up sooner, and a full pipe makes its server wait; {cause}");
    Some(Finding::of(pipe, Severity::Warning, "small", what).why(why).mend(mend))
}

/// What stands in the way.
#[derive(Debug, PartialEq, Eq)]
enum KernelLimit {
    /// Of one pipe.
    One,
    /// Of all pipes of a user together.
    All,
    /// Nothing.
    None,
}

fn limit(wanted: usize, is_unlimited: bool, facts: &Facts) -> KernelLimit {
    match () {
        () if is_unlimited => KernelLimit::None,
        () if wanted as u64 > facts.pipe_bytes_max => KernelLimit::One,
        () if facts.pages_soft > 0 => KernelLimit::All,
        () => KernelLimit::None,
    }
}

/// Bytes of a pipe that a holder has had in its hands.
fn granted(pipe: &Pipe) -> Option<usize> {
    (pipe.held() == Answer::Yes && pipe.twin.is_none()).then_some(pipe.level?.capacity)
}

/// How many staging pipes stand beside them.
fn staging(survey: &Survey) -> usize {
    let all = survey.pipes.iter().filter_map(|pipe| pipe.beside.as_ref());
    all.filter(|beside| matches!(beside.there, There::Fifo(_))).count()
}

/// What all pipes together ask for.
fn pages(survey: &Survey) -> usize {
    let each = survey.pipes.iter().map(|pipe| match pipe.entry.policy.pipe_size {
        PipeSize::Bytes(bytes) => bytes as usize,
        PipeSize::Auto => AUTO_BYTES_MAX,
    });
    (each.sum::<usize>() + staging(survey) * KERNEL_DEFAULT_BYTES).div_ceil(PAGE_BYTES)
}

fn raise(setting: &str, value: usize, facts: &Facts) -> String {
    let raised = as_root(&format!("sysctl fs.{setting}={value}"));
    facts.holder.as_ref().map_or_else(|| raised.clone(), |holder| format!("{raised} && {}", hang_up(holder)))
}

fn bytes(count: usize) -> ByteSize {
    ByteSize(count as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_that_stands_in_the_way_is_named() {
        let facts = |pages_soft| Facts {
            account: None,
            holder: None,
            reader: None,
            starts: [None, None],
            worlds: Vec::new(),
            rotated: Vec::new(),
            protected_fifos: 1,
            pages_soft,
            pipe_bytes_max: 1 << 20,
        };
        for (wanted, is_unlimited, pages_soft, expected) in [
            (1 << 21, false, 16384, KernelLimit::One),
            (1 << 20, false, 16384, KernelLimit::All),
            (1 << 20, false, 0, KernelLimit::None),
            (1 << 21, true, 16384, KernelLimit::None),
        ] {
            assert_eq!(limit(wanted, is_unlimited, &facts(pages_soft)), expected, "{wanted} {is_unlimited}");
        }
    }
}
