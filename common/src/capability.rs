//! What the kernel lets this process do beyond what any user may.

use std::fs;

/// A capability, by its bit.
#[derive(Clone, Copy, Debug)]
pub enum Capability {
    /// Giving files to others.
    Chown = 0,
    /// Among much else, pipes without limit.
    SysAdmin = 21,
    /// Pipes without limit.
    SysResource = 24,
    /// Leases on files of others.
    Lease = 28,
}

/// Whether this process may do what `capability` allows. What cannot be read is not allowed.
pub fn is_capable(capability: Capability) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    effective(&status) >> capability as u32 & 1 == 1
}

/// Whether the limits of pipe memory do not bind us, as the kernel's `pipe_is_unprivileged_user` asks, which counts
/// capabilities of the initial namespace alone.
pub fn is_privileged_for_pipes() -> bool {
    (is_capable(Capability::SysResource) || is_capable(Capability::SysAdmin)) && is_initial_namespace()
}

/// Whether we may have leases on files of others, which the kernel asks of the initial namespace alone, too.
pub fn is_privileged_for_leases() -> bool {
    is_capable(Capability::Lease) && is_initial_namespace()
}

fn is_initial_namespace() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.split_whitespace().eq(["0", "0", "4294967295"])
}

/// The effective set in the text of `/proc/PID/status`.
fn effective(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    line.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_effective_set_is_found_among_the_others() {
        assert_eq!(effective("CapPrm:\t00000000ffffffff\nCapEff:\t0000000001200001\n"), 0x0120_0001);
        assert_eq!(effective("Name:\tholder\n"), 0);
    }
}
