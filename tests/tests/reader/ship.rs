//! `examples/ops/ship-batches`: each line reaches the receiver at least once, in whole batches, whatever is killed.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use standpipe_tests::deadline::{PROGRAM_SPAN, until, within};
use standpipe_tests::kills::{self, Lives};
use standpipe_tests::privilege;
use standpipe_tests::privilege::needs_tool;
use standpipe_tests::programs::{self, Process, command};
use standpipe_tests::stands::Stand;
use standpipe_tests::world::{Random, write_all};

/// The script, with a cursor of its own, on the pipe `app`.
struct Shipper {
    script: PathBuf,
    cursor: PathBuf,
    logs: PathBuf,
    path: String,
}

impl Shipper {
    fn new(stand: &Stand) -> Shipper {
        // Whoever the programs run as may have no way to the checkout.
        let script = stand.scratch.path().join("ship-batches");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/ops/ship-batches");
        fs::copy(source, &script).unwrap();
        let reader = programs::path("reader");
        let path = format!("{}:{}", reader.parent().unwrap().to_str().unwrap(), std::env::var("PATH").unwrap());
        let cursor = stand.scratch.make_dir("ship").join("app");
        Shipper { script, cursor, logs: stand.scratch.logs(), path }
    }

    fn start(&self, max_bytes: &str, consumer: &[&str]) -> Process {
        let mut shell = command("sh");
        shell.arg(&self.script).arg("app").arg(&self.cursor).args(consumer).current_dir("/");
        shell.env("STANDPIPE_LOGS", &self.logs).env("PATH", &self.path).env("MAX_BYTES", max_bytes);
        shell.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if let Some(id) = privilege::ordinary_user() {
            shell.uid(id).gid(id);
        }
        Process::start(&mut shell)
    }

    /// Runs it to its end. The exit code.
    fn run(&self, max_bytes: &str, consumer: &[&str]) -> Option<i32> {
        ended(&mut self.start(max_bytes, consumer)).code()
    }
}

fn ended(process: &mut Process) -> ExitStatus {
    let mut status = None;
    let ends = within(PROGRAM_SPAN, || {
        status = process.try_wait().expect("our own child");
        status.is_some()
    });
    assert!(ends, "the script does not end within {PROGRAM_SPAN:?}");
    status.unwrap()
}

fn line(number: u64) -> String {
    format!("n={number:08} {}\n", "x".repeat((number * 7919 % 90) as usize))
}

fn lines(numbers: std::ops::RangeInclusive<u64>) -> String {
    numbers.map(line).collect()
}

/// A consumer that adds each batch to a file, with a line behind it, and then ends so.
fn consumer(file: &Path, code: i32) -> [String; 3] {
    ["sh".into(), "-c".into(), format!("{{ cat; echo END; }} >>'{}'; exit {code}", file.to_str().unwrap())]
}

#[test]
fn a_batch_that_failed_comes_again_and_where_nothing_is_new_nobody_is_asked() {
    let (stand, _reader) = Stand::started("rotate_size = \"2KiB\"\n");
    let shipper = Shipper::new(&stand);
    let got = stand.scratch.make_dir("got");
    let ship = |name: &str, max_bytes: &str, code: i32| {
        let file = got.join(name);
        let words = consumer(&file, code);
        let ended = shipper.run(max_bytes, &words.each_ref().map(String::as_str));
        (ended, fs::read_to_string(file).unwrap_or_default())
    };
    stand.write(lines(1..=100).as_bytes());
    stand.wait_stored(lines(1..=100).as_bytes());
    let first = format!("{}END\n", lines(1..=100));
    assert_eq!(ship("refused", "1MiB", 22), (Some(22), first.clone()));
    assert!(!shipper.cursor.exists());
    assert_eq!(ship("again", "1MiB", 0), (Some(0), first));
    assert_eq!(ship("nothing new", "1MiB", 22), (Some(0), String::new()));

    stand.write(lines(101..=200).as_bytes());
    stand.wait_stored(lines(1..=200).as_bytes());
    let (code, taken) = ship("in pieces", "1KiB", 0);
    let batches: Vec<&str> = taken.split_terminator("END\n").collect();
    assert_eq!((code, batches.concat()), (Some(0), lines(101..=200)));
    assert!(batches.len() > 4, "{}", batches.len());
    for batch in batches {
        assert!(batch.len() <= 1024 && batch.ends_with('\n'), "{batch:?}");
    }

    let long = format!("{}\n", "long ".repeat(500));
    stand.write(format!("{long}{}", lines(201..=202)).as_bytes());
    stand.wait_stored(format!("{}{long}{}", lines(1..=200), lines(201..=202)).as_bytes());
    let expected = format!("{long}END\n{}END\n", lines(201..=202));
    assert_eq!(ship("a long line", "1KiB", 0), (Some(0), expected));

    let left: Vec<_> =
        fs::read_dir(shipper.cursor.parent().unwrap()).unwrap().map(|is| is.unwrap().file_name()).collect();
    assert_eq!(left, ["app"]);
}

#[test]
fn whatever_is_killed_no_line_is_lost() {
    const KILLS: u64 = 30;
    needs_tool("curl", || {
        let (stand, _reader) = Stand::started("rotate_size = \"4KiB\"\n");
        let shipper = Shipper::new(&stand);
        let receiver = Receiver::start();
        let url = receiver.url();
        let curl = ["curl", "-sSf", "--data-binary", "@-", url.as_str()];
        let writer = Writing::start(&stand);
        let mut run = shipper.start("2KiB", &curl);
        let lives = Lives::up_to(Duration::from_millis(80), 1);
        kills::run(
            &mut run,
            lives,
            // On a busy machine few runs live long enough to send anything.
            |_, kills| kills >= KILLS && receiver.refused() > 0 || kills == 20 * KILLS,
            |run, _, random| {
                kill_some(run, random);
                *run = shipper.start("2KiB", &curl);
            },
        );
        run.kill_group();
        let written = writer.stop();
        until("all is stored", || {
            standpipe_tests::world::stream_of(&stand.log_dir()).ends_with(line(written).as_bytes())
        });
        // As much at a time as there is: how much that is depends on how fast it was written.
        until("the script ships the rest", || shipper.run("1MiB", &curl) == Some(0));
        let batches = receiver.batches();
        check(&batches, written);
        assert!(receiver.refused() > 0 && !stand.archives().is_empty(), "{} batches", batches.len());
    });
}

/// Kills all of a run, the script alone, or one of the programs that it started.
fn kill_some(run: &mut Process, random: &mut Random) {
    let script = run.id();
    match random.below(3) {
        0 => run.kill_group(),
        1 => {
            run.kill().ok();
            ended(run);
        }
        _ => {
            let parts = parts_of(script);
            if !parts.is_empty() {
                let part = parts[random.below(parts.len())];
                kill(Pid::from_raw(part), Signal::SIGKILL).ok();
            }
            ended(run);
        }
    }
}

/// The processes of a script but itself.
fn parts_of(script: u32) -> Vec<i32> {
    let list = fs::read_to_string(format!("/proc/{script}/task/{script}/children")).unwrap_or_default();
    list.split_whitespace().flat_map(str::parse).collect()
}

/// Every line came, and every batch is whole: it begins where another one begins or ends, and ends at the end of a line.
fn check(batches: &[String], written: u64) {
    let mut begins = BTreeSet::from([1]);
    let mut seen = BTreeSet::new();
    for batch in batches {
        let numbers: Vec<u64> = batch.lines().map(|line| line[2..10].parse().unwrap()).collect();
        let (first, last) = (numbers[0], *numbers.last().unwrap());
        assert!(*batch == lines(first..=last), "a batch from line {first} to {last} is not whole");
        assert!(begins.contains(&first), "a batch begins at line {first}, where none began or ended");
        begins.insert(last + 1);
        seen.extend(numbers);
    }
    let lost: Vec<u64> = (1..=written).filter(|number| !seen.contains(number)).collect();
    assert!(lost.is_empty(), "{} of {written} lines are lost, from {} on", lost.len(), lost[0]);
    println!("{} lines in {} batches", written, batches.len());
}

/// A server that writes lines as long as it is let.
struct Writing {
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<u64>,
}

impl Writing {
    fn start(stand: &Stand) -> Writing {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, pipe) = (stop.clone(), stand.pipe.try_clone().unwrap());
        let thread = thread::spawn(move || {
            let mut number = 0;
            while !stopped.load(Ordering::Relaxed) {
                number += 1;
                write_all(&pipe, line(number).as_bytes());
                thread::sleep(Duration::from_micros(500));
            }
            number
        });
        Writing { stop, thread }
    }

    /// Lines that were written.
    fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// A web server that takes batches; now and then it refuses one, or takes it and says nothing.
struct Receiver {
    port: u16,
    taken: Arc<Mutex<Vec<String>>>,
    refused: Arc<AtomicU64>,
}

impl Receiver {
    fn start() -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback interface");
        let port = listener.local_addr().unwrap().port();
        let (taken, refused) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicU64::new(0)));
        let receiver = Receiver { port, taken: taken.clone(), refused: refused.clone() };
        // It ends with the test process.
        thread::spawn(move || {
            let mut random = Random(7);
            for stream in listener.incoming() {
                let Some((stream, batch)) = stream.ok().and_then(request) else { continue };
                let mood = random.below(10);
                if mood == 0 {
                    refused.fetch_add(1, Ordering::Relaxed);
                    answer(stream, "503 Service Unavailable");
                    continue;
                }
                taken.lock().unwrap_or_else(PoisonError::into_inner).push(batch);
                if mood > 1 {
                    answer(stream, "200 OK");
                }
            }
        });
        receiver
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }

    fn batches(&self) -> Vec<String> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

/// The body of a request, if all of it came.
fn request(stream: TcpStream) -> Option<(TcpStream, String)> {
    stream.set_read_timeout(Some(PROGRAM_SPAN)).ok()?;
    let mut source = BufReader::new(&stream);
    let mut length = 0;
    loop {
        let mut header = String::new();
        if source.read_line(&mut header).ok()? == 0 {
            return None;
        }
        match header.trim_end().split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = value.parse().ok()?,
            None if header == "\r\n" => break,
            _ => {}
        }
    }
    let mut body = vec![0; length];
    source.read_exact(&mut body).ok()?;
    Some((stream, String::from_utf8(body).ok()?))
}

fn answer(mut stream: TcpStream, status: &str) {
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").ok();
}
