//! Log roots that cannot be used: too small, read-only, in use by another reader, not ours. The reader says so before
//! it opens a pipe.

use std::fs;
use std::os::unix::fs::chown;
use std::path::Path;

use standpipe_tests::directory::{Mounted, set_mode};
use standpipe_tests::privilege::needs_root;
use standpipe_tests::programs::{Launch, Output, reader_stdin};
use standpipe_tests::stands::Bench;
use standpipe_tests::world::{hold, is_held, put, queued};

/// One sentence, exit 3, and no pipe was opened.
fn assert_refused(bench: &Bench, output: &Output, place: &Path, cause: &str) {
    assert_eq!(output.code, 3, "{}", output.stderr);
    assert_eq!(output.stderr.lines().count(), 1, "{}", output.stderr);
    let sentence = &output.stderr;
    assert!(sentence.starts_with("reader: error: cannot "), "{sentence}");
    assert!(sentence.contains(&place.display().to_string()) && sentence.contains(cause), "{sentence}");
    assert!(!is_held(&bench.scratch.run("app")));
}

#[test]
fn a_log_root_too_small_for_a_mailbox_is_refused_with_the_bytes_needed() {
    needs_root(|| {
        for kib in [512, 1536] {
            let bench = Bench::new();
            bench.scratch.pipe("app");
            let _small = Mounted::tmpfs(&bench.scratch.logs(), &format!("size={kib}k,mode=755"));
            let output = bench.reader().run();
            assert_refused(&bench, &output, &bench.scratch.logs(), "a mailbox needs 1056768 bytes, but only ");
            assert!(output.stderr.contains(" are free"), "{}", output.stderr);
        }
    });
}

#[test]
fn a_read_only_log_root_is_refused() {
    needs_root(|| {
        let bench = Bench::new();
        bench.scratch.pipe("app");
        let fixed = Mounted::tmpfs(&bench.scratch.logs(), "mode=755");
        fixed.remount("ro");
        let output = bench.reader().run();
        assert_refused(&bench, &output, &bench.scratch.logs(), "Read-only file system");
    });
}

#[test]
fn a_log_root_without_permission_is_refused() {
    let bench = Bench::new();
    bench.scratch.pipe("app");
    set_mode(&bench.scratch.logs(), 0o500);
    assert_refused(&bench, &bench.reader().run(), &bench.scratch.logs(), "Permission denied");
}

#[test]
fn a_mailbox_without_permission_is_refused() {
    let bench = Bench::new();
    bench.scratch.pipe("app");
    bench.reader().start().stop();
    let mailbox = bench.root_files(".mailbox-").remove(0);
    set_mode(&mailbox, 0);
    assert_refused(&bench, &bench.reader().run(), &mailbox, "Permission denied");
    set_mode(&mailbox, 0o600);
    bench.reader().start().stop();
}

#[test]
fn a_reader_as_root_warns_and_refuses_directories_of_others() {
    needs_root(|| {
        let bench = Bench::new();
        bench.scratch.pipe("app");
        let output = bench.reader().as_tests().run();
        assert_refused(&bench, &output, &bench.scratch.logs(), "it belongs to user 65534, but reader runs as root");
        chown(bench.scratch.logs(), Some(0), Some(0)).expect("root may");
        set_mode(&bench.scratch.logs(), 0o777);
        let output = bench.reader().as_tests().run();
        assert_refused(&bench, &output, &bench.scratch.logs(), "its mode 0777 lets others write");
        set_mode(&bench.scratch.logs(), 0o755);
        let reader = bench.reader().as_tests().start();
        assert_eq!(reader.lines_with("warning: running as root").len(), 1, "{}", reader.stderr());
        reader.stop();
    });
}

#[test]
fn r10_a_second_reader_is_refused_and_reads_nothing() {
    let (bench, pipe) = Bench::new().holding("app");
    let reader = bench.reader().start();
    let others = bench.scratch.make_dir("others.d");
    let fifo = bench.scratch.fifo("other");
    std::os::unix::fs::symlink(&fifo, others.join("other")).expect("a link");
    let other = hold(&fifo);
    put(&other, b"not for the second\n");
    let second = Launch::new("reader").arg(&others).arg("--logs").arg(bench.scratch.logs()).run();
    assert_eq!(second.code, 3, "{}", second.stderr);
    let sentence =
        format!("reader: error: cannot use {}: another reader is using it\n", bench.scratch.logs().display());
    assert_eq!(second.stderr, sentence);
    assert_eq!(queued(&other), 19);
    put(&pipe, b"one\n");
    bench.wait_stored("app", b"one\n");
    reader.stop();
}

#[test]
fn a_daemon_and_a_reader_of_standard_input_never_share_a_log_directory() {
    let bench = Bench::new();
    let (app, web) = (hold(&bench.scratch.pipe("app")), hold(&bench.scratch.pipe("web")));
    let stdin_reader = |fifo: &fs::File| reader_stdin(bench.log("app")).stdin(fifo.try_clone().expect("a descriptor"));
    let input = hold(&bench.scratch.fifo("input"));
    let (app_log, root) = (bench.log("app"), bench.scratch.logs());
    let (app_log, root) = (app_log.display(), root.display());

    // The daemon is first.
    let daemon = bench.reader().start();
    put(&input, b"never taken\n");
    let refused = stdin_reader(&input).run();
    assert_eq!((refused.code, queued(&input)), (3, 12), "{}", refused.stderr);
    let cause = format!("it is inside {root}, the log root of a running reader: choose a directory outside {root}");
    let whole = format!("cannot use {app_log}: {cause}");
    assert!(refused.stderr.contains(&whole) && refused.stderr.lines().count() == 1, "{}", refused.stderr);
    put(&app, b"one\n");
    bench.wait_stored("app", b"one\n");
    daemon.stop();

    // The other is first.
    let service = stdin_reader(&input).start();
    bench.wait_stored("app", b"one\nnever taken\n");
    put(&app, b"two\n");
    put(&web, b"two\n");
    let daemon = bench.reader().start();
    let said = daemon.wait_line("not reading app until this is fixed");
    assert!(said.contains(&format!("cannot use {app_log}: another reader is using it")), "{said}");
    bench.wait_stored("web", b"two\n");
    assert_eq!(queued(&app), 4);
    service.stop();
    bench.wait_stored("app", b"one\nnever taken\ntwo\n");
    daemon.wait_line("app: recovered; reading again");
    daemon.stop();
}

#[test]
fn standard_input_that_is_no_pipe_is_refused_with_a_hint() {
    let bench = Bench::new();
    let path = bench.scratch.path().join("file");
    fs::write(&path, "text\n").expect("a file");
    for stdin in [path.as_path(), Path::new("/dev/null")] {
        let log = bench.log("app");
        let launch = reader_stdin(&log).stdin(fs::File::open(stdin).expect("a file"));
        let output = launch.run();
        assert_eq!(output.code, 2, "{}", output.stderr);
        let hint = format!("try: cat FILE | reader stdin {}", log.display());
        assert!(output.stderr.contains(&hint) && output.stderr.lines().count() == 1, "{}", output.stderr);
        assert!(!log.exists());
    }
    let output = Launch::new("reader").arg("stdin").run();
    assert_eq!(output.code, 2, "{}", output.stderr);
}
