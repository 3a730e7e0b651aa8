//! The value of `sync`: what is made durable, and when, before there is an archive.

use std::time::Duration;

use crate::units::{Span, Value, parses_as_value};

/// Shortest span: an fsync can take that long by itself.
const SPAN_MIN: Duration = Duration::from_millis(100);

parses_as_value!(Durability);

/// What is made durable before there is an archive, which always is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Nothing.
    None,
    /// Sealed segments that stay plain, or for which the archive is late.
    Seal,
    /// These, and the segment that is written, so often; at least 100 ms.
    Every(Duration),
}

impl Value for Durability {
    const EXPECTED: &'static str = "\"none\", \"seal\" or a span such as \"10s\"";

    fn from_text(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Durability::None),
            "seal" => Ok(Durability::Seal),
            _ => match Span::from_text(text).map_err(|refusal| format!("{refusal}; or none, or seal"))? {
                span if span.0 < SPAN_MIN => Err(format!("{span} is too short: write 100ms or more, none, or seal")),
                span => Ok(Durability::Every(span.0)),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_or_what_is_sealed_or_all_within_a_span() {
        for (text, value) in [
            ("none", Durability::None),
            ("seal", Durability::Seal),
            ("100ms", Durability::Every(SPAN_MIN)),
            ("1m", Durability::Every(Duration::from_secs(60))),
        ] {
            assert_eq!(text.parse(), Ok(value));
        }
        for (text, complaint) in
            [("99ms", "100ms or more"), ("always", "or seal"), ("5", "5 has no unit"), ("", "or seal")]
        {
            let refusal = text.parse::<Durability>().unwrap_err();
            assert!(refusal.contains(complaint), "{text}: {refusal}");
        }
    }
}
