//! One log across restarts.

use std::fs;

use crate::follower::{BOTH, Follower, lines, same};
use standpipe_tailer::file::guard::{Guard, Head};
use standpipe_tailer::log::happening::Happening;
use standpipe_tailer::log::settings::{Settings, StartAt};

#[test]
fn rotations_that_happened_while_it_was_down_are_read_in_order() {
    // T6, F17, F18, F19
    for leases in BOTH {
        for rotations in 0..6 {
            for packs in [false, true] {
                let mut follower = Follower::new(leases);
                follower.append("app.log", lines(0..10));
                follower.turn();
                let state = follower.stop();
                follower.append("app.log", lines(10..20));
                for round in 0..rotations {
                    for number in (1..9).rev() {
                        for end in ["", ".gz"] {
                            let from = format!("app.log.{number}{end}");
                            if follower.path(&from).exists() {
                                follower.rename(&from, &format!("app.log.{}{end}", number + 1));
                            }
                        }
                    }
                    follower.rename("app.log", "app.log.1");
                    if packs && follower.path("app.log.2").exists() {
                        follower.pack("app.log.2");
                    }
                    std::thread::sleep(std::time::Duration::from_millis(6));
                    follower.append("app.log", lines(round * 10 + 20..round * 10 + 30));
                }
                follower.start(state);
                follower.settle();
                same(&follower.text(), &lines(0..rotations * 10 + 20));
                follower.restart();
                follower.append("app.log", "end\n");
                follower.settle();
                same(&follower.text(), &(lines(0..rotations * 10 + 20) + "end\n"));
            }
        }
    }
}

#[test]
fn what_was_read_to_its_end_is_not_read_again_when_it_is_packed() {
    // T10
    for leases in BOTH {
        let mut follower = Follower::new(leases);
        follower.append("app.log.3", "never ours\n");
        follower.settings.since_ns = i64::MAX;
        follower.source = standpipe_tailer::log::source::Source::new(
            standpipe_tailer::out::lines::SourceId(0),
            follower.log.clone(),
            std::sync::Arc::new(follower.settings.clone()),
        );
        follower.append("app.log", lines(0..10));
        follower.turn();
        follower.rename("app.log", "app.log.1");
        follower.append("app.log", lines(10..20));
        follower.settle();
        let state = follower.stop();
        follower.pack("app.log.1");
        follower.pack("app.log.3");
        follower.start(state);
        follower.settle();
        same(&follower.text(), &lines(0..20));
    }
}

#[test]
fn a_partly_read_file_is_read_on_when_it_was_packed_meanwhile_and_again_after_another_stop() {
    for leases in BOTH {
        let mut follower = Follower::new(leases);
        follower.append("app.log", lines(0..5000));
        follower.output.room = 40_000;
        follower.delivers = false;
        follower.turn();
        follower.deliver();
        let state = follower.stop();
        assert!(state.generations[0].offset > 0);
        follower.rename("app.log", "app.log.1");
        follower.append("app.log", lines(5000..5010));
        follower.pack("app.log.1");
        follower.start(state);
        follower.turn();
        follower.deliver();
        follower.restart();
        follower.delivers = true;
        follower.settle();
        same(&follower.text(), &lines(0..5010));
    }
}

#[test]
fn a_generation_beyond_retention_is_missed_loudly() {
    // F20
    let mut follower = Follower::new(true);
    follower.append("app.log", lines(0..10));
    follower.turn();
    let state = follower.stop();
    follower.remove("app.log");
    follower.append("app.log.1", lines(20..30));
    std::thread::sleep(std::time::Duration::from_millis(6));
    follower.append("app.log", lines(30..40));
    follower.start(state);
    follower.settle();
    same(&follower.text(), &(lines(0..10) + &lines(20..40)));
    assert_eq!(follower.heard(|happening| matches!(happening, Happening::GenerationMissing { .. })), 1);
}

#[test]
fn a_partial_line_is_completed_once_across_a_restart() {
    // F22
    let mut follower = Follower::new(true);
    follower.append("app.log", "one\npar");
    follower.turn();
    follower.restart();
    follower.turn();
    follower.append("app.log", "tial\n");
    follower.settle();
    same(&follower.text(), "one\npartial\n");
}

#[test]
fn a_truncation_while_it_was_down_is_recovered_from_the_copy() {
    // F23, F36
    for regrown in [5, 50] {
        for has_copy in [false, true] {
            let mut follower = Follower::new(true);
            follower.append("app.log", lines(0..10));
            follower.turn();
            let state = follower.stop();
            let mut from = 10;
            if has_copy {
                follower.append("app.log", lines(10..20));
                follower.copy("app.log", "app.log.1");
                from = 20;
            }
            follower.truncate("app.log", 0);
            follower.append("app.log", lines(from..from + regrown));
            follower.start(state);
            follower.turn();
            follower.restart();
            follower.settle();
            same(&follower.text(), &lines(0..from + regrown));
        }
    }
}

#[test]
fn a_restart_in_the_middle_of_a_copy_goes_on_in_it() {
    let mut follower = Follower::new(true);
    follower.append("app.log", lines(0..100));
    follower.turn();
    follower.append("app.log", lines(100..5000));
    follower.copy("app.log", "app.log.1");
    follower.truncate("app.log", 0);
    follower.append("app.log", lines(5000..5100));
    follower.output.room = 10_000;
    follower.delivers = false;
    for _ in 0..3 {
        follower.turn();
        follower.deliver();
        follower.restart();
    }
    follower.delivers = true;
    follower.settle();
    same(&follower.text(), &lines(0..5100));
}

#[test]
fn an_inode_number_that_was_reused_is_another_file() {
    // T7, F24: the same identity as far as the file system says, other content.
    let mut follower = Follower::new(true);
    follower.append("app.log", lines(0..10));
    follower.turn();
    let mut state = follower.stop();
    follower.remove("app.log");
    follower.append("app.log", lines(50..70));
    let identity = follower.identity("app.log");
    state.generations[0].origin.identity = identity;
    follower.start(state);
    follower.settle();
    same(&follower.text(), &(lines(0..10) + &lines(50..70)));
}

#[test]
fn another_device_number_is_the_same_file() {
    let mut follower = Follower::new(true);
    follower.append("app.log", lines(0..10));
    follower.turn();
    let mut state = follower.stop();
    state.generations[0].origin.identity.dev += 77;
    follower.append("app.log", lines(10..20));
    follower.start(state);
    follower.settle();
    same(&follower.text(), &lines(0..20));
}

#[test]
fn a_restored_copy_of_the_file_is_not_read_again() {
    // F21 across file systems
    let mut follower = Follower::new(true);
    follower.append("app.log", lines(0..10));
    follower.turn();
    let state = follower.stop();
    follower.append("app.log", lines(10..12));
    follower.copy("app.log", "tmp");
    follower.rename("tmp", "app.log");
    follower.start(state);
    follower.settle();
    follower.append("app.log", lines(12..20));
    follower.restart();
    follower.settle();
    same(&follower.text(), &lines(0..20));
}

#[test]
fn moved_files_of_all_sizes_are_not_read_again() {
    // F21
    for count in [1, 3, 1000] {
        let mut follower = Follower::new(true);
        follower.append("app.log", lines(0..count));
        follower.turn();
        let state = follower.stop();
        follower.rename("app.log", "app.log.1");
        follower.start(state);
        follower.settle();
        follower.append("app.log", "x\n");
        follower.settle();
        same(&follower.text(), &(lines(0..count) + "x\n"));
    }
}

#[test]
fn a_checkpoint_of_another_form_is_verified_by_its_last_line() {
    for fits in [false, true] {
        let mut follower = Follower::new(true);
        follower.append("app.log.1", "old\n");
        std::thread::sleep(std::time::Duration::from_millis(6));
        follower.append("app.log", lines(0..10));
        follower.turn();
        let mut state = follower.stop();
        follower.output.puts.clear();
        let line = if fits { lines(9..10) } else { lines(8..9) };
        state.generations[0].last_line_hash = Some(Guard::of_end(line.as_bytes()).hash);
        state.generations[0].guard = None;
        state.generations[0].head = Head::default();
        state.generations[0].origin.identity.born_ns = 0;
        state.done.clear();
        follower.append("app.log", lines(10..20));
        follower.start(state);
        follower.turn();
        let text = follower.take();
        let expected = if fits { lines(10..20) } else { lines(0..20) };
        assert!(text.ends_with(&expected), "fits {fits}: {text}");
        assert_eq!(text.len(), expected.len(), "{text}");
    }
}

#[test]
fn start_at_the_end_is_for_what_is_there_at_the_first_start() {
    // F28
    let settings = Settings { start_at: StartAt::End, since_ns: i64::MAX, ..Settings::default() };
    let mut follower = Follower::with(true, settings);
    follower.append("app.log.1", "older\n");
    follower.append("app.log", "old\nunfin");
    follower.turn();
    follower.append("app.log", "ished\nnew\n");
    follower.turn();
    same(&follower.text(), "unfinished\nnew\n");
    let state = follower.stop();
    follower.append("app.log", "while down\n");
    follower.start(state);
    follower.turn();
    follower.rename("app.log", "app.log.2");
    follower.append("app.log", "next\n");
    follower.settle();
    same(&follower.text(), "unfinished\nnew\nwhile down\nnext\n");
}

#[test]
fn a_file_that_appears_after_the_start_is_read_whole() {
    let settings = Settings { start_at: StartAt::End, ..Settings::default() };
    let mut follower = Follower::with(true, settings);
    follower.turn();
    follower.append("app.log", "first\n");
    follower.turn();
    same(&follower.text(), "first\n");
}

#[test]
fn a_kill_at_any_delivered_offset_repeats_and_loses_nothing() {
    // F26 as far as offsets go: positions inside of what was put, and inside of lines.
    let text = lines(0..300);
    for offset in (1..text.len() as u64).step_by(37) {
        let mut follower = Follower::new(true);
        follower.append("app.log", &text);
        follower.delivers = false;
        follower.turn();
        let generation = follower.output.puts[0].generation;
        follower.source.delivered(generation, offset);
        let state = follower.stop();
        assert_eq!(state.generations[0].offset, offset);
        follower.rename("app.log", "app.log.1");
        follower.append("app.log", "next\n");
        follower.take();
        follower.delivers = true;
        follower.start(state);
        follower.settle();
        same(&follower.text(), &(String::from(&text[offset as usize..]) + "next\n"));
    }
}

#[test]
fn the_state_of_a_source_that_never_looked_is_what_it_was_given() {
    let mut follower = Follower::new(true);
    follower.append("app.log", lines(0..10));
    follower.turn();
    let state = follower.restart();
    assert_eq!(follower.source.state(), state);
    fs::remove_file(&follower.log).unwrap();
    follower.turn();
    assert!(follower.source.state().generations.is_empty());
}

#[test]
fn a_guard_is_never_of_bytes_that_were_not_read() {
    let mut follower = Follower::new(true);
    follower.append("app.log", lines(0..100));
    follower.delivers = false;
    follower.turn();
    let generation = follower.output.puts[0].generation;
    follower.source.delivered(generation, 170);
    let guard = follower.stop().generations[0].guard;
    assert_eq!(guard, Some(Guard::of_end(&lines(0..100).as_bytes()[..170])));
    fs::write(&follower.log, lines(500..700)).unwrap();
    let saved = follower.stop().generations[0].clone();
    assert!(saved.guard.is_none() || saved.offset == 0, "{saved:?}");
}

#[test]
fn a_copy_of_a_file_that_is_done_with_is_not_read() {
    for leases in BOTH {
        let mut follower = Follower::new(leases);
        follower.append("app.log", lines(0..10));
        follower.turn();
        follower.rename("app.log", "app.log.1");
        follower.append("app.log", lines(10..20));
        follower.settle();
        follower.copy("app.log.1", "app.log.9");
        follower.settle();
        same(&follower.text(), &lines(0..20));
    }
}
