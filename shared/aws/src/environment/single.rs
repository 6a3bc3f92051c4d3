//! Reading a single variable.

use std::{env, ffi::OsString};

/// A variable that is not UTF-8 text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} is not UTF-8 text")]
pub struct NotText {
    /// The variable.
    pub name: String,
}

/// Reads a variable of this process's environment, as [`text`] does.
pub fn variable(name: &str) -> Result<Option<String>, NotText> {
    text(name, env::var_os(name))
}

/// The text of a variable. `None` if it is missing or empty. The error names the variable and never repeats the value.
pub fn text(name: &str, value: Option<OsString>) -> Result<Option<String>, NotText> {
    let Some(value) = value.filter(|value| !value.is_empty()) else { return Ok(None) };
    value.into_string().map(Some).map_err(|_| NotText { name: name.to_owned() })
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt as _;

    use super::*;

    #[test]
    fn a_variable_is_its_text_or_nothing_or_an_error_with_its_name() {
        let not_text = Err(NotText { name: "X".to_owned() });
        for (value, wanted) in [
            (None, Ok(None)),
            (Some(&b""[..]), Ok(None)),
            (Some(b" "), Ok(Some(" ".to_owned()))),
            (Some("ü".as_bytes()), Ok(Some("ü".to_owned()))),
            (Some(b"\xa3"), not_text.clone()),
            (Some(b"secret\xff"), not_text),
        ] {
            let value = value.map(|bytes| OsString::from_vec(bytes.to_vec()));
            assert_eq!(text("X", value.clone()), wanted, "{value:?}");
        }
        assert_eq!(NotText { name: "X".to_owned() }.to_string(), "X is not UTF-8 text");
    }
}
