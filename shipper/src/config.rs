//! What is sent where: a file in TOML, and the flags that count before it.
//!
//! ```toml
//! logs = "/var/log/standpipe"
//! url = "https://collector.example:4318"
//! pipes = ["nginx-*", "app"]
//!
//! [header_files]
//! Authorization = "/etc/standpipe/otlp-authorization"
//! ```
//! Invariants: a [`Config`] can be used as it is; a mistake is told with file, line, caret and what is allowed. No secret
//! stands in it: headers come from files that nobody else can read.

use std::collections::BTreeMap;
use std::env;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf, absolute};
use std::str::FromStr;
use std::time::Duration;

use glob::Pattern;
use serde::Deserialize;
use standpipe_common::config_text::{self, Flaw};
use standpipe_common::cursor::Receiver;
use standpipe_common::error::{Cannot, Error};
use standpipe_common::units::{ByteSize, Span};
use standpipe_common::way::{self, Use};
use standpipe_reader::logs::log_root::LogRoot;
use toml::Spanned;
use ureq::http::{HeaderName, HeaderValue, Uri};
use ureq::tls::{Certificate, PemItem, parse_pem};

use crate::cli::Cli;

/// Most bytes of a configuration file.
const FILE_BYTES_MAX: u64 = 256 << 10;
/// Most bytes of the file of a header.
const HEADER_BYTES_MAX: u64 = 16 << 10;
/// Most bytes of a file of certificates.
const ROOTS_BYTES_MAX: u64 = 16 << 20;
/// What OTLP appends to the address of a receiver.
const USUAL_PATH: &str = "/v1/logs";
/// Where systems keep the certificates that they trust.
const SYSTEM_ROOTS: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];
/// The variable of OpenSSL that names another such file.
const ROOTS_VARIABLE: &str = "SSL_CERT_FILE";
/// The variable that names the log root for the commands of reader.
const LOGS_VARIABLE: &str = "STANDPIPE_LOGS";
/// How long lines wait for others at most.
const LINGER_MAX: Duration = Duration::from_secs(3600);
/// How large a batch may be: memory is as large.
const BATCH_BYTES: std::ops::RangeInclusive<u64> = 4 << 10..=8 << 20;
/// Headers that are ours to say.
const OWN_HEADERS: [&str; 6] =
    ["content-type", "content-encoding", "content-length", "transfer-encoding", "host", "connection"];

/// A checked configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// The log root, or a log directory.
    pub logs: PathBuf,
    /// Where requests go.
    pub url: String,
    /// What its cursors are called by.
    pub receiver: Receiver,
    /// Which pipes are sent: those that match one of them.
    pub pipes: Vec<Pattern>,
    /// What each request carries besides.
    pub header_files: Vec<HeaderFile>,
    /// Whose certificates are believed.
    pub roots: Roots,
    /// How long lines wait for others.
    pub linger: Duration,
    /// About how many bytes of lines a request has.
    pub batch: u64,
}

/// A header, and the file that has its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderFile {
    /// Its name.
    pub name: HeaderName,
    path: PathBuf,
}

/// A header.
#[derive(Clone, Debug)]
pub struct Header {
    /// Where it comes from.
    pub file: HeaderFile,
    /// What it says.
    pub value: HeaderValue,
}

/// Whose certificates are believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Roots {
    /// Those that the system trusts.
    System,
    /// Those in this file.
    File(PathBuf),
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Raw {
    logs: Option<PathBuf>,
    url: Option<Spanned<String>>,
    name: Option<Spanned<String>>,
    pipes: Option<Vec<Spanned<String>>>,
    roots: Option<PathBuf>,
    linger: Option<Spanned<Span>>,
    batch: Option<Spanned<ByteSize>>,
    header_files: BTreeMap<String, Spanned<PathBuf>>,
}

impl Config {
    /// What the command line asks for, and the file that it names, with all that is wrong with them. `None`: nothing is
    /// known of it; else what is not wrong.
    pub fn load(cli: &Cli) -> (Option<Config>, Vec<String>) {
        let (file, text) = match cli.config.as_deref().map(|path| (path, read(path))) {
            Some((_, Err(sentence))) => return (None, vec![sentence]),
            Some((path, Ok(text))) => (path, text),
            None => (Path::new(""), String::new()),
        };
        let parse = |text: &str| toml::from_str(text).map_err(Flaw::from).and_then(|raw| check(raw, file));
        let (config, flaws) = config_text::read_all(&text, parse);
        let mut mistakes: Vec<String> = flaws.iter().map(|flaw| flaw.sentence(file, &text)).collect();
        // A line with a mistake may have said what is missing.
        let is_whole = mistakes.is_empty();
        let config = config.map(|mut config| {
            config.apply(cli, &mut mistakes);
            if is_whole && config.url.is_empty() && cli.otlp.is_none() {
                mistakes.push(format!("no receiver: give --otlp URL, or set url in {}", file.to_string_lossy()));
            }
            if is_whole && config.logs.as_os_str().is_empty() {
                config.logs = usual_logs().unwrap_or_else(|sentence| {
                    mistakes.push(sentence);
                    PathBuf::new()
                });
            }
            config
        });
        (config, mistakes)
    }

    fn apply(&mut self, cli: &Cli, mistakes: &mut Vec<String>) {
        match cli.otlp.as_ref().map(|url| (url, checked_url(url))) {
            Some((_, Ok(url))) => self.url = url,
            Some((url, Err(cause))) => mistakes.push(format!("cannot use --otlp {url}: {cause}")),
            None => {}
        }
        if let Some(name) = &cli.name {
            self.receiver = name.clone();
        }
        if let Some(logs) = &cli.logs {
            self.logs.clone_from(logs);
        }
    }

    /// What of the files that it names cannot be used.
    pub fn unreadable(&self) -> Vec<Error> {
        let headers = self.header_files.iter().filter_map(|file| file.read().err());
        // Whoever sends in the clear needs none, unless a file is named.
        let needs_roots = self.url.starts_with("https://") || self.roots != Roots::System;
        headers.chain(needs_roots.then(|| self.roots.load().err()).flatten()).collect()
    }
}

/// The log root where neither the command line nor a file names one.
fn usual_logs() -> Result<PathBuf, String> {
    if let Some(logs) = env::var_os(LOGS_VARIABLE) {
        return Ok(logs.into());
    }
    let found = LogRoot::find(None);
    found.map(|root| root.path).map_err(|_| "no log root: give LOGS, or set `logs` in a file for --config".to_owned())
}

fn read(path: &Path) -> Result<String, String> {
    let bytes = config_text::read(path, FILE_BYTES_MAX).map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    match config_text::not_utf8(&bytes) {
        Some(flaw) => Err(flaw.sentence(path, &text)),
        None => Ok(text),
    }
}

fn check(raw: Raw, file: &Path) -> Result<Config, Flaw> {
    let beside = |path: PathBuf| {
        let file = absolute(file).unwrap_or_else(|_| file.to_path_buf());
        file.parent().map_or(path.clone(), |dir| dir.join(path))
    };
    let pipes = raw.pipes.unwrap_or_else(|| vec![Spanned::new(0..0, "*".to_owned())]);
    let linger = raw.linger.unwrap_or_else(|| Spanned::new(0..0, Span(Duration::from_secs(1))));
    let batch = raw.batch.unwrap_or_else(|| Spanned::new(0..0, ByteSize(1 << 20)));
    Ok(Config {
        logs: raw.logs.map(&beside).unwrap_or_default(),
        url: raw.url.map(|url| at(&url, |url| checked_url(url))).transpose()?.unwrap_or_default(),
        receiver: match raw.name {
            Some(name) => at(&name, |name| Receiver::from_str(name))?,
            None => "otlp".parse().expect("a name"),
        },
        pipes: pipes.iter().map(|pipe| at(pipe, |pipe| pattern(pipe))).collect::<Result<_, _>>()?,
        header_files: raw
            .header_files
            .into_iter()
            .map(|(name, path)| at(&path, |path| header_file(&name, beside(path.clone()))))
            .collect::<Result<_, _>>()?,
        roots: raw.roots.map_or(Roots::System, |path| Roots::File(beside(path))),
        linger: at(&linger, |span| match span.0 {
            span if span <= LINGER_MAX => Ok(span),
            _ => Err(format!("{span} is too long: write 1h or less")),
        })?,
        batch: at(&batch, |size| match size.0 {
            bytes if BATCH_BYTES.contains(&bytes) => Ok(bytes),
            _ => Err(format!("{size} is out of range: write 4KiB to 8MiB")),
        })?,
    })
}

fn at<T, C>(value: &Spanned<T>, checked: impl FnOnce(&T) -> Result<C, String>) -> Result<C, Flaw> {
    checked(value.get_ref()).map_err(|message| Flaw { message, span: value.span() })
}

fn pattern(text: &str) -> Result<Pattern, String> {
    Pattern::new(text).map_err(|error| format!("`{text}` is not a pattern: {}", error.msg))
}

/// The whole address that requests go to.
fn checked_url(text: &str) -> Result<String, String> {
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err("not a URL: write http://HOST:PORT or https://HOST:PORT".to_owned());
    };
    if !["http", "https"].contains(&scheme) {
        return Err(format!("unknown scheme {scheme}: write http:// or https://"));
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return Err("user and password do not belong in a URL: give an Authorization header in header_files".to_owned());
    }
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    if host.is_empty() || authority.is_empty() {
        return Err(format!("no host: write {scheme}://HOST:PORT"));
    }
    if text.contains('#') {
        return Err("a fragment (#) has no meaning for a receiver".to_owned());
    }
    let uri: Uri = text.parse().map_err(|error| format!("not a URL: {error}"))?;
    if uri.authority().is_some_and(|authority| authority.as_str().ends_with(':') || port_is_odd(authority.as_str())) {
        return Err("not a port: write a number from 1 to 65535 after the colon".to_owned());
    }
    match (uri.path(), uri.query()) {
        ("/" | "", None) => Ok(format!("{scheme}://{authority}{USUAL_PATH}")),
        _ => Ok(text.to_owned()),
    }
}

fn port_is_odd(authority: &str) -> bool {
    let port = authority.rsplit_once(':').map(|(_, port)| port).filter(|port| !port.ends_with(']'));
    port.is_some_and(|port| port.parse::<u16>().map_or(true, |port| port == 0))
}

fn header_file(name: &str, path: PathBuf) -> Result<HeaderFile, String> {
    let known: HeaderName = name.parse().map_err(|_| format!("`{name}` is not the name of a header"))?;
    if OWN_HEADERS.contains(&known.as_str()) {
        return Err(format!("shipper sets {name} itself: remove it"));
    }
    Ok(HeaderFile { name: known, path })
}

impl HeaderFile {
    /// Reads the header.
    ///
    /// # Errors
    /// Others can read it too, or it is not one line of text.
    pub fn read(&self) -> Result<Header, Error> {
        let refuse = |cause: &str| Err(Error::because("use header file", &self.path, cause));
        let looked = way::open(&self.path, Use::Read).cannot("read header file", &self.path)?;
        let mode = looked.metadata().mode();
        if mode & 0o007 != 0 {
            return refuse(&format!("everybody can read it (mode {:04o}); run chmod o= on it", mode & 0o7777));
        }
        let bytes = config_text::read(&self.path, HEADER_BYTES_MAX)?;
        let Some(mut value) = HeaderValue::from_bytes(bytes.trim_ascii()).ok().filter(|value| !value.is_empty()) else {
            return refuse("it has to be one line, the value of the header");
        };
        value.set_sensitive(true);
        Ok(Header { file: self.clone(), value })
    }
}

impl Roots {
    /// Reads the certificates.
    ///
    /// # Errors
    /// There are none.
    pub fn load(&self) -> Result<Vec<Certificate<'static>>, Error> {
        let path = match self {
            Roots::File(path) => path.clone(),
            Roots::System => {
                let named = env::var_os(ROOTS_VARIABLE).map(PathBuf::from);
                let found = named.into_iter().chain(SYSTEM_ROOTS.map(PathBuf::from)).find(|path| path.exists());
                found.unwrap_or_else(|| SYSTEM_ROOTS[0].into())
            }
        };
        let bytes = config_text::read(&path, ROOTS_BYTES_MAX)?;
        let items = parse_pem(&bytes).filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        });
        let roots: Vec<_> = items.collect();
        if roots.is_empty() {
            return Err(Error::because("use certificates of", path, "it contains no PEM certificate"));
        }
        Ok(roots)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn parsed(text: &str) -> Result<Config, String> {
        let checked = toml::from_str(text).map_err(Flaw::from).and_then(|raw| check(raw, Path::new("/etc/s.toml")));
        checked.map_err(|flaw| flaw.shown_in(text))
    }

    #[test]
    fn a_file_says_all_that_there_is_to_say() {
        let config = parsed(
            "logs = \"logs\"\nurl = \"https://h:4318\"\nname = \"loki\"\npipes = [\"a-*\", \"b\"]\nroots = \"ca.pem\"\n\
             linger = \"500ms\"\nbatch = \"256KiB\"\n[header_files]\nAuthorization = \"token\"\n",
        )
        .unwrap();
        assert_eq!(config.url, "https://h:4318/v1/logs");
        assert_eq!((config.logs, config.receiver.to_string()), ("/etc/logs".into(), "loki".to_owned()));
        assert_eq!((config.linger, config.batch), (Duration::from_millis(500), 256 << 10));
        assert_eq!(config.roots, Roots::File("/etc/ca.pem".into()));
        let header = HeaderFile { name: "authorization".parse().unwrap(), path: "/etc/token".into() };
        assert_eq!(config.header_files, [header]);
        assert!(config.pipes[0].matches("a-1") && !config.pipes[0].matches("b"));
        let usual = parsed("").unwrap();
        assert_eq!((usual.linger, usual.batch, usual.roots), (Duration::from_secs(1), 1 << 20, Roots::System));
        assert!(usual.pipes[0].matches("anything") && usual.receiver.to_string() == "otlp");
    }

    #[test]
    fn a_mistake_is_shown_with_its_line_and_what_is_allowed() {
        for (text, place, sentence) in [
            ("url = \"ftp://h\"", "line 1, column 7", "unknown scheme ftp: write http:// or https://"),
            ("\nurl = \"http://\"", "line 2, column 7", "no host: write http://HOST:PORT"),
            ("url = \"http://:4318\"", "line 1", "no host"),
            ("url = \"http:///v1/logs\"", "line 1", "no host"),
            ("url = \"collector:4318\"", "line 1", "not a URL: write http://HOST:PORT"),
            ("url = \"http://u:p@h\"", "line 1", "header_files"),
            ("url = \"http://h:0\"", "line 1", "1 to 65535"),
            ("url = \"http://h:99999\"", "line 1", "1 to 65535"),
            ("url = \"http://h#x\"", "line 1", "fragment"),
            ("urls = \"x\"", "line 1, column 1", "unknown key `urls`, expected one of"),
            ("name = \"A b\"", "line 1, column 8", "is not a receiver's name"),
            ("pipes = [\"a\", \"[\"]", "line 1, column 15", "is not a pattern"),
            ("linger = \"2h\"", "line 1, column 10", "write 1h or less"),
            ("linger = \"1\"", "line 1, column 10", "1 has no unit"),
            ("batch = \"1GiB\"", "line 1, column 9", "write 4KiB to 8MiB"),
            ("batch = \"1MB\"", "line 1, column 9", "1000 or 1024?"),
            ("[header_files]\n\"a b\" = \"f\"", "line 2, column 9", "is not the name of a header"),
            ("[header_files]\nHost = \"f\"", "line 2, column 8", "shipper sets Host itself: remove it"),
        ] {
            let refusal = parsed(text).unwrap_err();
            assert!(refusal.starts_with(place) && refusal.contains(sentence), "{text}: {refusal}");
        }
    }

    #[test]
    fn the_usual_path_is_added_where_there_is_none() {
        for (text, url) in [
            ("http://h", "http://h/v1/logs"),
            ("https://h:4318/", "https://h:4318/v1/logs"),
            ("http://[::1]:4318", "http://[::1]:4318/v1/logs"),
            ("http://h/otlp/v1/logs", "http://h/otlp/v1/logs"),
            ("http://h/insert?x=1", "http://h/insert?x=1"),
        ] {
            assert_eq!(checked_url(text), Ok(url.to_owned()));
        }
    }

    #[test]
    fn a_header_is_one_line_that_nobody_else_can_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let file = header_file("Authorization", path.clone()).unwrap();
        let said = |content: &[u8], mode| {
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            file.read().map(|header| header.value.to_str().unwrap().to_owned()).map_err(|error| error.to_string())
        };
        assert_eq!(said(b"Bearer abc\n", 0o640), Ok("Bearer abc".to_owned()));
        for (content, mode, sentence) in [
            (&b"Bearer abc\n"[..], 0o644, "everybody can read it (mode 0644)"),
            (b"a\nb\n", 0o600, "has to be one line"),
            (b"\n", 0o600, "has to be one line"),
        ] {
            let refusal = said(content, mode).unwrap_err();
            assert!(refusal.starts_with("cannot use header file ") && refusal.contains(sentence), "{refusal}");
        }
        fs::remove_file(&path).unwrap();
        assert!(file.read().unwrap_err().to_string().starts_with("cannot read header file "));
    }
}
