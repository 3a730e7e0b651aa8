//! When a spool is looked at, and when it goes on.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::set::Spools;
use super::*;
use crate::guard::{Guard, Head};
use crate::stage::Position;

const POLL: Duration = Duration::from_millis(250);

fn spool(dir: &Path, now: Instant) -> Spool {
    let config = SpoolConfig { dir: dir.to_path_buf(), ..SpoolConfig::default() };
    let mut spool = Spool::new(SourceId(0), config, 0, Vec::new(), now);
    spool.take_up(&[]);
    spool
}

#[test]
fn a_spool_that_is_not_there_or_is_refused_is_not_looked_at_before_the_next_poll() {
    let top = tempfile::tempdir().unwrap();
    let dir = top.path().join("spool");
    let mut now = Instant::now();
    let mut spool = spool(&dir, now);
    for step in ["missing", "there", "refused", "refused still", "there again"] {
        match step {
            "there" => fs::create_dir(&dir).unwrap(),
            "refused" => fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).unwrap(),
            "there again" => fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap(),
            _ => {}
        }
        fs::write(dir.join("a"), "a\n").ok();
        spool.hint();
        spool.look(now, 0, POLL);
        let is_usable = step.starts_with("there");
        assert_eq!((spool.place.is_some(), spool.has_work()), (is_usable, is_usable), "{step}");
        spool.queue.clear();
        assert!(spool.next_look(now).is_some_and(|at| at >= now + POLL), "{step}: it turns in vain");
        now += SWEEP_SPAN_MAX;
    }
}

#[test]
fn what_its_limit_keeps_goes_on_when_that_is_over_although_its_output_was_full_before() {
    let top = tempfile::tempdir().unwrap();
    fs::write(top.path().join("a"), "a\n").unwrap();
    let now = Instant::now();
    let mut spool = spool(top.path(), now);
    spool.look(now, 0, POLL);
    let mut throttle = Throttle::new("1000 bytes/s".parse().unwrap(), now);
    throttle.take(1000, 10, now);
    let rested = throttle.rests_until().unwrap();
    (spool.throttle, spool.shown.blocked_ns) = (Some(throttle), Some(1));
    let mut spools = Spools::default();
    spools.add(spool);
    assert_eq!(spools.due(now), Some(rested));
}

#[test]
fn nothing_is_begun_before_it_is_known_what_the_output_has() {
    let top = tempfile::tempdir().unwrap();
    let now = Instant::now();
    let mut spool = spool(&top.path().join("spool"), now);
    let position = Position { origin: Origin::default(), offset: 2, guard: Guard::default(), head: Head::default() };
    spool.take_up(&[position]);
    fs::create_dir(&spool.config.dir).unwrap();
    fs::write(spool.config.dir.join("a"), "a\n").unwrap();
    spool.look(now, 0, POLL);
    assert!(!spool.has_work());
    spool.take_up(&[position]);
    let later = spool.next_look(now).unwrap();
    assert_eq!(later, now + POLL);
    spool.look(later, 0, POLL);
    assert!(spool.has_work());
}
