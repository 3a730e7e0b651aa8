//! What may be expected of a file system: whether inotify and leases tell the truth there, and whether its files are
//! logs at all. Decided by the magic number of `statfs(2)`.
//!
//! What is not known to be local is polled and never asked for a lease: that costs time, the other mistake costs lines.

use std::fs::File;
use std::io;
use std::path::Path;

use nix::sys::statfs::{FsType, fstatfs, statfs};

/// A kind of file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileSystem {
    /// All writers pass through this kernel: inotify and leases can be trusted.
    Local,
    /// Others may write behind this kernel's back: polled, with the size asked for anew. By its name.
    Network(&'static str),
    /// Made up by the kernel, such as /proc: sizes are 0 and there is nothing to follow. By its name.
    Pseudo(&'static str),
}

/// From include/uapi/linux/magic.h and the headers of those that are not in it.
const LOCAL: [u32; 27] = [
    0xEF53,      // ext2, ext3, ext4
    0x5846_5342, // xfs
    0x9123_683E, // btrfs
    0x0102_1994, // tmpfs
    0x8584_58F6, // ramfs
    0x794C_7630, // overlayfs
    0x2FC1_2FC1, // zfs
    0xCA45_1A4E, // bcachefs
    0xF2F5_2010, // f2fs
    0x5265_4973, // reiserfs
    0x5234_5362, // reiser4
    0x3153_464A, // jfs
    0x3434,      // nilfs2
    0x4D44,      // msdos, vfat
    0x2011_BAB0, // exfat
    0x5346_544E, // ntfs
    0x7366_746E, // ntfs3
    0x9660,      // iso9660
    0x1501_3346, // udf
    0x7371_7368, // squashfs
    0xE0F5_E1E2, // erofs
    0x2405_1905, // ubifs
    0x72B6,      // jffs2
    0x4244,      // hfs
    0x482B,      // hfsplus
    0x0001_1954, // ufs
    0xF15F,      // ecryptfs
];

/// Ext, xfs, btrfs, tmpfs, f2fs.
const NUMBERED: [u32; 5] = [0xEF53, 0x5846_5342, 0x9123_683E, 0x0102_1994, 0xF2F5_2010];

const NETWORK: [(u32, &str); 24] = [
    (0x6969, "NFS"),
    (0x517B, "SMB"),
    (0xFF53_4D42, "CIFS"),
    (0xFE53_4D42, "SMB2"),
    // virtiofs shows as FUSE, as does whatever a program makes up.
    (0x6573_5546, "FUSE"),
    (0x0102_1997, "9p"),
    (0x00C3_6400, "ceph"),
    (0x5346_414F, "AFS"),
    (0x6B41_4653, "AFS"),
    (0x7375_7245, "coda"),
    (0x564C, "NCP"),
    (0x0116_1970, "gfs2"),
    (0x7461_636F, "ocfs2"),
    (0x0BD0_0BD0, "lustre"),
    (0x786F_4256, "vboxsf"),
    (0xBACB_ACBC, "vmhgfs"),
    (0x7C7C_6673, "prl_fs"),
    (0x4750_4653, "gpfs"),
    (0x1983_0326, "BeeGFS"),
    (0x2003_0528, "OrangeFS"),
    (0xAAD7_AAEA, "panfs"),
    (0xBEEF_DEAD, "snfs"),
    (0x6163_6673, "acfs"),
    (0x00C0_FFEE, "hostfs"),
];

const PSEUDO: [(u32, &str); 9] = [
    (0x9FA0, "proc"),
    (0x6265_6572, "sysfs"),
    (0x6462_6720, "debugfs"),
    (0x7472_6163, "tracefs"),
    (0x7363_6673, "securityfs"),
    (0x0027_E0EB, "cgroup"),
    (0x6367_7270, "cgroup2"),
    (0x6265_6570, "configfs"),
    (0xCAFE_4A11, "bpf"),
];

/// What stands behind a magic number.
pub fn kind(magic: u32) -> FileSystem {
    let name = |table: &[(u32, &'static str)]| table.iter().find(|(known, _)| *known == magic).map(|(_, name)| *name);
    if LOCAL.contains(&magic) {
        FileSystem::Local
    } else if let Some(name) = name(&PSEUDO) {
        FileSystem::Pseudo(name)
    } else {
        FileSystem::Network(name(&NETWORK).unwrap_or("an unknown file system"))
    }
}

/// Where an open file lies; an `O_PATH` descriptor will do.
pub fn of(file: &File) -> io::Result<FileSystem> {
    Ok(of_type(fstatfs(file)?.filesystem_type()))
}

/// Where a path leads, such as a directory before anything is opened there.
pub fn at(path: &Path) -> io::Result<FileSystem> {
    Ok(of_type(statfs(path)?.filesystem_type()))
}

/// Whether neither a path nor its directory leads to anything but a local file system. What is not there does no harm.
pub fn is_local(path: &Path) -> bool {
    let is_local = |path: &Path| match at(path) {
        Ok(kind) => kind == FileSystem::Local,
        Err(error) => matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied),
    };
    is_local(path) && path.parent().is_none_or(is_local)
}

/// Whether a directory gives the inode number of each file beside its name. Where file systems lie over others, or
/// programs make them up, it may be another.
pub fn is_numbered(dir: &Path) -> bool {
    statfs(dir).is_ok_and(|statfs| NUMBERED.contains(&magic(statfs.filesystem_type())))
}

/// The number has 32 bits whatever the type that carries it; where that one is narrow its sign would tell nothing.
fn magic(FsType(magic): FsType) -> u32 {
    magic as u32
}

fn of_type(file_system: FsType) -> FileSystem {
    kind(magic(file_system))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_says_what_may_be_trusted() {
        let cases = [
            (0xEF53, FileSystem::Local),
            (0x0102_1994, FileSystem::Local),
            (0x794C_7630, FileSystem::Local),
            (0x6969, FileSystem::Network("NFS")),
            (0xFF53_4D42, FileSystem::Network("CIFS")),
            (0xFE53_4D42, FileSystem::Network("SMB2")),
            (0x6573_5546, FileSystem::Network("FUSE")),
            (0x0102_1997, FileSystem::Network("9p")),
            (0x1234_5678, FileSystem::Network("an unknown file system")),
            (0x9FA0, FileSystem::Pseudo("proc")),
            (0x6265_6572, FileSystem::Pseudo("sysfs")),
        ];
        for (magic, expected) in cases {
            assert_eq!(kind(magic), expected, "{magic:#x}");
        }
    }

    #[test]
    fn no_number_stands_in_two_tables() {
        let mut all: Vec<u32> = LOCAL.to_vec();
        all.extend(NETWORK.iter().chain(&PSEUDO).map(|(magic, _)| *magic));
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }

    #[test]
    fn the_size_that_a_server_tells_is_the_size_of_a_local_file() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(123_456_789_012).unwrap();
        assert_eq!(standpipe_common::sys::size_from_server(&file).unwrap(), 123_456_789_012);
    }

    #[test]
    fn open_files_and_paths_are_told_apart() {
        assert_eq!(of(&File::open("/proc/self/stat").unwrap()).unwrap(), FileSystem::Pseudo("proc"));
        assert_eq!(at(Path::new("/sys")).unwrap(), FileSystem::Pseudo("sysfs"));
        assert_eq!(at(Path::new("/dev/shm")).unwrap(), FileSystem::Local);
        assert!(at(Path::new("/nowhere")).is_err());
        assert!(is_local(Path::new("/dev/shm")) && is_local(Path::new("/dev/shm/nowhere")));
        assert!(!is_local(Path::new("/proc/nowhere")) && !is_local(Path::new("/proc")));
    }
}
