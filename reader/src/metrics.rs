//! The reader's numbers for a metrics system: its status file, as a page for `node_exporter`.
//!
//! Nothing is counted here, and `reader status` is told nothing else: a page is made by another thread, and whoever drains
//! pays nothing for it. The numbers of a pipe begin anew when its link comes back.

use std::ffi::{OsStr, OsString};
use std::fs::canonicalize;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf, absolute};
use std::time::{Duration, Instant};

use standpipe_common::clock;
use standpipe_common::error::Cannot;
use standpipe_common::metrics::exporter::{Exporter, Told};
use standpipe_common::metrics::{Family, Labels, Page, seconds};

use crate::disk::Dir;
use crate::listing::SELF;
use crate::status::format::{LIMITS, LaneStatus, SICK, STEPS, Status, Step};
use crate::status::lag::{Lag, lags};
use crate::status::snapshot;

const UP: Family = Family::gauge("standpipe_reader_up", "1 while reader runs, 0 once it has stopped.");
const START: Family = Family::gauge("standpipe_reader_start_time_seconds", "Start of reader, Unix time.");
const UPDATE: Family = Family::gauge("standpipe_reader_update_time_seconds", "Time of these numbers, Unix time.");
const DISK_FREE: Family =
    Family::gauge("standpipe_reader_disk_free_bytes", "Space left for reader on the file system of the log root.");
const DISK_SIZE: Family = Family::gauge("standpipe_reader_disk_size_bytes", "Size of the file system of the log root.");
const SALVAGED: Family =
    Family::gauge("standpipe_reader_salvaged_files", "Files of the log root with bytes that did not fit into a log.");
const BYTES: Family = Family::counter("standpipe_reader_received_bytes_total", "Bytes taken from the pipe.");
const LINES: Family = Family::counter(
    "standpipe_reader_received_lines_total",
    "Lines taken from the pipe, if it has a stamp or a prefix.",
);
const ARRIVAL: Family =
    Family::gauge("standpipe_reader_last_arrival_time_seconds", "Arrival of the newest bytes, Unix time.");
const QUEUED: Family =
    Family::gauge("standpipe_reader_pipe_queued_bytes", "Bytes that waited in the pipe when reader last looked.");
const CAPACITY: Family = Family::gauge("standpipe_reader_pipe_capacity_bytes", "Bytes that the pipe can hold.");
const BLOCKED: Family =
    Family::gauge("standpipe_reader_pipe_blocked", "1 while the pipe is full, or holds more than warn_fill.");
const BLOCKED_TIME: Family = Family::counter(
    "standpipe_reader_pipe_blocked_seconds_total",
    "Time during which the pipe was full, or held more than warn_fill.",
);
const UNREAD: Family =
    Family::gauge("standpipe_reader_pipe_unread", "1 while the pipe is not read because its log cannot be written.");
const SEALED: Family = Family::counter("standpipe_reader_sealed_parts_total", "Parts finished.");
const ARCHIVED: Family = Family::counter("standpipe_reader_archived_parts_total", "Parts compressed into archives.");
const ARCHIVED_LINES: Family =
    Family::counter("standpipe_reader_archived_lines_total", "Lines of the parts compressed into archives.");
const ARCHIVE_INPUT: Family =
    Family::counter("standpipe_reader_archive_input_bytes_total", "Bytes of the archived parts before compression.");
const ARCHIVE_OUTPUT: Family =
    Family::counter("standpipe_reader_archive_output_bytes_total", "Bytes of the archives made.");
const ARCHIVE_TIME: Family = Family::counter("standpipe_reader_archive_seconds_total", "Time spent making archives.");
const BACKLOG: Family = Family::gauge("standpipe_reader_backlog_parts", "Finished parts not yet compressed.");
const BACKLOG_BYTES: Family =
    Family::gauge("standpipe_reader_backlog_bytes", "Bytes of finished parts not yet compressed.");
const REMOVED: Family =
    Family::counter("standpipe_reader_removed_parts_total", "Parts removed, by the limit that required it.");
const FAILED: Family = Family::counter(
    "standpipe_reader_failures_total",
    "Failed steps, which reader retries: drain (reading the pipe and writing its log), archive, hook.",
);
const LOST: Family = Family::counter(
    "standpipe_reader_lost_bytes_total",
    "Bytes left in a FIFO when it was replaced, or when its link was removed (counted for the whole log root).",
);

const BEHIND: Family = Family::gauge(
    "standpipe_reader_receiver_behind_bytes",
    "Bytes of whole lines that a receiver has not taken yet, by its cursor.",
);
const BEHIND_TIME: Family = Family::gauge(
    "standpipe_reader_receiver_behind_seconds",
    "Age of the oldest line that a receiver has not taken yet; 0 if it has taken all.",
);
const ANSWER: Family =
    Family::gauge("standpipe_reader_receiver_answer_time_seconds", "Last answer of a receiver, Unix time.");
const SENT: Family = Family::counter("standpipe_reader_receiver_sent_bytes_total", "Bytes that a receiver has taken.");
const REFUSED: Family =
    Family::counter("standpipe_reader_receiver_refused_lines_total", "Lines that a receiver has refused.");
const UNSENT: Family = Family::counter(
    "standpipe_reader_receiver_lost_bytes_total",
    "Bytes that were removed before they were sent to a receiver.",
);
const UNUSABLE: Family =
    Family::gauge("standpipe_reader_receiver_unusable", "1 while the cursor of a receiver cannot be used.");

/// The metrics file of a reader, or its absence.
#[derive(Debug, Default)]
pub struct Metrics {
    file: Option<PathBuf>,
    exporter: Option<Exporter>,
}

impl Metrics {
    /// Keeps `file` up to date with the numbers of the reader of this log root. That it cannot be is said.
    pub fn start(file: Option<PathBuf>, root: &Dir) -> Metrics {
        let start = |file: &PathBuf| {
            let (path, root) = (absolute(file).cannot("find metrics file", file)?, root.try_clone()?);
            Exporter::start(path, move |is_up| page(&root, is_up), tell)
        };
        let exporter = file.as_ref().and_then(|file| start(file).inspect_err(|error| log::error!("{error}")).ok());
        Metrics { file, exporter }
    }

    /// Its path, as the configuration names it.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// How long the loop may wait.
    pub fn timeout(&self, now: Instant) -> Option<Duration> {
        self.exporter.as_ref().map(|exporter| exporter.due().saturating_duration_since(now))
    }

    /// The loop goes round: has a page written, if one is due.
    pub fn turn(&mut self, now: Instant) {
        self.exporter.iter_mut().for_each(|exporter| exporter.turn(now));
    }
}

fn tell(told: Told) {
    match told {
        Told::Fails(sentence) => log::error!("{sentence}"),
        Told::Works(sentence) => log::info!("{sentence}"),
    }
}

fn page(root: &Dir, is_up: bool) -> Page {
    let real = canonicalize(root.path()).unwrap_or_else(|_| root.path().to_path_buf());
    let of_root = Labels::default().with("logs", &real);
    let mut page = Page::default();
    let mut one = |family: &Family, value: f64| page.put(family, [(of_root.clone(), value)]);
    one(&UP, f64::from(u8::from(is_up)));
    one(&UPDATE, seconds(clock::now_ns() as u64));
    if let Ok(space) = root.space() {
        one(&DISK_FREE, space.free as f64);
        one(&DISK_SIZE, space.total as f64);
    }
    one(&SALVAGED, snapshot::salvaged(root).len() as f64);
    // A reader that cannot keep its status file has said so.
    if let Ok(content) = snapshot::content(root) {
        one(&START, seconds(content.start_ns));
        let own = real.file_name().unwrap_or_default();
        put_receivers(&mut page, root, &content, &of_root, own);
        put_lanes(&mut page, content, &of_root, own);
    }
    page
}

/// What the cursors of each log say.
fn put_receivers(page: &mut Page, root: &Dir, content: &Status, of_root: &Labels, own: &OsStr) {
    let now_ns = clock::now_ns();
    let mut all: Vec<(Labels, [Option<f64>; RECEIVER.len()])> = Vec::new();
    for name in content.slots.iter().filter_map(|slot| slot.name.clone()).map(OsString::from_vec) {
        let dir = snapshot::log_dir(root, &name);
        let labels = of_root.with("pipe", if name == SELF { own } else { &name });
        let found = dir.and_then(|dir| lags(&dir).ok()).into_iter().flatten();
        all.extend(
            found.map(|lag| (labels.with("receiver", lag.receiver.to_string()), receiver_numbers(&lag, now_ns))),
        );
    }
    all.sort_by(|(a, _), (b, _)| a.cmp(b));
    for (index, family) in RECEIVER.iter().enumerate() {
        page.put(family, all.iter().filter_map(|(labels, numbers)| Some((labels.clone(), numbers[index]?))));
    }
}

/// What each receiver has one number of.
const RECEIVER: [Family; 7] = [BEHIND, BEHIND_TIME, ANSWER, SENT, REFUSED, UNSENT, UNUSABLE];

/// In the order of [`RECEIVER`].
fn receiver_numbers(lag: &Lag, now_ns: i64) -> [Option<f64>; RECEIVER.len()] {
    let Ok((cursor, unsent)) = &lag.unsent else { return [None, None, None, None, None, None, Some(1.0)] };
    let age_ns = unsent.since_ns.map_or(0, |since| u64::try_from(now_ns.saturating_sub(since)).unwrap_or(0));
    [
        Some(unsent.bytes as f64),
        Some(seconds(age_ns)),
        cursor.answer().map(|(at_ns, _)| seconds(u64::try_from(at_ns).unwrap_or(0))),
        Some(cursor.sent_bytes() as f64),
        Some(cursor.refused_lines() as f64),
        Some(cursor.lost_bytes() as f64),
        Some(0.0),
    ]
}

/// `own`: the name of the log root, by which the pipe of `reader stdin` goes.
fn put_lanes(page: &mut Page, content: Status, of_root: &Labels, own: &OsStr) {
    let named = |mut slot: LaneStatus| {
        let name = OsString::from_vec(slot.name.take()?);
        Some((of_root.with("pipe", if name == SELF { own } else { &name }), slot))
    };
    let mut lanes: Vec<(Labels, LaneStatus)> = content.slots.into_iter().filter_map(named).collect();
    lanes.sort_by(|(a, _), (b, _)| a.cmp(b));
    let numbers: Vec<_> = lanes.iter().map(|(labels, slot)| (labels, numbers(slot))).collect();
    for (index, (family, _)) in numbers.first().map(|(_, first)| first).into_iter().flatten().enumerate() {
        page.put(family, numbers.iter().filter_map(|(labels, all)| Some(((*labels).clone(), all[index].1?))));
    }
    put_by(page, &lanes, &REMOVED, "limit", &LIMITS, |slot| &slot.totals.removed);
    put_by(page, &lanes, &FAILED, "step", &STEPS.map(Step::name), |slot| &slot.totals.failures);
    let replaced =
        lanes.iter().map(|(labels, slot)| (labels.with("cause", "replaced_fifo"), slot.totals.lost_bytes as f64));
    let unlinked = (of_root.with("cause", "removed_link"), content.lost_bytes as f64);
    page.put(&LOST, [unlinked].into_iter().chain(replaced));
}

/// What one lane has one number of. `None`: there is none yet.
fn numbers(slot: &LaneStatus) -> [(Family, Option<f64>); 16] {
    let count = |count: u64| Some(count as f64);
    let flag = |is_so: bool| Some(f64::from(u8::from(is_so)));
    let LaneStatus { totals, .. } = slot;
    [
        (BYTES, count(slot.taken.bytes)),
        (LINES, slot.taken.lines.and_then(count)),
        (ARRIVAL, slot.taken.arrival_ns.map(seconds)),
        (QUEUED, count(slot.fill.queued)),
        (CAPACITY, count(slot.fill.capacity)),
        (BLOCKED, flag(slot.fill.blocked_ns.is_some())),
        (BLOCKED_TIME, Some(seconds(totals.crowded_ns))),
        (UNREAD, flag(slot.state == SICK)),
        (SEALED, count(slot.taken.parts)),
        (ARCHIVED, count(totals.archived_parts)),
        (ARCHIVED_LINES, count(totals.archived_lines)),
        (ARCHIVE_INPUT, count(totals.archived_bytes)),
        (ARCHIVE_OUTPUT, count(totals.archive_bytes)),
        (ARCHIVE_TIME, Some(seconds(totals.archive_ns))),
        (BACKLOG, count(slot.backlog_parts)),
        (BACKLOG_BYTES, count(slot.backlog_bytes)),
    ]
}

/// A family with one more label, which has a number for each of these values.
fn put_by(
    page: &mut Page,
    lanes: &[(Labels, LaneStatus)],
    family: &Family,
    label: &str,
    values: &[&str],
    of: impl Fn(&LaneStatus) -> &[u64],
) {
    let samples = lanes.iter().flat_map(|(labels, slot)| {
        values.iter().zip(of(slot)).map(move |(value, number)| (labels.with(label, value), *number as f64))
    });
    page.put(family, samples);
}

#[cfg(test)]
mod tests {
    use standpipe_tests::directory::check_generated;

    use super::*;

    /// `UPDATE_DOCS=1 cargo test -p standpipe-reader` rewrites it.
    #[test]
    fn the_reference_names_every_number() {
        let families = [UP, START, UPDATE, DISK_FREE, DISK_SIZE, SALVAGED]
            .into_iter()
            .chain(numbers(&LaneStatus::default()).map(|(family, _)| family))
            .chain([REMOVED, FAILED, LOST])
            .chain(RECEIVER);
        let rows: String = families.map(|family| family.row()).collect();
        let text = format!("\n| metric | type | meaning |\n|---|---|---|\n{rows}\n");
        let marks = ["<!-- reader: made from the code -->\n", "<!-- end of reader -->"];
        check_generated("metrics.md", marks, &text, "standpipe-reader");
    }
}
