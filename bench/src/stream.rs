//! The text that bulk measurements move: an access log that nobody wrote, the same at every run.
//!
//! Paths, agents and referers come from a few lists, numbers by chance, times move on by milliseconds: zstd makes about
//! an eighth of it at level 1. The text lies in memory: a writer that read it from a file would be slower than the
//! fastest sinks, and measured in their place.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use standpipe_common::error::{Cannot, Result};

/// What a writer hands to the pipe at once.
pub const PIECE_BYTES: usize = 64 << 10;
/// No line is longer.
const LINE_BYTES_MAX: usize = 512;

const PATHS: [&str; 12] = [
    "/",
    "/index.html",
    "/api/v1/orders/",
    "/api/v1/items/",
    "/static/app.js",
    "/static/app.css",
    "/search?q=",
    "/images/product/",
    "/checkout/step/",
    "/account/login",
    "/feed.xml",
    "/api/v1/health",
];
const AGENTS: [&str; 5] = [
    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/137.0.0.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
    "curl/8.14.1",
    "Prometheus/3.4.0",
];
const REFERERS: [&str; 4] =
    ["-", "https://www.example.org/", "https://shop.example.org/catalogue", "https://example.net/a"];
const METHODS: [&str; 4] = ["GET", "GET", "GET", "POST"];
const STATUSES: [u16; 8] = [200, 200, 200, 200, 200, 304, 404, 301];

/// A stream, which its clones share.
#[derive(Clone, Debug)]
pub struct Stream {
    text: Arc<Vec<u8>>,
}

impl Stream {
    /// About `bytes` bytes of whole lines.
    pub fn generate(bytes: u64) -> Stream {
        let mut source = Source { state: 0x5eed, time_ms: 0, line: Vec::new() };
        let mut text = Vec::with_capacity(bytes as usize + LINE_BYTES_MAX);
        while (text.len() as u64) < bytes {
            text.extend_from_slice(source.next_line());
        }
        Stream { text: Arc::new(text) }
    }

    /// Bytes of it.
    pub fn bytes(&self) -> u64 {
        self.text.len() as u64
    }

    /// All of it.
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// Writes its first `bytes` into a pipe, in pieces of 64 KiB, and closes it.
    pub fn feed(&self, pipe: OwnedFd, bytes: u64) -> Result<()> {
        let mut pipe = File::from(pipe);
        let text = &self.text[..self.text.len().min(bytes as usize)];
        text.chunks(PIECE_BYTES).try_for_each(|piece| pipe.write_all(piece)).cannot("write to", "a pipe")
    }
}

/// Lines one after the other.
struct Source {
    state: u64,
    time_ms: u64,
    line: Vec<u8>,
}

impl Source {
    fn next_line(&mut self) -> &[u8] {
        self.time_ms += self.below(4);
        let (seconds, client) = (self.time_ms / 1000, self.below(4000));
        let (path, agent) = (self.below(PATHS.len() as u64) as usize, self.below(AGENTS.len() as u64) as usize);
        let (method, referer, status) = (self.below(4) as usize, self.skewed(4) as usize, self.below(8) as usize);
        let id = self.below(1 << 24);
        let (item, size, millis) = (self.below(9000), self.below(3000), self.below(1000));
        let mut line = std::mem::take(&mut self.line);
        line.clear();
        // A Vec takes all that is written to it.
        let _infallible = writeln!(
            line,
            "198.51.{}.{} - - [21/Nov/2026:{:02}:{:02}:{:02} +0000] \"{} {}{} HTTP/1.1\" {} {} \"{}\" \"{}\" 0.{:03} {:06x}",
            client / 256,
            client % 256,
            seconds / 3600 % 24,
            seconds / 60 % 60,
            seconds % 60,
            METHODS[method],
            PATHS[path],
            if PATHS[path].ends_with(['/', '=']) { item } else { 0 },
            STATUSES[status],
            if STATUSES[status] == 200 { 300 + size * 7 } else { 162 },
            REFERERS[referer],
            AGENTS[agent],
            millis,
            id,
        );
        self.line = line;
        &self.line
    }

    /// A number below `limit` (xorshift).
    fn below(&mut self, limit: u64) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state % limit
    }

    /// The same, small ones far more often than large ones.
    fn skewed(&mut self, limit: u64) -> u64 {
        let share = self.below(1 << 20) as f64 / f64::from(1 << 20);
        (share * share * share * limit as f64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_is_lines_and_always_the_same() {
        let lines = || {
            let mut source = Source { state: 0x5eed, time_ms: 0, line: Vec::new() };
            (0..1000).flat_map(|_| source.next_line().to_vec()).collect::<Vec<u8>>()
        };
        let text = lines();
        assert_eq!(text, lines());
        assert_eq!(memchr::memchr_iter(b'\n', &text).count(), 1000);
        assert!(text.is_ascii() && text.starts_with(b"198.51."), "{}", text.escape_ascii());
    }
}
