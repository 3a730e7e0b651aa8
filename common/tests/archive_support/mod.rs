//! What the archive tests share: data that look like logs, and archives in files without a name.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use standpipe_common::archive::{Archive, Guess, Mark, Spec, Summary, Writer};

pub const MIB: usize = 1 << 20;
/// Where the tests' clocks begin: 2026-11-21T10:00:00Z.
pub const START_NS: i64 = 1_795_255_200_000_000_000;
pub const GUESS: Guess = Guess { birth_ns: START_NS, last_ns: START_NS + 1_000 };

/// `SplitMix64`: the same numbers in every run.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }
}

/// Access log lines of about 100 bytes, `interval_us` apart by their own text.
pub fn log_lines(count: usize, interval_us: u64) -> Vec<u8> {
    const PATHS: [&str; 6] = ["/", "/index.html", "/api/v2/orders", "/api/v2/users", "/static/app.js", "/login"];
    const STATUS: [u16; 5] = [200, 200, 200, 304, 404];
    let mut random = Random(1);
    let mut bytes = Vec::new();
    for line in 0..count {
        let us = line as u64 * interval_us;
        let (minute, second, fraction) = (us / 60_000_000 % 60, us / 1_000_000 % 60, us % 1_000_000);
        writeln!(
            bytes,
            "2026-11-21T10:{minute:02}:{second:02}.{fraction:06}Z 10.{}.{}.{} GET {}?id={} {} {} {:.3}",
            random.below(4),
            random.below(256),
            random.below(256),
            PATHS[random.below(6)],
            random.below(100_000),
            STATUS[random.below(5)],
            random.below(50_000),
            random.below(2_000) as f64 / 1e3
        )
        .unwrap();
    }
    bytes
}

/// The archive of `data`.
pub fn archive_of(data: &[u8], level: i32, marks: Vec<Mark>) -> (Vec<u8>, Summary) {
    let mut out = Vec::new();
    let spec = Spec { level, begins_inside: false, serial: None, marks, guess: GUESS, filter: true };
    let summary = Writer::new().unwrap().write(&mut &data[..], &mut out, spec).unwrap();
    (out, summary)
}

/// Opens these bytes as a file.
pub fn open(bytes: &[u8]) -> Archive {
    let mut file: File = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    Archive::open(file, Path::new("app.log.zst")).unwrap()
}
