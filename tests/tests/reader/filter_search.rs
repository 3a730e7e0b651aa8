//! Searching by filters: whatever is asked, the same lines are found as without them, and fewer frames are read.
//!
//! The patterns are made of the text itself, at random. Forty are tried, or as many as `STANDPIPE_TESTS_ROUNDS` says.

use std::env;
use std::fs;
use std::path::PathBuf;

use standpipe_common::archive::Mark;
use standpipe_tests::directory::Scratch;
use standpipe_tests::privilege::give;
use standpipe_tests::programs::{Launch, Output, query};
use standpipe_tests::world::{Random, TEN_NS, archive, log_dir, marks, stem};

use crate::filter;
use crate::logs_model::archive_of_frames;

/// Text that somebody wrote: prose, code and checksums.
const WRITTEN: [&str; 4] = [
    include_str!("../../../docs/archive-format.md"),
    include_str!("../../../docs/reading.md"),
    include_str!("../../../Cargo.lock"),
    include_str!("filter_search.rs"),
];
const NAMES: [&str; 6] = ["Müller", "Straße", "ΣΊΣΥΦΟΣ", "\u{212a}elvin", "日本語のログ", "\u{17f}ervice"];

fn rounds() -> usize {
    env::var("STANDPIPE_TESTS_ROUNDS").map_or(40, |rounds| rounds.parse().expect("STANDPIPE_TESTS_ROUNDS is a number"))
}

/// Lines as servers write them, none twice.
fn made(random: &mut Random, count: usize) -> Vec<u8> {
    let mut text = Vec::new();
    for number in 0..count {
        let mut hex = |digits: usize| -> String {
            (0..digits).filter_map(|_| char::from_digit(random.below(16) as u32, 16)).collect()
        };
        let (trace, span, id) = (hex(32), hex(8), format!("{}-{}-4{}-8{}-{}", hex(8), hex(4), hex(3), hex(3), hex(12)));
        let address = format!("10.{}.{}.{}", random.below(256), random.below(256), random.below(256));
        let line = match number % 5 {
            0 => format!("{address} - - \"GET /api/v1/orders/{} HTTP/1.1\" 200 {} {trace}", number * 37, number % 997),
            1 => format!("{{\"trace_id\":\"{trace}\",\"span\":\"{span}\",\"msg\":\"order {id} placed\"}}"),
            2 => format!("ERROR Connection reset by peer {address}:{} OutOfMemoryError", 1024 + number),
            3 => format!("user {} logged in from {address}", NAMES[random.below(NAMES.len())]),
            _ => format!("kernel: [{number}.{span}] {} a_b.c=d", ["segfault", "oom-killer"][random.below(2)]),
        };
        text.extend(line.into_bytes());
        if random.one_in(20) {
            text.extend([0xFF, 0xC3, b'z', b'z', 0x80]);
        }
        if random.one_in(50) {
            text.extend(b" and so on".repeat(300));
        }
        text.push(b'\n');
    }
    text
}

/// Two logs of archives with many frames, cut anywhere, and all lines in them.
fn logs(random: &mut Random) -> (Scratch, Vec<Vec<u8>>) {
    let scratch = Scratch::new();
    let mut all = Vec::new();
    for (name, text) in [("made", made(random, 1500)), ("written", WRITTEN.concat().into_bytes())] {
        let dir = log_dir(&scratch, name);
        let (mut left, mut begins_inside) = (&text[..], false);
        for number in 0.. {
            let (part, rest) = left.split_at((20_000 + random.below(60_000)).min(left.len()));
            let marks = vec![Mark { offset: 0, time_ns: TEN_NS + number * 1_000_000_000 }];
            let path = dir.join(format!("{}.log.zst", stem(number as u32)));
            fs::write(&path, archive_of_frames(random, part, 3000, begins_inside, marks)).unwrap();
            give(&path);
            begins_inside = part.last() != Some(&b'\n');
            left = rest;
            if left.is_empty() {
                break;
            }
        }
        all.extend(text.split(|byte| *byte == b'\n').map(<[u8]>::to_vec));
    }
    (scratch, all)
}

/// A piece of a line: characters if it can be.
fn piece(random: &mut Random, lines: &[Vec<u8>], most: usize) -> String {
    loop {
        let line = String::from_utf8_lossy(&lines[random.below(lines.len())]).replace('\u{fffd}', "");
        let characters: Vec<char> = line.chars().collect();
        if characters.is_empty() {
            continue;
        }
        let start = random.below(characters.len());
        let end = (start + 1 + random.below(most)).min(characters.len());
        let mut found: String = characters[start..end].iter().collect();
        // One in a few is nowhere.
        if random.one_in(4) {
            found.push(['x', '7', 'ß', ' '][random.below(4)]);
        }
        return found;
    }
}

fn escaped(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_punctuation() { format!("\\{c}") } else { c.to_string() }).collect()
}

fn swapped_case(text: &str) -> String {
    let swap = |c: char| if c.is_uppercase() { c.to_lowercase().next() } else { c.to_uppercase().next() };
    text.chars().map(|c| swap(c).unwrap_or(c)).collect()
}

/// The same with a class, a repetition, a group or a gap somewhere.
fn varied(random: &mut Random, text: &str) -> String {
    let characters: Vec<char> = text.chars().collect();
    let at = random.below(characters.len());
    let join = |characters: &[char]| escaped(&characters.iter().collect::<String>());
    let (before, here, behind) = (join(&characters[..at]), join(&characters[at..=at]), join(&characters[at + 1..]));
    let here = match random.below(12) {
        0 => format!("[{here}x]"),
        1 => "[0-9a-f]".to_owned(),
        2 => format!("({here}|yy)"),
        3 => format!("{here}?"),
        4 => format!("{here}+"),
        5 => format!("{here}*"),
        6 => format!("{here}{{1,3}}"),
        7 => ".".to_owned(),
        8 => r"\w".to_owned(),
        9 => format!(r"{here}\b"),
        10 => format!("(?i:{here})"),
        _ => format!("[^{here}]"),
    };
    let repeated = if random.one_in(6) { format!("({before})+") } else { before };
    format!("{repeated}{here}{behind}")
}

/// What is asked: the words behind `reader logs`.
fn question(random: &mut Random, lines: &[Vec<u8>]) -> Vec<String> {
    let mut words = Vec::new();
    let is_fixed = random.one_in(4);
    let pattern = |random: &mut Random| {
        let (text, other) = (piece(random, lines, 30), piece(random, lines, 20));
        match random.below(7) {
            _ if is_fixed => text,
            0 => escaped(&text),
            1 => format!("{}.*{}", escaped(&text), escaped(&other)),
            2 => format!("({}|{})", escaped(&text), escaped(&other)),
            3 => format!("^.*{}.*{}$", escaped(&text), escaped(&other)),
            4 => format!("(?i){}", escaped(&swapped_case(&text))),
            _ => varied(random, &text),
        }
    };
    for _ in 0..=random.below(2) {
        words.push(format!("--grep={}", pattern(random)));
    }
    if random.one_in(5) {
        words.push(format!("--and={}", pattern(random)));
    }
    if random.one_in(8) {
        words.push(format!("--exclude={}", pattern(random)));
    }
    let mut option = |often: usize, option: &str| {
        if random.one_in(often) {
            words.push(option.to_owned());
        }
    };
    option(4, "-i");
    option(6, "-w");
    option(10, "-v");
    option(10, "-C1");
    if is_fixed {
        words.push("-F".to_owned());
    }
    let how = ["", "", "-n3", "-m2", "--reverse", "--threads=1", "--until=2026-11-21T10:00:02Z"][random.below(7)];
    words.extend((!how.is_empty()).then(|| how.to_owned()));
    words.push(["made", "written", "*"][random.below(3)].to_owned());
    words
}

fn search(scratch: &Scratch, words: &[String], more: &str) -> Output {
    query("logs", scratch).args(words).arg(more).run()
}

/// What `-vv` says: frames that could be meant by time, and by filter.
fn frames(said: &str) -> (u64, u64) {
    let line = said.lines().find_map(|line| line.split_once("frames: ")).expect("a line about frames").1;
    let of = |what: &str| line.split(", ").find_map(|part| part.strip_suffix(what)).unwrap().parse::<u64>().unwrap();
    (of(" by time"), of(" by filter"))
}

#[test]
fn filters_change_nothing_but_how_much_is_read() {
    let mut random = Random(0xF117_E125);
    let (mut skipping, mut found) = (0, 0);
    let (mut scratch, mut lines) = logs(&mut random);
    for round in 1..=rounds() {
        if round % 200 == 0 {
            (scratch, lines) = logs(&mut random);
        }
        let words = question(&mut random, &lines);
        let (with, without) = (search(&scratch, &words, "-vv"), search(&scratch, &words, "--no-filter"));
        let context = format!("round {round}: {words:?} in {}", scratch.logs().display());
        assert_eq!(with.code, without.code, "{context}: {} {}", with.stderr, without.stderr);
        assert!(with.stdout == without.stdout, "{context}\n{}", String::from_utf8_lossy(&without.stdout));
        found += usize::from(with.code == 0);
        if with.code < 2 {
            let (by_time, by_filter) = frames(&with.stderr);
            skipping += usize::from(by_filter < by_time);
        }
    }
    assert!(skipping * 4 > rounds() && found * 4 > rounds(), "{skipping} skip frames, {found} find lines");
}

/// A log of one archive with three frames, in which each tenth line has an id.
fn ids() -> (Scratch, PathBuf) {
    let scratch = Scratch::new();
    let line = |number: u64| {
        let id = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let what = if number.is_multiple_of(10) { format!("{id:016x}") } else { format!("of user {number}") };
        format!("request {what:<16} {}\n", "done ".repeat(15))
    };
    let text: String = (1..=25_000).map(line).collect();
    let path = archive(&log_dir(&scratch, "app"), &stem(0), text.as_bytes(), marks(&[(0, 0)]), false);
    (scratch, path)
}

/// That of line 12,340.
const ID: &str = "8a17818bd2652444";

fn said(scratch: &Scratch, words: &[&str]) -> (i32, usize, String) {
    let words: Vec<String> = words.iter().map(ToString::to_string).collect();
    let output = search(scratch, &words, "-vv");
    let lines = memchr::memchr_iter(b'\n', &output.stdout).count();
    (output.code, lines, output.stderr.replace("reader: ", ""))
}

#[test]
fn only_frames_that_may_have_it_are_read() {
    let (scratch, _) = ids();
    let some = "frames: 3 total, 3 by time, 1 by filter, 1 decompressed\n".to_owned();
    let none = "frames: 3 total, 3 by time, 0 by filter, 0 decompressed\n".to_owned();
    let all = "frames: 3 total, 3 by time, 3 by filter, 3 decompressed\n".to_owned();
    let upper = ID.to_uppercase();
    for (words, code, lines, frames) in [
        (&["-g", ID][..], 0, 1, &some),
        (&["-Fg", ID, "-n2", "-r"], 0, 1, &some),
        (&["-ig", &upper, "-w"], 0, 1, &some),
        (&["-g", "done", "--and", &ID[2..], "--exclude", "nothing"], 0, 1, &some),
        (&["-c", "-g", "request 8a17818b[a-f0-9]26[0-9a-f]2444"], 0, 1, &some),
        (&["-g", "8a17818bd2652440"], 1, 0, &none),
        (&["-g", "done", "-m1"], 0, 1, &"frames: 1 total, 1 by time, 1 by filter, 1 decompressed\n".to_owned()),
        (&["-g", "8a17.*2444"], 0, 1, &all),
        (&["-g", ID, "-C1"], 0, 3, &all),
        (&["-g", ID, "-v", "-c"], 0, 1, &all),
        (&["-g", ID, "--no-filter"], 0, 1, &all),
    ] {
        assert_eq!(said(&scratch, words), (code, lines, frames.clone()), "{words:?}");
    }
}

#[test]
fn a_filter_that_cannot_be_used_costs_time_and_one_line() {
    let (scratch, path) = ids();
    let good = fs::read(&path).unwrap();
    let is_sound = |change: &dyn Fn(&mut [u8])| filter::change(&path, true, change);
    let all = "frames: 3 total, 3 by time, 3 by filter, 3 decompressed\nno usable search filter in 1 archive (1 ";
    let check = |what: &str, why: &str| {
        let expected = (0, 1, format!("{all}{why}); no frame skipped there\n"));
        assert_eq!(said(&scratch, &["-g", ID]), expected, "{what}");
        let quiet = Launch::new("reader").args(["logs", "-g", ID, "--logs"]).arg(scratch.logs()).run();
        assert_eq!((quiet.code, quiet.stderr.as_str()), (0, ""), "{what}");
        assert!(!said(&scratch, &["-g", "done"]).2.contains("no usable"), "{what}: it is not even read");
        fs::write(&path, &good).unwrap();
    };
    for at in [9, 13, 17, 40, 3000] {
        filter::change(&path, false, |body| body[at] ^= 0x41);
        check(&format!("byte {at} flipped"), "damaged");
    }
    is_sound(&|body| body[8] = 2);
    check("another version", "of a later version");
    is_sound(&|body| body[12..16].fill(0xFF));
    check("too many frames", "damaged");
    is_sound(&|body| body[16..20].fill(0xFF));
    check("an array that is too long", "damaged");
    is_sound(&|body| body[16] ^= 1);
    check("arrays that are not as long as all of them", "damaged");
    is_sound(&|body| body[0] ^= 1);
    check("of somebody else", "without one");
}
