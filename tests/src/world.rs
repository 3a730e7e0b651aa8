//! The world around the programs: pipes, followed logs, who writes and who reads, and what is stored.

mod archives;
mod busy;
mod drain;
mod log;
mod metrics;
mod pipe;
mod random;
mod stored;
mod traffic;

pub use archives::{SECOND_NS, TEN_NS, archive, log_dir, marks, numbered_archive, plain_archive, segment, stem};
pub use busy::Busy;
pub use drain::Drain;
pub use log::{Log, Owner, copytruncate, numbered, owners, rename_and_create, shift};
pub use metrics::Metrics;
pub use pipe::{capacity, hold, is_held, open_reader, open_writer, put, queued, read_all, wait_empty, write_all};
pub use random::Random;
pub use stored::{
    STAMP_BYTES, archives, assert_same, content, contents, is_archive, newest_is_empty, open_archive, parts, raw,
    stream_of, unstamped, wait_stored,
};
pub use traffic::{
    Check, LINE_BYTES_MAX, LINE_BYTES_MIN, Tally, WRITERS_MAX, Writer, Written, count_lines, length, line, line_into,
    lines,
};
