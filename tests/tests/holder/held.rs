//! What the holder promises to servers and readers: a held pipe opens at once, never ends, and keeps its bytes.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use nix::libc;
use nix::sys::signal::Signal;
use standpipe_tests::deadline::{CONDITION_SPAN, until};
use standpipe_tests::directory::Scratch;
use standpipe_tests::privilege::{is_root, needs_tool};
use standpipe_tests::programs::{Daemon, Process, command, holder};
use standpipe_tests::world::{Check, Writer, is_held, open_reader, open_writer, queued, read_all};

/// Writes as a server that comes, writes once and goes.
fn put(fifo: &Path, bytes: &[u8]) {
    assert_eq!(open_writer(fifo, 0).unwrap().write(bytes).unwrap(), bytes.len());
}

/// The descriptors on `fifo` that a process has.
fn descriptors(daemon: &Daemon, fifo: &Path) -> Vec<String> {
    let dir = format!("/proc/{}/fd", daemon.pid());
    let mut found = Vec::new();
    for fd in fs::read_dir(dir).unwrap() {
        let fd = fd.unwrap();
        if fs::read_link(fd.path()).is_ok_and(|target| target == fifo) {
            found.push(fd.file_name().into_string().unwrap());
        }
    }
    found
}

#[test]
fn h1_every_kind_of_writer_opens_a_held_pipe_at_once() {
    let scratch = Scratch::new();
    let fifo = scratch.pipe("app");
    assert_eq!(open_writer(&fifo, 0).unwrap_err().raw_os_error(), Some(libc::ENXIO), "nobody holds it yet");
    let _holder = holder(&scratch).start();
    for flags in [0, libc::O_APPEND | libc::O_CREAT, libc::O_TRUNC, libc::O_APPEND] {
        open_writer(&fifo, flags).unwrap_or_else(|error| panic!("flags {flags:#o}: {error}"));
    }
    let (opened, wait) = mpsc::channel();
    thread::spawn(move || opened.send(fs::OpenOptions::new().write(true).open(fifo).map(drop)));
    wait.recv_timeout(CONDITION_SPAN).expect("a blocking open returns").unwrap();
}

#[test]
fn h2_lines_written_before_there_is_a_reader_reach_it_and_no_end_of_file() {
    let scratch = Scratch::new();
    let fifo = scratch.pipe("app");
    let _holder = holder(&scratch).start();
    let written = Writer::start(&fifo, 1, Some(10), Duration::ZERO).join();
    assert!(written.error.is_none(), "{written:?}");
    let mut check = Check::new();
    check.feed(&read_all(&mut open_reader(&fifo)));
    let tally = check.finish(&[(1, 10)]);
    assert!(tally.is_whole(), "{tally:?}");
}

#[test]
fn h3_a_writer_outlives_its_reader_and_the_next_one_gets_the_rest() {
    let scratch = Scratch::new();
    let fifo = scratch.pipe("app");
    let _holder = holder(&scratch).start();
    let mut server = open_writer(&fifo, 0).unwrap();
    let output = scratch.path().join("taken");
    let mut reader = command("cat");
    reader.arg(&fifo).stdout(fs::File::create(&output).unwrap()).stdin(Stdio::null());
    let mut reader = Process::start(&mut reader);
    server.write_all(b"one\ntwo\n").unwrap();
    until("the first reader has two lines", || fs::read(&output).unwrap() == b"one\ntwo\n");
    reader.kill().unwrap();
    reader.wait().unwrap();
    server.write_all(b"three\nfour\n").unwrap();
    assert_eq!(read_all(&mut open_reader(&fifo)), b"three\nfour\n");
}

#[test]
fn h4_hup_opens_anew_and_keeps_what_is_in_the_pipe() {
    let scratch = Scratch::new();
    let fifo = scratch.pipe("app");
    let holder = holder(&scratch).start();
    let bytes = [b'x'; 4096];
    put(&fifo, &bytes);
    for _ in 0..5 {
        let before = descriptors(&holder, &fifo);
        holder.hang_up("holds 1 pipe of");
        let after = descriptors(&holder, &fifo);
        assert_eq!((before.len(), after.len()), (1, 1));
        assert_ne!(before, after, "it was opened anew");
    }
    assert_eq!(read_all(&mut open_reader(&fifo)), bytes);
}

#[test]
fn h4_no_writer_and_no_reader_notices_a_hup() {
    let scratch = Scratch::new();
    let fifo = scratch.pipe("app");
    let holder = holder(&scratch).start();
    let writers: Vec<_> = (0..4).map(|writer| Writer::start(&fifo, writer, None, Duration::from_micros(50))).collect();
    let mut reader = open_reader(&fifo);
    let mut check = Check::new();
    for _ in 0..30 {
        let lines = holder.lines_with("holds 1 pipe of").len();
        holder.signal(Signal::SIGHUP);
        until("the next HUP is answered", || {
            check.feed(&read_all(&mut reader));
            holder.lines_with("holds 1 pipe of").len() > lines
        });
    }
    let written: Vec<_> = writers.into_iter().map(Writer::stop).collect();
    check.feed(&read_all(&mut reader));
    assert!(written.iter().all(|writer| writer.error.is_none() && writer.lines > 0), "{written:?}");
    let counts: Vec<_> = written.iter().map(|writer| (writer.writer, writer.lines)).collect();
    let tally = check.finish(&counts);
    assert!(tally.is_whole(), "{tally:?}");
}

#[test]
fn h12_ready_means_that_every_pipe_was_tried() {
    let scratch = Scratch::new();
    let fifos: Vec<_> = (0..100).map(|number| scratch.pipe(&format!("p{number:03}"))).collect();
    scratch.link("bad", "/nowhere/fifo");
    scratch.link("zz-bad", "/nowhere/fifo");
    let holder = holder(&scratch).start();
    assert!(fifos.iter().all(|fifo| is_held(fifo)));
    for name in ["bad", "zz-bad"] {
        let expected = format!("pipes.d/{name}: /nowhere/fifo does not exist");
        assert_eq!(holder.lines_with(&expected).len(), 1, "{}", holder.stderr());
    }
    holder.wait_line("holder: holds 100 pipes of");
}

#[test]
fn h12_systemd_is_told_too() {
    let scratch = Scratch::new();
    let fifo = scratch.pipe("app");
    let socket = scratch.path().join("notify");
    let listener = std::os::unix::net::UnixDatagram::bind(&socket).unwrap();
    standpipe_tests::directory::set_mode(&socket, 0o777);
    listener.set_read_timeout(Some(CONDITION_SPAN)).unwrap();
    let _holder = holder(&scratch).env("NOTIFY_SOCKET", &socket).start_unready();
    let mut said = [0; 64];
    let taken = listener.recv(&mut said).expect("a notice");
    assert_eq!(str::from_utf8(&said[..taken]).unwrap().trim(), "READY=1");
    assert!(is_held(&fifo));
}

#[test]
fn h13_on_term_each_pipe_that_still_holds_bytes_is_named_with_their_number() {
    let scratch = Scratch::new();
    let (full, one, _empty) = (scratch.pipe("full"), scratch.pipe("one"), scratch.pipe("empty"));
    let mut holder = holder(&scratch).start();
    put(&full, &[b'x'; 4096]);
    put(&one, b"x");
    assert_eq!(holder.terminate(), 0);
    holder.wait_line("full: 4096 bytes left in the pipe, lost unless another process has it open");
    holder.wait_line("one: 1 byte left in the pipe, lost unless another process has it open");
    assert_eq!(holder.lines_with("in the pipe").len(), 2, "{}", holder.stderr());
}

#[test]
fn h14_a_pipe_is_neither_read_written_nor_locked_and_no_child_would_inherit_it() {
    let scratch = Scratch::new();
    let fifo = scratch.pipe("app");
    let mut server = fs::OpenOptions::new().read(true).write(true).open(&fifo).unwrap();
    server.write_all(&[b'x'; 1000]).unwrap();
    let before = fs::metadata(&fifo).unwrap();
    let holder = holder(&scratch).start();
    for _ in 0..5 {
        holder.hang_up("holds 1 pipe of");
        assert_eq!(queued(&server), 1000);
    }
    let after = fs::metadata(&fifo).unwrap();
    assert_eq!(
        (before.modified().unwrap(), before.accessed().unwrap()),
        (after.modified().unwrap(), after.accessed().unwrap())
    );
    let locks = fs::read_to_string("/proc/locks").unwrap();
    let pid = holder.pid().to_string();
    assert!(!locks.lines().any(|lock| lock.split_whitespace().any(|word| word == pid)), "{locks}");
    let mut checked = 0;
    for fd in fs::read_dir(format!("/proc/{pid}/fd")).unwrap() {
        let fd = fd.unwrap().file_name().into_string().unwrap();
        let target = |pid: &str| fs::read_link(format!("/proc/{pid}/fd/{fd}")).ok();
        // What the tests themselves inherited goes on to their children.
        if fd.parse::<u32>().unwrap() <= 2 || target("self") == target(&pid) {
            continue;
        }
        checked += 1;
        let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{fd}")).unwrap();
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap().trim();
        let flags = i32::from_str_radix(flags, 8).unwrap();
        assert!(flags & libc::O_CLOEXEC != 0, "descriptor {fd}: {info}");
    }
    assert!(checked >= 3, "the pipe, the poll set and the watch at least");
}

#[test]
fn h16_two_holders_share_a_directory_and_the_end_of_one_loses_nothing() {
    let scratch = Scratch::new();
    let fifo = scratch.pipe("app");
    let mut first = holder(&scratch).start();
    put(&fifo, b"before\n");
    let mut second = holder(&scratch).start();
    assert_eq!(first.terminate(), 0);
    put(&fifo, b"between\n");
    let mut third = holder(&scratch).start();
    second.kill9();
    put(&fifo, b"after\n");
    assert_eq!(read_all(&mut open_reader(&fifo)), b"before\nbetween\nafter\n");
    assert_eq!(third.terminate(), 0);
}

#[test]
fn h18_a_device_is_never_opened() {
    needs_tool("strace", || {
        for as_root in [false, true].into_iter().filter(|&as_root| !as_root || is_root()) {
            let scratch = Scratch::new();
            let fifo = scratch.pipe("app");
            let link = scratch.link("watchdog", "/dev/full");
            let trace = scratch.path().join("trace");
            fs::write(&trace, "").unwrap();
            standpipe_tests::directory::set_mode(&trace, 0o666);
            let strace = ["strace", "-D", "-f", "-y", "-e", "trace=open,openat,openat2", "-o", trace.to_str().unwrap()];
            let launch = holder(&scratch).under(strace);
            let mut holder = if as_root { launch.as_tests() } else { launch }.start();
            holder.hang_up("holds 1 pipe of");
            holder.wait_line(&format!("cannot open {}: it leads to a device, not to a FIFO", link.display()));
            assert_eq!(holder.terminate(), 0);
            let traced = || fs::read_to_string(&trace).unwrap();
            until("the trace is complete", || traced().contains("+++ exited with 0 +++"));
            let trace = traced();
            let of_device: Vec<_> = trace.lines().filter(|line| line.contains("/dev/full>")).collect();
            assert!(!of_device.is_empty() && of_device.iter().all(|line| line.contains("O_PATH")), "{of_device:#?}");
            let opened = format!("<{}>", fifo.display());
            let of_pipe = trace.lines().filter(|line| line.contains(&opened) && !line.contains("O_PATH"));
            assert!(of_pipe.count() >= 2, "the trace would show an open:\n{trace}");
        }
    });
}

#[test]
fn an_idle_holder_uses_no_cpu_and_does_not_even_wake() {
    let scratch = Scratch::new();
    let fifo = scratch.pipe("app");
    scratch.link("bad", "/nowhere/fifo");
    let holder = holder(&scratch).start();
    // A server that writes wakes the holder as little as one that does not.
    let writer = Writer::start(&fifo, 1, None, Duration::from_millis(5));
    let mut reader = open_reader(&fifo);
    // Time on the CPU in ns, and how often it was given one.
    let schedstat = || {
        let text = fs::read_to_string(format!("/proc/{}/schedstat", holder.pid())).unwrap();
        let numbers: Vec<u64> = text.split_whitespace().map(|number| number.parse().unwrap()).collect();
        (numbers[0], numbers[2])
    };
    let asleep = || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", holder.pid())).unwrap();
        stat.rsplit(") ").next().unwrap().starts_with('S')
    };
    until("the holder sleeps", asleep);
    let (before, end) = (schedstat(), Instant::now() + Duration::from_millis(1500));
    while Instant::now() < end {
        read_all(&mut reader);
        thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(schedstat(), before);
    assert!(writer.stop().lines > 10);
}

#[test]
fn signals_that_mean_nothing_to_the_holder_do_not_end_it() {
    let scratch = Scratch::new();
    let fifo = scratch.pipe("app");
    let mut holder = holder(&scratch).start();
    for signal in [Signal::SIGALRM, Signal::SIGUSR1, Signal::SIGUSR2, Signal::SIGPIPE] {
        holder.signal(signal);
    }
    holder.hang_up("holds 1 pipe of");
    assert!(holder.is_running() && is_held(&fifo));
    holder.signal(Signal::SIGINT);
    assert_eq!(holder.wait_exit(), 0);
}
