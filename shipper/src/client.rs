//! One request to the receiver, and what is told of how it answers.
//!
//! Connections are kept open between requests. Headers come from files, which are read again when the receiver does not
//! accept them, and on HUP. What the receiver answers is told when that has lasted for a while, or somebody has to change
//! a configuration, and once more when it is over; no line of any pipe is told apart.

use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::fmt::rfc2822;
use nix::errno::Errno;
use standpipe_common::clock;
use standpipe_common::error::Error;
use ureq::http::{HeaderMap, Response};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Body};

use crate::config::{Config, Header, HeaderFile};
use crate::verdict::{Answer, Verdict};

/// How long a connection may take to come about.
const CONNECT_SPAN: Duration = Duration::from_secs(10);
/// How long a whole request may take: a batch and its answer over a slow line.
const REQUEST_SPAN: Duration = Duration::from_secs(60);
/// How much of an answer is read.
const ANSWER_BYTES_MAX: u64 = 64 << 10;
/// How long a receiver may fail before that is said.
const PATIENCE_SPAN: Duration = Duration::from_secs(1);
/// The same is said again after this.
const REMINDER_SPAN: Duration = Duration::from_secs(600);
/// Who sends.
const SCOPE: &str = "standpipe";

/// What sends requests; shared by all turns.
pub struct Client {
    agent: Agent,
    url: String,
    version: &'static str,
    headers: Mutex<Vec<Header>>,
    failing: Mutex<Option<Failing>>,
    stopping: Arc<AtomicBool>,
}

/// The receiver has taken nothing for a while.
struct Failing {
    since: Instant,
    /// What was said of it, and when.
    said: Option<(String, Instant)>,
}

impl Client {
    /// For the receiver of this configuration. `stopping`: no request is to follow.
    pub fn new(config: &Config, stopping: Arc<AtomicBool>) -> Result<Client, Error> {
        let version = env!("CARGO_PKG_VERSION");
        let mut settings = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_global(Some(REQUEST_SPAN))
            .timeout_connect(Some(CONNECT_SPAN))
            .user_agent(format!("standpipe-shipper/{version}"));
        if config.url.starts_with("https:") {
            let roots = config.roots.load()?;
            let tls = TlsConfig::builder()
                .root_certs(RootCerts::Specific(Arc::new(roots)))
                .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()));
            settings = settings.tls_config(tls.build());
        }
        let headers = config.header_files.iter().map(HeaderFile::read).collect::<Result<Vec<_>, Error>>()?;
        Ok(Client {
            agent: settings.build().into(),
            url: config.url.clone(),
            version,
            headers: Mutex::new(headers),
            failing: Mutex::new(None),
            stopping,
        })
    }

    /// Name and version of who sends.
    pub fn scope(&self) -> (&str, &str) {
        (SCOPE, self.version)
    }

    /// Whether no request is to follow.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Reads the files of the headers again. One that cannot be used keeps its last value.
    pub fn read_headers(&self) {
        for header in lock(&self.headers).iter_mut() {
            match header.file.read() {
                Ok(fresh) => *header = fresh,
                Err(error) => log::error!("{error}; keeping the last value"),
            }
        }
    }

    /// Sends a body, compressed by gzip.
    pub fn send(&self, body: &[u8]) -> Answer {
        let mut request = self.agent.post(&self.url);
        request = request.header("Content-Type", "application/x-protobuf").header("Content-Encoding", "gzip");
        for header in lock(&self.headers).iter() {
            request = request.header(&header.file.name, &header.value);
        }
        let answer = match request.send(body) {
            Ok(response) => read(response),
            Err(error) => refused(&error),
        };
        if let Answer::Status { code: 401 | 403, .. } = answer {
            self.read_headers();
        }
        self.tell(&answer, Instant::now());
        answer
    }

    fn tell(&self, answer: &Answer, now: Instant) {
        let mut failing = lock(&self.failing);
        let Verdict::Again { is_misconfigured, .. } = answer.verdict() else {
            if let Some(Failing { since, said: Some(_) }) = failing.take() {
                log::info!("the receiver answers again after {} s", now.duration_since(since).as_secs());
            }
            return;
        };
        let state = failing.get_or_insert(Failing { since: now, said: None });
        let words = answer.words();
        let is_known = state.said.as_ref().is_some_and(|(said, at)| {
            (*said == words || now.duration_since(*at) < PATIENCE_SPAN) && now.duration_since(*at) < REMINDER_SPAN
        });
        if is_known || !is_misconfigured && now.duration_since(state.since) < PATIENCE_SPAN {
            return;
        }
        if is_misconfigured {
            log::error!(
                "{} rejects requests: {words}; check the configuration of shipper and of the receiver; nothing is sent \
                 until that is fixed",
                self.url
            );
        } else {
            log::warn!("{} accepts nothing: {words}; retrying", self.url);
        }
        state.said = Some((words, now));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read(response: Response<Body>) -> Answer {
    let (head, body) = response.into_parts();
    let mut bytes = Vec::new();
    let read = body.into_reader().take(ANSWER_BYTES_MAX).read_to_end(&mut bytes);
    match read {
        // Whether it has the batch is in the head; of a refusal the rest is words.
        Err(error) if head.status.is_success() => {
            Answer::None { cause: format!("answer cut off: {error}"), is_misconfigured: false }
        }
        _ => Answer::Status { code: head.status.as_u16(), retry_after: retry_after(&head.headers), body: bytes },
    }
}

/// The span that `Retry-After` says, or until the moment that it says.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("retry-after")?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let then: Timestamp = rfc2822::parse(text).ok()?.timestamp();
    let ns = then.as_nanosecond().saturating_sub(i128::from(clock::now_ns()));
    Some(Duration::from_nanos(u64::try_from(ns).unwrap_or(0)))
}

/// Why there is no answer.
fn refused(error: &ureq::Error) -> Answer {
    let (cause, is_misconfigured) = match error {
        ureq::Error::Io(error) => match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(error) => (certificate(error), true),
            None => (
                error.raw_os_error().map_or_else(|| error.to_string(), |n| Errno::from_raw(n).desc().to_owned()),
                false,
            ),
        },
        ureq::Error::Rustls(error) => (certificate(error), true),
        ureq::Error::HostNotFound => ("host not found".to_owned(), false),
        ureq::Error::Timeout(_) => ("no answer in time".to_owned(), false),
        error => (error.to_string(), false),
    };
    Answer::None { cause, is_misconfigured }
}

fn certificate(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(cause) => {
            format!("its certificate is refused: {cause}; give the certificate of its authority with `roots`")
        }
        error => format!("TLS failed: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_a_span_or_a_moment() {
        let asked = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("retry-after", text.parse().unwrap());
            retry_after(&headers)
        };
        assert_eq!(asked("120"), Some(Duration::from_secs(120)));
        assert_eq!(asked(" 0 "), Some(Duration::ZERO));
        assert_eq!(asked("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::ZERO), "it has passed");
        let later = asked("Fri, 31 Dec 2100 23:59:59 GMT").unwrap();
        assert!(later > Duration::from_secs(3600 * 24 * 365), "{later:?}");
        for text in ["soon", "-1", "", "1.5"] {
            assert_eq!(asked(text), None, "{text}");
        }
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }
}
