//! `metrics_file`: what the file of a reader says, that it is whole at any time, and that nothing about it ever delays or
//! ends a reader.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use standpipe_tests::deadline::{until, within};
use standpipe_tests::privilege::{needs_seams, needs_tool};
use standpipe_tests::programs::{Daemon, Launch, reader_stdin};
use standpipe_tests::stands::{Clock, Stand};
use standpipe_tests::world::Metrics;

use crate::cursors::{cursor, listed, put_cursor};

/// 2026-11-21T10:00:00Z.
const START_S: u64 = 1_795_255_200;

/// A reader of the pipe `app` with a metrics file, whose clock the test moves.
struct Meter {
    stand: Stand,
    clock: Clock,
    now_s: u64,
}

impl Meter {
    fn new(policy: &str) -> Meter {
        let stand = Stand::new(&format!("metrics_file = \"../m/reader.prom\"\nrotate_age = \"off\"\n{policy}"));
        stand.scratch.make_dir("m");
        stand.faults("");
        let clock = Clock::new(&stand.scratch, &format!("{START_S}000000000"));
        Meter { stand, clock, now_s: START_S }
    }

    fn launch(&self) -> Launch {
        self.clock.steer(self.stand.steered_reader())
    }

    fn file(&self) -> PathBuf {
        self.stand.scratch.path().join("m/reader.prom")
    }

    fn read(&self) -> Metrics {
        Metrics::read(&self.file()).unwrap_or_else(|| panic!("no {}", self.file().display()))
    }

    fn pass_span(&mut self) {
        self.now_s += 15;
        self.clock.set(&format!("{}000000000", self.now_s));
    }

    /// The page after 15 s more.
    fn next(&mut self) -> Metrics {
        self.pass_span();
        let (now, mut page) = (self.now_s, None);
        until("the next page", || {
            page = Metrics::read(&self.file()).filter(|page| page.of("standpipe_reader_update_time_seconds*}") == now);
            page.is_some()
        });
        page.expect("it was there")
    }

    /// Pages, 15 s apart, until one is so.
    fn until(&mut self, what: &str, is: impl Fn(&Metrics) -> bool) -> Metrics {
        let mut page = self.next();
        until(what, || {
            is(&page) || {
                page = self.next();
                is(&page)
            }
        });
        page
    }
}

/// The number of `app` of this name.
fn of_app(page: &Metrics, name: &str) -> u64 {
    page.of(&format!("standpipe_reader_{name}{{*,pipe=\"app\"}}"))
}

/// The same of a number of seconds, in microseconds.
fn micros_of_app(page: &Metrics, name: &str) -> u64 {
    page.micros(&format!("standpipe_reader_{name}{{*,pipe=\"app\"}}"))
}

/// The same, with one more label.
fn of_app_by(page: &Metrics, name: &str, label: &str) -> u64 {
    page.of(&format!("standpipe_reader_{name}{{*,pipe=\"app\",{label}}}"))
}

#[test]
fn each_receiver_has_its_numbers_by_its_cursor() {
    needs_seams(|| {
        let mut meter = Meter::new("");
        let reader = meter.launch().start();
        meter.stand.write_and_wait("line 0\nline 1\n");
        let of = |page: &Metrics, name: &str| of_app_by(page, &format!("receiver_{name}"), "receiver=\"otlp\"");
        let mut half = cursor(&listed(&meter.stand)[0], 7);
        half.count_sent(7);
        half.count_refused(2);
        half.count_lost(3);
        half.note_answer(1_000_000_000, "200 OK");
        put_cursor(&meter.stand.log_dir(), "otlp", &half.text());
        let page = meter.next();
        let told = ["behind_bytes", "sent_bytes_total", "refused_lines_total", "lost_bytes_total", "unusable"];
        assert_eq!(told.map(|name| of(&page, name)), [7, 7, 2, 3, 0]);
        assert_eq!(of(&page, "answer_time_seconds"), 1);
        assert!((15..=60).contains(&of(&page, "behind_seconds")), "{}", of(&page, "behind_seconds"));
        half.pass(14, 1);
        put_cursor(&meter.stand.log_dir(), "otlp", &half.text());
        let page = meter.next();
        assert_eq!(["behind_bytes", "behind_seconds"].map(|name| of(&page, name)), [0, 0]);
        put_cursor(&meter.stand.log_dir(), "otlp", "standpipe-cursor 1\n");
        let page = meter.next();
        assert_eq!(of(&page, "unusable"), 1);
        assert!(page.get("standpipe_reader_receiver_behind_bytes{*}").is_none());
        page.check();
        reader.stop();
    });
}

#[test]
fn every_byte_line_and_part_is_counted_and_the_numbers_outlive_a_stop() {
    needs_seams(|| {
        let mut meter = Meter::new("stamp = \"iso\"\nkeep_files = 1\n");
        let mut reader = meter.launch().start();
        let page = meter.next();
        assert_eq!(page.of("standpipe_reader_up{*}"), 1);
        let logs = meter.stand.scratch.logs().canonicalize().unwrap();
        assert_eq!(page.of(&format!("standpipe_reader_start_time_seconds{{logs=\"{}\"}}", logs.display())), START_S);
        assert_eq!(of_app(&page, "received_bytes_total"), 0);
        assert_eq!(of_app(&page, "pipe_capacity_bytes"), 1 << 20);
        assert!(page.get("standpipe_reader_last_arrival_time_seconds{*}").is_none(), "nothing came yet");
        let (free, size) =
            (page.of("standpipe_reader_disk_free_bytes{*}"), page.of("standpipe_reader_disk_size_bytes{*}"));
        assert!(0 < free && free <= size, "{free} {size}");

        for number in 0..3 {
            meter.stand.write_and_wait(&format!("line {number}\n"));
            meter.stand.ask_to_rotate();
            let done = number + 1;
            meter.until("it is archived", |page| of_app(page, "archived_parts_total") == done);
        }
        let page = meter
            .until("the oldest is removed", |page| of_app_by(page, "removed_parts_total", "limit=\"keep_files\"") == 2);
        assert_eq!((of_app(&page, "received_bytes_total"), of_app(&page, "received_lines_total")), (21, 3));
        assert_eq!((of_app(&page, "sealed_parts_total"), of_app(&page, "backlog_parts")), (3, 0));
        let stored = 3 * (standpipe_tests::world::STAMP_BYTES + 7);
        assert_eq!(
            (of_app(&page, "archived_lines_total"), of_app(&page, "archive_input_bytes_total")),
            (3, stored as u64)
        );
        assert!(of_app(&page, "archive_output_bytes_total") > 0 && micros_of_app(&page, "archive_seconds_total") > 0);
        assert_eq!(of_app_by(&page, "removed_parts_total", "limit=\"keep_free\""), 0);
        let arrival = of_app(&page, "last_arrival_time_seconds");
        assert!((START_S..meter.now_s).contains(&arrival), "{arrival}");

        let metadata = fs::metadata(meter.file()).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o7777, 0o644, "node_exporter is another user");
        assert_eq!(reader.terminate(), 0);
        let last = meter.read();
        assert_eq!(last.of("standpipe_reader_up{*}"), 0);
        assert_eq!(of_app(&last, "received_bytes_total"), 21);
        assert_ne!(fs::metadata(meter.file()).unwrap().ino(), metadata.ino());

        let reader = meter.launch().start();
        until("it counts anew", || of_app(&meter.read(), "received_bytes_total") == 0);
        assert_eq!(meter.read().of("standpipe_reader_up{*}"), 1);
        reader.stop();
        needs_tool("promtool", || last.check());
    });
}

#[test]
fn whatever_pipes_are_called_prometheus_takes_the_page() {
    needs_tool("promtool", || {
        let mut meter = Meter::new("");
        let fifo = meter.stand.fifo.clone();
        fs::remove_file(meter.stand.scratch.pipes().join("app")).unwrap();
        for name in [&b"a\"b\\c"[..], "größe".as_bytes(), b"caf\xe9", br"caf\xe9", b"a b{}=,"] {
            let target = meter.stand.scratch.path().join("run").join(OsStr::from_bytes(name));
            standpipe_tests::directory::make_fifo(&target, 0o600);
            symlink(&target, meter.stand.scratch.pipes().join(OsStr::from_bytes(name))).unwrap();
        }
        assert!(fifo.exists());
        let reader = meter.launch().start();
        let page = meter.next();
        page.check();
        for name in [r#"a\"b\\c"#, "größe", r"caf\\xe9", "a b{}=,"] {
            assert_eq!(page.of(&format!("standpipe_reader_received_bytes_total{{*,pipe=\"{name}\"}}")), 0);
        }
        reader.stop();
    });
}

#[test]
fn a_kill_at_any_step_leaves_a_whole_page_and_the_next_reader_replaces_it() {
    needs_seams(|| {
        let mut meter = Meter::new("");
        let mut reader = meter.launch().start();
        let before = meter.next();
        for point in ["metrics-write", "metrics-rename"] {
            meter.stand.faults(&format!("kill {point} {}\n", if point == "metrics-write" { 3 } else { 2 }));
            meter.pass_span();
            assert_eq!(reader.wait_exit(), 128 + 9, "{point}: {}", reader.stderr());
            let page = meter.read();
            assert_eq!(page.of("standpipe_reader_up{*}"), 1, "nobody took it back");
            meter.stand.faults("");
            reader = meter.launch().start();
            until("it is replaced", || meter.read() != page);
        }
        assert_ne!(meter.next(), before);
        let names: Vec<_> =
            fs::read_dir(meter.stand.scratch.path().join("m")).unwrap().flatten().map(|e| e.file_name()).collect();
        assert_eq!(names, ["reader.prom"]);
        reader.stop();
    });
}

#[test]
fn a_file_that_cannot_be_written_is_one_line_until_something_changes() {
    needs_seams(|| {
        let mut meter = Meter::new("");
        let reader = meter.launch().start();
        meter.next();
        let wait = |meter: &mut Meter, text: &str| {
            until(text, || {
                meter.pass_span();
                !reader.lines_with(text).is_empty()
            });
        };
        for (errno, cause) in [("ENOSPC", "No space left on device"), ("EIO", "I/O error")] {
            meter.stand.faults(&format!("{errno} metrics-write 1 100000\n"));
            wait(&mut meter, &format!("reader.prom: {cause}"));
        }
        for number in 0..5 {
            meter.pass_span();
            meter.stand.write_and_wait(&format!("line {number}\n"));
        }
        meter.stand.faults("");
        wait(&mut meter, "reader.prom is written again");
        assert_eq!(of_app(&meter.next(), "received_bytes_total"), 35);
        let said = reader.lines_with("reader.prom");
        assert_eq!(said.len(), 3, "{said:?}");
        assert!(
            said[0].contains("error: cannot write metrics file /") && said[0].contains("; continuing without it"),
            "{said:?}"
        );
        reader.stop();
    });
}

#[test]
fn a_bad_path_is_said_at_the_start_and_the_pipe_is_drained_all_the_same() {
    let stand = Stand::new("");
    let at = |name: &str| stand.scratch.path().join(name);
    stand.scratch.make_dir("dir.prom");
    fs::write(at("others.prom"), "node_x 1\n").unwrap();
    standpipe_tests::privilege::give(&at("others.prom"));
    let mut log = Vec::new();
    for (name, cause) in [
        ("dir.prom", "it is a directory; continuing"),
        ("none/x.prom", "its directory does not exist; continuing"),
        ("clock/x.prom", "Not a directory; continuing"),
        ("others.prom", "not one of our files; move it elsewhere"),
    ] {
        fs::write(at("clock"), "").unwrap();
        let path = at(name);
        let policy = format!("keep_size = \"off\"\nkeep_free = \"off\"\nmetrics_file = \"{}\"\n", path.display());
        stand.scratch.write_policy("defaults.toml", &policy);
        let reader = stand.reader().start();
        let said = reader.wait_line(&format!("{}: {cause}", path.display()));
        assert!(said.starts_with("reader: error: cannot "), "{said}");
        log.extend(format!("{name}\n").bytes());
        stand.write(format!("{name}\n").as_bytes());
        stand.wait_stored(&log);
        assert_eq!(reader.lines_with(".prom").len(), 1, "{}", reader.stderr());
        reader.stop();
    }
    assert_eq!(fs::read_to_string(at("others.prom")).unwrap(), "node_x 1\n");

    stand.scratch.write_policy("defaults.toml", "metrics_file = \"/var/lib/metrics/\"\n");
    let output = stand.reader().arg("--check-config").run();
    let refusal =
        "line 1, column 16: `/var/lib/metrics/`: the name must end in .prom, because node_exporter reads only";
    assert!(output.code == 2 && output.stderr.contains(refusal), "{output:?}");
}

#[test]
fn a_file_system_that_hangs_delays_neither_lines_nor_the_end() {
    needs_seams(|| {
        let meter = Meter::new("");
        meter.stand.faults("delay metrics-write 60000\n");
        let mut reader = meter.launch().start();
        meter.stand.write_and_wait("line\n");
        let began = Instant::now();
        assert_eq!(reader.terminate(), 0);
        assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
        assert!(!meter.file().exists());
    });
}

#[test]
fn a_reader_that_hangs_lets_its_file_grow_old() {
    needs_seams(|| {
        let mut meter = Meter::new("");
        let mut reader = meter.clock.steer(meter.stand.traced_reader()).start();
        meter.next();
        let writes = meter.stand.passes("write");
        meter.stand.faults("delay write 600000\n");
        meter.stand.write(b"line\n");
        until("it hangs in a write", || meter.stand.passes("write") > writes);
        let before = meter.now_s;
        meter.pass_span();
        let is_new = || meter.read().of("standpipe_reader_update_time_seconds*}") != before;
        assert!(!within(Duration::from_millis(500), is_new), "{}", meter.read().0);
        reader.kill9();
    });
}

#[test]
fn a_pipe_that_waits_shows_as_unread_and_blocked_with_the_time_it_was() {
    needs_seams(|| {
        let mut meter = Meter::new("");
        let reader = meter.launch().start();
        meter.stand.write_and_wait("line\n");
        meter.stand.faults("ENOSPC write 1 100000\n");
        meter.stand.write(b"this one waits in the mailbox\n");
        reader.wait_line("not reading app until this is fixed");
        meter.stand.write(&vec![b'x'; 900 << 10]);
        let page = meter.until("it is blocked", |page| micros_of_app(page, "pipe_blocked_seconds_total") > 0);
        assert_eq!((of_app(&page, "pipe_blocked"), of_app(&page, "pipe_unread")), (1, 1));
        assert!(of_app(&page, "pipe_queued_bytes") > 700_000, "{}", page.0);
        assert_eq!(of_app_by(&page, "failures_total", "step=\"drain\""), 1, "one, however often it is retried");
        meter.stand.faults("");
        let page = meter.until("it is over", |page| of_app(page, "pipe_blocked") == 0);
        assert_eq!((of_app(&page, "pipe_unread"), of_app(&page, "pipe_queued_bytes")), (0, 0));
        let blocked = micros_of_app(&page, "pipe_blocked_seconds_total");
        assert_eq!(micros_of_app(&meter.next(), "pipe_blocked_seconds_total"), blocked, "it grows no more");
        reader.stop();
    });
}

#[test]
fn bytes_that_a_replaced_fifo_took_along_are_counted() {
    needs_seams(|| {
        let mut meter = Meter::new("");
        let reader = meter.launch().env("STANDPIPE_TEST_RETIRED_MS", "100").start();
        meter.stand.write_and_wait("line\n");
        meter.stand.faults("ENOSPC write 1 100000\n");
        meter.stand.write(b"this one waits in the mailbox\n");
        reader.wait_line("not reading app until this is fixed");
        meter.stand.write(b"lost\n");
        let fresh = meter.stand.scratch.fifo("fresh");
        fs::rename(fresh, &meter.stand.fifo).unwrap();
        let page =
            meter.until("they are lost", |page| of_app_by(page, "lost_bytes_total", "cause=\"replaced_fifo\"") > 0);
        assert_eq!(of_app_by(&page, "lost_bytes_total", "cause=\"replaced_fifo\""), 5);
        assert_eq!(page.of("standpipe_reader_lost_bytes_total{*,cause=\"removed_link\"}"), 0);
        reader.stop();
    });
}

#[test]
fn another_file_is_taken_up_at_the_next_start_and_that_is_said() {
    let meter = Meter::new("");
    let reader = meter.launch().start();
    until("the first page", || meter.file().exists());
    meter.stand.scratch.write_policy("defaults.toml", "metrics_file = \"../m/other.prom\"\n");
    reader.hang_up("metrics_file takes effect when reader restarts");
    reader.stop();
    assert_eq!(meter.read().of("standpipe_reader_up{*}"), 0);
    let reader = meter.launch().start();
    until("the other file", || meter.stand.scratch.path().join("m/other.prom").exists());
    reader.stop();
}

#[test]
fn standard_input_has_its_own_file() {
    let meter = Meter::new("");
    let (input, mut output) = std::io::pipe().unwrap();
    let (log_dir, file) = (meter.stand.scratch.path().join("logs/web"), meter.file());
    let launch = reader_stdin(&log_dir).arg("--metrics-file").arg(&file).stdin(input);
    let mut reader: Daemon = launch.start();
    until("its page", || Metrics::read(&file).is_some_and(|page| page.of("standpipe_reader_up{*}") == 1));
    std::io::Write::write_all(&mut output, b"one\ntwo\n").unwrap();
    drop(output);
    assert_eq!(reader.wait_exit(), 0, "{}", reader.stderr());
    let page = meter.read();
    assert_eq!(page.of("standpipe_reader_up{*}"), 0);
    assert_eq!(page.of("standpipe_reader_received_bytes_total{*/logs/web\",pipe=\"web\"}"), 8);
    assert_eq!(page.of("standpipe_reader_archived_parts_total{*,pipe=\"web\"}"), 1, "it waits for the last archive");
    assert_eq!(page.of("standpipe_reader_archived_lines_total{*,pipe=\"web\"}"), 2, "nobody counts them before that");
    let refused = reader_stdin(&log_dir).args(["--metrics-file", "/m"]).run();
    assert!(refused.code == 2 && refused.stderr.contains("`/m`: the name must end in .prom"), "{refused:?}");
}
