//! The program `tailer`.

fn main() {}
