//! The limits of inotify: its queue, its watches, its instances; and many files at once.

use std::env;

use standpipe_common::descriptors::Descriptors;
use standpipe_tests::privilege::has_user_namespaces;
use standpipe_tests::programs::command;

use super::*;

#[test]
fn lost_events_are_told_and_the_ways_are_walked_again() {
    let queue: usize = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap().trim().parse().unwrap();
    let (dir, mut watch) = setup();
    let path = dir.path().join("log/app.log");
    fs::create_dir(dir.path().join("log")).unwrap();
    watch.add_names(APP, &path, None);
    let [one, two] = ["log/app.log.1", "log/app.log.2"].map(|name| dir.path().join(name));
    append(&one, "");
    for _ in 0..=queue / 4 {
        // Two events each.
        fs::rename(&one, &two).unwrap();
        fs::rename(&two, &one).unwrap();
    }
    // These are lost.
    fs::remove_dir_all(dir.path().join("log")).unwrap();
    fs::create_dir(dir.path().join("log")).unwrap();
    let mut hints = watch.hints();
    while hints.more {
        hints = watch.hints();
    }
    assert!(hints.overflow);
    assert!(due(&mut watch, &path, || append(&path, "")));
}

#[test]
fn ten_thousand_files_that_grow_are_told_in_one_call() {
    let (dir, mut watch) = setup();
    let limit = Descriptors::raise(0).unwrap().hard();
    let count = limit.saturating_sub(300).min(10_000) as u32;
    let files: Vec<File> = (0..count)
        .map(|n| {
            let path = dir.path().join(format!("{n}.log"));
            let file = OpenOptions::new().append(true).create(true).open(path).unwrap();
            assert!(watch.add_file(SourceId(n), GenerationId(u64::from(n)), &file));
            file
        })
        .collect();
    for mut file in &files {
        file.write_all(b"x\n").unwrap();
    }
    let hints = watch.hints();
    assert_eq!((hints.grown.len(), hints.more), (count as usize, false));
}

/// Runs a test of this file again where inotify's limit of that name is so low. False: this is that run, or there can
/// be none here.
fn runs_with(limit: &str, value: u32, test: &str) -> bool {
    if env::var_os("STANDPIPE_TEST_LIMITED").is_some() {
        return false;
    }
    if !has_user_namespaces() {
        return true;
    }
    let (_, here) = module_path!().split_once("::").unwrap();
    let script = format!("echo {value} > /proc/sys/user/{limit} && exec \"$0\" --exact {here}::{test}");
    let mut command = command("unshare");
    command.args(["-Ur", "sh", "-c", &script]).arg(env::current_exe().unwrap()).env("STANDPIPE_TEST_LIMITED", "1");
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}{errors}");
    true
}

#[test]
fn watches_that_have_run_out_are_said_once_and_the_rest_goes_on() {
    if runs_with("max_inotify_watches", 20, "watches_that_have_run_out_are_said_once_and_the_rest_goes_on") {
        return;
    }
    let (dir, mut watch) = setup();
    let path = dir.path().join("app.log");
    let other = dir.path().join("other");
    fs::create_dir(&other).unwrap();
    assert!(watch.add_names(APP, &path, None));
    let files: Vec<File> = (0..25).map(|n| File::create(dir.path().join(n.to_string())).unwrap()).collect();
    let mut watched = 0;
    for (n, file) in files.iter().enumerate() {
        watched += u32::from(watch.add_file(SourceId(n as u32), GenerationId(n as u64), file));
    }
    assert!((1..20).contains(&watched), "{watched}");
    assert_eq!(watch.warning(), Some("fs.inotify.max_user_watches"));
    assert_eq!(watch.warning(), None);
    assert!(!watch.add_names(WEB, &other.join("web.log"), None), "to be polled");
    assert_eq!(watch.warning(), None);
    watch.hints();
    append(&path, "");
    assert_eq!(sources(&watch.hints().names), [1]);
    // What is given back can be had.
    watch.remove_file(GenerationId(0));
    assert!(watch.add_names(WEB, &other.join("web.log"), None));
    append(&other.join("web.log"), "");
    assert_eq!(sources(&watch.hints().names), [2]);
}

#[test]
fn without_an_instance_of_inotify_the_error_says_so() {
    if runs_with("max_inotify_instances", 0, "without_an_instance_of_inotify_the_error_says_so") {
        return;
    }
    let error = Watch::new().err().unwrap();
    assert!(error.is_out_of_descriptors(), "{error}");
}
