//! What people do by hand to links, policies and log directories while the reader works: no pipe goes undrained by it,
//! none gets two lanes, and no byte goes where nobody looks for it.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use standpipe_tests::deadline::{CONDITION_SPAN, until, within};
use standpipe_tests::directory::{KEEP_ALL, files_ending, make_fifo, name, names};
use standpipe_tests::privilege::{give, needs_seams};
use standpipe_tests::programs::{Daemon, has_open};
use standpipe_tests::stands::{Bench, Stand};
use standpipe_tests::world::{content, hold, parts, put, stream_of};

/// What the reader says when it is done with HUP.
const REREAD: &str = " after HUP: ";

/// How often a process has this FIFO open.
fn times_open(pid: u32, fifo: &Path) -> usize {
    let wanted = fs::metadata(fifo).map(|is| (is.dev(), is.ino())).expect("a FIFO");
    let fds = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    fds.filter_map(|fd| fs::metadata(fd.path()).ok()).filter(|is| (is.dev(), is.ino()) == wanted).count()
}

/// A reader of the pipe `app` that has stored `one`, and a server at that pipe.
fn with_one_line() -> (Bench, PathBuf, File, Daemon) {
    let bench = Bench::new();
    let app = bench.scratch.pipe("app");
    let server = hold(&app);
    let reader = bench.steered_reader().start();
    put(&server, b"one\n");
    bench.wait_stored("app", b"one\n");
    (bench, app, server, reader)
}

/// The one chunk that was set aside.
fn salvaged(bench: &Bench) -> Vec<u8> {
    let found = bench.root_files(".salvaged-");
    assert_eq!(found.len(), 1, "{found:?}");
    fs::read(&found[0]).expect("a file that can be read")
}

fn holds(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|found| found == text)
}

#[test]
fn a_link_that_leads_to_nothing_first_and_to_another_fifo_later_has_one_lane() {
    let (bench, app, server, reader) = with_one_line();
    let link = bench.scratch.pipes().join("app");
    fs::remove_file(&link).unwrap();
    reader.hang_up(REREAD);
    let fresh = app.with_file_name("fresh");
    symlink(&fresh, &link).unwrap();
    reader.hang_up(REREAD);
    make_fifo(&fresh, 0o666);
    until("the new FIFO is open", || has_open(reader.pid(), &fresh));
    let other = hold(&fresh);
    let mut sent = b"one\n".to_vec();
    for round in 0..10 {
        // Whoever has the old one open still writes to it.
        for pipe in [&server, &other] {
            let line = format!("line {round} of somebody\n");
            sent.extend_from_slice(line.as_bytes());
            put(pipe, line.as_bytes());
            bench.wait_stored("app", &sent);
        }
    }
    reader.stop();
}

#[test]
fn a_fifo_whose_link_leads_to_nothing_now_gets_no_second_lane_by_another_link() {
    let (bench, app, server, reader) = with_one_line();
    let link = bench.scratch.pipes().join("app");
    fs::remove_file(&link).unwrap();
    symlink("/nowhere/x", &link).unwrap();
    bench.scratch.link("web", &app);
    reader.hang_up(REREAD);
    assert_eq!(times_open(reader.pid(), &app), 1, "{}", reader.stderr());
    assert_eq!(reader.lines_with("still has the same FIFO").len(), 1, "{}", reader.stderr());
    put(&server, b"two\n");
    bench.wait_stored("app", b"one\ntwo\n");
    assert!(!bench.log("web").exists());
    reader.stop();
}

#[test]
fn pipes_that_become_many_leave_room_for_their_logs() {
    const PIPES: usize = 165;
    const LINES: usize = 3;
    let (bench, _first) = Bench::new().holding("first");
    let reader = bench.reader().prelude("ulimit -n 256").start();
    let held: Vec<_> = (0..PIPES).map(|number| hold(&bench.scratch.pipe(&format!("app{number}")))).collect();
    reader.hang_up(REREAD);
    for _ in 0..LINES {
        for pipe in &held {
            put(pipe, b"a line\n");
        }
    }
    let stored = |number| stream_of(&bench.log(&format!("app{number}"))) == b"a line\n".repeat(LINES);
    let is_all = within(CONDITION_SPAN, || (0..PIPES).all(stored));
    // One for which no descriptor was left at the HUP is read a moment later.
    let is_said =
        reader.lines_with("error").iter().all(|line| line.contains("Too many open files") || line.contains("ulimit"));
    assert!(is_all && is_said, "{}", reader.stderr());
}

#[test]
fn a_pipe_for_which_no_descriptor_was_left_is_read_once_there_is_one() {
    needs_seams(|| {
        let (bench, _app, _server, reader) = with_one_line();
        bench.faults("EMFILE fifo-open 2 1\n");
        let late = bench.scratch.pipe("late");
        let server = hold(&late);
        put(&server, b"a line\n");
        reader.hang_up(REREAD);
        assert!(!reader.lines_with("Too many open files").is_empty(), "{}", reader.stderr());
        bench.wait_stored("late", b"a line\n");
        reader.wait_line("late: now reading its FIFO");
    });
}

/// Makes the disk fail under `precious`, does `harm` to the segment that it belongs into, and mends the disk.
fn harm_under_a_held_chunk(harm: impl Fn(&Path)) -> (Bench, Daemon) {
    let (bench, _, server, reader) = with_one_line();
    bench.faults("EIO write 1 1000000\n");
    put(&server, b"precious\n");
    reader.wait_line("not reading app until this is fixed");
    for file in files_ending(&bench.log("app"), ".log") {
        harm(&file);
    }
    bench.faults("");
    reader.wait_line("app: recovered; reading again");
    put(&server, b"three\n");
    until("it goes on", || stream_of(&bench.log("app")).ends_with(b"three\n"));
    (bench, reader)
}

#[test]
fn a_held_chunk_whose_segment_was_removed_is_set_aside() {
    needs_seams(|| {
        let (bench, reader) = harm_under_a_held_chunk(|file| fs::remove_file(file).unwrap());
        assert!(holds(&salvaged(&bench), b"precious\n"), "{}", reader.stderr());
        assert_eq!(stream_of(&bench.log("app")), b"three\n");
    });
}

#[test]
fn a_held_chunk_whose_segment_was_truncated_is_set_aside_and_leaves_no_hole() {
    needs_seams(|| {
        let truncate = |file: &Path| OpenOptions::new().write(true).open(file).unwrap().set_len(0).unwrap();
        let (bench, reader) = harm_under_a_held_chunk(truncate);
        assert!(holds(&salvaged(&bench), b"precious\n"), "{}", reader.stderr());
        assert_eq!(stream_of(&bench.log("app")), b"three\n");
    });
}

#[test]
fn a_lane_that_holds_a_chunk_outstays_its_link_and_goes_on_when_that_is_back() {
    needs_seams(|| {
        let bench = Bench::new();
        let (app, web) = (bench.scratch.pipe("app"), bench.scratch.pipe("web"));
        let (server, _idle) = (hold(&app), hold(&web));
        let reader = bench.steered_reader().env("STANDPIPE_TEST_RETIRED_MS", "300").start();
        put(&server, b"one\n");
        bench.wait_stored("app", b"one\n");
        bench.faults("EIO write 1 1000000\n");
        put(&server, b"held\n");
        reader.wait_line("not reading app until");
        for name in ["app", "web"] {
            fs::remove_file(bench.scratch.pipes().join(name)).unwrap();
        }
        reader.hang_up(REREAD);
        // The span is over for both.
        until("the other one is let go", || !has_open(reader.pid(), &web));
        bench.faults("");
        bench.scratch.link("app", &app);
        reader.hang_up(REREAD);
        put(&server, b"three\n");
        bench.wait_stored("app", b"one\nheld\nthree\n");
        reader.stop();
        assert!(bench.root_files(".salvaged-").is_empty());
    });
}

#[test]
fn a_log_directory_that_is_renamed_under_a_busy_lane_is_made_anew_and_no_line_is_lost() {
    let (bench, _, server, reader) = with_one_line();
    fs::rename(bench.log("app"), bench.log("app.old")).unwrap();
    let mut sent = b"one\n".to_vec();
    until("it is made anew", || {
        let line = format!("line {}\n", sent.len());
        put(&server, line.as_bytes());
        sent.extend_from_slice(line.as_bytes());
        bench.log("app").exists()
    });
    let stored = || [stream_of(&bench.log("app.old")), stream_of(&bench.log("app"))].concat();
    until("all lines are stored", || stored().len() >= sent.len());
    assert_eq!(stored(), sent);
    reader.wait_line("the directory was removed, renamed or replaced");
    reader.stop();
}

#[test]
fn a_filename_changed_while_a_chunk_is_held_counts_for_the_next_part() {
    needs_seams(|| {
        let (bench, _, server, reader) = with_one_line();
        bench.faults("EIO write 1 1000000\n");
        put(&server, b"held\n");
        reader.wait_line("not reading app until");
        bench.scratch.write_policy("defaults.toml", &format!("{KEEP_ALL}filename = \"new-%Y\"\n"));
        reader.hang_up(REREAD);
        bench.faults("");
        reader.wait_line("app: recovered; reading again");
        put(&server, b"two\n");
        bench.wait_stored("app", b"one\nheld\ntwo\n");
        reader.signal(Signal::SIGALRM);
        until("a part is archived", || !files_ending(&bench.log("app"), ".log.zst").is_empty());
        let names = names(&bench.log("app"));
        assert!(names.iter().any(|name| name.starts_with("new-")), "{names:?}");
    });
}

#[test]
fn a_group_that_the_reader_is_not_in_undrains_no_pipe() {
    let stand = Stand::new("");
    stand.scratch.write_policy("app.toml", "file_group = \"root\"\n");
    let reader = stand.reader().start();
    stand.write(b"one\n");
    stand.wait_stored(b"one\n");
    reader.wait_line("cannot give files to group root: the user of reader is not in it");
}

#[test]
fn a_filename_that_foreign_files_have_undrains_no_pipe() {
    let (stand, reader) = Stand::started("");
    stand.write_and_wait("one\n");
    let foreign = stand.log_dir().join("x-2026-000.log");
    fs::write(&foreign, "foreign").unwrap();
    give(&foreign);
    stand.scratch.write_policy("app.toml", "filename = \"x-%Y\"\n");
    reader.hang_up(REREAD);
    stand.write(b"two\n");
    let is_ours = |part: &PathBuf| !name(part).starts_with("x-");
    let own = || parts(&stand.log_dir()).into_iter().filter(is_ours).map(|part| content(&part).unwrap_or_default());
    until("it is stored in a part of ours", || own().collect::<Vec<_>>().concat() == b"one\ntwo\n");
    reader.wait_line("; keeping the previous names of parts");
    assert_eq!(fs::read(&foreign).unwrap(), b"foreign");
}
