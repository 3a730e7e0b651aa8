//! What a tenant's link or directory leads to is his own, or the holder refuses it: one sentence for the one pipe, and
//! nothing is opened, made or removed where it leads. The others go on.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, chown, lchown, symlink};
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use standpipe_tests::directory::{Scratch, make_fifo, set_mode};
use standpipe_tests::privilege::{has_user_namespaces, needs_root};
use standpipe_tests::programs::{Daemon, Launch, holder};
use standpipe_tests::world::is_held;

const TENANT: u32 = 61_001;
const VICTIM: u32 = 61_002;
const HOLDER: u32 = 61_003;

/// A pipes directory of the holder's user, a directory of the tenant's and one of the victim's.
struct House {
    scratch: Scratch,
    tenant: PathBuf,
    victim: PathBuf,
}

impl House {
    /// As a set-up is that README describes: the holder, and its directories, belong to `holder`.
    fn new(holder: u32) -> House {
        let scratch = Scratch::new();
        scratch.give_to(holder);
        let [tenant, victim] = [("tenant", TENANT), ("victim", VICTIM)].map(|(name, id)| {
            let dir = scratch.make_dir(name);
            chown(&dir, Some(id), Some(id)).unwrap();
            dir
        });
        let house = House { scratch, tenant, victim };
        House::fifo(&house.scratch.run("good"), VICTIM);
        house.scratch.link("good", house.scratch.run("good"));
        house
    }

    fn fifo(path: &Path, owner: u32) {
        make_fifo(path, 0o666);
        chown(path, Some(owner), Some(owner)).unwrap();
    }

    fn tenants_link(&self, name: &str, target: impl AsRef<Path>) -> PathBuf {
        let link = self.tenant.join(name);
        symlink(target, &link).unwrap();
        lchown(&link, Some(TENANT), Some(TENANT)).unwrap();
        link
    }

    fn holder(&self, user: u32) -> Launch {
        holder(&self.scratch).as_user(user)
    }

    fn check(&self, user: u32) -> String {
        let output = Launch::new("holder").arg("check").arg(self.scratch.pipes()).as_user(user).run();
        String::from_utf8(output.stdout).unwrap()
    }
}

/// One sentence of the pipe, and the other pipe is held.
fn assert_refused(house: &House, holder: &Daemon, what: &str) {
    assert!(is_held(&house.scratch.run("good")), "{what}: {}", holder.stderr());
    let said = holder.lines_with("pipes.d/bad");
    assert_eq!(said.len(), 1, "{what}: {}", holder.stderr());
    assert!(said[0].starts_with("holder: error: cannot "), "{what}: {said:?}");
    assert!(said[0].contains(&format!("user {TENANT}")), "{what}: {said:?}");
    assert!(holder.stderr().contains("holds 1 pipe of"), "{what}: {}", holder.stderr());
}

#[test]
fn a_tenants_link_or_directory_leads_to_no_fifo_of_others() {
    needs_root(|| {
        for user in [0, HOLDER] {
            for case in ["link", "directory", "hard link", "chain", "of ours by a link"] {
                let house = House::new(user);
                let victims = house.victim.join("app");
                House::fifo(&victims, if case.starts_with("of ours") { user } else { VICTIM });
                let target = match case {
                    "link" | "of ours by a link" => house.tenants_link("app", &victims),
                    "directory" => house.tenants_link("run", &house.victim).join("app"),
                    "chain" => house.tenants_link("app", house.tenants_link("second", "../victim/app")),
                    _ => {
                        fs::hard_link(&victims, house.tenant.join("app")).unwrap();
                        house.tenant.join("app")
                    }
                };
                house.scratch.link("bad", &target);
                let mut holder = house.holder(user).start();
                assert_refused(&house, &holder, case);
                assert!(!is_held(&victims), "{case}");
                let found = house.check(user);
                assert!(found.contains("namei -l") && found.contains(&format!("user {TENANT}")), "{case}: {found}");
                assert_eq!(holder.terminate(), 0);
            }
        }
    });
}

#[test]
fn nothing_is_made_where_a_tenants_link_or_directory_leads() {
    needs_root(|| {
        for policy in ["", "stage = true\n"] {
            for case in ["link", "directory"] {
                let house = House::new(0);
                let to_be = house.scratch.path().join("roots");
                fs::create_dir(&to_be).unwrap();
                set_mode(&to_be, 0o755);
                let (target, owner) = match case {
                    "link" => (house.tenants_link("app", to_be.join("nologin")), TENANT),
                    _ => (house.tenants_link("run", &to_be).join("nologin"), TENANT),
                };
                house.scratch.link("bad", &target);
                let create = format!("{policy}[fifo]\ncreate = true\nowner = {owner}\n");
                house.scratch.write_policy("bad.toml", &create);
                let mut holder = house.holder(0).start();
                assert_refused(&house, &holder, case);
                assert_eq!(fs::read_dir(&to_be).unwrap().count(), 0, "{case}");
                assert!(!house.tenant.join("nologin").exists(), "{case}");
                assert_eq!(holder.terminate(), 0);
            }
        }
    });
}

#[test]
fn what_a_tenant_may_have_is_made_and_held() {
    needs_root(|| {
        for user in [0, HOLDER] {
            let house = House::new(user);
            // The server's user has the directory, and either of them the FIFO.
            let (his, ours) = (house.tenant.join("his"), house.tenant.join("ours"));
            House::fifo(&his, TENANT);
            House::fifo(&ours, user);
            house.scratch.link("his", &his);
            house.scratch.link("ours", &ours);
            house.scratch.link("linked", house.tenants_link("linked", "his-too"));
            House::fifo(&house.tenant.join("his-too"), TENANT);
            if user == 0 {
                house.scratch.link("made", house.tenants_link("made", "made-there"));
                house.scratch.write_policy("made.toml", &format!("[fifo]\ncreate = true\nowner = {TENANT}\n"));
                house.scratch.write_policy("his.toml", "stage = true\n");
            }
            let mut holder = house.holder(user).start();
            for fifo in [&his, &ours, &house.tenant.join("his-too"), &house.scratch.run("good")] {
                assert!(is_held(fifo), "{}: {}", fifo.display(), holder.stderr());
            }
            if user == 0 {
                let made = fs::metadata(house.tenant.join("made-there")).unwrap();
                assert!(
                    made.file_type().is_fifo() && made.uid() == TENANT && is_held(&house.tenant.join("made-there"))
                );
                assert!(is_held(&house.tenant.join("his.stage")), "{}", holder.stderr());
            }
            assert!(holder.lines_with("error").is_empty(), "{}", holder.stderr());
            assert!(!house.check(user).contains("error: "), "{}", house.check(user));
            assert_eq!(holder.terminate(), 0);
        }
    });
}

/// There root's files belong to nobody, `/` as well.
#[test]
fn in_a_user_namespace_roots_directories_are_still_roots() {
    if !has_user_namespaces() {
        return;
    }
    let scratch = Scratch::new();
    let fifo = scratch.pipe("app");
    let mut holder = holder(&scratch).under(["unshare", "-Urm"]).start();
    assert!(is_held(&fifo) && holder.lines_with("error").is_empty(), "{}", holder.stderr());
    assert_eq!(holder.terminate(), 0);
}

#[test]
fn a_policy_or_a_pipes_directory_of_others_is_not_read() {
    needs_root(|| {
        let house = House::new(0);
        let secret = house.victim.join("secret");
        fs::write(&secret, "password = \"precious\"\n").unwrap();
        set_mode(&secret, 0o600);
        chown(&secret, Some(VICTIM), Some(VICTIM)).unwrap();
        house.scratch.link("bad", house.scratch.run("bad"));
        House::fifo(&house.scratch.run("bad"), TENANT);
        symlink(house.tenants_link("policy", &secret), house.scratch.pipes().join("bad.toml")).unwrap();
        let mut holder = house.holder(0).start();
        let said = holder.lines_with("bad.toml");
        assert!(said.len() == 1 && said[0].contains("controls the link"), "{said:?}");
        assert!(!holder.stderr().contains("precious") && is_held(&house.scratch.run("bad")), "{}", holder.stderr());
        assert_eq!(holder.terminate(), 0);
        let pipes = house.tenants_link("pipes", house.scratch.pipes());
        let output = Launch::new("holder").arg(&pipes).as_user(0).run();
        let is_one = output.stderr.lines().filter(|line| line.contains("error")).count() == 1;
        assert!(output.code == 3 && is_one && output.stderr.contains("controls the link"), "{output:?}");
    });
}

/// `b` leads to its FIFO, and `a` to one of its own, which is replaced by a link to that of `b`.
#[test]
fn of_two_links_to_one_fifo_the_one_whose_fifo_did_not_change_keeps_it() {
    let scratch = Scratch::new();
    let (a, b) = (scratch.pipe("a"), scratch.pipe("b"));
    let holder = || holder(&scratch);
    let mut first = holder().start();
    fs::remove_file(&a).unwrap();
    symlink(&b, &a).unwrap();
    first.wait_line("pipes.d/a: it leads to the same FIFO as b");
    first.signal(Signal::SIGHUP);
    first.wait_lines("holds 1 pipe of", 1);
    assert_eq!(first.lines_with("pipes.d/b").len(), 0, "{}", first.stderr());
    assert_eq!(first.terminate(), 0);
    let mut again = holder().start();
    again.wait_line("pipes.d/a: it leads to the same FIFO as b");
    assert_eq!(again.lines_with("pipes.d/b").len(), 0, "{}", again.stderr());
    // A link that was changed later comes after one that was not, however straight it is.
    fs::remove_file(scratch.pipes().join("a")).unwrap();
    scratch.link("a", &b);
    again.hang_up("pipes.d/a: it leads to the same FIFO as b");
    assert_eq!(again.terminate(), 0);
    let mut last = holder().start();
    last.wait_line("pipes.d/a: it leads to the same FIFO as b");
    assert_eq!(last.terminate(), 0);
}

#[test]
fn a_directory_of_neither_root_nor_us_nor_the_server_is_a_finding() {
    needs_root(|| {
        let house = House::new(HOLDER);
        let fifo = house.tenant.join("app");
        House::fifo(&fifo, HOLDER);
        house.scratch.link("app", &fifo);
        let found = house.check(HOLDER);
        assert!(found.contains(&format!("{TENANT} owns {}", house.tenant.display())), "{found}");
    });
}

/// What is advised for a log file that stands in a FIFO's place does nothing to what its directory's owner may put there.
#[test]
fn advice_is_carried_out_as_the_owner_of_the_directory() {
    needs_root(|| {
        let house = House::new(0);
        let file = house.tenant.join("app");
        fs::write(&file, "lines").unwrap();
        chown(&file, Some(TENANT), Some(TENANT)).unwrap();
        house.scratch.link("app", &file);
        let found = house.check(0);
        for word in ["mv -n", "mkfifo"] {
            let as_him = format!("setpriv --reuid={TENANT} --regid={TENANT} --clear-groups -- {word}");
            assert!(found.split_whitespace().collect::<Vec<_>>().join(" ").contains(&as_him), "{found}");
        }
        assert!(!found.contains("chown --reference"), "{found}");
    });
}
