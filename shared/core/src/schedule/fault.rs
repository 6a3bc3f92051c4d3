//! The error of a text that is not a schedule, with the place of the fault.

use std::{fmt, ops::Range};

/// The error of a text that is not a schedule. It displays three lines: the reason, the text, and carets
/// under the fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidSchedule {
    /// The given text.
    pub text: String,
    /// The fault, and what is allowed.
    pub reason: String,
    /// The bytes at fault; an empty range if something is missing there.
    pub span: Range<usize>,
    /// A suggestion.
    pub hint: Option<String>,
}

impl InvalidSchedule {
    pub(super) fn new(text: &str, span: Range<usize>, reason: impl Into<String>) -> Self {
        Self { text: text.to_owned(), reason: shown(&reason.into()), span, hint: None }
    }

    /// Finds the first character that looks like a space or is invisible, and is not an ASCII space.
    pub(super) fn of_spaces(text: &str) -> Option<Self> {
        let (at, found) = text.char_indices().find(|(_, c)| {
            !c.is_ascii_whitespace() && (c.is_whitespace() || c.is_control() || is_invisible(*c))
        })?;
        let code = u32::from(found);
        let reason = format!("U+{code:04X} stands in it, which looks like a space or like nothing");
        let fault = Self::new(text, at..at + found.len_utf8(), reason);
        Some(fault.hint("between fields and words stand plain spaces or tabs"))
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl std::error::Error for InvalidSchedule {}

impl fmt::Display for InvalidSchedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is not a schedule: {}", shown(&self.text), self.reason)?;
        if let Some(hint) = &self.hint {
            write!(f, "; {hint}")?;
        }
        if self.text.trim_ascii().is_empty() {
            return Ok(());
        }
        let width = |part: Option<&str>| shown(part.unwrap_or_default()).chars().count();
        let before = width(self.text.get(..self.span.start));
        let at_fault = width(self.text.get(self.span.clone())).max(1);
        write!(f, "\n  {}\n  {}{}", shown(&self.text), " ".repeat(before), "^".repeat(at_fault))
    }
}

/// Returns the text in one line, with no invisible characters.
fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            c if c.is_ascii_whitespace() => shown.push(' '),
            c if c.is_whitespace() || c.is_control() || is_invisible(c) => shown.extend(c.escape_unicode()),
            c => shown.push(c),
        }
    }
    shown
}

/// Returns whether a character is invisible: it has no width, or changes the direction of the text.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c02_carets_stand_under_the_fault() {
        let fault = InvalidSchedule::new("ü\t61 *", 3..5, "no").hint("did you mean 6?");
        assert_eq!(fault.to_string(), "`ü 61 *` is not a schedule: no; did you mean 6?\n  ü 61 *\n    ^^");
        let empty = InvalidSchedule::new("", 0..0, "nothing stands there");
        assert_eq!(empty.to_string(), "`` is not a schedule: nothing stands there");
    }
}
