//! Drains named pipes into rotated, compressed logs, and reads them back.
//!
//! In the order in which the bytes travel:
//! - [`cli`]: the command line;
//! - [`run`], [`stdin`]: the two programs that drain, a pipes directory or standard input;
//! - [`control`], [`rotate`]: commands from outside, taken and given;
//! - [`places`]: the links of the directory and their lanes; [`opener`]: the thread that opens their FIFOs;
//! - [`drain`], [`slots`], [`agenda`], [`pace`]: one thread and its lanes; whose turn it is;
//! - [`lane`], [`settings`], [`pipes`]: one pipe at work, from the bytes that wait to the segment that has them;
//! - [`congestion`]: whether a pipe is full for too long;
//! - [`root`]: the log root and its lock; [`sandbox`]: what can be changed beside it, which is nothing;
//! - [`mailboxes`], [`recovery`]: mailboxes found at start, and what they mean;
//! - [`shelf`]: where the files of mailboxes lie;
//! - [`mailbox`], [`record`]: where a chunk is while it is nowhere else;
//! - [`glance`], [`rotation`]: a look before a read, and where a part ends;
//! - [`log_dir`], [`segment`], [`output`]: the part that is written; [`others`]: what is not ours to replace;
//! - [`upkeep`], [`queue`], [`due`], [`monitor`]: what is to become of sealed parts, whose turn it is, waiting for it;
//! - [`archiver`]: the thread that sees to it: [`archiving`], [`pairs`], [`spare`], [`expire`], [`stock`], [`retention`]; [`durable`];
//! - [`hooks`], [`hook`]: what each archive is handed over to;
//! - [`cursors`]: how far receivers have got with a log;
//! - [`serials`]: which number and offset in its log a part has;
//! - [`listing`], [`line_end`], [`nuls`], [`state`]: what stands in a log directory;
//! - [`leap`]: whether the wall clock can be believed;
//! - [`title`]: what a lane is called in messages;
//! - [`disk`]: the seam to the file system.
//!
//! [`logs`] is the way back, and uses nothing but the listing; [`histogram`] counts what it finds. [`list`] shows what there is
//! to read, [`verify`] checks it, both by [`inventory`]; [`reindex`] adds search filters to archives; [`moments`] is how
//! they show times. [`status`] is what is seen of all this from outside, [`metrics`] the same for a metrics system.

pub mod agenda;
pub mod archiver;
pub mod archiving;
pub mod cli;
pub mod congestion;
pub mod control;
pub mod cursors;
pub mod disk;
pub mod drain;
pub mod due;
pub mod durable;
pub mod expire;
pub mod glance;
pub mod histogram;
pub mod hook;
pub mod hooks;
pub mod inventory;
pub mod lane;
pub mod leap;
pub mod line_end;
pub mod list;
pub mod listing;
pub mod log_dir;
pub mod logs;
pub mod mailbox;
pub mod mailboxes;
pub mod metrics;
pub mod moments;
pub mod monitor;
pub mod nuls;
pub mod opener;
pub mod others;
pub mod output;
pub mod pace;
pub mod pairs;
pub mod pipes;
pub mod places;
pub mod queue;
pub mod record;
pub mod recovery;
pub mod reindex;
pub mod retention;
pub mod root;
pub mod rotate;
pub mod rotation;
pub mod run;
pub mod sandbox;
pub mod segment;
pub mod serials;
pub mod settings;
pub mod shelf;
pub mod signals;
pub mod slots;
pub mod spare;
pub mod state;
pub mod status;
pub mod stdin;
pub mod stock;
pub mod title;
pub mod upkeep;
pub mod verify;
