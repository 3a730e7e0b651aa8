//! `reader logs` against a model: what every option gives is compared with a naive reading of the same text, over
//! random rotations, frames, times and damage.
//!
//! The logs are made here, as small as can be, so that lines go over the ends of frames and parts all the time.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use standpipe_common::archive::Archive;
use standpipe_common::archive::build::{Guess, IndexBuilder};
use standpipe_common::archive::filter;
use standpipe_common::archive::format::{
    FILTER_MAGIC, INDEX_MAGIC, SKIPPABLE_HEADER_BYTES, SeekTable, TableEntry, skippable_header,
};
use standpipe_common::archive::marks::Mark;
use standpipe_tests::directory::Scratch;
use standpipe_tests::privilege::give;
use standpipe_tests::programs::query;
use standpipe_tests::world::{Random, content, parts};

const START_NS: i64 = 1_795_255_200_000_000_000;
const WORDS: [&str; 8] = ["error", "ok", "GET", "timeout", "a.b", "axb", "\u{e4}", "x"];

/// A line as it should be found.
#[derive(Clone, Debug)]
struct Line {
    pipe: usize,
    time_ns: i64,
    text: Vec<u8>,
    part: String,
    number: usize,
}

/// Made logs and what is in them.
struct Model {
    scratch: Scratch,
    pipes: usize,
    lines: Vec<Line>,
}

fn pipe_name(pipe: usize) -> String {
    format!("p{pipe}")
}

impl Model {
    fn new(random: &mut Random, pipes: usize) -> Model {
        let scratch = Scratch::new();
        let mut lines = Vec::new();
        for pipe in 0..pipes {
            let dir = scratch.logs().join(pipe_name(pipe));
            fs::create_dir(&dir).unwrap();
            make_log(random, &dir, pipe, &mut lines);
            for entry in fs::read_dir(&dir).unwrap() {
                give(&entry.unwrap().path());
            }
            give(&dir);
        }
        Model { scratch, pipes, lines }
    }

    /// All lines in the order in which they are printed.
    fn merged(&self) -> Vec<Line> {
        let mut lines = self.lines.clone();
        if self.pipes > 1 {
            lines.sort_by_key(|line| (line.time_ns, line.pipe));
        }
        lines
    }

    fn run(&self, arguments: &[String]) -> (i32, Vec<u8>, String) {
        let output = query("logs", &self.scratch).args(arguments).run();
        (output.code, output.stdout, output.stderr)
    }
}

/// Makes the log of a pipe: parts that are plain or compressed, cut anywhere, with frames cut anywhere.
fn make_log(random: &mut Random, dir: &Path, pipe: usize, lines: &mut Vec<Line>) {
    let mut text = Vec::new();
    let mut starts = Vec::new();
    let mut time_ns = START_NS;
    let mut chunks: Vec<(usize, i64)> = Vec::new();
    for number in 0..=random.below(60) {
        if number == 0 || random.one_in(3) {
            time_ns += random.below(4_i64) * 1_000_000_000;
            chunks.push((text.len(), time_ns));
        }
        starts.push((text.len(), time_ns));
        for _ in 0..random.below(5) {
            text.extend_from_slice(WORDS[random.below(WORDS.len())].as_bytes());
            text.push(b' ');
        }
        if random.one_in(10) {
            text.extend([0xFF, 0x1B, b'[']);
        }
        write_line_end(&mut text, pipe, number);
    }
    if random.one_in(3) {
        text.pop();
    }
    let mut cuts: Vec<usize> = (0..random.below(5)).map(|_| random.below(text.len() + 1)).collect();
    cuts.extend([0, text.len()]);
    cuts.sort_unstable();
    cuts.dedup();
    let parts: Vec<(usize, usize)> = cuts.windows(2).map(|pair| (pair[0], pair[1])).collect();
    let mut stems = Vec::new();
    for (number, (start, end)) in parts.iter().copied().enumerate() {
        let stem = format!("2026-11-21T10-00-00.{number:06}Z");
        // The time in force where a line goes on is that of its chunk; the first mark stands at the beginning.
        let first = chunks.iter().rev().find(|(offset, _)| *offset <= start).map_or(START_NS, |(_, time_ns)| *time_ns);
        let mut marks = vec![Mark { offset: 0, time_ns: first }];
        for (offset, time_ns) in chunks.iter().filter(|(offset, _)| (start + 1..end).contains(offset)) {
            marks.push(Mark { offset: (offset - start) as u64, time_ns: *time_ns });
        }
        let begins_inside = start > 0 && text[start - 1] != b'\n';
        let is_last = number + 1 == parts.len();
        if is_last && random.one_in(2) || random.one_in(4) {
            fs::write(dir.join(format!("{stem}.log")), &text[start..end]).unwrap();
            let records: Vec<u8> = marks.iter().flat_map(|mark| mark.to_bytes()).collect();
            fs::write(dir.join(format!("{stem}.times")), records).unwrap();
        } else {
            let archive = archive(random, &text[start..end], begins_inside, marks);
            fs::write(dir.join(format!("{stem}.log.zst")), archive).unwrap();
        }
        stems.push((start, stem));
    }
    for (number, (start, time_ns)) in starts.iter().enumerate() {
        let end = starts.get(number + 1).map_or(text.len(), |(end, _)| *end);
        let (part_start, part) = stems.iter().rev().find(|(part_start, _)| part_start <= start).unwrap();
        let before = memchr::memchr_iter(b'\n', &text[*part_start..*start]).count();
        if end > *start {
            let text = text[*start..end].to_vec();
            lines.push(Line { pipe, time_ns: *time_ns, text, part: part.clone(), number: before + 1 });
        }
    }
}

fn write_line_end(text: &mut Vec<u8>, pipe: usize, number: usize) {
    let mut end = String::new();
    writeln!(end, "{pipe}.{number}").unwrap();
    text.extend_from_slice(end.as_bytes());
}

/// An archive whose frames are cut anywhere, mostly at the end of a line, and most with a search filter.
fn archive(random: &mut Random, raw: &[u8], begins_inside: bool, marks: Vec<Mark>) -> Vec<u8> {
    archive_of_frames(random, raw, 80, begins_inside, marks)
}

/// The same with frames of up to so many bytes, and the rest of a line.
pub fn archive_of_frames(
    random: &mut Random,
    raw: &[u8],
    most: usize,
    begins_inside: bool,
    marks: Vec<Mark>,
) -> Vec<u8> {
    let mut builder = IndexBuilder::new(begins_inside);
    let (mut filter, mut grams) = (filter::FilterBuilder::default(), filter::Grams::default());
    let mut table = SeekTable::default();
    let mut bytes = Vec::new();
    let mut left = raw;
    while !left.is_empty() {
        let mut end = (1 + random.below(most)).min(left.len());
        if !random.one_in(4) {
            end = memchr::memchr(b'\n', &left[end - 1..]).map_or(left.len(), |newline| end + newline);
        }
        let (frame, rest) = left.split_at(end);
        let mut compressor = zstd::bulk::Compressor::new(1).unwrap();
        compressor.include_checksum(true).unwrap();
        let compressed = compressor.compress(frame).unwrap();
        table.entries.push(TableEntry { compressed: compressed.len() as u32, raw: frame.len() as u32 });
        bytes.extend(compressed);
        builder.frame(frame);
        grams.take(frame);
        let array = if random.one_in(8) { Vec::new() } else { grams.array(grams.bytes_for(usize::MAX / 100)) };
        filter.push(&array);
        left = rest;
    }
    let mut frame = |magic, payload: &[u8]| {
        bytes.extend(skippable_header(magic, payload.len()).unwrap());
        bytes.extend(payload);
        table.entries.push(TableEntry { compressed: (payload.len() + SKIPPABLE_HEADER_BYTES) as u32, raw: 0 });
    };
    if let Some(payload) = filter.payload().filter(|_| !random.one_in(4)) {
        frame(FILTER_MAGIC, &payload);
    }
    let guess = Guess { birth_ns: START_NS, last_ns: START_NS };
    let payload = builder.finish(marks, guess).encode();
    frame(INDEX_MAGIC, &payload);
    bytes.extend(table.encode().unwrap());
    bytes
}

/// What is asked, for the program and for the model.
#[derive(Default, Debug)]
struct Question {
    arguments: Vec<String>,
    since_ns: Option<i64>,
    until_ns: Option<i64>,
    any: Vec<String>,
    exclude: Option<String>,
    ignore_case: bool,
    inverted: bool,
    last: Option<usize>,
    first: Option<usize>,
    most: Option<usize>,
    reverse: bool,
    context: (usize, usize),
    form: Form,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Form {
    #[default]
    Short,
    NoPrefix,
    Json,
    Count,
}

impl Question {
    fn new(random: &mut Random, several: bool) -> Question {
        let mut question = Question::default();
        question.ask_for_times(random);
        question.ask_for_words(random);
        question.ask_for_form(random);
        if question.form != Form::Count {
            question.ask_for_some(random, several);
        }
        if random.one_in(3) {
            question.push("--threads=1");
        }
        question
    }

    fn push(&mut self, argument: &str) {
        self.arguments.push(argument.to_owned());
    }

    fn has_pattern(&self) -> bool {
        !self.any.is_empty() || self.exclude.is_some()
    }

    fn ask_for_times(&mut self, random: &mut Random) {
        let mut given = Vec::new();
        let mut moment = |option: &str| {
            let time_ns = START_NS + random.below(40_i64) * 500_000_000;
            given.push(format!("{option}=@{}.{:09}", time_ns / 1_000_000_000, time_ns % 1_000_000_000));
            time_ns
        };
        let (since, until) = (moment("--since"), moment("--until"));
        match random.below(4) {
            0 if since <= until => {
                (self.since_ns, self.until_ns) = (Some(since), Some(until));
                self.arguments.append(&mut given);
            }
            1 => {
                self.since_ns = Some(since);
                self.arguments.push(given.swap_remove(0));
            }
            2 => {
                self.until_ns = Some(until);
                self.arguments.push(given.swap_remove(1));
            }
            _ => {}
        }
    }

    fn ask_for_words(&mut self, random: &mut Random) {
        for _ in 0..random.below(3) {
            let word = WORDS[random.below(WORDS.len())].to_owned();
            self.arguments.extend(["-g".to_owned(), word.clone()]);
            self.any.push(word);
        }
        if random.one_in(4) {
            let word = WORDS[random.below(WORDS.len())].to_owned();
            self.arguments.extend(["--exclude".to_owned(), word.clone()]);
            self.exclude = Some(word);
        }
        if self.has_pattern() {
            self.push("-F");
            if random.one_in(3) {
                self.ignore_case = true;
                self.push("-i");
            }
            if random.one_in(3) && !self.any.is_empty() {
                self.inverted = true;
                self.push("-v");
            }
        }
    }

    fn ask_for_form(&mut self, random: &mut Random) {
        self.form = match random.below(6) {
            0 => Form::Json,
            1 => Form::Count,
            2 => Form::NoPrefix,
            _ => Form::Short,
        };
        match self.form {
            Form::Json => self.push("-ojson"),
            Form::NoPrefix => self.push("--no-prefix"),
            Form::Count => self.push("-c"),
            Form::Short => {}
        }
    }

    /// How many lines, from which end, and with which around them.
    fn ask_for_some(&mut self, random: &mut Random, several: bool) {
        let count = random.below(12);
        match random.below(4) {
            0 => {
                self.last = Some(count);
                self.push(&format!("-n{count}"));
            }
            1 => {
                self.first = Some(count);
                self.push(&format!("-n+{count}"));
            }
            2 => {
                self.most = Some(count);
                self.push(&format!("-m{count}"));
            }
            _ => {}
        }
        if random.one_in(4) && self.first.is_none() {
            self.reverse = true;
            self.push("-r");
        } else if random.one_in(2) && self.has_pattern() && !several && self.form != Form::Json {
            self.context = (random.below(4), random.below(4));
            let (before, after) = self.context;
            self.arguments.extend([format!("-B{before}"), format!("-A{after}")]);
        }
    }

    fn is_in_time(&self, line: &Line) -> bool {
        self.since_ns.is_none_or(|since| line.time_ns >= since)
            && self.until_ns.is_none_or(|until| line.time_ns <= until)
    }

    fn is_found(&self, line: &Line) -> bool {
        let text = String::from_utf8_lossy(&line.text).into_owned();
        let has = |word: &String| {
            if self.ignore_case { text.to_lowercase().contains(&word.to_lowercase()) } else { text.contains(word) }
        };
        let wanted = self.any.is_empty() || self.any.iter().any(has) != self.inverted;
        wanted && !self.exclude.as_ref().is_some_and(has)
    }

    /// What should be printed.
    fn answer(&self, model: &Model) -> (i32, String) {
        let lines: Vec<Line> = model.merged().into_iter().filter(|line| self.is_in_time(line)).collect();
        let mut found: Vec<usize> = (0..lines.len()).filter(|number| self.is_found(&lines[*number])).collect();
        let has_pattern = self.has_pattern();
        if self.form == Form::Count {
            return (i32::from(has_pattern && found.is_empty()), self.counts(model, &lines));
        }
        if let Some(last) = self.last {
            found.drain(..found.len().saturating_sub(last));
        }
        if self.reverse {
            found.reverse();
        }
        for most in [self.first, self.most].into_iter().flatten() {
            found.truncate(most);
        }
        let mut text = String::new();
        let completes = model.pipes > 1 || has_pattern || self.form == Form::Json || self.reverse;
        let show = |number: usize, text: &mut String| {
            if !text.is_empty() && !text.ends_with('\n') {
                text.push('\n');
            }
            text.push_str(&self.shown(&lines[number], model.pipes > 1));
        };
        if self.context == (0, 0) {
            for number in &found {
                show(*number, &mut text);
            }
        } else {
            let (before, after) = self.context;
            let mut next = 0;
            for (place, number) in found.iter().copied().enumerate() {
                let start = number.saturating_sub(before).max(next);
                if start > next && !text.is_empty() {
                    text.push_str("--\n");
                }
                for number in start..=number {
                    show(number, &mut text);
                }
                next = number + 1;
                let limit = found.get(place + 1).copied().unwrap_or(lines.len());
                // What would have been found but for the limit is not shown around the last one.
                let limit = (next..limit).find(|number| self.is_found(&lines[*number])).unwrap_or(limit);
                let end = (number + 1 + after).min(limit);
                for number in next..end {
                    show(number, &mut text);
                }
                next = end;
            }
        }
        if completes && !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        (i32::from(has_pattern && found.is_empty()), text)
    }

    fn counts(&self, model: &Model, lines: &[Line]) -> String {
        let mut text = String::new();
        for pipe in 0..model.pipes {
            let count = lines.iter().filter(|line| line.pipe == pipe && self.is_found(line)).count();
            if model.pipes > 1 {
                write!(text, "{}: ", pipe_name(pipe)).unwrap();
            }
            writeln!(text, "{count}").unwrap();
        }
        text
    }

    fn shown(&self, line: &Line, several: bool) -> String {
        let text: String = line.text.iter().map(|byte| char::from(*byte)).collect();
        match self.form {
            Form::Short if several => format!("{}: {text}", pipe_name(line.pipe)),
            Form::Json => {
                let text = text.trim_end_matches('\n');
                let number = line.number;
                format!("{} {} {number} {} {text}\n", pipe_name(line.pipe), line.part, line.time_ns)
            }
            _ => text,
        }
    }

    /// What was printed, in the form of the model.
    fn printed(&self, stdout: &[u8]) -> String {
        let chars = |bytes: &[u8]| bytes.iter().map(|byte| char::from(*byte)).collect::<String>();
        if self.form != Form::Json {
            return chars(stdout);
        }
        let mut text = String::new();
        for line in stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let object: serde_json::Value = serde_json::from_slice(line).unwrap();
            let word = |name: &str| object[name].as_str().unwrap().to_owned();
            let bytes = match object["base64"].as_str() {
                Some(base64) => unbase64(base64),
                None => word("text").into_bytes(),
            };
            let time: Vec<&str> = object["time"].as_str().unwrap().split_terminator(['T', 'Z']).collect();
            let seconds: f64 = time[1].split(':').fold(0.0, |sum, part| sum * 60.0 + part.parse::<f64>().unwrap());
            // All of it lies on one day.
            let time_ns = START_NS - 36_000_000_000_000 + (seconds * 1e3).round() as i64 * 1_000_000;
            writeln!(text, "{} {} {} {time_ns} {}", word("pipe"), word("part"), object["line"], chars(&bytes)).unwrap();
        }
        text
    }
}

fn unbase64(text: &str) -> Vec<u8> {
    let digit = |c: u8| match c {
        b'A'..=b'Z' => u32::from(c - b'A'),
        b'a'..=b'z' => u32::from(c - b'a') + 26,
        b'0'..=b'9' => u32::from(c - b'0') + 52,
        b'+' => 62,
        _ => 63,
    };
    let mut bytes = Vec::new();
    for group in text.trim_end_matches('=').as_bytes().chunks(4) {
        let bits = group.iter().fold(0, |bits, c| bits << 6 | digit(*c)) << (6 * (4 - group.len()));
        bytes.extend(&bits.to_be_bytes()[1..group.len()]);
    }
    bytes
}

fn check(seed: u64, rounds: usize) {
    let mut random = Random(seed);
    for round in 0..rounds {
        let pipes = 1 + random.below(3);
        let model = Model::new(&mut random, pipes);
        for _ in 0..12 {
            let question = Question::new(&mut random, pipes > 1);
            let (code, stdout, stderr) = model.run(&question.arguments);
            let (expected_code, expected) = question.answer(&model);
            let printed = question.printed(&stdout);
            assert!(
                printed == expected && code == expected_code && stderr.is_empty(),
                "seed {seed} round {round}: {:?}\nexit {code}, not {expected_code}: {stderr}\nprinted:\n{printed}\nexpected:\n{expected}\nin {}",
                question.arguments,
                model.scratch.logs().display()
            );
        }
    }
}

#[test]
fn every_option_gives_what_a_naive_reading_gives() {
    check(0x5EED_1234, 12);
}

#[test]
fn every_option_gives_what_a_naive_reading_gives_once_more() {
    check(0x0DD5_EED5, 12);
}

/// Reads on and on behind the cursor, so many bytes at a time, and gives all that was printed.
fn in_pieces(model: &Model, cursor: &Path, bytes: usize, more: &[&str]) -> Vec<u8> {
    let mut all = Vec::new();
    for _ in 0..10_000 {
        let mut arguments = vec![format!("--max-bytes={bytes}"), format!("--cursor-file={}", cursor.display())];
        arguments.extend(more.iter().map(ToString::to_string));
        let (code, stdout, stderr) = model.run(&arguments);
        assert!(code <= 1 && stdout.len() <= bytes, "exit {code}: {stderr}");
        assert_eq!(stderr.is_empty(), !stderr.contains("output limit"), "{stderr}");
        all.extend(&stdout);
        if stderr.is_empty() {
            return all;
        }
        assert!(!stdout.is_empty(), "no line is longer than {bytes}: {stderr}");
    }
    panic!("it does not come to an end");
}

#[test]
fn a_cursor_goes_on_behind_the_last_line_whatever_is_asked() {
    let mut random = Random(0x00C0_FFEE);
    for round in 0..8 {
        let pipes = 1 + random.below(3);
        let model = Model::new(&mut random, pipes);
        // A line that has no end yet is kept back for the next run.
        let is_open =
            |pipe| model.lines.iter().rfind(|line| line.pipe == pipe).is_some_and(|line| !line.text.ends_with(b"\n"));
        if (0..pipes).any(is_open) {
            continue;
        }
        for (number, more) in [&[][..], &["-g", "error"], &["-g", "ok", "-t"], &["-o", "json"]].into_iter().enumerate()
        {
            let whole = model.run(&more.iter().map(ToString::to_string).collect::<Vec<_>>()).1;
            let cursor: PathBuf = model.scratch.path().join(format!("cursor-{number}"));
            let pieces = in_pieces(&model, &cursor, 300 + random.below(400), more);
            let without_end = |bytes: &[u8]| bytes.strip_suffix(b"\n").unwrap_or(bytes).to_vec();
            assert_eq!(
                String::from_utf8_lossy(&without_end(&pieces)),
                String::from_utf8_lossy(&without_end(&whole)),
                "round {round}, {more:?}"
            );
        }
    }
}

/// Changes a byte in the middle of a frame; gives the raw bytes of the part that are lost by it.
fn damage(random: &mut Random, path: &Path) -> std::ops::Range<usize> {
    let archive = Archive::open(fs::File::open(path).unwrap(), path).unwrap();
    let frames = archive.frames();
    let frame = frames[random.below(frames.len())];
    let mut bytes = fs::read(path).unwrap();
    bytes[frame.offset as usize + frame.compressed as usize / 2] ^= 0xFF;
    if random.one_in(3) {
        // Then the index is of no use either.
        let entries = u32::from_le_bytes(bytes[bytes.len() - 9..][..4].try_into().unwrap()) as usize;
        let at = bytes.len() - 9 - 8 - 8 * entries - 1;
        bytes[at] ^= 0xFF;
    }
    fs::write(path, bytes).unwrap();
    frame.raw_offset as usize..frame.raw_offset as usize + frame.raw as usize
}

#[test]
fn what_is_damaged_is_said_and_everything_else_is_shown() {
    let mut random = Random(0x00DA_4A6E);
    for round in 0..60 {
        let model = Model::new(&mut random, 1);
        let dir = model.scratch.logs().join("p0");
        let archives = standpipe_tests::world::archives(&dir);
        if archives.is_empty() {
            continue;
        }
        let whole = model.run(&[]).1;
        let path = &archives[random.below(archives.len())];
        let before: usize =
            parts(&dir).iter().take_while(|part| *part != path).map(|part| content(part).unwrap().len()).sum();
        let lost = damage(&mut random, path);
        let lost = before + lost.start..before + lost.end;
        let expected = [&whole[..lost.start], &whole[lost.end..]].concat();
        let (code, printed, stderr) = model.run(&[]);
        let context = format!("round {round}, {} of {}: {stderr}", path.display(), dir.display());
        assert!(code == 2 && stderr.lines().count() == 1 && stderr.contains("damaged"), "exit {code}, {context}");
        assert!(printed == expected, "{context}\n{}\nnot\n{}", chars(&printed), chars(&expected));
        // A line is a piece of the whole that no damage lies in.
        let mut sound: Vec<String> = Vec::new();
        let mut at = 0;
        for line in whole.split_inclusive(|byte| *byte == b'\n') {
            let end = at + line.len();
            if end <= lost.start || at >= lost.end {
                sound.push(chars(line));
            }
            at = end;
        }
        for word in ["", "o", "error"] {
            let find = |more: &[&str]| {
                // By its filter, a frame need not be looked at that is damaged.
                let mut arguments = ["-g", word, "--no-filter"].map(str::to_owned).to_vec();
                arguments.extend(more.iter().map(ToString::to_string));
                let (code, stdout, stderr) = model.run(&arguments);
                assert!(code == 2 && stderr.contains("damaged"), "exit {code}, {context}: {stderr}");
                let mut lines: Vec<String> = chars(&stdout).lines().map(str::to_owned).collect();
                lines.sort();
                lines
            };
            let (forward, backward) = (find(&[]), find(&["-r"]));
            assert_eq!(forward, backward, "{context}");
            let mut missing: Vec<&str> = sound.iter().map(|line| line.trim_end_matches('\n')).collect();
            missing.retain(|line| line.contains(word) && !forward.iter().any(|found| found == line));
            assert!(missing.is_empty(), "{word}: {missing:?} of {forward:?}, {context}");
            let wanted = sound.iter().filter(|line| line.contains(word)).count();
            assert!(forward.len() <= wanted + 2, "{word}: {forward:?}, {context}");
        }
    }
}

fn chars(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}
