//! `standpipe status`: what `holder status`, `reader status` and `tailer status` say, one below the other, or as one JSON
//! object. The exit code is the worst of theirs.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};

use serde_json::{Value, json};
use standpipe_common::called::find;
use standpipe_common::error::{Cannot, EXIT_IO, Stop};
use standpipe_common::pipes::{scan, scan_usual};
use standpipe_common::shown::Shown as _;
use standpipe_common::standard;

use crate::cli::StatusArgs;
use crate::hand_over;

/// Version of the JSON object.
const JSON_VERSION: u32 = 1;

/// One of the three, and what it is asked.
struct Question {
    program: &'static str,
    args: Vec<OsString>,
    /// The line above its answer, where that has none of its own.
    title: Option<String>,
}

/// Shows what was asked for. The exit code.
pub fn run(args: &StatusArgs) -> Result<u8, Stop> {
    let questions = questions(args);
    if args.json {
        return in_one_object(&questions);
    }
    let mut worst = 0;
    for (index, question) in questions.iter().enumerate() {
        let gap = if index == 0 { "" } else { "\n" };
        let title = question.title.as_ref().map_or_else(String::new, |title| format!("{title}\n"));
        standard::print(&format!("{gap}{title}"))?;
        let status = question.command()?.status().cannot("run", question.program)?;
        worst = worst.max(code(status));
    }
    Ok(worst)
}

fn questions(args: &StatusArgs) -> Vec<Question> {
    let dir = args.dir.clone().or_else(|| scan_usual().map(|scan| scan.dir));
    let logs = || args.dir.as_ref().and_then(|dir| scan(dir).ok()?.logs);
    let title = dir.as_ref().map(|dir| format!("{}: pipes", dir.shown()));
    let holder = Question { program: "holder", args: dir.map(Into::into).into_iter().collect(), title };
    let logs = args.logs.clone().or_else(logs);
    let reader = Question { program: "reader", args: option("--logs", logs.as_ref()), title: None };
    let named = args.config.iter().map(|file| option("--config", Some(file)));
    let named: Vec<_> = named.chain(args.state.iter().map(|file| option("--state", Some(file)))).collect();
    let tailers = match named.is_empty() {
        // Many a machine has none.
        true if find("tailer").is_none() => Vec::new(),
        true => vec![vec!["--all".into()]],
        false => named,
    };
    let tailers = tailers.into_iter().map(|args| Question { program: "tailer", args, title: None });
    [holder, reader].into_iter().chain(tailers).collect()
}

fn option(name: &str, value: Option<&PathBuf>) -> Vec<OsString> {
    value.map(|value| [OsString::from(name), value.into()]).into_iter().flatten().collect()
}

impl Question {
    fn command(&self) -> Result<Command, Stop> {
        let mut command = hand_over::called_as(&hand_over::find(self.program)?, None);
        command.arg("status").args(&self.args).stdin(Stdio::null());
        Ok(command)
    }

    /// The object that it answers with, what it said beside it, and the exit code.
    fn asked(&self) -> Result<(Value, String, u8), Stop> {
        let output = self.command()?.arg("--json").output().cannot("run", self.program)?;
        let object = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
        Ok((object, String::from_utf8_lossy(&output.stderr).trim_end().to_owned(), code(output.status)))
    }
}

fn in_one_object(questions: &[Question]) -> Result<u8, Stop> {
    let (mut holder, mut reader, mut tailers, mut errors, mut worst) = (Value::Null, Value::Null, vec![], vec![], 0);
    for question in questions {
        let (mut object, said, code) = question.asked()?;
        worst = worst.max(code);
        errors.extend((!said.is_empty()).then_some(said));
        match (question.program, object.get_mut("tailers").map(Value::take)) {
            ("holder", _) => holder = object,
            ("reader", _) => reader = object,
            (_, Some(Value::Array(all))) => tailers.extend(all),
            _ if object.is_null() => {}
            _ => tailers.push(object),
        }
    }
    let object =
        json!({"version": JSON_VERSION, "holder": holder, "reader": reader, "tailers": tailers, "errors": errors});
    standard::print_json(&format!("{object:#}\n"))?;
    Ok(worst)
}

fn code(status: ExitStatus) -> u8 {
    status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(EXIT_IO)
}
