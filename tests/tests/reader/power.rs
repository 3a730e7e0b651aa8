//! What a power cut leaves in a log, put there by hand, before a reader of another boot: a complete archive is the truth,
//! nothing longer gives way to something shorter, and the hook gets nothing twice with less.

use std::fs;
use std::path::{Path, PathBuf};

use standpipe_tests::deadline::until;
use standpipe_tests::directory::{KEEP_ALL, files_ending, files_of};
use standpipe_tests::privilege::{give, needs_seams};
use standpipe_tests::programs::Daemon;
use standpipe_tests::stands::Bench;
use standpipe_tests::world::{hold, put, stream_of, wait_empty};

/// A log `app` with one archive of [`text`], which the hook had, and what its part was before.
struct Cut {
    bench: Bench,
    archive: PathBuf,
    archived: Vec<u8>,
    marks: Vec<u8>,
}

fn text() -> Vec<u8> {
    (0..20_000).flat_map(|n| format!("line {n}\n").into_bytes()).collect()
}

impl Cut {
    fn new() -> Cut {
        let bench = Bench::new();
        let said = bench.scratch.path().join("said");
        let hook = format!(
            "hook = [\"sh\", \"-c\", \"echo $(basename $STANDPIPE_ARCHIVE) $STANDPIPE_BYTES >> {}\"]\n",
            said.display()
        );
        bench.scratch.write_policy("defaults.toml", &format!("{KEEP_ALL}{hook}"));
        let pipe = hold(&bench.scratch.pipe("app"));
        let reader = bench.reader().env("STANDPIPE_TEST_BOOT", "before").start();
        for chunk in text().chunks(50_000) {
            put(&pipe, chunk);
            wait_empty(&pipe);
        }
        bench.wait_stored("app", &text());
        let marks = fs::read(files_ending(&bench.log("app"), ".times").remove(0)).expect("marks");
        bench.ask_to_rotate();
        let cut = Cut { bench, archive: PathBuf::new(), archived: Vec::new(), marks };
        until("it is archived and handed over", || {
            // Its marks go last, and the hook does not wait for that.
            let todos = files_of(&cut.log(), |name| name.starts_with(".todo-"));
            cut.handed_over().len() == 1 && todos.is_empty() && files_ending(&cut.log(), ".times").is_empty()
        });
        reader.stop();
        let archive = files_ending(&cut.log(), ".log.zst").remove(0);
        Cut { archived: fs::read(&archive).expect("an archive"), archive, ..cut }
    }

    fn log(&self) -> PathBuf {
        self.bench.log("app")
    }

    fn segment(&self) -> PathBuf {
        self.archive.with_extension("")
    }

    /// The power comes back: the segment that was removed is there again, and so may be its marks.
    fn come_back(&self, segment: &[u8], marks: Option<&[u8]>) -> Daemon {
        write(&self.segment(), segment);
        if let Some(marks) = marks {
            write(&self.segment().with_extension("times"), marks);
        }
        self.bench.reader().env("STANDPIPE_TEST_BOOT", "after").start()
    }

    /// What the hook had, each with its bytes.
    fn handed_over(&self) -> Vec<String> {
        let said = fs::read_to_string(self.bench.scratch.path().join("said")).unwrap_or_default();
        said.lines().map(str::to_owned).collect()
    }

    fn damaged(&self) -> Vec<PathBuf> {
        files_ending(&self.log(), ".damaged")
    }
}

fn write(path: &Path, content: &[u8]) {
    fs::write(path, content).expect("a file");
    give(path);
}

#[test]
fn a_segment_that_a_power_cut_gave_back_goes_where_its_archive_holds_all_of_it() {
    needs_seams(|| {
        let whole = text();
        let with_nuls = |range: std::ops::Range<usize>, len: usize| {
            let mut bytes = whole[..len].to_vec();
            bytes[range].fill(0);
            bytes
        };
        let cut = Cut::new();
        let all_marks = [Some(&cut.marks[..]), Some(&[0; 64]), Some(b""), None];
        let given_back = [
            // Its marks may have lost their content, or were never written.
            ("shorter", whole[..100_000].to_vec(), &all_marks[..]),
            ("NULs within", with_nuls(4096..8192, 100_000), &all_marks),
            ("whole", whole.clone(), &all_marks[..1]),
            ("inside a line", whole[..100_001].to_vec(), &all_marks[..1]),
            ("empty", Vec::new(), &all_marks[..1]),
            ("nothing but NULs", vec![0; 262_144], &all_marks[..1]),
            ("NULs at its end", with_nuls(4096..8192, 8192), &all_marks[..1]),
        ];
        for (what, segment, marks) in
            given_back.iter().flat_map(|(what, segment, all)| all.iter().map(move |marks| (what, segment, marks)))
        {
            let what = format!("{what}, marks of {:?} bytes", marks.map(<[u8]>::len));
            let reader = cut.come_back(segment, *marks);
            until(&format!("it is gone: {what}: {}", reader.stderr()), || !cut.segment().exists());
            reader.wait_line("removed, a leftover of a kill or power failure");
            reader.stop();
            assert!(fs::read(&cut.archive).expect("the archive") == cut.archived, "{what}");
            assert!(stream_of(&cut.log()) == whole, "{what}");
            assert_eq!((cut.handed_over().len(), cut.damaged().len()), (1, 0), "{what}");
            assert_eq!(files_ending(&cut.log(), ".times"), [] as [PathBuf; 0], "{what}");
            write(&cut.log().join(".standpipe"), b"standpipe 1\nboot before\n");
        }
    });
}

#[test]
fn of_a_segment_and_an_archive_that_differ_the_shorter_is_set_aside() {
    needs_seams(|| {
        let whole = text();
        let other = |len: usize| {
            let mut bytes = whole.clone();
            bytes.resize(len, b'x');
            bytes[100] = b'?';
            bytes
        };
        // Shorter or as long: the archive counts.
        for len in [5000, whole.len()] {
            let cut = Cut::new();
            let reader = cut.come_back(&other(len), Some(&cut.marks));
            reader.wait_line(", which is complete and in use; moved to ");
            until("its marks are gone", || files_ending(&cut.log(), ".times").is_empty());
            reader.stop();
            assert!(fs::read(&cut.damaged()[0]).expect("the segment") == other(len), "{len}");
            assert!(fs::read(&cut.archive).expect("the archive") == cut.archived && !cut.segment().exists());
            assert_eq!(cut.handed_over().len(), 1);
        }
        // Longer: it has bytes that nothing else has.
        let cut = Cut::new();
        let longer = [&other(whole.len()), &b"and more\n"[..]].concat();
        let reader = cut.come_back(&longer, Some(&cut.marks));
        until("it is archived instead", || cut.handed_over().len() == 2 && !cut.segment().exists());
        reader.stop();
        assert!(fs::read(&cut.damaged()[0]).expect("the archive") == cut.archived);
        assert!(stream_of(&cut.log()) == longer);
        assert!(cut.handed_over()[1].ends_with(&format!(" {}", longer.len())), "{:?}", cut.handed_over());
    });
}

#[test]
fn what_somebody_unpacked_and_changed_is_left_alone_after_another_boot_too() {
    needs_seams(|| {
        let whole = text();
        for edited in [whole[500..].to_vec(), [&whole[..], b"and more\n"].concat()] {
            let cut = Cut::new();
            let reader = cut.come_back(&edited, None);
            reader.wait_line(", which is complete and in use; ignored");
            reader.stop();
            assert!(fs::read(cut.segment()).expect("the copy") == edited);
            assert!(fs::read(&cut.archive).expect("the archive") == cut.archived);
            assert_eq!((cut.handed_over().len(), cut.damaged().len()), (1, 0));
        }
    });
}

#[test]
fn a_damaged_archive_gives_way_to_no_segment_with_less_than_it_was_made_of() {
    needs_seams(|| {
        let cut = Cut::new();
        // A bad sector in a frame: its table still tells how much there was.
        let mut damaged = cut.archived.clone();
        damaged[100..200].fill(0);
        write(&cut.archive, &damaged);
        let reader = cut.come_back(&text()[..100_000], Some(&cut.marks));
        reader.wait_line("is damaged, but contains more than this file; keeping both");
        reader.stop();
        assert!(fs::read(&cut.archive).expect("the archive") == damaged);
        assert_eq!((cut.handed_over().len(), cut.damaged().len()), (1, 0));
        // All of it is there again.
        write(&cut.segment(), &text());
        let reader = cut.bench.reader().env("STANDPIPE_TEST_BOOT", "after").start();
        until("it is archiving works again", || cut.handed_over().len() == 2 && !cut.segment().exists());
        reader.stop();
        assert!(stream_of(&cut.log()) == text());
    });
}

#[test]
fn a_segment_is_gone_for_good_before_its_marks_and_its_hook() {
    needs_seams(|| {
        let (bench, pipe) = Bench::new().holding("app");
        let reader = bench.traced_reader().start();
        put(&pipe, b"one\n");
        bench.wait_stored("app", b"one\n");
        let from = bench.points().len();
        bench.ask_to_rotate();
        until("it is archived", || {
            files_ending(&bench.log("app"), ".log.zst").len() == 1
                && files_ending(&bench.log("app"), ".times").is_empty()
        });
        reader.stop();
        let points = bench.points().split_off(from);
        let linked = points.iter().position(|point| point == "link").expect("an archive gets its name");
        let steps: Vec<&str> = points[linked..].iter().map(String::as_str).collect();
        assert!(steps.starts_with(&["link", "sync", "remove", "sync", "remove"]), "{steps:?}");
    });
}

#[test]
fn nul_bytes_within_a_part_are_told_with_their_places_after_another_boot() {
    needs_seams(|| {
        for compress in ["zstd", "none"] {
            let bench = Bench::new();
            bench.scratch.write_policy("defaults.toml", &format!("{KEEP_ALL}compress = \"{compress}\"\n"));
            let booted = |boot: &str| bench.reader().env("STANDPIPE_TEST_BOOT", boot).start();
            let pipe = hold(&bench.scratch.pipe("app"));
            let reader = booted("before");
            put(&pipe, &text()[..50_000]);
            bench.wait_stored("app", &text()[..50_000]);
            reader.stop();
            let segment = files_ending(&bench.log("app"), ".log").remove(0);
            let mut cut = fs::read(&segment).expect("the segment");
            cut[4096..8192].fill(0);
            cut[20_000..20_001].fill(0);
            let kept = cut.clone();
            cut.extend([0; 100]);
            write(&segment, &cut);
            let reader = booted("after");
            let said = reader.wait_line("NUL bytes in place of data");
            assert!(
                said.contains("4097 NUL bytes") && said.contains("4096 from byte 4096, 1 from byte 20000)"),
                "{said}"
            );
            assert!(said.contains(&segment.file_name().expect("a name").to_string_lossy().into_owned()), "{said}");
            assert!(reader.wait_line("NUL bytes at its end").contains(": removed 100 NUL"), "{}", reader.stderr());
            // NUL bytes of this boot are data.
            put(&pipe, b"a\0b\n");
            until("it is stored", || stream_of(&bench.log("app")) == [&kept[..], b"a\0b\n"].concat());
            bench.ask_to_rotate();
            let parts = || files_ending(&bench.log("app"), if compress == "none" { ".log" } else { ".zst" });
            until("it is sealed", || parts().len() >= 2);
            assert_eq!(reader.lines_with("NUL bytes in place of data").len(), 1, "{}", reader.stderr());
            reader.stop();
        }
    });
}
