//! The faults of a project, each with its file and key. All of them are reported at once.

use std::fmt;

/// One fault.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// The file, relative to the workspace.
    pub file: String,
    /// The key in the file, as its author writes it. Empty for the file as a whole.
    pub key: String,
    /// The reason, and what to do.
    pub reason: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key.as_str() {
            "" => write!(f, "{}: {}", self.file, self.reason),
            key => write!(f, "{}: {key}: {}", self.file, self.reason),
        }
    }
}

/// The faults that were found, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults(Vec<Fault>);

impl Faults {
    /// Adds a fault.
    pub fn add(&mut self, file: impl Into<String>, key: impl Into<String>, reason: impl fmt::Display) {
        self.0.push(Fault { file: file.into(), key: key.into(), reason: reason.to_string() });
    }

    /// Returns the value of a result, or adds its faults to these.
    pub fn take<T>(&mut self, result: Result<T, Self>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(faults) => {
                self.0.extend(faults.0);
                None
            }
        }
    }

    /// Returns the value if there are no faults.
    pub fn none_or<T>(self, value: T) -> Result<T, Self> {
        if self.0.is_empty() { Ok(value) } else { Err(self) }
    }

    /// Iterates over the faults, in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Fault> {
        self.0.iter()
    }
}

impl<'a> IntoIterator for &'a Faults {
    type Item = &'a Fault;
    type IntoIter = std::slice::Iter<'a, Fault>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [fault] => fault.fmt(f),
            faults => {
                write!(f, "{} faults", faults.len())?;
                faults.iter().try_for_each(|fault| write!(f, "\n  {fault}"))
            }
        }
    }
}

impl std::error::Error for Faults {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_printed_with_file_and_key() {
        let mut faults = Faults::default();
        faults.add("a/src/lib.rs", "timeout", "too long");
        assert_eq!(faults.to_string(), "a/src/lib.rs: timeout: too long");
        faults.add("lamplighter.toml", "", "cannot be read");
        assert_eq!(
            faults.to_string(),
            "2 faults\n  a/src/lib.rs: timeout: too long\n  lamplighter.toml: cannot be read"
        );
    }
}
