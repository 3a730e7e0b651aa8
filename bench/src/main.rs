//! Measurements of standpipe, beside its peers. Each subcommand prints one table, as the README has it.

mod drain;
mod machine;
mod process;
mod sinks;
mod stage;
mod stats;
mod stream;
mod table;
mod usage;
mod writers;

fn main() {
    if let Err(e) = drain::run(None, drain::Plan { rounds: 5, bytes: 256_000_000 }) { eprintln!("{e}"); }
}
