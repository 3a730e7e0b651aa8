//! `holder check`: what it finds, and that it finds nothing where nothing is wrong.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;
use standpipe_tests::deadline::{CONDITION_SPAN, until, within};
use standpipe_tests::directory::{Scratch, make_fifo, set_mode};
use standpipe_tests::privilege::{NOBODY, is_root, needs_root};
use standpipe_tests::programs::{Launch, Output, Process, command, holder, reader};
use standpipe_tests::world::open_writer;

fn ask(scratch: &Scratch) -> Launch {
    Launch::new("holder").arg("check").arg(scratch.pipes())
}

/// What scripts see, with the exit code. As whoever runs the tests.
fn report(scratch: &Scratch) -> (i32, Vec<Value>) {
    parse(&ask(scratch).arg("--json").as_tests().run())
}

fn parse(output: &Output) -> (i32, Vec<Value>) {
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("no JSON: {output:?}"));
    assert_eq!(report["version"], 1);
    let findings = report["findings"].as_array().expect("an array").clone();
    for finding in &findings {
        for key in ["severity", "kind", "what", "path", "why", "mend"] {
            assert!(finding[key].as_str().is_some_and(|text| !text.is_empty()), "{key}: {finding}");
        }
    }
    for mend in findings.iter().filter_map(|finding| finding["mend"].as_str()) {
        let is_ending = |word: &str| word.ends_with("kill") && !mend.contains(&format!("{word} -HUP "));
        assert!(!mend.split(' ').any(is_ending), "ends a program: {mend}");
    }
    (output.code, findings)
}

fn find<'a>(findings: &'a [Value], kind: &str) -> &'a Value {
    let found = findings.iter().find(|finding| finding["kind"] == kind);
    found.unwrap_or_else(|| panic!("no {kind}: {findings:#?}"))
}

/// The kinds found for a pipe, in their order, but for what some processes hide.
fn kinds(findings: &[Value], pipe: &str) -> Vec<String> {
    let of_pipe = findings.iter().filter(|finding| finding["pipe"] == pipe);
    of_pipe.map(|finding| finding["kind"].as_str().unwrap().to_owned()).collect()
}

/// A pipe with nothing to find fault with.
fn good_pipe(scratch: &Scratch, name: &str) -> std::path::PathBuf {
    let fifo = scratch.pipe(name);
    set_mode(&fifo, 0o660);
    fifo
}

/// Runs the command that is said to mend it.
fn mend(finding: &Value) {
    let mended_by = finding["mend"].as_str().unwrap();
    let status = command("sh").arg("-c").arg(mended_by).stdin(Stdio::null()).status().unwrap();
    assert!(status.success(), "{mended_by}");
}

/// Another program that reads this FIFO; killed with the test.
struct Cat(Process);

impl Cat {
    fn start(fifo: &Path) -> Cat {
        Cat(Process::start(command("cat").arg(fifo).stdin(Stdio::null()).stdout(Stdio::null())))
    }
}

#[test]
fn where_all_is_well_nothing_is_found() {
    let scratch = Scratch::new();
    good_pipe(&scratch, "app");
    good_pipe(&scratch, "web");
    let (_holder, _reader) = (holder(&scratch).start(), reader(&scratch).start());
    let (code, findings) = report(&scratch);
    assert!(code == 0 && findings.iter().all(|finding| finding["severity"] == "hint"), "{findings:#?}");
    let output = ask(&scratch).as_tests().run();
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(output.code == 0 && shown.contains("no findings and "), "{shown}");
}

#[test]
fn what_stands_at_the_end_of_a_link_is_told_and_the_command_mends_it() {
    let scratch = Scratch::new();
    let app = good_pipe(&scratch, "app");
    fs::write(scratch.run("it's a file"), "lines").unwrap();
    standpipe_tests::privilege::give(&scratch.run("it's a file"));
    scratch.link("file", scratch.run("it's a file"));
    scratch.link("gone", scratch.run("new dir/gone"));
    scratch.link("twin", &app);
    scratch.link("dir", scratch.run(""));
    let (code, findings) = report(&scratch);
    assert_eq!(code, 1);
    for (pipe, kind) in [("file", "not_a_fifo"), ("gone", "dangling"), ("twin", "twin"), ("dir", "not_a_fifo")] {
        assert_eq!(kinds(&findings, pipe), [kind], "{findings:#?}");
    }
    for pipe in ["file", "gone", "twin"] {
        mend(findings.iter().find(|finding| finding["pipe"] == pipe).unwrap());
    }
    let aside = scratch.run("it's a file.aside");
    assert_eq!(fs::read(&aside).unwrap(), b"lines");
    let owner = |path: &Path| fs::metadata(path).map(|is| (is.uid(), is.gid())).unwrap();
    assert_eq!(owner(&scratch.run("it's a file")), owner(&aside), "its server may write to it");
    let (_, findings) = report(&scratch);
    for kind in ["dangling", "twin"] {
        assert!(findings.iter().all(|finding| finding["kind"] != kind), "{kind}: {findings:#?}");
    }
    assert!(!kinds(&findings, "file").contains(&"not_a_fifo".to_owned()), "{findings:#?}");
}

#[test]
fn mistakes_of_policies_and_strays_are_findings_with_their_place() {
    let scratch = Scratch::new();
    good_pipe(&scratch, "app");
    let file = scratch.write_policy("app.toml", "levle = 3\n");
    scratch.write_policy("orphan.toml", "");
    let (_holder, _reader) = (holder(&scratch).start(), reader(&scratch).start());
    let (code, findings) = report(&scratch);
    let config = find(&findings, "config")["what"].as_str().unwrap();
    assert!(config.contains(&format!("{}: line 1, column 1: unknown key `levle`", file.display())), "{config}");
    assert!(find(&findings, "stray_file")["what"].as_str().unwrap().contains("orphan.toml belongs to no pipe"));
    assert_eq!(code, 1);
    let shown = String::from_utf8(ask(&scratch).as_tests().run().stdout).unwrap();
    assert!(shown.contains("\n    1 | levle = 3\n      | ^^^^^\n"), "the caret stays below its word:\n{shown}");
}

#[test]
fn rights_that_are_too_wide_or_too_narrow_are_told() {
    needs_root(|| {
        let scratch = Scratch::new();
        for (name, mode, owner, group) in [
            ("open", 0o666, NOBODY, NOBODY),
            ("own", 0o060, NOBODY, NOBODY),
            ("shut", 0o600, 1, 1),
            ("mute", 0o460, NOBODY - 1, NOBODY),
        ] {
            let fifo = scratch.pipe(name);
            set_mode(&fifo, mode);
            chown(&fifo, Some(owner), Some(group)).unwrap();
        }
        let _holder = holder(&scratch).start();
        let (code, findings) = report(&scratch);
        assert_eq!(code, 1);
        assert!(kinds(&findings, "open").contains(&"open_to_others".to_owned()), "{findings:#?}");
        assert!(kinds(&findings, "shut").contains(&"shut_out".to_owned()), "{findings:#?}");
        assert!(kinds(&findings, "own").contains(&"shut_out".to_owned()), "the group counts for others: {findings:#?}");
        assert!(kinds(&findings, "mute").contains(&"server_shut_out".to_owned()), "{findings:#?}");
        let is_of_rights = |finding: &&Value| {
            ["open_to_others", "shut_out", "server_shut_out"].iter().any(|kind| finding["kind"] == *kind)
        };
        findings.iter().filter(is_of_rights).for_each(mend);
        let (_, findings) = report(&scratch);
        assert_eq!(findings.iter().find(is_of_rights), None);
    });
}

#[test]
fn directories_that_others_may_write_are_told() {
    let scratch = Scratch::new();
    good_pipe(&scratch, "app");
    set_mode(&scratch.pipes(), 0o757);
    set_mode(&scratch.run(""), 0o757);
    let (code, findings) = report(&scratch);
    assert_eq!(code, 1);
    assert_eq!(find(&findings, "open_directory")["severity"], "error");
    mend(find(&findings, "open_directory"));
    mend(find(&findings, "replaceable"));
    let (_, findings) = report(&scratch);
    let open = |finding: &Value| finding["kind"] == "open_directory" || finding["kind"] == "replaceable";
    assert!(!findings.iter().any(open), "{findings:#?}");
}

#[test]
fn h11_a_sticky_directory_is_told_where_fifos_are_protected() {
    needs_root(|| {
        let scratch = Scratch::new();
        let fifo = good_pipe(&scratch, "app");
        chown(scratch.run(""), Some(0), Some(0)).unwrap();
        set_mode(&scratch.run(""), 0o1777);
        chown(&fifo, Some(1), Some(NOBODY)).unwrap();
        // The setting is the machine's: another test may change it meanwhile.
        let setting = || fs::read_to_string("/proc/sys/fs/protected_fifos").unwrap();
        until("the setting stays the same for as long as a check takes", || {
            let before = setting();
            let (_, findings) = report(&scratch);
            let told = findings.iter().any(|finding| finding["kind"] == "sticky");
            let same = before == setting();
            assert!(!same || told == (before.trim() != "0"), "{before} {findings:#?}");
            same
        });
    });
}

#[test]
fn whoever_reads_a_pipe_beside_the_reader_is_named() {
    let scratch = Scratch::new();
    let fifo = good_pipe(&scratch, "app");
    let (_holder, _reader) = (holder(&scratch).start(), reader(&scratch).start());
    let cat = Cat::start(&fifo);
    until("cat is found", || kinds(&report(&scratch).1, "app") == ["stranger_reads"]);
    let (code, findings) = report(&scratch);
    let finding = find(&findings, "stranger_reads");
    let expected = format!("cat (pid {}, user ", cat.0.id());
    assert!(code == 1 && finding["what"].as_str().unwrap().starts_with(&expected), "{finding}");
    assert_eq!(finding["mend"], format!("ps -f -p {}", cat.0.id()), "whatever started it must stop it");
    mend(finding);
    drop(cat);
    until("cat is gone", || report(&scratch).0 == 0);
    // A server that opens it for both is no more than a hint.
    let _server = fs::OpenOptions::new().read(true).write(true).open(&fifo).unwrap();
    let (code, findings) = report(&scratch);
    assert_eq!((code, kinds(&findings, "app")), (0, vec!["could_read".to_owned()]), "{findings:#?}");
}

#[test]
fn two_readers_on_one_pipe_are_told() {
    let scratch = Scratch::new();
    good_pipe(&scratch, "app");
    let other_logs = scratch.make_dir("other-logs");
    let (_holder, _reader) = (holder(&scratch).start(), reader(&scratch).start());
    let mut other = Launch::new("reader").arg(scratch.pipes()).arg("--logs").arg(other_logs).start();
    let (code, findings) = report(&scratch);
    assert_eq!((code, kinds(&findings, "app")), (1, vec!["two_readers".to_owned()]), "{findings:#?}");
    assert_eq!(other.terminate(), 0);
    assert_eq!(report(&scratch).0, 0);
}

#[test]
fn a_full_pipe_is_told_with_what_is_in_it() {
    let scratch = Scratch::new();
    let fifo = good_pipe(&scratch, "app");
    scratch.write_policy("app.toml", "pipe_size = \"16KiB\"\n");
    let _holder = holder(&scratch).start();
    let mut server = open_writer(&fifo, 0).unwrap();
    while server.write(&[b'x'; 2100]).is_ok() {}
    let (code, findings) = report(&scratch);
    assert_eq!(code, 1);
    assert_eq!(find(&findings, "full")["what"], "it is full, with 8400 of 16384 bytes", "{findings:#?}");
}

#[test]
fn a_pipe_smaller_than_its_policy_is_told_with_the_setting_that_mends_it() {
    let scratch = Scratch::new();
    good_pipe(&scratch, "app");
    scratch.write_policy("app.toml", "pipe_size = \"64MiB\"\n");
    let holder = holder(&scratch).start();
    let (code, findings) = report(&scratch);
    let small = find(&findings, "small");
    assert_eq!((code, &small["what"]), (1, &Value::from("its size is 64KiB, less than its pipe_size of 64MiB")));
    let sudo = if is_root() { "" } else { "sudo " };
    let expected = format!("{sudo}sysctl fs.pipe-max-size=67108864 && kill -HUP {}", holder.pid());
    assert_eq!(small["mend"], expected);
    assert!(small["why"].as_str().unwrap().contains("fs.pipe-max-size = "), "{small}");
    scratch.write_policy("app.toml", "pipe_size = \"128KiB\"\n");
    holder.hang_up("holds 1 pipe of");
    let (_, findings) = report(&scratch);
    assert!(findings.iter().all(|finding| finding["kind"] != "small"), "{findings:#?}");
}

#[test]
fn what_nobody_holds_or_reads_is_told_where_every_process_can_be_seen() {
    needs_root(|| {
        let scratch = Scratch::new();
        good_pipe(&scratch, "app");
        let script = format!(
            "\"$0\" check --json \"$1\"; \"$0\" --notify-fd 3 \"$1\" 3>{0} 2>/dev/null & \
             until [ -s {0} ]; do sleep 0.01; done; \"$0\" check --json \"$1\"; kill $!",
            scratch.path().join("ready").display()
        );
        let world = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", &script];
        let output = holder(&scratch).as_tests().under(world).run();
        let lines: Vec<_> = output.stdout.split(|&byte| byte == b'\n').take(2).collect();
        let [before, after] = lines[..] else { panic!("{output:?}") };
        let findings = |line: &[u8]| {
            let report: Value = serde_json::from_slice(line).unwrap_or_else(|_| panic!("{output:?}"));
            kinds(report["findings"].as_array().unwrap(), "app")
        };
        assert_eq!(findings(before), ["not_held", "not_read"]);
        assert_eq!(findings(after), ["not_read"]);
    });
}

#[test]
fn what_an_ordinary_user_cannot_see_is_a_hint() {
    needs_root(|| {
        let scratch = Scratch::new();
        good_pipe(&scratch, "app");
        let (code, findings) = parse(&ask(&scratch).arg("--json").run());
        assert_eq!((code, &find(&findings, "unseen")["severity"]), (0, &Value::from("hint")), "{findings:#?}");
        assert!(kinds(&findings, "app").is_empty(), "{findings:#?}");
    });
}

#[test]
fn the_text_fits_its_screen() {
    let scratch = Scratch::new();
    let fifo = scratch.path().join("run/größe");
    make_fifo(&fifo, 0o666);
    scratch.link("größe", &fifo);
    scratch.link("gone", "../run/gone");
    for (columns, locale) in [("80", "C.UTF-8"), ("40", "C.UTF-8"), ("80", "C"), ("40", "C")] {
        let output = ask(&scratch).as_tests().env("COLUMNS", columns).env("LC_ALL", locale).run();
        let shown = String::from_utf8(output.stdout).unwrap();
        let width: usize = columns.parse().unwrap();
        // A word, such as a path, is never broken, nor is a command with quotes.
        let is_too_long = |line: &&str| {
            let words = line.trim().split(' ').filter(|word| *word != "\\").count();
            line.chars().count() > width && words > 1 && !line.contains('\'')
        };
        let words = |line: &str| line.trim_start().starts_with("fix:") || line.trim_start().starts_with("why:");
        let too_long = shown.lines().filter(|line| !words(line)).find(is_too_long);
        assert_eq!(too_long, None, "{columns} {locale}\n{shown}");
        assert_eq!(shown.is_ascii(), locale == "C", "{shown}");
        assert!(output.code == 1 && shown.contains("gone:"), "{shown}");
    }
}

/// What is new after the start of holder or reader is told to them by HUP, and the commands of `check` do that.
#[test]
fn a_pipe_that_came_after_the_start_is_taken_up_by_the_commands() {
    needs_root(|| {
        let scratch = Scratch::new();
        good_pipe(&scratch, "app");
        make_fifo(&scratch.run("web"), 0o660);
        let script = format!(
            "cd {}; chown -R 0:0 logs; \"$0\" --notify-fd 3 pipes.d 3>h 2>/dev/null & holder=$!; \
             \"$2\" --logs logs --notify-fd 3 pipes.d 3>r 2>/dev/null & reader=$!; \
             until [ -s h ] && [ -s r ]; do sleep 0.01; done; ln -s ../run/web pipes.d/web; echo $holder $reader; \
             \"$0\" check --json pipes.d | tee found; grep -o 'kill -HUP [0-9]*' found | sort -u | sh; \
             for _ in $(seq 500); do \"$0\" check --json pipes.d >now && break; sleep 0.01; done; cat now; \
             kill $reader $holder",
            scratch.path().display()
        );
        let world = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", &script];
        let reader = standpipe_tests::programs::path("reader");
        let output = holder(&scratch).arg(reader).as_tests().under(world).run();
        let lines: Vec<_> = output.stdout.split(|&byte| byte == b'\n').take(3).collect();
        let [pids, before, after] = lines[..] else { panic!("{output:?}") };
        let findings = |line: &[u8]| {
            let report: Value = serde_json::from_slice(line).unwrap_or_else(|_| panic!("{output:?}"));
            report["findings"].as_array().unwrap().clone()
        };
        let before = findings(before);
        let pids: Vec<_> = str::from_utf8(pids).unwrap().split(' ').collect();
        for (kind, pid) in [("not_held", pids[0]), ("not_read", pids[1])] {
            assert_eq!(find(&before, kind)["mend"], format!("kill -HUP {pid}"), "{before:#?}");
        }
        assert!(kinds(&findings(after), "web").is_empty(), "{output:?}");
    });
}

/// Holder and reader in a world of mounts of their own, with this directory in place of that of the FIFOs.
fn hide_run(scratch: &Scratch, launch: Launch) -> Launch {
    let script = format!("mount -t tmpfs none {0} && chmod 755 {0} && exec \"$@\"", scratch.run("").display());
    launch.as_tests().under(["unshare", "--mount", "sh", "-c", &script, "sh"])
}

#[test]
fn a_fifo_that_a_service_cannot_see_is_told_to_move_and_no_signal_is_advised() {
    needs_root(|| {
        let scratch = Scratch::new();
        let fifo = good_pipe(&scratch, "app");
        let _holder = hide_run(&scratch, holder(&scratch)).start();
        until("it has a world of its own", || kinds(&report(&scratch).1, "app").contains(&"hidden".to_owned()));
        let (code, findings) = report(&scratch);
        let hidden = find(&findings, "hidden");
        let what = hidden["what"].as_str().unwrap();
        assert!(code == 1 && what.starts_with("holder (pid ") && what.contains("(PrivateTmp=)"), "{hidden}");
        assert!(hidden["mend"].as_str().unwrap().contains("/run/standpipe/app"), "{hidden}");
        assert!(!kinds(&findings, "app").contains(&"not_held".to_owned()), "{findings:#?}");
        let shown = String::from_utf8(Launch::new("holder").arg("status").arg(scratch.pipes()).as_tests().run().stdout);
        assert!(shown.unwrap().replace("\n  ", " ").contains("cannot see it, because"));

        // A server that makes a file of that name in its own world.
        let log = format!(
            "mount -t tmpfs none {0} && exec 3>>{1} && exec sleep 1000",
            scratch.run("").display(),
            fifo.display()
        );
        let _server = Process::start(command("unshare").args(["--mount", "sh", "-c", &log]).stdin(Stdio::null()));
        until("it is told", || kinds(&report(&scratch).1, "app").contains(&"hidden_from_server".to_owned()));
        let (_, findings) = report(&scratch);
        let what = find(&findings, "hidden_from_server")["what"].as_str().unwrap().to_owned();
        assert!(what.starts_with("sleep (pid ") && what.contains("logs into a regular file at that path"), "{what}");
    });
}

/// Where a server made a file in place of its FIFO, one round of commands is enough, whoever made what.
#[test]
fn a_file_in_place_of_a_fifo_is_mended_in_one_round() {
    needs_root(|| {
        for owner in [NOBODY, 1] {
            let scratch = Scratch::new();
            good_pipe(&scratch, "web");
            let (holding, reading) = (holder(&scratch).start(), reader(&scratch).start());
            scratch.link("app", scratch.run("app"));
            scratch.link("gone", scratch.run("gone"));
            fs::write(scratch.run("app"), "lines").unwrap();
            chown(scratch.run("app"), Some(owner), Some(owner)).unwrap();
            // As root's, where others have no say.
            chown(scratch.run(""), Some(0), Some(0)).unwrap();
            let (_, findings) = report(&scratch);
            assert_eq!([kinds(&findings, "app"), kinds(&findings, "gone")], [["not_a_fifo"], ["dangling"]]);
            findings
                .iter()
                .filter(|finding| ["app", "gone"].iter().any(|pipe| finding["pipe"] == *pipe))
                .for_each(mend);
            assert_eq!(fs::metadata(scratch.run("app")).unwrap().uid(), owner, "its server may write");
            holding.hang_up("holds 3 pipes of");
            reading.hang_up("3 pipes of");
            let mut left = Vec::new();
            let is_well = within(CONDITION_SPAN, || {
                left = report(&scratch).1;
                left.retain(|finding| finding["severity"] != "hint");
                left.is_empty()
            });
            assert!(is_well, "{left:#?}\n{}\n{}", holding.stderr(), reading.stderr());
        }
    });
}

/// logrotate's configuration counts by what it names, also once it has moved a FIFO away.
#[test]
fn a_moved_fifo_still_names_the_pattern_that_moved_it() {
    needs_root(|| {
        let scratch = Scratch::new();
        let fifo = good_pipe(&scratch, "app.log");
        let rotation = format!("{} {{\n  rotate 2\n}}\n", scratch.run("*.log").display());
        fs::write(scratch.path().join("rotation"), rotation).unwrap();
        let script = format!(
            "mount -t tmpfs none /etc/logrotate.d && cp {} /etc/logrotate.d/app && exec \"$0\" check --json \"$1\"",
            scratch.path().join("rotation").display()
        );
        let ask = || {
            let program = standpipe_tests::programs::path("holder");
            let mut asked = command("unshare");
            asked.args(["--mount", "sh", "-c", &script]).arg(program).arg(scratch.pipes());
            let output = asked.stdin(Stdio::null()).output().unwrap();
            let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
            report["findings"].as_array().unwrap().clone()
        };
        if !Path::new("/etc/logrotate.d").is_dir() {
            return standpipe_tests::not_run::note("/etc/logrotate.d");
        }
        let says = |findings: &[Value], word: &str| {
            let what = find(findings, "logrotate")["what"].as_str().unwrap().to_owned();
            assert!(what.contains(word) && what.contains("/etc/logrotate.d/app, line 1"), "{what}");
        };
        says(&ask(), "would rotate it by");
        fs::rename(&fifo, scratch.run("app.log.1")).unwrap();
        says(&ask(), "rotates it by");
        fs::write(&fifo, "lines").unwrap();
        standpipe_tests::privilege::give(&fifo);
        let findings = ask();
        says(&findings, "rotates it by");
        assert!(kinds(&findings, "app.log").contains(&"not_a_fifo".to_owned()), "{findings:#?}");
    });
}

/// Where systemd has a unit for it, the unit is started, and no second program beside it.
#[test]
fn a_unit_for_the_directory_is_started_instead_of_a_program() {
    needs_root(|| {
        let scratch = Scratch::new();
        good_pipe(&scratch, "app");
        let pipes = scratch.pipes().display().to_string();
        let unit = |program: &str| format!("[Service]\nExecStart=/usr/lib/standpipe/bin/{program} {pipes}\n");
        for program in ["holder", "reader"] {
            fs::write(scratch.path().join(format!("log-{program}.service")), unit(program)).unwrap();
        }
        let script = format!(
            "mount -t tmpfs none /run && mkdir -p /run/systemd/system && cp {}/*.service /run/systemd/system && \
             exec \"$0\" check --json \"$1\"",
            scratch.path().display()
        );
        let world = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", &script];
        let output = holder(&scratch).as_tests().under(world).run();
        let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
        let findings = report["findings"].as_array().unwrap();
        for (kind, start) in [("not_held", "systemctl start log-holder"), ("not_read", "systemctl start log-reader")] {
            let finding = find(findings, kind);
            assert_eq!(finding["mend"], start, "{finding}");
            assert!(!finding["why"].as_str().unwrap().contains("by hand"), "{finding}");
        }
    });
}

/// A command that its asker may not run comes with `sudo`, one in a directory of somebody else is run as that user, and
/// one that is ours comes with the path under which we were called.
#[test]
fn the_commands_fit_whoever_asks() {
    needs_root(|| {
        let scratch = Scratch::new();
        let fifo = good_pipe(&scratch, "app");
        set_mode(&fifo, 0o666);
        let as_nobody = [
            (0, format!("setpriv --reuid={NOBODY} --regid={NOBODY} --init-groups -- ")),
            (NOBODY, String::new()),
            (NOBODY - 1, format!("sudo -u '#{NOBODY}' ")),
        ];
        for (user, sudo) in as_nobody {
            let ask = if user == 0 { ask(&scratch).as_tests() } else { ask(&scratch).as_user(user) };
            let (_, findings) = parse(&ask.arg("--json").run());
            let expected = format!("{sudo}chmod o-rw {}", fifo.canonicalize().unwrap().display());
            assert_eq!(find(&findings, "open_to_others")["mend"], expected);
            let unseen = findings.iter().find(|finding| finding["kind"] == "unseen");
            let mend = unseen.map(|finding| finding["mend"].as_str().unwrap().to_owned()).unwrap_or_default();
            let program = standpipe_tests::programs::path("holder");
            let again = format!("sudo {} check {}", program.display(), scratch.pipes().display());
            assert!(if user == 0 { !mend.contains("sudo") } else { mend == again }, "{user}: {mend}");
            let pid = unseen.map(|finding| finding["what"].as_str().unwrap().starts_with("cannot inspect pid "));
            assert_ne!(pid, Some(false), "{findings:#?}");
        }
    });
}
