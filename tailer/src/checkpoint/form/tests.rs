use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use super::*;
use crate::checkpoint::state::{DoneState, GenerationState};
use crate::file::guard::{Guard, Head};
use crate::file::identity::{Identity, Origin};

const SEED: &str = r#"{"version":1,"files":{"/var/log/app.log":{"dev":64768,"ino":4198401,"offset":123456,"last_line_hash":"xxh3-64:0123456789abcdef"}}}"#;

fn seed_state(last_line_hash: Option<u64>) -> SourceState {
    let identity = Identity { dev: 64768, ino: 4_198_401, born_ns: 0 };
    let generation = GenerationState {
        origin: Origin { identity, epoch: 0 },
        offset: 123_456,
        last_line_hash,
        ..GenerationState::default()
    };
    SourceState {
        path: "/var/log/app.log".into(),
        generations: vec![generation],
        is_live: true,
        ..SourceState::default()
    }
}

fn damaged(bytes: &[u8]) -> String {
    match parse(bytes) {
        Err(Flaw::Damaged(why)) => why,
        other => panic!("{other:?} of {:?}", String::from_utf8_lossy(bytes)),
    }
}

/// A number that looks random (xorshift).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn some<T>(&mut self, value: impl FnOnce(&mut Chance) -> T) -> Option<T> {
        (self.below(3) > 0).then(|| value(self))
    }

    fn guard(&mut self) -> Guard {
        Guard { len: self.below(GUARD_LEN_LIMIT) as u32, hash: self.next() }
    }

    fn head(&mut self) -> Head {
        (0..self.below(6)).map(|_| self.next()).collect()
    }

    fn done(&mut self) -> DoneState {
        DoneState {
            origin: Origin { identity: self.identity(), epoch: self.next() as u32 },
            offset: (self.below(2) == 0).then(|| self.next()),
            guard: None,
            head: self.head(),
            size: self.next(),
            changed_ns: self.next() as i64,
        }
    }

    fn identity(&mut self) -> Identity {
        Identity { dev: self.next(), ino: self.next(), born_ns: self.next() as i64 }
    }

    fn source(&mut self, number: usize) -> SourceState {
        let generation = |chance: &mut Chance| GenerationState {
            origin: Origin { identity: chance.identity(), epoch: chance.next() as u32 },
            copy: chance.some(Chance::identity),
            offset: chance.next(),
            guard: chance.some(Chance::guard),
            last_line_hash: chance.some(Chance::next),
            head: chance.head(),
        };
        let mut name = format!("{}{number}/", ["/var/log/", "bytes:", "/ä\"\\\u{1}", ""][number % 4]).into_bytes();
        name.extend((0..self.below(6)).map(|_| (self.next() as u8).max(1)));
        SourceState {
            path: PathBuf::from(OsString::from_vec(name)),
            generations: (0..self.below(4)).map(|_| generation(self)).collect(),
            is_live: self.below(2) > 0,
            done: (0..self.below(3)).map(|_| self.done()).collect(),
            since_ns: self.next() as i64,
            left_ns: self.next() as i64,
        }
    }
}

const GUARD_LEN_LIMIT: u64 = 4097;

#[test]
fn the_seed_form_loads() {
    let hash = Some(0x0123_4567_89ab_cdef);
    let cases = [
        (SEED.to_owned(), hash),
        (format!("{SEED}\n"), hash),
        (SEED.replace(',', ",\n  ").replace(':', ": ").replace("xxh3-64: ", "xxh3-64:"), hash),
        (SEED.replace("xxh3-64:0123456789abcdef", "xxh3-64:0123456789ABCDEF"), hash),
        (SEED.replace("xxh3-64:", ""), hash),
        // Another form: identity and size decide.
        (SEED.replace("xxh3-64:", "sha256:"), None),
        (SEED.replace("xxh3-64:", "xxh3-64:+"), None),
        (SEED.replace("xxh3-64:", "xxh3-64:00"), Some(0x0123_4567_89ab_cdef)),
        (SEED.replace("xxh3-64:", "xxh3-64:1"), None),
        (SEED.replace("xxh3-64:0123456789abcdef", "xxh3-64:"), None),
        (SEED.replace("\"xxh3-64:0123456789abcdef\"", "17"), None),
        (SEED.replace("\"xxh3-64:0123456789abcdef\"", "null"), None),
        (SEED.replace(",\"last_line_hash\":\"xxh3-64:0123456789abcdef\"", ""), None),
        // What is not known is ignored.
        (SEED.replace("\"dev\"", "\"colour\":{\"red\":[1]},\"dev\""), hash),
        (SEED.replace("\"version\"", "\"host\":\"a\",\"version\""), hash),
    ];
    for (text, hash) in cases {
        assert_eq!(parse(text.as_bytes()), Ok(vec![seed_state(hash)]), "{text}");
    }
    assert_eq!(parse(br#"{"version":1,"files":{}}"#), Ok(Vec::new()));
}

#[test]
fn what_is_no_state_is_refused() {
    let cases = [
        ("", "it is empty"),
        ("\n", "not a state file: EOF"),
        ("{}", "not a state file: missing field `version`"),
        ("[]", "not a state file:"),
        (r#"{"version":1}"#, "not a state file: missing field `files`"),
        (r#"{"version":0,"files":{}}"#, "unknown version 0"),
        (r#"{"version":"1","files":{}}"#, "not a state file: invalid type"),
        (r#"{"version":1,"version":1,"files":{}}"#, "not a state file: duplicate field"),
        (r#"{"version":1,"files":{}}}"#, "not a state file: trailing characters"),
        (r#"{"version":1,"files":{"/a":{}}}"#, "/a: dev, ino and offset must appear together"),
        (r#"{"version":1,"files":{"/a":{"dev":1,"ino":2}}}"#, "/a: dev, ino and offset must appear together"),
        (r#"{"version":1,"files":{"/a":{"dev":1,"ino":2,"offset":-3}}}"#, "not a state file: invalid value"),
        (r#"{"version":1,"files":{"/a":{"dev":1,"ino":2,"offset":3.5}}}"#, "not a state file: invalid type"),
        (r#"{"version":1,"files":{"bytes:%":{"dev":1,"ino":2,"offset":3}}}"#, "bytes:% is not a path"),
        (
            r#"{"version":1,"files":{"/a":{"dev":1,"ino":2,"offset":3},"/a":{"dev":1,"ino":2,"offset":4}}}"#,
            "not a state file: /a appears twice",
        ),
    ];
    for (text, why) in cases {
        let found = damaged(text.as_bytes());
        assert!(found.starts_with(why), "{text}: {found}");
    }
}

#[test]
fn fields_of_ours_need_a_checksum() {
    let fields = [
        r#""born_ns":1"#,
        r#""epoch":0"#,
        r#""guard":{"bytes":1,"hash":"xxh3-64:00"}"#,
        r#""head":["xxh3-64:00"]"#,
        r#""live":true"#,
        r#""older":[{"dev":1,"ino":2,"offset":3}]"#,
        r#""done":[{"dev":1,"ino":2,"born_ns":3,"epoch":0,"size":0}]"#,
    ];
    for field in fields {
        let text = SEED.replace("\"dev\":64768", &format!("{field},\"dev\":64768"));
        assert_eq!(damaged(text.as_bytes()), "it has no checksum", "{text}");
    }
}

#[test]
fn a_newer_version_is_named_whatever_else_it_says() {
    assert_eq!(parse(br#"{"version":2,"files":[1]}"#), Err(Flaw::Newer(2)));
    assert_eq!(parse(br#"{"checksum":"crc:1","version":77}"#), Err(Flaw::Newer(77)));
    let ours = String::from_utf8(render(&[seed_state(None)])).unwrap();
    assert_eq!(parse(ours.replace("\"version\":1", "\"version\":2").as_bytes()), Err(Flaw::Newer(2)));
}

#[test]
fn the_form_is_this() {
    let mut state = seed_state(Some(1));
    let last = &mut state.generations[0];
    last.guard = Some(Guard { len: 9, hash: 2 });
    last.origin.identity.born_ns = 5;
    last.origin.epoch = 3;
    state.generations.insert(0, GenerationState { offset: 7, ..GenerationState::default() });
    let identity = Identity { dev: 1, ino: 2, born_ns: 3 };
    state.done.push(DoneState { origin: Origin { identity, epoch: 4 }, size: 5, ..DoneState::default() });
    state.since_ns = 6;
    let gone = SourceState { path: "/a".into(), ..SourceState::default() };
    let expected = r#"{"checksum":"xxh3-64:SUM",
"version":1,"files":{
"/a":{"live":false},
"/var/log/app.log":{"dev":64768,"ino":4198401,"offset":123456,"last_line_hash":"0000000000000001","born_ns":5,"epoch":3,"guard":{"bytes":9,"hash":"xxh3-64:0000000000000002"},"live":true,"since_ns":6,"older":[{"dev":0,"ino":0,"offset":7,"born_ns":0,"epoch":0}],"done":[{"dev":1,"ino":2,"born_ns":3,"epoch":4,"size":5}]}
}}
"#;
    let text = String::from_utf8(render(&[state, gone])).unwrap();
    let (line, rest) = text.split_once('\n').unwrap();
    assert_eq!(line, format!("{{\"checksum\":\"xxh3-64:{:016x}\",", xxh3_64(rest.as_bytes())));
    assert_eq!(rest, expected.split_once('\n').unwrap().1);
    assert_eq!(
        String::from_utf8(render(&[])).unwrap().lines().skip(1).collect::<String>(),
        "\"version\":1,\"files\":{}}"
    );
}

#[test]
fn every_state_is_read_back_as_it_was() {
    let mut chance = Chance(0x5eed);
    for _ in 0..200 {
        let mut states: Vec<SourceState> = (0..chance.below(30) as usize).map(|number| chance.source(number)).collect();
        let bytes = render(&states);
        states.reverse();
        assert_eq!(render(&states), bytes, "the order is always the same");
        states.sort_by(|a, b| a.path.cmp(&b.path));
        assert_eq!(parse(&bytes), Ok(states), "{}", String::from_utf8_lossy(&bytes));
    }
}

#[test]
fn no_cut_and_no_flipped_byte_goes_unnoticed() {
    let mut chance = Chance(77);
    let states: Vec<SourceState> = (0..8).map(|number| chance.source(number)).collect();
    let whole = render(&states);
    for len in 0..whole.len() {
        damaged(&whole[..len]);
    }
    for at in 0..whole.len() {
        for mask in (0..8).map(|bit| 1 << bit).chain([0xff, 0x20 ^ 0x01]) {
            let mut bytes = whole.clone();
            bytes[at] ^= mask;
            let is_version = bytes.starts_with(&whole[..at]) && whole[..at].ends_with(b"\"version\":");
            match parse(&bytes) {
                Err(Flaw::Damaged(_)) => {}
                Err(Flaw::Newer(_)) if is_version => {}
                other => panic!("byte {at} flipped by {mask:#x}: {other:?}"),
            }
        }
    }
}
