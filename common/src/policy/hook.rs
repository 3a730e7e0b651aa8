//! The values of `hook` and `hook_timeout`.
//!
//! Invariant: an argument vector as `execve` takes it. Whether the program is there is found out when it is run.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use serde::de::{Deserializer, SeqAccess, Visitor};

use crate::units::{Span, Value, parses_as_value};

/// Shortest and longest `hook_timeout`.
const TIMEOUT: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(24 * 60 * 60));

parses_as_value!(HookArg, HookTimeout);

/// One word of a hook: the program, or an argument of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookArg(pub String);

impl Value for HookArg {
    const EXPECTED: &'static str = "a list of words such as [\"/usr/local/bin/upload\", \"--quiet\"]";

    fn from_text(text: &str) -> Result<Self, String> {
        if text.contains('\0') {
            return Err("an argument cannot contain a NUL byte".to_string());
        }
        Ok(HookArg(text.to_string()))
    }
}

/// The words of a hook in a policy file. One string is refused with the list that is wanted: no shell takes it apart.
pub(super) fn words<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<HookArg>>, D::Error> {
    deserializer.deserialize_any(WordsVisitor).map(Some)
}

struct WordsVisitor;

impl<'de> Visitor<'de> for WordsVisitor {
    type Value = Vec<HookArg>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HookArg::EXPECTED)
    }

    fn visit_str<E: serde::de::Error>(self, _text: &str) -> Result<Vec<HookArg>, E> {
        Err(E::custom(format!("hooks run without a shell: write {}", HookArg::EXPECTED)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<HookArg>, A::Error> {
        let mut words = Vec::new();
        while let Some(word) = list.next_element()? {
            words.push(word);
        }
        Ok(words)
    }
}

/// A program and its arguments; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook(pub Vec<String>);

impl Hook {
    /// From the words of a policy; none is no hook.
    pub fn from_words(words: &[HookArg]) -> Option<Hook> {
        (!words.is_empty()).then(|| Hook(words.iter().map(|word| word.0.clone()).collect()))
    }
}

/// A program that is named by a relative path starts at the directory of the file that names it; one without a `/` is
/// looked for on the PATH.
pub(super) fn beside(file: &Path, words: &mut [HookArg]) {
    if let Some(program) = words.first_mut()
        && program.0.contains('/')
        && let Some(path) = file.parent().unwrap_or(Path::new("")).join(&program.0).to_str()
    {
        // A bare name would be looked for on the PATH.
        program.0 = if path.contains('/') { path.to_string() } else { format!("./{path}") };
    }
}

/// How long a hook may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HookTimeout(pub Duration);

impl Value for HookTimeout {
    const EXPECTED: &'static str = "a span from \"100ms\" to \"1d\"";

    fn from_text(text: &str) -> Result<Self, String> {
        let span = Span::from_text(text)?;
        if span.0 < TIMEOUT.0 || span.0 > TIMEOUT.1 {
            return Err(format!("{span} is out of range: write 100ms to 1d"));
        }
        Ok(HookTimeout(span.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relative_program_starts_at_its_file() {
        for (program, file, found) in [
            ("./upload", "/etc/pipes.d/app.toml", "/etc/pipes.d/./upload"),
            ("../bin/upload", "pipes.d/app.toml", "pipes.d/../bin/upload"),
            ("/bin/upload", "/etc/pipes.d/app.toml", "/bin/upload"),
            ("upload", "/etc/pipes.d/app.toml", "upload"),
        ] {
            let mut words = [HookArg(program.to_string()), HookArg("a/b".to_string())];
            beside(Path::new(file), &mut words);
            assert_eq!((words[0].0.as_str(), words[1].0.as_str()), (found, "a/b"));
        }
    }

    #[test]
    fn a_timeout_is_a_span_that_a_program_may_need() {
        assert_eq!("5m".parse(), Ok(HookTimeout(Duration::from_secs(300))));
        for text in ["0s", "99ms", "25h", "5", "off"] {
            assert!(text.parse::<HookTimeout>().is_err(), "{text}");
        }
        assert!("a\0b".parse::<HookArg>().is_err());
        assert_eq!(Hook::from_words(&[]), None);
    }

    #[test]
    fn a_hook_in_one_string_is_refused_with_the_list_that_is_wanted() {
        let refusal = toml::from_str::<crate::policy::Raw>("hook = \"upload --quiet\"").unwrap_err().to_string();
        assert!(refusal.contains("hooks run without a shell: write a list of words such as ["), "{refusal}");
        assert!(toml::from_str::<crate::policy::Raw>("hook = [\"upload\", \"--quiet\"]").is_ok());
    }
}
