//! What a pattern demands of a line, told in grams: a frame that lacks it need not be read.
//!
//! A pattern is taken apart into the texts that it can match. As long as these are few, all of them are known, letter
//! for letter, and are joined with what stands beside them. Whatever cannot be told in this way, a dot or a large class,
//! demands nothing and parts what stands on its two sides.
//!
//! Invariant: every line that the pattern matches meets its demand. So what is left out of a demand may cost time, and
//! nothing else.
//!
//! Upper case ASCII letters count as lower case ones, as in grams. Any other case a pattern has among its texts: without
//! regard to case `k` is also the Kelvin sign.

use std::collections::BTreeSet;

use regex_syntax::hir::{Class, ClassUnicodeRange, Hir, HirKind, Repetition};
use standpipe_common::archive::{filter, grams};

/// Texts that are told apart at one place of a pattern.
const TEXTS_MAX: usize = 64;
/// Bytes of all of them.
const TEXTS_BYTES_MAX: usize = 16 << 10;
/// Times that something is written down which comes again and again.
const COPIES_MAX: u32 = 64;
/// Grams of one text that are asked for.
const GRAMS_MAX: usize = 256;
/// Demands of which one must be met: of more, one hardly ever is not.
const ALTERNATIVES_MAX: usize = 4096;

/// What must be in a frame. What every frame may have is no demand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Demand {
    /// All these grams, by their hashes.
    Grams(Vec<u32>),
    /// All of these.
    All(Vec<Demand>),
    /// One of these.
    Any(Vec<Demand>),
}

impl Demand {
    /// Of a line that has a match of `pattern`, which knows of no newline. `None`: nothing.
    pub fn of(pattern: &Hir) -> Option<Demand> {
        Piece::of(pattern).demand()
    }

    /// What all of them demand together.
    pub fn all(demands: impl IntoIterator<Item = Option<Demand>>) -> Option<Demand> {
        let mut demands: Vec<Demand> = demands.into_iter().flatten().collect();
        if demands.len() > 1 { Some(Demand::All(demands)) } else { demands.pop() }
    }

    /// What each of them demands.
    pub fn any(demands: impl IntoIterator<Item = Option<Demand>>) -> Option<Demand> {
        let mut demands = demands.into_iter().collect::<Option<Vec<Demand>>>()?;
        match demands.len() {
            1 => demands.pop(),
            0..=ALTERNATIVES_MAX => Some(Demand::Any(demands)),
            _ => None,
        }
    }

    /// Whether a frame with this array, of at least one byte, may meet it.
    pub fn may_be_in(&self, array: &[u8]) -> bool {
        debug_assert!(!array.is_empty(), "an array without a bit excludes everything");
        match self {
            Demand::Grams(hashes) => hashes.iter().all(|hash| filter::has(array, *hash)),
            Demand::All(demands) => demands.iter().all(|demand| demand.may_be_in(array)),
            Demand::Any(demands) => demands.iter().any(|demand| demand.may_be_in(array)),
        }
    }
}

/// Texts of which one stands at a place.
type Texts = BTreeSet<Vec<u8>>;

/// What is known of whatever a piece of a pattern matches.
enum Piece {
    /// It is one of these.
    Exactly(Texts),
    /// It begins with one of `first` and ends with one of `last`, which may be the same bytes, and meets `demands`.
    Around { first: Texts, demands: Vec<Demand>, last: Texts },
}

impl Piece {
    fn of(hir: &Hir) -> Piece {
        match hir.kind() {
            HirKind::Empty | HirKind::Look(_) => Piece::empty(),
            HirKind::Literal(literal) => Piece::Exactly(Texts::from([literal.0.to_ascii_lowercase()])),
            HirKind::Class(class) => texts_of(class).map_or_else(|| Piece::anything(None), Piece::Exactly),
            HirKind::Repetition(repetition) => Piece::repeated(repetition),
            HirKind::Capture(capture) => Piece::of(&capture.sub),
            HirKind::Concat(parts) => parts.iter().map(Piece::of).fold(Piece::empty(), Piece::then),
            HirKind::Alternation(parts) => Piece::one_of(parts.iter().map(Piece::of).collect()),
        }
    }

    fn empty() -> Piece {
        Piece::Exactly(nothing())
    }

    /// Whatever meets this demand.
    fn anything(demand: Option<Demand>) -> Piece {
        Piece::Around { first: nothing(), demands: demand.into_iter().collect(), last: nothing() }
    }

    /// This, and `next` right behind it.
    fn then(self, next: Piece) -> Piece {
        let (first, mut demands, end) = match self {
            Piece::Exactly(texts) => (None, Vec::new(), texts),
            Piece::Around { first, demands, last } => (Some(first), demands, last),
        };
        let (begin, others, last) = match next {
            Piece::Exactly(texts) => (texts, Vec::new(), None),
            Piece::Around { first, demands, last } => (first, demands, Some(last)),
        };
        let Some(border) = joined(&end, &begin) else {
            let (first, apart) = first.map_or((end.clone(), None), |first| (first, demand_of(&end)));
            demands.extend(apart);
            let (last, apart) = last.map_or((begin.clone(), None), |last| (last, demand_of(&begin)));
            demands.extend(apart);
            demands.extend(others);
            return Piece::Around { first, demands, last };
        };
        match (first, last) {
            (None, None) => Piece::Exactly(border),
            (None, Some(last)) => Piece::Around { first: border, demands: others, last },
            (Some(first), None) => Piece::Around { first, demands, last: border },
            (Some(first), Some(last)) => {
                demands.extend(demand_of(&border));
                demands.extend(others);
                Piece::Around { first, demands, last }
            }
        }
    }

    fn repeated(repetition: &Repetition) -> Piece {
        let sub = Piece::of(&repetition.sub);
        match (repetition.min, repetition.max, sub) {
            (0, Some(0), _) => Piece::empty(),
            (0, Some(1), sub) => Piece::one_of(vec![Piece::empty(), sub]),
            (0, _, _) => Piece::anything(None),
            // Its first copy begins so, its last one ends so.
            (_, _, sub @ Piece::Around { .. }) => sub,
            (least, most, Piece::Exactly(one)) => {
                let (mut all, mut copies) = (one.clone(), 1);
                while copies < least.min(COPIES_MAX)
                    && let Some(longer) = joined(&all, &one)
                {
                    (all, copies) = (longer, copies + 1);
                }
                if most == Some(copies) {
                    Piece::Exactly(all)
                } else {
                    Piece::Around { first: all.clone(), demands: Vec::new(), last: all }
                }
            }
        }
    }

    fn one_of(pieces: Vec<Piece>) -> Piece {
        let exact = pieces.iter().map(|piece| match piece {
            Piece::Exactly(texts) => Some(texts),
            Piece::Around { .. } => None,
        });
        let all = exact.collect::<Option<Vec<&Texts>>>().map(|all| all.into_iter().flatten().cloned().collect());
        match all {
            Some(all) if are_few(&all) => Piece::Exactly(all),
            _ => Piece::anything(Demand::any(pieces.into_iter().map(Piece::demand))),
        }
    }

    fn demand(self) -> Option<Demand> {
        match self {
            Piece::Exactly(texts) => demand_of(&texts),
            Piece::Around { first, demands, last } => {
                let ends = [demand_of(&first), demand_of(&last)];
                Demand::all(ends.into_iter().chain(demands.into_iter().map(Some)))
            }
        }
    }
}

/// The empty text.
fn nothing() -> Texts {
    Texts::from([Vec::new()])
}

fn bytes_of(texts: &Texts) -> usize {
    texts.iter().map(Vec::len).sum()
}

fn are_few(texts: &Texts) -> bool {
    texts.len() <= TEXTS_MAX && bytes_of(texts) <= TEXTS_BYTES_MAX
}

/// All that one of the first and behind it one of the second can be. `None`: too much.
fn joined(first: &Texts, second: &Texts) -> Option<Texts> {
    let bytes = bytes_of(first) * second.len() + bytes_of(second) * first.len();
    if first.len() * second.len() > TEXTS_MAX || bytes > TEXTS_BYTES_MAX {
        return None;
    }
    let pairs = first.iter().flat_map(|first| second.iter().map(move |second| [&first[..], second].concat()));
    Some(pairs.collect())
}

/// What it demands that one of these stands in a line.
fn demand_of(texts: &Texts) -> Option<Demand> {
    Demand::any(texts.iter().map(|text| {
        let mut hashes = Vec::new();
        grams::hashes(text, |hash| hashes.push(hash));
        hashes.sort_unstable();
        hashes.dedup();
        hashes.truncate(GRAMS_MAX);
        (!hashes.is_empty()).then_some(Demand::Grams(hashes))
    }))
}

/// The characters or bytes of a class, each as a text. `None`: too many.
fn texts_of(class: &Class) -> Option<Texts> {
    // Of two characters one may be the upper case of the other.
    const CHARACTERS_MAX: usize = 2 * TEXTS_MAX;
    let texts: Texts = match class {
        Class::Unicode(class) => {
            let count: usize = class.iter().map(ClassUnicodeRange::len).sum();
            let characters = class.iter().flat_map(|range| range.start()..=range.end());
            (count <= CHARACTERS_MAX)
                .then(|| characters.map(|one| one.to_ascii_lowercase().to_string().into()).collect())?
        }
        Class::Bytes(class) => class
            .iter()
            .flat_map(|range| range.start()..=range.end())
            .map(|byte| vec![byte.to_ascii_lowercase()])
            .collect(),
    };
    are_few(&texts).then_some(texts)
}

#[cfg(test)]
mod tests {
    use regex_syntax::ParserBuilder;
    use standpipe_common::archive::filter::{ARRAY_BYTES_MAX, Grams};

    use super::*;

    fn demand(pattern: &str) -> Option<Demand> {
        let mut parser = ParserBuilder::new().utf8(false).build();
        Demand::of(&parser.parse(pattern).unwrap())
    }

    /// Whether a frame of this text is read for the pattern.
    fn may_have(pattern: &str, text: &str) -> bool {
        let mut grams = Grams::default();
        grams.take(text.as_bytes());
        demand(pattern).is_none_or(|demand| demand.may_be_in(&grams.array(ARRAY_BYTES_MAX)))
    }

    #[test]
    fn a_frame_is_read_that_may_have_a_match_and_others_are_not() {
        for (pattern, has, lacks) in [
            ("segfault", "x segfault y", "x segfau lt y"),
            ("^segfault$", "segfault", "seg fault"),
            (r"\bOutOfMemory\b", "java.lang.outofmemory", "out of memory"),
            ("(?i)kelvin", "\u{212a}ELVIN", "kelvim"),
            ("(?i)SERVICES", "\u{17f}ervice\u{17f}", "server"),
            ("(?i)über-straße", "ÜBER-STRAẞE", "ÜBER-STRASSE"),
            (r"10\.2\.33\.44", "at 10.2.33.44:", "at 10.2.34.44:"),
            ("checkout.*panicked at", "checkout: thread panicked at", "checkout: thread panics at"),
            ("connect(ed|ing)", "reconnecting", "connects"),
            ("(foobar|bazqux[0-9]?)", "a 12 bazqux7", "a 12 foobaz"),
            ("(foobar|bazqux)+", "foobarfoobar", "foo barbaz"),
            ("order[ab]{3}end", "orderabaend", "orderabend"),
            ("order(abc){2,}end", "orderabcabcabcend", "orderabcend"),
            ("order(abc)?end", "orderend orderabcend", "orderab"),
            ("order(abc)*end", "order-end orderabcabcend", "ordabcend"),
            ("order[0-9]+x", "order77x", "ordre77x"),
            ("[Tt]imeout", "Timeout", "Time out"),
            ("(time.?out|deadline) exceeded", "deadline exceeded", "deadline reached"),
        ] {
            assert!(may_have(pattern, has), "{pattern}: {has}");
            assert!(!may_have(pattern, lacks), "{pattern}: {lacks}");
        }
    }

    #[test]
    fn what_every_frame_may_have_is_no_demand() {
        for pattern in [
            "",
            "err",
            "a.b.c",
            "12345",
            "10.2.3.4",
            r"\w+",
            "(?s).*",
            "segfault|oom",
            "segfault|[0-9]{6}",
            "(segfault)*",
            "(segfault)?",
        ] {
            assert_eq!(demand(pattern), None, "{pattern}");
        }
        assert_eq!(demand(&["segfault"; 3].join("|")), demand("segfault"));
        let many = |count: u32| demand(&(0..count).map(|n| format!("word{n:06}x?")).collect::<Vec<_>>().join("|"));
        assert!(many(1000).is_some() && many(5000).is_none(), "of very many, one hardly ever is in no frame");
    }

    #[test]
    fn what_can_match_nothing_is_in_no_frame() {
        assert!(!may_have(r"segfault[^\s\S]", "segfault"));
        assert!(may_have(r"segfault[^\s\S]?", "segfault"));
    }

    #[test]
    fn large_classes_are_not_cut_short() {
        // 100 characters, of which the first 65 are hardly 50 without regard to case.
        assert!(may_have("[0-\u{93}]abcd", "{abcd"));
        assert!(may_have("[\u{e0}-\u{ff}]abcd", "\u{ff}abcd"));
        assert!(!may_have("[\u{e0}-\u{ff}]abcd", "\u{c0}abcd"));
        assert!(may_have("(?-u:[\\x80-\\xbf])abcd", "\u{3ff}abcd"));
    }

    #[test]
    fn patterns_that_grow_stay_small() {
        let nested = (0..8).fold("(ab|c)".to_owned(), |inner, _| format!("({inner}{{9}})"));
        for pattern in
            [&nested, "(a?b?c?d?){60}segfault", "((segfault.){50}){50}", &"k?s".repeat(500), &"a\\b".repeat(9000)]
        {
            let mut parser = ParserBuilder::new().utf8(false).case_insensitive(true).build();
            Demand::of(&parser.parse(pattern).unwrap());
        }
    }
}
