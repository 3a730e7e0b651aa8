//! The command line of `shipper`: flags, and nothing that acts on them.

use std::path::PathBuf;

use clap::{ArgGroup, Parser};
use standpipe_common::cursor::Receiver;
use standpipe_common::ready::NotifyFd;

/// Sends the logs of reader to any receiver of OTLP over HTTP.
#[derive(Debug, Parser)]
#[command(name = "shipper", version = env!("STANDPIPE_VERSION"), after_help = HELP)]
#[command(group = ArgGroup::new("receiver").args(["otlp", "config"]).required(true).multiple(true))]
pub struct Cli {
    /// Log root, or one log directory [default: that of reader].
    #[arg(value_name = "LOGS")]
    pub logs: Option<PathBuf>,
    /// URL of the receiver; /v1/logs is added if it has no path.
    #[arg(long, value_name = "URL")]
    pub otlp: Option<String>,
    /// Configuration: FILE.toml, for all that has no flag [default: none].
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Name of the receiver; each name has its own cursors [default: otlp].
    #[arg(long, value_name = "NAME")]
    pub name: Option<Receiver>,
    /// Write a newline to descriptor N when ready (s6 readiness notification).
    #[arg(long, value_name = "N")]
    pub notify_fd: Option<NotifyFd>,
    /// Check the configuration, print every error, and exit.
    #[arg(long)]
    pub check_config: bool,
}

const HELP: &str = "\
shipper starts each log with its oldest part. How far it got is in LOGS/PIPE/.cursor-NAME;
`reader status` shows it. While the receiver is away, shipper retries forever and skips
nothing; only a limit of the log can remove lines before they are sent, which is reported.

Signals: HUP rereads the header files and retries at once; TERM and INT stop shipper
after the requests under way, within 5 s.
Exit codes: 0 success; 2 usage error, or an error in the configuration; 3 LOGS cannot be
used, or another shipper already sends these logs.

Examples:
  shipper /var/log/standpipe --otlp http://127.0.0.1:4318   send every pipe
  shipper --config /etc/standpipe/shipper.toml   with headers, roots, some pipes";

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_flags_are_what_clap_takes_for_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_receiver_is_needed_and_its_name_is_checked() {
        let parse = |words: &str| Cli::try_parse_from(words.split(' ')).map_err(|error| error.to_string());
        for (words, complaint) in [
            ("shipper", "<--otlp <URL>|--config <FILE>>"),
            ("shipper logs", "<--otlp <URL>|--config <FILE>>"),
            ("shipper logs --otlp http://a --name A", "is not a receiver's name"),
            ("shipper logs more --otlp http://a", "unexpected argument"),
        ] {
            let refusal = parse(words).unwrap_err();
            assert!(refusal.contains(complaint), "{words}: {refusal}");
        }
        for words in ["shipper --config f.toml", "shipper --otlp http://a", "shipper --config f.toml --otlp http://a"] {
            assert!(parse(words).is_ok(), "{words}");
        }
    }
}
