//! The tailer at work: a small daemon of objects, one round at a time.
//!
//! A round hears of changes, looks at what is due, writes a changed list of generations down, reads, lets the outputs go
//! on, and makes positions durable once a second. In rooms of their own: `hearing`, what inotify watches and tells;
//! `discovery`, which files there are; `roll`, which of them are followed, and what becomes of them after a HUP;
//! `openings`, more files than can be open; `past`, what the last run left; `report`, what is told and shown.
//! Whose turn it is stands in [`Turns`].

mod discovery;
mod hearing;
mod openings;
pub mod past;
mod report;
mod roll;

use std::fs;
use std::io::{self, IsTerminal};
use std::os::fd::RawFd;
use std::os::unix::fs::MetadataExt;
use std::thread;
use std::time::{Duration, Instant};

use nix::unistd::geteuid;
use standpipe_common::clock;
use standpipe_common::descriptors::Descriptors;
use standpipe_common::error::{Cannot, Error, Result, Stop};
use standpipe_common::shown::counted;

use crate::around::Around;
use crate::checkpoint::keeper::Unsaved;
use crate::cli::Cli;
use crate::config::Config;
use crate::events::Event;
use crate::log::settings::Hints;
use crate::names::ear::Ear;
use crate::out::lines::SourceId;
use crate::out::output::{Delivered, Standing, Waits};
use crate::out::outputs::Outputs;
use crate::sources::FoundSource;
use crate::spool::part::PartHands;
use crate::spool::set::Spools;
use crate::steady::Steady;
use crate::turns::intake::Intake;
use crate::turns::roster::{Fed, Followed, Roster};
use crate::turns::share::{Shares, Turn};
use crate::turns::{Stand, Turns, Waiting};

use discovery::{Among, Discovery};
use hearing::Hearing;
use openings::Openings;
use past::{Occasion, Past};
use report::Report;

/// How soon a batch, or a tailer that ends, asks again for descriptors that sources may have given back.
pub const FEED_SPAN: Duration = Duration::from_millis(2);
/// How long readers may take, at the end, for what was delivered last.
const TAKEN_SPAN: Duration = Duration::from_millis(200);
/// With so many to be looked at, nobody who was not hinted at is added.
const LOOKS_MAX: usize = 512;
/// Sources that share the room of their outputs, one after the other.
const READS_MAX: usize = 64;
/// Positions that pipes may know, or twice as many as there are generations, before those of finished ones are dropped.
const SLOTS_MAX: usize = 128;

const AS_ROOT: &str = "running as root is unnecessary: run it as user `standpipe`";

/// All of it.
pub struct Tailer {
    config: Config,
    roster: Roster,
    spools: Spools,
    turns: Turns,
    intake: Intake,
    outputs: Outputs,
    hearing: Hearing,
    discovery: Discovery,
    openings: Openings,
    past: Past,
    report: Report,
    clock: Steady,
}

impl Tailer {
    /// Takes everything up. Nothing was read when this returns.
    ///
    /// # Errors
    /// The configuration is wrong, or something without which there is no work cannot be had.
    pub fn start(cli: &Cli, now: Instant) -> std::result::Result<Tailer, Stop> {
        let config = cli.configuration()?;
        let limit = Descriptors::raise(0)?.hard();
        let (past, findings) = Past::open(&config, now)?;
        let (hearing, trouble) = Hearing::begin(config.inotify);
        let mut tailer = Tailer {
            roster: Roster::default(),
            spools: Spools::default(),
            turns: Turns::default(),
            intake: Intake::new(now),
            outputs: Outputs::new(has_color(cli)),
            hearing,
            discovery: Discovery::new(now),
            openings: Openings::new(limit, config.is_batch(), now),
            past,
            report: Report::new(&config, cli.debug),
            clock: Steady::new(now, clock::now_ns()),
            config,
        };
        tailer.report.print_all(findings.into_iter().map(Event::Warning));
        tailer.begin(now)?;
        tailer.report.print_all(trouble);
        // Lines on a terminal and a line that is written again and again do not go together.
        if !(tailer.outputs.has_stdout() && io::stdout().is_terminal()) {
            tailer.report.begin_to_catch_up();
        }
        tailer.report.begin_metrics(&tailer.config);
        Ok(tailer)
    }

    fn begin(&mut self, now: Instant) -> std::result::Result<(), Stop> {
        let is_batch = self.config.is_batch();
        // Whoever looks at files of the moment as root means to.
        if geteuid().is_root() && self.config.state_file.is_some() && !is_batch {
            self.report.print(&Event::Warning(AS_ROOT.to_owned()));
        }
        self.report.begin_board(&self.config);
        self.discovery.set(&self.config, &mut self.hearing, &mut self.report, now);
        let found = self.find(Among::All);
        if is_batch {
            self.clock = Steady::still(last_change_ns(&found));
        }
        if let Some(stop) = self.enroll_new(found.iter(), Occasion::Named).into_iter().next() {
            return Err(stop);
        }
        self.enroll_spools(now)?;
        self.spools.take_up(&mut self.outputs);
        self.forget_finished();
        self.openings.share(self.outputs.pipes_to_open(), now);
        // Else it is told when the first file comes: nothing is watched before.
        let is_there = |followed: &Followed| followed.source.path().exists();
        if self.roster.is_empty() || self.roster.iter().any(is_there) {
            self.tell_watching();
        }
        Ok(())
    }

    /// Does what is due, once.
    ///
    /// # Errors
    /// Of an output, such that no later round can mend it.
    pub fn round(&mut self, now: Instant, now_ns: i64) -> Result<()> {
        self.clock.follow(now, now_ns);
        self.intake.begin_round();
        self.discovery.directories.begin_round(now);
        self.hear(now);
        self.expand(now);
        if self.look(now) {
            self.keep(false, now);
        }
        self.look_into_spools(now, now_ns);
        if !self.config.is_batch() {
            self.report.tell_leases(&self.roster);
        }
        self.read(now, now_ns);
        let delivered = self.deliver(now);
        self.clear_spools(now);
        self.spools.settle(&mut self.turns, &mut self.outputs, now);
        delivered?;
        if self.past.keeper().due().is_some_and(|due| due <= now) {
            self.keep(true, now);
        }
        let Tailer { report, roster, spools, outputs, turns, .. } = self;
        report.show(roster, spools, outputs, turns, (now, now_ns));
        if self.report.is_catching_up(now) {
            let left = self.left().iter().map(|(_, bytes)| bytes).sum();
            self.report.show_backlog(left);
        }
        self.intake.end_round();
        Ok(())
    }

    /// When the next round is due, if nothing happens before.
    pub fn due(&self, now: Instant) -> Option<Instant> {
        if self.is_behind() || self.hearing.has_more() {
            return Some(now);
        }
        let waits = self.waits().iter().filter_map(|waits| waits.until);
        let feed = (self.config.is_batch() && !self.turns.starved().is_empty()).then(|| now + FEED_SPAN);
        let Discovery { globs, unfollowed, .. } = &self.discovery;
        let found = [globs.due(now), unfollowed.due(), self.spools.due(now)];
        let own = [self.turns.next_due(now), feed, self.past.keeper().due(), self.report.due()];
        waits.chain(found.into_iter().chain(own).flatten()).min()
    }

    /// What the outputs wait for.
    pub fn waits(&self) -> &[Waits] {
        self.outputs.waits()
    }

    /// For the poll set.
    pub fn watch_fd(&self) -> Option<RawFd> {
        self.hearing.raw_fd()
    }

    /// Whether there is something to be read, and room for it, or to be looked at.
    pub fn is_behind(&self) -> bool {
        self.turns.ready_count() > 0 || self.is_looking()
    }

    /// Whether the last round had no time for all that was to be looked at.
    pub fn is_looking(&self) -> bool {
        self.intake.is_left()
    }

    /// Whether any source waits for a descriptor, or for the look that it was just given one for.
    pub fn is_starved(&self) -> bool {
        !self.turns.starved().is_empty() || self.openings.has_fed() || self.spools.are_starved()
    }

    /// Whether everything is delivered that was read, or could not be for want of room.
    pub fn is_delivered(&mut self) -> bool {
        self.outputs.is_empty() && !self.turns.is_any_waiting()
    }

    /// Of a batch: whether there is nothing left to be done.
    pub fn is_done(&mut self) -> bool {
        let now = Instant::now();
        let is_read = !self.is_behind() && self.turns.starved().is_empty();
        is_read && self.is_delivered() && self.turns.next_due(now).is_none_or(|due| due > now)
    }

    /// Of a batch that is done: fails if something could not be read.
    ///
    /// # Errors
    /// What was not read was said when it failed.
    pub fn check_whole(&self) -> Result<()> {
        self.report.check_whole()
    }

    /// Whether a limit lets a source go on before that.
    pub fn rests_end_before(&self, end: Instant) -> bool {
        self.turns.rest_end().is_some_and(|until| until < end)
    }

    /// How many logs are followed.
    pub fn sources(&self) -> usize {
        self.roster.len()
    }

    /// Everything is looked at once more, as far as that can be done until `end`; a file that is as it was when it was
    /// read to its end costs a glance.
    pub fn last_look(&mut self, end: Instant) {
        self.intake.end_at(end);
        self.spools.hint_all();
        self.turns.hint_logs(Hints::default());
    }

    /// Last lines of files without a name are not left for a run that cannot find them; `true`: there was one.
    pub fn conclude_nameless(&mut self) -> bool {
        let mut was_one = false;
        for id in self.roster.ids() {
            if self.roster.get(id).is_some_and(|followed| followed.source.conclude_nameless()) {
                self.turns.make_ready(id);
                was_one = true;
            }
        }
        was_one
    }

    /// Nothing is held back any more.
    pub fn hurry(&mut self) {
        self.outputs.hurry();
    }

    /// What stays behind at the end, file by file.
    pub fn farewell(&mut self) {
        for id in self.roster.ids() {
            let held = self.roster.get(id).map(|followed| followed.said.spacing.take_all());
            self.report.print_all(held.into_iter().flatten());
        }
        let left = self.left();
        let is_all = left.is_empty() && self.is_delivered() && self.turns.rest_end().is_none() && !self.is_starved();
        if !is_all {
            self.report.tell_left(&left, self.past.keeper().has_file());
        }
    }

    /// What of each source and spool is there and not delivered, bytes.
    fn left(&self) -> Vec<(String, u64)> {
        let here = self.staying().map(|followed| (followed.name.clone(), followed.source.left_bytes()));
        let spools = self.spools.iter().map(|spool| (spool.name(), spool.waiting_bytes()));
        here.chain(spools).filter(|(_, bytes)| *bytes > 0).collect()
    }

    /// The logs that the configuration names.
    fn staying(&self) -> impl Iterator<Item = &Followed> {
        self.roster.iter().filter(|followed| self.turns.stand(followed.source.id()) != Stand::Leaving)
    }

    fn tell_watching(&mut self) {
        let files = self.staying().count();
        self.report.tell_watching(files, self.hearing.watch().is_some(), &self.config);
    }

    /// What happened to a log since the last time.
    fn tell_of(&mut self, id: SourceId) {
        let is_only = self.roster.len() == 1 && self.spools.iter().next().is_none();
        let Some(followed) = self.roster.get(id) else { return };
        let happenings = followed.source.take_happenings();
        if self.report.lacks_watching(&happenings) {
            self.tell_watching();
        }
        if let Some(followed) = self.roster.get(id) {
            self.report.tell_of(followed, happenings, is_only);
        }
    }

    /// Writes the checkpoint. What fails is said once, and tried again.
    fn keep(&mut self, is_durable: bool, now: Instant) {
        if let Err(Unsaved { error, is_first: true }) = self.save(is_durable, now) {
            let sentence = format!("{error}; a crash repeats lines delivered from now on");
            self.report.print(&Event::Error(sentence));
        }
    }

    /// Writes the checkpoint for the next run.
    ///
    /// # Errors
    /// It cannot be written: that run repeats what was delivered since the last one that could.
    pub fn keep_last(&mut self, now: Instant) -> Result<()> {
        let repeated = |error| format!("{error}; the next run repeats lines delivered since the last save");
        let stored = |unsaved: Unsaved| Error::because("store", "the last state", repeated(unsaved.error));
        self.past.keeper_mut().write_all_next();
        self.save(true, now).map_err(stored)?;
        if within_a_moment(|| self.outputs.flows().iter().all(|flow| flow.taken == flow.delivered)) {
            self.past.keeper_mut().end()?;
        }
        Ok(())
    }

    /// Shows nothing any more.
    pub fn end_showing(&mut self) {
        self.report.end();
    }

    fn save(&mut self, is_durable: bool, now: Instant) -> std::result::Result<(), Unsaved> {
        self.past.save(&mut self.roster, &self.outputs.flows(), is_durable, now)?;
        if is_durable {
            self.forget_finished();
        }
        Ok(())
    }

    /// Pipes need no longer know of what the checkpoint does not know, once that is much: it may be of a spool that is
    /// not configured now, and will be again.
    fn forget_finished(&mut self) {
        let here = self.roster.iter().map(|followed| followed.source.generations().count());
        let others = self.past.keeper().others().map(|state| state.generations.len());
        let generations: usize = here.chain(others).sum();
        if self.outputs.positions() <= SLOTS_MAX.max(2 * generations) {
            return;
        }
        // Where nobody knows which files are there, everything is remembered.
        let Some(spooled) = self.spools.origins() else { return };
        let states: Vec<_> = self.roster.iter().map(|followed| followed.source.state()).collect();
        let all = states.iter().chain(self.past.keeper().others()).flat_map(|state| &state.generations);
        let origins: Vec<_> = all.map(|generation| generation.origin).chain(spooled).collect();
        self.outputs.retain(&origins);
    }

    /// Something happened to a source: that is shown and remembered.
    fn touch(&mut self, id: SourceId) {
        self.report.board.mark(id);
        self.roster.touch(id);
    }

    /// Takes what inotify tells as hints.
    fn hear(&mut self, now: Instant) {
        let (hints, events) = self.hearing.hear(now);
        self.report.print_all(events);
        for id in hints.grown {
            self.turns.hint(id, Hints { content: true, ..Hints::default() });
        }
        for (id, generation) in hints.closed {
            if let Some(followed) = self.roster.get(id) {
                followed.source.closed(generation, now);
            }
            self.turns.hint(id, Hints { content: true, ..Hints::default() });
        }
        for id in hints.names {
            self.turns.hint(id, Hints { names: true, ..Hints::default() });
        }
        self.discovery.globs.hint(&hints.globs);
        self.spools.hint(&hints.spools);
        if hints.overflow {
            self.spools.hint_all();
            self.turns.hint_logs(Hints { names: true, content: true });
            self.discovery.globs.hint_all(now);
        }
    }

    /// Looks at what is due, as far as its time goes. Whether a list of generations changed.
    fn look(&mut self, now: Instant) -> bool {
        self.intake.slices.begin();
        self.turns.wake_due(now, LOOKS_MAX);
        let step = self.intake.begin();
        let (mut is_changed, mut left) = (false, self.turns.due_count());
        while left > 0
            && let Some(id) = self.turns.take_due(self.intake.is_pressed())
        {
            is_changed |= self.look_at(id, now);
            left -= 1;
            if step.is_over() {
                break;
            }
        }
        self.intake.leave(left);
        self.intake.end(step);
        let Tailer { openings, roster, turns, .. } = self;
        openings.recount_all(turns, &mut self.outputs, now);
        openings.keep_to_limit(roster, turns);
        let event = openings.feed(roster, turns, self.spools.are_starved(), !self.intake.is_pressed());
        self.report.print_all(event);
        is_changed
    }

    fn look_at(&mut self, id: SourceId, now: Instant) -> bool {
        let is_here = self.turns.stand(id) != Stand::Leaving;
        let Some(followed) = self.roster.get(id).filter(|_| is_here) else { return false };
        if self.openings.must_wait(followed, &mut self.turns) {
            return false;
        }
        let are_taken_up = self.intake.arrivals.is_empty();
        let to_find = |since| self.discovery.is_to_find(since, are_taken_up, now).filter(|_| !self.intake.is_ending());
        if let Some(at) = followed.source.seeks_since().and_then(to_find) {
            self.turns.look_at(id, at);
            return false;
        }
        let Discovery { directories, taken, .. } = &mut self.discovery;
        let path = followed.source.path().to_path_buf();
        let mut hints = self.turns.take_hints(id);
        if hints == Hints::default() && followed.source.is_unchanged() && followed.siblings.is_unchanged(directories) {
            self.turns.look_at(id, now + followed.interval(self.config.poll_interval));
            self.tell_of(id);
            return false;
        }
        if hints.names {
            self.hearing.add_names(followed);
        }
        hints.names |= followed.siblings.changed(directories);
        let Followed { source, siblings, also, .. } = followed;
        let around = Around::new(id, siblings, also, directories, taken, &self.config);
        let mut around = Around { is_last: self.intake.is_ending(), ..around };
        let slice = self.intake.slices.next();
        around.unpack_left = Some(slice);
        source.look(now, hints, &mut around);
        self.intake.slices.took(slice - around.unpack_left.unwrap_or_default(), source.is_comparing());
        let met = around.met;
        let is_changed = source.take_changed();
        self.discovery.note_files(followed, is_changed, now);
        self.openings.recount(followed);
        self.hearing.watch_files(followed);
        if followed.source.wants_descriptor() {
            self.openings.starve(id, &mut self.turns);
        } else {
            self.turns.sate(id);
        }
        self.touch(id);
        self.turns.make_ready(id);
        self.tell_of(id);
        if let Some(owner) = met {
            self.also_has(owner, path);
        }
        self.remove_if_gone(id);
        is_changed
    }

    /// Reads what there is, each source and spool in its turn, as far as its output has room and its limit allows.
    fn read(&mut self, now: Instant, now_ns: i64) {
        self.turns.wake_rested(now);
        let step = self.intake.begin();
        // Who is ready again by then is read in the next round.
        for _ in 0..self.turns.ready_count().div_ceil(READS_MAX).max(1) {
            self.read_some(now, now_ns);
            if step.is_over() {
                break;
            }
        }
        self.intake.end(step);
    }

    fn read_some(&mut self, now: Instant, now_ns: i64) {
        let mut turns = self.take_turns(now);
        self.turns.order(&mut turns);
        let mut shares = Shares::of(&turns);
        for turn in turns {
            let Some(spool) = self.spools.get(turn.id) else {
                self.read_one(&turn, &mut shares, now);
                continue;
            };
            let is_awaited = self.outputs.is_ordered(turn.output) || self.turns.is_wanted(turn.output);
            let output = self.outputs.get_straight(turn.output);
            let bytes_max = shares.next(&turn, output.room(turn.id));
            spool.read(&mut PartHands { output, is_awaited, buffer: &mut self.intake.buffer, bytes_max, now, now_ns });
        }
    }

    /// Who is read next.
    fn take_turns(&mut self, now: Instant) -> Vec<Turn> {
        self.spools.settle(&mut self.turns, &mut self.outputs, now);
        let turn = |id| {
            if let Some(turn) = self.spools.turn(id, &mut self.outputs) {
                return Some(turn);
            }
            let followed = self.roster.get(id)?;
            let (output, priority, fed_at) = (followed.output, followed.file.priority, followed.account.fed_at);
            let has_room = self.outputs.get(output).room(id) > 0;
            Some(Turn { id, output, priority, is_inside: false, has_room, fed_at })
        };
        self.turns.take_ready(READS_MAX).into_iter().filter_map(turn).collect()
    }

    fn read_one(&mut self, turn: &Turn, shares: &mut Shares, now: Instant) {
        let id = turn.id;
        let Some(followed) = self.roster.get(id) else { return };
        if followed.next_output != followed.output && followed.is_delivered() {
            self.outputs.part(followed.output, id);
            followed.output = followed.next_output;
        }
        if followed.next_output != followed.output {
            return;
        }
        if followed.watched.ear == Ear::Polls {
            self.outputs.allow_for(followed.output, self.config.poll_interval);
        }
        let output = self.outputs.get(followed.output);
        let room = output.room(id);
        if room == 0 && self.spools.hold(followed.output) && followed.source.has_unread() {
            self.turns.want(followed.output);
        }
        let share = shares.next(turn, room);
        let fed = followed.read(output, &mut self.intake.buffer, share, now, self.clock.now_ns());
        self.discovery.note_heads(followed, false);
        self.report.tell_backlog(followed, fed.backlog);
        self.report.tell_of_content(followed);
        self.go_on(id, &fed, now);
        self.touch(id);
        self.tell_of(id);
    }

    /// Sees to it that a log is read again: in the next round; when its output has more room; or when its limit lets it.
    fn go_on(&mut self, id: SourceId, fed: &Fed, now: Instant) {
        let Some(followed) = self.roster.get(id) else { return };
        let (is_batch, is_starved) = (self.config.is_batch(), self.turns.starved().has(id));
        // What a batch closed in the middle is opened when there is room again.
        let is_to_open = is_batch && fed.had_room && !is_starved && followed.source.is_next_parked();
        let wants_look = is_to_open || followed.source.wants_look();
        let is_shut = is_batch && is_starved && followed.source.is_shut();
        let is_behind = fed.standing == Standing::Behind && !wants_look && !is_shut;
        if wants_look {
            self.turns.hint(id, Hints::default());
        } else {
            let interval = followed.interval(self.config.poll_interval);
            let next_look = followed.source.next_look(now).map_or(now + interval, |at| at.min(now + interval));
            self.turns.look_at(id, next_look);
        }
        if !is_behind {
            return;
        }
        let (output, priority, fed_at) = (followed.output, followed.file.priority, followed.account.fed_at);
        match fed.rests_until {
            Some(until) => self.turns.set(id, Stand::Rests(until)),
            // Where a read moved nothing, what room there is does not do: a line has to fit.
            None if fed.room == 0 || !fed.has_moved => {
                self.turns.wait_for_room(id, Waiting { output, priority, fed_at, room: fed.room });
            }
            None => self.turns.make_ready(id),
        }
    }

    /// Lets the outputs go on, and tells the sources what is delivered.
    fn deliver(&mut self, now: Instant) -> Result<()> {
        let (mut delivered, mut left) = (Vec::new(), Vec::new());
        let turned = self.outputs.turn(now, self.clock.now_ns(), &mut delivered);
        self.report.tell_of_outputs(&mut self.outputs, &mut self.roster, self.config.is_batch());
        let has_arrived = !self.outputs.are_recovering() && self.past.has_arrived();
        if has_arrived {
            self.roster.touch_all();
        }
        if has_arrived || !delivered.is_empty() {
            self.past.keeper_mut().note();
        }
        // What is delivered may be closed: who waits for a descriptor is looked at again.
        if let Some(id) = self.turns.starved().first().filter(|_| !delivered.is_empty()) {
            self.turns.hint(id, Hints::default());
        }
        for done @ Delivered { generation, offset } in delivered {
            if self.spools.delivered(done) {
                continue;
            }
            let id = generation.source();
            self.touch(id);
            let Some(followed) = self.roster.get(id) else { continue };
            followed.account.counts.delivered_bytes += followed.source.delivered(generation, offset);
            followed.account.delay.end_block();
            if self.turns.stand(id) == Stand::Leaving && followed.is_delivered() {
                left.push(id);
            }
            if followed.source.wants_look() {
                self.turns.hint(id, Hints::default());
            }
            if followed.next_output != followed.output {
                self.turns.make_ready(id);
            }
        }
        for id in left {
            self.remove(id);
        }
        for id in self.turns.rouse(|id, waiting| waiting.is_over(id, self.outputs.get(waiting.output))) {
            if let Some(followed) = self.roster.get(id) {
                followed.account.delay.end_block();
            }
            self.report.board.mark(id);
        }
        // Last, for what was delivered before a failure is delivered.
        turned?;
        self.check_stuck(now)
    }

    /// Fails where a batch would wait for ever for descriptors.
    fn check_stuck(&self, now: Instant) -> Result<()> {
        let waits = |waits: &Waits| waits.until.is_some() || waits.writable.is_some();
        let is_idle = !self.is_behind()
            && self.turns.next_due(now).is_none_or(|due| due > now)
            && !self.waits().iter().any(waits);
        if !is_idle || !self.openings.are_stuck(&self.roster, &self.turns) {
            return Ok(());
        }
        let starved = counted(self.turns.starved().len() as u64, "file");
        Err(io::Error::other(format!(
            "{starved} still waiting for a file descriptor; raise the limit on open files: `ulimit -n`, LimitNOFILE="
        )))
        .cannot("read", "all files")
    }
}

/// When one of the files was changed last: the only time of lines without one that makes a batch a function of its
/// files.
fn last_change_ns(found: &[FoundSource]) -> i64 {
    let changes = found.iter().filter_map(|found| fs::metadata(&found.path).ok());
    changes.map(|metadata| metadata.mtime() * 1_000_000_000 + metadata.mtime_nsec()).max().unwrap_or(0)
}

fn has_color(cli: &Cli) -> bool {
    let has_objection = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    cli.color.is_on(io::stdout().is_terminal(), has_objection)
}

/// Whether something comes true within a moment.
fn within_a_moment(mut is_true: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + TAKEN_SPAN;
    loop {
        match is_true() {
            false if Instant::now() < deadline => thread::sleep(TAKEN_SPAN / 20),
            is_true => return is_true,
        }
    }
}
