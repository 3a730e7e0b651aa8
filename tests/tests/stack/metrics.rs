//! The alert rules of `examples/prometheus`: `promtool` accepts them, each fires and does not fire where it should, and all
//! that they ask for is there.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use standpipe_tests::privilege::needs_tool;
use standpipe_tests::programs::command;

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/prometheus").canonicalize().unwrap()
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.as_ref().display()))
}

/// What stands behind `key` in a line of its own.
fn values<'t>(text: &'t str, key: &str) -> BTreeSet<&'t str> {
    text.lines().filter_map(|line| line.trim_start_matches([' ', '-']).strip_prefix(key)).map(str::trim).collect()
}

/// The metrics of ours that a text names.
fn names(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("standpipe_reader_") || word.starts_with("standpipe_tailer_")).collect()
}

#[test]
fn the_rules_are_what_their_tests_say() {
    needs_tool("promtool", || {
        for words in [["check", "rules", "standpipe.rules.yml"], ["test", "rules", "standpipe.rules.test.yml"]] {
            let output = command("promtool").args(words).current_dir(examples()).output().expect("promtool");
            let said = [output.stdout, output.stderr].concat();
            assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&said));
        }
    });
}

#[test]
fn each_rule_is_tested_both_ways() {
    let (rules, tests) =
        (read(examples().join("standpipe.rules.yml")), read(examples().join("standpipe.rules.test.yml")));
    let alerts = values(&rules, "alert:");
    assert!(alerts.len() > 10, "{alerts:?}");
    let silent = tests.lines().filter(|line| line.ends_with("exp_alerts: [] }")).collect::<Vec<_>>().join("\n");
    for alert in &alerts {
        assert!(silent.contains(&format!("alertname: {alert},")), "{alert} is never tested to be silent");
    }
    assert_eq!(values(&tests, "alertname:"), alerts, "each is tested to fire");
}

#[test]
fn what_rules_and_their_tests_ask_for_is_in_the_reference() {
    let page = read(examples().join("../../docs/metrics.md"));
    let documented: BTreeSet<&str> = page.lines().filter(|line| line.starts_with("| `")).flat_map(names).collect();
    for file in ["standpipe.rules.yml", "standpipe.rules.test.yml"] {
        let text = read(examples().join(file));
        let unknown: Vec<_> = names(&text).difference(&documented).copied().collect();
        assert!(unknown.is_empty(), "{file}: {unknown:?}");
    }
    for alert in values(&read(examples().join("standpipe.rules.yml")), "alert:") {
        assert!(page.contains(&format!("| `{alert}` |")), "docs/metrics.md does not explain {alert}");
    }
}
