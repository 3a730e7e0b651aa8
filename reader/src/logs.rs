//! `reader logs`: prints active segments and archives alike, in order, byte for byte.
//!
//! In the order in which bytes travel; a module uses only what stands above it:
//! - [`ask`], [`when`], [`log_root`], [`select`]: what is asked for, from when to when, in which log root, of which log
//!   directories;
//! - [`block`], [`part`]: an open part and its blocks; [`log`]: the parts of one pipe, and places in it;
//! - [`demand`]: what patterns demand of a block; [`pattern`], [`scan`]: which lines of one are meant; [`pool`]: the
//!   threads that look;
//! - [`counts`], [`sieve`]: which blocks need not be read;
//! - [`ahead`], [`forward`], [`backward`]: the lines of one log, from a place on or from the end;
//! - [`batch`], [`context`]: lines with the bytes they stand in, and those around them;
//! - [`merge`]: several logs as one;
//! - [`render`], [`show`], [`mod@print`], [`pager`]: how lines look, how many there are, where they go;
//! - [`cursor`]: how far that got; [`follow`]: waiting for more;
//! - [`waiting`]: what a mailbox still holds, of a reader that died or at this moment.
//!
//! It needs read permission only, takes no lock and writes nothing but the cursor file it is given.

pub mod ahead;
pub mod ask;
pub mod backward;
pub mod batch;
pub mod block;
pub mod context;
pub mod counts;
pub mod cursor;
pub mod demand;
pub mod follow;
pub mod forward;
pub mod log;
pub mod log_root;
pub mod merge;
pub mod pager;
pub mod part;
pub mod pattern;
pub mod pool;
pub mod print;
pub mod render;
pub mod scan;
pub mod select;
pub mod session;
pub mod show;
pub mod sieve;
pub mod waiting;
pub mod when;

use standpipe_common::error::Stop;

use crate::cli::LogsArgs;
use crate::moments;
use ask::Ask;
use session::Session;

/// Prints what was asked for. The exit code is that of grep: 1 if no line was found, 2 if something could not be read.
pub fn run(args: &LogsArgs) -> Result<u8, Stop> {
    let searches = args.patterns.is_given();
    print(args).map_err(|stop| if searches { Stop::Usage(stop.to_string()) } else { stop })
}

fn print(args: &LogsArgs) -> Result<u8, Stop> {
    let ask = Ask::new(args, &moments::now(moments::zone(false)))?;
    let selection =
        select::log_dirs(&ask.what, ask.logs.as_deref()).map_err(|stop| match ask::hint_for_names(args) {
            Some(hint) if matches!(stop, Stop::Usage(_)) => Stop::Usage(format!("{stop} ({hint})")),
            _ => stop,
        })?;
    Session::new(ask, selection)?.run()
}
