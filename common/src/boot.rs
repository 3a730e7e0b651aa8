//! Which boot of the machine this is: after another one, files may end in what was never written.

use std::fs;

use crate::error::{Cannot, Result};

const SOURCE: &str = "/proc/sys/kernel/random/boot_id";

/// Text form of a boot id: 36 bytes, as the kernel prints it.
pub const BOOT_ID_BYTES: usize = 36;

/// A boot id as files have it: what is shorter ends in NUL bytes.
pub fn bytes(id: &str) -> [u8; BOOT_ID_BYTES] {
    let mut bytes = [0; BOOT_ID_BYTES];
    let len = id.len().min(BOOT_ID_BYTES);
    bytes[..len].copy_from_slice(&id.as_bytes()[..len]);
    bytes
}

/// The kernel's name of this boot. Under a test seam, what `STANDPIPE_TEST_BOOT` says.
pub fn id() -> Result<String> {
    #[cfg(any(debug_assertions, feature = "test-seams"))]
    if let Ok(id) = std::env::var("STANDPIPE_TEST_BOOT") {
        return Ok(id);
    }
    let id = fs::read_to_string(SOURCE).cannot("read", SOURCE)?;
    Ok(id.trim().to_owned())
}
