//! One policy file: from its path to a [`Raw`], or to a sentence with line, column and caret.
//!
//! Invariants: only a regular file is ever opened (a FIFO that was put there loses no byte); an error names the file
//! and what is allowed. Which file belongs to which pipe, and merging, are deliberately elsewhere.

use std::error::Error;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::de::{DeInteger, DeTable, DeValue};

use super::value::{DirPath, MetricsPath};
use super::{Raw, hook};
use crate::config_text::{self, Flaw};
use crate::units::Value;

/// Most bytes of a policy file: some hundred times what all keys need.
pub const FILE_BYTES_MAX: u64 = 256 << 10;

/// Which of the two kinds of policy file it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyKind {
    /// `defaults.toml`, where alone `logs`, `mailbox_dir` and `metrics_file` may stand.
    Defaults,
    /// `NAME.toml`.
    Pipe,
}

/// How the parser begins its list of keys, with those that a `NAME.toml` does not take.
const DEFAULTS_FIRST: &str = "expected one of `logs`, `mailbox_dir`, `metrics_file`, ";

/// Why a policy file cannot be used: for each mistake a sentence, and a picture of the place on lines of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyError {
    sentences: Vec<String>,
    paths: Paths,
}

/// The paths that a `defaults.toml` names; a relative one starts at the directory of that file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Paths {
    /// The log root.
    pub logs: Option<PathBuf>,
    /// Where the mailboxes lie, if not in the log root.
    pub mailbox_dir: Option<PathBuf>,
    /// Where numbers for a metrics system go.
    pub metrics_file: Option<PathBuf>,
}

impl PolicyError {
    /// A sentence for each mistake, in the order of their places; at least one.
    pub fn sentences(&self) -> &[String] {
        &self.sentences
    }

    /// What stands in this `defaults.toml` all the same.
    pub fn paths(&self) -> &Paths {
        &self.paths
    }
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentences.join("\n"))
    }
}

impl Error for PolicyError {}

/// Reads and checks the policy file at `path`.
pub fn load(path: &Path, kind: PolicyKind) -> Result<Raw, PolicyError> {
    let unread =
        |error: crate::error::Error| PolicyError { sentences: vec![error.to_string()], paths: Paths::default() };
    let bytes = config_text::read(path, FILE_BYTES_MAX).map_err(unread)?;
    let text = String::from_utf8_lossy(&bytes);
    let parsed = match config_text::not_utf8(&bytes) {
        Some(flaw) => Err(vec![flaw]),
        None => match config_text::read_all(&text, |text| parse(text, kind)) {
            (Some(raw), flaws) if flaws.is_empty() => Ok(raw),
            (_, flaws) => Err(flaws),
        },
    };
    let parsed = parsed.map(|mut raw: Raw| {
        raw.read_from(path);
        raw
    });
    let sentence = |flaw: &Flaw| flaw.sentence(path, &text);
    let of_defaults =
        |found: Option<PathBuf>| found.filter(|_| kind == PolicyKind::Defaults).map(|dir| beside(path, &dir));
    let dir = |key| of_defaults(salvaged(&text, key).map(|DirPath(dir)| dir));
    let metrics_file = of_defaults(salvaged(&text, "metrics_file").map(|MetricsPath(file)| file));
    parsed.map_err(|flaws| PolicyError {
        sentences: flaws.iter().map(sentence).collect(),
        paths: Paths { logs: dir("logs"), mailbox_dir: dir("mailbox_dir"), metrics_file },
    })
}

impl Raw {
    /// The paths that `file`, a `defaults.toml`, names.
    pub fn paths(&self, file: &Path) -> Paths {
        let dir = |dir: &Option<DirPath>| dir.as_ref().map(|DirPath(dir)| beside(file, dir));
        let metrics_file = self.metrics_file.as_ref().map(|MetricsPath(path)| beside(file, path));
        Paths { logs: dir(&self.logs), mailbox_dir: dir(&self.mailbox_dir), metrics_file }
    }

    /// Says which file it is from: relative paths in it start there.
    fn read_from(&mut self, file: &Path) {
        if let Some(words) = &mut self.hook {
            hook::beside(file, words);
        }
    }
}

fn beside(file: &Path, path: &Path) -> PathBuf {
    file.parent().unwrap_or(Path::new("")).join(path)
}

fn parse(text: &str, kind: PolicyKind) -> Result<Raw, Flaw> {
    let raw = toml::from_str(text).map_err(|error| {
        let mut flaw = Flaw::from(error);
        if kind == PolicyKind::Pipe {
            flaw.message = flaw.message.replacen(DEFAULTS_FIRST, "expected one of ", 1);
        }
        flaw
    })?;
    let table = DeTable::parse(text)?;
    for (key, value) in table.get_ref() {
        match (key.get_ref().as_ref(), value.get_ref()) {
            (key_name @ ("logs" | "mailbox_dir" | "metrics_file"), _) if kind == PolicyKind::Pipe => {
                let shared = if key_name == "metrics_file" { "metrics file" } else { "log root" };
                let message =
                    format!("`{key_name}` is allowed in defaults.toml only, because all pipes share one {shared}");
                return Err(Flaw { message, span: key.span() });
            }
            ("file_mode", mode) => refuse_decimal(mode, value.span())?,
            ("fifo", DeValue::Table(fifo)) => {
                fifo.get("mode").map_or(Ok(()), |mode| refuse_decimal(mode.get_ref(), mode.span()))?;
            }
            _ => {}
        }
    }
    Ok(raw)
}

/// `mode = 440` would mean 0670; the number alone no longer shows how it was written.
fn refuse_decimal(mode: &DeValue<'_>, span: Range<usize>) -> Result<(), Flaw> {
    let Some(digits) = mode.as_integer().filter(|number| number.radix() == 10).map(DeInteger::as_str) else {
        return Ok(());
    };
    let message = format!("{digits} is decimal: write permissions in octal, as in \"0640\" or 0o640");
    if digits.len() > 1 { Err(Flaw { message, span }) } else { Ok(()) }
}

/// The path under `key` in a `defaults.toml` that has an error elsewhere.
///
/// None if an error touches a line that speaks of it: half a path is worse than none.
fn salvaged<T: Value>(text: &str, key: &str) -> Option<T> {
    let (table, errors) = DeTable::parse_recoverable(text);
    let is_near = |error: &toml::de::Error| error.span().is_none_or(|span| lines_at(text, &span).contains(key));
    if errors.iter().any(is_near) {
        return None;
    }
    T::from_text(table.get_ref().get(key)?.get_ref().as_str()?).ok()
}

/// The whole lines that a span touches.
fn lines_at<'t>(text: &'t str, span: &Range<usize>) -> &'t str {
    &text[config_text::lines_range(text, span)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shown::Shown as _;

    fn refusal(text: &str, kind: PolicyKind) -> String {
        parse(text, kind).map(drop).unwrap_err().shown_in(text)
    }

    #[test]
    fn an_unknown_key_is_shown_with_its_place_and_all_that_is_allowed() {
        let text = "# web\nstamp = \"iso\"\n\n\nlevle = 3\n";
        let shown = refusal(text, PolicyKind::Pipe);
        assert!(
            shown.starts_with("line 5, column 1: unknown key `levle`, expected one of `pipe_size`, `stage`"),
            "{shown}"
        );
        assert!(shown.ends_with("\n  |\n5 | levle = 3\n  | ^^^^^"), "{shown}");
    }

    #[test]
    fn every_mistake_is_told_and_nothing_else() {
        let places = |text: &str| -> Vec<String> {
            let (_, flaws) = config_text::read_all(text, |text| parse(text, PolicyKind::Pipe));
            let places = flaws.iter().map(|flaw| flaw.shown_in(text));
            places.map(|shown| shown.split(", column").next().unwrap_or_default().to_string()).collect()
        };
        let mut three = places("rotate_size = 0\nstamp = \"iso\"\nlevle = 3\n[fifo]\nmode = 9999\ncreate = true\n");
        three.sort();
        assert_eq!(three, ["line 1", "line 3", "line 5"]);
        assert_eq!(places("stamp = \"iso\"\n"), [""; 0]);
        assert_eq!(places("[fifi]\nmode = 9999\n"), ["line 1"]);
        assert_eq!(
            places("stamp = \"iso\nlevel = 77\n"),
            ["line 1"],
            "what follows a broken string is anybody's guess"
        );
    }

    #[test]
    fn each_mistake_is_shown_at_its_place() {
        for (text, place, complaint) in [
            ("rotate_size = \"10MB\"", "line 1, column 15", "1000 or 1024? write 10M"),
            ("stamp = \"iso\"\n\tlevel = 20", "line 2, column 10", "`20` is not a level"),
            ("[fifo]\nmode = 9999", "line 2, column 8", "in octal"),
            ("[fifo]\nmode = 440", "line 2, column 8", "440 is decimal: write permissions in octal"),
            ("file_mode = 384", "line 1, column 13", "384 is decimal: write permissions in octal"),
            ("[fifo]\nsize = 1", "line 2, column 1", "unknown key `size`, expected one of `create`, `mode`"),
            ("fifo = true", "line 1, column 8", "expected the table [fifo]"),
            ("create = true", "line 1, column 1", "unknown key `create`"),
            ("keep_sice = \"1GiB\"", "line 1, column 1", "unknown key `keep_sice`"),
            ("keep_files = 0", "line 1, column 14", "0 would keep nothing"),
            ("keep_free = \"5% or so\"", "line 1, column 13", "write \"5%\" or \"5%, at most 4GiB\""),
            ("rotate_age = true", "line 1, column 14", "expected a span such as"),
            ("rotate_age = 3600", "line 1, column 14", "3600 has no unit"),
            ("prefix = \"a\\nb\"", "line 1, column 10", "cannot contain a newline"),
            ("filename = \"%d-%m-%Y\"", "line 1, column 12", "names with `%d` in this place would not sort by time"),
            ("filename = 2026", "line 1, column 12", "it contains no time"),
            ("stamp = iso", "line 1, column 9", "string values must be quoted"),
            ("stamp = none", "line 1, column 9", "string values must be quoted"),
            ("rotate_size = 64MiB", "line 1, column 15", "string values must be quoted"),
            ("rotate_age = 1d", "line 1, column 14", "string values must be quoted"),
            ("logs = /var/log", "line 1, column 8", "string values must be quoted"),
            ("rotate_at = off", "line 1, column 13", "string values must be quoted"),
            ("rotate_at = 06:30", "line 1, column 13", "expected \"hourly\", \"daily\", a time"),
            ("rotate_at = [\"06:30\", \"7:30\"]", "line 1, column 23", "weekly with a day as in weekly monday"),
            ("stamp = \"iso\"\nstamp = \"none\"", "line 2, column 1", "duplicate key"),
            ("größe = 1", "line 1, column 3", "invalid unquoted key"),
        ] {
            let shown = refusal(text, PolicyKind::Pipe);
            assert!(shown.starts_with(place) && shown.contains(complaint), "{text}\n{shown}");
            assert!(shown.lines().count() == 4 && shown.ends_with('^'), "{text}\n{shown}");
        }
    }

    #[test]
    fn logs_stands_in_defaults_only() {
        let text = "stamp = \"iso\"\nlogs = \"x\"";
        let shown = refusal(text, PolicyKind::Pipe);
        assert!(shown.starts_with("line 2, column 1: `logs` is allowed in defaults.toml only"), "{shown}");
        let raw = parse(text, PolicyKind::Defaults).unwrap();
        assert_eq!(raw.paths(Path::new("/etc/pipes.d/defaults.toml")).logs, Some("/etc/pipes.d/x".into()));
        assert_eq!(raw.paths(Path::new("defaults.toml")).logs, Some("x".into()));
        let text = "mailbox_dir = \"m\"";
        let shown = refusal(text, PolicyKind::Pipe);
        assert!(shown.starts_with("line 1, column 1: `mailbox_dir` is allowed in defaults.toml only"), "{shown}");
        let raw = parse(text, PolicyKind::Defaults).unwrap();
        assert_eq!(raw.paths(Path::new("/etc/pipes.d/defaults.toml")).mailbox_dir, Some("/etc/pipes.d/m".into()));
        let text = "metrics_file = \"m.prom\"";
        let shown = refusal(text, PolicyKind::Pipe);
        assert!(shown.starts_with("line 1, column 1: `metrics_file` is allowed in defaults.toml only"), "{shown}");
        let raw = parse(text, PolicyKind::Defaults).unwrap();
        let file = Some("/etc/pipes.d/m.prom".into());
        assert_eq!(raw.paths(Path::new("/etc/pipes.d/defaults.toml")).metrics_file, file);
        let shown = refusal("metrics_file = \"/var/lib/metrics\"", PolicyKind::Defaults);
        assert!(shown.contains("`/var/lib/metrics`: the name must end in .prom"), "{shown}");
    }

    #[test]
    fn logs_counts_although_another_key_is_wrong_but_never_half_of_it() {
        for (text, logs) in [
            ("logs = \"/l\"\nlevle = 3", Some("/l")),
            ("logs = \"/l\"\nlevel = 99", Some("/l")),
            ("stamp = iso\nlogs = \"/l\"", Some("/l")),
            ("logs = \"/l\"\n[fifo\ncreate = true", Some("/l")),
            ("logs = \"/l\nstamp = \"iso\"", None),
            ("logs = /l\n", None),
            ("logs = \"/a\"\nlogs = \"/b\"", None),
            ("logs = 3", None),
            ("[fifo]\nlogs = \"/l\"", None),
            ("levle = 3", None),
        ] {
            assert_eq!(salvaged(text, "logs"), logs.map(|logs| DirPath(logs.into())), "{text}");
            let text = text.replace("logs", "mailbox_dir");
            assert_eq!(salvaged(&text, "mailbox_dir"), logs.map(|logs| DirPath(logs.into())), "{text}");
        }
    }

    fn load_error(path: &Path) -> String {
        load(path, PolicyKind::Defaults).unwrap_err().to_string()
    }

    #[test]
    fn only_a_regular_file_of_some_size_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("defaults.toml");
        let shown = path.shown();
        assert_eq!(load_error(&path), format!("cannot read {shown}: No such file or directory"));
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(load_error(&path), format!("cannot read {shown}: not a regular file"));
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "#".repeat(FILE_BYTES_MAX as usize + 1)).unwrap();
        assert_eq!(load_error(&path), format!("cannot read {shown}: larger than 262144 bytes"));
        std::fs::write(&path, b"prefix = \"caf\xe9\"\nlogs = \"l\"\n").unwrap();
        assert!(load_error(&path).starts_with(&format!("cannot use {shown}: line 1, column 14: not valid UTF-8")));
        let logs = dir.path().join("l");
        assert_eq!(load(&path, PolicyKind::Defaults).unwrap_err().paths().logs, Some(logs));
        assert_eq!(load(&path, PolicyKind::Pipe).unwrap_err().paths(), &Paths::default());
    }
}
