//! The promise of the project, with small counts: whoever of ours is killed, not a byte is lost or repeated.

use std::time::Duration;

use standpipe_tests::kills::reader::{Plan, run};

#[test]
fn killed_readers_and_holders_lose_repeat_tear_and_misplace_nothing() {
    let report = run(Plan {
        kills: 60,
        lines: 1_000_000,
        rotate_mib: 3,
        life_max: Duration::from_millis(120),
        pause: Duration::ZERO,
        seed: 0x5eed,
    });
    println!("{report}");
    assert!(report.is_clean() && report.kills >= 60 && report.recoveries > 0, "{report}");
    assert!(report.holder_kills > 0 && report.archives >= 8 && report.snapshots.0 > 0, "{report}");
}
