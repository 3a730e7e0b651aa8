//! The stage over real FIFOs, killed again and again while another writer uses the target: what arrives is, byte for
//! byte, what stands in the files.
//!
//! The child is this test program itself, started with `STAGE_CHILD`.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::libc;
use nix::sys::stat::Mode;
use standpipe_common::boot;
use standpipe_tailer::file::guard::Guard;
use standpipe_tailer::file::identity::{Identity, Origin};
use standpipe_tailer::out::lines::{End, GenerationId, Lines, SourceId};
use standpipe_tailer::out::output::{Outlet, Output, Waits};
use standpipe_tailer::stage::Stage;
use standpipe_tests::programs::{Process, command};

const SOURCES: [&str; 2] = ["A", "B"];
const READ_BYTES: usize = 48 << 10;

fn random(state: &mut u64, end: u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    (*state >> 11) % end
}

fn origin(file: &File) -> Origin {
    Origin { identity: Identity::from(&file.metadata().unwrap()), epoch: 0 }
}

fn fifo(path: &Path) -> File {
    nix::unistd::mkfifo(path, Mode::from_bits_truncate(0o660)).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o660)).unwrap();
    OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(path).unwrap()
}

/// A file that is followed from where the record says.
struct Followed {
    file: File,
    offset: u64,
    bytes: Vec<u8>,
}

impl Followed {
    fn open(path: &Path, stage: &Stage) -> Followed {
        let file = File::open(path).unwrap();
        let origin = origin(&file);
        let known = stage.positions().into_iter().find(|known| known.origin == origin);
        let offset = known.map_or(0, |known| known.offset);
        if let Some(Guard { len, .. }) = known.map(|known| known.guard) {
            let mut before = vec![0; len as usize];
            file.read_exact_at(&mut before, offset - u64::from(len)).unwrap();
            assert_ne!(known.unwrap().guard.fits_end(&before), Some(false));
        }
        Followed { file, offset, bytes: vec![0; READ_BYTES] }
    }

    /// Puts what is there; whether there was anything.
    fn feed(&mut self, source: u32, stage: &mut Stage) -> bool {
        let room = stage.room(SourceId(source)).min(READ_BYTES);
        let read = self.file.read_at(&mut self.bytes[..room], self.offset).unwrap();
        let Some(last) = self.bytes[..read].iter().rposition(|byte| *byte == b'\n') else { return false };
        let bytes = &self.bytes[..=last];
        let (start, end) = (self.offset, self.offset + bytes.len() as u64);
        let generation = GenerationId(u64::from(source));
        let origin = origin(&self.file);
        let ends = End::Line;
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
        self.offset = end;
        true
    }
}

/// A while, for the wait of the program is not what is tested here.
fn wait(waits: Waits) {
    let span = waits.until.map_or(Duration::MAX, |until| until.saturating_duration_since(Instant::now()));
    thread::sleep(span.min(Duration::from_micros(300)));
}

/// The killed process. Does nothing in an ordinary run of the tests.
#[test]
fn child() {
    let Some(dir) = std::env::var_os("STAGE_CHILD").map(PathBuf::from) else { return };
    let is_last = std::env::var_os("STAGE_LAST").is_some();
    let mut stage = Stage::open(&dir.join("T"), &dir.join("state"), &boot::id().unwrap(), 0).unwrap();
    let mut followed: Vec<Followed> = SOURCES.iter().map(|name| Followed::open(&dir.join(name), &stage)).collect();
    loop {
        let mut is_fed = false;
        for (source, followed) in followed.iter_mut().enumerate() {
            is_fed |= followed.feed(source as u32, &mut stage);
        }
        let waits = stage.turn(Instant::now(), 0, &mut Vec::new()).unwrap();
        for message in stage.take_messages() {
            let mut said = OpenOptions::new().create(true).append(true).open(dir.join("said")).unwrap();
            writeln!(said, "{}", message.text).unwrap();
        }
        if !is_fed && is_last && stage.is_empty() {
            return;
        }
        if !is_fed {
            wait(waits);
        }
    }
}

fn spawn(dir: &Path, faults: &Path, is_last: bool) -> Process {
    let mut command = command(std::env::current_exe().unwrap());
    command.args(["--exact", "stage_kill::child", "--test-threads=1"]).env("STAGE_CHILD", dir).stdout(Stdio::null());
    if is_last {
        command.env("STAGE_LAST", "1");
    } else if faults.exists() {
        command.env("STANDPIPE_TEST_FAULTS", faults);
    }
    Process::start(command.stderr(Stdio::inherit()).stdin(Stdio::null()))
}

/// Reads the target until it is told to stop and nothing is left.
fn collect(mut target: File, is_over: Arc<AtomicBool>) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut all = Vec::new();
        let mut bytes = vec![0; 64 << 10];
        let mut pause = 1_u64;
        loop {
            match target.read(&mut bytes[..4096 * 4]) {
                Ok(n) => all.extend_from_slice(&bytes[..n]),
                Err(_) if is_over.load(Ordering::SeqCst) => return all,
                Err(_) => thread::sleep(Duration::from_micros(200 + random(&mut pause, 400))),
            }
        }
    })
}

fn disturbance(number: usize) -> Vec<u8> {
    format!("W{number:06} a line of another writer of this pipe\n").into_bytes()
}

/// Another writer of the target.
fn disturb(path: PathBuf, is_over: Arc<AtomicBool>) -> thread::JoinHandle<usize> {
    thread::spawn(move || {
        let mut target = OpenOptions::new().write(true).open(path).unwrap();
        let mut lines = 0;
        while !is_over.load(Ordering::SeqCst) {
            target.write_all(&disturbance(lines)).unwrap();
            lines += 1;
            thread::sleep(Duration::from_micros(100));
        }
        lines
    })
}

fn append(path: &Path, letter: &str, number: &mut u64, state: &mut u64, bytes: usize) {
    let mut text = Vec::new();
    while text.len() < bytes {
        let len = match random(state, 40) {
            0 => 3000,
            1..=9 => 400,
            _ => 60,
        };
        writeln!(text, "{letter}{number:08} {:x<1$}", "", random(state, len) as usize).unwrap();
        *number += 1;
    }
    OpenOptions::new().append(true).create(true).open(path).unwrap().write_all(&text).unwrap();
}

/// Lines of this letter, in the order in which they arrived.
fn lines_of(all: &[u8], letter: u8) -> Vec<u8> {
    all.split_inclusive(|byte| *byte == b'\n').filter(|line| line[0] == letter).flatten().copied().collect()
}

#[test]
fn killed_again_and_again_it_delivers_every_line_once_and_whole() {
    let kills: u64 = std::env::var("STAGE_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(100);
    let scratch = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let dir = scratch.path();
    let target = fifo(&dir.join("T"));
    let _held = fifo(&dir.join("T.stage"));
    let (writes_over, reads_over) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let collected = collect(target, reads_over.clone());
    let disturbed = disturb(dir.join("T"), writes_over.clone());
    let faults = dir.join("faults");
    let (mut state, mut numbers) = (0x5EED_u64, [0, 0]);
    for kill in 0..=kills {
        for (name, number) in SOURCES.iter().zip(&mut numbers) {
            let bytes = random(&mut state, 90_000) as usize;
            append(&dir.join(name), name, number, &mut state, bytes);
        }
        fs::remove_file(&faults).ok();
        let at_a_point = random(&mut state, 2) == 0;
        if at_a_point {
            fs::write(&faults, format!("kill * {}\n", 1 + random(&mut state, 90))).unwrap();
        }
        let mut child = spawn(dir, &faults, kill == kills);
        if kill == kills {
            assert!(child.wait().unwrap().success());
            break;
        }
        thread::sleep(Duration::from_micros(if at_a_point { 9000 } else { 1000 + random(&mut state, 9000) }));
        child.kill().unwrap();
        assert!(!child.wait().unwrap().success(), "it ended by itself");
    }
    writes_over.store(true, Ordering::SeqCst);
    let disturbing = disturbed.join().unwrap();
    reads_over.store(true, Ordering::SeqCst);
    let all = collected.join().unwrap();
    for name in SOURCES {
        let expected = fs::read(dir.join(name)).unwrap();
        let arrived = lines_of(&all, name.as_bytes()[0]);
        assert!(arrived == expected, "{name}: {} bytes arrived of {}", arrived.len(), expected.len());
    }
    let others: Vec<u8> = (0..disturbing).flat_map(disturbance).collect();
    assert!(lines_of(&all, b'W') == others, "a line of the other writer was torn");
    assert_eq!(all.len(), lines_of(&all, b'A').len() + lines_of(&all, b'B').len() + others.len());
    let said = fs::read_to_string(dir.join("said")).unwrap_or_default();
    assert!(!said.contains("repeated"), "{said}");
}
