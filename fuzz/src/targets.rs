//! Everything that reads what others can write: files of ours that a disk or a tenant may have damaged, configurations,
//! lines, what rotators pack, and words on a socket.

use std::cell::RefCell;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;
use standpipe_common::archive::filter::{ARRAY_BYTES_MAX, Filter, has};
use standpipe_common::archive::format::{ENTRIES_MAX, FOOTER_BYTES, Footer, SeekTable};
use standpipe_common::archive::packed::Payload;
use standpipe_common::archive::{Archive, Decoder, Index, marks};
use standpipe_common::policy::{self, PolicyKind};
use standpipe_reader::disk::Dir;
use standpipe_reader::record::Record;
use standpipe_reader::state::State;
use standpipe_reader::{control, status as reader_status};
use standpipe_tailer::checkpoint::form;
use standpipe_tailer::config::{self, Overrides, Records};
use standpipe_tailer::file::identity::Origin;
use standpipe_tailer::file::packed::{Packed, Packing, goes_on};
use standpipe_tailer::out::lines::{End, GenerationId, Lines, SourceId};
use standpipe_tailer::out::output::{Output, Standing};
use standpipe_tailer::out::timestamp::{Format, Parser};
use standpipe_tailer::out::unwrap::Unwrapper;
use standpipe_tailer::stage::file::{RecordFile, Setting};
use standpipe_tailer::stage::message::Messages;
use standpipe_tailer::status as tailer_status;

use crate::{Target, seeds};

const MIB: usize = 1 << 20;
/// 2026-11-21T10:00:00Z, ns since the epoch.
const NOW_NS: i64 = 1_795_255_200_000_000_000;
/// What is unpacked of one input at most, as in the tailer: a block at a time.
const UNPACKED_BYTES_MAX: u64 = 64 << 20;
/// How large the areas of a stage record are here.
pub(crate) const AREA_BYTES: usize = 4096;
/// The checksum of the state file that changes belong to here.
pub(crate) const BASE: u64 = 0x0123_4567_89ab_cdef;
pub(crate) const BOOT: &str = "11111111-2222-3333-4444-555555555555";

const TOML: &[&[u8]] =
    &[b"\n[[files]]\n", b" = ", b"\"\"\"", b"[[spool]]\n", b"{", b"999999999999999999999", b"\"1h\""];
const YAML: &[&[u8]] = &[b"\n- ", b": ", b"&a ", b"*a", b"<<: ", b"|\n", b"!!str ", b"'", b"{", b"]", b"? "];
const JSON: &[&[u8]] = &[b"{", b"[", b"\":", b",", b"\\u0000", b"1e999", b"-1", b"\"offset\":", b"null"];
const TIMES: &[&[u8]] =
    &[b"2026-11-21", b"T10:00:00", b".123", b"+01:00", b"Nov 21 ", b"[", b"<34>", b"99", b"\x1b[32m"];
const RECORDS: &[&[u8]] =
    &[b"{\"log\":\"", b"\\n\"}", b"\n", b" stdout P ", b" stderr F ", b"\",\"stream\":\"stdout\""];

/// All of them.
pub const ALL: &[Target] = &[
    Target { name: "archive", seeds: seeds::archives, words: &[], mend: as_it_is, read: archive, memory_max: 24 * MIB },
    Target { name: "index", seeds: seeds::indexes, words: &[], mend: sum_of_index, read: index, memory_max: 8 * MIB },
    Target { name: "filter", seeds: seeds::filters, words: &[], mend: sum_of_index, read: filter, memory_max: 2 * MIB },
    Target {
        name: "seek-table",
        seeds: seeds::tables,
        words: &[],
        mend: as_it_is,
        read: seek_table,
        memory_max: 4 * MIB,
    },
    Target { name: "marks", seeds: seeds::marks, words: &[], mend: as_it_is, read: read_marks, memory_max: 8 * MIB },
    Target { name: "mailbox", seeds: seeds::mailboxes, words: &[], mend: as_it_is, read: mailbox, memory_max: MIB },
    Target {
        name: "control",
        seeds: seeds::controls,
        words: &[b"rotate"],
        mend: as_it_is,
        read: control,
        memory_max: MIB,
    },
    Target {
        name: "reader-status",
        seeds: seeds::reader_status,
        words: &[],
        mend: as_it_is,
        read: reader_state_of_lanes,
        memory_max: 8 * MIB,
    },
    Target {
        name: "tailer-status",
        seeds: seeds::tailer_status,
        words: &[],
        mend: as_it_is,
        read: tailer_state_of_files,
        memory_max: 8 * MIB,
    },
    Target {
        name: "log-state",
        seeds: seeds::log_states,
        words: &[b"\n"],
        mend: as_it_is,
        read: log_state,
        memory_max: 4 * MIB,
    },
    Target {
        name: "checkpoint",
        seeds: seeds::checkpoints,
        words: JSON,
        mend: sum_of_checkpoint,
        read: checkpoint,
        memory_max: 16 * MIB,
    },
    Target {
        name: "changes",
        seeds: seeds::changes,
        words: JSON,
        mend: sums_of_changes,
        read: changes,
        memory_max: 8 * MIB,
    },
    Target { name: "stage", seeds: seeds::stages, words: &[], mend: as_it_is, read: stage, memory_max: 4 * MIB },
    Target {
        name: "policy",
        seeds: seeds::policies,
        words: TOML,
        mend: as_it_is,
        read: policies,
        memory_max: 16 * MIB,
    },
    Target {
        name: "tailer-toml",
        seeds: seeds::configurations,
        words: TOML,
        mend: as_it_is,
        read: toml,
        memory_max: 32 * MIB,
    },
    Target {
        name: "tailer-yaml",
        seeds: seeds::yaml_configurations,
        words: YAML,
        mend: as_it_is,
        read: yaml,
        memory_max: 32 * MIB,
    },
    Target { name: "timestamps", seeds: seeds::lines, words: TIMES, mend: as_it_is, read: timestamps, memory_max: MIB },
    Target {
        name: "records",
        seeds: seeds::records,
        words: RECORDS,
        mend: as_it_is,
        read: records,
        memory_max: 4 * MIB,
    },
    Target {
        name: "gzip",
        seeds: seeds::gzips,
        words: &[b"\x1f\x8b\x08"],
        mend: as_it_is,
        read: gzip,
        memory_max: 4 * MIB,
    },
    Target {
        name: "zstd",
        seeds: seeds::zstds,
        words: &[b"\x28\xb5\x2f\xfd"],
        mend: as_it_is,
        read: zstd,
        memory_max: 140 * MIB,
    },
];

fn as_it_is(_input: &mut [u8]) {}

/// The header has the CRC-32 of the frame entries, and its own behind it; each entry that of its marks.
fn sum_of_index(input: &mut [u8]) {
    const HEADER: usize = 76;
    const HEAD: usize = 80;
    const ENTRY: usize = 44;
    let Some((head, rest)) = input.split_at_mut_checked(HEAD) else { return };
    let number = |bytes: &[u8]| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize;
    let frames = number(&head[12..]).min(rest.len() / ENTRY);
    let (entries, mut marks) = rest.split_at_mut(frames * ENTRY);
    for entry in entries.chunks_mut(ENTRY) {
        let own = marks.split_off_mut(..number(&entry[36..]).min(marks.len())).unwrap_or_default();
        entry[40..].copy_from_slice(&crc32fast::hash(own).to_le_bytes());
    }
    head[HEADER - 4..HEADER].copy_from_slice(&crc32fast::hash(entries).to_le_bytes());
    let sum = crc32fast::hash(&head[..HEADER]);
    head[HEADER..].copy_from_slice(&sum.to_le_bytes());
}

/// The first line has the XXH3 of all behind it.
fn sum_of_checkpoint(input: &mut [u8]) {
    const HEX: usize = 16;
    let Some(line) = input.iter().position(|byte| *byte == b'\n').filter(|line| *line > HEX + 2) else { return };
    let sum = format!("{:016x}", xxhash_rust::xxh3::xxh3_64(&input[line + 1..]));
    let end = line - 2;
    input[end - HEX..end].copy_from_slice(sum.as_bytes());
}

/// Each line but the first has the XXH3 of what is behind it, seeded with that of the line before.
fn sums_of_changes(input: &mut [u8]) {
    const BEFORE_SUM: usize = b"{\"checksum\":\"xxh3-64:".len();
    const HEX: usize = 16;
    let mut seed = BASE;
    for line in input.split_inclusive_mut(|byte| *byte == b'\n').skip(1) {
        let Some((begin, covered)) = line.split_at_mut_checked(BEFORE_SUM + HEX) else { continue };
        seed = xxhash_rust::xxh3::xxh3_64_with_seed(covered, seed);
        begin[BEFORE_SUM..].copy_from_slice(format!("{seed:016x}").as_bytes());
    }
}

thread_local! {
    static SCRATCH: RefCell<Option<tempfile::TempDir>> = const { RefCell::new(None) };
}

/// A file of this name with the input, in a directory of this thread.
fn file(name: &str, input: &[u8]) -> PathBuf {
    let path = SCRATCH.with_borrow_mut(|scratch| {
        let dir = scratch.get_or_insert_with(|| tempfile::tempdir().expect("a temporary directory"));
        dir.path().join(name)
    });
    fs::write(&path, input).expect("a file of our own");
    path
}

fn open(name: &str, input: &[u8]) -> (File, PathBuf) {
    let path = file(name, input);
    (File::open(&path).expect("a file of our own"), path)
}

fn archive(input: &[u8]) {
    let (file, path) = open("app.log.zst", input);
    let Ok(archive) = Archive::open(file, &path) else { return };
    let mut raw = Vec::new();
    for number in 0..archive.frames().len() {
        archive.read_frame(number, &mut Decoder::new().unwrap(), &mut raw).ok();
    }
    archive.copy_to(&mut io::sink()).ok();
}

fn index(input: &[u8]) {
    if let Ok(index) = Index::decode(input) {
        index.arrival_ns(0);
        if index.marks.is_sound() {
            assert_eq!(Index::decode(&index.encode()).as_ref(), Ok(&index), "what is read can be written");
        }
    }
}

fn filter(input: &[u8]) {
    // As many frames as it says, or as an archive has that it does not belong to.
    let said = input.get(12..16).map_or(0, |said| u32::from_le_bytes([said[0], said[1], said[2], said[3]]));
    for frames in [said.min(ENTRIES_MAX) as usize, 3] {
        let mut given = 0;
        let found = Filter::read(Payload::Memory(input), frames, |number, array| {
            assert_eq!(number, given, "in order");
            given += 1;
            assert!(array.len() <= ARRAY_BYTES_MAX);
            let _any = !array.is_empty() && has(array, (1 << 20) - 1);
        });
        if let Ok(filter) = found.expect("memory can be read") {
            assert_eq!(given, frames, "one for each");
            let mut array = Vec::new();
            for frame in 0..frames.min(9) {
                filter.array(frame, &mut array).expect("memory can be read");
            }
        }
    }
}

fn seek_table(input: &[u8]) {
    if let Some(footer) = input.last_chunk::<FOOTER_BYTES>()
        && let Ok(footer) = Footer::parse(*footer)
    {
        footer.table_bytes();
    }
    for file_bytes in [input.len() as u64, 1 << 40] {
        if let Ok(table) = SeekTable::parse(input, file_bytes) {
            table.raw_bytes();
            table.compressed_bytes();
        }
    }
}

fn read_marks(input: &[u8]) {
    for part_bytes in [0, 4096, u64::MAX] {
        let marks = marks::read_records(&mut &input[..], part_bytes).expect("a slice has no errors");
        marks::time_at(&marks, 5);
        let packed = marks::pack(&marks, NOW_NS);
        assert_eq!(marks::unpack(&packed, marks.len() as u64, NOW_NS, part_bytes).as_deref(), Some(&*marks));
    }
    marks::unpack(input, input.len() as u64, NOW_NS, u64::MAX);
}

fn mailbox(input: &[u8]) {
    Record::decode(input);
}

fn control(input: &[u8]) {
    control::parse(input);
}

fn reader_state_of_lanes(input: &[u8]) {
    reader_status::format::decode(input).ok();
}

fn tailer_state_of_files(input: &[u8]) {
    tailer_status::format::decode(input).ok();
}

fn log_state(input: &[u8]) {
    let path = file(".standpipe", input);
    let dir = Dir::open(path.parent().unwrap_or(Path::new("/"))).expect("a directory of our own");
    State::read(&dir).ok();
}

fn checkpoint(input: &[u8]) {
    if let Ok(states) = form::parse(input) {
        assert_eq!(form::parse(&form::render(&states)).as_ref(), Ok(&states), "what is read can be written");
    }
}

fn changes(input: &[u8]) {
    let mut states = seeds::states();
    if let Ok(Some(end)) = form::changes::apply(input, BASE, &mut states) {
        assert!(end.bytes <= input.len(), "no more counts than is there");
        let written = [form::changes::head(BASE), form::changes::line(BASE, &states, []).0].concat();
        let mut again = Vec::new();
        let whole = form::changes::apply(&written, BASE, &mut again).expect("our own version").expect("our own head");
        assert_eq!((again, whole.bytes), (states, written.len()), "what is read can be written");
    }
}

fn stage(input: &[u8]) {
    let path = file("record", input);
    let mut said = Messages::about(&path);
    let setting = Setting { boot: BOOT, now_ns: NOW_NS, area_bytes: AREA_BYTES };
    if let Ok(found) = RecordFile::open(&path, setting, &mut said) {
        found.record.open_line();
        found.record.word();
    }
    // What is set aside would fill the directory.
    for entry in path.parent().and_then(|dir| fs::read_dir(dir).ok()).into_iter().flatten().flatten() {
        fs::remove_file(entry.path()).ok();
    }
}

fn policies(input: &[u8]) {
    for (name, kind) in [("app.toml", PolicyKind::Pipe), ("defaults.toml", PolicyKind::Defaults)] {
        if let Err(error) = policy::load(&file(name, input), kind) {
            assert!(!error.to_string().is_empty(), "a mistake is told");
        }
    }
}

fn configuration(name: &str, input: &[u8]) {
    if let Err(error) = config::load(&file(name, input), &Overrides::default()) {
        assert!(!error.to_string().is_empty(), "a mistake is told");
    }
}

fn toml(input: &[u8]) {
    configuration("tailer.toml", input);
}

fn yaml(input: &[u8]) {
    configuration("tailer.yaml", input);
}

fn timestamps(input: &[u8]) {
    let mut parser = Parser::new(Format::Auto, TimeZone::UTC);
    for line in input.split_inclusive(|byte| *byte == b'\n') {
        parser.find(line, NOW_NS);
    }
}

/// Takes everything.
struct Sink;

impl Output for Sink {
    fn room(&self, _source: SourceId) -> usize {
        MIB
    }

    fn is_room_final(&self, _source: SourceId) -> bool {
        true
    }

    fn put(&mut self, lines: &Lines<'_>) {
        assert!(!lines.bytes.is_empty(), "lines have bytes");
    }

    fn note(&mut self, _source: SourceId, _standing: Standing) {}
}

fn records(input: &[u8]) {
    for format in [Records::Docker, Records::Cri] {
        let mut unwrapper = Unwrapper::new(format);
        let mut start = 0;
        for bytes in input.split_inclusive(|byte| *byte == b'\n') {
            let end = start + bytes.len() as u64;
            let ends = if bytes.ends_with(b"\n") { End::Line } else { End::Open };
            let (source, generation, origin) = (SourceId(0), GenerationId(0), Origin::default());
            let lines = Lines { source, generation, origin, start, end, bytes, ends, read_ns: NOW_NS, record: None };
            unwrapper.around(&mut Sink).put(&lines);
            start = end;
        }
    }
}

fn unpack(packing: Packing, input: &[u8]) {
    let (file, _) = open("app.log.1", input);
    let Ok(packed) = Packed::open(file, packing) else { return };
    let mut packed = packed.take(UNPACKED_BYTES_MAX);
    while io::copy(&mut packed, &mut io::sink()).is_err_and(|error| goes_on(&error)) {}
}

fn gzip(input: &[u8]) {
    unpack(Packing::Gzip, input);
}

fn zstd(input: &[u8]) {
    unpack(Packing::Zstd, input);
}
