//! `examples/s6` and `examples/runit` under the real supervisors: a service with its logger, and a FIFO with holder and
//! reader. Each is restarted and killed again and again, and not a line is lost or repeated.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::example::{copy, example, read, rounds};
use standpipe_tests::deadline::until;
use standpipe_tests::directory::{KEEP_ALL, Scratch, set_mode};
use standpipe_tests::not_run;
use standpipe_tests::privilege::{give, needs_tools};
use standpipe_tests::programs::{Process, command, path};
use standpipe_tests::world::{Check, Writer, stream_of};

/// A service that numbers its lines. TERM ends it after a line; the next one continues the count.
const SERVICE: &str = r#"#!/bin/sh
cd "${0%/*}"
line=$(cat count)
trap 'stop=yes' TERM
while [ -z "$stop" ]; do
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        echo "line $line"
        line=$((line + 1))
    done
    sleep 0.002
done
echo "$line" >count
"#;

#[derive(Clone, Copy, Debug)]
pub enum Supervisor {
    S6,
    Runit,
}

/// A supervision tree with the example's services, and the pipe `app`.
pub struct Tree {
    supervisor: Supervisor,
    pub scratch: Scratch,
    pub services: PathBuf,
    process: Process,
}

impl Tree {
    /// Starts it and waits until all are ready.
    pub fn start(supervisor: Supervisor) -> Tree {
        Tree::start_with(supervisor, None)
    }

    /// The same, with the shipper too where it has a receiver.
    fn start_with(supervisor: Supervisor, receiver: Option<&str>) -> Tree {
        let scratch = Scratch::new();
        scratch.pipe("app");
        scratch.write_policy("defaults.toml", &format!("logs = \"{}\"\n{KEEP_ALL}", scratch.logs().display()));
        let [bin, _log] = ["bin", "log"].map(|name| scratch.make_dir(name));
        for (name, text) in [("myservice", SERVICE), ("count", "0\n")] {
            fs::write(bin.join(name), text).expect("a file");
            give(&bin.join(name));
        }
        set_mode(&bin.join("myservice"), 0o755);
        let services = scratch.path().join("service");
        let (examples, program) = match supervisor {
            Supervisor::S6 => ("s6/service", "s6-svscan"),
            Supervisor::Runit => ("runit", "runsvdir"),
        };
        copy(examples, &services, &scratch);
        match receiver {
            Some(url) => {
                let text = format!("logs = \"{}\"\nurl = \"{url}\"\nlinger = \"100ms\"\n", scratch.logs().display());
                fs::write(scratch.path().join("shipper.toml"), text).expect("a file");
            }
            None => fs::remove_dir_all(services.join("shipper")).expect("a service"),
        }
        let said = fs::File::create(scratch.path().join("said")).expect("a file");
        let mut scan = command(program);
        scan.arg(&services).stdin(Stdio::null()).stdout(said.try_clone().expect("a descriptor")).stderr(said);
        let process = Process::start(&mut scan);
        let tree = Tree { supervisor, scratch, services, process };
        for service in ["holder", "reader", "myservice/log"] {
            until(&format!("{service} is ready:\n{}", tree.said()), || tree.is_ready(service));
        }
        tree
    }

    fn said(&self) -> String {
        fs::read_to_string(self.scratch.path().join("said")).unwrap_or_default()
    }

    /// Runs a tool of the supervisor to its end, which is success.
    fn run(&self, tool: &str, args: &[&str], service: &str) {
        let mut control = command(tool);
        let output = control.args(args).arg(self.services.join(service)).output().expect("a tool");
        assert!(output.status.success(), "{tool} {args:?} {service}: {output:?}\n{}", self.said());
    }

    fn is_ready(&self, service: &str) -> bool {
        let (tool, args) = match self.supervisor {
            Supervisor::S6 => ("s6-svwait", ["-U", "-t", "1000"].as_slice()),
            // Not `check`, which is content with a service that is down.
            Supervisor::Runit => ("sv", ["-w", "1", "start"].as_slice()),
        };
        let mut asked = command(tool);
        asked.args(args).arg(self.services.join(service)).stdout(Stdio::null()).stderr(Stdio::null());
        asked.status().is_ok_and(|status| status.success())
    }

    /// Ends it by TERM, and waits for the next one.
    fn restart(&self, service: &str) {
        match self.supervisor {
            Supervisor::S6 if service == "myservice" => self.run("s6-svc", &["-wr", "-T", "60000", "-r"], service),
            Supervisor::S6 => {
                let before = self.running(service);
                self.run("s6-svc", &["-r"], service);
                self.wait_next(service, before);
            }
            Supervisor::Runit => self.run("sv", &["-w", "60", "restart"], service),
        }
    }

    /// Kills it, and waits until the next one is ready.
    fn kill(&self, service: &str) {
        let killed = self.running(service);
        kill(Pid::from_raw(killed), Signal::SIGKILL).expect("a process of ours");
        self.wait_next(service, killed);
    }

    /// Its process, once it runs.
    fn running(&self, service: &str) -> i32 {
        let mut pid = None;
        until(&format!("{service} runs"), || {
            pid = self.pid(service);
            pid.is_some()
        });
        pid.expect("it runs")
    }

    /// Waits until another process than that is ready. s6-svc's own wait may miss that on a busy machine.
    fn wait_next(&self, service: &str, before: i32) {
        let is_next = || self.pid(service).is_some_and(|pid| pid != before) && self.is_ready(service);
        until(&format!("{service} is there again"), is_next);
    }

    /// Its process. `None`: it does not run.
    fn pid(&self, service: &str) -> Option<i32> {
        let dir = self.services.join(service);
        let text = match self.supervisor {
            Supervisor::S6 => {
                let output = command("s6-svstat").args(["-o", "pid"]).arg(dir).output().expect("a tool");
                String::from_utf8(output.stdout).expect("a number")
            }
            Supervisor::Runit => fs::read_to_string(dir.join("supervise/pid")).unwrap_or_default(),
        };
        text.trim().parse().ok().filter(|pid| *pid > 0)
    }

    /// Ends all of it as a machine does that goes down: the service first, then its logger at the end of its input.
    pub fn stop(mut self) -> Scratch {
        match self.supervisor {
            Supervisor::S6 => self.run("s6-svscanctl", &["-t"], ""),
            Supervisor::Runit => {
                kill(Pid::from_raw(self.process.id() as i32), Signal::SIGHUP).expect("a process of ours");
            }
        }
        until("all has ended", || self.process.try_wait().is_ok_and(|status| status.is_some()));
        // runsvdir does not wait for its children, which have been sent TERM.
        let has_ended = |service: &str| {
            let mut status = command("sv");
            let output = status.arg("status").arg(self.services.join(service)).output().expect("a tool");
            !output.status.success()
        };
        if matches!(self.supervisor, Supervisor::Runit) {
            until("each has ended", || ["myservice", "reader", "holder"].into_iter().all(has_ended));
        }
        self.scratch
    }
}

fn numbers(log: &Path) -> Vec<u64> {
    let stream = String::from_utf8(stream_of(log)).expect("ASCII");
    let number = |line: &str| line.split_once(" line ").and_then(|(_stamp, number)| number.parse().ok());
    stream.lines().map(|line| number(line).unwrap_or_else(|| panic!("{line} is torn"))).collect()
}

fn each_is_restarted_and_killed(supervisor: Supervisor) {
    let tree = Tree::start(supervisor);
    let writer = Writer::start(&tree.scratch.run("app"), 1, None, Duration::from_micros(200));
    thread::scope(|scope| {
        scope.spawn(|| (0..rounds()).for_each(|_| tree.restart("myservice")));
        scope.spawn(|| {
            for _ in 0..rounds() {
                tree.restart("myservice/log");
                tree.kill("myservice/log");
            }
        });
        for _ in 0..rounds() {
            tree.kill("reader");
            tree.kill("holder");
        }
    });
    // The server first, then reader and holder.
    let written = writer.stop();
    assert!(written.error.is_none(), "{written:?}\n{}", tree.said());
    let scratch = tree.stop();
    let count: u64 =
        fs::read_to_string(scratch.path().join("bin/count")).expect("a count").trim().parse().expect("a number");
    let numbers = numbers(&scratch.path().join("log/myservice"));
    assert!(numbers.iter().copied().eq(0..count), "{} lines of {count}", numbers.len());
    let mut check = Check::new();
    check.feed(&stream_of(&scratch.logs().join("app")));
    let tally = check.finish(&[(1, written.lines)]);
    assert!(tally.is_whole() && tally.found == written.lines, "{tally:?} of {}", written.lines);
    println!("{supervisor:?}: {} rounds, {count} lines by a logger, {} through a FIFO", rounds(), written.lines);
}

/// A receiver that takes everything, and the numbers that it got, as in `n=7;`.
fn receiver() -> (String, Arc<Mutex<BTreeSet<u64>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let got: Arc<Mutex<BTreeSet<u64>>> = Arc::default();
    let all = Arc::clone(&got);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let all = Arc::clone(&all);
            thread::spawn(move || serve(stream, &all));
        }
    });
    (url, got)
}

fn serve(stream: TcpStream, all: &Mutex<BTreeSet<u64>>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
            let line = line.trim_end().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            length =
                line.strip_prefix("content-length:").map_or(length, |value| value.trim().parse().expect("a number"));
        }
        let mut packed = vec![0; length];
        reader.read_exact(&mut packed).ok()?;
        let mut body = Vec::new();
        flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut body).expect("gzip");
        let number = |at: usize| {
            let digits = body[at + 2..].split(|byte| *byte == b';').next()?;
            str::from_utf8(digits).ok()?.parse::<u64>().ok()
        };
        all.lock().expect("no panic").extend(memchr::memmem::find_iter(&body, "n=").filter_map(number));
        reader.get_mut().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").ok()?;
    }
}

/// The shipper is killed and restarted while lines come in, and the receiver gets all of them.
fn the_shipper_is_restarted_and_killed(supervisor: Supervisor) {
    path("shipper");
    let (url, got) = receiver();
    let tree = Tree::start_with(supervisor, Some(&url));
    until("shipper is ready", || tree.is_ready("shipper"));
    let mut app = fs::OpenOptions::new().write(true).open(tree.scratch.run("app")).expect("a FIFO that is held");
    let mut written = 0;
    for _ in 0..rounds() {
        for restart in [true, false] {
            for _ in 0..100 {
                app.write_all(format!("n={written};\n").as_bytes()).expect("a reader");
                written += 1;
            }
            if restart { tree.restart("shipper") } else { tree.kill("shipper") }
        }
    }
    until("all lines arrive", || got.lock().expect("no panic").iter().copied().eq(0..written));
    drop(app);
    tree.stop();
}

#[test]
fn under_s6_the_shipper_sends_every_line_though_it_is_restarted_and_killed() {
    needs_tools(&["s6-svscan", "execlineb"], || the_shipper_is_restarted_and_killed(Supervisor::S6));
}

#[test]
fn under_runit_the_shipper_sends_every_line_though_it_is_restarted_and_killed() {
    needs_tools(&["runsvdir"], || the_shipper_is_restarted_and_killed(Supervisor::Runit));
}

#[test]
fn under_s6_no_line_is_lost_or_repeated_though_each_part_is_restarted_and_killed() {
    needs_tools(&["s6-svscan", "execlineb"], || each_is_restarted_and_killed(Supervisor::S6));
}

#[test]
fn under_runit_no_line_is_lost_or_repeated_though_each_part_is_restarted_and_killed() {
    needs_tools(&["runsvdir"], || each_is_restarted_and_killed(Supervisor::Runit));
}

/// s6-rc is in no Debian 12: what its compiler would check first is checked here.
#[test]
fn the_s6_rc_sources_are_consistent_and_compile_where_s6_rc_is() {
    let content = |name: &str| read(&format!("s6/rc/{name}")).trim().to_owned();
    for service in ["holder", "reader", "myservice", "myservice-log", "shipper"] {
        assert_eq!(content(&format!("{service}/type")), "longrun");
        if service != "myservice" {
            assert_eq!(content(&format!("{service}/notification-fd")), "3", "{service}");
        }
    }
    assert_eq!(content("myservice/producer-for"), "myservice-log");
    assert_eq!(content("myservice-log/consumer-for"), "myservice");
    assert!(example("s6/rc/reader/dependencies.d/holder").exists());
    assert!(example("s6/rc/shipper/dependencies.d/reader").exists());
    for (same, as_this) in
        [("holder", "holder"), ("shipper", "shipper"), ("myservice", "myservice"), ("myservice-log", "myservice/log")]
    {
        assert_eq!(read(&format!("s6/rc/{same}/run")), read(&format!("s6/service/{as_this}/run")), "{same}");
    }
    let scratch = Scratch::new();
    let mut compile = command("s6-rc-compile");
    let output = compile.arg(scratch.path().join("db")).arg(example("s6/rc")).output().expect("a program");
    match output.status.code() {
        Some(126 | 127) => not_run::note("s6-rc-compile, which Debian 12 lacks, to compile the sources"),
        code => assert_eq!(code, Some(0), "{output:?}"),
    }
}
