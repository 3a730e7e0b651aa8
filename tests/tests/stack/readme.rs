//! What README and the pages of docs/ tell people to paste, install or copy does what it says.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use nix::sys::signal::Signal;
use standpipe_tests::deadline::until;
use standpipe_tests::directory::{Scratch, set_mode};
use standpipe_tests::privilege::{give, needs_root, needs_tool};
use standpipe_tests::programs::{self, Launch, Output, command, holder, reader};

use crate::documentation::pages;

const README: &str = include_str!("../../../README.md");
const TMPFILES: &str = include_str!("../../../examples/systemd/standpipe.tmpfiles");
/// A newcomer reads it to its end.
const README_WORDS_MAX: usize = 2500;

/// The blocks of code in a language, of all pages, in their order.
fn blocks(language: &str) -> Vec<String> {
    let of_page = |(_, text): (PathBuf, String)| -> Vec<String> {
        let fenced = text.split("```").skip(1).step_by(2);
        fenced.filter_map(|block| Some(block.strip_prefix(language)?.strip_prefix('\n')?.to_owned())).collect()
    };
    pages().into_iter().flat_map(of_page).collect()
}

/// The one that has this in it.
fn block(language: &str, part: &str) -> String {
    let mut found = blocks(language).into_iter().filter(|block| block.contains(part));
    let (Some(block), None) = (found.next(), found.next()) else { panic!("not one {language} block with {part}") };
    block
}

/// Where the programs under test lie, all three.
fn programs() -> PathBuf {
    let dirs = ["holder", "reader", "tailer"].map(|name| programs::path(name).parent().unwrap().to_owned());
    assert!(dirs.iter().all(|dir| *dir == dirs[0]));
    dirs[0].clone()
}

/// Runs a script as an ordinary user would, with `more` and our programs on the PATH.
fn run(script: &str, dir: &Path, more: &Path) -> Output {
    let path = format!("{}:{}:/usr/bin:/bin", more.display(), programs().display());
    Launch::new("reader").under(["bash", "-c", script]).cwd(dir).env("PATH", path).run()
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn the_readme_is_short() {
    let words = README.split_whitespace().count();
    assert!(words <= README_WORDS_MAX, "README.md has {words} words");
}

#[test]
fn a_first_pipe_by_hand_is_read_and_archived_as_pasted() {
    let scratch = Scratch::new();
    let pasted = block("sh", "mkfifo -m 0660 ../run/app");
    let (build, rest) = pasted.split_once('\n').unwrap();
    assert_eq!(build, "cargo build --release && export PATH=$PWD/target/release:$PATH");
    let told = README.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(told.contains("`kill %1 %2` stops both"));
    let script = format!(
        "{rest}\nfor _ in $(seq 200); do ls ../logs/app | grep -q zst && break; sleep 0.1; done
         echo then; ls ../logs/app; holder check >/dev/null; echo check $?
         kill %1 %2; wait; reader logs app; ls -A ../.."
    );
    let output = run(&script, scratch.path(), Path::new("/usr/bin"));
    let shown = text(&output);
    let (pasted, then) = shown.split_once("then\n").unwrap();
    assert!(pasted.starts_with("hello from a server\n"), "{output:?}");
    assert!(then.contains(".log.zst\n") && then.contains("\ncurrent\ncheck 0\nhello from a server\n"), "{output:?}");
    assert!(then.ends_with("\ntry\n"), "all of it lies in one directory: {output:?}");
    let ignored = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.gitignore");
    assert!(fs::read_to_string(ignored).unwrap().lines().any(|line| line == "/try"));
}

#[test]
fn what_reads_and_follows_runs_line_by_line() {
    let scratch = Scratch::new();
    let logs = scratch.make_dir("log");
    for (name, line) in [("app.log", "2026-11-28T10:00:00Z INFO app"), ("nginx/access.log", "a request")] {
        fs::create_dir_all(logs.join(name).parent().unwrap()).unwrap();
        fs::write(logs.join(name), format!("{line}\n")).unwrap();
    }
    let fill = "for _ in 1 2; do echo started with an error | reader stdin log/standpipe/app; done; mkdir -p some/log
                echo a request | reader stdin log/standpipe/nginx-access
                cp -r log/standpipe/app some/log/directory; cp log/app.log a.log; cp log/app.log b.log";
    let output = run(&format!("mkdir log/standpipe && {fill}"), scratch.path(), Path::new("/usr/bin"));
    assert_eq!(output.code, 0, "{output:?}");
    let can_run = |line: &str| ["reader logs ", "tailer ", "zstdcat "].iter().any(|begin| line.starts_with(begin));
    let reading: Vec<_> = blocks("sh").into_iter().filter(|block| block.lines().all(can_run)).collect();
    assert!(reading.len() >= 3, "{reading:?}");
    for line in reading.iter().flat_map(|block| block.lines()) {
        // What follows does so until it is stopped.
        let quoted = line.replace("/var/log", &logs.display().to_string()).replace('\'', "'\\''");
        let script = format!("export STANDPIPE_LOGS={}/standpipe; timeout 1 bash -c '{quoted}'", logs.display());
        let output = run(&script, scratch.path(), Path::new("/usr/bin"));
        let is_following = match line.split_once(' ') {
            Some(("tailer", args)) => !args.contains("--batch"),
            _ => line.contains(" -f") && !line.contains(" -m 1 "),
        };
        // As grep has it: no line is found among these few.
        let code = if is_following { 124 } else { i32::from(line.contains(" -c ")) };
        assert_eq!(output.code, code, "{line}: {output:?}");
        assert!(!output.stdout.is_empty() || is_following, "{line}: {output:?}");
    }
}

/// `current` is a link that each rotation swaps, here as often as the tailer gets to look.
#[test]
fn the_tailer_follows_current_through_rotations() {
    const PARTS: usize = 20;
    const LINES: usize = 1500;
    let scratch = Scratch::new();
    let fifo = scratch.pipe("app");
    let _holder = holder(&scratch).start();
    let reader = reader(&scratch).start();
    until("the log is there", || scratch.logs().join("app/current").exists());
    let out = scratch.path().join("out");
    let follow = "exec \"$0\" \"$@\" >out";
    let args = ["--output", "raw", "--follow-from-start", "logs/app/current"];
    let tailer = Launch::new("tailer").args(args).under(["sh", "-c", follow]).cwd(scratch.path()).start();
    tailer.wait_line("watching 1 file");
    let mut writer = fs::OpenOptions::new().write(true).open(&fifo).unwrap();
    let current = scratch.logs().join("app/current");
    let read = || fs::metadata(&out).map_or(0, |is| is.len());
    let mut expected = String::new();
    for part in 0..PARTS {
        let text = format!("of part {part}\n").repeat(LINES);
        let sealed = expected.len() as u64;
        expected.push_str(&text);
        writer.write_all(text.as_bytes()).unwrap();
        until("the tailer has found this part", || read() > sealed);
        let before = fs::read_link(&current).unwrap();
        reader.signal(Signal::SIGALRM);
        until("it rotates", || fs::read_link(&current).is_ok_and(|link| link != before));
    }
    until("every line came", || read() >= expected.len() as u64);
    assert!(fs::read_to_string(&out).unwrap() == expected, "in their order, none twice");
}

/// Instead of building it takes what the tests have built, and shows its progress as cargo does.
const CARGO: &str = r#"#!/bin/sh
case " $* " in *" --quiet "*) ;; *) echo '   Compiling standpipe' >&2 ;; esac
mkdir -p target/release && ln -s "$PROGRAMS"/* target/release
"#;

#[test]
fn the_quickstart_says_what_it_builds_shows_progress_and_counts_every_line() {
    let scratch = Scratch::new();
    let [examples, tools] = ["examples", "tools"].map(|name| scratch.make_dir(name));
    fs::copy(concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/quickstart.sh"), examples.join("quickstart.sh"))
        .unwrap();
    fs::write(tools.join("cargo"), CARGO).unwrap();
    set_mode(&tools.join("cargo"), 0o755);
    assert!(block("sh", "cargo test --workspace").starts_with("examples/quickstart.sh "));
    let script = format!(
        "export PROGRAMS={} LINES_PER_WRITER=2000; examples/quickstart.sh && ls target/release/tailer",
        programs().display()
    );
    let output = run(&script, scratch.path(), &tools);
    let shown = text(&output);
    assert!(shown.starts_with("building holder, reader and tailer, which takes "), "{output:?}");
    assert!(output.stderr.contains("Compiling"), "{output:?}");
    for line in ["lines found     10000\n", "lost            0\n", "repeated        0\n", "release/tailer\n"] {
        assert!(shown.contains(line), "{line}: {output:?}");
    }
    assert_eq!(output.code, 0, "{output:?}");
}

/// A program that copies out of a bucket, which is the directory `remote`, as `rclone copy` does.
const RCLONE: &str = r#"#!/bin/sh
[ "$1 $3" = "copy back/app" ] && mkdir -p "$3" && cp remote/* "$3"
"#;

#[test]
fn an_archive_goes_into_an_outbox_with_a_copy_that_any_reader_takes_and_comes_back() {
    let scratch = Scratch::new();
    let scripts = scratch.make_dir("ship-archives");
    for name in ["key.sh", "outbox"] {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/ops/ship-archives").join(name);
        fs::copy(source, scripts.join(name)).unwrap();
    }
    let hook = block("sh", "Also puts a copy").replace("/usr/local/lib/ship-archives", scripts.to_str().unwrap());
    for (name, script) in [("rclone", RCLONE), ("hook", &hook)] {
        fs::write(scripts.join(name), script).unwrap();
        set_mode(&scripts.join(name), 0o755);
    }
    let back = block("sh", "part=${part%.*.*.*}").replace(" -S 10:00 -U 10:05", "");
    let script = format!(
        "seq 100000 | reader stdin logs/app --hook {0}/hook --hook outbox --hook web1 2>/dev/null
         mkdir remote && cp $(find outbox/v1 -type f) remote
         cmp logs/app/*.zst remote/*.zst && ls remote logs/app | sort | uniq -d
         data=$(find outbox/data -type f); zstdcat $data | cmp - <(seq 100000) || echo differs
         grep -c standpip $data; grep -c standpip remote/*
         ls -A outbox/.new; {back}",
        scripts.display()
    );
    let output = run(&script, scratch.path(), &scripts);
    let shown = text(&output);
    // Grep tells whether the index is in it: not in the copy, but in the archive.
    assert!(shown.starts_with("0\n1\n1\n2\n3\n"), "{output:?}");
    assert!(shown.contains("\n99999\n100000\n") && output.code == 0, "{output:?}");
}

#[test]
fn the_files_of_tmpfiles_d_leave_each_fifo_to_its_server_also_the_second_time() {
    needs_root(|| {
        needs_tool("systemd-tmpfiles", || {
            let scratch = Scratch::new();
            let etc = scratch.make_dir("etc");
            fs::create_dir_all(scratch.path().join("etc/tmpfiles.d")).unwrap();
            let user = |name: &str, id: u32| format!("{name}:x:{id}:{id}::/:/bin/sh\n");
            fs::write(etc.join("passwd"), user("root", 0) + &user("standpipe", 990) + &user("www-data", 991)).unwrap();
            fs::write(etc.join("group"), "root:x:0:\nstandpipe:x:990:\nwww-data:x:991:\n").unwrap();
            let nginx = TMPFILES.replace("#p /run/standpipe/nginx-access", "p /run/standpipe/nginx-access");
            fs::write(etc.join("tmpfiles.d/standpipe.conf"), nginx).unwrap();
            // Owned by root, as a system's are: systemd-tmpfiles distrusts others.
            for dir in ["", "etc", "etc/tmpfiles.d", "run"] {
                std::os::unix::fs::chown(scratch.path().join(dir), Some(0), Some(0)).unwrap();
            }
            for _ in 0..2 {
                let root = format!("--root={}", scratch.path().display());
                let output = command("systemd-tmpfiles").args(["--create", &root, "standpipe.conf"]).output().unwrap();
                assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
                let is = |path: &str| {
                    let is = fs::metadata(scratch.path().join(path)).unwrap();
                    let (uid, gid) =
                        (std::os::unix::fs::MetadataExt::uid(&is), std::os::unix::fs::MetadataExt::gid(&is));
                    (is.permissions().mode() & 0o7777, uid, gid)
                };
                assert_eq!(is("run/standpipe"), (0o755, 990, 990));
                assert_eq!(is("run/standpipe/nginx-access"), (0o660, 991, 990));
            }
        });
    });
}

#[test]
fn scripts_have_the_shell_s_grammar_and_configurations_are_taken() {
    for script in blocks("sh").into_iter().filter(|script| !script.contains("execlineb")) {
        let checked = command("bash").args(["-n", "-c", &script]).stdin(Stdio::null()).output().unwrap();
        assert!(checked.status.success() && checked.stderr.is_empty(), "{script}\n{checked:?}");
    }
    let scratch = Scratch::new();
    let stateless = block("toml", "[[spool]]");
    let config = format!("{}\n{stateless}", block("toml", "# /etc/standpipe/tailer.toml"));
    for dir in ["var/lib/standpipe", "var/spool/standpipe/jobs/done", "run/standpipe"] {
        fs::create_dir_all(scratch.path().join(dir)).unwrap();
    }
    let here = scratch.path().display().to_string();
    let moved = config.replace("\"/var/", &format!("\"{here}/var/")).replace("\"/run/", &format!("\"{here}/run/"));
    let path = scratch.path().join("tailer.toml");
    fs::write(&path, moved).unwrap();
    give(&path);
    let output = Launch::new("tailer").arg("--check-config").arg("--config").arg(&path).run();
    assert_eq!(output.code, 0, "{output:?}");
}
