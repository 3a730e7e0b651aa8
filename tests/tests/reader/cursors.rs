//! Cursors of receivers in a log directory, written here as the program that ships does: what limits, `reader status` and
//! the metrics make of them.

use std::fs;
use std::path::Path;

use serde_json::Value;
use standpipe_common::cursor::Cursor;
use standpipe_common::serial::Serial;
use standpipe_tests::deadline::until;
use standpipe_tests::directory::names;
use standpipe_tests::privilege::give;
use standpipe_tests::programs::{Daemon, Launch, Output, object, text};
use standpipe_tests::stands::Stand;

/// Name and serial of each part, as `reader list` has them.
pub fn listed(stand: &Stand) -> Vec<(String, Serial)> {
    let object = object(&Launch::new("reader").args(["list", "--json"]).arg(stand.scratch.logs()).run());
    let of = |part: &Value| {
        let log = part["log_id"].as_str().expect("an id").parse().expect("an id");
        let number = |key: &str| part[key].as_u64().expect("a number");
        let serial = Serial { log, number: number("number"), offset: number("offset") };
        (part["part"].as_str().expect("a name").to_owned(), serial)
    };
    object["pipes"][0]["parts"].as_array().expect("parts").iter().map(of).collect()
}

/// Puts the file of a cursor in place.
pub fn put_cursor(log_dir: &Path, receiver: &str, text: &str) {
    let path = log_dir.join(format!(".cursor-{receiver}"));
    fs::write(&path, text).expect("a log directory");
    give(&path);
}

/// A cursor in a part of the log, behind so many bytes of it.
pub fn cursor(part: &(String, Serial), offset: u64) -> Cursor {
    let mut cursor = Cursor::new(&part.0, part.1);
    cursor.pass(offset, 1);
    cursor
}

/// A log of `count` archives of six bytes each, and a reader of it.
fn archived(count: usize) -> (Stand, Daemon) {
    let (stand, reader) = Stand::started("");
    for number in 0..count {
        stand.seal(&reader, &format!("line{number}\n"));
    }
    stand.wait_archived(count);
    (stand, reader)
}

fn status(stand: &Stand, args: &[&str]) -> Output {
    Launch::new("reader").arg("status").arg(stand.scratch.logs()).args(args).run()
}

#[test]
fn what_a_receiver_has_not_had_goes_last_and_is_told() {
    let (stand, mut reader) = archived(5);
    let parts = listed(&stand);
    // All of the first two and some of the third; another receiver has had more.
    put_cursor(&stand.log_dir(), "otlp", &cursor(&parts[2], 3).text());
    put_cursor(&stand.log_dir(), "second", &cursor(&parts[3], 6).text());
    put_cursor(&stand.log_dir(), "broken", "standpipe-cursor 1\n");
    assert_eq!(reader.terminate(), 0);
    let hook = "hook = [\"false\"]\n";
    let removed = |keep_files: usize, count: usize| {
        let policy = format!("keep_files = {keep_files}\nkeep_size = \"off\"\nkeep_free = \"off\"\n{hook}");
        stand.scratch.write_policy("defaults.toml", &policy);
        let mut reader = stand.reader().start();
        until("enough is removed", || stand.archives().len() == keep_files);
        until("that is said", || reader.lines_with(": removed ").len() >= count);
        assert_eq!(reader.terminate(), 0);
        reader.lines_with(": removed ")
    };
    // The hook has not had the oldest, so that one goes after those.
    let todo = stand.log_dir().join(format!(".todo-{}.log.zst", parts[0].0));
    fs::write(&todo, "").expect("a log directory");
    give(&todo);
    let first = removed(4, 1);
    assert!(first.len() == 1 && first[0].ends_with(&format!("{}.log.zst (keep_files 4)", parts[1].0)), "{first:?}");
    let next = removed(3, 1);
    let (name, told) = (&parts[2].0, "before all of it was sent to otlp");
    assert!(next.len() == 1 && next[0].ends_with(&format!("{name}.log.zst (keep_files 3) {told}")), "{next:?}");
    let rest = removed(1, 2);
    assert!(rest.len() == 2 && rest[1].contains(&parts[4].0), "{rest:?}");
    assert!(rest[0].ends_with(told) && rest[1].contains("sent to ") && rest[1].contains("second"), "{rest:?}");
    assert!(names(&stand.log_dir()).contains(&format!("{}.log.zst", parts[0].0)));
}

#[test]
fn status_tells_how_far_each_receiver_is_behind_and_fails_beyond_a_bound() {
    let (stand, mut reader) = archived(2);
    stand.write_and_wait("line2\nopen");
    let parts = listed(&stand);
    let mut done = cursor(&parts[2], 6);
    done.count_sent(18);
    done.note_answer(1_000_000_000, "200 OK");
    put_cursor(&stand.log_dir(), "otlp", &done.text());
    let all = status(&stand, &["--behind", "1ms"]);
    let said = text(&all);
    assert!(
        all.code == 0 && said.contains("app: otlp has everything; its last answer, ") && said.contains(" ago: 200 OK"),
        "{said}"
    );
    // In an archive, at the end of one, and in one that is gone.
    for (at, offset, bytes) in [(0, 0, 18), (1, 3, 9), (1, 6, 6)] {
        put_cursor(&stand.log_dir(), "otlp", &cursor(&parts[at], offset).text());
        let near = status(&stand, &[]);
        assert!(near.code == 0 && text(&near).contains(&format!("app: otlp is {bytes} B and ")), "{}", text(&near));
        let far = status(&stand, &["--behind", "1ms", "--json"]);
        let told = object(&far);
        let receiver = &told["pipes"][0]["receivers"][0];
        assert_eq!((far.code, &receiver["behind_bytes"], &receiver["receiver"]), (1, &bytes.into(), &"otlp".into()));
        let seconds = receiver["behind_seconds"].as_f64().expect("a number");
        assert!(seconds > 0.001 && seconds < 600.0, "{seconds}");
        assert_eq!(told["findings"].as_array().map(Vec::len), Some(1), "{told:#}");
    }
    let gone = stand.log_dir().join(format!("{}.log.zst", parts[0].0));
    fs::remove_file(gone).expect("an archive");
    let mut lost = cursor(&parts[0], 6);
    lost.count_lost(7);
    put_cursor(&stand.log_dir(), "otlp", &lost.text());
    let seen = text(&status(&stand, &[]));
    assert!(
        seen.contains("app: otlp is 12 B and ") && seen.contains("; lost 7 B, removed before being sent"),
        "{seen}"
    );
    let other = Serial { log: "00112233445566778899aabbccddeeff".parse().expect("an id"), ..parts[1].1 };
    for (text_of, why) in [
        ("standpipe-cursor 1\n".to_owned(), "it is damaged"),
        (cursor(&(parts[1].0.clone(), other), 0).text(), "it belongs to another log, 00112233445566778899aabbccddeeff"),
    ] {
        put_cursor(&stand.log_dir(), "otlp", &text_of);
        let seen = status(&stand, &[]);
        let said = text(&seen);
        assert!(seen.code == 1 && said.contains("nobody knows how far otlp has got") && said.contains(why), "{said}");
    }
    assert_eq!(reader.terminate(), 0);
    // Without a reader it is seen as well.
    put_cursor(&stand.log_dir(), "otlp", &done.text());
    assert!(text(&status(&stand, &[])).contains("app: otlp has everything"));
}
