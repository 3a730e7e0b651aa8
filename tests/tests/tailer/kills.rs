//! The promise about followed files, with small counts: whoever of ours is killed, each line arrives once.

use std::time::Duration;

use standpipe_tests::kills::tailer::{Plan, run};

const PLAN: Plan = Plan {
    kills: 60,
    with_holder: false,
    rotate_span: Duration::from_millis(100),
    life_max: Duration::from_millis(70),
    burst: 1,
    pause: Duration::from_micros(60),
    seed: 0x7a11,
};

#[test]
fn what_killed_tailers_deliver_is_what_was_written_byte_for_byte() {
    let report = run(PLAN);
    println!("{report}");
    assert!(report.is_clean() && report.kills >= 50 && report.rotations >= 20, "{report}");
}

#[test]
fn a_tailer_that_dies_with_its_holder_loses_nothing_and_says_what_it_may_repeat() {
    let report = run(Plan { kills: 30, with_holder: true, burst: 10, ..PLAN });
    println!("{report}");
    assert!(report.is_honest() && report.holder_kills >= 30, "{report:?}");
}
