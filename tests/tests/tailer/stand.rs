//! The stand that the tests of the tailer work on: its rotations and its count of lines, without a tailer.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;

use standpipe_tests::deadline::until;
use standpipe_tests::stands::Tailing;
use standpipe_tests::world::{Owner, Tally, copytruncate, rename_and_create};

fn copy(from: &Path, fifo: &Path) {
    let mut pipe = OpenOptions::new().write(true).open(fifo).unwrap();
    pipe.write_all(&fs::read(from).unwrap()).unwrap();
}

#[test]
fn what_comes_out_of_the_pipe_is_counted_by_log_and_line() {
    let stand = Tailing::into_pipe(Owner::Tailer, false);
    let fifo = stand.scratch.run("out");
    let mut log = stand.log("app.log", 7);
    log.write(20);
    log.begin_line();
    let mut old = rename_and_create(&mut log);
    log.write_through(&mut old, 1);
    log.write(9);
    copytruncate(&log);
    log.write(5);
    for (name, lines) in [("app.log.2", 21), ("app.log.1", 9), ("app.log", 5)] {
        assert_eq!(fs::read_to_string(stand.log_path(name)).unwrap().lines().count(), lines, "{name}");
    }

    copy(&stand.log_path("app.log.2"), &fifo);
    until("21 lines", || stand.tally(&[&log]).found == 21);
    assert_eq!(stand.tally(&[&log]), Tally { found: 21, lost: 14, ..Tally::default() });
    copy(&stand.log_path("app.log"), &fifo);
    stand.set_draining(false);
    stand.set_draining(true);
    copy(&stand.log_path("app.log.1"), &fifo);
    stand.wait_delivered(&[&log]);
    assert_eq!(stand.tally(&[&log]), Tally { found: 35, disordered: 9, ..Tally::default() });
}
