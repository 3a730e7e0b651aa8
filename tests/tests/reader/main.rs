//! The reader from outside: one program, so that its tests run side by side.

#[path = "../support_a/mod.rs"]
mod support_a;
#[path = "../support_b/mod.rs"]
mod support_b;
#[path = "../support_d/mod.rs"]
mod support_d;

mod archive_after;
mod archives;
mod archives_index;
mod archives_logs;
mod bucket;
mod bytes;
mod bytes_restarts;
mod clock;
mod congestion;
mod control;
mod crash;
mod crash_recovery;
mod cursors;
mod faults;
mod faults_cut;
mod filename;
mod filter;
mod filter_search;
mod full;
mod full_start;
mod fuse;
mod hands;
mod hands_archives;
mod histogram;
mod hook;
mod hostile_files;
mod hup;
mod keep;
mod list;
mod logs_cases;
mod logs_follow;
mod logs_model;
mod mailbox_dir;
mod meddling;
mod metrics;
mod others;
mod pipes;
mod pipes_stdin;
mod pipes_stop;
mod power;
mod progress;
mod refusals;
mod refusals_root;
mod rotation;
mod rotation_time;
mod sandbox;
mod selection;
mod serials;
mod ship;
mod ship_archives;
mod signals;
mod status;
mod sync;
mod turns;
mod unlinked;
mod unpacked;
mod unsafe_paths;
mod verify;
mod weight;
