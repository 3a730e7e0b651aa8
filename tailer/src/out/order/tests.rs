use std::cell::RefCell;
use std::rc::Rc;

use super::*;
use crate::file::identity::Origin;
use crate::out::lines::GenerationId;

const MS: i64 = 1_000_000;
/// 2026-11-21T10:00:00Z
const BASE_S: i64 = 1_795_255_200;
const BASE_NS: i64 = BASE_S * 1000 * MS;

/// What an inner output was given: source, start, end, bytes.
type Given = Vec<(u32, u64, u64, Vec<u8>)>;

/// Takes so many bytes a turn.
struct Sink {
    given: Rc<RefCell<Given>>,
    room_max: usize,
    room: usize,
    delivered: Vec<Delivered>,
    /// Whether a turn makes no room.
    is_stuck: bool,
    /// Whether lines keep the order of their file, so that offsets go with bytes.
    is_straight: bool,
}

impl Output for Sink {
    fn room(&self, _: SourceId) -> usize {
        self.room
    }

    fn is_room_final(&self, _: SourceId) -> bool {
        self.is_empty()
    }

    fn put(&mut self, lines: &Lines<'_>) {
        let added = usize::from(lines.ends == End::Added);
        assert!(lines.bytes.len() <= self.room + added, "{} bytes, {} room", lines.bytes.len(), self.room);
        assert!(!self.is_straight || lines.end - lines.start == (lines.bytes.len() - added) as u64);
        assert_eq!(lines.ends == End::Open, !lines.bytes.ends_with(b"\n"));
        self.room -= lines.bytes.len() - added;
        self.given.borrow_mut().push((lines.source.0, lines.start, lines.end, lines.bytes.to_vec()));
        self.delivered.push(Delivered { generation: lines.generation, offset: lines.end });
    }

    fn note(&mut self, _: SourceId, _: Standing) {}
}

impl Outlet for Sink {
    fn hold(&mut self, _: SourceId, _: bool) {}

    fn turn(&mut self, _: Instant, _: i64, delivered: &mut Vec<Delivered>) -> Result<Waits> {
        delivered.append(&mut self.delivered);
        if !self.is_stuck {
            self.room = self.room_max;
        }
        Ok(Waits::default())
    }

    fn hurry(&mut self) {}

    fn is_empty(&self) -> bool {
        self.room == self.room_max
    }
}

/// A window over a sink, and how far each source was put.
struct Bench {
    window: Window<Sink>,
    given: Rc<RefCell<Given>>,
    put: Vec<u64>,
    start: Instant,
}

impl Bench {
    fn new(patience: Patience, room: usize, sources: u32) -> Bench {
        let given = Rc::new(RefCell::new(Vec::new()));
        let sink = Sink {
            given: Rc::clone(&given),
            room_max: room,
            room,
            delivered: Vec::new(),
            is_stuck: false,
            is_straight: patience != Patience::Sorted,
        };
        let mut window = Window::new(sink, patience, TimeZone::UTC);
        (0..sources).for_each(|source| window.note(SourceId(source), Standing::Behind));
        Bench { window, given, put: vec![0; sources as usize], start: Instant::now() }
    }

    fn live(sources: u32) -> Bench {
        let mut bench = Bench::new(Patience::Window(Duration::from_millis(200)), 1 << 20, sources);
        (0..sources).for_each(|source| bench.note(source, Standing::AtEnd));
        bench
    }

    fn put_as(&mut self, source: u32, text: &str, ends: End, at_ms: i64) {
        let start = self.put[source as usize];
        let end = start + text.len() as u64 - u64::from(ends == End::Added);
        self.put[source as usize] = end;
        self.window.put(&Lines {
            source: SourceId(source),
            generation: GenerationId(source.into()),
            origin: Origin::default(),
            start,
            end,
            bytes: text.as_bytes(),
            ends,
            read_ns: BASE_NS + at_ms * MS,
            record: None,
        });
    }

    fn put(&mut self, source: u32, text: &str, at_ms: i64) {
        self.put_as(source, text, End::Line, at_ms);
    }

    fn note(&mut self, source: u32, standing: Standing) {
        self.window.note(SourceId(source), standing);
    }

    /// All that came out since the last time, and in how many ms a turn is wanted.
    fn turn(&mut self, at_ms: i64) -> (String, Option<u128>) {
        let now = self.start + Duration::from_millis(at_ms as u64);
        let mut delivered = Vec::new();
        let waits = self.window.turn(now, BASE_NS + at_ms * MS, &mut delivered).unwrap();
        let given = self.given.take();
        let ends: Vec<_> = given.iter().map(|given| (u64::from(given.0), given.2)).collect();
        assert_eq!(delivered.iter().map(|it| (it.generation.0, it.offset)).collect::<Vec<_>>(), ends);
        let text = given.into_iter().flat_map(|given| given.3).collect();
        (String::from_utf8(text).unwrap(), waits.until.map(|until| (until - now).as_millis()))
    }
}

/// A line with a time, `at` seconds after the base.
fn line(at: i64, text: &str) -> String {
    format!("{} {text}\n", BASE_S + at)
}

#[test]
fn lines_wait_for_a_source_that_is_behind_and_come_out_as_runs() {
    let mut bench = Bench::live(2);
    bench.note(1, Standing::Behind);
    let early = [line(1, "a"), line(2, "b"), line(3, "c")].concat();
    bench.put(0, &format!("{early}{}", line(9, "d")), 0);
    assert_eq!(bench.turn(1000), (String::new(), None));
    bench.put(1, &line(5, "e"), 1000);
    bench.window.turn(bench.start, BASE_NS, &mut Vec::new()).unwrap();
    let given = bench.given.take();
    assert_eq!(given[0], (0, 0, early.len() as u64, early.into_bytes()));
    assert_eq!((given.len(), given[1].0), (2, 1), "the fourth waits for the second of the other");
}

#[test]
fn a_line_waits_for_the_window_and_no_longer() {
    let mut bench = Bench::live(3);
    bench.put(0, &line(7, "later"), 10);
    assert_eq!(bench.turn(10), (String::new(), Some(200)));
    bench.put(1, &line(5, "earlier"), 150);
    assert_eq!(bench.turn(160), (String::new(), Some(50)));
    assert_eq!(bench.turn(209), (String::new(), Some(1)));
    assert_eq!(bench.turn(210), (line(5, "earlier") + &line(7, "later"), None));
    assert!(bench.window.is_empty());
}

#[test]
fn a_line_waits_until_what_is_polled_was_looked_at() {
    let mut bench = Bench::live(3);
    bench.window.allow_for(Duration::from_millis(250));
    bench.put(0, &line(7, "later"), 10);
    assert_eq!(bench.turn(210), (String::new(), Some(250)));
    bench.put(1, &line(5, "earlier"), 260);
    assert_eq!(bench.turn(459), (String::new(), Some(1)));
    assert_eq!(bench.turn(460), (line(5, "earlier") + &line(7, "later"), None));
}

#[test]
fn nobody_waits_for_a_source_that_ended_or_has_a_later_line() {
    let mut bench = Bench::live(3);
    bench.note(2, Standing::Ended);
    bench.put(1, &line(2, "y"), 0);
    bench.put(0, &line(1, "x"), 0);
    assert_eq!(bench.turn(0), (line(1, "x"), Some(200)));
}

#[test]
fn a_late_line_comes_out_at_once_and_is_counted() {
    let mut bench = Bench::live(2);
    bench.put(0, &line(10, "x"), 0);
    assert_eq!(bench.turn(200).0, line(10, "x"));
    bench.put(1, &(line(8, "late") + &line(9, "late") + &line(11, "not")), 300);
    assert_eq!(bench.turn(300), (line(8, "late") + &line(9, "late"), Some(200)));
    assert_eq!(bench.window.take_oddities(), [Oddity { source: SourceId(1), late: 2, backward: 0, is_untimed: false }]);
    assert_eq!(bench.turn(500).0, line(11, "not"));
    assert_eq!(bench.window.take_oddities(), []);
}

#[test]
fn a_clock_that_goes_back_in_a_file_leaves_its_order() {
    let mut bench = Bench::live(2);
    let lines = line(10, "a") + &line(4, "b") + &line(11, "c");
    bench.put(0, &lines, 0);
    bench.put(1, &line(9, "z"), 0);
    assert_eq!(bench.turn(200).0, line(9, "z") + &lines);
    assert_eq!(bench.window.take_oddities(), [Oddity { source: SourceId(0), late: 0, backward: 1, is_untimed: false }]);
}

#[test]
fn records_of_several_lines_stay_whole() {
    let mut bench = Bench::live(2);
    bench.put(1, &(line(5, "record") + "  at one\n"), 0);
    assert_eq!(bench.turn(200).0, line(5, "record") + "  at one\n");
    // Of the same second, and of a source that goes first.
    bench.put(0, &line(5, "other"), 210);
    bench.put(1, "  at two\n", 210);
    assert_eq!(bench.turn(210).0, "  at two\n");
    assert_eq!(bench.turn(410).0, line(5, "other"));
}

#[test]
fn equal_times_go_by_source() {
    let mut bench = Bench::live(3);
    for source in [2, 0, 1] {
        bench.put(source, &(line(5, "first") + &line(5, &format!("{source}"))), 0);
    }
    let expected: String = (0..3).map(|source| line(5, "first") + &line(5, &format!("{source}"))).collect();
    assert_eq!(bench.turn(200).0, expected);
}

#[test]
fn lines_without_any_time_go_by_when_they_were_read() {
    let mut bench = Bench::live(3);
    bench.put(0, &line(0, "x"), 500);
    bench.put(1, "plain\n", 500);
    // A header is as old as what follows it.
    bench.put(2, &("# header\n".to_string() + &line(-5, "y")), 500);
    assert_eq!(bench.turn(700).0, "# header\n".to_string() + &line(-5, "y") + &line(0, "x") + "plain\n");
}

#[test]
fn nothing_gets_between_the_pieces_of_a_line() {
    let mut bench = Bench::live(2);
    bench.put_as(0, &line(5, "long ")[..12], End::Open, 0);
    bench.put(1, &line(6, "other"), 0);
    assert_eq!(bench.turn(5000).0, line(5, "long ")[..12]);
    bench.put_as(0, "1795255299 no time", End::Open, 5000);
    bench.put_as(0, "end\n", End::Added, 5000);
    assert_eq!(bench.turn(5000).0, "1795255299 no timeend\n".to_string() + &line(6, "other"));
}

#[test]
fn a_source_that_ends_inside_a_line_holds_up_nobody_and_what_it_brings_later_is_not_lost() {
    // What of its line it puts before and after its end is noted, and whether that is held when it is.
    let long = line(1, "long");
    let (first, rest) = long.split_at(12);
    for (before, after, is_held) in
        [(first, "", false), (first, "", true), (first, rest, false), (first, rest, true), ("", long.as_str(), true)]
    {
        let mut bench = Bench::live(3);
        if is_held {
            bench.note(2, Standing::Behind);
        }
        let mut came = String::new();
        for (part, ends) in [(before, End::Open), (after, End::Line)] {
            if !part.is_empty() {
                bench.put_as(0, part, ends, 0);
            }
            came += &bench.turn(300).0;
            bench.note(0, Standing::Ended);
        }
        bench.put(1, &line(2, "two"), 300);
        bench.note(2, Standing::Ended);
        bench.note(1, Standing::Ended);
        came += &bench.turn(301).0;
        assert_eq!(came, format!("{before}{after}{}", line(2, "two")), "{before:?} {after:?} {is_held}");
        assert!(bench.window.is_empty());
    }
}

#[test]
fn a_line_that_never_fits_goes_in_pieces() {
    let mut bench = Bench::new(Patience::Batch, 100, 1);
    let lines = line(1, "short") + &line(2, &"x".repeat(250)) + "end\n";
    bench.put(0, &lines, 0);
    let (text, _) = bench.turn(0);
    assert_eq!(text, lines);
}

#[test]
fn at_the_end_all_comes_out_in_order() {
    let mut bench = Bench::live(3);
    bench.note(2, Standing::Behind);
    bench.put(0, &(line(5, "b") + &line(7, "d")), 0);
    bench.put(1, &(line(4, "a") + &line(6, "c")), 0);
    assert_eq!(bench.turn(5000).0, "");
    bench.window.hurry();
    assert_eq!(bench.turn(5000).0, line(4, "a") + &line(5, "b") + &line(6, "c") + &line(7, "d"));
    assert!(bench.window.is_empty());
}

#[test]
fn what_is_held_of_a_source_has_a_limit() {
    let mut bench = Bench::live(2);
    bench.note(1, Standing::Behind);
    let mut held = 0;
    while bench.window.room(SourceId(0)) > 0 {
        let text = line(1, &"x".repeat(50_000));
        held += text.len();
        bench.put(0, &text, 0);
    }
    assert!(held <= HELD_BYTES_MAX && bench.window.room(SourceId(1)) == HELD_BYTES_MAX, "{held}");
    bench.note(1, Standing::AtEnd);
    assert_eq!(bench.turn(200).0.len(), held);
    assert_eq!(bench.window.room(SourceId(0)), HELD_BYTES_MAX);
}

#[test]
fn a_source_alone_waits_for_nobody_and_leaves_nothing_behind() {
    let mut bench = Bench::live(1);
    for at in 0..100 {
        bench.put(0, &line(at, "x"), at);
        assert_eq!(bench.turn(at), (line(at, "x"), None));
    }
    assert!(bench.window.arrivals.len() <= 1);
}

/// xorshift64
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// Lines of a file: its times jump, also back, and some lines have none.
fn random_file(random: &mut Random, source: u32) -> Vec<String> {
    let mut at = 0;
    let count = random.below(40);
    (0..count)
        .map(|number| {
            at += [0, 0, 1, 1, 2, 3, 10, -4][random.below(8) as usize];
            if random.below(4) == 0 {
                format!("  {source}/{number}\n")
            } else {
                line(at, &format!("{source}/{number}"))
            }
        })
        .collect()
}

/// What a batch has to give: sorted by key, source and number.
fn reference(files: &[Vec<String>]) -> String {
    let mut keyed = Vec::new();
    for (source, file) in files.iter().enumerate() {
        let mut key = i64::MIN;
        for (number, line) in file.iter().enumerate() {
            let time = line.split(' ').next().and_then(|word| word.parse().ok());
            key = key.max(time.unwrap_or(i64::MIN));
            keyed.push((key, source, number, line.as_str()));
        }
    }
    keyed.sort_unstable();
    keyed.into_iter().map(|it| it.3).collect()
}

#[test]
fn a_batch_is_sorted_however_its_files_are_read() {
    for seed in 1..=400 {
        let mut random = Random(0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(seed));
        let sources = 1 + random.below(6) as u32;
        let files: Vec<_> = (0..sources).map(|source| random_file(&mut random, source)).collect();
        let mut bench = Bench::new(Patience::Batch, 20 + random.below(200) as usize, sources);
        let mut next = vec![0; files.len()];
        let mut out = String::new();
        while next.iter().any(|next| *next <= files.iter().map(Vec::len).max().unwrap_or(0)) {
            let source = random.below(sources.into()) as usize;
            let (from, to) = (next[source], next[source].saturating_add(random.below(6) as usize));
            if from >= files[source].len() {
                bench.note(source as u32, Standing::Ended);
                next[source] = usize::MAX;
            } else if to > from {
                let to = to.min(files[source].len());
                bench.put(source as u32, &files[source][from..to].concat(), random.below(9) as i64);
                next[source] = to;
            }
            if random.below(3) == 0 {
                out += &bench.turn(random.below(1000) as i64).0;
            }
        }
        out += &bench.turn(0).0;
        assert!(bench.window.is_empty(), "seed {seed}");
        assert_eq!(out, reference(&files), "seed {seed}");
        assert!(bench.window.take_oddities().iter().all(|oddity| oddity.late == 0), "seed {seed}");
    }
}

#[test]
fn a_live_window_loses_nothing_and_keeps_the_order_of_each_file() {
    for seed in 1..=200 {
        let mut random = Random(0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(seed));
        let files: Vec<_> = (0..4).map(|source| random_file(&mut random, source)).collect();
        let mut bench = Bench::live(4);
        let (mut at_ms, mut next, mut out) = (0, [0; 4], String::new());
        while next.iter().zip(&files).any(|(next, file)| *next < file.len()) {
            let source = random.below(4) as usize;
            at_ms += random.below(150) as i64;
            if let Some(text) = files[source].get(next[source]) {
                bench.put(source as u32, text, at_ms);
                next[source] += 1;
            }
            out += &bench.turn(at_ms).0;
        }
        out += &bench.turn(at_ms + 200).0;
        assert!(bench.window.is_empty(), "seed {seed}");
        for (source, file) in files.iter().enumerate() {
            let mark = format!(" {source}/");
            let its: String = out.split_inclusive('\n').filter(|line| line.contains(&mark)).collect();
            assert_eq!(its, file.concat(), "seed {seed}");
        }
    }
}

#[test]
fn lines_of_one_file_are_sorted_and_no_position_is_ahead_of_what_came() {
    let mut random = 7_u64;
    let mut below = |limit: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % limit
    };
    for round in 0..200 {
        let mut bench = Bench::new(Patience::Sorted, 4096, 2);
        let mut records: Vec<(i64, u32, usize, String)> = Vec::new();
        for source in 0..2 {
            for _ in 0..=below(4) {
                let mut text = String::new();
                for _ in 0..below(30) {
                    let second = if round % 4 == 0 { records.len() as u64 } else { below(20) };
                    let time = jiff::Timestamp::from_second(BASE_S + second as i64).unwrap();
                    let mut record = format!("{time} {}\n", records.len());
                    (0..below(3)).for_each(|_| record += "  more\n");
                    text += &record;
                    records.push((second as i64, source, records.len(), record));
                }
                if !text.is_empty() {
                    bench.put_as(source, &text, End::Line, 0);
                }
            }
        }
        (0..2).for_each(|source| bench.note(source, Standing::Ended));
        let files: Vec<u64> = bench.put.clone();
        while !bench.window.is_empty() {
            bench.window.turn(bench.start, 0, &mut Vec::new()).unwrap();
        }
        records.sort_by_key(|(second, source, index, _)| (*second, *source, *index));
        let expected: String = records.iter().map(|record| record.3.as_str()).collect();
        let given = bench.given.borrow();
        let text: Vec<u8> = given.iter().flat_map(|given| given.3.clone()).collect();
        assert_eq!(String::from_utf8(text).unwrap(), expected, "round {round}");
        for source in 0..2 {
            let runs: Vec<_> = given.iter().filter(|given| given.0 == source).collect();
            let mut came = vec![false; files[source as usize] as usize];
            for (_, start, end, bytes) in runs {
                came[*start as usize..*start as usize + bytes.len()].fill(true);
                assert!(came[..*end as usize].iter().all(|came| *came), "round {round}");
            }
            assert!(came.iter().all(|came| *came));
        }
    }
}

#[test]
fn a_file_that_is_larger_than_what_can_be_held_is_sorted_as_far_as_that_goes() {
    let line =
        |second: i64| format!("{} {}\n", jiff::Timestamp::from_second(BASE_S + second).unwrap(), "x".repeat(1000));
    // What is held is shared with others that have nothing.
    let mut bench = Bench::new(Patience::Sorted, 1 << 20, 64);
    (1..64).for_each(|source| bench.note(source, Standing::Ended));
    let mut delivered = Vec::new();
    let mut most = 0;
    for second in 0..2000_i64 {
        // Each group of four is turned around.
        let text: String = (0..4).rev().map(|step| line(second * 4 + step)).collect();
        if second % 64 == 0 {
            bench.window.turn(bench.start, 0, &mut delivered).unwrap();
            assert!(bench.window.room(SourceId(0)) > 64 * text.len());
        }
        most = most.max(bench.window.lanes[0].held_bytes());
        bench.put_as(0, &text, End::Line, 0);
    }
    bench.note(0, Standing::Ended);
    while !bench.window.is_empty() {
        bench.window.turn(bench.start, 0, &mut delivered).unwrap();
    }
    let given = bench.given.borrow();
    let text: Vec<u8> = given.iter().flat_map(|given| given.3.clone()).collect();
    let text = String::from_utf8(text).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 8000);
    assert!(lines.is_sorted());
    assert!(most <= SORTED_BYTES / 64 + SORTED_ROOM, "{most}");
}

#[test]
fn what_is_sorted_has_a_limit_and_records_stay_whole_however_slowly_it_goes_on() {
    const SOURCES: u32 = (SORTED_BYTES / HELD_BYTES_MIN) as u32;
    for seed in 1..=5 {
        let mut random = Random(0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(seed));
        let mut bench = Bench::new(Patience::Sorted, 1000, SOURCES);
        (1..SOURCES).for_each(|source| bench.note(source, Standing::Ended));
        bench.window.inner().is_stuck = true;
        let mut records = Vec::new();
        let mut text = String::new();
        while records.len() < 2000 || !text.is_empty() || !bench.window.is_empty() {
            if text.is_empty() && records.len() < 2000 {
                text = (0..=random.below(9)).map(|_| random_record(&mut random, &mut records)).collect();
            }
            if text.is_empty() {
                bench.note(0, Standing::Ended);
            } else if bench.window.room(SourceId(0)) > text.len() {
                bench.put(0, &std::mem::take(&mut text), 0);
            }
            let memory = bench.window.lanes[0].memory_bytes();
            assert!(memory < HELD_BYTES_MIN + (64 << 10), "seed {seed}: {memory}");
            bench.window.turn(bench.start, 0, &mut Vec::new()).unwrap();
            bench.window.inner().room = 1000;
        }
        records.sort_by_key(|record| record.0);
        let expected: String = records.into_iter().map(|record| record.1).collect();
        let text: Vec<u8> = bench.given.borrow().iter().flat_map(|given| given.3.clone()).collect();
        assert!(String::from_utf8(text).unwrap() == expected, "seed {seed}");
    }
}

/// Some are far ahead of the others, some are longer than what goes on at once, some have lines more.
fn random_record(random: &mut Random, records: &mut Vec<(i64, String)>) -> String {
    let second = records.len() as i64 + if random.below(50) == 0 { 10_000 } else { random.below(8) as i64 };
    let len = if random.below(40) == 0 { 5000 } else { random.below(200) as usize };
    let time = jiff::Timestamp::from_second(BASE_S + second).unwrap();
    let more = "  more\n".repeat(random.below(3) as usize);
    let record = format!("{time} {} {}\n{more}", records.len(), "x".repeat(len));
    records.push((second, record.clone()));
    record
}
