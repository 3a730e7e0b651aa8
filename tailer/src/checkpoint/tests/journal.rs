//! States that are too long to be written anew at each save.

use std::os::unix::ffi::OsStringExt;

use super::*;
use crate::checkpoint::form::changes;
use crate::checkpoint::journal::SMALL_BYTES;

/// As long as it takes for a journal, and what differs from save to save is little.
pub(super) fn many(offset: u64) -> Vec<SourceState> {
    let template = states(7).remove(1);
    let quiet = (0..60)
        .map(|number| SourceState { path: format!("/var/log/quiet-{number:03}.log").into(), ..template.clone() });
    let mut all = states(offset);
    all.extend(quiet);
    all
}

impl Stand {
    fn journal(&self) -> PathBuf {
        self.path("state.json.changes")
    }

    /// Saves of offset 1 to this one, the last one durable.
    pub(super) fn with_many(last: u64) -> Stand {
        let stand = Stand::new();
        let mut checkpoint = stand.open().checkpoint;
        for offset in 1..=last {
            checkpoint.put(&many(offset), offset == last).unwrap();
        }
        stand
    }

    fn known(&self) -> Vec<SourceState> {
        let opened = self.open();
        assert_eq!(opened.findings, Vec::<String>::new());
        let Start::Known(states) = opened.start else { panic!("{:?}", opened.start) };
        states
    }
}

pub(super) fn sorted(mut states: Vec<SourceState>) -> Vec<SourceState> {
    states.sort_by(|a, b| a.path.cmp(&b.path));
    states
}

/// Bytes that stand under a name, and which file it is.
fn standing(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(path).ok().map(|metadata| (metadata.ino(), metadata.len()))
}

#[test]
fn a_save_of_many_sources_writes_what_changed() {
    let stand = Stand::new();
    let mut checkpoint = stand.open().checkpoint;
    checkpoint.put(&many(1), false).unwrap();
    let base = standing(&stand.state());
    assert!(base.unwrap().1 > SMALL_BYTES as u64 && standing(&stand.journal()).is_none());
    for offset in 2..20 {
        let before = standing(&stand.journal()).map_or(0, |(_, bytes)| bytes);
        checkpoint.put(&many(offset), offset % 3 == 0).unwrap();
        let (_, after) = standing(&stand.journal()).unwrap();
        assert!(after - before < 2000, "{offset}: {before} to {after}");
        // Nothing changed.
        checkpoint.put(&many(offset), offset % 2 == 0).unwrap();
        assert_eq!(standing(&stand.journal()).unwrap().1, after);
        assert_eq!(standing(&stand.state()), base);
    }
    assert_eq!(fs::metadata(stand.journal()).unwrap().mode() & 0o777, 0o600);
    drop(checkpoint);
    assert_eq!(stand.known(), sorted(many(19)));
    // The next run puts it in one.
    let mut checkpoint = stand.open().checkpoint;
    checkpoint.put(&many(20), false).unwrap();
    drop(checkpoint);
    assert_eq!((standing(&stand.journal()), stand.known()), (None, sorted(many(20))));
}

#[test]
fn sources_that_come_and_go_are_known_and_forgotten() {
    let stand = Stand::with_many(1);
    let mut checkpoint = stand.open().checkpoint;
    let (mut fewer, odd) = (many(2), std::ffi::OsString::from_vec(b"/caf\xe9 \"1\"\n.log".to_vec()));
    fewer.retain(|state| !state.path.ends_with("quiet-007.log") && !state.path.ends_with("b.log"));
    fewer.push(SourceState { path: odd.into(), ..states(3).remove(0) });
    checkpoint.put(&fewer, false).unwrap();
    assert_eq!(stand.known_meanwhile(), sorted(fewer.clone()));
    fewer.pop();
    checkpoint.put(&fewer, false).unwrap();
    assert_eq!(stand.known_meanwhile(), sorted(fewer));
    checkpoint.put(&many(3), false).unwrap();
    assert_eq!(stand.known_meanwhile(), sorted(many(3)));
    // Until few are left.
    for _ in 0..2 {
        checkpoint.put(&states(4), false).unwrap();
        assert_eq!(stand.known_meanwhile(), states(4));
    }
    let mut all = many(5);
    for state in &mut all {
        state.since_ns += 1;
    }
    checkpoint.put(&all, false).unwrap();
    assert_eq!(stand.known_meanwhile(), sorted(all));
}

#[test]
fn a_journal_never_outgrows_its_base_and_small_states_have_none() {
    let stand = Stand::with_many(1);
    let mut checkpoint = stand.open().checkpoint;
    let (mut bases, mut base, mut written) = (0, standing(&stand.state()), 0);
    for offset in 2..600 {
        checkpoint.put(&many(offset), false).unwrap();
        let journal = standing(&stand.journal()).map_or(0, |(_, bytes)| bytes);
        assert!(journal <= base.unwrap().1);
        if standing(&stand.state()) != base {
            (bases, base) = (bases + 1, standing(&stand.state()));
            assert_eq!(standing(&stand.journal()), None, "what belongs to another base is gone");
            written += base.unwrap().1;
        }
    }
    assert!((3..40).contains(&bases), "{bases}");
    assert!(written < 600 * 2000, "{written}");
    assert!(stand.content("state.json.1").is_some());
    let mut all = many(600);
    checkpoint.put(&all, false).unwrap();
    checkpoint.write_all_next();
    checkpoint.put(&all, false).unwrap();
    assert_eq!(stand.content("state.json"), Some(sorted(all.clone())), "a run that ended leaves one file");
    assert_eq!(standing(&stand.journal()), None);
    all.truncate(10);
    for offset in 1..9 {
        all[0].since_ns = offset;
        checkpoint.write_all_next();
        checkpoint.put(&all, false).unwrap();
        assert_eq!((stand.content("state.json"), standing(&stand.journal())), (Some(all.clone()), None));
    }
}

impl Stand {
    /// What another run would know, without the lock.
    fn known_meanwhile(&self) -> Vec<SourceState> {
        let copy = Stand::new();
        for name in ["state.json", "state.json.1", "state.json.changes"] {
            if self.path(name).exists() {
                fs::copy(self.path(name), copy.path(name)).unwrap();
            }
        }
        copy.known()
    }
}

#[test]
fn a_journal_cut_or_flipped_anywhere_counts_up_to_there() {
    const BASE: u64 = 0x0123_4567_89ab_cdef;
    let (mut journal, mut ends, mut sum) = (changes::head(BASE), Vec::new(), BASE);
    ends.push(journal.len());
    for offset in 2..6 {
        let (line, next) = changes::line(sum, &states(offset), []);
        journal.extend(line);
        ends.push(journal.len());
        sum = next;
    }
    let known = |bytes: &[u8]| {
        let mut states = states(1);
        let end = changes::apply(bytes, BASE, &mut states);
        (states, end)
    };
    let whole_before = |at: usize| ends.iter().filter(|end| **end <= at).count();
    for cut in 0..=journal.len() {
        let (found, end) = known(&journal[..cut]);
        let whole = whole_before(cut);
        assert!(found == states(whole.max(1) as u64), "cut at {cut}");
        let expected = whole.checked_sub(1).map(|last| (ends[last], false));
        assert_eq!(end.unwrap().map(|end| (end.bytes, end.is_damaged)), expected, "cut at {cut}");
    }
    for at in 0..journal.len() {
        let mut bytes = journal.clone();
        bytes[at] ^= 1 << (at % 8);
        let (found, end) = known(&bytes);
        assert!(found == states(whole_before(at).max(1) as u64), "flipped at {at}");
        // A newline that went leaves the beginning of a line.
        let is_told = end.as_ref().is_ok_and(|end| end.is_some_and(|end| end.is_damaged));
        assert!(is_told || at < ends[0] || at + 1 == journal.len(), "flipped at {at}: {end:?}");
    }
    // Nor do lines count that stand elsewhere.
    let swapped = [&journal[..ends[0]], &journal[ends[1]..ends[2]], &journal[ends[0]..ends[1]]].concat();
    assert_eq!(known(&swapped).0, states(1));
}

#[test]
fn what_does_not_count_is_written_over_and_told_if_it_did_before() {
    type Spoil = fn(&mut Vec<u8>);
    let cases: [(Spoil, u64, bool); 5] = [
        (|bytes| bytes.truncate(bytes.len() - 9), 5, false),
        (|bytes| bytes.extend(b"{\"checksum\":\"xxh3-64:"), 6, false),
        (|bytes| bytes.extend([0; 5000]), 6, false),
        (|bytes| bytes.extend(b"oh\n"), 6, true),
        (|bytes| bytes.insert(100, b'x'), 1, true),
    ];
    for (at, (spoil, left, is_told)) in cases.into_iter().enumerate() {
        let stand = Stand::with_many(6);
        let mut bytes = fs::read(stand.journal()).unwrap();
        spoil(&mut bytes);
        fs::write(stand.journal(), &bytes).unwrap();
        let opened = stand.open();
        assert_eq!(opened.start, Start::Known(sorted(many(left))), "{at}");
        assert_eq!(stand.findings(&opened).starts_with("state.json.changes is damaged after its first "), is_told);
        let mut checkpoint = opened.checkpoint;
        for offset in 7..9 {
            checkpoint.put(&many(offset), false).unwrap();
            assert_eq!(stand.known_meanwhile(), sorted(many(offset)), "{at}");
        }
    }
}

#[test]
fn changes_of_another_state_say_nothing_and_those_of_the_one_before_help_it() {
    let stand = Stand::with_many(3);
    // As a kill leaves it between the new state and the end of its changes, with damage on top.
    fs::rename(stand.state(), stand.path("state.json.1")).unwrap();
    fs::write(stand.state(), form::render(&many(9))).unwrap();
    assert_eq!(stand.known(), sorted(many(9)));
    fs::write(stand.state(), "{").unwrap();
    let opened = stand.open();
    assert_eq!(opened.start, Start::Known(sorted(many(3))));
    let mut checkpoint = opened.checkpoint;
    checkpoint.put(&many(4), false).unwrap();
    assert_eq!(stand.known_meanwhile(), sorted(many(4)));
    drop(checkpoint);
    // By hand.
    let seed = br#"{"version":1,"files":{"/var/log/app.log":{"dev":64768,"ino":4198401,"offset":123456}}}"#;
    let stand = Stand::with_many(3);
    fs::write(stand.state(), seed).unwrap();
    assert_eq!(stand.known().len(), 1);
}

#[test]
fn what_is_not_ours_is_refused_at_the_start_and_left_alone_later() {
    type Put = fn(&Path);
    let puts: [Put; 4] = [
        |path| fs::write(path, "precious\n").unwrap(),
        |path| fs::create_dir(path).unwrap(),
        |path| std::os::unix::fs::symlink("elsewhere", path).unwrap(),
        |path| nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap(),
    ];
    for put in puts {
        for had_one in [false, true] {
            let stand = Stand::with_many(1);
            fs::write(stand.path("elsewhere"), "precious\n").unwrap();
            let mut checkpoint = stand.open().checkpoint;
            if had_one {
                checkpoint.put(&many(2), true).unwrap();
                fs::remove_file(stand.journal()).unwrap();
            }
            put(&stand.journal());
            let kind = fs::symlink_metadata(stand.journal()).unwrap().file_type();
            for offset in 3..6 {
                // The first of them may fail; from then on everything is written.
                let saved = checkpoint.put(&many(offset), true);
                assert!(saved.is_ok() || offset == 3, "{saved:?}");
                assert!(saved.is_err() || stand.content("state.json") == Some(sorted(many(offset))));
            }
            assert_eq!(fs::symlink_metadata(stand.journal()).unwrap().file_type(), kind);
            assert_eq!(fs::read(stand.path("elsewhere")).unwrap(), b"precious\n");
            drop(checkpoint);
            let sentence = "cannot replace state.json.changes: not one of our files; move it elsewhere";
            assert_eq!(stand.refusal(), sentence);
        }
    }
    let stand = Stand::with_many(2);
    let newer = fs::read_to_string(stand.journal()).unwrap().replace("\"version\":1", "\"version\":2");
    fs::write(stand.journal(), &newer).unwrap();
    let sentence = "cannot use state.json.changes: it has version 2, but this tailer knows 1: use a newer tailer";
    assert_eq!(stand.refusal(), sentence);
    assert_eq!(fs::read_to_string(stand.journal()).unwrap(), newer);
}

#[test]
fn what_somebody_removed_or_replaced_meanwhile_is_written_anew() {
    type Meddle = fn(&Stand);
    let meddles: [Meddle; 6] = [
        |stand| fs::remove_file(stand.journal()).unwrap(),
        |stand| fs::remove_file(stand.state()).unwrap(),
        |stand| fs::write(stand.journal(), "").unwrap(),
        |stand| fs::write(stand.state(), form::render(&many(99))).unwrap(),
        |stand| {
            let bytes = fs::read(stand.journal()).unwrap();
            fs::remove_file(stand.journal()).unwrap();
            fs::write(stand.journal(), bytes).unwrap();
        },
        |stand| {
            for name in ["state.json", "state.json.1", "state.json.changes"] {
                fs::remove_file(stand.path(name)).ok();
            }
        },
    ];
    for (at, meddle) in meddles.into_iter().enumerate() {
        let stand = Stand::with_many(1);
        let mut checkpoint = stand.open().checkpoint;
        checkpoint.put(&many(2), true).unwrap();
        meddle(&stand);
        checkpoint.put(&many(3), true).unwrap();
        assert_eq!(stand.known_meanwhile(), sorted(many(3)), "{at}");
    }
}

#[test]
fn a_mount_is_written_in_place_however_long_it_is() {
    let stand = Stand::with_many(2);
    let mut checkpoint = stand.open().checkpoint;
    checkpoint.files.is_mount = true;
    for offset in 3..5 {
        checkpoint.put(&many(offset), false).unwrap();
        assert_eq!(stand.content("state.json"), Some(sorted(many(offset))));
        assert_eq!(standing(&stand.journal()), None);
    }
}
