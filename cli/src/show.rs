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

/// A duration as people say it: `85 ms`, `1.2 s`, `2 min 5 s`.
pub fn duration(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..60_000 => format!("{}.{} s", ms / 1_000, ms % 1_000 / 100),
        _ => format!("{} min {} s", ms / 60_000, ms % 60_000 / 1_000),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_said_as_people_say_them() {
        assert_eq!([85, 1_250, 125_000].map(duration), ["85 ms", "1.2 s", "2 min 5 s"]);
    }
}
