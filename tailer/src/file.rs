//! One file: what it is ([`identity`]), what stands at its end ([`guard`]), how it is opened ([`open`]) and unpacked
//! ([`packed`]), who else writes it ([`lease`]), and whether changes of it are told ([`network`]).

pub mod guard;
pub mod identity;
pub mod lease;
pub mod network;
pub mod open;
pub mod packed;
