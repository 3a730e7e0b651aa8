//! The names of files: [`siblings`], those that rotation gives; [`watch`], how it is told that they change; [`ear`], and
//! how soon one looks where nothing tells.

pub mod ear;
pub mod siblings;
pub mod watch;
