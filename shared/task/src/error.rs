//! What a body fails with: any error, by `?`.

use std::{error::Error, fmt};

use lamplighter_core::run::ErrorKind;

/// An error of a body. Anything that is an error becomes one by `?`, and is then worth another attempt; `.fatal()`
/// on the result says that it is not.
pub struct TaskError {
    source: Box<dyn Error + Send + Sync>,
    kind: ErrorKind,
    fatal: bool,
}

impl TaskError {
    /// An error that is only a message.
    pub fn new(message: impl Into<String>) -> Self {
        Self { source: message.into().into(), kind: ErrorKind::Execution, fatal: false }
    }

    /// What the task was given cannot be right, and only somebody's change of it will mend that: not worth another
    /// attempt, and recorded as an error of the configuration.
    pub fn configuration(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Configuration, fatal: true, ..Self::new(message) }
    }

    /// What the task depends on did not do its part. Worth another attempt, as it may by then, and recorded as an error
    /// of a dependency.
    pub fn dependency(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Dependency, ..Self::new(message) }
    }

    /// The same error, not worth another attempt.
    #[must_use]
    pub fn fatal(self) -> Self {
        Self { fatal: true, ..self }
    }

    /// The same error, as what kept something from happening, and as of another kind.
    pub(crate) fn told_of(self, what: &str, kind: ErrorKind) -> Self {
        Self { source: format!("{what}: {self}").into(), kind, fatal: self.fatal }
    }

    /// What kind of thing went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether another attempt is worthless.
    pub fn is_fatal(&self) -> bool {
        self.fatal
    }
}

/// The message, and those of all its causes that it does not already say.
impl fmt::Display for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = self.source.to_string();
        f.write_str(&said)?;
        let mut cause = self.source.source();
        while let Some(error) = cause {
            let message = error.to_string();
            if !said.contains(&message) {
                write!(f, ": {message}")?;
                said = message;
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

/// `.fatal()` on a result: its error is not worth another attempt. The error keeps its causes.
pub trait Fatal<T> {
    /// The same result with an error that ends the run.
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
    #[error("the database is away")]
    struct Away(#[source] std::io::Error);

    #[test]
    fn an_error_keeps_its_causes_and_is_retryable_until_said_otherwise() {
        let away = || Err::<(), _>(Away(std::io::Error::other("connection refused")));
        let error = (|| -> Result<(), TaskError> { Ok(away()?) })().unwrap_err();
        assert_eq!(error.to_string(), "the database is away: connection refused");
        assert!(!error.is_fatal());
        assert!(away().fatal().unwrap_err().is_fatal());
        assert!(Err::<(), _>(TaskError::new("no")).fatal().unwrap_err().is_fatal());
    }
}
