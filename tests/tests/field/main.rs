//! The examples, run as they stand, with the real supervisors and servers: nothing here is mocked, and every line counts.

mod example;
mod ops;
mod supervised;
mod systemd;
