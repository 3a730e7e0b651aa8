//! Which of the names that there are was meant by one that there is not.

use strsim::normalized_damerau_levenshtein;

/// Fewer letters are the beginning of no name.
pub const BEGINNING_MIN: usize = 3;
/// A name that is less like what was written was not meant.
const LIKENESS_MIN: f64 = 0.6;

/// The nearest of these that is near enough, and how near it is; of those that are equally near the last.
pub fn nearest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<(f64, &'a str)> {
    let near = known.into_iter().map(|name| (likeness(wrong, name), name));
    near.filter(|(like, _)| *like >= LIKENESS_MIN).max_by(|a, b| a.0.total_cmp(&b.0))
}

/// What ends a sentence about a name that there is not: `; did you mean …?`, or nothing.
pub fn question<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(wrong, known).map_or_else(String::new, |(_, meant)| format!("; did you mean `{meant}`?"))
}

/// From 0 to 1: slips of the finger, a beginning, letters left out.
fn likeness(wrong: &str, name: &str) -> f64 {
    let mut letters = name.chars();
    let is_within = wrong.chars().all(|letter| letters.any(|other| other == letter));
    let begins_alike = wrong.chars().next() == name.chars().next();
    let is_shortened = is_within && begins_alike && wrong.chars().count() >= BEGINNING_MIN;
    let like = normalized_damerau_levenshtein(wrong, name);
    if is_shortened { like.max(LIKENESS_MIN) } else { like }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_asked_about_and_a_name_that_is_like_none_is_not() {
        let known = ["level", "rotate_size", "rotate_age", "keep_size"];
        for (wrong, expected) in [
            ("levle", "; did you mean `level`?"),
            ("rotate_szie", "; did you mean `rotate_size`?"),
            ("rotation_age", "; did you mean `rotate_age`?"),
            ("keep-size", "; did you mean `keep_size`?"),
            ("lev", "; did you mean `level`?"),
            ("compression", ""),
            ("", ""),
        ] {
            assert_eq!(question(wrong, known), expected, "{wrong}");
        }
    }
}
