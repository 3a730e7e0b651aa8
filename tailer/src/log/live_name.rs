//! The name that is followed: who had it last, since when nobody has it, and why nothing can be read there.
//!
//! Invariants: what is wrong is said once, and that it is over only if it was said; while nothing has the name, no refusal
//! of what had it counts.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use standpipe_common::retry::Once;

use crate::file::identity::Identity;
use crate::file::open::Refusal;
use crate::log::happening::Happening;
use crate::log::notes::Notes;
use crate::log::settings::Settings;
use crate::log::trouble::Trouble;

/// How long a live name may be missing before it is said: a rotation that creates no new file leaves such a gap.
const MISSING_MAX: Duration = Duration::from_secs(3);

/// The name of a log.
#[derive(Debug)]
pub struct LiveName {
    path: PathBuf,
    had: Had,
    missing_since: Option<Instant>,
    trouble: Option<Trouble>,
    /// The error that was told, until the file is there again.
    said: Option<Errno>,
    refused: Option<Refusal>,
    /// It is a mount of its own.
    mount: Once<()>,
}

/// Who was the last to have it.
#[derive(Clone, Copy, Debug)]
enum Had {
    Nobody,
    /// A file that had lost it again before this run.
    Somebody,
    File(Identity),
}

impl LiveName {
    /// Nobody looked there yet.
    pub fn new(path: PathBuf) -> LiveName {
        LiveName {
            path,
            had: Had::Nobody,
            missing_since: None,
            trouble: None,
            said: None,
            refused: None,
            mount: Once::default(),
        }
    }

    /// What is followed.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Which file was the last to have it.
    pub fn last(&self) -> Option<Identity> {
        if let Had::File(file) = self.had { Some(file) } else { None }
    }

    /// Whether nothing has it.
    pub fn is_away(&self) -> bool {
        self.missing_since.is_some()
    }

    /// Whether what has it is not read.
    pub fn is_refused(&self) -> bool {
        self.refused.is_some()
    }

    /// Whether it is a mount of its own.
    pub fn is_mount(&self) -> bool {
        self.mount.current().is_some()
    }

    /// What a checkpoint says.
    pub fn take_up(&mut self, was_there: bool, last: Option<Identity>) {
        debug_assert!(was_there || last.is_none(), "the last one was there");
        let gone = if was_there { Had::Somebody } else { Had::Nobody };
        self.had = last.map_or(gone, Had::File);
    }

    /// Something has it. Over a mount no other file can be renamed: a rotation from outside is not seen in it.
    pub fn see(&mut self, is_mount: bool, settings: &Settings, notes: &mut Notes) {
        self.missing_since = None;
        if !is_mount {
            self.mount.end();
        } else if self.mount.is_news(()) && !settings.is_batch {
            notes.tell(Happening::Mount { path: self.path.clone() });
        }
    }

    /// A file has it, the same as before by another number.
    pub fn renumber(&mut self, file: Identity) {
        debug_assert!(!matches!(self.had, Had::Nobody), "it had a number before");
        self.had = Had::File(file);
    }

    /// A file has it, and is read.
    pub fn take(&mut self, file: Identity, notes: &mut Notes) {
        self.settle(notes);
        if let Some(old) = self.last().filter(|old| *old != file) {
            notes.tell(Happening::Rotated { old, new: file });
        }
        self.had = Had::File(file);
    }

    /// Nothing has it.
    pub fn miss(&mut self, settings: &Settings, now: Instant, notes: &mut Notes) {
        let since = *self.missing_since.get_or_insert(now);
        if settings.may_be_missing {
            self.settle(notes);
        } else if matches!(self.had, Had::Nobody) || now.saturating_duration_since(since) >= MISSING_MAX {
            self.fail(Errno::ENOENT, settings, now, notes);
        }
    }

    /// What has it is not followed.
    pub fn refuse(&mut self, refusal: Refusal, settings: &Settings, now: Instant, notes: &mut Notes) {
        // A file that was renamed to a name under a glob goes on where it was: that is no fault.
        let is_moved = refusal == Refusal::Followed && settings.may_be_missing;
        if self.refused.replace(refusal) != Some(refusal) && !is_moved {
            notes.tell(Happening::Refused { path: self.path.clone(), refusal });
        }
        self.trouble = Some(Trouble::after(self.trouble, Errno::EINVAL, now));
    }

    /// It cannot be looked at, or what has it not be opened.
    pub fn fail(&mut self, errno: Errno, settings: &Settings, now: Instant, notes: &mut Notes) {
        let is_new = self.trouble.is_none_or(|trouble| trouble.errno != errno);
        if !is_new && self.trouble.is_some_and(|trouble| trouble.retry.until(now).is_some()) {
            return;
        }
        let before = self.trouble.filter(|_| !is_new);
        let trouble = Trouble::after(before, errno, now);
        self.trouble = Some(trouble);
        if is_new {
            self.said = Some(errno);
            notes.tell(Happening::OpenError { path: self.path.clone(), errno });
        }
        let (after, was_after) = (trouble.retry.wait(), before.map(|trouble| trouble.retry.wait()));
        if !settings.is_batch && Some(after) > was_after {
            notes.tell(Happening::Retry { after });
        }
    }

    /// Nothing is wrong.
    pub fn settle(&mut self, notes: &mut Notes) {
        self.refused = None;
        self.trouble = None;
        if self.said.take().is_some() {
            notes.tell(Happening::Recovered { path: self.path.clone() });
        }
    }

    /// When it is to be looked at without a hint.
    pub fn next_look(&self, settings: &Settings, now: Instant) -> Option<Instant> {
        debug_assert!(
            self.said.is_none() || self.trouble.is_some(),
            "what was said is wrong, or it was said that it is over"
        );
        let is_to_say = self.said.is_none() && !settings.may_be_missing;
        let missing = self.missing_since.filter(|_| is_to_say).map(|since| since + MISSING_MAX);
        // What is due and was not tried waits for something else: for room, or for a descriptor.
        let trouble = self.trouble.and_then(|trouble| trouble.retry.until(now));
        missing.into_iter().chain(trouble).min()
    }

    /// Why it is not read; `of_one`: what is wrong with a file that had it. What is followed under another name is followed.
    pub fn complaint(&self, of_one: Option<Errno>) -> Option<String> {
        let refused = self.refused.filter(|refusal| *refusal != Refusal::Followed).map(|refusal| refusal.to_string());
        refused.or_else(|| self.said.or(of_one).map(|errno| format!("{errno:?}: {}", errno.desc())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_said_once_and_that_it_is_over_only_if_it_was_said() {
        let (settings, start) = (Settings::default(), Instant::now());
        let mut name = LiveName::new(PathBuf::from("/l/app.log"));
        let mut notes = Notes::default();
        let file = Identity { ino: 1, ..Identity::default() };
        name.see(false, &settings, &mut notes);
        name.take(file, &mut notes);
        assert_eq!((notes.take().len(), name.next_look(&settings, start)), (0, None));
        name.miss(&settings, start, &mut notes);
        assert_eq!(
            (notes.take().len(), name.next_look(&settings, start)),
            (0, Some(start + MISSING_MAX)),
            "a gap of a rotation"
        );
        for after in [0, 0, 1] {
            name.miss(&settings, start + MISSING_MAX + Duration::from_millis(after), &mut notes);
        }
        let told = notes.take();
        assert!(matches!(told[..], [Happening::OpenError { .. }, Happening::Retry { .. }]), "{told:?}");
        name.see(false, &settings, &mut notes);
        name.take(Identity { ino: 2, ..file }, &mut notes);
        name.settle(&mut notes);
        let told = notes.take();
        assert!(matches!(told[..], [Happening::Recovered { .. }, Happening::Rotated { .. }]), "{told:?}");
    }
}
