//! The configuration: which files are followed, where their lines go, and in which order.
//!
//! In the order in which a configuration comes about:
//! - [`keys`]: what there is to be said, and the checked result;
//! - [`tree`], [`yaml`]: a file as values that know their place;
//! - `table`, [`timestamp`]: each value against its key;
//! - `check`, [`spool`]: what keys say together;
//! - here: the words that keys take, and what flags say instead.
//!
//! Invariants: a [`Config`] can be used as it is; its paths are absolute; an error tells every mistake, with file, line
//! and caret. Which files there are at a moment is found out in [`crate::sources`]; nothing is opened here but the
//! configuration itself.

mod check;
pub mod keys;
pub mod spool;
mod table;
pub mod timestamp;
pub mod tree;
pub mod yaml;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf, absolute};

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args, ValueEnum};
use standpipe_common::called;
use standpipe_common::config_text::{self, Flaw};
use standpipe_common::error::{Cannot, Error, Stop};
use standpipe_common::metrics;
use standpipe_common::shown::Shown as _;

pub use self::keys::{Config, FileConfig};

/// Most bytes of a configuration file: tens of thousands of files by name.
const FILE_BYTES_MAX: u64 = 4 << 20;
/// Mistakes of one file that are told at most.
const FLAWS_MAX: usize = 20;

/// The order of lines of several files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Order {
    /// As they were read.
    Read,
    /// By their timestamps.
    Timestamp,
}

/// What lines look like on standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LineForm {
    /// Time, source, level, message
    Text,
    /// An object a line.
    Json,
    /// As they are.
    Raw,
}

/// What to do where both state files are damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OnCorrupt {
    /// End with an error.
    Fail,
    /// Read everything again.
    Beginning,
    /// Read what is new.
    End,
}

/// What the lines of a file are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Records {
    /// What is to be delivered.
    #[default]
    Plain,
    /// Objects of Docker's json-file, which hold that.
    Docker,
    /// Records of the Container Runtime Interface, which do.
    Cri,
}

/// Where to begin in a file of which nothing is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StartAt {
    /// Behind its last line.
    End,
    /// With its first line.
    Beginning,
}

/// What flags say in place of a file.
#[derive(Clone, Debug, Default, Args)]
pub struct Overrides {
    /// Order of the lines of several files: read, or timestamp (by their times) [default: read]
    #[arg(long, value_name = "ORDER", hide_possible_values = true, help_heading = "Output")]
    pub order: Option<Order>,
    /// File that records how far each file was delivered [default: none]
    #[arg(long, value_name = "FILE", help_heading = "Input")]
    pub state: Option<PathBuf>,
    /// Write metrics for Prometheus to this *.prom file every 15 s; needs --state [default: none]
    #[arg(long, value_name = "FILE", value_parser = OsStringValueParser::new().try_map(metrics::checked),
        help_heading = "Output")]
    pub metrics_file: Option<PathBuf>,
    /// Read files new to the state file from their beginning, not from their end
    #[arg(long, help_heading = "Input")]
    pub follow_from_start: bool,
    /// Format on standard output: text (time, source, level, line), json, or raw [default: text]
    #[arg(long, value_name = "FORMAT", hide_possible_values = true, help_heading = "Output")]
    pub output: Option<LineForm>,
}

/// Why there is no configuration: a sentence for each mistake, with a picture of the place; at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    sentences: Vec<String>,
}

/// What a configuration file is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Language {
    Toml,
    Yaml,
}

/// Reads and checks the configuration file at `path`; what `given` says counts instead.
pub fn load(path: &Path, given: &Overrides) -> Result<Config, ConfigError> {
    let language = Language::of(path)?;
    let whole = absolute(path).cannot("find", path)?;
    let dir = whole.parent().unwrap_or(Path::new("/"));
    let bytes = config_text::read(path, FILE_BYTES_MAX)?;
    let text = String::from_utf8_lossy(&bytes);
    let checked =
        config_text::not_utf8(&bytes).map_or_else(|| parse(&text, dir, language, given), |flaw| Err(vec![flaw]));
    checked.map_err(|mut flaws| {
        flaws.sort_by_key(|flaw| flaw.span.start);
        flaws.truncate(FLAWS_MAX);
        ConfigError { sentences: flaws.iter().map(|flaw| flaw.sentence(path, &text)).collect() }
    })
}

fn parse(text: &str, dir: &Path, language: Language, given: &Overrides) -> Result<Config, Vec<Flaw>> {
    let tree = match language {
        Language::Toml => tree::from_toml(text),
        Language::Yaml => yaml::from_yaml(text),
    };
    check::check(&tree.map_err(|flaw| vec![flaw])?, dir, language, given)
}

impl Config {
    /// The configuration of a command line without a file.
    pub fn of_paths(paths: &[PathBuf], pipe: Option<&Path>, given: &Overrides) -> Result<Config, ConfigError> {
        let whole = |path: &Path| absolute(path).cannot("follow", path);
        let pipe = pipe.map(whole).transpose()?;
        let mut config = Config::default();
        for path in paths {
            refuse_unfollowable(path)?;
            let path = whole(path)?;
            if config.files.iter().all(|file| file.path != path) {
                config.files.push(FileConfig { path, pipe: pipe.clone(), ..FileConfig::default() });
            }
        }
        config.take(given);
        let needs_state = match pipe {
            _ if config.state_file.is_some() => None,
            Some(_) => Some("delivery into a pipe needs"),
            None => config.metrics_file.as_ref().map(|_| "a metrics file needs"),
        };
        match needs_state {
            Some(needs) => {
                Err(ConfigError::of(format!("{needs} a state file: add `--state FILE`, as in --state state.json")))
            }
            None => Ok(config),
        }
    }

    /// Whether a file is ours to write: the state file, or one beside it whose name begins with its name and a dot.
    pub fn is_state(&self, path: &Path) -> bool {
        let Some(state) = self.state_file.as_deref().filter(|state| state.parent() == path.parent()) else {
            return false;
        };
        let (Some(ours), Some(theirs)) = (state.file_name(), path.file_name()) else { return false };
        let rest = theirs.as_encoded_bytes().strip_prefix(ours.as_encoded_bytes());
        rest.is_some_and(|rest| rest.is_empty() || rest[0] == b'.')
    }

    /// Each file is read from its beginning to its end, and there is nothing else to be spared, or to be told later.
    pub fn become_batch(&mut self) {
        (self.window, self.metrics_file) = (None, None);
        for file in &mut self.files {
            (file.start_at, file.rate_limit) = (StartAt::Beginning, None);
        }
        self.spools.iter_mut().for_each(|spool| spool.rate_limit = None);
    }

    /// Whether the end of the files is the end of the work.
    pub fn is_batch(&self) -> bool {
        self.window.is_none()
    }

    fn take(&mut self, given: &Overrides) {
        self.order = given.order.unwrap_or(self.order);
        self.output = given.output.unwrap_or(self.output);
        let whole = |path: &PathBuf| absolute(path).unwrap_or_else(|_| path.clone());
        self.state_file = given.state.as_ref().map(whole).or_else(|| self.state_file.take());
        self.metrics_file = given.metrics_file.as_ref().map(whole).or_else(|| self.metrics_file.take());
        if given.follow_from_start {
            self.files.iter_mut().for_each(|file| file.start_at = StartAt::Beginning);
        }
    }
}

impl Language {
    fn of(path: &Path) -> Result<Language, ConfigError> {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("toml") => Ok(Language::Toml),
            Some("yaml" | "yml") => Ok(Language::Yaml),
            _ => {
                Err(ConfigError::of(format!("cannot use {}: its name must end in .toml, .yaml or .yml", path.shown())))
            }
        }
    }

    fn sample_file(self) -> &'static str {
        match self {
            Language::Toml => "`[[files]]` and `path = \"/var/log/app.log\"`",
            Language::Yaml => "`files:` and `- path: /var/log/app.log`",
        }
    }

    fn sample_state(self) -> &'static str {
        match self {
            Language::Toml => "state_file = \"state.json\"",
            Language::Yaml => "state_file: state.json",
        }
    }
}

/// Words of the command line that others give a meaning which they do not have here.
fn refuse_unfollowable(path: &Path) -> Result<(), ConfigError> {
    if path == Path::new("-") {
        let stdin = called::short("reader", "stdin");
        return Err(ConfigError::of(format!(
            "cannot follow -: standard input does not rotate; store it with `{stdin} DIR`, or follow a file of that name \
             as `./-`"
        )));
    }
    let is_pattern = path.as_os_str().as_encoded_bytes().iter().any(|byte| b"*?[".contains(byte));
    if is_pattern && fs::symlink_metadata(path).is_err() {
        return Err(ConfigError::of(format!(
            "cannot follow {}: no such file; to use a pattern, write it without quotes, or as `path` in a configuration, \
             which also finds later files",
            path.shown()
        )));
    }
    Ok(())
}

impl ConfigError {
    fn of(sentence: impl Into<String>) -> ConfigError {
        ConfigError { sentences: vec![sentence.into()] }
    }

    /// A sentence for each mistake, in the order of their places.
    pub fn sentences(&self) -> &[String] {
        &self.sentences
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentences.join("\n"))
    }
}

impl std::error::Error for ConfigError {}

impl From<Error> for ConfigError {
    fn from(error: Error) -> ConfigError {
        ConfigError::of(error.to_string())
    }
}

impl From<ConfigError> for Stop {
    fn from(error: ConfigError) -> Stop {
        Stop::Usage(error.to_string())
    }
}

#[cfg(test)]
mod tests;
