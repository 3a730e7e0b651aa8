//! Decides how large a pipe is to be. Numbers in, a number out: nothing is asked or changed here.
//!
//! The kernel gives every user `fs.pipe-user-pages-soft` pages for pipes; once they are used up, each further pipe of
//! that user, ours or not, shrinks to two pages. So `auto` shares three quarters of them among the pipes of a
//! directory, and leaves the rest to others. Staging pipes are taken off first; they are larger than the kernel makes
//! them only where that costs no pipe anything.

use standpipe_common::policy::PipeSize;
use standpipe_common::sys::PAGE_BYTES;

/// What `auto` asks for where nothing speaks against it.
pub const AUTO_BYTES_MAX: usize = 1 << 20;
/// What the kernel gives a pipe that nobody sized, and below which `auto` says that something is wrong.
pub const KERNEL_DEFAULT_BYTES: usize = 64 << 10;

/// What takes a block of the tailer at once: a large file is caught up in a fifth less time than through 64 KiB.
pub const STAGE_BYTES_MAX: usize = 512 << 10;

/// What pipes of the size `auto` get each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auto {
    /// [`AUTO_BYTES_MAX`], and staging pipes are large as well: no limit is near.
    Full,
    /// This many bytes, a power of two, because all of them share what their user may have.
    Share(usize),
}

impl Auto {
    /// Bytes a pipe.
    pub fn bytes(self) -> usize {
        match self {
            Auto::Full => AUTO_BYTES_MAX,
            Auto::Share(bytes) => bytes,
        }
    }
}

/// The size of each of `pipes` automatic pipes, beside which there are `staging` staging pipes. `None`: the user has
/// no limit.
pub fn auto(pipes: usize, staging: usize, pages_soft: Option<u64>) -> Auto {
    let Some(pages) = pages_soft else { return Auto::Full };
    let all = pages.saturating_mul(PAGE_BYTES as u64) / 4 * 3;
    if (pipes * AUTO_BYTES_MAX + staging * STAGE_BYTES_MAX) as u64 <= all {
        return Auto::Full;
    }
    let bytes = all.saturating_sub((staging * KERNEL_DEFAULT_BYTES) as u64) / pipes.max(1) as u64;
    let share = 1_u64 << bytes.max(1).ilog2();
    let share = (share.min(AUTO_BYTES_MAX as u64) as usize).max(PAGE_BYTES);
    debug_assert!(share.is_power_of_two(), "the kernel would make more of {share} bytes");
    Auto::Share(share)
}

/// How large the staging pipe of a target that has `target` bytes is to be: what the target does not take at once waits
/// in vain.
pub fn stage(auto: Auto, target: usize) -> usize {
    match auto {
        Auto::Full => target.clamp(KERNEL_DEFAULT_BYTES, STAGE_BYTES_MAX),
        Auto::Share(_) => KERNEL_DEFAULT_BYTES,
    }
}

/// The `fs.pipe-user-pages-soft` with which `pipes` pipes, automatic ones and staging pipes, have the kernel's default size each.
pub fn mending_pages(pipes: usize) -> usize {
    (pipes * (KERNEL_DEFAULT_BYTES / PAGE_BYTES) * 4).div_ceil(3)
}

/// What to ask the kernel for. `None`: the pipe is as it should be.
///
/// `now` is its capacity, `ours` whether we gave it that. A share shrinks what we made ourselves or what nobody sized;
/// a pipe that somebody else made larger stays so under `auto`.
pub fn change(wanted: PipeSize, auto: Auto, now: usize, ours: bool) -> Option<usize> {
    let bytes = match (wanted, auto) {
        (PipeSize::Bytes(bytes), _) => (bytes as usize).max(PAGE_BYTES).next_power_of_two(),
        (PipeSize::Auto, Auto::Share(share)) if ours || now <= KERNEL_DEFAULT_BYTES => share,
        (PipeSize::Auto, auto) => auto.bytes().max(now),
    };
    (bytes != now).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pipes_share_three_quarters_of_their_users_pages() {
        for (pipes, pages, bytes) in [
            (0, Some(16384), 1 << 20),
            (1, Some(16384), 1 << 20),
            (48, Some(16384), 1 << 20),
            (49, Some(16384), 512 << 10),
            (768, Some(16384), 64 << 10),
            (769, Some(16384), 32 << 10),
            (1000, Some(16384), 32 << 10),
            (1_000_000, Some(16384), 4 << 10),
            (1_000_000, Some(1), 4 << 10),
            (1, Some(u64::MAX), 1 << 20),
            (1_000_000, None, 1 << 20),
        ] {
            assert_eq!(auto(pipes, 0, pages).bytes(), bytes, "{pipes} pipes, {pages:?} pages");
        }
    }

    #[test]
    fn a_staging_pipe_counts_as_large_as_the_kernel_makes_it() {
        for (pipes, staging, bytes) in [
            (47, 16, 1 << 20),
            (48, 1, 512 << 10),
            (384, 384, 64 << 10),
            (384, 385, 32 << 10),
            (1, 768, 4 << 10),
            (1, 100_000, 4 << 10),
        ] {
            assert_eq!(auto(pipes, staging, Some(16384)).bytes(), bytes, "{pipes} pipes, {staging} staging pipes");
        }
    }

    #[test]
    fn a_staging_pipe_is_large_only_where_no_limit_is_near() {
        for (auto, target, bytes) in [
            (auto(1, 1, None), 1 << 20, 512 << 10),
            (auto(32, 32, Some(16384)), 1 << 20, 512 << 10),
            (auto(33, 32, Some(16384)), 1 << 20, 64 << 10),
            (Auto::Full, 128 << 10, 128 << 10),
            (Auto::Full, 8 << 10, 64 << 10),
            (Auto::Share(1 << 20), 1 << 20, 64 << 10),
        ] {
            assert_eq!(stage(auto, target), bytes, "{auto:?} {target}");
        }
    }

    #[test]
    fn the_value_that_mends_it_mends_it_and_one_page_less_does_not() {
        for pipes in [1, 2, 3, 769, 1000, 4096] {
            let pages = mending_pages(pipes) as u64;
            for staging in [0, pipes / 2] {
                let automatic = pipes - staging;
                assert!(auto(automatic, staging, Some(pages)).bytes() >= KERNEL_DEFAULT_BYTES, "{pipes}");
                assert!(auto(automatic, staging, Some(pages - 1)).bytes() < KERNEL_DEFAULT_BYTES, "{pipes}");
            }
        }
    }

    #[test]
    fn only_what_differs_is_asked_for() {
        const K: usize = 1 << 10;
        let literal = PipeSize::Bytes(5000);
        for (wanted, auto, now, ours, asked) in [
            (literal, Auto::Full, 64 * K, false, Some(8 * K)),
            (literal, Auto::Full, 8 * K, false, None),
            (PipeSize::Auto, Auto::Full, 64 * K, false, Some(1024 * K)),
            (PipeSize::Auto, Auto::Full, 1024 * K, true, None),
            (PipeSize::Auto, Auto::Full, 4096 * K, true, None),
            (PipeSize::Auto, Auto::Share(32 * K), 64 * K, false, Some(32 * K)),
            (PipeSize::Auto, Auto::Share(32 * K), 8 * K, false, Some(32 * K)),
            (PipeSize::Auto, Auto::Share(32 * K), 1024 * K, true, Some(32 * K)),
            (PipeSize::Auto, Auto::Share(32 * K), 1024 * K, false, None),
            (PipeSize::Auto, Auto::Share(512 * K), 64 * K, false, Some(512 * K)),
        ] {
            assert_eq!(change(wanted, auto, now, ours), asked, "{wanted:?} {auto:?} {now} {ours}");
        }
    }
}
