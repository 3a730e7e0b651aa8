//! Patterns: which lines are meant.
//!
//! Text is searched whole, many lines at a time, which is far faster than line by line. So that both give the same,
//! a pattern is changed before it is compiled: nothing in it matches a newline, and the beginning and the end of the
//! text are those of a line. A match therefore never leaves its line.
//!
//! A pattern means characters where the text is UTF-8 and bytes where it is not: `a.b` finds `a`, any character and
//! `b`, and also `a`, any byte and `b`.

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;

use memchr::{memchr, memrchr};
use regex_automata::Input;
use regex_automata::meta::Regex;
use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Class, Hir, HirKind, Look};

use standpipe_common::shown::Shown as _;

use super::demand::Demand;

/// Bytes of a compiled pattern at most: room for thousands of words, no room for `(\w{1000}){1000}`.
const COMPILED_BYTES_MAX: usize = 10 << 20;
/// Bytes that one thread remembers of one pattern while it searches.
const CACHE_BYTES_MAX: usize = 2 << 20;

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub struct Search {
    /// One of these.
    pub any: Vec<OsString>,
    /// And each of these.
    pub all: Vec<OsString>,
    /// And none of these.
    pub none: Vec<OsString>,
    /// How they are written.
    pub style: Style,
    /// Lines that `any` and `all` do not mean are meant.
    pub inverted: bool,
}

/// How patterns are written.
#[derive(Clone, Copy, Debug, Default)]
pub struct Style {
    /// Text to be found as it stands.
    pub fixed: bool,
    /// Upper and lower case are one.
    pub ignore_case: bool,
    /// So they are for a pattern without upper case letters.
    pub smart_case: bool,
    /// Only whole words.
    pub word: bool,
}

/// Patterns, compiled; at least one.
#[derive(Debug)]
pub struct Patterns {
    any: Option<Regex>,
    all: Vec<Regex>,
    none: Option<Regex>,
    inverted: bool,
    demand: Option<Demand>,
}

impl Patterns {
    /// Compiles what is asked for. `None`: nothing is.
    ///
    /// # Errors
    /// A sentence for the user: which pattern, and what is wrong with it.
    pub fn new(asked: &Search) -> Result<Option<Patterns>, String> {
        let compiled = |patterns: &[OsString]| compile(patterns, asked.style);
        let one = |patterns: &[OsString]| (!patterns.is_empty()).then(|| compiled(patterns)).transpose();
        let (any, any_demand) = one(&asked.any)?.unzip();
        let all =
            asked.all.iter().map(|pattern| compiled(std::slice::from_ref(pattern))).collect::<Result<Vec<_>, _>>()?;
        let (all, all_demands): (Vec<_>, Vec<_>) = all.into_iter().unzip();
        let none = one(&asked.none)?.map(|(none, _)| none);
        let demand = Demand::all(any_demand.into_iter().chain(all_demands));
        let patterns = Patterns { any, all, none, inverted: asked.inverted, demand };
        if patterns.inverted && patterns.any.is_none() && patterns.all.is_empty() {
            return Err("-v needs a pattern to invert: give one with -g".to_owned());
        }
        let is_empty = patterns.any.is_none() && patterns.all.is_empty() && patterns.none.is_none();
        Ok((!is_empty).then_some(patterns))
    }

    /// What a text must have in which a line is meant.
    pub fn demand(&self) -> Option<&Demand> {
        self.demand.as_ref().filter(|_| !self.inverted)
    }

    /// Whether a line is meant; it stands there with or without its newline.
    pub fn is_match(&self, line: &[u8]) -> bool {
        let mut found = false;
        self.select(if line.is_empty() { b"\n" } else { line }, &mut |_| found = true);
        found
    }

    /// Tells the lines of `text` that are meant, as runs of whole lines in order, each as long as can be. Text that does
    /// not end in a newline ends in a line without one.
    pub fn select(&self, text: &[u8], found: &mut dyn FnMut(Range<usize>)) {
        let mut run = Joiner { found, run: 0..0 };
        // Where the lines begin that were not judged yet.
        let mut judged = 0;
        self.wanted(text, &mut |line| {
            let wanted = if self.inverted { judged..line.start } else { line.clone() };
            self.without_none(text, wanted, &mut run);
            judged = line.end;
        });
        if self.inverted {
            self.without_none(text, judged..text.len(), &mut run);
        }
        run.end();
    }

    /// Where the patterns that were asked for stand in a line, in order, none inside another.
    pub fn highlights(&self, line: &[u8]) -> Vec<Range<usize>> {
        if self.inverted {
            return Vec::new();
        }
        let mut found: Vec<Range<usize>> = self
            .any
            .iter()
            .chain(&self.all)
            .flat_map(|regex| regex.find_iter(line))
            .map(|found| found.range())
            .collect();
        found.retain(|range| !range.is_empty());
        found.sort_by_key(|range| (range.start, range.end));
        let mut end = 0;
        found.retain_mut(|range| {
            range.start = range.start.max(end);
            end = end.max(range.end);
            range.start < range.end
        });
        found
    }

    /// The lines that `any` and `all` mean, one by one; all of them at once if there are no such patterns.
    fn wanted(&self, text: &[u8], found: &mut dyn FnMut(Range<usize>)) {
        let (first, others) = match (&self.any, self.all.split_first()) {
            (Some(any), _) => (any, &self.all[..]),
            (None, Some((first, others))) => (first, others),
            (None, None) => return found(0..text.len()),
        };
        each_line(first, text, 0..text.len(), &mut |line| {
            if others.iter().all(|regex| regex.is_match(Input::new(text).range(content(text, &line)))) {
                found(line);
            }
        });
    }

    /// Adds the lines of `wanted` that `none` does not mean.
    fn without_none(&self, text: &[u8], wanted: Range<usize>, run: &mut Joiner<'_>) {
        let Some(none) = &self.none else { return run.add(wanted) };
        let mut start = wanted.start;
        each_line(none, text, wanted.clone(), &mut |line| {
            run.add(start..line.start);
            start = line.end;
        });
        run.add(start..wanted.end);
    }
}

/// Joins lines that follow each other.
struct Joiner<'a> {
    found: &'a mut dyn FnMut(Range<usize>),
    run: Range<usize>,
}

impl Joiner<'_> {
    fn add(&mut self, lines: Range<usize>) {
        debug_assert!(lines.is_empty() || self.run.end <= lines.start, "lines {lines:?} after {:?}", self.run);
        if lines.is_empty() {
        } else if self.run.end == lines.start && !self.run.is_empty() {
            self.run.end = lines.end;
        } else {
            self.end();
            self.run = lines;
        }
    }

    fn end(&mut self) {
        if !self.run.is_empty() {
            (self.found)(self.run.clone());
        }
    }
}

/// Tells the lines in `range`, itself whole lines of `text`, that have a match.
fn each_line(regex: &Regex, text: &[u8], range: Range<usize>, found: &mut dyn FnMut(Range<usize>)) {
    let mut at = range.start;
    while at < range.end {
        let Some(half) = regex.search(&Input::new(text).range(at..range.end)) else { return };
        let start = memrchr(b'\n', &text[at..half.start()]).map_or(at, |newline| at + newline + 1);
        if start == range.end {
            // Behind the last newline there is no line.
            return;
        }
        let end = memchr(b'\n', &text[half.start()..range.end]).map_or(range.end, |newline| half.start() + newline + 1);
        debug_assert!(half.end() <= end, "a match does not leave its line");
        found(start..end);
        at = end;
    }
}

/// A line without its newline.
fn content(text: &[u8], line: &Range<usize>) -> Range<usize> {
    let newline = usize::from(text[line.clone()].last() == Some(&b'\n'));
    line.start..line.end - newline
}

/// What is demanded of a text that has a match of one of these, beside them.
fn compile(patterns: &[OsString], style: Style) -> Result<(Regex, Option<Demand>), String> {
    let parsed = patterns.iter().map(|pattern| parse(pattern, style)).collect::<Result<Vec<_>, _>>()?;
    let config = Regex::config()
        .utf8_empty(false)
        .nfa_size_limit(Some(COMPILED_BYTES_MAX))
        .hybrid_cache_capacity(CACHE_BYTES_MAX);
    let meant = Hir::alternation(parsed);
    let regex = Regex::builder().configure(config).build_from_hir(&meant).map_err(|error| {
        let shown = patterns.iter().map(|pattern| format!("`{}`", pattern.shown())).collect::<Vec<_>>().join(", ");
        if error.size_limit().is_some() {
            format!("the pattern {shown} is too large when compiled: use fewer or smaller repetitions")
        } else {
            format!("cannot use pattern {shown}: {error}")
        }
    })?;
    Ok((regex, Demand::of(&meant)))
}

/// What a pattern means on one line.
fn parse(pattern: &OsStr, style: Style) -> Result<Hir, String> {
    let says = |why: String| {
        format!(
            "`{}` is not a regular expression: {why}; for text that contains such characters use -F",
            pattern.shown()
        )
    };
    let text = if style.fixed {
        escaped(pattern.as_bytes())
    } else {
        pattern.to_str().ok_or_else(|| says("it is not UTF-8".to_owned()))?.to_owned()
    };
    let ignores_case = style.ignore_case || style.smart_case && !has_upper_case(&text);
    let parser = |unicode| {
        ParserBuilder::new().utf8(false).unicode(unicode).multi_line(true).case_insensitive(ignores_case).build()
    };
    let by_characters = parser(true).parse(&text).map_err(|error| says(reason(&error)))?;
    // A class of characters has no meaning for bytes.
    let by_bytes = parser(false).parse(&text).ok();
    let alternatives = match by_bytes {
        Some(by_bytes) if by_bytes != by_characters => vec![by_characters, by_bytes],
        _ => vec![by_characters],
    };
    let on_a_line = alternatives.into_iter().map(within_line).collect::<Result<Vec<_>, _>>();
    let meant = Hir::alternation(
        on_a_line.map_err(|()| format!("`{}` can match nothing: a line contains no newline", pattern.shown()))?,
    );
    Ok(if style.word {
        Hir::concat(vec![Hir::look(Look::WordStartHalfUnicode), meant, Hir::look(Look::WordEndHalfUnicode)])
    } else {
        meant
    })
}

/// The reason alone, without the drawing of the pattern over several lines.
fn reason(error: &regex_syntax::Error) -> String {
    match error {
        regex_syntax::Error::Parse(error) => format!("{} at character {}", error.kind(), error.span().start.column),
        regex_syntax::Error::Translate(error) => format!("{} at character {}", error.kind(), error.span().start.column),
        other => other.to_string(),
    }
}

/// Bytes as a pattern for just these.
fn escaped(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        text.push_str(&regex_syntax::escape(chunk.valid()));
        for byte in chunk.invalid() {
            let _infallible = write!(text, "(?-u:\\x{byte:02x})");
        }
    }
    text
}

/// Whether a pattern has an upper case letter that stands for itself.
fn has_upper_case(pattern: &str) -> bool {
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => drop(chars.next()),
            c if c.is_uppercase() => return true,
            _ => {}
        }
    }
    false
}

/// The same where the text is one line: no newline in a match, and the line's ends for those of the text. Fails if it
/// asks for a newline.
fn within_line(hir: Hir) -> Result<Hir, ()> {
    Ok(match hir.into_kind() {
        HirKind::Empty => Hir::empty(),
        HirKind::Literal(literal) if literal.0.contains(&b'\n') => return Err(()),
        HirKind::Literal(literal) => Hir::literal(literal.0),
        HirKind::Class(Class::Unicode(mut class)) => {
            let newline = regex_syntax::hir::ClassUnicodeRange::new('\n', '\n');
            class.difference(&regex_syntax::hir::ClassUnicode::new([newline]));
            Hir::class(Class::Unicode(class))
        }
        HirKind::Class(Class::Bytes(mut class)) => {
            let newline = regex_syntax::hir::ClassBytesRange::new(b'\n', b'\n');
            class.difference(&regex_syntax::hir::ClassBytes::new([newline]));
            Hir::class(Class::Bytes(class))
        }
        HirKind::Look(Look::Start) => Hir::look(Look::StartLF),
        HirKind::Look(Look::End) => Hir::look(Look::EndLF),
        HirKind::Look(look) => Hir::look(look),
        HirKind::Repetition(mut repetition) => {
            repetition.sub = Box::new(within_line(*repetition.sub)?);
            Hir::repetition(repetition)
        }
        HirKind::Capture(capture) => within_line(*capture.sub)?,
        HirKind::Concat(parts) => Hir::concat(parts.into_iter().map(within_line).collect::<Result<_, _>>()?),
        HirKind::Alternation(parts) => Hir::alternation(parts.into_iter().map(within_line).collect::<Result<_, _>>()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(any: &[&str], style: Style) -> Search {
        Search { any: any.iter().map(OsString::from).collect(), style, ..Search::default() }
    }

    fn lines_of(asked: &Search, text: &[u8]) -> Vec<String> {
        let patterns = Patterns::new(asked).unwrap().unwrap();
        let mut lines = Vec::new();
        patterns.select(text, &mut |run| {
            lines.extend(text[run].split_inclusive(|byte| *byte == b'\n').map(|line| line.escape_ascii().to_string()));
        });
        lines
    }

    const FIXED: Style = Style { fixed: true, ignore_case: false, smart_case: false, word: false };

    #[test]
    fn lines_are_found_as_grep_finds_them() {
        let text = b"GET /a 200\nGET /b 404 \xff end\n\nerror: \xc3\xa4 Timeout\ntimeout 10.0.0.1\nlast";
        let plain = Style::default();
        let cases: &[(&[&str], Style, &[usize])] = &[
            (&["GET"], plain, &[0, 1]),
            (&["GET", "last"], plain, &[0, 1, 5]),
            (&["^$"], plain, &[2]),
            (&[""], plain, &[0, 1, 2, 3, 4, 5]),
            (&["404.*end"], plain, &[1]),
            (&["404 . end"], plain, &[1]),
            (&[": . T"], plain, &[3]),
            (&["200\\s"], plain, &[]),
            (&["200\\s*"], plain, &[0]),
            (&["[^x]GET"], plain, &[]),
            (&["\\AGET"], plain, &[0, 1]),
            (&["t\\z"], plain, &[3, 5]),
            (&["(?s)200.*404"], plain, &[]),
            (&["10.0.0.1"], FIXED, &[4]),
            (&["1..0"], FIXED, &[]),
            (&["TIMEOUT"], Style { ignore_case: true, ..plain }, &[3, 4]),
            (&["timeout"], Style { smart_case: true, ..plain }, &[3, 4]),
            (&["Timeout"], Style { smart_case: true, ..plain }, &[3]),
            (&["time"], Style { word: true, ..plain }, &[]),
            (&["timeout"], Style { word: true, ..plain }, &[4]),
            (&["\u{c4}"], Style { ignore_case: true, ..plain }, &[3]),
        ];
        let all: Vec<String> = text.split_inclusive(|b| *b == b'\n').map(|l| l.escape_ascii().to_string()).collect();
        for (patterns, style, numbers) in cases {
            let expected: Vec<String> = numbers.iter().map(|number| all[*number].clone()).collect();
            assert_eq!(lines_of(&asked(patterns, *style), text), expected, "{patterns:?} {style:?}");
        }
    }

    type Case<'a> = (&'a [&'a str], &'a [&'a str], &'a [&'a str], bool, &'a [&'a str]);

    #[test]
    fn include_and_exclude_combine() {
        let text = b"error a\nerror b healthz\nok healthz\nok\n";
        let os = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        let cases: &[Case] = &[
            (&["error"], &[], &["healthz"], false, &["error a\\n"]),
            (&["error"], &["healthz"], &[], false, &["error b healthz\\n"]),
            (&[], &["error", "healthz"], &[], false, &["error b healthz\\n"]),
            (&[], &[], &["healthz", "error"], false, &["ok\\n"]),
            (&["error"], &[], &[], true, &["ok healthz\\n", "ok\\n"]),
            (&["error"], &["healthz"], &[], true, &["error a\\n", "ok healthz\\n", "ok\\n"]),
            (&["error"], &[], &["healthz"], true, &["ok\\n"]),
        ];
        for (any, all, none, inverted, expected) in cases {
            let asked = Search { any: os(any), all: os(all), none: os(none), inverted: *inverted, ..Search::default() };
            assert_eq!(lines_of(&asked, text), *expected, "{asked:?}");
        }
        assert!(Patterns::new(&Search::default()).unwrap().is_none());
        assert!(Patterns::new(&Search { inverted: true, ..Search::default() }).is_err());
    }

    #[test]
    fn a_whole_text_gives_what_its_lines_give_one_by_one() {
        let words: [&[u8]; 10] = [b"a", b"b", b"ab", b" ", b"\n", b"\n", b"\xff", b"\xc3\xa4", b"A", b"0"];
        let patterns = [
            "a", "a.b", "^b", "b$", "", "\\s", "a\\s*b", "[^a]", "(?s).", "\\bA", "a|b\\z", "x*", "\\W", "0?$",
            "(?i)a{2}",
        ];
        let mut seed = 7_u64;
        let mut next = move |below: usize| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            (seed % below as u64) as usize
        };
        for round in 0..400 {
            let text: Vec<u8> = (0..next(40)).flat_map(|_| words[next(words.len())]).copied().collect();
            let one = |n: usize| OsString::from(patterns[n]);
            let style = Style { word: next(4) == 0, ignore_case: next(4) == 0, ..Style::default() };
            let asked = Search {
                any: (0..next(3)).map(|_| one(next(patterns.len()))).collect(),
                all: (0..next(2)).map(|_| one(next(patterns.len()))).collect(),
                none: (0..next(2)).map(|_| one(next(patterns.len()))).collect(),
                style,
                inverted: false,
            };
            let asked = Search { inverted: next(3) == 0 && asked.any.len() + asked.all.len() > 0, ..asked };
            let Some(patterns) = Patterns::new(&asked).unwrap() else { continue };
            let expected: Vec<String> = text
                .split_inclusive(|byte| *byte == b'\n')
                .filter(|line| patterns.is_match(line.strip_suffix(b"\n").unwrap_or(line)))
                .map(|line| line.escape_ascii().to_string())
                .collect();
            assert_eq!(
                lines_of(&asked, &text),
                expected,
                "round {round}: {asked:?} on {:?}",
                text.escape_ascii().to_string()
            );
        }
    }

    #[test]
    fn a_bad_pattern_is_named_with_what_is_wrong() {
        let error = |text: &str| Patterns::new(&asked(&[text], Style::default())).unwrap_err();
        assert!(error("a(b").starts_with("`a(b` is not a regular expression: unclosed group at character 2;"));
        assert_eq!(error("a\\nb"), "`a\\nb` can match nothing: a line contains no newline");
        assert!(error("(\\w{1000}){1000}").contains("too large"), "{}", error("(\\w{1000}){1000}"));
    }

    #[test]
    fn matches_are_shown_where_they_stand() {
        let patterns = Patterns::new(&asked(&["a+", "aab"], Style::default())).unwrap().unwrap();
        assert_eq!(patterns.highlights(b"xaab a"), [1..3, 5..6]);
    }
}
