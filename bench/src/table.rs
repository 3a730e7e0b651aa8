//! Tables and figures as docs/measured.md takes them: Markdown, aligned, whole in one piece.

use std::fmt;

/// A table under construction.
#[derive(Clone, Debug, Default)]
pub struct Table {
    titles: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// With these columns; all but the first hold numbers, and stand at the right.
    pub fn new(titles: &[&str]) -> Table {
        Table { titles: titles.iter().map(|&title| title.to_owned()).collect(), rows: Vec::new() }
    }

    /// One more row, with a cell for each column.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column)).chain(self.titles.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0).max(3)
        };
        let widths: Vec<usize> = (0..self.titles.len()).map(width).collect();
        let write_row = |f: &mut fmt::Formatter<'_>, cells: &[String]| {
            for (column, &width) in widths.iter().enumerate() {
                let cell = cells.get(column).map_or("", String::as_str);
                if column == 0 { write!(f, "| {cell:width$} ")? } else { write!(f, "| {cell:>width$} ")? }
            }
            writeln!(f, "|")
        };
        write_row(f, &self.titles)?;
        for (column, &width) in widths.iter().enumerate() {
            let line = "-".repeat(width + 1);
            if column == 0 { write!(f, "|{line}-")? } else { write!(f, "|{line}:")? }
        }
        writeln!(f, "|")?;
        self.rows.iter().try_for_each(|row| write_row(f, row))
    }
}

/// What a figure must keep to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bound {
    /// This or more.
    AtLeast(f64),
    /// This or less.
    AtMost(f64),
}

/// A figure that is required.
#[derive(Clone, Debug)]
pub struct Figure {
    what: String,
    got: f64,
    bound: Bound,
    unit: &'static str,
}

impl Figure {
    /// `what` came to `got`; `unit` may be empty.
    pub fn new(what: impl Into<String>, got: f64, bound: Bound, unit: &'static str) -> Figure {
        Figure { what: what.into(), got, bound, unit }
    }

    /// Whether it keeps to its bound. What could not be measured does not.
    pub fn is_met(&self) -> bool {
        match self.bound {
            Bound::AtLeast(least) => self.got >= least,
            Bound::AtMost(most) => self.got <= most,
        }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = if self.unit.is_empty() { String::new() } else { format!(" {}", self.unit) };
        let (sign, bound) = match self.bound {
            Bound::AtLeast(least) => (">=", least),
            Bound::AtMost(most) => ("<=", most),
        };
        let met = if self.is_met() { "met" } else { "not met" };
        if self.got.is_finite() {
            write!(f, "- {met}: {} {}{unit}, required {sign} {bound}{unit}", self.what, number(self.got))
        } else {
            write!(f, "- {met}: {} could not be measured, required {sign} {bound}{unit}", self.what)
        }
    }
}

/// A number with three digits that count.
pub fn number(value: f64) -> String {
    match value.abs() {
        _ if !value.is_finite() => "-".to_owned(),
        size if size < 1e-9 => "0".to_owned(),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_aligned_markdown() {
        let mut table = Table::new(&["sink", "MB/s"]);
        table.row(["cat > file".to_owned(), "1234".to_owned()]);
        let expected = "| sink       | MB/s |\n|------------|-----:|\n| cat > file | 1234 |\n";
        assert_eq!(table.to_string(), expected);
    }

    #[test]
    fn a_figure_is_met_at_its_bound_and_never_without_a_number() {
        for (got, bound, met) in [
            (0.8, Bound::AtLeast(0.8), true),
            (0.799, Bound::AtLeast(0.8), false),
            (0.25, Bound::AtMost(0.25), true),
            (0.2501, Bound::AtMost(0.25), false),
            (f64::NAN, Bound::AtMost(1.0), false),
            (f64::NAN, Bound::AtLeast(1.0), false),
        ] {
            assert_eq!(Figure::new("it", got, bound, "").is_met(), met, "{got} {bound:?}");
        }
        let figure = Figure::new("HUP", 61.25, Bound::AtMost(50.0), "ms");
        assert_eq!(figure.to_string(), "- not met: HUP 61.2 ms, required <= 50 ms");
    }
}
