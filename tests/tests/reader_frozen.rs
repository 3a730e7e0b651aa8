//! A log root whose file system is frozen, as for the snapshot of a virtual machine: the server feels nothing of it
//! until its pipe is full. Alone in its file, because it measures a delay.

use std::env;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::signal::Signal;
use standpipe_tests::deadline::until;
use standpipe_tests::directory::Mounted;
use standpipe_tests::privilege::needs_root;
use standpipe_tests::programs::{Launch, Process, command, state_of};
use standpipe_tests::stands::Bench;
use standpipe_tests::world::{assert_same, hold, put, queued, stream_of};

const PIPE_BYTES: usize = 1 << 20;
/// A write that fills pages without a gap.
const WRITE_BYTES: usize = 128;
const FROZEN_SPAN: Duration = Duration::from_secs(3);
/// A test that takes longer has met a server that hangs.
const FROZEN_SPAN_MAX: Duration = Duration::from_secs(10);
/// A busy machine may keep the server from its processor for so long; a frozen file system, until the thaw.
const WRITE_SPAN_MAX: Duration = Duration::from_millis(500);
/// Tells this test, started again, that it is to be the server of this FIFO.
const SERVER_OF: &str = "STANDPIPE_TESTS_SERVER_OF";

/// It frozen, until this goes. To be made after everything that uses it: whatever waits for a program that is stuck
/// in it comes after the thaw then, even in a test that fails.
struct Frozen {
    dir: PathBuf,
    since: Instant,
    /// Thaws it, come what may, also when this test is killed: with a reader that is stuck under the pipe's lock, this test is stuck as well.
    guard: Child,
}

impl Frozen {
    #[expect(clippy::disallowed_methods, reason = "the guard outlives the test")]
    fn new(mounted: &Mounted) -> Frozen {
        let dir = mounted.dir().to_owned();
        let guard = Command::new("sh")
            .args(["-c", &format!("sleep {}; fsfreeze -u \"$0\"", FROZEN_SPAN_MAX.as_secs())])
            .arg(&dir)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell");
        run("fsfreeze", &["-f".as_ref(), &dir]);
        Frozen { dir, since: Instant::now(), guard }
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        command("fsfreeze").arg("-u").arg(&self.dir).stderr(Stdio::null()).status().ok();
        self.guard.kill().ok();
        self.guard.wait().ok();
    }
}

fn run(program: &str, args: &[&Path]) {
    let done = command(program).args(args).status();
    assert!(done.as_ref().is_ok_and(std::process::ExitStatus::success), "{program} {args:?}: {done:?}");
}

/// Not a test of its own: the server's process, which writes until its pipe takes no more and it is killed.
#[test]
fn server() {
    let Some(fifo) = env::var_os(SERVER_OF) else { return };
    let mut pipe = OpenOptions::new().write(true).open(&fifo).expect("the FIFO");
    let mut slow = File::create(Path::new(&fifo).with_extension("slow")).expect("a file for what was slow");
    for number in 0.. {
        let before = Instant::now();
        pipe.write_all(&line(number)).expect("a pipe that is held");
        let span = before.elapsed();
        if span > WRITE_SPAN_MAX {
            writeln!(slow, "write {number} took {span:?}").expect("a file for what was slow");
        }
    }
}

fn line(number: usize) -> Vec<u8> {
    format!("{number:0width$}\n", width = WRITE_BYTES - 1).into_bytes()
}

fn start_server(fifo: &Path) -> Process {
    let mut server = command(env::current_exe().expect("a test knows its own path"));
    Process::start(server.args(["--exact", "server"]).env(SERVER_OF, fifo).stdout(Stdio::null()))
}

#[test]
fn r46_a_server_feels_nothing_of_a_frozen_log_root() {
    needs_root(|| {
        let bench = Bench::new();
        let mounted = Mounted::ext4(&bench.scratch.path().join("image"), 64, &bench.scratch.logs());
        let fifo = bench.scratch.pipe("app");
        let pipe = hold(&fifo);
        assert_eq!(fcntl(&pipe, FcntlArg::F_SETPIPE_SZ(PIPE_BYTES as i32)), Ok(PIPE_BYTES as i32));
        let logs = mounted.dir().join("root");
        let launch = Launch::new("reader").arg(bench.scratch.pipes()).arg("--logs").arg(&logs);
        let reader = launch.start();
        put(&pipe, b"before\n");
        until("it is stored", || stream_of(&logs.join("app")) == b"before\n");

        let frozen = Frozen::new(&mounted);
        let mut server = start_server(&fifo);
        until("the pipe is full", || queued(&pipe) == PIPE_BYTES);
        until("the server waits for room", || state_of(server.id()) == 'S');
        thread::sleep(FROZEN_SPAN.saturating_sub(frozen.since.elapsed()));
        assert_eq!((state_of(server.id()), queued(&pipe)), ('S', PIPE_BYTES), "it waits, and can be interrupted");
        let slow = fs::read_to_string(fifo.with_extension("slow")).expect("what was slow");
        assert_eq!(slow, "", "no write over {WRITE_SPAN_MAX:?}");
        let killed_at = Instant::now();
        server.kill().expect("our own child");
        let ended = server.wait().expect("our own child");
        assert_eq!(ended.signal(), Some(Signal::SIGKILL as i32));
        assert!(killed_at.elapsed() < Duration::from_secs(3), "it dies at once");
        assert!(frozen.since.elapsed() < FROZEN_SPAN_MAX, "a look at the pipe hung");
        drop(frozen);

        let mut expected = b"before\n".to_vec();
        expected.extend((0..PIPE_BYTES / WRITE_BYTES).flat_map(line));
        until("all is stored", || stream_of(&logs.join("app")).len() >= expected.len());
        assert_same(&stream_of(&logs.join("app")), &expected, "after the thaw");
        put(&pipe, b"after\n");
        expected.extend_from_slice(b"after\n");
        until("it goes on", || stream_of(&logs.join("app")).len() >= expected.len());
        assert_same(&stream_of(&logs.join("app")), &expected, "later");
        reader.stop();
    });
}
