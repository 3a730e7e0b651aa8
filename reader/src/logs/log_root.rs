//! The log root that a command is about, and what named it, which an error has to say: nobody finds a wrong log root
//! who does not know where it came from.

use std::env;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use standpipe_common::error::Stop;
use standpipe_common::name::DEFAULTS;
use standpipe_common::pipes::{scan, usual_dirs};
use standpipe_common::shell::quoted;
use standpipe_common::shown::Shown as _;

const FALLBACK: &str = "/var/log/standpipe";
const VARIABLE: &str = "STANDPIPE_LOGS";

/// A log root.
#[derive(Debug)]
pub struct LogRoot {
    /// Where it is, there or not.
    pub path: PathBuf,
    /// What named it. `None`: the command line.
    named_by: Option<String>,
}

impl LogRoot {
    /// The log root, first found: the one that was given, the one of a pipes directory, the usual one.
    ///
    /// # Errors
    /// Nothing names one, and the usual one is not there.
    pub fn find(given: Option<&Path>) -> Result<LogRoot, Stop> {
        if let Some(path) = given {
            // clap takes it from there where the command line has none.
            let is_from_env = env::var_os(VARIABLE).is_some_and(|logs| logs == path.as_os_str());
            return Ok(LogRoot { path: path.into(), named_by: is_from_env.then(|| VARIABLE.to_owned()) });
        }
        let configured = usual_dirs().find_map(|dir| Some((scan(&dir).ok()?.logs?, dir.join(DEFAULTS))));
        if let Some((path, file)) = configured {
            return Ok(LogRoot { path, named_by: Some(format!("`logs` in {}", file.shown())) });
        }
        let path = PathBuf::from(FALLBACK);
        if fs::symlink_metadata(&path).is_err_and(|error| error.kind() == ErrorKind::NotFound) {
            return Err(Stop::Io(format!(
                "no log root {FALLBACK} (the default): give one with --logs or {VARIABLE}, or as `logs` in \
                 {DEFAULTS} of the pipes directory that STANDPIPE_DIR names"
            )));
        }
        Ok(LogRoot { path, named_by: Some("the default".to_owned()) })
    }

    /// An error that it led to, with what named it.
    pub fn explain(&self, stop: Stop) -> Stop {
        match &self.named_by {
            Some(named_by) => with(stop, &format!(" (log root from {named_by})")),
            None => stop,
        }
    }
}

/// An error on `words`, which name pipes, log directories or log roots, with what may have been meant by one of them.
pub fn hinted<W: AsRef<Path>>(stop: Stop, words: &[W]) -> Stop {
    match words.iter().find_map(|word| hint(word.as_ref())) {
        Some(hint) => with(stop, &format!("; {hint}")),
        None => stop,
    }
}

/// Of a word that is a pipes directory.
fn hint(word: &Path) -> Option<String> {
    let is_dir = fs::metadata(word).is_ok_and(|is| is.is_dir());
    let scan = is_dir.then(|| scan(word).ok()).flatten().filter(|scan| !scan.nothing_of_ours())?;
    let word = word.shown();
    Some(match scan.logs {
        Some(logs) => format!("{word} is a pipes directory: for its logs give --logs {}", quoted(&logs)),
        None => format!("{word} is a pipes directory, not a log root"),
    })
}

fn with(stop: Stop, addition: &str) -> Stop {
    match stop {
        Stop::Usage(sentence) => Stop::Usage(sentence + addition),
        Stop::Io(sentence) => Stop::Io(sentence + addition),
    }
}
