//! The front: one program on the search path for what holder, reader and tailer do.
//!
//! It knows which program has which command, and nothing of their flags: a command is handed to its program word for
//! word, which takes the place of this process. Only `status` is more, for it asks all three.
//!
//! - [`cli`]: the commands;
//! - [`run`], [`hand_over`]: which one was asked for; the program that takes over;
//! - [`status`]: three answers as one.

pub mod cli;
pub mod hand_over;
pub mod run;
pub mod status;
