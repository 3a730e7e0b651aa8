//! The record of a mailbox: whose chunk it is, where its bytes go, and how each of its line starts looks.
//!
//! Together with the chunk it makes the write into the part a pure function, which can be repeated: no
//! configuration, zone or pattern of today is asked how yesterday's bytes looked.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use standpipe_common::fifo::Identity;

/// Everything about a chunk but its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The lane: a log directory in the log root, or `.` for the log root itself.
    pub lane: OsString,
    /// File name of the segment.
    pub part: String,
    /// Inode of the segment.
    pub part_ino: u64,
    /// Its length before this chunk, bytes.
    pub base: u64,
    /// The chunk continues a line.
    pub open: bool,
    /// Arrival clock, ns since the epoch.
    pub clock_ns: i64,
    /// What each line that starts in this chunk gets in front: rendered stamp and prefix.
    pub text: Vec<u8>,
    /// Bytes that FIONREAD said were waiting.
    pub queued: usize,
    /// Bytes that will be read, never more than `queued`.
    pub want: usize,
    /// The pipe that is read, whatever its name leads to later.
    pub fifo: Identity,
}

impl Record {
    /// Writes it into `page`.
    ///
    /// # Panics
    /// If the names and the text, which are bounded by configuration, do not fit a page.
    pub fn encode(&self, page: &mut [u8]) {
        let mut writer = Writer { page, at: 0 };
        writer.put(&self.base.to_le_bytes());
        writer.put(&self.part_ino.to_le_bytes());
        writer.put(&self.clock_ns.to_le_bytes());
        writer.put(&(self.queued as u64).to_le_bytes());
        writer.put(&(self.want as u64).to_le_bytes());
        writer.put(&self.fifo.dev.to_le_bytes());
        writer.put(&self.fifo.ino.to_le_bytes());
        writer.put(&u64::from(self.open).to_le_bytes());
        writer.put_field(self.lane.as_bytes());
        writer.put_field(self.part.as_bytes());
        writer.put_field(&self.text);
    }

    /// Reads it back. `None`: a field is impossible.
    pub fn decode(page: &[u8]) -> Option<Record> {
        let mut reader = Reader { page };
        let base = reader.number()?;
        let part_ino = reader.number()?;
        let clock_ns = reader.number()? as i64;
        let queued = usize::try_from(reader.number()?).ok()?;
        let want = usize::try_from(reader.number()?).ok()?;
        let fifo = Identity { dev: reader.number()?, ino: reader.number()? };
        let open = match reader.number()? {
            0 => false,
            1 => true,
            _ => return None,
        };
        let lane = OsString::from_vec(reader.field()?.to_vec());
        let part = String::from_utf8(reader.field()?.to_vec()).ok()?;
        let text = reader.field()?.to_vec();
        let plausible = want <= queued && is_file_name(&lane) && is_file_name(OsStr::new(&part)) && part != ".";
        plausible.then_some(Record { lane, part, part_ino, base, open, clock_ns, text, queued, want, fifo })
    }
}

/// A name in one directory: nothing that would lead out of it.
fn is_file_name(name: &OsStr) -> bool {
    let bytes = name.as_bytes();
    !bytes.is_empty() && name != ".." && !bytes.contains(&b'/') && !bytes.contains(&0)
}

struct Writer<'a> {
    page: &'a mut [u8],
    at: usize,
}

impl Writer<'_> {
    fn put(&mut self, bytes: &[u8]) {
        self.page[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
    }

    fn put_field(&mut self, bytes: &[u8]) {
        self.put(&(bytes.len() as u32).to_le_bytes());
        self.put(bytes);
    }
}

struct Reader<'a> {
    page: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.page.split_at_checked(len)?;
        self.page = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    fn field(&mut self) -> Option<&'a [u8]> {
        let len = u32::from_le_bytes(self.take(4)?.try_into().ok()?);
        self.take(len as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        Record {
            lane: "app".into(),
            part: "2026-11-21T10-00-00.000000Z.log".into(),
            part_ino: 7,
            base: 1 << 40,
            open: true,
            clock_ns: -5,
            text: b"2026-11-21T10:00:00.000000Z ".to_vec(),
            queued: 4096,
            want: 100,
            fifo: Identity { dev: 1, ino: 2 },
        }
    }

    #[test]
    fn a_record_comes_back_as_it_was() {
        let mut page = vec![0xAA; 3904];
        record().encode(&mut page);
        assert_eq!(Record::decode(&page), Some(record()));
    }

    #[test]
    fn an_impossible_field_is_no_record() {
        let strange: [fn(&mut Record); 4] = [
            |record| record.want = record.queued + 1,
            |record| record.lane = "../etc".into(),
            |record| record.lane = "..".into(),
            |record| record.part = String::new(),
        ];
        for change in strange {
            let mut page = vec![0; 3904];
            let mut record = record();
            change(&mut record);
            record.encode(&mut page);
            assert_eq!(Record::decode(&page), None, "{record:?}");
        }
        assert_eq!(Record::decode(&[0xFF; 3904]), None);
        assert_eq!(Record::decode(&[0; 10]), None);
    }
}
