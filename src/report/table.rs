//! A text table that fits a terminal: columns are measured in terminal columns; the least important
//! go when there is no room, and the first one is cut last.

use crate::wording::{columns, fit, fit_right};

const GAP: usize = 2;
/// Narrowest the first column gets.
const FIRST_MIN: usize = 12;

/// A column.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) title: &'static str,
    pub(super) right: bool,
    /// Columns with a higher rank go first when there is no room; 0 stays.
    pub(super) rank: u8,
}

/// Rows under columns; every row has a cell for each.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) columns: Vec<Column>,
    pub(super) rows: Vec<Vec<String>>,
}

/// The lines of a table and the titles it has no room for.
#[derive(Debug)]
pub(super) struct Rendered {
    /// Heading first, then one line per row.
    pub(super) lines: Vec<String>,
    pub(super) left_out: Vec<&'static str>,
}

impl Table {
    /// Returns the lines, none wider than `width`.
    pub(super) fn render(&self, width: usize) -> Rendered {
        let mut shown: Vec<(usize, &Column, usize)> =
            self.columns.iter().enumerate().map(|(i, c)| (i, c, self.natural(i, c))).collect();
        let mut left_out = Vec::new();
        let total = |shown: &[(usize, &Column, usize)]| {
            shown.iter().map(|(_, _, w)| w + GAP).sum::<usize>().saturating_sub(GAP)
        };
        while total(&shown) > width {
            // First what is least important; then the first column gives way.
            let first_can_give = shown.first().map_or(0, |(_, _, w)| w.saturating_sub(FIRST_MIN));
            let over = total(&shown) - width;
            let ranked = shown.iter().enumerate().filter(|(_, (_, c, _))| c.rank > 0);
            let goes = ranked.max_by_key(|(_, (_, c, _))| c.rank).map(|(at, (_, c, _))| (at, c.title));
            match (goes, shown.first_mut()) {
                (_, Some(first)) if over <= first_can_give => first.2 -= over,
                (Some((at, title)), _) => {
                    left_out.push(title);
                    shown.remove(at);
                }
                (None, Some(first)) => {
                    first.2 = first.2.saturating_sub(over).max(1);
                    break;
                }
                (None, None) => break,
            }
        }
        let line = |cells: &dyn Fn(usize, &Column) -> String| {
            let cells: Vec<String> = shown
                .iter()
                .map(|(i, c, w)| if c.right { fit_right(&cells(*i, c), *w) } else { fit(&cells(*i, c), *w) })
                .collect();
            cells.join("  ").trim_end().to_owned()
        };
        let mut lines = vec![line(&|_, c| c.title.to_owned())];
        lines.extend(self.rows.iter().map(|row| line(&|i, _| row.get(i).cloned().unwrap_or_default())));
        Rendered { lines, left_out }
    }

    fn natural(&self, i: usize, column: &Column) -> usize {
        let cells = self.rows.iter().filter_map(|r| r.get(i)).map(|c| columns(c));
        cells.chain([columns(column.title)]).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cut_before_columns_go() {
        let column = |title, right, rank| Column { title, right, rank };
        let columns = vec![column("node", false, 0), column("bytes", true, 1), column("bundle", false, 2)];
        let row = ["a-name-of-twenty-one!", "7", "file"].map(str::to_owned).to_vec();
        let table = Table { columns, rows: vec![row] };
        for (width, want, left_out) in [
            (80, "a-name-of-twenty-one!      7  file", &[][..]),
            (30, "a-name-of-twen…      7  file", &[]),
            (24, "a-name-of-twenty…      7", &["bundle"]),
            (13, "a-name-of-tw…", &["bundle", "bytes"]),
            (5, "a-na…", &["bundle", "bytes"]),
        ] {
            let rendered = table.render(width);
            assert_eq!((rendered.lines[1].as_str(), &rendered.left_out[..]), (want, left_out), "{width}");
        }
    }
}
