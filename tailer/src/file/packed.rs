//! Rotated generations that were compressed: reads gzip and zstd, recognises the other usual ones.
//!
//! All members and frames are read, one after the other. Of one that is cut off or damaged everything before the damage
//! is given first, then the error. One read takes little of the file, whether that gives anything or not: a file of
//! nothing but empty members is as long as its owner likes. Not here: whether it is the same as a file that was read
//! before; an archive has no identity in common with what was packed.

use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;

use flate2::bufread::MultiGzDecoder;
use zstd::stream::read::Decoder;

/// How a file is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Packing {
    /// `.gz`
    Gzip,
    /// `.zst`
    Zstd,
    /// In a way that is not read: how its name ends, or what packed it.
    Other(&'static str),
}

/// What packed files begin with, and what packs so.
const BEGINNINGS: [(&[u8], &str); 11] = [
    (b"\x1f\x8b\x08", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\xfd7zXZ\0", "xz"),
    (b"PK\x03\x04", "zip"),
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"\x1f\x9d", "compress"),
    (b"LZIP\x01", "lzip"),
    (b"\x89LZO\0\r\n", "lzop"),
    (b"7z\xbc\xaf\x27\x1c", "7-Zip"),
    (b"\xff\x06\0\0sNaPpY", "snappy"),
    (b"Rar!\x1a\x07", "RAR"),
];

/// What one read takes of the file, about: so much may give nothing.
const TAKEN_BYTES: usize = 1 << 10;
/// What that costs at most, in bytes that are unpacked: an empty member is short, and takes a whole new beginning.
pub const TAKE_COST_BYTES: usize = 32 << 10;

/// Longest beginning that says that a file is packed.
pub const BEGINNING_BYTES: usize = 10;

/// What packed a file that begins so, whatever its name. `None`: it is not packed, as far as is known.
pub fn packer(first: &[u8]) -> Option<&'static str> {
    let is_known = |(beginning, _): &(&[u8], &str)| first.starts_with(beginning);
    if let Some((_, packer)) = BEGINNINGS.into_iter().find(is_known) {
        return Some(packer);
    }
    match *first {
        // A frame that some programs begin a zstd file with, for themselves.
        [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Some("zstd"),
        // The mark of a block, or of the end, stands behind the level: three letters alone may be text.
        [b'B', b'Z', b'h', b'1'..=b'9', b'1', b'A', b'Y', b'&', b'S', b'Y', ..]
        | [b'B', b'Z', b'h', b'1'..=b'9', 0x17, 0x72, 0x45, 0x38, 0x50, 0x90, ..] => Some("bzip2"),
        _ => None,
    }
}

/// How the names of packed files end.
const ENDS: [(&str, Packing); 13] = [
    (".gz", Packing::Gzip),
    (".zst", Packing::Zstd),
    (".xz", Packing::Other(".xz")),
    (".bz2", Packing::Other(".bz2")),
    (".zip", Packing::Other(".zip")),
    (".lz4", Packing::Other(".lz4")),
    (".lzma", Packing::Other(".lzma")),
    (".lz", Packing::Other(".lz")),
    (".lzo", Packing::Other(".lzo")),
    (".Z", Packing::Other(".Z")),
    (".br", Packing::Other(".br")),
    (".7z", Packing::Other(".7z")),
    (".sz", Packing::Other(".sz")),
];

impl Packing {
    /// A name without its end, and how the file is packed. `None`: it is not.
    pub fn of(name: &OsStr) -> Option<(&OsStr, Packing)> {
        let name = name.as_bytes();
        ENDS.into_iter().find_map(|(end, packing)| {
            let plain = name.strip_suffix(end.as_bytes()).filter(|plain| !plain.is_empty())?;
            Some((OsStr::from_bytes(plain), packing))
        })
    }

    /// A name without its end.
    pub fn unpacked(name: &OsStr) -> &OsStr {
        Packing::of(name).map_or(name, |(plain, _)| plain)
    }

    /// How an open file is packed, by what it begins with: some rotators give what they pack no other name.
    pub fn of_file(file: &File) -> Option<Packing> {
        let mut first = [0; BEGINNING_BYTES];
        let read = file.read_at(&mut first, 0).unwrap_or_default();
        packer(&first[..read]).map(|packer| match packer {
            "gzip" => Packing::Gzip,
            "zstd" => Packing::Zstd,
            other => Packing::Other(other),
        })
    }
}

impl fmt::Display for Packing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Packing::Gzip => ".gz",
            Packing::Zstd => ".zst",
            Packing::Other(name) => name,
        })
    }
}

/// A packed file, read as what it was before.
pub struct Packed(Unpacker);

enum Unpacker {
    Gzip(MultiGzDecoder<Portions>),
    Zstd(Decoder<'static, Portions>),
}

/// A file of which [`TAKEN_BYTES`] are given, and more when that is allowed again.
struct Portions {
    file: BufReader<File>,
    is_allowed: bool,
}

impl Portions {
    fn of(file: File) -> Portions {
        Portions { file: BufReader::with_capacity(TAKEN_BYTES, file), is_allowed: false }
    }
}

impl BufRead for Portions {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.file.buffer().is_empty() && !std::mem::take(&mut self.is_allowed) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.file.fill_buf()
    }

    fn consume(&mut self, bytes: usize) {
        self.file.consume(bytes);
    }
}

impl Read for Portions {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(buffer)?;
        self.consume(read);
        Ok(read)
    }
}

impl Packed {
    /// Reads a file from where it stands, its beginning.
    ///
    /// # Errors
    /// It is no regular file, or packed in a way that is not read.
    pub fn open(file: File, packing: Packing) -> io::Result<Packed> {
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("not a regular file"));
        }
        let unpacker = match packing {
            Packing::Gzip => Unpacker::Gzip(MultiGzDecoder::new(Portions::of(file))),
            Packing::Zstd => Unpacker::Zstd(Decoder::with_buffer(Portions::of(file))?),
            Packing::Other(_) => {
                return Err(io::Error::new(
                    io::ErrorKind::Unsupported,
                    format!("tailer does not unpack {packing} files"),
                ));
            }
        };
        Ok(Packed(unpacker))
    }
}

impl Read for Packed {
    /// # Errors
    /// `WouldBlock`: what was taken of the file gave nothing; the next call goes on. `UnexpectedEof`: it is cut off here,
    /// or still being written. `InvalidData`: it is damaged.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = match &mut self.0 {
            Unpacker::Gzip(unpacker) => {
                unpacker.get_mut().is_allowed = true;
                unpacker.read(buffer)
            }
            Unpacker::Zstd(unpacker) => {
                unpacker.get_mut().is_allowed = true;
                unpacker.read(buffer)
            }
        };
        read.map_err(in_our_words)
    }
}

/// Whether a read of a packed file gave nothing yet, and the next one goes on.
pub fn goes_on(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock && error.raw_os_error().is_none()
}

fn in_our_words(error: io::Error) -> io::Error {
    match error.kind() {
        _ if error.raw_os_error().is_some() => error,
        io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock => error,
        io::ErrorKind::UnexpectedEof => io::Error::new(io::ErrorKind::UnexpectedEof, "the archive is incomplete"),
        _ => io::Error::new(io::ErrorKind::InvalidData, format!("the archive is damaged: {error}")),
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

    /// Reads an archive to its end, or to where it is damaged, and says how often a read gave nothing.
    fn read(archive: &[u8], packing: Packing) -> (Vec<u8>, usize, io::Result<()>) {
        let mut packed = open(archive, packing);
        let (mut content, mut buffer, mut vain) = (Vec::new(), [0; 4096], 0);
        loop {
            match packed.read(&mut buffer) {
                Ok(0) => return (content, vain, Ok(())),
                Ok(read) => content.extend_from_slice(&buffer[..read]),
                Err(error) if goes_on(&error) => vain += 1,
                Err(error) => return (content, vain, Err(error)),
            }
        }
    }

    #[test]
    fn names_tell_how_a_file_is_packed() {
        fn of(name: &str) -> Option<(Option<&str>, Packing)> {
            Packing::of(OsStr::new(name)).map(|(plain, packing)| (plain.to_str(), packing))
        }
        assert_eq!(of("app.log.1.gz"), Some((Some("app.log.1"), Packing::Gzip)));
        assert_eq!(of("app.log.zst"), Some((Some("app.log"), Packing::Zstd)));
        assert_eq!(of("app.log.2.bz2").map(|(_, packing)| packing.to_string()), Some(".bz2".to_string()));
        assert_eq!(of("app.log.1.gz.tmp"), None);
        assert_eq!(of(".gz"), None);
        for (end, packing) in ENDS {
            assert_eq!(
                (of(&format!("a{end}")).map(|(_, packing)| packing), packing.to_string()),
                (Some(packing), end.to_string())
            );
        }
    }

    #[test]
    fn the_first_bytes_tell_what_packed_a_file() {
        let content = text(1000);
        assert_eq!(packer(&gzip(&content)), Some("gzip"));
        assert_eq!(packer(&zstd::encode_all(&content[..], 1).unwrap()), Some("zstd"));
        for (first, expected) in [
            (&b"BZh91AY&SY"[..], Some("bzip2")),
            (b"BZh9 is text\n", None),
            (b"PK\x03\x04", Some("zip")),
            (b"PK is text", None),
            (b"\x50\x2a\x4d\x18", Some("zstd")),
            (b"\x1f", None),
            (b"", None),
            (&content[..], None),
        ] {
            assert_eq!(packer(first), expected, "{first:?}");
        }
    }

    #[test]
    fn members_and_frames_are_read_one_after_the_other() {
        let content = text(10_000);
        for packing in [Packing::Gzip, Packing::Zstd] {
            let archive: Vec<u8> = content.chunks(3000).flat_map(|chunk| pack(chunk, packing)).collect();
            let (read, _, end) = read(&archive, packing);
            end.unwrap();
            assert!(read == content, "{packing}");
        }
    }

    #[test]
    fn what_is_whole_comes_before_the_error_of_a_cut_or_damaged_archive() {
        let content = text(400_000);
        for packing in [Packing::Gzip, Packing::Zstd] {
            let archive: Vec<u8> = content.chunks(200_000).flat_map(|chunk| pack(chunk, packing)).collect();
            let (begun, _, end) = read(&archive[..archive.len() - 5], packing);
            let error = end.unwrap_err();
            assert_eq!(
                (error.kind(), error.to_string()),
                (io::ErrorKind::UnexpectedEof, "the archive is incomplete".into())
            );
            assert!(begun.len() >= 200_000 && content.starts_with(&begun), "{packing} {}", begun.len());

            let mut damaged = archive;
            damaged.extend_from_slice(b"no archive at all");
            let (whole, _, end) = read(&damaged, packing);
            let error = end.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
            assert!(error.to_string().starts_with("the archive is damaged: "), "{error}");
            assert!(whole == content, "{packing} {}", whole.len());
        }
    }

    #[test]
    fn members_that_give_nothing_are_not_gone_through_in_one_read() {
        let content = text(100_000);
        let skipped = [b"\x50\x2a\x4d\x18\x08\0\0\0", &[0; 8][..]].concat();
        for (empty, packing) in [
            (gzip(b""), Packing::Gzip),
            (zstd::encode_all(&b""[..], 1).unwrap(), Packing::Zstd),
            (skipped, Packing::Zstd),
        ] {
            let many = empty.repeat(10 * TAKEN_BYTES / empty.len());
            let (read, vain, end) = read(&[&many, &pack(&content, packing)[..], &many].concat(), packing);
            end.unwrap();
            assert!(read == content, "{packing} {}", read.len());
            assert!((15..=25).contains(&vain), "{packing} {vain}");
        }
    }

    #[test]
    fn a_directory_and_what_cannot_be_unpacked_are_refused() {
        let directory = File::open("/").unwrap();
        assert_eq!(Packed::open(directory, Packing::Gzip).err().unwrap().to_string(), "not a regular file");
        let file = tempfile::tempfile().unwrap();
        assert_eq!(
            Packed::open(file, Packing::Other(".xz")).err().unwrap().to_string(),
            "tailer does not unpack .xz files"
        );
    }
}
