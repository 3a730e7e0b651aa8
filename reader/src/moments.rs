//! Arrival times as the commands that read back show them: RFC 3339 for people, in a zone, and both forms for programs.

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use serde_json::{Value, json};
use standpipe_common::clock;
use standpipe_common::shown::UNKNOWN;

/// The zone of this machine, or UTC.
pub fn zone(utc: bool) -> TimeZone {
    if utc { TimeZone::UTC } else { TimeZone::system() }
}

/// What the clock says, in a zone.
pub fn now(zone: TimeZone) -> Zoned {
    Timestamp::from_nanosecond(clock::now_ns().into()).expect("64 bits of nanoseconds are in range").to_zoned(zone)
}

/// To the second, with the offset of the zone.
pub fn text(ns: i64, zone: &TimeZone) -> String {
    let zoned = timestamp(ns).map(|time| time.to_zoned(zone.clone()));
    zoned.map_or_else(|| UNKNOWN.to_owned(), |zoned| zoned.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string())
}

/// In UTC to the nanosecond, and as nanoseconds since the epoch.
pub fn json(ns: i64) -> Value {
    timestamp(ns).map_or(Value::Null, |time| json!({ "time": format!("{time:.9}"), "ns": ns }))
}

fn timestamp(ns: i64) -> Option<Timestamp> {
    Timestamp::from_nanosecond(ns.into()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_shown_in_its_zone_and_to_programs_in_utc() {
        let berlin = TimeZone::get("Europe/Berlin").unwrap();
        assert_eq!(text(1_795_255_200_000_000_001, &berlin), "2026-11-21T11:00:00+01:00");
        assert_eq!(text(0, &TimeZone::UTC), "1970-01-01T00:00:00+00:00");
        assert_eq!(json(1), json!({ "time": "1970-01-01T00:00:00.000000001Z", "ns": 1 }));
    }
}
