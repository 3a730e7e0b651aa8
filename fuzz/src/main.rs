//! The long run: so many inputs for each reader, as a table. `standpipe-fuzz TARGET FILE` gives one file to one reader, to
//! see what an input that failed does.

use std::process::ExitCode;

use standpipe_common::shown::Shown;
use standpipe_fuzz::targets::ALL;
use standpipe_fuzz::{Target, Until, run};

/// Inputs of each target where nothing else is said.
const INPUTS: u64 = 100_000;
const USAGE: &str = "usage: standpipe-fuzz [INPUTS [SEED]] | TARGET FILE";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let target = args.first().and_then(|name| ALL.iter().find(|target| target.name == *name));
    match (target, &args[..]) {
        (Some(target), [_, path]) => match std::fs::read(path) {
            Ok(input) => {
                (target.read)(&input);
                ExitCode::SUCCESS
            }
            Err(error) => complain(&format!("cannot read {path}: {error}")),
        },
        (None, args) if args.len() <= 2 => {
            let numbers: Option<Vec<u64>> = args.iter().map(|arg| arg.parse().ok()).collect();
            let Some(numbers) = numbers else { return complain(USAGE) };
            let inputs = numbers.first().copied().unwrap_or(INPUTS);
            let seed = numbers.get(1).copied().unwrap_or(1);
            // No short circuit: one that fails does not hide the next.
            let failed = ALL.iter().filter(|target| !bears(target, seed, inputs)).count();
            if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        _ => complain(USAGE),
    }
}

fn bears(target: &Target, seed: u64, inputs: u64) -> bool {
    match run(target, seed, Until::Inputs(inputs)) {
        Ok(read) => println!("{:<16} {read:>9} inputs, none was too much", target.name),
        Err(failure) => {
            let path = std::env::temp_dir().join(format!("standpipe-fuzz-{}", target.name));
            let kept = std::fs::write(&path, &failure.input).is_ok();
            let place = if kept { format!("; the input is in {}", path.shown()) } else { String::new() };
            println!("{:<16} {}{place}", target.name, failure.what);
            return false;
        }
    }
    true
}

fn complain(sentence: &str) -> ExitCode {
    eprintln!("{sentence}");
    ExitCode::from(2)
}
