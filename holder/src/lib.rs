//! The holder keeps the FIFOs of a pipes directory open, so that no writer gets SIGPIPE or ENXIO and no reader
//! end-of-file, whoever restarts. It never reads, writes or locks a pipe.
//!
//! In the order in which a pipe comes to be held and is let go:
//! - [`cli`], [`run`]: the command line, and the loop that waits for signals, changes and moments;
//! - [`holdings`]: every link of the directory, reconciled with what is held;
//! - [`create`], [`held`]: a FIFO that is missing is made; the FIFO at the end of one link is held;
//! - [`stage`], [`staged`]: the same for the staging pipe beside it;
//! - [`sizing`], [`limits`]: how large a pipe is to be, and what the kernel allows;
//! - [`retired`]: a pipe that no link leads to any more, until it may go.
//!
//! And what can be seen of all that from outside, without a word with the daemon:
//! - [`openers`], [`level`], [`beside`], [`survey`]: who has which FIFO open, how full it is, and its staging pipe;
//! - [`daemons`], [`supervisor`]: holder and reader of a directory, what they see, and who starts them;
//! - [`status`], [`check`], [`advice`], [`mod@print`]: a row a pipe; what is wrong and what fixes it, in commands that fit
//!   whoever asks; how both come to the screen.

pub mod advice;
pub mod beside;
pub mod check;
pub mod cli;
pub mod create;
pub mod daemons;
pub mod held;
pub mod holdings;
pub mod level;
pub mod limits;
pub mod openers;
pub mod print;
pub mod retired;
pub mod run;
pub mod sizing;
pub mod stage;
pub mod staged;
pub mod status;
pub mod supervisor;
pub mod survey;
pub mod trouble;
