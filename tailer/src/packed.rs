//! Rotated generations that were compressed: reads `.gz` and `.zst`, recognises `.xz` and `.bz2`.
//!
//! An archive has no identity in common with the file that was packed: [`Skip`] finds out whether it is the same by
//! what it begins with and by what stands before the place where reading is to go on. All members and frames are read,
//! one after the other. Of one that is cut off or damaged everything before the damage is given first, then the error.

use std::cmp::min;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use flate2::bufread::MultiGzDecoder;
use zstd::stream::read::Decoder;

use crate::guard::{GUARD_BYTES_MAX, Guard};

/// How much is unpacked at once while skipping.
const CHUNK_BYTES: usize = 64 << 10;

/// How a file is packed, by the end of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Packing {
    /// `.gz`
    Gzip,
    /// `.zst`
    Zstd,
    /// `.xz`, which is not read.
    Xz,
    /// `.bz2`, which is not read.
    Bzip2,
}

const ENDS: [(&str, Packing); 4] =
    [(".gz", Packing::Gzip), (".zst", Packing::Zstd), (".xz", Packing::Xz), (".bz2", Packing::Bzip2)];

impl Packing {
    /// A name without its end, and how the file is packed. `None`: it is not.
    pub fn of(name: &OsStr) -> Option<(OsString, Packing)> {
        let name = name.as_bytes();
        ENDS.into_iter().find_map(|(end, packing)| {
            let plain = name.strip_suffix(end.as_bytes()).filter(|plain| !plain.is_empty())?;
            Some((OsString::from_vec(plain.to_vec()), packing))
        })
    }

    /// Whether [`Packed`] can read it.
    pub fn is_readable(self) -> bool {
        matches!(self, Packing::Gzip | Packing::Zstd)
    }
}

impl fmt::Display for Packing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (end, _) = ENDS[*self as usize];
        f.write_str(end)
    }
}

/// A packed file, read as what it was before.
pub struct Packed {
    unpacker: Unpacker,
    /// Unpacked too early by a [`Skip`]; read before what follows.
    ahead: Vec<u8>,
    ahead_at: usize,
}

enum Unpacker {
    Gzip(MultiGzDecoder<BufReader<File>>),
    Zstd(Decoder<'static, BufReader<File>>),
}

impl Packed {
    /// Reads a file from where it stands, its beginning.
    ///
    /// # Errors
    /// It is no regular file, or packed in a way that is not read.
    pub fn open(file: File, packing: Packing) -> io::Result<Packed> {
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("it is no regular file"));
        }
        let unpacker = match packing {
            Packing::Gzip => Unpacker::Gzip(MultiGzDecoder::new(BufReader::new(file))),
            Packing::Zstd => Unpacker::Zstd(Decoder::new(file)?),
            Packing::Xz | Packing::Bzip2 => {
                return Err(io::Error::other(format!("{packing} files are not read")));
            }
        };
        Ok(Packed { unpacker, ahead: Vec::new(), ahead_at: 0 })
    }
}

impl Read for Packed {
    /// # Errors
    /// `UnexpectedEof`: it is cut off here, or still being written. `InvalidData`: it is damaged.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.ahead_at < self.ahead.len() {
            let len = min(buffer.len(), self.ahead.len() - self.ahead_at);
            buffer[..len].copy_from_slice(&self.ahead[self.ahead_at..self.ahead_at + len]);
            self.ahead_at += len;
            return Ok(len);
        }
        let read = match &mut self.unpacker {
            Unpacker::Gzip(unpacker) => unpacker.read(buffer),
            Unpacker::Zstd(unpacker) => unpacker.read(buffer),
        };
        read.map_err(in_our_words)
    }
}

fn in_our_words(error: io::Error) -> io::Error {
    match error.kind() {
        _ if error.raw_os_error().is_some() => error,
        io::ErrorKind::Interrupted => error,
        io::ErrorKind::UnexpectedEof => io::Error::new(io::ErrorKind::UnexpectedEof, "the archive is cut off"),
        _ => io::Error::new(io::ErrorKind::InvalidData, format!("the archive is damaged: {error}")),
    }
}

/// What a [`Skip`] has found so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing yet: it wants another step.
    More,
    /// The same file; the next byte that is read is the one at the offset.
    Fits,
    /// Another file, or one that ends before the offset.
    Differs,
}

/// The way to an offset in a packed file, in steps, each of which takes little time.
#[derive(Debug)]
pub struct Skip {
    offset: u64,
    head: Guard,
    guard: Guard,
    /// Bytes unpacked.
    at: u64,
    /// The first ones, until the head is known to fit.
    first: Vec<u8>,
    /// Whether it does.
    is_head_checked: bool,
    /// The last ones before the offset, at least as many as the guard covers.
    last: Vec<u8>,
    /// What was unpacked from the offset on, for the sake of the head.
    ahead: Vec<u8>,
}

impl Skip {
    /// To `offset` of a file that began with `head`, where `guard` stood right before the offset. A guard that is not
    /// known fits everything.
    pub fn new(offset: u64, head: Option<Guard>, guard: Option<Guard>) -> Skip {
        let (head, guard) = (head.unwrap_or_default(), guard.unwrap_or_default());
        let (first, last, ahead) = (Vec::new(), Vec::new(), Vec::new());
        Skip { offset, head, guard, at: 0, first, is_head_checked: head.len == 0, last, ahead }
    }

    /// Unpacks about `bytes_max` more. After [`Found::Fits`] or [`Found::Differs`] there is no further step.
    ///
    /// # Errors
    /// As reading does: the archive ends or is damaged before the offset, or before it is known.
    pub fn step(&mut self, packed: &mut Packed, bytes_max: usize) -> io::Result<Found> {
        let mut buffer = vec![0; CHUNK_BYTES];
        let mut left = bytes_max.max(1);
        while !(self.is_head_checked && self.at >= self.offset) {
            if left == 0 {
                return Ok(Found::More);
            }
            let wanted = min(min(left as u64, self.wanted()), CHUNK_BYTES as u64) as usize;
            let read = match packed.read(&mut buffer[..wanted]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read?,
            };
            if read == 0 || !self.take(&buffer[..read]) {
                return Ok(Found::Differs);
            }
            left -= read;
        }
        let covered = self.guard.len as usize;
        if self.last.len() < covered || !self.guard.fits(&self.last[self.last.len() - covered..]) {
            return Ok(Found::Differs);
        }
        packed.ahead = std::mem::take(&mut self.ahead);
        packed.ahead_at = 0;
        Ok(Found::Fits)
    }

    /// How far to go at most: neither beyond the head nor beyond the offset at once.
    fn wanted(&self) -> u64 {
        if self.is_head_checked { self.offset - self.at } else { u64::from(self.head.len) - self.at }
    }

    /// False: the head does not fit.
    fn take(&mut self, bytes: &[u8]) -> bool {
        let before = min(self.offset.saturating_sub(self.at), bytes.len() as u64) as usize;
        self.keep_last(&bytes[..before]);
        self.ahead.extend_from_slice(&bytes[before..]);
        self.at += bytes.len() as u64;
        if self.is_head_checked {
            return true;
        }
        self.first.extend_from_slice(bytes);
        if self.first.len() < self.head.len as usize {
            return true;
        }
        self.is_head_checked = true;
        self.head.fits(&std::mem::take(&mut self.first))
    }

    fn keep_last(&mut self, bytes: &[u8]) {
        self.last.extend_from_slice(&bytes[bytes.len().saturating_sub(GUARD_BYTES_MAX)..]);
        let surplus = self.last.len().saturating_sub(GUARD_BYTES_MAX);
        self.last.drain(..surplus);
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, Write};

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn text(bytes: usize) -> Vec<u8> {
        (0..).flat_map(|n| format!("f=app n={n:08}\n").into_bytes()).take(bytes).collect()
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn pack(bytes: &[u8], packing: Packing) -> Vec<u8> {
        match packing {
            Packing::Gzip => gzip(bytes),
            _ => zstd::encode_all(bytes, 1).unwrap(),
        }
    }

    fn open(archive: &[u8], packing: Packing) -> Packed {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(archive).unwrap();
        file.rewind().unwrap();
        Packed::open(file, packing).unwrap()
    }

    /// Skips in small steps, and reads on.
    fn go_on(content: &[u8], packing: Packing, mut skip: Skip) -> io::Result<Option<Vec<u8>>> {
        let mut packed = open(&pack(content, packing), packing);
        for _ in 0..10_000 {
            match skip.step(&mut packed, 1000)? {
                Found::More => {}
                Found::Differs => return Ok(None),
                Found::Fits => {
                    let mut rest = Vec::new();
                    packed.read_to_end(&mut rest)?;
                    return Ok(Some(rest));
                }
            }
        }
        panic!("the skip never ends");
    }

    #[test]
    fn names_tell_how_a_file_is_packed() {
        let of = |name: &str| Packing::of(OsStr::new(name)).map(|(plain, packing)| (plain.into_string(), packing));
        assert_eq!(of("app.log.1.gz"), Some((Ok("app.log.1".to_string()), Packing::Gzip)));
        assert_eq!(of("app.log.zst"), Some((Ok("app.log".to_string()), Packing::Zstd)));
        assert_eq!(of("app.log.2.xz").map(|(_, packing)| packing.is_readable()), Some(false));
        assert_eq!(of("app.log.2.bz2").map(|(_, packing)| packing.to_string()), Some(".bz2".to_string()));
        assert_eq!(of("app.log.1.gz.tmp"), None);
        assert_eq!(of(".gz"), None);
    }

    #[test]
    fn reading_goes_on_at_the_offset_if_head_and_guard_fit() {
        let content = text(300_000);
        for packing in [Packing::Gzip, Packing::Zstd] {
            for offset in [0, 1, 100, 4095, 4096, 4097, 65_536, 250_000, 300_000] {
                // The head was taken when the file had 5,000 bytes: beyond the offset too.
                let head = Guard::of_head(&content[..5000]);
                let guard = Guard::of_end(&content[..offset]);
                let rest = go_on(&content, packing, Skip::new(offset as u64, Some(head), Some(guard))).unwrap();
                assert!(rest.as_deref() == Some(&content[offset..]), "{packing} {offset}");
            }
        }
    }

    #[test]
    fn another_file_or_a_shorter_one_differs() {
        let content = text(100_000);
        let head = Some(Guard::of_head(&content));
        let guard = Some(Guard::of_end(&content[..50_000]));
        for at in [0, 4095, 49_999, 50_000 - 4096] {
            let mut other = content.clone();
            other[at] ^= 1;
            assert_eq!(go_on(&other, Packing::Gzip, Skip::new(50_000, head, guard)).unwrap(), None, "{at}");
        }
        for shorter in [0, 10, 4096, 49_999] {
            let rest = go_on(&content[..shorter], Packing::Zstd, Skip::new(50_000, head, guard)).unwrap();
            assert_eq!(rest, None, "{shorter}");
        }
        let unknown = go_on(&content, Packing::Zstd, Skip::new(50_000, None, None)).unwrap();
        assert_eq!(unknown.as_deref(), Some(&content[50_000..]));
    }

    #[test]
    fn a_wrong_head_ends_the_skip_before_much_is_unpacked() {
        let content = text(1_000_000);
        let mut packed = open(&gzip(&content), Packing::Gzip);
        let mut skip = Skip::new(900_000, Some(Guard::of_head(b"something else")), None);
        assert_eq!(skip.step(&mut packed, usize::MAX).unwrap(), Found::Differs);
        assert!(skip.at <= GUARD_BYTES_MAX as u64, "{}", skip.at);
    }

    #[test]
    fn members_and_frames_are_read_one_after_the_other() {
        let content = text(10_000);
        for packing in [Packing::Gzip, Packing::Zstd] {
            let archive: Vec<u8> = content.chunks(3000).flat_map(|chunk| pack(chunk, packing)).collect();
            let mut read = Vec::new();
            open(&archive, packing).read_to_end(&mut read).unwrap();
            assert!(read == content, "{packing}");
        }
    }

    #[test]
    fn what_is_whole_comes_before_the_error_of_a_cut_or_damaged_archive() {
        let content = text(400_000);
        for packing in [Packing::Gzip, Packing::Zstd] {
            let archive: Vec<u8> = content.chunks(200_000).flat_map(|chunk| pack(chunk, packing)).collect();
            let mut read = Vec::new();
            let error = open(&archive[..archive.len() - 5], packing).read_to_end(&mut read).unwrap_err();
            assert_eq!(
                (error.kind(), error.to_string()),
                (io::ErrorKind::UnexpectedEof, "the archive is cut off".into())
            );
            assert!(read.len() >= 200_000 && content.starts_with(&read), "{packing} {}", read.len());

            let mut damaged = archive;
            damaged.extend_from_slice(b"no archive at all");
            let mut read = Vec::new();
            let error = open(&damaged, packing).read_to_end(&mut read).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
            assert!(error.to_string().starts_with("the archive is damaged: "), "{error}");
            assert!(read == content, "{packing} {}", read.len());
        }
    }

    #[test]
    fn a_directory_and_what_cannot_be_unpacked_are_refused() {
        let directory = File::open("/").unwrap();
        assert_eq!(Packed::open(directory, Packing::Gzip).err().unwrap().to_string(), "it is no regular file");
        let file = tempfile::tempfile().unwrap();
        assert_eq!(Packed::open(file, Packing::Xz).err().unwrap().to_string(), ".xz files are not read");
    }
}
