//! The reference of keys in `docs/configuration.md` says what the code does.
//!
//! `UPDATE_DOCS=1 cargo test -p standpipe-common` rewrites it.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::PathBuf;

use standpipe_common::policy::Raw;
use standpipe_common::policy::keys::{BuiltIn, KEYS, Key};

const BEGIN: &str = "<!-- keys: made from the code, see common/tests/configuration.rs -->\n";
const END: &str = "<!-- end of keys -->";

fn page() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "..", "docs", "configuration.md"].iter().collect()
}

/// One table of the reference.
fn reference(table: &str) -> String {
    let mut text = String::from("| key | default | values | what and why | flag |\n|---|---|---|---|---|\n");
    for Key { name, default, takes, meaning, reason, flag, .. } in KEYS.iter().filter(|key| key.table == table) {
        let default = match default {
            BuiltIn::Is(value) => format!("`{value}`"),
            BuiltIn::NoneSuchAs(value) => format!("none; such as `{value}`"),
        };
        let flag = if *flag { format!("`--{}`", name.replace('_', "-")) } else { String::new() };
        writeln!(text, "| `{name}` | {default} | {takes} | {meaning} {reason} | {flag} |").unwrap();
    }
    text
}

#[test]
fn the_reference_is_what_the_code_does() {
    let text = std::fs::read_to_string(page()).unwrap();
    let (before, rest) = text.split_once(BEGIN).expect("the first mark of the keys");
    let (_, after) = rest.split_once(END).expect("the last mark of the keys");
    let keys = format!("\n{}\n### `[fifo]`\n\n{}\n", reference(""), reference("fifo"));
    let expected = format!("{before}{BEGIN}{keys}{END}{after}");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(page(), expected).unwrap();
    } else {
        assert!(text == expected, "docs/configuration.md is out of date: run UPDATE_DOCS=1 cargo test");
    }
}

/// The keys that the parser names when it meets an unknown one.
fn keys_of_the_parser(text: &str) -> BTreeSet<String> {
    let error = toml::from_str::<Raw>(text).unwrap_err();
    let (_, expected) = error.message().split_once("expected one of ").unwrap();
    expected.split(", ").map(|key| key.trim_matches('`').to_string()).collect()
}

fn keys_of_the_table(table: &str) -> BTreeSet<String> {
    KEYS.iter().filter(|key| key.table == table).map(|key| key.name.to_string()).collect()
}

#[test]
fn the_table_names_exactly_the_keys_of_the_parser() {
    let mut top = keys_of_the_table("");
    top.insert("fifo".to_string());
    assert_eq!(keys_of_the_parser("unknown = 1"), top);
    assert_eq!(keys_of_the_parser("[fifo]\nunknown = 1"), keys_of_the_table("fifo"));
    let distinct: BTreeSet<_> = KEYS.iter().map(|key| (key.table, key.name)).collect();
    assert_eq!(distinct.len(), KEYS.len(), "a key stands twice in the table");
}

#[test]
fn each_example_of_the_page_is_what_the_program_says() {
    let text = std::fs::read_to_string(page()).unwrap();
    let shown = text.split("```\n").nth(1).unwrap().trim_end();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("app.toml");
    std::fs::write(&file, "stamp = \"iso\"\nrotate_size = \"10MB\"\n").unwrap();
    let error = standpipe_common::policy::load(&file, standpipe_common::policy::PolicyKind::Pipe).unwrap_err();
    assert_eq!(error.to_string().replace(file.to_str().unwrap(), "pipes.d/app.toml"), shown);
}
