//! Which sources there are: what paths and globs find, and what becomes of them after a HUP.

use std::collections::{HashMap, HashSet};
use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use standpipe_common::error::{Result, Stop};

use super::Tailer;
use crate::cli::Cli;
use crate::config::keys::listed;
use crate::config::{Config, FileConfig, StartAt};
use crate::events::Event;
use crate::fair::Group;
use crate::follow::settings::{self, Settings};
use crate::identity::{Identity, Origin};
use crate::lines::SourceId;
use crate::output::Standing;
use crate::roster::Followed;
use crate::siblings::Siblings;
use crate::siblings::names::is_rotation_of;
use crate::source::Source;
use crate::sources::{self, Found, Remembered};
use crate::spool::place::Spooled;
use crate::stage::Position;
use crate::state::{GenerationState, SourceState};
use crate::timestamp::Format;

/// For so many times as long as a search under globs took, none is made: names that come without end, in a directory of
/// fifty thousand, take a fifth of the time at most.
const REST_RATIO: u32 = 4;

/// When a file was found.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Occasion {
    /// At the start, or by a configuration that names it for the first time: `start_at` says where to begin.
    Named,
    /// Under a glob that was there before: it is new, so it is read whole.
    Appeared,
}

/// Which files are looked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Among {
    /// All that are to be sources.
    All,
    /// Those that are none yet.
    New,
}

impl Tailer {
    /// Looks for new files under the globs, if that is due.
    pub(super) fn expand(&mut self, now: Instant) {
        if self.unfollowed.due().is_some_and(|due| due <= now) {
            self.roll(now);
        }
        let began = Instant::now();
        if self.look_through_globs(now) {
            let mut found = self.find(Among::New);
            // As `enroll_new` wants them.
            found.sort_by_key(|found| !self.keeper.knows(&found.path));
            self.intake.arrivals = found.into();
            self.globs.rest(Instant::now() + REST_RATIO * began.elapsed());
        }
        self.take_up_arrivals();
    }

    /// Follows files that are new, as far as its time goes.
    fn take_up_arrivals(&mut self) {
        let step = self.intake.begin();
        while let Some(found) = self.intake.arrivals.pop_front() {
            for stop in self.enroll_new(std::iter::once(&found), Occasion::Appeared) {
                self.complain(&stop);
                self.globs.again();
            }
            if step.is_over() {
                break;
            }
        }
        self.intake.end(step);
    }

    /// Whether there may be sources under globs that were not there before.
    fn look_through_globs(&mut self, now: Instant) -> bool {
        let (watch, directories) = (self.watch.as_mut(), &mut self.directories);
        let may_be_new = self.globs.look(now, self.config.poll_interval, watch, directories);
        for sentence in self.globs.take_unreadable() {
            self.printer.print(&Event::Warning(sentence));
        }
        may_be_new
    }

    /// The globs are those of the configuration.
    pub(super) fn set_globs(&mut self, now: Instant) {
        self.globs.set(&self.config, self.watch.as_mut());
        self.look_through_globs(now);
    }

    /// Reads the configuration again. What is wrong with it is said, and changes nothing.
    pub fn reread(&mut self, cli: &Cli, now: Instant) {
        let mut config = match cli.configuration() {
            Ok(config) => config,
            Err(error) => {
                for sentence in error.sentences() {
                    self.printer.print(&Event::Error(sentence.clone()));
                }
                self.printer.print(&Event::Note("keeping the previous configuration".to_owned()));
                return;
            }
        };
        let kept = config.keep(&self.config);
        if !kept.is_empty() {
            let (keys, takes) = (listed(&kept, "and"), if kept.len() == 1 { "takes" } else { "take" });
            self.printer.print(&Event::Warning(format!("{keys} {takes} effect when tailer restarts")));
        }
        self.config = config;
        self.has_globs = has_globs(&self.config) && !self.is_batch;
        self.complaints.clear();
        self.unfollowed.succeeded();
        self.set_globs(now);
        self.roll(now);
        self.change_spools(now);
        self.share_descriptors(now);
        self.is_watching_said = true;
        self.tell_watching();
    }

    /// Makes the sources what the configuration says. What cannot be followed so yet, because its pipe cannot be opened,
    /// stays as it was, and is tried again.
    fn roll(&mut self, now: Instant) {
        let found = self.find(Among::All);
        // All that is new is among these.
        self.intake.arrivals.clear();
        let mut is_whole = true;
        let paths: HashMap<&Path, &Found> = found.iter().map(|found| (found.path.as_path(), found)).collect();
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
                self.complain(&stop);
                is_whole = false;
            }
        }
        for stop in self.enroll_new(found.iter().filter(|found| !here.contains(&found.path)), Occasion::Named) {
            self.complain(&stop);
            is_whole = false;
        }
        if is_whole {
            self.unfollowed.succeeded();
        } else {
            self.unfollowed.failed(now);
        }
    }

    /// Says it once, until the configuration is read again.
    fn complain(&mut self, stop: &Stop) {
        if self.complaints.insert(stop.to_string()) {
            self.printer.print(&Event::Error(stop.to_string()));
        }
    }

    /// The files that are sources now.
    pub(super) fn find(&mut self, among: Among) -> Vec<Found> {
        let mut known = Remembered::default();
        for followed in self.roster.iter() {
            let path = followed.source.path();
            if among == Among::New {
                known.followed.insert(path);
                known.names.insert(&followed.name);
            } else {
                known.remembered.insert(path);
                known.away.extend(followed.source.is_away().then_some(path));
            }
        }
        // What was rotated before this run is read although nothing has the live name.
        for state in self.keeper.others() {
            known.remembered.insert(&state.path);
            let listed = Siblings::new(&state.path, None).map(|mut all| all.list(&mut self.directories));
            if listed.is_ok_and(|listed| !listed.is_empty()) {
                known.away.push(&state.path);
            }
        }
        let mut sources = sources::expand(&self.config, &self.globs, &known, &is_rotation_of);
        self.board.set_excluded(sources.excluded as u64);
        let mut spooled = Spooled::of(&self.config);
        let files = &self.config.files;
        sources.found.retain(|found| !files[found.file].is_glob || !spooled.has(&found.path));
        sources.found
    }

    /// Begins to follow files that are not followed: first those whose paths are known, for under a glob one of the
    /// others may be a file of theirs. What cannot be followed is returned.
    pub(super) fn enroll_new<'a>(&mut self, found: impl Iterator<Item = &'a Found>, occasion: Occasion) -> Vec<Stop> {
        let (known, others): (Vec<&Found>, Vec<&Found>) = found.partition(|found| self.keeper.knows(&found.path));
        let mut stops = Vec::new();
        for found in known.into_iter().chain(others) {
            let is_explicit = !self.config.files[found.file].is_glob;
            let file = identity(&found.path);
            if let Some(owner) = file.and_then(|file| self.taken.owner(&file)).filter(|_| !is_explicit) {
                self.also_has(owner, found.path.clone());
                continue;
            }
            match self.enroll(found, file.filter(|_| !is_explicit), occasion) {
                Ok(id) => {
                    // It may have the rest of one that was truncated: that looks first.
                    let seeking = self.taken.twins.seeking();
                    if let Some(file) = file.filter(|_| seeking.is_empty()) {
                        self.taken.add(id, file);
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
            self.turns.hint(owner, settings::Hints { names: true, ..settings::Hints::default() });
        }
    }

    /// Begins to follow one; `file` is what stands there if it may be that of a log which had another name.
    fn enroll(
        &mut self,
        found: &Found,
        file: Option<Identity>,
        occasion: Occasion,
    ) -> std::result::Result<SourceId, Stop> {
        let entry = self.config.files[found.file].clone();
        let output = self.output_for(entry.pipe.as_deref())?;
        let siblings = siblings(found, &entry)?;
        let settings = Arc::new(self.settings(&entry, occasion));
        let id = self.roster.next_id();
        let known = self.keeper.take(&found.path, file.as_ref());
        let source = match known {
            Some(mut state) => {
                self.overlay(&mut state);
                Source::restore(id, state, settings)
            }
            None => Source::new(id, found.path.clone(), settings),
        };
        self.outputs.introduce(output, id, &found.name, form_of(&entry)?);
        // Whoever puts lines in order waits for those of this one.
        self.outputs.get(output).note(id, Standing::Behind);
        let mut followed = Followed::new(source, found.name.clone(), entry, siblings, output);
        followed.limit(self.is_batch, Instant::now());
        self.taken.set(id, followed.source.inodes());
        if self.has_globs {
            self.taken.twins.set(id, followed.source.lives());
        }
        self.roster.add(followed);
        self.turns.add(id, Group::Files(found.file));
        self.turns.hint(id, settings::Hints { names: true, ..settings::Hints::default() });
        Ok(id)
    }

    /// A source under other settings, if they are others.
    fn change(&mut self, id: SourceId, found: &Found) -> std::result::Result<(), Stop> {
        let file = self.config.files[found.file].clone();
        let output = self.output_for(file.pipe.as_deref())?;
        let settings = Arc::new(self.settings(&file, Occasion::Named));
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
        self.outputs.introduce(output, id, &found.name, form_of(&file)?);
        followed.unwrapper.set_format(file.format);
        followed.file = file;
        followed.limit(self.is_batch, Instant::now());
        self.turns.hint(id, settings::Hints { names: true, ..settings::Hints::default() });
        Ok(())
    }

    /// A source that the configuration names no longer.
    fn leave(&mut self, id: SourceId) {
        let Some(followed) = self.roster.get(id) else { return };
        self.turns.leave(id);
        self.outputs.part(followed.output, id);
        if let Some(watch) = &mut self.watch {
            watch.remove_names(id);
            followed.watched.iter().for_each(|generation| watch.remove_file(*generation));
            followed.watched.clear();
        }
        if followed.is_delivered() {
            self.remove(id);
        }
    }

    /// Takes a source under a glob off when no file of it is left. While a rotated one is, its name is only away: it
    /// comes back with the next file, and what was rotated may still grow.
    pub(super) fn remove_if_gone(&mut self, id: SourceId) {
        let Some(followed) = self.roster.get(id) else { return };
        if !followed.file.is_glob || !followed.source.is_gone() {
            return;
        }
        let taken = &self.taken;
        followed.also.retain(|path| identity(path).is_some_and(|file| taken.owner(&file) == Some(id)));
        // What cannot be listed may be there.
        let is_alone = followed.also.is_empty() && followed.siblings.list(&mut self.directories).is_empty();
        if is_alone && let Some(state) = self.take_off(id) {
            self.keeper.give_back_gone(state);
        }
    }

    /// Takes a source off that is followed no longer. What is known of it stays for one that is followed again.
    pub(super) fn remove(&mut self, id: SourceId) {
        if let Some(state) = self.take_off(id) {
            self.keeper.give_back(state);
        }
    }

    fn take_off(&mut self, id: SourceId) -> Option<SourceState> {
        let mut followed = self.roster.remove(id)?;
        self.printer.print_all(followed.spacing.take_all());
        self.board.release(id);
        self.turns.remove(id);
        self.open -= followed.open;
        self.outputs.part(followed.output, id);
        self.taken.release(id);
        self.taken.twins.release(id);
        if let Some(watch) = &mut self.watch {
            watch.remove_names(id);
            followed.watched.iter().for_each(|generation| watch.remove_file(*generation));
        }
        Some(followed.source.state())
    }

    fn settings(&self, file: &FileConfig, occasion: Occasion) -> Settings {
        let start_at = match (occasion, self.start_at.unwrap_or(file.start_at)) {
            (Occasion::Named, StartAt::End) if !self.is_batch => settings::StartAt::End,
            _ => settings::StartAt::Beginning,
        };
        Settings {
            start_at,
            since_ns: if file.is_glob || occasion == Occasion::Appeared { self.since_ns } else { self.began_ns },
            ignore_older: file.ignore_older,
            max_idle: file.max_idle,
            late_writer_max: self.config.late_writer_max,
            is_batch: self.is_batch,
            may_be_missing: file.is_glob,
            is_late: occasion == Occasion::Appeared || self.has_known,
            ..Settings::default()
        }
    }

    /// Lays what an output knows better over what the checkpoint says.
    fn overlay(&mut self, state: &mut SourceState) {
        for generation in &mut state.generations {
            lay_over(generation, &self.positions);
            let before = generation.clone();
            lay_over(generation, &self.on_their_way);
            if generation.offset > before.offset && self.outputs.are_recovering() {
                self.held_back.add(state.path.clone(), before);
            }
        }
    }
}

pub(super) fn has_globs(config: &Config) -> bool {
    config.files.iter().any(|file| file.is_glob)
}

/// Which file stands at a path.
fn identity(path: &Path) -> Option<Identity> {
    fs::metadata(path).ok().filter(Metadata::is_file).map(|metadata| Identity::from(&metadata))
}

fn lay_over(generation: &mut GenerationState, positions: &HashMap<Origin, Position>) {
    let Some(position) = positions.get(&generation.origin) else { return };
    generation.head = generation.head.or(position.head);
    if position.offset > generation.offset {
        generation.offset = position.offset;
        generation.guard = Some(position.guard);
        generation.last_line_hash = None;
    }
}

fn siblings(found: &Found, file: &FileConfig) -> Result<Siblings> {
    let rotated = (!file.rotated.is_empty()).then_some(file.rotated.as_slice());
    Siblings::new(&found.path, rotated)
}

/// What times in its lines look like.
fn form_of(file: &FileConfig) -> std::result::Result<Format, Stop> {
    file.timestamp.parse().map_err(Stop::Usage)
}
