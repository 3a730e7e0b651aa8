//! `reader logs -f`: through rotations, archiving, restarts and pipes that appear, each line once.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use standpipe_tests::deadline::{CONDITION_SPAN, until, within};
use standpipe_tests::programs::{self, Daemon, Process, command};
use standpipe_tests::stands::{Stand, add_pipe};
use standpipe_tests::world::{lines, write_all};

/// Follows in the background; what it prints is in a file.
struct Following {
    daemon: Daemon,
    file: File,
}

impl Following {
    fn start(stand: &Stand, name: &str, arguments: &[&str]) -> Following {
        let path: PathBuf = stand.scratch.path().join(name);
        let file = File::options().create_new(true).read(true).write(true).open(path).unwrap();
        let daemon = stand.logs().arg("-f").args(arguments).start_into(file.try_clone().unwrap());
        Following { daemon, file }
    }

    fn printed(&self) -> String {
        let mut bytes = vec![0; self.file.metadata().unwrap().len() as usize];
        self.file.read_exact_at(&mut bytes, 0).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    /// Waits until exactly this was printed.
    fn wait(&self, expected: &str) {
        let done = within(CONDITION_SPAN, || self.printed().len() >= expected.len());
        let printed = self.printed();
        assert!(done && printed == expected, "{printed}\nnot\n{expected}\n{}", self.daemon.stderr());
    }
}

#[test]
fn each_line_is_shown_once_through_rotations_archiving_and_restarts() {
    let (stand, mut reader) = Stand::started("rotate_size = \"16KiB\"\n");
    stand.write_and_wait("first\n");
    let following = Following::start(&stand, "shown", &["app", "-n", "all"]);
    following.wait("first\n");
    let mut expected = String::from("first\n");
    for round in 0..6 {
        let text = lines(round * 500, 500, 60);
        stand.write(&text);
        expected.push_str(std::str::from_utf8(&text).unwrap());
        if round == 2 {
            reader.kill9();
            reader = stand.reader().start();
        }
        following.wait(&expected);
    }
    // A line is shown when it is whole.
    stand.write(b"the beginning ");
    until("it is stored", || standpipe_tests::world::stream_of(&stand.log_dir()).ends_with(b"the beginning "));
    stand.write(b"and the end\n");
    expected.push_str("the beginning and the end\n");
    following.wait(&expected);
    until("it was rotated and archived", || stand.archives().len() > 5);
    assert_eq!(reader.terminate(), 0);
}

#[test]
fn the_last_lines_of_all_pipes_come_first_and_pipes_that_appear_are_taken_up() {
    let stand = Stand::new("");
    let (_, other) = add_pipe(&stand.scratch, "other");
    let mut reader = stand.reader().start();
    stand.write_and_wait("one\n");
    let following = Following::start(&stand, "shown", &["-n", "1"]);
    following.wait("app: one\n");
    write_all(&other, b"two\n");
    following.wait("app: one\nother: two\n");
    let (_, third) = add_pipe(&stand.scratch, "third");
    reader.hang_up("3 pipes");
    write_all(&third, b"three\n");
    following.wait("app: one\nother: two\nthird: three\n");
    assert_eq!(reader.terminate(), 0);
}

#[test]
fn it_ends_where_it_is_told_to() {
    let (stand, _reader) = Stand::started("");
    for line in ["match 1\n", "other\n", "match 2\n", "match 3\n"] {
        stand.write_and_wait(line);
    }
    let mut following = Following::start(&stand, "matches", &["app", "-g", "match", "-n", "2", "-m", "3"]);
    following.wait("match 2\nmatch 3\n");
    stand.write(b"no\nmatch 4\nmatch 5\n");
    following.wait("match 2\nmatch 3\nmatch 4\n");
    assert_eq!(following.daemon.wait_exit(), 0);
    let mut waiting = Following::start(&stand, "never", &["app", "-n0", "-g", "never", "--timeout", "200ms"]);
    assert_eq!((waiting.daemon.wait_exit(), waiting.printed()), (1, String::new()));
    let mut over = Following::start(&stand, "over", &["app", "-n1", "--until", "now"]);
    over.wait("match 5\n");
    assert_eq!(over.daemon.wait_exit(), 0);
}

#[test]
fn a_standard_output_that_nobody_reads_ends_it_though_no_line_comes() {
    let (stand, _reader) = Stand::started("");
    stand.write_and_wait("one\n");
    let mut follow = command(programs::path("reader"));
    follow
        .arg("logs")
        .arg("-f")
        .arg(stand.log_dir())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = Process::start(&mut follow);
    let mut stdout = child.stdout.take().unwrap();
    let mut line = [0; 4];
    stdout.read_exact(&mut line).unwrap();
    drop(stdout);
    assert!(within(Duration::from_secs(5), || child.try_wait().unwrap().is_some()));
}

#[test]
fn a_cursor_file_says_what_was_shown_while_it_follows() {
    let (stand, _reader) = Stand::started("rotate_size = \"16KiB\"\n");
    stand.write_and_wait("one\n");
    let cursor = stand.scratch.path().join("cursor");
    let cursor_file = cursor.to_str().unwrap();
    let mut following = Following::start(&stand, "shown", &["app", "--cursor-file", cursor_file]);
    following.wait("one\n");
    let text = String::from_utf8(lines(0, 2000, 60)).unwrap();
    stand.write(text.as_bytes());
    following.wait(&format!("one\n{text}"));
    let rest =
        || stand.logs().args(["app", "--after-cursor"]).arg(std::fs::read_to_string(&cursor).unwrap().trim()).run();
    until("the cursor stands behind the last line", || rest().stdout.is_empty());
    following.daemon.kill9();
    stand.write_and_wait("more\n");
    let again = Following::start(&stand, "again", &["app", "--cursor-file", cursor_file]);
    again.wait("more\n");
}

#[test]
fn a_pipe_without_lines_is_waited_for() {
    let (stand, _reader) = Stand::started("");
    until("its log is there", || stand.log_dir().join(".standpipe").exists());
    let following = Following::start(&stand, "shown", &["app"]);
    stand.write(b"at last\n");
    following.wait("at last\n");
}

#[test]
fn a_cursor_never_stands_inside_a_line() {
    let (stand, _reader) = Stand::started("");
    stand.write(b"one\ntwo\nhal");
    until("it is stored", || standpipe_tests::world::stream_of(&stand.log_dir()).ends_with(b"hal"));
    let cursor = stand.scratch.path().join("cursor");
    let next = |more: &[&str]| {
        let output = stand.logs().args(["app", "--cursor-file"]).arg(&cursor).args(more).run();
        assert_eq!(output.stderr, "");
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(next(&["-n", "1"]), "two\n");
    assert_eq!(next(&[]), "");
    stand.write_and_wait("f\nthree\n");
    assert_eq!(next(&[]), "half\nthree\n");
}
