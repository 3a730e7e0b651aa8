//! A line as text.
//!
//! The pieces of an over-long line follow each other as one line.

use super::Line;
use super::stamp::Stamper;
use crate::level::Gravity;

const SOURCE_COLOR: &[u8] = b"\x1b[36m";
const PLAIN: &[u8] = b"\x1b[0m";

pub(super) fn push(line: &Line<'_>, name: &str, color: bool, stamper: &mut Stamper, out: &mut Vec<u8>) {
    if !line.is_continued {
        stamper.push(line.time_ns.unwrap_or(line.read_ns), out);
        out.push(b' ');
        push_colored(name.as_bytes(), if color { SOURCE_COLOR } else { b"" }, out);
        out.push(b' ');
        let (word, gravity) = line.level.unwrap_or((b"-", Gravity::Info));
        push_colored(word, if color { level_color(gravity) } else { b"" }, out);
        out.push(b' ');
    }
    line.message.iter().for_each(|part| out.extend_from_slice(part));
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
