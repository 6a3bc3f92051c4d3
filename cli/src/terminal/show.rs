//! Rows for people: aligned columns, and a sign and a colour for each status.

use std::array;

use anstyle::{AnsiColor, Style};
use lamplighter_aws::table::UnreadableItem;
use lamplighter_core::status::Status;

use crate::{
    terminal::{
        output,
        text::{cut, escaped, fitted, folded, width},
    },
    tr,
    words::Words,
};

/// The spaces between columns.
const GAP: usize = 2;
/// The least width of a column that was cut, in columns of the terminal.
const WORTH_READING: usize = 8;

/// The sign and the style of a status.
pub fn sign(status: Status) -> (&'static str, Style) {
    let colour = |colour: AnsiColor| Style::new().fg_color(Some(colour.into()));
    match status {
        Status::Completed => ("✓", colour(AnsiColor::Green)),
        Status::Failed | Status::Timeout => ("✗", colour(AnsiColor::Red)),
        Status::Cancelled | Status::Blocked => ("■", colour(AnsiColor::Yellow)),
        Status::Pending | Status::Running => ("…", colour(AnsiColor::Cyan)),
        Status::Skipped => ("-", Style::new().dimmed()),
    }
}

/// Reports items of the table that could not be read, on standard error.
pub fn unreadable(words: &Words, items: &[UnreadableItem]) {
    for UnreadableItem { key, cause } in items {
        output::note(tr!(words, "history-unreadable", key = key, cause = cause));
    }
}

/// Aligns the columns of rows by their displayed width, `indent` columns from the left. If the rows do not fit the
/// terminal, the widest columns are cut, with an ellipsis.
pub fn table<const N: usize>(words: &Words, indent: usize, rows: &[[String; N]]) -> Vec<String> {
    let room = words.columns().map(|edge| edge.saturating_sub(indent));
    let mut widths: [usize; N] =
        array::from_fn(|column| rows.iter().map(|row| width(&escaped(&row[column]))).max().unwrap_or(0));
    let gap = room.map_or(GAP, |room| narrow(&mut widths, room));
    let line = |row: &[String; N]| {
        let cells: Vec<_> = row.iter().zip(widths).map(|(cell, width)| fitted(cell, width)).collect();
        let line = cells.join(&" ".repeat(gap));
        let line = line.trim_end();
        // Cuts only if the terminal is too narrow for one character of each column.
        room.map_or(line.to_owned(), |room| cut(line, room).into_owned())
    };
    rows.iter().map(line).collect()
}

/// Same as [`table`], with the sign of its status before each row. `indent` includes the sign.
pub fn signed<const N: usize>(words: &Words, indent: usize, rows: &[(Status, [String; N])]) -> Vec<String> {
    let cells: Vec<_> = rows.iter().map(|(_, cells)| cells.clone()).collect();
    let line = |((status, _), line): (&(Status, [String; N]), String)| {
        let (sign, style) = sign(*status);
        format!("{style}{sign}{style:#} {line}")
    };
    rows.iter().zip(table(words, indent, &cells)).map(line).collect()
}

/// Wraps a text between words. Lines after the first are indented by `indent` more columns.
pub fn wrapped(words: &Words, indent: usize, text: &str) -> Vec<String> {
    match words.columns() {
        Some(edge) => folded(text, indent, edge),
        None => vec![escaped(text).into_owned()],
    }
}

/// Shrinks the widest columns until all fit, and returns the gap between them. Each column keeps [`WORTH_READING`] columns
/// or, in a very narrow terminal, one character.
fn narrow<const N: usize>(widths: &mut [usize; N], room: usize) -> usize {
    for width in widths.iter_mut() {
        *width = (*width).min(room);
    }
    for (gap, least) in [(GAP, WORTH_READING), (1, 1)] {
        let gaps = gap * N.saturating_sub(1);
        while widths.iter().sum::<usize>() + gaps > room {
            match widths.iter_mut().max() {
                Some(widest) if *widest > least => *widest -= 1,
                _ => break,
            }
        }
        if widths.iter().sum::<usize>() + gaps <= room {
            return gap;
        }
    }
    1
}

#[cfg(test)]
mod tests {
    use proptest::{prelude::*, sample::select};

    use super::*;
    use crate::{terminal::text::tests::text, words::Locale};

    fn rows() -> Vec<[String; 3]> {
        let row = |cells: [&str; 3]| cells.map(str::to_owned);
        vec![
            row(["a", "short", "a message that says\nwhat went wrong, and why"]),
            row(["zażółć", "日本", ""]),
            row(["b", "", "\u{1b}[31mred"]),
        ]
    }

    #[test]
    fn k03_columns_are_aligned_by_their_visible_width() {
        let words = Words::new(Locale::En);
        assert_eq!(
            table(&words, 0, &rows()),
            [
                r"a       short  a message that says\nwhat went wrong, and why",
                "zażółć  日本",
                r"b              \u{1b}[31mred"
            ]
        );
    }

    #[test]
    fn k03_a_table_fits_its_terminal() {
        let words = Words::new(Locale::En).with_width(Some(40));
        assert_eq!(table(&words, 2, &rows())[0], "a       short  a message that says\\nw…");
        let words = Words::new(Locale::En).with_width(Some(20));
        assert_eq!(table(&words, 2, &rows()), ["a      short a me…", "zażółć 日本", "b            \\u{1…"]);
    }

    proptest! {
        #[test]
        fn any_row_fits_and_its_columns_stay_aligned(
            cells in proptest::collection::vec(proptest::array::uniform6(text()), 1..5),
            columns in 20_usize..300,
            indent in select(&[0_usize, 2, 6][..]),
        ) {
            let words = Words::new(Locale::En).with_width(Some(columns));
            let lines = table(&words, indent, &cells);
            prop_assert!(lines.iter().all(|line| indent + width(line) <= columns), "{lines:#?}");
            // A marker in the last column shows where that begins.
            let marked: Vec<_> = cells.iter().map(|[a, b, c, d, e, _]| {
                [a, b, c, d, e, "|"].map(|cell: &str| cell.to_owned())
            }).collect();
            let lines = table(&words, indent, &marked);
            let starts: Vec<_> = lines.iter().map(|line| line.strip_suffix('|').map(width)).collect();
            prop_assert!(starts[0].is_some() && starts.iter().all(|start| *start == starts[0]), "{lines:#?}");
        }
    }
}
