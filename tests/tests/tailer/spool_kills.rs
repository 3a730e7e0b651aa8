//! Many short-lived processes, one log: each file that was completed comes once, whole and in one piece, however they
//! end and however often the tailer is killed; of the others nothing comes.
//!
//! `SPOOL_PLAN=200,20000,100` runs so many at a time, so many in all, against so many kills.

use std::collections::BTreeMap;
use std::env;
use std::fs::OpenOptions;
use std::io::Write;
use std::mem;
use std::time::Duration;

use standpipe_tests::deadline::{until_next_stamp, within};
use standpipe_tests::kills::{Lives, run};
use standpipe_tests::privilege;
use standpipe_tests::programs::Process;
use standpipe_tests::stands::{ENDINGS, Ending, Spooling, pieces};
use standpipe_tests::world::Owner;

/// Longest rest between a kill and the next processes.
const LIFE_MAX: Duration = Duration::from_millis(70);

/// At a time, in all, kills.
fn plan() -> (usize, usize, u64) {
    let Ok(plan) = env::var("SPOOL_PLAN") else { return (20, 600, 10) };
    let numbers: Vec<usize> = plan.split(',').map(|number| number.parse().unwrap()).collect();
    (numbers[0], numbers[1], numbers[2] as u64)
}

fn reap(running: &mut Vec<Process>, at_most: usize) {
    while running.len() > at_most {
        running.retain_mut(|child| child.try_wait().unwrap().is_none());
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn storm(owner: Owner) {
    let (at_a_time, all, kills_min) = plan();
    let mut stand = Spooling::new(owner);
    let log = stand.scratch.path().join("run/app.log");
    let follow = format!("[[files]]\npath = \"{}\"\nstart_at = \"beginning\"\n", log.display());
    stand.configure("done = \"done\"\nmax_age = \"1h\"\n", &follow);
    let of = |number: usize| ENDINGS[number * 7 / 3 % ENDINGS.len()];
    let name = |number: usize| format!("cli.{number}.log");
    for number in (0..all).filter(|number| of(*number).is_reused()) {
        stand.mark(&name(number));
    }
    until_next_stamp();
    let mut app = OpenOptions::new().append(true).create(true).open(&log).unwrap();
    stand.start();
    let (mut running, mut expected, mut begun) = (Vec::new(), BTreeMap::new(), 0);
    let kills = run(
        &mut stand,
        Lives::up_to(LIFE_MAX, 1),
        |_, kills| kills == kills_min,
        |stand, kills, _| {
            let end = all * (kills + 1) as usize / kills_min as usize;
            for number in mem::replace(&mut begun, end)..end {
                let lines = 1 + (number * 7919 % 500) as u32;
                reap(&mut running, at_a_time - 1);
                running.push(stand.spawn(&name(number), lines, of(number)));
                if of(number).is_complete() {
                    expected.insert(name(number), (lines, lines));
                }
                writeln!(app, "app {number}").unwrap();
            }
            stand.daemon().kill9();
            stand.start();
        },
    );
    reap(&mut running, 0);
    let is_there = |stand: &Spooling| stand.left().0.iter().all(|name| !expected.contains_key(name));
    let is_done = within(Duration::from_secs(60), || is_there(&stand));
    let said = stand.daemon().stderr();
    let missing: Vec<_> = stand.left().0.into_iter().filter(|name| expected.contains_key(name)).collect();
    assert!(is_done, "not collected: {missing:?}\n{said}");
    assert_eq!(stand.daemon().terminate(), 0);
    let bytes = stand.drain.bytes();
    let got = pieces(&bytes).unwrap_or_else(|error| panic!("{error}\n{said}"));
    assert!(got == expected, "{:?}\n{said}", differences(&got, &expected));
    let app_lines = bytes.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"app ")).count();
    assert_eq!(app_lines, all, "lines of the followed file");
    // What the rules leave.
    let (files, markers) = stand.left();
    let mut incomplete: Vec<_> = (0..all).filter(|number| !of(*number).is_complete()).collect();
    let mut names: Vec<_> = incomplete.iter().map(|number| name(*number)).collect();
    names.sort();
    // A process of one line is killed before it has written any.
    assert_eq!(files, names);
    incomplete.retain(|number| of(*number) == Ending::KilledReused);
    let orphans = markers.len() - incomplete.len();
    println!("{kills} kills, {} files, {} bytes, {orphans} markers without a file", expected.len(), bytes.len());
    assert!(orphans <= kills as usize * 2, "{markers:?}");
}

/// Of each file its lines that came, and its lines.
type Pieces = BTreeMap<String, (u32, u32)>;

/// Where both are not the same.
fn differences(got: &Pieces, expected: &Pieces) -> Vec<String> {
    let names = got.keys().chain(expected.keys()).filter(|name| got.get(*name) != expected.get(*name));
    names.map(|name| format!("{name}: {:?}, not {:?}", got.get(name), expected.get(name))).collect()
}

#[test]
fn each_completed_file_comes_once_and_whole_whoever_is_killed() {
    storm(Owner::Tailer);
}

#[test]
fn so_it_is_for_a_foreign_user_by_markers_alone() {
    privilege::needs_root(|| storm(Owner::Other));
}
