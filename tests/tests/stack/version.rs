//! `--version`: which sources a program was made of.

use std::process::Stdio;

use standpipe_tests::programs::{Launch, command};

/// What git says of the checkout that the tests are in. `None`: it is none, or git is not to be had.
fn commit() -> Option<String> {
    let mut git = command("git");
    git.args(["rev-parse", "--short=12", "HEAD"]).current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let output = git.stderr(Stdio::null()).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).unwrap().trim_end().to_owned())
}

#[test]
fn each_program_says_number_commit_and_features() {
    for (program, features) in [
        ("holder", "no features"),
        ("reader", "no features"),
        ("tailer", "features: yaml"),
        ("standpipe", "no features"),
    ] {
        let output = Launch::new(program).arg("--version").run();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.code == 0 && said.starts_with(&format!("{program} 0.")), "{said}");
        assert!(said.contains(features) && said.lines().count() == 1, "{said}");
        if let Some(commit) = commit() {
            let is_said = [", ", "+, "].iter().any(|end| said.contains(&format!(", commit {commit}{end}")));
            assert!(is_said, "{said}: {commit}");
        }
    }
}
