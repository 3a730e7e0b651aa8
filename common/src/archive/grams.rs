//! The grams of a text: short pieces of its words, by which a search knows where it need not look.
//!
//! A *run* is a longest sequence of word bytes: ASCII letters and digits, `_`, `.`, and all bytes from 0x80 on. At each
//! place of a run begins a gram of five bytes, or of one more where it would be digits and dots alone, unless the
//! run ends before. Upper case ASCII letters count as lower case ones.
//!
//! Invariant: whatever stands in a text, its grams are among those of the text. All that a filter may be asked follows
//! from this.
//!
//! Not here: what is made of grams ([`super::filter`]), and which ones a pattern must have.

/// Bytes of a gram. One longer are digits and dots at first: five of them stand in nearly every frame.
const GRAM_BYTES: u32 = 5;
/// A gram is known by so many bits of its hash.
pub const HASH_BITS: u32 = 20;
/// 2 to the 64th divided by the golden ratio.
const MULTIPLIER: u64 = 0x9E37_79B9_7F4A_7C15;

/// What a byte is in a run; 0: it ends one.
const FOLDED: [u8; 256] = {
    let mut folded = [0; 256];
    let mut byte = 0;
    while byte < folded.len() {
        folded[byte] = match byte as u8 {
            upper @ b'A'..=b'Z' => upper.to_ascii_lowercase(),
            word @ (b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | 0x80..) => word,
            _ => 0,
        };
        byte += 1;
    }
    folded
};

/// Gives the hash of every gram of `text`, below 2 to the [`HASH_BITS`]; one that comes again is given again.
#[inline]
pub fn hashes(text: &[u8], mut give: impl FnMut(u32)) {
    // The last eight bytes; how long the run is so far, and of how many digits and dots it ends.
    let (mut last, mut run, mut digits) = (0_u64, 0_u32, 0_u32);
    for &byte in text {
        let folded = FOLDED[usize::from(byte)];
        if folded == 0 {
            (run, digits) = (0, 0);
            continue;
        }
        last = last << 8 | u64::from(folded);
        run += 1;
        if digits >= GRAM_BYTES {
            give(hash(last, GRAM_BYTES + 1));
        }
        digits = if matches!(folded, b'0'..=b'9' | b'.') { digits + 1 } else { 0 };
        if run >= GRAM_BYTES && digits < GRAM_BYTES {
            give(hash(last, GRAM_BYTES));
        }
    }
}

/// Of the last `bytes` bytes, as a big-endian number.
fn hash(last: u64, bytes: u32) -> u32 {
    let gram = last & ((1 << (8 * bytes)) - 1);
    (gram.wrapping_mul(MULTIPLIER) >> (u64::BITS - HASH_BITS)) as u32
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn found(text: &[u8]) -> Vec<u32> {
        let mut found = Vec::new();
        hashes(text, |hash| found.push(hash));
        found
    }

    /// The same, as the specification says it.
    fn specified(text: &[u8]) -> BTreeSet<u32> {
        let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_' || *byte == b'.' || *byte >= 0x80;
        let mut found = BTreeSet::new();
        for run in text.split(|byte| !is_word(byte)) {
            for at in 0..run.len() {
                let is_number = |gram: &[u8]| gram.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.');
                let bytes = if run.get(at..at + 5).is_some_and(is_number) { 6 } else { 5 };
                let Some(gram) = run.get(at..at + bytes) else { continue };
                let number =
                    gram.to_ascii_lowercase().iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
                found.insert(((u128::from(number) * 0x9E37_79B9_7F4A_7C15 % (1 << 64)) >> 44) as u32);
            }
        }
        found
    }

    fn texts() -> impl Iterator<Item = Vec<u8>> {
        const ALPHABET: &[u8] = b"aB0123456789._ -\n\xc3\xa4\xff\0";
        let mut state = 7_u64;
        let mut next = move |limit: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state % limit as u64) as usize
        };
        (0..3000).map(move |_| (0..next(40)).map(|_| ALPHABET[next(ALPHABET.len())]).collect())
    }

    #[test]
    fn grams_are_those_of_the_specification() {
        for text in texts() {
            assert_eq!(found(&text).into_iter().collect::<BTreeSet<_>>(), specified(&text), "{}", text.escape_ascii());
        }
    }

    #[test]
    fn what_stands_in_a_text_has_no_other_grams() {
        for text in texts() {
            let all = found(&text);
            for start in 0..text.len() {
                for end in start..=text.len() {
                    assert!(found(&text[start..end]).iter().all(|hash| all.contains(hash)), "{}", text.escape_ascii());
                }
            }
        }
    }

    #[test]
    fn numbers_need_six_bytes_and_words_five() {
        for (text, count) in [
            ("", 0),
            ("four", 0),
            ("three", 1),
            ("THREE", 1),
            ("12345", 0),
            ("123456", 1),
            ("1.2.3", 0),
            ("10.2.3.4", 3),
            ("12345a", 2),
            ("a12345", 1),
            ("ab-cd-ef", 0),
            ("abcd\nefgh", 0),
        ] {
            assert_eq!(found(text.as_bytes()).len(), count, "{text}");
        }
        assert_eq!(found(b"THREE"), found(b"three"));
    }
}
