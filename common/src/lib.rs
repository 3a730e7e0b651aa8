//! What standpipe's programs agree on, and nothing else: names, the pipes directory, how a FIFO is opened, stamps,
//! part names and the archive format. A thing that one program alone needs lives in that program.
//!
//! In the order in which a reader meets them:
//! - [`config_text`], [`name`], [`units`], [`stamp`], [`policy`]: what configuration files may say, and how a mistake in
//!   them is shown;
//! - [`pipes`]: the directory itself, read as one list of good pipes and one of findings;
//! - [`looked`], [`fifo`], [`watch`], [`staging`]: looking before opening, opening a pipe without harm, noticing that another took its place, and the pipe
//!   beside it that the tailer goes through;
//! - [`part`], [`serial`], [`archive`]: what stands in a log directory; [`cursor`]: how far a receiver has got with it;
//! - [`way`]: whether a stranger's link or directory is on the way to a file;
//! - [`own`], [`rename`]: whether a file under a name of ours is ours, and names that take nobody's place;
//! - [`clock`], [`boot`], [`seam`]: the wall clock, the boot, and the doors through which tests steer time and faults;
//! - [`error`], [`cure`], [`retry`], [`logger`], [`standard`], [`ready`], [`progress`]: one sentence an error, what helps,
//!   when to try again and what to say once, a log that never blocks, standard output, readiness, how far a long run has got;
//! - [`mapped`], [`mapped_text`], [`board`]: status files; [`shown`], [`table`], [`shell`]: how they and commands are shown;
//! - [`metrics`]: numbers for a metrics system, and the file that has them;
//! - [`called`], [`command_line`], [`likeness`]: the name that a program was called by, what it was asked for, and which name
//!   was meant by a wrong one;
//! - [`account`], [`capability`], [`descriptors`], [`sys`]: who there is, what we may, how much of it, and the few calls
//!   that need `unsafe`.

pub mod account;
pub mod archive;
pub mod board;
pub mod boot;
pub mod called;
pub mod capability;
pub mod clock;
pub mod command_line;
pub mod config_text;
pub mod cure;
pub mod cursor;
pub mod descriptors;
pub mod error;
pub mod fifo;
pub mod file_limit;
pub mod likeness;
pub mod logger;
pub mod looked;
pub mod mapped;
pub mod mapped_text;
pub mod metrics;
pub mod name;
pub mod own;
pub mod part;
pub mod pipes;
pub mod policy;
pub mod progress;
pub mod ready;
pub mod rename;
pub mod retry;
pub mod seam;
pub mod serial;
pub mod shell;
pub mod shown;
pub mod staging;
pub mod stamp;
pub mod standard;
pub mod sys;
pub mod table;
pub mod units;
pub mod watch;
pub mod way;
