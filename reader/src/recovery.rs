//! What a word found at start means: how many bytes the last read brought, and whether the part still takes them.
//!
//! Recovery is no second program. It tells the ordinary steps at which place to go on, and it makes the same stores,
//! so it may be killed as well. What does not fit is set aside, never guessed into a log.
//!
//! | word | do |
//! |---|---|
//! | EMPTY, DONE | fill again |
//! | ARMED | tell from the data area and the pipe how much came (`arrived`); then as FULL |
//! | FULL(n) | the part has inode and length of the record, and beyond it the beginning of the chunk or nothing: put it |
//! | anything else | set aside |

use nix::errno::Errno;
use standpipe_common::error::{Cannot, Error, Result};
use standpipe_common::fifo::Fifo;
use standpipe_common::part::PartKind;
use standpipe_common::sys::PAGE_BYTES;

use crate::glance::Glance;
use crate::log_dir::LogDir;
use crate::mailbox::{Mailbox, Phase};
use crate::record::Record;
use crate::title;

/// What a read brought that nobody counted any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrived {
    /// Bytes that left the pipe.
    pub n: usize,
    /// The kernel stopped inside a buffer of the pipe; so many bytes were told apart from those still in it.
    pub stopped: Option<usize>,
}

/// How a mailbox was settled.
#[derive(Debug, PartialEq, Eq)]
pub enum Settled {
    /// So many bytes went from it into the log; it is EMPTY.
    Recovered(usize),
    /// It does not fit what stands in the log, for this reason; it is untouched.
    Misfit(String),
}

/// Brings the chunk of `mailbox`, whose lane has `log` and perhaps still the pipe `fifo`, into the log.
///
/// # Errors
/// The disk's. The mailbox then is FULL and this can be tried again.
pub fn settle(mailbox: &mut Mailbox, log: &mut LogDir, fifo: Option<&Fifo>) -> Result<Settled> {
    mailbox.make_writable().cannot("reserve memory for", log.dir().path())?;
    let Some(record) = mailbox.record() else { return Ok(Settled::Misfit("its record is damaged".to_owned())) };
    let n = match mailbox.phase() {
        Some(Phase::Full(n)) => n,
        Some(Phase::Armed) => {
            let Some(n) = count_armed(mailbox, &record, fifo).cannot("look into the pipe of", log.dir().path())? else {
                mailbox.clear_all();
                return Ok(Settled::Recovered(0));
            };
            n
        }
        _ => {
            mailbox.clear_all();
            return Ok(Settled::Recovered(0));
        }
    };
    if n > record.want {
        return Ok(Settled::Misfit("its record is damaged".to_owned()));
    }
    if let Some(reason) = misfit(log, &record, mailbox.data(n))? {
        return Ok(Settled::Misfit(reason));
    }
    mailbox.found(n);
    put_again(mailbox, &record, n, log)?;
    mailbox.clear_all();
    Ok(Settled::Recovered(n))
}

/// Puts the chunk of a FULL mailbox (again).
fn put_again(mailbox: &Mailbox, record: &Record, n: usize, log: &mut LogDir) -> Result<()> {
    let (segment, dir, mode) = log.segment_mut();
    let path = dir.path_of(&record.part);
    segment.cut_marks(dir, record.base, mode);
    segment.put_again(dir, record, mailbox.data(n), mode).cannot("write", path)
}

/// Why the part does not take the chunk. `None`: it does.
fn misfit(log: &LogDir, record: &Record, chunk: &[u8]) -> Result<Option<String>> {
    let segment = log.segment();
    if segment.name().file(PartKind::Segment) != record.part {
        return Ok(Some(format!("{} is not the segment that is written now", record.part)));
    }
    if segment.ino() != record.part_ino {
        return Ok(Some(format!("{} is another file now", record.part)));
    }
    // By its name, for somebody may have removed or truncated it while we have it open.
    match log.dir().stat(&record.part) {
        Ok(stat) if stat.st_ino != record.part_ino => return Ok(Some(format!("{} is another file now", record.part))),
        Ok(stat) if (stat.st_size as u64) < segment.len() => return Ok(Some(format!("{} was truncated", record.part))),
        Ok(_) => {}
        Err(Errno::ENOENT) => return Ok(Some(format!("{} is gone", record.part))),
        Err(errno) => return Err(Error::new("look at", log.dir().path_of(&record.part), errno)),
    }
    let fits = segment.fits(record, chunk).cannot("read", log.dir().path_of(&record.part))?;
    Ok((!fits).then(|| format!("{} does not end where it was written to", record.part)))
}

/// How many bytes came into an ARMED mailbox. `None`: no read took place.
fn count_armed(mailbox: &Mailbox, record: &Record, fifo: Option<&Fifo>) -> std::io::Result<Option<usize>> {
    let data = mailbox.data(record.want);
    let touched = (0..record.want).rev().find(|at| data[*at] != mailbox.fill_at(*at)).map_or(0, |last| last + 1);
    let fifo = fifo.filter(|fifo| fifo.identity() == record.fifo);
    let waiting = fifo.map(Fifo::queued).transpose()?;
    let head = match fifo {
        Some(fifo) if touched > 0 && touched < record.want => Glance::of_one_buffer()?.look(fifo, PAGE_BYTES)?.to_vec(),
        _ => Vec::new(),
    };
    let arrived = arrived(record, &data[..touched], waiting, &head);
    if let Some(Arrived { n, stopped: Some(left) }) = arrived {
        let lane = title::of(&record.lane);
        log::warn!("{lane}: the last read was stopped after {n} bytes; {left} more were still in the pipe");
    }
    Ok(arrived.map(|arrived| arrived.n))
}

/// How many bytes the last read took, from its traces alone.
///
/// - `touched`: the data area up to the last byte that is not fill;
/// - `waiting`: what FIONREAD says now of the pipe in the record, if it is still that pipe;
/// - `head`: what the pipe's first buffer holds now.
///
/// `None`: no read took place. We are the only reader and asked for no more than was there, so the kernel gave all of
/// `want`, unless it met a fault at a page of the data area while we were being killed: then the buffer at hand is
/// partly here and still whole in the pipe.
fn arrived(record: &Record, touched: &[u8], waiting: Option<usize>, head: &[u8]) -> Option<Arrived> {
    let whole = Some(Arrived { n: record.want, stopped: None });
    let at_page = touched.len().is_multiple_of(PAGE_BYTES);
    if touched.len() == record.want {
        return whole;
    }
    let Some(waiting) = waiting else {
        // The pipe is gone, and with it all that could tell more.
        return match (touched.len(), at_page) {
            (0, _) => None,
            (_, false) => whole,
            (n, true) => Some(Arrived { n, stopped: None }),
        };
    };
    // A chunk that ends like the fill: more bytes are missing from the pipe than can be seen here.
    if waiting < record.queued.saturating_sub(touched.len()) {
        return whole;
    }
    if touched.is_empty() {
        return None;
    }
    if !at_page {
        return whole;
    }
    let taken_min = record.queued.saturating_sub(waiting);
    let left_max = touched.len().saturating_sub(taken_min).min(head.len().saturating_sub(1));
    let left = (1..=left_max).rev().find(|left| touched.ends_with(&head[..*left])).unwrap_or(0);
    Some(Arrived { n: touched.len() - left, stopped: Some(left) })
}

#[cfg(test)]
mod tests {
    use standpipe_common::fifo::Identity;

    use super::*;

    fn record(queued: usize, want: usize) -> Record {
        Record {
            lane: "app".into(),
            part: "x.log".into(),
            part_ino: 0,
            base: 0,
            open: false,
            clock_ns: 0,
            text: Vec::new(),
            queued,
            want,
            fifo: Identity::default(),
        }
    }

    #[test]
    fn the_traces_of_a_read_tell_how_much_it_took() {
        const P: usize = PAGE_BYTES;
        let same = |n| Some(Arrived { n, stopped: None });
        // queued, want, bytes touched, waiting now, arrived
        let cases = [
            (100, 100, 0, Some(100), None),
            (100, 100, 0, Some(250), None),
            (100, 100, 0, None, None),
            (100, 100, 100, Some(0), same(100)),
            (100, 100, 100, None, same(100)),
            // Ends like the fill.
            (100, 100, 0, Some(0), same(100)),
            (100, 100, 60, Some(0), same(100)),
            (100, 100, 60, None, same(100)),
            (3 * P, 2 * P, P, Some(P), same(2 * P)),
            // At a page, and the pipe is gone: as far as can be seen.
            (2 * P, 2 * P, P, None, same(P)),
            // At a page, nothing recognised in the pipe: the copy stopped between buffers.
            (2 * P, 2 * P, P, Some(P), Some(Arrived { n: P, stopped: Some(0) })),
        ];
        for (queued, want, touched, waiting, expected) in cases {
            let data = vec![b'x'; touched];
            assert_eq!(
                arrived(&record(queued, want), &data, waiting, b"other"),
                expected,
                "{queued} {want} {touched} {waiting:?}"
            );
        }
    }

    #[test]
    fn bytes_that_are_here_and_still_in_the_pipe_are_not_counted() {
        let data: Vec<u8> = (0..PAGE_BYTES).map(|at| (at % 251) as u8).collect();
        let record = record(3 * PAGE_BYTES, 3 * PAGE_BYTES);
        let left = 1000;
        let head: Vec<u8> = data[PAGE_BYTES - left..].iter().copied().chain(0..=255).collect();
        let waiting = 3 * PAGE_BYTES - (PAGE_BYTES - left);
        let expected = Arrived { n: PAGE_BYTES - left, stopped: Some(left) };
        assert_eq!(arrived(&record, &data, Some(waiting), &head), Some(expected));
        // More was written since: the same.
        assert_eq!(arrived(&record, &data, Some(waiting + 500), &head), Some(expected));
    }
}
