//! When a spool is looked at.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::*;

const POLL: Duration = Duration::from_millis(250);

fn spool(dir: &Path, now: Instant) -> Spool {
    let config = SpoolConfig { dir: dir.to_path_buf(), ..SpoolConfig::default() };
    Spool::new(SourceId(0), config, 0, Vec::new(), now)
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
