//! One run of `reader logs`: logs are opened, lines found, merged and shown.

use std::fs::File;
use std::io::IsTerminal;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileTypeExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::libc::{SIGINT, SIGTERM};
use standpipe_common::error::{Cannot, EXIT_USAGE, Result, Stop};
use standpipe_common::shown::counted;
use standpipe_common::standard::{self, complain};

use super::ask::{Ask, Course, Paging, Which};
use super::backward::Backward;
use super::batch::{count as count_lines, last_lines};
use super::context::Context;
use super::counts::Counts;
use super::cursor::{Cursor, KeptPlace};
use super::follow::{Follow, Wake};
use super::forward::Forward;
use super::log::{Log, Position};
use super::merge::{Merge, Sentences, Source, ahead, starts_of_last};
use super::pager::{self, Pager};
use super::pool::Pool;
use super::print::{Failed, Printer};
use super::scan::Scan;
use super::select::Selection;
use super::show::{Flow, Show};
use super::{select, waiting};

/// Exit code where no line was found, or none in time.
const EXIT_NONE: u8 = 1;

/// One run, from the logs that are opened to the exit code.
pub struct Session {
    ask: Ask,
    scan: Arc<Scan>,
    logs: Vec<Log>,
    pool: Pool,
    show: Show,
    pager: Option<Pager>,
    /// Where the lines begin that are shown, or what is read next, of each log.
    places: Vec<Option<Position>>,
    counts: Counts,
    sentences: Sentences,
    /// TERM and INT, if a cursor is to be kept when they come.
    told_to_end: Arc<AtomicBool>,
}

/// How lines came to an end.
enum End {
    /// There were no more.
    Read,
    /// There may be more, but not of these.
    Stopped,
    /// The output would have become too long.
    Full,
}

impl Session {
    /// Opens the logs that were asked for, and the output.
    pub fn new(mut ask: Ask, selection: Selection) -> std::result::Result<Session, Stop> {
        let Selection { dirs, closed } = selection;
        let stdout = standard::output()?;
        let is_terminal = stdout.is_terminal();
        let follows = matches!(ask.course, Course::Follow(_));
        let several = dirs.len() > 1 || follows && !select::growing_roots(&ask.what, ask.logs.as_deref()).is_empty();
        let look = ask.renderer(several, is_terminal);
        let mut scan = std::mem::take(&mut ask.scan);
        scan.timed = ask.course != Course::Count && (several || look.is_timed());
        let mut sentences: Sentences = closed.iter().map(ToString::to_string).collect();
        let mut logs = Vec::with_capacity(dirs.len());
        for dir in dirs {
            match Log::open(dir, scan.needs_marks()) {
                Ok(log) => logs.push(log),
                Err(error) if !several => return Err(error.into()),
                Err(error) => sentences.push(error.to_string()),
            }
        }
        tell_apart(&mut logs);
        let (pager, out) = match ask.output.paging {
            paging if is_terminal && paging != Paging::Off => pager::start(paging == Paging::FromEnd).unzip(),
            _ => (None, None),
        };
        let out: OwnedFd = match out {
            Some(out) => out,
            None => stdout.as_fd().try_clone_to_owned().cannot("open", standard::OUTPUT)?,
        };
        let told_to_end = Arc::new(AtomicBool::new(false));
        let keeps_places = ask.bookmark.is_kept() || ask.bounds.bytes_max.is_some();
        if pager.is_some() || keeps_places {
            signal_hook::flag::register(SIGINT, told_to_end.clone()).cannot("handle", "signal INT")?;
            signal_hook::flag::register(SIGTERM, told_to_end.clone()).cannot("handle", "signal TERM")?;
        }
        let places = vec![None; logs.len()];
        let mut pool = Pool::new(ask.threads, logs.len())?;
        if ask.course == Course::Count || takes_no_terminal(stdout.as_fd()) {
            pool.show_progress(logs.iter().map(Log::parts).sum());
        }
        Ok(Session {
            scan: Arc::new(scan),
            logs,
            pool,
            show: Show::new(Printer::new(out, keeps_places), look, ask.limits()),
            pager,
            places,
            counts: Counts::default(),
            sentences,
            told_to_end,
            ask,
        })
    }

    /// Shows what was asked for. The exit code.
    pub fn run(mut self) -> std::result::Result<u8, Stop> {
        let code = match self.lines() {
            Ok(code) => code,
            Err(Failed::Closed) => self.code(),
            Err(Failed::Stop(stop)) => return Err(stop),
        };
        self.keep_cursor()?;
        if self.ask.tells_frames {
            standard::say(self.counts.frames(self.pool.read()));
            self.counts.without_filter().iter().for_each(standard::say);
        }
        if self.ask.bookmark.is_shown {
            complain(self.cursor().text());
        }
        let Session { show, pager, .. } = self;
        drop(show);
        if let Some(pager) = pager {
            pager.wait();
        }
        Ok(code)
    }

    fn lines(&mut self) -> std::result::Result<u8, Failed> {
        self.begin()?;
        if self.ask.course == Course::Count {
            self.count()?;
            self.pool.end_progress();
            return Ok(self.code());
        }
        let end = match self.ask.course {
            Course::Backward => self.read_backward()?,
            _ => self.read_forward()?,
        };
        self.pool.end_progress();
        self.say_removed();
        let code = match (&end, self.ask.course) {
            (End::Read, Course::Follow(timeout)) => self.follow(timeout)?,
            _ => None,
        };
        if matches!(self.ask.course, Course::Follow(_)) {
            self.show.printer().flush()?;
        } else {
            self.show.end()?;
            self.say_waiting();
        }
        if matches!(end, End::Full) {
            self.say_full();
        }
        Ok(code.unwrap_or_else(|| self.code()))
    }

    fn code(&self) -> u8 {
        let is_search = self.scan.patterns.is_some();
        if self.show.is_troubled() {
            EXIT_USAGE
        } else if is_search && !self.show.has_found() {
            EXIT_NONE
        } else {
            0
        }
    }

    /// Finds where reading begins in each log.
    fn begin(&mut self) -> Result<()> {
        if let Some(cursor) = &self.ask.bookmark.cursor {
            for (log, place) in self.logs.iter().zip(&mut self.places) {
                *place = cursor.pipes.get(log.name()).map(|at| resume(log, at)).transpose()?.flatten();
            }
        }
        Ok(())
    }

    fn read_forward(&mut self) -> std::result::Result<End, Failed> {
        let froms = self.places.clone();
        let mut matches_from: Vec<Option<Position>> = vec![None; self.logs.len()];
        if let Which::Last(count) = self.ask.bounds.span {
            let (scan, holds) = (self.scan.clone(), self.ask.holds());
            let (starts, counts) = starts_of_last(count, &mut self.logs, &froms, &scan, holds, &mut self.pool)?;
            self.counts = counts;
            self.places = starts;
            if let Some((before, _)) = self.ask.bounds.context {
                matches_from = self.places.clone();
                self.step_back(before, &froms)?;
            }
        }
        self.read(&matches_from)
    }

    /// Reads on from its places, and shows what is there.
    fn read(&mut self, matches_from: &[Option<Position>]) -> std::result::Result<End, Failed> {
        let ahead = ahead(self.logs.len(), &self.pool);
        let holds = self.ask.holds();
        let mut sources = Vec::with_capacity(self.logs.len());
        for ((log, place), matches_from) in self.logs.iter().zip(&self.places).zip(matches_from) {
            let forward = Forward::new(log, self.scan.clone(), place.clone(), ahead, holds);
            let context = self.ask.bounds.context.map(|(before, after)| Context::new(before, after));
            sources.push(Source::forward(forward, context, matches_from.clone()));
        }
        let mut merge = Merge::forward(sources);
        let end = self.pour(&mut merge)?;
        self.counts = self.counts.most(merge.counts());
        if matches!(end, End::Read) {
            for (number, place) in self.places.iter_mut().enumerate() {
                *place = merge.source(number).end();
                if let Some(place) = place {
                    self.show.printer().reach(number, place.clone());
                }
            }
        }
        Ok(end)
    }

    /// Shows what comes out, until there is no more or it is enough.
    fn pour(&mut self, merge: &mut Merge) -> std::result::Result<End, Failed> {
        loop {
            let next = merge.next(&mut self.logs, &mut self.pool, &mut self.sentences);
            self.say_trouble()?;
            let Some((number, chunk)) = next? else { return Ok(End::Read) };
            if self.told_to_end.load(Ordering::Relaxed) {
                return Ok(End::Stopped);
            }
            let batch = merge.source(number).batch();
            let log = (number, self.logs[number].name());
            let scratch = self.pool.scratch();
            let flow = if self.ask.course == Course::Backward {
                self.show.chunk_reversed(log, batch, &chunk, &self.scan, scratch)?
            } else {
                self.show.chunk(log, batch, &chunk, &self.scan, scratch)?
            };
            match flow {
                Flow::More => {}
                Flow::Enough => return Ok(End::Stopped),
                Flow::Full => return Ok(End::Full),
            }
        }
    }

    fn read_backward(&mut self) -> std::result::Result<End, Failed> {
        let ahead = ahead(self.logs.len(), &self.pool);
        let sources = self.logs.iter().zip(&self.places).map(|(log, from)| {
            Source::backward(Backward::new(log, self.scan.clone(), (from.clone(), None), ahead, false))
        });
        let mut merge = Merge::backward(sources.collect());
        let end = self.pour(&mut merge)?;
        self.counts = merge.counts();
        Ok(end)
    }

    /// Moves the places back by so many lines, as far as they arrived in time.
    fn step_back(&mut self, lines: usize, froms: &[Option<Position>]) -> Result<()> {
        let scan = Arc::new(self.scan.without_patterns());
        for (number, place) in self.places.iter_mut().enumerate() {
            let Some(until) = place.clone() else { continue };
            let log = &mut self.logs[number];
            let bounds = (froms[number].clone(), Some(until));
            let mut backward = Backward::new(log, scan.clone(), bounds, 1, false);
            let mut left = lines;
            while left > 0
                && let Some(batch) = backward.next(log, &mut self.pool)?
            {
                for run in batch.runs.iter().rev() {
                    let (start, found) = last_lines(&batch.raw, run.range.clone(), left);
                    *place = Some(batch.before(start));
                    left -= found;
                    if left == 0 {
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    /// Prints how many lines there are.
    fn count(&mut self) -> std::result::Result<(), Failed> {
        let ahead = ahead(1, &self.pool);
        let several = self.logs.len() > 1;
        for number in 0..self.logs.len() {
            let log = &mut self.logs[number];
            let mut forward = Forward::new(log, self.scan.clone(), self.places[number].clone(), ahead, false);
            let mut lines = 0;
            while let Some(batch) = forward.next(log, &mut self.pool)? {
                lines += batch.runs.iter().map(|run| count_lines(&batch.raw[run.range.clone()])).sum::<u64>();
                self.pool.give_back(batch.raw);
                self.sentences.extend(forward.take_sentences());
                if self.ask.bounds.count_max.is_some_and(|max| lines >= max) {
                    break;
                }
            }
            self.sentences.extend(forward.take_sentences());
            self.counts = self.counts.plus(forward.counts());
            let lines = self.ask.bounds.count_max.map_or(lines, |max| lines.min(max));
            let name = self.logs[number].name().to_owned();
            self.pool.clear_progress();
            self.show.counted(lines, &name, several)?;
            self.say_trouble()?;
        }
        self.show.printer().flush()
    }

    /// Waits for more, and shows it. An exit code: it decides.
    fn follow(&mut self, timeout: Option<Duration>) -> std::result::Result<Option<u8>, Failed> {
        self.show.printer().flush()?;
        let roots = select::growing_roots(&self.ask.what, self.ask.logs.as_deref());
        let until_ns = (self.scan.until_ns < i64::MAX).then_some(self.scan.until_ns);
        let mut follow = Follow::new(&roots, until_ns, timeout)?;
        for (number, log) in self.logs.iter().enumerate() {
            follow.watch(number, log.dir().path());
        }
        loop {
            self.keep_cursor().map_err(Failed::Stop)?;
            match follow.wait(self.show.printer().out(), &self.told_to_end)? {
                Wake::Closed => return Err(Failed::Closed),
                Wake::Ended => return Ok(None),
                Wake::TimedOut => return Ok(Some(EXIT_NONE)),
                Wake::Logs => {}
            }
            self.take_new_logs(&mut follow)?;
            for (number, has_new_names) in follow.take_touched() {
                let place = self.places[number].clone();
                let log = &mut self.logs[number];
                if has_new_names { log.refresh(place.as_ref())? } else { log.grow(place.as_ref()) }
            }
            let none = vec![None; self.logs.len()];
            let end = self.read(&none)?;
            self.say_removed();
            self.show.printer().flush()?;
            if matches!(end, End::Full) {
                self.say_full();
            }
            if !matches!(end, End::Read) {
                return Ok(None);
            }
        }
    }

    /// Takes up the logs of pipes that have appeared.
    fn take_new_logs(&mut self, follow: &mut Follow) -> Result<()> {
        if !follow.take_new_logs() {
            return Ok(());
        }
        for dir in select::log_dirs(&self.ask.what, self.ask.logs.as_deref()).unwrap_or_default().dirs {
            let is_new = self.logs.iter().all(|log| log.dir().path() != dir.path());
            if is_new {
                // What came before it is watched counts as new.
                follow.watch(self.logs.len(), dir.path());
                self.logs.push(Log::open(dir, self.scan.needs_marks())?);
                self.places.push(None);
            }
        }
        Ok(())
    }

    fn say_trouble(&mut self) -> std::result::Result<(), Failed> {
        if !self.sentences.is_empty() {
            self.pool.clear_progress();
        }
        self.show.say(&mut self.sentences)
    }

    fn say_removed(&mut self) {
        for log in &mut self.logs {
            let removed = log.take_removed();
            if removed > 0 {
                let parts = counted(removed, "part");
                standard::warning(format_args!("{}: retention removed {parts} of the selection meanwhile", log.name()));
            }
        }
    }

    fn say_waiting(&self) {
        for log in &self.logs {
            if let Some(sentence) = waiting::sentence(log.dir()) {
                standard::warning(sentence);
            }
        }
    }

    /// Says how to go on.
    fn say_full(&mut self) {
        let bytes = self.ask.bounds.bytes_max.unwrap_or(0);
        let size = standpipe_common::units::ByteSize(bytes);
        let how = match &self.ask.bookmark.file {
            Some(_) => "run it again for the next lines".to_owned(),
            None => {
                format!("choose fewer (--since, -g, -n), or continue with --after-cursor '{}'", self.cursor().text())
            }
        };
        let has_printed = self.show.has_printed();
        let next_alone = "the next line alone exceeds it; raise --max-bytes, or cut lines with --max-line";
        let how = if has_printed { how } else { next_alone.to_owned() };
        standard::say(format_args!("output limit of {size} reached: {how}"));
    }

    fn cursor(&mut self) -> Cursor {
        let mut cursor = self.ask.bookmark.cursor.clone().unwrap_or_default();
        for (number, log) in self.logs.iter().enumerate() {
            let place = self.show.printer().accepted(number).or_else(|| self.places[number].clone());
            if let Some(Position { part, offset }) = place {
                cursor.pipes.insert(log.name().to_owned(), KeptPlace { part: part.stem().to_owned(), offset });
            }
        }
        cursor
    }

    fn keep_cursor(&mut self) -> std::result::Result<(), Stop> {
        let Some(file) = self.ask.bookmark.file.clone() else { return Ok(()) };
        let cursor = self.cursor();
        if self.ask.bookmark.cursor.as_ref() != Some(&cursor) {
            cursor.write(&file)?;
            self.ask.bookmark.cursor = Some(cursor);
        }
        Ok(())
    }
}

/// The place in a log that a cursor gives. `None`: the beginning of what is left.
fn resume(log: &Log, at: &KeptPlace) -> Result<Option<Position>> {
    let part = log.part_of_stem(&at.part)?;
    let place = part.map(|part| Position { part, offset: at.offset });
    if place.as_ref().is_some_and(|place| log.has(&place.part)) {
        return Ok(place);
    }
    let next = place.as_ref().map_or(0, |place| log.number_of(&place.part));
    let goes_on = if next < log.parts() {
        format!("continuing with {}, the oldest part left", log.name_of(next))
    } else {
        "no later part is left".to_owned()
    };
    let (name, part) = (log.name(), &at.part);
    standard::warning(format_args!("{name}: the part of the cursor, {part}, was removed; {goes_on}"));
    Ok(place.filter(|_| next > 0))
}

/// Logs of the same name are called by their paths.
fn tell_apart(logs: &mut [Log]) {
    let names: Vec<String> = logs.iter().map(|log| log.name().to_owned()).collect();
    for log in logs {
        if names.iter().filter(|name| *name == log.name()).count() > 1 {
            log.call_by_path();
        }
    }
}

/// Whether lines go into a file: whoever reads a pipe may have the terminal too.
fn takes_no_terminal(out: BorrowedFd<'_>) -> bool {
    let is = out.try_clone_to_owned().and_then(|out| File::from(out).metadata()).map(|is| is.file_type());
    !out.is_terminal() && is.is_ok_and(|is| is.is_file() || is.is_char_device())
}
