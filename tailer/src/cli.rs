//! The command line of `tailer`: flags, and nothing that acts on them.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};
use standpipe_common::ready::NotifyFd;

use crate::config::{Config, ConfigError, Overrides, load};

/// Follows log files through every kind of rotation, into a pipe or to standard output.
#[derive(Debug, Parser)]
#[command(name = "tailer", version = env!("STANDPIPE_VERSION"), args_conflicts_with_subcommands = true)]
#[command(subcommand_negates_reqs = true, after_help = HELP)]
#[command(group = ArgGroup::new("input").args(["paths", "config"]).required(true).multiple(true))]
pub struct Cli {
    /// Files to follow, instead of --config
    #[arg(value_name = "PATH", conflicts_with = "config")]
    pub paths: Vec<PathBuf>,
    /// Configuration: FILE.toml, FILE.yaml or FILE.yml [default: none]
    #[arg(long, value_name = "FILE", help_heading = "Input")]
    pub config: Option<PathBuf>,
    /// Deliver into this pipe; needs --state [default: standard output]
    #[arg(long, value_name = "FIFO", conflicts_with = "config", help_heading = "Output")]
    pub pipe: Option<PathBuf>,
    /// Settings that override the configuration.
    #[command(flatten)]
    pub given: Overrides,
    /// Use color: auto, always (the same as no WHEN), or never
    #[arg(long, value_name = "WHEN", num_args = 0..=1, require_equals = true, default_value = "auto",
        default_missing_value = "always", hide_possible_values = true, help_heading = "Output")]
    pub color: Color,
    /// Read everything there is, in order, and exit
    #[arg(long, help_heading = "Input")]
    pub batch: bool,
    /// Show identities and offsets of every file at each change
    #[arg(long)]
    pub debug: bool,
    /// Write a newline to descriptor N when ready (s6 readiness notification)
    #[arg(long, value_name = "N")]
    pub notify_fd: Option<NotifyFd>,
    /// Check the configuration, print every error, and exit
    #[arg(long)]
    pub check_config: bool,
    /// Everything else.
    #[command(subcommand)]
    pub command: Option<Command>,
}

const HELP: &str = "\
Signals: HUP reads the configuration again; TERM and INT stop tailer within 2 s.
Exit codes: 0 success; 2 usage error, or an error in the configuration; 3 an I/O error
that cannot be recovered from.
To follow a file named `status`, write `./status`.

Examples:
  tailer /var/log/nginx/access.log                 follow one file, new lines only
  tailer --config /etc/standpipe/tailer.toml       follow many, deliver into pipes
  tailer --batch --order timestamp a.log b.log     merge two files by their times";

/// What `tailer` does beside following.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Show what tailer is doing, file by file, and its problems
    #[command(after_help = STATUS_HELP)]
    Status(StatusArgs),
}

const STATUS_HELP: &str = "\
Also works when no tailer is running, and says so. Give --config, --state or --all.

Exit codes: 0 healthy; 1 a file is behind or unreadable, or no tailer is running;
2 usage error; 3 the status cannot be read.

Examples:
  tailer status --config /etc/standpipe/tailer.toml
  tailer status --state /var/lib/standpipe/state.json
  tailer status --state state.json --json | jq -r '.findings[]'";

/// `tailer status`.
#[derive(Clone, Debug, Args)]
pub struct StatusArgs {
    /// Configuration that names the state file [default: none]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// State file, instead of the one in the configuration [default: none]
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,
    /// All running tailers, and the one of /etc/standpipe/tailer.toml
    #[arg(long, conflicts_with_all = ["config", "state"])]
    pub all: bool,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

impl Cli {
    /// The configuration that is asked for: at the start, and again at each HUP.
    pub fn configuration(&self) -> Result<Config, ConfigError> {
        let mut config = match &self.config {
            Some(file) => load(file, &self.given)?,
            None => Config::of_paths(&self.paths, self.pipe.as_deref(), &self.given)?,
        };
        if self.batch {
            config.become_batch();
        }
        Ok(config)
    }
}

/// When standard output gets color.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless `NO_COLOR` is set
    Auto,
    /// Always
    Always,
    /// Never
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
            ("tailer", "<PATH|--config <FILE>>"),
            ("tailer --config c.toml a", "cannot be used with"),
            ("tailer --config c.toml --pipe p", "cannot be used with"),
            ("tailer --check-config", "<PATH|--config <FILE>>"),
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
            ("tailer -", "cannot follow -: standard input does not rotate"),
            ("tailer /nowhere/*.log", "cannot follow /nowhere/*.log: no such file; to use a pattern"),
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
