//! Where rotated files are found again that the tailer did not see go: under the names that rotators give, under any
//! name at all, packed or copied; and what is said of those that cannot be read.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use nix::sys::signal::Signal;
use standpipe_tests::deadline::until;
use standpipe_tests::directory::set_mode;
use standpipe_tests::privilege;
use standpipe_tests::privilege::needs_tool;
use standpipe_tests::programs::command;
use standpipe_tests::stands::{Following, Tailing};
use standpipe_tests::world::{Log, Owner};

/// A tailer of `name`, of which it delivered 30 lines before it was stopped, and 20 that came after that.
fn interrupted(name: &str) -> (Tailing, Log) {
    let mut stand = Tailing::to_stdout(Owner::Tailer);
    stand.configure("", &[(name, "")]);
    let mut log = stand.log(name, 1);
    stand.start();
    log.write(30);
    stand.wait_delivered(&[&log]);
    stand.stop();
    log.write(20);
    (stand, log)
}

/// Gives the log another name, packs it if that ends in `.gz` or so, and lets the application open a new one.
fn rotate_to(stand: &Tailing, log: &mut Log, name: &str) {
    let (plain, packer) = match name.rsplit_once('.') {
        Some((plain, "gz")) => (plain, Some("gzip")),
        Some((plain, "zst")) => (plain, Some("zstd")),
        Some((plain, "xz")) => (plain, Some("xz")),
        Some((plain, "bz2")) => (plain, Some("bzip2")),
        _ => (name, None),
    };
    let plain = stand.log_path(plain);
    fs::rename(&log.path, &plain).unwrap();
    if let Some(packer) = packer {
        pack(packer, &plain);
    }
    drop(log.reopen());
}

fn pack(packer: &str, plain: &Path) {
    let how: &[&str] = if packer == "zstd" { &["-q", "--rm"] } else { &[] };
    assert!(command(packer).args(how).arg(plain).status().unwrap().success(), "{packer}");
}

/// Starts the tailer and demands all lines, each once, and that nothing is said to be lost.
fn goes_on(mut stand: Tailing, log: &Log, what: &str) {
    stand.start();
    stand.wait_delivered(&[log]);
    let said = stand.stop();
    let tally = stand.tally(&[log]);
    assert!(tally.is_whole(), "{what}: {tally:?}\n{said}");
    assert!(!said.contains("lost") && !said.contains("not delivered"), "{what}: {said}");
}

/// Rotates the log to these names, oldest first, while no tailer runs.
fn found_under(live: &str, names: &[&str]) {
    let (stand, mut log) = interrupted(live);
    for name in names {
        rotate_to(&stand, &mut log, name);
        log.write(20);
    }
    goes_on(stand, &log, &format!("{names:?}"));
}

#[test]
fn rotated_files_are_found_under_the_names_that_rotators_give() {
    for (live, names) in [
        ("current", ["@400000006921e3f41d8a2b3c.s", "@400000006921e3f51d8a2b3c.u"]),
        ("app.log", ["app-2026-11-21T10-00-00.000.log.gz", "app-2026-11-21T10-00-01.000.log"]),
        ("app.log", ["app-2026-11-21T10-00-00.000-size.log", "app-2026-11-21T10-00-01.000-time.log"]),
        ("app-out.log", ["app-out__2026-11-20_00-00-00.log", "app-out__2026-11-21_00-00-00.log"]),
        ("app.log", ["app-2026-11-21.log", "app-2026-11-21.log.1"]),
        ("app.log", ["app.log.2026-11-21", "app.log.2026-11-21.1"]),
        ("app.log", ["20261121-1000-01-app.log", "20261121-1000-02-app.log.gz"]),
        ("app.log", ["app.log20261121", "app.log20261122.gz"]),
    ] {
        found_under(live, &names);
    }
}

#[test]
fn a_file_is_found_under_any_name_by_what_it_is() {
    for name in ["app-1.log", "kept by somebody", ".hidden", "1"] {
        found_under("app.log", &[name]);
    }
}

#[test]
fn a_copy_is_found_under_any_name_by_what_it_holds() {
    for name in ["kept.gz", "app-1.log.zst", "kept"] {
        let (stand, mut log) = interrupted("app.log");
        rotate_to(&stand, &mut log, name);
        if name == "kept" {
            // Moved to another file system and back.
            fs::copy(stand.log_path("kept"), stand.log_path("moved")).unwrap();
            fs::remove_file(stand.log_path("kept")).unwrap();
        }
        log.write(20);
        goes_on(stand, &log, name);
    }
}

#[test]
fn of_several_copies_the_one_that_is_read_on_is_named_with_the_reason() {
    for names in [["app.log.2", "app.log.1"], ["before", "later"]] {
        let (mut stand, mut log) = Following::to_stdout().start();
        log.write(30);
        stand.wait_delivered(&[&log]);
        stand.daemon().freeze();
        log.write(20);
        let [older, newer] = names.map(|name| stand.log_path(name));
        fs::copy(&log.path, &older).unwrap();
        let born = |path: &Path| fs::metadata(path).unwrap().created().unwrap();
        // The second copy is younger, and has more.
        log.write(10);
        until("a younger copy", || {
            fs::remove_file(&newer).ok();
            fs::copy(&log.path, &newer).unwrap();
            born(&newer) > born(&older)
        });
        fs::File::options().write(true).open(&log.path).unwrap().set_len(0).unwrap();
        log.write(5);
        stand.daemon().signal(Signal::SIGCONT);
        stand.wait_delivered(&[&log]);
        let why = "which contains the oldest and more";
        let said = format!("app.log: 2 copies match equally; using {}, {why}", newer.display());
        stand.daemon().wait_line(&said);
        stand.finish(&[&log]);
    }
}

#[test]
fn packed_files_are_known_by_what_they_begin_with_where_their_name_says_nothing() {
    let (stand, mut log) = interrupted("current");
    for name in ["@400000006921e3f41d8a2b3c.s", "@400000006921e3f51d8a2b3c.s"] {
        rotate_to(&stand, &mut log, &format!("{name}.gz"));
        fs::rename(stand.log_path(&format!("{name}.gz")), stand.log_path(name)).unwrap();
        log.write(20);
    }
    goes_on(stand, &log, "gzip without an end of its name");
}

#[test]
fn a_directory_of_svlogd_is_followed_by_its_current_file_across_a_stop() {
    needs_tool("svlogd", || {
        let mut stand = Tailing::to_stdout(Owner::Tailer);
        stand.configure("", &[("current", "")]);
        fs::write(stand.log_path("config"), "s2000\nn0\n").unwrap();
        let mut command = command("svlogd");
        command.arg(stand.logs()).stdin(Stdio::piped());
        if let Some(user) = privilege::ordinary_user() {
            // Its files are for nobody but itself.
            command.uid(user);
        }
        let mut svlogd = command.spawn().unwrap();
        let mut input = svlogd.stdin.take().unwrap();
        let mut line = |number: u32| {
            std::io::Write::write_all(&mut input, format!("{number:0100}\n").as_bytes()).unwrap();
        };
        let labels = |stand: &Tailing| {
            let names = fs::read_dir(stand.logs()).unwrap().map(|entry| entry.unwrap().file_name());
            names.filter(|name| name.to_string_lossy().starts_with('@')).count()
        };
        line(0);
        until("current", || fs::metadata(stand.log_path("current")).is_ok_and(|current| current.len() > 0));
        stand.start();
        until("the first line", || stand.lines_delivered() == 1);
        stand.stop();
        (1..75).for_each(&mut line);
        until("three rotations", || labels(&stand) >= 3);
        stand.start();
        until("all lines", || stand.lines_delivered() >= 75);
        let said = stand.stop();
        drop(input);
        svlogd.wait().unwrap();
        let expected: Vec<u8> = (0..75).flat_map(|number| format!("{number:0100}\n").into_bytes()).collect();
        assert!(stand.delivered() == expected, "{said}");
        assert!(!said.contains("lost"), "{said}");
    });
}

/// What is said of the file that stands at `path`.
fn wait_named(stand: &Tailing, path: &Path, why: &str) {
    let bytes = fs::metadata(path).unwrap().len();
    let sentence = format!("{} ({bytes} bytes) may hold lines that were not delivered: {why}", path.display());
    stand.daemon().wait_line(&sentence);
    assert_eq!(stand.daemon().lines_with("not delivered").len(), 1, "{}", stand.daemon().stderr());
    assert!(!stand.daemon().stderr().contains("lost"), "{}", stand.daemon().stderr());
}

#[test]
fn what_cannot_be_unpacked_is_named_with_its_size_and_never_called_gone() {
    for (packer, end, is_down) in [("xz", "xz", true), ("bzip2", "bz2", true), ("xz", "xz", false)] {
        needs_tool(packer, || {
            let (mut stand, mut log) = interrupted("app.log");
            if !is_down {
                stand.start();
                stand.wait_delivered(&[&log]);
                stand.daemon().freeze();
                log.write(20);
                rotate_to(&stand, &mut log, "app.log.2");
                log.write(20);
            }
            rotate_to(&stand, &mut log, &format!("app.log.1.{end}"));
            log.write(20);
            if is_down {
                stand.start();
            } else {
                stand.daemon().signal(Signal::SIGCONT);
            }
            let path: PathBuf = stand.log_path(&format!("app.log.1.{end}"));
            wait_named(&stand, &path, &format!("tailer does not unpack {packer} files"));
            // What came after it is read.
            let last = log.written().1 - 1;
            let line = standpipe_tests::world::line(1, last, standpipe_tests::world::length(1, last));
            until("the last line", || stand.delivered().ends_with(&line));
            stand.stop();
            stand.start();
            stand.stop();
            assert!(!stand.daemon().stderr().contains("not delivered"), "said again: {}", stand.daemon().stderr());
            assert_eq!(stand.tally(&[&log]).repeated, 0);
        });
    }
}

#[test]
fn what_was_delivered_and_is_packed_in_another_way_later_is_not_worth_a_word() {
    needs_tool("xz", || {
        let (mut stand, mut log) = interrupted("app.log");
        stand.start();
        for (count, is_down) in [(1, false), (2, true)] {
            rotate_to(&stand, &mut log, "app.log.1");
            log.write(20);
            stand.wait_delivered(&[&log]);
            let state = || fs::read_to_string(stand.work("state.json")).unwrap();
            until("that it is done with", || state().matches("changed_ns").count() >= count);
            if is_down {
                stand.stop();
            }
            pack("xz", &stand.log_path("app.log.1"));
            fs::rename(
                stand.log_path("app.log.1.xz"),
                stand.log_path(&format!("app.log.{}.xz", 3 - u8::from(is_down))),
            )
            .unwrap();
            if is_down {
                stand.start();
            }
        }
        log.write(20);
        stand.wait_delivered(&[&log]);
        let said = stand.stop();
        assert!(!said.contains("not delivered") && !said.contains("lost"), "{said}");
    });
}

#[test]
fn what_may_not_be_opened_is_named_and_read_once_it_may() {
    let (mut stand, mut log) = interrupted("app.log");
    rotate_to(&stand, &mut log, "app.log.2");
    log.write(20);
    rotate_to(&stand, &mut log, "app.log.1");
    log.write(20);
    set_mode(&stand.log_path("app.log.1"), 0);
    stand.start();
    let hidden = stand.log_path("app.log.1");
    wait_named(&stand, &hidden, "EACCES");
    set_mode(&hidden, 0o644);
    stand.wait_delivered(&[&log]);
    let said = stand.stop();
    let tally = stand.tally(&[&log]);
    assert_eq!((tally.lost, tally.repeated, tally.torn), (0, 0, 0), "{tally:?}\n{said}");
}

/// Lets the name `live` lead to the log, by a link of either kind.
fn link_to(stand: &Tailing, log: &Log, live: &str, is_hard: bool) {
    let fresh = stand.log_path("fresh");
    if is_hard {
        fs::hard_link(&log.path, &fresh).unwrap();
    } else {
        symlink(log.path.strip_prefix(stand.logs()).unwrap(), &fresh).unwrap();
    }
    fs::rename(fresh, stand.log_path(live)).unwrap();
}

#[test]
fn days_that_were_missed_behind_a_link_are_found_by_their_dates() {
    for (live, names, is_hard) in [
        (
            "current.log",
            ["app-2026-11-21.log", "app-2026-11-22.log", "app-2026-11-23.log", "app-2026-11-24.log"],
            false,
        ),
        (
            "current.log",
            ["app-2026-11-24.log", "app-2026-11-24.log.1", "app-2026-11-24.log.2", "app-2026-11-25.log"],
            false,
        ),
        ("a.log", ["2026/11/30/a.log", "2026/12/30/a.log", "2026/12/31/a.log", "2027/01/01/a.log"], false),
        ("access_log", ["log.2026-11-21", "log.2026-11-22", "log.2026-11-23", "log.2026-11-24"], false),
        ("current", ["error.1793120400", "error.1793206800", "error.1793293200", "error.1793379600"], true),
    ] {
        for is_down in [true, false] {
            let mut stand = Tailing::to_stdout(Owner::Tailer);
            stand.configure("", &[(live, "")]);
            for name in names {
                fs::create_dir_all(stand.log_path(name).parent().unwrap()).unwrap();
            }
            let mut log = stand.log(names[0], 1);
            link_to(&stand, &log, live, is_hard);
            stand.start();
            log.write(30);
            stand.wait_delivered(&[&log]);
            if is_down {
                stand.stop();
            } else {
                stand.daemon().freeze();
            }
            log.write(20);
            for name in &names[1..] {
                drop(log.reopen_elsewhere(&stand.log_path(name)));
                link_to(&stand, &log, live, is_hard);
                log.write(20);
            }
            if is_down {
                stand.start();
            } else {
                stand.daemon().signal(Signal::SIGCONT);
            }
            stand.wait_delivered(&[&log]);
            let said = stand.stop();
            let tally = stand.tally(&[&log]);
            assert!(tally.is_whole(), "{names:?}, {is_down}: {tally:?}\n{said}");
            assert!(!said.contains("lost") && !said.contains("not delivered"), "{names:?}: {said}");
        }
    }
}

#[test]
fn what_stands_in_a_directory_that_cannot_be_listed_is_not_called_gone() {
    for is_gone in [false, true] {
        let (mut stand, mut log) = interrupted("app.log");
        rotate_to(&stand, &mut log, "app.log.1");
        log.write(20);
        set_mode(&stand.logs(), 0o311);
        let sentence =
            format!("app.log: cannot list {}: EACCES; looking for files rotated there", stand.logs().display());
        for _ in 0..2 {
            // What came later is read, and a restart changes nothing.
            stand.start();
            stand.daemon().wait_line(&sentence);
            let last = log.written().1 - 1;
            let line = standpipe_tests::world::line(1, last, standpipe_tests::world::length(1, last));
            until("the last line", || stand.delivered().ends_with(&line));
            assert!(!stand.stop().contains("gone"), "{}", stand.daemon().stderr());
        }
        stand.start();
        stand.daemon().wait_line(&sentence);
        if is_gone {
            fs::remove_file(stand.log_path("app.log.1")).unwrap();
        }
        set_mode(&stand.logs(), 0o755);
        if is_gone {
            stand.daemon().wait_line("files rotated since the last run were removed");
        } else {
            stand.wait_delivered(&[&log]);
        }
        let said = stand.stop();
        let tally = stand.tally(&[&log]);
        let lost = if is_gone { 20 } else { 0 };
        assert_eq!((tally.lost, tally.repeated, tally.torn), (lost, 0, 0), "{tally:?}\n{said}");
    }
}
