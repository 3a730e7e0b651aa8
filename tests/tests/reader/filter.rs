//! The search filter of archives: made with them or added later, checked, and never in anybody's way.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use serde_json::Value;
use standpipe_common::archive::FilterFault;
use standpipe_tests::deadline::until;
use standpipe_tests::directory::{Scratch, names, set_mode};
use standpipe_tests::privilege::{give, needs_seams};
use standpipe_tests::programs::{Output, object, query, text};
use standpipe_tests::stands::Stand;
use standpipe_tests::world::{archive, lines, log_dir, marks, open_archive, plain_archive, raw, segment, stem};

const NAME: &[u8] = b"stpgrams";

/// What its filter is, or why there is none.
fn fault(path: &Path) -> Option<FilterFault> {
    open_archive(path).filter(|_, _| ()).expect("it can be read").err()
}

/// Where the payload of the filter begins and ends.
fn payload(bytes: &[u8]) -> std::ops::Range<usize> {
    let at = memchr::memmem::find(bytes, NAME).expect("a filter");
    at..at + u32::from_le_bytes(bytes[at - 4..at].try_into().unwrap()) as usize
}

/// Changes the filter of an archive, its checksum included if `sound`.
pub fn change(path: &Path, sound: bool, change: impl FnOnce(&mut [u8])) {
    let mut bytes = fs::read(path).unwrap();
    let payload = payload(&bytes);
    let (body, crc) = bytes[payload].split_last_chunk_mut::<4>().unwrap();
    change(body);
    if sound {
        *crc = crc32fast::hash(body).to_le_bytes();
    }
    fs::write(path, bytes).unwrap();
}

/// A log of an archive with a filter of three frames, and one without.
fn logs() -> (Scratch, PathBuf, PathBuf) {
    let scratch = Scratch::new();
    let app = log_dir(&scratch, "app");
    let with = archive(&app, &stem(0), &lines(0, 25_000, 100), marks(&[(0, 0)]), false);
    let without = plain_archive(&app, &stem(1), &lines(25_000, 25_000, 100), marks(&[(0, 60)]), false);
    (scratch, with, without)
}

fn reindex(scratch: &Scratch) -> Output {
    query("reindex", scratch).run()
}

#[test]
fn an_archive_has_a_filter_unless_nobody_wants_it_or_others_wait() {
    for (policy, expected) in [("", None), ("search_filter = \"none\"\n", Some(FilterFault::Missing))] {
        let (stand, reader) = Stand::started(policy);
        stand.write_and_wait("GET /orders/4711\n");
        reader.signal(Signal::SIGALRM);
        let archive = stand.wait_archived(1).remove(0);
        assert_eq!((fault(&archive), raw(&archive)), (expected, b"GET /orders/4711\n".to_vec()), "{policy}");
    }
    // Three wait when it starts: the last of them has nobody behind it.
    let (stand, mut reader) = Stand::started("compress = \"none\"\n");
    for sealed in 1..=3 {
        stand.write_and_wait(&format!("line {sealed} of it\n"));
        reader.signal(Signal::SIGALRM);
        until("a part is sealed", || stand.segments().len() == sealed + 1);
    }
    assert_eq!(reader.terminate(), 0);
    stand.scratch.write_policy("defaults.toml", "compress = \"zstd\"\nkeep_size = \"off\"\nkeep_free = \"off\"\n");
    let _reader = stand.reader().start();
    let faults: Vec<_> = stand.wait_archived(3).iter().map(|archive| fault(archive)).collect();
    assert_eq!(faults, [Some(FilterFault::Missing), Some(FilterFault::Missing), None]);
}

#[test]
fn verify_makes_the_filter_anew_and_compares_every_bit() {
    let (scratch, with, _) = logs();
    let verify = || query("verify", &scratch).arg("--json").run();
    assert_eq!(verify().code, 0, "an archive without a filter is sound");
    let good = fs::read(&with).unwrap();
    let arrays = payload(&good).end - 4;
    // A bit of the last array, with a checksum that knows it.
    change(&with, true, |body| *body.last_mut().unwrap() ^= 0x10);
    let found = object(&verify());
    let finding = &found["findings"][0];
    assert_eq!((&finding["kind"], found["findings"].as_array().map(Vec::len)), (&"filter".into(), Some(1)), "{found}");
    let said = finding["text"].as_str().unwrap();
    assert!(said.ends_with("its search filter contradicts frame 2; search it with --no-filter"), "{said}");
    for (at, why) in [(arrays - 1, "its checksum is wrong"), (payload(&good).start + 9, "its checksum is wrong")] {
        let mut bytes = good.clone();
        bytes[at] ^= 0x10;
        fs::write(&with, bytes).unwrap();
        let found = object(&verify());
        let said = found["findings"][0]["text"].as_str().unwrap();
        assert!(said.ends_with(&format!("its search filter is damaged ({why})")), "{said}");
    }
    fs::write(&with, good).unwrap();
    assert_eq!(verify().code, 0);
}

#[test]
fn reindex_adds_what_is_missing_and_changes_nothing_else() {
    let (scratch, with, without) = logs();
    set_mode(&without, 0o604);
    let (before, old) = (fs::read(&without).unwrap(), fs::metadata(&without).unwrap());
    let kept = fs::read(&with).unwrap();
    let output = reindex(&scratch);
    assert_eq!((output.code, text(&output).as_str()), (0, ""), "{output:?}");
    assert!(output.stderr.starts_with("reader: added a search filter to 1 archive ("), "{output:?}");
    assert!(output.stderr.ends_with("; 1 had one\n"), "{output:?}");
    let (after, new) = (fs::read(&without).unwrap(), fs::metadata(&without).unwrap());
    assert_eq!(fs::read(&with).unwrap(), kept, "one that has a filter is not touched");
    let archive = open_archive(&without);
    let data = archive.frames().iter().map(|frame| frame.compressed as usize).sum::<usize>();
    assert!(after[..data] == before[..data] && after[data..] != before[data..]);
    let of = |metadata: &fs::Metadata| (metadata.mode(), metadata.uid(), metadata.gid(), metadata.modified().unwrap());
    assert_eq!(of(&new), of(&old));
    assert_eq!(fault(&without), None);
    assert_eq!(query("verify", &scratch).run().code, 0);
    let made = names(&scratch.logs().join("app"));
    assert_eq!(made, [format!("{}.log.zst", stem(0)), format!("{}.log.zst", stem(1))], "nothing is left behind");
    // Again, and over damage.
    assert_eq!(reindex(&scratch).stderr, "reader: added a search filter to 0 archives (0 B); 2 had one\n");
    change(&without, false, |body| body[20] ^= 1);
    assert!(reindex(&scratch).stderr.starts_with("reader: added a search filter to 1 archive ("));
    assert_eq!(fs::read(&without).unwrap(), after);
}

#[test]
fn reindex_leaves_alone_what_is_not_its_business_and_says_why() {
    let (scratch, with, without) = logs();
    let app = scratch.logs().join("app");
    change(&with, true, |body| body[8] = 2);
    segment(&app, &stem(1), &lines(25_000, 25_000, 100), &marks(&[(0, 60)]));
    let foreign = app.join(format!("{}.log.zst", stem(2)));
    fs::write(&foreign, zstd::bulk::compress(b"somebody's\n", 1).unwrap()).unwrap();
    give(&foreign);
    let all = [&with, &without, &foreign].map(|path| fs::read(path).unwrap());
    let output = reindex(&scratch);
    assert_eq!(output.code, 0, "{output:?}");
    let said: Vec<&str> = output.stderr.lines().collect();
    assert!(said[0].ends_with("its search filter has version 2; this program knows 1"), "{said:#?}");
    assert!(said[1].contains("its segment is still there"), "{said:#?}");
    assert!(said[2].ends_with("incomplete: it has no seek table"), "{said:#?}");
    assert_eq!(said[3], "reader: added a search filter to 0 archives (0 B); 0 had one; 3 left unchanged");
    assert_eq!([&with, &without, &foreign].map(|path| fs::read(path).unwrap()), all);
}

#[test]
fn reindex_beside_a_reader_runs_no_hook_again_and_waits_for_none() {
    let stand = Stand::new("search_filter = \"none\"\nhook = [\"../hook\"]\n");
    let script = stand.scratch.path().join("hook");
    fs::write(&script, "#!/bin/sh\ncd $(dirname $0); echo $STANDPIPE_ARCHIVE >>said; [ -e good ]\n").unwrap();
    set_mode(&script, 0o755);
    let good = stand.scratch.path().join("good");
    fs::write(&good, "").unwrap();
    let reader = stand.reader().start();
    let todos = || names(&stand.log_dir()).into_iter().filter(|name| name.starts_with(".todo-")).count();
    let hooks = || fs::read_to_string(stand.scratch.path().join("said")).unwrap_or_default().lines().count();
    stand.write_and_wait("the first line\n");
    reader.signal(Signal::SIGALRM);
    until("its hook has had it", || stand.archives().len() == 1 && hooks() == 1 && todos() == 0);
    fs::remove_file(&good).unwrap();
    stand.write_and_wait("the second line\n");
    reader.signal(Signal::SIGALRM);
    until("its hook has failed", || stand.archives().len() == 2 && hooks() == 2);
    let output = query("reindex", &stand.scratch).run();
    assert_eq!(output.code, 0, "{output:?}");
    assert!(output.stderr.contains("its hook has not succeeded yet"), "{output:?}");
    let faults: Vec<_> = stand.archives().iter().map(|archive| fault(archive)).collect();
    assert_eq!(faults, [None, Some(FilterFault::Missing)]);
    // What comes later is archived and handed over as ever, and nothing twice.
    fs::write(&good, "").unwrap();
    stand.write_and_wait("the third line\n");
    reader.signal(Signal::SIGALRM);
    until("all are handed over", || stand.archives().len() == 3 && todos() == 0);
    let said = fs::read_to_string(stand.scratch.path().join("said")).unwrap();
    let first = stand.archives()[0].display().to_string();
    assert_eq!(said.lines().filter(|line| **line == *first).count(), 1, "{said}");
    stand.wait_stored(b"the first line\nthe second line\nthe third line\n");
    assert!(reader.lines_with("error").iter().all(|line| line.contains("retrying")), "{}", reader.stderr());
}

#[test]
fn a_reindex_that_is_killed_anywhere_leaves_the_old_archive_or_the_new_one() {
    needs_seams(|| {
        let (scratch, _, without) = logs();
        let before = fs::read(&without).unwrap();
        assert_eq!(reindex(&scratch).code, 0);
        let after = fs::read(&without).unwrap();
        let faults = scratch.path().join("faults");
        let (mut kills, mut olds) = (0, 0);
        loop {
            fs::write(&without, &before).unwrap();
            kills += 1;
            fs::write(&faults, format!("kill * {kills}\n")).unwrap();
            let launch = query("reindex", &scratch).env("STANDPIPE_TEST_FAULTS", &faults);
            let mut killed = launch.start_unready();
            let code = killed.wait_exit();
            let found = fs::read(&without).unwrap();
            assert!(found == before || found == after, "kill {kills}");
            olds += u32::from(found == before);
            if code == 0 {
                break;
            }
        }
        assert!(kills > 10 && olds > 5, "{kills} kills, {olds} without a filter");
        fs::write(&without, &before).unwrap();
        assert_eq!(reindex(&scratch).code, 0, "what was left behind is in nobody's way");
        assert_eq!(names(&scratch.logs().join("app")).len(), 2);
        let found: Value = object(&query("verify", &scratch).arg("--json").run());
        assert_eq!(found["findings"].as_array().map(Vec::len), Some(0), "{found}");
    });
}
