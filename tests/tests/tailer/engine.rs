//! The tailer behind the rotator that most machines have: logrotate, in the ways in which it is configured, while
//! applications write.
//!
//! What counts: each line that is in a rotated file at the end, packed or not, was delivered, and none twice or torn. A
//! line that is neither there nor delivered was destroyed by the rotator before anybody could read it; where a way of
//! rotating destroys nothing there must be none.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use standpipe_tests::deadline::{CONDITION_SPAN, until, within};
use standpipe_tests::privilege::needs_tool;
use standpipe_tests::programs::command;
use standpipe_tests::stands::Tailing;
use standpipe_tests::world::{Busy, Log, Owner, Tally};

/// Lines between two rotations, at least.
const LINES: u64 = 300;

/// When the tailer is there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Presence {
    /// During all rotations.
    Always,
    /// It is killed before the second rotation and comes back after the third.
    Sometimes,
}

/// What a way of rotating may do to lines that nobody has read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Harm {
    /// Nothing.
    None,
    /// It removes whole files, or truncates what was written after its copy.
    Destroys,
}

struct Engine {
    stand: Tailing,
    logs: Vec<Busy>,
    conf: PathBuf,
    /// What tailers said that were killed.
    said: String,
}

impl Engine {
    /// Applications at work, followed by a tailer into a staged pipe, and a configuration of logrotate.
    fn start(names: &[&str], directives: &str) -> Engine {
        let mut stand = Tailing::into_pipe(Owner::Tailer, true);
        stand.scratch.make_dir("app/old");
        let dir = stand.logs();
        // Only where rotated files go to another directory must the tailer be told.
        let is_told = directives.contains("olddir");
        let rotated = |name: &&str| format!("rotated = [\"{}/old/{name}*\"]\n", dir.display());
        let keys: Vec<String> = names.iter().map(|name| if is_told { rotated(name) } else { String::new() }).collect();
        let files: Vec<(&str, &str)> = names.iter().zip(&keys).map(|(name, keys)| (*name, keys.as_str())).collect();
        stand.configure("", &files);
        let logs: Vec<Busy> = names
            .iter()
            .zip(1..)
            .map(|(name, writer)| Busy::start(stand.log(name, writer), &stand.work(&format!("{name}.reopen"))))
            .collect();
        let reopen: String = logs.iter().map(|log| reopen(&log.asked)).collect();
        let script = if directives.contains("copytruncate") {
            String::new()
        } else {
            format!("postrotate\necho once >> {}\n{reopen}endscript\n", stand.work("scripts").display())
        };
        let conf = stand.work("logrotate.conf");
        let text = format!("{}/*.log {{\nsize 1\nrotate 100\n{directives}{script}}}\n", dir.display());
        fs::write(&conf, text).unwrap();
        stand.start();
        Engine { stand, logs, conf, said: String::new() }
    }

    fn rotate(&mut self) {
        for log in &self.logs {
            log.wait_lines(LINES);
        }
        let mut command = command("logrotate");
        let done =
            command.arg("-f").arg("-s").arg(self.stand.work("logrotate.state")).arg(&self.conf).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }

    fn kill(&mut self) {
        self.stand.kill9();
        self.said += &self.stand.daemon().stderr();
    }

    /// Starts the tailer again, and waits until it has looked at all there is.
    fn come_back(&mut self) {
        self.stand.start();
        self.wait_caught_up();
    }

    /// Until lines that were written after this moment are delivered.
    fn wait_caught_up(&self) {
        let marks: Vec<Vec<u8>> = self.logs.iter().map(Busy::next_line).collect();
        let is_delivered = |mark: &Vec<u8>| memchr::memmem::find(&self.stand.delivered(), mark).is_some();
        let done = within(CONDITION_SPAN, || marks.iter().all(is_delivered));
        assert!(done, "it does not catch up:\n{}", self.stand.daemon().stderr());
    }

    fn finish(mut self, harm: Harm) {
        for log in &self.logs {
            log.wait_lines(LINES);
        }
        let logs: Vec<Log> = self.logs.drain(..).map(Busy::stop).collect();
        let on_disk = lines_below(&self.stand.logs());
        let avoidable = |stand: &Tailing| {
            let delivered = stand.delivered();
            let delivered: HashSet<&[u8]> = delivered.split_inclusive(|byte| *byte == b'\n').collect();
            on_disk.iter().filter(|line| !delivered.contains(line.as_slice())).count()
        };
        let is_all = within(CONDITION_SPAN, || avoidable(&self.stand) == 0);
        let said = self.said.clone() + &self.stand.stop();
        let tally = self.stand.tally(&logs.iter().collect::<Vec<_>>());
        println!("{tally:?}");
        assert!(is_all, "{} lines of rotated files are missing: {tally:?}\n{said}", avoidable(&self.stand));
        // A line of which a truncation destroys the second half is delivered without, and that is said.
        let cut = said.matches("ended without a newline").count() as u64;
        let (lost, torn) = if harm == Harm::Destroys { (tally.lost, tally.torn.min(cut)) } else { (0, 0) };
        assert_eq!(tally, Tally { found: tally.found, lost, torn, ..Tally::default() }, "{said}");
    }
}

/// Five rotations, with the tailer there or not.
fn rotations(names: &[&str], directives: &str, presence: Presence, harm: Harm) {
    needs_tool("logrotate", || {
        let mut engine = Engine::start(names, directives);
        engine.rotate();
        if presence == Presence::Sometimes {
            engine.kill();
        }
        engine.rotate();
        engine.rotate();
        if presence == Presence::Sometimes {
            engine.come_back();
        }
        engine.rotate();
        engine.rotate();
        engine.finish(harm);
    });
}

/// The part of a script that makes an application reopen its log, and waits until it has.
fn reopen(asked: &Path) -> String {
    let asked = asked.display();
    format!(": > {asked}\nwhile [ -e {asked} ]; do sleep 0.01; done\n")
}

/// All lines of all files below this directory, unpacked.
fn lines_below(dir: &Path) -> HashSet<Vec<u8>> {
    let mut lines = HashSet::new();
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            lines.extend(lines_below(&path));
            continue;
        }
        let packer = match path.extension().and_then(|end| end.to_str()) {
            Some("gz") => Some("gzip"),
            Some("zst") => Some("zstd"),
            _ => None,
        };
        let bytes = match packer {
            Some(packer) => command(packer).arg("-dc").arg(&path).output().unwrap().stdout,
            None => fs::read(&path).unwrap(),
        };
        // A copy may end inside a line.
        lines.extend(
            bytes.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n")).map(<[u8]>::to_vec),
        );
    }
    lines
}

/// Until the next second: names with the time in them must differ.
fn wait_second() {
    let second = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let before = second();
    until("the next second", || second() > before);
}

macro_rules! ways {
    ($($name:ident: $directives:expr, $harm:expr;)*) => {$(
        mod $name {
            use super::*;

            #[test]
            fn while_the_tailer_follows() {
                rotations(&["app.log"], $directives, Presence::Always, $harm);
            }

            #[test]
            fn while_the_tailer_is_down_for_two_of_them() {
                rotations(&["app.log"], $directives, Presence::Sometimes, $harm);
            }
        }
    )*};
}

ways! {
    renamed_and_created: "create\n", Harm::None;
    renamed_and_created_by_the_application: "nocreate\n", Harm::None;
    copied_and_truncated: "copytruncate\n", Harm::Destroys;
    copied_truncated_and_compressed: "copytruncate\ncompress\n", Harm::Destroys;
    to_another_directory: "create\nolddir old\n", Harm::None;
    compressed_at_once: "create\ncompress\n", Harm::None;
    compressed_at_the_next_rotation: "create\ncompress\ndelaycompress\n", Harm::None;
    compressed_by_zstd: "create\ncompress\ncompresscmd /usr/bin/zstd\ncompressext .zst\ncompressoptions -q --rm\n", Harm::None;
}

#[test]
fn files_named_after_the_time_are_read_in_their_order() {
    needs_tool("logrotate", || {
        let mut engine = Engine::start(&["app.log"], "create\ndateext\ndateformat -%Y%m%d-%s\n");
        for round in 0..4 {
            wait_second();
            engine.rotate();
            match round {
                0 => engine.kill(),
                2 => engine.come_back(),
                _ => {}
            }
        }
        engine.finish(Harm::None);
    });
}

#[test]
fn several_logs_with_one_script_for_all_of_them() {
    rotations(&["app.log", "web.log"], "create\nsharedscripts\ncompress\n", Presence::Always, Harm::None);
    rotations(&["app.log", "web.log"], "create\nsharedscripts\n", Presence::Sometimes, Harm::None);
}

#[test]
fn files_that_are_removed_at_once_are_read_by_a_tailer_that_has_them_open() {
    rotations(&["app.log"], "create\nrotate 0\n", Presence::Always, Harm::None);
}

#[test]
fn files_that_were_removed_while_no_tailer_ran_are_gone_and_nothing_else_is() {
    rotations(&["app.log"], "create\nrotate 0\n", Presence::Sometimes, Harm::Destroys);
}
