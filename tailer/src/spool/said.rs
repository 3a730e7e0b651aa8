//! What was complained of already, so that each thing is told once.

use std::collections::HashSet;
use std::ffi::OsStr;

use super::dir::{Name, kept};

/// Most names of which a complaint is remembered.
const NAMES_MAX: usize = 1000;

/// All of it, of one spool.
#[derive(Debug, Default)]
pub struct Said {
    trouble: Option<String>,
    names: HashSet<(Name, &'static str)>,
    is_full: bool,
    has_unknown: bool,
    has_removal: bool,
}

impl Said {
    /// What is wrong with the directory. Whether that is news.
    pub fn is_new_trouble(&mut self, sentence: &str) -> bool {
        let is_new = self.trouble.as_deref() != Some(sentence);
        self.trouble = Some(sentence.to_owned());
        is_new
    }

    /// What is wrong with it now, and why it is not read.
    pub fn complaint(&self) -> Option<String> {
        self.trouble.clone()
    }

    /// Nothing is wrong with it. Whether that is news.
    pub fn is_over(&mut self) -> bool {
        self.trouble.take().is_some()
    }

    /// This is wrong with a name. Whether that is news, and is to be told: not of more names than are remembered.
    pub fn is_new(&mut self, name: &OsStr, what: &'static str) -> bool {
        self.names.len() < NAMES_MAX && self.names.insert((kept(name), what))
    }

    /// So many names were complained of that no other is, and that is news.
    pub fn is_newly_full(&mut self) -> bool {
        self.names.len() >= NAMES_MAX && !std::mem::replace(&mut self.is_full, true)
    }

    /// The kernel does not tell who writes. Whether that is news.
    pub fn is_new_unknown(&mut self) -> bool {
        !std::mem::replace(&mut self.has_unknown, true)
    }

    /// Something cannot be removed. Whether that is news.
    pub fn is_new_removal(&mut self) -> bool {
        !std::mem::replace(&mut self.has_removal, true)
    }
}
