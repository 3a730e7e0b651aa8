//! `standpipe-packaging DIR`: makes what the packages have beside the programs, in `man`, `bash`, `zsh`, `fish` and `links`
//! below DIR, and below DIR/shipper for the one that shipper has of its own. All of it comes from the command lines
//! themselves, so nothing here is to be kept in step with them.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Command, CommandFactory};
use clap_complete::{Shell, generate};
use standpipe_common::called::{FRONT, PACKAGED, in_front, spaced};
use standpipe_common::command_line::typed;
use standpipe_front::cli::{HANDED, Handed};

/// Links on the search path to programs whose own names are too general for it.
const LINKS: [(&str, &str); 3] =
    [("standpipe-holder", "holder"), ("standpipe-reader", "reader"), ("standpipe-tailer", "tailer")];
const LINKS_OF_SHIPPER: [(&str, &str); 1] = [("standpipe-shipper", "shipper")];

fn main() -> ExitCode {
    let Some(dir) = std::env::args_os().nth(1) else {
        eprintln!("usage: standpipe-packaging DIR");
        return ExitCode::from(2);
    };
    let dir = PathBuf::from(dir);
    match make(&dir, vec![front()], &LINKS).and_then(|()| make(&dir.join("shipper"), Vec::new(), &LINKS_OF_SHIPPER)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("standpipe-packaging: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What a package has with these links, and the pages of these commands and of what they lead to.
fn make(dir: &Path, commands: Vec<Command>, links: &[(&'static str, &str)]) -> io::Result<()> {
    for sub in ["man", "bash", "zsh", "fish", "links"] {
        fs::create_dir_all(dir.join(sub))?;
    }
    for command in commands.into_iter().chain(links.iter().map(|(link, program)| linked(link, program))) {
        let name = command.get_name().to_owned();
        clap_mangen::generate_to(command.clone(), dir.join("man"))?;
        for (shell, file) in [
            (Shell::Bash, format!("bash/{name}")),
            (Shell::Zsh, format!("zsh/_{name}")),
            (Shell::Fish, format!("fish/{name}.fish")),
        ] {
            let mut script = Vec::new();
            generate(shell, &mut command.clone(), &name, &mut script);
            fs::write(dir.join(file), script)?;
        }
    }
    for (link, program) in links {
        let link = dir.join("links").join(link);
        fs::remove_file(&link).or_else(|error| if link.is_symlink() { Err(error) } else { Ok(()) })?;
        symlink(
            Path::new("..").join(Path::new(PACKAGED).strip_prefix("/usr").unwrap_or(Path::new(""))).join(program),
            link,
        )?;
    }
    Ok(())
}

/// A program as it is called by a link on the search path.
fn linked(link: &'static str, program: &str) -> Command {
    of_program(program, &|command| spaced(link, command)).name(link).bin_name(link)
}

/// `standpipe`, with the options that its commands have where they come from.
fn front() -> Command {
    HANDED.into_iter().fold(standpipe_front::cli::command(), |front, handed| {
        front.mut_subcommand(handed.name, |stand_in| as_in_front(&stand_in, handed))
    })
}

fn as_in_front(stand_in: &Command, handed: Handed) -> Command {
    let program = of_program(handed.program, &|command| in_front(FRONT, handed.program, command));
    let of = match handed.command {
        Some(name) => program.find_subcommand(name).expect("a command of that program").clone(),
        None => program,
    };
    let mut command = Command::new(handed.name).args(of.get_arguments().cloned());
    if let Some(help) = of.get_after_help() {
        command = command.after_help(help.clone());
    }
    command.about(stand_in.get_about().cloned().unwrap_or_default())
}

fn of_program(program: &str, type_: &dyn Fn(&str) -> String) -> Command {
    fn of<C: CommandFactory>(program: &str, type_: &dyn Fn(&str) -> String) -> Command {
        typed::<C>(program, type_)
    }
    match program {
        "holder" => of::<standpipe_holder::cli::Cli>(program, type_),
        "reader" => of::<standpipe_reader::cli::Cli>(program, type_),
        "shipper" => of::<standpipe_shipper::cli::Cli>(program, type_),
        _ => of::<standpipe_tailer::cli::Cli>(program, type_),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_front_has_every_option_of_the_programs_it_hands_over_to() {
        let front = front();
        front.clone().debug_assert();
        for handed in HANDED {
            let command = front.find_subcommand(handed.name).unwrap();
            let options = command.get_arguments().count();
            assert!(options >= 2 && command.get_arguments().all(|arg| arg.get_id() != "args"), "{}", handed.name);
        }
        let help = front.find_subcommand("logs").unwrap().get_after_help().unwrap().to_string();
        assert!(help.contains("standpipe logs app") && !help.contains("reader logs"), "{help}");
    }

    #[test]
    fn each_example_begins_with_what_the_package_installs() {
        let linked = LINKS.map(|(link, program)| linked(link, program));
        for command in linked.iter().chain(front().get_subcommands()) {
            let Some(help) = command.get_after_help().map(ToString::to_string) else { continue };
            let examples = help.split_once("Examples:\n").map_or("", |(_, examples)| examples);
            assert!(examples.lines().all(|line| line.contains("standpipe")), "{}: {help}", command.get_name());
        }
    }
}
