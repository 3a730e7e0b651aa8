//! A rule about logrotate: a pattern of its configuration that a FIFO, or a link to it, fits.
//!
//! logrotate renames whatever fits, a FIFO as well, and makes a regular file in its place; links it leaves alone.

use std::collections::{BTreeSet, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};

use glob::MatchOptions;
use standpipe_common::config_text;
use standpipe_common::fifo::Identity;
use standpipe_common::shell::quoted;
use standpipe_common::shown::Shown as _;

use super::facts::Facts;
use super::finding::{Finding, Severity};
use crate::survey::{End, Pipe};

/// Where its configuration begins; the directory is included by the file on every distribution.
const CONFIGURATION: [&str; 2] = ["/etc/logrotate.conf", "/etc/logrotate.d"];
/// Larger files are none of its.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// So many files are read, and so many matches of a pattern looked at.
const FILES_MAX: usize = 1000;
const MATCHES_MAX: usize = 10_000;
/// What a script begins with, which may hold anything up to `endscript`.
const SCRIPTS: [&str; 5] = ["firstaction", "prerotate", "postrotate", "lastaction", "preremove"];
/// Ends of names that it does not include.
const TABOO: [&str; 10] =
    ["~", ",v", ".bak", ".disabled", ".dpkg-dist", ".dpkg-new", ".dpkg-old", ".rpmnew", ".rpmsave", ".swp"];

/// A FIFO that it would rotate, by the pattern that fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotated {
    /// Which FIFO. `None`: none stands at that path.
    fifo: Option<Identity>,
    /// The path that fits, and whether it is a link.
    path: PathBuf,
    is_link: bool,
    pattern: String,
    file: PathBuf,
    line: usize,
}

/// All that its configuration on this machine would rotate of these FIFOs, and of what stands at these paths instead of
/// one: probably it has moved that away.
pub fn rotated(fifos: &BTreeSet<Identity>, paths: &BTreeSet<PathBuf>) -> Vec<Rotated> {
    let is_idle = fifos.is_empty() && paths.is_empty();
    if is_idle { Vec::new() } else { rotated_by(CONFIGURATION.map(PathBuf::from).into(), fifos, paths) }
}

/// What is wrong with a pipe.
pub fn of_pipe(pipe: &Pipe, facts: &Facts) -> Vec<Finding> {
    let is_of = |rotated: &&Rotated| match &pipe.end {
        End::Fifo(identity, _) => rotated.fifo == Some(*identity),
        _ => rotated.fifo.is_none() && rotated.path == pipe.target,
    };
    facts.rotated.iter().filter(is_of).map(|rotated| finding(pipe, rotated)).collect()
}

fn finding(pipe: &Pipe, rotated: &Rotated) -> Finding {
    let (pattern, file, line) = (rotated.pattern.shown(), rotated.file.shown(), rotated.line);
    let show = format!("grep -nF -- {} {}", quoted(Path::new(&rotated.pattern)), quoted(&rotated.file));
    let finding = if rotated.is_link {
        let what = format!("logrotate finds the link {} by {pattern} ({file}, line {line})", rotated.path.shown());
        Finding::of(pipe, Severity::Warning, "logrotate_link", what).why(
            "it skips links, so nothing is rotated by that pattern; reader rotates this log itself, so leave it out",
        )
    } else {
        let would = if rotated.fifo.is_some() { "would rotate" } else { "rotates" };
        let what = format!("logrotate {would} it by {pattern} ({file}, line {line})");
        Finding::of(pipe, Severity::Error, "logrotate", what).why(
            "it renames the FIFO and makes a regular file in its place, into which the server then logs; reader rotates \
             this log itself, so leave it out of that pattern first",
        )
    };
    finding.mend(show).at(&rotated.path)
}

fn rotated_by(files: VecDeque<PathBuf>, fifos: &BTreeSet<Identity>, paths: &BTreeSet<PathBuf>) -> Vec<Rotated> {
    let (mut queue, mut seen, mut found) = (files, BTreeSet::new(), Vec::new());
    while let Some(file) = queue.pop_front().filter(|_| seen.len() < FILES_MAX) {
        if !seen.insert(file.clone()) {
            continue;
        }
        if file.is_dir() {
            queue.extend(included(&file));
            continue;
        }
        let Ok(bytes) = config_text::read(&file, FILE_BYTES_MAX) else { continue };
        for (line, word) in parse(&String::from_utf8_lossy(&bytes)) {
            match word {
                Word::Include(path) => queue.push_back(path.into()),
                Word::Pattern(pattern) => {
                    let rotated = |fifo, path: PathBuf, is_link| {
                        let (pattern, file) = (pattern.clone(), file.clone());
                        Rotated { fifo, path, is_link, pattern, file, line }
                    };
                    found.extend(matches(&pattern).filter_map(|path| {
                        let fifo = Identity::from(&fs::metadata(&path).ok()?);
                        let is_link = path.is_symlink();
                        fifos.contains(&fifo).then(|| rotated(Some(fifo), path, is_link))
                    }));
                    let paths = paths.iter().filter(|path| fits(&pattern, path));
                    found.extend(paths.map(|path| rotated(None, path.clone(), false)));
                }
            }
        }
    }
    found
}

fn included(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_taboo = |path: &PathBuf| TABOO.iter().any(|end| path.to_string_lossy().ends_with(end));
    let mut paths: Vec<_> = entries.filter(|path| !is_taboo(path) && path.is_file()).collect();
    paths.sort();
    paths
}

const OPTIONS: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };

/// The paths that fit, as glob(3) has it.
fn matches(pattern: &str) -> impl Iterator<Item = PathBuf> {
    glob::glob_with(&as_ours(pattern), OPTIONS).into_iter().flatten().flatten().take(MATCHES_MAX)
}

/// Whether a path fits, whatever stands there.
fn fits(pattern: &str, path: &Path) -> bool {
    glob::Pattern::new(&as_ours(pattern)).is_ok_and(|pattern| pattern.matches_path_with(path, OPTIONS))
}

fn as_ours(pattern: &str) -> String {
    let mut pattern = pattern.replace("[^", "[!");
    while pattern.contains("**") {
        pattern = pattern.replace("**", "*");
    }
    pattern
}

/// What a configuration names.
#[derive(Debug, PartialEq, Eq)]
enum Word {
    Pattern(String),
    Include(String),
}

/// Where a line of a configuration stands.
enum Place {
    /// Between the sections.
    Top,
    /// Behind patterns whose section has not begun.
    Patterns,
    /// In a section.
    Section,
    /// In a script, and whether that is in a section.
    Script { in_section: bool },
}

/// Patterns and inclusions, with their lines.
fn parse(text: &str) -> Vec<(usize, Word)> {
    let (mut place, mut found) = (Place::Top, Vec::new());
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        let first = line.split_whitespace().next().unwrap_or_default();
        place = match place {
            Place::Script { in_section: true } if first == "endscript" => Place::Section,
            Place::Script { in_section: false } if first == "endscript" => Place::Top,
            Place::Section if line.starts_with('}') => Place::Top,
            Place::Section if SCRIPTS.contains(&first) => Place::Script { in_section: true },
            Place::Script { .. } | Place::Section => place,
            Place::Top if SCRIPTS.contains(&first) => Place::Script { in_section: false },
            Place::Top | Place::Patterns if first.is_empty() || first.starts_with('#') => place,
            Place::Top if first == "include" => {
                found
                    .extend(words(&line["include".len()..]).0.into_iter().map(|path| (index + 1, Word::Include(path))));
                Place::Top
            }
            Place::Patterns => patterns(line, index + 1, &mut found),
            Place::Top if line.starts_with(['/', '"', '\'']) => patterns(line, index + 1, &mut found),
            Place::Top => Place::Top,
        };
    }
    found
}

fn patterns(line: &str, number: usize, found: &mut Vec<(usize, Word)>) -> Place {
    let (words, rest) = words(line);
    found.extend(words.into_iter().map(|pattern| (number, Word::Pattern(pattern))));
    match rest {
        None => Place::Patterns,
        Some(rest) if rest.contains('}') => Place::Top,
        Some(_) => Place::Section,
    }
}

/// Words, quoted or not, up to a `{`, and what follows that.
fn words(line: &str) -> (Vec<String>, Option<&str>) {
    let (mut words, mut rest) = (Vec::new(), line.trim_start());
    while let Some(first) = rest.chars().next() {
        match first {
            '{' => return (words, Some(&rest[1..])),
            '#' => break,
            '"' | '\'' => {
                let (word, behind) = rest[1..].split_once(first).unwrap_or((&rest[1..], ""));
                words.push(word.to_owned());
                rest = behind.trim_start();
            }
            _ => {
                let end = rest.find(|c: char| c.is_whitespace() || c == '{').unwrap_or(rest.len());
                words.push(rest[..end].to_owned());
                rest = rest[end..].trim_start();
            }
        }
    }
    (words, None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;
    use std::os::unix::fs::symlink;

    #[test]
    fn patterns_are_found_outside_of_sections_and_scripts() {
        let text = "# /a\nweekly\ninclude /etc/x.d\n\"/b c/*.log\" '/d' /e{\n  rotate 2\n  postrotate\n    /f { }\n  \
                    endscript\n}\n/g\n# /h\n  /i {\n  olddir /j\n}\n/k { missingok }\n/l\n{\n/m\n}\n";
        let pattern = |line, text: &str| (line, Word::Pattern(text.to_owned()));
        let expected = [
            (3, Word::Include("/etc/x.d".to_owned())),
            pattern(4, "/b c/*.log"),
            pattern(4, "/d"),
            pattern(4, "/e"),
            pattern(10, "/g"),
            pattern(12, "/i"),
            pattern(15, "/k"),
            pattern(16, "/l"),
        ];
        assert_eq!(parse(text), expected);
        assert_eq!(parse("\"/open\n{"), [pattern(1, "/open")]);
    }

    #[test]
    fn a_fifo_and_a_link_to_it_are_found_by_what_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir(at("d")).unwrap();
        fs::create_dir(at("logs")).unwrap();
        mkfifo(&at("logs/app.log"), Mode::S_IRWXU).unwrap();
        mkfifo(&at("logs/.hidden.log"), Mode::S_IRWXU).unwrap();
        symlink("app.log", at("logs/link.log")).unwrap();
        symlink("logs", at("other")).unwrap();
        let fifos: BTreeSet<_> =
            ["logs/app.log", "logs/.hidden.log"].map(|name| Identity::from(&fs::metadata(at(name)).unwrap())).into();
        let top = dir.path().to_str().unwrap();
        for (name, text) in [
            ("main", format!("include {top}/d\n{top}/logs/app.log {{\n}}\n")),
            ("d/one", format!("{top}/oth*/*.log {{\n}}\n{top}/*.log {{\n}}\n{top}/**.log {{\n}}\n")),
            ("d/none.dpkg-old", format!("{top}/logs/* {{\n}}\n")),
        ] {
            fs::write(at(name), text).unwrap();
        }
        let found = rotated_by([at("main"), at("d")].into(), &fifos, &BTreeSet::new());
        let found: Vec<_> = found
            .iter()
            .map(|is| (is.path.strip_prefix(dir.path()).unwrap().to_str().unwrap(), is.is_link, is.line))
            .collect();
        let expected = [("logs/app.log", false, 2), ("other/app.log", false, 1), ("other/link.log", true, 1)];
        assert_eq!(found, expected);
        assert!(rotated_by([at("nowhere")].into(), &fifos, &BTreeSet::new()).is_empty());
        let paths = ["logs/gone.log", "logs/gone.txt"].map(at).into();
        let found = rotated_by([at("main"), at("d")].into(), &BTreeSet::new(), &paths);
        assert!(found.is_empty(), "a directory is told by its own name: {found:?}");
        fs::write(at("d/two"), format!("{top}/logs/*.log {{\n}}\n")).unwrap();
        let found = rotated_by([at("d")].into(), &BTreeSet::new(), &paths);
        assert!(matches!(&found[..], [only] if only.path == at("logs/gone.log") && only.fifo.is_none()), "{found:?}");
    }
}
