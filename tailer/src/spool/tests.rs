//! When a spool is looked at, and when it goes on.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use standpipe_common::clock;

use super::part::PartHands;
use super::schedule::SWEEP_SPAN_MAX;
use super::*;
use crate::file::guard::{Guard, Head};
use crate::out::lines::{GenerationId, Lines};
use crate::out::output::{Outlet, Output, Standing, Waits};

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
        assert_eq!((spool.site.opened().is_some(), spool.has_work()), (is_usable, is_usable), "{step}");
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
    let rate_limit = Some("1000 bytes/s".parse().unwrap());
    let config = SpoolConfig { dir: top.path().to_path_buf(), rate_limit, ..SpoolConfig::default() };
    let mut spool = Spool::new(SourceId(0), config, 0, Vec::new(), now);
    spool.take_up(&[]);
    spool.look(now, 0, POLL);
    spool.pace.throttle.as_mut().unwrap().take(1000, 10);
    let rested = spool.pace.rests_until(now).unwrap();
    let _ = spool.figures(false, false, 1);
    for is_awaited in [false, true] {
        assert_eq!(spool.stand(is_awaited, 0, now), Stand::Rests(rested));
    }
    assert_eq!(spool.stand(false, 2, rested), Stand::Ready);
    assert_eq!(spool.stand(false, 0, rested), Stand::WaitsForRoom);
}

#[test]
fn a_spool_is_seen_from_outside_before_anything_happens_to_it() {
    let top = tempfile::tempdir().unwrap();
    let now = Instant::now();
    let mut spool = spool(top.path(), now);
    spool.look(now, 0, POLL);
    assert!(spool.take_changed() && !spool.take_changed());
}

/// Takes everything at once.
struct Taken(Vec<u8>, u64);

impl Output for Taken {
    fn room(&self, _: SourceId) -> usize {
        1 << 20
    }

    fn is_room_final(&self, _: SourceId) -> bool {
        true
    }

    fn put(&mut self, lines: &Lines<'_>) {
        self.0.extend_from_slice(lines.bytes);
        self.1 = lines.generation.0;
    }

    fn note(&mut self, _: SourceId, _: Standing) {}
}

impl Outlet for Taken {
    fn hold(&mut self, _: SourceId, _: bool) {}

    fn turn(&mut self, _: Instant, _: i64, _: &mut Vec<Delivered>) -> Result<Waits, Error> {
        Ok(Waits::default())
    }

    fn hurry(&mut self) {}

    fn is_empty(&self) -> bool {
        true
    }
}

#[test]
fn a_file_that_is_renamed_while_it_is_on_its_way_comes_once() {
    let top = tempfile::tempdir().unwrap();
    fs::write(top.path().join("a.tmp"), "a\n").unwrap();
    let mut now = Instant::now();
    let (mut spool, mut output, mut buffer) = (spool(top.path(), now), Taken(Vec::new(), 0), vec![0; 1 << 20]);
    for _ in 0..2 {
        spool.look(now, 0, POLL);
        let output: &mut dyn Outlet = &mut output;
        spool.read(&mut PartHands {
            output,
            is_awaited: false,
            buffer: &mut buffer,
            bytes_max: 1 << 20,
            now,
            now_ns: 0,
        });
        fs::rename(top.path().join("a.tmp"), top.path().join("a")).ok();
        spool.delivered(Delivered { generation: GenerationId(1), offset: 2 });
        spool.remove_delivered();
        now = spool.next_look(now).unwrap();
    }
    assert_eq!((&output.0[..], output.1), (&b"a\n"[..], 1));
    assert_eq!(fs::read_dir(top.path()).unwrap().count(), 0, "it is not removed");
    assert_eq!((spool.ledger.known_count(), spool.take_gone().len()), (0, 1));
    // One that somebody else removed is not remembered for ever.
    fs::write(top.path().join("b"), "b\n").unwrap();
    spool.look(now, 0, POLL);
    let output: &mut dyn Outlet = &mut output;
    spool.read(&mut PartHands { output, is_awaited: false, buffer: &mut buffer, bytes_max: 1 << 20, now, now_ns: 0 });
    fs::remove_file(top.path().join("b")).unwrap();
    spool.delivered(Delivered { generation: GenerationId(3), offset: 2 });
    spool.remove_delivered();
    spool.look(spool.next_look(now).unwrap(), 0, POLL);
    assert_eq!((spool.ledger.known_count(), spool.take_gone().len()), (0, 1));
}

#[test]
fn nothing_is_begun_before_it_is_known_what_the_output_has() {
    let top = tempfile::tempdir().unwrap();
    let now = Instant::now();
    let mut spool = spool(&top.path().join("spool"), now);
    let position =
        Position { origin: Origin::default(), offset: 2, guard: Guard::of_end(b"a\n"), head: Head::default() };
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

#[test]
fn a_file_whose_last_line_is_written_right_now_comes_whole() {
    const FILES: usize = 500;
    let top = tempfile::tempdir().unwrap();
    let mut now = Instant::now();
    let (mut spool, mut output, mut buffer) = (spool(top.path(), now), Taken(Vec::new(), 0), vec![0; 1 << 20]);
    let dir = top.path().to_path_buf();
    let writer = std::thread::spawn(move || {
        for number in 0..FILES {
            let path = dir.join(number.to_string());
            let mut file = fs::File::create(&path).unwrap();
            file.write_all(b"begin").unwrap();
            file.write_all(b"ning and end\n").unwrap();
            drop(file);
            while path.exists() {
                std::thread::yield_now();
            }
        }
    });
    while !writer.is_finished() {
        spool.hint();
        spool.look(now, 0, POLL);
        let output: &mut dyn Outlet = &mut output;
        let now_ns = clock::now_ns();
        spool.read(&mut PartHands { output, is_awaited: false, buffer: &mut buffer, bytes_max: 1 << 20, now, now_ns });
        spool.delivered(Delivered { generation: GenerationId(u64::MAX), offset: 0 });
        spool.remove_delivered();
        now += POLL;
    }
    let text = String::from_utf8(output.0).unwrap();
    let whole = text.lines().filter(|line| *line == "beginning and end").count();
    assert_eq!((whole, text.lines().count()), (FILES, FILES));
}
