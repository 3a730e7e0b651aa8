//! One pipe and its turns: what stands behind the cursor is read, sent, and passed once the receiver has answered.
//!
//! Invariants: the cursor on disk is never beyond what was answered, or is told as lost. Whatever is sent again after a
//! kill has the same uid and time, for both follow from the log and the cursor alone. A cursor that cannot be written is
//! tried again before anything else is sent.

use std::path::Path;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use nix::errno::Errno;
use standpipe_common::clock;
use standpipe_common::cursor::{Cursor, Receiver};
use standpipe_common::error::{Error, Result};
use standpipe_common::retry::{Once, Retry};
use standpipe_common::shown::{Shown as _, counted};
use standpipe_reader::disk::Dir;

use crate::backoff;
use crate::batch::{Batch, LINES_MAX};
use crate::client::Client;
use crate::cursor_file::CursorFile;
use crate::gzip::Gzip;
use crate::otlp::{self, Resource};
use crate::parts::{Parts, Reading, Wanted};
use crate::timing::Timing;
use crate::verdict::{Answer, Verdict};

/// Requests of one turn: then others have theirs.
const REQUESTS_MAX: usize = 16;
/// When it is looked again where something has to be put right by hand.
const TROUBLE_SPAN: Duration = Duration::from_secs(2);
/// A batch that grew beyond this is not kept in memory.
const KEPT_BYTES_MAX: usize = 4 << 20;

/// What a turn is done with; there are as many as there may be turns at a time.
pub struct Desk {
    reading: Reading,
    batch: Batch,
    gzip: Gzip,
}

impl Desk {
    /// Fails only for want of memory.
    pub fn new() -> Result<Desk> {
        Ok(Desk { reading: Reading::new()?, batch: Batch::default(), gzip: Gzip::default() })
    }

    /// What is put on it from now on is of other parts.
    fn clear(&mut self) {
        self.reading.forget();
        if self.batch.capacity() > KEPT_BYTES_MAX {
            self.batch = Batch::default();
            self.gzip = Gzip::default();
        }
    }
}

/// When a pipe has its next turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// When there is something new.
    News,
    /// Once others had theirs.
    Soon,
    /// Not before.
    After(Duration),
}

/// One pipe.
pub struct Pipe {
    name: String,
    dir: Dir,
    file: CursorFile,
    resource: Resource,
    cursor: Option<Cursor>,
    /// The cursor on disk is an older one.
    is_unsaved: bool,
    /// Lines of a batch at most.
    width: usize,
    /// The same batch is tried again.
    retry: Retry,
    /// What was said of it last, and is still so.
    told: Once<String>,
    /// What could not be read of the last batch.
    gaps: Vec<String>,
}

impl Pipe {
    /// The log in `dir`. `None`: another process sends it.
    pub fn open(dir: Dir, receiver: &Receiver, host: &[(&str, &str)]) -> Result<Option<Pipe>> {
        let whole = dir.path().canonicalize().ok();
        let name = whole.as_deref().and_then(Path::file_name).unwrap_or_default().shown().to_string();
        let attributes: Vec<(&str, &str)> = [("service.name", name.as_str())].iter().chain(host).copied().collect();
        let resource = Resource::new(&attributes);
        let Some(file) = CursorFile::lock(dir.try_clone()?, receiver)? else { return Ok(None) };
        Ok(Some(Pipe {
            name,
            dir,
            file,
            resource,
            cursor: None,
            is_unsaved: false,
            width: LINES_MAX,
            retry: backoff::retry(),
            told: Once::default(),
            gaps: Vec::new(),
        }))
    }

    /// Sends some of what there is.
    pub fn turn(&mut self, client: &Client, batch_bytes: u64, desk: &mut Desk) -> Next {
        desk.clear();
        let done = self.go_on(client, batch_bytes, desk);
        desk.clear();
        match done {
            Ok(next) => {
                self.told.end();
                next
            }
            // Something was removed between two looks at it.
            Err(error) if error.errno() == Some(Errno::ENOENT) => Next::After(TROUBLE_SPAN),
            Err(error) => {
                let sentence = error.to_string();
                if self.told.is_news(sentence.clone()) {
                    log::error!("{}: {sentence}", self.name);
                }
                Next::After(TROUBLE_SPAN)
            }
        }
    }

    fn go_on(&mut self, client: &Client, batch_bytes: u64, desk: &mut Desk) -> Result<Next> {
        self.save()?;
        let mut parts = Parts::look(&self.dir)?;
        for _ in 0..REQUESTS_MAX {
            let Some(from) = self.settle(&mut parts)? else { return Ok(Next::News) };
            let cursor = self.cursor.as_ref().expect("it is settled");
            desk.batch.begin(cursor.serial().log);
            debug_assert!((1..=LINES_MAX).contains(&self.width), "batches of {} lines", self.width);
            debug_assert!(!self.is_unsaved, "what was answered is written down before the next request");
            let wanted = Wanted { bytes: batch_bytes, lines: self.width };
            let timing = Timing::behind(cursor.time_ns());
            let gaps = parts.gather(from, wanted, timing, (&mut desk.batch, &mut desk.reading))?;
            let Some(count) = Some(desk.batch.len()).filter(|count| *count > 0) else { return Ok(Next::News) };
            otlp::write_request(&desk.batch, count, &self.resource, client.scope(), &mut desk.gzip);
            let answer = client.send(desk.gzip.finish());
            if let Some(next) = self.take(&answer, &parts, &desk.batch, count)? {
                return Ok(next);
            }
            self.tell_gaps(gaps);
            if client.is_stopping() {
                return Ok(Next::News);
            }
        }
        Ok(Next::Soon)
    }

    /// Says what could not be read, once: what stands at the end of a batch is met again by the next one.
    fn tell_gaps(&mut self, gaps: Vec<String>) {
        for gap in gaps.iter().filter(|gap| !self.gaps.contains(gap)) {
            log::error!("{}: {gap}", self.name);
        }
        self.gaps = gaps;
    }

    /// Goes by an answer. `None`: on with the next batch.
    fn take(&mut self, answer: &Answer, parts: &Parts, batch: &Batch, count: usize) -> Result<Option<Next>> {
        match answer.verdict() {
            Verdict::Taken { refused } => {
                if let Some((lines, message)) = &refused {
                    log::error!(
                        "{}: the receiver refused {lines} of {}: {message}",
                        self.name,
                        counted(count as u64, "line")
                    );
                }
                self.width = self.width.saturating_mul(2).min(LINES_MAX);
                self.pass(answer, parts, batch, count, refused.map_or(0, |(lines, _)| lines))?;
            }
            Verdict::Halve if count > 1 => self.width = count / 2,
            Verdict::Halve => {
                let line = batch.line(0);
                let mut uid = Vec::new();
                batch.put_uid(line, &mut uid);
                log::error!(
                    "{}: the receiver refused a line of {}, uid {}: {}",
                    self.name,
                    counted(batch.body(line).len() as u64, "byte"),
                    String::from_utf8_lossy(&uid),
                    answer.words()
                );
                self.width = self.width.saturating_mul(2).min(LINES_MAX);
                self.pass(answer, parts, batch, count, 1)?;
            }
            Verdict::Again { after, .. } => {
                // The same batch.
                self.width = count;
                self.note(answer);
                return Ok(Some(Next::After(backoff::wait(
                    self.retry.failed(Instant::now()),
                    after,
                    backoff::chance(),
                ))));
            }
        }
        self.retry.succeeded();
        Ok(None)
    }

    /// Passes the lines of a batch, which were answered.
    fn pass(&mut self, answer: &Answer, parts: &Parts, batch: &Batch, count: usize, refused: u64) -> Result<()> {
        debug_assert!(0 < count && count <= batch.len(), "{count} of {} lines", batch.len());
        let (place, raw_bytes) = batch.behind(count);
        let time_ns = batch.line(count - 1).time_ns;
        let cursor = self.cursor.as_mut().expect("it is settled");
        if cursor.part() != place.part {
            cursor.enter(&place.part, parts.serial_of(&place.part)?);
        }
        cursor.pass(place.offset, time_ns);
        cursor.count_sent(raw_bytes);
        cursor.count_refused(refused);
        cursor.note_answer(clock::now_ns(), &answer.words());
        self.is_unsaved = true;
        self.save()
    }

    /// Keeps an answer that changes nothing else, once for several tries.
    fn note(&mut self, answer: &Answer) {
        let cursor = self.cursor.as_mut().expect("it is settled");
        if cursor.answer().is_none_or(|(_, text)| !text.starts_with(&answer.words())) {
            cursor.note_answer(clock::now_ns(), &answer.words());
            // Nothing is lost by a cursor that does not say so.
            self.file.write(cursor).ok();
        }
    }

    fn save(&mut self) -> Result<()> {
        if let Some(cursor) = self.cursor.as_ref().filter(|_| self.is_unsaved) {
            self.file.write(cursor)?;
            self.is_unsaved = false;
        }
        Ok(())
    }

    /// Where to go on: the number of a part, and an offset in it. What is missing there is told, and counted as lost.
    /// `None`: there is nothing.
    fn settle(&mut self, parts: &mut Parts) -> Result<Option<(usize, u64)>> {
        if parts.count() == 0 {
            return Ok(None);
        }
        if self.cursor.is_none() {
            self.cursor = self.file.read()?;
        }
        let log = parts.log()?;
        let cursor = match &mut self.cursor {
            Some(cursor) => cursor,
            none => {
                self.is_unsaved = true;
                let first = parts.name(0).stem().to_owned();
                none.insert(Cursor::new(&first, parts.serial_of(&first)?))
            }
        };
        let of = cursor.serial().log;
        if of != log {
            let cause = format!(
                "it belongs to log {of}, but this is log {log}; delete it to send this log from its oldest part"
            );
            self.cursor = None;
            return Err(Error::because("use cursor in", self.dir.path(), cause));
        }
        let Some(part) = parts.part_of_stem(cursor.part()) else {
            let cause = format!("{} is not the name of a part", cursor.part());
            self.cursor = None;
            return Err(Error::because("use cursor in", self.dir.path(), cause));
        };
        let offset = cursor.offset();
        let (number, is_there) = parts.find(&part);
        let here = if is_there { parts.len_of(number, offset)? } else { None };
        if here.is_some_and(|len| offset < len) || number == parts.count() {
            self.save()?;
            return Ok(here.map(|_| (number, offset)));
        }
        let next = if is_there { number + 1 } else { number };
        if next == parts.count() {
            self.save()?;
            return Ok(None);
        }
        self.enter(parts, next)?;
        self.save()?;
        Ok(Some((next, 0)))
    }

    /// Goes on with a part from its beginning, though others may be missing before it.
    fn enter(&mut self, parts: &mut Parts, next: usize) -> Result<()> {
        let cursor = self.cursor.as_mut().expect("it was read");
        let stem = parts.name(next).stem().to_owned();
        let serial = parts.serial_of(&stem)?;
        let lost = serial.offset.saturating_sub(cursor.serial().offset + cursor.offset());
        if lost == 0 {
            return Ok(());
        }
        let after = cursor.time_ns().map_or("the beginning".to_owned(), moment);
        let before = parts.first_ns(next)?.map_or_else(|| "now".to_owned(), moment);
        log::error!(
            "{}: lost {}, removed before being sent: what arrived after {after} and before {before}",
            self.name,
            counted(lost, "byte")
        );
        cursor.count_lost(lost);
        cursor.enter(&stem, serial);
        self.is_unsaved = true;
        Ok(())
    }
}

fn moment(ns: i64) -> String {
    Timestamp::from_nanosecond(i128::from(ns)).map_or_else(|_| "?".to_owned(), |time| time.to_string())
}
