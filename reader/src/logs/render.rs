//! How lines look.
//!
//! Byte for byte, unless something else is asked for or the output ends on a terminal: there control characters,
//! escape sequences and characters that change the direction of writing are made visible.

use std::io::Write as _;
use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use memchr::memchr_iter;
use serde::Serialize;
use standpipe_common::error::Result;
use standpipe_common::shown::{counted, push_visible};

use super::batch::Batch;
use super::part::Scratch;
use super::scan::Scan;

/// What a line is put into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As it is stored, behind what is asked for.
    Short,
    /// A JSON object each.
    Json,
    /// As it is stored, and nothing else.
    Cat,
    /// The same, and not even a newline for a line that has none.
    Raw,
}

/// How lines look.
pub struct Renderer {
    /// What they are put into.
    pub form: Form,
    /// The name of the pipe stands before each line.
    pub prefix: bool,
    /// The time of arrival stands before each line.
    pub time: bool,
    /// The zone of that.
    pub zone: TimeZone,
    /// Names, times and matches have colors.
    pub color: bool,
    /// What a terminal would obey is made visible.
    pub visible: bool,
    /// No line is longer, bytes.
    pub line_bytes_max: Option<usize>,
    /// A line that has no newline gets one where another follows, or at the end.
    pub completes: bool,
}

/// The fields of a line in JSON, in this order. Names and meaning stay; new ones may come.
#[derive(Serialize)]
struct Object<'a> {
    schema: u32,
    pipe: &'a str,
    time: String,
    part: &'a str,
    line: u64,
    text: std::borrow::Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    omitted: Option<usize>,
}

const NAME_COLORS: [&str; 10] = ["36", "33", "32", "35", "34", "96", "93", "92", "95", "94"];
const MATCH_COLOR: &[u8] = b"\x1b[1;31m";
const FAINT: &[u8] = b"\x1b[2m";
const RESET: &[u8] = b"\x1b[0m";

impl Renderer {
    /// Whether lines are written as they are stored, however many at a time.
    pub fn is_plain(&self, scan: &Scan) -> bool {
        let marks_matches = self.color && scan.patterns.is_some();
        self.form != Form::Json && !self.prefix && !self.time && !marks_matches && self.line_bytes_max.is_none()
    }

    /// Whether the times of lines are needed.
    pub fn is_timed(&self) -> bool {
        self.time || self.form == Form::Json
    }

    /// Appends lines as they are.
    pub fn plain(&self, lines: &[u8], out: &mut Vec<u8>) {
        if self.visible { push_visible(lines, out) } else { out.extend_from_slice(lines) }
    }

    /// Appends one line, `range` of `batch`, from the pipe `name`.
    pub fn line(
        &self,
        name: &str,
        batch: &Batch,
        range: Range<usize>,
        scan: &Scan,
        scratch: &mut Scratch,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        let line = &batch.raw[range.clone()];
        let (text, newline) = line.strip_suffix(b"\n").map_or((line, &b""[..]), |text| (text, &b"\n"[..]));
        let kept = &text[..self.line_bytes_max.map_or(text.len(), |max| text.len().min(max))];
        let omitted = text.len() - kept.len();
        if self.form == Form::Json {
            return self.object(name, batch, range.start, (kept, omitted), scratch, out);
        }
        if self.time {
            self.faint(self.time_text(batch.time_ns(range.start)).as_bytes(), out);
            out.push(b' ');
        }
        if self.prefix {
            self.name(name, out);
            out.extend(b": ");
        }
        let found = scan.patterns.as_ref().filter(|_| self.color).map(|patterns| patterns.highlights(kept));
        let mut at = 0;
        for found in found.into_iter().flatten() {
            self.plain(&kept[at..found.start], out);
            out.extend_from_slice(MATCH_COLOR);
            self.plain(&kept[found.clone()], out);
            out.extend_from_slice(RESET);
            at = found.end;
        }
        self.plain(&kept[at..], out);
        if omitted > 0 {
            let more = format!(" [{}]", counted(omitted as u64, "more byte"));
            self.faint(more.as_bytes(), out);
        }
        out.extend_from_slice(newline);
        Ok(())
    }

    /// Appends what stands between two groups.
    pub fn gap(&self, out: &mut Vec<u8>) {
        if self.form != Form::Json {
            self.faint(b"--", out);
            out.push(b'\n');
        }
    }

    fn object(
        &self,
        name: &str,
        batch: &Batch,
        start: usize,
        (text, omitted): (&[u8], usize),
        scratch: &mut Scratch,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        let block = batch.part.block(batch.block);
        let before = (batch.base - block.offset) as usize;
        let earlier = if before > 0 {
            let mut raw = Vec::new();
            batch.part.read(batch.block, scratch, &mut raw)?;
            memchr_iter(b'\n', &raw[..before]).count()
        } else {
            memchr_iter(b'\n', &batch.raw[..start]).count()
        };
        let line = batch.part.lines_before(batch.block, scratch)? + earlier as u64 + 1;
        let lossy = String::from_utf8_lossy(text);
        let base64 = std::str::from_utf8(text).is_err().then(|| BASE64.encode(text));
        let object = Object {
            schema: 1,
            pipe: name,
            time: timestamp(batch.time_ns(start)).to_string(),
            part: batch.part.name().stem(),
            line,
            text: lossy,
            base64,
            omitted: (omitted > 0).then_some(omitted),
        };
        let text = serde_json::to_string(&object).expect("strings and numbers");
        let shown = if self.visible { standpipe_common::shown::visible_json(&text) } else { text };
        out.extend_from_slice(shown.as_bytes());
        out.push(b'\n');
        Ok(())
    }

    fn time_text(&self, time_ns: i64) -> String {
        timestamp(time_ns).to_zoned(self.zone.clone()).strftime("%Y-%m-%dT%H:%M:%S.%6f%:z").to_string()
    }

    fn name(&self, name: &str, out: &mut Vec<u8>) {
        if self.color {
            let sum = name.bytes().fold(5381_u32, |sum, byte| sum.wrapping_mul(33) ^ u32::from(byte));
            let color = NAME_COLORS[sum as usize % NAME_COLORS.len()];
            let _infallible = write!(out, "\x1b[{color}m{name}\x1b[0m");
        } else {
            out.extend_from_slice(name.as_bytes());
        }
    }

    fn faint(&self, text: &[u8], out: &mut Vec<u8>) {
        if self.color {
            out.extend_from_slice(FAINT);
        }
        out.extend_from_slice(text);
        if self.color {
            out.extend_from_slice(RESET);
        }
    }
}

/// A time of arrival; one that no calendar has is the nearest that it has.
pub fn timestamp(time_ns: i64) -> Timestamp {
    Timestamp::from_nanosecond(time_ns.into()).unwrap_or(if time_ns < 0 { Timestamp::MIN } else { Timestamp::MAX })
}
