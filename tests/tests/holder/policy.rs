//! Policies and the holder: a wrong one unholds nothing, and a FIFO that one asks for is made as it says.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, chown};
use std::path::Path;
use std::time::Duration;

use standpipe_tests::deadline::{until, within};
use standpipe_tests::directory::{Scratch, make_fifo};
use standpipe_tests::privilege::{NOBODY, give, needs_root, needs_seams};
use standpipe_tests::programs::{Launch, Output, holder};
use standpipe_tests::world::{capacity, is_held};

/// Whether standard error shows this mistake with file, line and a caret right below it.
fn shows_mistake(stderr: &str, file: &Path, place: &str, line: &str, caret: &str) -> bool {
    let picture = format!(" | {line}\n  | {caret}\n");
    stderr.contains(&format!("cannot use {}: {place}", file.display())) && stderr.contains(&picture)
}

#[test]
fn h19_a_bad_policy_at_the_start_is_shown_and_the_pipe_is_held() {
    for (text, place, line, caret) in [
        ("levle = 3\n", "line 1, column 1: unknown key `levle`", "levle = 3", "^^^^^"),
        ("\n[fifo]\nmode = 9999\n", "line 3, column 8: ", "mode = 9999", "       ^^^^"),
        ("pipe_size = \"10MB\"", "line 1, column 13: ", "pipe_size = \"10MB\"", "            ^^^^^^"),
    ] {
        let scratch = Scratch::new();
        let (app, web) = (scratch.pipe("app"), scratch.pipe("web"));
        let file = scratch.write_policy("app.toml", text);
        let holder = holder(&scratch).start();
        assert!(shows_mistake(&holder.stderr(), &file, place, line, caret), "{}", holder.stderr());
        assert!(is_held(&app) && is_held(&web));
        holder.wait_line("holder: holds 2 pipes of");
    }
}

#[test]
fn h19_a_policy_that_goes_bad_leaves_the_one_in_force_and_the_pipe_held() {
    let scratch = Scratch::new();
    let fifo = scratch.pipe("app");
    scratch.write_policy("app.toml", "pipe_size = \"32KiB\"\n");
    let holder = holder(&scratch).start();
    assert_eq!(capacity(&fifo), 32 << 10);
    let bad = [("app.toml", "pipe_size = \"16KiB\"\nlevle = 3\n"), ("defaults.toml", "stamp = iso\n")];
    for (round, (file, text)) in bad.into_iter().enumerate() {
        scratch.write_policy(file, text);
        holder.hang_up("holds 1 pipe of");
        assert!(holder.stderr().contains(&format!("{file}: line ")), "{}", holder.stderr());
        assert_eq!(capacity(&fifo), 32 << 10);
        // A new pipe shows what is in force.
        make_fifo(&scratch.run("new"), 0o666);
        fs::rename(scratch.run("new"), &fifo).unwrap();
        holder.wait_lines("app: FIFO was replaced; now holding the new one", round + 1);
        assert_eq!(capacity(&fifo), 32 << 10, "after {file}");
        scratch.write_policy("app.toml", "pipe_size = \"32KiB\"\n");
    }
    scratch.write_policy("defaults.toml", "");
    scratch.write_policy("app.toml", "pipe_size = \"16KiB\"\n");
    holder.hang_up("holds 1 pipe of");
    assert_eq!(capacity(&fifo), 16 << 10, "a right one counts at once");
}

fn check(scratch: &Scratch) -> Output {
    holder(scratch).arg("--check-config").run()
}

#[test]
fn check_config_shows_every_error_and_opens_no_pipe() {
    let scratch = Scratch::new();
    let fifo = scratch.pipe("app");
    scratch.link("web", "/nowhere/fifo");
    let output = check(&scratch);
    assert_eq!((output.code, output.stderr.as_str()), (0, ""));
    scratch.write_policy("orphan.toml", "stamp = \"iso\"\n");
    let output = check(&scratch);
    assert_eq!((output.code, output.stderr.contains("holder: warning: ")), (0, true), "{}", output.stderr);

    let first = scratch.write_policy("app.toml", "[fifo]\ncreate = 1\n");
    let second = scratch.write_policy("web.toml", "pipe_size = 1\n");
    let output = check(&scratch);
    assert_eq!(output.code, 2);
    assert!(
        shows_mistake(&output.stderr, &first, "line 2, column 10: ", "create = 1", "         ^"),
        "{}",
        output.stderr
    );
    assert!(
        shows_mistake(&output.stderr, &second, "line 1, column 13: ", "pipe_size = 1", "            ^"),
        "{}",
        output.stderr
    );
    assert!(!is_held(&fifo));

    let missing = Launch::new("holder").args(["--check-config", "/nowhere/pipes.d"]).run();
    assert_eq!(missing.code, 3);
    let nothing = Launch::new("holder").arg("--check-config").cwd(scratch.run("")).run();
    assert_eq!((nothing.code, nothing.stderr.contains("Usage: holder")), (2, true), "{}", nothing.stderr);
}

#[test]
fn a_fifo_is_made_with_its_mode_whatever_the_umask() {
    let scratch = Scratch::new();
    let fifo = scratch.run("app");
    scratch.link("app", "../run/app");
    scratch.write_policy("app.toml", "[fifo]\ncreate = true\nmode = \"0626\"\n");
    let holder = holder(&scratch).prelude("umask 077").start();
    let is = fs::metadata(&fifo).unwrap();
    assert!(is.file_type().is_fifo());
    assert_eq!(is.mode() & 0o7777, 0o626);
    assert!(is_held(&fifo));
    fs::remove_file(&fifo).unwrap();
    holder.wait_line("app: FIFO was replaced; now holding the new one");
    assert_eq!(fs::metadata(&fifo).unwrap().mode() & 0o7777, 0o626);
    assert!(is_held(&fifo));
}

#[test]
fn keys_of_a_fifo_that_is_there_are_named_at_hup() {
    let scratch = Scratch::new();
    let fifo = scratch.run("app");
    scratch.link("app", "../run/app");
    scratch.write_policy("app.toml", "[fifo]\ncreate = true\nmode = \"0626\"\n");
    let holder = holder(&scratch).start();
    scratch.write_policy("app.toml", "stage = true\n[fifo]\ncreate = true\nmode = \"0620\"\n");
    holder.hang_up("app: fifo.mode applies only to FIFOs created from now on");
    assert_eq!(fs::metadata(&fifo).unwrap().mode() & 0o7777, 0o626);
    until("the staging pipe", || scratch.run("app.stage").exists());
    fs::remove_file(&fifo).unwrap();
    holder.wait_line("app: FIFO was replaced; now holding the new one");
    assert_eq!(fs::metadata(&fifo).unwrap().mode() & 0o7777, 0o620);
}

#[test]
fn what_exists_is_never_changed_by_create() {
    let scratch = Scratch::new();
    let fifo = scratch.pipe("app");
    fs::write(scratch.run("file"), "content").unwrap();
    scratch.link("file", "../run/file");
    scratch.link("nowhere", "../run/no/dir/app");
    scratch.write_policy("defaults.toml", "[fifo]\ncreate = true\nmode = \"0600\"\n");
    let holder = holder(&scratch).start();
    assert_eq!(fs::metadata(&fifo).unwrap().mode() & 0o7777, 0o666);
    assert_eq!(fs::read(scratch.run("file")).unwrap(), b"content");
    holder.wait_line("run/no/dir/app: its directory does not exist");
    assert!(!scratch.run("no").exists());
    scratch.make_dir("run/no");
    scratch.make_dir("run/no/dir");
    holder.wait_line("nowhere: FIFO appeared; now holding it open");
    assert_eq!(fs::metadata(scratch.run("no/dir/app")).unwrap().mode() & 0o7777, 0o600);
}

#[test]
fn without_root_a_foreign_owner_is_an_error_with_the_line_that_helps_and_nothing_is_made() {
    for (accounts, line) in [
        ("owner = \"root\"\ngroup = \"daemon\"", "0660 root daemon -"),
        ("group = \"0\"", "0660 - 0 -"),
        ("owner = 1", "0660 1 - -"),
    ] {
        let scratch = Scratch::new();
        let good = scratch.pipe("good");
        let fifo = scratch.run("app");
        scratch.link("app", &fifo);
        scratch.write_policy("app.toml", &format!("[fifo]\ncreate = true\n{accounts}\n"));
        let before = fs::metadata(scratch.run("")).unwrap().modified().unwrap();
        let holder = holder(&scratch).start();
        let expected = format!("this line in tmpfiles.d creates it: p {} {line}", fifo.display());
        assert!(holder.wait_line(&expected).ends_with(&expected), "{}", holder.stderr());
        assert!(!fifo.exists() && is_held(&good));
        let after = fs::metadata(scratch.run("")).unwrap().modified().unwrap();
        assert_eq!(before, after, "not even for a moment");
    }
}

#[test]
fn an_account_that_does_not_exist_is_named() {
    let scratch = Scratch::new();
    scratch.link("app", scratch.run("app"));
    scratch.link("web", scratch.run("web"));
    scratch.write_policy("app.toml", "[fifo]\ncreate = true\nowner = \"no-such-user\"\n");
    scratch.write_policy("web.toml", "[fifo]\ncreate = true\ngroup = \"no-such-group\"\n");
    let holder = holder(&scratch).start();
    holder.wait_line("run/app: no user no-such-user");
    holder.wait_line("run/web: no group no-such-group");
    assert!(!scratch.run("app").exists() && !scratch.run("web").exists());
}

#[test]
fn root_makes_a_fifo_for_others() {
    needs_root(|| {
        let scratch = Scratch::new();
        scratch.give_to(0);
        let (app, web) = (scratch.run("app"), scratch.run("web"));
        scratch.link("app", &app);
        scratch.link("web", &web);
        scratch.write_policy("app.toml", "[fifo]\ncreate = true\nowner = \"nobody\"\ngroup = \"daemon\"\n");
        scratch.write_policy("web.toml", "[fifo]\ncreate = true\nmode = 0o620\nowner = 7\n");
        let _holder = holder(&scratch).as_tests().start();
        let of = |path: &Path| fs::metadata(path).map(|is| (is.uid(), is.gid(), is.mode() & 0o7777)).unwrap();
        assert_eq!(of(&app), (NOBODY, 1, 0o660));
        assert_eq!(of(&web), (7, 0, 0o620));
        assert!(is_held(&app) && is_held(&web));
    });
}

#[test]
fn a_fifo_that_cannot_be_given_away_is_removed_again() {
    needs_root(|| {
        let scratch = Scratch::new();
        let fifo = scratch.run("app");
        scratch.link("app", &fifo);
        scratch.give_to(0);
        // A number that this user namespace does not know: the holder is root there, but the kernel refuses.
        scratch.write_policy("app.toml", "[fifo]\ncreate = true\nowner = 7\n");
        let namespace = ["unshare", "--user", "--map-root-user"];
        scratch.link("later", scratch.run("later"));
        let holder = holder(&scratch).as_tests().under(namespace).start();
        let line = holder.wait_line("cannot create");
        assert!(line.ends_with(&format!("{}: Invalid argument", fifo.display())), "{line}");
        assert!(!fifo.exists());
        make_fifo(&scratch.run("new"), 0o666);
        chown(scratch.run("new"), Some(0), Some(0)).unwrap();
        fs::rename(scratch.run("new"), scratch.run("later")).unwrap();
        holder.wait_line("later: FIFO appeared; now holding it open");
        assert!(!fifo.exists());
        let touched = || fs::metadata(scratch.run("")).unwrap().modified().unwrap();
        let before = touched();
        assert!(!within(Duration::from_millis(200), || touched() != before), "it must not chase its own tail");
        assert_eq!(holder.lines_with("pipes.d/app").len() + holder.lines_with("cannot create").len(), 1);
    });
}

#[test]
fn what_was_put_in_the_place_of_a_fifo_that_could_not_be_given_away_stays() {
    needs_seams(|| {
        let scratch = Scratch::new();
        let fifo = scratch.run("app");
        scratch.link("app", &fifo);
        scratch.write_policy("app.toml", "[fifo]\ncreate = true\n");
        let at = |name: &str| scratch.path().join(name);
        fs::write(at("faults"), "delay fifo-made 500\nEIO fifo-made 1\n").unwrap();
        fs::write(at("trace"), "").unwrap();
        give(&at("trace"));
        fs::write(at("theirs"), "precious").unwrap();
        let launch = holder(&scratch).env("STANDPIPE_TEST_FAULTS", at("faults"));
        let holder = launch.env("STANDPIPE_TEST_TRACE", at("trace")).start_unready();
        until("the FIFO", || fs::read_to_string(at("trace")).unwrap().contains("fifo-made"));
        fs::rename(at("theirs"), &fifo).unwrap();
        holder.wait_line("cannot create");
        assert_eq!(fs::read_to_string(&fifo).unwrap(), "precious");
    });
}
