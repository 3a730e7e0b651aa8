//! A thousand pipes: all held or named, never unheld for a moment, and cheap.
//!
//! What is compared with a limit is time on the CPU, which a busy machine does not stretch much.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;
use serde_json::Value;
use standpipe_tests::deadline::{CONDITION_SPAN, until};
use standpipe_tests::directory::Scratch;
use standpipe_tests::privilege::is_root;
use standpipe_tests::programs::{Daemon, Launch, holder};
use standpipe_tests::world::{capacity, is_held, open_writer};

/// Builds that are not for release may take longer.
const SLOWER: u32 = if cfg!(debug_assertions) { 10 } else { 1 };

/// A user without any other pipes, for the kernel counts them by user. Other numbers than those of other tests.
fn lonely_user(number: u32) -> u32 {
    400_000 + std::process::id() % 50_000 * 4 + number
}

fn pipes(scratch: &Scratch, count: usize) -> Vec<PathBuf> {
    (0..count).map(|number| scratch.pipe(&format!("p{number:04}"))).collect()
}

fn ask(scratch: &Scratch, command: &str, user: u32) -> (i32, Value) {
    let output = Launch::new("holder").args([command, "--json"]).arg(scratch.pipes()).as_user(user).run();
    (output.code, serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("no JSON: {output:?}")))
}

/// Time that a process has had on the CPU.
fn cpu(daemon: &Daemon) -> Duration {
    let text = fs::read_to_string(format!("/proc/{}/schedstat", daemon.pid())).unwrap();
    Duration::from_nanos(text.split_whitespace().next().unwrap().parse().unwrap())
}

#[test]
fn h8_eleven_hundred_pipes_of_an_ordinary_user_are_held_and_their_sizes_reported() {
    let scratch = Scratch::new();
    let fifos = pipes(&scratch, 1100);
    let user = lonely_user(0);
    let holder = holder(&scratch).as_user(user).start();
    holder.wait_line("holder: holds 1100 pipes of");
    assert!(fifos.iter().all(|fifo| is_held(fifo)));
    let (code, status) = ask(&scratch, "status", user);
    let rows = status["pipes"].as_array().unwrap();
    assert!(code == 0 && rows.len() == 1100, "{code}: {} rows", rows.len());
    assert!(rows.iter().all(|row| row["held"] == true));
    // As an ordinary user we share what the kernel gives with all else that he runs.
    let has_room = |row: &Value| row["capacity_bytes"].as_u64() >= Some(16 << 10);
    assert!(!is_root() || rows.iter().all(has_room), "{status}");
    if is_root() && capacity(&fifos[0]) < 65536 {
        let (code, check) = ask(&scratch, "check", user);
        let findings = check["findings"].as_array().unwrap();
        let small: Vec<_> = findings.iter().filter(|finding| finding["kind"] == "small_share").collect();
        assert!(code == 1 && small.len() == 1, "one for all of them: {small:?}");
        assert!(small[0]["what"].as_str().unwrap().starts_with("1100 pipes smaller than 64KiB"), "{}", small[0]);
        let mend = small[0]["mend"].as_str().unwrap();
        assert_eq!(mend, format!("sudo sysctl fs.pipe-user-pages-soft=23467 && kill -HUP {}", holder.pid()));
    }
}

#[test]
fn h9_what_is_not_held_for_want_of_descriptors_is_shown() {
    let scratch = Scratch::new();
    let fifos = pipes(&scratch, 300);
    let user = lonely_user(1);
    let holder = holder(&scratch).as_user(user).prelude("ulimit -n 200").start();
    let held = fifos.iter().filter(|fifo| is_held(fifo)).count();
    assert!((150..200).contains(&held), "{held}");
    let unheld: BTreeSet<_> = fifos.iter().filter(|fifo| !is_held(fifo)).map(|fifo| name(fifo)).collect();
    let (code, status) = ask(&scratch, "status", user);
    let rows = status["pipes"].as_array().unwrap().iter();
    let shown: BTreeSet<_> =
        rows.filter(|row| row["held"] != true).map(|row| row["name"].as_str().unwrap().to_owned()).collect();
    assert_eq!((code, &shown), (1, &unheld));
    let named = |name: &String| !holder.lines_with(&format!("pipes.d/{name}: Too many open files")).is_empty();
    assert!(unheld.iter().all(named), "{}", holder.stderr());
}

fn name(fifo: &std::path::Path) -> String {
    fifo.file_name().unwrap().to_str().unwrap().to_owned()
}

#[test]
fn a_hup_with_a_thousand_pipes_is_short_and_no_pipe_is_unheld_for_an_instant() {
    let scratch = Scratch::new();
    let fifos = pipes(&scratch, 1000);
    let holder = holder(&scratch).as_user(lonely_user(2)).start();
    let done = AtomicBool::new(false);
    let mut fastest = Duration::MAX;
    thread::scope(|scope| {
        let server = scope.spawn(|| {
            let (mut opened, end) = (0_u64, Instant::now() + CONDITION_SPAN);
            while !done.load(Ordering::Relaxed) && Instant::now() < end {
                for fifo in &fifos {
                    open_writer(fifo, 0).unwrap_or_else(|error| panic!("{} was let go: {error}", fifo.display()));
                    opened += 1;
                }
            }
            opened
        });
        for _ in 0..8 {
            let before = cpu(&holder);
            holder.hang_up("holds 1000 pipes of");
            fastest = fastest.min(cpu(&holder).saturating_sub(before));
        }
        done.store(true, Ordering::Relaxed);
        assert!(server.join().expect("no pipe was let go") > 1000);
    });
    assert!(fastest <= Duration::from_millis(50) * SLOWER, "{fastest:?}");
}

#[test]
fn start_hup_and_stop_cost_at_most_50_microseconds_a_pipe() {
    const PIPES: u32 = 4000;
    let scratch = Scratch::new();
    pipes(&scratch, PIPES as usize);
    let mut holder = holder(&scratch).as_user(lonely_user(3)).start();
    let start = cpu(&holder);
    holder.hang_up("holds 4000 pipes of");
    let hup = cpu(&holder).saturating_sub(start);
    let stop = Instant::now();
    holder.signal(Signal::SIGTERM);
    assert_eq!(holder.wait_exit(), 0);
    let stop = stop.elapsed();
    for (what, span) in [("start", start), ("HUP", hup)] {
        assert!(span / PIPES <= Duration::from_micros(50) * SLOWER, "{what}: {span:?}");
    }
    // By the clock on the wall, which goes on while others have the processors.
    assert!(stop / PIPES <= Duration::from_micros(50) * SLOWER * 4, "stop: {stop:?}");
}

#[test]
fn looking_at_a_thousand_pipes_and_ten_thousand_descriptors_is_one_quick_pass() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    let scratch = Scratch::new();
    let fifos = pipes(&scratch, 1000);
    let _holder = holder(&scratch).as_tests().start();
    let each = if hard >= 10_500 { 9 } else { 1 };
    let _servers: Vec<_> = (0..each).flat_map(|_| &fifos).map(|fifo| open_writer(fifo, 0).unwrap()).collect();
    let start = Instant::now();
    let output = Launch::new("holder").args(["status", "--json"]).arg(scratch.pipes()).as_tests().run();
    let span = start.elapsed();
    assert_eq!(output.code, 0);
    let status: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(status["pipes"].as_array().unwrap().iter().all(|row| row["writers"].as_array().unwrap().len() == 1));
    assert!(span < Duration::from_secs(10), "{span:?}");
    until("it looks but does not stay", || is_held(&fifos[0]));
}
