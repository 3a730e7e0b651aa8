//! What the stage has to say, kept until the program takes it and prints it: nothing here prints.

use std::path::Path;

use standpipe_common::shown::Shown as _;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Good to know.
    Note,
    /// Something may be repeated or torn.
    Warning,
    /// Somebody has to do something.
    Error,
}

/// One sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// How bad it is.
    pub severity: Severity,
    /// The sentence.
    pub text: String,
}

/// Sentences about one target that wait to be taken.
#[derive(Debug, Default)]
pub struct Messages {
    subject: String,
    said: Vec<Message>,
}

impl Messages {
    /// About the target at this path, which each of them begins with.
    pub fn about(path: &Path) -> Messages {
        Messages { subject: path.shown().to_string(), said: Vec::new() }
    }

    /// Says something.
    pub fn note(&mut self, text: impl Into<String>) {
        self.say(Severity::Note, &text.into());
    }

    /// Says what may have gone wrong.
    pub fn warning(&mut self, text: impl Into<String>) {
        self.say(Severity::Warning, &text.into());
    }

    /// Says what went wrong.
    pub fn error(&mut self, text: impl Into<String>) {
        self.say(Severity::Error, &text.into());
    }

    /// All that was said since the last time.
    pub fn take(&mut self) -> Vec<Message> {
        std::mem::take(&mut self.said)
    }

    /// Says something that is so bad.
    pub fn say(&mut self, severity: Severity, text: &str) {
        self.said.push(Message { severity, text: format!("{}: {text}", self.subject) });
    }
}
