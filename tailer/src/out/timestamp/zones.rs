//! What names of zones in log lines mean: abbreviations, and names such as `Europe/Berlin`.
//!
//! An abbreviation that the local zone has as well is the local one; the others have the meaning that most logs give
//! them, for there is no authority.

const HOUR: i64 = 3600;

/// What names of places begin with.
const AREAS: [&[u8]; 11] = [
    b"Africa/",
    b"America/",
    b"Antarctica/",
    b"Arctic/",
    b"Asia/",
    b"Atlantic/",
    b"Australia/",
    b"Etc/",
    b"Europe/",
    b"Indian/",
    b"Pacific/",
];

/// Seconds east of UTC, if `name` is an abbreviation that is known.
pub(super) fn abbreviation(name: &[u8]) -> Option<i64> {
    Some(match name {
        b"UTC" | b"GMT" | b"Z" | b"WET" => 0,
        b"WEST" | b"BST" | b"CET" | b"MEZ" => HOUR,
        b"CEST" | b"MESZ" | b"EET" | b"SAST" => 2 * HOUR,
        b"EEST" | b"MSK" | b"TRT" => 3 * HOUR,
        b"PKT" => 5 * HOUR,
        b"IST" => 5 * HOUR + HOUR / 2,
        b"WIB" => 7 * HOUR,
        b"HKT" | b"SGT" | b"AWST" | b"PHT" => 8 * HOUR,
        b"JST" | b"KST" => 9 * HOUR,
        b"ACST" => 9 * HOUR + HOUR / 2,
        b"ACDT" => 10 * HOUR + HOUR / 2,
        b"AEST" => 10 * HOUR,
        b"AEDT" => 11 * HOUR,
        b"NZST" => 12 * HOUR,
        b"NZDT" => 13 * HOUR,
        b"BRT" | b"ADT" => -3 * HOUR,
        b"NST" => -3 * HOUR - HOUR / 2,
        b"NDT" => -2 * HOUR - HOUR / 2,
        b"AST" | b"EDT" => -4 * HOUR,
        b"EST" | b"CDT" => -5 * HOUR,
        b"CST" | b"MDT" => -6 * HOUR,
        b"MST" | b"PDT" => -7 * HOUR,
        b"PST" => -8 * HOUR,
        _ => return None,
    })
}

/// The end of the name of a zone that begins at `at`.
pub(super) fn name_end(line: &[u8], at: usize) -> Option<usize> {
    let rest = line.get(at..)?;
    if !rest.first()?.is_ascii_uppercase() {
        return None;
    }
    let is_place = rest.get(1).is_some_and(u8::is_ascii_lowercase) && AREAS.iter().any(|area| rest.starts_with(area));
    let belongs = |byte: &u8| {
        if is_place { byte.is_ascii_alphanumeric() || b"/_+-".contains(byte) } else { byte.is_ascii_uppercase() }
    };
    let len = rest.iter().take_while(|byte| belongs(byte)).count();
    let is_zone = is_place || abbreviation(&rest[..len]).is_some();
    let is_whole = !rest.get(len).is_some_and(u8::is_ascii_alphanumeric);
    (is_zone && is_whole).then_some(at + len)
}
