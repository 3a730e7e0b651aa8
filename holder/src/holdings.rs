//! All that is held: the links of the pipes directory, reconciled with each new scan of it, and what they left behind.
//!
//! Invariants: nothing is closed before its successor is open; one bad entry changes nothing for the others; what is
//! wrong is said once, and again when it changes or when somebody asks by HUP.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::mem;
use std::time::{Duration, Instant};

use standpipe_common::error::Error;
use standpipe_common::fifo::{self, Fifo, RETIRED_MAX};
use standpipe_common::name::PipeName;
use standpipe_common::pipes::Entry;
use standpipe_common::policy::PipeSize;
use standpipe_common::shown::{Shown as _, counted};
use standpipe_common::watch::Watch;
use standpipe_common::way::Pass;

use crate::held::{Change, Held, Taken};
use crate::limits;
use crate::retired::{Kind, Reason, Retired};
use crate::sizing::{self, Auto};

/// How often a pipe that should go, or that is too full to be made smaller, is looked at.
const PENDING_LOOK_SPAN: Duration = Duration::from_secs(1);

/// A FIFO that was held for a link until now.
struct Left {
    name: PipeName,
    kind: Kind,
    fifo: Fifo,
    reason: Reason,
}

/// Everything that is held.
#[derive(Debug)]
pub struct Holdings {
    held: BTreeMap<PipeName, Held>,
    retired: Vec<Retired>,
    auto: Auto,
    pending_look: Option<Instant>,
}

impl Default for Holdings {
    fn default() -> Holdings {
        Holdings { held: BTreeMap::new(), retired: Vec::new(), auto: Auto::Full, pending_look: None }
    }
}

impl Holdings {
    /// How many pipes are held for their links.
    pub fn count(&self) -> usize {
        self.held.values().filter(|held| held.identity().is_some()).count()
    }

    /// Holds what the links of a new scan lead to, opening everything anew. Returns for how many no descriptor was
    /// left.
    pub fn reconcile(&mut self, entries: Vec<Entry>, watch: &mut Watch<PipeName>, now: Instant) -> usize {
        let mut before = mem::take(&mut self.held);
        for entry in entries {
            let name = entry.name.clone();
            let held = match before.remove(&name) {
                Some(mut held) => {
                    held.update(entry);
                    held
                }
                None => Held::new(entry),
            };
            self.held.insert(name, held);
        }
        let mut left: Vec<Left> = before.into_iter().flat_map(|(name, held)| left_by(&name, held)).collect();

        self.share();
        let _walks = Pass::begin();
        let mut taken = claims(self.held.iter());
        for (name, held) in &mut self.held {
            // What happens after the look must raise an event, so the watch comes first.
            watch.add(name, &held.entry().link);
            let change = held.look(&taken, true);
            held.fit(self.auto);
            taken.extend(held.identity().map(|identity| (identity, name.clone())));
            match change {
                Change::None | Change::Back | Change::Taken(None) => {}
                Change::Taken(Some(fifo)) => {
                    log::info!("{name}: FIFO was replaced; now holding the new one");
                    left.push(Left { name: name.clone(), kind: Kind::Target, fifo, reason: Reason::Replaced });
                }
                Change::Bad(error) => say(held, &error),
            }
        }
        // Where descriptors are short, the pipes themselves come first.
        for (name, held) in &mut self.held {
            look_beside(name, held, &mut left);
            held.fit_stage(self.auto);
        }
        self.retire(left, now);
        self.watch_starved(watch)
    }

    /// Looks again at those links behind which something changed.
    pub fn look_again(&mut self, changed: &HashSet<PipeName>, watch: &mut Watch<PipeName>, now: Instant) {
        // What is wrong with one link can have its cause in another: two that led to one FIFO.
        let due = |(name, held): &(&PipeName, &Held)| changed.contains(*name) || held.is_troubled();
        let names: Vec<PipeName> = self.held.iter().filter(due).map(|(name, _)| name.clone()).collect();
        let _walks = Pass::begin();
        let mut taken = claims(self.held.iter().filter(due));
        let others = self.held.iter().filter(|each| !due(each));
        taken.extend(others.filter_map(|(name, held)| Some((held.identity()?, name.clone()))));
        let mut left = Vec::new();
        for name in names {
            let Some(held) = self.held.get_mut(&name) else { continue };
            watch.add(&name, &held.entry().link);
            let change = held.look(&taken, false);
            taken.extend(held.identity().map(|identity| (identity, name.clone())));
            match change {
                Change::None => {}
                Change::Back => log::info!("{name}: FIFO reappeared; it was kept open throughout"),
                Change::Bad(error) => say(held, &error),
                Change::Taken(old) => {
                    held.fit(self.auto);
                    match old {
                        None => log::info!("{name}: FIFO appeared; now holding it open"),
                        Some(fifo) => {
                            log::info!("{name}: FIFO was replaced; now holding the new one");
                            left.push(Left { name: name.clone(), kind: Kind::Target, fifo, reason: Reason::Replaced });
                        }
                    }
                }
            }
            look_beside(&name, held, &mut left);
            held.fit_stage(self.auto);
        }
        self.retire(left, now);
        self.watch_starved(watch);
    }

    /// Those for which no descriptor was left are looked at again before long. How many these are.
    fn watch_starved(&self, watch: &mut Watch<PipeName>) -> usize {
        let starved = self.held.iter().filter(|(_, held)| held.is_starved());
        starved.inspect(|(name, _)| watch.look_soon(name)).count()
    }

    /// When [`Holdings::mind`] has something to do. `None`: nothing is pending.
    pub fn next_look(&self) -> Option<Instant> {
        self.retired.iter().map(Retired::until).chain(self.pending_look).min()
    }

    /// Lets go what may go, and asks again for the sizes that were refused for the moment.
    pub fn mind(&mut self, now: Instant) {
        if self.next_look().is_none_or(|due| now < due) {
            return;
        }
        let (over, retired) = mem::take(&mut self.retired).into_iter().partition(|retired| retired.is_over(now));
        self.retired = retired;
        Vec::into_iter(over).for_each(Retired::let_go);
        for held in self.held.values_mut().filter(|held| held.is_resize_pending()) {
            held.fit(self.auto);
        }
        self.schedule(now);
    }

    /// Says what stays behind when nothing is held any more.
    pub fn farewell(&self) {
        let held = self.held.iter().filter_map(|(name, held)| Some((name, Kind::Target, held.fifo()?)));
        let staged = self.held.iter().filter_map(|(name, held)| Some((name, Kind::Staging, held.staged().fifo()?)));
        let retired = self.retired.iter().map(|retired| (retired.name(), retired.kind(), retired.fifo()));
        for (name, kind, fifo) in held.chain(staged).chain(retired) {
            let bytes = kind.data_bytes(fifo);
            if bytes > 0 {
                let (left, pipe) = (counted(bytes as u64, "byte"), kind.noun());
                log::warn!("{name}: {left} left in the {pipe}, lost unless another process has it open");
            }
        }
    }

    /// Decides what `auto` means from now on. What is held already shrinks before anything is opened or grows: past
    /// the limit of their user, new pipes are crippled.
    fn share(&mut self) {
        let is_auto = |held: &&mut Held| held.policy().pipe_size == PipeSize::Auto;
        let pipes = self.held.values_mut().filter(is_auto).count();
        let pages = limits::pipe_pages_soft();
        // Who has no limit need not look.
        let staging = pages.map_or(0, |_| self.held.values().filter(|held| held.has_stage()).count());
        let before = mem::replace(&mut self.auto, sizing::auto(pipes, staging, pages));
        let bytes = self.auto.bytes();
        if self.auto != before && bytes < sizing::KERNEL_DEFAULT_BYTES {
            log::warn!(
                "each pipe whose pipe_size is auto has room for only {bytes} bytes, because all pipes of this user \
                 share {} pages; for {} bytes each, run `sysctl fs.pipe-user-pages-soft={}` and send HUP",
                pages.unwrap_or(0),
                sizing::KERNEL_DEFAULT_BYTES,
                sizing::mending_pages(pipes + staging)
            );
        }
        if self.auto != Auto::Full {
            self.held.values().for_each(|held| held.fit_stage(self.auto));
        }
        if bytes < before.bytes() {
            self.held.values_mut().filter(is_auto).for_each(|held| held.fit(self.auto));
        }
    }

    /// Holds on to what was left, unless it is held for another link.
    fn retire(&mut self, left: Vec<Left>, now: Instant) {
        let all = self.held.values().flat_map(|held| [held.fifo(), held.staged().fifo()]);
        let current: HashSet<_> = all.flatten().map(Fifo::identity).collect();
        debug_assert!(self.is_one_links_each(), "a FIFO is held for two links");
        let retired = |Left { name, kind, fifo, reason }| Retired::new(name, kind, fifo, reason, now);
        self.retired.extend(left.into_iter().map(retired));
        self.retired.retain(|retired| !current.contains(&retired.identity()));
        self.let_go_of_too_many();
        self.pending_look = Some(now);
        self.mind(now);
    }

    /// The oldest of a link that has more than [`RETIRED_MAX`].
    fn let_go_of_too_many(&mut self) {
        let mut counts: HashMap<(PipeName, Kind), usize> = HashMap::new();
        let mut kept = Vec::with_capacity(self.retired.len());
        for retired in mem::take(&mut self.retired).into_iter().rev() {
            let count = counts.entry((retired.name().clone(), retired.kind())).or_default();
            *count += 1;
            if *count <= RETIRED_MAX { kept.push(retired) } else { retired.let_go() }
        }
        debug_assert!(counts.values().sum::<usize>() >= kept.len(), "a pipe came from nowhere");
        kept.reverse();
        self.retired = kept;
    }

    /// Whether each FIFO that is held, and that a link leads to, is held for that link alone.
    fn is_one_links_each(&self) -> bool {
        let mut seen = HashSet::new();
        self.held.values().filter_map(Held::identity).all(|fifo| seen.insert(fifo))
    }

    fn schedule(&mut self, now: Instant) {
        let pending = !self.retired.is_empty() || self.held.values().any(Held::is_resize_pending);
        self.pending_look = pending.then_some(now + PENDING_LOOK_SPAN);
    }
}

/// Whose each FIFO is to be that these links lead to. Where several lead to one, it stays with the link for which it is
/// held.
fn claims<'a>(held: impl Iterator<Item = (&'a PipeName, &'a Held)>) -> Taken {
    let held: Vec<_> = held.collect();
    let links = held.iter().enumerate().map(|(index, (_, held))| (index, &held.entry().link));
    let has = |index: usize, identity| held[index].1.fifo().is_some_and(|fifo| fifo.identity() == identity);
    let claims = fifo::claims(links, has);
    claims.into_iter().map(|(identity, index)| (identity, held[index].0.clone())).collect()
}

/// What a link that is gone leaves behind.
fn left_by(name: &PipeName, held: Held) -> Vec<Left> {
    let (fifo, staged) = held.into_fifos();
    let each = [(Kind::Target, fifo), (Kind::Staging, staged)];
    let left = |(kind, fifo): (Kind, Option<Fifo>)| {
        Some(Left { name: name.clone(), kind, fifo: fifo?, reason: Reason::LinkGone })
    };
    each.into_iter().filter_map(left).collect()
}

/// Holds the staging pipe of `held`, made if need be, and says what there is to say.
fn look_beside(name: &PipeName, held: &mut Held, left: &mut Vec<Left>) {
    let looked = held.look_beside();
    if looked.is_made {
        log::info!("{name}: created staging pipe {} and holding it", held.staged().path().shown());
    }
    left.extend(looked.left.map(|(fifo, reason)| Left { name: name.clone(), kind: Kind::Staging, fifo, reason }));
    if let Some(error) = looked.error {
        log::error!("{error}; still holding {name}");
    }
}

fn say(held: &Held, error: &Error) {
    if held.is_troubled() && held.fifo().is_some() {
        log::error!("{error}; still holding the previous FIFO");
    } else {
        log::error!("{error}");
    }
}
