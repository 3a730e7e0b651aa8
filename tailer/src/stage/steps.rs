//! The steps of a block: each looks at the one word and at the pipes, does one thing, and may be repeated.
//!
//! Recovery is not a second program: after a kill the same steps go on from what word and staging pipe say. Before each
//! store, write, read and splice a step passes a named point ([`Pipes::pass`]), where a test may end the process.
//!
//! Invariants: bytes, entries and `moved` of a block are stored before the word that puts it in flight; MOVING is
//! stored before the old canary is read; the positions are stored before IDLE. `moved` never says more than was
//! delivered.
//! Not here: which bytes make a block ([`super::gather`]), when a step is to wait ([`super::deliver`]).

use std::io;

use standpipe_common::shown::counted;

use super::decide::{Action, BlockPhase, Word, decide};
use super::message::Messages;
use super::pieces;
use super::record::{Portion, Record};
use super::verify;
use crate::file::identity::Identity;

/// The staging pipe and the target: the real ones, or a model of them.
pub trait Pipes {
    /// A step passes this point.
    ///
    /// # Errors
    /// Only in a simulation: the process ends here.
    fn pass(&mut self, point: &'static str) -> io::Result<()>;

    /// The staging pipe. `None`: there is none.
    fn stage(&self) -> Option<Identity>;

    /// How many pages the staging pipe has.
    fn stage_pages(&self) -> io::Result<usize>;

    /// How many bytes are in it.
    fn staged(&mut self) -> io::Result<usize>;

    /// All bytes in it, or the first of them; none is taken.
    fn look(&mut self) -> io::Result<Vec<u8>>;

    /// Writes into it, whole if it is at most a piece. 0: it is full.
    fn put(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// Reads at most so many bytes from it and forgets them.
    fn take(&mut self, bytes_max: usize) -> io::Result<usize>;

    /// Moves at most so many bytes from it into the target. 0: the target is full.
    fn forward(&mut self, bytes_max: usize) -> io::Result<usize>;

    /// Writes into the target, whole if it is at most a piece. 0: it is full.
    fn send(&mut self, bytes: &[u8]) -> io::Result<usize>;
}

/// What came of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Went {
    /// There is more to do.
    On,
    /// The target is full.
    Full,
    /// The block in flight is delivered and its positions are stored.
    Delivered,
    /// There is no block in flight.
    Rest,
}

/// What the steps remember from one to the next. A new one knows nothing and asks the kernel.
#[derive(Debug)]
pub struct Steps {
    canary: u8,
    /// How many bytes must be in the staging pipe.
    expected: Option<usize>,
    /// The staging pipe whose content was compared with the record.
    verified: Option<Identity>,
}

impl Steps {
    /// For a record whose canary is this byte.
    pub fn new(canary: u8) -> Steps {
        Steps { canary, expected: None, verified: None }
    }

    /// Puts a block in flight that stands in `area`, which is not that of the last block, with its entries. Only when
    /// there is none.
    ///
    /// # Errors
    /// As [`Pipes::pass`], and what the kernel says.
    pub fn begin<P: Pipes>(
        &mut self,
        record: &mut Record,
        pipes: &mut P,
        area: usize,
        entries: &[Portion],
    ) -> io::Result<()> {
        let end = entries.last().map_or(0, |entry| entry.end);
        debug_assert!(record.word().end() == 0 && record.word().area() != area, "there is a block in flight");
        pipes.pass("stage-block")?;
        record.store_entries(area, entries);
        pipes.pass("stage-block")?;
        record.store_moved(0);
        pipes.pass("stage-block")?;
        let word = if let Some(pipe) = pipes.stage() {
            record.store_pipe(pipe);
            let upto = pieces::round(record.area(area, end), pipes.stage_pages()?);
            Word::staging(area, upto, end)
        } else {
            Word::direct(area, end)
        };
        pipes.pass("stage-word")?;
        record.store_word(word);
        Ok(())
    }

    /// The next step.
    ///
    /// # Errors
    /// As [`Pipes::pass`], and what the kernel says: EPIPE if nobody reads the target.
    pub fn step<P: Pipes>(&mut self, record: &mut Record, pipes: &mut P, said: &mut Messages) -> io::Result<Went> {
        let went = self.try_step(record, pipes, said);
        if went.is_err() {
            self.expected = None;
        }
        went
    }

    fn try_step<P: Pipes>(&mut self, record: &mut Record, pipes: &mut P, said: &mut Messages) -> io::Result<Went> {
        let word = record.word();
        if word.phase() == BlockPhase::Direct {
            return send(record, pipes);
        }
        let Some(pipe) = pipes.stage() else {
            self.verified = None;
            self.expected = None;
            return go_direct(record, pipes, said);
        };
        if self.verified != Some(pipe) {
            self.verify(record, pipes, pipe, said)?;
            return Ok(Went::On);
        }
        let staged = match self.expected {
            // While we write pieces our own count will do.
            Some(expected) if word.phase() == BlockPhase::Staging && expected <= word.upto() - word.from() + 1 => {
                expected
            }
            expected => {
                let staged = pipes.staged()?;
                if word.phase() != BlockPhase::Emptying && expected.is_some_and(|expected| expected != staged) {
                    return self.distrust(record, pipes, said);
                }
                staged
            }
        };
        self.act(record, pipes, said, decide(word, staged), staged)
    }

    fn act<P: Pipes>(
        &mut self,
        record: &mut Record,
        pipes: &mut P,
        said: &mut Messages,
        action: Action,
        staged: usize,
    ) -> io::Result<Went> {
        let word = record.word();
        match action {
            Action::Rest => return Ok(Went::Rest),
            Action::WriteCanary => {
                pipes.pass("stage-canary")?;
                self.put(pipes, &[self.canary], staged)?;
            }
            Action::StagePiece(at) => {
                let rest = &record.area(word.area(), word.upto())[at..];
                let piece = pieces::next(rest);
                pipes.pass("stage-write")?;
                if self.put(pipes, &rest[..piece], staged)? == 0 {
                    // It takes less than it said: this round ends here, the next goes on.
                    return shorten(record, pipes, at);
                }
            }
            Action::CloseRound => {
                pipes.pass("stage-canary")?;
                if self.put(pipes, &[self.canary], staged)? == 0 {
                    return self.halve(record, pipes);
                }
            }
            Action::BeginMoving => {
                pipes.pass("stage-word")?;
                record.store_word(word.moving());
            }
            Action::TakeOldCanary => {
                pipes.pass("stage-read")?;
                self.expected = Some(staged - pipes.take(1)?);
            }
            Action::Move(bytes) => {
                pipes.pass("stage-splice")?;
                let moved = pipes.forward(bytes)?;
                self.expected = Some(staged - moved);
                pipes.pass("stage-moved")?;
                record.store_moved(word.upto() - (staged - moved - 1));
                return Ok(if moved == 0 { Went::Full } else { Went::On });
            }
            Action::NextRound => start_round(record, pipes, word.upto())?,
            Action::Commit => return commit(record, pipes),
            Action::Repeat => {
                let repeated = repeated(word.upto() - record.moved());
                said.warning(format!("the staging pipe lost what was in it: {repeated}"));
                self.resend(record, pipes, record.moved())?;
            }
            Action::Distrust => return self.distrust(record, pipes, said),
            Action::Drain(bytes) => {
                pipes.pass("stage-drain")?;
                pipes.take(bytes)?;
                self.expected = None;
            }
            Action::Restart => {
                if let Some(pipe) = pipes.stage() {
                    record.store_pipe(pipe);
                }
                start_round(record, pipes, word.from())?;
            }
        }
        Ok(Went::On)
    }

    /// What is in the staging pipe counts for nothing any more: the block goes on at `from`.
    ///
    /// # Errors
    /// As [`Pipes::pass`].
    pub fn resend<P: Pipes>(&mut self, record: &mut Record, pipes: &mut P, from: usize) -> io::Result<()> {
        let word = record.word();
        self.expected = None;
        pipes.pass("stage-word")?;
        record.store_word(word.emptying(from));
        Ok(())
    }

    /// Compares what is in a staging pipe that we have just opened with what the record says.
    fn verify<P: Pipes>(
        &mut self,
        record: &mut Record,
        pipes: &mut P,
        pipe: Identity,
        said: &mut Messages,
    ) -> io::Result<()> {
        let word = record.word();
        let is_other = matches!(word.phase(), BlockPhase::Staging | BlockPhase::Moving) && record.pipe() != pipe;
        let staged = pipes.look()?;
        self.expected = None;
        if is_other && word.phase() == BlockPhase::Staging {
            self.resend(record, pipes, word.from())?;
        } else if is_other && word.upto() > record.moved() {
            let repeated = repeated(word.upto() - record.moved());
            said.warning(format!("the staging pipe was replaced: {repeated}"));
            self.resend(record, pipes, record.moved())?;
        } else if is_other {
            self.resend(record, pipes, record.moved())?;
        } else if !verify::fits(word, record.moved(), record.block(), self.canary, &staged) {
            self.distrust(record, pipes, said)?;
        }
        self.verified = Some(pipe);
        Ok(())
    }

    fn distrust<P: Pipes>(&mut self, record: &mut Record, pipes: &mut P, said: &mut Messages) -> io::Result<Went> {
        let word = record.word();
        let from = if word.phase() == BlockPhase::Moving { record.moved() } else { word.from() };
        let repeated = match word.phase() {
            BlockPhase::Moving => format!("; {}", repeated(word.upto() - from)),
            _ => String::new(),
        };
        said.warning(format!("another program used the staging pipe; emptied it{repeated}"));
        self.resend(record, pipes, from)?;
        Ok(Went::On)
    }

    fn put<P: Pipes>(&mut self, pipes: &mut P, bytes: &[u8], staged: usize) -> io::Result<usize> {
        let written = pipes.put(bytes)?;
        self.expected = Some(staged + written);
        Ok(written)
    }

    /// The round is in, but not even one byte goes behind it: it is read away, and half of it staged.
    fn halve<P: Pipes>(&mut self, record: &mut Record, pipes: &mut P) -> io::Result<Went> {
        let word = record.word();
        let round = &record.area(word.area(), word.upto())[word.from()..];
        let mut half = if pieces::is_long(round) { round.len() / 2 } else { 0 };
        while half < round.len() / 2 {
            half += pieces::next(&round[half..]);
        }
        if half == 0 || half == round.len() {
            return Err(io::Error::other("it does not accept a whole block"));
        }
        pipes.pass("stage-drain")?;
        // Read away before the word changes: a kill in between leaves what `verify` finds out.
        while let bytes @ 1.. = pipes.staged()? {
            pipes.take(bytes)?;
            pipes.pass("stage-drain")?;
        }
        self.expected = None;
        pipes.pass("stage-word")?;
        record.store_word(word.shortened(word.from() + half));
        Ok(Went::On)
    }
}

/// Stores the round that begins at `from`, to where all before it is delivered or to be sent again.
fn start_round<P: Pipes>(record: &mut Record, pipes: &mut P, from: usize) -> io::Result<()> {
    let word = record.word();
    let upto = from + pieces::round(&record.area(word.area(), word.end())[from..], pipes.stage_pages()?);
    pipes.pass("stage-moved")?;
    record.store_moved(from);
    pipes.pass("stage-word")?;
    record.store_word(word.round(from, upto));
    Ok(())
}

fn repeated(bytes: usize) -> String {
    format!("up to {} may be repeated", counted(bytes as u64, "byte"))
}

/// The staging pipe is gone: what is left of the block goes without.
fn go_direct<P: Pipes>(record: &mut Record, pipes: &mut P, said: &mut Messages) -> io::Result<Went> {
    let word = record.word();
    let from = match word.phase() {
        BlockPhase::Idle => return Ok(Went::Rest),
        BlockPhase::Moving => record.moved(),
        _ => word.from(),
    };
    if word.phase() == BlockPhase::Moving {
        said.warning(format!("the staging pipe was removed: {}", repeated(word.upto() - from)));
    }
    pipes.pass("stage-moved")?;
    record.store_moved(from);
    pipes.pass("stage-word")?;
    record.store_word(word.without_stage(from));
    Ok(Went::On)
}

/// The round ends at `at`, for the staging pipe takes no more.
fn shorten<P: Pipes>(record: &mut Record, pipes: &mut P, at: usize) -> io::Result<Went> {
    let word = record.word();
    if at == word.from() {
        return Err(io::Error::other("it does not accept a whole block"));
    }
    pipes.pass("stage-word")?;
    record.store_word(word.shortened(at));
    Ok(Went::On)
}

fn commit<P: Pipes>(record: &mut Record, pipes: &mut P) -> io::Result<Went> {
    let word = record.word();
    for entry in record.entries() {
        pipes.pass("stage-position")?;
        record.store_position(&entry);
    }
    if word.end() > 0 {
        pipes.pass("stage-position")?;
        record.store_inside();
    }
    pipes.pass("stage-word")?;
    record.store_word(Word::idle(word.area()));
    Ok(if word.end() == 0 { Went::On } else { Went::Delivered })
}

/// A step of a block that has no staging pipe to go through.
fn send<P: Pipes>(record: &mut Record, pipes: &mut P) -> io::Result<Went> {
    let moved = record.moved();
    let rest = &record.block()[moved..];
    if rest.is_empty() {
        return commit(record, pipes);
    }
    let piece = pieces::next(rest);
    pipes.pass("stage-send")?;
    let sent = pipes.send(&rest[..piece])?;
    pipes.pass("stage-moved")?;
    record.store_moved(moved + sent);
    Ok(if sent == 0 { Went::Full } else { Went::On })
}
