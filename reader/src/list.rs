//! `reader list`: the parts of each pipe with their times, lines, sizes and state, and what they sum to.
//!
//! Lines are line ends: of an archive its index has them, of a segment they are counted. What cannot be told is `-`, or
//! null for programs, and left out of sums.

use jiff::tz::TimeZone;
use serde_json::{Value, json};
use standpipe_common::archive::{Archive, IndexFault, TableFault};
use standpipe_common::error::{EXIT_IO, Stop};
use standpipe_common::serial::Serial;
use standpipe_common::shown::{counted, harmless, number, size};
use standpipe_common::standard;
use standpipe_common::table::{Screen, render};

use crate::cli::ListArgs;
use crate::disk::Dir;
use crate::inventory::{Content, Inventory, Item, StoredSegment, pipe_name, select};
use crate::moments;

/// Version of the JSON object.
const JSON_VERSION: u32 = 1;

/// Shows what was asked for. The exit code.
pub fn run(args: &ListArgs) -> Result<u8, Stop> {
    let (dirs, mut errors) = select(&args.selection)?;
    let mut pipes = Vec::new();
    for dir in &dirs {
        let pipe = ListedPipe::of(dir)?;
        for error in
            pipe.rows.iter().filter(|row| row.state == PartState::Unreadable).filter_map(|row| row.error.clone())
        {
            standard::error(&error);
            errors.push(error);
        }
        pipes.push(pipe);
    }
    if args.json {
        standard::print_json(&json_text(&pipes, &errors))?;
    } else {
        standard::print(&text(&pipes, &moments::zone(args.utc), Screen::of_stdout()))?;
    }
    Ok(if errors.is_empty() { 0 } else { EXIT_IO })
}

/// What a part is to whoever reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PartState {
    Active,
    Sealed,
    Archived,
    Damaged,
    Incomplete,
    Unreadable,
}

impl PartState {
    fn name(self) -> &'static str {
        match self {
            PartState::Active => "active",
            PartState::Sealed => "sealed",
            PartState::Archived => "archived",
            PartState::Damaged => "damaged",
            PartState::Incomplete => "incomplete",
            PartState::Unreadable => "unreadable",
        }
    }
}

/// A part, as a line of the table.
#[derive(Debug)]
struct Row {
    part: String,
    file: String,
    state: PartState,
    /// The times are guesses: the marks were lost.
    guessed: bool,
    serial: Option<Serial>,
    figures: Figures,
    error: Option<String>,
}

/// What is told of a part, or of several; `None` where nobody knows.
#[derive(Clone, Copy, Debug, Default)]
struct Figures {
    /// Lowest and highest arrival time.
    span: Option<(i64, i64)>,
    lines: Option<u64>,
    raw_bytes: Option<u64>,
    stored_bytes: Option<u64>,
    /// Raw bytes for each that is stored.
    ratio: Option<f64>,
}

impl Figures {
    /// Of all rows. What one of them does not tell is missing in the sum; the ratio is of those that tell both sizes.
    fn sum<'a>(rows: impl Iterator<Item = &'a Row> + Clone) -> Figures {
        let rows = rows.map(|row| row.figures);
        let sum = |of: fn(Figures) -> Option<u64>| rows.clone().filter_map(of).sum::<u64>();
        let spans = rows.clone().filter_map(|figures| figures.span);
        let sizes = rows.clone().filter_map(|figures| figures.raw_bytes.zip(figures.stored_bytes));
        Figures {
            span: spans.reduce(|sum, span| (sum.0.min(span.0), sum.1.max(span.1))),
            lines: Some(sum(|figures| figures.lines)),
            raw_bytes: Some(sum(|figures| figures.raw_bytes)),
            stored_bytes: Some(sum(|figures| figures.stored_bytes)),
            ratio: sizes.reduce(|sum, sizes| (sum.0 + sizes.0, sum.1 + sizes.1)).and_then(ratio),
        }
    }

    fn cells(self, pipe: &str, part: &str, about: &str, zone: &TimeZone, state: &str) -> Vec<String> {
        let unknown = || "-".to_owned();
        let time = |ns: Option<i64>| ns.map_or_else(unknown, |ns| format!("{about}{}", moments::text(ns, zone)));
        vec![
            pipe.to_owned(),
            part.to_owned(),
            time(self.span.map(|span| span.0)),
            time(self.span.map(|span| span.1)),
            self.lines.map_or_else(unknown, number),
            self.raw_bytes.map_or_else(unknown, size),
            self.stored_bytes.map_or_else(unknown, size),
            self.ratio.map_or_else(unknown, |ratio| format!("{ratio:.1}")),
            state.to_owned(),
        ]
    }

    fn json(self) -> Value {
        json!({
            "first": self.span.map(|span| moments::json(span.0)),
            "last": self.span.map(|span| moments::json(span.1)),
            "lines": self.lines,
            "raw_bytes": self.raw_bytes,
            "stored_bytes": self.stored_bytes,
            "ratio": self.ratio.map(|ratio| (ratio * 100.0).round() / 100.0),
        })
    }
}

fn ratio((raw, stored): (u64, u64)) -> Option<f64> {
    (stored > 0).then(|| raw as f64 / stored as f64)
}

impl Row {
    fn of(item: Item) -> Row {
        let mut row = Row {
            part: item.name.stem().to_owned(),
            file: item.file,
            state: PartState::Unreadable,
            guessed: false,
            serial: item.serial,
            figures: Figures::default(),
            error: None,
        };
        match item.content {
            Content::Active(segment) => row.segment(PartState::Active, &segment),
            Content::Sealed(segment) => row.segment(PartState::Sealed, &segment),
            Content::Archive(archive, bytes) => row.archive(&archive, bytes),
            Content::Closed(error) => row.error = Some(error.to_string()),
        }
        row
    }

    fn segment(&mut self, state: PartState, segment: &StoredSegment) {
        let mut lines = 0;
        let counted = segment.read(|piece| lines += memchr::memchr_iter(b'\n', piece).count() as u64);
        let bytes = Some(segment.bytes);
        self.state = state;
        let ratio = ratio((segment.bytes, segment.bytes));
        self.figures =
            Figures { span: segment.span(), lines: Some(lines), raw_bytes: bytes, stored_bytes: bytes, ratio };
        self.guessed = segment.marks.is_empty() && segment.bytes > 0;
        if let Err(error) = counted {
            self.state = PartState::Unreadable;
            self.figures.lines = None;
            self.error = Some(error.to_string());
        }
    }

    fn archive(&mut self, archive: &Archive, bytes: u64) {
        self.state = PartState::Archived;
        self.figures.stored_bytes = Some(bytes);
        if let Err(fault) = archive.complete() {
            self.state = if fault == TableFault::Missing { PartState::Incomplete } else { PartState::Damaged };
            self.error = Some(fault.to_string());
            return;
        }
        self.figures.raw_bytes = Some(archive.raw_bytes());
        self.figures.ratio = ratio((archive.raw_bytes(), bytes));
        match archive.index() {
            Ok(index) => {
                self.figures.lines = Some(index.lines);
                self.figures.span = index.lowest_ns().zip(index.highest_ns());
                self.guessed = index.guessed;
            }
            Err(fault) => {
                // Without an index of ours it may be anybody's, and sound.
                self.state =
                    if matches!(fault, IndexFault::Damaged(_)) { PartState::Damaged } else { PartState::Archived };
                self.error = Some(fault.to_string());
            }
        }
    }

    fn cells(&self, pipe: &str, zone: &TimeZone) -> Vec<String> {
        self.figures.cells(pipe, &self.part, if self.guessed { "~" } else { "" }, zone, self.state.name())
    }

    fn json(&self) -> Value {
        let mut object = self.figures.json();
        object["part"] = self.part.clone().into();
        object["file"] = self.file.clone().into();
        object["state"] = self.state.name().into();
        object["guessed"] = self.guessed.into();
        object["log_id"] = self.serial.map(|serial| serial.log.to_string()).into();
        object["number"] = self.serial.map(|serial| serial.number).into();
        object["offset"] = self.serial.map(|serial| serial.offset).into();
        object["error"] = self.error.clone().into();
        object
    }
}

/// The parts of one pipe.
struct ListedPipe {
    name: String,
    dir: String,
    rows: Vec<Row>,
}

impl ListedPipe {
    fn of(dir: &Dir) -> Result<ListedPipe, Stop> {
        let rows = Inventory::of(dir)?.items().map(Row::of).collect();
        Ok(ListedPipe { name: pipe_name(dir), dir: dir.path().to_string_lossy().into_owned(), rows })
    }
}

fn text(pipes: &[ListedPipe], zone: &TimeZone, screen: Screen) -> String {
    const TITLES: [&str; 9] = ["PIPE", "PART", "FIRST", "LAST", "LINES", "RAW", "STORED", "RATIO", "STATE"];
    let mut rows = Vec::new();
    for pipe in pipes {
        let name = harmless(&pipe.name);
        rows.extend(pipe.rows.iter().map(|row| row.cells(&name, zone)));
        if pipe.rows.len() != 1 {
            let parts = counted(pipe.rows.len() as u64, "part");
            rows.push(Figures::sum(pipe.rows.iter()).cells(&name, &parts, "", zone, "total"));
        }
    }
    let all = || pipes.iter().flat_map(|pipe| &pipe.rows);
    if pipes.len() != 1 {
        let (pipes, parts) = (counted(pipes.len() as u64, "pipe"), counted(all().count() as u64, "part"));
        rows.push(Figures::sum(all()).cells(&pipes, &parts, "", zone, "total"));
    }
    let mut text = render(&TITLES, 1, &rows, screen);
    for row in all() {
        if let Some(error) = row.error.as_ref().filter(|_| row.state != PartState::Unreadable) {
            text.push_str(&screen.text(&format!("{}: {error}\n", row.file)));
        }
    }
    text
}

fn json_text(pipes: &[ListedPipe], errors: &[String]) -> String {
    let all = || pipes.iter().flat_map(|pipe| &pipe.rows);
    let pipe = |pipe: &ListedPipe| {
        json!({
            "pipe": pipe.name,
            "dir": pipe.dir,
            "parts": pipe.rows.iter().map(Row::json).collect::<Vec<_>>(),
            "total": total_json(pipe.rows.iter()),
        })
    };
    let object = json!({
        "version": JSON_VERSION,
        "pipes": pipes.iter().map(pipe).collect::<Vec<_>>(),
        "total": total_json(all()),
        "errors": errors,
    });
    format!("{object:#}\n")
}

fn total_json<'a>(rows: impl Iterator<Item = &'a Row> + Clone) -> Value {
    let mut object = Figures::sum(rows.clone()).json();
    object["parts"] = rows.count().into();
    object
}
