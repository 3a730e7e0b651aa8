//! The hands of the writers and of the rotator: what they do to files, and to the reference with it.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use standpipe_tailer::file::identity::Identity;

use super::follower::identity;
use super::reference::Home;
use super::{Verdict, World, Writer};

use standpipe_common::shown::Shown as _;

impl World {
    pub(super) fn write_lines(&mut self, writer: &mut Writer, lines: usize) {
        let life = self.lives[&writer.identity];
        let mut text = String::new();
        for _ in 0..lines {
            let number = self.reference.next_line(life);
            writeln!(text, "{number:08} {}", "x".repeat(number * 7 % 50)).unwrap();
        }
        self.write(writer, text.as_bytes());
    }

    pub(super) fn write_piece(&mut self, writer: &mut Writer) {
        let life = self.lives[&writer.identity];
        if self.reference.lives[life].has_partial() {
            self.write(writer, b" and more");
        } else {
            let number = self.reference.next_line(life);
            self.write(writer, format!("{number:08} half").as_bytes());
        }
    }

    /// Writes the end of the line that is begun.
    pub(super) fn complete(&mut self, writer: &mut Writer) {
        if self.has_partial(&writer.identity) {
            self.write(writer, b" end\n");
        }
    }

    pub(super) fn complete_all(&mut self) {
        let mut writers: Vec<Writer> = self.late.drain(..).chain(self.writer.take()).collect();
        for writer in &mut writers {
            self.complete(writer);
        }
        self.writer = writers.pop();
        self.late = writers;
    }

    pub(super) fn has_partial(&self, file: &Identity) -> bool {
        self.reference.lives[self.lives[file]].has_partial()
    }

    /// Whether somebody has a line unfinished.
    pub(super) fn is_begun(&self) -> bool {
        self.late.iter().chain(&self.writer).any(|writer| self.has_partial(&writer.identity))
    }

    pub(super) fn write(&mut self, writer: &mut Writer, bytes: &[u8]) {
        writer.file.write_all(bytes).unwrap();
        self.reference.lives[self.lives[&writer.identity]].bytes.extend_from_slice(bytes);
    }

    /// Rotated files that can be found, oldest first.
    pub(super) fn rotated(&self) -> Vec<PathBuf> {
        let dir = if self.setting.is_link { self.path("pods") } else { self.dir.path().to_path_buf() };
        let live = fs::canonicalize(self.live()).ok();
        let mut paths: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.retain(|path| path.is_file() && Some(path) != live.as_ref() && *path != self.live());
        if self.setting.is_link {
            paths.sort();
        } else {
            paths.sort_by_key(|path| std::cmp::Reverse(number(path)));
        }
        paths
    }

    pub(super) fn shift(&self) {
        for path in self.rotated() {
            let name = path.file_name().unwrap().to_str().unwrap();
            let fields: Vec<&str> = name.splitn(4, '.').collect();
            let packed = fields.get(3).map(|end| format!(".{end}")).unwrap_or_default();
            fs::rename(&path, self.path(&format!("app.log.{}{packed}", number(&path) + 1))).unwrap();
        }
    }

    pub(super) fn rotate(&mut self, creates: bool, keeps_writer: bool) {
        if identity(&self.live()).is_none() {
            return;
        }
        if self.setting.is_link {
            // Its swap is its rotation.
            self.hand_over(keeps_writer);
            self.create();
            return;
        }
        self.shift();
        fs::rename(self.live(), self.path("app.log.1")).unwrap();
        if creates {
            self.hand_over(keeps_writer);
            self.create();
        }
    }

    /// The writer opens another file, and may keep the old one as well.
    pub(super) fn hand_over(&mut self, keeps_writer: bool) {
        let old = self.writer.take();
        if let Some(old) = old.filter(|_| keeps_writer) {
            let life = self.lives[&old.identity];
            self.reference.lives[life].is_kept = true;
            self.late.push(old);
        }
        self.was_closed |= !keeps_writer;
    }

    pub(super) fn create(&mut self) {
        if births_are_told_apart() {
            std::thread::sleep(Duration::from_millis(5));
        }
        let path = if self.setting.is_link {
            self.targets += 1;
            let target = format!("pods/{:06}.log", self.targets);
            fs::write(self.path(&target), "").unwrap();
            symlink(&target, self.path("link")).unwrap();
            fs::rename(self.path("link"), self.live()).unwrap();
            self.path(&target)
        } else {
            self.live()
        };
        let file = append(&path);
        let identity = identity(&path).unwrap();
        let life = self.reference.begin(identity);
        self.lives.insert(identity, life);
        self.writer = Some(Writer { file, identity });
    }

    pub(super) fn truncate(&mut self) {
        let Some(file) = identity(&self.live()) else { return };
        // Without a file that can be opened nobody knows a truncation from a rotation.
        if !self.locked.is_empty() {
            return;
        }
        OpenOptions::new().write(true).open(self.live()).unwrap().set_len(0).unwrap();
        self.is_truncated = true;
        self.next_life(file);
    }

    /// What is in the file from now on is another life.
    pub(super) fn next_life(&mut self, file: Identity) {
        let old = self.lives[&file];
        self.reference.lives[old].homes.retain(|home| home.file != file);
        if self.reference.lives[old].bytes.is_empty() {
            // Nothing was truncated.
            self.reference.lives[old].homes.push(Home { file, copied: None });
            return;
        }
        let life = self.reference.begin(file);
        self.reference.lives[life].is_late = self.locked.contains(&file);
        self.lives.insert(file, life);
    }

    pub(super) fn copytruncate(&mut self, between: usize, looks: bool) -> Verdict {
        let Some(file) = identity(&self.live()) else { return Ok(()) };
        if self.setting.is_link || !self.locked.is_empty() || self.reference.lives[self.lives[&file]].bytes.is_empty() {
            return Ok(());
        }
        if births_are_told_apart() {
            std::thread::sleep(Duration::from_millis(5));
        }
        self.shift();
        let copy = self.path("app.log.1");
        fs::copy(self.live(), &copy).unwrap();
        let (life, copied) = (self.lives[&file], identity(&copy).unwrap());
        let end = self.reference.lives[life].bytes.len();
        self.reference.lives[life].homes.push(Home { file: copied, copied: Some(end) });
        if looks && self.follower.is_running() && !self.is_paused {
            self.rest()?;
        }
        if between > 0
            && let Some(mut writer) = self.writer.take_if(|writer| writer.identity == file)
        {
            self.complete(&mut writer);
            self.write_lines(&mut writer, between);
            self.writer = Some(writer);
        }
        self.truncate();
        Ok(())
    }

    pub(super) fn lock(&mut self) {
        if let Some(file) = identity(&self.live()).filter(|_| !self.is_truncated) {
            fs::set_permissions(self.live(), Permissions::from_mode(0o000)).unwrap();
            self.locked.insert(file);
            let life = self.lives[&file];
            self.reference.lives[life].is_late = true;
        }
    }

    pub(super) fn unlock(&mut self) {
        let all = self.rotated().into_iter().chain(identity(&self.live()).map(|_| self.live()));
        for path in all {
            fs::set_permissions(path, Permissions::from_mode(0o644)).unwrap();
        }
        self.locked.clear();
    }

    pub(super) fn pack(&mut self, which: usize, is_zstd: bool) {
        let plain: Vec<PathBuf> = self
            .rotated()
            .into_iter()
            .filter(|path| fs::metadata(path).unwrap().len() > 0 && !is_packed(path))
            .collect();
        if plain.is_empty() {
            return;
        }
        let path = &plain[which % plain.len()];
        let file = identity(path).unwrap();
        let mut writers = self.late.iter().chain(&self.writer);
        if writers.any(|writer| writer.identity == file) || self.locked.contains(&file) {
            return;
        }
        let bytes = fs::read(path).unwrap();
        let packed = if is_zstd {
            zstd::encode_all(&bytes[..], 1).unwrap()
        } else {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(&bytes).unwrap();
            encoder.finish().unwrap()
        };
        let to = PathBuf::from(format!("{}.{}", path.shown(), if is_zstd { "zst" } else { "gz" }));
        fs::write(&to, packed).unwrap();
        let changed = fs::metadata(path).unwrap().modified().unwrap();
        File::options().write(true).open(&to).unwrap().set_modified(changed).unwrap();
        let home = Home { file: identity(&to).unwrap(), copied: Some(bytes.len()) };
        for life in &mut self.reference.lives {
            if life.homes.iter().any(|home| home.file == file) {
                life.homes.push(home);
            }
        }
        fs::remove_file(path).unwrap();
    }
}

/// Opens it for a writer, who may have it whatever its permissions are now.
pub(super) fn append(path: &Path) -> File {
    let open = || OpenOptions::new().create(true).append(true).open(path);
    open().unwrap_or_else(|error| {
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{}", path.shown());
        let locked = fs::metadata(path).unwrap().permissions();
        fs::set_permissions(path, Permissions::from_mode(0o644)).unwrap();
        let file = open().unwrap();
        fs::set_permissions(path, locked).unwrap();
        file
    })
}

fn number(path: &Path) -> usize {
    path.file_name().unwrap().to_str().unwrap().split('.').nth(2).and_then(|number| number.parse().ok()).unwrap_or(0)
}

fn is_packed(path: &Path) -> bool {
    path.extension().is_some_and(|end| end == "gz" || end == "zst")
}

/// Births are as fine as the clock of the kernel.
fn births_are_told_apart() -> bool {
    std::env::var_os("STANDPIPE_TEST_NO_PAUSE").is_none()
}
