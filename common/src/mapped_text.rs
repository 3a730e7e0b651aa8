//! Texts in a mapped file that is written and read at the same time, without a lock.
//!
//! A text is aligned words of the machine: its length, a checksum, its bytes padded with zeros. One that is being
//! written is not believed, so whoever reads it looks again or does without.

/// Words before the bytes of a text, in bytes.
pub const HEAD_BYTES: usize = 16;

/// The words of a text of at most `max` bytes: length, checksum, and the bytes, padded with zeros. What is longer is
/// cut, between two characters where it is UTF-8.
pub fn words(text: &[u8], max: usize) -> Vec<u64> {
    let is_inside = |byte: u8| byte & 0xC0 == 0x80;
    let fits = text.len() <= max;
    let end = if fits { text.len() } else { (0..=max).rev().find(|&end| !is_inside(text[end])).unwrap_or(max) };
    let text = &text[..end];
    let bytes = text.chunks(8).map(|chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        u64::from_ne_bytes(word)
    });
    [text.len() as u64, checksum(text)].into_iter().chain(bytes).collect()
}

/// The text at `at`, where there is room for `max` bytes behind its length and checksum. `None`: it is being written,
/// or never was.
pub fn text(bytes: &[u8], at: usize, max: usize) -> Option<Vec<u8>> {
    let len = usize::try_from(word(bytes, at)).ok().filter(|len| *len <= max)?;
    let text = &bytes[at + HEAD_BYTES..at + HEAD_BYTES + len];
    (checksum(text) == word(bytes, at + 8)).then(|| text.to_vec())
}

/// The word at `at`.
pub fn word(bytes: &[u8], at: usize) -> u64 {
    bytes[at..at + 8].try_into().map_or(0, u64::from_ne_bytes)
}

/// FNV-1a of 64 bits, so that an empty text where there are zeros is no text either.
fn checksum(text: &[u8]) -> u64 {
    text.iter().fold(0xCBF2_9CE4_8422_2325, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes_of(words: &[u64]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_ne_bytes()).collect()
    }

    #[test]
    fn a_text_comes_back_unless_a_byte_of_it_is_another() {
        let good = bytes_of(&words("größe".as_bytes(), 200));
        assert_eq!(text(&good, 0, 16).as_deref(), Some("größe".as_bytes()));
        for at in 0..HEAD_BYTES + 7 {
            let mut torn = good.clone();
            torn[at] ^= 1;
            assert_eq!(text(&torn, 0, 8), None, "{at}");
        }
        assert_eq!(text(&[0; 32], 0, 16), None, "nothing was ever written");
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        for (text, max, kept) in
            [("größe", 7, "größe"), ("größe", 6, "größ"), ("größe", 5, "grö"), ("ab", 1, "a"), ("", 0, "")]
        {
            assert_eq!(words(text.as_bytes(), max)[0], kept.len() as u64, "{text} {max}");
        }
        assert_eq!(words(&[0xFF; 300], 200)[0], 200);
        assert_eq!(words(&[0x80; 300], 200)[0], 200);
    }
}
