//! A directory with a log, who writes and rotates it, who follows it, and the reference that knows what must come out.

mod files;
mod follower;
mod reference;
pub mod steps;

use std::collections::{HashMap, HashSet};
use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use standpipe_tailer::file::identity::Identity;
use standpipe_tailer::log::settings::Hints;
use tempfile::TempDir;

use files::append;
use follower::{Follower, identity};
use reference::{Home, Reference};
use steps::{Setting, Step};

/// Virtual time that everything that waits is over after, without leases.
const PATIENCE_MAX: usize = 90;
/// So long a file whose line is unfinished may be quiet before it counts as finished.
const QUIET_MS: u64 = 20_000;

struct Writer {
    file: File,
    identity: Identity,
}

pub struct World {
    dir: TempDir,
    setting: Setting,
    follower: Follower,
    reference: Reference,
    /// Which life each file is in now.
    lives: HashMap<Identity, usize>,
    writer: Option<Writer>,
    late: Vec<Writer>,
    locked: HashSet<Identity>,
    /// Nobody has looked since a truncation.
    is_truncated: bool,
    is_paused: bool,
    is_clogged: bool,
    targets: usize,
    /// A writer went away since the last look.
    was_closed: bool,
}

type Verdict = Result<(), String>;

impl World {
    pub fn new(setting: Setting) -> World {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(dir.path().join("pods")).unwrap();
        let rotated = [String::from("pods/*.log"), String::from("pods/*.log.gz"), String::from("pods/*.log.zst")];
        let follower =
            Follower::new(&dir.path().join("app.log"), setting.is_link.then_some(rotated.as_slice()), setting);
        let mut world = World {
            dir,
            setting,
            follower,
            reference: Reference::new(setting.has_leases),
            lives: HashMap::new(),
            writer: None,
            late: Vec::new(),
            locked: HashSet::new(),
            is_truncated: false,
            is_paused: false,
            is_clogged: false,
            targets: 0,
            was_closed: false,
        };
        // What is born in the same tick of the kernel's clock counts as older than the first start.
        std::thread::sleep(Duration::from_millis(10));
        world.create();
        // At its first start it leaves packed files alone.
        world.rest().unwrap();
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn live(&self) -> PathBuf {
        self.path("app.log")
    }

    /// One step, and what follows from it: who runs comes to rest, or does not look.
    pub fn play(&mut self, step: Step) -> Verdict {
        self.act(step)?;
        self.destroy();
        if self.follower.is_running() && !self.is_paused { self.rest() } else { Ok(()) }
    }

    fn act(&mut self, step: Step) -> Verdict {
        match step {
            Step::Write { .. } | Step::Piece | Step::Second { .. } | Step::Late { .. } | Step::CloseLate { .. } => {
                self.write_by(step);
            }
            Step::Rotate { creates, keeps_writer } => self.rotate(creates, keeps_writer),
            Step::Create { keeps_writer } => {
                if identity(&self.live()).is_none() {
                    self.hand_over(keeps_writer);
                    self.create();
                }
            }
            Step::Truncate => self.truncate(),
            Step::CopyTruncate { between, looks } => return self.copytruncate(between, looks),
            Step::RemoveOldest => {
                if let Some(oldest) = self.rotated().first() {
                    fs::remove_file(oldest).unwrap();
                }
            }
            Step::RemoveLive { keeps_writer } => self.remove_live(keeps_writer),
            Step::Lock => self.lock(),
            Step::Unlock => self.unlock(),
            Step::Pack { which, is_zstd } => self.pack(which, is_zstd),
            Step::Pause => self.is_paused = true,
            Step::Resume => self.is_paused = false,
            Step::Advance { ms } => return self.advance(ms),
            Step::Kill { .. }
            | Step::KillAndStart { .. }
            | Step::Stop
            | Step::Start
            | Step::Clog
            | Step::Unclog
            | Step::Save => return self.operate(step),
        }
        Ok(())
    }

    fn write_by(&mut self, step: Step) {
        match step {
            Step::Write { lines } => {
                if let Some(mut writer) = self.writer.take() {
                    self.complete(&mut writer);
                    self.write_lines(&mut writer, lines);
                    self.writer = Some(writer);
                }
            }
            Step::Piece => {
                if let Some(mut writer) = self.writer.take() {
                    self.write_piece(&mut writer);
                    self.writer = Some(writer);
                }
            }
            Step::Second { lines } => {
                if let Some(file) = identity(&self.live()) {
                    let mut second = Writer { file: append(&self.live()), identity: file };
                    if !self.has_partial(&file) {
                        self.write_lines(&mut second, lines);
                    }
                    self.was_closed = true;
                }
            }
            Step::Late { which, lines } if !self.late.is_empty() => {
                let mut writer = self.late.swap_remove(which % self.late.len());
                self.complete(&mut writer);
                self.write_lines(&mut writer, lines);
                self.late.push(writer);
            }
            Step::CloseLate { which } if !self.late.is_empty() => {
                self.late.swap_remove(which % self.late.len());
                self.was_closed = true;
            }
            _ => {}
        }
    }

    fn remove_live(&mut self, keeps_writer: bool) {
        if identity(&self.live()).is_none() {
            return;
        }
        if self.is_truncated {
            // Without a name nobody tells it from older than its copies.
            let unread = self.reference.lives.iter_mut().filter(|life| life.put == 0);
            unread.for_each(|life| life.is_late = true);
        }
        let target = fs::canonicalize(self.live()).unwrap();
        fs::remove_file(target).unwrap();
        if self.setting.is_link {
            fs::remove_file(self.live()).unwrap();
        }
        self.hand_over(keeps_writer);
        self.create();
    }

    fn advance(&mut self, ms: u64) -> Verdict {
        if ms > QUIET_MS {
            self.complete_all();
            if self.follower.is_running() && !self.is_paused {
                self.destroy();
                self.rest()?;
            }
        }
        self.follower.advance(ms);
        Ok(())
    }

    fn operate(&mut self, step: Step) -> Verdict {
        match step {
            Step::Kill { arrives } if self.follower.is_running() => {
                self.follower.kill(arrives);
                return self.died();
            }
            Step::KillAndStart { arrives } if self.follower.is_running() => {
                self.follower.kill(arrives);
                self.died()?;
                self.destroy();
                self.follower.start();
            }
            Step::Stop if self.follower.is_running() && !self.is_paused => {
                self.rest()?;
                self.follower.set_clogged(false);
                self.hear()?;
                self.follower.save();
                self.follower.kill(4);
                return self.died();
            }
            Step::Start if !self.follower.is_running() => self.follower.start(),
            // Without leases a file that is quiet is finished although it is not delivered, and looked at again after that.
            Step::Clog | Step::Unclog if self.setting.has_leases && self.follower.is_running() && !self.is_paused => {
                self.is_clogged = matches!(step, Step::Clog);
                self.follower.set_clogged(self.is_clogged);
                return self.hear();
            }
            Step::Save if !self.is_paused => self.follower.save(),
            _ => {}
        }
        Ok(())
    }

    fn died(&mut self) -> Verdict {
        self.is_paused = false;
        self.is_clogged = false;
        self.hear()?;
        self.reference.forget();
        Ok(())
    }

    /// Files that have a name under which they are found.
    fn named(&self) -> HashSet<Identity> {
        self.rotated().iter().chain(&[self.live()]).filter_map(|path| identity(path)).collect()
    }

    fn destroy(&mut self) {
        let named = self.named();
        let follower = &self.follower;
        self.reference.destroy(follower.is_running(), |file| named.contains(file) || follower.holds(file));
    }

    /// Who follows does all that it can.
    fn rest(&mut self) -> Verdict {
        // Without leases, who closes a file may be taken for who has a line of another one unfinished.
        let closed = std::mem::take(&mut self.was_closed) && (self.setting.has_leases || !self.is_begun());
        let mut why = Ok(());
        // Every other time nothing tells of names before the bytes themselves do.
        let is_told = self.reference.lines().is_multiple_of(2);
        for round in 0..PATIENCE_MAX {
            if closed {
                self.follower.tell_closed();
            }
            self.follower.turn(Hints { names: is_told || round > 0, content: true });
            self.hear()?;
            why = self.is_at_rest();
            if why.is_ok() {
                self.is_truncated = false;
                return Ok(());
            }
            self.follower.advance(1100);
        }
        why.map_err(|why| format!("{why}\n{}", self.follower.describe()))
    }

    fn hear(&mut self) -> Verdict {
        let output = &mut self.follower.output;
        let (put, delivered) = (std::mem::take(&mut output.put), std::mem::take(&mut output.delivered));
        let heard = self.reference.put(&put).map_err(|why| format!("put: {why}"));
        let heard = heard.and_then(|()| self.reference.deliver(&delivered).map_err(|why| format!("delivered: {why}")));
        heard.map_err(|why| format!("{why}\n{}", self.follower.describe()))
    }

    /// Whether all that can be read is put, and what is unfinished is held.
    fn is_at_rest(&mut self) -> Verdict {
        let named = self.named();
        for (index, life) in self.reference.lives.iter_mut().enumerate() {
            let can_be_read = |home: &&Home| {
                self.follower.holds(&home.file) || (named.contains(&home.file) && !self.locked.contains(&home.file))
            };
            let homes = life.homes.iter().filter(can_be_read);
            let there = homes.map(|home| home.copied.unwrap_or(life.bytes.len())).max();
            let end = there.unwrap_or(0).max(life.known).min(life.limit());
            let lines_end = life.bytes[..end].iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
            if life.put < lines_end {
                return Err(format!("of life {index} {} bytes are put, and {lines_end} can be", life.put));
            }
            // In memory, or read again when the file is opened again.
            let is_held = self.follower.generations().any(|generation| {
                let is_home = life.homes.iter().any(|home| home.file == generation.inode());
                is_home
                    && generation.cursor().held().len() == end - life.put
                    && generation.cursor().read() == life.put as u64
            });
            if life.put < end && !is_held && self.setting.has_leases {
                return Err(format!("of life {index} {} bytes are put, {end} are there", life.put));
            }
            life.known = if is_held { end } else { life.put };
            if !self.is_clogged && life.delivered < lines_end {
                return Err(format!("of life {index} {} bytes are delivered of {lines_end}", life.delivered));
            }
        }
        Ok(())
    }

    /// The end: nobody writes any more, and all is to come out.
    pub fn finish(&mut self) -> Verdict {
        self.is_paused = false;
        self.unlock();
        if !self.follower.is_running() {
            self.follower.start();
        }
        self.is_clogged = false;
        self.follower.set_clogged(false);
        self.destroy();
        self.rest()?;
        self.late.clear();
        self.writer = None;
        self.was_closed = true;
        if !self.setting.is_link && identity(&self.live()).is_some() {
            self.shift();
            fs::rename(self.live(), self.path("app.log.1")).unwrap();
        } else if self.setting.is_link {
            fs::remove_file(self.live()).ok();
        }
        for _ in 0..PATIENCE_MAX {
            self.rest()?;
            self.follower.advance(3000);
            if self.reference.lives.iter().all(|life| life.delivered >= life.limit()) {
                return Ok(());
            }
        }
        let index = self.reference.lives.iter().position(|life| life.delivered < life.limit()).unwrap();
        let life = &self.reference.lives[index];
        let (delivered, limit, written) = (life.delivered, life.limit(), life.bytes.len());
        let why = format!("of life {index} {delivered} bytes came out, of {limit} that could ({written} written)");
        Err(format!("{why}\n{}", self.follower.describe()))
    }

    /// Lines that were written, and bytes that nobody could read.
    pub fn counts(&self) -> (usize, usize) {
        let destroyed = |life: &reference::Life| life.bytes.len() - life.limit().max(life.delivered);
        (self.reference.lines(), self.reference.lives.iter().map(destroyed).sum())
    }
}
