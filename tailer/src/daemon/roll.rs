//! Which logs and spools there are: what paths and globs find is followed, and what becomes of it after a HUP.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use standpipe_common::error::{Result, Stop};
use standpipe_common::shown::Shown as _;

use super::Tailer;
use super::discovery::{Among, identity};
use super::past::Occasion;
use crate::checkpoint::state::SourceState;
use crate::cli::Cli;
use crate::config::FileConfig;
use crate::config::keys::listed;
use crate::config::spool::SpoolConfig;
use crate::events::Event;
use crate::file::identity::Identity;
use crate::log::settings::Hints;
use crate::log::source::Source;
use crate::names::ear::Ear;
use crate::names::siblings::Siblings;
use crate::out::lines::SourceId;
use crate::out::output::Standing;
use crate::out::timestamp::Format;
use crate::sources::FoundSource;
use crate::spool::{Spool, place, set};
use crate::turns::fair::Group;
use crate::turns::roster::Followed;

/// For so many times as long as a search under globs took, none is made: names that come without end, in a directory of
/// fifty thousand, take a fifth of the time at most.
const REST_RATIO: u32 = 4;

impl Tailer {
    /// Looks for new files under the globs, if that is due.
    pub(super) fn expand(&mut self, now: Instant) {
        if self.discovery.unfollowed.due().is_some_and(|due| due <= now) {
            self.roll(now);
        }
        let began = Instant::now();
        if self.discovery.look_through_globs(&self.config, &mut self.hearing, &mut self.report, now) {
            let mut found = self.find(Among::New);
            // A new file may be a copy of what nobody saw yet: that is seen first.
            if !found.is_empty() {
                self.hint_polled();
            }
            // As `enroll_new` wants them.
            found.sort_by_key(|found| !self.past.keeper().knows(&found.path));
            self.intake.arrivals = found.into();
            self.discovery.globs.rest(Instant::now() + REST_RATIO * began.elapsed());
        }
        self.take_up_arrivals();
    }

    /// All logs of which nobody tells anything are due for a look.
    fn hint_polled(&mut self) {
        for followed in self.roster.iter().filter(|followed| followed.watched.ear == Ear::Polls) {
            self.turns.hint(followed.source.id(), Hints::default());
        }
    }

    /// Follows files that are new, as far as its time goes.
    fn take_up_arrivals(&mut self) {
        let step = self.intake.begin();
        while let Some(found) = self.intake.arrivals.pop_front() {
            for stop in self.enroll_new(std::iter::once(&found), Occasion::Appeared) {
                self.discovery.complain(&stop, &mut self.report);
                self.discovery.globs.again();
            }
            if step.is_over() {
                break;
            }
        }
        self.intake.end(step);
    }

    /// Reads the configuration again. What is wrong with it is said, and changes nothing.
    pub fn reread(&mut self, cli: &Cli, now: Instant) {
        let mut config = match cli.configuration() {
            Ok(config) => config,
            Err(error) => {
                for sentence in error.sentences() {
                    self.report.print(&Event::Error(sentence.clone()));
                }
                self.report.print(&Event::Note("keeping the previous configuration".to_owned()));
                return;
            }
        };
        let kept = config.keep(&self.config);
        if !kept.is_empty() {
            let (keys, takes) = (listed(&kept, "and"), if kept.len() == 1 { "takes" } else { "take" });
            self.report.print(&Event::Warning(format!("{keys} {takes} effect when tailer restarts")));
        }
        self.config = config;
        self.discovery.set(&self.config, &mut self.hearing, &mut self.report, now);
        self.roll(now);
        self.change_spools(now);
        self.openings.share(self.outputs.pipes_to_open(), now);
        self.tell_watching();
    }

    /// Makes the sources what the configuration says. What cannot be followed so yet, because its pipe cannot be opened,
    /// stays as it was, and is tried again.
    fn roll(&mut self, now: Instant) {
        let found = self.find(Among::All);
        // All that is new is among these.
        self.intake.arrivals.clear();
        let mut is_whole = true;
        let paths: HashMap<&Path, &FoundSource> = found.iter().map(|found| (found.path.as_path(), found)).collect();
        let mut here = HashSet::new();
        let all: Vec<_> =
            self.roster.iter().map(|followed| (followed.source.id(), followed.source.path().to_path_buf())).collect();
        for (id, path) in all {
            let Some(found) = paths.get(path.as_path()) else {
                self.leave(id);
                continue;
            };
            here.insert(path);
            if let Err(stop) = self.change(id, found) {
                self.discovery.complain(&stop, &mut self.report);
                is_whole = false;
            }
        }
        for stop in self.enroll_new(found.iter().filter(|found| !here.contains(&found.path)), Occasion::Named) {
            self.discovery.complain(&stop, &mut self.report);
            is_whole = false;
        }
        if is_whole {
            self.discovery.unfollowed.succeeded();
        } else {
            self.discovery.unfollowed.failed(now);
        }
    }

    /// The files that are sources now.
    pub(super) fn find(&mut self, among: Among) -> Vec<FoundSource> {
        self.discovery.find(among, &self.config, &self.roster, self.past.keeper(), &mut self.report)
    }

    /// Begins to follow files that are not followed: first those whose paths are known, for under a glob one of the
    /// others may be a file of theirs. What cannot be followed is returned.
    pub(super) fn enroll_new<'a>(
        &mut self,
        found: impl Iterator<Item = &'a FoundSource>,
        occasion: Occasion,
    ) -> Vec<Stop> {
        let (known, others): (Vec<&FoundSource>, Vec<&FoundSource>) =
            found.partition(|found| self.past.keeper().knows(&found.path));
        let mut stops = Vec::new();
        for found in known.into_iter().chain(others) {
            let is_explicit = !self.config.files[found.file].is_glob;
            let file = identity(&found.path);
            if let Some(owner) = file.and_then(|file| self.discovery.taken.owner(&file)).filter(|_| !is_explicit) {
                self.also_has(owner, found.path.clone());
                continue;
            }
            match self.enroll(found, file.filter(|_| !is_explicit), occasion) {
                Ok(id) => {
                    // It may have the rest of one that was truncated: that looks first.
                    let seeking = self.discovery.taken.twins().seeking();
                    if let Some(file) = file.filter(|_| seeking.is_empty()) {
                        let may_keep_back = self.roster.get(id).is_some_and(|followed| followed.source.may_keep_back());
                        self.discovery.taken.add(id, file, may_keep_back);
                    }
                    for seeking in seeking {
                        self.also_has(seeking, found.path.clone());
                    }
                }
                Err(stop) => stops.push(stop),
            }
        }
        stops
    }

    /// A file of this source stands where it is not looked for.
    pub(super) fn also_has(&mut self, owner: SourceId, path: PathBuf) {
        let Some(followed) = self.roster.get(owner) else { return };
        if followed.also.insert(path) {
            self.turns.hint(owner, Hints { names: true, ..Hints::default() });
        }
    }

    /// Begins to follow one; `file` is what stands there if it may be that of a log which had another name.
    fn enroll(
        &mut self,
        found: &FoundSource,
        file: Option<Identity>,
        occasion: Occasion,
    ) -> std::result::Result<SourceId, Stop> {
        let entry = self.config.files[found.file].clone();
        let output = self.outputs.of(entry.pipe.as_deref(), &self.config, &mut self.past)?;
        let siblings = siblings(found, &entry)?;
        let settings = Arc::new(self.past.settings(&self.config, &entry, occasion));
        let id = self.roster.next_id();
        let known = self.past.keeper_mut().take(&found.path, file.as_ref());
        let source = match known {
            Some(mut state) => {
                self.past.overlay(&mut state, self.outputs.are_recovering());
                Source::restore(id, state, settings)
            }
            None => Source::new(id, found.path.clone(), settings),
        };
        self.outputs.introduce(output, id, &found.name, entry.timestamp.clone());
        // Whoever puts lines in order waits for those of this one.
        self.outputs.get(output).note(id, Standing::Behind);
        let mut followed = Followed::new(source, found.name.clone(), entry, siblings, output);
        followed.limit(Instant::now());
        self.discovery.enroll(&followed);
        self.roster.add(followed);
        self.turns.add(id, Group::Files(found.file));
        self.turns.hint(id, Hints { names: true, ..Hints::default() });
        Ok(id)
    }

    /// A source under other settings, if they are others.
    fn change(&mut self, id: SourceId, found: &FoundSource) -> std::result::Result<(), Stop> {
        let file = self.config.files[found.file].clone();
        let output = self.outputs.of(file.pipe.as_deref(), &self.config, &mut self.past)?;
        let settings = Arc::new(self.past.settings(&self.config, &file, Occasion::Named));
        let Some(followed) = self.roster.get(id) else { return Ok(()) };
        followed.source.set_settings(settings);
        self.turns.regroup(id, Group::Files(found.file));
        let was_leaving = self.turns.come_back(id);
        if followed.file == file && followed.name == found.name && !was_leaving {
            return Ok(());
        }
        followed.siblings = siblings(found, &file)?;
        followed.next_output = output;
        followed.name.clone_from(&found.name);
        self.outputs.introduce(output, id, &found.name, file.timestamp.clone());
        followed.unwrapper.set_format(file.format);
        followed.file = file;
        followed.limit(Instant::now());
        self.turns.hint(id, Hints { names: true, ..Hints::default() });
        Ok(())
    }

    /// A source that the configuration names no longer.
    fn leave(&mut self, id: SourceId) {
        let Some(followed) = self.roster.get(id) else { return };
        self.turns.leave(id);
        self.outputs.part(followed.output, id);
        self.hearing.leave(followed);
        if followed.is_delivered() {
            self.remove(id);
        }
    }

    /// Takes a source under a glob off when no file of it is left. While a rotated one is, its name is only away: it
    /// comes back with the next file, and what was rotated may still grow.
    pub(super) fn remove_if_gone(&mut self, id: SourceId) {
        let is_gone = self.roster.get(id).is_some_and(|followed| self.discovery.is_gone(followed));
        if is_gone && let Some(state) = self.take_off(id, true) {
            self.past.keeper_mut().give_back_gone(state);
        }
    }

    /// Takes a source off that is followed no longer. What is known of it stays for one that is followed again.
    pub(super) fn remove(&mut self, id: SourceId) {
        if let Some(state) = self.take_off(id, false) {
            self.past.keeper_mut().give_back(state);
        }
    }

    fn take_off(&mut self, id: SourceId, is_gone: bool) -> Option<SourceState> {
        let mut followed = self.roster.remove(id)?;
        self.report.print_all(followed.said.spacing.take_all());
        self.report.board.release(id);
        self.turns.remove(id);
        self.openings.release(&followed);
        self.outputs.part(followed.output, id);
        self.discovery.release(id, is_gone);
        self.hearing.leave(&mut followed);
        Some(followed.source.state())
    }

    /// Begins with all spools of the configuration that are not at work.
    pub(super) fn enroll_spools(&mut self, now: Instant) -> std::result::Result<(), Stop> {
        for index in 0..self.config.spools.len() {
            let config = self.config.spools[index].clone();
            if self.spools.iter().any(|spool| spool.config().dir == config.dir) {
                continue;
            }
            self.enroll_spool(index, config, now)?;
        }
        Ok(())
    }

    fn enroll_spool(&mut self, index: usize, config: SpoolConfig, now: Instant) -> std::result::Result<(), Stop> {
        let output = self.outputs.of(config.pipe.as_deref(), &self.config, &mut self.past)?;
        let id = self.roster.next_id();
        let spool = Spool::new(id, config, output, place::neighbours(&self.config, index), now);
        self.outputs.introduce(output, id, &spool.name(), Format::Auto);
        self.outputs.keep_files_apart(output, id);
        self.report.print(&Event::Note(format!("collecting files of {}", spool.config().dir.shown())));
        self.spools.add(spool);
        self.turns.add(id, Group::Spool(id));
        Ok(())
    }

    /// After another configuration: what is said differently of a spool begins anew.
    pub(super) fn change_spools(&mut self, now: Instant) {
        let config = &self.config;
        self.spools.keep(|spool| config.spools.contains(spool.config()));
        self.spools.set_neighbours(|dir| {
            let index = config.spools.iter().position(|spool| spool.dir == dir)?;
            Some(place::neighbours(config, index))
        });
        self.replace_left_spools(now);
    }

    /// Where a spool has left, the one that the configuration names now takes over.
    pub(super) fn replace_left_spools(&mut self, now: Instant) {
        let mut left = self.spools.take_left();
        for spool in &left {
            self.report.board.release(spool.id());
            self.turns.remove(spool.id());
        }
        if let Some(watch) = self.hearing.watch() {
            for spool in &left {
                set::unwatch(watch, spool);
            }
        }
        if let Err(stop) = self.enroll_spools(now) {
            self.report.print(&Event::Error(stop.to_string()));
        }
        self.spools.inherit(&mut left);
    }

    /// Looks into the spools that are due.
    pub(super) fn look_into_spools(&mut self, now: Instant, now_ns: i64) {
        self.spools.take_up(&mut self.outputs);
        self.spools.look(now, now_ns, self.config.poll_interval, self.hearing.watch());
    }

    /// Removes what is delivered, and tells what happened.
    pub(super) fn clear_spools(&mut self, now: Instant) {
        self.spools.remove_delivered(&mut self.outputs);
        for event in self.spools.take_events() {
            self.report.print(&event);
        }
        if self.spools.iter().any(|spool| spool.is_leaving() && spool.is_idle()) {
            self.replace_left_spools(now);
        }
    }
}

fn siblings(found: &FoundSource, file: &FileConfig) -> Result<Siblings> {
    let rotated = (!file.rotated.is_empty()).then_some(file.rotated.as_slice());
    Siblings::new(&found.path, rotated)
}
