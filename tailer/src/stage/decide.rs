//! What to do next: a pure function of the one word of the record and the number of bytes in the staging pipe.
//!
//! Below, q is what FIONREAD says of the staging pipe, and m = `upto` − `from`. The pipe always ends in one byte that
//! is no data, the *canary*: so "empty" and "lost with all its holders" are different numbers.
//!
//! | phase | q | what happened | do |
//! |---|---|---|---|
//! | IDLE | 0 | first start, or unheld while idle | write the canary |
//! | IDLE | 1 | rest | the next block |
//! | IDLE | more | somebody wrote into it, or our record was lost | EMPTYING |
//! | STAGING | 0 | unheld; nothing of the round was delivered | write the canary |
//! | STAGING | 1 … m | q − 1 bytes are in | write the next piece |
//! | STAGING | m + 1 | the round is in | write the new canary |
//! | STAGING | m + 2 | complete | **first** MOVING, then read the old canary |
//! | MOVING | m + 2 | | read the old canary |
//! | MOVING | 2 … m + 1 | | splice at most q − 1 into the target |
//! | MOVING | 1 | the round is delivered | the next round, or the positions and **then** IDLE |
//! | MOVING | 0 | unheld: the one ambiguous state | EMPTYING at what is known to be delivered, and say so |
//! | EMPTYING | more than 0 | | read it all |
//! | EMPTYING | 0 | | STAGING at `from` |
//! | STAGING, MOVING | more | somebody wrote into it | as after a mismatch: EMPTYING |
//!
//! Everything that a transition changes is in the word itself, so each is one store and none is ever half done.

/// How far the block in flight has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockPhase {
    /// There is none.
    Idle,
    /// A round of it goes into the staging pipe; nothing of that round was delivered.
    Staging,
    /// The round is in, with its canary, and goes into the target.
    Moving,
    /// What is in the staging pipe is worth nothing; the block goes on at `from` once it is empty.
    Emptying,
    /// There is no staging pipe: the block goes into the target by `write(2)`.
    Direct,
}

/// The one word: what the record's block is at. Positions are offsets in the block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Word {
    phase: BlockPhase,
    area: usize,
    from: usize,
    upto: usize,
    end: usize,
}

/// The next step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Put the canary into an empty staging pipe.
    WriteCanary,
    /// Nothing is to be done before there is another block.
    Rest,
    /// Write the piece that begins at this offset of the block.
    StagePiece(usize),
    /// Write the canary behind the round.
    CloseRound,
    /// Store MOVING.
    BeginMoving,
    /// Read the canary before the round.
    TakeOldCanary,
    /// Splice at most so many bytes.
    Move(usize),
    /// Store the next round.
    NextRound,
    /// Store the positions, then IDLE.
    Commit,
    /// Say that the rest of the round may be repeated, and send it again.
    Repeat,
    /// Say that somebody else used the staging pipe, and send again what is not known to be delivered.
    Distrust,
    /// Read away so many bytes.
    Drain(usize),
    /// Store STAGING at `from`.
    Restart,
}

/// Most bytes of a block: what a position in the word can say.
pub const POSITION_MAX: usize = (1 << POSITION_BITS) - 1;

const POSITION_BITS: u32 = 20;

impl Word {
    /// No block is in flight; the next one goes into the other area.
    pub fn idle(area: usize) -> Word {
        Word { phase: BlockPhase::Idle, area, from: 0, upto: 0, end: 0 }
    }

    /// A block of `end` bytes begins, of which those before `upto` are its first round.
    pub fn staging(area: usize, upto: usize, end: usize) -> Word {
        Word { phase: BlockPhase::Staging, area, from: 0, upto, end }.checked()
    }

    /// A block of `end` bytes begins that has no staging pipe to go through.
    pub fn direct(area: usize, end: usize) -> Word {
        Word { phase: BlockPhase::Direct, area, from: 0, upto: end, end }.checked()
    }

    /// The round is in.
    pub(super) fn moving(self) -> Word {
        debug_assert_eq!(self.phase, BlockPhase::Staging);
        Word { phase: BlockPhase::Moving, ..self }.checked()
    }

    /// What is in the staging pipe counts for nothing: the block goes on at `from`, once it is empty.
    pub(super) fn emptying(self, from: usize) -> Word {
        Word { phase: BlockPhase::Emptying, from, upto: self.end, ..self }.checked()
    }

    /// The next round, or the same once more.
    pub(super) fn round(self, from: usize, upto: usize) -> Word {
        Word { phase: BlockPhase::Staging, from, upto, ..self }.checked()
    }

    /// The round that is staged ends sooner.
    pub(super) fn shortened(self, upto: usize) -> Word {
        debug_assert!(self.phase == BlockPhase::Staging && upto < self.upto);
        Word { upto, ..self }.checked()
    }

    /// There is no staging pipe any more: the block goes on at `from` without.
    pub(super) fn without_stage(self, from: usize) -> Word {
        Word { phase: BlockPhase::Direct, from, upto: self.end, ..self }.checked()
    }

    /// How far it has come.
    pub fn phase(self) -> BlockPhase {
        self.phase
    }

    /// Which of the two areas holds the block.
    pub fn area(self) -> usize {
        self.area
    }

    /// The one that does not.
    pub fn other_area(self) -> usize {
        1 - self.area
    }

    /// Where the round begins.
    pub fn from(self) -> usize {
        self.from
    }

    /// Where it ends.
    pub fn upto(self) -> usize {
        self.upto
    }

    /// Where the block ends; 0 if there is none.
    pub fn end(self) -> usize {
        self.end
    }

    /// Whether a round has bytes, and all lies in the block.
    fn is_fit(self) -> bool {
        match self.phase {
            BlockPhase::Idle => self.end == 0,
            BlockPhase::Staging | BlockPhase::Moving => self.from < self.upto && self.upto <= self.end,
            BlockPhase::Emptying | BlockPhase::Direct => self.from <= self.upto && self.upto <= self.end,
        }
    }

    fn checked(self) -> Word {
        debug_assert!(self.is_fit() && self.end <= POSITION_MAX && self.area < 2, "{self:?}");
        self
    }

    /// As one number: phase, area, and three positions.
    pub fn encode(self) -> u64 {
        let phase = match self.phase {
            BlockPhase::Idle => 1,
            BlockPhase::Staging => 2,
            BlockPhase::Moving => 3,
            BlockPhase::Emptying => 4,
            BlockPhase::Direct => 5,
        };
        let mut word = phase | (self.area as u64) << 3;
        for (at, position) in [self.from, self.upto, self.end].into_iter().enumerate() {
            debug_assert!(position <= POSITION_MAX);
            word |= (position as u64) << (4 + at as u32 * POSITION_BITS);
        }
        word
    }

    /// The reverse. `None`: it is none of ours.
    pub fn decode(word: u64) -> Option<Word> {
        let phase = match word & 7 {
            1 => BlockPhase::Idle,
            2 => BlockPhase::Staging,
            3 => BlockPhase::Moving,
            4 => BlockPhase::Emptying,
            5 => BlockPhase::Direct,
            _ => return None,
        };
        let position = |at: u32| (word >> (4 + at * POSITION_BITS)) as usize & POSITION_MAX;
        let word =
            Word { phase, area: (word >> 3 & 1) as usize, from: position(0), upto: position(1), end: position(2) };
        word.is_fit().then_some(word)
    }
}

/// The next step, where `staged` bytes are in the staging pipe.
pub fn decide(word: Word, staged: usize) -> Action {
    let round = word.upto - word.from;
    match (word.phase, staged) {
        (BlockPhase::Idle | BlockPhase::Staging, 0) => Action::WriteCanary,
        (BlockPhase::Idle, 1) | (BlockPhase::Direct, _) => Action::Rest,
        (BlockPhase::Staging, q) if q <= round => Action::StagePiece(word.from + q - 1),
        (BlockPhase::Staging, q) if q == round + 1 => Action::CloseRound,
        (BlockPhase::Staging, q) if q == round + 2 => Action::BeginMoving,
        (BlockPhase::Moving, 0) => Action::Repeat,
        (BlockPhase::Moving, 1) if word.upto < word.end => Action::NextRound,
        (BlockPhase::Moving, 1) => Action::Commit,
        (BlockPhase::Moving, q) if q <= round + 1 => Action::Move(q - 1),
        (BlockPhase::Moving, q) if q == round + 2 => Action::TakeOldCanary,
        (BlockPhase::Emptying, 0) if word.from == word.end => Action::Commit,
        (BlockPhase::Emptying, 0) => Action::Restart,
        (BlockPhase::Emptying, q) => Action::Drain(q),
        (BlockPhase::Idle | BlockPhase::Staging | BlockPhase::Moving, _) => Action::Distrust,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(phase: BlockPhase, from: usize, upto: usize, end: usize) -> Word {
        Word { phase, area: 1, from, upto, end }
    }

    #[test]
    fn phase_and_bytes_decide() {
        use Action::*;
        use BlockPhase::*;
        let idle = Word::idle(0);
        // A round of 10 bytes, at 100 of a block of 110 or 200.
        let staging = word(Staging, 100, 110, 200);
        let moving = word(Moving, 100, 110, 200);
        let last = word(Moving, 100, 110, 110);
        let cases = [
            (idle, 0, WriteCanary),
            (idle, 1, Rest),
            (idle, 2, Distrust),
            (staging, 0, WriteCanary),
            (staging, 1, StagePiece(100)),
            (staging, 2, StagePiece(101)),
            (staging, 10, StagePiece(109)),
            (staging, 11, CloseRound),
            (staging, 12, BeginMoving),
            (staging, 13, Distrust),
            (moving, 13, Distrust),
            (moving, 12, TakeOldCanary),
            (moving, 11, Move(10)),
            (moving, 2, Move(1)),
            (moving, 1, NextRound),
            (last, 1, Commit),
            (moving, 0, Repeat),
            (last, 0, Repeat),
            (word(Emptying, 100, 110, 200), 7, Drain(7)),
            (word(Emptying, 100, 110, 200), 0, Restart),
            (word(Emptying, 200, 200, 200), 0, Commit),
            (word(Emptying, 0, 0, 0), 0, Commit),
        ];
        for (word, staged, expected) in cases {
            assert_eq!(decide(word, staged), expected, "{word:?} {staged}");
        }
    }

    #[test]
    fn a_word_is_read_as_it_was_written_and_a_foreign_one_is_refused() {
        for phase in [BlockPhase::Staging, BlockPhase::Moving, BlockPhase::Emptying, BlockPhase::Direct] {
            let word = word(phase, 1, 70_000, POSITION_MAX);
            assert_eq!(Word::decode(word.encode()), Some(word));
        }
        assert_eq!(Word::decode(Word::idle(1).encode()), Some(Word::idle(1)));
        for foreign in
            [0, 6, 7, word(BlockPhase::Staging, 5, 5, 9).encode(), word(BlockPhase::Moving, 5, 9, 8).encode()]
        {
            assert_eq!(Word::decode(foreign), None, "{foreign:x}");
        }
    }
}
