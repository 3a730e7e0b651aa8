use std::fs;
use std::os::unix::fs::{PermissionsExt, lchown, symlink};

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use super::*;

/// Of root, and not for everybody to read.
const SECRET: &str = "/etc/shadow";
/// Of root, for everybody to read.
const PUBLIC: &str = "/etc/passwd";

/// A directory of somebody whom nobody trusts: of nobody if we are root, else of ourselves.
struct Stranger {
    top: tempfile::TempDir,
    uid: u32,
}

impl Stranger {
    fn new() -> Stranger {
        let uid = if geteuid().is_root() { 65534 } else { geteuid().as_raw() };
        let stranger = Stranger { top: tempfile::tempdir().unwrap(), uid };
        fs::set_permissions(stranger.top.path(), fs::Permissions::from_mode(0o755)).unwrap();
        stranger.own("");
        stranger
    }

    fn own(&self, name: &str) -> PathBuf {
        let path = if name.is_empty() { self.top.path().to_path_buf() } else { self.top.path().join(name) };
        if geteuid().is_root() {
            lchown(&path, Some(self.uid), Some(self.uid)).unwrap();
        }
        path
    }

    fn file(&self, name: &str) -> PathBuf {
        fs::write(self.top.path().join(name), "x").unwrap();
        self.own(name)
    }

    fn dir(&self, name: &str) -> PathBuf {
        fs::create_dir(self.top.path().join(name)).unwrap();
        self.own(name)
    }

    fn link(&self, name: &str, to: impl AsRef<Path>) -> PathBuf {
        symlink(to, self.top.path().join(name)).unwrap();
        self.own(name)
    }
}

/// Only root is trusted, so that an ordinary user who tests is a stranger.
fn go(path: &Path, to: Use) -> io::Result<Way> {
    Walk::begin(to, [0].into())?.go(path)
}

fn is_safe(path: &Path, to: Use) -> bool {
    matches!(go(path, to).unwrap(), Way::Safe(..))
}

#[track_caller]
fn refused(path: &Path, to: Use) -> String {
    match go(path, to) {
        Ok(Way::Turned(turn)) => turn.to_string(),
        other => panic!("{} is not refused: {other:?}", path.shown()),
    }
}

#[test]
fn what_leads_to_its_owners_own_is_safe() {
    let stranger = Stranger::new();
    let file = stranger.file("app.log");
    let dir = stranger.dir("logs");
    let inner = stranger.file("logs/inner.log");
    let relative = stranger.link("relative", "logs/inner.log");
    let absolute = stranger.link("absolute", &file);
    let to_dir = stranger.link("directory", &dir).join("inner.log");
    let up = dir.join("../app.log");
    let twice = stranger.link("twice", "absolute");
    for path in [&file, &inner, &relative, &absolute, &to_dir, &up, &twice] {
        for to in [Use::Read, Use::Change] {
            assert!(is_safe(path, to), "{} {to:?}", path.shown());
        }
    }
    let Way::Safe(looked) = go(&twice, Use::Read).unwrap() else { panic!("it is not safe") };
    assert_eq!(looked.identity(), Identity::from(&fs::metadata(&file).unwrap()));
}

#[test]
fn a_link_of_a_stranger_leads_to_nothing_of_others() {
    let stranger = Stranger::new();
    stranger.dir("logs");
    for (name, target, rest) in [
        ("secret", SECRET, ""),
        ("public", PUBLIC, ""),
        ("device", "/dev/null", ""),
        ("directory", "/etc", "shadow"),
        ("whole", "/etc", ""),
        ("logs/up", "../../../etc/passwd", ""),
        ("root", "/", "etc/passwd"),
        ("chain", "secret", ""),
    ] {
        let link = stranger.link(name, target);
        let path = if rest.is_empty() { link.clone() } else { link.join(rest) };
        if !path.exists() {
            continue;
        }
        for to in [Use::Read, Use::Change] {
            let said = refused(&path, to);
            assert!(said.contains("controls the link") && said.contains("root"), "{said}");
        }
    }
    let said = refused(&stranger.top.path().join("secret"), Use::Read);
    assert!(said.contains(SECRET) && said.contains(&format!("{}/secret", stranger.top.path().shown())), "{said}");
}

#[test]
fn a_link_of_root_may_lead_anywhere_but_not_through_a_strangers_link() {
    assert!(is_safe(Path::new("/proc/self/exe"), Use::Read) || !geteuid().is_root());
    let stranger = Stranger::new();
    let secret = stranger.link("secret", SECRET);
    if !geteuid().is_root() {
        return;
    }
    let top = tempfile::tempdir().unwrap();
    symlink(PUBLIC, top.path().join("public")).unwrap();
    symlink(&secret, top.path().join("chained")).unwrap();
    assert!(is_safe(&top.path().join("public"), Use::Change));
    refused(&top.path().join("chained"), Use::Read);
    // In his directory it is his, whoever made it.
    symlink(PUBLIC, stranger.top.path().join("planted")).unwrap();
    refused(&stranger.top.path().join("planted"), Use::Read);
}

#[test]
fn what_stands_in_a_strangers_directory_is_his_or_for_everybody_to_read() {
    if !geteuid().is_root() {
        return;
    }
    let stranger = Stranger::new();
    let inner = stranger.dir("logs");
    for (mode, is_open) in [(0o600, false), (0o640, false), (0o644, true)] {
        for dir in [stranger.top.path(), &inner] {
            let path = dir.join(format!("{mode:o}"));
            fs::write(&path, "x").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(is_safe(&path, Use::Read), is_open, "{mode:o}");
            let said = refused(&path, Use::Change);
            assert!(said.contains("the directory") && said.ends_with("in it belongs to user root"), "{said}");
        }
    }
    // A directory of another that was moved there does not hide what is in it.
    let moved = stranger.top.path().join("moved");
    fs::create_dir(&moved).unwrap();
    fs::write(moved.join("private"), "x").unwrap();
    fs::set_permissions(moved.join("private"), fs::Permissions::from_mode(0o600)).unwrap();
    refused(&moved.join("private"), Use::Read);
    let fifo = stranger.top.path().join("fifo");
    mkfifo(&fifo, Mode::from_bits_truncate(0o600)).unwrap();
    assert!(is_safe(&fifo, Use::Change));
    fs::hard_link(&fifo, stranger.top.path().join("second")).unwrap();
    refused(&fifo, Use::Change);
    lchown(&fifo, Some(stranger.uid), None).unwrap();
    assert!(is_safe(&fifo, Use::Change));
}

#[test]
fn a_way_that_does_not_end_is_told_as_by_the_kernel() {
    let stranger = Stranger::new();
    let file = stranger.file("file");
    let looped = stranger.link("looped", "looped");
    let errno = |path: &Path| go(path, Use::Read).unwrap_err().raw_os_error().map(Errno::from_raw);
    assert_eq!(errno(&looped), Some(Errno::ELOOP));
    assert_eq!(errno(&file.join("below")), Some(Errno::ENOTDIR));
    assert_eq!(errno(&stranger.top.path().join("nothing")), Some(Errno::ENOENT));
    assert_eq!(errno(&stranger.link("dangling", "nothing")), Some(Errno::ENOENT));
}

#[test]
fn what_was_put_in_the_place_of_what_was_found_is_told() {
    let stranger = Stranger::new();
    let file = stranger.file("file");
    let found = Identity::from(&fs::metadata(&file).unwrap());
    assert!(check(&file, found, Use::Read).unwrap().is_none());
    fs::rename(stranger.file("other"), &file).unwrap();
    assert_eq!(check(&file, found, Use::Read).unwrap_err().raw_os_error(), Some(nix::libc::EAGAIN));
}

#[test]
fn the_kernels_own_links_are_followed_as_the_kernel_does() {
    let file = tempfile::tempfile().unwrap();
    let path = PathBuf::from(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file)));
    assert!(matches!(walk(&path, Use::Change).unwrap(), Way::Safe(..)));
}

#[test]
fn a_directory_that_is_remembered_is_asked_for_each_time() {
    let stranger = Stranger::new();
    let dir = stranger.dir("run");
    let (first, second) = (stranger.file("run/first"), stranger.file("run/second"));
    let _pass = Pass::begin();
    assert!(is_safe(&first, Use::Keep) && is_safe(&second, Use::Keep));
    KNOWN.with_borrow(|known| assert_eq!(known.as_ref().unwrap().known[0].path, dir));
    fs::rename(&dir, stranger.top.path().join("old")).unwrap();
    stranger.link("run", "/etc");
    fs::write(stranger.top.path().join("old/passwd"), "").unwrap();
    refused(&dir.join("passwd"), Use::Keep);
    assert!(go(&first, Use::Keep).is_err());
}
