//! The page of all keys says what the program does.

use super::*;
use crate::config::keys::{AtHup, FILE, Missing, SPOOL, TOP, Takes};
use crate::config::spool::SpoolConfig;

#[test]
fn each_default_is_a_value_that_its_key_takes() {
    let values = |table: &[keys::Key]| -> String {
        let line = |key: &keys::Key| match key.default {
            Missing::Is(value) => Some(format!("{} = {value}\n", key.name)),
            Missing::Means(_) => None,
        };
        table.iter().filter_map(line).collect()
    };
    let (top, file, spool) = (values(TOP), values(FILE), values(SPOOL));
    let text = format!("{top}[[files]]\npath = \"/a\"\n{file}[[spool]]\ndir = \"/b\"\n{spool}");
    let spools = vec![SpoolConfig { dir: "/b".into(), ..SpoolConfig::default() }];
    assert_eq!(toml(&text).unwrap(), Config { files: vec![super::file("/a")], spools, ..Config::default() }, "{text}");
}

#[test]
fn the_reference_is_what_the_code_does() {
    const BEGIN: &str = "<!-- keys: made from the code, see tailer/src/config/tests.rs -->\n";
    const END: &str = "<!-- end of keys -->";
    let table = |keys: &[keys::Key]| -> String {
        let row = |key: &keys::Key| {
            let (Missing::Is(default) | Missing::Means(default)) = key.default;
            let default = if default.contains([' ', ':']) { default.to_string() } else { format!("`{default}`") };
            format!("| `{}` | {default} | {} | {} |\n", key.name, key.takes.in_words(), key.meaning())
        };
        let rows = keys.iter().map(row).collect::<Vec<_>>().concat();
        format!("| key | default | takes | what and why |\n|---|---|---|---|\n{rows}")
    };
    let (top, file, spool) = (table(TOP), table(FILE), table(SPOOL));
    let keys = format!("\n{top}\n### `[[files]]`\n\n{file}\n### `[[spool]]`\n\n{spool}\n");
    standpipe_tests::directory::check_generated("tailer.md", [BEGIN, END], &keys, "standpipe-tailer");
}

#[test]
fn each_example_of_the_page_is_what_the_program_says() {
    let page: PathBuf = [env!("CARGO_MANIFEST_DIR"), "..", "docs", "tailer.md"].iter().collect();
    let page = std::fs::read_to_string(&page).unwrap();
    let (_, text) = page.split_once("\n## Configuration\n").expect("its section");
    let example = |begin: &str| {
        let (_, rest) = text.split_once(begin).expect(begin);
        rest.split("```").next().unwrap_or_default().to_string()
    };
    assert_eq!(toml(&example("```toml\n")).unwrap().files.len(), 2);
    #[cfg(feature = "yaml")]
    assert_eq!(yaml(&example("```yaml\n")).unwrap().order, Order::Timestamp);
    let error = toml("[[files]]\npath = \"/a\"\nmax_idle_ms = 5\n").unwrap_err();
    assert_eq!(error.replace("DIR/t.toml", "tailer.toml"), example("2.\n\n```\n").trim_end());
}

/// The key as TOML, with another value than its default.
fn another(key: &keys::Key) -> String {
    let (Missing::Is(default) | Missing::Means(default)) = key.default;
    let value = match key.takes {
        Takes::Number(min, max) => (if default == min.to_string() { max } else { min }).to_string(),
        Takes::Word(words) => format!("{:?}", words().iter().find(|word| !default.contains(*word)).unwrap()),
        Takes::Flag => (default != "true").to_string(),
        Takes::Path | Takes::PathOrGlob | Takes::PathInDir | Takes::Name => "\"another\"".to_string(),
        Takes::MetricsPath => "\"another.prom\"".to_string(),
        Takes::Globs => "[\"another*\"]".to_string(),
        Takes::Timestamp => "\"iso8601\"".to_string(),
        Takes::Span => "\"3h\"".to_string(),
        Takes::Rate => "\"3 lines/s\"".to_string(),
        Takes::Files | Takes::Spools => "[]".to_string(),
    };
    format!("{} = {value}\n", key.name)
}

#[test]
fn each_key_is_taken_up_at_hup_or_named() {
    const FILES: &str = "[[files]]\npath = \"/*\"\n";
    const SPOOLS: &str = "[[spool]]\ndir = \"/b\"\n";
    let of = |top: &str, file: &str, spool: &str| {
        let state = if top.contains("state_file") { "" } else { "state_file = \"s\"\n" };
        toml(&format!("{state}{top}{FILES}{file}{SPOOLS}{spool}")).unwrap()
    };
    let before = of("", "", "");
    for key in TOP.iter().filter(|key| !matches!(key.takes, Takes::Files | Takes::Spools)) {
        let mut after = of(&another(key), "", "");
        assert_ne!(after, before, "{}", key.name);
        let kept = after.keep(&before);
        let expected: &[&str] = if key.at_hup == AtHup::Kept { &[key.name] } else { &[] };
        assert_eq!(kept, expected, "{}", key.name);
        assert_eq!(after == before, key.at_hup == AtHup::Kept, "{}", key.name);
    }
    // What a file or a spool says is compared as a whole, and taken up with all that follows of it.
    let (files, spools) =
        (FILE.iter().filter(|key| !["path", "name"].contains(&key.name)), SPOOL.iter().filter(|key| key.name != "dir"));
    let changed =
        files.map(|key| (key, of("", &another(key), ""))).chain(spools.map(|key| (key, of("", "", &another(key)))));
    for (key, mut after) in changed {
        assert!(after.keep(&before).is_empty() && key.at_hup == AtHup::TakenUp, "{}", key.name);
        assert_ne!(after, before, "{}", key.name);
    }
}
