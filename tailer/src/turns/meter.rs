//! An output that counts what is put into it: what a read brought.
//!
//! It passes everything on as it is, but for one thing: a source with a limit is never *behind* for an output that puts
//! sources in order, or all others would be held to the limit as well.

use memchr::memchr_iter;

use crate::out::lines::{Lines, SourceId};
use crate::out::output::{Output, Standing};

/// Around an output for one read.
pub struct Meter<'a> {
    inner: &'a mut dyn Output,
    is_limited: bool,
    /// Bytes that were put.
    pub bytes: u64,
    /// Newlines among them; counted for a source with a limit only.
    pub lines: u64,
}

impl<'a> Meter<'a> {
    /// Around `inner`; `is_limited`: the source has a limit.
    pub fn around(inner: &'a mut dyn Output, is_limited: bool) -> Meter<'a> {
        Meter { inner, is_limited, bytes: 0, lines: 0 }
    }
}

impl Output for Meter<'_> {
    fn room(&self, source: SourceId) -> usize {
        self.inner.room(source)
    }

    fn is_room_final(&self, source: SourceId) -> bool {
        self.inner.is_room_final(source)
    }

    fn put(&mut self, lines: &Lines<'_>) {
        self.bytes += lines.bytes.len() as u64;
        if self.is_limited {
            self.lines += memchr_iter(b'\n', lines.bytes).count() as u64;
        }
        self.inner.put(lines);
    }

    fn note(&mut self, source: SourceId, standing: Standing) {
        let is_behind = standing == Standing::Behind;
        self.inner.note(source, if is_behind && self.is_limited { Standing::AtEnd } else { standing });
    }
}
