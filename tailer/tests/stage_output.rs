//! The stage as an output, over real FIFOs and without kills.

use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use nix::sys::stat::Mode;
use standpipe_common::sys::bytes_queued;
use standpipe_tailer::file::guard::Guard;
use standpipe_tailer::file::identity::{Identity, Origin};
use standpipe_tailer::out::lines::{End, GenerationId, Lines, SourceId};
use standpipe_tailer::out::output::{Delivered, Outlet, Output, Waits};
use standpipe_tailer::stage::{Severity, Stage, record_path};

const BOOT: &str = "this boot";

fn fifo(path: &Path, mode: u32) -> File {
    nix::unistd::mkfifo(path, Mode::empty()).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(path).unwrap()
}

/// A target, its staging pipe, and a directory for the state.
struct Place {
    dir: tempfile::TempDir,
    target: File,
    _staging: Option<File>,
    now: Instant,
}

impl Place {
    fn new() -> Place {
        let place = Place::without_stage();
        Place { _staging: Some(fifo(&place.path("T.stage"), 0o660)), ..place }
    }

    fn without_stage() -> Place {
        let dir = tempfile::tempdir().unwrap();
        let target = fifo(&dir.path().join("T"), 0o660);
        Place { dir, target, _staging: None, now: Instant::now() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn open(&self) -> Stage {
        Stage::open(&self.path("T"), &self.path("state"), BOOT, 0).unwrap()
    }

    fn turn(&mut self, stage: &mut Stage) -> (Waits, Vec<Delivered>) {
        let mut delivered = Vec::new();
        (stage.turn(self.now, 0, &mut delivered).unwrap(), delivered)
    }

    fn read(&mut self) -> Vec<u8> {
        let mut all = vec![0; bytes_queued(&self.target).unwrap()];
        self.target.read_exact(&mut all).unwrap();
        all
    }
}

fn origin(source: u32) -> Origin {
    Origin { identity: Identity { dev: 1, ino: u64::from(source), born_ns: 5 }, epoch: 0 }
}

fn put(stage: &mut Stage, source: u32, start: u64, bytes: &[u8], ends: End) {
    assert!(stage.room(SourceId(source)) >= bytes.len());
    let end = start + bytes.len() as u64 - u64::from(ends == End::Added);
    let generation = GenerationId(u64::from(source));
    let origin = origin(source);
    stage.put(&Lines {
        source: SourceId(source),
        generation,
        origin,
        start,
        end,
        bytes,
        ends,
        read_ns: 0,
        record: None,
    });
}

fn said(stage: &mut Stage) -> Vec<String> {
    stage.take_messages().into_iter().map(|message| message.text).collect()
}

fn at(source: u32, offset: u64) -> Delivered {
    Delivered { generation: GenerationId(u64::from(source)), offset }
}

#[test]
fn lines_go_at_once_into_an_empty_target_and_are_gathered_for_another() {
    let mut place = Place::new();
    let mut stage = place.open();
    put(&mut stage, 1, 0, b"one\n", End::Line);
    put(&mut stage, 2, 70, b"two", End::Open);
    put(&mut stage, 2, 73, b"!\n", End::Added);
    let (waits, delivered) = place.turn(&mut stage);
    assert_eq!(waits, Waits::default());
    assert_eq!(delivered, [at(1, 4), at(2, 74)]);
    assert!(stage.is_empty());

    put(&mut stage, 1, 4, b"three\n", End::Line);
    let (waits, delivered) = place.turn(&mut stage);
    assert_eq!(waits.until, Some(place.now + Duration::from_millis(2)));
    assert_eq!(delivered, []);
    // A full piece goes, what can still grow stays.
    put(&mut stage, 1, 10, &[&[b'x'; 4000][..], b"\n", &[b'y'; 500], b"\n"].concat(), End::Line);
    assert_eq!(place.turn(&mut stage).1, [at(1, 4011)]);
    place.now += Duration::from_secs(1);
    assert_eq!(place.turn(&mut stage).1, [at(1, 4512)]);
    let arrived = place.read();
    assert!(arrived.starts_with(b"one\ntwo!\nthree\nxxx") && arrived.ends_with(b"yyy\n"));

    let positions = stage.positions();
    assert_eq!(positions.len(), 2);
    assert_eq!((positions[1].origin, positions[1].offset), (origin(2), 74));
    assert_eq!(positions[1].guard, Guard::of_end(b"two!"));
    stage.retain(&[origin(2)]);
    drop(stage);
    assert_eq!(place.open().positions(), positions[1..]);
}

#[test]
fn a_full_target_is_waited_for_and_the_next_process_goes_on() {
    let mut place = Place::new();
    let mut stage = place.open();
    let lines: Vec<u8> = (0..4000).flat_map(|n| format!("line {n:05} {:x<40}\n", "").into_bytes()).collect();
    put(&mut stage, 1, 0, &lines, End::Line);
    let (waits, delivered) = place.turn(&mut stage);
    assert!(waits.writable.is_some());
    assert_eq!(delivered, []);
    assert!(!stage.is_empty());
    drop(stage);

    // It says that the block in flight is delivered, and delivers it.
    let mut stage = place.open();
    assert_eq!(stage.positions()[0].offset, lines.len() as u64);
    let mut arrived = place.read();
    while arrived.len() < lines.len() {
        place.turn(&mut stage);
        arrived.extend(place.read());
    }
    assert!(arrived == lines);
    place.turn(&mut stage);
    assert!(stage.is_empty());
    let said = said(&mut stage);
    assert!(said.iter().all(|text| text.contains("no holder has")), "{said:?}");
}

#[test]
fn after_another_boot_block_and_positions_are_left() {
    let mut place = Place::new();
    let mut stage = place.open();
    put(&mut stage, 1, 0, b"one\n", End::Line);
    place.turn(&mut stage);
    put(&mut stage, 1, 4, &b"0123456\n".repeat(20_000), End::Line);
    place.turn(&mut stage);
    drop(stage);
    let stage = Stage::open(&place.path("T"), &place.path("state"), "another boot", 0).unwrap();
    assert!(stage.is_empty());
    // What counts then is what was durable at the other end.
    assert!(stage.positions().is_empty());
}

#[test]
fn a_second_tailer_waits_and_a_staging_pipe_of_everybody_is_refused() {
    let mut place = Place::new();
    let mut first = place.open();
    put(&mut first, 1, 0, b"one\n", End::Line);
    place.turn(&mut first);
    let mut second = Stage::open(&place.path("T"), &place.path("other"), BOOT, 0).unwrap();
    put(&mut second, 1, 0, b"second\n", End::Line);
    place.turn(&mut second);
    assert!(!second.is_empty());
    let refusals = said(&mut second);
    let expected = "T.stage: another tailer or another program has locked it; waiting";
    assert!(refusals.len() == 1 && refusals[0].ends_with(expected), "{refusals:?}");
    drop(first);
    assert_eq!(place.read(), b"one\n");
    place.now += Duration::from_secs(2);
    place.turn(&mut second);
    assert!(second.is_empty());
    assert!(said(&mut second)[0].ends_with("T: delivering again"));
    drop(second);
    assert_eq!(place.read(), b"second\n");

    fs::set_permissions(place.path("T.stage"), fs::Permissions::from_mode(0o666)).unwrap();
    let mut stage = place.open();
    put(&mut stage, 1, 4, b"two\n", End::Line);
    place.turn(&mut stage);
    assert!(stage.is_empty());
    let said = said(&mut stage);
    assert!(said.len() == 1 && said[0].contains("other users can open it (mode 0666); a crash may repeat"), "{said:?}");
    assert_eq!(place.read(), b"two\n");
}

#[test]
fn without_a_staging_pipe_it_writes_straight_and_says_so_once() {
    let mut place = Place::without_stage();
    let mut stage = place.open();
    for n in 0..3 {
        put(&mut stage, 1, n * 4, b"one\n", End::Line);
        assert_eq!(place.turn(&mut stage).1, [at(1, n * 4 + 4)]);
        assert_eq!(place.read(), b"one\n");
    }
    let said_first = said(&mut stage);
    assert!(said_first.len() == 1 && said_first[0].contains("`stage = true`"), "{said_first:?}");
    let staging = fifo(&place.path("T.stage"), 0o660);
    place.now += Duration::from_secs(5);
    put(&mut stage, 1, 12, b"two\n", End::Line);
    place.turn(&mut stage);
    assert_eq!(place.read(), b"two\n");
    assert_eq!(bytes_queued(&staging).unwrap(), 1, "the canary");
}

#[test]
fn nobody_at_the_target_is_said_once_and_nothing_is_lost() {
    let mut place = Place::new();
    let mut stage = place.open();
    let lines = b"0123456\n".repeat(20_000);
    put(&mut stage, 1, 0, &lines, End::Line);
    place.turn(&mut stage);
    let before = place.read();
    let path = place.path("T");
    place.target = OpenOptions::new().read(true).open("/dev/null").unwrap();
    for _ in 0..3 {
        let (waits, _) = place.turn(&mut stage);
        place.now = waits.until.unwrap();
    }
    let messages = stage.take_messages();
    let errors: Vec<_> = messages.iter().filter(|message| message.severity == Severity::Error).collect();
    assert_eq!(errors.len(), 1, "{messages:?}");
    assert!(errors[0].text.ends_with("no reader or holder has it open; waiting"));
    place.target = OpenOptions::new().read(true).write(true).open(path).unwrap();
    place.now += Duration::from_secs(60);
    let mut after = Vec::new();
    while before.len() + after.len() < lines.len() {
        place.turn(&mut stage);
        after.extend(place.read());
    }
    assert_eq!(before.len() + after.len(), lines.len());
}

#[test]
fn a_replaced_target_gets_the_rest() {
    let mut place = Place::new();
    let mut stage = place.open();
    let lines: Vec<u8> = (0..9000).flat_map(|n| format!("line {n:05}\n").into_bytes()).collect();
    put(&mut stage, 1, 0, &lines, End::Line);
    place.turn(&mut stage);
    fs::remove_file(place.path("T")).unwrap();
    let new = fifo(&place.path("T"), 0o660);
    let mut old = std::mem::replace(&mut place.target, new);
    let mut first = vec![0; bytes_queued(&old).unwrap()];
    old.read_exact(&mut first).unwrap();
    fill(&old);
    let mut rest = Vec::new();
    while first.len() + rest.len() < lines.len() {
        place.turn(&mut stage);
        rest.extend(place.read());
    }
    assert!([first, rest].concat() == lines);
}

/// Fills a pipe, so that nothing more goes into it.
fn fill(pipe: &File) {
    while nix::unistd::write(pipe, &[b'.'; 4096]).is_ok() {}
}

#[test]
fn a_long_line_waits_for_an_empty_target_and_keeps_others_out() {
    let mut place = Place::new();
    let mut stage = place.open();
    fcntl(&place.target, FcntlArg::F_SETPIPE_SZ(1 << 20)).unwrap();
    put(&mut stage, 1, 0, b"one\n", End::Line);
    place.turn(&mut stage);
    let long = vec![b'x'; 9000];
    put(&mut stage, 1, 4, &long, End::Open);
    assert_eq!(stage.room(SourceId(2)), 0);
    let (waits, _) = place.turn(&mut stage);
    assert_eq!(waits.until, Some(place.now + Duration::from_millis(2)));
    assert_eq!(place.read(), b"one\n");
    place.turn(&mut stage);
    assert_eq!(place.read(), long);
    put(&mut stage, 1, 9004, b"end\n", End::Line);
    assert!(stage.room(SourceId(2)) > 0);
    place.turn(&mut stage);
    assert_eq!(place.read(), b"end\n");
    // Nobody empties it: after a second it goes all the same.
    put(&mut stage, 1, 9008, b"one\n", End::Line);
    place.turn(&mut stage);
    put(&mut stage, 1, 9012, &[&long[..], b"\n"].concat(), End::Line);
    place.turn(&mut stage);
    assert!(!stage.is_empty());
    place.now += Duration::from_secs(1);
    place.turn(&mut stage);
    assert!(stage.is_empty());
}

#[test]
fn a_damaged_record_is_set_aside() {
    let mut place = Place::new();
    let mut stage = place.open();
    put(&mut stage, 1, 0, b"one\n", End::Line);
    place.turn(&mut stage);
    drop(stage);
    let record = record_path(&place.path("T"), &place.path("state"));
    let mut bytes = fs::read(&record).unwrap();
    bytes[128..136].fill(0xFF);
    fs::write(&record, bytes).unwrap();
    let mut stage = place.open();
    assert_eq!(stage.positions(), []);
    let said = said(&mut stage);
    assert!(said[0].contains("it is damaged") && said[0].contains(".broken-19700101T000000Z"), "{said:?}");
}

#[test]
fn many_generations_make_the_table_grow() {
    let mut place = Place::new();
    let mut stage = place.open();
    for source in 0..700 {
        put(&mut stage, source, 0, b"one\n", End::Line);
        place.now += Duration::from_secs(2);
        place.turn(&mut stage);
        place.read();
    }
    drop(stage);
    let mut stage = place.open();
    assert_eq!(stage.positions().len(), 700);
    stage.retain(&[origin(699)]);
    assert_eq!(stage.positions().len(), 1);
}

#[test]
fn a_source_that_holds_keeps_others_out_and_what_is_forgotten_makes_room() {
    let mut place = Place::new();
    let mut stage = place.open();
    stage.hold(SourceId(1), true);
    assert!(stage.room(SourceId(1)) > 0 && stage.room(SourceId(2)) == 0);
    // Also between whole lines, and for longer than a long line is waited for.
    put(&mut stage, 1, 0, b"one\n", End::Line);
    place.now += Duration::from_secs(60);
    place.turn(&mut stage);
    assert_eq!(stage.room(SourceId(2)), 0);
    stage.hold(SourceId(1), false);
    place.read();
    for source in 2..1000 {
        put(&mut stage, source, 0, b"one\n", End::Line);
        place.now += Duration::from_secs(2);
        place.turn(&mut stage);
        place.read();
        stage.forget(&[origin(source)]);
    }
    let known: Vec<_> = stage.positions().iter().map(|position| position.origin).collect();
    assert_eq!(known, [origin(1)]);
    drop(stage);
    assert_eq!(place.open().positions().len(), 1);
}

#[test]
fn the_next_generation_in_a_slot_does_not_begin_as_the_one_before() {
    let mut place = Place::new();
    let mut stage = place.open();
    let bytes = [&[b'a'; 19][..], b"\n"].concat();
    for release in [|stage: &mut Stage| stage.forget(&[origin(1)]), |stage: &mut Stage| stage.retain(&[])] {
        put(&mut stage, 1, 0, &bytes, End::Line);
        place.turn(&mut stage);
        release(&mut stage);
        place.read();
        // Of this one nothing is known but its end.
        put(&mut stage, 2, 20, &bytes.repeat(10), End::Line);
        place.turn(&mut stage);
        assert_eq!(
            stage.positions().iter().map(|position| position.head.hashes()).collect::<Vec<_>>(),
            [&[] as &[u64]]
        );
        stage.retain(&[]);
        place.read();
    }
}
