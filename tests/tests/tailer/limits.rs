//! Limits of the machine: descriptors, instances, watches and events of inotify; and no inotify at all.

use std::fs;
use std::time::Duration;

use nix::sys::signal::Signal;
use standpipe_tests::deadline::{until, within};
use standpipe_tests::privilege;
use standpipe_tests::stands::Tailing;
use standpipe_tests::world::{Log, Owner, numbered, owners, rename_and_create};

fn logs(stand: &Tailing, count: u16) -> Vec<Log> {
    (0..count).map(|number| stand.log(&format!("{number}.log"), number)).collect()
}

#[test]
fn more_files_than_descriptors_lose_nothing_and_are_told_in_one_line() {
    // F54 in small
    for inotify in [true, false] {
        let mut stand = Tailing::to_stdout(Owner::Tailer);
        stand.configure(&format!("inotify = {inotify}\n"), &[("*.log", "")]);
        let mut logs = logs(&stand, 99);
        let mut more: Vec<_> = (0..101).map(|number| stand.log_path(&format!("more-{number}.log"))).collect();
        for path in &more {
            fs::write(path, "").unwrap();
        }
        for log in &mut logs {
            log.write(5);
        }
        stand.start_by(stand.launch().prelude("ulimit -n 32"));
        for _ in 0..3 {
            for log in &mut logs {
                log.write(5);
            }
            stand.wait_delivered(&logs.iter().collect::<Vec<_>>());
        }
        drop(rename_and_create(&mut logs[7]));
        logs[7].write(5);
        more.truncate(1);
        fs::write(&more[0], "the last one\n").unwrap();
        until("the last one", || stand.delivered().windows(13).any(|bytes| bytes == b"the last one\n"));
        until("the rotated one", || stand.tally(&[&logs[7]]).found == 25);
        let said = stand.stop();
        let waiting: Vec<_> = said.lines().filter(|line| line.contains("waiting for file descriptors")).collect();
        assert_eq!(waiting.len(), 1, "{said}");
        let words: Vec<&str> = waiting[0].split(' ').collect();
        let (name, more) = (words[1], words[3].parse::<u32>().unwrap());
        // It is said when it is noticed, by which time not all may have been found.
        assert!(name.contains(".log") && (1..199).contains(&more), "{}", waiting[0]);
        let tally = stand.tally(&logs.iter().collect::<Vec<_>>());
        assert_eq!((tally.lost, tally.repeated, tally.torn), (0, 0, 0), "{tally:?}\n{said}");
    }
}

/// Runs the tailer as root of a user namespace of its own in which this limit of inotify is so low; `None` where there
/// can be no such namespace.
fn limited(stand: &Tailing, limit: &str, value: u32) -> Option<standpipe_tests::programs::Launch> {
    if !privilege::has_user_namespaces() {
        return None;
    }
    let script = format!("echo {value} > /proc/sys/user/{limit} && exec \"$0\" \"$@\"");
    Some(stand.launch().under(["unshare", "-Ur", "sh", "-c", &script]))
}

#[test]
fn without_inotify_files_are_polled_with_a_warning() {
    // F55
    for (limit, value, sysctl) in [
        ("max_inotify_instances", 0, "fs.inotify.max_user_instances"),
        ("max_inotify_watches", 7, "fs.inotify.max_user_watches"),
    ] {
        let mut stand = Tailing::to_stdout(Owner::Tailer);
        stand.configure("", &[("*.log", "")]);
        let mut logs = logs(&stand, 20);
        let Some(launch) = limited(&stand, limit, value) else { return };
        stand.start_by(launch);
        stand.daemon().wait_line(&format!("[tailer] inotify limit reached, polling instead: raise {sysctl}"));
        // What is rotated before it is first seen is not read.
        stand.daemon().wait_lines("inode=", 20);
        for log in &mut logs {
            log.write(5);
            drop(rename_and_create(log));
            log.write(5);
        }
        stand.wait_delivered(&logs.iter().collect::<Vec<_>>());
        // No name changes any more.
        for log in &mut logs {
            log.write(1);
        }
        let logs: Vec<&Log> = logs.iter().collect();
        // Sooner than everything is looked at where inotify tells of changes.
        let lines: u64 = logs.iter().map(|log| log.written().1).sum();
        let done = within(Duration::from_millis(3500), || stand.lines_delivered() as u64 == lines);
        assert!(done, "{}", stand.daemon().stderr());
        stand.finish(&logs);
        assert_eq!(stand.daemon().lines_with("inotify limit").len(), 1, "{}", stand.daemon().stderr());
    }
}

#[test]
fn polling_loses_nothing() {
    for owner in owners() {
        let mut stand = Tailing::to_stdout(owner);
        stand.configure("inotify = false\n", &[("a.log", ""), ("b.log", "")]);
        let (mut a, mut b) = (stand.log("a.log", 1), stand.log("b.log", 2));
        stand.start();
        for _ in 0..3 {
            a.write(50);
            b.write(50);
            drop(rename_and_create(&mut a));
            stand.wait_delivered(&[&a, &b]);
        }
        stand.finish(&[&a, &b]);
    }
}

#[test]
fn lost_events_lose_no_line() {
    // F56
    let queue: usize = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap().trim().parse().unwrap();
    let mut stand = Tailing::to_stdout(Owner::Tailer);
    stand.configure("", &[("a.log", ""), ("b.log", "")]);
    let (mut a, mut b) = (stand.log("a.log", 1), stand.log("b.log", 2));
    stand.start();
    a.write(10);
    stand.wait_delivered(&[&a, &b]);
    stand.daemon().freeze();
    let [one, two] = [1, 2].map(|number| numbered(&b.path, number + 10));
    fs::write(&one, "").unwrap();
    privilege::give(&one);
    for _ in 0..=queue / 4 {
        fs::rename(&one, &two).unwrap();
        fs::rename(&two, &one).unwrap();
    }
    // These are lost.
    a.write(10);
    drop(rename_and_create(&mut a));
    a.write(10);
    b.write(10);
    stand.daemon().signal(Signal::SIGCONT);
    let done = within(Duration::from_secs(4), || stand.lines_delivered() == 40);
    assert!(done, "{}", stand.daemon().stderr());
    stand.daemon().wait_line("[tailer] inotify queue overflowed, checking all files");
    stand.finish(&[&a, &b]);
}
