//! A spool that many short-lived processes write into, and what became of each of their files.
//!
//! Each process is a shell that opens its file once, writes numbered lines, and comes to one of the ends of [`Ending`].

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use super::tailing::quoted;
use crate::deadline::{CONDITION_SPAN, within};
use crate::directory::{Scratch, names};
use crate::privilege;
use crate::programs::{Daemon, Launch, Process, command, holder};
use crate::world::{Drain, Owner};

/// How a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It touches its marker.
    Marker,
    /// It ends without.
    NoMarker,
    /// By SIGKILL, in the middle of its lines.
    Killed,
    /// It touches its marker before its last line.
    EarlyMarker,
    /// As [`Ending::Killed`], and there is a marker from an earlier process of its name.
    KilledReused,
    /// As [`Ending::Marker`], and there is one from before.
    MarkerReused,
}

/// All of them.
pub const ENDINGS: [Ending; 6] =
    [Ending::Marker, Ending::NoMarker, Ending::Killed, Ending::EarlyMarker, Ending::KilledReused, Ending::MarkerReused];

impl Ending {
    /// Whether the file is complete then.
    pub fn is_complete(self) -> bool {
        matches!(self, Ending::Marker | Ending::EarlyMarker | Ending::MarkerReused)
    }

    /// Whether a marker is there before the process.
    pub fn is_reused(self) -> bool {
        matches!(self, Ending::KilledReused | Ending::MarkerReused)
    }

    fn word(self) -> &'static str {
        match self {
            Ending::Marker | Ending::MarkerReused => "marker",
            Ending::NoMarker => "none",
            Ending::Killed | Ending::KilledReused => "killed",
            Ending::EarlyMarker => "early",
        }
    }
}

/// `$1`: the file; `$2`: its marker; `$3`: its name; `$4`: how many lines; `$5`: how it ends.
const WRITER: &str = r#"
exec >>"$1"
i=0
while [ $i -lt $4 ]; do
    i=$((i + 1))
    [ $5 = killed ] && [ $i -gt $(($4 / 2)) ] && kill -9 $$
    [ $5 = early ] && [ $i = $4 ] && : >"$2"
    printf '%s %s %s of a process of its own\n' "$3" $i $4
done
exec >&-
[ $5 = marker ] && : >"$2"
exit 0
"#;

/// A spool, a tailer that collects it into a held pipe, and who drains that.
#[derive(Debug)]
pub struct Spooling {
    /// All of it.
    pub scratch: Scratch,
    /// Who drains the pipe.
    pub drain: Drain,
    /// The last tailer that was started.
    pub daemon: Option<Daemon>,
    owner: Owner,
    _holder: Daemon,
}

impl Spooling {
    /// With a staging pipe beside the pipe, and markers in `spool/done`. The writers have the tailer's user, or another.
    pub fn new(owner: Owner) -> Spooling {
        let scratch = Scratch::new();
        for dir in ["spool", "spool/done", "tailer"] {
            scratch.make_dir(dir);
        }
        let fifo = scratch.pipe("out");
        scratch.write_policy("out.toml", "stage = true\n");
        let holder = holder(&scratch).start();
        let drain = Drain::start(&fifo);
        Spooling { scratch, drain, daemon: None, owner, _holder: holder }
    }

    /// The file of this name in the spool.
    pub fn file(&self, name: &str) -> PathBuf {
        self.scratch.path().join("spool").join(name)
    }

    /// Its marker.
    pub fn marker(&self, name: &str) -> PathBuf {
        self.scratch.path().join("spool/done").join(name)
    }

    /// Writes the configuration: the keys of the spool besides `dir` and `pipe`, then what else is said.
    pub fn configure(&self, keys: &str, more: &str) {
        let (work, fifo) = (self.scratch.path().join("tailer"), self.scratch.run("out"));
        let toml = format!(
            "poll_interval_ms = 20\nstate_file = \"state.json\"\npipe = {}\n[[spool]]\ndir = {}\n{keys}{more}",
            quoted(&fifo),
            quoted(&self.scratch.path().join("spool"))
        );
        fs::write(work.join("tailer.toml"), toml).expect("a file of our own");
    }

    /// A tailer by this configuration.
    pub fn launch(&self) -> Launch {
        let work = self.scratch.path().join("tailer");
        let launch = Launch::new("tailer").arg("--config").arg(work.join("tailer.toml"));
        launch.env("STANDPIPE_TEST_FAULTS", work.join("faults"))
    }

    /// The faults from now on, in the words of the seam.
    pub fn faults(&self, lines: &str) {
        fs::write(self.scratch.path().join("tailer/faults"), lines).expect("a file of our own");
    }

    /// Starts it; the one before is dead.
    pub fn start(&mut self) {
        self.daemon = Some(self.launch().start());
    }

    /// The running tailer.
    pub fn daemon(&mut self) -> &mut Daemon {
        self.daemon.as_mut().expect("a tailer was started")
    }

    /// Starts a process that writes so many lines.
    pub fn spawn(&self, name: &str, lines: u32, ending: Ending) -> Process {
        let mut command = command("sh");
        command.args(["-c", WRITER, "sh"]).arg(self.file(name)).arg(self.marker(name)).arg(name);
        command.arg(lines.to_string()).arg(ending.word()).stdin(Stdio::null()).stderr(Stdio::null());
        if let Some(id) = privilege::ordinary_user().filter(|_| self.owner == Owner::Tailer) {
            command.uid(id).gid(id);
        }
        Process::start(&mut command)
    }

    /// Makes a file of the tailer's own user, or of ours.
    pub fn put(&self, name: &str, content: &[u8]) {
        self.make(&self.file(name), content);
    }

    /// Touches its marker.
    pub fn mark(&self, name: &str) {
        self.make(&self.marker(name), b"");
    }

    /// Under a hidden name first: once it has its own it may be gone at once.
    fn make(&self, path: &Path, content: &[u8]) {
        let mut hidden = OsString::from(".");
        hidden.push(path.file_name().expect("a name"));
        let hidden = path.with_file_name(hidden);
        fs::write(&hidden, content).expect("a file of our own");
        if self.owner == Owner::Tailer {
            privilege::give(&hidden);
        }
        fs::rename(&hidden, path).expect("a file of our own");
    }

    /// Waits until so many bytes came, and demands that they are these and that nothing comes after.
    pub fn expect(&mut self, bytes: &[u8]) {
        let came = within(CONDITION_SPAN, || self.drain.bytes().len() >= bytes.len());
        let got = self.drain.bytes();
        let (got_text, said) = (String::from_utf8_lossy(&got[..got.len().min(2000)]), self.daemon().stderr());
        assert!(came && got == bytes, "{} of {} bytes: {got_text}\n{said}", got.len(), bytes.len());
    }

    /// The names in the spool and among its markers.
    pub fn left(&self) -> (Vec<String>, Vec<String>) {
        let mut files = names(&self.scratch.path().join("spool"));
        files.retain(|name| name != "done");
        (files, names(&self.scratch.path().join("spool/done")))
    }
}

/// What of each file came out, by its name: how many lines in one piece; an error in words if they are not.
pub fn pieces(bytes: &[u8]) -> Result<BTreeMap<String, (u32, u32)>, String> {
    let mut pieces: BTreeMap<String, (u32, u32)> = BTreeMap::new();
    let mut last = String::new();
    for line in String::from_utf8_lossy(bytes).lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [name, number, all, "of", "a", "process", "of", "its", "own"] = words[..] else {
            if !line.starts_with("app ") {
                return Err(format!("torn: {line}"));
            }
            line[..3].clone_into(&mut last);
            continue;
        };
        let (number, all): (u32, u32) = (number.parse().unwrap(), all.parse().unwrap());
        let known = pieces.entry(name.to_owned()).or_insert((0, all));
        if number != known.0 + 1 || (number > 1 && last != name) {
            return Err(format!("{line} after {} lines, behind {last}", known.0));
        }
        known.0 = number;
        name.clone_into(&mut last);
    }
    Ok(pieces)
}
