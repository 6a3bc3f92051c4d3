//! Runs and deployments as people read them: aligned lines, a sign and a colour by status, the reason at the end.

use anstyle::{AnsiColor, Style};
use lamplighter_core::status::Status;

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

/// Rows with their columns aligned by the characters that are seen; the last column is left as it is.
pub fn aligned<const N: usize>(rows: &[[String; N]]) -> Vec<String> {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let line = |row: &[String; N]| {
        let cells = row.iter().enumerate().map(|(i, cell)| format!("{cell:0$}", width(i)));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}
