//! The tailer from outside: one program, so that its tests run side by side.

#[path = "../support_b/mod.rs"]
mod support_b;
#[path = "../support_c/mod.rs"]
mod support_c;

mod batch;
mod descriptors;
mod engine;
mod engine_restarts;
mod events;
mod found;
mod globs;
mod hup;
mod kills;
mod kills_points;
mod limits;
mod lines;
mod look;
mod metrics;
mod model;
mod names;
mod once;
mod packed;
mod power;
mod progress;
mod rates;
mod records;
mod refusals;
mod restart;
mod room;
mod rotation;
mod shares;
mod sharing;
mod spool;
mod spool_kills;
mod spool_places;
mod spool_restarts;
mod spool_shares;
mod stand;
mod state;
mod state_many;
mod status;
mod stop;
mod strangers;
mod tenants;
mod transcripts;
