//! When a metrics file is written: every 15 s while the program's loop goes round, and once more when it ends.
//!
//! A thread of its own writes, so that a file system that hangs delays nobody. The loop gives it the sign for each page:
//! so a program that hangs lets its file grow old, which is what an alert looks for. A file that cannot be written is one
//! line until something else is wrong with it, or nothing.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use super::Page;
use super::file::MetricsFile;
use crate::clock;
use crate::error::{Cannot, Result};
use crate::retry::Once;
use crate::shown::Shown as _;

/// Between two pages.
pub const SPAN: Duration = Duration::from_secs(15);
const SPAN_NS: i64 = SPAN.as_nanos() as i64;
/// How long the last page may take.
const LAST_SPAN: Duration = Duration::from_millis(500);

/// What is to be said of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// It cannot be written.
    Fails(String),
    /// It is written again.
    Works(String),
}

/// Makes a page; `is_up`: the program goes on.
pub trait Render: Fn(bool) -> Page + Send + 'static {}
impl<F: Fn(bool) -> Page + Send + 'static> Render for F {}

/// The loop's side. When it is dropped the last page is written, if that can be done soon.
#[derive(Debug)]
pub struct Exporter {
    /// `None`: the program ends.
    sign: Option<SyncSender<()>>,
    over: Receiver<()>,
    next: Instant,
    last_ns: i64,
}

impl Exporter {
    /// Starts the thread, with the rights of this one; the first page is due at once. `path` is absolute.
    ///
    /// # Errors
    /// There can be no thread.
    pub fn start(path: PathBuf, render: impl Render, tell: impl FnMut(Told) + Send + 'static) -> Result<Exporter> {
        let (sign, signs) = sync_channel(1);
        let (end, over) = channel();
        let shown = path.clone();
        let writer = PageWriter { file: MetricsFile::new(path), render, tell, failure: Once::default() };
        let work = move || writer.work(&signs, end);
        thread::Builder::new()
            .name("metrics".to_owned())
            .spawn(work)
            .cannot("start a thread for metrics file", shown)?;
        Ok(Exporter { sign: Some(sign), over, next: Instant::now(), last_ns: clock::now_ns() })
    }

    /// When the loop must come round at the latest.
    pub fn due(&self) -> Instant {
        self.next
    }

    /// Has a page written, if one is due. One that is still being written is not waited for.
    pub fn turn(&mut self, now: Instant) {
        let is_due = now >= self.next || clock::is_test() && clock::now_ns() - self.last_ns >= SPAN_NS;
        if let Some(sign) = self.sign.as_ref().filter(|_| is_due) {
            (self.next, self.last_ns) = (now + SPAN, clock::now_ns());
            sign.try_send(()).ok();
        }
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        self.sign = None;
        // Nothing is ever sent: the thread's end ends the wait.
        self.over.recv_timeout(LAST_SPAN).ok();
    }
}

struct PageWriter<R, T> {
    file: MetricsFile,
    render: R,
    tell: T,
    /// What was said last, while it lasts.
    failure: Once<String>,
}

impl<R: Render, T: FnMut(Told)> PageWriter<R, T> {
    /// `end` goes when this returns.
    fn work(mut self, signs: &Receiver<()>, end: Sender<()>) {
        while signs.recv().is_ok() {
            self.write(true);
        }
        self.write(false);
        drop(end);
    }

    fn write(&mut self, is_up: bool) {
        let written = self.file.replace(&(self.render)(is_up).into_text());
        if let Some(told) = news(&mut self.failure, written, self.file.path()) {
            (self.tell)(told);
        }
    }
}

/// What is to be said after a page, where `said` was said before.
fn news(said: &mut Once<String>, written: Result<()>, path: &Path) -> Option<Told> {
    match written {
        Ok(()) => said.end().then(|| Told::Works(format!("metrics file {} is written again", path.shown()))),
        Err(error) => {
            let sentence = error.to_string();
            said.is_news(sentence.clone()).then(|| Told::Fails(format!("{sentence}; continuing without it")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use std::fs;
    use std::sync::mpsc;

    #[test]
    fn a_failure_is_news_once_and_its_end_once() {
        let mut said = Once::default();
        let failure = |cause: &str| Err(Error::because("write", "/x", cause));
        let fails = |cause: &str| Some(Told::Fails(format!("cannot write /x: {cause}; continuing without it")));
        let mut of = |written| news(&mut said, written, Path::new("/x"));
        assert_eq!(of(Ok(())), None);
        assert_eq!(of(failure("no room")), fails("no room"));
        assert_eq!(of(failure("no room")), None);
        assert_eq!(of(failure("I/O")), fails("I/O"));
        assert_eq!(of(Ok(())), Some(Told::Works("metrics file /x is written again".to_owned())));
        assert_eq!(of(Ok(())), None);
    }

    #[test]
    fn the_first_page_comes_at_once_and_the_last_at_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.prom");
        let (said, saying) = mpsc::channel();
        let render = move |is_up| {
            said.send(is_up).unwrap();
            Page::default()
        };
        let mut exporter = Exporter::start(path.clone(), render, |told| panic!("{told:?}")).unwrap();
        exporter.turn(exporter.due());
        assert_eq!(saying.recv(), Ok(true));
        drop(exporter);
        assert_eq!(saying.recv(), Ok(false));
        assert!(saying.recv().is_err() && fs::metadata(path).is_ok());
    }
}
