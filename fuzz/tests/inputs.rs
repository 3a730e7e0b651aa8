//! Each reader of what others can write bears whatever it is given: for a moment here; the program of this crate tries it
//! for as long as one likes.

use std::env;
use std::process::Command;
use std::time::Duration;

use standpipe_common::shown::Shown;
use standpipe_fuzz::targets::ALL;
use standpipe_fuzz::{Until, run};

/// CPU time for which each target is tried.
const SPAN: Duration = Duration::from_millis(1500);

/// Tells this test program, started again, that it is the one that tries.
const TRIES: &str = "STANDPIPE_FUZZ_TRIES";

/// Memory is counted of a whole process: each target has one of its own, and they run side by side.
fn bears(test: &str, name: &str) {
    if env::var_os(TRIES).is_some() {
        return tries(name);
    }
    let mut own = Command::new(env::current_exe().expect("a test knows its own path"));
    let own = own.args(["--exact", "--nocapture", test]).env(TRIES, "1").output().expect("this program starts again");
    let [stdout, stderr] = [&own.stdout, &own.stderr].map(|said| String::from_utf8_lossy(said));
    assert!(own.status.success() && stdout.contains("1 passed"), "{name}: {}\n{stdout}\n{stderr}", own.status);
}

fn tries(name: &str) {
    let target = ALL.iter().find(|target| target.name == name).expect("a target of that name");
    if let Err(failure) = run(target, 1, Until::Time(SPAN)) {
        let path = env::temp_dir().join(format!("standpipe-fuzz-{name}"));
        std::fs::write(&path, &failure.input).expect("a place for the input");
        panic!("{}; the input is in {}", failure.what, path.shown());
    }
}

macro_rules! table {
    ($($test:ident: $name:literal;)*) => {
        $(
            #[test]
            fn $test() {
                bears(stringify!($test), $name);
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
    filters: "filter";
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
