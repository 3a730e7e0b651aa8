//! Each part has a number and an offset in its log, the same as a segment and as an archive, and never another's,
//! whatever is removed. Kills at every step are `faults_cut`'s.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use nix::sys::signal::Signal;
use serde_json::Value;
use standpipe_common::serial::Serial;
use standpipe_tests::deadline::until;
use standpipe_tests::directory::{KEEP_ALL, Scratch, names, set_mode};
use standpipe_tests::privilege::give;
use standpipe_tests::programs::{Output, object, query, text};
use standpipe_tests::stands::Stand;
use standpipe_tests::world::{
    archive, content, log_dir, numbered_archive, parts, segment, stem, stream_of, wait_empty,
};

const LOG: &str = "00112233445566778899aabbccddeeff";

/// Log id, number and offset of each part that has any bytes, by its name.
fn listed(scratch: &Scratch) -> BTreeMap<String, (String, u64, u64)> {
    let object = object(&query("list", scratch).arg("--json").run());
    let parts = object["pipes"][0]["parts"].as_array().expect("parts").clone();
    let told = |part: &Value| {
        let text = |key: &str| part[key].as_str().unwrap_or_else(|| panic!("no {key}: {part}")).to_owned();
        let number = |key: &str| part[key].as_u64().unwrap_or_else(|| panic!("no {key}: {part}"));
        (text("part"), (text("log_id"), number("number"), number("offset")))
    };
    parts.iter().filter(|part| part["raw_bytes"] != 0).map(told).collect()
}

/// A log whose parts stay plain, of three sealed ones and one that is written, six bytes each, at rest.
fn plain() -> Stand {
    let (stand, mut reader) = Stand::started("compress = \"none\"\n");
    for number in 0..3 {
        stand.seal(&reader, &format!("line{number}\n"));
    }
    stand.write_and_wait("line3\n");
    assert_eq!(reader.terminate(), 0);
    stand
}

fn compress(stand: &Stand, more: &str) {
    stand.scratch.write_policy("defaults.toml", &format!("{KEEP_ALL}{more}"));
}

/// Lets a reader archive all that is sealed, and another part, and stops it.
fn archive_all(stand: &Stand) {
    let mut reader = stand.reader().start();
    stand.seal(&reader, "line4\n");
    until("all is archived", || stand.segments().len() == 1);
    assert_eq!(reader.terminate(), 0);
}

/// Changes the lines of `.standpipe`.
fn change_state(log_dir: &Path, keep: impl Fn(&str) -> bool) {
    let path = log_dir.join(".standpipe");
    let text = fs::read_to_string(&path).expect("a state");
    let kept: Vec<&str> = text.lines().filter(|line| keep(line)).collect();
    fs::write(&path, kept.join("\n") + "\n").expect("a state");
}

#[test]
fn a_segment_tells_what_its_archive_will_say() {
    type Keep = fn(&str) -> bool;
    let cases: [(&str, Keep); 3] = [
        ("a state that says all", |_| true),
        ("one that lost the parts", |line| !line.starts_with("part ")),
        ("one that lost the oldest", |line| !line.starts_with("part 0 ") && !line.starts_with("part 1 ")),
    ];
    for (what, keep) in cases {
        let stand = plain();
        let before = listed(&stand.scratch);
        let told: Vec<_> = before.values().map(|(_, number, offset)| (*number, *offset)).collect();
        assert_eq!(told, [(0, 0), (1, 6), (2, 12), (3, 18)], "{what}");
        change_state(&stand.log_dir(), keep);
        assert_eq!(listed(&stand.scratch), before, "{what}");
        compress(&stand, "");
        archive_all(&stand);
        assert_eq!(stand.archives().len(), 4, "{what}");
        assert_eq!(listed(&stand.scratch), before, "{what}: the last part has gone on");
        let Output { code, stderr, .. } = query("verify", &stand.scratch).run();
        assert_eq!(code, 0, "{what}: {stderr}");
    }
}

#[test]
fn what_was_given_is_given_no_more_whatever_is_removed_by_hand() {
    type Remove = fn(&str) -> bool;
    let cases: [(&str, Remove, bool); 6] = [
        ("the newest archive", |name| name.ends_with(".2.log.zst"), true),
        ("all archives", |name| name.ends_with(".log.zst"), true),
        ("what is written", |name| [".log", ".times"].iter().any(|end| name.ends_with(end)), true),
        ("all but what begins with a dot", |name| !name.starts_with('.'), true),
        ("the state", |name| name == ".standpipe", true),
        ("the whole log", |_| true, false),
    ];
    for (what, remove, goes_on) in cases {
        let (stand, mut reader) = Stand::started("");
        for number in 0..3 {
            stand.seal(&reader, &format!("line{number}\n"));
        }
        stand.wait_archived(3);
        stand.write_and_wait("line3\n");
        assert_eq!(reader.terminate(), 0);
        let before = listed(&stand.scratch);
        assert_eq!(before.len(), 4, "{what}");
        let newest = parts(&stand.log_dir()).remove(2);
        for name in names(&stand.log_dir()) {
            let is_newest = stand.log_dir().join(&name) == newest;
            if remove(&name) || is_newest && remove("x.2.log.zst") {
                fs::remove_file(stand.log_dir().join(name)).expect("a file");
            }
        }
        let mut reader = stand.reader().start();
        stand.seal(&reader, "after\n");
        until("it is archived", || stand.segments().len() == 1);
        assert_eq!(reader.terminate(), 0);
        let after = listed(&stand.scratch);
        let (_, (log, number, offset)) = after.last_key_value().expect("a part");
        let (_, (old, ..)) = before.last_key_value().expect("a part");
        assert_eq!(log == old, goes_on, "{what}: {after:#?}");
        let is_resumed = before.keys().any(|part| Some(part) == after.keys().last());
        let expected = if !goes_on {
            (0, 0)
        } else if is_resumed {
            (3, 18)
        } else {
            (4, 18)
        };
        let removed_written = goes_on && !is_resumed;
        assert_eq!((*number, *offset), expected, "{what}: {after:#?}");
        assert_eq!(removed_written, ["what is written", "all but what begins with a dot"].contains(&what), "{what}");
    }
}

/// Fills many parts of that policy, two readers being killed at it, until nothing of them is left. What was sent.
fn fill_until_nothing_is_left(stand: &Stand) -> Vec<u8> {
    let mut sent: Vec<u8> = Vec::new();
    for round in 0..3 {
        let mut reader = stand.reader().start();
        for line in 0..40 {
            let line = format!("{round} {line} {}\n", "x".repeat(90));
            sent.extend(line.as_bytes());
            stand.write(line.as_bytes());
        }
        wait_empty(&stand.pipe);
        if round < 2 {
            reader.kill9();
            continue;
        }
        reader.signal(Signal::SIGALRM);
        until("nothing is left", || stream_of(&stand.log_dir()).is_empty());
        assert_eq!(reader.terminate(), 0);
    }
    sent
}

/// The serial of the segment that comes next.
fn next(stand: &Stand) -> (u64, u64) {
    let object = object(&query("list", &stand.scratch).arg("--json").run());
    let part = object["pipes"][0]["parts"].as_array().and_then(|parts| parts.last()).expect("a part").clone();
    (part["number"].as_u64().expect("a number"), part["offset"].as_u64().expect("an offset"))
}

#[test]
fn limits_that_remove_every_archive_leave_the_count_as_it_is() {
    let stand = Stand::new("keep_size = \"1\"\nkeep_free = \"off\"\nrotate_size = \"1K\"\n");
    let sent = fill_until_nothing_is_left(&stand);
    let (number, offset) = next(&stand);
    assert_eq!(offset, sent.len() as u64, "part {number}");
    assert!(number > 10 && number < 40, "{number}");
}

#[test]
fn a_hook_that_takes_archives_away_gets_every_number_once() {
    let stand = Stand::new("rotate_size = \"1K\"\nhook = [\"../hook\"]\n");
    let script = "#!/bin/sh\ncd ${0%/*}/out || exit 1\nhead -c $STANDPIPE_DATA_BYTES $STANDPIPE_ARCHIVE >new || exit 1\n\
        [ ! -e $STANDPIPE_NUMBER ] || cmp new $STANDPIPE_NUMBER || echo $STANDPIPE_NUMBER >>../twice\n\
        echo $STANDPIPE_LOG_ID >>../ids; mv new $STANDPIPE_NUMBER; rm $STANDPIPE_ARCHIVE\n";
    let hook = stand.scratch.path().join("hook");
    fs::write(&hook, script).expect("a file");
    set_mode(&hook, 0o755);
    let out = stand.scratch.make_dir("out");
    let sent = fill_until_nothing_is_left(&stand);
    assert!(!stand.scratch.path().join("twice").exists());
    let count = next(&stand).0;
    let handed: Vec<u8> = (0..count)
        .flat_map(|number| {
            let path = out.join(number.to_string());
            let bytes = fs::read(&path).unwrap_or_else(|_| panic!("no {number} in {:?}", names(&out)));
            // Data frames alone: a reader that stops at the first skippable frame sees all.
            let has = |magic: &[u8]| bytes.windows(4).any(|window| window == magic);
            assert!(!has(b"\x5c\x2a\x4d\x18") && !has(b"\x5e\x2a\x4d\x18"), "{number}");
            zstd::stream::decode_all(&bytes[..]).expect("a zstd file")
        })
        .collect();
    assert!(count > 10 && handed == sent, "{count} parts, {} of {} bytes", handed.len(), sent.len());
    let ids = fs::read_to_string(stand.scratch.path().join("ids")).expect("ids");
    assert!(ids.lines().all(|id| id.len() == 32 && ids.starts_with(id)), "{ids}");
}

#[test]
fn a_log_of_before_gets_an_id_and_counts_what_is_there() {
    let stand = Stand::new("");
    let app = log_dir(&stand.scratch, "app");
    archive(&app, &stem(0), b"old\n", Vec::new(), false);
    segment(&app, &stem(1), b"waits\n", &[]);
    fs::write(app.join(".standpipe"), "standpipe 1\n").expect("a state");
    give(&app.join(".standpipe"));
    let mut reader = stand.reader().start();
    stand.seal(&reader, "line4\n");
    until("all is archived", || stand.segments().len() == 1);
    assert_eq!(reader.terminate(), 0);
    let told = object(&query("list", &stand.scratch).arg("--json").run());
    let column = |name: &str| -> Vec<Value> {
        let parts = told["pipes"][0]["parts"].as_array().expect("parts");
        parts.iter().map(|part| part[name].clone()).collect()
    };
    assert_eq!(column("number")[1..3], [1, 2].map(Value::from), "{told:#}");
    assert_eq!(column("offset")[1..3], [4, 10].map(Value::from), "{told:#}");
    assert_eq!(query("verify", &stand.scratch).run().code, 0);
}

#[test]
fn verify_tells_which_parts_and_bytes_are_missing() {
    let scratch = Scratch::new();
    let app = log_dir(&scratch, "app");
    let log = LOG.parse().expect("an id");
    let paths: Vec<_> = (0..6_u32)
        .map(|n| {
            numbered_archive(&app, &stem(n), b"0123456\n", Serial { log, number: n.into(), offset: u64::from(n) * 8 })
        })
        .collect();
    let verify = || {
        let output = query("verify", &scratch).run();
        (output.code, text(&output))
    };
    assert_eq!(verify(), (0, String::new()));
    let saved = fs::read(&paths[3]).expect("an archive");
    for gone in [0, 3] {
        fs::remove_file(&paths[gone]).expect("an archive");
    }
    let of = |n: usize| paths[n].display().to_string();
    let one = format!("{}: part 3 of the log, bytes 24 to 31, is missing before it\n", of(4));
    assert_eq!(verify(), (1, one), "and the oldest may have expired");
    fs::remove_file(&paths[2]).expect("an archive");
    let two = format!("{}: parts 2 to 3 of the log, bytes 16 to 31, are missing before it\n", of(4));
    assert_eq!(verify(), (1, two));
    let found = object(&query("verify", &scratch).arg("--json").run());
    assert_eq!(found["findings"][0]["kind"], "gap");
    // Brought back, but for one, and an archive of another log among them.
    fs::write(&paths[3], &saved).expect("an archive");
    give(&paths[3]);
    let other = LOG.replace('0', "1").parse().expect("an id");
    numbered_archive(&app, &stem(10), b"other\n", Serial { log: other, number: 7, offset: 900 });
    let one = format!("{}: part 2 of the log, bytes 16 to 23, is missing before it\n", of(3));
    assert_eq!(verify(), (1, one));
    fs::write(app.join(format!("{}.log.zst", stem(11))), &saved).expect("an archive");
    give(&app.join(format!("{}.log.zst", stem(11))));
    let found = verify();
    assert!(found.1.contains("it is part 3 of the log, but follows part 5: a file was renamed or copied"), "{found:?}");
    assert_eq!(content(&paths[3]).expect("an archive"), b"0123456\n");
}
