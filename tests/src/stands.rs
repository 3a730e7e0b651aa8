//! How scenarios begin: a program of ours on a directory, with all that it works on.

mod reading;
mod spooling;
mod tailing;

pub use reading::{Bench, Clock, MAILBOX_BYTES, PAGE, Stand, add_pipe};
pub use spooling::{ENDINGS, Ending, Spooling, pieces};
pub use tailing::{Following, QUICK, Tailing};
