//! What was followed is never a new source again, whatever becomes of its name, and packed bytes are no lines.

use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::Write as _;

use nix::sys::signal::Signal;
use standpipe_tests::deadline::until;
use standpipe_tests::privilege;
use standpipe_tests::programs::command;
use standpipe_tests::stands::Tailing;
use standpipe_tests::world::Owner;

/// A tailer of globs below its logs. Lines of `canary.log` come after what was there before them was looked at.
pub(crate) struct Stand {
    pub(crate) tailing: Tailing,
    canaries: usize,
}

/// With a state file and without, by inotify and by polling.
pub(crate) const WAYS: [(bool, bool); 4] = [(true, true), (true, false), (false, true), (false, false)];

impl Stand {
    /// Follows these globs from the beginning.
    pub(crate) fn new((has_state, has_inotify): (bool, bool), globs: &[&str]) -> Stand {
        let mut stand = Stand { tailing: Tailing::to_stdout(Owner::Tailer), canaries: 0 };
        let mut toml = format!("poll_interval_ms = 50\ninotify = {has_inotify}\n");
        if has_state {
            toml.push_str("state_file = \"state.json\"\n");
        }
        for glob in globs {
            let path = stand.tailing.log_path(glob);
            writeln!(toml, "[[files]]\npath = '{}'\nstart_at = 'beginning'", path.display()).unwrap();
        }
        fs::write(stand.tailing.work("tailer.toml"), toml).unwrap();
        stand.append("canary.log", "canary 0\n");
        stand.tailing.start();
        stand
    }

    pub(crate) fn append(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.tailing.log_path(name);
        let is_new = !path.exists();
        let mut file = OpenOptions::new().create(true).append(true).open(&path).unwrap();
        file.write_all(text.as_ref()).unwrap();
        if is_new {
            privilege::give(&path);
        }
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.tailing.log_path(from), self.tailing.log_path(to)).unwrap();
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        let text = String::from_utf8_lossy(&self.tailing.delivered()).into_owned();
        text.lines().filter(|line| !line.starts_with("canary ")).map(str::to_owned).collect()
    }

    #[track_caller]
    fn wait(&self, expected: &[&str]) {
        until(&format!("{expected:?}"), || self.lines().len() >= expected.len());
        assert_eq!(self.lines(), expected, "{}", self.tailing.daemon().stderr());
    }

    #[track_caller]
    fn settle_text(&mut self, expected: &str) {
        self.settle(&expected.lines().collect::<Vec<_>>());
    }

    /// Everything was looked at since this was called.
    pub(crate) fn look_at_all(&mut self) {
        for _ in 0..2 {
            self.canaries += 1;
            let line = format!("canary {}\n", self.canaries);
            self.append("canary.log", &line);
            until(&line, || String::from_utf8_lossy(&self.tailing.delivered()).contains(&line));
        }
    }

    /// Everything was looked at since this was called, and nothing but these lines came.
    #[track_caller]
    fn settle(&mut self, expected: &[&str]) {
        self.look_at_all();
        assert_eq!(self.lines(), expected, "{}", self.tailing.daemon().stderr());
    }
}

#[test]
fn what_was_rotated_is_not_read_again_while_nothing_has_the_live_name() {
    for way in WAYS {
        let mut stand = Stand::new(way, &["*"]);
        let mut expected = Vec::new();
        for (line, rotated) in [("line 0", "app.log.3"), ("line 1", "app.log.2"), ("line 2", "app.log.1")] {
            stand.append("app.log", format!("{line}\n"));
            expected.push(line);
            stand.wait(&expected);
            stand.rename("app.log", rotated);
            stand.settle(&expected);
        }
        // Nor is its packed form.
        let gzip =
            standpipe_tests::programs::command("gzip").arg(stand.tailing.log_path("app.log.3")).status().unwrap();
        assert!(gzip.success());
        stand.settle(&expected);
        stand.append("app.log", "line 3\n");
        expected.push("line 3");
        stand.wait(&expected);
        let said = stand.tailing.stop();
        assert!(!said.contains("error"), "{said}");
    }
}

#[test]
fn what_is_appended_to_a_rotated_file_while_nothing_has_the_live_name_is_read() {
    for way in WAYS {
        for path in ["*", "app.log"] {
            let mut stand = Stand::new(way, &["canary.log", path]);
            stand.append("app.log", "one\n");
            stand.wait(&["one"]);
            stand.rename("app.log", "app.log.1");
            stand.settle(&["one"]);
            stand.append("app.log.1", "two\n");
            stand.wait(&["one", "two"]);
            stand.append("app.log.1", "three\n");
            stand.wait(&["one", "two", "three"]);
            stand.tailing.stop();
        }
    }
}

#[test]
fn a_file_that_was_read_is_not_read_again_under_another_name() {
    for way in WAYS {
        for name in ["app-1.log", "app.old.log", "2026-11-28-1.log", "sub/other.log"] {
            let mut stand = Stand::new(way, &["*.log", "*/*.log"]);
            fs::create_dir(stand.tailing.log_path("sub")).unwrap();
            privilege::give(&stand.tailing.log_path("sub"));
            stand.append("app.log", "one\n");
            stand.wait(&["one"]);
            stand.rename("app.log", name);
            stand.settle(&["one"]);
            stand.append("app.log", "two\n");
            stand.wait(&["one", "two"]);
            // Whoever appends to it is read.
            stand.append(name, "three\n");
            stand.wait(&["one", "two", "three"]);
            // Also over a restart, if it can be known.
            if way.0 {
                stand.tailing.stop();
                stand.append(name, "four\n");
                stand.tailing.start();
                stand.wait(&["one", "two", "three", "four"]);
            }
            stand.tailing.stop();
        }
    }
}

#[test]
fn names_that_are_sources_themselves_hand_files_on_without_a_word_twice() {
    for way in WAYS {
        let mut stand = Stand::new(way, &["*.log"]);
        stand.append("app-2.log", "a\n");
        stand.wait(&["a"]);
        stand.append("app-1.log", "b\n");
        stand.wait(&["a", "b"]);
        stand.append("app.log", "c\n");
        let mut expected = vec!["a", "b", "c"];
        stand.wait(&expected);
        for line in ["d", "e", "f"] {
            stand.rename("app-1.log", "app-2.log");
            stand.rename("app.log", "app-1.log");
            stand.append("app.log", format!("{line}\n"));
            expected.push(line);
            stand.wait(&expected);
            stand.settle(&expected);
        }
        stand.append("app-1.log", "late\n");
        expected.push("late");
        stand.wait(&expected);
        let said = stand.tailing.stop();
        assert!(!said.contains("refused"), "{said}");
    }
}

#[test]
fn of_two_names_of_a_file_the_second_brings_nothing_when_the_first_is_gone() {
    for way in WAYS {
        let mut stand = Stand::new(way, &["*.log"]);
        stand.append("app.log", "one\n");
        stand.wait(&["one"]);
        fs::hard_link(stand.tailing.log_path("app.log"), stand.tailing.log_path("link.log")).unwrap();
        stand.settle(&["one"]);
        fs::remove_file(stand.tailing.log_path("app.log")).unwrap();
        stand.settle(&["one"]);
        stand.append("link.log", "two\n");
        stand.wait(&["one", "two"]);
        stand.tailing.stop();
    }
}

#[test]
fn a_log_whose_name_changed_while_nobody_followed_goes_on() {
    for has_inotify in [true, false] {
        let mut stand = Stand::new((true, has_inotify), &["*.log"]);
        stand.append("app.log", "one\n");
        stand.wait(&["one"]);
        stand.tailing.stop();
        stand.rename("app.log", "app-1.log");
        stand.append("app-1.log", "two\n");
        stand.tailing.start();
        stand.wait(&["one", "two"]);
        stand.append("app-1.log", "three\n");
        stand.wait(&["one", "two", "three"]);
        stand.tailing.stop();
        // With another file in its place.
        stand.rename("app-1.log", "app-2.log");
        stand.append("app-2.log", "four\n");
        stand.append("app-1.log", "five\n");
        stand.tailing.start();
        until("both", || stand.lines().len() >= 5);
        let mut lines = stand.lines();
        lines.sort_unstable();
        assert_eq!(lines, ["five", "four", "one", "three", "two"]);
        stand.tailing.stop();
    }
}

#[test]
fn what_was_rotated_while_nobody_followed_is_read_though_nothing_has_the_live_name() {
    for has_inotify in [true, false] {
        let mut stand = Stand::new((true, has_inotify), &["*"]);
        stand.append("app.log", "one\n");
        stand.wait(&["one"]);
        stand.tailing.stop();
        stand.append("app.log", "two\n");
        stand.rename("app.log", "app.log.1");
        stand.tailing.start();
        stand.wait(&["one", "two"]);
        stand.settle(&["one", "two"]);
        // A configuration that is read again changes nothing of it.
        stand.tailing.daemon().hang_up("watching");
        stand.append("app.log.1", "three\n");
        stand.wait(&["one", "two", "three"]);
        stand.settle(&["one", "two", "three"]);
        stand.tailing.stop();
    }
}

#[test]
fn packed_bytes_are_no_lines_whatever_the_file_is_called() {
    let packed = |program: &str| {
        let mut child = command(program)
            .args(["-c"])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all("a line\n".repeat(1000).as_bytes()).unwrap();
        child.wait_with_output().unwrap().stdout
    };
    for way in WAYS {
        let mut stand = Stand::new(way, &["*", "sub/named"]);
        for (program, name) in [("gzip", "a.gz"), ("zstd", "b"), ("gzip", "app.log.1"), ("zstd", "c.log")] {
            stand.append(name, packed(program));
            stand.tailing.daemon().wait_line(&format!("{name} refused: compressed ({program})"));
        }
        // And one that grows.
        stand.append("a.gz", packed("gzip"));
        stand.append("text.gz", "this is text\n");
        stand.wait(&["this is text"]);
        fs::create_dir(stand.tailing.log_path("sub")).unwrap();
        stand.append("sub/named", packed("gzip"));
        stand.tailing.daemon().wait_line("named refused: compressed (gzip)");
        stand.settle(&["this is text"]);
        let said = stand.tailing.stop();
        assert_eq!(said.matches("a.gz refused").count(), 1, "{said}");
    }
}

/// Lines as a log has them.
fn numbered(range: std::ops::Range<u32>) -> String {
    range.fold(String::new(), |text, n| text + &format!("2026-11-28T10:00:{n:02} something happened\n"))
}

#[test]
fn a_copy_under_a_glob_is_not_delivered() {
    for way in [WAYS[0], WAYS[3]] {
        let mut stand = Stand::new(way, &["*.log"]);
        stand.append("app.log", numbered(0..20));
        let mut text = numbered(0..20);
        let all = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        until("20 lines", || stand.lines() == all(&text));
        // A backup, and what copytruncate leaves under a name that no rotator gives.
        for (copy, truncates) in [("backup.log", false), ("app.old.log", true), ("app.older.log", true)] {
            fs::copy(stand.tailing.log_path("app.log"), stand.tailing.log_path(copy)).unwrap();
            privilege::give(&stand.tailing.log_path(copy));
            stand.settle_text(&text);
            if truncates {
                fs::write(stand.tailing.log_path("app.log"), "").unwrap();
            }
            let more = format!("{copy} came\n{}", numbered(30..35));
            stand.append("app.log", &more);
            text += &more;
            until(copy, || stand.lines() == all(&text));
            if way.0 {
                stand.tailing.stop();
                stand.tailing.start();
            }
            stand.settle_text(&text);
        }
        stand.tailing.stop();
    }
}

#[test]
fn logs_that_begin_with_the_same_lines_are_delivered_whole() {
    for way in WAYS {
        let mut stand = Stand::new(way, &["*.log"]);
        let header = "the same header in all of them\n";
        for n in 0..5 {
            stand.append(&format!("worker-{n}.log"), header);
        }
        stand.append("short-1.log", "ok\n");
        stand.append("short-2.log", "ok\n");
        until("the first one", || stand.lines().contains(&header.trim_end().to_owned()));
        for n in 0..5 {
            stand.append(&format!("worker-{n}.log"), format!("worker {n}\n"));
        }
        until("all", || stand.lines().len() == 12);
        let mut lines = stand.lines();
        lines.sort_unstable();
        let mut expected: Vec<String> = (0..5).map(|n| format!("worker {n}")).collect();
        expected.extend(["ok", "ok"].map(str::to_owned));
        expected.extend(vec![header.trim_end().to_owned(); 5]);
        expected.sort_unstable();
        assert_eq!(lines, expected, "{}", stand.tailing.daemon().stderr());
        stand.tailing.stop();
    }
}

#[test]
fn a_copy_that_has_what_was_truncated_unread_is_read_from_there() {
    for way in WAYS {
        let mut stand = Stand::new(way, &["*.log"]);
        stand.append("app.log", numbered(0..20));
        until("20 lines", || stand.lines().len() == 20);
        stand.tailing.daemon().freeze();
        stand.append("app.log", numbered(20..40));
        fs::copy(stand.tailing.log_path("app.log"), stand.tailing.log_path("copy.log")).unwrap();
        privilege::give(&stand.tailing.log_path("copy.log"));
        fs::write(stand.tailing.log_path("app.log"), "").unwrap();
        stand.append("app.log", numbered(40..45));
        stand.tailing.daemon().signal(Signal::SIGCONT);
        let text = numbered(0..45);
        until("45 lines", || stand.lines().len() >= 45);
        stand.settle_text(&text);
        stand.tailing.stop();
    }
}
