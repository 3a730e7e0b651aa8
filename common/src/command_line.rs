//! How each program takes its command line: help that speaks of it by the name it was called by, and a word that was
//! taken for a file or directory although a command was meant.
//!
//! A program takes a path where it takes no command, so that `reader stats` would look for a directory. Invariant: what
//! is there under that name, has a `/` in it, or stands behind `--`, is a path and nothing else.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::Path;
use std::process;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgMatches, Command, CommandFactory, Parser};
use strsim::osa_distance;

use crate::called;
use crate::error::EXIT_USAGE;
use crate::likeness::{self, BEGINNING_MIN};
use crate::standard;

/// What `program` was asked for. Ends the process where that was answered already, or cannot be understood.
pub fn parse<C: Parser + CommandFactory>(program: &str) -> C {
    let mut command = command::<C>(program);
    let args: Vec<OsString> = env::args_os().collect();
    let asked = command.try_get_matches_from_mut(&args);
    let is_answered = |kind| matches!(kind, ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    if !asked.as_ref().is_err_and(|error| is_answered(error.kind()))
        && let Some(sentence) = mistake(program, &command, &args, asked.as_ref().ok())
    {
        standard::error(sentence);
        process::exit(EXIT_USAGE.into());
    }
    let parsed = asked.and_then(|mut matches| C::from_arg_matches_mut(&mut matches));
    parsed.unwrap_or_else(|error| end(error, &mut command, &args))
}

/// Says what clap found, and ends the process.
pub fn end(error: clap::Error, command: &mut Command, args: &[OsString]) -> ! {
    with_nearest(error, command, args).format(command).exit()
}

/// An option that is not there is never taken for a path, as clap would advise: the nearest one that is there is named,
/// of this command or else of another.
fn with_nearest(mut error: clap::Error, command: &Command, args: &[OsString]) -> clap::Error {
    if error.kind() != ErrorKind::UnknownArgument {
        return error;
    }
    error.remove(ContextKind::Suggested);
    error.remove(ContextKind::SuggestedArg);
    let Some(ContextValue::String(wrong)) = error.get(ContextKind::InvalidArg) else { return error };
    match wrong.strip_prefix("--").and_then(|wrong| nearest(command, args, wrong)) {
        Some(Near::Option(option)) => {
            error.insert(ContextKind::SuggestedArg, ContextValue::String(format!("--{option}")));
        }
        Some(Near::Elsewhere(words)) => {
            let tip = format!("`{words}` exists").into();
            error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip]));
        }
        None => {}
    }
    error
}

/// What a wrong option was meant for.
#[derive(Debug, PartialEq, Eq)]
enum Near {
    /// An option of the command that was called.
    Option(String),
    /// One of another command, or a command.
    Elsewhere(String),
}

fn nearest(command: &Command, args: &[OsString], wrong: &str) -> Option<Near> {
    let called = args.get(1).and_then(|first| command.find_subcommand(first));
    let best = |command: &Command| {
        let options = command.get_arguments().filter(|arg| !arg.is_hide_set()).filter_map(clap::Arg::get_long);
        likeness::nearest(wrong, options).map(|(like, option)| (like, option.to_owned()))
    };
    if let Some((_, option)) = best(called.unwrap_or(command)) {
        return Some(Near::Option(option));
    }
    let program = command.get_name();
    let others = [command].into_iter().chain(command.get_subcommands());
    let near = others.filter_map(|other| {
        let name = if std::ptr::eq(other, command) { "" } else { other.get_name() };
        best(other).map(|(like, option)| (like, format!("{} --{option}", called::short(program, name))))
    });
    // Of those that are equally near the first.
    let option = near.reduce(|best, next| if next.0 > best.0 { next } else { best });
    let known = commands(command);
    let meant = || meant(wrong, &known).map(|name| called::short(program, name));
    option.map(|(_, words)| words).or_else(meant).map(Near::Elsewhere)
}

/// The command line of `program`, in whose help each command is called as it would be typed now.
pub fn command<C: CommandFactory>(program: &str) -> Command {
    if called::name() == program {
        return C::command();
    }
    typed::<C>(program, &|command| called::short(program, command))
}

/// The same, where `type_` says what to type for each command of `program`, and for the program itself (an empty name),
/// which begins a line of the examples.
pub fn typed<C: CommandFactory>(program: &str, type_: &dyn Fn(&str) -> String) -> Command {
    let command = C::command();
    let known = commands(&command);
    let rename = |text: &str| {
        let named = |text: String, command: &String| text.replace(&format!("{program} {command}"), &type_(command));
        let text = known.iter().fold(text.to_owned(), named);
        text.replace(&format!("\n  {program} "), &format!("\n  {} ", type_("")))
    };
    renamed(command, &rename)
}

/// How to call `program`, or one of its commands.
pub fn usage<C: CommandFactory>(program: &str, of: Option<&str>) -> String {
    let mut command = command::<C>(program).bin_name(called::name());
    command.build();
    let of = of.and_then(|name| command.find_subcommand_mut(name).map(Command::render_usage));
    of.unwrap_or_else(|| command.render_usage()).to_string()
}

fn renamed(mut command: Command, rename: &dyn Fn(&str) -> String) -> Command {
    if let Some(about) = command.get_about().map(|text| rename(&text.to_string())) {
        command = command.about(about);
    }
    if let Some(help) = command.get_after_help().map(|text| rename(&text.to_string())) {
        command = command.after_help(help);
    }
    command = command.mut_args(|arg| match arg.get_help().map(|text| rename(&text.to_string())) {
        Some(help) => arg.help(help),
        None => arg,
    });
    command.mut_subcommands(|command| renamed(command, rename))
}

fn commands(command: &Command) -> Vec<String> {
    let mut known: Vec<String> = command.get_subcommands().map(|command| command.get_name().to_owned()).collect();
    known.push("help".to_owned());
    known
}

/// What is to be said of a path that is not there and looks like a command. `None`: all is well, or clap says it.
fn mistake(program: &str, command: &Command, args: &[OsString], asked: Option<&ArgMatches>) -> Option<String> {
    let known = commands(command);
    let is_command = args.get(1).is_some_and(|first| known.iter().any(|known| first == known.as_str()));
    if is_command || args.iter().any(|arg| arg == "--") {
        return None;
    }
    let is_word = |arg: &&OsString| !arg.is_empty() && !arg.to_string_lossy().starts_with('-');
    // What was not understood tells at least that.
    let partly = || command.clone().ignore_errors(true).try_get_matches_from(args).ok();
    let first = args.get(1).filter(is_word).cloned();
    let word = first.or_else(|| first_path(command, &asked.cloned().or_else(partly)?))?;
    let word = word.to_str().filter(|word| is_free(word))?;
    let meant = called::short(program, meant(word, &known)?);
    let otherwise = format!("(for a path of that name write ./{word})");
    Some(if known.iter().any(|known| known == word) {
        format!("`{word}` must be the first word, as in `{meant}` {otherwise}")
    } else {
        format!("{word}: no such command, file or directory; did you mean `{meant}`? {otherwise}")
    })
}

fn first_path(command: &Command, asked: &ArgMatches) -> Option<OsString> {
    let mut given = command.get_positionals().filter_map(|arg| asked.get_raw(arg.get_id().as_str())?.next());
    given.next().map(OsStr::to_owned)
}

fn is_free(word: &str) -> bool {
    !word.contains('/') && fs::symlink_metadata(Path::new(word)).is_err()
}

/// The command that a word was meant for: the word itself, its beginning, or one or two slips away.
fn meant<'a>(word: &str, known: &'a [String]) -> Option<&'a str> {
    let word = word.to_lowercase();
    let is_beginning = |command: &str| word.len() >= BEGINNING_MIN && command.starts_with(&word);
    let slips_max = if word.chars().count() < 5 { 1 } else { 2 };
    let far = |command: &&String| if is_beginning(command) { 0 } else { osa_distance(&word, command) };
    known.iter().filter(|command| far(command) <= slips_max).min_by_key(far).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_meant_for_the_command_that_it_nearly_is() {
        let known: Vec<String> =
            ["stdin", "logs", "list", "verify", "reindex", "histogram", "status", "rotate", "help"]
                .map(str::to_owned)
                .to_vec();
        for (word, expected) in [
            ("stats", Some("status")),
            ("stat", Some("status")),
            ("statsu", Some("status")),
            ("STATUS", Some("status")),
            ("state", Some("status")),
            ("status", Some("status")),
            ("log", Some("logs")),
            ("lsit", Some("list")),
            ("verfy", Some("verify")),
            ("hist", Some("histogram")),
            ("histgoram", Some("histogram")),
            ("rotation", None),
            ("pipes.d", None),
            ("lo", None),
            ("app", None),
            ("web.log", None),
            ("", None),
        ] {
            assert_eq!(meant(word, &known), expected, "{word}");
        }
    }

    #[test]
    fn the_nearest_option_is_one_of_the_command_or_else_of_another() {
        let long = |name: &'static str| clap::Arg::new(name).long(name);
        let logs = Command::new("logs").arg(long("follow")).arg(long("since")).arg(long("no-filter"));
        let stdin = Command::new("stdin").arg(long("stamp")).arg(long("since"));
        let command = Command::new("reader").arg(long("logs")).arg(long("check-config")).subcommands([logs, stdin]);
        let elsewhere =
            |name: &str, option: &str| Some(Near::Elsewhere(format!("{}{option}", called::short("reader", name))));
        let here = |option: &str| Some(Near::Option(option.to_owned()));
        for (args, wrong, expected) in [
            (&["--stmp"][..], "stmp", elsewhere("stdin", " --stamp")),
            (&["--stamp"], "stamp", elsewhere("stdin", " --stamp")),
            (&["stdin", "--stmp"], "stmp", here("stamp")),
            (&["stdin", "--check-confg"], "check-confg", elsewhere("", " --check-config")),
            (&["--since"], "since", elsewhere("logs", " --since")),
            (&["--stdin"], "stdin", elsewhere("stdin", "")),
            (&["logs", "--flw"], "flw", here("follow")),
            (&["logs", "--folow"], "folow", here("follow")),
            (&["logs", "--nofilter"], "nofilter", here("no-filter")),
            (&["--check"], "check", here("check-config")),
            (&["--lgs"], "lgs", here("logs")),
            (&["--utterly"], "utterly", None),
            (&["--x"], "x", None),
        ] {
            let args: Vec<OsString> = ["reader"].iter().chain(args).map(OsString::from).collect();
            assert_eq!(nearest(&command, &args, wrong), expected, "{wrong}");
        }
    }

    #[test]
    fn each_example_can_be_typed_as_the_program_was_called() {
        #[derive(Parser)]
        #[command(name = "reader", after_help = EXAMPLES)]
        struct Cli {
            #[command(subcommand)]
            _command: Option<Told>,
        }
        #[derive(clap::Subcommand)]
        enum Told {
            Logs,
        }
        const EXAMPLES: &str = "HUP tells reader to reread DIR.\n\n  reader DIR   all\n  reader --check   errors\n  \
                                sudo reader logs app   one";
        for (before, expected) in [
            (
                "standpipe-reader",
                "  standpipe-reader DIR   all\n  standpipe-reader --check   errors\n  sudo standpipe-reader logs app",
            ),
            ("standpipe", "  standpipe read DIR   all\n  standpipe read --check   errors\n  sudo standpipe logs app"),
        ] {
            let front = |command: &str| called::in_front(before, "reader", command);
            let link = |command: &str| called::spaced(before, command);
            let type_: &dyn Fn(&str) -> String = if before == called::FRONT { &front } else { &link };
            let help = typed::<Cli>("reader", type_).get_after_help().unwrap().to_string();
            assert_eq!(help, format!("HUP tells reader to reread DIR.\n\n{expected}   one"));
        }
    }

    #[test]
    fn slips_are_counted() {
        for (word, command, expected) in
            [("status", "status", 0), ("statsu", "status", 1), ("tats", "status", 2), ("", "abc", 3), ("äb", "ab", 1)]
        {
            assert_eq!(osa_distance(word, command), expected, "{word}");
        }
    }
}
