//! A log in whose place somebody puts a longer copy, an older one, or what is left after trimming it: by another inode or
//! in the same one, read whole or not, while it is followed and while it is not.

use std::fs;

use crate::follower::{BOTH, Follower, lines, same};
use standpipe_tailer::log::happening::Happening;

/// How the new content gets to the name.
const WAYS: [&str; 5] = ["rename", "write", "remove", "editor", "backup"];

fn put(follower: &mut Follower, way: &str, text: &str) {
    match way {
        "rename" => {
            fs::write(follower.path("new"), text).unwrap();
            follower.rename("new", "app.log");
        }
        "write" => fs::write(&follower.log, text).unwrap(),
        "remove" => {
            follower.remove("app.log");
            follower.turn();
            fs::write(&follower.log, text).unwrap();
        }
        // As vim does it: the old one has another name until the new one is whole.
        "editor" => {
            follower.rename("app.log", "backup~");
            fs::write(&follower.log, "").unwrap();
            follower.turn();
            fs::write(&follower.log, &text[..text.len() / 2]).unwrap();
            follower.turn();
            fs::write(&follower.log, text).unwrap();
            follower.turn();
            follower.remove("backup~");
        }
        _ => {
            // A shell opens the file a while before the program that writes has begun.
            follower.truncate("app.log", 0);
            follower.turn();
            follower.turn();
            fs::write(&follower.log, text).unwrap();
        }
    }
}

fn told(follower: &Follower) -> usize {
    follower.heard(|it| matches!(it, Happening::Replaced { .. }))
}

#[test]
fn what_was_delivered_before_a_log_was_replaced_or_trimmed_is_not_delivered_again() {
    for (leases, way, long) in BOTH
        .into_iter()
        .flat_map(|leases| WAYS.into_iter().flat_map(move |way| [40, 3000].map(|long| (leases, way, long))))
    {
        let new = lines(9_000..9_010);
        let kept: Vec<(&str, String)> = vec![
            ("longer", lines(0..long)),
            ("the last lines", lines(long - 10..long)),
            ("without the first", lines(1..long)),
            ("without some", lines(0..5) + &lines(7..long)),
            ("without some at the end", lines(0..long - 9) + &lines(long - 5..long)),
        ];
        for (name, kept) in kept {
            // What somebody wrote in place cannot be compared with what stood there, if that was long.
            if (way == "write" || way == "backup") && long > 100 && name == "without some at the end" {
                continue;
            }
            let mut follower = Follower::new(leases);
            follower.append("app.log", lines(0..long));
            follower.turn();
            put(&mut follower, way, &(kept + &new));
            follower.settle();
            follower.append("app.log", lines(9_010..9_020));
            follower.settle();
            println!("{way} {name} {long} {leases}");
            same(&follower.text(), &(lines(0..long) + &lines(9_000..9_020)));
            // What is overwritten at once by the same and more did not change.
            let is_same = way == "write" && name == "longer";
            assert_eq!(told(&follower), usize::from(!is_same), "{:?}", follower.happenings);
        }
    }
}

#[test]
fn an_older_state_of_a_log_brings_nothing_new() {
    for (leases, way) in BOTH.into_iter().flat_map(|leases| ["rename", "remove", "write"].map(|way| (leases, way))) {
        let mut follower = Follower::new(leases);
        follower.append("app.log", lines(0..100));
        follower.turn();
        put(&mut follower, way, &lines(0..60));
        follower.settle();
        follower.append("app.log", lines(900..910));
        follower.settle();
        same(&follower.text(), &(lines(0..100) + &lines(900..910)));
    }
}

#[test]
fn what_was_not_read_of_the_file_before_comes_from_it_and_once() {
    let mut follower = Follower::new(true);
    let mut writer = follower.writer("app.log");
    follower.append("app.log", lines(0..50));
    follower.turn();
    follower.append("app.log", lines(50..60));
    fs::copy(&follower.log, follower.path("new")).unwrap();
    follower.append("app.log", lines(60..70));
    follower.append("new", lines(100..110));
    follower.rename("new", "app.log");
    follower.turn();
    std::io::Write::write_all(&mut writer, lines(70..75).as_bytes()).unwrap();
    drop(writer);
    follower.settle();
    same(&follower.text(), &(lines(0..75) + &lines(100..110)));
}

#[test]
fn the_next_generation_is_no_copy_whatever_it_holds() {
    for leases in BOTH {
        let mut follower = Follower::new(leases);
        let text = lines(0..100);
        for n in (1..6).rev() {
            follower.append("app.log", &text);
            follower.settle();
            follower.rename("app.log", &format!("app.log.{n}"));
        }
        follower.append("app.log", &text);
        follower.settle();
        same(&follower.text(), &text.repeat(6));
    }
}

#[test]
fn lines_that_are_always_the_same_are_not_taken_for_those_before() {
    for leases in BOTH {
        let mut follower = Follower::new(leases);
        let line = "GET /health 200\n";
        follower.append("app.log", line.repeat(100));
        follower.turn();
        fs::write(&follower.log, line.repeat(7)).unwrap();
        follower.settle();
        same(&follower.text(), &line.repeat(107));
        assert_eq!(follower.heard(|it| matches!(it, Happening::Unplaced { .. })), 1, "{:?}", follower.happenings);
    }
}

#[test]
fn what_happened_to_a_log_while_nobody_followed_is_seen_as_well() {
    for (leases, way) in BOTH.into_iter().flat_map(|leases| ["rename", "write"].map(|way| (leases, way))) {
        for kept in [lines(0..3000), lines(1000..3000), lines(0..5) + &lines(7..3000)] {
            let mut follower = Follower::new(leases);
            follower.append("app.log", lines(0..3000));
            follower.turn();
            let state = follower.stop();
            put(&mut follower, way, &(kept + &lines(9_000..9_010)));
            follower.start(state);
            follower.settle();
            println!("{way} {leases}");
            same(&follower.text(), &(lines(0..3000) + &lines(9_000..9_010)));
            assert_eq!(follower.heard(|it| matches!(it, Happening::GenerationMissing { .. })), 0);
        }
    }
}

/// Writes the log anew in its place, in pieces, with looks between; it had this much when it was first looked at.
fn rewrite(follower: &mut Follower, text: &str, first: usize) {
    follower.truncate("app.log", 0);
    follower.append("app.log", &text[..first]);
    follower.turn();
    let mut rest = &text[first..];
    while !rest.is_empty() {
        follower.advance(300);
        let (piece, after) = rest.split_at(rest.len().min(1 + text.len() / 4));
        follower.append("app.log", piece);
        follower.turn();
        rest = after;
    }
}

#[test]
fn a_log_that_is_written_anew_in_its_place_in_pieces_is_not_delivered_again() {
    for (leases, long, eighths) in BOTH
        .into_iter()
        .flat_map(|leases| [40, 3000].into_iter().flat_map(move |long| (1..8).map(move |n| (leases, long, n))))
    {
        for is_down in [false, true] {
            let mut follower = Follower::new(leases);
            let text = lines(0..long) + &lines(9_000..9_010);
            follower.append("app.log", lines(0..long));
            follower.turn();
            let first = lines(0..long).len() * eighths / 8;
            if is_down {
                let state = follower.stop();
                fs::write(&follower.log, &text[..first]).unwrap();
                follower.start(state);
                follower.turn();
                follower.advance(300);
                follower.append("app.log", &text[first..]);
            } else {
                rewrite(&mut follower, &text, first);
            }
            follower.settle();
            follower.append("app.log", lines(9_010..9_020));
            follower.settle();
            println!("{long} {eighths} {leases} {is_down}");
            same(&follower.text(), &(lines(0..long) + &lines(9_000..9_020)));
        }
    }
}

#[test]
fn a_log_that_begins_anew_with_the_same_lines_is_delivered() {
    for (leases, long, again) in BOTH
        .into_iter()
        .flat_map(|leases| [(40, 10), (3000, 100), (3000, 1000)].map(|(long, again)| (leases, long, again)))
    {
        let mut follower = Follower::new(leases);
        follower.append("app.log", lines(0..long));
        follower.turn();
        rewrite(&mut follower, &(lines(0..again) + &lines(9_000..9_010)), lines(0..again).len());
        follower.append("app.log", lines(9_010..20_000));
        follower.settle();
        println!("{long} {again} {leases}");
        same(&follower.text(), &(lines(0..long) + &lines(0..again) + &lines(9_000..20_000)));
    }
}
