//! A line as a JSON object.
//!
//! | key | value |
//! |---|---|
//! | `time` | the time that the line says, or the line that it goes on with; RFC 3339, UTC; null if none |
//! | `read` | when it was read |
//! | `delta` | seconds from `time` to `read`; null if there is no `time` |
//! | `sequence` | number of the line in this run, from 1 |
//! | `source` | name of the source |
//! | `identity` | `dev` and `ino` of the file |
//! | `offset` | of the line's first byte in the file |
//! | `level` | as written, or the word for a letter, mark or number; null if none |
//! | `message` | without time and level; what is no UTF-8 has replacement characters |
//! | `continued` | true: goes on with the line of the object before of this source |
//! | `open` | true: the next object of this source goes on with it |

use serde::Serialize;
use serde_json::Serializer;
use standpipe_common::shown::visible_json;

use super::Parts;
use super::stamp::Stamper;
use crate::out::timestamp::Time;

#[derive(Serialize)]
struct Object<'a> {
    time: Option<String>,
    read: String,
    delta: Option<f64>,
    sequence: u64,
    source: &'a str,
    identity: InodeText,
    offset: u64,
    level: Option<&'a str>,
    message: &'a str,
    #[serde(skip_serializing_if = "is_false")]
    continued: bool,
    #[serde(skip_serializing_if = "is_false")]
    open: bool,
}

#[derive(Serialize)]
struct InodeText {
    dev: u64,
    ino: u64,
}

pub(super) fn push(line: &Parts<'_>, name: &str, is_visible: bool, out: &mut Vec<u8>) {
    let [before, behind] = line.message;
    let joined;
    let message = if before.is_empty() {
        String::from_utf8_lossy(behind)
    } else {
        joined = [before, behind].concat();
        String::from_utf8_lossy(&joined)
    };
    let object = Object {
        time: line.time.map(rendered),
        read: rendered(Time::of_clock(line.read_ns)),
        delta: line.time.map(|time| seconds(line.read_ns.saturating_sub(time.ns))),
        sequence: line.sequence,
        source: name,
        identity: InodeText { dev: line.origin.identity.dev, ino: line.origin.identity.ino },
        offset: line.offset,
        // A level is one of a few ASCII words.
        level: line.level.as_ref().and_then(|(word, _)| str::from_utf8(word).ok()),
        message: &message,
        continued: line.is_continued,
        open: line.is_open,
    };
    let start = out.len();
    // Writing numbers and strings into memory cannot fail.
    object.serialize(&mut Serializer::new(&mut *out)).ok();
    if is_visible {
        let text = String::from_utf8_lossy(&out[start..]).into_owned();
        out.truncate(start);
        out.extend_from_slice(visible_json(&text).as_bytes());
    }
    out.push(b'\n');
}

fn rendered(time: Time) -> String {
    let mut text = Vec::with_capacity(32);
    Stamper::default().push(time, &mut text);
    String::from_utf8(text).unwrap_or_default()
}

/// To the microsecond.
fn seconds(ns: i64) -> f64 {
    (ns / 1000) as f64 / 1e6
}

// The signature is what serde asks for.
#[expect(clippy::trivially_copy_pass_by_ref)]
fn is_false(value: &bool) -> bool {
    !value
}
