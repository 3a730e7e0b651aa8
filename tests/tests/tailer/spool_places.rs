//! Where a spool may be: a directory of its own, in which nobody else lives and nobody else removes.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use standpipe_tests::deadline::until;
use standpipe_tests::stands::Spooling;
use standpipe_tests::world::Owner;

const MARKERS: &str = "done = \"done\"\n";

/// What is said of the spool `dir`, which then is mended, of which it is told too.
fn refused(dir: &str, more: &str, cause: &str, mend: impl FnOnce(&Path)) {
    let mut stand = Spooling::new(Owner::Tailer);
    let whole = stand.scratch.path().join("spool");
    stand.configure(MARKERS, &more.replace("SPOOL", whole.to_str().unwrap()));
    stand.put("a", b"a\n");
    stand.mark("a");
    match dir {
        "missing" => fs::rename(&whole, stand.scratch.path().join("elsewhere")).unwrap(),
        "open" => fs::set_permissions(&whole, fs::Permissions::from_mode(0o777)).unwrap(),
        "open markers" => {
            fs::set_permissions(whole.join("done"), fs::Permissions::from_mode(0o777)).unwrap();
        }
        "log" => fs::write(whole.join(".standpipe"), "").unwrap(),
        "logs" => {
            fs::create_dir(whole.join("app")).unwrap();
            fs::write(whole.join("app/.standpipe"), "").unwrap();
        }
        "log root" => fs::write(stand.scratch.path().join(".status"), "").unwrap(),
        _ => {}
    }
    stand.start();
    let said = stand.daemon().wait_line(cause);
    assert!(said.contains("cannot use spool"), "{said}");
    std::thread::sleep(std::time::Duration::from_millis(60));
    assert_eq!(stand.daemon().lines_with(cause).len(), 1);
    assert_eq!(stand.drain.bytes(), b"");
    mend(stand.scratch.path());
    if !matches!(dir, "neighbour" | "pipe") {
        stand.expect(b"a\n");
        stand.daemon().wait_line("opened after all");
    }
}

#[test]
fn a_directory_that_may_be_no_spool_is_told_once_and_tried_again() {
    refused("missing", "", "No such file or directory", |top| {
        fs::rename(top.join("elsewhere"), top.join("spool")).unwrap();
    });
    let close = |dir: &'static str| {
        move |top: &Path| fs::set_permissions(top.join(dir), fs::Permissions::from_mode(0o755)).unwrap()
    };
    refused("open", "", "anybody can remove files in it", close("spool"));
    refused("open markers", "", "anybody can remove files in it", close("spool/done"));
    refused("log", "", "contains logs of reader", |top| fs::remove_file(top.join("spool/.standpipe")).unwrap());
    refused("log root", "", "contains logs of reader", |top| fs::remove_file(top.join(".status")).unwrap());
    for more in ["SPOOL/app.log", "SPOOL/*.log", "SPOOL/../*/app.log", "SPOOL/../app.log"] {
        let files = format!("[[files]]\npath = \"{more}\"\n");
        refused("neighbour", &files, "a followed file is in", |_| {});
    }
    for more in ["dir = \"SPOOL/..\"\n", "dir = \"SPOOL/../other\"\ndone = \"SPOOL/..\"\n"] {
        refused("neighbour", &format!("[[spool]]\n{more}"), "another spool is in", |_| {});
    }
    refused("pipe", "[[spool]]\ndir = \"SPOOL/../elsewhere\"\npipe = \"SPOOL/pipe\"\n", "a pipe is in", |_| {});
    refused("logs", "", "spool/app contains logs of reader", |top| {
        fs::remove_file(top.join("spool/app/.standpipe")).unwrap();
    });
}

#[test]
fn a_state_file_in_a_spool_is_refused_and_stays() {
    let mut stand = Spooling::new(Owner::Tailer);
    stand.configure(&format!("{MARKERS}max_age = \"0s\"\nstale = \"remove\"\n"), "");
    let toml = stand.scratch.path().join("tailer/tailer.toml");
    let state = stand.file("state.json");
    let text = fs::read_to_string(&toml).unwrap().replace("\"state.json\"", &format!("{state:?}"));
    fs::write(&toml, text).unwrap();
    stand.start();
    stand.daemon().wait_line("the state file is in");
    stand.put("a", b"a\n");
    stand.mark("a");
    std::thread::sleep(std::time::Duration::from_millis(100));
    assert!(stand.left().0.contains(&"a".to_owned()) && stand.left().0.len() > 2, "{:?}", stand.left());
    assert_eq!(stand.drain.bytes(), b"");
}

#[test]
fn a_spool_that_a_glob_reaches_later_is_collected_and_never_followed() {
    let mut stand = Spooling::new(Owner::Tailer);
    let top = stand.scratch.path().join("many");
    fs::create_dir(&top).unwrap();
    let glob = format!("[[files]]\npath = \"{}/*/*.log\"\nstart_at = \"beginning\"\n", top.display());
    let dir = top.join("jobs");
    stand.configure(MARKERS, &glob);
    let toml = stand.scratch.path().join("tailer/tailer.toml");
    let spool = stand.scratch.path().join("spool");
    let text = fs::read_to_string(&toml).unwrap().replace(spool.to_str().unwrap(), dir.to_str().unwrap());
    fs::write(&toml, text).unwrap();
    stand.start();
    stand.daemon().wait_line("cannot use spool");
    fs::rename(&spool, &dir).unwrap();
    std::os::unix::fs::symlink(&dir, &spool).unwrap();
    fs::create_dir(top.join("app")).unwrap();
    fs::write(top.join("app/a.log"), "followed\n").unwrap();
    until("the followed file", || stand.drain.bytes() == b"followed\n");
    stand.put("1.log", b"one\n");
    stand.put("2.log", b"two\n");
    std::thread::sleep(std::time::Duration::from_millis(300));
    let said = stand.daemon().stderr();
    assert!(!said.contains("1.log inode"), "{said}");
    assert!(stand.drain.bytes() == b"followed\n", "{said}");
    stand.mark("1.log");
    stand.mark("2.log");
    until("both or a refusal", || {
        stand.drain.bytes().len() == "followed\none\ntwo\n".len()
            || stand.daemon.as_ref().unwrap().stderr().contains("a followed file is in")
    });
}
