//! Tables for people: as wide as the terminal, and without any limit where there is none, so that `grep` finds a row.
//!
//! On a screen that is too narrow, cells are first broken between words, then words are shortened in the middle, those
//! of one column, the one with the paths, last. Where not even the titles fit side by side, each row becomes a block of
//! `title: value` lines. In a locale without UTF-8 every character beyond ASCII is escaped. Scripts are served by
//! `--json`, not by this.

use std::env;
use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::sys;

/// Where a terminal does not tell its width.
const WIDTH: u16 = 80;
/// Blanks between columns.
const GAP: usize = 2;
/// What stands for the middle of a word that was shortened.
const CUT: &str = "...";
/// A word is shortened to no less: of its beginning and its end a few letters stay.
const SHORT_MIN: usize = 9;

/// What a table is shown on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Screen {
    /// Columns. `None`: as many as are needed.
    pub width: Option<u16>,
    /// Whether it shows more than ASCII.
    pub is_utf8: bool,
}

impl Screen {
    /// That of a file.
    pub const UNBOUNDED: Screen = Screen { width: None, is_utf8: true };

    /// Standard output as it is: `COLUMNS`, the terminal's width, or no limit; `LC_ALL`, `LC_CTYPE`, `LANG`.
    pub fn of_stdout() -> Screen {
        let stdout = io::stdout();
        let width = asked_width().or_else(|| stdout.is_terminal().then(|| width_of(stdout.as_fd())));
        Screen { width, is_utf8: is_utf8_locale() }
    }

    /// A sentence as it can show it.
    pub fn text(self, text: &str) -> String {
        if self.is_utf8 { text.to_owned() } else { ascii(text) }
    }
}

/// Columns of a terminal: `COLUMNS`, or what it says itself.
pub fn width_of(terminal: BorrowedFd<'_>) -> u16 {
    let own = || sys::terminal_width(terminal.as_raw_fd()).filter(|width| *width > 0);
    asked_width().or_else(own).unwrap_or(WIDTH)
}

fn asked_width() -> Option<u16> {
    env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok()).filter(|width| *width > 0)
}

/// Lays out `rows`, each with one cell a title; the column `last` is the last to be shortened. Every line ends with a
/// newline.
pub fn render(titles: &[&str], last: usize, rows: &[Vec<String>], screen: Screen) -> String {
    debug_assert!(last < titles.len() && rows.iter().all(|row| row.len() == titles.len()), "a row has a cell a title");
    let shown = |cell: &String| screen.text(cell);
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(shown).collect()).collect();
    let titled: Vec<Vec<String>> = [titles.iter().map(ToString::to_string).collect()].into_iter().chain(rows).collect();
    let Some(widths) = widths(&titled, last, screen.width.map_or(usize::MAX, usize::from)) else {
        return blocks(titles, &titled[1..]);
    };
    titled.iter().map(|row| laid_out(row, &widths)).collect()
}

/// How wide each column is. `None`: they do not fit, however they are shortened.
fn widths(rows: &[Vec<String>], last: usize, screen: usize) -> Option<Vec<usize>> {
    let columns = rows[0].len();
    let widest = |column: usize, width: fn(&str) -> usize| rows.iter().map(|row| width(&row[column])).max();
    let of = |width: fn(&str) -> usize| (0..columns).map(|column| widest(column, width).unwrap_or(0)).collect();
    let (mut widths, words): (Vec<usize>, Vec<usize>) = (of(UnicodeWidthStr::width), of(longest_word));
    let shortest = |column: usize| rows[0][column].width().max(SHORT_MIN).min(words[column]);
    let mut excess = (widths.iter().sum::<usize>() + GAP * (columns - 1)).saturating_sub(screen);
    let others = || (0..columns).filter(|&column| column != last);
    // Twice over all others, then the last: broken between words, then the words themselves.
    let steps = others().map(|column| (column, words[column]));
    let steps = steps.chain(others().map(|column| (column, shortest(column)))).chain([(last, shortest(last))]);
    for (column, least) in steps {
        let given = widths[column].saturating_sub(least).min(excess);
        widths[column] -= given;
        excess -= given;
    }
    (excess == 0).then_some(widths)
}

fn longest_word(cell: &str) -> usize {
    cell.split(' ').map(UnicodeWidthStr::width).max().unwrap_or(0)
}

/// The lines of one row.
fn laid_out(row: &[String], widths: &[usize]) -> String {
    let cells: Vec<Vec<String>> = row.iter().zip(widths).map(|(cell, &width)| broken(cell, width)).collect();
    let height = cells.iter().map(Vec::len).max().unwrap_or(0);
    let mut text = String::new();
    for line in 0..height {
        let mut shown = String::new();
        for (cell, &width) in cells.iter().zip(widths) {
            let part = cell.get(line).map_or("", String::as_str);
            shown.push_str(part);
            shown.push_str(&" ".repeat(width - part.width() + GAP));
        }
        text.push_str(shown.trim_end());
        text.push('\n');
    }
    text
}

/// A cell in lines of at most `width`: between words where it can be, within words where it must.
fn broken(cell: &str, width: usize) -> Vec<String> {
    if cell.width() <= width {
        return vec![cell.to_owned()];
    }
    let mut lines: Vec<String> = Vec::new();
    for word in cell.split(' ').map(|word| shortened(word, width)) {
        match lines.last_mut() {
            Some(line) if line.width() + 1 + word.width() <= width => {
                line.push(' ');
                line.push_str(&word);
            }
            _ => lines.push(word),
        }
    }
    lines
}

/// A word without its middle, so that it is at most `width` wide. Its end says more than its beginning.
fn shortened(word: &str, width: usize) -> String {
    if word.width() <= width {
        return word.to_owned();
    }
    let kept = width.saturating_sub(CUT.len());
    let start = fitting(word.chars(), kept / 2);
    let end: Vec<char> = fitting(word.chars().rev(), kept - kept / 2);
    start.into_iter().chain(CUT.chars()).chain(end.into_iter().rev()).collect()
}

fn fitting(chars: impl Iterator<Item = char>, width: usize) -> Vec<char> {
    let mut left = width;
    let fits = |c: &char| {
        let rest = left.checked_sub(c.width().unwrap_or(0));
        left = rest.unwrap_or(left);
        rest.is_some()
    };
    chars.take_while(fits).collect()
}

fn blocks(titles: &[&str], rows: &[Vec<String>]) -> String {
    let block = |row: &Vec<String>| lines(titles.iter().zip(row).map(|(title, cell)| format!("{title}: {cell}")));
    rows.iter().map(block).collect::<Vec<_>>().join("\n")
}

fn lines(lines: impl Iterator<Item = String>) -> String {
    lines.flat_map(|line| [line, "\n".to_owned()]).collect()
}

fn ascii(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_ascii() { vec![c] } else { c.escape_default().collect() }).collect()
}

/// What the first of the three variables that is set says. None is set: `C`, which has ASCII alone.
fn is_utf8_locale() -> bool {
    let set = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().filter_map(|name| env::var(name).ok());
    let locale = set.into_iter().find(|value| !value.is_empty()).unwrap_or_default().to_ascii_lowercase();
    locale.ends_with("utf-8") || locale.ends_with("utf8") || locale.contains("utf-8@")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Vec<String>> {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        vec![row(["app", "/run/standpipe/app", "yes"]), row(["größe", &"/run/standpipe/a/long/path".repeat(5), "no"])]
    }

    const TITLES: [&str; 3] = ["PIPE", "TARGET", "HELD"];

    fn shown(rows: &[Vec<String>], width: Option<u16>) -> String {
        render(&TITLES, 1, rows, Screen { width, is_utf8: true })
    }

    #[test]
    fn a_table_is_no_wider_than_its_screen() {
        for width in [80, 40, 30, 20, 10, 1] {
            let text = shown(&rows(), Some(width));
            let widest = text.lines().map(|line| line.chars().count()).max().unwrap();
            assert!(widest <= usize::from(width) || width < 25, "{width}\n{text}");
            assert!(text.contains("app") && text.ends_with('\n'), "{text}");
        }
        assert_eq!(shown(&rows()[..1], Some(10)), "PIPE: app\nTARGET: /run/standpipe/app\nHELD: yes\n");
    }

    #[test]
    fn without_a_screen_nothing_is_broken_or_shortened() {
        let text = shown(&rows(), None);
        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(text.contains(&rows()[1][1]), "{text}");
    }

    #[test]
    fn other_columns_give_way_before_the_paths_and_a_path_keeps_its_ends() {
        let rows = [["web", "/run/standpipe/some/where/web", "reader 17, myserver 1234"].map(str::to_owned).to_vec()];
        assert_eq!(
            shown(&rows, Some(50)),
            "PIPE  TARGET                         HELD\n\
             web   /run/standpipe/some/where/web  reader 17,\n\
             \u{20}                                    myserver 1234\n"
        );
        let narrow = shown(&rows, Some(32));
        assert!(narrow.contains("  /run/s...ere/web  reader\n"), "{narrow}");
        assert_eq!(shortened("日本語のログ", 10), "日...ログ");
    }

    #[test]
    fn a_screen_without_utf_8_gets_ascii() {
        let text = render(&TITLES, 1, &rows(), Screen { width: None, is_utf8: false });
        assert!(text.is_ascii() && text.contains("gr\\u{f6}\\u{df}e"), "{text}");
    }
}
