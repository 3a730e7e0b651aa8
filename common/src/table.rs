//! Tables for people: as wide as the terminal, 80 columns where there is none.
//!
//! Where not even the titles fit side by side, each row becomes a block of `title: value` lines. In a locale without
//! UTF-8 every character beyond ASCII is escaped. Scripts are served by `--json`, not by this.

use std::env;
use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, AsRawFd};

use comfy_table::{ContentArrangement, Table, presets};

use crate::sys;

/// Where there is no terminal.
const WIDTH: u16 = 80;

/// What a table is shown on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Screen {
    /// Columns.
    pub width: u16,
    /// Whether it shows more than ASCII.
    pub is_utf8: bool,
}

impl Screen {
    /// Standard output as it is: `COLUMNS`, the terminal's width, or 80; `LC_ALL`, `LC_CTYPE`, `LANG`.
    pub fn of_stdout() -> Screen {
        let columns = env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
        let stdout = io::stdout();
        let terminal = || stdout.is_terminal().then(|| sys::terminal_width(stdout.as_fd().as_raw_fd())).flatten();
        let width = columns.or_else(terminal).filter(|width| *width > 0).unwrap_or(WIDTH);
        Screen { width, is_utf8: is_utf8_locale() }
    }

    /// A sentence as it can show it.
    pub fn text(self, text: &str) -> String {
        if self.is_utf8 { text.to_owned() } else { ascii(text) }
    }
}

/// Lays out `rows`, each with one cell a title. Every line ends with a newline.
pub fn render(titles: &[&str], rows: &[Vec<String>], screen: Screen) -> String {
    let shown = |cell: &String| screen.text(cell);
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(shown).collect()).collect();
    // comfy-table puts two blanks between columns.
    let titles_width: usize = titles.iter().map(|title| title.len() + 2).sum();
    if titles_width > usize::from(screen.width) {
        return blocks(titles, &rows);
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic).set_width(screen.width);
    table.set_header(titles.to_vec());
    table.add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    lines(table.lines().map(|line| line.trim_end().to_owned()))
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

    #[test]
    fn a_table_is_no_wider_than_its_screen() {
        for width in [80, 40, 20, 10, 1] {
            let text = render(&["PIPE", "TARGET", "HELD"], &rows(), Screen { width, is_utf8: true });
            let widest = text.lines().map(|line| line.chars().count()).max().unwrap();
            assert!(widest <= usize::from(width) || width < 20, "{width}\n{text}");
            assert!(text.contains("app") && text.ends_with('\n'), "{text}");
        }
        let narrow = render(&["PIPE", "TARGET", "HELD"], &rows()[..1], Screen { width: 10, is_utf8: true });
        assert_eq!(narrow, "PIPE: app\nTARGET: /run/standpipe/app\nHELD: yes\n");
    }

    #[test]
    fn a_screen_without_utf_8_gets_ascii() {
        let text = render(&["PIPE", "TARGET", "HELD"], &rows(), Screen { width: 200, is_utf8: false });
        assert!(text.is_ascii() && text.contains("gr\\u{f6}\\u{df}e"), "{text}");
    }
}
