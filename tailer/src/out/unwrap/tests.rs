use super::*;
use crate::file::identity::Origin;

const SOURCE: SourceId = SourceId(3);

/// Bytes, offsets, whether a position is known behind them, and their time.
type Put = (Vec<u8>, u64, u64, bool, Option<i64>);

/// What came.
#[derive(Default)]
struct Sink {
    puts: Vec<Put>,
    room: usize,
    taken: usize,
}

impl Output for Sink {
    fn room(&self, _: SourceId) -> usize {
        self.room
    }

    fn is_room_final(&self, _: SourceId) -> bool {
        true
    }

    fn put(&mut self, lines: &Lines<'_>) {
        assert!(lines.bytes.len() <= self.room, "more than there is room for");
        let is_stop = lines.record.is_none_or(|record| record.is_stop);
        let time = lines.record.and_then(|record| record.time).map(|time| time.ns);
        self.taken += lines.bytes.len();
        self.puts.push((lines.bytes.to_vec(), lines.start, lines.end, is_stop, time));
    }

    fn note(&mut self, _: SourceId, _: Standing) {}
}

impl Sink {
    /// Without the repetitions that make lines long.
    fn text(&self) -> String {
        let text: String = self.puts.iter().map(|put| String::from_utf8_lossy(&put.0).into_owned()).collect();
        short(&text)
    }
}

fn short(text: &str) -> String {
    text.replace(&"y".repeat(1000), "Y")
}

/// Puts the bytes of a file from `from` on, in runs of whole lines of about `step` bytes.
fn feed(unwrapper: &mut Unwrapper, sink: &mut Sink, file: &str, from: usize, step: usize) {
    let mut start = from;
    while start < file.len() {
        let goal = (start + step).min(file.len());
        let end = file[goal - 1..].find('\n').map_or(file.len(), |newline| goal + newline);
        sink.room = 1 << 20;
        let lines = Lines {
            source: SOURCE,
            generation: GenerationId(1),
            origin: Origin::default(),
            start: start as u64,
            end: end as u64,
            bytes: &file.as_bytes()[start..end],
            ends: End::Line,
            read_ns: 0,
            record: None,
        };
        sink.room = unwrapper.around(sink).room(SOURCE) + unwrapper.held_bytes + unwrapper.held.len() + 1;
        unwrapper.around(sink).put(&lines);
        start = end;
    }
}

fn unwrapped(format: Records, file: &str) -> (Unwrapper, Sink) {
    let (mut unwrapper, mut sink) = (Unwrapper::new(format), Sink::default());
    feed(&mut unwrapper, &mut sink, file, 0, usize::MAX / 2);
    (unwrapper, sink)
}

/// A record of CRI at a second.
fn cri(second: u32, stream: &str, tag: char, text: &str) -> String {
    format!("2026-11-28T10:00:{second:02}Z std{stream} {tag} {text}\n")
}

#[test]
fn pieces_are_one_line_with_the_time_of_the_first() {
    let file = cri(0, "out", 'F', "one") + &cri(1, "out", 'P', "first half ") + &cri(2, "out", 'F', "second half");
    let (_, sink) = unwrapped(Records::Cri, &file);
    let line = cri(0, "out", 'F', "one").len() as u64;
    let begin = "2026-11-28T10:00:00Z".parse::<jiff::Timestamp>().unwrap().as_second() * 1_000_000_000;
    let expected = [
        (b"one\n".to_vec(), 0, line, true, Some(begin)),
        (b"first half second half\n".to_vec(), line, file.len() as u64, true, Some(begin + 1_000_000_000)),
    ];
    assert_eq!(sink.puts, expected);
}

#[test]
fn what_the_other_stream_wrote_in_between_comes_behind_and_belongs_with_it() {
    let first = cri(0, "out", 'F', "x");
    let file = first.clone()
        + &cri(1, "out", 'P', "a")
        + &cri(2, "err", 'F', "b")
        + &cri(3, "err", 'P', "c")
        + &cri(4, "out", 'F', "a")
        + &cri(5, "err", 'F', "c");
    let (_, sink) = unwrapped(Records::Cri, &file);
    assert_eq!(sink.text(), "x\naa\nb\ncc\n");
    let (start, end) = (first.len() as u64, file.len() as u64);
    let ends: Vec<_> = sink.puts.iter().map(|put| (put.2, put.3)).collect();
    assert_eq!(ends, [(start, true), (start, false), (start, false), (end, true)]);
}

#[test]
fn what_is_no_record_passes_and_is_told_once() {
    let file = cri(0, "out", 'P', "a") + "no record\n\n" + &cri(1, "out", 'F', "b");
    let (mut unwrapper, sink) = unwrapped(Records::Cri, &file);
    assert_eq!(sink.text(), "a\nno record\n\nb\n");
    let odd = cri(0, "out", 'P', "a").len() as u64;
    assert_eq!((unwrapper.take_odd(), unwrapper.take_odd()), (Some(odd), None));
    assert_eq!(sink.puts[1], (b"no record\n".to_vec(), odd, odd + 10, true, None));
}

#[test]
fn a_very_long_line_goes_on_its_way_and_others_wait_for_its_end() {
    let piece = "y".repeat(16_000);
    let mut file: String = (0..9).map(|_| cri(0, "out", 'P', &piece)).collect();
    file += &(cri(1, "err", 'F', "e") + &cri(2, "out", 'F', "end") + &cri(3, "out", 'F', "next"));
    let (_, sink) = unwrapped(Records::Cri, &file);
    assert_eq!(sink.text(), short(&piece).repeat(9) + "end\ne\nnext\n");
    assert!(sink.puts.len() > 3 && !sink.puts[0].0.contains(&b'\n'));
    // What stands between does not wait for ever.
    let others: String = (0..300).map(|_| cri(1, "err", 'F', "e")).collect();
    let (_, sink) = unwrapped(Records::Cri, &(cri(0, "out", 'P', "a") + &others + &cri(2, "out", 'F', "b")));
    assert_eq!(sink.text(), "a\n".to_owned() + &"e\n".repeat(300) + "b\n");
}

#[test]
fn pieces_without_an_end_are_held_until_nothing_more_comes() {
    let file = cri(0, "out", 'F', "x") + &cri(1, "out", 'P', "a");
    let (mut unwrapper, mut sink) = unwrapped(Records::Cri, &file);
    assert_eq!(sink.text(), "x\n");
    assert_eq!(unwrapper.held_from(GenerationId(1)), Some(cri(0, "out", 'F', "x").len() as u64));
    unwrapper.around(&mut sink).note(SOURCE, Standing::Ended);
    assert_eq!(sink.text(), "x\na\n");
    assert_eq!(unwrapper.held_from(GenerationId(1)), None);
}

#[test]
fn plain_lines_and_records_may_follow_each_other() {
    let (mut unwrapper, mut sink) =
        unwrapped(Records::Docker, "{\"log\":\"a\"}\n{\"log\":\"b\\n\"}\n{\"log\":\"c\"}\n");
    unwrapper.set_format(Records::Plain);
    feed(&mut unwrapper, &mut sink, "{\"log\":\"plain\"}\n", 0, 99);
    assert_eq!(sink.text(), "ab\nc\n{\"log\":\"plain\"}\n");
    assert_eq!(unwrapper.take_odd(), None);
}

/// Random numbers, the same each time.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

#[test]
fn whatever_comes_in_whichever_runs_each_line_comes_once_from_each_known_position() {
    for seed in 0..300 {
        let mut chance = Chance(seed);
        let mut file = String::new();
        for number in 0..chance.below(40) {
            let stream = ["out", "err"][chance.below(2) as usize];
            let tag = ['F', 'F', 'P'][chance.below(3) as usize];
            let long = "y".repeat(if chance.below(12) == 0 { 40_000 } else { 3 });
            let line = match chance.below(15) {
                0 => format!("odd {number}\n"),
                _ => cri(number as u32 % 60, stream, tag, &format!("{number}{long}")),
            };
            file += &line;
        }
        let whole = |from: usize, step: usize| {
            let (mut unwrapper, mut sink) = (Unwrapper::new(Records::Cri), Sink::default());
            feed(&mut unwrapper, &mut sink, &file, from, step);
            unwrapper.around(&mut sink).note(SOURCE, Standing::Ended);
            sink
        };
        let all = whole(0, usize::MAX / 2);
        let runs = whole(0, 1 + chance.below(500) as usize);
        assert!(runs.puts == all.puts, "{seed}");
        let mut before = String::new();
        for (bytes, _, end, is_stop, _) in &all.puts {
            before += &short(str::from_utf8(bytes).unwrap());
            // Behind a piece that goes on nothing of the line is known to the next run.
            if *is_stop && !before.ends_with('Y') {
                let rest = whole(*end as usize, 777).text();
                assert_eq!(before.clone() + &rest, all.text(), "{seed}: from {end}");
            }
        }
    }
}
