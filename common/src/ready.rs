//! Telling a supervisor that the first pass is done: a newline for s6, `READY=1` for systemd.
//!
//! Invariant: the descriptor of `--notify-fd` is closed when [`ready`] returns, for s6 takes end of file as an answer
//! too. Deliberately not here: watchdogs, reload and stopping notices, passed sockets.

use std::fs::{File, symlink_metadata};
use std::io::{self, Write};
use std::str::FromStr;

use sd_notify::NotifyState;

use crate::error::{Cannot, Error, Result};
use crate::sys;

/// The descriptor that a supervisor left open for `--notify-fd`: not one of the standard three, and open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotifyFd(i32);

impl FromStr for NotifyFd {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<NotifyFd, String> {
        let number: i32 = text.parse().map_err(|_| format!("`{text}` is not a descriptor number"))?;
        if number <= 2 {
            return Err(format!("descriptor {number} is a standard stream: write 3 or more"));
        }
        symlink_metadata(proc_path(number)).map_err(|_| format!("descriptor {number} is not open"))?;
        Ok(NotifyFd(number))
    }
}

/// Says "ready" to whoever asked for it; to be called once, after the first pass.
///
/// A newline goes to `notify_fd`, which is then closed, and `READY=1` to the socket that `NOTIFY_SOCKET` names.
pub fn ready(notify_fd: Option<NotifyFd>) -> Result<()> {
    if let Some(NotifyFd(number)) = notify_fd {
        notify(number)?;
    }
    sd_notify::notify(&[NotifyState::Ready])
        .map_err(|cause| Error::new("notify", std::env::var_os("NOTIFY_SOCKET").unwrap_or_default(), cause))
}

fn notify(number: i32) -> Result<()> {
    let owned = sys::own_fd(number).ok_or_else(|| io::Error::from(nix::errno::Errno::EBADF));
    let mut pipe = File::from(owned.cannot("notify", proc_path(number))?);
    pipe.write_all(b"\n").cannot("notify", proc_path(number))
}

fn proc_path(number: i32) -> String {
    format!("/proc/self/fd/{number}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::fd::{AsRawFd, IntoRawFd};

    #[test]
    fn a_descriptor_that_cannot_be_meant_is_a_wrong_question() {
        for (text, complaint) in [
            ("", "not a descriptor number"),
            ("three", "not a descriptor number"),
            ("-1", "write 3 or more"),
            ("0", "write 3 or more"),
            ("2", "write 3 or more"),
            ("1000000", "descriptor 1000000 is not open"),
        ] {
            let refusal = text.parse::<NotifyFd>().unwrap_err();
            assert!(refusal.contains(complaint), "{text}: {refusal}");
        }
    }

    #[test]
    fn readiness_is_a_newline_and_then_the_end() {
        let (mut reader, writer) = io::pipe().unwrap();
        let notify_fd: NotifyFd = writer.as_raw_fd().to_string().parse().unwrap();
        let _given_away = writer.into_raw_fd();
        ready(Some(notify_fd)).unwrap();
        let mut said = String::new();
        reader.read_to_string(&mut said).unwrap();
        assert_eq!(said, "\n");
    }

    #[test]
    fn a_supervisor_that_went_away_is_an_error_with_its_descriptor() {
        let (reader, writer) = io::pipe().unwrap();
        let number = writer.into_raw_fd();
        drop(reader);
        let error = ready(Some(NotifyFd(number))).unwrap_err();
        assert_eq!(error.to_string(), format!("cannot notify /proc/self/fd/{number}: Broken pipe"));
    }
}
