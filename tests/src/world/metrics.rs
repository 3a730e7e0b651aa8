//! A metrics file as Prometheus takes it: its numbers by their names and labels, and what `promtool` says of it.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use crate::programs::command;

/// A page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metrics(pub String);

impl Metrics {
    /// Of that file, if it is there. Whenever it is read it is whole.
    pub fn read(path: &Path) -> Option<Metrics> {
        let text = fs::read_to_string(path).ok()?;
        assert!(text.starts_with("# standpipe metrics\n") && text.ends_with('\n'), "half a page: {text:?}");
        Some(Metrics(text))
    }

    /// The number of a name and all its labels, as in `up{logs="/l"}`. `*` is any text in their place.
    pub fn get(&self, sample: &str) -> Option<f64> {
        let (begin, end) = sample.split_once('*').unwrap_or((sample, ""));
        let is_it = |line: &&str| {
            let name = line.rsplit_once(' ').map_or("", |(name, _)| name);
            name.strip_prefix(begin)
                .is_some_and(|rest| if sample.contains('*') { rest.ends_with(end) } else { rest.is_empty() })
        };
        let line = self.0.lines().filter(|line| !line.starts_with('#')).find(is_it)?;
        line.rsplit_once(' ')?.1.parse().ok()
    }

    /// The same without its fraction, where it must be there.
    pub fn of(&self, sample: &str) -> u64 {
        self.get(sample).unwrap_or_else(|| panic!("no {sample} in\n{}", self.0)) as u64
    }

    /// The same of a number of seconds, in microseconds.
    pub fn micros(&self, sample: &str) -> u64 {
        (self.get(sample).unwrap_or_else(|| panic!("no {sample} in\n{}", self.0)) * 1e6) as u64
    }

    /// Demands that `promtool check metrics` has nothing to say.
    pub fn check(&self) {
        let mut promtool = command("promtool");
        promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut running = promtool.spawn().expect("promtool");
        running.stdin.take().expect("a pipe").write_all(self.0.as_bytes()).expect("promtool reads it");
        let output = running.wait_with_output().expect("promtool ends");
        let said = [output.stdout, output.stderr].concat();
        let is_well = output.status.success() && said.is_empty();
        assert!(is_well, "{}\n{}", String::from_utf8_lossy(&said), self.0);
    }
}
