//! What may become of the followed name: T8, T12, T13, and the tailer's half of H17.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::thread;
use std::time::Duration;

use standpipe_tests::deadline::{until, within};
use standpipe_tests::directory::{Mounted, make_fifo, set_mode};
use standpipe_tests::privilege;
use standpipe_tests::privilege::needs_root;
use standpipe_tests::programs::{Launch, Process, command};
use standpipe_tests::stands::{Following, Tailing};
use standpipe_tests::world::{Log, Owner, length, line, numbered, owners, rename_and_create};

fn following(owner: Owner, name: &str) -> Tailing {
    let mut stand = Tailing::to_stdout(owner);
    stand.configure("late_writer_max_ms = 500\n", &[(name, "")]);
    stand.start();
    stand
}

#[test]
fn t8_a_file_that_comes_late_goes_and_comes_again_is_followed() {
    for owner in owners() {
        let mut stand = following(owner, "app.log");
        let mut first = stand.log("app.log", 1);
        first.write(10);
        stand.wait_delivered(&[&first]);
        fs::remove_file(&first.path).unwrap();
        // Its writer still has it.
        first.write(5);
        stand.wait_delivered(&[&first]);
        let path = first.path.clone();
        let written = stand.tally(&[&first]);
        assert!(written.is_whole(), "{written:?}");
        let (writer, lines) = first.written();
        drop(first);
        let mut second = Log::open(&path, 2, owner);
        second.write(10);
        until("the new file", || stand.lines_delivered() == 25);
        assert_eq!((writer, lines), (1, 15));
        stand.stop();
    }
}

#[test]
fn t8_a_link_that_is_switched_is_followed_to_each_of_its_targets() {
    // F46
    for owner in owners() {
        let mut stand = following(owner, "app.log");
        let link = stand.log_path("app.log");
        let mut logs: Vec<Log> = Vec::new();
        for number in 1..=3 {
            let mut log = stand.log(&format!("target-{number}"), number);
            let fresh = stand.log_path("app.new");
            symlink(&log.path, &fresh).unwrap();
            fs::rename(&fresh, &link).unwrap();
            log.write(50);
            // So long a target has to be the one that is meant.
            stand.daemon().wait_lines("inode", usize::from(number));
            logs.push(log);
        }
        stand.finish(&logs.iter().collect::<Vec<_>>());
    }
}

#[test]
fn t8_a_link_to_a_missing_target_is_followed_when_the_target_appears() {
    // F47
    let mut stand = Tailing::to_stdout(Owner::Tailer);
    symlink(stand.log_path("later"), stand.log_path("app.log")).unwrap();
    stand.configure("", &[("app.log", "")]);
    stand.start();
    let mut log = stand.log("later", 1);
    log.write(20);
    stand.finish(&[&log]);
}

#[test]
fn t8_a_directory_that_is_moved_away_and_made_anew_is_followed() {
    // F45
    for owner in owners() {
        let mut stand = Tailing::to_stdout(owner);
        stand.configure("late_writer_max_ms = 500\n", &[("sub/app.log", "")]);
        stand.start();
        let dir = stand.log_path("sub");
        let make = || {
            fs::create_dir(&dir).unwrap();
            privilege::give(&dir);
        };
        make();
        let mut first = stand.log("sub/app.log", 1);
        first.write(10);
        stand.wait_delivered(&[&first]);
        fs::rename(&dir, stand.log_path("moved")).unwrap();
        first.write(10);
        make();
        let mut second = stand.log("sub/app.log", 2);
        second.write(10);
        stand.wait_delivered(&[&first, &second]);
        fs::remove_dir_all(&dir).unwrap();
        make();
        let mut third = stand.log("sub/app.log", 3);
        third.write(10);
        drop(first.reopen_elsewhere(&stand.log_path("elsewhere")));
        stand.finish(&[&first, &second, &third]);
    }
}

#[test]
fn t8_a_directory_over_which_another_is_mounted_is_followed_and_the_old_file_is_drained() {
    // F52
    needs_root(|| {
        let (mut stand, mut first) =
            Following::to_stdout().general("inotify = false\nlate_writer_max_ms = 500\n").start();
        first.write(10);
        stand.wait_delivered(&[&first]);
        let mounted = Mounted::tmpfs(&stand.logs(), "mode=755");
        let mut second = stand.log("app.log", 2);
        second.write(10);
        first.write(10);
        stand.wait_delivered(&[&first, &second]);
        // And back: what was read there is not read again.
        drop(mounted);
        first.write(10);
        stand.finish(&[&first, &second]);
    });
}

#[test]
fn a_file_that_an_overlay_copies_up_is_not_read_again() {
    // F53
    needs_root(|| {
        for is_running in [true, false] {
            let (mut stand, mut log) = Following::to_stdout().prepare();
            log.write(20);
            let layers = ["upper", "work"].map(|name| stand.scratch.make_dir(name));
            let _mounted = Mounted::overlay(&stand.logs(), &layers[0], &layers[1]);
            stand.start();
            stand.wait_delivered(&[&log]);
            if !is_running {
                stand.stop();
            }
            // The first write makes another file of it.
            drop(log.reopen());
            log.write(10);
            if !is_running {
                stand.start();
            }
            stand.wait_delivered(&[&log]);
            // Nor when nobody writes to it any more, or later.
            drop(log.reopen_elsewhere(&stand.work("elsewhere")));
            stand.finish(&[&log]);
            drop(log.reopen_elsewhere(&stand.log_path("app.log")));
            stand.start();
            log.write(10);
            drop(rename_and_create(&mut log));
            log.write(10);
            stand.finish(&[&log]);
        }
    });
}

#[test]
fn t8_a_file_that_may_not_be_read_for_a_while_goes_on_where_it_was() {
    // F57
    let (mut stand, mut log) = Following::to_stdout().prepare();
    log.write(10);
    set_mode(&log.path, 0o000);
    stand.start();
    stand.daemon().wait_line("error opening");
    log.write(10);
    set_mode(&log.path, 0o644);
    stand.finish(&[&log]);
    assert_eq!(stand.daemon().lines_with("EACCES").len(), 1);
}

#[test]
fn a_known_file_that_may_not_be_read_at_the_start_is_told_once() {
    let (mut stand, mut log) = Following::to_stdout().start();
    log.write(10);
    stand.wait_delivered(&[&log]);
    stand.stop();
    set_mode(&log.path, 0o000);
    stand.start();
    stand.daemon().wait_line("EACCES");
    stand.daemon().wait_line("retry in 1s");
    // Over two retries, and with changes meanwhile.
    for _ in 0..8 {
        log.write(1);
        std::thread::sleep(std::time::Duration::from_millis(300));
    }
    set_mode(&log.path, 0o644);
    stand.daemon().wait_line("opened after all");
    stand.finish(&[&log]);
    for sentence in ["EACCES", "opened after all"] {
        assert_eq!(stand.daemon().lines_with(sentence).len(), 1, "{}", stand.daemon().stderr());
    }
}

#[test]
fn an_older_file_that_gets_its_name_back_is_not_read_again() {
    // F10
    let mut stand = following(Owner::Tailer, "app.log");
    let mut log = stand.log("app.log", 1);
    log.write(20);
    drop(rename_and_create(&mut log));
    log.write(10);
    stand.wait_delivered(&[&log]);
    fs::rename(&log.path, numbered(&log.path, 2)).unwrap();
    fs::rename(numbered(&log.path, 1), &log.path).unwrap();
    drop(log.reopen());
    log.write(10);
    stand.finish(&[&log]);
}

#[test]
fn one_file_by_two_names_is_delivered_once() {
    // F51
    let mut stand = Tailing::to_stdout(Owner::Tailer);
    let mut log = stand.log("app.log", 1);
    fs::hard_link(&log.path, stand.log_path("same.log")).unwrap();
    stand.configure("", &[("app.log", ""), ("same.log", "")]);
    stand.start();
    log.write(20);
    stand.finish(&[&log]);
    assert_eq!(stand.daemon().lines_with("refused").len(), 1, "{}", stand.daemon().stderr());
}

/// A server that waits until somebody reads from its FIFO.
struct Server(Process);

impl Server {
    fn start(fifo: &Path) -> Server {
        let script = "exec 3>\"$0\"; echo hello >&3; exec sleep 100";
        let server = Server(Process::start(command("sh").args(["-c", script]).arg(fifo)));
        until("the server waits", || server.waits());
        server
    }

    /// In the kernel, for the other end of a FIFO.
    fn waits(&self) -> bool {
        let state = fs::read_to_string(format!("/proc/{}/stat", self.0.id())).unwrap_or_default();
        let exe = fs::read_link(format!("/proc/{}/fd/3", self.0.id()));
        state.contains(" S ") && exe.is_err()
    }

    fn is_alive(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

#[test]
fn h17_a_server_that_waits_for_a_reader_of_its_fifo_stays_there_alive() {
    let stand = Tailing::to_stdout(Owner::Tailer);
    let fifo = stand.log_path("app.log");
    make_fifo(&fifo, 0o666);
    let mut server = Server::start(&fifo);
    let mut daemon = Launch::new("tailer").arg(&fifo).start_unready();
    daemon.wait_line(&format!(
        "[tailer] {} refused: a FIFO, which tailer never opens; use reader to read it",
        fifo.display()
    ));
    thread::sleep(Duration::from_millis(600));
    assert!(server.is_alive() && server.waits());
    assert_eq!(daemon.terminate(), 0);
    assert!(server.is_alive() && server.waits());
}

#[test]
fn t12_what_is_no_regular_file_is_refused_and_a_file_in_its_place_is_followed() {
    let mut stand = Tailing::to_stdout(Owner::Tailer);
    let path = stand.log_path("app.log");
    stand.configure("", &[("app.log", "")]);
    make_fifo(&path, 0o666);
    stand.start();
    stand.daemon().wait_line("app.log refused: a FIFO");
    fs::remove_file(&path).unwrap();
    let _socket = UnixListener::bind(&path).unwrap();
    stand.daemon().wait_line("app.log refused: a socket, not a regular file");
    fs::remove_file(&path).unwrap();
    symlink("/dev/null", &path).unwrap();
    stand.daemon().wait_line("app.log refused: a device, not a regular file");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    stand.daemon().wait_line("app.log refused: a directory, not a regular file");
    fs::remove_dir(&path).unwrap();
    symlink("/proc/self/status", &path).unwrap();
    stand.daemon().wait_line("app.log refused: a kernel pseudo-file, which has no size to follow");
    fs::remove_file(&path).unwrap();
    let mut log = stand.log("app.log", 1);
    log.write(20);
    stand.finish(&[&log]);
}

#[test]
fn what_the_tailer_writes_itself_is_refused() {
    // F50
    let mut stand = Tailing::to_stdout(Owner::Tailer);
    let output = stand.scratch.path().join("output");
    symlink(output, stand.log_path("app.log")).unwrap();
    stand.configure("", &[("app.log", "")]);
    stand.start();
    stand.daemon().wait_line("app.log refused: written by this tailer");
    stand.stop();
}

#[test]
fn t13_a_sparse_file_is_read_without_its_holes() {
    for owner in owners() {
        let mut stand = Tailing::to_stdout(owner);
        stand.configure("", &[("app.log", "")]);
        let path = stand.log("app.log", 1).path;
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        let text = |numbers: std::ops::Range<u64>| numbers.flat_map(|n| line(3, n, length(3, n))).collect::<Vec<u8>>();
        file.write_all_at(&text(0..10), 0).unwrap();
        file.write_all_at(&text(10..20), 2 << 20).unwrap();
        stand.start();
        until("20 lines", || stand.delivered().len() >= text(0..20).len());
        file.write_all_at(&text(20..30), 5 << 30).unwrap();
        until("30 lines", || stand.delivered().len() >= text(0..30).len());
        assert!(stand.delivered() == text(0..30), "{}", stand.daemon().stderr());
        stand.daemon().wait_lines("app.log: skipped a hole of ", 2);
        stand.stop();
    }
}

#[test]
fn a_line_written_in_three_pieces_is_one_line() {
    // F67
    let mut stand = following(Owner::Tailer, "app.log");
    let path = stand.log("app.log", 1).path;
    let mut file = File::options().append(true).open(&path).unwrap();
    for piece in ["one ", "line", "\n"] {
        assert!(!within(Duration::from_millis(200), || !stand.delivered().is_empty()));
        file.write_all(piece.as_bytes()).unwrap();
    }
    until("the line", || stand.delivered() == b"one line\n");
    stand.stop();
}
