//! Which boot of the machine this is: after another one, files may end in what was never written.

use std::fs;

use crate::error::{Cannot, Result};

const SOURCE: &str = "/proc/sys/kernel/random/boot_id";

/// Text form of a boot id: 36 bytes, as the kernel prints it.
pub const BOOT_ID_BYTES: usize = 36;

/// The kernel's name of this boot. Under a test seam, what `STANDPIPE_TEST_BOOT` says.
pub fn id() -> Result<String> {
    #[cfg(any(debug_assertions, feature = "test-seams"))]
    if let Ok(id) = std::env::var("STANDPIPE_TEST_BOOT") {
        return Ok(id);
    }
    let id = fs::read_to_string(SOURCE).cannot("read", SOURCE)?;
    Ok(id.trim().to_owned())
}
