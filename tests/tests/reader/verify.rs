//! `reader verify` finds what is wrong with stored logs, says it in order, and finds nothing else.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;
use standpipe_common::archive::format::{SeekTable, TableEntry};
use standpipe_common::archive::{Guess, Index, build::IndexBuilder};
use standpipe_tests::deadline::until;
use standpipe_tests::directory::{Scratch, set_mode};
use standpipe_tests::privilege::give;
use standpipe_tests::programs::{Launch, Output, object, query, text};
use standpipe_tests::stands::Stand;
use standpipe_tests::world::{TEN_NS, archive, lines, log_dir, marks, segment, stem};

const MIB: usize = 1 << 20;

/// A log of three sound archives, the middle one of three frames that ends inside a line, and a segment.
fn sound() -> (Scratch, PathBuf) {
    let scratch = Scratch::new();
    let app = log_dir(&scratch, "app");
    archive(&app, &stem(0), &lines(0, 100, 50), marks(&[(0, 0), (500, 1)]), false);
    let long = [lines(0, 25 * MIB / 1000, 100), b"open".to_vec()].concat();
    archive(&app, &stem(1), &long, marks(&[(0, 60), (100, 59), (2_000_000, 70)]), false);
    archive(&app, &stem(2), b" line\nnext\n", marks(&[(6, 120)]), true);
    segment(&app, &stem(3), b"a\nb", &marks(&[(0, 180)]));
    (scratch, app)
}

fn file(app: &Path, minute: u32) -> PathBuf {
    app.join(format!("{}.log.zst", stem(minute)))
}

/// Flips a bit of a file.
fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

/// Puts another index in the place of the one there is.
fn change_index(path: &Path, change: impl FnOnce(&mut Index)) {
    let mut bytes = fs::read(path).unwrap();
    let at = memchr::memmem::rfind(&bytes, b"standpip").unwrap();
    let len = u32::from_le_bytes(bytes[at - 4..at].try_into().unwrap()) as usize;
    let mut index = Index::decode(&bytes[at..at + len]).unwrap();
    change(&mut index);
    let encoded = index.encode();
    assert_eq!(encoded.len(), len, "an index of the same length");
    bytes[at..at + len].copy_from_slice(&encoded);
    fs::write(path, bytes).unwrap();
}

/// The findings, one a line, of which there must be some.
fn findings(scratch: &Scratch) -> Vec<String> {
    let output = query("verify", scratch).run();
    assert_eq!(output.code, 1, "{output:?}");
    text(&output).lines().map(str::to_owned).collect()
}

#[test]
fn sound_logs_have_no_findings() {
    let (scratch, app) = sound();
    segment(&app, &stem(0), &lines(0, 30, 50), &[]);
    let web = log_dir(&scratch, "web");
    archive(&web, &stem(5), b"no marks\n", Vec::new(), false);
    let Output { code, stdout, stderr } = query("verify", &scratch).run();
    assert_eq!((code, stdout.len()), (0, 0), "{stderr}");
    assert_eq!(stderr, "reader: verified 2 pipes, 5 parts, 2.5 MiB of log: no findings\n");
    let object = object(&query("verify", &scratch).arg("--json").run());
    assert_eq!((&object["version"], &object["findings"]), (&json!(1), &json!([])));
    assert_eq!((&object["pipes"][0]["pipe"], &object["pipes"][0]["parts"]), (&json!("app"), &json!(4)));
    assert_eq!(object["pipes"][1]["raw_bytes"], 9);
}

#[test]
fn damage_is_found_in_order_and_ends_nothing() {
    let (scratch, app) = sound();
    let (first, second, third) = (file(&app, 0), file(&app, 1), file(&app, 2));
    // In the middle of the second of three frames.
    let frame = fs::metadata(&second).unwrap().len() as usize / 2;
    flip(&second, frame);
    let whole = fs::read(&first).unwrap();
    fs::write(&first, &whole[..whole.len() - 20]).unwrap();
    let index = memchr::memmem::rfind(&fs::read(&third).unwrap(), b"standpip").unwrap();
    flip(&third, index + 30);
    let expected = [
        format!("{}: incomplete: it has no seek table; 5000 bytes of the log can be read", first.display()),
        format!("cannot read frame 1 of {}: it is damaged (", second.display()),
        format!("{}: its index is damaged (its checksum is wrong)", third.display()),
    ];
    for _ in 0..5 {
        let found = findings(&scratch);
        assert_eq!(found.len(), 3, "{found:#?}");
        assert!(found.iter().zip(&expected).all(|(found, expected)| found.starts_with(expected)), "{found:#?}");
    }
    let output = query("verify", &scratch).arg("--json").run();
    assert_eq!((output.code, output.stderr.as_str()), (1, ""));
    let object = object(&output);
    let kinds: Vec<_> = object["findings"].as_array().unwrap().iter().map(|finding| &finding["kind"]).collect();
    assert_eq!(kinds, ["incomplete", "frame", "index"]);
    let frame = &object["findings"][1];
    assert_eq!((&frame["pipe"], &frame["offset"]), (&json!("app"), &json!(1_048_500)), "{frame}");
    assert_eq!(frame["file"], second.file_name().unwrap().to_str().unwrap());
}

#[test]
fn an_index_that_says_something_else_than_the_content_is_found() {
    type Change = fn(&mut Index);
    let cases: [(&str, Change); 5] = [
        ("contradicts frame 0: the index says 10486 lines, the frame has 10485", |index| {
            index.frames[0].lines += 1;
            index.frames[1].lines -= 1;
        }),
        ("contradicts frame 0: the index says the frame ends inside a line, but it ends at a line end", |index| {
            index.frames[0].ends_inside = true;
            index.frames[1].begins_inside = true;
        }),
        ("contradicts frame 1: it says the frame begins inside a line, but frame 0 ends at a line end", |index| {
            index.frames[1].begins_inside = true;
        }),
        ("contradicts frame 1: its two records of arrival times differ", |index| index.frames[1].highest_ns += 1),
        ("contradicts frame 0: its two records of arrival times differ", |index| index.frames[0].goes_back = false),
    ];
    for (expected, change) in cases {
        let (scratch, app) = sound();
        change_index(&file(&app, 1), change);
        let found = findings(&scratch);
        assert!(found[0].contains(expected) && found[0].starts_with(app.to_str().unwrap()), "{expected}: {found:#?}");
    }
}

#[test]
fn marks_that_a_sound_checksum_does_not_vouch_for_are_found() {
    let (scratch, app) = sound();
    change_index(&file(&app, 0), |index| {
        let mut marks = index.marks.to_vec();
        marks[1].offset = 6000;
        index.marks = marks.into();
    });
    let found = findings(&scratch);
    assert_eq!(found, [format!("{}: the marks in its index are damaged", file(&app, 0).display())]);
}

#[test]
fn a_part_that_is_missing_inside_a_line_is_a_gap() {
    let (scratch, app) = sound();
    fs::remove_file(file(&app, 1)).unwrap();
    let found = findings(&scratch);
    assert!(
        found.len() == 1 && found[0].contains(&format!("{}.log.zst: it begins inside a line", stem(2))),
        "{found:#?}"
    );
    let (scratch, app) = sound();
    fs::remove_file(file(&app, 2)).unwrap();
    archive(&app, &stem(2), b"fresh\n", marks(&[(0, 120)]), false);
    let found = findings(&scratch);
    assert!(found.len() == 1 && found[0].contains("ends inside a line that does not continue here"), "{found:#?}");
    // The oldest part goes first, which is no gap.
    let (scratch, app) = sound();
    fs::remove_file(file(&app, 0)).unwrap();
    fs::remove_file(file(&app, 1)).unwrap();
    assert_eq!(query("verify", &scratch).run().code, 0);
}

#[test]
fn parts_whose_names_are_not_in_the_order_of_their_arrival_are_found() {
    let scratch = Scratch::new();
    let app = log_dir(&scratch, "app");
    archive(&app, &stem(1), b"second\n", marks(&[(0, 60)]), false);
    archive(&app, &stem(2), b"first\n", marks(&[(0, 0)]), false);
    let found = findings(&scratch);
    assert!(
        found.len() == 1 && found[0].contains(&format!("{}.log.zst: its lines arrived before", stem(2))),
        "{found:#?}"
    );
}

#[test]
fn a_segment_beside_its_archive_may_have_less_but_nothing_else() {
    for (content, is_found) in [
        (lines(0, 100, 50), false),
        (lines(0, 3, 50), false),
        (lines(0, 101, 50), true),
        ([lines(0, 2, 50), b"edited\n".to_vec()].concat(), true),
    ] {
        let (scratch, app) = sound();
        let beside = segment(&app, &stem(0), &content, &[]);
        let output = query("verify", &scratch).run();
        assert_eq!(output.code, i32::from(is_found), "{output:?}");
        let expected = format!("{}: it has bytes that are missing from its archive, which is in use", beside.display());
        assert_eq!(text(&output).starts_with(&expected), is_found, "{output:?}");
    }
}

#[test]
fn a_broken_archive_beside_its_segment_is_found() {
    let (scratch, app) = sound();
    let whole = fs::read(file(&app, 0)).unwrap();
    for minute in [3, 4] {
        segment(&app, &stem(minute), b"a\nb\n", &marks(&[(0, 200)]));
        let broken = file(&app, minute);
        fs::write(&broken, &whole[..whole.len() - 1]).unwrap();
        give(&broken);
    }
    let found = findings(&scratch);
    assert_eq!(found.len(), 2, "{found:#?}");
    for (found, minute) in found.iter().zip([3, 4]) {
        let expected = "incomplete: it has no seek table; its segment is still there and is used instead";
        assert_eq!(*found, format!("{}: {expected}", file(&app, minute).display()));
    }
}

/// An archive of frames that this makes of each piece.
fn by_hand(path: &Path, pieces: &[&[u8]], checksums: bool) {
    let mut compressor = zstd::bulk::Compressor::new(1).unwrap();
    compressor.include_checksum(checksums).unwrap();
    let (mut bytes, mut table, mut builder) = (Vec::new(), SeekTable::default(), IndexBuilder::new(false));
    let mut add = |frame: &[u8], raw: usize| {
        bytes.extend(frame);
        table.entries.push(TableEntry { compressed: frame.len() as u32, raw: raw as u32 });
    };
    for piece in pieces {
        add(&compressor.compress(piece).unwrap(), piece.len());
        builder.frame(piece);
    }
    let index = builder.finish(Vec::new(), Guess { birth_ns: TEN_NS, last_ns: TEN_NS }).encode();
    add(&[&[0x5C, 0x2A, 0x4D, 0x18][..], &(index.len() as u32).to_le_bytes(), &index].concat(), 0);
    bytes.extend(table.encode().unwrap());
    fs::write(path, bytes).unwrap();
    give(path);
}

#[test]
fn frames_without_checksum_are_found() {
    let scratch = Scratch::new();
    let app = log_dir(&scratch, "app");
    by_hand(&file(&app, 0), &[b"a\n", b"b\n"], true);
    assert_eq!(query("verify", &scratch).run().code, 0);
    by_hand(&file(&app, 0), &[b"a\n", b"b\n"], false);
    let found = findings(&scratch);
    assert!(found.len() == 1 && found[0].contains("2 frames without a checksum"), "{found:#?}");
}

#[test]
fn files_of_others_and_nonsense_are_findings_in_little_memory() {
    let scratch = Scratch::new();
    let app = log_dir(&scratch, "app");
    fs::write(file(&app, 0), zstd::encode_all(&b"foreign\n"[..], 1).unwrap()).unwrap();
    fs::write(file(&app, 1), b"nonsense").unwrap();
    fs::write(file(&app, 2), b"").unwrap();
    let zeros = [vec![0; 60 * MIB], vec![b'\n']].concat();
    by_hand(&file(&app, 3), &[&zeros, &zeros, &zeros, &zeros, &zeros, &zeros], true);
    by_hand(&file(&app, 4), &[&vec![0; 65 * MIB]], true);
    // A stream with a window of 128 MiB, and no seek table.
    let mut encoder = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(27).unwrap();
    std::io::copy(&mut &zeros[..], &mut encoder).unwrap();
    fs::write(file(&app, 5), encoder.finish().unwrap()).unwrap();
    for minute in 0..6 {
        give(&file(&app, minute));
    }
    // Two threads with a frame each, and nothing like all that the files say they are.
    let output = query("verify", &scratch).prelude("ulimit -v 400000").run();
    assert_eq!(output.code, 1, "{output:?}");
    let found: Vec<String> = text(&output).lines().map(str::to_owned).collect();
    let expected = [
        (0, "incomplete: it has no seek table; 8 bytes of the log can be read"),
        (1, "incomplete: it has no seek table; 0 bytes of the log can be read ("),
        (2, "incomplete: it has no seek table; 0 bytes of the log can be read"),
        (4, "too large"),
        (5, "incomplete: it has no seek table; 0 bytes of the log can be read ("),
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, (minute, expected)) in found.iter().zip(expected) {
        assert!(found.contains(&stem(minute)) && found.contains(expected), "{found}");
    }
}

#[test]
fn what_cannot_be_read_is_an_error_and_a_finding_counts_more() {
    let (scratch, app) = sound();
    set_mode(&file(&app, 0), 0o000);
    let output = query("verify", &scratch).run();
    assert_eq!((output.code, output.stdout.len()), (3, 0), "{output:?}");
    assert!(output.stderr.contains(".log.zst: Permission denied"), "{}", output.stderr);
    flip(&file(&app, 1), 1000);
    let output = query("verify", &scratch).arg("--json").run();
    assert_eq!(output.code, 1);
    let object = object(&output);
    assert!(object["errors"][0].as_str().unwrap().contains("Permission denied"), "{object:#}");
    assert_eq!(query("verify", &scratch).arg("nope").run().code, 2);
}

#[test]
fn a_reader_at_work_is_no_finding() {
    let (stand, _reader) = Stand::started("rotate_size = \"8KiB\"\n");
    let verified = || {
        let output = query("verify", &stand.scratch).run();
        assert_eq!((output.code, output.stdout.len()), (0, 0), "{output:?}");
    };
    for round in 0..8 {
        // Lines longer than parts, so that many end inside one.
        stand.write(&lines(round * 10, 10, 700 + round * 1000));
        verified();
    }
    until("parts are archived", || {
        verified();
        stand.archives().len() > 20
    });
}

#[test]
fn whoever_has_seen_enough_may_leave() {
    let (scratch, app) = sound();
    flip(&file(&app, 1), 1000);
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut daemon = query("verify", &scratch).start_into(full);
    assert_eq!(daemon.wait_exit(), 3, "{}", daemon.stderr());
    let (gone, output) = std::io::pipe().unwrap();
    drop(gone);
    let mut daemon = query("verify", &scratch).start_into(output);
    assert_eq!(daemon.wait_exit(), 1, "{}", daemon.stderr());
    assert!(!daemon.stderr().contains("error"), "{}", daemon.stderr());
}

#[test]
fn the_help_names_exit_codes_and_an_example() {
    let help = text(&Launch::new("reader").args(["verify", "--help"]).run());
    for expected in ["Exit codes: 0 no findings; 1 findings", "reader verify --json", "NAME|LOGDIR|LOGS"] {
        assert!(help.contains(expected), "{help}");
    }
    assert!(help.lines().all(|line| line.chars().count() <= 120), "{help}");
}
