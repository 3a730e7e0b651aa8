//! A receiver inside the test: a few lines of HTTP, and a rule that says what it answers.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use standpipe_tests::deadline::until;

use crate::wire::{Record, decode};

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Request {
    /// When it was whole.
    pub at: Instant,
    /// Its first line.
    pub line: String,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// Compressed.
    pub body: Vec<u8>,
    /// What it brought.
    pub records: Vec<Record>,
    /// What its resource says.
    pub attributes: Vec<(String, String)>,
}

/// What is answered.
#[derive(Clone, Debug)]
pub struct Reply {
    /// 0: nothing, the connection is cut.
    pub status: u16,
    /// Lines of the head.
    pub head: String,
    /// What follows it.
    pub body: Vec<u8>,
    /// The lines are kept.
    pub keeps: bool,
    /// Before the answer.
    pub delay: Duration,
}

/// It has them all.
pub fn taken() -> Reply {
    Reply { status: 200, head: String::new(), body: Vec::new(), keeps: true, delay: Duration::ZERO }
}

/// It has none.
pub fn refused(status: u16) -> Reply {
    Reply { status, keeps: false, ..taken() }
}

type Rule = Box<dyn FnMut(&Request) -> Reply + Send>;

#[derive(Default)]
struct State {
    requests: Vec<Request>,
    kept: Vec<Record>,
}

/// One that runs.
pub struct Sink {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Sink {
    /// It answers by a rule.
    pub fn new(rule: impl FnMut(&Request) -> Reply + Send + 'static) -> Sink {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        Sink::at(listener, rule)
    }

    /// The same at a port that is taken already.
    pub fn at(listener: TcpListener, rule: impl FnMut(&Request) -> Reply + Send + 'static) -> Sink {
        let address = listener.local_addr().expect("an address");
        let state: Arc<Mutex<State>> = Arc::default();
        let (shared, rule) = (Arc::clone(&state), Arc::new(Mutex::new(Box::new(rule) as Rule)));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (shared, rule) = (Arc::clone(&shared), Arc::clone(&rule));
                thread::spawn(move || serve(&stream, &shared, &rule));
            }
        });
        Sink { address, state }
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The requests so far.
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.state).requests.clone()
    }

    /// The lines that it has kept, in the order in which they came.
    pub fn kept(&self) -> Vec<Record> {
        lock(&self.state).kept.clone()
    }

    /// Waits until it has kept so many lines.
    pub fn wait_kept(&self, count: usize) -> Vec<Record> {
        until(&format!("{count} lines arrive"), || lock(&self.state).kept.len() >= count);
        self.kept()
    }

    /// Waits until there were so many requests.
    pub fn wait_requests(&self, count: usize) -> Vec<Request> {
        until(&format!("{count} requests"), || lock(&self.state).requests.len() >= count);
        self.requests()
    }
}

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(stream: &TcpStream, state: &Mutex<State>, rule: &Mutex<Rule>) {
    let mut reader = BufReader::new(stream.try_clone().expect("a descriptor"));
    while let Some(request) = read_request(&mut reader) {
        let reply = (lock(rule))(&request);
        // At once: whoever sees what it has kept sees who brought it.
        let mut noted = lock(state);
        if reply.keeps {
            noted.kept.extend(request.records.iter().cloned());
        }
        noted.requests.push(request);
        drop(noted);
        thread::sleep(reply.delay);
        if reply.status == 0 || answer(stream, &reply).is_err() {
            stream.shutdown(std::net::Shutdown::Both).ok();
            return;
        }
    }
}

/// Reads a request. `None`: there is none, or not all of it.
pub fn read_request(reader: &mut impl BufRead) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let mut headers = Vec::new();
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let Some((name, value)) = header.trim_end().split_once(": ") else { break };
        headers.push((name.to_ascii_lowercase(), value.to_owned()));
    }
    let len = headers.iter().find(|(name, _)| name == "content-length")?.1.parse().ok()?;
    let mut body = vec![0; len];
    reader.read_exact(&mut body).ok()?;
    let (records, attributes) = decode(&body);
    Some(Request { at: Instant::now(), line: line.trim_end().to_owned(), headers, body, records, attributes })
}

/// Answers a request.
pub fn answer(mut stream: impl Write, reply: &Reply) -> std::io::Result<()> {
    let Reply { status, head, body, .. } = reply;
    let head = format!("HTTP/1.1 {status} x\r\nContent-Length: {}\r\n{head}\r\n", body.len());
    stream.write_all(&[head.as_bytes(), body].concat())
}
