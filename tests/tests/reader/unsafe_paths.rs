//! What a tenant's link or directory leads to is his own, or the reader refuses it: pipes, the log root and the log
//! directories in it, mailboxes, hooks, the paths of `reader logs`. One sentence, and nothing is read, made or run where
//! it leads.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, lchown, symlink};
use std::path::{Path, PathBuf};

use standpipe_tests::deadline::until;
use standpipe_tests::directory::{Scratch, make_fifo, set_mode};
use standpipe_tests::privilege::needs_root;
use standpipe_tests::programs::Launch;
use standpipe_tests::stands::Bench;
use standpipe_tests::world::{hold, put, queued};

const TENANT: u32 = 61_001;
const VICTIM: u32 = 61_002;
const READER: u32 = 61_003;

/// The directories of the reader's user, one of the tenant's and one of the victim's.
struct House {
    scratch: Scratch,
    tenant: PathBuf,
    victim: PathBuf,
}

impl House {
    fn new(reader: u32) -> House {
        let scratch = Scratch::new();
        scratch.give_to(reader);
        let [tenant, victim] = [("tenant", TENANT), ("victim", VICTIM)].map(|(name, id)| {
            let dir = scratch.make_dir(name);
            chown(&dir, Some(id), Some(id)).unwrap();
            dir
        });
        scratch.pipe("good");
        House { scratch, tenant, victim }
    }

    fn tenants_link(&self, name: &str, target: impl AsRef<Path>) -> PathBuf {
        let link = self.tenant.join(name);
        symlink(target, &link).unwrap();
        lchown(&link, Some(TENANT), Some(TENANT)).unwrap();
        link
    }

    fn reader(&self, user: u32, logs: &Path) -> Launch {
        Launch::new("reader").arg(self.scratch.pipes()).arg("--logs").arg(logs).as_user(user)
    }
}

fn names(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn a_tenants_link_or_directory_leads_to_no_pipe_of_others() {
    needs_root(|| {
        for user in [0, READER] {
            for case in ["link", "directory", "hard link"] {
                let house = House::new(user);
                let victims = house.victim.join("app");
                make_fifo(&victims, 0o666);
                chown(&victims, Some(VICTIM), Some(VICTIM)).unwrap();
                let target = match case {
                    "link" => house.tenants_link("app", &victims),
                    "directory" => house.tenants_link("run", &house.victim).join("app"),
                    _ => {
                        fs::hard_link(&victims, house.tenant.join("app")).unwrap();
                        house.tenant.join("app")
                    }
                };
                house.scratch.link("bad", &target);
                let (victims, good) = (hold(&victims), hold(&house.scratch.run("good")));
                put(&victims, b"precious\n");
                put(&good, b"good\n");
                let reader = house.reader(user, &house.scratch.logs()).start();
                let log = house.scratch.logs().join("good/current");
                until("the other is drained", || fs::read(&log).is_ok_and(|log| log == b"good\n"));
                let said = reader.lines_with("pipes.d/bad");
                assert!(said.len() == 1 && said[0].contains(&format!("user {TENANT}")), "{case}: {}", reader.stderr());
                assert_eq!(queued(&victims), 9, "{case}");
                assert!(!house.scratch.logs().join("bad").exists(), "{case}");
                reader.stop();
            }
        }
    });
}

#[test]
fn no_log_root_is_used_or_made_where_a_tenants_link_leads() {
    needs_root(|| {
        for user in [0, READER] {
            for case in ["root", "new root", "directory", "mailbox_dir"] {
                let house = House::new(user);
                let roots = house.scratch.path().join("roots");
                fs::create_dir(&roots).unwrap();
                chown(&roots, Some(user), Some(user)).unwrap();
                set_mode(&roots, 0o755);
                let mut logs = house.scratch.logs();
                match case {
                    "root" => logs = house.tenants_link("logs", &roots),
                    "new root" => logs = house.tenants_link("logs", roots.join("new")),
                    "directory" => logs = house.tenants_link("dir", &roots).join("new"),
                    _ => {
                        let link = house.tenants_link("boxes", &roots);
                        let toml = format!("mailbox_dir = \"{}\"\n", link.display());
                        house.scratch.write_policy("defaults.toml", &toml);
                    }
                }
                let output = house.reader(user, &logs).run();
                let said: Vec<_> = output.stderr.lines().filter(|line| line.contains("error")).collect();
                assert_eq!((output.code, said.len()), (3, 1), "{case}: {output:?}");
                assert!(said[0].contains("controls the link"), "{case}: {said:?}");
                assert!(names(&roots).is_empty(), "{case}");
            }
        }
    });
}

#[test]
fn no_metrics_file_is_written_where_a_tenants_link_leads() {
    needs_root(|| {
        for user in [0, READER] {
            for case in ["link", "directory", "own"] {
                let house = House::new(user);
                let dir = house.scratch.path().join("metrics");
                fs::create_dir(&dir).unwrap();
                chown(&dir, Some(user), Some(user)).unwrap();
                set_mode(&dir, 0o755);
                let file = match case {
                    "link" => house.tenants_link("x.prom", dir.join("x.prom")),
                    "directory" => house.tenants_link("dir", &dir).join("x.prom"),
                    // Where the tenant could write himself.
                    _ => house.tenant.join("x.prom"),
                };
                set_mode(&house.tenant, 0o777);
                let toml = format!("metrics_file = \"{}\"\n", file.display());
                house.scratch.write_policy("defaults.toml", &toml);
                let good = hold(&house.scratch.run("good"));
                put(&good, b"good\n");
                let reader = house.reader(user, &house.scratch.logs()).start();
                let log = house.scratch.logs().join("good/current");
                until("it is drained", || fs::read(&log).is_ok_and(|log| log == b"good\n"));
                if case == "own" {
                    until("it is written", || file.exists());
                } else {
                    let said = reader.wait_line("cannot write metrics file");
                    assert!(said.contains("controls the link") && said.contains("; continuing without it"), "{said}");
                }
                reader.stop();
                assert!(names(&dir).is_empty(), "{case}");
            }
        }
    });
}

#[test]
fn a_log_root_in_the_directory_of_a_tenant_is_used() {
    needs_root(|| {
        for user in [0, READER] {
            let house = House::new(user);
            let logs = house.tenant.join("logs");
            fs::create_dir(&logs).unwrap();
            chown(&logs, Some(user), Some(user)).unwrap();
            set_mode(&logs, 0o750);
            let good = hold(&house.scratch.run("good"));
            put(&good, b"good\n");
            let reader = house.reader(user, &logs).start();
            until("it is drained", || fs::read(logs.join("good/current")).is_ok_and(|log| log == b"good\n"));
            let shown = Launch::new("reader").args(["logs", "--logs"]).arg(&logs).as_user(user).run();
            assert_eq!((shown.code, &shown.stdout[..]), (0, &b"good\n"[..]), "{shown:?}");
            assert!(reader.lines_with("error").is_empty(), "{}", reader.stderr());
            reader.stop();
        }
    });
}

#[test]
fn in_a_log_root_of_a_group_a_mailbox_or_log_directory_of_another_is_not_used() {
    needs_root(|| {
        let house = House::new(READER);
        let logs = house.scratch.logs();
        chown(&logs, None, Some(TENANT)).unwrap();
        set_mode(&logs, 0o2770);
        let (mailbox, theirs) = (logs.join(".mailbox-0"), logs.join("bad"));
        fs::write(&mailbox, vec![0; standpipe_tests::stands::MAILBOX_BYTES]).unwrap();
        fs::create_dir(&theirs).unwrap();
        for path in [&mailbox, &theirs] {
            chown(path, Some(TENANT), Some(TENANT)).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
        }
        house.scratch.pipe("bad");
        let output = house.reader(READER, &logs).run();
        let said = format!("cannot open mailbox {}: not a regular file owned by this user", mailbox.display());
        assert!(output.code == 3 && output.stderr.contains(&said), "{output:?}");
        assert!(fs::read(&mailbox).unwrap().iter().all(|byte| *byte == 0));
        fs::remove_file(&mailbox).unwrap();
        let (good, bad) = (hold(&house.scratch.run("good")), hold(&house.scratch.run("bad")));
        put(&good, b"good\n");
        put(&bad, b"precious\n");
        let reader = house.reader(READER, &logs).start();
        until("it is drained", || fs::read(logs.join("good/current")).is_ok_and(|log| log == b"good\n"));
        reader.wait_line(&format!("it belongs to user {TENANT}"));
        assert!(names(&theirs).is_empty());
        assert_eq!(queued(&bad), 9);
        reader.stop();
    });
}

#[test]
fn no_hook_is_run_where_a_tenants_link_leads() {
    needs_root(|| {
        let house = House::new(0);
        let ran = house.scratch.path().join("ran");
        let program = house.victim.join("hook");
        fs::write(&program, format!("#!/bin/sh\n: >{}\n", ran.display())).unwrap();
        set_mode(&program, 0o755);
        chown(&program, Some(VICTIM), Some(VICTIM)).unwrap();
        let link = house.tenants_link("hook", &program);
        house.scratch.write_policy("good.toml", &format!("hook = [\"{}\"]\n", link.display()));
        let good = hold(&house.scratch.run("good"));
        put(&good, b"good\n");
        let reader = house.reader(0, &house.scratch.logs()).start();
        let log = house.scratch.logs().join("good/current");
        until("it is drained", || fs::read(&log).is_ok_and(|log| log == b"good\n"));
        reader.signal(nix::sys::signal::Signal::SIGALRM);
        let said = reader.wait_line("cannot run hook");
        assert!(said.contains("controls the link") && !ran.exists(), "{said}");
        reader.stop();
    });
}

#[test]
fn reader_logs_follows_no_link_of_a_tenant_to_others() {
    needs_root(|| {
        let house = House::new(0);
        let good = hold(&house.scratch.run("good"));
        put(&good, b"precious\n");
        let reader = house.reader(0, &house.scratch.logs()).start();
        let log = house.scratch.logs().join("good/current");
        until("it is drained", || fs::read(&log).is_ok_and(|log| log == b"precious\n"));
        let link = house.tenants_link("logs", house.scratch.logs());
        for args in [
            vec!["logs".into(), link.join("good")],
            vec!["logs".into(), "--logs".into(), link.clone()],
            vec!["status".into(), link.clone()],
            vec!["rotate".into(), "--logs".into(), link.clone()],
        ] {
            let output = Launch::new("reader").args(&args).as_user(0).run();
            assert!(output.code != 0 && output.stderr.contains("controls the link"), "{args:?} {output:?}");
            assert!(!String::from_utf8_lossy(&output.stdout).contains("precious"), "{args:?}");
        }
        reader.stop();
    });
}

/// `b` leads to its FIFO, and `a` to one of its own, which is replaced by a link to that of `b`.
#[test]
fn of_two_links_to_one_fifo_the_one_whose_fifo_did_not_change_keeps_its_log() {
    let bench = Bench::new();
    let (a, b) = (bench.scratch.pipe("a"), bench.scratch.pipe("b"));
    let pipe = hold(&b);
    let first = bench.reader().start();
    fs::remove_file(&a).unwrap();
    symlink(&b, &a).unwrap();
    first.wait_line("pipes.d/a: it leads to the same FIFO as");
    first.hang_up("after HUP");
    put(&pipe, b"one\n");
    bench.wait_stored("b", b"one\n");
    first.stop();
    let again = bench.reader().start();
    put(&pipe, b"two\n");
    bench.wait_stored("b", b"one\ntwo\n");
    assert_eq!(again.lines_with("it leads to the same FIFO as").len(), 1, "{}", again.stderr());
    again.wait_line("pipes.d/a: it leads to the same FIFO as");
    again.stop();
}
