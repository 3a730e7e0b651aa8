//! `reader list` shows each part with its times, lines, sizes and state, and what they sum to.

use std::fs;

use serde_json::{Value, json};
use standpipe_tests::deadline::until;
use standpipe_tests::directory::{Scratch, set_mode};
use standpipe_tests::programs::{Launch, object, query, text};
use standpipe_tests::stands::Stand;
use standpipe_tests::world::{archive, lines, log_dir, marks, segment, stem};

/// A log with a part of each state, and one of a single segment without marks.
fn mixed() -> Scratch {
    let scratch = Scratch::new();
    let app = log_dir(&scratch, "app");
    archive(&app, &stem(0), &b"0123456\n".repeat(1000), marks(&[(0, 0), (80, 59)]), false);
    let cut = archive(&app, &stem(1), &lines(0, 100, 50), marks(&[(0, 60)]), false);
    let whole = fs::read(&cut).unwrap();
    fs::write(&cut, &whole[..whole.len() - 9]).unwrap();
    let bent = archive(&app, &stem(2), &lines(0, 100, 50), marks(&[(0, 120)]), false);
    let mut bytes = fs::read(&bent).unwrap();
    let table = bytes.len() - 9 - 8;
    bytes[table] ^= 1;
    fs::write(&bent, bytes).unwrap();
    segment(&app, &stem(3), b"a\nb\n", &marks(&[(0, 180), (2, 190)]));
    segment(&app, &stem(4), b"c\nopen", &marks(&[(0, 240)]));
    let web = log_dir(&scratch, "web");
    segment(&web, &stem(0), b"", &[]);
    scratch
}

#[test]
fn programs_get_every_part_and_the_sums() {
    let scratch = mixed();
    let output = query("list", &scratch).arg("--json").run();
    assert_eq!((output.code, output.stderr.as_str()), (0, ""));
    let object = object(&output);
    assert_eq!((&object["version"], &object["errors"]), (&json!(1), &json!([])));
    let [app, web] = &object["pipes"].as_array().unwrap()[..] else { panic!("{object:#}") };
    assert_eq!((&app["pipe"], &web["pipe"]), (&json!("app"), &json!("web")));
    assert_eq!(app["dir"], scratch.logs().join("app").to_str().unwrap());
    let column =
        |name: &str| app["parts"].as_array().unwrap().iter().map(|part| part[name].clone()).collect::<Vec<_>>();
    assert_eq!(column("state"), ["archived", "incomplete", "damaged", "sealed", "active"]);
    assert_eq!(column("part"), [0, 1, 2, 3, 4].map(stem));
    assert_eq!(column("file")[0], format!("{}.log.zst", stem(0)));
    assert_eq!(column("lines"), [json!(1000), Value::Null, Value::Null, json!(2), json!(1)]);
    assert_eq!(column("raw_bytes"), [json!(8000), Value::Null, Value::Null, json!(4), json!(6)]);
    assert_eq!(column("guessed"), [json!(false), json!(false), json!(false), json!(false), json!(false)]);
    let stored = column("stored_bytes");
    for (part, stored) in [0, 1, 2].map(|n| format!("{}.log.zst", stem(n))).iter().zip(&stored) {
        assert_eq!(*stored, fs::metadata(scratch.logs().join("app").join(part)).unwrap().len());
    }
    let first = &app["parts"][0];
    assert_eq!(
        first["first"],
        json!({ "time": "2026-11-21T10:00:00.000000000Z", "ns": standpipe_tests::world::TEN_NS })
    );
    assert_eq!(first["last"]["time"], "2026-11-21T10:00:59.000000000Z");
    let ratio = first["ratio"].as_f64().unwrap();
    assert!((ratio - 8000.0 / stored[0].as_f64().unwrap()).abs() < 0.01, "{ratio}");
    assert_eq!(app["parts"][1]["error"], "incomplete: it has no seek table");
    let total = &app["total"];
    assert_eq!((&total["parts"], &total["lines"], &total["raw_bytes"]), (&json!(5), &json!(1003), &json!(8010)));
    assert_eq!(total["last"]["time"], "2026-11-21T10:04:00.000000000Z");
    assert_eq!((&web["parts"][0]["first"], &web["parts"][0]["lines"]), (&Value::Null, &json!(0)));
    assert_eq!((&object["total"]["parts"], &object["total"]["lines"]), (&json!(6), &json!(1003)));
}

#[test]
fn people_get_a_table_in_their_zone() {
    let scratch = mixed();
    let local = text(&query("list", &scratch).env("TZ", "Europe/Berlin").run());
    let rows: Vec<Vec<&str>> = local.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["PIPE", "PART", "FIRST", "LAST", "LINES", "RAW", "STORED", "RATIO", "STATE"]);
    assert_eq!(rows[1][..5], ["app", &stem(0), "2026-11-21T11:00:00+01:00", "2026-11-21T11:00:59+01:00", "1000"]);
    assert_eq!(rows[1].last(), Some(&"archived"));
    assert_eq!(rows[2][..5], ["app", &stem(1), "-", "-", "-"]);
    assert_eq!((rows[6][..3].join(" ").as_str(), rows[6].last()), ("app 5 parts", Some(&"total")));
    assert_eq!(rows[7][..5], ["web", &stem(0), "-", "-", "0"]);
    assert_eq!((rows[8][..4].join(" ").as_str(), rows[8].last()), ("2 pipes 6 parts", Some(&"total")));
    assert!(local.contains(&format!("{}.log.zst: incomplete: it has no seek table\n", stem(1))), "{local}");
    let utc = text(&query("list", &scratch).args(["--utc", "app"]).env("TZ", "Europe/Berlin").run());
    assert!(utc.contains("  2026-11-21T10:00:59+00:00  1000 "), "{utc}");
    assert!(utc.ends_with('\n') && !utc.contains("web") && !utc.contains("pipes"), "{utc}");
}

#[test]
fn times_that_are_guessed_say_so() {
    let scratch = Scratch::new();
    let app = log_dir(&scratch, "app");
    archive(&app, &stem(0), b"a\n", Vec::new(), false);
    segment(&app, &stem(1), b"b\n", &[]);
    let object = object(&query("list", &scratch).arg("--json").run());
    let parts = &object["pipes"][0]["parts"];
    assert_eq!((&parts[0]["guessed"], &parts[1]["guessed"]), (&json!(true), &json!(true)));
    let table = text(&query("list", &scratch).arg("--utc").run());
    assert!(table.contains(" ~2026-11-21T10:00:00+00:00  ~2026-11-21T10:00:01+00:00 "), "{table}");
}

#[test]
fn a_part_that_cannot_be_read_is_an_error_and_the_others_are_listed() {
    let scratch = Scratch::new();
    let app = log_dir(&scratch, "app");
    let closed = archive(&app, &stem(0), b"a\n", Vec::new(), false);
    segment(&app, &stem(1), b"b\n", &[]);
    set_mode(&closed, 0o000);
    let output = query("list", &scratch).arg("--json").run();
    assert!(output.code == 3 && output.stderr.contains(".log.zst: Permission denied"), "{output:?}");
    let object = object(&output);
    let parts = &object["pipes"][0]["parts"];
    assert_eq!((&parts[0]["state"], &parts[1]["lines"]), (&json!("unreadable"), &json!(1)));
    assert!(object["errors"][0].as_str().unwrap().contains("Permission denied"), "{object:#}");
}

#[test]
fn what_a_reader_stores_is_what_is_listed() {
    let (stand, _reader) = Stand::started("rotate_size = \"8KiB\"\n");
    let sent = lines(0, 1000, 100);
    stand.write(&sent);
    stand.wait_stored(&sent);
    let listed = || object(&Launch::new("reader").args(["list", "--json"]).arg(stand.scratch.logs()).run());
    // Parts are sealed and archived meanwhile; each look shows all of it once.
    until("only the active segment is plain", || {
        let object = listed();
        let total = &object["total"];
        assert_eq!((&total["lines"], &total["raw_bytes"]), (&json!(1000), &json!(sent.len())), "{object:#}");
        let parts = object["pipes"][0]["parts"].as_array().unwrap().clone();
        parts.iter().all(|part| part["state"] == "archived" || part["state"] == "active")
    });
    let refusal = stand.logs().args(["nope"]).run();
    let same = query("list", &stand.scratch).arg("nope").run();
    assert_eq!((same.code, &same.stderr), (2, &refusal.stderr));
}

#[test]
fn the_help_names_exit_codes_and_an_example() {
    let help = text(&Launch::new("reader").args(["list", "--help"]).run());
    for expected in ["Exit codes: 0", "reader list --json", "--utc"] {
        assert!(help.contains(expected), "{help}");
    }
    assert!(help.lines().all(|line| line.chars().count() <= 120), "{help}");
}
