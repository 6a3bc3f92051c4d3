//! Why a text is not a schedule, shown where it is wrong.

use std::{fmt, ops::Range};

/// Why a text is not a schedule. It displays itself in three lines: the reason, the text, and
/// carets under the fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidSchedule {
    /// What was given.
    pub text: String,
    /// What is wrong with it, and what may stand there.
    pub reason: String,
    /// The bytes of the text that are at fault; none if something is missing at that place.
    pub span: Range<usize>,
    /// What may have been meant.
    pub hint: Option<String>,
}

impl InvalidSchedule {
    pub(super) fn new(text: &str, span: Range<usize>, reason: impl Into<String>) -> Self {
        Self { text: text.to_owned(), reason: reason.into(), span, hint: None }
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
        if self.text.trim().is_empty() {
            return Ok(());
        }
        let before = self.text.get(..self.span.start).unwrap_or_default().chars().count();
        let at_fault = self.text.get(self.span.clone()).unwrap_or_default().chars().count().max(1);
        write!(f, "\n  {}\n  {}{}", shown(&self.text), " ".repeat(before), "^".repeat(at_fault))
    }
}

/// The text as it can stand in one line, each character in its own place.
fn shown(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
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
