//! One log through rotations by rename.

use std::fs;
use std::io::Write;

use crate::follower::{BOTH, Follower, lines, same};
use standpipe_tailer::log::happening::Happening;
use standpipe_tailer::out::output::Standing;

#[test]
fn lines_are_given_as_they_come() {
    for leases in BOTH {
        let mut follower = Follower::new(leases);
        assert_eq!(follower.turn(), Standing::AtEnd);
        follower.append("app.log", "a\nb\n");
        assert_eq!(follower.turn(), Standing::AtEnd);
        assert_eq!(follower.take(), "a\nb\n");
        follower.append("app.log", "c");
        follower.poll();
        assert_eq!(follower.take(), "");
        follower.append("app.log", "d\n");
        follower.poll();
        assert_eq!(follower.take(), "cd\n");
    }
}

#[test]
fn a_rotation_changes_the_list_of_generations_twice() {
    // Once as the new file comes, and once as the old one is done with; growing files and idle looks change nothing.
    for leases in BOTH {
        let mut follower = Follower::new(leases);
        follower.append("app.log", "1\n");
        follower.turn();
        let before = follower.lists;
        for round in 1..=3 {
            follower.append("app.log", "2\n");
            follower.turn();
            assert_eq!(follower.lists, before + 2 * (round - 1), "it grew");
            follower.rename("app.log", &format!("app.log.{}", 9 - round));
            follower.append("app.log", "3\n");
            follower.settle();
            assert_eq!(follower.lists, before + 2 * round);
        }
    }
}

#[test]
fn twenty_rotations_with_and_without_looks_between_lose_nothing() {
    // F1, F2, F11: looks after each, after some, and after all.
    for leases in BOTH {
        for every in [1, 3, 7, 100] {
            let mut follower = Follower::new(leases);
            follower.append("app.log", "");
            follower.turn();
            for round in 0..20 {
                follower.append("app.log", lines(round * 200..round * 200 + 200));
                follower.rename("app.log", &format!("app.log.{}", 20 - round));
                follower.append("app.log", "");
                if round % every == every - 1 {
                    follower.turn();
                    follower.advance(100);
                }
            }
            follower.settle();
            same(&follower.text(), &lines(0..4000));
        }
    }
}

#[test]
fn a_numbered_shift_three_times_is_read_old_to_new() {
    // F3
    for leases in BOTH {
        let mut follower = Follower::new(leases);
        follower.append("app.log", lines(0..5));
        follower.turn();
        for round in 1..4 {
            follower.append("app.log", lines(round * 10..round * 10 + 5));
            for number in (1..3).rev() {
                let (from, to) = (format!("app.log.{number}"), format!("app.log.{}", number + 1));
                if follower.path(&from).exists() {
                    follower.rename(&from, &to);
                }
            }
            follower.rename("app.log", "app.log.1");
            follower.append("app.log", lines(round * 10 + 5..round * 10 + 10));
        }
        follower.settle();
        assert_eq!(follower.text(), lines(0..5) + &lines(10..40), "leases {leases}");
    }
}

#[test]
fn a_late_writer_is_read_to_its_end() {
    // T1, F4, F5, F6
    for leases in BOTH {
        for wait_ms in [50, 1_000, 10_000, 30_000] {
            let mut follower = Follower::new(leases);
            let mut old = follower.writer("app.log");
            old.write_all(lines(0..10).as_bytes()).unwrap();
            follower.turn();
            follower.rename("app.log", "app.log.1");
            follower.append("app.log", lines(50..60));
            follower.turn();
            for _ in 0..wait_ms / 50 {
                follower.advance(50);
                follower.poll();
            }
            old.write_all(lines(10..30).as_bytes()).unwrap();
            follower.poll();
            drop(old);
            follower.settle();
            let mut all: Vec<String> = follower.text().lines().map(String::from).collect();
            if leases && wait_ms < 10_000 {
                assert_eq!(follower.text(), lines(0..30) + &lines(50..60), "wait {wait_ms}");
            }
            all.sort();
            assert_eq!(all.join("\n") + "\n", lines(0..30) + &lines(50..60), "leases {leases} wait {wait_ms}");
        }
    }
}

#[test]
fn the_next_file_waits_for_a_writer_ten_seconds_and_no_longer() {
    let mut follower = Follower::new(true);
    let _old = follower.writer("app.log");
    follower.turn();
    follower.rename("app.log", "app.log.1");
    follower.append("app.log", "new\n");
    follower.turn();
    follower.advance(9_900);
    follower.poll();
    assert_eq!(follower.text(), "");
    assert!(follower.source.next_look(follower.now).unwrap() <= follower.now + std::time::Duration::from_millis(100));
    follower.advance(100);
    follower.poll();
    assert_eq!(follower.text(), "new\n");
    follower.append("app.log.1", "late\n");
    follower.poll();
    assert_eq!(follower.text(), "new\nlate\n");
    assert_eq!(follower.heard(|happening| *happening == Happening::Late { bytes: 5 }), 1);
}

#[test]
fn a_partial_last_line_is_never_glued_to_the_next_file() {
    // T9, F65, F67
    for leases in BOTH {
        let mut follower = Follower::new(leases);
        let mut old = follower.writer("app.log");
        old.write_all(b"one\npar").unwrap();
        follower.turn();
        follower.rename("app.log", "app.log.1");
        follower.append("app.log", "next\n");
        follower.turn();
        follower.advance(300);
        old.write_all(b"tial\nlast").unwrap();
        follower.turn();
        drop(old);
        follower.settle();
        let expected = ["one\npartial\nlast\nnext\n", "one\npartial\nnext\nlast\n"];
        assert!(expected[..if leases { 1 } else { 2 }].contains(&follower.text().as_str()), "{}", follower.text());
        assert_eq!(follower.heard(|happening| *happening == Happening::Unfinished { bytes: 4 }), 1);
    }
}

#[test]
fn an_unlinked_file_is_drained() {
    // T2, F8
    for leases in BOTH {
        let mut follower = Follower::new(leases);
        follower.append("app.log", lines(0..3));
        follower.turn();
        follower.append("app.log", lines(3..9));
        follower.remove("app.log");
        follower.append("app.log", lines(9..12));
        follower.settle();
        assert_eq!(follower.text(), lines(0..12));
        assert_eq!(follower.source.descriptors_open(), 1);
    }
}

#[test]
fn a_rotated_file_that_is_packed_at_once_is_read_from_its_descriptor() {
    // T2, T10
    for leases in BOTH {
        let mut follower = Follower::new(leases);
        follower.append("app.log", lines(0..3));
        follower.turn();
        follower.append("app.log", lines(3..9));
        follower.rename("app.log", "app.log.1");
        follower.append("app.log", lines(9..12));
        follower.turn();
        follower.pack("app.log.1");
        follower.settle();
        follower.rename("app.log.1.gz", "app.log.2.gz");
        follower.settle();
        assert_eq!(follower.text(), lines(0..12));
    }
}

#[test]
fn a_name_that_is_given_back_is_not_read_again() {
    // F10, F12
    for leases in BOTH {
        let mut follower = Follower::new(leases);
        follower.append("app.log", "1\n");
        follower.turn();
        follower.rename("app.log", "app.log.1");
        follower.append("app.log", "2\n");
        follower.settle();
        follower.rename("app.log", "app.log.2");
        follower.rename("app.log.1", "app.log");
        follower.turn();
        follower.append("app.log", "3\n");
        follower.settle();
        assert_eq!(follower.text(), "1\n2\n3\n", "leases {leases}");
        // mv k l; touch k; mv k l; echo X >> l
        follower.rename("app.log", "k");
        follower.rename("k", "app.log");
        follower.append("k", "");
        follower.rename("k", "app.log");
        follower.append("app.log", "X\n");
        follower.settle();
        assert_eq!(follower.text(), "1\n2\n3\nX\n");
    }
}

#[test]
fn a_name_that_is_missing_for_a_while_comes_back() {
    // F13, T8
    for leases in BOTH {
        let mut follower = Follower::new(leases);
        follower.append("app.log", "1\n");
        follower.turn();
        follower.append("app.log", "2\n");
        follower.rename("app.log", "app.log.1");
        for _ in 0..28 {
            follower.poll();
            follower.advance(100);
        }
        let is_error = |happening: &Happening| matches!(happening, Happening::OpenError { .. });
        assert_eq!(follower.heard(is_error), 0);
        follower.append("app.log", "3\n");
        follower.settle();
        assert_eq!(follower.text(), "1\n2\n3\n");
        assert_eq!(follower.heard(is_error), 0);
        follower.remove("app.log");
        follower.settle();
        assert_eq!(follower.heard(is_error), 1);
        assert!(follower.source.next_look(follower.now).is_some());
    }
}

#[test]
fn a_hard_link_swap_is_read_once() {
    // F14
    for leases in BOTH {
        let mut follower = Follower::new(leases);
        follower.append("app.log", "1\n");
        follower.turn();
        fs::hard_link(follower.path("app.log"), follower.path("app.log.1")).unwrap();
        follower.turn();
        follower.append("app.log", "2\n");
        follower.remove("app.log");
        follower.append("app.log", "3\n");
        follower.settle();
        assert_eq!(follower.text(), "1\n2\n3\n");
    }
}

#[test]
fn a_file_renamed_over_the_name_is_read_from_its_beginning() {
    // F15
    for leases in BOTH {
        let mut follower = Follower::new(leases);
        follower.append("app.log", "1\n2\n");
        follower.turn();
        follower.append("app.log", "3\n");
        fs::write(follower.path("tmp"), "1\n2\n3\n4\n").unwrap();
        follower.rename("tmp", "app.log");
        follower.settle();
        assert_eq!(follower.text(), "1\n2\n3\n1\n2\n3\n4\n");
    }
}

#[test]
fn another_directory_and_names_of_the_same_second_are_ordered_by_birth() {
    // F8, F9
    for leases in BOTH {
        let mut follower = Follower::new(leases);
        fs::create_dir(follower.path("old")).unwrap();
        follower.beside.also.push(follower.path("old"));
        follower.append("app.log", "1\n");
        follower.turn();
        for (round, name) in ["old/app.log-2026112102", "old/app.log-2026112102.1"].into_iter().enumerate() {
            follower.rename("app.log", name);
            std::thread::sleep(std::time::Duration::from_millis(12));
            follower.append("app.log", format!("{}\n", round + 2));
        }
        follower.settle();
        assert_eq!(follower.text(), "1\n2\n3\n");
    }
}

#[test]
fn links_are_resolved_anew_at_each_look() {
    // T8, F46, F47, F48
    for leases in BOTH {
        let mut follower = Follower::new(leases);
        let link = |follower: &Follower, target: &str| {
            std::os::unix::fs::symlink(target, follower.path("link.tmp")).unwrap();
            follower.rename("link.tmp", "app.log");
        };
        link(&follower, "missing");
        follower.turn();
        let mut expected = String::new();
        for round in 0..30 {
            let target = format!("target{round}");
            link(&follower, &target);
            follower.append(&target, lines(round * 100..round * 100 + 100));
            expected += &lines(round * 100..round * 100 + 100);
            follower.turn();
        }
        follower.settle();
        same(&follower.text(), &expected);
        let mut writer = follower.writer("target29");
        follower.rename("target29", "elsewhere");
        follower.turn();
        writer.write_all(b"more\n").unwrap();
        follower.turn();
        drop(writer);
        follower.append("target29", "again\n");
        follower.settle();
        same(&follower.text(), &(expected + "more\nagain\n"));
    }
}

#[test]
fn a_directory_that_is_removed_and_made_again_is_followed() {
    // F45, F52
    for leases in BOTH {
        let mut follower = Follower::new(leases);
        fs::create_dir(follower.path("d")).unwrap();
        follower.log = follower.path("d/app.log");
        follower.beside.log = follower.log.clone();
        follower.source = standpipe_tailer::log::source::Source::new(
            standpipe_tailer::out::lines::SourceId(0),
            follower.log.clone(),
            std::sync::Arc::new(follower.settings.clone()),
        );
        follower.append("d/app.log", "1\n");
        follower.turn();
        follower.append("d/app.log", "2\n");
        fs::remove_dir_all(follower.path("d")).unwrap();
        follower.turn();
        fs::create_dir(follower.path("d")).unwrap();
        follower.append("d/app.log", "3\n");
        follower.settle();
        assert_eq!(follower.text(), "1\n2\n3\n");
    }
}

#[test]
fn a_rotated_file_that_grows_after_it_was_finished_is_read_on() {
    for leases in BOTH {
        let mut follower = Follower::new(leases);
        follower.append("app.log", "1\n");
        follower.turn();
        follower.rename("app.log", "app.log.1");
        follower.append("app.log", "2\n");
        follower.settle();
        follower.append("app.log.1", "late\n");
        follower.settle();
        assert_eq!(follower.text(), "1\n2\nlate\n");
    }
}

/// Nobody can write, but somebody just did.
fn last_words(file: &fs::File) -> standpipe_tailer::file::lease::Writers {
    use std::os::fd::AsRawFd;
    if file.metadata().unwrap().len() < 10 {
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        fs::OpenOptions::new().append(true).open(path).unwrap().write_all(b"last words\n").unwrap();
    }
    standpipe_tailer::file::lease::Writers::Nobody
}

#[test]
fn what_was_written_before_the_last_close_is_read() {
    let settings = standpipe_tailer::log::settings::Settings {
        start_at: standpipe_tailer::log::settings::StartAt::Beginning,
        writers: last_words,
        ..Default::default()
    };
    let mut follower = Follower::with(true, settings);
    follower.append("app.log", "1\n");
    follower.turn();
    follower.rename("app.log", "app.log.1");
    follower.append("app.log", "next\n");
    follower.settle();
    same(&follower.text(), "1\nlast words\nnext\n");
}
