//! HUP: sources come, go and change; those that stay notice nothing, and a mistake changes nothing.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use standpipe_tests::deadline::until;
use standpipe_tests::privilege;
use standpipe_tests::stands::{Following, Tailing};
use standpipe_tests::world::{Drain, Owner, count_lines, open_reader, rename_and_create};

#[test]
fn sources_are_added_and_removed_and_the_others_notice_nothing() {
    let mut stand = Tailing::to_stdout(Owner::Tailer);
    stand.configure("", &[("a.log", ""), ("b.log", "")]);
    let (mut a, mut b, mut c) = (stand.log("a.log", 1), stand.log("b.log", 2), stand.log("c.log", 3));
    stand.start();
    for log in [&mut a, &mut b, &mut c] {
        log.write(10);
    }
    stand.wait_delivered(&[&a, &b]);

    stand.configure("", &[("a.log", ""), ("c.log", "")]);
    stand.daemon().hang_up("watching");
    for log in [&mut a, &mut c] {
        log.write(10);
    }
    b.write(10);
    until("c", || stand.tally(&[&c]).found == 20);
    until("a", || stand.tally(&[&a]).found == 20);
    assert_eq!(stand.tally(&[&b]).found, 10, "it is followed no longer");
    assert_eq!(stand.daemon().lines_with("a.log inode").len(), 1, "{}", stand.daemon().stderr());

    // It goes on where it was left.
    stand.configure("", &[("a.log", ""), ("b.log", ""), ("c.log", "")]);
    stand.daemon().hang_up("watching");
    drop(rename_and_create(&mut a));
    a.write(10);
    stand.finish(&[&a, &b, &c]);
}

#[test]
fn a_glob_that_is_taken_out_leaves_no_watch_behind() {
    let mut stand = Tailing::to_stdout(Owner::Tailer);
    let mut log = stand.log("a.log", 1);
    let dirs = ["app", "app/one", "app/two"].map(|name| stand.log_path(name));
    for dir in &dirs {
        fs::create_dir(dir).unwrap();
        privilege::give(dir);
    }
    let mut others = ["app/one/x.log", "app/y.log", "app/two/z.log"].map(|name| stand.log(name, 2));
    for log in &mut others {
        log.write(1);
    }
    let watches = |stand: &Tailing| {
        let descriptors = fs::read_dir(format!("/proc/{}/fdinfo", stand.daemon().pid())).unwrap();
        let of = |path: PathBuf| fs::read_to_string(path).unwrap_or_default().matches("inotify wd:").count();
        descriptors.map(|entry| of(entry.unwrap().path())).sum::<usize>()
    };
    stand.configure("", &[("a.log", "")]);
    stand.start();
    log.write(1);
    stand.wait_delivered(&[&log]);
    let few = watches(&stand);
    let many = [("app/*.log", ""), ("app/*/*.log", ""), ("a.log", "")];
    stand.configure("", &many);
    stand.daemon().hang_up("watching 4 files");
    until("the directories are watched", || watches(&stand) == few + 6);
    // At the place of a glob stands a file, and then nothing.
    stand.configure("", &[("a.log", ""), many[1]]);
    stand.daemon().hang_up("watching 3 files");
    until("the directory of a glob is watched no longer", || watches(&stand) == few + 5);
    stand.configure("", &[("a.log", "")]);
    stand.daemon().hang_up("watching 1 file");
    until("as few watches as before", || watches(&stand) == few);
    log.write(1);
    stand.wait_delivered(&[&log]);
    stand.stop();
}

#[test]
fn how_long_late_writers_are_waited_for_changes_for_files_that_stay() {
    let (mut stand, mut log) = Following::to_stdout().general("late_writer_max_ms = 3600000\n").start();
    log.write(10);
    let _late = rename_and_create(&mut log);
    log.write(10);
    stand.daemon().wait_line("rotated");
    stand.configure("late_writer_max_ms = 0\n", &[("app.log", "")]);
    stand.daemon().hang_up("watching");
    stand.wait_delivered(&[&log]);
    stand.finish(&[&log]);
}

#[test]
fn a_source_that_gets_another_pipe_goes_there_from_where_it_was() {
    let (mut stand, mut log) = Following::into_pipe().start();
    log.write(50);
    stand.wait_delivered(&[&log]);
    let (first, size) = (stand.delivered(), fs::metadata(&log.path).unwrap().len() as usize);
    assert_eq!(first.len(), size);
    let other = stand.scratch.fifo("other");
    let _holder = open_reader(&other);
    let drain = Drain::start(&other);
    let toml = fs::read_to_string(stand.work("tailer.toml")).unwrap();
    let out = stand.scratch.run("out");
    fs::write(stand.work("tailer.toml"), toml.replace(out.to_str().unwrap(), other.to_str().unwrap())).unwrap();
    stand.daemon().hang_up("watching");
    log.write(50);
    let whole = fs::read(&log.path).unwrap();
    until("the rest", || drain.bytes().len() >= whole.len() - size);
    assert!(drain.bytes() == whole[size..] && stand.delivered() == first);
    stand.stop();
}

#[test]
fn a_pipe_whose_record_cannot_be_made_is_tried_again() {
    let mut stand = Tailing::to_stdout(Owner::Tailer);
    stand.configure("", &[("a.log", "")]);
    let (mut a, mut b, mut c) = (stand.log("a.log", 1), stand.log("b.log", 2), stand.log("c-1.log", 3));
    a.write(10);
    stand.start();
    stand.wait_delivered(&[&a]);
    let pipe = stand.scratch.fifo("other");
    let _holder = open_reader(&pipe);
    let drain = Drain::start(&pipe);
    let piped = format!("pipe = '{}'\n", pipe.display());
    stand.configure("", &[("a.log", &piped), ("b.log", &piped), ("c-*.log", &piped)]);
    let dir = stand.work("");
    fs::set_permissions(&dir, Permissions::from_mode(0o555)).unwrap();
    stand.daemon().hang_up("watching");
    for log in [&mut a, &mut b, &mut c] {
        log.write(10);
    }
    until("a goes on as it was", || stand.tally(&[&a]).found == 20);
    let said = stand.daemon().lines_with("Permission denied");
    let records: Vec<_> = said.iter().filter(|line| line.contains("stage-")).collect();
    assert_eq!(records.len(), 1, "{said:?}");
    fs::set_permissions(&dir, Permissions::from_mode(0o755)).unwrap();
    until("b and c", || count_lines(&drain.bytes()) == 20);
    a.write(10);
    until("the rest of a", || count_lines(&drain.bytes()) == 30);
    assert_eq!(stand.lines_delivered(), 20);
    stand.stop();
}

#[test]
fn a_mistake_in_the_configuration_is_told_and_changes_nothing() {
    let (mut stand, mut log) = Following::to_stdout().log("a.log").start();
    log.write(10);
    stand.configure("no_such_key = 1\n", &[("b.log", "")]);
    stand.daemon().hang_up("[tailer] keeping the previous configuration");
    let said = stand.daemon().stderr();
    assert!(said.contains("tailer.toml: line 3, column 1: "), "{said}");
    log.write(10);
    stand.wait_delivered(&[&log]);
    fs::remove_file(stand.work("tailer.toml")).unwrap();
    stand.daemon().hang_up("[tailer] keeping the previous configuration");
    log.write(10);
    stand.finish(&[&log]);
}

#[test]
fn what_cannot_change_at_once_is_said() {
    let (mut stand, mut log) = Following::to_stdout().log("a.log").start();
    stand.configure("order = \"timestamp\"\n", &[("a.log", "")]);
    stand.daemon().hang_up("`order` takes effect when tailer restarts");
    stand.configure("inotify = false\non_corrupt = \"end\"\n", &[("a.log", "")]);
    stand.daemon().hang_up("`inotify` and `on_corrupt` take effect when tailer restarts");
    stand.configure("late_writer_max_ms = 0\n", &[("a.log", "")]);
    stand.daemon().hang_up("watching");
    assert_eq!(stand.daemon().lines_with("when tailer restarts").len(), 2, "{}", stand.daemon().stderr());
    log.write(10);
    stand.finish(&[&log]);
}

#[test]
fn what_follows_a_line_whose_source_left_inside_it_begins_a_line() {
    const HALF: usize = 600_000;
    for is_restarted in [false, true] {
        // What standard output ended with is not known to the next run.
        let stdout = (!is_restarted).then(|| Tailing::to_stdout(Owner::Tailer));
        for mut stand in stdout.into_iter().chain([Tailing::into_pipe(Owner::Tailer, true)]) {
            stand.configure("", &[("long.log", ""), ("app.log", "")]);
            let mut log = stand.log("app.log", 1);
            fs::write(stand.log_path("long.log"), b"x".repeat(HALF)).unwrap();
            stand.start();
            until("a part of the long line", || stand.delivered().len() > 300_000);
            stand.configure("", &[("app.log", "")]);
            if is_restarted {
                stand.stop();
                log.write(3);
                stand.start();
            } else {
                stand.daemon().hang_up("watching 1 file");
                log.write(3);
            }
            until("the lines", || stand.lines_delivered() >= 3);
            let delivered = stand.delivered();
            let long = delivered.iter().take_while(|byte| **byte == b'x').count();
            let is_ended = delivered.get(long) == Some(&b'\n');
            assert!(is_ended && stand.tally(&[&log]).found == 3, "{is_restarted}: {:?}", &delivered[long..][..20]);
            stand.stop();
        }
    }
}
