//! `holder check`: what is wrong with a pipes directory or will be, why it hurts, and the command that fixes it or shows more.
//!
//! - [`finding`]: one thing found, and how it is shown;
//! - [`facts`]: what is asked of the system beside the survey;
//! - [`links`], [`access`], [`hidden`], [`traffic`], [`sizes`], [`stage`], [`logrotate`]: the rules, which only decide;
//! - [`bundle`]: all of it, and more, for whoever helps.
//!
//! It changes nothing and opens no FIFO that our own programs do not have open.

pub mod access;
pub mod bundle;
pub mod facts;
pub mod finding;
pub mod hidden;
pub mod links;
pub mod logrotate;
pub mod sizes;
pub mod stage;
pub mod traffic;

use std::collections::HashMap;

use standpipe_common::called::typed;
use standpipe_common::error::Stop;
use standpipe_common::name::Printable;
use standpipe_common::pipes;
use standpipe_common::shown::counted;
use standpipe_common::standard;
use standpipe_common::table::Screen;

use crate::advice;
use crate::cli::CheckArgs;
use crate::print;
use crate::status;
use crate::survey::{Survey, survey};
use facts::Facts;
use finding::{Finding, Report, Severity};

/// Prints what was found. The exit code: 1 if that is more than hints.
pub fn run(args: &CheckArgs) -> Result<u8, Stop> {
    let survey = survey(args.look.dir.as_deref(), "check")?;
    let findings = findings(&survey, &Facts::of(&survey));
    let object = print::json(&Report::of(&survey.dir, &findings))?;
    if let Some(bundle) = &args.bundle {
        let (status, status_object) = status::shown(&survey, Screen::UNBOUNDED)?;
        let findings = text(&survey, &findings, Screen::UNBOUNDED);
        let texts = [
            ("findings.txt", findings),
            ("findings.json", object.clone()),
            ("holder-status.txt", status),
            ("holder-status.json", status_object),
        ];
        bundle::write(bundle, &survey, &texts)?;
    }
    if args.look.json {
        standard::print_json(&object)?;
    } else {
        standard::print(&text(&survey, &findings, Screen::of_stdout()))?;
    }
    Ok(u8::from(findings.iter().any(|finding| finding.severity != Severity::Hint)))
}

/// All of them: those of the directory, then pipe by pipe.
fn findings(survey: &Survey, facts: &Facts) -> Vec<Finding> {
    let mut findings: Vec<Finding> = survey.findings.iter().map(|finding| of_scan(finding, survey)).collect();
    findings.extend(access::of_directory(survey, facts));
    findings.extend(sizes::of_shares(survey, facts));
    findings.extend(traffic::unseen(survey));
    findings.extend(traffic::nobody(survey, facts));
    for pipe in &survey.pipes {
        findings.extend(links::of_pipe(pipe, facts));
        findings.extend(access::of_pipe(pipe, facts));
        findings.extend(hidden::of_pipe(pipe, facts));
        findings.extend(traffic::of_pipe(pipe, survey, facts));
        findings.extend(sizes::of_pipe(pipe, survey, facts));
        findings.extend(stage::of_pipe(pipe, survey, facts));
        findings.extend(logrotate::of_pipe(pipe, facts));
    }
    findings
}

/// A mistake of a policy, or a file that is neither link nor policy.
fn of_scan(found: &pipes::Finding, survey: &Survey) -> Finding {
    let (severity, kind, why) = match found {
        pipes::Finding::Error(_) => {
            (Severity::Error, "config", "it is not used: the built-in defaults apply, or after HUP the previous values")
        }
        pipes::Finding::Warning(_) => {
            (Severity::Warning, "stray_file", "it has no effect, although someone may rely on it")
        }
    };
    let dir = advice::quoted(&survey.dir);
    Finding {
        pipe: None,
        severity,
        kind,
        what: found.to_string(),
        path: survey.dir.clone(),
        why: why.to_owned(),
        mend: format!("{} --check-config {dir}", typed("holder", "")),
    }
}

fn text(survey: &Survey, findings: &[Finding], screen: Screen) -> String {
    let dir = Printable(survey.dir.as_os_str());
    let targets: HashMap<_, _> = survey.pipes.iter().map(|pipe| (&pipe.entry.name, &pipe.target)).collect();
    let mut text = String::new();
    for group in findings.chunk_by(|one, next| one.pipe == next.pipe) {
        let pipe = group[0].pipe.as_ref();
        let title = match pipe.and_then(|name| Some((name, targets.get(name)?))) {
            Some((name, target)) => format!("{name}: {}", Printable(target.as_os_str())),
            None => format!("pipes directory {dir}"),
        };
        text.push_str(&finding::block(&title, group, screen));
    }
    let hints = findings.iter().filter(|finding| finding.severity == Severity::Hint).count();
    let no_or = |count: usize, noun| match count {
        0 => format!("no {noun}s"),
        count => counted(count as u64, noun),
    };
    let (found, pipes) = (no_or(findings.len() - hints, "finding"), no_or(survey.pipes.len(), "pipe"));
    let summary = format!("{found} and {} in {pipes} of {dir}", no_or(hints, "hint"));
    text + &print::wrapped(&summary, "", "  ", screen)
}
