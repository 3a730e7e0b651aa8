//! Types own their state. In each crate: the methods of a type stand in one file, or two; a struct has twelve fields at
//! most; one whose invariants are asserted has none that others can write; no two types have one name; and what a type can
//! be in is said by an enum rather than by flags beside each other.
//!
//! What is not so yet is named with how far it is: nothing may become worse, and what became better is to be noted here.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

const CRATES: [&str; 6] = ["common", "holder", "reader", "tailer", "shipper", "front"];
const FILES_MAX: usize = 2;
const FIELDS_MAX: usize = 12;

/// Types whose methods stand in more files: in how many.
const SPREAD: &[(&str, usize)] = &[];
/// Structs with more fields: how many. Settings, figures and tables of all options have as many as there are; what a
/// macro makes of a table of keys is not looked at.
const LARGE: &[(&str, usize)] = &[("common::Policy", 24), ("tailer::Figures", 17), ("tailer::Settings", 13)];
/// Types with asserted invariants and fields that others can write.
const OPEN: &[&str] = &[];
/// How many names several types of a crate have; in all others each has one of its own.
const SHARED_NAMES: &[(&str, usize)] = &[];

/// How many fields of a crate are a `bool` that changes after it was made.
const FLAGS: [(&str, usize); 6] =
    [("common", 6), ("holder", 8), ("reader", 39), ("tailer", 41), ("shipper", 4), ("front", 0)];

/// What is said of a type.
#[derive(Debug, Default)]
struct Type {
    fields: usize,
    /// Those that are a `bool`: their names, and whether others can write them.
    flags: Vec<(String, bool)>,
    has_open_field: bool,
    /// Where methods of it are.
    impls: BTreeSet<String>,
    has_assertion: bool,
}

/// The types of a crate. The code is formatted: what stands at the beginning of a line is no part of another item, and
/// the tests come last.
fn types_of(name: &str) -> Types {
    types_in(&files_of(name))
}

/// The paths of a crate's product code, and what stands there.
fn files_of(name: &str) -> Vec<(String, String)> {
    let mut files = Vec::new();
    visit(&Path::new("..").join(name).join("src"), &mut files);
    files.sort();
    files
}

fn visit(dir: &Path, files: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let is_product = path.file_stem().unwrap() != "tests";
        if path.is_dir() && is_product {
            visit(&path, files);
        } else if is_product && path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap();
            files.push((path.to_str().unwrap().to_owned(), code.to_owned()));
        }
    }
}

/// By their names, and by the files where they are defined.
type Types = BTreeMap<(String, String), Type>;

fn types_in(files: &[(String, String)]) -> Types {
    let mut types = Types::new();
    for (file, code) in files {
        define(code, file, &mut types);
    }
    for (file, code) in files {
        implement(code, file, &mut types);
    }
    types
}

/// An item from behind its first line on.
fn item<'a>(lines: &mut impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    lines.take_while(|line| *line != "}").collect()
}

fn define(code: &str, file: &str, types: &mut Types) {
    let mut lines = code.lines();
    while let Some(line) = lines.next() {
        let Some(name) = defined(line) else { continue };
        let lines = if line.ends_with('{') { item(&mut lines) } else { Vec::new() };
        let lines = lines.iter().filter_map(|line| line.strip_prefix("    "));
        let fields: Vec<&str> = lines.filter(|field| line.contains("struct ") && is_field(field)).collect();
        let has_open_field = fields.iter().any(|field| field.starts_with("pub"));
        let flags = fields.iter().filter_map(|field| flag(field)).collect();
        let of_one = Type { fields: fields.len(), flags, has_open_field, ..Type::default() };
        types.insert((name, file.to_owned()), of_one);
    }
}

/// Methods belong to the type of this file; else to the one that others may know, which has most fields.
fn implement(code: &str, file: &str, types: &mut Types) {
    let mut lines = code.lines();
    while let Some(line) = lines.next() {
        let Some(name) = implemented(line) else { continue };
        let is_asserted = item(&mut lines).iter().any(|line| line.contains("debug_assert"));
        let alike = types.iter_mut().filter(|((other, _), _)| *other == name);
        let of_one = alike.max_by_key(|((_, home), of_one)| (home == file, of_one.fields));
        if let Some((_, of_one)) = of_one {
            of_one.impls.insert(file.to_owned());
            of_one.has_assertion |= is_asserted;
        }
    }
}

/// The name of the type that a line defines.
fn defined(line: &str) -> Option<String> {
    let (visibility, rest) = ["struct ", "enum "].into_iter().find_map(|keyword| line.split_once(keyword))?;
    let is_definition = visibility.is_empty() || (visibility.starts_with("pub") && visibility.ends_with(' '));
    is_definition.then(|| word(rest))
}

/// The name of the type of which a line begins methods; those of traits belong to whoever asks for them.
fn implemented(line: &str) -> Option<String> {
    let rest = line.strip_prefix("impl").filter(|_| line.ends_with('{') && !line.contains(" for "))?;
    let (generics, rest) = rest.split_once(' ')?;
    (generics.is_empty() || generics.starts_with('<')).then(|| word(rest))
}

fn word(text: &str) -> String {
    text.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect()
}

fn is_field(line: &str) -> bool {
    let name = line.strip_prefix("pub(").map_or(line, |rest| rest.split_once(") ").map_or("", |(_, name)| name));
    let name = name.strip_prefix("pub ").unwrap_or(name);
    let word = word(name);
    word.starts_with(|letter: char| letter.is_lowercase()) && name[word.len()..].starts_with(": ")
}

/// The name of a field that is a `bool`, and whether others can write it.
fn flag(field: &str) -> Option<(String, bool)> {
    let (name, _) = field.split_once(": ").filter(|(_, of)| matches!(*of, "bool," | "Option<bool>,"))?;
    Some((name.rsplit(' ').next()?.to_owned(), name.contains(' ')))
}

/// Fields that are a `bool` and change after they were made, as `Type.field`. Who may write one: its file and the rooms
/// of that; and all that do not mean one of their own, if it is open.
fn flags_in(files: &[(String, String)]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for ((of_one, home), is) in types_in(files) {
        let room = home.trim_end_matches(".rs");
        for (name, is_open) in &is.flags {
            let changes = |(file, code): &(String, String)| {
                let is_home = file.strip_prefix(room).is_some_and(|rest| rest.starts_with(['.', '/']));
                let own = format!("self.{name}");
                code.lines().filter(|line| is_home || *is_open && !line.contains(&own)).any(|line| changes(line, name))
            };
            if files.iter().any(changes) {
                found.insert(format!("{of_one}.{name}"));
            }
        }
    }
    found
}

/// Whether a line gives a field another value.
fn changes(line: &str, field: &str) -> bool {
    let line = line.trim();
    let is_named = |rest: &str| !rest.starts_with(|letter: char| letter.is_alphanumeric() || letter == '_');
    line.match_indices(&format!(".{field}")).any(|(at, name)| {
        let (before, rest) = (&line[..at], &line[at + name.len()..]);
        let is_set = [" = ", " |= ", " &= "].iter().any(|sign| rest.starts_with(sign));
        let is_set_among = before.starts_with('(') && rest.contains(") = ");
        let is_lent = ["take(&mut ", "replace(&mut "].iter().any(|call| before.contains(call));
        is_named(rest) && (is_set || is_set_among || is_lent)
    })
}

/// All types of all crates, as `crate::Type`.
fn all() -> Vec<(String, Type)> {
    let of_crate =
        |name: &'static str| types_of(name).into_iter().map(move |((of_one, _), is)| (format!("{name}::{of_one}"), is));
    CRATES.into_iter().flat_map(of_crate).collect()
}

/// Fails for types of which a figure is more than `max`, but for those of which it is no more than is named.
fn hold(types: &[(String, Type)], max: usize, named: &[(&str, usize)], what: &str, figure: impl Fn(&Type) -> usize) {
    for (name, of_one) in types {
        let (known, is) = (named.iter().find(|(known, _)| known == name), figure(of_one));
        assert!(is <= known.map_or(max, |(_, most)| *most), "{name} has {is} {what}");
    }
    for (known, _) in named {
        let is_beyond = |(name, of_one): &(String, Type)| name == known && figure(of_one) > max;
        assert!(types.iter().any(is_beyond), "{known} has no more than {max} {what} and need not be named");
    }
}

#[test]
fn the_methods_of_a_type_stand_together_and_it_has_few_fields_that_are_its_own() {
    let types = all();
    assert!(types.len() > 400, "{} types", types.len());
    hold(&types, FILES_MAX, SPREAD, "files with methods", |of_one| of_one.impls.len());
    hold(&types, FIELDS_MAX, LARGE, "fields", |of_one| of_one.fields);
    let is_open = |(_, of_one): &&(String, Type)| of_one.has_assertion && of_one.has_open_field;
    let open: Vec<&str> = types.iter().filter(is_open).map(|(name, _)| name.as_str()).collect();
    assert_eq!(open, OPEN, "asserted, and open");
}

#[test]
fn no_more_types_of_a_crate_share_a_name_than_did() {
    for name in CRATES {
        let max = SHARED_NAMES.iter().find(|(known, _)| *known == name).map_or(0, |(_, max)| *max);
        let mut definitions: BTreeMap<String, usize> = BTreeMap::new();
        for (of_one, _) in types_of(name).into_keys() {
            *definitions.entry(of_one).or_default() += 1;
        }
        let shared: Vec<_> = definitions.iter().filter(|(_, times)| **times > 1).map(|(of_one, _)| of_one).collect();
        assert!(shared.len() <= max, "{name}: {} names, {shared:?}", shared.len());
    }
}

#[test]
fn no_more_flags_change_than_did() {
    for (name, max) in FLAGS {
        let flags = flags_in(&files_of(name));
        assert_eq!(flags.len(), max, "{name}: {flags:?}");
    }
}

#[test]
fn a_flag_is_one_that_changes_after_it_was_made() {
    let code = "struct One {\n    is_a: bool,\n    is_b: bool,\n    pub is_c: bool,\n    is_ab: bool,\n    is_d: bool,\n}\n\nimpl One {\n    fn \
                f() {\n        self.is_ab = true;\n        let x = mem::take(&mut self.is_d);\n    }\n}\n";
    let files = [("one.rs", code), ("two.rs", "fn f() {\n    one.is_b = true;\n    (one.is_c, x) = (true, 1);\n}\n")];
    let flags = flags_in(&files.map(|(file, code)| (file.to_owned(), code.to_owned())));
    assert_eq!(Vec::from_iter(flags), ["One.is_ab", "One.is_c", "One.is_d"]);
}

#[test]
fn what_is_read_of_code_is_what_it_says() {
    let code = "pub struct One<T> {\n    pub(crate) a: u8,\n    /// b: of it\n    b: Vec<T>,\n}\n\nimpl<T> One<T> {\n    fn f() {\n        \
                debug_assert!(true);\n    }\n}\n\nimpl Clone for One<u8> {\n}\n\nenum Two {\n    C { d: u8 },\n}\n\nstruct Three(u8);\n";
    let files = [("one.rs", code), ("two.rs", "impl One<u8> {\n}\n"), ("three.rs", "struct One;\n\nimpl One {\n}\n")];
    let types = types_in(&files.map(|(file, code)| (file.to_owned(), code.to_owned())));
    assert_eq!(types.keys().map(|(name, _)| name).collect::<Vec<_>>(), ["One", "One", "Three", "Two"]);
    let figures = |file: &str| {
        let one = &types[&("One".to_owned(), file.to_owned())];
        (one.fields, one.impls.len(), one.has_open_field, one.has_assertion)
    };
    assert_eq!((figures("one.rs"), figures("three.rs")), ((2, 2, true, true), (0, 1, false, false)));
}
