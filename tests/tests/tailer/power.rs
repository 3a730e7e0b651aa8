//! The tailer after a power cut, which another boot without an orderly end stands for: what a pipe's reader may not have
//! had on disk is delivered again and said, and nothing else is.

use std::fs;
use std::os::unix::fs::FileExt;

use standpipe_tests::deadline::until;
use standpipe_tests::privilege::needs_seams;
use standpipe_tests::programs::Launch;
use standpipe_tests::stands::{Bench, Following, Tailing};
use standpipe_tests::world::{Log, hold, queued, rename_and_create, stream_of};

const SAID: &str = "may be repeated";

fn stand(general: &str) -> (Tailing, Log) {
    let (stand, log) = Following::into_pipe().general(general).prepare();
    (stand, log)
}

fn start(stand: &mut Tailing, boot: &str) {
    let launch = stand.launch().env("STANDPIPE_TEST_BOOT", boot);
    stand.start_by(launch);
}

/// Waits until the state to which a cut leads back says so much of a file.
fn wait_kept(stand: &Tailing, offset: u64) {
    let kept = || fs::read_to_string(stand.work("state.json.durable")).unwrap_or_default();
    until("it is kept", || kept().contains(&format!("\"offset\":{offset},")));
}

#[test]
fn after_a_power_cut_what_may_not_be_on_disk_is_delivered_again_and_said() {
    needs_seams(|| {
        let (mut stand, mut log) = stand("");
        start(&mut stand, "one");
        log.write(500);
        stand.wait_delivered(&[&log]);
        // A kill alone repeats nothing.
        stand.kill9();
        start(&mut stand, "one");
        log.write(500);
        stand.wait_delivered(&[&log]);
        let bytes = fs::metadata(stand.log_path("app.log")).expect("the log").len();
        until("the state is saved", || {
            fs::read_to_string(stand.work("state.json"))
                .is_ok_and(|text| text.contains(&format!("\"offset\":{bytes},")))
        });
        stand.kill9();
        start(&mut stand, "two");
        let said = stand.daemon().wait_line(SAID);
        assert!(said.contains(&format!("up to {bytes} bytes")), "{said}");
        until("all of it comes again", || stand.lines_delivered() == 2000);
        log.write(10);
        until("it goes on", || stand.lines_delivered() == 2010);
        let said = stand.stop();
        let tally = stand.tally(&[&log]);
        assert!(
            tally.lost == 0 && tally.repeated == 1000 && tally.torn == 0 && tally.foreign == 0,
            "{tally:?}\n{said}"
        );
    });
}

#[test]
fn what_is_on_disk_for_long_is_not_delivered_again() {
    needs_seams(|| {
        let (mut stand, mut log) = stand("durable_ms = 100\n");
        start(&mut stand, "one");
        log.write(300);
        stand.wait_delivered(&[&log]);
        wait_kept(&stand, fs::metadata(stand.log_path("app.log")).expect("the log").len());
        stand.kill9();
        start(&mut stand, "two");
        log.write(300);
        stand.wait_delivered(&[&log]);
        let said = stand.daemon().wait_line(SAID);
        assert!(said.contains("; lines from the last second before that may be repeated"), "{said}");
        stand.finish(&[&log]);
    });
}

#[test]
fn what_was_delivered_and_nobody_took_is_not_on_disk() {
    needs_seams(|| {
        let (mut stand, mut log) = stand("durable_ms = 0\n");
        start(&mut stand, "one");
        log.write(100);
        stand.wait_delivered(&[&log]);
        let taken = fs::metadata(stand.log_path("app.log")).expect("the log").len();
        wait_kept(&stand, taken);
        stand.set_draining(false);
        log.write(100);
        let bytes = fs::metadata(stand.log_path("app.log")).expect("the log").len();
        let state = || fs::read_to_string(stand.work("state.json")).unwrap_or_default();
        until("the rest is delivered", || state().contains(&format!("\"offset\":{bytes},")));
        stand.kill9();
        start(&mut stand, "two");
        let said = stand.daemon().wait_line(SAID);
        assert!(said.contains(&format!("up to {} bytes", bytes - taken)), "{said}");
        stand.set_draining(true);
        until("it comes again, too", || stand.lines_delivered() == 300);
        stand.stop();
    });
}

#[test]
fn a_machine_that_goes_down_in_order_repeats_nothing() {
    needs_seams(|| {
        let (mut stand, mut log) = stand("");
        for boot in ["one", "two", "three"] {
            start(&mut stand, boot);
            log.write(100);
            stand.wait_delivered(&[&log]);
            let said = stand.stop();
            assert!(!said.contains(SAID), "{said}");
        }
        // The tailer alone was started again, and then the power went.
        start(&mut stand, "three");
        log.write(100);
        stand.wait_delivered(&[&log]);
        stand.kill9();
        start(&mut stand, "four");
        stand.daemon().wait_line(SAID);
        until("some come again", || stand.lines_delivered() > 400);
        stand.stop();
        assert_eq!(stand.tally(&[&log]).lost, 0);
    });
}

#[test]
fn it_goes_back_across_a_rotation() {
    needs_seams(|| {
        let (mut stand, mut log) = stand("late_writer_max_ms = 500\n");
        start(&mut stand, "one");
        log.write(200);
        stand.wait_delivered(&[&log]);
        rename_and_create(&mut log);
        log.write(200);
        stand.wait_delivered(&[&log]);
        stand.kill9();
        start(&mut stand, "two");
        until("both files come again", || stand.lines_delivered() == 800);
        stand.stop();
        let tally = stand.tally(&[&log]);
        assert!(tally.lost == 0 && tally.repeated == 400 && tally.torn == 0, "{tally:?}");
    });
}

/// Holder, tailer and reader; the power takes the end of the log, of which the tailer's state is durable.
#[test]
fn nothing_is_missing_in_the_log_that_the_source_still_has() {
    needs_seams(|| {
        let bench = Bench::new();
        let pipe = hold(&bench.scratch.pipe("app"));
        let dir = bench.scratch.make_dir("tailer");
        let source = bench.scratch.make_dir("logs-of-app").join("app.log");
        let lines =
            |range: std::ops::Range<u32>| range.flat_map(|n| format!("line {n}\n").into_bytes()).collect::<Vec<u8>>();
        fs::write(&source, lines(0..1000)).expect("a log");
        let config = dir.join("tailer.toml");
        let toml = format!(
            "state_file = \"state.json\"\npipe = {:?}\n[[files]]\npath = {source:?}\nstart_at = \"beginning\"\n",
            bench.scratch.run("app")
        );
        fs::write(&config, toml).expect("a file of our own");
        let start = |boot: &str| {
            let reader = bench.reader().env("STANDPIPE_TEST_BOOT", boot).start();
            (reader, Launch::new("tailer").arg("--config").arg(&config).env("STANDPIPE_TEST_BOOT", boot).start())
        };
        let (mut reader, mut tailer) = start("one");
        bench.wait_stored("app", &lines(0..1000));
        until("the state is saved", || {
            fs::read_to_string(dir.join("state.json"))
                .is_ok_and(|text| text.contains(&format!("\"offset\":{},", lines(0..1000).len())))
        });
        reader.kill9();
        tailer.kill9();
        assert_eq!(queued(&pipe), 0);
        // Of the log a part is left, inside a line.
        let segment = standpipe_tests::directory::files_ending(&bench.log("app"), ".log").remove(0);
        let file = fs::File::options().write(true).open(&segment).expect("the segment");
        file.set_len(5003).expect("the segment");
        file.write_at(&[0; 100], 5003).expect("the segment");
        drop(file);
        let (reader, tailer) = start("two");
        tailer.wait_line(SAID);
        let expected = [&lines(0..1000)[..5003], &lines(0..1000)].concat();
        until("all is in the log again", || stream_of(&bench.log("app")).len() >= expected.len());
        assert!(stream_of(&bench.log("app")) == expected, "{}{}", reader.stderr(), tailer.stderr());
        drop((reader, tailer));
    });
}
