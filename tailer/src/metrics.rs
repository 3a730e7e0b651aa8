//! The tailer's numbers for a metrics system: its status file, as a page for `node_exporter`.
//!
//! Nothing is counted here, and `tailer status` is told nothing else: a page is made by another thread. The numbers of a
//! source begin anew when it is followed anew.

use std::ffi::OsString;
use std::fs::canonicalize;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use standpipe_common::clock;
use standpipe_common::error::Result;
use standpipe_common::metrics::exporter::{Exporter, Told};
use standpipe_common::metrics::{Family, Labels, Page, seconds};
use standpipe_common::shown::passed_ns;

use crate::config::Config;
use crate::events::{Event, EventForm, Printer};
use crate::status::format::{Content, Slot};
use crate::status::snapshot;

const UP: Family = Family::gauge("standpipe_tailer_up", "1 while tailer runs, 0 once it has stopped.");
const START: Family = Family::gauge("standpipe_tailer_start_time_seconds", "Start of tailer, Unix time.");
const UPDATE: Family = Family::gauge("standpipe_tailer_update_time_seconds", "Time of these numbers, Unix time.");
const SOURCES: Family = Family::gauge("standpipe_tailer_sources", "Files and spools that are followed.");
const DELIVERED: Family = Family::counter("standpipe_tailer_delivered_bytes_total", "Bytes delivered.");
const LAG: Family = Family::gauge("standpipe_tailer_lag_bytes", "Bytes seen but not yet delivered.");
const BEHIND: Family = Family::gauge("standpipe_tailer_behind_seconds", "Time since everything was delivered last.");
const BLOCKED: Family =
    Family::gauge("standpipe_tailer_blocked_seconds", "Time since the output last took bytes, while some wait for it.");
const FILES: Family = Family::gauge(
    "standpipe_tailer_unfinished_files",
    "Files of the source not finished: the live one and rotated ones; in a spool, files not yet delivered.",
);
const FAILING: Family =
    Family::gauge("standpipe_tailer_failing", "1 while the source cannot be read as configured (see tailer status).");
const LIMITED: Family = Family::gauge("standpipe_tailer_limited", "1 while rate_limit delays the source.");
const TRUNCATIONS: Family = Family::counter("standpipe_tailer_truncations_total", "Truncations of the file.");
const COPIES: Family =
    Family::counter("standpipe_tailer_copies_total", "Rotated copies in which reading continued after a truncation.");
const LOST_BYTES: Family =
    Family::counter("standpipe_tailer_lost_bytes_total", "Bytes destroyed before tailer could read them.");
const LOST_UNKNOWN: Family =
    Family::counter("standpipe_tailer_lost_unknown_total", "Losses of which nobody knows the number of bytes.");
const LATE_LINES: Family =
    Family::counter("standpipe_tailer_late_lines_total", "Lines delivered behind lines with later times.");
const LATE_BYTES: Family = Family::counter(
    "standpipe_tailer_late_bytes_total",
    "Bytes of a rotated file delivered behind bytes of the next one.",
);
const ORPHANS: Family =
    Family::counter("standpipe_tailer_orphaned_markers_total", "Markers in a spool without their file, removed.");

/// Keeps the metrics file of a configuration up to date, if there is to be one.
///
/// # Errors
/// It cannot be.
pub fn start(config: &Config, form: EventForm) -> Result<Option<Exporter>> {
    let (Some(path), Some(state)) = (&config.metrics_file, config.state_file.clone()) else { return Ok(None) };
    let mut printer = Printer::new(form);
    let tell = move |told| {
        printer.print(&match told {
            Told::Fails(sentence) => Event::Error(sentence),
            Told::Works(sentence) => Event::Note(sentence),
        });
    };
    Exporter::start(path.clone(), move |is_up| page(&state, is_up), tell).map(Some)
}

fn page(state: &Path, is_up: bool) -> Page {
    let now_ns = clock::now_ns();
    // The file itself is another one after each save.
    let dir = state.parent().and_then(|dir| canonicalize(dir).ok());
    let real = dir.zip(state.file_name()).map_or_else(|| state.to_path_buf(), |(dir, name)| dir.join(name));
    let of_state = Labels::default().with("state_file", real);
    let mut page = Page::default();
    let mut one = |family: &Family, value: f64| page.put(family, [(of_state.clone(), value)]);
    one(&UP, f64::from(u8::from(is_up)));
    one(&UPDATE, seconds(now_ns as u64));
    // A tailer that cannot keep its status file has said so.
    if let Ok(content) = snapshot::content(state) {
        one(&START, seconds(content.start_ns));
        one(&SOURCES, content.slots.len() as f64);
        put_sources(&mut page, content, &of_state, now_ns);
    }
    page
}

fn put_sources(page: &mut Page, content: Content, of_state: &Labels, now_ns: i64) {
    let named = |mut slot: Slot| {
        let path = OsString::from_vec(slot.path.take()?);
        Some((of_state.with("source", path), numbers(&slot, now_ns)))
    };
    let mut sources: Vec<_> = content.slots.into_iter().filter_map(named).collect();
    sources.sort_by(|(a, _), (b, _)| a.cmp(b));
    for (index, (family, _)) in sources.first().map(|(_, first)| *first).into_iter().flatten().enumerate() {
        page.put(&family, sources.iter().map(|(labels, all)| (labels.clone(), all[index].1)));
    }
}

/// What one source has one number of.
fn numbers(slot: &Slot, now_ns: i64) -> [(Family, f64); 14] {
    let flag = |is_so: bool| f64::from(u8::from(is_so));
    let since = |then_ns: u64| seconds(passed_ns(then_ns, now_ns).unwrap_or(0));
    let (figures, counts) = (&slot.figures, &slot.figures.counts);
    [
        (DELIVERED, counts.delivered_bytes as f64),
        (LAG, figures.lag_bytes as f64),
        (BEHIND, since(figures.behind_ns)),
        (BLOCKED, since(figures.blocked_ns)),
        (FILES, figures.generations as f64),
        (FAILING, flag(slot.error.as_ref().is_some_and(|error| !error.is_empty()))),
        (LIMITED, flag(figures.is_limited)),
        (TRUNCATIONS, counts.truncations as f64),
        (COPIES, counts.copies as f64),
        (LOST_BYTES, counts.lost_bytes as f64),
        (LOST_UNKNOWN, counts.lost_unknown as f64),
        (LATE_LINES, counts.late_lines as f64),
        (LATE_BYTES, counts.late_bytes as f64),
        (ORPHANS, counts.orphans as f64),
    ]
}

#[cfg(test)]
mod tests {
    use standpipe_tests::directory::check_generated;

    use super::*;

    /// `UPDATE_DOCS=1 cargo test -p standpipe-tailer` rewrites it.
    #[test]
    fn the_reference_names_every_number() {
        let families =
            [UP, START, UPDATE, SOURCES].into_iter().chain(numbers(&Slot::default(), 0).map(|(family, _)| family));
        let rows: String = families.map(|family| family.row()).collect();
        let text = format!("\n| metric | type | meaning |\n|---|---|---|\n{rows}\n");
        let marks = ["<!-- tailer: made from the code -->\n", "<!-- end of tailer -->"];
        check_generated("metrics.md", marks, &text, "standpipe-tailer");
    }
}
