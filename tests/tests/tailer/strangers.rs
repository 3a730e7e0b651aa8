//! What a tenant's links and directories cannot make a tailer do: read, deliver, write or remove what is not his.

use std::fs;
use std::os::unix::fs::{lchown, symlink};
use std::path::{Path, PathBuf};

use standpipe_tests::deadline::until;
use standpipe_tests::directory::{make_fifo, set_mode};
use standpipe_tests::privilege::{NOBODY, needs_root};
use standpipe_tests::programs::{self, Daemon, Launch};
use standpipe_tests::world::open_reader;

/// The user whom nobody trusts.
const TENANT: u32 = 12_345;
const SECRET: &str = "secret\n";
const HONEST: &str = "honest\n";

/// A directory of root with the tailer's own, the tenant's, and that of a victim.
struct Ground {
    top: tempfile::TempDir,
    /// Whom the tailer runs as, and to whom the secrets belong that it could read.
    uid: u32,
}

impl Ground {
    fn new(uid: u32) -> Ground {
        let top = tempfile::tempdir_in(programs::dir()).unwrap();
        set_mode(top.path(), 0o755);
        let ground = Ground { top, uid };
        for (dir, owner) in [("tailer", uid), ("tenant", TENANT), ("victim", uid)] {
            ground.dir(dir, owner);
        }
        ground
    }

    fn at(&self, name: &str) -> PathBuf {
        self.top.path().join(name)
    }

    fn dir(&self, name: &str, owner: u32) -> PathBuf {
        fs::create_dir(self.at(name)).unwrap();
        self.given(name, owner)
    }

    fn file(&self, name: &str, text: &str, owner: u32, mode: u32) -> PathBuf {
        fs::write(self.at(name), text).unwrap();
        set_mode(&self.at(name), mode);
        self.given(name, owner)
    }

    fn link(&self, name: &str, to: impl AsRef<Path>) -> PathBuf {
        symlink(to, self.at(name)).unwrap();
        self.given(name, TENANT)
    }

    fn given(&self, name: &str, owner: u32) -> PathBuf {
        lchown(self.at(name), Some(owner), Some(owner)).unwrap();
        self.at(name)
    }

    /// Starts a tailer with this configuration below its general keys.
    fn start(&self, config: &str) -> Daemon {
        let general = "poll_interval_ms = 50\n";
        self.file("tailer/tailer.toml", &format!("{general}{config}"), self.uid, 0o644);
        fs::write(self.at("output"), "").unwrap();
        let output = fs::OpenOptions::new().append(true).open(self.at("output")).unwrap();
        let launch = Launch::new("tailer").arg("--config").arg(self.at("tailer/tailer.toml")).args(["--output", "raw"]);
        let launch = if self.uid == 0 { launch.as_tests() } else { launch.as_user(self.uid) };
        launch.start_into(output)
    }

    fn output(&self) -> String {
        fs::read_to_string(self.at("output")).unwrap()
    }
}

fn files(paths: &[PathBuf]) -> String {
    let table = |path: &PathBuf| format!("[[files]]\npath = \"{}\"\nstart_at = \"beginning\"\n", path.display());
    paths.iter().map(table).collect::<Vec<_>>().concat()
}

/// As root, and as a user.
fn both(test: impl Fn(&Ground)) {
    needs_root(|| [0, NOBODY].into_iter().for_each(|uid| test(&Ground::new(uid))));
}

#[test]
fn no_file_of_others_is_followed() {
    both(|ground| {
        let secret = ground.file("victim/secret.log", SECRET, ground.uid, 0o600);
        let honest = ground.file("tenant/honest.log", HONEST, TENANT, 0o644);
        let at_name = ground.link("tenant/at-name.log", &secret);
        let chained = ground.link("tenant/chained.log", "at-name.log");
        let at_dir = ground.link("tenant/dir", ground.at("victim")).join("secret.log");
        let own = ground.link("tenant/own.log", "honest-too.log");
        ground.file("tenant/honest-too.log", HONEST, TENANT, 0o644);
        let glob_dir = ground.dir("tenant/globbed", TENANT);
        ground.link("tenant/globbed/a.log", ground.file("victim/other.log", SECRET, ground.uid, 0o600));
        // What it could not move there itself.
        let moved = ground.file("tenant/moved.log", SECRET, ground.uid, 0o600);
        let refused = [&at_name, &chained, &at_dir, &glob_dir.join("a.log"), &moved];
        let paths =
            [honest, own, at_name.clone(), chained.clone(), at_dir.clone(), glob_dir.join("*.log"), moved.clone()];
        let mut tailer = ground.start(&files(&paths));
        for path in refused {
            let said = tailer.wait_line(&format!("{}", path.display()));
            assert!(said.contains("another user's link or directory leads to it"), "{said}");
        }
        until("both honest lines", || ground.output().len() >= 2 * HONEST.len());
        tailer.terminate();
        assert_eq!(ground.output(), HONEST.repeat(2), "{}", tailer.stderr());
    });
}

#[test]
fn no_link_takes_the_place_of_a_rotated_file() {
    both(|ground| {
        let secret = ground.file("victim/secret.log", SECRET, ground.uid, 0o600);
        let log = ground.file("tenant/app.log", HONEST, TENANT, 0o644);
        let mut tailer = ground.start(&files(&[log]));
        until("the first line", || ground.output() == HONEST);
        ground.link("tenant/app.log.1", &secret);
        fs::rename(ground.at("tenant/app.log"), ground.at("tenant/app.log.2")).unwrap();
        fs::rename(ground.link("tenant/planted", &secret), ground.at("tenant/app.log")).unwrap();
        tailer.wait_line("another user's link or directory leads to it");
        fs::remove_file(ground.at("tenant/app.log")).unwrap();
        ground.file("tenant/app.log", "honest again\n", TENANT, 0o644);
        until("the next line", || ground.output().ends_with("honest again\n"));
        tailer.terminate();
        assert_eq!(ground.output(), format!("{HONEST}honest again\n"), "{}", tailer.stderr());
    });
}

#[test]
fn nothing_of_others_is_taken_out_of_a_spool_or_removed() {
    both(|ground| {
        let old = "max_age = \"1s\"\n";
        let secret = ground.file("victim/secret", SECRET, ground.uid, 0o600);
        let marker = ground.file("victim/marker", "", ground.uid, 0o600);
        let spool = ground.dir("tenant/spool", TENANT);
        let at_done = ground.link("tenant/spool/done", ground.at("victim"));
        let at_dir = ground.link("tenant/linked", ground.at("victim"));
        let (whole, done) = (ground.dir("tenant/whole", TENANT), ground.dir("tenant/whole/done", TENANT));
        for dir in [&whole, &done] {
            lchown(dir, None, Some(ground.uid)).unwrap();
            set_mode(dir, 0o775);
        }
        ground.file("tenant/whole/honest", HONEST, TENANT, 0o644);
        ground.file("tenant/whole/done/honest", "", TENANT, 0o644);
        // Another's file in his directory, a marker with content, and an old one without a file.
        let moved = ground.file("tenant/whole/moved", SECRET, ground.uid, 0o600);
        ground.file("tenant/whole/done/moved", "", TENANT, 0o644);
        let full = ground.file("tenant/whole/done/full", SECRET, TENANT, 0o644);
        let planted = ground.link("tenant/whole/linked", &secret);
        let spools = [(&spool, "done"), (&at_dir, "done"), (&whole, "done")];
        let tables =
            spools.map(|(dir, done)| format!("[[spool]]\ndir = \"{}\"\ndone = \"{done}\"\n{old}", dir.display()));
        let mut tailer = ground.start(&tables.concat());
        let said = tailer.wait_lines("controls the link", 2).concat();
        for path in [at_done.display(), at_dir.display()] {
            assert!(said.contains(&format!("the link {path}, but")), "{said}");
        }
        until("what is honest", || ground.output() == HONEST);
        until("it is removed", || !whole.join("honest").exists() && !done.join("honest").exists());
        tailer.wait_line("moved");
        tailer.wait_line("full");
        tailer.terminate();
        for kept in [&secret, &marker, &moved, &full, &planted, &at_done] {
            assert!(fs::symlink_metadata(kept).is_ok(), "{} is gone: {}", kept.display(), tailer.stderr());
        }
        assert_eq!(ground.output(), HONEST, "{}", tailer.stderr());
    });
}

#[test]
fn a_marker_of_one_user_is_none_for_the_file_of_another() {
    needs_root(|| {
        let ground = Ground::new(0);
        let spool = ground.dir("spool", 0);
        let done = ground.dir("spool/done", 0);
        set_mode(&spool, 0o1777);
        set_mode(&done, 0o1777);
        for (name, owner, marked_by) in [("own", TENANT, TENANT), ("others", NOBODY, TENANT), ("roots", TENANT, 0)] {
            ground.file(&format!("spool/{name}"), &format!("{name}\n"), owner, 0o600);
            ground.file(&format!("spool/done/{name}"), "", marked_by, 0o600);
        }
        let mut tailer = ground.start(&format!("[[spool]]\ndir = \"{}\"\ndone = \"done\"\n", spool.display()));
        let said = tailer.wait_line("others");
        assert!(
            said.contains("refused: a marker must belong to the owner of the file it marks; left in place"),
            "{said}"
        );
        until("the two that are right", || !spool.join("own").exists() && !spool.join("roots").exists());
        tailer.terminate();
        let delivered = ground.output();
        let mut lines: Vec<_> = delivered.lines().collect();
        lines.sort_unstable();
        assert_eq!(lines, ["own", "roots"], "{}", tailer.stderr());
        assert!(spool.join("others").exists() && done.join("others").exists());
    });
}

#[test]
fn no_pipe_of_others_is_written() {
    both(|ground| {
        let log = ground.file("tenant/app.log", HONEST, TENANT, 0o644);
        let victims = ground.at("victim/pipe");
        make_fifo(&victims, 0o666);
        ground.given("victim/pipe", ground.uid);
        let mut reader = open_reader(&victims);
        for (name, to) in [("at-name", victims.clone()), ("dir", ground.at("victim"))] {
            let link = ground.link(&format!("tenant/{name}"), to);
            let pipe = if name == "dir" { link.join("pipe") } else { link };
            let state = ground.at("tailer/state.json");
            let general = format!("state_file = \"{}\"\n", state.display());
            let table = format!("{}pipe = \"{}\"\n", files(std::slice::from_ref(&log)), pipe.display());
            let mut tailer = ground.start(&format!("{general}{table}"));
            let said = tailer.wait_line("controls the link");
            assert!(said.contains(&pipe.display().to_string()), "{said}");
            tailer.terminate();
            let mut buffer = [0; 64];
            assert_eq!(std::io::Read::read(&mut reader, &mut buffer).unwrap_or(0), 0, "{}", tailer.stderr());
        }
    });
}

#[test]
fn no_state_is_kept_where_a_link_of_others_leads() {
    both(|ground| {
        let log = ground.file("tenant/app.log", HONEST, TENANT, 0o644);
        let state = ground.link("tenant/state", ground.at("victim")).join("state.json");
        let mut tailer = ground.start(&format!("state_file = \"{}\"\n{}", state.display(), files(&[log])));
        assert_ne!(tailer.wait_exit(), 0);
        assert!(tailer.stderr().contains("controls the link"), "{}", tailer.stderr());
        assert_eq!(fs::read_dir(ground.at("victim")).unwrap().count(), 0);
    });
}
