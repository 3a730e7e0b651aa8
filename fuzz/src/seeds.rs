//! Inputs that are right, made by the writers themselves where there are any.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use standpipe_common::archive::format::SKIPPABLE_HEADER_BYTES;
use standpipe_common::archive::{Guess, Index, Mark, Spec, Writer, filter};
use standpipe_common::board::{HEADER_BYTES, Layout, SLOT_BYTES_AT, SLOTS_AT, VERSION_AT};
use standpipe_common::serial::Serial;
use standpipe_tailer::checkpoint::form;
use standpipe_tailer::checkpoint::state::{GenerationState, SourceState};
use standpipe_tailer::file::guard::{Guard, Head};
use standpipe_tailer::file::identity::{Identity, Origin};
use standpipe_tailer::stage::file::{RecordFile, Setting};
use standpipe_tailer::stage::message::Messages;

use crate::targets::{AREA_BYTES, BASE, BOOT};

const START_NS: i64 = 1_795_255_200_000_000_000;
/// The id of a log.
const LOG: &str = "00112233445566778899aabbccddeeff";

const LINES: &[u8] = b"2026-11-21T10:00:00.123Z GET / 200\n2026-11-21 10:00:01,5 +0100 [error] 12#0: no\n\
    [21/Nov/2026:10:00:02 +0000] \"GET /\" 200\n<34>1 2026-11-21T10:00:03Z host app - - hello\n\
    Nov 21 10:00:04 host app[1]: hello\n1795255205.250 epoch\n1795255206123 ms\nlevel=info ts=2026-11-21T10:00:07Z x\n\
    {\"time\":\"2026-11-21T10:00:08Z\",\"level\":30}\n\x1b[32m2026-11-21 10:00:09\x1b[0m colored\nno time at all\n";

fn marks_of(count: u64) -> Vec<Mark> {
    (0..count).map(|n| Mark { offset: n * 40, time_ns: START_NS + n as i64 * 1_000_000 }).collect()
}

pub(crate) fn archives() -> Vec<Vec<u8>> {
    let many = LINES.repeat(400);
    [&b""[..], b"one line\n", LINES, &many]
        .into_iter()
        .map(|data| {
            let mut out = Vec::new();
            let guess = Guess { birth_ns: START_NS, last_ns: START_NS + 1000 };
            let marks = marks_of(data.len() as u64 / 100);
            let serial = LOG.parse().ok().map(|log| Serial { log, number: 17, offset: 1 << 30 });
            let spec = Spec { level: 1, begins_inside: false, serial, marks, guess, filter: true };
            Writer::new().expect("memory").write(&mut &data[..], &mut out, spec).expect("memory takes all");
            out
        })
        .collect()
}

/// The payloads of the index frames of [`archives`].
pub(crate) fn indexes() -> Vec<Vec<u8>> {
    payloads(|payload| Index::decode(payload).is_ok())
}

/// The payloads of the filter frames.
pub(crate) fn filters() -> Vec<Vec<u8>> {
    payloads(|payload| payload.starts_with(&filter::NAME))
}

fn payloads(is_meant: fn(&[u8]) -> bool) -> Vec<Vec<u8>> {
    let find = |archive: Vec<u8>| {
        let starts = 0..archive.len().saturating_sub(SKIPPABLE_HEADER_BYTES);
        starts.into_iter().find_map(|at| {
            let header = archive[at..].first_chunk::<SKIPPABLE_HEADER_BYTES>()?;
            let bytes = u32::from_le_bytes([header[4], header[5], header[6], header[7]]) as usize;
            let payload = archive.get(at + SKIPPABLE_HEADER_BYTES..)?.get(..bytes)?;
            is_meant(payload).then(|| payload.to_vec())
        })
    };
    archives().into_iter().filter_map(find).collect()
}

pub(crate) fn tables() -> Vec<Vec<u8>> {
    archives().iter().map(|archive| archive[archive.len().saturating_sub(200)..].to_vec()).collect()
}

pub(crate) fn marks() -> Vec<Vec<u8>> {
    [0, 1, 100].map(|count| marks_of(count).into_iter().flat_map(Mark::to_bytes).collect()).to_vec()
}

pub(crate) fn mailboxes() -> Vec<Vec<u8>> {
    let mut page = vec![0; 4096];
    for (at, byte) in page.iter_mut().take(64).enumerate() {
        *byte = u8::from(at % 8 == 0);
    }
    vec![vec![0; 4096], page]
}

pub(crate) fn controls() -> Vec<Vec<u8>> {
    [&b"rotate\n"[..], b"rotate app\n", b"rotate nginx-access db\n", b"\n"].map(<[u8]>::to_vec).to_vec()
}

/// A status file of two slots in use, whose words count up from one.
fn status(layout: &Layout) -> Vec<Vec<u8>> {
    let slot = layout.slot_bytes();
    let mut bytes = vec![0; HEADER_BYTES + 2 * slot];
    let mut put = |at: usize, word: u64| bytes[at..at + 8].copy_from_slice(&word.to_ne_bytes());
    for (at, word) in [(0, layout.magic), (VERSION_AT, layout.version()), (SLOTS_AT, 2), (SLOT_BYTES_AT, slot as u64)] {
        put(at, word);
    }
    for word in 0..2 * slot / 8 {
        put(HEADER_BYTES + 8 * word, word as u64 % (slot as u64 / 8) + 1);
    }
    vec![bytes]
}

pub(crate) fn reader_status() -> Vec<Vec<u8>> {
    status(&standpipe_reader::status::format::LAYOUT)
}

pub(crate) fn tailer_status() -> Vec<Vec<u8>> {
    status(&standpipe_tailer::status::format::LAYOUT)
}

pub(crate) fn log_states() -> Vec<Vec<u8>> {
    let text = format!(
        "standpipe 1\nboot {BOOT}\nlog {LOG}\npattern %Y-%m-%dT%H-%M-%S.%6fZ\nunlinked 2026-11-21T10:00:00Z\n\
         part 17 1140850688 2026-11-21T09-00-00.000000Z\npart 18 1207959552 2026-11-21T10-00-00.000000Z\n"
    );
    vec![text.into_bytes(), b"standpipe 1\n".to_vec(), Vec::new()]
}

/// What a state file says.
pub(crate) fn states() -> Vec<SourceState> {
    let origin = Origin { identity: Identity { dev: 1, ino: 2, born_ns: START_NS }, epoch: 3 };
    let generation = GenerationState {
        origin,
        copy: None,
        offset: LINES.len() as u64,
        guard: Some(Guard::of_end(LINES)),
        last_line_hash: Some(7),
        head: Head::of(LINES),
    };
    let state = |path: &str| SourceState {
        path: PathBuf::from(path),
        generations: vec![generation.clone(), GenerationState { copy: Some(origin.identity), ..generation.clone() }],
        ..SourceState::default()
    };
    vec![state("/l/a.log"), state("/l/b\u{fc}.log")]
}

pub(crate) fn checkpoints() -> Vec<Vec<u8>> {
    let states = states();
    [&states[..0], &states[..1], &states].map(form::render).to_vec()
}

/// Changes of [`states`].
pub(crate) fn changes() -> Vec<Vec<u8>> {
    let states = states();
    let mut bytes = form::changes::head(BASE);
    let mut seeds = vec![bytes.clone()];
    let mut sum = BASE;
    for (changed, gone) in [(&states[..1], None), (&states[..0], Some(states[1].path.as_path())), (&states, None)] {
        let (line, next) = form::changes::line(sum, changed, gone);
        bytes.extend(line);
        seeds.push(bytes.clone());
        sum = next;
    }
    seeds
}

pub(crate) fn stages() -> Vec<Vec<u8>> {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("record");
    let setting = Setting { boot: BOOT, now_ns: START_NS, area_bytes: AREA_BYTES };
    drop(RecordFile::open(&path, setting, &mut Messages::about(&path)));
    vec![fs::read(&path).expect("a file of our own")]
}

pub(crate) fn policies() -> Vec<Vec<u8>> {
    let text = "logs = \"/var/log/standpipe\"\nrotate_size = \"64MiB\"\nrotate_age = \"1h\"\nrotate_at = [\"00:00\"]\n\
        keep_files = 10\nkeep_size = \"1GiB\"\nkeep_age = \"30d\"\nkeep_free = \"5%\"\nstamp = \"iso\"\nprefix = \"a \"\n\
        level = \"auto\"\nmax_line = \"64KiB\"\nfilename = \"%Y-%m-%d\"\nsync = \"1s\"\nfile_mode = \"0640\"\n\
        [fifo]\ncreate = true\nmode = \"0660\"\nowner = \"www-data\"\ngroup = \"adm\"\n";
    vec![text.into(), b"level = 3\n".to_vec(), Vec::new()]
}

pub(crate) fn configurations() -> Vec<Vec<u8>> {
    let text = "state_file = \"s.json\"\norder = \"timestamp\"\nwindow_ms = 500\noutput = \"json\"\n[[files]]\n\
        path = \"/var/log/*/*.log\"\nexclude = [\"*.gz\"]\npriority = 3\nrate_limit = \"10 MB/s\"\nstart_at = \"beginning\"\n\
        rotated = [\"x-*.log\"]\nformat = \"cri\"\ntimestamp = \"%Y %m\"\n[[spool]]\ndir = \"/d\"\ndone = \"done\"\n\
        max_age = \"1h30m\"\nstale = \"remove\"\npipe = \"/p\"\n";
    vec![text.into(), b"[[files]]\npath = \"a.log\"\n".to_vec()]
}

pub(crate) fn yaml_configurations() -> Vec<Vec<u8>> {
    let text = "state_file: s.json\norder: timestamp\nwindow_ms: 500\nfiles:\n  - path: /var/log/*.log\n    exclude: ['*.gz']\n\
        \x20   priority: 3\n    start_at: beginning\n  - &a\n    path: \"b.log\"\nspool:\n  - {dir: /d, done: done, max_age: 1h}\n";
    vec![text.into(), b"files: [{path: a.log}]\n".to_vec()]
}

pub(crate) fn lines() -> Vec<Vec<u8>> {
    LINES.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).chain([LINES.to_vec()]).collect()
}

pub(crate) fn records() -> Vec<Vec<u8>> {
    let docker = "{\"log\":\"a line\\n\",\"stream\":\"stdout\",\"time\":\"2026-11-21T10:00:00.123456789Z\"}\n\
        {\"log\":\"half\",\"stream\":\"stderr\",\"time\":\"2026-11-21T10:00:00Z\"}\n{\"log\":\" rest\\n\",\"stream\":\"stderr\",\
        \"time\":\"2026-11-21T10:00:01Z\"}\n";
    let cri = "2026-11-21T10:00:00.123456789Z stdout F a line\n2026-11-21T10:00:00Z stderr P half\n\
        2026-11-21T10:00:01Z stdout F other\n2026-11-21T10:00:01Z stderr F  rest\nplain\n";
    vec![docker.into(), cri.into()]
}

pub(crate) fn gzips() -> Vec<Vec<u8>> {
    let pack = |data: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(data).expect("memory takes all");
        encoder.finish().expect("memory takes all")
    };
    vec![pack(LINES), pack(&[]), [pack(LINES), pack(b"second member\n")].concat()]
}

pub(crate) fn zstds() -> Vec<Vec<u8>> {
    let pack = |data: &[u8]| zstd::bulk::compress(data, 1).expect("memory takes all");
    vec![pack(LINES), pack(&[]), [pack(LINES), pack(b"second frame\n")].concat()]
}
