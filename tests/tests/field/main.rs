//! The examples, run as they stand, with the real supervisors and servers: nothing here is mocked, and every line counts.

mod agents;
mod applications;
mod databases;
mod example;
mod ops;
mod stack;
mod supervised;
mod systemd;
mod upgrade;
mod web;
