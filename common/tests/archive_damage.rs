//! Archives that are not whole: what is damaged is said, what is not is read, and nothing makes the reader panic.

mod archive_support;

use archive_support::{MIB, Random, START_NS, archive_of, log_lines, open};
use standpipe_common::archive::format::{SeekTable, TableEntry, TableFault};
use standpipe_common::archive::{Archive, Copied, Decoder, IndexFault, Mark};

/// Three frames in a few hundred bytes: a short line, 1 MiB of a longer one, and the rest.
fn small_data() -> Vec<u8> {
    let mut data = b"first line\n".to_vec();
    data.extend(vec![b'x'; MIB + 3]);
    data.extend(b"\nlast line, and a line that stays open");
    data
}

fn small_archive() -> Vec<u8> {
    let marks = vec![Mark { offset: 0, time_ns: START_NS }, Mark { offset: 11, time_ns: START_NS + 7 }];
    let bytes = archive_of(&small_data(), 1, marks).0;
    assert_eq!(open(&bytes).frames().len(), 3);
    bytes
}

fn copy(archive: &Archive) -> (Vec<u8>, Copied) {
    let mut out = Vec::new();
    let copied = archive.copy_to(&mut out).unwrap();
    assert_eq!(copied.raw_bytes, out.len() as u64);
    (out, copied)
}

/// `data` without what the gaps say is missing.
fn without_gaps(data: &[u8], copied: &Copied) -> Vec<u8> {
    let mut rest = data.to_vec();
    for gap in copied.gaps.iter().rev() {
        let start = gap.raw_offset as usize;
        let end = gap.bytes.map_or(rest.len(), |bytes| start + bytes as usize);
        rest.drain(start..end);
    }
    rest
}

#[test]
fn a_damaged_frame_is_a_reported_gap_and_the_rest_is_read() {
    let data = log_lines(40_000, 1000);
    let good = archive_of(&data, 1, vec![]).0;
    let frames = open(&good).frames().to_vec();
    assert!(frames.len() >= 3);
    let mut bytes = good.clone();
    bytes[frames[1].offset as usize + 5000] ^= 0x10;
    let archive = open(&bytes);
    archive.complete().unwrap();
    let (out, copied) = copy(&archive);
    let [gap] = &copied.gaps[..] else { panic!("{:?}", copied.gaps) };
    assert_eq!(gap.frame, Some(1));
    assert_eq!((gap.raw_offset, gap.bytes), (frames[1].raw_offset, Some(frames[1].raw.into())));
    assert!(out == without_gaps(&data, &copied));
    let said = gap.to_string();
    assert!(said.starts_with("cannot read frame 1 of app.log.zst: it is damaged ("), "{said}");
    assert!(said.ends_with(&format!("; the log lacks {} bytes from offset {}", frames[1].raw, frames[1].raw_offset)));
}

#[test]
fn every_flipped_bit_is_noticed_or_harmless_and_spares_the_other_frames() {
    let data = small_data();
    let good = small_archive();
    let frames = open(&good).frames().to_vec();
    let index_offset = frames.last().map(|frame| frame.offset + u64::from(frame.compressed)).unwrap();
    for at in 0..good.len() {
        for bit in 0..8 {
            let mut bytes = good.clone();
            bytes[at] ^= 1 << bit;
            let archive = open(&bytes);
            let (out, copied) = copy(&archive);
            let place = format!("bit {bit} of byte {at} of {}", good.len());
            if (at as u64) < index_offset {
                archive.complete().unwrap();
                archive.index().unwrap();
                let hit = frames.iter().rposition(|frame| frame.offset <= at as u64);
                assert!(copied.gaps.iter().all(|gap| gap.frame == hit), "{place}");
                assert!(out == without_gaps(&data, &copied), "{place}");
            } else {
                assert!(out == data, "{place}");
                let unused_by_the_seekable_format = at == good.len() - 5 && bit < 2;
                let has_index = archive.index().is_ok_and(|index| index.marks.is_sound());
                let filter = archive.filter(|_, _| ()).unwrap();
                let noticed = archive.complete().is_err() || !has_index || filter.is_err();
                assert_eq!(noticed, !unused_by_the_seekable_format, "{place}");
                assert_eq!(archive.complete().is_err(), !copied.gaps.is_empty(), "{place}");
            }
        }
    }
}

#[test]
fn a_cut_archive_is_called_incomplete_and_read_as_far_as_it_goes() {
    let data = small_data();
    let good = small_archive();
    let frames = open(&good).frames().to_vec();
    for length in 0..good.len() {
        let archive = open(&good[..length]);
        assert_eq!(archive.complete(), Err(TableFault::Missing), "{length} bytes");
        assert_eq!(archive.index(), Err(IndexFault::Missing), "{length} bytes");
        assert_eq!((archive.frames().len(), archive.raw_bytes()), (0, 0), "{length} bytes");
        let (out, copied) = copy(&archive);
        let [gap] = &copied.gaps[..] else { panic!("{:?}", copied.gaps) };
        assert_eq!((gap.frame, gap.raw_offset, gap.bytes), (None, out.len() as u64, None), "{length} bytes");
        assert!(data.starts_with(&out), "{length} bytes");
        let whole = frames.iter().filter(|frame| frame.offset + u64::from(frame.compressed) <= length as u64);
        let whole_bytes: u64 = whole.map(|frame| u64::from(frame.raw)).sum();
        assert!(out.len() as u64 >= whole_bytes, "{length} bytes: all whole frames are read");
    }
}

#[test]
fn bytes_after_the_seek_table_make_an_archive_incomplete() {
    let mut bytes = small_archive();
    bytes.extend([0; 512]);
    let archive = open(&bytes);
    assert_eq!(archive.complete(), Err(TableFault::Missing));
    let (out, copied) = copy(&archive);
    assert!(out == small_data());
    assert_eq!(copied.gaps.len(), 1);
    let said = copied.gaps[0].to_string();
    assert!(said.starts_with("cannot read all of app.log.zst: incomplete: it has no seek table"), "{said}");
}

/// The archive with another index payload in place of its own, with a header that vouches for it, and a seek table that
/// fits.
fn with_index(change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let good = small_archive();
    let table_bytes = 8 + 5 * 8 + 9;
    let (before, tail) = good.split_at(good.len() - table_bytes);
    let mut table = SeekTable::parse(tail, good.len() as u64).unwrap();
    let index_entry = table.entries.last_mut().unwrap();
    let (data, index) = before.split_at(before.len() - index_entry.compressed as usize);
    let mut payload = index[8..].to_vec();
    change(&mut payload);
    let crc = crc32fast::hash(&payload[..76]);
    payload[76..80].copy_from_slice(&crc.to_le_bytes());
    index_entry.compressed = payload.len() as u32 + 8;
    let length = (payload.len() as u32).to_le_bytes();
    [data, &index[..4], &length, &payload, &table.encode().unwrap()].concat()
}

#[test]
fn a_newer_index_is_refused_by_its_version_and_the_data_are_read() {
    let archive = open(&with_index(|payload| {
        payload[8] = 9;
        payload.extend(b"fields of the future");
    }));
    archive.complete().unwrap();
    assert_eq!(archive.index(), Err(IndexFault::Newer(9)));
    let (out, copied) = copy(&archive);
    assert!(out == small_data() && copied.gaps.is_empty());
}

#[test]
fn an_index_of_somebody_else_is_no_index_and_the_data_are_read() {
    let archive = open(&with_index(|payload| payload[..8].copy_from_slice(b"somebody")));
    assert_eq!((archive.complete(), archive.index()), (Ok(()), Err(IndexFault::Missing)));
    assert!(copy(&archive).0 == small_data());
}

#[test]
fn a_seek_table_that_a_sound_index_contradicts_is_not_believed() {
    let archive = open(&with_index(|payload| payload[16] ^= 1));
    assert!(matches!(archive.complete(), Err(TableFault::Damaged(_))));
    assert!(copy(&archive).0 == small_data());
}

/// A file of one frame without an index, whose seek table claims `raw` bytes for it.
fn claiming(raw: u32, content_size: bool) -> Archive {
    let mut compressor = zstd::bulk::Compressor::new(1).unwrap();
    compressor.set_parameter(zstd::zstd_safe::CParameter::ContentSizeFlag(content_size)).unwrap();
    let mut bytes = compressor.compress(b"ten bytes\n").unwrap();
    let entry = TableEntry { compressed: bytes.len() as u32, raw };
    bytes.extend(SeekTable { entries: vec![entry] }.encode().unwrap());
    open(&bytes)
}

#[test]
fn a_frame_of_another_size_than_the_seek_table_claims_is_a_gap() {
    for content_size in [true, false] {
        assert_eq!(copy(&claiming(10, content_size)).0, b"ten bytes\n");
        for raw in [9, 11, 50 << 20, 64 << 20 | 1, u32::MAX] {
            let (out, copied) = copy(&claiming(raw, content_size));
            assert_eq!((out.len(), copied.gaps.len()), (0, 1), "{raw} {content_size}");
            assert_eq!(copied.gaps[0].bytes, Some(raw.into()));
        }
    }
    let said = copy(&claiming(50 << 20, true)).1.gaps[0].to_string();
    assert!(said.contains("its size differs from the seek table"), "{said}");
}

#[test]
fn no_bytes_make_the_reader_panic() {
    let mut random = Random(42);
    let busy = archive_of(&log_lines(500, 1000), 1, (0..400).map(|i| Mark { offset: i * 70, time_ns: 0 }).collect()).0;
    let samples = [small_archive(), busy];
    let mut raw = Vec::new();
    for round in 0..4000 {
        let mut bytes = samples[round % 2].clone();
        for _ in 0..=random.below(6) {
            mutate(&mut bytes, &mut random);
        }
        let archive = open(&bytes);
        let (out, copied) = copy(&archive);
        let missing: u64 = copied.gaps.iter().filter_map(|gap| gap.bytes).sum();
        if archive.complete().is_ok() {
            assert_eq!(out.len() as u64 + missing, archive.raw_bytes(), "round {round}");
        } else {
            assert_eq!(copied.gaps.len(), 1, "round {round}");
        }
        for number in 0..archive.frames().len().min(4) {
            let read = archive.read_frame(number, &mut Decoder::new().unwrap(), &mut raw);
            assert_eq!(raw.len(), read.map_or(0, |()| archive.frames()[number].raw as usize), "round {round}");
        }
    }
}

/// One change of the kinds that disks, transfers and hands make; half of them near the end, where the structure is.
fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    if bytes.is_empty() {
        return;
    }
    let near_end = random.below(2) == 0;
    let at = if near_end { bytes.len() - 1 - random.below(bytes.len().min(150)) } else { random.below(bytes.len()) };
    match random.below(7) {
        0 => bytes[at] ^= 1 << random.below(8),
        1 => bytes[at] = random.next() as u8,
        2 => bytes[at] = 0xFF,
        3 => bytes.truncate(at),
        4 => drop(bytes.drain(at..(at + 1 + random.below(16)).min(bytes.len()))),
        5 => {
            let noise = (0..random.below(16)).map(|_| random.next() as u8).collect::<Vec<_>>();
            bytes.splice(at..at, noise);
        }
        _ => bytes[at..].iter_mut().take(8).for_each(|byte| *byte = 0),
    }
}
