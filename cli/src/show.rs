//! Runs and deployments as people read them: aligned lines, a sign and a colour by status, the reason at the end.

use std::{array, borrow::Cow};

use anstream::eprintln;
use anstyle::{AnsiColor, Style};
use lamplighter_aws::table::Unreadable;
use lamplighter_core::status::Status;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::{say, words::Words};

/// What stands between columns.
const GAP: &str = "  ";
/// What is left of a column at least, in columns of the terminal.
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

/// Tells, beside the output, of items of the table that could not be read.
pub fn unreadable(words: &Words, items: &[Unreadable]) {
    for Unreadable { key, cause } in items {
        eprintln!("{}", say!(words, "history-unreadable", key = key, cause = cause));
    }
}

/// Rows with their columns aligned by the width that is seen, `indent` columns from the left. What does not fit between
/// that and the edge is cut from the widest columns, with an ellipsis.
pub fn table<const N: usize>(words: &Words, indent: usize, rows: &[[String; N]]) -> Vec<String> {
    let rows: Vec<[String; N]> = rows.iter().map(|row| row.each_ref().map(|cell| one_line(cell))).collect();
    let mut widths: [usize; N] =
        array::from_fn(|column| rows.iter().map(|row| row[column].width()).max().unwrap_or(0));
    if let Some(edge) = words.columns() {
        narrow(&mut widths, edge.saturating_sub(indent));
    }
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| {
            let cell = shortened(cell, width);
            let gap = " ".repeat(width - cell.width());
            format!("{cell}{gap}")
        });
        cells.collect::<Vec<_>>().join(GAP).trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

/// Rows as [`table`] shows them, each behind the sign of its status. `indent` counts the sign.
pub fn signed<const N: usize>(words: &Words, indent: usize, rows: &[(Status, [String; N])]) -> Vec<String> {
    let cells: Vec<_> = rows.iter().map(|(_, cells)| cells.clone()).collect();
    let line = |((status, _), line): (&(Status, [String; N]), String)| {
        let (sign, style) = sign(*status);
        format!("{style}{sign}{style:#} {line}")
    };
    rows.iter().zip(table(words, indent, &cells)).map(line).collect()
}

/// A text in as many lines as it needs to fit, broken between words; those after the first begin `indent` columns further
/// right.
pub fn wrapped(words: &Words, indent: usize, text: &str) -> Vec<String> {
    let Some(edge) = words.columns() else { return vec![text.to_owned()] };
    let start = text.len() - text.trim_start().len();
    let mut lines = Vec::new();
    let mut line = text[..start].to_owned();
    let mut is_begun = false;
    for word in text.split_whitespace() {
        if is_begun && line.width() + 1 + word.width() > edge {
            lines.push(std::mem::replace(&mut line, " ".repeat(start + indent)));
            is_begun = false;
        }
        if is_begun {
            line.push(' ');
        }
        line.push_str(word);
        is_begun = true;
    }
    lines.push(line);
    lines
}

/// A text of several lines as one, without what would move a terminal's cursor.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Takes from the widest columns until all fit, but leaves each what is worth reading.
fn narrow<const N: usize>(widths: &mut [usize; N], room: usize) {
    let gaps = GAP.len() * N.saturating_sub(1);
    while widths.iter().sum::<usize>() + gaps > room {
        match widths.iter_mut().max() {
            Some(widest) if *widest > WORTH_READING => *widest -= 1,
            _ => return,
        }
    }
}

/// A text of at most so many columns, which ends in an ellipsis if something was cut.
pub fn shortened(text: &str, columns: usize) -> Cow<'_, str> {
    if text.width() <= columns {
        return Cow::Borrowed(text);
    }
    let mut left = columns.saturating_sub(1);
    let fits = |c: &char| {
        let fits = c.width().unwrap_or(0) <= left;
        left = left.saturating_sub(c.width().unwrap_or(0));
        fits
    };
    let kept: String = text.chars().take_while(fits).collect();
    Cow::Owned(format!("{}…", kept.trim_end()))
}

/// Rows with their columns aligned by the characters that are seen; the last column is left as it is.
pub fn aligned<const N: usize>(rows: &[[String; N]]) -> Vec<String> {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let line = |row: &[String; N]| {
        let cells = row.iter().enumerate().map(|(i, cell)| format!("{cell:0$}", width(i)));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::Locale;

    fn rows() -> Vec<[String; 3]> {
        let row = |cells: [&str; 3]| cells.map(str::to_owned);
        vec![
            row(["a", "short", "a message that says\nwhat went wrong, and why"]),
            row(["zażółć", "日本", ""]),
            row(["b", "", "\u{1b}[31mred"]),
        ]
    }

    #[test]
    fn k03_columns_are_aligned_by_what_is_seen() {
        let words = Words::new(Locale::En);
        assert_eq!(
            table(&words, 0, &rows()),
            [
                "a       short  a message that says what went wrong, and why",
                "zażółć  日本",
                "b               [31mred"
            ]
        );
    }

    #[test]
    fn k03_a_table_fits_its_terminal() {
        for columns in [10, 30, 31, 40, 60, 80] {
            let words = Words::new(Locale::En).within(Some(columns));
            let lines = table(&words, 2, &rows());
            let widest = lines.iter().map(|line| line.width()).max().unwrap_or(0);
            // Below that each column has been left what is worth reading.
            assert!(widest + 2 <= columns.max(27), "{lines:#?} in {columns}");
        }
        let words = Words::new(Locale::En).within(Some(40));
        assert_eq!(table(&words, 2, &rows())[0], "a       short  a message that says wh…");
    }

    #[test]
    fn what_is_cut_says_so() {
        assert_eq!(
            [3, 4, 5].map(|columns| shortened("abcde", columns).into_owned()),
            ["ab…", "abc…", "abcde"]
        );
        assert_eq!(shortened("日本語", 4), "日…");
        assert_eq!(shortened("abc", 0), "…");
    }
}
