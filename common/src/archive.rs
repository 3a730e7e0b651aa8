//! The archive: a sealed segment as an ordinary zstd file that every zstd tool reads, and that we read by frame and time.
//!
//! In the order in which the bytes travel:
//! - [`mod@format`]: skippable frames and the official seek table, as bytes;
//! - [`marks`]: when which byte arrived;
//! - [`packed`], [`index`], [`build`]: what we know of each frame, and the marks, in one skippable frame;
//! - [`grams`], [`mod@filter`]: what tells a search which frames it need not read, in another one;
//! - [`mod@write`]: a segment goes in, an archive comes out;
//! - [`read`], [`copy`]: an archive is opened, and read by frame or whole;
//! - [`graft`]: an archive goes in, the same with a filter comes out.
//!
//! `docs/archive-format.md` is the specification. Nothing here makes, names, syncs or removes files: who writes an
//! archive decides where it lives and when it counts.

pub mod build;
pub mod copy;
pub mod filter;
pub mod format;
pub mod graft;
pub mod grams;
pub mod index;
pub mod marks;
pub mod packed;
pub mod read;
pub mod write;

pub use build::{Guess, Times};
pub use copy::{Copied, Gap};
pub use filter::FilterFault;
pub use format::TableFault;
pub use index::{FrameIndex, Index, IndexFault};
pub use marks::Mark;
pub use packed::Marks;
pub use read::{Archive, Decoder, Frame};
pub use write::{Spec, Summary, Writer};
