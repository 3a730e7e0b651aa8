//! The names of files: [`siblings`], those that rotation gives; [`watch`], how it is told that they change.

pub mod siblings;
pub mod watch;
