//! The keys of a policy, from file and flags to the fields of [`Policy`].

use super::*;
use crate::stamp::Stamp;
use clap::{CommandFactory, Parser};

fn raw(text: &str) -> Raw {
    toml::from_str(text).unwrap()
}

#[test]
fn an_empty_file_and_no_flags_are_the_built_in_defaults() {
    let policy = Policy::default();
    assert_eq!(Policy::from_raw(&raw("")), policy);
    assert_eq!(Policy::from_flags(&Flags::parse_from(["x"]).policy), policy);
    assert!(policy.stamper.is_plain());
    assert_eq!((policy.rotate_size, policy.max_line), (Limit::At(67_108_864), 1_048_576));
    assert_eq!((policy.fifo.mode, policy.file_mode), (0o660, 0o640));
}

const FULL: &str = r#"
    logs = "x"
    mailbox_dir = "y"
    metrics_file = "z.prom"
    pipe_size = "64K"
    stage = true
    stamp = "iso"
    prefix = "p"
    zone = "Europe/Berlin"
    filename = "%Y-%m-%d"
    filename_zone = "Europe/Berlin"
    rotate_size = 4096
    rotate_age = "2h"
    rotate_at = "06:30"
    max_line = "2K"
    compress = "none"
    archive_after = "10m"
    level = 7
    search_filter = "none"
    keep_size = "2G"
    keep_files = 5
    keep_age = "30d"
    keep_free = "10%"
    keep_min = 3
    sync = "10s"
    hook = ["/bin/up", "-v"]
    hook_timeout = "10s"
    file_mode = 0o600
    file_group = 4
    tick = "5ms"
    warn_fill = 0.5
    warn_after = "7s"
    [fifo]
    create = true
    mode = "0620"
    owner = "a"
    group = "b"
"#;

#[test]
fn each_key_reaches_its_field() {
    let zone = TimeZone::get("Europe/Berlin").unwrap();
    let expected = Policy {
        pipe_size: PipeSize::Bytes(65536),
        stage: true,
        fifo: FifoPolicy { create: true, mode: 0o620, owner: Some("a".into()), group: Some("b".into()) },
        stamper: Stamper { stamp: Stamp::Iso, zone: zone.clone(), prefix: "p".to_string() },
        filename: "%Y-%m-%d".parse::<Pattern>().unwrap().in_zone(&zone),
        filename_zone: zone.clone(),
        zone,
        rotate_size: Limit::At(4096),
        rotate_age: Limit::At(Duration::from_secs(7200)),
        rotate_at: RotateAt(vec![Moment::Daily(HourMinute { hour: 6, minute: 30 })]),
        max_line: 2048,
        compress: Compress::None,
        archive_after: Duration::from_secs(600),
        level: Level::Fixed(7),
        search_filter: SearchFilter::None,
        keep: Keep {
            size: Limit::At(2 << 30),
            files: Limit::At(5),
            age: Limit::At(Duration::from_secs(30 * 86_400)),
            free: Limit::At(Floor::Percent(10)),
            min: 3,
        },
        sync: Durability::Every(Duration::from_secs(10)),
        hook: Some(Hook(vec!["/bin/up".into(), "-v".into()])),
        hook_timeout: Duration::from_secs(10),
        file_mode: 0o600,
        file_group: Some("4".to_string()),
        tick: Duration::from_millis(5),
        warn_fill: Limit::At(0.5),
        warn_after: Limit::At(Duration::from_secs(7)),
    };
    assert_eq!(Policy::from_raw(&raw(FULL)), expected);
}

#[test]
fn files_merge_key_by_key_and_so_does_the_fifo_table() {
    assert_eq!(raw("").over(raw(FULL)), raw(FULL), "a key got lost on the way up");
    assert_eq!(raw(FULL).over(raw("")), raw(FULL), "a key got lost on the way down");
    let lower = raw("stamp = \"iso\"\nprefix = \"low\"\n[fifo]\ncreate = true\ngroup = \"adm\"");
    let policy = Policy::from_raw(&raw("prefix = \"\"\n[fifo]\nmode = \"0600\"\ngroup = \"\"").over(lower));
    assert_eq!((&policy.stamper.stamp, policy.stamper.prefix.as_str()), (&Stamp::Iso, ""));
    assert_eq!(policy.fifo, FifoPolicy { create: true, mode: 0o600, owner: None, group: None });
}

/// The description of the command.
#[derive(Debug, Parser)]
struct Flags {
    #[command(flatten)]
    policy: Raw,
}

#[test]
fn the_flags_are_the_keys_with_dashes_and_say_the_same() {
    let command = Flags::command();
    let flags: Vec<_> = command.get_arguments().filter_map(clap::Arg::get_long).map(str::to_string).collect();
    let keys: Vec<_> = keys::KEYS.iter().filter(|key| key.flag).map(|key| key.name.replace('_', "-")).collect();
    assert_eq!(flags, keys);
    assert!(command.get_arguments().filter(|flag| flag.get_id() != "help").all(|flag| flag.get_help().is_some()));
    assert_eq!(command.get_about().map(ToString::to_string).as_deref(), Some("The description of the command"));

    let given = ["x", "--stamp", "iso", "--rotate-size=4096", "--level", "7", "--file-mode", "0600"];
    let from_flags = Policy::from_flags(&Flags::parse_from(given).policy);
    let from_file = raw("stamp = \"iso\"\nrotate_size = 4096\nlevel = 7\nfile_mode = 0o600");
    assert_eq!(from_flags, Policy::from_raw(&from_file));
    let refusal = Flags::try_parse_from(["x", "--rotate-size", "10MB"]).unwrap_err().to_string();
    assert!(refusal.contains("1000 or 1024? write 10M (10 × 1048576) or 10000000"), "{refusal}");
}
