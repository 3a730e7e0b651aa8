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
use super::render::Form;
use super::scan::Scan;
use super::when;
use crate::cli::LogsArgs;

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
    /// Which of the lines that were found are shown.
    pub span: Which,
    /// Only how many lines there are is shown.
    pub counts: bool,
    /// Newest first.
    pub reverse: bool,
    /// The pager shows the end first.
    pub pager_end: bool,
    /// Waits for new lines.
    pub follow: bool,
    /// For so long.
    pub timeout: Option<Duration>,
    /// Where reading begins.
    pub cursor: Option<Cursor>,
    /// Where how far it got is kept.
    pub cursor_file: Option<PathBuf>,
    /// How far it got is printed.
    pub show_cursor: bool,
    /// Lines before and behind each that was found.
    pub context: Option<(usize, usize)>,
    /// So many lines that were found end it.
    pub count_max: Option<u64>,
    /// What lines are put into.
    pub form: Form,
    /// The time stands before each line.
    pub time: bool,
    /// The zone of that.
    pub zone: TimeZone,
    /// The name of the pipe never stands before a line.
    pub no_prefix: bool,
    /// `auto`, `always` or `never`.
    pub color: String,
    /// No pager.
    pub no_pager: bool,
    /// A terminal gets what it would obey.
    pub raw_control: bool,
    /// The output is not longer, bytes.
    pub bytes_max: Option<u64>,
    /// No line is longer, bytes.
    pub line_bytes_max: Option<usize>,
    /// Threads that read.
    pub threads: usize,
    /// How many frames were read is said.
    pub tells_frames: bool,
}

/// Which lines, of those that were found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// All.
    All,
    /// The last ones.
    Last(u64),
    /// The first ones.
    First(u64),
}

impl Ask {
    /// Checks the command line.
    pub fn new(args: &LogsArgs, now: &Zoned) -> Result<Ask, Stop> {
        refuse_other_meanings(args)?;
        let times = when::range(args.since.as_deref(), args.until.as_deref(), now).map_err(usage)?;
        let patterns = patterns(args)?;
        let context = context(args, patterns.is_some())?;
        let form = form(&args.output)?;
        if args.timestamps && matches!(form, Form::Cat | Form::Raw) {
            return Err(usage("-t: cat and raw print lines as they are; use -o short or -o json for times"));
        }
        let cursor = match (&args.cursor_file, &args.after_cursor) {
            (Some(file), _) => Cursor::read(file).map_err(|error| Stop::Usage(error.to_string()))?,
            (None, Some(text)) => {
                Some(Cursor::parse(text).map_err(|why| Stop::Usage(format!("--after-cursor: {why}")))?)
            }
            (None, None) => None,
        };
        let span = which(args, args.since.is_some() || cursor.is_some())?;
        Ok(Ask {
            what: args.what.iter().chain(&args.unit).cloned().collect(),
            logs: args.logs.clone(),
            scan: Scan {
                patterns,
                // Lines around others stand where nothing is demanded.
                filtered: !args.no_filter && context.is_none(),
                since_ns: *times.start(),
                until_ns: *times.end(),
                timed: args.timestamps || form == Form::Json,
            },
            span,
            counts: args.count,
            reverse: args.reverse,
            pager_end: args.pager_end,
            follow: args.follow,
            timeout: args.timeout,
            cursor,
            cursor_file: args.cursor_file.clone(),
            show_cursor: args.show_cursor,
            context,
            count_max: args.max_count,
            form,
            time: args.timestamps && form == Form::Short,
            zone: if args.utc { TimeZone::UTC } else { now.time_zone().clone() },
            no_prefix: args.no_prefix,
            color: args.color.clone(),
            no_pager: args.no_pager || args.follow || args.count,
            raw_control: args.raw_control,
            bytes_max: args.max_bytes,
            line_bytes_max: args.max_line.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX)),
            threads: args.threads.map_or_else(usual_threads, usize::from),
            tells_frames: args.invert_match >= 2,
        })
    }
}

impl Ask {
    /// Whether a line at the end that has no newline yet is kept back, for another run or a later moment goes on there.
    pub fn holds(&self) -> bool {
        self.follow || self.cursor_file.is_some() || self.show_cursor
    }
}

fn usage(sentence: impl Into<String>) -> Stop {
    Stop::Usage(sentence.into())
}

/// Letters that other tools use for something that there is not here, or is called otherwise.
fn refuse_other_meanings(args: &LogsArgs) -> Result<(), Stop> {
    if let Some(priority) = &args.priority {
        let hint = "-p: lines have no priority here; search for the word, as in -g 'error|warn'";
        return Err(usage(format!("{hint} (not -p {})", priority.shown())));
    }
    if args.boot {
        return Err(usage("-b: logs are not kept by boot; choose by time, as in --since today"));
    }
    if args.dmesg {
        return Err(usage("-k: no pipe has kernel messages; use journalctl -k"));
    }
    let is_cursor = |what: &PathBuf| what.to_str().is_some_and(|what| what.starts_with("s="));
    if args.count && args.what.iter().any(is_cursor) {
        return Err(usage("-c counts lines; to continue after a cursor use --after-cursor or --cursor-file"));
    }
    Ok(())
}

fn patterns(args: &LogsArgs) -> Result<Option<Patterns>, Stop> {
    let has_pattern = !(args.grep.is_empty() && args.and.is_empty() && args.exclude.is_empty());
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

fn context(args: &LogsArgs, has_pattern: bool) -> Result<Option<(usize, usize)>, Stop> {
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
    let Some(text) = &args.lines else {
        return Ok(match (args.follow && !has_start, args.pager_end) {
            (true, _) => Which::Last(FOLLOW_LINES),
            (_, true) => Which::Last(PAGER_END_LINES),
            _ => Which::All,
        });
    };
    let (digits, first) = text.strip_prefix('+').map_or((text.as_str(), false), |digits| (digits, true));
    let count: Option<u64> = digits.parse().ok().filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit()));
    match (count, first) {
        (Some(_), true) if args.follow => Err(usage("-n +N with -f: to stop after N lines use -m N")),
        (Some(_), true) if args.reverse => Err(usage("-n +N with -r: the first N lines are the oldest; leave one out")),
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
    args.timestamps.then_some("-t shows times, as in docker; select a pipe by NAME or -u NAME")
}
