//! `metrics_file` of a tailer: what its file says of each source, and that nothing about it stops delivery.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use standpipe_tests::deadline::until;
use standpipe_tests::privilege::{needs_seams, needs_tool};
use standpipe_tests::programs::Launch;
use standpipe_tests::stands::Tailing;
use standpipe_tests::world::{Metrics, Owner};

const KEY: &str = "metrics_file = \"tailer.prom\"\n";
const START_S: u64 = 1_795_255_200;

/// A tailer with a metrics file, whose clock the test moves.
struct Meter {
    stand: Tailing,
    now_s: u64,
}

impl Meter {
    fn new() -> Meter {
        let meter = Meter { stand: Tailing::to_stdout(Owner::Tailer), now_s: START_S };
        meter.stand.configure(KEY, &[("app.log", "")]);
        meter.set_clock();
        meter
    }

    fn set_clock(&self) {
        let fresh = self.stand.work("clock.new");
        fs::write(&fresh, format!("{}000000000", self.now_s)).unwrap();
        fs::rename(fresh, self.stand.work("clock")).unwrap();
    }

    fn start(&mut self) {
        let launch = self.stand.launch().env("STANDPIPE_TEST_CLOCK", self.stand.work("clock"));
        self.stand.start_by(launch);
        self.until("the first page of this run", |page| page.of("standpipe_tailer_up{*}") == 1);
    }

    fn read(&self) -> Option<Metrics> {
        Metrics::read(&self.stand.work("tailer.prom"))
    }

    /// Pages, 15 s apart, until one is so.
    fn until(&mut self, what: &str, is: impl Fn(&Metrics) -> bool) -> Metrics {
        let mut found = None;
        until(what, || {
            self.now_s += 15;
            self.set_clock();
            let now = self.now_s;
            until("the next page", || {
                found = self.read().filter(|page| page.of("standpipe_tailer_update_time_seconds{*}") == now);
                found.is_some()
            });
            found.as_ref().is_some_and(&is)
        });
        found.expect("it was there")
    }
}

fn of_source(page: &Metrics, name: &str) -> u64 {
    page.of(&format!("standpipe_tailer_{name}{{*/app/app.log\"}}"))
}

#[test]
fn what_was_delivered_and_what_happened_is_counted_for_each_file() {
    needs_seams(|| {
        let mut meter = Meter::new();
        let mut log = meter.stand.log("app.log", 1);
        log.write(100);
        let bytes = fs::metadata(&log.path).unwrap().len();
        meter.start();
        meter.stand.wait_delivered(&[&log]);
        let page = meter.until("all is delivered", |page| of_source(page, "delivered_bytes_total") == bytes);
        assert_eq!((of_source(&page, "lag_bytes"), of_source(&page, "behind_seconds")), (0, 0));
        assert_eq!((of_source(&page, "failing"), of_source(&page, "unfinished_files")), (0, 1));
        assert_eq!(page.of("standpipe_tailer_sources{*}"), 1);
        let mode = fs::metadata(meter.stand.work("tailer.prom")).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode, 0o644, "node_exporter is another user");

        fs::File::options().write(true).open(&log.path).unwrap().set_len(0).unwrap();
        meter.until("the truncation", |page| of_source(page, "truncations_total") == 1);
        meter.stand.stop();
        let last = meter.read().unwrap();
        assert_eq!(last.of("standpipe_tailer_up{*}"), 0);
        assert_eq!(of_source(&last, "delivered_bytes_total"), bytes);
        needs_tool("promtool", || last.check());

        // The next run counts anew, and only what it delivers itself.
        log.write(10);
        meter.start();
        let more = fs::metadata(&log.path).unwrap().len();
        meter.until("the rest", |page| of_source(page, "delivered_bytes_total") == more);
        meter.stand.kill9();
        assert_eq!(meter.read().unwrap().of("standpipe_tailer_up{*}"), 1, "nobody took it back");
    });
}

#[test]
fn a_file_that_cannot_be_written_stops_nothing() {
    let mut stand = Tailing::to_stdout(Owner::Tailer);
    stand.configure(KEY, &[("app.log", "")]);
    fs::create_dir(stand.work("tailer.prom")).unwrap();
    let mut log = stand.log("app.log", 1);
    stand.start();
    log.write(100);
    stand.wait_delivered(&[&log]);
    stand.daemon().wait_line("/tailer/tailer.prom: it is a directory; continuing without it");
    stand.finish(&[&log]);
    assert_eq!(stand.daemon().lines_with("tailer.prom").len(), 1, "{}", stand.daemon().stderr());
}

#[test]
fn without_a_state_file_or_with_another_ending_it_is_refused() {
    let run = |words: &[&str]| Launch::new("tailer").args(words).run();
    for (words, refusal) in [
        (&["/a", "--metrics-file", "/m.prom"][..], "a metrics file needs a state file: add `--state FILE`"),
        (&["/a", "--state", "s", "--metrics-file", "/m.txt"], "`/m.txt`: the name must end in .prom"),
    ] {
        let output = run(words);
        assert!(output.code == 2 && output.stderr.contains(refusal), "{output:?}");
    }
}
