//! A line as text.
//!
//! The pieces of an over-long line follow each other as one line.

use super::stamp::Stamper;
use super::{Parts, push as push_bytes};
use crate::out::level::Gravity;
use crate::out::timestamp::Time;

const PLAIN: &[u8] = b"\x1b[0m";

/// How it is shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    pub has_color: bool,
    /// Of the source.
    pub color: Option<u8>,
    pub is_visible: bool,
}

pub(super) fn push(line: &Parts<'_>, name: &str, look: Look, stamper: &mut Stamper, out: &mut Vec<u8>) {
    if !line.is_continued {
        stamper.push(line.time.unwrap_or(Time::of_clock(line.read_ns)), out);
        out.push(b' ');
        if let Some(color) = look.color {
            out.extend_from_slice(format!("\x1b[38;5;{color}m").as_bytes());
            push_bytes(name.as_bytes(), look.is_visible, out);
            out.extend_from_slice(PLAIN);
        } else {
            push_bytes(name.as_bytes(), look.is_visible, out);
        }
        out.push(b' ');
        let (word, gravity) =
            line.level.as_ref().map_or((&b"-"[..], Gravity::Info), |(word, gravity)| (word, *gravity));
        push_colored(word, if look.has_color { level_color(gravity) } else { b"" }, out);
        out.push(b' ');
    }
    line.message.iter().for_each(|part| push_bytes(part, look.is_visible, out));
    if !line.is_open {
        out.push(b'\n');
    }
}

fn push_colored(text: &[u8], color: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(color);
    out.extend_from_slice(text);
    if !color.is_empty() {
        out.extend_from_slice(PLAIN);
    }
}

fn level_color(gravity: Gravity) -> &'static [u8] {
    match gravity {
        Gravity::Debug => b"\x1b[2m",
        Gravity::Info => b"",
        Gravity::Warning => b"\x1b[33m",
        Gravity::Error => b"\x1b[31m",
    }
}
