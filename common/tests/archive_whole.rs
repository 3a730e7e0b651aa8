//! Archives that are whole: every byte comes back, through us and through others, at the price of plain zstd.

mod archive_support;

use std::io::{self, Read, Seek, SeekFrom};

use archive_support::{GUESS, MIB, Random, START_NS, archive_of, log_lines, open};
use standpipe_common::archive::format::FRAME_BYTES;
use standpipe_common::archive::graft::graft_filter;
use standpipe_common::archive::{Archive, Decoder, FilterFault, Guess, Mark, Spec, Writer, filter, grams};
use standpipe_common::serial::Serial;

/// Gives a few bytes at a time, and is interrupted now and then.
struct Trickle<'a>(&'a [u8], Random);

impl Read for Trickle<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.1.below(4) == 0 {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let some = (1 + self.1.below(100_000)).min(buffer.len());
        self.0.read(&mut buffer[..some])
    }
}

fn bytes_of(count: usize, of: impl Fn(&mut Random) -> u8) -> Vec<u8> {
    let mut random = Random(7);
    (0..count).map(|_| of(&mut random)).collect()
}

fn assorted() -> Vec<(&'static str, Vec<u8>)> {
    let mut long_first = vec![b'x'; MIB - 1];
    long_first.extend(b"\nshort\n");
    let mut late_newline = b"first\n".to_vec();
    late_newline.extend(vec![b'y'; 2 * MIB]);
    late_newline.extend(b"\nlast");
    vec![
        ("nothing", vec![]),
        ("one byte", vec![b'a']),
        ("one newline", vec![b'\n']),
        ("empty lines", vec![b'\n'; 5000]),
        ("no newline for 3 MiB", bytes_of(3 * MIB, |r| b'a' + r.below(16) as u8)),
        ("NULs", vec![0; 2 * MIB + 17]),
        ("0xFF", vec![0xFF; 70_000]),
        ("1 MiB - 1", bytes_of(MIB - 1, |r| if r.below(80) == 0 { b'\n' } else { b'.' })),
        ("1 MiB", bytes_of(MIB, |r| if r.below(80) == 0 { b'\n' } else { b'.' })),
        ("1 MiB + 1", bytes_of(MIB + 1, |r| if r.below(80) == 0 { b'\n' } else { b'.' })),
        ("1 MiB ending in a newline", long_first),
        ("a newline long before a long line", late_newline),
        ("random bytes", bytes_of(3 * MIB + 5, |r| r.next() as u8)),
        ("log lines", log_lines(40_000, 1000)),
    ]
}

#[test]
fn every_stream_comes_back_byte_for_byte() {
    for (name, data) in assorted() {
        let (bytes, summary) = archive_of(&data, 1, vec![]);
        let lines = line_starts(&data).count() as u64 - 1;
        assert_eq!((summary.raw_bytes, summary.lines), (data.len() as u64, lines), "{name}");
        assert_eq!(summary.compressed_bytes, bytes.len() as u64, "{name}");
        let archive = open(&bytes);
        archive.complete().unwrap();
        assert_eq!(archive.raw_bytes(), data.len() as u64, "{name}");
        assert_eq!(archive.frames().len(), summary.frames as usize, "{name}");
        assert_eq!(archive.index().unwrap().lines, lines, "{name}");
        let mut copy = Vec::new();
        let copied = archive.copy_to(&mut copy).unwrap();
        assert!(copy == data && copied.gaps.is_empty() && copied.raw_bytes == data.len() as u64, "{name}");
        assert!(zstd::stream::decode_all(&bytes[..]).unwrap() == data, "{name} through plain zstd");
    }
}

#[test]
fn frames_hold_the_stream_in_order_and_end_at_line_ends_where_there_are_any() {
    for (name, data) in assorted() {
        let archive = open(&archive_of(&data, 1, vec![]).0);
        let index = archive.index().unwrap();
        let mut raw = Vec::new();
        let mut at = 0;
        for (number, (frame, said)) in archive.frames().iter().zip(&index.frames).enumerate() {
            archive.read_frame(number, &mut Decoder::new().unwrap(), &mut raw).unwrap();
            assert_eq!((frame.raw_offset, frame.raw as usize), (at as u64, raw.len()), "{name} {number}");
            assert!(raw[..] == data[at..at + raw.len()], "{name} {number}");
            assert_eq!(said.begins_inside, at > 0 && data[at - 1] != b'\n', "{name} {number}");
            at += raw.len();
            assert_eq!(said.ends_inside, !raw.ends_with(b"\n"), "{name} {number}");
            assert!(raw.len() <= FRAME_BYTES, "{name} {number}");
            let may_end_inside = at == data.len() || (raw.len() == FRAME_BYTES && !raw.contains(&b'\n'));
            assert!(!said.ends_inside || may_end_inside, "{name} {number}");
        }
        assert_eq!(at, data.len(), "{name}");
        let last = archive.frames().len();
        assert!(archive.read_frame(last, &mut Decoder::new().unwrap(), &mut raw).is_err() && raw.is_empty(), "{name}");
    }
}

#[test]
fn how_the_source_gives_its_bytes_changes_nothing() {
    let data = log_lines(30_000, 1000);
    let spec = || Spec { level: 1, begins_inside: true, serial: None, marks: vec![], guess: GUESS, filter: true };
    let mut writer = Writer::new().unwrap();
    let (mut once, mut trickled) = (Vec::new(), Vec::new());
    writer.write(&mut &data[..], &mut once, spec()).unwrap();
    writer.write(&mut Trickle(&data, Random(3)), &mut trickled, spec()).unwrap();
    assert!(once == trickled);
    assert!(open(&once).index().unwrap().begins_inside);
}

#[test]
fn a_writer_can_be_used_again_after_a_source_failed() {
    let mut writer = Writer::new().unwrap();
    let spec = |level| Spec { level, begins_inside: false, serial: None, marks: vec![], guess: GUESS, filter: true };
    let mut torn = io::repeat(b'x').take(3 << 20).chain(Broken);
    assert!(writer.write(&mut torn, &mut Vec::new(), spec(9)).is_err());
    let mut out = Vec::new();
    writer.write(&mut &b"a\nb\n"[..], &mut out, spec(1)).unwrap();
    assert_eq!(out, archive_of(b"a\nb\n", 1, vec![]).0);
}

struct Broken;

impl Read for Broken {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::other("called off"))
    }
}

#[test]
fn every_frame_has_its_content_size_and_checksum_and_no_dictionary() {
    let archive = archive_of(&log_lines(30_000, 1000), 5, vec![]).0;
    for frame in open(&archive).frames() {
        let header = &archive[frame.offset as usize..][..frame.compressed as usize];
        assert_eq!(header[..4], [0x28, 0xB5, 0x2F, 0xFD]);
        let (checksum, dictionary) = (header[4] & 0b100, header[4] & 0b11);
        assert_eq!((checksum, dictionary), (0b100, 0));
        assert_eq!(zstd::zstd_safe::get_frame_content_size(header).unwrap(), Some(frame.raw.into()));
    }
}

#[test]
fn marks_and_guesses_come_back() {
    let data = log_lines(30_000, 1000);
    let marks: Vec<Mark> = (0..3000).map(|i| Mark { offset: i * 900, time_ns: START_NS - i as i64 }).collect();
    let (bytes, summary) = archive_of(&data, 1, marks.clone());
    let archive = open(&bytes);
    let index = archive.index().unwrap();
    assert_eq!(
        index.marks.to_vec(),
        marks.iter().copied().filter(|m| m.offset < data.len() as u64).collect::<Vec<_>>()
    );
    assert!(!index.guessed && index.frames[0].goes_back);
    assert_eq!((summary.last_ns, Some(summary.first_ns)), (START_NS, index.lowest_ns()));
    assert_eq!([0, 899, 900].map(|at| index.arrival_ns(at)), [START_NS, START_NS, START_NS - 1]);

    let (bytes, summary) = archive_of(&data, 1, vec![]);
    let Guess { birth_ns, last_ns } = GUESS;
    assert!(open(&bytes).index().unwrap().guessed);
    assert_eq!((summary.first_ns, summary.last_ns), (birth_ns, last_ns));
}

#[test]
fn zeekstd_reads_any_range_and_sees_filter_and_index_as_frames_of_no_raw_bytes() {
    let data = log_lines(60_000, 1000);
    let (bytes, summary) = archive_of(&data, 1, vec![Mark { offset: 0, time_ns: START_NS }]);
    let mut decoder = zeekstd::Decoder::new(io::Cursor::new(&bytes)).unwrap();
    let table = decoder.seek_table();
    assert_eq!(table.num_frames(), summary.frames + 2);
    for number in [summary.frames, summary.frames + 1] {
        assert_eq!(table.frame_size_decomp(number).unwrap(), 0);
        assert!(table.frame_size_comp(number).unwrap() > 0);
    }
    assert_eq!(table.size_decomp(), data.len() as u64);
    let mut random = Random(11);
    for _ in 0..200 {
        let start = random.below(data.len());
        let end = start + random.below(data.len() - start + 1).min(100_000);
        decoder.seek(SeekFrom::Start(start as u64)).unwrap();
        let mut range = vec![0; end - start];
        decoder.read_exact(&mut range).unwrap();
        assert!(range == data[start..end], "{start}..{end}");
    }
}

#[test]
fn an_archive_is_hardly_larger_than_its_pieces_under_plain_zstd() {
    let data = log_lines(60_000, 1000);
    let marks: Vec<Mark> =
        (0..600).map(|i| Mark { offset: i * 9000, time_ns: START_NS + i as i64 * 10_000_123 }).collect();
    for level in [1, 5, 9] {
        let plain: usize = data.chunks(MIB).map(|piece| zstd::bulk::compress(piece, level).unwrap().len()).sum();
        let ours = archive_of(&data, level, marks.clone()).0.len();
        assert!(ours * 100 < plain * 105, "level {level}: {ours} against {plain}");
    }
}

/// Bytes that marks add to an archive.
fn marks_bytes(data: &[u8], marks: Vec<Mark>) -> (usize, usize) {
    let without = archive_of(data, 1, vec![]).0.len();
    let count = marks.len();
    let (bytes, _) = archive_of(data, 1, marks);
    assert_eq!(open(&bytes).index().unwrap().marks.len(), count);
    (bytes.len() - without, bytes.len())
}

#[test]
fn a_line_a_minute_costs_at_most_eight_bytes_a_line() {
    let data = log_lines(10_000, 60_000_000);
    let mut random = Random(5);
    let marks: Vec<Mark> = line_starts(&data)
        .take(10_000)
        .enumerate()
        .map(|(line, offset)| Mark {
            offset,
            time_ns: START_NS + line as i64 * 60_000_000_000 + random.below(50_000_000) as i64,
        })
        .collect();
    let (added, _) = marks_bytes(&data, marks);
    assert!(added <= 8 * 10_000, "{added} bytes for 10000 lines");
}

#[test]
fn a_mark_every_ten_milliseconds_of_a_busy_log_is_within_one_percent() {
    let data = log_lines(200_000, 5);
    let mut random = Random(6);
    let mut time_ns = START_NS;
    let starts: Vec<u64> = line_starts(&data).collect();
    let marks: Vec<Mark> = starts[..200_000]
        .chunks(2000)
        .map(|tick| {
            time_ns += 10_000_000 + random.below(200_000) as i64;
            Mark { offset: tick[0], time_ns }
        })
        .collect();
    let (added, all) = marks_bytes(&data, marks);
    assert!(added * 100 <= all, "{added} of {all} bytes");
}

/// Where lines begin: at 0 and after each newline.
fn line_starts(data: &[u8]) -> impl Iterator<Item = u64> {
    std::iter::once(0).chain(memchr::memchr_iter(b'\n', data).map(|at| at as u64 + 1))
}

/// The arrays of its filter.
fn arrays(archive: &Archive) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    archive.filter(|_, array| found.push(array.to_vec())).unwrap().expect("a filter");
    found
}

#[test]
fn a_filter_takes_at_most_eight_hundredths_and_is_left_out_where_nobody_wants_it() {
    let data = log_lines(60_000, 1000);
    for level in [1, 8] {
        let (with, _) = archive_of(&data, level, vec![]);
        let mut without = Vec::new();
        let spec = Spec { level, begins_inside: false, serial: None, marks: vec![], guess: GUESS, filter: false };
        Writer::new().unwrap().write(&mut &data[..], &mut without, spec).unwrap();
        assert!(with.len() * 100 <= without.len() * 108, "{} bytes and {} without", with.len(), without.len());
        assert_eq!(open(&without).filter(|_, _| ()).unwrap().err(), Some(FilterFault::Missing));
        let archive = open(&with);
        let arrays = arrays(&archive);
        assert!(
            archive
                .frames()
                .iter()
                .zip(&arrays)
                .all(|(frame, array)| array.len() * 100 <= frame.compressed as usize * 8)
        );
        assert_eq!(grafted(&without), with, "the same filter is grafted on");
        assert_eq!(grafted(&with), with, "and replaces its like");
    }
}

fn grafted(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    graft_filter(&open(bytes), &mut Decoder::new().unwrap(), &mut out).unwrap().expect("a filter");
    out
}

#[test]
fn every_gram_of_a_frame_is_in_its_array() {
    let data = log_lines(60_000, 1000);
    let archive = open(&archive_of(&data, 1, vec![]).0);
    for (frame, array) in archive.frames().iter().zip(arrays(&archive)) {
        let raw = &data[frame.raw_offset as usize..][..frame.raw as usize];
        grams::hashes(raw, |hash| assert!(filter::has(&array, hash)));
    }
}

#[test]
fn the_example_of_the_specification_is_an_archive_as_described_there() {
    let page = include_str!("../../docs/archive-format.md");
    let dump = page.lines().filter_map(|line| line.strip_prefix("000000")?.split_once(": "));
    let hex = dump.flat_map(|(_, row)| row[..row.len().min(48)].split_whitespace());
    let bytes: Vec<u8> = hex.map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
    let archive = open(&bytes);
    archive.complete().unwrap();
    let mut raw = Vec::new();
    archive.read_frame(0, &mut Decoder::new().unwrap(), &mut raw).unwrap();
    assert_eq!(raw, b"one\ntwo\nthree");
    let (first, third) = (START_NS, START_NS + 60_000_000_000);
    let index = archive.index().unwrap();
    assert_eq!(*index.marks, [Mark { offset: 0, time_ns: first }, Mark { offset: 8, time_ns: third }]);
    let log = "00112233445566778899aabbccddeeff".parse().unwrap();
    assert_eq!(index.serial, Some(Serial { log, number: 3, offset: 1000 }));
    let mut written = Vec::new();
    let marks = index.marks.to_vec();
    let spec = Spec { level: 1, begins_inside: false, serial: index.serial, marks, guess: GUESS, filter: true };
    Writer::new().unwrap().write(&mut &raw[..], &mut written, spec).unwrap();
    assert_eq!(archive.data_bytes(), 0x1a);
    assert_eq!(open(&written).index().unwrap(), index);
    assert_eq!((arrays(&archive), arrays(&open(&written))), (vec![vec![0x10]], vec![vec![0x10]]));
    assert_eq!((index.frames[0].lowest_ns, index.frames[0].highest_ns), (first, third));
    assert!(index.ends_inside && !index.begins_inside && !index.guessed);
}
