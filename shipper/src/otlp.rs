//! OTLP, protobuf: a batch as an `ExportLogsServiceRequest`, and what the answer to one says.
//!
//! The few messages are written by hand, so that a batch goes into the compressor piece by piece and is never in memory
//! as a whole. Fields are those of opentelemetry-proto 1.x: `collector/logs/v1/logs_service.proto`, `logs/v1/logs.proto`,
//! `common/v1/common.proto`, `resource/v1/resource.proto`, and `google/rpc/status.proto`.

use crate::batch::{Batch, Line};
use crate::gzip::Gzip;

/// What is gathered for the compressor at a time.
const PIECE_BYTES: usize = 32 << 10;
/// Most characters of a message in an answer.
const MESSAGE_CHARS_MAX: usize = 200;
/// The attribute that names a line for ever.
const UID: &str = "log.record.uid";

const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const BYTES: u64 = 2;
const FIXED32: u64 = 5;

/// What all lines of a pipe have in common.
#[derive(Clone, Debug)]
pub struct Resource {
    encoded: Vec<u8>,
}

impl Resource {
    /// Of these attributes.
    pub fn new(attributes: &[(&str, &str)]) -> Resource {
        let mut encoded = Vec::new();
        for (key, value) in attributes {
            put_attribute(&mut encoded, 1, key, value);
        }
        Resource { encoded }
    }
}

/// Compresses the first so many lines of a batch as a request. `scope`: who sends them, and of which version.
pub fn write_request(batch: &Batch, lines: usize, resource: &Resource, scope: (&str, &str), gzip: &mut Gzip) {
    let records: usize = batch.lines(lines).map(|line| field_len(2, record_len(batch, line))).sum();
    let mut scope_message = Vec::new();
    put_bytes(&mut scope_message, 1, scope.0.as_bytes());
    put_bytes(&mut scope_message, 2, scope.1.as_bytes());
    let scope_logs = field_len(1, scope_message.len()) + records;
    let resource_logs = field_len(1, resource.encoded.len()) + field_len(2, scope_logs);
    let mut piece = Vec::with_capacity(2 * PIECE_BYTES);
    put_head(&mut piece, 1, resource_logs);
    put_bytes(&mut piece, 1, &resource.encoded);
    put_head(&mut piece, 2, scope_logs);
    put_bytes(&mut piece, 1, &scope_message);
    gzip.begin();
    for line in batch.lines(lines) {
        put_record(&mut piece, batch, line);
        if piece.len() >= PIECE_BYTES {
            gzip.write(&piece);
            piece.clear();
        }
    }
    gzip.write(&piece);
}

/// A `LogRecord`: time 1, body 5, attributes 6, observed time 11.
fn put_record(out: &mut Vec<u8>, batch: &Batch, line: &Line) {
    let body = batch.body(line);
    put_head(out, 2, record_len(batch, line));
    put_fixed64(out, 1, line.time_ns as u64);
    put_head(out, 5, field_len(body_field(line), body.len()));
    put_bytes(out, body_field(line), body);
    put_uid(out, batch, line);
    put_fixed64(out, 11, line.time_ns as u64);
}

fn record_len(batch: &Batch, line: &Line) -> usize {
    const TIMES: usize = 2 * (1 + 8);
    let body = field_len(body_field(line), batch.body(line).len());
    TIMES + field_len(5, body) + field_len(6, uid_attribute_len(batch.uid_len(line)))
}

/// Of an `AnyValue`: a string, which has to be UTF-8, else bytes.
fn body_field(line: &Line) -> u64 {
    if line.is_utf8 { 1 } else { 7 }
}

fn uid_attribute_len(uid: usize) -> usize {
    field_len(1, UID.len()) + field_len(2, field_len(1, uid))
}

fn put_uid(out: &mut Vec<u8>, batch: &Batch, line: &Line) {
    let uid_len = batch.uid_len(line);
    put_head(out, 6, uid_attribute_len(uid_len));
    put_bytes(out, 1, UID.as_bytes());
    put_head(out, 2, field_len(1, uid_len));
    put_head(out, 1, uid_len);
    let before = out.len();
    batch.put_uid(line, out);
    assert_eq!(out.len() - before, uid_len, "its length stands before it");
}

/// A `KeyValue` with a string.
fn put_attribute(out: &mut Vec<u8>, field: u64, key: &str, value: &str) {
    put_head(out, field, field_len(1, key.len()) + field_len(2, field_len(1, value.len())));
    put_bytes(out, 1, key.as_bytes());
    put_head(out, 2, field_len(1, value.len()));
    put_bytes(out, 1, value.as_bytes());
}

fn put_bytes(out: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    put_head(out, field, bytes.len());
    out.extend_from_slice(bytes);
}

fn put_head(out: &mut Vec<u8>, field: u64, len: usize) {
    put_varint(out, field << 3 | BYTES);
    put_varint(out, len as u64);
}

fn put_fixed64(out: &mut Vec<u8>, field: u64, number: u64) {
    put_varint(out, field << 3 | FIXED64);
    out.extend_from_slice(&number.to_le_bytes());
}

fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Bytes of a field that holds so many, of which no number here is beyond 15.
fn field_len(field: u64, len: usize) -> usize {
    assert!(field < 16, "one byte for field and type");
    1 + varint_len(len) + len
}

fn varint_len(number: usize) -> usize {
    (usize::BITS - (number | 1).leading_zeros()).div_ceil(7) as usize
}

/// What the receiver did not take of a batch that it took.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartialSuccess {
    /// How many lines.
    pub rejected: u64,
    /// Why, or a warning where there are none.
    pub message: String,
}

impl PartialSuccess {
    /// Reads an `ExportLogsServiceResponse`. `None`: it says nothing of that kind.
    pub fn decode(body: &[u8]) -> Option<PartialSuccess> {
        let mut partial = PartialSuccess::default();
        let inner = fields(body).find_map(|(field, value)| if field == 1 { value.bytes() } else { None })?;
        for (field, value) in fields(inner) {
            match (field, value) {
                (1, Value::Number(rejected)) => partial.rejected = u64::try_from(rejected as i64).unwrap_or(0),
                (2, Value::Bytes(message)) => partial.message = shown(message)?,
                _ => {}
            }
        }
        Some(partial)
    }
}

/// What an error says: the message of a `Status`, or a short text. `None`: neither.
pub fn status_message(body: &[u8]) -> Option<String> {
    let said = fields(body).find_map(|(field, value)| if field == 2 { value.bytes() } else { None });
    shown(said.unwrap_or(body)).filter(|message| !message.is_empty())
}

fn shown(text: &[u8]) -> Option<String> {
    let text = str::from_utf8(text).ok()?;
    let is_odd = |c: char| c.is_control() && !c.is_whitespace();
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    (!text.contains(is_odd)).then(|| line.chars().take(MESSAGE_CHARS_MAX).collect())
}

#[derive(Clone, Copy)]
enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl<'a> Value<'a> {
    fn bytes(self) -> Option<&'a [u8]> {
        if let Value::Bytes(bytes) = self { Some(bytes) } else { None }
    }
}

/// The fields of a message, up to where it is none.
fn fields(mut message: &[u8]) -> impl Iterator<Item = (u64, Value<'_>)> {
    std::iter::from_fn(move || {
        let head = take_varint(&mut message)?;
        let value = match head & 7 {
            VARINT => Value::Number(take_varint(&mut message)?),
            FIXED64 => Value::Bytes(message.split_off(..8)?),
            BYTES => {
                let len = usize::try_from(take_varint(&mut message)?).ok()?;
                Value::Bytes(message.split_off(..len)?)
            }
            FIXED32 => Value::Bytes(message.split_off(..4)?),
            _ => return None,
        };
        Some((head >> 3, value))
    })
}

fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..u64::BITS).step_by(7) {
        let byte = *bytes.split_off_first()?;
        number |= u64::from(byte & 0x7F) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_those_of_what_is_written() {
        for number in [0, 1, 127, 128, 16_383, 16_384, 1 << 20, u32::MAX as usize, usize::MAX] {
            let mut out = Vec::new();
            put_varint(&mut out, number as u64);
            assert_eq!(out.len(), varint_len(number), "{number}");
            assert_eq!(take_varint(&mut &out[..]), Some(number as u64));
        }
        for len in [0, 5, 200, 70_000] {
            let mut out = Vec::new();
            put_bytes(&mut out, 11, &vec![1; len]);
            assert_eq!(out.len(), field_len(11, len));
        }
    }

    #[test]
    fn nonsense_in_an_answer_is_no_message() {
        for body in [&[0xFF; 30][..], &[0x0A], &[0x0A, 200, 1], &[0x0B], b"\x12\x05ab", b"\x00\x00"] {
            assert_eq!(PartialSuccess::decode(body).filter(|partial| partial.rejected > 0), None, "{body:?}");
            status_message(body);
        }
        let negative = [0x0A, 11, 0x08, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1];
        assert_eq!(PartialSuccess::decode(&negative), Some(PartialSuccess::default()));
        assert_eq!(status_message(b"<html>\n<b>no</b>"), Some("<html> <b>no</b>".to_owned()));
        assert_eq!(status_message(b"a\x1b[2Jb"), None);
        assert_eq!(
            status_message("ä".repeat(500).as_bytes()).map(|text| text.chars().count()),
            Some(MESSAGE_CHARS_MAX)
        );
    }
}
