//! Kills: shipper, reader and receiver die at any moment, and every line is at the receiver, under one name.
//!
//! The receiver is a process of its own (this test program once more) that appends each request to a file and syncs it
//! before it answers; one answer in ten is an error, and one in ten is lost. `STANDPIPE_TESTS_ROUNDS` says how many kills
//! there are, each with some thousand lines: 12 without, 150 for the full count.

use std::collections::HashMap;
use std::env;
use std::fs::{File, OpenOptions};
use std::io::BufReader;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use standpipe_tests::deadline::within;
use standpipe_tests::directory::{KEEP_ALL, Scratch};
use standpipe_tests::programs::{Daemon, Launch, Process, command};
use standpipe_tests::world::Writer;

use super::sink::{answer, read_request, refused, taken};
use super::wire::{Record, decode};
use super::{assert_whole, stored_lines};

/// The variable that makes this program the receiver: its port, and its file.
const RECEIVER: &str = "STANDPIPE_TESTS_RECEIVER";
const PIPES: u16 = 3;
const LINES_PER_KILL: u64 = 6000;

/// Not a test but the receiver, where the variable says so.
#[test]
fn the_receiver_that_is_killed() {
    let Ok(asked) = env::var(RECEIVER) else { return };
    let (port, path) = asked.split_once(' ').unwrap();
    let listener = TcpListener::bind(format!("127.0.0.1:{port}")).unwrap();
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).unwrap();
    let end = requests(&file, 0).last().map_or(0, |(end, _)| end);
    let kept = Mutex::new((file, end, u64::from(std::process::id())));
    thread::scope(|scope| {
        for stream in listener.incoming().flatten() {
            let kept = &kept;
            scope.spawn(move || keep(&stream, kept));
        }
    });
}

fn keep(stream: &TcpStream, kept: &Mutex<(File, u64, u64)>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    while let Some(request) = read_request(&mut reader) {
        let mut kept = kept.lock().unwrap();
        let (file, end, chance) = &mut *kept;
        let reply = match next(chance) % 20 {
            0 => refused(429),
            1 => refused(503),
            n => {
                let head = (request.body.len() as u32).to_le_bytes();
                file.write_all_at(&[&head[..], &request.body].concat(), *end).unwrap();
                file.sync_data().unwrap();
                *end += (head.len() + request.body.len()) as u64;
                if n < 4 {
                    break;
                }
                taken()
            }
        };
        drop(kept);
        if answer(stream, &reply).is_err() {
            break;
        }
    }
    stream.shutdown(std::net::Shutdown::Both).ok();
}

/// The requests in the receiver's file from an offset on, each with its end; one that was torn by a kill is none.
fn requests(file: &File, mut at: u64) -> impl Iterator<Item = (u64, Vec<u8>)> + '_ {
    std::iter::from_fn(move || {
        let mut head = [0; 4];
        file.read_exact_at(&mut head, at).ok()?;
        let mut body = vec![0; u32::from_le_bytes(head) as usize];
        file.read_exact_at(&mut body, at + 4).ok()?;
        at += 4 + body.len() as u64;
        Some((at, body))
    })
}

/// A number that looks random (xorshift).
fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

struct Stage {
    scratch: Scratch,
    _holder: Daemon,
    reader: Daemon,
    shipper: Daemon,
    receiver: Process,
    port: u16,
    writers: Vec<Writer>,
}

impl Stage {
    fn set() -> Stage {
        let scratch = Scratch::new();
        scratch.write_policy("defaults.toml", &format!("{KEEP_ALL}rotate_size = \"512KiB\"\n"));
        let fifos: Vec<PathBuf> = (0..PIPES).map(|n| scratch.pipe(&format!("p{n}"))).collect();
        let holder = Launch::new("holder").arg(scratch.pipes()).start();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let reader = start_reader(&scratch);
        let receiver = start_receiver(&scratch, port);
        let shipper = start_shipper(&scratch, port);
        let start = |(n, fifo): (usize, &PathBuf)| Writer::start(fifo, n as u16, None, Duration::from_micros(100));
        let writers = fifos.iter().enumerate().map(start).collect();
        Stage { scratch, _holder: holder, reader, shipper, receiver, port, writers }
    }

    fn written(&self) -> u64 {
        self.writers.iter().map(Writer::lines).sum()
    }

    fn kill(&mut self, victim: u64) {
        match victim % 3 {
            0 => {
                self.shipper.kill9();
                self.shipper = start_shipper(&self.scratch, self.port);
            }
            1 => {
                self.reader.kill9();
                self.reader = start_reader(&self.scratch);
            }
            _ => {
                self.receiver.kill().unwrap();
                self.receiver.wait().unwrap();
                self.receiver = start_receiver(&self.scratch, self.port);
            }
        }
    }

    fn file(&self) -> PathBuf {
        self.scratch.path().join("received")
    }
}

fn start_reader(scratch: &Scratch) -> Daemon {
    Launch::new("reader").arg(scratch.pipes()).arg("--logs").arg(scratch.logs()).start()
}

fn start_shipper(scratch: &Scratch, port: u16) -> Daemon {
    super::launch(scratch, &format!("http://127.0.0.1:{port}")).start()
}

fn start_receiver(scratch: &Scratch, port: u16) -> Process {
    let file = scratch.path().join("received");
    let mut receiver = command(env::current_exe().unwrap());
    receiver.args(["--exact", "kills::the_receiver_that_is_killed"]);
    receiver.env(RECEIVER, format!("{port} {}", file.to_str().unwrap()));
    receiver.stdout(std::process::Stdio::null());
    Process::start(&mut receiver)
}

/// Each line by its pipe and uid, as it came first.
#[derive(Default)]
struct Received {
    read: u64,
    lines: HashMap<(String, String), Record>,
    repeated: u64,
}

impl Received {
    /// Takes what came since the last time. A line that comes again is the same.
    fn read(&mut self, path: &Path) -> usize {
        let file = File::open(path).unwrap();
        for (end, body) in requests(&file, self.read) {
            self.read = end;
            for record in decode(&body).0 {
                let key = (record.service.clone(), record.uid.clone());
                match self.lines.get(&key) {
                    Some(first) => {
                        assert_eq!(*first, record, "a line that came again");
                        self.repeated += 1;
                    }
                    None => drop(self.lines.insert(key, record)),
                }
            }
        }
        self.lines.len()
    }
}

#[test]
fn every_line_arrives_under_one_name_whoever_is_killed() {
    let kills: u64 = env::var("STANDPIPE_TESTS_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(12);
    let mut stage = Stage::set();
    let mut chance = 0x5eed_u64 + u64::from(std::process::id());
    let mut done = 0;
    while done < kills || stage.written() < kills * LINES_PER_KILL {
        // The lengths of lives are the experiment itself.
        thread::sleep(Duration::from_micros(next(&mut chance) % 400_000));
        stage.kill(next(&mut chance));
        done += 1;
    }
    let written: u64 = std::mem::take(&mut stage.writers).into_iter().map(|writer| writer.stop().lines).sum();
    let mut received = Received::default();
    let span = Duration::from_secs(60 + kills);
    let all = within(span, || {
        thread::sleep(Duration::from_millis(100));
        received.read(&stage.file()) as u64 >= written
    });
    assert!(all, "{} of {written} lines:\n{}", received.lines.len(), stage.shipper.stderr());
    assert_eq!(received.lines.len() as u64, written, "no name twice, no line of nobody");
    for pipe in 0..PIPES {
        let service = format!("p{pipe}");
        let mut records: Vec<_> = received.lines.values().filter(|record| record.service == service).cloned().collect();
        records.sort_by_key(|record| record.time_ns);
        assert_whole(&records, &stored_lines(&stage.scratch, &service));
    }
    println!("{written} lines, {done} kills, {} lines repeated", received.repeated);
}
