//! The mailbox files of a log root: found, made, kept in reserve, set aside.
//!
//! At start every one that is there is ours, for we have the lock. What is EMPTY or DONE serves again; what holds a
//! chunk waits for its recovery; what cannot be believed is set aside with one line. One EMPTY mailbox is kept in
//! reserve, for a lane whose disk fails keeps its own, and a full disk gives none.

use jiff::Timestamp;
use standpipe_common::clock;
use standpipe_common::error::Result;

use crate::disk::Dir;
use crate::mailbox::{Home, Mailbox, NAME_PREFIX, Phase, Unfit, peek};

/// Start of the names of mailboxes that were set aside.
pub const SALVAGED_PREFIX: &str = ".salvaged-";

/// Mailboxes that lie ready.
#[derive(Debug)]
pub struct Mailboxes {
    root: Dir,
    home: Home,
    ready: Vec<Mailbox>,
}

impl Mailboxes {
    /// Takes up those in `root`, and makes sure that there are two to begin with. The second value holds chunks that
    /// wait for recovery.
    pub fn take_up(root: Dir, home: Home) -> Result<(Mailboxes, Vec<Mailbox>)> {
        let mut names: Vec<String> = root
            .names()?
            .into_iter()
            .filter_map(|name| name.into_string().ok())
            .filter(|name| name.starts_with(NAME_PREFIX))
            .collect();
        names.sort();
        let mut mailboxes = Mailboxes { root, home, ready: Vec::new() };
        let mut holding = Vec::new();
        for name in names {
            match Mailbox::open(&mailboxes.root, &name, &mailboxes.home)? {
                Ok(mailbox) if matches!(mailbox.phase(), Some(Phase::Armed | Phase::Full(_))) => holding.push(mailbox),
                Ok(mut mailbox) => {
                    mailbox.clear_all();
                    mailboxes.give_back(mailbox);
                }
                Err(unfit) => mailboxes.retire(&name, unfit)?,
            }
        }
        while mailboxes.ready.len() < 2 {
            let fresh = mailboxes.make()?;
            mailboxes.ready.push(fresh);
        }
        Ok((mailboxes, holding))
    }

    /// An EMPTY mailbox, made if none lies ready.
    pub fn take(&mut self) -> Result<Mailbox> {
        self.ready.pop().map_or_else(|| self.make(), Ok)
    }

    /// Takes back an EMPTY mailbox; more than one in use and one in reserve are not kept.
    pub fn give_back(&mut self, mailbox: Mailbox) {
        if self.ready.len() < 2 {
            self.ready.push(mailbox);
        } else if let Err(error) = self.root.remove(mailbox.name()) {
            log::warn!("{error}");
        }
    }

    /// One that was never finished, or is of another boot or root and holds nothing, goes; all else is set aside.
    fn retire(&self, name: &str, unfit: Unfit) -> Result<()> {
        let holds = self.root.open_read(name).ok().and_then(|file| peek(&file).ok()).is_some_and(|held| held.is_some());
        if unfit == Unfit::Unfinished || matches!(unfit, Unfit::OtherBoot | Unfit::OtherRoot) && !holds {
            return self.root.remove(name);
        }
        self.set_aside(name, &unfit.to_string())
    }

    /// Puts a mailbox out of the way, with one line that says what it holds and why. Nothing of it is thrown away.
    pub fn set_aside(&self, name: &str, reason: &str) -> Result<()> {
        let held = self.root.open_read(name).ok().and_then(|file| peek(&file).ok().flatten());
        let time = Timestamp::from_nanosecond(i128::from(clock::now_ns())).unwrap_or(Timestamp::UNIX_EPOCH);
        let mut number = 0;
        let aside = loop {
            let aside = format!("{SALVAGED_PREFIX}{}-{number}", time.strftime("%Y-%m-%dT%H-%M-%SZ"));
            if self.root.stat(&aside).is_err() {
                break aside;
            }
            number += 1;
        };
        self.root.rename_new(name, &aside)?;
        let path = self.root.path_of(&aside);
        match held {
            Some((record, n)) => log::error!(
                "{}: {n} bytes for {} were set aside as {}: {reason}",
                record.lane.display(),
                record.part,
                path.display()
            ),
            None => log::error!("a mailbox was set aside as {}: {reason}", path.display()),
        }
        Ok(())
    }

    fn make(&self) -> Result<Mailbox> {
        let mut number = 0;
        while self.root.stat(format!("{NAME_PREFIX}{number}")).is_ok() {
            number += 1;
        }
        Mailbox::create(&self.root, &format!("{NAME_PREFIX}{number}"), &self.home)
    }
}
