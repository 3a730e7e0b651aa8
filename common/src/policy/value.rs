//! The values of a policy, each a type whose parser holds every rule about it.
//!
//! Invariant: a value that parsed needs no further check, whatever the other keys say. So an error always has a line,
//! a column and a caret, and a flag is refused in the same words. Users, groups and paths stay names here; whether
//! they exist is found out by whoever uses them.

use std::path::PathBuf;
use std::time::Duration;

use jiff::tz::TimeZone;

use crate::metrics;
use crate::stamp::PREFIX_MAX;
use crate::units::{ByteSize, Limit, Span, Value, parses_as_value};

/// Smallest and largest `pipe_size`: a page, and what the kernel can be asked for.
const PIPE_BYTES: (u64, u64) = (4 << 10, 2 << 30);
/// Smallest `rotate_size`: below it a directory would hold more names than bytes.
const ROTATE_BYTES_MIN: u64 = 1 << 10;
/// Smallest `rotate_age`.
const ROTATE_AGE_MIN: Duration = Duration::from_secs(1);
/// Shortest and longest `tick`: a timer's grain, and what a follower of a log still takes for "now".
const TICK: (Duration, Duration) = (Duration::from_millis(1), Duration::from_secs(1));
/// Highest `level`; 20 to 22 need more memory to read than readers allow.
const LEVEL_MAX: i32 = 19;
/// Longest user or group name in bytes, as `useradd` has it.
const ACCOUNT_MAX: usize = 256;
/// A `max_line` that is off: more than a file can hold, with room left to add to it.
pub const MAX_LINE_OFF: u64 = i64::MAX as u64;

parses_as_value!(PipeSize, Mode, FileMode, Account, DirPath, MetricsPath, Prefix, Zone, RotateSize, RotateAge);
parses_as_value!(MaxLine, ArchiveAfter, Compress, Level, SearchFilter, Tick, WarnFill, WarnAfter);

/// How large the holder makes a pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PipeSize {
    /// As large as can be had without breaking other pipes of the same user.
    Auto,
    /// This many bytes, 4 KiB to 2 GiB.
    Bytes(u32),
}

impl Value for PipeSize {
    const EXPECTED: &'static str = "\"auto\" or a size such as \"256KiB\"";

    fn from_text(text: &str) -> Result<Self, String> {
        if text == "auto" {
            return Ok(PipeSize::Auto);
        }
        let ByteSize(bytes) = ByteSize::from_text(text).map_err(|refusal| format!("{refusal}; or auto"))?;
        if bytes < PIPE_BYTES.0 || bytes > PIPE_BYTES.1 {
            return Err(format!("{} is out of range: write a size from 4KiB to 2GiB", ByteSize(bytes)));
        }
        Ok(PipeSize::Bytes(bytes as u32))
    }
}

/// Permission bits, 0 to 0o777: as a string always octal, as an integer the number itself (`0o660`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode(pub u32);

impl Value for Mode {
    const EXPECTED: &'static str = "permissions such as \"0640\" or 0o640";

    fn from_text(text: &str) -> Result<Self, String> {
        let digits = text.strip_prefix("0o").unwrap_or(text);
        let octal = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        match u32::from_str_radix(digits, 8) {
            Ok(bits) if octal && bits <= 0o777 => Ok(Mode(bits)),
            _ => Err(format!("`{text}` is not a mode: write permissions in octal, 0000 to 0777, as in 0640")),
        }
    }

    fn from_integer(number: u64) -> Result<Self, String> {
        match u32::try_from(number) {
            Ok(bits) if bits <= 0o777 => Ok(Mode(bits)),
            _ => Err(format!("{number} is not a mode: write permissions in octal, as in \"0640\" or 0o640")),
        }
    }
}

/// A [`Mode`] that leaves the file readable and writable for its owner, who is the reader itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileMode(pub u32);

impl FileMode {
    fn checked(Mode(bits): Mode) -> Result<Self, String> {
        if bits & 0o600 == 0o600 {
            Ok(FileMode(bits))
        } else {
            Err(format!("{bits:04o} locks out reader itself: the owner must be able to read and write, as in 0640"))
        }
    }
}

impl Value for FileMode {
    const EXPECTED: &'static str = Mode::EXPECTED;

    fn from_text(text: &str) -> Result<Self, String> {
        Mode::from_text(text).and_then(FileMode::checked)
    }

    fn from_integer(number: u64) -> Result<Self, String> {
        Mode::from_integer(number).and_then(FileMode::checked)
    }
}

/// A user or group by name or number; empty: the one that the kernel gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account(pub Option<String>);

impl Value for Account {
    const EXPECTED: &'static str = "a name or a number, or \"\" for the default";

    fn from_text(text: &str) -> Result<Self, String> {
        let odd = |c: char| c.is_whitespace() || c.is_control() || c == ':' || c == '/';
        if text.len() > ACCOUNT_MAX || text.contains(odd) {
            return Err(format!("`{}` is not the name or number of a user or group", text.escape_debug()));
        }
        if text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty() && text.parse::<u32>().is_err() {
            return Err(format!("{text} is too large for a user or group number"));
        }
        Ok(Account((!text.is_empty()).then(|| text.to_string())))
    }
}

/// A directory as it was written; a relative path starts at the directory of its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirPath(pub PathBuf);

impl Value for DirPath {
    const EXPECTED: &'static str = "a directory such as \"/var/log/standpipe\"";

    fn from_text(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.contains('\0') {
            return Err(format!("an empty path: write {}", Self::EXPECTED));
        }
        Ok(DirPath(PathBuf::from(text)))
    }

    fn from_integer(number: u64) -> Result<Self, String> {
        Err(format!("{number} is not a path: write {}", Self::EXPECTED))
    }
}

/// A file for a metrics system as it was written; a relative path starts at the directory of its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricsPath(pub PathBuf);

impl Value for MetricsPath {
    const EXPECTED: &'static str = "a file such as \"/var/lib/prometheus/node-exporter/standpipe.prom\"";

    fn from_text(text: &str) -> Result<Self, String> {
        if text.contains('\0') {
            return Err(format!("`{}` is not a path: write {}", text.escape_debug(), Self::EXPECTED));
        }
        metrics::checked(text).map(MetricsPath)
    }

    fn from_integer(number: u64) -> Result<Self, String> {
        Err(format!("{number} is not a path: write {}", Self::EXPECTED))
    }
}

/// What stands verbatim before each line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prefix(pub String);

impl Value for Prefix {
    const EXPECTED: &'static str = "a text without newlines";

    fn from_text(text: &str) -> Result<Self, String> {
        if text.contains('\n') {
            return Err("a prefix cannot contain a newline".to_string());
        }
        if text.len() > PREFIX_MAX {
            return Err(format!("the prefix has {} bytes; at most {PREFIX_MAX} are allowed", text.len()));
        }
        Ok(Prefix(text.to_string()))
    }
}

/// A time zone of the system's database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone(pub TimeZone);

impl Value for Zone {
    const EXPECTED: &'static str = "a time zone such as \"UTC\" or \"Europe/Berlin\"";

    fn from_text(text: &str) -> Result<Self, String> {
        if ["UTC", "Etc/UTC"].contains(&text) {
            return Ok(Zone(TimeZone::UTC));
        }
        TimeZone::get(text).map(Zone).map_err(|_| {
            format!("unknown time zone `{text}`: write UTC or a name below /usr/share/zoneinfo such as Europe/Berlin")
        })
    }
}

/// The size in bytes at which a segment is sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RotateSize(pub Limit<u64>);

impl Value for RotateSize {
    const EXPECTED: &'static str = "a size such as \"64MiB\", or \"off\"";

    fn from_text(text: &str) -> Result<Self, String> {
        match Limit::<ByteSize>::from_text(text)? {
            Limit::At(size) if size.0 < ROTATE_BYTES_MIN => {
                Err(format!("{size} is too small: write 1KiB or more, or off"))
            }
            limit => Ok(RotateSize(limit.map(|size| size.0))),
        }
    }
}

/// The age at which a segment is sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RotateAge(pub Limit<Duration>);

impl Value for RotateAge {
    const EXPECTED: &'static str = "a span such as \"1d\", or \"off\"";

    fn from_text(text: &str) -> Result<Self, String> {
        match Limit::<Span>::from_text(text)? {
            Limit::At(age) if age.0 < ROTATE_AGE_MIN => Err(format!("{age} is too short: write 1s or more, or off")),
            limit => Ok(RotateAge(limit.map(|age| age.0))),
        }
    }
}

/// The bytes for which a due rotation waits for the end of an open line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxLine(pub u64);

impl Value for MaxLine {
    const EXPECTED: &'static str = "a size such as \"1MiB\", or \"off\"";

    fn from_text(text: &str) -> Result<Self, String> {
        match Limit::<ByteSize>::from_text(text)? {
            Limit::Off => Ok(MaxLine(MAX_LINE_OFF)),
            Limit::At(ByteSize(0)) => Err("0 bytes hold no line: write 1 or more, or off".to_string()),
            Limit::At(ByteSize(bytes)) => Ok(MaxLine(bytes.min(MAX_LINE_OFF))),
        }
    }
}

/// How long a sealed segment stays plain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArchiveAfter(pub Duration);

impl Value for ArchiveAfter {
    const EXPECTED: &'static str = "a span such as \"10m\"";

    fn from_text(text: &str) -> Result<Self, String> {
        Span::from_text(text).map(|span| ArchiveAfter(span.0))
    }
}

/// What becomes of a sealed segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compress {
    /// An archive.
    Zstd,
    /// Nothing: it stays plain.
    None,
}

impl Value for Compress {
    const EXPECTED: &'static str = "\"zstd\" or \"none\"";

    fn from_text(text: &str) -> Result<Self, String> {
        match text {
            "zstd" => Ok(Compress::Zstd),
            "none" => Ok(Compress::None),
            _ => Err(format!("unknown compression `{text}`: write zstd or none")),
        }
    }
}

/// How hard the archiver tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// What the reader thinks best.
    Auto,
    /// Always this zstd level, 1 to 19.
    Fixed(i32),
}

impl Value for Level {
    const EXPECTED: &'static str = "\"auto\" or a number from 1 to 19";

    fn from_text(text: &str) -> Result<Self, String> {
        if text == "auto" {
            return Ok(Level::Auto);
        }
        let level = text.parse().ok().filter(|level| (1..=LEVEL_MAX).contains(level));
        level.map(Level::Fixed).ok_or_else(|| format!("`{text}` is not a level: write auto or 1 to {LEVEL_MAX}"))
    }
}

/// Whether archives get a search filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SearchFilter {
    /// Unless segments wait.
    Auto,
    /// Never.
    None,
}

impl Value for SearchFilter {
    const EXPECTED: &'static str = "\"auto\" or \"none\"";

    fn from_text(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(SearchFilter::Auto),
            "none" => Ok(SearchFilter::None),
            _ => Err(format!("unknown search filter `{text}`: write auto or none")),
        }
    }
}

/// The longest time between two reads of a busy pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tick(pub Duration);

impl Value for Tick {
    const EXPECTED: &'static str = "a span from \"1ms\" to \"1s\"";

    fn from_text(text: &str) -> Result<Self, String> {
        let span = Span::from_text(text)?;
        if span.0 < TICK.0 || span.0 > TICK.1 {
            return Err(format!("{span} is out of range: write 1ms to 1s"));
        }
        Ok(Tick(span.0))
    }
}

/// How full a pipe may be, as a part of its capacity, before that is worth a warning: more than 0, at most 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WarnFill(pub Limit<f64>);

impl Value for WarnFill {
    const EXPECTED: &'static str = "a fraction such as 0.75 or \"75%\", or \"off\"";

    fn from_text(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(WarnFill(Limit::Off));
        }
        let (digits, whole) = text.strip_suffix('%').map_or((text, 1.0), |digits| (digits, 100.0));
        let plain = digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        let fill = digits.parse::<f64>().ok().filter(|_| plain).map(|number| number / whole);
        let fill = fill.ok_or_else(|| format!("`{text}` is not a fraction: write 0.75, 75%, or off"))?;
        if fill > 0.0 && fill <= 1.0 {
            Ok(WarnFill(Limit::At(fill)))
        } else {
            Err(format!("`{text}` is out of range: write more than 0 and at most 1, such as 0.75 or 75%, or off"))
        }
    }

    fn from_float(number: f64) -> Result<Self, String> {
        WarnFill::from_text(&number.to_string())
    }
}

/// How long a pipe may be that full before it is worth a warning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WarnAfter(pub Limit<Duration>);

impl Value for WarnAfter {
    const EXPECTED: &'static str = "a span such as \"5s\", or \"off\"";

    fn from_text(text: &str) -> Result<Self, String> {
        Ok(WarnAfter(Limit::<Span>::from_text(text)?.map(|span| span.0)))
    }
}

#[cfg(test)]
mod tests;
