//! What of the lines that were found is shown, and when it is enough.
//!
//! Invariants: of the lines that a limit allows each is shown whole, none in part; after [`Flow::Enough`] and
//! [`Flow::Full`] nothing is shown any more. Sentences on standard error come behind what was printed before them.

use std::ops::Range;

use standpipe_common::standard;

use super::batch::{Batch, Chunk, first_lines, lines};
use super::part::Scratch;
use super::print::{Failed, Printer};
use super::render::{Form, Renderer};
use super::scan::Scan;

/// How it goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// More may be shown.
    More,
    /// As many lines as were wanted have been shown.
    Enough,
    /// The next line would make the output too long.
    Full,
}

/// Shows lines until it is enough.
pub struct Show {
    printer: Printer,
    look: Renderer,
    limits: Limits,
    /// What was printed last has no newline.
    open: bool,
    /// A line was found.
    found: bool,
    /// Something was said.
    troubled: bool,
    line: Vec<u8>,
}

/// How much is shown.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Lines that are found; `None`: all of them.
    pub lines: Option<u64>,
    /// Lines behind the last of them.
    pub trailing: usize,
    /// Bytes of the output.
    pub bytes: Option<u64>,
}

impl Show {
    /// Shows lines in this way, within limits.
    pub fn new(printer: Printer, look: Renderer, limits: Limits) -> Show {
        Show { printer, look, limits, open: false, found: false, troubled: false, line: Vec::new() }
    }

    /// Where it prints.
    pub fn printer(&mut self) -> &mut Printer {
        &mut self.printer
    }

    /// Whether a line was found.
    pub fn has_found(&self) -> bool {
        self.found
    }

    /// Whether anything was printed.
    pub fn has_printed(&self) -> bool {
        self.printer.has_any()
    }

    /// Whether something was said.
    pub fn is_troubled(&self) -> bool {
        self.troubled
    }

    /// Shows a chunk of the log of that number and name.
    pub fn chunk(
        &mut self,
        (log, name): (usize, &str),
        batch: &Batch,
        chunk: &Chunk,
        scan: &Scan,
        scratch: &mut Scratch,
    ) -> Result<Flow, Failed> {
        let run = &chunk.run;
        let Some(range) = self.allowed(batch, run.range.clone(), run.is_match, run.opens_group) else {
            return Ok(Flow::Enough);
        };
        if run.opens_group {
            self.line.clear();
            self.look.gap(&mut self.line);
            self.printer.write(&self.line)?;
        }
        let is_plain = self.look.is_plain(scan) && self.limits.bytes.is_none();
        if is_plain {
            self.complete()?;
            self.plain(&batch.raw[range.clone()])?;
            self.open = !batch.raw[range.clone()].ends_with(b"\n");
            self.reach(log, batch, range.end);
        } else {
            for line in lines(&batch.raw, range.clone()) {
                if self.line((log, name), batch, line, scan, scratch)? == Flow::Full {
                    return Ok(Flow::Full);
                }
            }
        }
        let is_enough = self.limits.lines == Some(0) && (self.limits.trailing == 0 || range.end < run.range.end);
        Ok(if is_enough { Flow::Enough } else { Flow::More })
    }

    /// The same backwards, the last line first.
    pub fn chunk_reversed(
        &mut self,
        (log, name): (usize, &str),
        batch: &Batch,
        chunk: &Chunk,
        scan: &Scan,
        scratch: &mut Scratch,
    ) -> Result<Flow, Failed> {
        let mut all: Vec<Range<usize>> = lines(&batch.raw, chunk.run.range.clone()).collect();
        while let Some(line) = all.pop() {
            if self.allowed(batch, line.clone(), true, false).is_none() {
                return Ok(Flow::Enough);
            }
            if self.line((log, name), batch, line.clone(), scan, scratch)? == Flow::Full {
                return Ok(Flow::Full);
            }
            self.complete()?;
        }
        Ok(if self.limits.lines == Some(0) { Flow::Enough } else { Flow::More })
    }

    /// Says sentences on what could not be read.
    pub fn say(&mut self, sentences: &mut Vec<String>) -> Result<(), Failed> {
        if sentences.is_empty() {
            return Ok(());
        }
        self.printer.flush()?;
        self.troubled = true;
        for sentence in sentences.drain(..) {
            standard::error(sentence);
        }
        Ok(())
    }

    /// Shows how many lines there are in a log.
    pub fn counted(&mut self, lines: u64, name: &str, several: bool) -> Result<(), Failed> {
        self.found |= lines > 0;
        let text = match (self.look.form, several) {
            (Form::Json, _) => format!("{}\n", serde_json::json!({ "schema": 1, "pipe": name, "count": lines })),
            (_, true) => format!("{name}: {lines}\n"),
            (_, false) => format!("{lines}\n"),
        };
        self.printer.write(text.as_bytes())
    }

    /// Ends what is printed.
    pub fn end(&mut self) -> Result<(), Failed> {
        self.complete()?;
        self.printer.flush()
    }

    /// What of these lines may be shown. `None`: nothing, and nothing that follows.
    fn allowed(&mut self, batch: &Batch, range: Range<usize>, is_match: bool, opens: bool) -> Option<Range<usize>> {
        if self.limits.lines == Some(0) {
            if is_match || opens || self.limits.trailing == 0 {
                return None;
            }
            let (end, count) = first_lines(&batch.raw, range.clone(), self.limits.trailing);
            self.limits.trailing -= count;
            return Some(range.start..end);
        }
        if !is_match {
            return Some(range);
        }
        let Some(left) = &mut self.limits.lines else {
            self.found = true;
            return Some(range);
        };
        let most = usize::try_from(*left).unwrap_or(usize::MAX);
        let (end, count) = first_lines(&batch.raw, range.clone(), most);
        debug_assert!(range.start <= end && end <= range.end && count as u64 <= *left, "more than is allowed");
        *left -= count as u64;
        self.found |= count > 0;
        Some(range.start..end)
    }

    fn line(
        &mut self,
        (log, name): (usize, &str),
        batch: &Batch,
        line: Range<usize>,
        scan: &Scan,
        scratch: &mut Scratch,
    ) -> Result<Flow, Failed> {
        self.line.clear();
        let mut buffer = std::mem::take(&mut self.line);
        self.look.line(name, batch, line.clone(), scan, scratch, &mut buffer)?;
        self.line = buffer;
        let completes = self.open && self.look.completes;
        if let Some(left) = &mut self.limits.bytes {
            let bytes = self.line.len() as u64 + u64::from(completes);
            if bytes > *left {
                return Ok(Flow::Full);
            }
            *left -= bytes;
        }
        self.complete()?;
        self.printer.write(&self.line)?;
        self.open = !self.line.ends_with(b"\n");
        self.reach(log, batch, line.end);
        Ok(Flow::More)
    }

    fn reach(&mut self, log: usize, batch: &Batch, end: usize) {
        if self.printer.keeps_places() {
            self.printer.reach(log, batch.after(end));
        }
    }

    fn plain(&mut self, bytes: &[u8]) -> Result<(), Failed> {
        if !self.look.visible {
            return self.printer.write(bytes);
        }
        self.line.clear();
        self.look.plain(bytes, &mut self.line);
        self.printer.write(&self.line)
    }

    /// Gives a line its newline that has none.
    fn complete(&mut self) -> Result<(), Failed> {
        if std::mem::take(&mut self.open) && self.look.completes && self.look.form != Form::Raw {
            self.printer.write(b"\n")?;
        }
        Ok(())
    }
}
