//! One thing found, as a block of text or an object of JSON.

use std::path::{Path, PathBuf};

use serde::Serialize;
use standpipe_common::name::{PipeName, Printable};
use standpipe_common::table::Screen;

use crate::print;
use crate::survey::Pipe;

/// Version of the JSON text.
const VERSION: u32 = 1;

/// How much it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Lines are lost or stuck, or will be.
    Error,
    /// That can come to be so.
    Warning,
    /// Good to know; changes no exit code.
    Hint,
}

/// One thing found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The pipe. `None`: the whole directory.
    pub pipe: Option<PipeName>,
    /// How much it matters.
    pub severity: Severity,
    /// A word for scripts.
    pub kind: &'static str,
    /// What is so; it may have several lines.
    pub what: String,
    /// Where.
    pub path: PathBuf,
    /// Why it hurts.
    pub why: String,
    /// The command that fixes it, or shows more.
    pub mend: String,
}

impl Finding {
    /// About the FIFO of a pipe.
    pub fn of(pipe: &Pipe, severity: Severity, kind: &'static str, what: impl Into<String>) -> Finding {
        Finding {
            pipe: Some(pipe.entry.name.clone()),
            severity,
            kind,
            what: what.into(),
            path: pipe.target.clone(),
            why: String::new(),
            mend: String::new(),
        }
    }

    /// Why it hurts.
    #[must_use]
    pub fn why(mut self, why: impl Into<String>) -> Finding {
        self.why = why.into();
        self
    }

    /// The command that mends it.
    #[must_use]
    pub fn mend(mut self, mend: impl Into<String>) -> Finding {
        self.mend = mend.into();
        self
    }

    /// Somewhere else than at the FIFO.
    #[must_use]
    pub fn at(mut self, path: &Path) -> Finding {
        self.path = path.to_path_buf();
        self
    }
}

/// Findings below a title.
pub fn block(title: &str, findings: &[Finding], screen: Screen) -> String {
    let mut text = print::wrapped(title, "", "  ", screen);
    for finding in findings {
        let severity = match finding.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Hint => "hint",
        };
        let mut lines = finding.what.lines();
        let first = lines.next().unwrap_or_default();
        text.push_str(&print::wrapped(first, &format!("  {severity}: "), "    ", screen));
        // A piece of a policy with its caret, which wrapping would misplace.
        for line in lines {
            text.push_str(&print::shown(&format!("    {line}\n"), screen));
        }
        text.push_str(&print::wrapped(&finding.why, "    why:  ", "          ", screen));
        text.push_str(&print::command(&finding.mend, "    fix:  ", "          ", screen));
    }
    text + "\n"
}

/// All of it for scripts.
#[derive(Serialize)]
pub struct Report {
    version: u32,
    dir: String,
    findings: Vec<FindingReport>,
}

#[derive(Serialize)]
struct FindingReport {
    pipe: Option<String>,
    severity: Severity,
    kind: &'static str,
    what: String,
    path: String,
    why: String,
    mend: String,
}

impl Report {
    /// Of the pipes directory `dir`.
    pub fn of(dir: &Path, findings: &[Finding]) -> Report {
        let shown = |path: &Path| Printable(path.as_os_str()).to_string();
        let findings = findings.iter().map(|finding| FindingReport {
            pipe: finding.pipe.as_ref().map(ToString::to_string),
            severity: finding.severity,
            kind: finding.kind,
            what: finding.what.clone(),
            path: shown(&finding.path),
            why: finding.why.clone(),
            mend: finding.mend.clone(),
        });
        Report { version: VERSION, dir: shown(dir), findings: findings.collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_has_what_why_and_the_command() {
        let finding = Finding {
            pipe: None,
            severity: Severity::Error,
            kind: "config",
            what: "cannot use x: line 1\n | key = 3\n | ^^^".to_owned(),
            path: PathBuf::from("x"),
            why: "because of this and that and whatever".to_owned(),
            mend: "rm x".to_owned(),
        };
        let text = block("title", &[finding], Screen { width: Some(40), is_utf8: true });
        let expected = "title\n  error: cannot use x: line 1\n     | key = 3\n     | ^^^\n    \
                        why:  because of this and that and\n          whatever\n    fix:  rm x\n\n";
        assert_eq!(text, expected);
    }
}
