//! `reader histogram`: how many lines arrived in each interval, as a chart.
//!
//! - [`rows`]: the intervals, and how many lines each has;
//! - [`tally`]: the lines of a log, counted into them;
//! - [`chart`]: what people see.
//!
//! Two passes: when lines arrived in all, which the indexes and marks tell, and then how many when.

pub mod chart;
pub mod rows;
pub mod tally;

use std::io::{IsTerminal, stdout};
use std::sync::Arc;

use jiff::Zoned;
use serde_json::json;
use standpipe_common::error::{EXIT_IO, Stop};
use standpipe_common::standard;
use standpipe_common::table::Screen;

use crate::cli::HistogramArgs;
use crate::inventory::select;
use crate::logs::log::Log;
use crate::logs::pattern::{Patterns, Search, Style};
use crate::logs::pool::{Pool, usual_threads};
use crate::logs::scan::Scan;
use crate::logs::when;
use crate::moments;
use rows::{Interval, Rows};
use tally::Tally;

/// Version of the JSON object.
const JSON_VERSION: u32 = 1;

/// Counts what was asked for. The exit code.
pub fn run(args: &HistogramArgs) -> Result<u8, Stop> {
    let zone = moments::zone(args.utc);
    let scan = Arc::new(scan(args, &moments::now(zone.clone()))?);
    let (dirs, mut errors) = select(&args.selection)?;
    let mut logs = dirs.into_iter().map(|dir| Log::open(dir, true)).collect::<Result<Vec<_>, _>>()?;
    let spans = logs.iter_mut().filter_map(|log| tally::span(log, &scan));
    let span = spans.reduce(|all, span| (all.0.min(span.0), all.1.max(span.1)));
    let step = args.interval.map(|interval| Interval::exactly(interval.0)).transpose().map_err(Stop::Usage)?;
    let mut rows = match span {
        Some(span) => Rows::new(span, step, &zone).map_err(Stop::Usage)?,
        None => Rows::default(),
    };
    let mut pool = Pool::new(usual_threads(), logs.len())?;
    pool.show_progress(logs.iter().map(Log::parts).sum());
    let mut tally = Tally { scan, rows: &mut rows, pool, sentences: Vec::new(), raw: Vec::new() };
    for log in &mut logs {
        tally.count(log)?;
    }
    tally.pool.end_progress();
    for sentence in tally.sentences {
        standard::error(&sentence);
        errors.push(sentence);
    }
    if args.json {
        standard::print_json(&json_text(&rows, &errors))?;
    } else {
        let screen = Screen::of_stdout();
        let has_blocks = screen.is_utf8 && stdout().is_terminal();
        standard::print(&chart::text(&rows, &zone, screen.width, has_blocks))?;
    }
    Ok(if errors.is_empty() { 0 } else { EXIT_IO })
}

/// Which lines are counted.
fn scan(args: &HistogramArgs, now: &Zoned) -> Result<Scan, Stop> {
    let times = when::range(args.since.as_deref(), args.until.as_deref(), now).map_err(Stop::Usage)?;
    let style = Style { fixed: args.fixed_strings, ignore_case: args.ignore_case, ..Style::default() };
    let asked = Search { any: args.grep.clone(), style, ..Search::default() };
    let patterns = Patterns::new(&asked).map_err(Stop::Usage)?;
    Ok(Scan { patterns, filtered: true, since_ns: *times.start(), until_ns: *times.end(), timed: true })
}

fn json_text(rows: &Rows, errors: &[String]) -> String {
    let row = |(start, end, lines)| json!({ "start": moments::json(start), "end": moments::json(end), "lines": lines });
    let object = json!({
        "version": JSON_VERSION,
        "interval_ms": rows.step_ms(),
        "intervals": rows.iter().map(row).collect::<Vec<_>>(),
        "lines": rows.iter().map(|(_, _, lines)| lines).sum::<u64>(),
        "errors": errors,
    });
    format!("{object:#}\n")
}
