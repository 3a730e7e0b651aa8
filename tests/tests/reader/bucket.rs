//! A store that takes archives as S3 does: it writes a key once, and answers nothing but such requests. As it is told it
//! refuses one, or takes it and says nothing.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use standpipe_tests::deadline::PROGRAM_SPAN;

/// What becomes of a request that could be carried out.
#[derive(Clone, Copy, Debug)]
pub enum Mood {
    /// It is, and the answer says so.
    Kind,
    /// 503, and nothing else happens.
    Busy,
    /// It is, and the answer is lost.
    Silent,
}

#[derive(Debug, Default)]
struct State {
    objects: BTreeMap<String, Vec<u8>>,
    moods: VecDeque<Mood>,
    /// Requests for a key that was there.
    again: u64,
    /// Requests that nobody should have made.
    strange: Vec<String>,
}

/// The bucket `logs`, which is there as long as the test process.
#[derive(Debug)]
pub struct Bucket {
    port: u16,
    state: Arc<Mutex<State>>,
}

impl Bucket {
    /// An empty one, of these moods one after the other, and kind from then on.
    pub fn new(moods: impl IntoIterator<Item = Mood>) -> Bucket {
        let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback interface");
        let port = listener.local_addr().expect("an address").port();
        let state = Arc::new(Mutex::new(State { moods: moods.into_iter().collect(), ..State::default() }));
        let shared = state.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = shared.clone();
                thread::spawn(move || serve(&stream, &state));
            }
        });
        Bucket { port, state }
    }

    /// The address of the store, without the bucket.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What it holds, by key.
    pub fn objects(&self) -> BTreeMap<String, Vec<u8>> {
        lock(&self.state).objects.clone()
    }

    /// How often a key that was there was to be written.
    pub fn again(&self) -> u64 {
        lock(&self.state).again
    }

    /// Fails if anything was asked for that a credential for writing alone does not allow, or without a signature.
    pub fn check(&self) {
        let strange = &lock(&self.state).strange;
        assert!(strange.is_empty(), "{strange:?}");
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Request {
    line: String,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

/// Answers one request. One that is cut short, as by a kill, is none.
fn serve(mut stream: &TcpStream, state: &Mutex<State>) -> Option<()> {
    let request = read(stream)?;
    let (status, body) = carry_out(request, &mut lock(state))?;
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    stream.write_all(format!("{head}{body}").as_bytes()).ok()
}

fn read(mut stream: &TcpStream) -> Option<Request> {
    stream.set_read_timeout(Some(PROGRAM_SPAN)).ok()?;
    let mut source = BufReader::new(stream);
    let mut line = String::new();
    source.read_line(&mut line).ok()?;
    let mut headers = BTreeMap::new();
    loop {
        let mut header = String::new();
        source.read_line(&mut header).ok()?;
        let Some((name, value)) = header.trim_end().split_once(": ") else { break };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    if headers.contains_key("expect") {
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").ok()?;
    }
    let length = headers.get("content-length").map_or(Some(0), |length| length.parse().ok())?;
    let mut body = vec![0; length];
    source.read_exact(&mut body).ok()?;
    Some(Request { line, headers, body })
}

/// Status and body of the answer, if there is one.
fn carry_out(request: Request, state: &mut State) -> Option<(&'static str, &'static str)> {
    let mut words = request.line.split(' ');
    let (method, target) = (words.next()?, words.next()?);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let is_signed = request.headers.get("authorization").is_some_and(|is| is.starts_with("AWS4-HMAC-SHA256 "))
        || query.contains("X-Amz-Signature=");
    let is_once = request.headers.get("if-none-match").is_some_and(|is| is == "*");
    let key = decoded(path).and_then(|path| Some(path.strip_prefix("/logs/")?.to_owned()));
    let Some(key) = key.filter(|_| method == "PUT" && is_signed && is_once) else {
        state.strange.push(request.line.trim_end().to_owned());
        return Some(("403 Forbidden", ""));
    };
    let mood = state.moods.pop_front().unwrap_or(Mood::Kind);
    if matches!(mood, Mood::Busy) {
        return Some(("503 Service Unavailable", "<Error><Code>SlowDown</Code></Error>"));
    }
    let answer = if let Entry::Vacant(place) = state.objects.entry(key) {
        place.insert(request.body);
        ("200 OK", "")
    } else {
        state.again += 1;
        ("412 Precondition Failed", "<Error><Code>PreconditionFailed</Code></Error>")
    };
    matches!(mood, Mood::Kind).then_some(answer)
}

/// A path without its escapes, and with no byte that a signature wants escaped.
fn decoded(path: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        let is_plain = byte.is_ascii_alphanumeric() || b"-_.~/".contains(&byte);
        if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
        } else if is_plain {
            bytes.push(byte);
        } else {
            return None;
        }
    }
    String::from_utf8(bytes).ok()
}
