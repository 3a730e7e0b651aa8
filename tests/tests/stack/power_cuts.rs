//! The power goes while reader and tailer are at work, on four file systems, with small counts: what was durable is as it
//! was, and what is missing, repeated or damaged is said.

use standpipe_tests::kills::power_cuts::{FileSystem, Plan, run_plan};
use standpipe_tests::not_run;
use standpipe_tests::privilege::{needs_root, needs_tool};

fn cut(file_system: FileSystem, tool: &str, seed: u64) {
    needs_root(|| {
        needs_tool("mkfs.xfs", || {
            needs_tool(tool, || {
                let Some(report) = run_plan(Plan { file_system, cuts: 5, seed }) else {
                    not_run::note("loop devices, XFS and the file system of the test");
                    return;
                };
                println!("{report}");
                assert!(report.faults.is_empty() && report.cuts == 5 && report.archives > 0, "{report}");
            });
        });
    });
}

#[test]
fn power_cuts_on_ext4() {
    cut(FileSystem::Ext4, "mkfs.ext4", 1);
}

#[test]
fn power_cuts_on_ext4_without_delayed_allocation() {
    cut(FileSystem::Ext4NoDelalloc, "mkfs.ext4", 2);
}

#[test]
fn power_cuts_on_xfs() {
    cut(FileSystem::Xfs, "mkfs.xfs", 3);
}

#[test]
fn power_cuts_on_btrfs() {
    cut(FileSystem::Btrfs, "mkfs.btrfs", 4);
}
