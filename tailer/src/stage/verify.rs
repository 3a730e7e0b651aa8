//! Whether what waits in the staging pipe is what the record says: a pure comparison, made whenever the pipe is opened.
//!
//! The number of bytes alone would be believed otherwise, although another program may have read or written there
//! while nobody looked. Not here: what follows from a mismatch.

use super::decide::{BlockPhase, Word};

/// Whether `staged`, all that is in the staging pipe, can be there with this word.
///
/// `block` is the block in flight, `moved` how much of it is known to be delivered.
pub fn fits(word: Word, moved: usize, block: &[u8], canary: u8, staged: &[u8]) -> bool {
    let round = &block[word.from()..word.upto()];
    match word.phase() {
        BlockPhase::Emptying | BlockPhase::Direct => true,
        BlockPhase::Idle => staged.is_empty() || staged == [canary],
        BlockPhase::Staging => match staged.split_first() {
            None => true,
            Some((first, rest)) => *first == canary && is_prefix(rest, round, canary),
        },
        BlockPhase::Moving => match staged.split_last() {
            None => true,
            Some((last, rest)) if rest.len() == round.len() + 1 => {
                *last == canary && rest[0] == canary && &rest[1..] == round
            }
            Some((last, rest)) => {
                let is_new = rest.len() + moved <= word.upto();
                *last == canary && is_new && round.ends_with(rest)
            }
        },
    }
}

fn is_prefix(staged: &[u8], round: &[u8], canary: u8) -> bool {
    round.starts_with(staged) || (staged.split_last() == Some((&canary, round)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_staged_is_compared_with_the_record() {
        let block = b"a\nbb\nccc\n";
        let staging = Word::staging(0, 9, 9).round(2, 9);
        let at = |phase| match phase {
            BlockPhase::Moving => staging.moving(),
            BlockPhase::Emptying => staging.emptying(2),
            _ => staging,
        };
        let cases: [(Word, usize, &[u8], bool); 21] = [
            (Word::idle(0), 0, b"", true),
            (Word::idle(0), 0, b"!", true),
            (Word::idle(0), 0, b"x", false),
            (Word::idle(0), 0, b"!!", false),
            (at(BlockPhase::Staging), 2, b"", true),
            (at(BlockPhase::Staging), 2, b"!", true),
            (at(BlockPhase::Staging), 2, b"x", false),
            (at(BlockPhase::Staging), 2, b"!bb\n", true),
            (at(BlockPhase::Staging), 2, b"!bc\n", false),
            (at(BlockPhase::Staging), 2, b"!bb\nccc\n", true),
            (at(BlockPhase::Staging), 2, b"!bb\nccc\n!", true),
            (at(BlockPhase::Staging), 2, b"!bb\nccc\nx", false),
            (at(BlockPhase::Moving), 2, b"!bb\nccc\n!", true),
            (at(BlockPhase::Moving), 2, b"bb\nccc\n!", true),
            (at(BlockPhase::Moving), 5, b"bb\nccc\n!", false),
            (at(BlockPhase::Moving), 5, b"ccc\n!", true),
            (at(BlockPhase::Moving), 5, b"ccc\nx", false),
            (at(BlockPhase::Moving), 5, b"xcc\n!", false),
            (at(BlockPhase::Moving), 5, b"!", true),
            (at(BlockPhase::Moving), 5, b"x", false),
            (at(BlockPhase::Emptying), 2, b"anything", true),
        ];
        for (word, moved, staged, expected) in cases {
            let block = if word.end() == 0 { &b""[..] } else { block };
            assert_eq!(fits(word, moved, block, b'!', staged), expected, "{word:?} {moved} {staged:?}");
        }
    }
}
