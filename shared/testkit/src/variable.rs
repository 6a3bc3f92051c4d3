//! The scale and the seed of a test, which environment variables set.

use std::{env, fmt::Display, str::FromStr};

/// Returns the number in an environment variable, or `default` if it is not set. Panics if it has another value.
pub fn number<T: FromStr<Err: Display>>(name: &str, default: T) -> T {
    let Some(value) = env::var_os(name) else { return default };
    let value = value.to_string_lossy();
    value.parse().unwrap_or_else(|error| panic!("expected a number in {name}, found `{value}`: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_that_is_not_set_has_its_default() {
        assert_eq!(number("LAMPLIGHTER_NOT_SET", 7_u64), 7);
    }

    #[test]
    #[should_panic(expected = "expected a number in PATH")]
    fn another_value_than_a_number_stops_the_test() {
        number("PATH", 7_u64);
    }
}
