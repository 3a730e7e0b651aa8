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
use standpipe_common::shown::counted;
use standpipe_common::sys::PAGE_BYTES;

use crate::glance::Glance;
use crate::log_dir::LogDir;
use crate::mailbox::{Mailbox, Phase};
use crate::record::Record;
use crate::title;

/// Where nothing of a chunk is seen in the data area: most bytes that are taken for a chunk which equals the fill, as one
/// of two bytes in 65,536 of a binary stream does.
const UNSEEN_CHUNK_MAX: usize = 2;
/// Most bytes of an end that is not seen of a chunk whose beginning is, which proves the read.
const UNSEEN_END_MAX: usize = 16;

/// What a read brought that nobody counted any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Arrived {
    /// Bytes of it that are here, and nowhere else. 0: no read took place.
    n: usize,
    mishap: Mishap,
}

/// What else the traces of a read tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mishap {
    Nothing,
    /// The kernel stopped inside a buffer of the pipe; so many bytes were told apart from those still in it.
    Stopped(usize),
    /// The read did not bring what it asked for, and so many bytes are in the pipe no more: another program reads it.
    Taken(usize),
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
            let n = count_armed(mailbox, &record, fifo).cannot("inspect the pipe of", log.dir().path())?;
            if n == 0 {
                mailbox.clear_all();
                return Ok(Settled::Recovered(0));
            }
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
        return Ok(Some(format!("{} is no longer the part being written", record.part)));
    }
    if segment.ino() != record.part_ino {
        return Ok(Some(format!("{} was replaced by another file", record.part)));
    }
    // By its name, for somebody may have removed or truncated it while we have it open.
    match log.dir().stat(&record.part) {
        Ok(stat) if stat.st_ino != record.part_ino => {
            return Ok(Some(format!("{} was replaced by another file", record.part)));
        }
        Ok(stat) if (stat.st_size as u64) < segment.len() => return Ok(Some(format!("{} was truncated", record.part))),
        Ok(_) => {}
        Err(Errno::ENOENT) => return Ok(Some(format!("{} was removed", record.part))),
        Err(errno) => return Err(Error::new("inspect", log.dir().path_of(&record.part), errno)),
    }
    let fits = segment.fits(record, chunk).cannot("read", log.dir().path_of(&record.part))?;
    Ok((!fits).then(|| format!("{} does not end where reader stopped writing", record.part)))
}

/// How many bytes came into an ARMED mailbox.
fn count_armed(mailbox: &Mailbox, record: &Record, fifo: Option<&Fifo>) -> std::io::Result<usize> {
    let data = mailbox.data(record.want);
    let touched = (0..record.want).rev().find(|at| data[*at] != mailbox.fill_at(*at)).map_or(0, |last| last + 1);
    let fifo = fifo.filter(|fifo| fifo.identity() == record.fifo);
    let waiting = fifo.map(Fifo::queued).transpose()?;
    let head = match fifo {
        Some(fifo) if touched > 0 && touched < record.want => Glance::of_one_buffer()?.look(fifo, PAGE_BYTES)?.to_vec(),
        _ => Vec::new(),
    };
    let Arrived { n, mishap } = arrived(record, &data[..touched], waiting, &head);
    debug_assert!(n <= record.want && touched <= record.want, "{n} bytes of {}", record.want);
    let lane = title::of(&record.lane);
    match mishap {
        Mishap::Nothing => {}
        Mishap::Stopped(left) => {
            let (got, left) = (counted(n as u64, "byte"), counted(left as u64, "byte"));
            log::warn!("{lane}: the last read was interrupted after {got}, with {left} still in the pipe");
        }
        Mishap::Taken(missing) => log::error!(
            "{lane}: another program reads its pipe: the last read asked for {} and got {n}; {} missing from both pipe \
             and log",
            counted(record.want as u64, "byte"),
            counted(missing as u64, "byte")
        ),
    }
    Ok(n)
}

/// How many bytes the last read took, from its traces alone.
///
/// - `touched`: the data area up to the last byte that is not fill;
/// - `waiting`: what FIONREAD says now of the pipe in the record, if it is still that pipe;
/// - `head`: what the pipe's first buffer holds now.
///
/// We are the only reader and asked for no more than was there, so the kernel gave all of `want` or nothing, unless it
/// met a fault at a page of the data area while we were being killed: then the buffer at hand is partly here and still
/// whole in the pipe. What is not seen here is data only if it is so short that data may equal the fill by chance: the
/// fill is random, and nobody else can read it. More of it, missing from the pipe, was taken by another program.
fn arrived(record: &Record, touched: &[u8], waiting: Option<usize>, head: &[u8]) -> Arrived {
    let seen = touched.len();
    let unseen = record.want - seen;
    let unseen_max = if seen == 0 { UNSEEN_CHUNK_MAX } else { UNSEEN_END_MAX };
    let at_page = seen.is_multiple_of(PAGE_BYTES);
    // Without the pipe nothing tells.
    let missing = waiting.map_or(0, |waiting| record.queued.saturating_sub(seen + waiting));
    let is_odd = missing > 0 || !at_page;
    if unseen == 0 || is_odd && unseen <= unseen_max {
        return Arrived { n: record.want, mishap: Mishap::Nothing };
    }
    if is_odd {
        return Arrived { n: seen, mishap: Mishap::Taken(missing) };
    }
    let Some(waiting) = waiting.filter(|_| seen > 0) else { return Arrived { n: seen, mishap: Mishap::Nothing } };
    let taken_min = record.queued.saturating_sub(waiting);
    let left_max = seen.saturating_sub(taken_min).min(head.len().saturating_sub(1));
    let left = (1..=left_max).rev().find(|left| touched.ends_with(&head[..*left])).unwrap_or(0);
    Arrived { n: seen - left, mishap: Mishap::Stopped(left) }
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
        let brought = |n| Arrived { n, mishap: Mishap::Nothing };
        let taken = |n, missing| Arrived { n, mishap: Mishap::Taken(missing) };
        // queued, want, bytes touched, waiting now, arrived
        let cases = [
            (100, 100, 0, Some(100), brought(0)),
            (100, 100, 0, Some(250), brought(0)),
            (100, 100, 0, None, brought(0)),
            (100, 100, 100, Some(0), brought(100)),
            (100, 100, 100, None, brought(100)),
            // Ends like the fill.
            (2, 2, 0, Some(0), brought(2)),
            (100, 100, 84, Some(0), brought(100)),
            (100, 100, 84, None, brought(100)),
            (P + 16, P + 16, P, Some(0), brought(P + 16)),
            // Too long an end to be data.
            (3, 3, 0, Some(0), taken(0, 3)),
            (100, 100, 0, Some(0), taken(0, 100)),
            (100, 100, 0, Some(60), taken(0, 40)),
            (100, 100, 60, Some(0), taken(60, 40)),
            (100, 100, 60, None, taken(60, 0)),
            // A packet, and the others still wait.
            (100, 100, 60, Some(40), taken(60, 0)),
            // Stopped, and then somebody came.
            (3 * P, 2 * P, P, Some(P), taken(P, P)),
            // At a page, and the pipe is gone: as far as can be seen.
            (2 * P, 2 * P, P, None, brought(P)),
            // At a page, nothing recognised in the pipe: the copy stopped between buffers.
            (2 * P, 2 * P, P, Some(P), Arrived { n: P, mishap: Mishap::Stopped(0) }),
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
        let expected = Arrived { n: PAGE_BYTES - left, mishap: Mishap::Stopped(left) };
        assert_eq!(arrived(&record, &data, Some(waiting), &head), expected);
        // More was written since: the same.
        assert_eq!(arrived(&record, &data, Some(waiting + 500), &head), expected);
    }
}
