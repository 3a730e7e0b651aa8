//! The command line of `tailer`: flags, and nothing that acts on them.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use standpipe_common::ready::NotifyFd;

use crate::config::{Config, ConfigError, Overrides, load};

/// Follows log files through every kind of rotation, into a pipe or to standard output.
#[derive(Debug, Parser)]
#[command(name = "tailer", version = env!("STANDPIPE_VERSION"), args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(after_help = "Signals: HUP reads the configuration again; TERM and INT end it, within 2 s.\n\
    A file called `status` is followed as ./status.\n\
    Exit codes: 0; 2 asked wrongly, or the configuration has an error; 3 an I/O error that nothing mends.")]
pub struct Cli {
    /// The files to follow, without a configuration.
    #[arg(value_name = "PATH", required_unless_present = "config", conflicts_with = "config")]
    pub paths: Vec<PathBuf>,
    /// The configuration: FILE.toml, FILE.yaml or FILE.yml.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Deliver into this pipe instead of to standard output; needs --state.
    #[arg(long, value_name = "FIFO", conflicts_with = "config")]
    pub pipe: Option<PathBuf>,
    /// What counts in place of the configuration's word.
    #[command(flatten)]
    pub given: Overrides,
    /// Color on standard output; without WHEN: always.
    #[arg(long, value_name = "WHEN", num_args = 0..=1, require_equals = true, default_value = "auto",
        default_missing_value = "always")]
    pub color: Color,
    /// Read everything there is, put it in order, and exit.
    #[arg(long)]
    pub batch: bool,
    /// Show identities and offsets of every file at each change.
    #[arg(long)]
    pub debug: bool,
    /// Write a newline to this descriptor when following begins, as s6 wants it.
    #[arg(long, value_name = "N")]
    pub notify_fd: Option<NotifyFd>,
    /// Read the configuration, print every error, open nothing.
    #[arg(long)]
    pub check_config: bool,
    /// What else it does.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What `tailer` does beside following.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Show what the tailer with a state file is doing, or did last. Exit 0: all is well; 1: something is behind, cannot
    /// be read, or does not run.
    Status(StatusArgs),
}

/// `tailer status`.
#[derive(Clone, Debug, Args)]
pub struct StatusArgs {
    /// The configuration, which names the state file.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The state file, in place of what the configuration says.
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,
    /// Every tailer that can be seen: those that run, and that of /etc/standpipe/tailer.toml
    #[arg(long, conflicts_with_all = ["config", "state"])]
    pub all: bool,
    /// For programs: one object.
    #[arg(long)]
    pub json: bool,
}

impl Cli {
    /// The configuration that is asked for: at the start, and again at each HUP.
    pub fn configuration(&self) -> Result<Config, ConfigError> {
        match &self.config {
            Some(file) => load(file, &self.given),
            None => Config::of_paths(&self.paths, self.pipe.as_deref(), &self.given),
        }
    }
}

/// When standard output gets color.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless `NO_COLOR` is set.
    Auto,
    /// In any case.
    Always,
    /// In no case.
    Never,
}

impl Color {
    /// Whether there is color; `no_color` is whether `NO_COLOR` is set to anything but nothing.
    pub fn is_on(self, is_terminal: bool, no_color: bool) -> bool {
        match self {
            Color::Auto => is_terminal && !no_color,
            Color::Always => true,
            Color::Never => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn parse(words: &str) -> Result<Cli, String> {
        Cli::try_parse_from(words.split(' ')).map_err(|error| error.to_string())
    }

    #[test]
    fn the_flags_are_what_clap_takes_for_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn either_paths_or_a_configuration() {
        assert_eq!(parse("tailer a b").unwrap().paths, [PathBuf::from("a"), "b".into()]);
        assert_eq!(parse("tailer --config c.toml").unwrap().config, Some("c.toml".into()));
        for (words, complaint) in [
            ("tailer", "<PATH>"),
            ("tailer --config c.toml a", "cannot be used with"),
            ("tailer --config c.toml --pipe p", "cannot be used with"),
            ("tailer --check-config", "<PATH>"),
            ("tailer --order time a", "read, timestamp"),
            ("tailer --output xml a", "text, json, raw"),
            ("tailer --notify-fd 1 a", "write 3 or more"),
        ] {
            let refusal = parse(words).unwrap_err();
            assert!(refusal.contains(complaint), "{words}: {refusal}");
        }
    }

    #[test]
    fn what_others_take_for_more_than_a_file_is_refused_with_a_sentence() {
        for (words, sentence) in [
            ("tailer -", "cannot follow -: standard input is no file that rotates"),
            ("tailer /nowhere/*.log", "cannot follow /nowhere/*.log: no file has that name, and patterns"),
        ] {
            let refusal = parse(words).unwrap().configuration().unwrap_err().to_string();
            assert!(refusal.starts_with(sentence), "{refusal}");
        }
        assert!(parse("tailer ./- /nowhere/a.log").unwrap().configuration().is_ok());
    }

    #[test]
    fn a_subcommand_comes_first_and_wins_over_a_file_of_its_name() {
        let is_status = |words| parse(words).unwrap().command.is_some();
        for (words, is) in [
            ("tailer status", true),
            ("tailer status --config c.toml --json", true),
            ("tailer ./status", false),
            ("tailer a status", false),
            ("tailer -- status", false),
        ] {
            assert_eq!(is_status(words), is, "{words}");
        }
        assert!(parse("tailer status a").unwrap_err().contains("unexpected argument"));
    }

    #[test]
    fn color_is_asked_for_with_or_without_a_word() {
        for (words, color) in [
            ("tailer a", Color::Auto),
            ("tailer --color a", Color::Always),
            ("tailer --color=auto a", Color::Auto),
            ("tailer --color=always a", Color::Always),
            ("tailer a --color=never", Color::Never),
        ] {
            assert_eq!(parse(words).unwrap().color, color, "{words}");
        }
    }

    #[test]
    fn color_by_itself_is_for_terminals_that_do_not_object() {
        for (color, is_terminal, no_color, is_on) in [
            (Color::Auto, true, false, true),
            (Color::Auto, true, true, false),
            (Color::Auto, false, false, false),
            (Color::Always, false, true, true),
            (Color::Never, true, false, false),
        ] {
            assert_eq!(color.is_on(is_terminal, no_color), is_on, "{color:?} {is_terminal} {no_color}");
        }
    }
}
