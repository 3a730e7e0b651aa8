//! What is searched: plain text, and the same as the parts of a real reader.
//!
//! The text goes through `reader stdin` at full speed, which cuts it into segments. These get the names and arrival
//! times of a day on which the lines came one by one, with a mark each 10 ms at most, as a reader writes them; then the
//! reader is started again, finds them and archives them, by its own level and with its own index. Only the clock of
//! that day is made up: with that of the run all lines would have come within seconds.
//!
//! A directory that was kept says in its file `made` what is in it.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use standpipe_common::archive::Mark;
use standpipe_common::error::{Cannot, Error, Result};
use standpipe_common::part::{PartKind, PartName, Pattern};
use standpipe_tests::programs;
use standpipe_tests::world;

use super::lines::{DAY_BEGIN_NS, DAY_NS, Kind, Lines};
use crate::process::Process;
use crate::stage::{self, Stage};
use crate::writers;

/// Pipes that one log is dealt out to.
pub const MANY: usize = 50;
/// Of one log at most, to merge.
const DEALT_BYTES_MAX: u64 = 512_000_000;
/// A reader makes a mark at most so often.
const MARK_SPAN_NS: i64 = 10_000_000;
/// The file that says what is in a directory that was kept; its first line begins so.
const MADE: &str = "made";
const MADE_BEGIN: &str = "standpipe bench search 2";
/// The one pipe of a file that was given.
const FILE_PIPE: &str = "file";
/// What removes no part, however full the disk is.
const KEEP_ALL: [&str; 4] = ["--keep-size", "off", "--keep-free", "off"];

/// What to make it of.
#[derive(Clone, Debug)]
pub enum Origin {
    /// Lines that are made, so many bytes.
    Made(u64),
    /// This file, plain text.
    File(PathBuf),
}

/// A log: as plain text, and as a pipe.
#[derive(Clone, Debug)]
pub struct Log {
    /// The name of its pipe.
    pub name: String,
    /// The plain text.
    pub plain: PathBuf,
    /// Its archives, in order.
    pub archives: Vec<PathBuf>,
}

/// All that is searched.
#[derive(Debug)]
pub struct Store {
    dir: PathBuf,
    /// The logs.
    pub logs: Vec<Log>,
    /// Raw bytes of all logs.
    pub raw_bytes: u64,
    /// Bytes of all archives.
    pub stored_bytes: u64,
}

impl Store {
    /// Takes what was kept in `kept`, or makes it there; else below the stage.
    pub fn open(stage: &Stage, kept: Option<&Path>, origin: &Origin) -> Result<Store> {
        let dir = kept.map_or_else(|| stage.path().join("data"), Path::to_path_buf);
        let wanted = origin.describe()?;
        let made = dir.join(MADE);
        if fs::read_to_string(&made).is_ok_and(|found| found == wanted) {
            return Store::of(dir);
        }
        clear(&dir)?;
        fs::write(&made, format!("{MADE_BEGIN}, unfinished\n")).cannot("write", &made)?;
        for sub in ["plain", "logs", "one", "many"] {
            fs::create_dir(dir.join(sub)).cannot("make", dir.join(sub))?;
        }
        let maker = Maker { dir: &dir };
        match origin {
            Origin::Made(bytes) => {
                for kind in Kind::ALL {
                    eprintln!("bench: making the log {} ...", kind.name());
                    maker.make(kind, bytes / Kind::ALL.len() as u64)?;
                }
            }
            Origin::File(path) => maker.take(path)?,
        }
        fs::write(&made, wanted).cannot("write", &made)?;
        Store::of(dir)
    }

    fn of(dir: PathBuf) -> Result<Store> {
        let mut plain: Vec<PathBuf> = entries(&dir.join("plain"))?;
        plain.sort();
        let mut store = Store { dir, logs: Vec::new(), raw_bytes: 0, stored_bytes: 0 };
        for plain in plain {
            let name = plain.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let archives: Vec<PathBuf> =
                world::parts(&store.root().join(&name)).into_iter().filter(|part| is_archive(part)).collect();
            store.raw_bytes += len(&plain)?;
            store.stored_bytes += archives.iter().map(|path| len(path)).sum::<Result<u64>>()?;
            store.logs.push(Log { name, plain, archives });
        }
        Ok(store)
    }

    /// The log root of the logs.
    pub fn root(&self) -> PathBuf {
        self.dir.join("logs")
    }

    /// The log root of one pipe, with each line at a time of its own.
    pub fn one(&self) -> PathBuf {
        self.dir.join("one")
    }

    /// The log root of [`MANY`] pipes, to which the same lines were dealt out.
    pub fn many(&self) -> PathBuf {
        self.dir.join("many")
    }

    /// The archives of all logs.
    pub fn archives(&self) -> Vec<PathBuf> {
        self.logs.iter().flat_map(|log| log.archives.clone()).collect()
    }

    /// The plain text of all logs.
    pub fn plain(&self) -> Vec<PathBuf> {
        self.logs.iter().map(|log| log.plain.clone()).collect()
    }

    /// Reads all of it once, so that every program finds it in the page cache.
    pub fn warm(&self) -> Result<()> {
        for path in self.archives().into_iter().chain(self.plain()) {
            io::copy(&mut File::open(&path).cannot("open", &path)?, &mut io::sink()).cannot("read", &path)?;
        }
        Ok(())
    }
}

impl Origin {
    fn describe(&self) -> Result<String> {
        Ok(match self {
            Origin::Made(bytes) => format!("{MADE_BEGIN}, {bytes} bytes made\n"),
            Origin::File(path) => format!("{MADE_BEGIN}, {} bytes of {}\n", len(path)?, path.to_string_lossy()),
        })
    }
}

/// Makes the content of a directory.
struct Maker<'a> {
    dir: &'a Path,
}

impl Maker<'_> {
    fn make(&self, kind: Kind, bytes: u64) -> Result<()> {
        let plain = self.plain(kind.name());
        let mut file = BufWriter::new(File::create(&plain).cannot("make", &plain)?);
        let (mut lines, mut marks, mut line, mut offset) = (Lines::new(kind, bytes), Vec::new(), Vec::new(), 0);
        while offset < bytes {
            line.clear();
            marks.push(Mark { offset, time_ns: lines.push_next(&mut line) });
            file.write_all(&line).cannot("write", &plain)?;
            offset += line.len() as u64;
        }
        file.flush().cannot("write", &plain)?;
        self.store(kind.name(), &marks)?;
        if kind == Kind::App { self.deal(&plain, &marks) } else { Ok(()) }
    }

    /// The lines of a file, at even steps of a day.
    fn take(&self, path: &Path) -> Result<()> {
        let plain = self.plain(FILE_PIPE);
        fs::copy(path, &plain).cannot("copy", path)?;
        let bytes = len(&plain)?;
        let mut source = BufReader::new(File::open(&plain).cannot("open", &plain)?);
        let (mut marks, mut line, mut offset) = (Vec::new(), Vec::new(), 0);
        while source.read_until(b'\n', &mut line).cannot("read", &plain)? > 0 {
            let share = i128::from(DAY_NS) * i128::from(offset) / i128::from(bytes);
            marks.push(Mark { offset, time_ns: DAY_BEGIN_NS + share as i64 });
            offset += line.len() as u64;
            line.clear();
        }
        self.store(FILE_PIPE, &marks)?;
        self.deal(&plain, &marks)
    }

    fn store(&self, name: &str, marks: &[Mark]) -> Result<()> {
        let plain = self.plain(name);
        let bytes = len(&plain)?;
        fill(&self.dir.join("logs").join(name), &plain, bytes, marks, MARK_SPAN_NS)
    }

    fn plain(&self, name: &str) -> PathBuf {
        self.dir.join("plain").join(format!("{name}.log"))
    }

    /// The first lines of a log once more, as one pipe and dealt out to many. Each line has a mark, so that their order
    /// can be told.
    fn deal(&self, plain: &Path, marks: &[Mark]) -> Result<()> {
        let count = marks.partition_point(|mark| mark.offset < DEALT_BYTES_MAX);
        let end = marks.get(count).map_or(len(plain)?, |mark| mark.offset);
        let marks = &marks[..count];
        fill(&self.dir.join("one").join("all"), plain, end, marks, 0)?;
        let pieces = self.dir.join("pieces");
        fs::create_dir(&pieces).cannot("make", &pieces)?;
        let mut hands = (0..MANY).map(|number| Hand::new(&pieces, number)).collect::<Result<Vec<_>>>()?;
        let mut source = BufReader::new(File::open(plain).cannot("open", plain)?);
        let mut line = Vec::new();
        for (mark, number) in marks.iter().zip(0_u64..) {
            line.clear();
            source.read_until(b'\n', &mut line).cannot("read", plain)?;
            // Whose turn it is has no pattern.
            let hand = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
            hands[hand as usize % MANY].take(&line, mark.time_ns)?;
        }
        for hand in hands {
            hand.fill(&self.dir.join("many"))?;
        }
        stage::remove(&pieces)
    }
}

/// One of many pipes, while lines are dealt out.
struct Hand {
    name: String,
    path: PathBuf,
    text: BufWriter<File>,
    bytes: u64,
    marks: Vec<Mark>,
}

impl Hand {
    fn new(dir: &Path, number: usize) -> Result<Hand> {
        let name = format!("p{number:02}");
        let path = dir.join(&name);
        let text = BufWriter::new(File::create(&path).cannot("make", &path)?);
        Ok(Hand { name, path, text, bytes: 0, marks: Vec::new() })
    }

    fn take(&mut self, line: &[u8], time_ns: i64) -> Result<()> {
        self.marks.push(Mark { offset: self.bytes, time_ns });
        self.bytes += line.len() as u64;
        self.text.write_all(line).cannot("write", &self.path)
    }

    fn fill(mut self, logs: &Path) -> Result<()> {
        self.text.flush().cannot("write", &self.path)?;
        if self.bytes == 0 {
            return Ok(());
        }
        fill(&logs.join(&self.name), &self.path, self.bytes, &self.marks, 0)
    }
}

/// Makes a log directory of the first `bytes` of a text whose lines begin at `marks`; of these, those that are `span_ns`
/// behind the one before are kept.
fn fill(log_dir: &Path, text: &Path, bytes: u64, marks: &[Mark], span_ns: i64) -> Result<()> {
    run_reader(log_dir, &["--compress", "none"], Some((text, bytes)))?;
    let (mut offset, mut last) = (0, None);
    for part in world::parts(log_dir) {
        let end = offset + len(&part)?;
        // The last one is empty and waits for more.
        if end > offset {
            let of_part =
                marks.partition_point(|mark| mark.offset < offset)..marks.partition_point(|mark| mark.offset < end);
            last = Some(date(&part, offset, &marks[of_part], span_ns, last.as_ref())?);
        }
        offset = end;
    }
    if offset != bytes {
        return Err(Error::because("believe what was stored in", log_dir, format!("{offset} bytes of {bytes}")));
    }
    archive(log_dir)?;
    // What waits behind others is archived without a filter.
    add_filters(log_dir)
}

/// Gives a segment, which begins at `offset` of its stream, the name and the marks of other times.
fn date(part: &Path, offset: u64, marks: &[Mark], span_ns: i64, last: Option<&PartName>) -> Result<PartName> {
    let Some(first) = marks.first() else {
        return Err(Error::because("date", part, "no line begins in it: are there newlines in the file?"));
    };
    let name = Pattern::default().born(first.time_ns, last);
    let (mut records, mut last_ns) = (Vec::new(), i64::MIN);
    for mark in marks {
        if mark.time_ns.saturating_sub(last_ns) >= span_ns {
            records.extend(Mark { offset: mark.offset - offset, ..*mark }.to_bytes());
            last_ns = mark.time_ns;
        }
    }
    let times = part.with_extension("times");
    fs::write(&times, records).cannot("write", &times)?;
    for (path, kind) in [(part, PartKind::Segment), (&times, PartKind::Marks)] {
        fs::rename(path, part.with_file_name(name.file(kind))).cannot("rename", path)?;
    }
    Ok(name)
}

/// The reader finds the segments, as after a restart, and archives them; it gives up waiting for that after a minute.
fn archive(log_dir: &Path) -> Result<()> {
    let plain = || -> Result<usize> {
        let parts = world::parts(log_dir).into_iter().filter(|part| !is_archive(part));
        Ok(parts.map(|part| len(&part)).collect::<Result<Vec<_>>>()?.into_iter().filter(|&bytes| bytes > 0).count())
    };
    let mut left = plain()?;
    while left > 0 {
        run_reader(log_dir, &[], None)?;
        let before = std::mem::replace(&mut left, plain()?);
        if left == before {
            return Err(Error::because("archive", log_dir, format!("{left} segments stay plain")));
        }
    }
    Ok(())
}

/// `reader reindex` of one log directory.
fn add_filters(log_dir: &Path) -> Result<()> {
    let mut command = Command::new(programs::path("reader"));
    command.arg("reindex").arg(log_dir).stdin(Stdio::null()).stdout(Stdio::null());
    Process::start(command, &log_dir.with_extension("said"))?.wait().map(drop)
}

/// `reader stdin` on a log directory with the first bytes of a text, or with nothing.
fn run_reader(log_dir: &Path, flags: &[&str], text: Option<(&Path, u64)>) -> Result<()> {
    let (stdin, pipe) = writers::pipe()?;
    let mut command = Command::new(programs::path("reader"));
    command.arg("stdin").arg(log_dir).args(KEEP_ALL).args(flags).stdin(stdin).stdout(Stdio::null());
    let process = Process::start(command, &log_dir.with_extension("said"))?;
    if let Some((path, bytes)) = text {
        let text = File::open(path).cannot("open", path)?;
        io::copy(&mut text.take(bytes), &mut File::from(pipe)).cannot("write to", "a pipe")?;
    } else {
        drop(pipe);
    }
    process.wait().map(drop)
}

/// Makes room: a directory that is not there, is empty or is one of ours.
fn clear(dir: &Path) -> Result<()> {
    fs::create_dir_all(dir).cannot("make", dir)?;
    let is_ours = fs::read_to_string(dir.join(MADE)).is_ok_and(|made| made.starts_with(MADE_BEGIN));
    if !is_ours && !entries(dir)?.is_empty() {
        return Err(Error::because("keep data in", dir, "there is something else in it: give an empty directory"));
    }
    if is_ours {
        for sub in ["plain", "logs", "one", "many", "pieces"] {
            stage::remove(&dir.join(sub))?;
        }
    }
    Ok(())
}

fn entries(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir).cannot("list", dir)?;
    entries.map(|entry| entry.map(|entry| entry.path()).cannot("list", dir)).collect()
}

fn is_archive(part: &Path) -> bool {
    part.extension().is_some_and(|extension| extension == "zst")
}

fn len(path: &Path) -> Result<u64> {
    fs::metadata(path).map(|is| is.len()).cannot("look at", path)
}
