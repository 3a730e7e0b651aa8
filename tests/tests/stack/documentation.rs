//! The pages say what the programs say, their links lead somewhere, and what they tell people to paste works.
//!
//! `UPDATE_DOCS=1 cargo test -p standpipe-tests --test stack documentation` rewrites what the programs print.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use standpipe_common::policy::keys::KEYS;
use standpipe_tests::deadline::until;
use standpipe_tests::directory::Scratch;
use standpipe_tests::privilege::{give, needs_tool};
use standpipe_tests::programs::{self, Launch, Output, holder};
use standpipe_tests::world::open_writer;

/// The pages that show what `--help` prints, each for the program of its name.
const MANUALS: [&str; 5] = ["holder", "reader", "tailer", "shipper", "standpipe"];

fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// Every page for people, by its path.
pub(crate) fn pages() -> Vec<(PathBuf, String)> {
    let top = ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "pipes.d/README.md"].map(|path| project().join(path));
    let docs = fs::read_dir(project().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> =
        top.into_iter().chain(docs).filter(|path| path.extension().is_some_and(|e| e == "md")).collect();
    paths.sort();
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        (path, text)
    };
    paths.into_iter().map(read).collect()
}

/// What `reader logs --help` prints, for `reader logs`.
fn help(command: &str) -> String {
    let mut words = command.split(' ');
    let program = words.next().unwrap_or_default();
    let output = Launch::new(program).args(words).arg("--help").run();
    assert_eq!(output.code, 0, "{command}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// `reader` and each of its commands, `help` aside. Of `standpipe` only `status` is its own.
fn commands(program: &str) -> BTreeSet<String> {
    if program == "standpipe" {
        return ["standpipe", "standpipe status"].map(str::to_owned).into();
    }
    let text = help(program);
    let (_, listed) = text.split_once("\nCommands:\n").unwrap_or_default();
    let names = listed.lines().take_while(|line| !line.is_empty()).filter_map(|line| line.split_whitespace().next());
    let commands = names.filter(|name| *name != "help").map(|name| format!("{program} {name}"));
    commands.chain([program.to_owned()]).collect()
}

#[test]
fn the_manuals_show_what_each_command_prints() {
    const BEGIN: &str = "<!-- help: ";
    const END: &str = "<!-- end of help -->";
    for program in MANUALS {
        let page = project().join("docs").join(program).with_extension("md");
        let text = fs::read_to_string(&page).unwrap();
        let mut pieces = text.split(BEGIN);
        let mut expected = pieces.next().unwrap_or_default().to_owned();
        let mut shown = BTreeSet::new();
        for piece in pieces {
            let (command, rest) = piece.split_once(" -->\n").expect("a command");
            let (_, after) = rest.split_once(END).expect("the end of its help");
            write!(expected, "{BEGIN}{command} -->\n```text\n{}\n```\n{END}{after}", help(command).trim_end()).unwrap();
            shown.insert(command.to_owned());
        }
        assert_eq!(shown, commands(program), "the commands of {}", page.display());
        if std::env::var_os("UPDATE_DOCS").is_some() {
            fs::write(&page, expected).unwrap();
        } else {
            assert!(text == expected, "{} is out of date: run UPDATE_DOCS=1 cargo test", page.display());
        }
    }
}

/// The text without its code.
fn prose(text: &str) -> String {
    let blocks: String = text.split("```").step_by(2).collect();
    blocks.split('`').step_by(2).collect()
}

/// The name by which a link reaches a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
}

fn anchors(text: &str) -> BTreeSet<String> {
    let outside: String = text.split("```").step_by(2).collect();
    let headings = outside.lines().filter(|line| line.starts_with('#'));
    headings.map(|line| anchor(line.trim_start_matches('#').trim())).collect()
}

#[test]
fn every_link_leads_to_a_file_and_a_heading_that_are_there() {
    for (page, text) in pages() {
        for link in prose(&text).split("](").skip(1) {
            let target = link.split(')').next().unwrap_or_default();
            if target.starts_with("https://") {
                continue;
            }
            let (path, heading) = target.split_once('#').unwrap_or((target, ""));
            let file = if path.is_empty() { page.clone() } else { page.parent().unwrap().join(path) };
            assert!(file.exists(), "{} links to {target}", page.display());
            if !heading.is_empty() {
                let text = fs::read_to_string(&file).unwrap();
                assert!(anchors(&text).contains(heading), "{} links to {target}", page.display());
            }
        }
    }
}

fn run(script: &str, dir: &Path) -> Output {
    let programs = programs::path("reader").parent().unwrap().display().to_string();
    let path = format!("{programs}:/usr/bin:/bin:/usr/sbin");
    Launch::new("reader").under(["bash", "-c", script]).cwd(dir).env("PATH", path).run()
}

/// What three loggers and logrotate left, brought along as the page has it.
#[test]
fn old_logs_come_first_and_in_their_order_in_the_new_log() {
    needs_tool("multilog", || {
        needs_tool("logrotate", || {
            let page = fs::read_to_string(project().join("docs/migrating.md")).unwrap();
            let (_, block) = page.split_once("```sh\ncd /var/log/old/app\n").expect("its commands");
            let imports: Vec<_> = block.split("```").next().unwrap_or_default().lines().collect();
            assert_eq!(imports.len(), 2, "{imports:?}");
            let rotated = "log/old/app/app.log { rotate 9\n create\n compress\n delaycompress\n }";
            let left = [
                "seq -w 2000 | multilog s4096 n99 ./log/old/app; ls log/old/app/@*.s".to_owned(),
                format!(
                    "printf '%s\\n' \"$PWD/{rotated}\" >conf; umask 022
                     for i in $(seq 12); do seq -w $((i * 100)) $((i * 100 + 99)) >>log/old/app/app.log
                     [ $i = 12 ] || logrotate -f -s \"$PWD/state\" conf; done; ls log/old/app"
                ),
            ];
            let expected = [
                "seq -w 2000".to_owned(),
                // Nine are kept, and the one that is written.
                "for i in $(seq 3 12); do seq -w $((i * 100)) $((i * 100 + 99)); done".to_owned(),
            ];
            for ((leave, import), expected) in left.iter().zip(imports).zip(expected) {
                let scratch = Scratch::new();
                let import = import.replace("/var/log", "../../../log");
                let script = format!(
                    "set -eo pipefail; mkdir -p log/old/app log/standpipe; {leave}; (cd log/old/app; {import}
                     )
                     echo new | reader stdin log/standpipe/app
                     {{ {expected}; echo new; }} | cmp - <(reader logs --logs log/standpipe app)"
                );
                let output = run(&script, scratch.path());
                assert_eq!(output.code, 0, "{import}: {output:?}");
            }
        });
    });
}

/// The commands of a page that begin so, with the paths of a scratch directory, and without those that signal by name.
fn commands_of(page: &str, begin: &str, scratch: &Scratch) -> String {
    let text = fs::read_to_string(project().join("docs").join(page)).unwrap();
    let (_, rest) = text.split_once(&format!("```sh\n{begin}")).expect(begin);
    let block = format!("set -e\n{begin}{}", rest.split("```").next().unwrap_or_default());
    let commands = block.lines().filter(|line| !line.starts_with("pkill ")).collect::<Vec<_>>().join("\n");
    let (pipes, logs) = (scratch.pipes().display().to_string(), scratch.logs().display().to_string());
    let commands = commands.replace("/etc/standpipe/pipes.d", &pipes).replace("/var/log/standpipe", &logs);
    commands.replace("/srv/logs", &scratch.path().join("moved").display().to_string())
}

#[test]
fn a_pipe_is_renamed_with_its_log_and_a_log_root_moved_while_servers_write_on() {
    let scratch = Scratch::new();
    let fifo = scratch.pipe("app");
    let logs = format!("logs = \"{}\"\n", scratch.logs().display());
    for (file, toml) in [("defaults.toml", logs.as_str()), ("app.toml", "rotate_size = \"1KiB\"\n")] {
        give(&scratch.write_policy(file, toml));
    }
    let holder = holder(&scratch).start();
    let mut reader = Launch::new("reader").arg(scratch.pipes()).start();
    let mut server = open_writer(&fifo, 0).unwrap();
    let mut written = String::new();
    let mut write = |lines: std::ops::Range<u32>| {
        let text = lines.map(|line| format!("line {line}\n")).collect::<Vec<_>>().concat();
        server.write_all(text.as_bytes()).unwrap();
        written += &text;
        written.clone()
    };
    let read = |root: &Path, name: &str| Launch::new("reader").args(["logs", name, "--logs"]).arg(root).run().stdout;
    let all = write(0..500);
    until("it is logged", || read(&scratch.logs(), "app") == all.as_bytes());

    assert_eq!(reader.terminate(), 0);
    write(500..600);
    let output = run(&commands_of("operations.md", "cd /etc/standpipe/pipes.d", &scratch), scratch.path());
    assert_eq!(output.code, 0, "{output:?}");
    holder.signal(Signal::SIGHUP);
    let mut reader = Launch::new("reader").arg(scratch.pipes()).start();
    let all = write(600..700);
    until("the old log goes on under the new name", || read(&scratch.logs(), "api") == all.as_bytes());

    assert_eq!(reader.terminate(), 0);
    write(700..800);
    let output = run(&commands_of("operations.md", "cp -aT /var/log/standpipe", &scratch), scratch.path());
    assert_eq!(output.code, 0, "{output:?}");
    let _reader = Launch::new("reader").arg(scratch.pipes()).start();
    let all = write(800..900);
    let moved = scratch.path().join("moved");
    until("it goes on in the new root", || read(&moved, "api") == all.as_bytes());
    assert!(read(&scratch.logs(), "api") != all.as_bytes(), "the old root is left as it was");
}

#[test]
fn every_setting_that_a_page_recommends_is_accepted() {
    let scratch = Scratch::new();
    let is_ours = |span: &&str| {
        let key = span.split_once(" = ").map_or("", |(key, _)| key);
        KEYS.iter().any(|known| known.table.is_empty() && known.name == key)
    };
    let mut settings = BTreeSet::new();
    for (_, text) in pages() {
        let outside: Vec<_> = text.split("```").step_by(2).collect();
        let spans = outside.iter().flat_map(|text| text.split('`').skip(1).step_by(2));
        settings.extend(spans.filter(is_ours).map(str::to_owned));
    }
    assert!(settings.len() > 15, "{settings:?}");
    for setting in settings {
        let policy = scratch.write_policy("defaults.toml", &format!("{setting}\n"));
        give(&policy);
        let checked = Launch::new("reader").args(["--check-config", "--logs", "/logs"]).arg(scratch.pipes()).run();
        assert_eq!(checked.code, 0, "{setting}: {checked:?}");
    }
}

#[test]
fn the_lines_for_log_run_take_a_service_s_output() {
    let page = fs::read_to_string(project().join("docs/migrating.md")).unwrap();
    let blocks = page.split("```sh\n").skip(1).filter_map(|block| block.split("```").next());
    let lines = blocks.flat_map(str::lines).filter(|line| line.contains("reader stdin --") && !line.contains(" | "));
    let mut count = 0;
    for line in lines {
        let scratch = Scratch::new();
        let line = line.replace("/var/log/app", "./main");
        let output = run(&format!("echo hello | ({line} 3>&1); reader logs ./main/"), scratch.path());
        assert!(output.code == 0 && output.stdout.ends_with(b"hello\n"), "{line}: {output:?}");
        count += 1;
    }
    assert!(count >= 3, "{count} loggers");
}

/// Files of the programs and the tests, by their paths.
fn sources(dir: &Path, into: &mut Vec<String>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && path.file_name().is_some_and(|name| name != "target" && name != "corpus") {
            sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path.to_str().unwrap().to_owned());
        }
    }
}

#[test]
fn each_file_that_the_map_of_the_house_names_is_there() {
    let mut files = Vec::new();
    for part in ["common", "holder", "reader", "tailer", "shipper", "front", "tests"] {
        sources(&project().join(part), &mut files);
    }
    let map = fs::read_to_string(project().join("ARCHITECTURE.md")).unwrap();
    let named =
        map.split('`').skip(1).step_by(2).filter(|word| word.rsplit_once('.').is_some_and(|(_, end)| end == "rs"));
    let missing: Vec<&str> =
        named.filter(|name| !files.iter().any(|file| file.ends_with(&format!("/{name}")))).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
