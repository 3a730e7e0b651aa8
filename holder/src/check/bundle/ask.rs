//! What another program of ours says, within a time: a disk that stands still must not keep the bundle back.

use std::ffi::OsStr;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use standpipe_common::called;
use standpipe_common::shown::Shown as _;

/// What each of them is waited for.
const SPAN: Duration = Duration::from_secs(20);

/// What it wrote on standard output, and a sentence for each thing that went wrong.
#[derive(Debug, Default)]
pub struct Printed {
    /// Standard output.
    pub text: Vec<u8>,
    /// What it said beside it, and how it ended.
    pub problem: Option<String>,
}

/// Asks `program`, such as `reader`, which is beside us.
pub fn ask(program: &str, args: &[&OsStr]) -> Printed {
    let Some(path) = called::find(program) else {
        return Printed { text: Vec::new(), problem: Some(format!("{program} is not installed")) };
    };
    let words: Vec<_> = args.iter().map(|arg| arg.shown().to_string()).collect();
    let asked = format!("{program} {}", words.join(" "));
    let problem = |what: String| Printed { text: Vec::new(), problem: Some(format!("{asked}: {what}")) };
    let mut command = Command::new(path);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return problem(error.to_string()),
    };
    let pid = child.id();
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(child.wait_with_output()).ok());
    match receiver.recv_timeout(SPAN) {
        Ok(Ok(output)) => answer(&asked, output),
        Ok(Err(error)) => problem(error.to_string()),
        Err(_) => {
            kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL).ok();
            problem(format!("no answer within {} s", SPAN.as_secs()))
        }
    }
}

fn answer(asked: &str, output: Output) -> Printed {
    let said = String::from_utf8_lossy(&output.stderr).trim_end().to_owned();
    let is_well = output.status.success() && said.is_empty();
    let problem = (!is_well).then(|| format!("{asked}: {}: {said}", output.status));
    Printed { text: output.stdout, problem }
}
