//! No path, name or foreign text in what a program says steers a terminal, or looks like a line of the program's own.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::symlink;

use standpipe_common::shown::steers;
use standpipe_tests::directory::Scratch;
use standpipe_tests::privilege::give;
use standpipe_tests::programs::Launch;

/// Clears the screen, sets a title, begins a line of its own, and turns the writing round.
const EVIL: &str = "e\x1b[2J\x1b]0;x\x07\r\nPLANTED \u{9b}31m\u{202e}\t";

/// A directory of that name with everything that a command can meet in it.
fn plant(scratch: &Scratch) {
    let evil = scratch.make_dir(EVIL);
    for name in ["pipes", "logs", "logs/app", "followed"] {
        scratch.make_dir(&format!("{EVIL}/{name}"));
    }
    let put = |name: &str, text: &str| {
        fs::write(evil.join(name), text).unwrap();
        give(&evil.join(name));
    };
    // Links that lead nowhere and to what is no FIFO, names that no pipe may have, policies that are wrong.
    symlink(evil.join("nowhere"), evil.join("pipes/dangling")).unwrap();
    symlink(evil.join("logs"), evil.join("pipes/directory")).unwrap();
    symlink(evil.join("nowhere"), evil.join("pipes").join(EVIL)).unwrap();
    put(&format!("pipes/{EVIL}.toml"), "");
    put("pipes/plain", "");
    put("pipes/dangling.toml", &format!("stamp = \"{EVIL}\"\n"));
    put("pipes/orphan.toml", "stamp = \"none\"\n");
    // A part that is damaged, and names that are none of a log's.
    put("logs/app/@20260101T000000.000000Z.zst", "no archive");
    put(&format!("logs/app/{EVIL}"), "");
    put(&format!("followed/{EVIL}.log"), "line\n");
    put("state.json", &format!("{{\"{EVIL}"));
    put("broken.toml", &format!("[[files]]\npath = \"{EVIL}\n"));
    put(
        "wrong.toml",
        &format!("state_file = \"state.json\"\n[[files]]\npath = 'followed/*.log'\nname = '{}'\n", "e\x1b"),
    );
}

/// Runs a program with each of these arguments; most of them make it speak of what is called so.
fn check(program: &str, commands: impl Fn(&dyn Fn(&str) -> OsString) -> Vec<Vec<OsString>>) {
    let scratch = Scratch::new();
    plant(&scratch);
    let evil = scratch.path().join(EVIL);
    let commands = commands(&|name| evil.join(name).into_os_string());
    let (count, mut spoke) = (commands.len(), 0);
    for args in commands {
        let output = Launch::new(program).args(&args).run();
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), output.stderr);
        let bad = |c: char| steers(c) && c != '\n' && c != '\t';
        assert!(!said.contains(bad), "{program} {args:?}: {said:?}");
        assert!(!said.lines().any(|line| line.starts_with("PLANTED")), "{program} {args:?}:\n{said}");
        spoke += usize::from(said.contains("PLANTED"));
    }
    assert!(2 * spoke > count, "{program}: {spoke} of {count}");
}

fn flag(text: &str) -> OsString {
    OsString::from(text)
}

#[test]
fn no_name_steers_a_terminal_through_holder() {
    check("holder", |at| {
        let of = |dir: OsString| {
            let mut all = vec![vec![dir.clone(), flag("--check-config")]];
            for command in ["status", "check"] {
                all.push(vec![flag(command), dir.clone()]);
                all.push(vec![flag(command), flag("--json"), dir.clone()]);
            }
            all
        };
        ["pipes", "missing", "state.json"].into_iter().flat_map(|dir| of(at(dir))).collect()
    });
}

#[test]
fn no_name_steers_a_terminal_through_reader() {
    check("reader", |at| {
        let mut all = Vec::new();
        for dir in ["pipes", "missing", "state.json"].map(at) {
            all.push(vec![dir.clone(), flag("--check-config")]);
            all.push(vec![dir, flag("--logs"), at("state.json")]);
        }
        for root in ["logs", "missing", "state.json"].map(at) {
            all.push(vec![flag("stdin"), root.clone()]);
            all.push(vec![flag("logs"), root.clone()]);
            for name in ["app", EVIL] {
                all.push(vec![flag("logs"), flag(name), flag("--logs"), root.clone()]);
                all.push(vec![flag("rotate"), flag(name), flag("--logs"), root.clone()]);
                all.push(vec![flag("status"), flag("--logs"), root.clone(), flag(name)]);
                all.push(vec![flag("status"), flag("--json"), flag("--logs"), root.clone(), flag(name)]);
            }
        }
        all
    });
}

#[test]
fn no_name_steers_a_terminal_through_tailer() {
    check("tailer", |at| {
        let mut all = Vec::new();
        for config in ["missing.toml", "broken.toml", "wrong.toml", "followed"].map(at) {
            all.push(vec![flag("--config"), config.clone(), flag("--check-config")]);
            all.push(vec![flag("--config"), config.clone(), flag("--batch")]);
            all.push(vec![flag("status"), flag("--config"), config]);
        }
        for state in ["missing.json", "state.json", "followed"].map(at) {
            all.push(vec![flag("status"), flag("--state"), state.clone()]);
            all.push(vec![flag("status"), flag("--json"), flag("--state"), state]);
        }
        for path in ["missing.log", "pipes/plain", "pipes", &format!("followed/{EVIL}.log")] {
            all.push(vec![flag("--batch"), at(path)]);
        }
        all
    });
}
