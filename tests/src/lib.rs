//! What the black-box tests of standpipe share: they start real programs, write into real pipes and send real signals.
//!
//! Its rooms, in the order in which a test enters them:
//! - [`privilege`], [`not_run`]: who the test runs as, what it cannot run without, and what did not run;
//! - [`directory`]: a directory of its own, with FIFOs, links and policies; what is in one; a file system of its own;
//! - [`programs`]: the programs, built once, started, watched and ended; whatever a test starts ends with it;
//! - [`deadline`]: waiting for a condition, never for luck;
//! - [`world`]: what is around the programs: pipes and who writes into them, followed logs and who rotates them, the log
//!   read back, archives made by hand;
//! - [`stands`]: how scenarios begin: a reader with its pipe, a tailer with its log, a spool;
//! - [`kills`]: the crash tests, here with small counts and in the benchmark with full ones.
//!
//! No program crate is used here: what is tested is what is shipped.

pub mod deadline;
pub mod directory;
pub mod kills;
pub mod not_run;
pub mod privilege;
pub mod programs;
pub mod stands;
pub mod world;
