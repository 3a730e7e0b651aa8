//! What people put beside an archive, and who still writes a sealed segment: the archive counts, its hook gets it once,
//! and no copy of theirs goes.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use standpipe_tests::deadline::until;
use standpipe_tests::directory::{KEEP_ALL, files_ending, files_of};
use standpipe_tests::privilege::{give, needs_seams, needs_tool};
use standpipe_tests::programs::{Daemon, command, query};
use standpipe_tests::stands::Bench;
use standpipe_tests::world::{hold, put, stream_of};

/// A lane `app` with one archive of [`text`], which the hook had.
struct Stand {
    bench: Bench,
    pipe: File,
    archive: PathBuf,
}

fn text() -> Vec<u8> {
    (0..5000).flat_map(|n| format!("line {n}\n").into_bytes()).collect()
}

impl Stand {
    fn new() -> (Stand, Daemon) {
        let bench = Bench::new();
        let said = bench.scratch.path().join("said");
        let hook = format!("hook = [\"sh\", \"-c\", \"basename $STANDPIPE_ARCHIVE >> {}\"]\n", said.display());
        bench.scratch.write_policy("defaults.toml", &format!("{KEEP_ALL}{hook}"));
        let pipe = hold(&bench.scratch.pipe("app"));
        let reader = bench.reader().start();
        put(&pipe, &text());
        bench.wait_stored("app", &text());
        let stand = Stand { archive: PathBuf::new(), bench, pipe };
        stand.rotate();
        until("it is archived and handed over", || stand.handed_over().len() == 1 && stand.todos() == 0);
        let archive = stand.archives().remove(0);
        (Stand { archive, ..stand }, reader)
    }

    fn rotate(&self) {
        self.bench.ask_to_rotate();
    }

    fn archives(&self) -> Vec<PathBuf> {
        files_of(&self.bench.log("app"), |name| name.ends_with(".log.zst") && !name.starts_with('.'))
    }

    /// What the hook had, in order.
    fn handed_over(&self) -> Vec<String> {
        let said = fs::read_to_string(self.bench.scratch.path().join("said")).unwrap_or_default();
        said.lines().map(str::to_owned).collect()
    }

    /// What it has not had yet.
    fn todos(&self) -> usize {
        files_of(&self.bench.log("app"), |name| name.starts_with(".todo-")).len()
    }

    /// The name that the archive has without its end.
    fn copy(&self) -> PathBuf {
        self.archive.with_extension("")
    }

    /// Has the archiver look at the log again, until it has archived one more part.
    fn go_round(&self) {
        let count = self.archives().len();
        put(&self.pipe, b"more\n");
        let log = self.bench.log("app");
        until("the line is stored", || fs::read(log.join("current")).is_ok_and(|text| text == b"more\n"));
        self.rotate();
        until("one more is archived", || self.archives().len() > count);
        until("and handed over", || self.handed_over().len() > count && self.todos() == 0);
    }

    fn printed(&self) -> Vec<u8> {
        query("logs", &self.bench.scratch).arg("app").run().stdout
    }
}

fn write(path: &Path, content: &[u8]) {
    fs::write(path, content).expect("a file");
    give(path);
}

#[test]
fn a_copy_beside_its_archive_stays_whatever_it_holds_and_the_archive_counts() {
    let whole = text();
    let odd = [whole[..20_000].to_vec(), whole[500..].to_vec(), [&whole[..], b"x\n"].concat(), Vec::new()];
    let (stand, mut reader) = Stand::new();
    let archive = fs::read(&stand.archive).expect("an archive");
    let mut expected = whole.clone();
    for (content, sentence) in
        [(&whole, "an unpacked copy of")].into_iter().chain(odd.iter().map(|odd| (odd, "differs from ")))
    {
        write(&stand.copy(), content);
        for _ in 0..2 {
            stand.go_round();
            expected.extend(b"more\n");
            assert!(stand.printed() == expected, "{sentence}");
        }
        assert_eq!(reader.lines_with(sentence).len(), 1, "{}", reader.stderr());
        assert!(reader.lines_with(sentence)[0].contains(&stand.copy().display().to_string()));
        // A reader that starts finds the same.
        assert_eq!(reader.terminate(), 0);
        let again = stand.bench.reader().start();
        again.wait_line(sentence);
        again.stop();
        assert!(fs::read(stand.copy()).expect("the copy") == *content && fs::read(&stand.archive).unwrap() == archive);
        // A pair is told once a run: the next copy comes to a reader that has seen none.
        fs::remove_file(stand.copy()).expect("a copy");
        reader = stand.bench.reader().start();
    }
    reader.stop();
    let mut names = stand.handed_over();
    let count = names.len();
    names.dedup();
    assert_eq!((names.len(), count), (11, 11), "each archive once");
    assert_eq!(files_ending(&stand.bench.log("app"), ".damaged"), [] as [PathBuf; 0]);
}

#[test]
fn a_copy_that_is_still_unpacked_or_edited_in_place_takes_nothing_away() {
    needs_tool("zstd", || {
        let (stand, reader) = Stand::new();
        // Slowly.
        let mut slow = File::create(stand.copy()).expect("a file");
        give(&stand.copy());
        slow.write_all(&text()[..20_000]).expect("room");
        stand.go_round();
        slow.write_all(&text()[20_000..]).expect("room");
        drop(slow);
        stand.go_round();
        assert!(fs::read(stand.copy()).expect("the copy") == text(), "no byte of it went elsewhere");
        // By zstd itself, then by `sed -i`, which makes another file of that name.
        for line in ["zstd -q -d -f \"$0\"", "sed -i 1,4000d \"${0%.zst}\""] {
            let done = command("sh").arg("-c").arg(line).arg(&stand.archive).status().expect("a shell");
            assert!(done.success(), "{line}");
            give(&stand.copy());
            stand.go_round();
            assert!(stand.printed().starts_with(&text()), "{line}");
        }
        assert_eq!(fs::read_to_string(stand.copy()).expect("the copy").lines().count(), 1000);
        assert_eq!(reader.lines_with("error").len(), 0, "{}", reader.stderr());
        assert_eq!(stand.handed_over().len(), stand.archives().len());
        reader.stop();
    });
}

#[test]
fn a_segment_that_somebody_still_writes_is_archived_when_they_are_done() {
    let (stand, reader) = Stand::new();
    // Restored from elsewhere, slowly, where no archive is.
    let restored = stand.bench.log("app").join("2026-01-01T00-00-00.000000Z.log");
    let mut slow = File::create(&restored).expect("a file");
    give(&restored);
    slow.write_all(b"one\n").expect("room");
    stand.go_round();
    reader.wait_line("another program is writing to it");
    assert!(restored.exists());
    slow.write_all(b"two\n").expect("room");
    drop(slow);
    until("it is archived", || !restored.exists());
    assert!(stream_of(&stand.bench.log("app")).starts_with(b"one\ntwo\nline 0\n"));
    until("it is handed over", || stand.handed_over().len() == 3);
    reader.stop();
}

#[test]
fn what_a_kill_leaves_beside_an_archive_goes_with_one_line() {
    needs_seams(|| {
        let (bench, pipe) = Bench::new().holding("app");
        let reader = bench.reader().start();
        put(&pipe, &text());
        bench.wait_stored("app", &text());
        reader.stop();
        write(&bench.log("app").join("2036-01-01T00-00-00.000000Z.log"), b"");
        // Behind the archive's name, before the segment goes.
        bench.faults("kill sync 2");
        bench.steered_reader().run_to_kill();
        bench.faults("");
        let segments = || files_ending(&bench.log("app"), ".log").len();
        assert_eq!((segments(), files_ending(&bench.log("app"), ".log.zst").len()), (2, 1));
        let reader = bench.reader().start();
        until("it is gone", || segments() == 1);
        reader.wait_line("removed, a leftover of a kill or power failure");
        assert_eq!(files_ending(&bench.log("app"), ".times"), [] as [PathBuf; 0]);
        reader.stop();
        assert!(stream_of(&bench.log("app")) == text());
    });
}

#[test]
fn an_archive_that_is_not_whole_gives_way_to_more_and_not_to_less() {
    let (stand, reader) = Stand::new();
    let whole = fs::read(&stand.archive).expect("an archive");
    reader.stop();
    // Cut, so that only a plain stream is left, and more in it than in the segment.
    write(&stand.archive, &whole[..whole.len() - 1]);
    write(&stand.copy(), &text()[..1000]);
    let reader = stand.bench.reader().start();
    reader.wait_line("is damaged, but contains more than this file; keeping both");
    assert_eq!(fs::read(stand.copy()).expect("the copy").len(), 1000);
    // The whole segment: the archive is made anew, whatever was set aside before.
    write(&PathBuf::from(format!("{}.damaged", stand.archive.display())), b"before");
    write(&stand.copy(), &text());
    stand.go_round();
    until("it is made anew", || !stand.copy().exists());
    assert_eq!(files_ending(&stand.bench.log("app"), ".damaged").len(), 2);
    assert!(stand.printed().starts_with(&text()));
    reader.stop();
}
