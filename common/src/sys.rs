//! The few calls that need `unsafe`, each with its reason. Everywhere else `unsafe` is denied.
//!
//! What can be had as a safe call from nix or std is not here.

#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::ptr::NonNull;
use std::slice;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering, compiler_fence};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap, munmap};

/// Size of a page: the unit in which the kernel copies into and protects a mapping, and allots a pipe.
pub const PAGE_BYTES: usize = 4096;

mod ioctl {
    #![allow(missing_docs)]

    use nix::libc;

    nix::ioctl_read_bad!(fionread, libc::FIONREAD, libc::c_int);
    nix::ioctl_read_bad!(window_size, libc::TIOCGWINSZ, libc::winsize);
    nix::ioctl_read!(get_flags, b'f', 1, libc::c_long);
    nix::ioctl_write_ptr!(set_flags, b'f', 2, libc::c_long);
}

/// Bytes waiting in a pipe. nix has no safe FIONREAD; the kernel writes one `int` and nothing else.
pub fn bytes_queued(pipe: impl AsFd) -> io::Result<usize> {
    let mut queued = 0;
    // SAFETY: `queued` is a valid int for the time of the call.
    unsafe { ioctl::fionread(pipe.as_fd().as_raw_fd(), &raw mut queued) }?;
    Ok(queued as usize)
}

/// Bytes of a line of the processor's cache, on the machines that [`prefetch`] is for.
const CACHE_LINE_BYTES: usize = 64;

/// Has the processor fetch bytes from memory that are read soon, and does not wait for them. Where it cannot, nothing
/// happens.
pub fn prefetch(bytes: &[u8]) {
    #[cfg(target_arch = "x86_64")]
    for line in bytes.chunks(CACHE_LINE_BYTES) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a hint, which never faults; every x86-64 processor has it.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (bytes, CACHE_LINE_BYTES);
}

/// Size of an open file, asked of the server where there is one: `fstat(2)` tells what the kernel remembers, which NFS
/// may do for a minute. nix has no statx.
pub fn size_from_server(file: impl AsFd) -> io::Result<u64> {
    let mut answer = MaybeUninit::<libc::statx>::zeroed();
    let flags = libc::AT_EMPTY_PATH | libc::AT_STATX_FORCE_SYNC;
    // SAFETY: an open descriptor, an empty path that ends with a NUL, and room for one `statx`, of which any bytes are
    // a valid value.
    let answer = unsafe {
        let fd = file.as_fd().as_raw_fd();
        Errno::result(libc::statx(fd, c"".as_ptr(), flags, libc::STATX_SIZE, answer.as_mut_ptr()))?;
        answer.assume_init()
    };
    Ok(answer.stx_size)
}

/// Puts bytes at the end of a file that was not opened for appending, wherever that end is by now; returns how many went
/// in. nix has no pwritev2.
pub fn append(file: &File, bytes: &[u8]) -> io::Result<usize> {
    let buffer = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: one buffer, which lives for the time of the call, and which the kernel only reads.
    let taken = unsafe { libc::pwritev2(file.as_raw_fd(), &raw const buffer, 1, 0, libc::RWF_APPEND) };
    Ok(Errno::result(taken)? as usize)
}

/// Whether the name by which this file was opened is a mount of its own, over which nothing can be renamed. A kernel
/// before 5.8 says no to that. nix has no statx.
pub fn is_mount(file: impl AsFd) -> io::Result<bool> {
    let mut answer = MaybeUninit::<libc::statx>::zeroed();
    // SAFETY: as `size_from_server`.
    let answer = unsafe {
        let fd = file.as_fd().as_raw_fd();
        Errno::result(libc::statx(fd, c"".as_ptr(), libc::AT_EMPTY_PATH, 0, answer.as_mut_ptr()))?;
        answer.assume_init()
    };
    Ok(answer.stx_attributes & libc::STATX_ATTR_MOUNT_ROOT as u64 != 0)
}

/// Columns of a terminal. `None`: it does not say. nix has no safe TIOCGWINSZ.
pub fn terminal_width(terminal: RawFd) -> Option<u16> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the kernel writes one `winsize`, which lives on our stack.
    unsafe { ioctl::window_size(terminal, &raw mut size) }.ok()?;
    Some(size.ws_col)
}

/// Takes a read lease on a file and gives it back at once: refused with EAGAIN while anybody has it open for writing.
/// nix has no `F_SETLEASE`. Breaking the lease raises a signal, which is set to one that does nothing unless asked for.
pub fn try_read_lease(file: &File) -> io::Result<()> {
    const F_SETSIG: libc::c_int = 10;
    // SAFETY: plain numbers; what changes is the lease of our own descriptor, which is given back.
    unsafe {
        Errno::result(libc::fcntl(file.as_raw_fd(), F_SETSIG, libc::SIGURG))?;
        Errno::result(libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_RDLCK))?;
        Errno::result(libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_UNLCK))?;
    }
    Ok(())
}

/// Takes over a descriptor that our parent left open for us, such as the one of `--notify-fd`. `None`: it is not open.
pub fn own_fd(raw: RawFd) -> Option<OwnedFd> {
    // SAFETY: asked for its flags only; the caller names a number that nothing else of ours owns.
    unsafe {
        if libc::fcntl(raw, libc::F_GETFD) < 0 {
            return None;
        }
        let fd = OwnedFd::from_raw_fd(raw);
        fcntl(&fd, FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC)).ok();
        Some(fd)
    }
}

/// Which of the descriptors 0, 1 and 2 were closed when this process started, a bit each.
static CLOSED_AT_START: AtomicU8 = AtomicU8::new(0);

/// Run by the C library before `main`. The runtime of std comes after it and opens /dev/null in place of what is
/// closed: that keeps files of ours from these numbers, but nobody could tell it from a /dev/null that was asked for.
// SAFETY: the section is a list of functions without arguments, and this one asks for flags only.
#[used]
#[unsafe(link_section = ".init_array")]
static LOOK_AT_START: extern "C" fn() = {
    extern "C" fn look() {
        for fd in 0..3 {
            // SAFETY: plain numbers.
            if unsafe { libc::fcntl(fd, libc::F_GETFD) } < 0 {
                CLOSED_AT_START.fetch_or(1 << fd, Ordering::Relaxed);
            }
        }
    }
    look
};

/// Whether the descriptor `fd`, one of 0, 1 and 2, was closed when this process started.
pub fn was_closed_at_start(fd: RawFd) -> bool {
    CLOSED_AT_START.load(Ordering::Relaxed) & (1 << fd) != 0
}

/// Asks btrfs to overwrite this (still empty) file in place: without it a full disk turns a store into SIGBUS.
pub fn set_no_copy_on_write(file: &File) -> io::Result<()> {
    const FS_NOCOW_FL: libc::c_long = 0x0080_0000;
    let mut flags: libc::c_long = 0;
    // SAFETY: both calls read or write one long that lives on our stack.
    unsafe {
        ioctl::get_flags(file.as_raw_fd(), &raw mut flags)?;
        flags |= FS_NOCOW_FL;
        ioctl::set_flags(file.as_raw_fd(), &raw const flags)?;
    }
    Ok(())
}

/// Makes every descriptor but 0, 1 and 2 close when this process starts another program. nix has no `close_range`.
pub fn close_others_on_exec() {
    // SAFETY: plain numbers; only a flag of our own descriptors changes. Before Linux 5.11 it is refused, which leaves
    // those open that our parent left open.
    unsafe { libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
}

/// Gives the program that a command starts a umask of its own, set between fork and exec.
pub fn set_umask(command: &mut Command, mask: u32) {
    // SAFETY: umask(2) is async-signal-safe, takes a plain number and cannot fail.
    unsafe {
        command.pre_exec(move || {
            libc::umask(mask);
            Ok(())
        });
    }
}

/// Puts the calling thread behind everybody else: work that nobody waits for. nix has no setpriority.
pub fn lower_thread_priority() {
    // SAFETY: plain numbers; 0 is the calling thread on Linux. A refusal costs nothing but politeness.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, 19) };
}

/// Makes the allocator give blocks of half a megabyte and more back when they are freed, and keep a megabyte of smaller
/// ones. Else it keeps as much as was once used, in each thread. nix has no `mallopt`.
pub fn keep_no_large_blocks() {
    // SAFETY: plain numbers.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 512 << 10);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 1 << 20);
    }
}

/// Lets go of memory that is only kept for being used again: what was freed, and the pages of this program and its
/// libraries that nobody can write to, of which most are used at the start only. Their files have them, and what is used
/// again comes back from the page cache. nix has neither `malloc_trim` nor `dl_iterate_phdr`.
pub fn release_memory() {
    unsafe extern "C" fn release(
        object: *mut libc::dl_phdr_info,
        _: libc::size_t,
        _: *mut libc::c_void,
    ) -> libc::c_int {
        // SAFETY: the C library gives a valid object, whose headers live as long as it is loaded. A segment that was
        // mapped without the right to write has nothing that its file has not.
        unsafe {
            let headers = slice::from_raw_parts((*object).dlpi_phdr, usize::from((*object).dlpi_phnum));
            for header in headers {
                if header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_W == 0 {
                    let start = ((*object).dlpi_addr + header.p_vaddr) as usize;
                    let page = start / PAGE_BYTES * PAGE_BYTES;
                    let len = start + header.p_memsz as usize - page;
                    libc::madvise(page as *mut libc::c_void, len, libc::MADV_DONTNEED);
                }
            }
        }
        0
    }
    // SAFETY: the allocator gives back what it does not use. `release` keeps nothing of what it is given, and the C
    // library holds its lock meanwhile.
    unsafe {
        #[cfg(target_env = "gnu")]
        libc::malloc_trim(0);
        libc::dl_iterate_phdr(Some(release), std::ptr::null_mut());
    }
}

/// Makes SIGBUS, which a store into a mapping raises when its disk fails, an exit with `code` after one sentence. The
/// sentence goes to `own`, a description of standard error that never waits; without one to standard error where that
/// has room: it may be a pipe that nobody reads any more now.
///
/// # Errors
/// When the kernel or a second call refuses.
pub fn exit_on_bus_error(sentence: String, own: Option<File>, code: i32) -> io::Result<()> {
    static SENTENCE: OnceLock<(String, Option<File>)> = OnceLock::new();
    let (sentence, own) = SENTENCE.get_or_init(|| (sentence, own));
    let own = own.as_ref().map(AsRawFd::as_raw_fd);
    // SAFETY: poll(2), write(2) and _exit(2) are async-signal-safe; sentence and descriptor live as long as the program,
    // and the pollfd on our stack for the time of the call.
    unsafe {
        signal_hook::low_level::register(libc::SIGBUS, move || {
            let mut asked = libc::pollfd { fd: 2, events: libc::POLLOUT, revents: 0 };
            if own.is_some() || libc::poll(&raw mut asked, 1, 0) == 1 && asked.revents == libc::POLLOUT {
                libc::write(own.unwrap_or(2), sentence.as_ptr().cast(), sentence.len());
            }
            libc::_exit(code);
        })
    }?;
    Ok(())
}

/// A file mapped `MAP_SHARED`: its pages belong to the kernel and outlive this process.
///
/// Nobody else maps the file writable while we do; the lock on the log root sees to that.
#[derive(Debug)]
pub struct Mapping {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping is plain memory with one owner.
unsafe impl Send for Mapping {}

impl Mapping {
    /// Maps the first `len` bytes of `file`, which must be that long and open for reading and writing.
    pub fn shared(file: &File, len: usize) -> io::Result<Mapping> {
        let size = NonZeroUsize::new(len).ok_or(Errno::EINVAL)?;
        // SAFETY: a new mapping at a place of the kernel's choice, unmapped in `drop`.
        let start =
            unsafe { mmap(None, size, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_SHARED, file, 0) }?;
        Ok(Mapping { start: start.cast(), len })
    }

    /// All bytes.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: mapped for as long as `self`, and written through `&mut self` only.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }

    /// All bytes, to be written.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as `bytes`, and `&mut self` makes it the only access.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }

    /// Makes the pages of `range` present and writable, so that a copy of the kernel into them does not fault.
    ///
    /// # Errors
    /// EFAULT or ENOSPC when the file system has no room for them.
    pub fn populate(&self, range: Range<usize>) -> io::Result<()> {
        let from = range.start / PAGE_BYTES * PAGE_BYTES;
        let to = range.end.min(self.len);
        // SAFETY: inside the mapping; `MADV_POPULATE_WRITE` changes no byte.
        unsafe { madvise(self.start.add(from).cast(), to - from, MmapAdvise::MADV_POPULATE_WRITE) }?;
        Ok(())
    }

    /// Write-protects one page, so that a copy into it stops there as it does at a fault while we are killed.
    #[cfg(any(debug_assertions, feature = "test-seams"))]
    pub fn protect_page(&self, offset: usize) {
        let page = offset / PAGE_BYTES * PAGE_BYTES;
        // SAFETY: inside the mapping; used by tests only, right before the process is killed.
        unsafe { libc::mprotect(self.start.add(page).as_ptr().cast(), PAGE_BYTES, libc::PROT_READ) };
    }

    /// The end of it.
    #[cfg(any(debug_assertions, feature = "test-seams"))]
    pub fn unprotect(&self) {
        // SAFETY: our own mapping, whole.
        unsafe {
            libc::mprotect(self.start.as_ptr().cast(), self.len, libc::PROT_READ | libc::PROT_WRITE);
        }
    }

    /// Stores the one word that says how far the bytes around it are to be believed.
    ///
    /// All stores before it come before it, all after it after it: a release store alone would not keep later ones
    /// back. The fences need to bind the compiler only, for what a killed process stored is what the kernel sees.
    pub fn store_word(&mut self, offset: usize, word: u64) {
        compiler_fence(Ordering::SeqCst);
        self.word(offset).store(word, Ordering::Release);
        compiler_fence(Ordering::SeqCst);
    }

    /// Reads that word.
    pub fn load_word(&self, offset: usize) -> u64 {
        self.word(offset).load(Ordering::Acquire)
    }

    fn word(&self, offset: usize) -> &AtomicU64 {
        assert!(offset.is_multiple_of(8) && offset + 8 <= self.len);
        // SAFETY: aligned and inside the mapping, which is page-aligned.
        unsafe { AtomicU64::from_ptr(self.start.add(offset).as_ptr().cast()) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped by `shared` with this length, and nothing borrows it any more.
        unsafe { munmap(self.start.cast(), self.len) }.ok();
    }
}

/// A file mapped `MAP_SHARED` of which whole words are loaded and stored and nothing else, so that several threads of
/// ours, and whoever reads the file, may look at the same time.
#[derive(Debug)]
pub struct Words(Mapping);

// SAFETY: every access is an atomic one on an aligned word.
unsafe impl Sync for Words {}

impl Words {
    /// Maps the first `len` bytes of `file`, which must be that long and open for reading and writing.
    pub fn shared(file: &File, len: usize) -> io::Result<Words> {
        Mapping::shared(file, len).map(Words)
    }

    /// As [`Mapping::populate`].
    pub fn populate(&self, range: Range<usize>) -> io::Result<()> {
        self.0.populate(range)
    }

    /// Stores the word at `offset`, a multiple of 8, after all that was stored before.
    pub fn store(&self, offset: usize, word: u64) {
        self.0.word(offset).store(word, Ordering::Release);
    }

    /// Loads it.
    pub fn load(&self, offset: usize) -> u64 {
        self.0.word(offset).load(Ordering::Acquire)
    }

    /// Adds to it; wraps.
    pub fn add(&self, offset: usize, more: u64) {
        self.0.word(offset).fetch_add(more, Ordering::AcqRel);
    }
}
