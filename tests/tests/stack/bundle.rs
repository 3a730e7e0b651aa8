//! `holder check --bundle`, and what logrotate would do to a FIFO.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use serde_json::Value;
use standpipe_tests::deadline::until;
use standpipe_tests::directory::Scratch;
use standpipe_tests::privilege::{needs_root, needs_tool};
use standpipe_tests::programs::{self, Launch, Output, command, holder};
use standpipe_tests::world::open_writer;

fn check(scratch: &Scratch, front: &str, bundle: &Path) -> Output {
    for beside in ["holder", "reader", "tailer"] {
        programs::path(beside);
    }
    Launch::new(front).arg("check").arg(scratch.pipes()).arg("--bundle").arg(bundle).run()
}

/// Where tar has put what is in it.
fn unpacked(scratch: &Scratch, bundle: &Path) -> PathBuf {
    let dir = scratch.make_dir("unpacked");
    let plain = zstd::decode_all(fs::File::open(bundle).unwrap()).unwrap();
    fs::write(dir.join("bundle.tar"), plain).unwrap();
    let tar = command("tar").args(["-xf", "bundle.tar"]).current_dir(&dir).output().unwrap();
    assert!(tar.status.success() && tar.stderr.is_empty(), "{tar:?}");
    dir.join("standpipe-bundle")
}

#[test]
fn a_bundle_has_what_whoever_helps_asks_for() {
    let scratch = Scratch::new();
    let fifo = scratch.pipe("app");
    scratch.pipe("quiet");
    scratch.write_policy("defaults.toml", "logs = \"../logs\"\nkeep_free = \"off\"\n");
    scratch.write_policy("app.toml", "prefix = \"> \"\n");
    let _holder = holder(&scratch).start();
    let reader = Launch::new("reader").arg(scratch.pipes()).start();
    let lines = (1..=1500).map(|number| format!("line {number}\n")).collect::<Vec<_>>().concat();
    std::io::Write::write_all(&mut open_writer(&fifo, 0).unwrap(), lines.as_bytes()).unwrap();
    let all = || Launch::new("reader").args(["logs", "app", "--logs"]).arg(scratch.logs()).run().stdout;
    until("all is stored", || all().ends_with(b"> line 1500\n"));

    let bundle = scratch.path().join("bundle.tar.zst");
    let output = check(&scratch, "standpipe", &bundle);
    assert!(output.code < 2 && output.stderr.contains("can contain secrets"), "{output:?}");
    assert_eq!(fs::metadata(&bundle).unwrap().permissions().mode() & 0o7777, 0o600);
    let top = unpacked(&scratch, &bundle);
    let text = |name: &str| fs::read_to_string(top.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    let log = text("logs/app.log");
    assert!(log.lines().count() == 1000 && log.ends_with("> line 1500\n"), "{log}");
    assert_eq!(text("findings.txt"), String::from_utf8(output.stdout).unwrap());
    for (name, part) in [
        ("findings.json", "\"findings\""),
        ("holder-status.txt", "  TARGET"),
        ("holder-status.json", "\"pipes\""),
        ("reader-status.txt", "  BYTES"),
        ("reader-status.json", &format!("\"pid\": {}", reader.pid())),
        ("reader-list.txt", "active"),
        ("tailer-status.json", "\"tailers\""),
        ("versions.txt", "reader 0."),
        ("system/proc-version", "Linux"),
        ("system/proc-self-mountinfo", " / "),
        ("system/space.txt", " free, "),
        ("pipes.d.txt", &format!("app -> {}", fifo.display())),
        ("pipes.d/app.toml", "prefix = \"> \"\n"),
        (&format!("processes/{}-cmdline", reader.pid()), "reader"),
        ("logs/quiet.log", ""),
    ] {
        assert!(text(name).contains(part), "{name}: {}", text(name));
    }
    // What is there is never replaced, and what cannot be had is told and no end of it.
    let before = fs::read(&bundle).unwrap();
    let output = check(&scratch, "holder", &bundle);
    assert!(output.code == 3 && output.stderr.contains("File exists") && fs::read(&bundle).unwrap() == before);
    let link = scratch.path().join("link");
    symlink(scratch.path().join("target"), &link).unwrap();
    assert_eq!(check(&scratch, "holder", &link).code, 3);
    assert!(!scratch.path().join("target").exists());
    assert_eq!(check(&scratch, "holder", &scratch.path().join("no/such")).code, 3);
    fs::remove_dir_all(&top).unwrap();
    fs::remove_dir_all(scratch.path().join("unpacked")).unwrap();
    drop(reader);
    fs::rename(scratch.logs(), scratch.path().join("away")).unwrap();
    let second = scratch.path().join("second.tar.zst");
    let output = check(&scratch, "holder", &second);
    assert!(output.code < 2, "{output:?}");
    let problems = fs::read_to_string(unpacked(&scratch, &second).join("problems.txt")).unwrap();
    assert!(problems.contains("reader status --logs ") && problems.contains("No such file"), "{problems}");
}

/// The configuration of the machine is another one in a view of the file system of our own.
#[test]
fn a_fifo_that_logrotate_would_rename_is_found_and_it_does_rename_it() {
    needs_root(|| {
        needs_tool("logrotate", || {
            let scratch = Scratch::new();
            scratch.pipe("app");
            symlink(scratch.run("app"), scratch.run("app.log")).unwrap();
            let config = scratch.make_dir("logrotate.d");
            let pattern = format!("{}/run/a*", scratch.path().display());
            let text = format!("\"{pattern}\" {{\n  rotate 2\n  create\n  su root root\n}}\n");
            fs::write(config.join("app"), text).unwrap();
            let script = "mount --bind \"$1\" /etc/logrotate.d && shift && exec \"$0\" \"$@\"";
            let launch = Launch::new("holder").under(["unshare", "--mount", "sh", "-c", script]).as_tests();
            let output = launch.arg(&config).args(["check", "--json"]).arg(scratch.pipes()).run();
            let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
            let of_kind =
                |kind: &str| report["findings"].as_array().unwrap().iter().find(|is| is["kind"] == kind).cloned();
            let (fifo, link) = (of_kind("logrotate").unwrap(), of_kind("logrotate_link").unwrap());
            assert_eq!((output.code, &fifo["severity"], &link["severity"]), (1, &"error".into(), &"warning".into()));
            assert_eq!(fifo["path"], scratch.run("app").to_str().unwrap());
            assert!(fifo["what"].as_str().unwrap().contains("(/etc/logrotate.d/app, line 1)"), "{fifo}");
            assert!(fifo["mend"].as_str().unwrap().starts_with("grep -nF -- "), "{fifo}");

            // Held, as it would be, so that nobody waits for it to be opened.
            let _held = fs::File::options().read(true).write(true).open(scratch.run("app")).unwrap();
            let state = scratch.path().join("state");
            let mut logrotate = command("logrotate");
            let done = logrotate.arg("-f").arg("-s").arg(state).arg(config.join("app")).output().unwrap();
            assert!(fs::symlink_metadata(scratch.run("app")).unwrap().is_file(), "{done:?}");
        });
    });
}
