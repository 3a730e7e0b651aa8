//! `examples/ops/ship-archives`: every archive comes under its own key, byte for byte, whatever is killed and whenever.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use standpipe_tests::deadline::{until, within};
use standpipe_tests::directory::{Scratch, name, set_mode};
use standpipe_tests::kills::{Lives, Mortal, run};
use standpipe_tests::privilege::{give, needs_tool, ordinary_user};
use standpipe_tests::programs::{Launch, Process, command};
use standpipe_tests::stands::Stand;
use standpipe_tests::world::{archives, content, lines};

use crate::bucket::{Bucket, Mood};

const SCRIPTS: [&str; 4] = ["key.sh", "outbox", "put", "ship"];

/// The scripts, where whoever the programs run as has a way to them.
fn install(scratch: &Scratch) -> PathBuf {
    let dir = scratch.make_dir("ship-archives");
    for script in SCRIPTS {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/ops/ship-archives").join(script);
        fs::copy(source, dir.join(script)).unwrap();
    }
    dir
}

/// Logs lines by a reader of standard input with these flags, and waits for archive and hook. The newest archive.
fn log(scratch: &Scratch, dir: &str, text: &str, flags: &[&str]) -> PathBuf {
    fs::create_dir_all(scratch.path().join(dir)).unwrap();
    give(&scratch.path().join(dir));
    let log_dir = scratch.path().join(dir).join("app");
    let piped = Launch::new("reader").under(["sh", "-c", "printf %s \"$TEXT\" | exec \"$@\"", "sh"]).env("TEXT", text);
    let output = piped.arg("stdin").arg(&log_dir).args(flags).run();
    assert_eq!(output.code, 0, "{output:?}");
    archives(&log_dir).pop().expect("an archive")
}

/// A hook, run as the reader would.
struct Hook<'a> {
    scratch: &'a Scratch,
    words: Vec<String>,
    path: String,
    max_archives: &'a str,
}

impl<'a> Hook<'a> {
    fn new(scratch: &'a Scratch, script: &Path, args: &[&str]) -> Hook<'a> {
        let words = [script.to_str().unwrap()].iter().chain(args).map(|word| (*word).to_owned()).collect();
        Hook { scratch, words, path: std::env::var("PATH").unwrap_or_default(), max_archives: "1000" }
    }

    fn command(&self, archive: &Path, pipe: impl AsRef<OsStr>) -> Command {
        let mut shell = as_ordinary(&self.words);
        shell.current_dir(self.scratch.path()).env("PATH", &self.path).env("MAX_ARCHIVES", self.max_archives);
        shell.env("STANDPIPE_ARCHIVE", archive).env("STANDPIPE_PIPE", pipe).env("STANDPIPE_LINES", "1");
        shell.env("STANDPIPE_FIRST", "2026-11-28T23:59:59.500000000Z");
        shell.env("STANDPIPE_LAST", "2026-11-29T00:10:59.900000000Z");
        shell
    }

    fn run(&self, archive: &Path, pipe: impl AsRef<OsStr>) -> Output {
        self.command(archive, pipe).output().expect("a shell")
    }

    fn succeed(&self, archive: &Path, pipe: impl AsRef<OsStr>) {
        let output = self.run(archive, pipe);
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    }

    /// It fails, and says this. All that it said.
    fn fail(&self, archive: &Path, because: &str) -> String {
        let output = self.run(archive, "app");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && said.contains(because), "{because}: {output:?}");
        said
    }

    /// It is killed, with all that it started, before or after it has run this tool.
    fn die(&mut self, archive: &Path, pipe: &str, tool: &str, is_done: bool) {
        let dir = self.scratch.path().join("deadly");
        fs::create_dir_all(&dir).unwrap();
        let run = if is_done { format!("PATH={} {tool} \"$@\"\n", self.path) } else { String::new() };
        fs::write(dir.join(tool), format!("#!/bin/sh\n{run}kill -s KILL 0\n")).unwrap();
        set_mode(&dir.join(tool), 0o755);
        let mut shell = self.command(archive, pipe);
        shell.env("PATH", format!("{}:{}", dir.display(), self.path)).stdout(Stdio::null());
        let status = Process::start(&mut shell).wait().unwrap();
        assert_eq!(status.signal(), Some(9), "{tool}");
        fs::remove_file(dir.join(tool)).unwrap();
    }
}

fn as_ordinary(words: &[String]) -> Command {
    let mut shell = command(&words[0]);
    shell.args(&words[1..]).stdin(Stdio::null());
    if let Some(id) = ordinary_user() {
        shell.uid(id).gid(id);
    }
    shell
}

/// Files below a directory, by their paths in it.
fn files(dir: &Path) -> BTreeMap<String, PathBuf> {
    let mut found = BTreeMap::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(next) = dirs.pop() {
        for path in fs::read_dir(next).into_iter().flatten().flatten().map(|entry| entry.path()) {
            if path.is_dir() {
                dirs.push(path);
            } else {
                found.insert(path.strip_prefix(dir).unwrap().to_str().unwrap().to_owned(), path);
            }
        }
    }
    found
}

/// The same with their content.
fn contents(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    files(dir).into_iter().map(|(path, file)| (path, fs::read(file).unwrap())).collect()
}

/// How the SHA-256 of a file begins.
fn sha(path: &Path, digits: usize) -> String {
    let output = command("sha256sum").arg(path).output().unwrap();
    String::from_utf8(output.stdout).unwrap()[..digits].to_owned()
}

/// The bytes of these archives, each of which has other ones.
fn bytes_of(archives: &[PathBuf]) -> BTreeSet<Vec<u8>> {
    let bytes: BTreeSet<_> = archives.iter().map(|path| fs::read(path).unwrap()).collect();
    assert_eq!(bytes.len(), archives.len());
    bytes
}

/// Each archive is there once, and nothing else; and the keys have the number of their lines.
fn check(stored: &BTreeMap<String, Vec<u8>>, archives: &[PathBuf], lines: usize) {
    let found: BTreeSet<_> = stored.values().cloned().collect();
    assert!(found == bytes_of(archives), "{:?}", stored.keys());
    assert_eq!(stored.len(), archives.len(), "{:?}", stored.keys());
    let told = |key: &String| key.rsplit('.').nth(3).unwrap().parse::<usize>().unwrap();
    assert_eq!(stored.keys().map(told).sum::<usize>(), lines);
}

#[test]
fn a_key_tells_pipe_day_host_part_time_lines_and_content() {
    let scratch = Scratch::new();
    let outbox = install(&scratch).join("outbox");
    let archive = log(&scratch, "logs", "line\n", &["--filename", "a@%Y+"]);
    let part = name(&archive).replace('@', "%40").replace('+', "%2B").replace(".log.zst", "");
    assert!(part.starts_with("a%40"), "{part}");
    let tail = format!("{part}.2026-11-29T00-10-59Z.1.{}.log.zst", sha(&archive, 8));
    let pipes: [(&[u8], &str); 4] = [
        (b"app", "app"),
        (b"a=b c%2F.-_", "a%3Db%20c%252F.-_"),
        ("gr\u{f6}\u{df}e\u{2215}".as_bytes(), "gr%C3%B6%C3%9Fe%E2%88%95"),
        (b"\xff'\"\\$(x)", "%FF%27%22%5C%24%28x%29"),
    ];
    let mut expected = BTreeSet::new();
    for (pipe, shown) in pipes {
        Hook::new(&scratch, &outbox, &["outbox", "web 1"]).succeed(&archive, OsStr::from_bytes(pipe));
        expected.insert(format!("v1/pipe={shown}/date=2026-11-28/host=web%201/{tail}"));
    }
    let unnamed = Hook::new(&scratch, &outbox, &["outbox"]);
    let id = Path::new("/etc/machine-id");
    if fs::read_to_string(id).is_ok_and(|id| id.trim_end().len() == 32) {
        unnamed.succeed(&archive, "app");
        expected.insert(format!("v1/pipe=app/date=2026-11-28/host={}/{tail}", sha(id, 12)));
    } else {
        unnamed.fail(&archive, "give a name to the hook");
    }
    assert_eq!(files(&scratch.path().join("outbox")).into_keys().collect::<BTreeSet<_>>(), expected);
}

#[test]
fn an_outbox_has_an_archive_once_wherever_its_hook_was_killed() {
    let scratch = Scratch::new();
    let outbox = install(&scratch).join("outbox");
    let archive = log(&scratch, "logs", "line\n", &[]);
    let mut hook = Hook::new(&scratch, &outbox, &["outbox", "web1"]);
    let tools = ["sha256sum", "mkdir", "ln", "sync"];
    for (tool, is_done) in tools.into_iter().flat_map(|tool| [(tool, false), (tool, true)]) {
        let pipe = format!("{tool}-{is_done}");
        hook.die(&archive, &pipe, tool, is_done);
        hook.succeed(&archive, &pipe);
        hook.succeed(&archive, &pipe);
    }
    let found = files(&scratch.path().join("outbox"));
    assert_eq!(found.len(), 2 * tools.len(), "{found:?}");
    let inode = |path: &Path| fs::metadata(path).unwrap().ino();
    assert!(found.values().all(|path| inode(path) == inode(&archive)), "{found:?}");
}

#[test]
fn an_outbox_that_is_full_or_on_another_mount_is_refused_with_what_to_do() {
    let scratch = Scratch::new();
    let outbox = install(&scratch).join("outbox");
    let [first, second] = ["one\n", "two\n"].map(|line| log(&scratch, "logs", line, &[]));
    let mut hook = Hook::new(&scratch, &outbox, &["outbox", "web1"]);
    hook.succeed(&first, "app");
    hook.max_archives = "1";
    hook.fail(&second, "outbox: outbox is full: 1 archives of at most 1 are waiting; does ship run?");
    hook.succeed(&first, "app");
    hook.max_archives = "2";
    hook.succeed(&second, "app");

    let elsewhere = tempfile::tempdir_in("/dev/shm").expect("another file system");
    give(elsewhere.path());
    let hook = Hook::new(&scratch, &outbox, &[elsewhere.path().to_str().unwrap(), "web1"]);
    let said = hook.fail(&first, "another file system, or another mount of it; use a directory on /");
    let mount = said.trim_end().rsplit_once("use a directory on ").unwrap().1;
    let mount = mount.strip_suffix(", where the archive is").unwrap();
    let device = |path: &Path| fs::metadata(path).unwrap().dev();
    assert_eq!(device(Path::new(mount)), device(&first), "{said}");
    assert!(files(elsewhere.path()).is_empty());
}

/// What `put` needs to write into a bucket.
fn put_args(scratch: &Scratch, bucket: &Bucket) -> [String; 2] {
    let config = scratch.path().join("put.curl");
    fs::write(&config, "user = \"key:secret\"\naws-sigv4 = \"aws:amz:us-east-1:s3\"\n").unwrap();
    give(&config);
    [config.display().to_string(), format!("{}/logs/", bucket.endpoint())]
}

#[test]
fn put_writes_once_and_tries_again_after_whatever_went_wrong() {
    needs_tool("curl", || {
        let scratch = Scratch::new();
        let dir = install(&scratch);
        let archive = log(&scratch, "logs", "line\n", &[]);
        let bucket = Bucket::new([Mood::Busy, Mood::Silent]);
        let [config, url] = put_args(&scratch, &bucket);
        let mut put = Hook::new(&scratch, &dir.join("put"), &[&config, &url, "web1"]);
        put.fail(&archive, "the store answered <Error><Code>SlowDown</Code></Error>\n503");
        assert!(bucket.objects().is_empty());
        put.fail(&archive, "curl: (52) Empty reply from server");
        put.succeed(&archive, "app");
        assert_eq!((bucket.objects().len(), bucket.again()), (1, 1));
        for (tool, is_done) in ["sha256sum", "curl"].into_iter().flat_map(|tool| [(tool, false), (tool, true)]) {
            let pipe = format!("a={tool}%{is_done}\u{e9}");
            put.die(&archive, &pipe, tool, is_done);
            put.succeed(&archive, &pipe);
            Hook::new(&scratch, &dir.join("outbox"), &["outbox", "web1"]).succeed(&archive, &pipe);
        }
        Hook::new(&scratch, &dir.join("outbox"), &["outbox", "web1"]).succeed(&archive, "app");
        // Both hooks have the same keys.
        assert_eq!(bucket.objects(), contents(&scratch.path().join("outbox")));
        assert_eq!(bucket.again(), 2, "one more than before: the kill behind the request");
        bucket.check();
        let nobody = Bucket::new([]).endpoint().replace("127.0.0.1", "127.0.0.1:1/").replace(":1/:", ":1/");
        Hook::new(&scratch, &dir.join("put"), &[&config, &nobody, "web1"]).fail(&archive, "cannot put ");
    });
}

/// Two machines whose archives are called alike, one of which begins its log anew.
#[test]
fn no_two_archives_have_one_key() {
    needs_tool("curl", || {
        let scratch = Scratch::new();
        let dir = install(&scratch);
        let bucket = Bucket::new([Mood::Silent]);
        let [config, url] = put_args(&scratch, &bucket);
        let put = dir.join("put").display().to_string();
        let mut archives = Vec::new();
        for (logs, host, text) in [("one", "web1", "a\n"), ("two", "web2", "a\n"), ("one-again", "web1", "a\n")] {
            let words = [put.as_str(), &config, &url, host];
            let hook = words.into_iter().flat_map(|word| ["--hook", word]);
            let flags: Vec<_> = ["--filename", "%Y-%m-%d"].into_iter().chain(hook).collect();
            archives.push(log(&scratch, logs, text, &flags));
        }
        let names: BTreeSet<_> = archives.iter().map(|path| name(path)).collect();
        assert!(names.len() < archives.len(), "{names:?}");
        check(&bucket.objects(), &archives, 3);
        bucket.check();
    });
}

/// `ship`, with a configuration of rclone for a bucket.
struct Ship<'a> {
    scratch: &'a Scratch,
    words: Vec<String>,
    config: PathBuf,
}

impl<'a> Ship<'a> {
    fn new(scratch: &'a Scratch, dir: &Path, args: &[&str], endpoint: &str) -> Ship<'a> {
        let config = scratch.path().join("rclone.conf");
        let s3 = "[s3]\ntype = s3\nprovider = Other\naccess_key_id = key\nsecret_access_key = secret\n";
        fs::write(&config, format!("{s3}endpoint = {endpoint}\n")).unwrap();
        give(&config);
        let script = dir.join("ship").display().to_string();
        let words = [script.as_str()].iter().chain(args).map(|word| (*word).to_owned()).collect();
        Ship { scratch, words, config }
    }

    fn start(&self) -> Process {
        let mut shell = as_ordinary(&self.words);
        shell.current_dir(self.scratch.path()).env("RCLONE_CONFIG", &self.config).env("INTERVAL", "0");
        // Where this is set, Debian's rclone cannot use S3 at all.
        shell.env("HOME", self.scratch.path()).env_remove("AWS_CA_BUNDLE").stderr(Stdio::null());
        Process::start(&mut shell)
    }
}

#[test]
fn a_mover_that_may_only_write_moves_everything_whenever_it_is_killed() {
    const KILLS: usize = 6;
    needs_tool("rclone", || {
        let scratch = Scratch::new();
        let dir = install(&scratch);
        // Every fifth request is refused, every fifth answer is lost.
        let moods = [Mood::Kind, Mood::Busy, Mood::Kind, Mood::Silent, Mood::Kind].repeat(4);
        let bucket = Bucket::new(moods);
        let ship = Ship::new(&scratch, &dir, &["--write-only", "outbox", "s3:logs"], &bucket.endpoint());
        let mut moved = Vec::new();
        for turn in 0..KILLS {
            for pipe in ["app", "a=b%\u{e9}"] {
                let archive = log(&scratch, &format!("{turn}-{pipe}"), "line\n", &[]);
                Hook::new(&scratch, &dir.join("outbox"), &["outbox", "web1"]).succeed(&archive, pipe);
                moved.push(archive);
            }
            let mut running = ship.start();
            let before = bucket.objects().len();
            until("it moves something", || bucket.objects().len() > before);
            running.kill_group();
        }
        let _running = ship.start();
        let outbox = scratch.path().join("outbox");
        until("all are moved", || files(&outbox).is_empty());
        check(&bucket.objects(), &moved, moved.len());
        bucket.check();
    });
}

/// Processes of one script, and what they started.
fn kill_all_of(script: &Path) {
    let processes =
        fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    for pid in processes {
        let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        if words.split(|byte| *byte == 0).any(|word| word == script.as_os_str().as_bytes()) {
            kill(Pid::from_raw(pid), Signal::SIGKILL).ok();
        }
    }
}

#[test]
fn whatever_is_killed_each_archive_of_a_reader_is_moved_once() {
    const TURNS: usize = 8;
    const LINES: usize = 500;
    needs_tool("rclone", || {
        let stand = Stand::new("rotate_size = \"8KiB\"\n");
        let scratch = &stand.scratch;
        let dir = install(scratch);
        let outbox = scratch.logs().join(".outbox");
        scratch.write_policy("app.toml", &format!("hook = [\"../ship-archives/outbox\", {outbox:?}, \"web1\"]\n"));
        let bucket = scratch.make_dir("bucket");
        let ship = Ship::new(scratch, &dir, &[outbox.to_str().unwrap(), bucket.to_str().unwrap()], "");
        let mut mover = ship.start();
        let mut reader = Mortal::start(stand.reader());
        run(
            &mut reader,
            Lives::of_tests_choice(),
            |_, turn| turn == TURNS as u64,
            |reader, turn, _| {
                stand.write(&lines(turn as usize * LINES, LINES, 60));
                let before = files(&bucket).len();
                until("something is moved", || files(&bucket).len() > before);
                kill_all_of(&dir.join("outbox"));
                if turn % 2 == 0 {
                    reader.kill();
                } else {
                    mover.kill_group();
                    mover = ship.start();
                }
            },
        );
        let all = lines(0, TURNS * LINES, 60);
        stand.wait_stored(&all);
        reader.signal(Signal::SIGALRM);
        let is_done = || stand.segments().len() == 1 && content(&stand.segments()[0]).is_ok_and(|rest| rest.is_empty());
        until("all is archived", is_done);
        until("all is moved", || files(&bucket).len() == stand.archives().len());
        check(&contents(&bucket), &stand.archives(), TURNS * LINES);
        assert!(within(std::time::Duration::from_secs(10), || files(&outbox).is_empty()));
    });
}
