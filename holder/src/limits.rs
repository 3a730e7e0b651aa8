//! How much memory for pipes the kernel allows this user.
//!
//! Only asked here. What follows from the answer is decided in [`crate::sizing`].

use std::fs;

use standpipe_common::capability;

const PAGES_SOFT: &str = "/proc/sys/fs/pipe-user-pages-soft";

/// The pages that the pipes of this user may have together. `None`: any number.
pub fn pipe_pages_soft() -> Option<u64> {
    if capability::is_privileged_for_pipes() {
        return None;
    }
    let pages = fs::read_to_string(PAGES_SOFT).ok().and_then(|text| text.trim().parse().ok());
    pages.filter(|&pages| pages > 0)
}
