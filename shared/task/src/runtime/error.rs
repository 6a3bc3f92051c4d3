//! The error of a body.

use std::{error::Error, fmt};

use lamplighter_core::run::ErrorKind;

/// The error of a body. `?` converts any error into a retryable one; [`.fatal()`](Fatal::fatal) opts out of the retry.
///
/// ```
/// # use lamplighter::prelude::*;
/// fn port(text: &str) -> Result<u16, TaskError> {
///     // No retry can fix the text.
///     let port: u16 = text.parse().fatal()?;
///     if port == 0 {
///         return Err(TaskError::configuration("the port must not be 0"));
///     }
///     Ok(port)
/// }
/// assert!(port("http").unwrap_err().is_fatal());
/// ```
pub struct TaskError {
    source: Box<dyn Error + Send + Sync>,
    kind: ErrorKind,
    fatal: bool,
}

impl TaskError {
    /// Creates a retryable error with a message.
    pub fn new(message: impl Into<String>) -> Self {
        Self { source: message.into().into(), kind: ErrorKind::Execution, fatal: false }
    }

    /// Creates a fatal configuration error: the task's input is wrong, and only a change of it can help.
    pub fn configuration(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Configuration, fatal: true, ..Self::new(message) }
    }

    /// Creates a retryable dependency error: something that the task depends on failed.
    pub fn dependency(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Dependency, ..Self::new(message) }
    }

    /// Makes the error fatal: it is not retried.
    #[must_use]
    pub fn fatal(self) -> Self {
        Self { fatal: true, ..self }
    }

    /// Prefixes the message with `what`, and replaces the kind.
    pub(crate) fn in_context(self, what: &str, kind: ErrorKind) -> Self {
        Self { source: format!("{what}: {self}").into(), kind, fatal: self.fatal }
    }

    /// Returns the kind of the error.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Returns whether the error is not retried.
    pub fn is_fatal(&self) -> bool {
        self.fatal
    }
}

/// Writes the message, followed by those of its causes that it does not already contain.
impl fmt::Display for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut last = self.source.to_string();
        f.write_str(&last)?;
        let mut cause = self.source.source();
        while let Some(error) = cause {
            let message = error.to_string();
            if !last.contains(&message) {
                write!(f, ": {message}")?;
                last = message;
            }
            cause = error.source();
        }
        Ok(())
    }
}

impl fmt::Debug for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { source, kind, fatal } = self;
        f.debug_struct("TaskError").field("source", source).field("kind", kind).field("fatal", fatal).finish()
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for TaskError {
    fn from(source: E) -> Self {
        Self { source: Box::new(source), kind: ErrorKind::Execution, fatal: false }
    }
}

/// Marks the error of a `Result` as fatal. The error keeps its causes.
pub trait Fatal<T> {
    /// Converts the error into a [`TaskError`] that is not retried.
    fn fatal(self) -> Result<T, TaskError>;
}

impl<T, E: Into<TaskError>> Fatal<T> for Result<T, E> {
    fn fatal(self) -> Result<T, TaskError> {
        self.map_err(|error| error.into().fatal())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the database is down")]
    struct Down(#[source] std::io::Error);

    #[test]
    fn an_error_keeps_its_causes_and_is_retryable_unless_fatal() {
        let down = || Err::<(), _>(Down(std::io::Error::other("connection refused")));
        let error = (|| -> Result<(), TaskError> { Ok(down()?) })().unwrap_err();
        assert_eq!(error.to_string(), "the database is down: connection refused");
        assert!(!error.is_fatal());
        assert!(down().fatal().unwrap_err().is_fatal());
        assert!(Err::<(), _>(TaskError::new("no")).fatal().unwrap_err().is_fatal());
    }
}
