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
use standpipe_tests::kills::{Lives, Mortal, run};
use standpipe_tests::programs::{Daemon, Launch, holder, reader};
use standpipe_tests::world::{Random, Writer};

use super::sink::{answer, read_request, refused, taken};
use super::wire::{Record, decode};
use super::{assert_whole, stored_lines};

/// The variable that makes this program the receiver: its port, and its file.
const RECEIVER: &str = "STANDPIPE_TESTS_RECEIVER";
const HOST: &str = "127.0.0.3";
const PIPES: u16 = 3;
const LINES_PER_KILL: u64 = 6000;

/// Not a test but the receiver, where the variable says so.
#[test]
fn the_receiver_that_is_killed() {
    let Ok(asked) = env::var(RECEIVER) else { return };
    let (port, path) = asked.split_once(' ').unwrap();
    let listener = TcpListener::bind(format!("{HOST}:{port}")).unwrap();
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).unwrap();
    let end = requests(&file, 0).last().map_or(0, |(end, _)| end);
    let kept = Mutex::new((file, end, Random(u64::from(std::process::id()))));
    thread::scope(|scope| {
        for stream in listener.incoming().flatten() {
            let kept = &kept;
            scope.spawn(move || keep(&stream, kept));
        }
    });
}

fn keep(stream: &TcpStream, kept: &Mutex<(File, u64, Random)>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    while let Some(request) = read_request(&mut reader) {
        let mut kept = kept.lock().unwrap();
        let (file, end, random) = &mut *kept;
        let reply = match random.below(20) {
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

struct Stage {
    scratch: Scratch,
    _holder: Daemon,
    reader: Mortal,
    shipper: Mortal,
    receiver: Mortal,
    writers: Vec<Writer>,
}

impl Stage {
    fn set() -> Stage {
        let scratch = Scratch::new();
        scratch.write_policy("defaults.toml", &format!("{KEEP_ALL}rotate_size = \"512KiB\"\n"));
        let fifos: Vec<PathBuf> = (0..PIPES).map(|n| scratch.pipe(&format!("p{n}"))).collect();
        let holder = holder(&scratch).start();
        // On an address of its own: while the receiver is dead nobody else is given its port.
        let port = TcpListener::bind((HOST, 0)).unwrap().local_addr().unwrap().port();
        let reader = Mortal::start(reader(&scratch));
        let receiver = Mortal::start_unready(receiver(&scratch, port));
        let shipper = Mortal::start(super::launch(&scratch, &format!("http://{HOST}:{port}")));
        let start = |(n, fifo): (usize, &PathBuf)| Writer::start(fifo, n as u16, None, Duration::from_micros(100));
        let writers = fifos.iter().enumerate().map(start).collect();
        Stage { scratch, _holder: holder, reader, shipper, receiver, writers }
    }

    fn written(&self) -> u64 {
        self.writers.iter().map(Writer::lines).sum()
    }

    fn kill_one(&mut self, _: u64, random: &mut Random) {
        [&mut self.shipper, &mut self.reader, &mut self.receiver][random.below(3)].kill();
    }

    fn file(&self) -> PathBuf {
        self.scratch.path().join("received")
    }
}

/// This test program, as the one test that is the receiver.
fn receiver(scratch: &Scratch, port: u16) -> Launch {
    let file = scratch.path().join("received");
    let launch = Launch::new(env::current_exe().unwrap().to_str().unwrap()).as_tests();
    let launch = launch.args(["--exact", "kills::the_receiver_that_is_killed"]);
    launch.env(RECEIVER, format!("{port} {}", file.to_str().unwrap()))
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
    let lives = Lives::up_to(Duration::from_millis(400), 0x5eed + u64::from(std::process::id()));
    let is_over = |stage: &mut Stage, done| done >= kills && stage.written() >= kills * LINES_PER_KILL;
    let done = run(&mut stage, lives, is_over, Stage::kill_one);
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
