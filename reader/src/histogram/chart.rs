//! The chart: a line an interval with its beginning, its lines and a bar. Pure.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::rows::Rows;

/// Columns where there is no terminal.
const WIDTH: u16 = 80;
/// A bar may always be so long.
const BAR_MIN: usize = 10;
/// Blocks of one to eight eighths.
const EIGHTHS: [char; 8] = ['▏', '▎', '▍', '▌', '▋', '▊', '▉', '█'];

/// As wide as the terminal; bars of blocks or of `#`.
pub fn text(rows: &Rows, zone: &TimeZone, width: Option<u16>, has_blocks: bool) -> String {
    let most = rows.iter().map(|(_, _, lines)| lines).max().unwrap_or(0).max(1);
    let format = label_format(rows.step_ms().unwrap_or(1));
    let digits = most.to_string().len();
    let mut text = String::new();
    for (start, _, lines) in rows.iter() {
        let label = label(start, zone, format);
        let room = usize::from(width.unwrap_or(WIDTH)).saturating_sub(label.len() + digits + 4).max(BAR_MIN);
        let line = format!("{label}  {lines:>digits$}  {}", bar(lines, most, room, has_blocks));
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// No finer than the intervals are.
fn label_format(step_ms: i64) -> &'static str {
    match step_ms {
        ms if ms % 86_400_000 == 0 => "%Y-%m-%d",
        ms if ms % 60_000 == 0 => "%Y-%m-%d %H:%M",
        ms if ms % 1000 == 0 => "%Y-%m-%d %H:%M:%S",
        _ => "%Y-%m-%d %H:%M:%S%.3f",
    }
}

fn label(start: i64, zone: &TimeZone, format: &str) -> String {
    let time = Timestamp::from_nanosecond(start.into()).expect("64 bits of ns are within the calendar");
    time.to_zoned(zone.clone()).strftime(format).to_string()
}

/// What is not nothing is always seen.
fn bar(lines: u64, most: u64, room: usize, has_blocks: bool) -> String {
    let parts = |each: u64| {
        let whole = u128::from(room as u64 * each);
        let parts = (u128::from(lines) * whole).div_ceil(u128::from(most)).min(whole);
        usize::try_from(parts).unwrap_or(0)
    };
    if !has_blocks {
        return "#".repeat(parts(1));
    }
    let eighths = parts(8);
    let rest = (eighths % 8).checked_sub(1).map(|last| EIGHTHS[last]);
    EIGHTHS[7].to_string().repeat(eighths / 8) + &rest.map_or_else(String::new, String::from)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::rows::Interval;
    use super::*;

    fn chart(width: Option<u16>, has_blocks: bool) -> String {
        let step = Interval::exactly(Duration::from_secs(60)).unwrap();
        let mut rows = Rows::new((0, 150_000_000_000), Some(step), &TimeZone::UTC).unwrap();
        rows.add(0, 1000);
        rows.add(60_000_000_000, 1);
        text(&rows, &TimeZone::UTC, width, has_blocks)
    }

    #[test]
    fn the_longest_bar_fills_the_width_and_the_shortest_is_seen() {
        let expected =
            format!("1970-01-01 00:00  1000  {}\n1970-01-01 00:01     1  #\n1970-01-01 00:02     0\n", "#".repeat(56));
        assert_eq!(chart(None, false), expected);
        let expected =
            format!("1970-01-01 00:00  1000  {}\n1970-01-01 00:01     1  ▏\n1970-01-01 00:02     0\n", "█".repeat(16));
        assert_eq!(chart(Some(40), true), expected);
        assert_eq!(chart(Some(1), false).lines().next().unwrap(), "1970-01-01 00:00  1000  ##########");
        assert_eq!([1, 4, 7, 8].map(|lines| bar(lines, 8, 1, true)), ["▏", "▌", "▉", "█"]);
        assert_eq!(bar(9, 16, 2, true), "█▏");
        assert_eq!(bar(u64::MAX, u64::MAX, 3, false), "###");
    }

    #[test]
    fn labels_are_as_fine_as_intervals() {
        let berlin = TimeZone::get("Europe/Berlin").unwrap();
        for (step_ms, expected) in [
            (5, "2026-11-21 11:00:00.000"),
            (5000, "2026-11-21 11:00:00"),
            (3_600_000, "2026-11-21 11:00"),
            (604_800_000, "2026-11-21"),
        ] {
            assert_eq!(label(1_795_255_200_000_000_000, &berlin, label_format(step_ms)), expected);
        }
    }
}
