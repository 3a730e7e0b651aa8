//! What the black-box tests of standpipe share: they start real programs, write into real pipes and send real signals.
//!
//! In the order in which a test uses them:
//! - [`privilege`], [`not_run`]: who the test runs as, what it cannot run without, and what did not run;
//! - [`scratch`], [`mounts`]: a directory of its own, with FIFOs, links and policies; a file system of its own;
//! - [`process`]: what a test starts ends with it;
//! - [`program`], [`daemon`]: the programs, built once, started, watched and ended;
//! - [`deadline`]: waiting for a condition, never for luck;
//! - [`pipe`], [`traffic`], [`stored`]: a server's and a plain reader's view, numbered lines, and the log read back;
//! - [`metrics`]: the numbers of a metrics file;
//! - [`kills`], [`tailer_kills`], [`power_cuts`]: the crash tests, here with small counts and in the benchmark with full ones.
//!
//! No program crate is used here: what is tested is what is shipped.

pub mod daemon;
pub mod deadline;
pub mod kills;
pub mod metrics;
pub mod mounts;
pub mod not_run;
pub mod pipe;
pub mod power_cuts;
pub mod privilege;
pub mod process;
pub mod program;
pub mod scratch;
pub mod stored;
pub mod tailer_kills;
pub mod traffic;
