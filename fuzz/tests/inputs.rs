//! Each reader of what others can write bears whatever it is given: for a moment here; the program of this crate tries it
//! for as long as one likes.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use standpipe_common::shown::Shown;
use standpipe_fuzz::targets::ALL;
use standpipe_fuzz::{Until, run};

/// CPU time for which each target is tried.
const SPAN: Duration = Duration::from_millis(1500);

/// Memory is counted of the whole process: one at a time.
static ALONE: Mutex<()> = Mutex::new(());

fn bears(name: &str) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let target = ALL.iter().find(|target| target.name == name).expect("a target of that name");
    if let Err(failure) = run(target, 1, Until::Time(SPAN)) {
        let path = std::env::temp_dir().join(format!("standpipe-fuzz-{name}"));
        std::fs::write(&path, &failure.input).expect("a place for the input");
        panic!("{}; the input is in {}", failure.what, path.shown());
    }
}

macro_rules! table {
    ($($test:ident: $name:literal;)*) => {
        $(
            #[test]
            fn $test() {
                bears($name);
            }
        )*

        #[test]
        fn each_target_has_its_test() {
            let tested = [$($name),*];
            assert_eq!(ALL.iter().map(|target| target.name).collect::<Vec<_>>(), tested);
        }
    };
}

table! {
    archives: "archive";
    indexes: "index";
    seek_tables: "seek-table";
    marks: "marks";
    mailbox_records: "mailbox";
    control_lines: "control";
    status_of_the_reader: "reader-status";
    status_of_the_tailer: "tailer-status";
    states_of_logs: "log-state";
    checkpoints: "checkpoint";
    changes_of_checkpoints: "changes";
    stage_records: "stage";
    policies: "policy";
    configurations_in_toml: "tailer-toml";
    configurations_in_yaml: "tailer-yaml";
    timestamps: "timestamps";
    records_of_containers: "records";
    gzip: "gzip";
    zstd: "zstd";
}
