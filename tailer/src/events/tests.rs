use super::*;

fn ino(ino: u64) -> Identity {
    Identity { dev: 3, ino, born_ns: 5 }
}

/// The name of most sources here.
fn app() -> String {
    "app.log".to_string()
}

fn all() -> Vec<Event> {
    let ms = Duration::from_millis;
    vec![
        Event::Watching { files: 3, interval: ms(250), inotify: false },
        Event::Watching { files: 1, interval: ms(1000), inotify: true },
        Event::Order { order: "timestamp", window: Some(ms(200)) },
        Event::Order { order: "read", window: None },
        Event::Source { name: app(), path: "/var/log/app.log".into(), identity: ino(4_198_401), offset: 17 },
        Event::Rotated { name: app(), old: ino(4_198_401), new: ino(4_201_130) },
        Event::Truncated { name: "a.log".to_string(), identity: ino(1), how: Truncation::SizeDecreased },
        Event::Truncated { name: "a.log".to_string(), identity: ino(1), how: Truncation::ContentChanged },
        Event::OpenError { path: "/tmp/missing.log".into(), errno: Errno::ENOENT },
        Event::Retry { path: "/tmp/missing.log".into(), after: Duration::from_secs(1), is_only: true },
        Event::Retry { path: "/tmp/missing.log".into(), after: Duration::from_secs(4), is_only: false },
        Event::CopyMatched { name: app(), path: "/l/app.log.1".into(), offset: 10, bytes: Some(1) },
        Event::Lost { name: app(), bytes: Some(12) },
        Event::Lost { name: app(), bytes: None },
        Event::GenerationsMissing { name: app(), bytes: None },
        Event::Unlisted { name: app(), dir: "/l".into(), errno: Errno::EACCES },
        Event::Hole { name: app(), bytes: 8192 },
        Event::Preallocated { name: app(), bytes: 16_777_216 },
        Event::Mount { name: app(), path: "/l/app.log".into() },
        Event::Unfinished { name: app(), bytes: 5 },
        Event::Recovered { path: "/l/x".into() },
        Event::Refused { path: "/l/x".into(), reason: "a FIFO is read by `reader`".to_string() },
        Event::Waiting { name: "a.log".to_owned(), more: 1 },
        Event::Leases { available: true },
        Event::Leases { available: false },
        Event::InotifyLimit { sysctl: "fs.inotify.max_user_watches" },
        Event::Overflow,
        Event::Backlog { name: app(), rate: "1M/s".parse().unwrap(), bytes: 5_000_000 },
        Event::BacklogOver { name: app(), after: ms(7900) },
        Event::Late { name: app(), count: 1 },
        Event::Ambiguous { name: app(), path: "/l/app.log.2".into(), files: 2, why: Why::Oldest },
        Event::Ambiguous { name: app(), path: "/l/app.log.1".into(), files: 3, why: Why::Longer },
        Event::Ambiguous { name: app(), path: "/l/app.log.2".into(), files: 2, why: Why::First },
        Event::Finished { name: app(), identity: ino(9) },
        Event::Debug { name: app(), identity: ino(9), read: 20, delivered: 10 },
        Event::Note("hello".to_string()),
        Event::Warning("careful".to_string()),
        Event::Error("no\x1b[2J".to_string()),
    ]
}

#[test]
fn sentences_do_not_change() {
    let text: Vec<_> = all().iter().map(Event::text).collect();
    let golden = "\
[tailer] watching 3 files with poll() interval=250ms
[tailer] watching 1 file with poll() interval=1000ms (inotify)
[tailer] order=timestamp window=200ms
[tailer] order=read
[tailer] /var/log/app.log inode=4198401
[tailer] app.log rotated (inode changed 4198401 -> 4201130), reopening
[tailer] a.log truncated (size decreased), reset offset
[tailer] a.log truncated (content changed), reset offset
[tailer] error opening /tmp/missing.log: ENOENT
[tailer] retry in 1s (backoff)
[tailer] retry in 4s (backoff): /tmp/missing.log
[tailer] app.log continues in its copy /l/app.log.1 at offset 10, 1 byte
[tailer] app.log lost 12 bytes, destroyed before being read
[tailer] app.log lost an unknown number of bytes, destroyed before being read
[tailer] app.log lost an unknown number of bytes: files rotated since the last run were removed
[tailer] app.log: cannot list /l: EACCES; looking for files rotated there until it can be listed
[tailer] app.log: skipped a hole of 8192 bytes
[tailer] app.log ends in 16777216 zero bytes: they are not delivered until something is written over or after them
[tailer] /l/app.log is a separate mount: rotation by renaming is not visible here; mount its directory instead
[tailer] app.log ended without a newline, added one to its last line of 5 bytes
[tailer] /l/x opened after all
[tailer] /l/x refused: a FIFO is read by `reader`
[tailer] a.log and 1 more file are waiting for file descriptors; raise the limit on open files: `ulimit -n`, LimitNOFILE=
[tailer] using file leases to detect when a rotated file has no writer
[tailer] file leases unavailable (need CAP_LEASE or file ownership); rotated files are closed after max_idle_ms of silence
[tailer] inotify limit reached, polling instead: raise fs.inotify.max_user_watches
[tailer] inotify queue overflowed, checking all files
[tailer] app.log is held back by its rate_limit (1MiB/s); 5000000 bytes still to be read
[tailer] app.log is no longer held back by its rate_limit, after 7s
[tailer] app.log: 1 line arrived too late and was written out of order
[tailer] app.log: 2 copies match equally; using /l/app.log.2, the oldest
[tailer] app.log: 3 copies match equally; using /l/app.log.1, which contains the oldest and more
[tailer] app.log: 2 copies match equally; using /l/app.log.2, the first listed, because none is older
[tailer] app.log inode=9 finished
[tailer] app.log dev=3 inode=9 read=20 delivered=10
[tailer] hello
[tailer] warning: careful
[tailer] error: no\\x1b[2J";
    assert_eq!(text.join("\n"), golden);
}

#[test]
fn objects_name_what_happened_to_what() {
    let objects: Vec<serde_json::Value> =
        all().iter().map(|event| serde_json::from_str(&event.json()).unwrap()).collect();
    assert!(objects.iter().all(|object| object["event"] != "unknown"), "{objects:?}");
    for (at, field, value) in [
        (4, "offset", "17"),
        (4, "source", r#""app.log""#),
        (4, "path", r#""/var/log/app.log""#),
        (5, "event", r#""rotated""#),
        (5, "old", r#"{"dev":3,"ino":4198401}"#),
        (5, "new", r#"{"dev":3,"ino":4201130}"#),
        (8, "errno", r#""ENOENT""#),
        (13, "bytes", "null"),
    ] {
        assert_eq!(objects[at][field].to_string(), value, "{}", objects[at]);
    }
    assert!(all()[12].json().starts_with(r#"{"event":"lost",""#), "{}", all()[12].json());
    assert_eq!(Event::Overflow.json(), r#"{"event":"overflow"}"#);
}

#[test]
fn no_event_moves_a_cursor() {
    let event = Event::Refused { path: "/l/\n\u{9b}x".into(), reason: "\x7f".to_string() };
    assert_eq!(event.text(), "[tailer] /l/\\n\\x9bx refused: \\x7f");
    assert!(!event.json().contains(char::is_control), "{}", event.json());
}
