//! A mistyped option is answered with the nearest one that there is, and is never taken for a path.

use standpipe_tests::programs::Launch;

#[test]
fn a_mistyped_option_names_the_nearest_and_no_program_offers_to_take_it_for_a_path() {
    for (words, expected) in [
        ("reader --stmp", "`reader stdin --stamp` exists"),
        ("reader --stamp iso", "`reader stdin --stamp` exists"),
        ("reader stdin --stmp iso x", "'--stamp'"),
        ("reader logs --flw", "'--follow'"),
        ("reader status --jsn", "'--json'"),
        ("reader --status", "`reader status` exists"),
        ("reader -Q", ""),
        ("reader logs --utterly", ""),
        ("holder --chek-config", "'--check-config'"),
        ("holder --json", "`holder status --json` exists"),
        ("holder check --bundel x", "'--bundle'"),
        ("tailer --confg x", "'--config'"),
        ("tailer --al", "`tailer status --all` exists"),
        ("tailer --nothing-like-it", ""),
        ("shipper --oltp x", "'--otlp'"),
        ("shipper --nothing-like-it", ""),
        ("standpipe status --confg x", "'--config'"),
        ("standpipe logs --flw", "'--follow'"),
        ("standpipe status --nothing-like-it", ""),
    ] {
        let mut words = words.split(' ');
        let output = Launch::new(words.next().unwrap()).args(words.clone()).run();
        assert_eq!(output.code, 2, "{words:?}: {}", output.stderr);
        let tip = output.stderr.lines().find(|line| line.contains("tip:")).unwrap_or_default();
        assert!(tip.ends_with(expected) && tip.is_empty() == expected.is_empty(), "{words:?}: {}", output.stderr);
        assert!(!output.stderr.contains("as a value"), "{}", output.stderr);
    }
}
