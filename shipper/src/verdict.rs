//! What an answer means for the batch that was sent: a pure table, by the specification of OTLP and what this program
//! promises on top of it: nothing is ever given up for time or number of tries.
//!
//! | answer | the batch |
//! |---|---|
//! | 2xx | is taken; lines that a partial success counts as rejected are refused for ever, by the protocol |
//! | 400, 413 | is halved, down to one line, which is refused |
//! | 408, 429, 5xx, none at all | is sent again |
//! | any other | the same, and it is a mistake in the configuration |

use std::time::Duration;

use crate::otlp::{PartialSuccess, status_message};

/// An answer, or why there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The receiver answered.
    Status {
        /// Its status.
        code: u16,
        /// The span that `Retry-After` asks for.
        retry_after: Option<Duration>,
        /// The beginning of its body.
        body: Vec<u8>,
    },
    /// Nobody answered.
    None {
        /// Why.
        cause: String,
        /// Somebody has to change the configuration, here or there.
        is_misconfigured: bool,
    },
}

/// What becomes of the batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The receiver has it.
    Taken {
        /// Lines that it rejected, and why.
        refused: Option<(u64, String)>,
    },
    /// A part of it may be taken.
    Halve,
    /// It is sent again.
    Again {
        /// Not before.
        after: Option<Duration>,
        /// Somebody has to change the configuration, here or there.
        is_misconfigured: bool,
    },
}

impl Answer {
    /// What becomes of the batch.
    pub fn verdict(&self) -> Verdict {
        let (code, retry_after, body) = match self {
            Answer::Status { code, retry_after, body } => (code, retry_after, body),
            Answer::None { is_misconfigured, .. } => {
                return Verdict::Again { after: None, is_misconfigured: *is_misconfigured };
            }
        };
        match code {
            200..=299 => {
                let partial = PartialSuccess::decode(body).filter(|partial| partial.rejected > 0);
                Verdict::Taken { refused: partial.map(|partial| (partial.rejected, partial.message)) }
            }
            400 | 413 => Verdict::Halve,
            408 | 429 | 500..=599 => Verdict::Again { after: *retry_after, is_misconfigured: false },
            _ => Verdict::Again { after: *retry_after, is_misconfigured: true },
        }
    }

    /// The same in words: `503 Service Unavailable: queue is full`.
    pub fn words(&self) -> String {
        match self {
            Answer::None { cause, .. } => cause.clone(),
            Answer::Status { code, body, .. } => {
                let name = name_of(*code).map(|name| format!(" {name}")).unwrap_or_default();
                let message = if (200..300).contains(code) { None } else { status_message(body) };
                format!("{code}{name}{}", message.map(|message| format!(": {message}")).unwrap_or_default())
            }
        }
    }
}

fn name_of(code: u16) -> Option<&'static str> {
    Some(match code {
        200 => "OK",
        202 => "Accepted",
        204 => "No Content",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        413 => "Content Too Large",
        415 => "Unsupported Media Type",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(code: u16, body: &[u8]) -> Answer {
        Answer::Status { code, retry_after: Some(Duration::from_secs(7)), body: body.to_vec() }
    }

    #[test]
    fn each_status_has_one_meaning() {
        let after = Some(Duration::from_secs(7));
        let again = Verdict::Again { after, is_misconfigured: false };
        let mistake = Verdict::Again { after, is_misconfigured: true };
        let taken = Verdict::Taken { refused: None };
        for (codes, verdict) in [
            (&[200, 202, 204, 299][..], &taken),
            (&[400, 413], &Verdict::Halve),
            (&[408, 429, 500, 501, 502, 503, 504, 599], &again),
            (&[301, 308, 401, 403, 404, 405, 415, 100, 600], &mistake),
        ] {
            for code in codes {
                assert_eq!(answer(*code, b"").verdict(), *verdict, "{code}");
            }
        }
        for is_misconfigured in [false, true] {
            let none = Answer::None { cause: "Connection refused".to_owned(), is_misconfigured };
            assert_eq!(none.verdict(), Verdict::Again { after: None, is_misconfigured });
        }
    }

    #[test]
    fn a_partial_success_counts_what_was_rejected() {
        // partial_success { rejected_log_records: 3, error_message: "too old" }
        let body = [0x0A, 11, 0x08, 3, 0x12, 7, b't', b'o', b'o', b' ', b'o', b'l', b'd'];
        assert_eq!(answer(200, &body).verdict(), Verdict::Taken { refused: Some((3, "too old".to_owned())) });
        // A warning alone rejects nothing.
        assert_eq!(answer(200, &[0x0A, 4, 0x12, 2, b'h', b'i']).verdict(), Verdict::Taken { refused: None });
        assert_eq!(answer(200, b"{}").verdict(), Verdict::Taken { refused: None });
    }

    #[test]
    fn an_answer_is_shown_with_the_message_in_it() {
        // google.rpc.Status { code: 8, message: "full" }
        assert_eq!(answer(503, &[0x08, 8, 0x12, 4, b'f', b'u', b'l', b'l']).words(), "503 Service Unavailable: full");
        assert_eq!(answer(429, b"slow down\n").words(), "429 Too Many Requests: slow down");
        assert_eq!(answer(299, b"x").words(), "299");
        assert_eq!(answer(500, b"").words(), "500 Internal Server Error");
        assert_eq!(answer(502, &[0xFF, 0, 1]).words(), "502 Bad Gateway");
    }
}
