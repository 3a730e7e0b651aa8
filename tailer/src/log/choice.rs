//! Which file is read on where several hold what was read of a life that ended: the oldest, for lives that begin alike
//! are told apart by nothing else; or one that begins with all that the oldest has, which is an earlier copy of the same.

use crate::log::candidate::Candidate;
use crate::log::happening::Why;
use crate::log::sample::Fit;
use crate::log::settings::Surroundings;
use crate::log::walk::Walks;

/// A file that was chosen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Choice {
    /// Which of the candidates.
    pub(crate) at: usize,
    pub(crate) fit: Fit,
    /// How many fit as well as it does.
    pub(crate) files: usize,
    pub(crate) why: Why,
}

/// The best of those that fit, each with how well, how far it reaches, and which it is; of equal age the first.
pub(crate) fn choose(
    fits: &[(Fit, u64, usize)],
    candidates: &[Candidate],
    walks: &mut Walks,
    around: &mut dyn Surroundings,
) -> Option<Choice> {
    let best = fits.iter().map(|(fit, reach, _)| (*fit, *reach)).max()?;
    let equals = fits.iter().filter(|(fit, reach, _)| (*fit, *reach) == best).map(|(_, _, at)| *at);
    let mut by_age: Vec<usize> = equals.collect();
    let born_ns = |at: usize| candidates[at].identity.born_ns;
    by_age.sort_by_key(|at| born_ns(*at));
    let oldest = by_age[0];
    let at = by_age[1..].iter().copied().fold(oldest, |chosen, other| {
        if is_more(&candidates[chosen], &candidates[other], walks, around) { other } else { chosen }
    });
    let is_alone = by_age[1..].iter().all(|other| born_ns(*other) > born_ns(oldest));
    let why = match at {
        at if at != oldest => Why::Longer,
        _ if is_alone => Why::Oldest,
        _ => Why::First,
    };
    Some(Choice { at, fit: best.0, files: by_age.len(), why })
}

/// Whether the other one has all that this one has, and more.
fn is_more(one: &Candidate, other: &Candidate, walks: &mut Walks, around: &mut dyn Surroundings) -> bool {
    let Some(all) = one.sample(u64::MAX, walks, around) else { return false };
    let goes_on = other.sample(all.at + 1, walks, around).is_some_and(|more| more.at > all.at);
    goes_on && other.sample(all.at, walks, around).is_some_and(|same| same.begins_with(&all))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::io;
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::file::identity::Identity;
    use crate::file::open::{At, look};

    struct Nothing;

    impl Surroundings for Nothing {
        fn candidates(&mut self) -> Vec<PathBuf> {
            Vec::new()
        }

        fn is_packed(&self, _path: &Path) -> bool {
            false
        }

        fn unpack(&mut self, _file: File, _path: &Path) -> io::Result<Box<dyn io::Read>> {
            Err(io::ErrorKind::Unsupported.into())
        }

        fn is_ours(&self, _identity: &Identity) -> bool {
            false
        }
    }

    /// Which of files of these births and contents is chosen, and why.
    fn chosen(files: &[(i64, &str)]) -> (usize, Why) {
        let dir = tempfile::tempdir().unwrap();
        let candidate = |(index, (born_ns, text)): (usize, &(i64, &str))| {
            let path = dir.path().join(index.to_string());
            fs::write(&path, text).unwrap();
            let At::File(found) = look(&path) else { panic!() };
            let mut candidate = Candidate::found(path.clone(), &found);
            candidate.identity.born_ns = *born_ns;
            Candidate { file: Some(File::open(path).unwrap()), ..candidate }
        };
        let candidates: Vec<Candidate> = files.iter().enumerate().map(candidate).collect();
        let fits: Vec<_> = (0..files.len()).map(|at| (Fit::Full, 3, at)).collect();
        let choice = choose(&fits, &candidates, &mut Walks::default(), &mut Nothing).unwrap();
        assert_eq!(choice.files, files.len());
        (choice.at, choice.why)
    }

    #[test]
    fn age_decides_then_the_order_and_a_longer_copy_of_the_oldest_goes_before() {
        for (files, expected) in [
            (&[(5, "abc"), (3, "abc"), (4, "abc")][..], (1, Why::Oldest)),
            (&[(0, "abc"), (0, "abc")], (0, Why::First)),
            (&[(4, "abc"), (3, "abc"), (3, "abc")], (1, Why::First)),
            (&[(4, "abc!"), (3, "abc")], (0, Why::Longer)),
            (&[(0, "abc"), (0, "abc!")], (1, Why::Longer)),
            (&[(3, "abc"), (4, "abc!"), (5, "abc!?")], (2, Why::Longer)),
            (&[(3, "abc?"), (4, "abc!!")], (0, Why::Oldest)),
            (&[(3, "abc!"), (4, "abc")], (0, Why::Oldest)),
        ] {
            assert_eq!(chosen(files), expected, "{files:?}");
        }
        assert!(choose(&[], &[], &mut Walks::default(), &mut Nothing).is_none());
    }
}
