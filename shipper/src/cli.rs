//! The command line of `shipper`: flags, and nothing that acts on them.

use std::path::PathBuf;

use clap::Parser;
use standpipe_common::cursor::Receiver;
use standpipe_common::ready::NotifyFd;

/// Sends the logs of reader to any receiver of OTLP over HTTP.
#[derive(Debug, Parser)]
#[command(name = "shipper", version = env!("STANDPIPE_VERSION"), after_help = HELP)]
pub struct Cli {
    /// Log root, or one log directory [default: that of reader].
    #[arg(value_name = "LOGS")]
    pub logs: Option<PathBuf>,
    /// Receiver: http:// or https://, without a path /v1/logs is added.
    #[arg(long, value_name = "URL", required_unless_present = "config")]
    pub otlp: Option<String>,
    /// Configuration: FILE.toml, for all that has no flag [default: none].
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Name of the receiver, of which each has its own cursors [default: otlp].
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
`reader status` shows it. Nothing is ever skipped because the receiver is away: what
it does not take is tried again without end.

Signals: HUP reads the files of headers again and tries at once what waits; TERM and INT
stop shipper after the requests under way, within 5 s.
Exit codes: 0 success; 2 usage error, or an error in the configuration; 3 LOGS cannot be
used, or another shipper sends it.

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
            ("shipper logs", "--otlp <URL>"),
            ("shipper logs --otlp http://a --name A", "is not a receiver's name"),
            ("shipper logs more --otlp http://a", "unexpected argument"),
        ] {
            let refusal = parse(words).unwrap_err();
            assert!(refusal.contains(complaint), "{words}: {refusal}");
        }
        assert!(parse("shipper --config f.toml").is_ok() && parse("shipper --otlp http://a").is_ok());
    }
}
