//! A log root on a file system without flags of renames and without files without names, as FUSE, NFS and 9p are:
//! archives are made, mailboxes lie where they are to, the holder makes its staging pipe, and nothing is lost or
//! repeated across SIGKILL.

use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use standpipe_tests::deadline::until;
use standpipe_tests::directory::{KEEP_ALL, Mounted, files_ending, files_of};
use standpipe_tests::privilege::needs_fuse;
use standpipe_tests::programs::{Launch, holder};
use standpipe_tests::stands::Bench;
use standpipe_tests::world::{assert_same, hold, put, queued, stream_of, wait_empty};

/// Runs a test on a bench whose directory `name` is such a file system.
fn on_fuse(name: &str, test: impl FnOnce(&Bench)) {
    needs_fuse(|| {
        let bench = Bench::new();
        let real = bench.scratch.make_dir("real");
        let _fuse = Mounted::bindfs(&real, &bench.scratch.path().join(name));
        test(&bench);
    });
}

/// `false`: the reader was killed before or meanwhile.
fn rotate(logs: &Path) -> bool {
    Launch::new("reader").arg("rotate").arg("--logs").arg(logs).run().code == 0
}

fn archives(log: &Path) -> usize {
    files_ending(log, ".log.zst").len()
}

/// Kills readers while they read, rotate, archive and put mailboxes away, and compares the whole log.
fn killed_again_and_again(bench: &Bench, policies: &[&str]) {
    let pipe = hold(&bench.scratch.pipe("app"));
    let points = ["arrived", "rename", "link", "create", "remove", "sync", "symlink", "write"];
    let mut sent = Vec::new();
    for round in 0..24 {
        bench.scratch.write_policy("defaults.toml", &format!("{KEEP_ALL}{}", policies[round % policies.len()]));
        bench.faults(&format!("kill {} {}", points[round % points.len()], 1 + round / points.len()));
        let line = format!("line {round:05} {}\n", "x".repeat(round));
        put(&pipe, line.as_bytes());
        sent.extend(line.into_bytes());
        let mut reader = bench.steered_reader().start_unready();
        until("it is killed, or went past that", || !reader.is_running() || queued(&pipe) == 0);
        if reader.is_running() {
            rotate(&bench.scratch.logs());
            if reader.is_running() {
                reader.kill9();
            }
        }
        assert!(!reader.stderr().contains("error"), "{}", reader.stderr());
    }
    bench.faults("");
    let reader = bench.reader().start();
    wait_empty(&pipe);
    assert!(rotate(&bench.scratch.logs()), "{}", reader.stderr());
    let log = bench.log("app");
    until("all of it is archived", || stream_of(&log).len() >= sent.len() && files_ending(&log, ".log").len() == 1);
    assert_same(&stream_of(&log), &sent, "all lines");
    assert!(archives(&log) > 0 && bench.root_files(".salvaged-").is_empty());
    assert!(files_ending(&log, ".part").is_empty());
    reader.stop();
}

#[test]
fn archives_are_made_and_nothing_is_lost_across_kills() {
    on_fuse("logs", |bench| killed_again_and_again(bench, &[""]));
}

#[test]
fn mailboxes_can_lie_elsewhere() {
    on_fuse("logs", |bench| {
        bench.scratch.make_dir("mailboxes");
        let elsewhere = "mailbox_dir = \"../mailboxes\"\n";
        killed_again_and_again(bench, &[elsewhere, elsewhere, ""]);
    });
}

#[test]
fn the_holder_makes_its_staging_pipe_there() {
    on_fuse("run", |bench| {
        bench.scratch.pipe("app");
        bench.scratch.write_policy("app.toml", "stage = true\n");
        let mut holder = holder(&bench.scratch).start();
        let stage = bench.scratch.run("app.stage");
        assert!(fs::metadata(&stage).is_ok_and(|stage| stage.file_type().is_fifo()), "{}", holder.stderr());
        assert_eq!(files_of(&bench.scratch.path().join("run"), |_| true).len(), 2);
        assert_eq!(holder.terminate(), 0);
    });
}
