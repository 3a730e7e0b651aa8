//! How fast a source may be read: what `rate_limit` says, and the bucket that keeps to it. Pure.
//!
//! Invariants: a limit delays and never drops; over any span no more is read than its burst (a second's worth, if that is
//! more and it was woken late) and what the rate allows in that span, but for the line that was being read, or the few
//! lines; those are paid back before more is read.
//! A bucket that is empty rests until a tenth of a second's worth is in it, so a limited source wakes the loop ten times
//! a second at most.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant};

use standpipe_common::shown::counted;
use standpipe_common::units::{ByteSize, Value};

/// Most a second: more than any machine reads, and far from what a number holds.
const PER_SECOND_MAX: u64 = 1 << 40;
/// Of how much of a second the tokens are gathered before they are spent.
const REST: f64 = 0.1;
/// What is needed for a read, but for what a sum of fractions may lack.
const ONE: f64 = 1.0 - 1e-6;
/// What a line is taken to be long before one was seen, bytes.
const LINE_BYTES: f64 = 128.0;
/// How long a source is held back before that is worth a word.
const BACKLOG_SPAN: Duration = Duration::from_secs(1);

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Lines.
    Lines,
}

/// `1MiB/s`, `1000 lines/s, burst 5000 lines`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Of what.
    pub unit: Unit,
    /// How many a second, at least one.
    pub per_second: u64,
    /// How many at once after a rest, at least one.
    pub burst: u64,
}

impl Rate {
    /// What to write, in words.
    pub const EXPECTED: &'static str = "a rate such as \"1MiB/s\", \"1000 lines/s\" or \"1MiB/s, burst 8MiB\"";
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Rate, String> {
        let (rate, burst) = text.split_once(',').map_or((text, None), |(rate, burst)| (rate, Some(burst)));
        let no_rate = || format!("`{}` is not a rate: write {}", text.escape_debug(), Rate::EXPECTED);
        let (per_second, unit) = amount(rate.trim().strip_suffix("/s").ok_or_else(no_rate)?, ("", "/s"))?;
        let Some(burst) = burst else { return Ok(Rate { unit, per_second, burst: per_second }) };
        let (burst, unit_of_burst) = amount(burst.trim().strip_prefix("burst ").ok_or_else(no_rate)?, ("burst ", ""))?;
        if unit_of_burst != unit {
            return Err("the rate and its burst have different units: write both in lines or both in bytes".to_owned());
        }
        Ok(Rate { unit, per_second, burst })
    }
}

/// `1MiB`, `1000 bytes`, `1000 lines`; `around`: what it stands between, for the refusal.
fn amount(text: &str, around: (&str, &str)) -> Result<(u64, Unit), String> {
    let text = text.trim();
    let count = |text: &str| text.trim().parse::<u64>().ok();
    let named = |names: [&str; 2]| names.iter().find_map(|name| count(text.strip_suffix(name)?));
    let (count, unit) = if let Some(lines) = named(["lines", "line"]) {
        (lines, Unit::Lines)
    } else if let Some(bytes) = named(["bytes", "byte"]) {
        (bytes, Unit::Bytes)
    } else if let Some(count) = count(text) {
        let whole = |amount: &str| format!("`{}{amount}{}`", around.0, around.1);
        let [lines, bytes] = ["line", "byte"].map(|noun| whole(&counted(count, noun)));
        return Err(format!("{} has no unit: write {lines} or {bytes}", whole(text)));
    } else {
        // The refusal of a decimal unit ends with a bare number.
        let is_decimal = text.ends_with('B') && !text.ends_with("iB");
        let refused = |refusal| if is_decimal { format!("{refusal} bytes") } else { refusal };
        (ByteSize::from_text(text).map_err(refused)?.0, Unit::Bytes)
    };
    match count {
        0 => Err(format!("`{text}` would let nothing through: write 1 or more")),
        1..=PER_SECOND_MAX => Ok((count, unit)),
        _ => Err(format!("`{text}` is out of range: write at most {PER_SECOND_MAX}")),
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |count: u64| match self.unit {
            Unit::Lines => counted(count, "line"),
            // Without a unit of its own it is a bare number, which is no amount.
            Unit::Bytes if count.is_multiple_of(1024) => ByteSize(count).to_string(),
            Unit::Bytes => counted(count, "byte"),
        };
        write!(f, "{}/s", shown(self.per_second))?;
        if self.burst == self.per_second { Ok(()) } else { write!(f, ", burst {}", shown(self.burst)) }
    }
}

/// What a backlog does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backlog {
    /// The limit was reached with bytes waiting, and has been for a while.
    Began,
    /// They are read, after so long.
    Ended(Duration),
}

/// The limit of one source at work: a bucket of tokens, one for a byte or a line, that fills at the rate.
///
/// When it may be asked again follows from what is in it and when that was counted: asking takes nothing and puts
/// nothing off.
#[derive(Clone, Debug)]
pub struct Throttle {
    rate: Rate,
    /// At the moment `filled`. Below zero: more was read than there was.
    tokens: f64,
    filled: Instant,
    /// Empty, until it has gathered enough to be worth a read.
    is_resting: bool,
    line_bytes: f64,
    /// Bytes that were read since a line was seen to end.
    line_so_far: u64,
    backlog: HeldUp,
}

/// Since when bytes wait that only the limit keeps.
#[derive(Clone, Copy, Debug)]
enum HeldUp {
    /// None do.
    Nothing,
    /// Not for long enough to be worth a word.
    Since(Instant),
    /// That was told.
    Told(Instant),
}

impl Throttle {
    /// A full one.
    pub fn new(rate: Rate, now: Instant) -> Throttle {
        debug_assert!(rate.per_second > 0 && rate.burst > 0, "a limit lets something through");
        Throttle {
            rate,
            tokens: most(rate),
            filled: now,
            is_resting: false,
            line_bytes: LINE_BYTES,
            line_so_far: 0,
            backlog: HeldUp::Nothing,
        }
    }

    /// What it keeps to.
    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// About how many bytes may be read now. 0: none before [`Throttle::rests_until`].
    pub fn allowance(&mut self, now: Instant) -> usize {
        if self.rests_until().is_some_and(|until| now < until) {
            return 0;
        }
        // Whoever is woken late after a rest must not be slower for it, however small the burst.
        let owed = self.rate.per_second as f64 + rest(self.rate);
        let most = if self.is_resting { most(self.rate).max(owed) } else { most(self.rate).max(self.tokens) };
        let passed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.tokens = (self.tokens + passed * self.rate.per_second as f64).min(most);
        self.filled = now;
        self.is_resting = self.tokens < ONE;
        let bytes = if self.rate.unit == Unit::Bytes { self.tokens } else { self.tokens * self.line_bytes };
        if self.is_resting { 0 } else { bytes.max(1.0) as usize }
    }

    /// So much was read, which ended so many lines.
    pub fn take(&mut self, bytes: u64, lines: u64) {
        self.line_so_far += bytes;
        if lines > 0 {
            let line_bytes = std::mem::take(&mut self.line_so_far) as f64 / lines as f64;
            self.line_bytes = (3.0 * self.line_bytes + line_bytes) / 4.0;
        }
        self.tokens -= if self.rate.unit == Unit::Bytes { bytes as f64 } else { lines as f64 };
        self.is_resting |= self.tokens < ONE;
    }

    /// Whether a backlog was told that has not ended.
    pub fn is_backlog(&self) -> bool {
        matches!(self.backlog, HeldUp::Told(_))
    }

    /// Until when nothing may be read. `None`: something may.
    pub fn rests_until(&self) -> Option<Instant> {
        let missing = rest(self.rate) - self.tokens;
        let span = || Duration::from_secs_f64(missing.max(0.0) / self.rate.per_second as f64);
        self.is_resting.then(|| self.filled + span())
    }

    /// Hears after each read whether bytes wait that only the limit keeps. A backlog is told once as it begins, which
    /// is when that has been so for a second, and once as it ends.
    pub fn note(&mut self, is_at_end: bool, now: Instant) -> Option<Backlog> {
        let (backlog, said) = match self.backlog {
            HeldUp::Told(since) if is_at_end => (HeldUp::Nothing, Some(Backlog::Ended(now - since))),
            _ if is_at_end => (HeldUp::Nothing, None),
            HeldUp::Nothing if self.is_resting => (HeldUp::Since(now), None),
            HeldUp::Since(since) if self.is_resting && now.saturating_duration_since(since) >= BACKLOG_SPAN => {
                (HeldUp::Told(since), Some(Backlog::Began))
            }
            backlog => (backlog, None),
        };
        self.backlog = backlog;
        said
    }
}

/// How many tokens an empty bucket gathers before any is spent.
fn rest(rate: Rate) -> f64 {
    (rate.per_second as f64 * REST).max(1.0)
}

/// How many tokens there are at most: fewer than it rests for would never come together.
fn most(rate: Rate) -> f64 {
    (rate.burst as f64).max(rest(rate))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_lines_or_bytes_with_or_without_a_burst() {
        for (text, unit, per_second, burst, shown) in [
            ("1MiB/s", Unit::Bytes, 1 << 20, 1 << 20, "1MiB/s"),
            ("64K/s, burst 1M", Unit::Bytes, 64 << 10, 1 << 20, "64KiB/s, burst 1MiB"),
            ("1000000 bytes/s", Unit::Bytes, 1_000_000, 1_000_000, "1000000 bytes/s"),
            ("1000 lines/s", Unit::Lines, 1000, 1000, "1000 lines/s"),
            (" 1 line/s,burst  20 lines ", Unit::Lines, 1, 20, "1 line/s, burst 20 lines"),
            ("20 bytes/s, burst 1 byte", Unit::Bytes, 20, 1, "20 bytes/s, burst 1 byte"),
        ] {
            let rate: Rate = text.parse().unwrap();
            assert_eq!(rate, Rate { unit, per_second, burst }, "{text}");
            assert_eq!(rate.to_string(), shown);
            assert_eq!(shown.parse(), Ok(rate));
        }
    }

    #[test]
    fn what_is_no_rate_is_refused_with_what_to_write() {
        for (text, complaint) in [
            ("", "`` is not a rate: write a rate such as \"1MiB/s\""),
            ("1MiB", "`1MiB` is not a rate"),
            ("1MiB/min", "is not a rate"),
            ("1000/s", "`1000/s` has no unit: write `1000 lines/s` or `1000 bytes/s`"),
            ("1/s", "`1/s` has no unit: write `1 line/s` or `1 byte/s`"),
            ("1MB/s", "1000 or 1024? write 1M (1 × 1048576) or 1000000 bytes"),
            ("4kB/s", "1000 or 1024? write 4K (4 × 1024) or 4000 bytes"),
            ("0 lines/s", "`0 lines` would let nothing through"),
            ("9T/s", "is out of range"),
            ("1M/s, 2M", "is not a rate"),
            ("1M/s, burst 20 lines", "both in lines or both in bytes"),
            ("1M/s, burst 2", "`burst 2` has no unit: write `burst 2 lines` or `burst 2 bytes`"),
            ("fast/s", "`fast` is not a size"),
        ] {
            let refusal = text.parse::<Rate>().unwrap_err();
            assert!(refusal.contains(complaint), "{text}: {refusal}");
        }
    }

    /// Reads all that may be read, in pieces of at most `piece` bytes with lines of `line` bytes, until `total` is
    /// read; it wakes so late from each rest. How long that took, and how often it rested.
    fn drained(rate: &str, total: u64, piece: u64, line: u64, late: Duration) -> (Duration, u32) {
        let start = Instant::now();
        let mut throttle = Throttle::new(rate.parse().unwrap(), start);
        let (mut now, mut read, mut rests) = (start, 0, 0);
        while read < total {
            let allowed = throttle.allowance(now) as u64;
            if allowed == 0 {
                now = throttle.rests_until().unwrap() + late;
                rests += 1;
                continue;
            }
            // Lines are whole.
            let bytes = allowed.min(piece).next_multiple_of(line);
            throttle.take(bytes, bytes / line);
            read += bytes;
        }
        (now - start, rests)
    }

    #[test]
    fn a_backlog_takes_as_long_as_the_rate_says_and_wakes_ten_times_a_second() {
        for (rate, total, piece, line, seconds) in [
            ("1000000 bytes/s", 20_000_000, 1 << 18, 100, 19.0),
            ("1000000 bytes/s, burst 1 byte", 20_000_000, 1 << 18, 100, 20.0),
            ("1000000 bytes/s, burst 10000000 bytes", 20_000_000, 1 << 18, 100, 10.0),
            ("1000 lines/s", 1_000_000, 1 << 18, 100, 9.0),
            ("1000 lines/s", 10_000_000, 1 << 18, 1000, 9.0),
            ("1 line/s", 10_000, 1 << 18, 100, 98.0),
            // A line that is longer than the bucket is deep.
            ("1000 bytes/s", 1_000_000, 1 << 18, 100_000, 900.0),
        ] {
            for late in [Duration::ZERO, Duration::from_millis(80)] {
                let (took, rests) = drained(rate, total, piece, line, late);
                let off = took.as_secs_f64() / seconds;
                assert!((0.94..1.06).contains(&off), "{rate}, {late:?} late: {took:?}, not {seconds} s");
                assert!(f64::from(rests) <= 10.0 * took.as_secs_f64() + 1.0, "{rate}: {rests} rests in {took:?}");
            }
        }
    }

    /// A log without end: how many lines end within the next so many bytes.
    struct Log {
        random: u64,
        line_bytes_max: u64,
        line_rest: u64,
    }

    impl Log {
        fn below(&mut self, end: u64) -> u64 {
            self.random ^= self.random << 13;
            self.random ^= self.random >> 7;
            self.random ^= self.random << 17;
            (self.random >> 11) % end
        }

        fn read(&mut self, bytes: u64) -> u64 {
            let (mut rest, mut lines) = (bytes, 0);
            while rest >= self.line_rest {
                rest -= self.line_rest;
                lines += 1;
                self.line_rest = 1 + self.below(self.line_bytes_max);
            }
            self.line_rest -= rest;
            lines
        }
    }

    #[test]
    fn whatever_it_is_asked_in_between_a_limit_lets_through_what_it_says() {
        const LATE_MAX_MS: u64 = 80;
        for seed in 1..=60_u64 {
            let unit = [Unit::Bytes, Unit::Lines][seed as usize % 2];
            let mut log = Log {
                random: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15),
                line_bytes_max: 1 << (seed % 12),
                line_rest: 1,
            };
            let per_second = 1 + log.below(1 << (seed % 15));
            let rate = Rate { unit, per_second, burst: 1 + log.below(3 * per_second) };
            let start = Instant::now();
            let mut throttle = Throttle::new(rate, start);
            let (mut now, mut read, mut reads) = (start, 0_u64, 0);
            // A token, and what a wake-up that is late leaves behind.
            let slack = rest(rate) + 1.0 + per_second as f64 * LATE_MAX_MS as f64 / 1000.0;
            while now - start < Duration::from_secs(60) {
                let allowed = throttle.allowance(now) as u64;
                // Now and then the rest of a line that was begun, which nobody holds back.
                let is_inside_line = log.below(50) == 0;
                let bytes = if is_inside_line { 1 + log.below(300) } else { allowed.min(1 + log.below(1 << 16)) };
                let lines = log.read(bytes);
                throttle.take(bytes, lines);
                reads += u64::from(bytes > 0);
                read += if unit == Unit::Bytes { bytes } else { lines };
                let due = per_second as f64 * (now - start).as_secs_f64();
                let is_enough = read as f64 + slack >= due;
                assert!(is_enough || allowed > 0, "seed {seed}, {rate}: {read} of {due} after {:?}", now - start);
                now = match throttle.rests_until() {
                    // A hint before its time.
                    Some(until) if log.below(8) > 0 => now + (until - now) / (2 + log.below(9) as u32),
                    Some(until) => until + Duration::from_millis(log.below(LATE_MAX_MS)),
                    None => now,
                };
            }
            assert!(reads < 100_000, "seed {seed}, {rate}: {reads} reads");
            let most = most(rate) + per_second as f64 * (now - start).as_secs_f64() + 300.0;
            assert!(unit == Unit::Lines || read as f64 <= most, "seed {seed}, {rate}: {read}, not {most}");
        }
    }

    #[test]
    fn a_rest_fills_the_bucket_to_its_burst_and_no_further() {
        let start = Instant::now();
        let mut throttle = Throttle::new("1000 bytes/s, burst 5000 bytes".parse().unwrap(), start);
        assert_eq!(throttle.allowance(start), 5000);
        throttle.take(6000, 1);
        let until = throttle.rests_until().unwrap();
        assert_eq!(until - start, Duration::from_millis(1100));
        let early = start + Duration::from_millis(1099);
        assert_eq!(throttle.allowance(early), 0, "a hint does not help");
        assert_eq!(throttle.allowance(until), 100);
        assert_eq!(throttle.allowance(until + Duration::from_secs(3600)), 5000);
        throttle.take(5000, 1);
        let until = throttle.rests_until().unwrap();
        assert_eq!(throttle.allowance(until + Duration::from_secs(3600)), 5000, "nor does a long sleep after a rest");
    }

    #[test]
    fn a_backlog_is_told_as_it_begins_and_as_it_ends() {
        let start = Instant::now();
        let mut throttle = Throttle::new("1000 bytes/s".parse().unwrap(), start);
        let at = |ms| start + Duration::from_millis(ms);
        assert_eq!(throttle.note(false, at(0)), None, "it is behind for another reason");
        throttle.take(2000, 20);
        assert_eq!(throttle.note(false, at(10)), None);
        assert_eq!(throttle.note(true, at(900)), None, "it was short");
        assert_eq!(throttle.note(false, at(1000)), None);
        assert_eq!(throttle.note(false, at(1999)), None);
        assert_eq!(throttle.note(false, at(2000)), Some(Backlog::Began));
        assert_eq!(throttle.note(false, at(9000)), None);
        assert_eq!(throttle.note(true, at(9500)), Some(Backlog::Ended(Duration::from_millis(8500))));
        assert_eq!(throttle.note(true, at(9600)), None);
    }
}
