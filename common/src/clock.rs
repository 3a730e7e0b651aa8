//! The wall clock, in nanoseconds since 1970-01-01T00:00:00Z.
//!
//! In builds with test seams the time can come from the file that `STANDPIPE_TEST_CLOCK` names; releases contain no
//! trace of it. Deliberately not here: the monotonic clock (`std::time::Instant` is enough) and any time zone.

use std::time::{SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};

/// The time now, in ns since the epoch. May step backwards; whoever needs order must see to it.
pub fn now_ns() -> i64 {
    #[cfg(any(debug_assertions, feature = "test-seams"))]
    if let Some(file) = test::file() {
        return test::read(file);
    }
    system_ns()
}

/// The time that a file gets that is made now, in ns since the epoch: that of the kernel's last tick, some milliseconds
/// behind [`now_ns`]. Never that of a test.
pub fn file_ns() -> i64 {
    match clock_gettime(ClockId::CLOCK_REALTIME_COARSE) {
        Ok(time) => time.tv_sec() * 1_000_000_000 + time.tv_nsec(),
        Err(_) => system_ns(),
    }
}

/// When this machine was started, in ns since the epoch, as `dmesg -T` reckons.
pub fn boot_ns() -> i64 {
    now_ns() - since_boot_ns()
}

/// The time since the boot in ns, suspends included: nobody can set it, and a test's clock has no part in it.
pub fn since_boot_ns() -> i64 {
    clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(0, |time| time.tv_sec() * 1_000_000_000 + time.tv_nsec())
}

/// Whether the time comes from a file. Loops must then look at it often, for no timer follows it.
pub fn is_test() -> bool {
    #[cfg(any(debug_assertions, feature = "test-seams"))]
    return test::file().is_some();
    #[cfg(not(any(debug_assertions, feature = "test-seams")))]
    false
}

fn system_ns() -> i64 {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(after) => after.as_nanos() as i64,
        Err(before) => -(before.duration().as_nanos() as i64),
    }
}

#[cfg(any(debug_assertions, feature = "test-seams"))]
mod test {
    use std::path::{Path, PathBuf};
    use std::sync::OnceLock;

    use crate::shown::Shown as _;

    static FILE: OnceLock<Option<PathBuf>> = OnceLock::new();

    pub fn file() -> Option<&'static Path> {
        FILE.get_or_init(|| std::env::var_os("STANDPIPE_TEST_CLOCK").map(PathBuf::from)).as_deref()
    }

    /// A test replaces the file by `rename`, so it is whole at any time; anything else is a mistake of the test.
    pub fn read(file: &Path) -> i64 {
        let text = std::fs::read_to_string(file);
        let text = text.unwrap_or_else(|cause| panic!("cannot read test clock {}: {cause}", file.shown()));
        parse(&text).unwrap_or_else(|| panic!("cannot read test clock {}: no time in {text:?}", file.shown()))
    }

    /// Decimal ns, or RFC 3339.
    pub fn parse(text: &str) -> Option<i64> {
        let text = text.trim();
        let timestamp = || i64::try_from(text.parse::<jiff::Timestamp>().ok()?.as_nanosecond()).ok();
        text.parse().ok().or_else(timestamp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_file_is_older_than_the_time_before_it_was_made() {
        for _ in 0..100 {
            let before = file_ns();
            let file = tempfile::tempfile().unwrap();
            let made = file.metadata().unwrap().created().unwrap().duration_since(UNIX_EPOCH).unwrap();
            assert!(made.as_nanos() as i64 >= before);
        }
    }

    #[cfg(any(debug_assertions, feature = "test-seams"))]
    #[test]
    fn a_test_clock_is_decimal_or_rfc_3339_and_nothing_else() {
        for (text, time_ns) in [
            ("1700000000000000001\n", Some(1_700_000_000_000_000_001)),
            ("2023-11-14T22:13:20.000000001Z", Some(1_700_000_000_000_000_001)),
            ("2023-11-14T23:13:20+01:00", Some(1_700_000_000_000_000_000)),
            ("1969-12-31T23:59:59Z", Some(-1_000_000_000)),
            ("", None),
            ("2023-11-14", None),
            ("soon", None),
        ] {
            assert_eq!(test::parse(text), time_ns, "{text}");
        }
    }

    #[cfg(any(debug_assertions, feature = "test-seams"))]
    #[test]
    fn the_file_is_read_again_each_time() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for time_ns in [1, 2, -3] {
            std::fs::write(file.path(), time_ns.to_string()).unwrap();
            assert_eq!(test::read(file.path()), time_ns);
        }
    }

    #[test]
    fn the_system_clock_stands_after_this_was_written() {
        assert!(system_ns() > 1_790_000_000_000_000_000, "{}", system_ns());
    }
}
