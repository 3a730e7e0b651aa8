//! The holder's side of the staging pipe: made beside its target, with the target's group, held, never disturbed.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{FileTypeExt, MetadataExt, chown, symlink};
use std::path::{Path, PathBuf};

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use standpipe_common::staging;
use standpipe_tests::deadline::until;
use standpipe_tests::directory::{Scratch, make_fifo};
use standpipe_tests::privilege::{NOBODY, needs_root, needs_seams};
use standpipe_tests::programs::{Daemon, holder};
use standpipe_tests::world::{capacity, is_held, open_reader, open_writer, read_all};

const STAGE: &str = "stage = true\n";

/// Group and permissions of a FIFO.
fn rights(path: &Path) -> (u32, u32) {
    let metadata = fs::symlink_metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert!(metadata.file_type().is_fifo(), "{}", path.display());
    (metadata.gid(), metadata.mode() & 0o7777)
}

fn inode(path: &Path) -> u64 {
    fs::symlink_metadata(path).unwrap().ino()
}

/// The names beside the pipes.
fn names(scratch: &Scratch) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(scratch.run("")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Puts bytes into a staging pipe, as the tailer does, which has it open all the time.
fn tailer(stage: &Path, bytes: &[u8]) -> fs::File {
    let mut pipe = open_writer(stage, 0).unwrap();
    assert_eq!(pipe.write(bytes).unwrap(), bytes.len());
    pipe
}

/// A pipe `app` whose staging pipe is held, and that.
fn staged(scratch: &Scratch) -> (Daemon, PathBuf) {
    scratch.pipe("app");
    scratch.write_policy("defaults.toml", STAGE);
    let holder = holder(scratch).start();
    let stage = scratch.run("app.stage");
    assert!(is_held(&stage));
    (holder, stage)
}

#[test]
fn h21_it_is_made_once_beside_the_fifo_that_the_link_leads_to() {
    let scratch = Scratch::new();
    let elsewhere = scratch.make_dir("elsewhere");
    let target = elsewhere.join("server.log");
    make_fifo(&target, 0o666);
    symlink(&target, scratch.run("hop")).unwrap();
    scratch.link("app", "../run/hop");
    scratch.write_policy("app.toml", STAGE);
    scratch.pipe("plain");
    let holder = holder(&scratch).start();
    let stage = elsewhere.join("server.log.stage");
    assert_eq!(rights(&stage), (fs::metadata(&target).unwrap().gid(), 0o660));
    assert!(is_held(&stage));
    assert_eq!(names(&scratch), ["hop", "plain"], "nothing beside a link, nor where it is not wanted");
    let before = inode(&stage);
    for _ in 0..3 {
        holder.hang_up("holds 2 pipes of");
    }
    assert_eq!((inode(&stage), is_held(&stage)), (before, true));
    assert_eq!(holder.lines_with("and holding it").len(), 1, "{}", holder.stderr());
    assert_eq!(capacity(&stage), 512 << 10, "it takes a block of the tailer at once");
}

#[test]
fn h21_it_is_made_when_its_target_appears_and_when_the_policy_comes() {
    let scratch = Scratch::new();
    scratch.link("late", "../run/late");
    scratch.link("made", "../run/made");
    scratch.pipe("told");
    scratch.write_policy("late.toml", STAGE);
    scratch.write_policy("made.toml", "stage = true\n[fifo]\ncreate = true\n");
    let holder = holder(&scratch).start();
    assert_eq!(names(&scratch), ["made", "made.stage", "told"]);
    scratch.fifo("late");
    holder.wait_line("late: FIFO appeared; now holding it open");
    until("its staging pipe is held", || is_held(&scratch.run("late.stage")));
    scratch.write_policy("told.toml", STAGE);
    holder.hang_up("holds 3 pipes of");
    assert!(is_held(&scratch.run("told.stage")));
    // Whoever removes it gets another one at the next HUP.
    fs::remove_file(scratch.run("told.stage")).unwrap();
    holder.hang_up("holds 3 pipes of");
    assert!(is_held(&scratch.run("told.stage")));
    holder.wait_line("told: FIFO replaced; closed its staging pipe, which was empty");
}

#[test]
fn h21_one_that_is_there_is_held_without_the_key_and_left_as_it_is() {
    let scratch = Scratch::new();
    scratch.pipe("app");
    let stage = scratch.run("app.stage");
    make_fifo(&stage, 0o600);
    let before = inode(&stage);
    let holder = holder(&scratch).start();
    assert_eq!((is_held(&stage), inode(&stage), rights(&stage).1), (true, before, 0o600));
    fs::remove_file(&stage).unwrap();
    holder.hang_up("holds 1 pipe of");
    holder.wait_line("app: FIFO removed; closed its staging pipe, which was empty");
    assert!(!stage.exists());
}

#[test]
fn h21_it_outlives_a_killed_holder_and_what_a_kill_left_half_done_goes() {
    needs_seams(|| {
        for point in ["stage-made", "stage-dressed"] {
            let scratch = Scratch::new();
            scratch.pipe("app");
            scratch.write_policy("defaults.toml", STAGE);
            let faults = scratch.path().join("faults");
            fs::write(&faults, format!("kill {point} 1\n")).unwrap();
            let mut killed = holder(&scratch).env("STANDPIPE_TEST_FAULTS", &faults).start_unready();
            assert_eq!(killed.wait_exit(), 128 + 9, "{point}");
            assert_eq!(names(&scratch), [".unfinished-app.stage", "app"], "{point}");
            let mut again = holder(&scratch).start();
            assert_eq!(names(&scratch), ["app", "app.stage"], "{point}");
            let stage = scratch.run("app.stage");
            let before = inode(&stage);
            again.kill9();
            let _third = holder(&scratch).start();
            assert_eq!((inode(&stage), is_held(&stage)), (before, true), "{point}");
        }
    });
}

#[test]
fn h21_a_kill_leaves_nothing_even_where_it_is_not_wanted_any_more() {
    needs_seams(|| {
        let scratch = Scratch::new();
        scratch.pipe("app");
        let policy = scratch.write_policy("defaults.toml", STAGE);
        let faults = scratch.path().join("faults");
        fs::write(&faults, "kill stage-made 1\n").unwrap();
        holder(&scratch).env("STANDPIPE_TEST_FAULTS", &faults).start_unready().wait_exit();
        fs::remove_file(policy).unwrap();
        let _holder = holder(&scratch).start();
        assert_eq!(names(&scratch), ["app"]);
    });
}

#[test]
fn h21_with_another_target_it_is_let_go_when_it_is_empty() {
    let scratch = Scratch::new();
    let (holder, stage) = staged(&scratch);
    let pipe = tailer(&stage, b"one line\nc");
    drop(pipe);
    let other = scratch.fifo("other");
    fs::remove_file(scratch.pipes().join("app")).unwrap();
    scratch.link("app", &other);
    holder.hang_up("holds 1 pipe of");
    assert!(is_held(&scratch.run("other.stage")));
    holder.wait_line("app: FIFO replaced; closed its pipe, which was empty");
    assert!(is_held(&stage), "a line is in it");
    assert!(holder.lines_with("closed its staging pipe").is_empty(), "{}", holder.stderr());
    let mut tailer = open_reader(&stage);
    assert_eq!(read_all(&mut tailer), b"one line\nc");
    drop(tailer);
    holder.wait_line("app: FIFO replaced; closed its staging pipe, which was empty");
    assert!(!is_held(&stage));
}

#[test]
fn h21_without_its_link_it_is_let_go_with_the_canary_in_it() {
    let scratch = Scratch::new();
    let (holder, stage) = staged(&scratch);
    let _tailer = tailer(&stage, b"c");
    fs::remove_file(scratch.pipes().join("app")).unwrap();
    holder.hang_up("holds 0 pipes of");
    holder.wait_line("app: link removed; closed its staging pipe, which was empty");
    assert!(!is_held(&stage));
}

#[test]
fn h21_what_nobody_empties_goes_when_its_time_is_up_and_is_counted() {
    needs_seams(|| {
        let scratch = Scratch::new();
        scratch.pipe("app");
        scratch.write_policy("defaults.toml", STAGE);
        let holder = holder(&scratch).env("STANDPIPE_TEST_RETIRED_MS", "50").start();
        tailer(&scratch.run("app.stage"), b"line\nc");
        fs::remove_file(scratch.pipes().join("app")).unwrap();
        holder.hang_up("holds 0 pipes of");
        holder.wait_line("app: link removed; closed its staging pipe with 5 bytes in it");
    });
}

#[test]
fn h21_a_target_made_anew_at_its_place_keeps_it() {
    let scratch = Scratch::new();
    let (holder, stage) = staged(&scratch);
    let _tailer = tailer(&stage, b"line\nc");
    let before = inode(&stage);
    fs::remove_file(scratch.run("app")).unwrap();
    scratch.fifo("app");
    holder.wait_line("app: FIFO was replaced; now holding the new one");
    assert_eq!((inode(&stage), is_held(&stage)), (before, true));
    // While nothing is there, both stay.
    fs::remove_file(scratch.run("app")).unwrap();
    holder.wait_line("still holding the previous FIFO");
    holder.hang_up("holds 0 pipes of");
    assert!(is_held(&stage));
    assert!(holder.lines_with("closed its staging pipe").is_empty(), "{}", holder.stderr());
}

#[test]
fn h21_it_is_locked_for_reading_on_its_first_byte_and_its_target_not_at_all() {
    let scratch = Scratch::new();
    let (holder, stage) = staged(&scratch);
    let locked = |path: &Path, byte: i64| {
        let file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
        let mut lock = libc::flock {
            l_type: libc::F_WRLCK as i16,
            l_whence: libc::SEEK_SET as i16,
            l_start: byte,
            l_len: 1,
            l_pid: 0,
        };
        fcntl(&file, FcntlArg::F_OFD_GETLK(&mut lock)).unwrap();
        i32::from(lock.l_type)
    };
    for _ in 0..2 {
        assert_eq!(locked(&stage, staging::HOLDER_LOCK_BYTE), libc::F_RDLCK);
        assert_eq!(locked(&stage, staging::TAILER_LOCK_BYTE), libc::F_UNLCK);
        assert_eq!(locked(&scratch.run("app"), staging::HOLDER_LOCK_BYTE), libc::F_UNLCK);
        holder.hang_up("holds 1 pipe of");
    }
    // Two holders on one directory share it.
    let _second = self::holder(&scratch).start();
    assert_eq!(locked(&stage, staging::HOLDER_LOCK_BYTE), libc::F_RDLCK);
}

#[test]
fn h21_what_is_no_fifo_is_never_opened_and_the_pipe_is_held_without() {
    let scratch = Scratch::new();
    scratch.fifo("somebodys");
    for (name, make) in [
        ("file", (|path: &Path| fs::write(path, "mine").unwrap()) as fn(&Path)),
        ("dir", |path| fs::create_dir(path).unwrap()),
        ("link", |path| symlink("somebodys", path).unwrap()),
    ] {
        scratch.pipe(name);
        make(&scratch.run(&format!("{name}.stage")));
    }
    scratch.pipe("quiet");
    fs::write(scratch.run("quiet.stage"), "").unwrap();
    for name in ["file", "dir", "link"] {
        scratch.write_policy(&format!("{name}.toml"), STAGE);
    }
    let holder = holder(&scratch).start();
    let lines = holder.lines_with("; still holding ");
    assert_eq!(lines.len(), 3, "{}", holder.stderr());
    for what in ["it is a regular file, not a FIFO", "it is a directory, not a FIFO", "it is a link, not a FIFO"] {
        assert!(lines.iter().any(|line| line.contains(what)), "{lines:?}");
    }
    assert!(["file", "dir", "link", "quiet"].iter().all(|name| is_held(&scratch.run(name))));
    assert!(!is_held(&scratch.run("somebodys")));
    assert_eq!(fs::read(scratch.run("file.stage")).unwrap(), b"mine");
}

#[test]
fn h21_a_holder_that_owns_the_directory_gives_it_the_group_of_the_target() {
    needs_root(|| {
        let scratch = Scratch::new();
        let fifo = scratch.pipe("app");
        chown(&fifo, Some(NOBODY - 1), Some(4)).unwrap();
        scratch.write_policy("defaults.toml", STAGE);
        let under = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--groups=4"];
        let _holder = holder(&scratch).as_tests().under(under).start();
        let stage = scratch.run("app.stage");
        assert_eq!((rights(&stage), is_held(&stage)), ((4, 0o660), true));
        assert_eq!(fs::metadata(&stage).unwrap().uid(), NOBODY);
    });
}

#[test]
fn h21_staging_pipes_are_taken_off_before_automatic_pipes_share_the_rest() {
    needs_root(|| {
        // A user without any other pipes, for the kernel counts them by user.
        let user = 100_000 + std::process::id() % 50_000 * 4 + 3;
        let pages: usize = fs::read_to_string("/proc/sys/fs/pipe-user-pages-soft").unwrap().trim().parse().unwrap();
        // So many pipes have 1 MiB each and leave nothing of their three quarters.
        let pipes = (pages * 4096 / 4 * 3) >> 20;
        for (policy, bytes) in [("", 1 << 20), (STAGE, 512 << 10)] {
            let scratch = Scratch::new();
            scratch.give_to(user);
            let fifos: Vec<PathBuf> = (0..pipes).map(|number| scratch.pipe(&format!("p{number:03}"))).collect();
            for fifo in &fifos {
                chown(fifo, Some(user), Some(user)).unwrap();
            }
            scratch.write_policy("defaults.toml", policy);
            let mut holder = holder(&scratch).as_user(user).start();
            assert!(fifos.iter().all(|fifo| capacity(fifo) == bytes), "{policy}");
            let stages = fifos.iter().filter(|fifo| capacity(&staging::beside(fifo)) == 64 << 10);
            assert_eq!(stages.count(), if policy.is_empty() { 0 } else { pipes });
            assert_eq!(holder.terminate(), 0);
        }
    });
}
