//! Limits of the kernel and the holder: sizes of pipes, open files, protected directories.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, chown};
use std::path::PathBuf;

use nix::libc;
use standpipe_tests::deadline::until;
use standpipe_tests::directory::{Scratch, set_mode};
use standpipe_tests::privilege::{is_root, needs_root, needs_tool};
use standpipe_tests::programs::{command, holder};
use standpipe_tests::world::{capacity, is_held, open_reader, open_writer, read_all};

const KI: usize = 1 << 10;

/// A user without any other pipes, for the kernel counts them by user.
fn lonely_user(number: u32) -> u32 {
    100_000 + std::process::id() % 50_000 * 4 + number
}

fn pipes_soft() -> usize {
    fs::read_to_string("/proc/sys/fs/pipe-user-pages-soft").unwrap().trim().parse().unwrap()
}

#[test]
fn h10_a_pipe_has_the_size_asked_for_and_keeps_it() {
    let scratch = Scratch::new();
    let (auto, literal, small) = (scratch.pipe("auto"), scratch.pipe("literal"), scratch.pipe("small"));
    scratch.write_policy("literal.toml", "pipe_size = \"1MiB\"\n");
    scratch.write_policy("small.toml", "pipe_size = 5000\n");
    let holder = holder(&scratch).start();
    for _ in 0..3 {
        assert_eq!((capacity(&auto), capacity(&literal), capacity(&small)), (1024 * KI, 1024 * KI, 8 * KI));
        drop(open_reader(&literal));
        holder.hang_up("holds 3 pipes of");
    }
    assert!(holder.lines_with("warning").is_empty(), "{}", holder.stderr());
}

#[test]
fn a_share_takes_nothing_from_a_pipe_that_somebody_else_made_larger() {
    needs_root(|| {
        let scratch = Scratch::new();
        let fifos: Vec<PathBuf> = (0..100).map(|number| scratch.pipe(&format!("p{number:03}"))).collect();
        let server = fs::OpenOptions::new().read(true).write(true).open(&fifos[0]).unwrap();
        nix::fcntl::fcntl(&server, nix::fcntl::FcntlArg::F_SETPIPE_SZ(1 << 20)).unwrap();
        let holder = holder(&scratch).as_user(lonely_user(2)).start();
        for _ in 0..2 {
            assert_eq!(capacity(&fifos[0]), 1024 * KI);
            assert!(fifos[1..].iter().all(|fifo| capacity(fifo) < 1024 * KI));
            holder.hang_up("holds 100 pipes of");
        }
    });
}

#[test]
fn a_pipe_too_full_to_be_made_smaller_is_made_so_when_it_empties() {
    let scratch = Scratch::new();
    let fifo = scratch.pipe("app");
    let holder = holder(&scratch).start();
    for _ in 0..10 {
        open_writer(&fifo, 0).unwrap().write_all(&[b'x'; 4096]).unwrap();
    }
    scratch.write_policy("app.toml", "pipe_size = \"16KiB\"\n");
    holder.hang_up("holds 1 pipe of");
    assert_eq!(capacity(&fifo), 1024 * KI);
    assert_eq!(read_all(&mut open_reader(&fifo)).len(), 40960);
    until("the pipe is made smaller", || capacity(&fifo) == 16 * KI);
}

#[test]
fn a_size_beyond_what_a_user_may_have_is_one_line_with_what_there_is() {
    let scratch = Scratch::new();
    let fifo = scratch.pipe("app");
    scratch.write_policy("app.toml", "pipe_size = \"64MiB\"\n");
    let holder = holder(&scratch).start();
    let lines = holder.lines_with("app: the size of the pipe is 65536 bytes, not 67108864: ");
    assert!(lines.len() == 1 && lines[0].contains("fs.pipe-max-size"), "{}", holder.stderr());
    assert_eq!(capacity(&fifo), 64 * KI);
}

/// What a user gets who asks for a pipe now.
fn ordinary_pipe_of(user: u32) -> usize {
    let scratch = Scratch::new();
    let fifo = scratch.pipe("probe");
    scratch.write_policy("probe.toml", "pipe_size = \"64KiB\"\n");
    let _holder = holder(&scratch).as_user(user).start();
    capacity(&fifo)
}

#[test]
fn h20_a_thousand_pipes_share_what_their_user_may_have_and_leave_some_to_others() {
    let scratch = Scratch::new();
    let fifos: Vec<PathBuf> = (0..1000).map(|number| scratch.pipe(&format!("p{number:04}"))).collect();
    let user = lonely_user(0);
    let holder = holder(&scratch).as_user(user).start();
    holder.wait_line("holder: holds 1000 pipes of");
    if is_root() && pipes_soft() == 16384 {
        assert!(fifos.iter().all(|fifo| capacity(fifo) == 32 * KI));
        assert_eq!(ordinary_pipe_of(user), 64 * KI);
        let expected = "each pipe whose pipe_size is auto has room for only 32768 bytes";
        let line = holder.wait_line(expected);
        assert!(line.contains("`sysctl fs.pipe-user-pages-soft=21334`"), "{line}");
        holder.hang_up("holds 1000 pipes of");
        assert_eq!(holder.lines_with(expected).len(), 1, "said once");
    }
}

#[test]
fn pipes_that_become_many_make_room_for_each_other_on_hup() {
    needs_root(|| {
        let scratch = Scratch::new();
        // As many as may have 1 MiB each; by name they come last.
        let few = pipes_soft() * 4096 / 4 * 3 / (1024 * KI);
        let first: Vec<PathBuf> = (0..few).map(|number| scratch.pipe(&format!("z{number:04}"))).collect();
        let holder = holder(&scratch).as_user(lonely_user(1)).start();
        assert!(first.iter().all(|fifo| capacity(fifo) == 1024 * KI));
        let more: Vec<PathBuf> = (few..6 * few).map(|number| scratch.pipe(&format!("p{number:04}"))).collect();
        holder.hang_up(&format!("holds {} pipes of", 6 * few));
        assert!(first.iter().chain(&more).all(|fifo| capacity(fifo) == 128 * KI), "{}", holder.stderr());
        assert!(holder.lines_with("warning").is_empty(), "{}", holder.stderr());
    });
}

#[test]
fn root_is_not_limited() {
    needs_root(|| {
        let scratch = Scratch::new();
        let fifos: Vec<PathBuf> = (0..100).map(|number| scratch.pipe(&format!("p{number:03}"))).collect();
        let _holder = holder(&scratch).as_tests().start();
        assert!(fifos.iter().all(|fifo| capacity(fifo) == 1024 * KI));
    });
}

#[test]
fn h9_what_cannot_be_held_for_want_of_descriptors_is_named() {
    let scratch = Scratch::new();
    let fifos: Vec<PathBuf> = (0..40).map(|number| scratch.pipe(&format!("p{number:02}"))).collect();
    scratch.write_policy("defaults.toml", "pipe_size = \"4KiB\"\n");
    let holder = holder(&scratch).prelude("ulimit -n 32").start();
    for round in 1..=2 {
        let held = fifos.iter().filter(|fifo| is_held(fifo)).count();
        assert!((5..30).contains(&held), "{held}");
        for fifo in &fifos {
            let name = fifo.file_name().unwrap().to_str().unwrap();
            let said = holder.lines_with(&format!("pipes.d/{name}: Too many open files")).len();
            assert!(is_held(fifo) || said == round, "{name} is neither held nor named:\n{}", holder.stderr());
        }
        let counted = holder.wait_lines(&format!("holds {held} pipes of"), 1);
        assert!(holder.lines().ends_with(&counted[counted.len() - 1..]), "{}", holder.stderr());
        holder.wait_lines("at most 32 files may be open", round);
        holder.hang_up("holds ");
        assert!(holder.lines_with("defaults.toml").is_empty(), "policies can be read:\n{}", holder.stderr());
    }
}

#[test]
fn a_pipe_for_which_no_descriptor_was_left_is_held_once_there_is_one() {
    needs_tool("prlimit", || {
        let scratch = Scratch::new();
        scratch.pipe("app");
        let late = scratch.run("late");
        scratch.link("late", &late);
        let holder = holder(&scratch).as_tests().start();
        let limit = |soft: usize| {
            let mut prlimit = command("prlimit");
            prlimit.arg("--pid").arg(holder.pid().to_string()).arg(format!("--nofile={soft}:"));
            assert!(prlimit.status().unwrap().success());
        };
        let open = PathBuf::from(format!("/proc/{}/fd", holder.pid()));
        limit((0..100).find(|number| !open.join(number.to_string()).is_symlink()).unwrap());
        scratch.fifo("late");
        holder.wait_line("pipes.d/late: Too many open files");
        limit(100);
        holder.wait_line("late: FIFO appeared; now holding it open");
        assert!(is_held(&late));
        assert_eq!(holder.lines_with("Too many open files").len(), 1, "{}", holder.stderr());
    });
}

#[test]
fn the_soft_limit_of_descriptors_is_raised() {
    let scratch = Scratch::new();
    let fifos: Vec<PathBuf> = (0..40).map(|number| scratch.pipe(&format!("p{number:02}"))).collect();
    let holder = holder(&scratch).prelude("ulimit -S -n 32").start();
    holder.wait_line("holder: holds 40 pipes of");
    assert!(fifos.iter().all(|fifo| is_held(fifo)));
}

/// Protects FIFOs of others in sticky directories for the time of a test.
struct Protected(String);

const PROTECTED_FIFOS: &str = "/proc/sys/fs/protected_fifos";

impl Protected {
    fn on() -> Protected {
        let before = fs::read_to_string(PROTECTED_FIFOS).unwrap();
        fs::write(PROTECTED_FIFOS, "1").unwrap();
        Protected(before)
    }
}

impl Drop for Protected {
    fn drop(&mut self) {
        fs::write(PROTECTED_FIFOS, &self.0).ok();
    }
}

#[test]
fn h11_a_foreign_fifo_in_a_sticky_directory_opens_although_fifos_are_protected() {
    needs_root(|| {
        let scratch = Scratch::new();
        let sticky = scratch.make_dir("sticky");
        let fifo = sticky.join("app");
        standpipe_tests::directory::make_fifo(&fifo, 0o666);
        chown(&sticky, Some(0), Some(0)).unwrap();
        chown(&fifo, Some(1), Some(1)).unwrap();
        set_mode(&sticky, 0o1777);
        scratch.link("app", &fifo);
        let _protected = Protected::on();
        let holder = holder(&scratch).start();
        holder.wait_line("holder: holds 1 pipe of");
        let refused =
            fs::OpenOptions::new().write(true).custom_flags(libc::O_CREAT | libc::O_NONBLOCK).open(&fifo).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::EACCES), "the protection is on");
        assert!(is_held(&fifo));
    });
}
