//! `--batch` where fewer files can be open than there are.

use std::fs;

use standpipe_tests::daemon::Launch;
use standpipe_tests::scratch::Scratch;

#[test]
fn more_files_than_descriptors_are_all_read() {
    for order in ["read", "timestamp"] {
        let scratch = Scratch::new();
        scratch.make_dir("app");
        for file in 0..300 {
            let line = format!("2026-01-01T00:{:02}:{:02}Z line\n", file / 60, file % 60);
            fs::write(scratch.path().join(format!("app/{}.log", (file * 7) % 300)), line).unwrap();
        }
        let config = scratch.path().join("tailer.toml");
        let glob = scratch.path().join("app/*.log");
        let (order_key, glob) = (format!("order = '{order}'"), glob.display());
        fs::write(&config, format!("{order_key}\n[[files]]\npath = '{glob}'\nstart_at = 'beginning'\n")).unwrap();
        let launch = Launch::new("tailer").prelude("ulimit -n 64").arg("--config").arg(&config);
        let output = launch.args(["--batch", "--output", "raw"]).run();
        let text = String::from_utf8(output.stdout).unwrap();
        let mut lines: Vec<&str> = text.lines().collect();
        let is_ordered = lines.is_sorted();
        lines.sort_unstable();
        lines.dedup();
        assert_eq!(lines.len(), 300, "{order}: {}", output.stderr);
        assert!(is_ordered || order == "read");
    }
}
