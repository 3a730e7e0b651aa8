//! `--batch` where not everything can be read at once, or at all.

use std::fmt::Write as _;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use standpipe_tests::directory::Scratch;
use standpipe_tests::privilege::needs_tool;
use standpipe_tests::programs::{Launch, Output, command};

/// What stands behind times in a line of a large file: more than the window holds takes few lines.
const LONG: usize = 4000;

/// A configuration for all logs in `app`.
fn config(scratch: &Scratch, order: &str) -> PathBuf {
    let config = scratch.path().join("tailer.toml");
    let glob = scratch.path().join("app/*.log");
    let (order, glob) = (format!("order = '{order}'"), glob.display());
    fs::write(
        &config,
        format!("state_file = 'state.json'\n{order}\n[[files]]\npath = '{glob}'\nstart_at = 'beginning'\n"),
    )
    .unwrap();
    config
}

/// The first `seconds` of a log: line after line one of every file's in turn.
fn log(file: u32, files: u32, seconds: u32) -> String {
    (0..seconds).fold(String::new(), |mut text, second| {
        let micros = u64::from(second) * 1_000_000 + u64::from(file) * 1_000_000 / u64::from(files);
        let (seconds, fraction) = (micros / 1_000_000, micros % 1_000_000);
        let (minute, second) = (seconds / 60, seconds % 60);
        writeln!(text, "2026-01-01T00:{minute:02}:{second:02}.{fraction:06}Z f{file} {}", "x".repeat(LONG)).unwrap();
        text
    })
}

fn batch(config: &PathBuf, prelude: &str) -> Output {
    let launch = Launch::new("tailer").prelude(prelude).arg("--config").arg(config);
    launch.args(["--batch", "--output", "raw"]).run()
}

#[test]
fn more_files_than_descriptors_are_all_read() {
    for order in ["read", "timestamp"] {
        let scratch = Scratch::new();
        scratch.make_dir("app");
        for file in 0..300 {
            let line = format!("2026-01-01T00:{:02}:{:02}Z line\n", file / 60, file % 60);
            fs::write(scratch.path().join(format!("app/{}.log", (file * 7) % 300)), line).unwrap();
        }
        let output = batch(&config(&scratch, order), "ulimit -n 64");
        let text = String::from_utf8(output.stdout).unwrap();
        let mut lines: Vec<&str> = text.lines().collect();
        let is_ordered = lines.is_sorted();
        lines.sort_unstable();
        lines.dedup();
        assert_eq!(lines.len(), 300, "{order}: {}", output.stderr);
        assert!(is_ordered || order == "read");
    }
}

#[test]
fn more_large_files_than_descriptors_are_put_in_order() {
    const FILES: u32 = 40;
    const SECONDS: u32 = 300;
    let scratch = Scratch::new();
    scratch.make_dir("app");
    for file in 0..FILES {
        fs::write(scratch.path().join(format!("app/{file}.log")), log(file, FILES, SECONDS)).unwrap();
    }
    let output = batch(&config(&scratch, "timestamp"), "ulimit -n 32");
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len() as u32, FILES * SECONDS, "{}", output.stderr);
    assert!(lines.is_sorted(), "{}", output.stderr);
    assert_eq!(output.code, 0, "{}", output.stderr);
}

#[test]
fn packed_files_that_cannot_all_be_open_at_once_cannot_be_put_in_order() {
    const FILES: u32 = 40;
    let scratch = Scratch::new();
    scratch.make_dir("app");
    let path = |file: u32| scratch.path().join(format!("app/{file}.log"));
    (0..FILES).for_each(|file| fs::write(path(file), log(file, FILES, 1)).unwrap());
    let config = config(&scratch, "timestamp");
    assert_eq!(batch(&config, "true").code, 0);
    for file in 0..FILES {
        let rotated = path(file).with_extension("log.1");
        fs::remove_file(path(file)).unwrap();
        fs::write(&rotated, log(file, FILES, 300)).unwrap();
        assert!(command("gzip").arg("-1").arg(&rotated).status().unwrap().success());
        fs::write(path(file), "").unwrap();
    }
    let output = batch(&config, "ulimit -n 32");
    assert!(output.stderr.contains("cannot read all files: "), "{}", output.stderr);
    assert_eq!(output.code, 3, "{}", output.stderr);
}

#[test]
fn a_file_that_cannot_be_read_is_said_and_the_others_are_whole() {
    needs_tool("strace", || {
        for order in ["read", "timestamp"] {
            let scratch = Scratch::new();
            scratch.make_dir("app");
            for file in 0..3 {
                fs::write(scratch.path().join(format!("app/{file}.log")), log(file, 3, 10)).unwrap();
            }
            fs::set_permissions(scratch.path().join("app/0.log"), Permissions::from_mode(0o000)).unwrap();
            let broken = scratch.path().join("app/1.log").into_os_string();
            let strace = ["strace", "-qq", "-o", "/dev/null", "-e", "inject=pread64:error=EIO", "-P"].map(Into::into);
            let launch = Launch::new("tailer").under(strace.into_iter().chain([broken]));
            let output = launch.arg("--config").arg(config(&scratch, order)).args(["--batch", "--output", "raw"]).run();
            let text = String::from_utf8(output.stdout).unwrap();
            assert_eq!(text.lines().filter(|line| line.contains(" f2 ")).count(), 10, "{order}: {}", output.stderr);
            assert_eq!(text.lines().count(), 10, "{order}: {}", output.stderr);
            for errno in ["0.log: EACCES", "1.log: EIO"] {
                assert_eq!(output.stderr.matches(errno).count(), 1, "{order}: {}", output.stderr);
            }
            assert!(!output.stderr.contains("retry"), "{order}: {}", output.stderr);
            assert_eq!(output.code, 3, "{order}: {}", output.stderr);
        }
    });
}

#[test]
fn lines_of_one_file_are_put_in_order_and_records_stay_whole() {
    let scratch = Scratch::new();
    let app = scratch.path().join("app.log");
    // Two processes, of which one wrote its lines behind those of the other, and a trace.
    let mut content = String::new();
    for process in 0..2 {
        for second in 0..50 {
            writeln!(content, "2026-01-01T00:00:{second:02}.{process}Z p{process} x\n\tat {process}.{second}").unwrap();
        }
    }
    fs::write(&app, &content).unwrap();
    let launch = || Launch::new("tailer").args(["--batch", "--order", "timestamp", "--output", "raw"]).arg(&app);
    let text = String::from_utf8(launch().run().stdout).unwrap();
    let records: Vec<&str> = content.split_inclusive('\n').collect();
    let mut expected: Vec<String> = records.chunks(2).map(<[&str]>::concat).collect();
    expected.sort();
    assert_eq!(text, expected.concat());
    // Read again from its state it brings nothing twice.
    scratch.make_dir("state");
    let with_state = || launch().arg("--state").arg(scratch.path().join("state/tailer.json")).run();
    assert_eq!(with_state().stdout, text.as_bytes());
    assert_eq!(with_state().stdout, b"");
}
