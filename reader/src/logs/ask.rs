//! What was asked for, checked: no option is left that does nothing, none that contradicts another.

use std::path::PathBuf;
use std::time::Duration;

use jiff::Zoned;
use jiff::tz::TimeZone;
use standpipe_common::error::Stop;
use standpipe_common::shown::Shown as _;

use super::cursor::Cursor;
use super::pattern::{Patterns, Search, Style};
use super::pool::usual_threads;
use super::render::{Form, Renderer};
use super::scan::Scan;
use super::show::Limits;
use super::when;
use crate::cli::{LogsArgs, MatchArgs, PatternArgs, RangeArgs};

/// Lines that are shown before following, if nobody says how many.
const FOLLOW_LINES: u64 = 10;
/// Lines that are shown in a pager at its end.
const PAGER_END_LINES: u64 = 1000;

/// What was asked for.
pub struct Ask {
    /// Names, patterns and paths.
    pub what: Vec<PathBuf>,
    /// The log root that was given.
    pub logs: Option<PathBuf>,
    /// What is looked for in lines.
    pub scan: Scan,
    /// Which way lines are given.
    pub course: Course,
    /// How many of those that were found.
    pub bounds: Bounds,
    /// Where reading begins, and where is kept how far it got.
    pub bookmark: Bookmark,
    /// How they are shown.
    pub output: Output,
    /// Threads that read.
    pub threads: usize,
    /// How many frames were read is said.
    pub tells_frames: bool,
}

/// Which way lines are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Course {
    /// From the oldest on.
    Forward,
    /// From the newest back.
    Backward,
    /// From the oldest on, and then those that come, for so long.
    Follow(Option<Duration>),
    /// Only how many there are.
    Count,
}

/// How much is shown of what was found.
#[derive(Debug)]
pub struct Bounds {
    /// Which of the lines.
    pub span: Which,
    /// Lines before and behind each.
    pub context: Option<(usize, usize)>,
    /// So many lines end it.
    pub count_max: Option<u64>,
    /// The output is not longer, bytes.
    pub bytes_max: Option<u64>,
}

/// Which lines, of those that were found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// None is left out.
    All,
    /// The newest of them.
    Last(u64),
    /// The oldest of them.
    First(u64),
}

/// How far reading got before, and what becomes of how far it gets now.
#[derive(Debug)]
pub struct Bookmark {
    /// Where reading begins.
    pub cursor: Option<Cursor>,
    /// Where how far it got is kept.
    pub file: Option<PathBuf>,
    /// How far it got is printed.
    pub is_shown: bool,
}

/// How lines are shown.
#[derive(Debug)]
pub struct Output {
    /// What they are put into.
    pub form: Form,
    /// The time stands before each line.
    time: bool,
    zone: TimeZone,
    /// The name of the pipe may stand before a line.
    prefix: bool,
    /// `auto`, `always` or `never`.
    color: String,
    /// On a terminal they go through a pager.
    pub paging: Paging,
    /// A terminal gets what it would obey.
    raw_control: bool,
    /// No line is longer, bytes.
    line_bytes_max: Option<usize>,
}

/// Whether a pager is started, and what it shows first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paging {
    /// There is none.
    Off,
    /// It shows the beginning.
    FromStart,
    /// It shows the end.
    FromEnd,
}

impl Ask {
    /// Checks the command line.
    pub fn new(args: &LogsArgs, now: &Zoned) -> Result<Ask, Stop> {
        refuse_other_meanings(args)?;
        let times = when::range(args.range.since.as_deref(), args.range.until.as_deref(), now).map_err(usage)?;
        let patterns = patterns(&args.patterns)?;
        let context = context(&args.matches, patterns.is_some())?;
        let output = Output::of(args, now)?;
        let bookmark = Bookmark::of(&args.range)?;
        let has_start = args.range.since.is_some() || bookmark.cursor.is_some();
        let bounds = Bounds {
            span: which(args, has_start)?,
            context,
            count_max: args.matches.max_count,
            bytes_max: args.output.max_bytes,
        };
        let scan = Scan {
            patterns,
            // Lines around others stand where nothing is demanded.
            filtered: !args.matches.no_filter && context.is_none(),
            since_ns: *times.start(),
            until_ns: *times.end(),
            timed: args.output.timestamps || output.form == Form::Json,
        };
        Ok(Ask {
            what: args.selection.what.iter().chain(&args.unit).cloned().collect(),
            logs: args.selection.logs.clone(),
            scan,
            course: Course::of(args),
            bounds,
            bookmark,
            output,
            threads: args.output.threads.map_or_else(usual_threads, usize::from),
            tells_frames: args.patterns.invert_match >= 2,
        })
    }

    /// Whether a line at the end that has no newline yet is kept back, for another run or a later moment goes on there.
    pub fn holds(&self) -> bool {
        matches!(self.course, Course::Follow(_)) || self.bookmark.is_kept()
    }

    /// How much is shown.
    pub fn limits(&self) -> Limits {
        let of_span = match self.bounds.span {
            Which::First(count) => Some(count),
            Which::Last(count) if self.course == Course::Backward => Some(count),
            _ => None,
        };
        Limits {
            lines: [of_span, self.bounds.count_max].into_iter().flatten().min(),
            trailing: self.bounds.context.map_or(0, |(_, after)| after),
            bytes: self.bounds.bytes_max,
        }
    }

    /// How lines look; `several` logs may be among them.
    pub fn renderer(&self, several: bool, is_terminal: bool) -> Renderer {
        let Output { form, time, color, .. } = &self.output;
        let is_changed = self.scan.patterns.is_some() || *form == Form::Json || *time;
        Renderer {
            form: *form,
            prefix: *form == Form::Short && several && self.output.prefix,
            time: *time,
            zone: self.output.zone.clone(),
            color: has_color(color, is_terminal),
            visible: is_terminal && !self.output.raw_control,
            line_bytes_max: self.output.line_bytes_max,
            completes: several || is_changed || self.course == Course::Backward,
        }
    }
}

impl Course {
    /// No two of them can be given.
    fn of(args: &LogsArgs) -> Course {
        match (args.matches.count, args.range.reverse, args.following.follow) {
            (true, _, _) => Course::Count,
            (_, true, _) => Course::Backward,
            (_, _, true) => Course::Follow(args.following.timeout),
            _ => Course::Forward,
        }
    }
}

impl Bookmark {
    fn of(args: &RangeArgs) -> Result<Bookmark, Stop> {
        let cursor = match (&args.cursor_file, &args.after_cursor) {
            (Some(file), _) => Cursor::read(file).map_err(|error| Stop::Usage(error.to_string()))?,
            (None, Some(text)) => {
                Some(Cursor::parse(text).map_err(|why| Stop::Usage(format!("--after-cursor: {why}")))?)
            }
            (None, None) => None,
        };
        Ok(Bookmark { cursor, file: args.cursor_file.clone(), is_shown: args.show_cursor })
    }

    /// Whether another run is to go on where this one ends.
    pub fn is_kept(&self) -> bool {
        self.file.is_some() || self.is_shown
    }
}

impl Output {
    fn of(args: &LogsArgs, now: &Zoned) -> Result<Output, Stop> {
        let asked = &args.output;
        let form = form(&asked.output)?;
        if asked.timestamps && matches!(form, Form::Cat | Form::Raw) {
            return Err(usage("-t: cat and raw print lines as they are; use -o short or -o json for times"));
        }
        let paging = match (asked.no_pager || args.following.follow || args.matches.count, args.range.pager_end) {
            (true, _) => Paging::Off,
            (false, true) => Paging::FromEnd,
            (false, false) => Paging::FromStart,
        };
        Ok(Output {
            form,
            time: asked.timestamps && form == Form::Short,
            zone: if asked.utc { TimeZone::UTC } else { now.time_zone().clone() },
            prefix: !asked.no_prefix,
            color: asked.color.clone(),
            paging,
            raw_control: asked.raw_control,
            line_bytes_max: asked.max_line.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX)),
        })
    }
}

fn usage(sentence: impl Into<String>) -> Stop {
    Stop::Usage(sentence.into())
}

/// Letters that other tools use for something that there is not here, or is called otherwise.
fn refuse_other_meanings(args: &LogsArgs) -> Result<(), Stop> {
    if let Some(priority) = &args.foreign.priority {
        let hint = "-p: lines have no priority here; search for the word, as in -g 'error|warn'";
        return Err(usage(format!("{hint} (not -p {})", priority.shown())));
    }
    if args.foreign.boot {
        return Err(usage("-b: logs are not kept by boot; choose by time, as in --since today"));
    }
    if args.foreign.dmesg {
        return Err(usage("-k: no pipe has kernel messages; use journalctl -k"));
    }
    let is_cursor = |what: &PathBuf| what.to_str().is_some_and(|what| what.starts_with("s="));
    if args.matches.count && args.selection.what.iter().any(is_cursor) {
        return Err(usage("-c counts lines; to continue after a cursor use --after-cursor or --cursor-file"));
    }
    Ok(())
}

fn patterns(args: &PatternArgs) -> Result<Option<Patterns>, Stop> {
    let has_pattern = args.is_given();
    let words: [(&str, bool); 4] = [
        ("-F", args.fixed_strings),
        ("-i", args.ignore_case),
        ("--smart-case", args.smart_case),
        ("-w", args.word_regexp),
    ];
    if let Some((option, _)) = words.iter().find(|(_, given)| *given && !has_pattern) {
        return Err(usage(format!("{option} needs a pattern: give one with -g")));
    }
    let asked = Search {
        any: args.grep.clone(),
        all: args.and.clone(),
        none: args.exclude.clone(),
        style: Style {
            fixed: args.fixed_strings,
            ignore_case: args.ignore_case,
            smart_case: args.smart_case,
            word: args.word_regexp,
        },
        inverted: args.invert_match % 2 == 1,
    };
    Patterns::new(&asked).map_err(usage)
}

fn context(args: &MatchArgs, has_pattern: bool) -> Result<Option<(usize, usize)>, Stop> {
    let both = args.context;
    let context = (args.before_context.or(both), args.after_context.or(both));
    if context == (None, None) {
        return Ok(None);
    }
    if !has_pattern {
        return Err(usage("-A, -B and -C need a pattern: give one with -g"));
    }
    Ok(Some((context.0.unwrap_or(0), context.1.unwrap_or(0))).filter(|context| *context != (0, 0) && !args.count))
}

fn form(name: &str) -> Result<Form, Stop> {
    Ok(match name {
        "short" => Form::Short,
        "json" => Form::Json,
        "cat" => Form::Cat,
        "raw" => Form::Raw,
        other => {
            let hint = if other.starts_with("json") {
                "; json prints one object a line, which `jq .` spreads out"
            } else if other.starts_with("short-") || other == "verbose" || other == "with-unit" {
                "; for times use -t, in UTC with --utc"
            } else {
                ""
            };
            return Err(usage(format!("-o {}: formats are short, json, cat and raw{hint}", other.shown())));
        }
    })
}

fn which(args: &LogsArgs, has_start: bool) -> Result<Which, Stop> {
    let Some(text) = &args.range.lines else {
        return Ok(match (args.following.follow && !has_start, args.range.pager_end) {
            (true, _) => Which::Last(FOLLOW_LINES),
            (_, true) => Which::Last(PAGER_END_LINES),
            _ => Which::All,
        });
    };
    let (digits, first) = text.strip_prefix('+').map_or((text.as_str(), false), |digits| (digits, true));
    let count: Option<u64> = digits.parse().ok().filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit()));
    match (count, first) {
        (Some(_), true) if args.following.follow => Err(usage("-n +N with -f: to stop after N lines use -m N")),
        (Some(_), true) if args.range.reverse => {
            Err(usage("-n +N with -r: the first N lines are the oldest; leave one out"))
        }
        (Some(count), true) => Ok(Which::First(count)),
        (Some(count), false) => Ok(Which::Last(count)),
        (None, _) if text == "all" => Ok(Which::All),
        (None, _) => {
            Err(usage(format!("-n {}: give a number of lines, as in -n 50, or +50 for the first 50", text.shown())))
        }
    }
}

/// Whether a name that no pipe has was meant for `-t` of journalctl.
pub fn hint_for_names(args: &LogsArgs) -> Option<&'static str> {
    args.output.timestamps.then_some("-t shows times, as in docker; select a pipe by NAME or -u NAME")
}

fn has_color(when: &str, is_terminal: bool) -> bool {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty() && value != "0");
    match when {
        "always" => true,
        "never" => false,
        _ if is_set("NO_COLOR") => false,
        _ => is_terminal || is_set("CLICOLOR_FORCE"),
    }
}
