//! The programs that are compared: how each is started on a directory with a pipe as its standard input, and where
//! its output is then.
//!
//! Each runs as its own manual has it for a log service. Nothing is measured here.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::thread;
use std::time::Duration;

use standpipe_common::error::{Cannot, Result};
use standpipe_tests::programs;
use standpipe_tests::world;

use crate::machine;
use crate::process::Process;

/// Time for a peer to start, which has no way to say that it has.
const SETTLE_SPAN: Duration = Duration::from_millis(30);
/// The largest sizes that these take.
const S6_LOG_SIZE_MAX: u64 = 268_435_455;
const MULTILOG_SIZE_MAX: u64 = 16_777_215;
const ROTATELOGS_SIZE_MAX: u64 = 2000 << 20;
/// A size that no run reaches.
const NEVER: u64 = 1 << 40;
/// Old files that peers keep: all.
const FILES_MAX: u32 = 100_000;

/// A program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `cat > FILE`
    Cat,
    /// `cat > /dev/null`: what the load alone comes to.
    Null,
    /// `reader stdin`
    Reader,
    /// s6
    S6Log,
    /// runit
    Svlogd,
    /// daemontools
    Multilog,
    /// Apache; it has no stamps.
    Rotatelogs,
    /// `zstd -1 -T1 > FILE`
    Zstd,
}

/// A stamp before each line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stamp {
    /// None.
    #[default]
    None,
    /// A date and a time that people read.
    Iso,
    /// TAI64N.
    Tai,
}

/// A program and how it is run.
#[derive(Clone, Debug)]
pub struct Sink {
    /// Which.
    pub kind: Kind,
    /// Before each line.
    pub stamp: Stamp,
    /// Bytes after which a file is rotated. `None`: as late as the program can.
    pub rotate_bytes: Option<u64>,
    /// More flags, for the reader alone.
    pub flags: Vec<String>,
}

/// A sink at work.
#[derive(Debug)]
pub struct Running {
    /// Its process.
    pub process: Process,
    kind: Kind,
    dir: PathBuf,
}

impl Sink {
    /// Without stamps, rotating as late as it can; the reader without compression and, where it can be told so,
    /// without syncs: what all the others do.
    pub fn new(kind: Kind) -> Sink {
        let flags = if kind == Kind::Reader { plain_flags() } else { Vec::new() };
        Sink { kind, stamp: Stamp::None, rotate_bytes: None, flags }
    }

    /// The reader with these flags alone.
    pub fn reader(flags: &[&str]) -> Sink {
        Sink { flags: flags.iter().map(|&flag| flag.to_owned()).collect(), ..Sink::new(Kind::Reader) }
    }

    /// With a stamp.
    #[must_use]
    pub fn stamped(self, stamp: Stamp) -> Sink {
        Sink { stamp, ..self }
    }

    /// Rotating after so many bytes.
    #[must_use]
    pub fn rotating(self, bytes: u64) -> Sink {
        Sink { rotate_bytes: Some(bytes), ..self }
    }

    /// Whether it is there.
    pub fn is_installed(&self) -> bool {
        matches!(self.kind, Kind::Reader) || machine::is_installed(self.program())
    }

    /// The command line, as a reader of the table may repeat it.
    pub fn label(&self) -> String {
        let mut words = vec![self.program().to_owned()];
        words.extend(self.arguments("DIR"));
        let config = match self.kind {
            Kind::Svlogd => format!(", {}", self.svlogd_config().trim().replace('\n', " ")),
            Kind::Null => " > /dev/null".to_owned(),
            Kind::Cat | Kind::Zstd => " > FILE".to_owned(),
            _ => String::new(),
        };
        format!("`{}`{config}", words.join(" "))
    }

    /// Starts it on an existing directory, its standard error beside it, and waits until it reads.
    pub fn start(&self, dir: &Path, stdin: impl Into<Stdio>) -> Result<Running> {
        let process = self.launch(dir, stdin.into(), true)?;
        if self.kind != Kind::Reader {
            thread::sleep(SETTLE_SPAN);
        }
        Ok(process)
    }

    /// The same without waiting.
    pub fn start_at_once(&self, dir: &Path, stdin: impl Into<Stdio>) -> Result<Running> {
        self.launch(dir, stdin.into(), false)
    }

    fn launch(&self, dir: &Path, stdin: Stdio, waits: bool) -> Result<Running> {
        let mut command = match self.kind {
            Kind::Reader => Command::new(programs::path("reader")),
            _ => Command::new(self.program()),
        };
        command.args(self.arguments(&dir.to_string_lossy())).stdin(stdin).stdout(self.stdout(dir)?);
        if self.kind == Kind::Svlogd {
            let config = dir.join("config");
            fs::write(&config, self.svlogd_config()).cannot("write", &config)?;
        }
        let said = dir.with_extension("err");
        let process = if waits && self.kind == Kind::Reader {
            Process::start_ready(command, &said)?.0
        } else {
            Process::start(command, &said)?
        };
        Ok(Running { process, kind: self.kind, dir: dir.to_owned() })
    }

    /// Its name.
    pub fn program(&self) -> &'static str {
        match self.kind {
            Kind::Cat | Kind::Null => "cat",
            Kind::Reader => "reader",
            Kind::S6Log => "s6-log",
            Kind::Svlogd => "svlogd",
            Kind::Multilog => "multilog",
            Kind::Rotatelogs => "rotatelogs",
            Kind::Zstd => "zstd",
        }
    }

    fn arguments(&self, dir: &str) -> Vec<String> {
        let size = self.rotate_bytes.unwrap_or(NEVER);
        let stamp = match (self.kind, self.stamp) {
            (_, Stamp::None) => "",
            (Kind::Reader, Stamp::Iso) => "--stamp iso",
            (Kind::Reader, Stamp::Tai) => "--stamp tai64n",
            (Kind::S6Log, Stamp::Iso) => "T",
            (Kind::Svlogd, Stamp::Iso) => "-tt",
            (Kind::Svlogd, Stamp::Tai) => "-t",
            _ => "t",
        };
        let line = match self.kind {
            Kind::Cat | Kind::Null => String::new(),
            Kind::Reader => {
                let rotate = self.rotate_bytes.map_or(String::new(), |bytes| format!("--rotate-size {bytes}"));
                format!("stdin {dir} {stamp} {} {rotate}", self.flags.join(" "))
            }
            Kind::S6Log => format!("{stamp} n{FILES_MAX} s{} {dir}", size.min(S6_LOG_SIZE_MAX)),
            Kind::Svlogd => format!("{stamp} {dir}"),
            Kind::Multilog => format!("{stamp} n{FILES_MAX} s{} {dir}", size.min(MULTILOG_SIZE_MAX)),
            Kind::Rotatelogs => format!("{dir}/log {}M", size.min(ROTATELOGS_SIZE_MAX) >> 20),
            Kind::Zstd => "-q -1 -T1 -c".to_owned(),
        };
        line.split_whitespace().map(str::to_owned).collect()
    }

    /// A size of 0 is none.
    fn svlogd_config(&self) -> String {
        format!("s{}\nn0\n", self.rotate_bytes.unwrap_or(0))
    }

    fn stdout(&self, dir: &Path) -> Result<Stdio> {
        match self.kind {
            Kind::Cat | Kind::Zstd => {
                let path = dir.join("log");
                Ok(File::create(&path).cannot("make", path)?.into())
            }
            _ => Ok(Stdio::null()),
        }
    }
}

impl Running {
    /// The file that is written now.
    pub fn live(&self) -> PathBuf {
        match self.kind {
            Kind::Cat | Kind::Zstd => self.dir.join("log"),
            Kind::Rotatelogs => outputs(self.kind, &self.dir).pop().unwrap_or_else(|| self.dir.join("log")),
            _ => self.dir.join("current"),
        }
    }
}

/// The files with what was written, in order.
pub fn outputs(kind: Kind, dir: &Path) -> Vec<PathBuf> {
    if kind == Kind::Reader {
        return world::parts(dir);
    }
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let is_log = |name: &str| name.starts_with('@') || name.starts_with("log") || name == "current";
    let mut paths: Vec<PathBuf> =
        entries.filter(|entry| is_log(&entry.file_name().to_string_lossy())).map(|entry| entry.path()).collect();
    // `@…` comes before `current`, and the former sort by time.
    paths.sort();
    paths
}

/// Feeds all that was written to `take`, in order and in pieces.
pub fn read_back(kind: Kind, dir: &Path, mut take: impl FnMut(&[u8])) -> Result<()> {
    let mut buffer = vec![0; 1 << 20];
    for path in outputs(kind, dir) {
        let mut file = File::open(&path).cannot("open", &path)?;
        loop {
            match file.read(&mut buffer).cannot("read", &path)? {
                0 => break,
                taken => take(&buffer[..taken]),
            }
        }
    }
    Ok(())
}

/// What makes the reader do no more than its peers.
fn plain_flags() -> Vec<String> {
    let mut flags = vec!["--compress".to_owned(), "none".to_owned()];
    if knows_sync() {
        flags.extend(["--sync".to_owned(), "none".to_owned()]);
    }
    flags
}

/// Whether this reader can be told when to sync.
pub fn knows_sync() -> bool {
    static KNOWS: LazyLock<bool> = LazyLock::new(|| {
        let help = Command::new(programs::path("reader")).args(["stdin", "--help"]).output();
        help.is_ok_and(|help| String::from_utf8_lossy(&help.stdout).contains("--sync"))
    });
    *KNOWS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_program_gets_its_own_words() {
        for (sink, label) in [
            (Sink::new(Kind::S6Log).stamped(Stamp::Iso), "`s6-log T n100000 s268435455 DIR`"),
            (Sink::new(Kind::Svlogd).stamped(Stamp::Iso), "`svlogd -tt DIR`, s0 n0"),
            (Sink::new(Kind::Multilog).rotating(1 << 30), "`multilog n100000 s16777215 DIR`"),
            (Sink::new(Kind::Rotatelogs).rotating(16 << 20), "`rotatelogs DIR/log 16M`"),
            (Sink::new(Kind::Cat), "`cat` > FILE"),
            (
                Sink { flags: vec!["--continue".into()], ..Sink { kind: Kind::Reader, ..Sink::new(Kind::Cat) } },
                "`reader stdin DIR --continue`",
            ),
        ] {
            assert_eq!(sink.label(), label);
        }
    }
}
