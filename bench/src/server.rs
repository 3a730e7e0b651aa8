//! `server`: what logging into a pipe costs a web server: nginx under `wrk`, its access log a pipe of ours or a plain file.
//!
//! Each round has both, one after the other and in turn who begins; nginx is started anew each time and its first
//! requests are not counted. Holder and reader run all the while, syncing and making archives of 8 MiB, so what they use
//! competes with nginx for the same cores. Nothing rotates the plain file.

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::{Uid, mkfifo};
use standpipe_common::error::{Cannot, Error, Result};
use standpipe_tests::programs;

use crate::machine;
use crate::process::Process;
use crate::stage::{self, Stage};
use crate::stats::{median, percentile, ratio};
use crate::table::{Bound, Figure, Table, number};

/// The smallest share of the requests a second that remain.
const REQUIRED_SHARE: f64 = 0.95;
const WORKERS: u32 = 2;
const CONNECTIONS: u32 = 32;
/// So that each turn has its archives too.
const ROTATE_SIZE: &str = "8MiB";
/// Before each measurement, not counted.
const WARM_SECONDS: u64 = 1;
const START_BOUND: Duration = Duration::from_secs(10);
/// All but the given spans: longer is a hang.
const BOUND: Duration = Duration::from_secs(240);

/// Where the access log goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    Pipe,
    File,
}

/// What one turn came to.
struct Turn {
    requests_per_second: f64,
    /// CPU time a request, µs: of holder and reader, and of nginx.
    stack: f64,
    nginx: f64,
}

/// Holder, reader and the log of one pipe.
struct Stack {
    holder: Process,
    reader: Process,
    fifo: PathBuf,
}

/// Measures `rounds` pairs of `span` each, and prints the table.
pub fn run(dir: Option<&Path>, rounds: u32, seconds: u64) -> Result<()> {
    for peer in ["nginx", "wrk"] {
        if !machine::is_installed(peer) {
            return Err(Error::because("measure", "nginx", format!("{peer} is not installed")));
        }
    }
    let stage = Stage::set(dir, BOUND + Duration::from_secs(seconds + WARM_SECONDS) * rounds * 2)?;
    let dir = stage.fresh("server")?;
    let stack = Stack::start(&dir)?;
    let (mut pipe, mut file) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let order = if round % 2 == 0 { [Target::Pipe, Target::File] } else { [Target::File, Target::Pipe] };
        for target in order {
            let turn = measure(&stack, &dir, target, seconds)?;
            if target == Target::Pipe { pipe.push(turn) } else { file.push(turn) }
        }
    }
    stack.holder.terminate()?;
    stack.reader.terminate()?;
    print!("{}", machine::describe_servers(stage.path()));
    println!(
        "nginx, {WORKERS} workers, {CONNECTIONS} connections kept alive, {rounds} pairs of {seconds} s; archives of {ROTATE_SIZE}.\n"
    );
    print(&pipe, &file);
    stage::remove(&dir)
}

impl Stack {
    fn start(dir: &Path) -> Result<Stack> {
        let (fifo, pipes, logs) = (dir.join("access"), dir.join("pipes.d"), dir.join("logs"));
        mkfifo(&fifo, Mode::S_IRUSR | Mode::S_IWUSR).cannot("make", &fifo)?;
        fs::create_dir(&pipes).cannot("make", &pipes)?;
        std::os::unix::fs::symlink(&fifo, pipes.join("access")).cannot("link", &fifo)?;
        let policy = pipes.join("defaults.toml");
        fs::write(&policy, format!("rotate_size = \"{ROTATE_SIZE}\"\n")).cannot("write", &policy)?;
        let start = |name: &str, arguments: &[&Path]| {
            let mut command = Command::new(programs::path(name));
            command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null());
            Process::start_ready(command, &dir.join(name).with_extension("err"))
        };
        let (holder, _) = start("holder", &[&pipes])?;
        let (reader, _) = start("reader", &[&pipes, Path::new("--logs"), &logs])?;
        Ok(Stack { holder, reader, fifo })
    }

    fn cpu(&self) -> Duration {
        self.holder.cpu() + self.reader.cpu()
    }
}

fn measure(stack: &Stack, dir: &Path, target: Target, seconds: u64) -> Result<Turn> {
    let log = if target == Target::Pipe { stack.fifo.clone() } else { dir.join("plain.log") };
    let (nginx, port) = start_nginx(dir, &log)?;
    load(port, WARM_SECONDS)?;
    // The workers are children that nobody waited for yet.
    let workers = Workers::of(&nginx);
    let (stack_before, nginx_before) = (stack.cpu(), workers.cpu());
    let (requests, seconds) = load(port, seconds)?;
    let (stack_cpu, nginx_cpu) = (stack.cpu().saturating_sub(stack_before), workers.cpu().saturating_sub(nginx_before));
    nginx.signal(Signal::SIGQUIT)?;
    nginx.wait()?;
    if target == Target::File {
        fs::remove_file(&log).cannot("remove", &log)?;
    }
    let micros = |cpu: Duration| cpu.as_secs_f64() * 1e6 / requests;
    Ok(Turn { requests_per_second: requests / seconds, stack: micros(stack_cpu), nginx: micros(nginx_cpu) })
}

/// Starts nginx on a port of its own, and waits until it answers.
fn start_nginx(dir: &Path, log: &Path) -> Result<(Process, u16)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).cannot("listen on", "the loopback interface")?;
    let port = listener.local_addr().cannot("listen on", "the loopback interface")?.port();
    drop(listener);
    let here = dir.to_string_lossy();
    let user = if Uid::effective().is_root() { "user root;\n" } else { "" };
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("    {kind}_temp_path {here}/temp-{kind};\n"))
        .concat();
    let text = format!(
        "daemon off;\n{user}pid {here}/nginx.pid;\nworker_processes {WORKERS};\nevents {{ worker_connections 512; }}\n\
         http {{\n{temporary}    keepalive_requests 1000000;\n    access_log {} combined;\n    server {{\n        \
         listen 127.0.0.1:{port};\n        location / {{ return 200 \"a page\\n\"; }}\n    }}\n}}\n",
        log.to_string_lossy()
    );
    let config = dir.join("nginx.conf");
    fs::write(&config, text).cannot("write", &config)?;
    let mut command = Command::new("nginx");
    command.args(["-e", "stderr", "-c"]).arg(&config).stdin(Stdio::null()).stdout(Stdio::null());
    let nginx = Process::start(command, &dir.join("nginx.err"))?;
    let start = Instant::now();
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        if start.elapsed() > START_BOUND {
            return Err(Error::because("start", "nginx", nginx.said().trim().to_owned()));
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok((nginx, port))
}

/// Requests that `wrk` had answered, and the seconds that they took.
fn load(port: u16, seconds: u64) -> Result<(f64, f64)> {
    let mut wrk = Command::new("wrk");
    wrk.args(["-t", "1", "-c", &CONNECTIONS.to_string(), "-d", &format!("{seconds}s")]);
    let start = Instant::now();
    let output = wrk.arg(format!("http://127.0.0.1:{port}/")).output().cannot("start", "wrk")?;
    let seconds = start.elapsed().as_secs_f64();
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() || text.contains("Non-2xx") || text.contains("Socket errors") {
        return Err(Error::because("measure", "nginx", text.trim().to_owned()));
    }
    requests(&text)
        .map(|requests| (requests, seconds))
        .ok_or_else(|| Error::because("read", "the answer of wrk", text.trim().to_owned()))
}

/// `  123456 requests in 3.00s, 12.34MB read`
fn requests(text: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.contains(" requests in "))?;
    line.split_whitespace().next()?.parse().ok()
}

/// nginx's processes: the master and its children.
struct Workers(Vec<u32>);

impl Workers {
    fn of(nginx: &Process) -> Workers {
        let pid = nginx.pid();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        Workers(children.split_whitespace().filter_map(|pid| pid.parse().ok()).chain([pid]).collect())
    }

    fn cpu(&self) -> Duration {
        self.0.iter().map(|&pid| crate::usage::cpu(pid)).sum()
    }
}

fn print(pipe: &[Turn], file: &[Turn]) {
    let series = |turns: &[Turn], of: fn(&Turn) -> f64| turns.iter().map(of).collect::<Vec<f64>>();
    let mut table = Table::new(&[
        "access log",
        "requests/s, median",
        "least",
        "most",
        "nginx, µs CPU a request",
        "holder + reader",
    ]);
    for (name, turns) in [("a pipe, holder and reader behind it", pipe), ("a plain file", file)] {
        let rates = series(turns, |turn| turn.requests_per_second);
        let figures = [median(&rates), percentile(&rates, 0.0), percentile(&rates, 100.0)];
        let costs = [median(&series(turns, |turn| turn.nginx)), median(&series(turns, |turn| turn.stack))];
        table.row([name.to_owned()].into_iter().chain(figures.into_iter().chain(costs).map(number)));
    }
    println!("{table}");
    let rate = |turn: &Turn| turn.requests_per_second;
    let share = ratio(&series(pipe, rate), &series(file, rate));
    let what = format!("requests/s beside the plain file ({} to {} of one pair)", number(share.min), number(share.max));
    println!("{}", Figure::new(what, share.median, Bound::AtLeast(REQUIRED_SHARE), ""));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_of_wrk_has_the_requests() {
        let text = "Running 1s test @ http://127.0.0.1:1/\n  1 threads and 32 connections\n  43210 requests in 1.10s, \
                    8.65MB read\nRequests/sec:  39282.71\n";
        assert_eq!(requests(text), Some(43210.0));
        assert_eq!(requests("unable to connect"), None);
    }
}
