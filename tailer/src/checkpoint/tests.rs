use std::collections::BTreeSet;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use std::{fs, thread};

use tempfile::TempDir;

use super::*;
use crate::checkpoint::state::{DoneState, GenerationState};
use crate::file::guard::{Guard, Head};
use crate::file::identity::{Identity, Origin};

mod journal;
mod kills;

/// What a run saved as its N-th.
fn states(offset: u64) -> Vec<SourceState> {
    let generation = |ino| GenerationState {
        origin: Origin { identity: Identity { dev: 64768, ino, born_ns: 1_795_000_000_000_000_000 }, epoch: 1 },
        copy: (ino == 11).then_some(Identity { dev: 64768, ino: 10, born_ns: 3 }),
        offset,
        guard: Some(Guard::of_end(b"a line\n")),
        last_line_hash: Some(offset),
        head: Head::of(b"a line of the log\n"),
    };
    let source = |path: &str, inodes: &[u64]| SourceState {
        path: path.into(),
        generations: inodes.iter().copied().map(generation).collect(),
        is_live: true,
        done: vec![DoneState {
            origin: Origin { identity: Identity { dev: 64768, ino: 9, born_ns: 1 }, epoch: 2 },
            offset: Some(offset),
            guard: Some(Guard::of_end(b"the end\n")),
            head: Head::default(),
            size: offset + 1,
            changed_ns: 0,
        }],
        since_ns: 1_795_000_000_000_000_001,
        left_ns: 0,
    };
    vec![source("/var/log/app.log", &[11, 12]), source("/var/log/b.log", &[13])]
}

impl Checkpoint {
    /// Saves these states in place of all others.
    fn put(&mut self, states: &[SourceState], durable: bool) -> Result<()> {
        self.journal.touch_all_known();
        for state in states {
            self.touch(&state.path);
        }
        let states = states.iter().map(|state| (state.path.clone(), Rc::new(state.clone()))).collect();
        self.save(&states, durable)
    }
}

struct Stand {
    dir: TempDir,
}

impl Stand {
    /// In memory where it can be: hundreds of runs sync.
    fn new() -> Stand {
        Stand { dir: TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn state(&self) -> PathBuf {
        self.path("state.json")
    }

    fn open(&self) -> Loaded {
        self.open_with(OnCorrupt::Fail).unwrap()
    }

    fn open_with(&self, on_corrupt: OnCorrupt) -> Result<Loaded> {
        Checkpoint::open(&self.state(), on_corrupt)
    }

    fn refusal(&self) -> String {
        let text = self.open_with(OnCorrupt::Fail).unwrap_err().to_string();
        text.replace(&format!("{}/", self.dir.path().shown()), "")
    }

    fn findings(&self, opened: &Loaded) -> String {
        opened.findings.join("; ").replace(&format!("{}/", self.dir.path().shown()), "")
    }

    /// Two durable generations: of offset 1 and 2.
    fn with_two() -> Stand {
        let stand = Stand::new();
        let mut checkpoint = stand.open().checkpoint;
        checkpoint.put(&states(1), true).unwrap();
        checkpoint.put(&states(2), true).unwrap();
        stand
    }

    fn names(&self) -> BTreeSet<String> {
        fs::read_dir(self.dir.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    fn content(&self, name: &str) -> Option<Vec<SourceState>> {
        form::parse(&fs::read(self.path(name)).ok()?).ok()
    }
}

#[test]
fn the_first_start_finds_nothing_and_the_next_what_was_saved() {
    let stand = Stand::new();
    let Loaded { mut checkpoint, start, findings } = stand.open();
    assert_eq!((start, findings), (Start::First, Vec::new()));
    for offset in 1..4 {
        checkpoint.put(&states(offset), false).unwrap();
    }
    drop(checkpoint);
    let opened = stand.open();
    assert_eq!((opened.start, opened.findings), (Start::Known(states(3)), Vec::new()));
    for name in stand.names() {
        assert_eq!(fs::metadata(stand.path(&name)).unwrap().mode() & 0o777, 0o600, "{name}");
    }
    assert_eq!(stand.names(), BTreeSet::from(["state.json", "state.json.1", "state.json.lock"].map(str::to_owned)));
}

#[test]
fn only_what_is_durable_becomes_the_previous_generation() {
    let stand = Stand::new();
    let mut checkpoint = stand.open().checkpoint;
    // The save, whether it is durable, and the generation before it from then on.
    let cases = [
        (1, false, None), // made durable all the same, for there is nothing else
        (2, false, Some(1)),
        (3, false, Some(1)),
        (4, true, Some(1)),
        (5, true, Some(4)),
        (6, false, Some(5)),
        (7, true, Some(5)),
    ];
    for (offset, durable, previous) in cases {
        checkpoint.put(&states(offset), durable).unwrap();
        assert_eq!(stand.content("state.json"), Some(states(offset)));
        assert_eq!(stand.content("state.json.1"), previous.map(states), "after {offset}");
    }
    // What is loaded is durable from then on.
    drop(checkpoint);
    stand.open().checkpoint.put(&states(8), false).unwrap();
    assert_eq!(stand.content("state.json.1"), Some(states(7)));
}

#[test]
fn a_seed_loads_and_the_next_save_keeps_it_as_the_previous_generation() {
    let seed = br#"{"version":1,"files":{"/var/log/app.log":{"dev":64768,"ino":4198401,"offset":123456,"last_line_hash":"xxh3-64:0123456789abcdef"}}}"#;
    let stand = Stand::new();
    fs::write(stand.state(), seed).unwrap();
    let Loaded { mut checkpoint, start, findings } = stand.open();
    let Start::Known(found) = start else { panic!("{start:?}") };
    assert_eq!((found[0].generations[0].offset, findings), (123_456, Vec::new()));
    checkpoint.put(&found, false).unwrap();
    assert_eq!(fs::read(stand.path("state.json.1")).unwrap(), seed);
    drop(checkpoint);
    assert_eq!(stand.open().start, Start::Known(found));
}

// Scenario 25, T11.
#[test]
fn a_state_cut_or_flipped_anywhere_gives_the_one_before_it_and_says_so() {
    let stand = Stand::with_two();
    let whole = fs::read(stand.state()).unwrap();
    let cuts = (0..whole.len()).map(|len| whole[..len].to_vec());
    let flips = (0..whole.len()).map(|at| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        bytes
    });
    for bytes in cuts.chain(flips) {
        fs::write(stand.state(), &bytes).unwrap();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        match stand.open_with(OnCorrupt::Fail) {
            Ok(opened) => {
                assert_eq!(opened.start, Start::Known(states(1)), "{text}");
                assert!(stand.findings(&opened).starts_with("state.json is damaged ("), "{text}");
            }
            Err(error) => assert!(error.to_string().contains("it has version"), "{error}: {text}"),
        }
    }
}

#[test]
fn damage_of_any_kind_gives_the_one_before_it_and_is_kept_aside() {
    type Spoil = fn(&Stand);
    let cases: [(&str, Spoil); 7] = [
        ("it is empty", |stand| fs::write(stand.state(), "").unwrap()),
        ("not a state file: expected value at line 1 column 1", |stand| fs::write(stand.state(), "oh").unwrap()),
        ("its checksum is wrong", |stand| {
            let text = fs::read_to_string(stand.state()).unwrap().replace("\"offset\":2", "\"offset\":3");
            fs::write(stand.state(), text).unwrap();
        }),
        ("not a regular file", |stand| {
            fs::remove_file(stand.state()).unwrap();
            fs::create_dir(stand.state()).unwrap();
        }),
        ("not a regular file", |stand| {
            fs::remove_file(stand.state()).unwrap();
            nix::unistd::mkfifo(&stand.state(), nix::sys::stat::Mode::S_IRWXU).unwrap();
        }),
        ("No such file or directory", |stand| {
            fs::remove_file(stand.state()).unwrap();
            std::os::unix::fs::symlink("nowhere", stand.state()).unwrap();
        }),
        ("Too many symbolic links encountered", |stand| {
            fs::remove_file(stand.state()).unwrap();
            std::os::unix::fs::symlink("state.json", stand.state()).unwrap();
        }),
    ];
    for (why, spoil) in cases {
        let stand = Stand::with_two();
        spoil(&stand);
        let kind = fs::symlink_metadata(stand.state()).unwrap().file_type();
        let opened = stand.open();
        let finding = format!(
            "state.json is damaged ({why}); using the previous state, state.json.1; the damaged file is kept \
             as state.json.damaged"
        );
        assert_eq!(stand.findings(&opened), finding);
        assert_eq!(opened.start, Start::Known(states(1)));
        let mut checkpoint = opened.checkpoint;
        checkpoint.put(&states(3), false).unwrap();
        assert_eq!(fs::symlink_metadata(stand.path("state.json.damaged")).unwrap().file_type(), kind, "{why}");
        assert_eq!(stand.content("state.json.1"), Some(states(1)), "damage never becomes the previous generation");
        checkpoint.put(&states(4), false).unwrap();
        drop(checkpoint);
        assert_eq!(stand.open().start, Start::Known(states(4)));
        assert_eq!(stand.content("state.json.1"), Some(states(4 - 1)));
    }
}

#[test]
fn a_state_that_is_not_there_gives_the_one_before_it_and_says_so() {
    let stand = Stand::with_two();
    fs::remove_file(stand.state()).unwrap();
    let mut opened = stand.open();
    assert_eq!(stand.findings(&opened), "state.json is missing; using the previous state, state.json.1");
    assert_eq!(opened.start, Start::Known(states(1)));
    opened.checkpoint.put(&states(3), false).unwrap();
    assert_eq!(stand.content("state.json"), Some(states(3)));
}

#[test]
fn a_state_that_somebody_removes_meanwhile_is_written_again() {
    let stand = Stand::with_two();
    let mut checkpoint = stand.open().checkpoint;
    for (offset, is_durable) in [(3, true), (4, false), (5, true)] {
        fs::remove_file(stand.state()).unwrap();
        checkpoint.put(&states(offset), is_durable).unwrap();
        assert_eq!(stand.content("state.json"), Some(states(offset)));
    }
}

#[test]
fn a_file_that_was_made_beforehand_and_is_empty_is_a_first_start() {
    let stand = Stand::new();
    fs::write(stand.state(), "").unwrap();
    let Loaded { mut checkpoint, start, findings } = stand.open();
    assert_eq!((start, findings), (Start::First, Vec::new()));
    checkpoint.put(&states(1), false).unwrap();
    assert_eq!(stand.content("state.json"), Some(states(1)));
}

#[test]
fn a_file_that_is_written_in_place_is_cut_anywhere_without_loss() {
    let stand = Stand::with_two();
    let inode = fs::metadata(stand.state()).unwrap().ino();
    let mut checkpoint = stand.open().checkpoint;
    checkpoint.files.is_mount = true;
    // Longer, then shorter than what stands there.
    let long = [states(30), vec![SourceState { path: "/var/log/c.log".into(), ..SourceState::default() }]].concat();
    checkpoint.put(&long, false).unwrap();
    let before = fs::read(stand.state()).unwrap();
    checkpoint.put(&states(4), false).unwrap();
    drop(checkpoint);
    let after = fs::read(stand.state()).unwrap();
    assert_eq!(fs::metadata(stand.state()).unwrap().ino(), inode);
    assert_eq!(stand.open().start, Start::Known(states(4)));
    for cut in 1..=after.len() {
        let bytes = [&after[..cut], &before[cut..]].concat();
        fs::write(stand.state(), &bytes).unwrap();
        let opened = stand.open();
        let (expected, findings) = if bytes == before { (long.clone(), 0) } else { (states(4), 1) };
        assert_eq!((opened.start, opened.findings.len()), (Start::Known(expected), findings), "cut at {cut}");
    }
}

#[test]
fn where_both_are_damaged_the_policy_decides() {
    for has_previous in [true, false] {
        let stand = Stand::with_two();
        fs::write(stand.state(), "{").unwrap();
        let why = if has_previous {
            fs::write(stand.path("state.json.1"), "").unwrap();
            "is damaged (it is empty)"
        } else {
            fs::remove_file(stand.path("state.json.1")).unwrap();
            "is missing"
        };
        let broken = format!(
            "is damaged (not a state file: EOF while parsing an object at line 1 column 1), and state.json.1 {why}"
        );
        assert_eq!(
            stand.refusal(),
            format!(
                "cannot use state.json: it {broken}: restore one of them, or set on_corrupt to \"beginning\" or \
                 \"end\", or remove what is left of them to start from scratch"
            )
        );
        let cases = [(OnCorrupt::Beginning, Start::Beginning, "beginning"), (OnCorrupt::End, Start::End, "end")];
        for (policy, start, place) in cases {
            let opened = stand.open_with(policy).unwrap();
            assert_eq!(opened.start, start);
            let finding = format!("state.json {broken}: reading every file from its {place}, as on_corrupt says");
            assert_eq!(stand.findings(&opened), finding);
        }
        let mut checkpoint = stand.open_with(OnCorrupt::End).unwrap().checkpoint;
        checkpoint.put(&states(5), false).unwrap();
        assert_eq!(fs::read(stand.path("state.json.damaged")).unwrap(), b"{");
        assert_eq!(stand.content("state.json.1"), Some(states(5)));
        assert_ne!(fs::metadata(stand.state()).unwrap().ino(), fs::metadata(stand.path("state.json.1")).unwrap().ino());
    }
}

#[test]
fn a_newer_version_is_refused_and_left_as_it_is() {
    let newer = br#"{"version":2,"files":{}}"#;
    for (name, spoiled) in [("state.json", None), ("state.json.1", Some("state.json"))] {
        let stand = Stand::with_two();
        if let Some(spoiled) = spoiled {
            fs::write(stand.path(spoiled), "").unwrap();
        }
        fs::write(stand.path(name), newer).unwrap();
        let before = stand.names();
        let sentence = format!("cannot use {name}: it has version 2, but this tailer knows 1: use a newer tailer");
        assert_eq!(stand.refusal(), sentence);
        for policy in [OnCorrupt::Beginning, OnCorrupt::End] {
            assert!(stand.open_with(policy).is_err(), "the policy is for damage");
        }
        assert_eq!(fs::read(stand.path(name)).unwrap(), newer);
        assert_eq!(stand.names(), before);
    }
}

#[test]
fn a_second_tailer_is_refused_as_long_as_the_first_lives() {
    let stand = Stand::new();
    let first = stand.open();
    assert_eq!(stand.refusal(), "cannot use state.json: another tailer is using it");
    let inode = |stand: &Stand| fs::metadata(stand.path("state.json.lock")).unwrap().ino();
    let before = inode(&stand);
    let last_breath = thread::spawn(move || {
        thread::sleep(Duration::from_millis(50));
        drop(first);
    });
    stand.open();
    last_breath.join().unwrap();
    assert_eq!(inode(&stand), before, "the lock file is never removed");
}

#[test]
fn a_place_where_nothing_can_be_made_is_refused() {
    let stand = Stand::new();
    let path = stand.path("no/such/state.json");
    let error = Checkpoint::open(&path, OnCorrupt::End).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot use {}: no such directory", path.shown()));
    fs::create_dir(stand.path("state.json.lock")).unwrap();
    assert_eq!(stand.refusal(), "cannot open state.json.lock: Is a directory");
}

#[test]
fn what_a_killed_save_left_behind_is_no_obstacle() {
    let stand = Stand::with_two();
    let half = &fs::read(stand.state()).unwrap()[..5];
    fs::write(stand.path("state.json.new"), half).unwrap();
    fs::set_permissions(stand.path("state.json.new"), fs::Permissions::from_mode(0o400)).unwrap();
    fs::hard_link(stand.path("state.json.1"), stand.path("state.json.1.new")).unwrap();
    let mut opened = stand.open();
    assert_eq!(opened.start, Start::Known(states(2)));
    opened.checkpoint.put(&states(3), false).unwrap();
    assert_eq!(stand.content("state.json.1"), Some(states(2)));
    assert_eq!(stand.names(), BTreeSet::from(["state.json", "state.json.1", "state.json.lock"].map(str::to_owned)));
}

/// What ten thousand sources cost; the bound is for release builds on a busy machine.
#[test]
fn ten_thousand_sources_are_saved_at_once() {
    let template = states(123_456_789).remove(1);
    let many: Vec<SourceState> = (0..10_000u64)
        .map(|number| {
            let mut state = template.clone();
            state.path = format!("/var/log/containers/pod-{number:05}/app.log").into();
            state.generations[0].origin.identity.ino = number;
            state
        })
        .collect();
    let stand = Stand::new();
    let mut checkpoint = stand.open().checkpoint;
    checkpoint.put(&many, true).unwrap();
    let spans: Vec<Duration> = (0..10)
        .map(|_| {
            let before = Instant::now();
            checkpoint.put(&many, false).unwrap();
            before.elapsed()
        })
        .collect();
    let bytes = fs::metadata(stand.state()).unwrap().len();
    let before = Instant::now();
    drop(checkpoint);
    let Start::Known(found) = stand.open().start else { panic!("nothing found") };
    println!("{bytes} bytes; saves {spans:?}; open {:?}", before.elapsed());
    assert_eq!(found, many);
    assert!(cfg!(debug_assertions) || spans.iter().min().is_some_and(|least| *least < Duration::from_millis(20)));
}
