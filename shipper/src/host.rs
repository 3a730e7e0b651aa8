//! Which machine the lines come from, as OpenTelemetry names it.

use std::fs;

/// Where systemd and others keep the machine's id.
const MACHINE_ID: [&str; 2] = ["/etc/machine-id", "/var/lib/dbus/machine-id"];

/// `host.name` and `host.id`, as far as they are known.
pub fn attributes() -> Vec<(&'static str, String)> {
    let read = |path: &str| Some(fs::read_to_string(path).ok()?.trim().to_owned()).filter(|id| !id.is_empty());
    let name = read("/proc/sys/kernel/hostname");
    let id = MACHINE_ID.into_iter().find_map(read);
    [("host.name", name), ("host.id", id)].into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
}
