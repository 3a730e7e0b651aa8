//! What the tables of spools say.

use super::*;
use crate::config::spool::{SpoolConfig, Stale};

#[test]
fn spools_need_no_file_and_their_markers_stand_in_their_directory() {
    let text = "state_file = \"s\"\npipe = \"p\"\n[[spool]]\ndir = \"a/\"\ndone = \"done\"\npipe = \"/q\"\n\
                priority = 5\nrate_limit = \"10 lines/s\"\nmax_age = \"1h30m\"\nstale = \"remove\"\n[[spool]]\ndir = \"/b\"\ndone = \"/c\"\n[[spool]]\ndir = \"d\"";
    let spools = toml(text).unwrap().spools;
    let pipe = Some("/DIR/p".into());
    let expected = [
        SpoolConfig {
            dir: "/DIR/a".into(),
            done: Some("/DIR/a/done".into()),
            pipe: Some("/q".into()),
            priority: 5,
            rate_limit: "10 lines/s".parse().ok(),
            max_age: Duration::from_secs(5400),
            stale: Stale::Remove,
        },
        SpoolConfig { dir: "/b".into(), done: Some("/c".into()), pipe: pipe.clone(), ..SpoolConfig::default() },
        SpoolConfig { dir: "/DIR/d".into(), pipe, ..SpoolConfig::default() },
    ];
    assert_eq!(spools, expected);
}

#[test]
fn a_wrong_spool_is_told() {
    for (text, complaint) in [
        ("[[spool]]\ndone = \"d\"", "a spool needs a `dir`"),
        ("[[spool]]\ndir = \"/a\"\n[[spool]]\ndir = \"/a/\"", "line 4, column 7: `/a/` is listed twice: remove one"),
        ("[[spool]]\ndir = \"/a\"\ndone = \".\"", "line 3, column 8: markers need a directory of their own"),
        ("[[spool]]\ndir = \"/a\"\nmax_age = 5", "5 is a number, but `max_age` needs a string"),
        ("[[spool]]\ndir = \"/a\"\nmax_age = \"5\"", "5 has no unit: write 5s"),
        ("[[spool]]\ndir = \"/a\"\nstale = \"keep\"", "write `deliver` or `remove`"),
        ("[[spool]]\ndir = \"/a\"\npipe = \"/p\"", "line 3, column 8: delivery into a pipe needs a state file"),
        ("spool = []", "there is no file to follow"),
    ] {
        let error = toml(text).unwrap_err();
        assert!(error.contains(complaint), "{text}: {error}");
    }
}
