//! The key of an endpoint, without which a request is refused.

use std::{borrow::Cow, fmt, sync::Arc};

use subtle::ConstantTimeEq as _;

use crate::random;

/// The prefix of every key, with which [`mask_keys`] finds keys in a text.
const PREFIX: &str = "key-";
/// The hexadecimal digits behind it: 32 random bytes.
const DIGITS: usize = 64;

/// An unguessable secret of letters, digits and a hyphen. Its `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(Arc<str>);

impl Key {
    /// Creates a random key.
    pub fn new() -> Result<Self, getrandom::Error> {
        Ok(Self(format!("{PREFIX}{}", random::token()?).into()))
    }

    /// Reads a key; `None` if the text is not one.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix(PREFIX)?;
        let is_key = digits.len() == DIGITS && digits.bytes().all(is_digit);
        is_key.then(|| Self(text.into()))
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns true if a text is this key. The comparison takes constant time.
    pub fn is(&self, text: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(text).into()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

/// Replaces each key in a text with `[key]`, whichever process created the key.
pub fn mask_keys(text: &str) -> Cow<'_, str> {
    let (mut masked, mut done, mut from) = (String::new(), 0, 0);
    while let Some(at) = text[from..].find(PREFIX).map(|at| from + at) {
        from = at + PREFIX.len();
        let digits = text[from..].bytes().take_while(|byte| is_digit(*byte)).count();
        if digits >= DIGITS {
            masked.push_str(&text[done..at]);
            masked.push_str("[key]");
            from += digits;
            done = from;
        }
    }
    if done == 0 {
        return Cow::Borrowed(text);
    }
    masked.push_str(&text[done..]);
    Cow::Owned(masked)
}

fn is_digit(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_equals_only_itself() {
        let (key, other) = (Key::new().unwrap(), Key::new().unwrap());
        assert!(key.is(key.as_str().as_bytes()));
        assert_eq!(Key::parse(key.as_str()), Some(key.clone()));
        let shorter = &key.as_str()[..key.as_str().len() - 1];
        let longer = format!("{}0", key.as_str());
        for wrong in ["", "key-", shorter, &longer, other.as_str()] {
            assert!(!key.is(wrong.as_bytes()), "{wrong}");
        }
        for none in ["", "key-", shorter, &longer, &key.as_str().to_uppercase(), &shorter.replace("key-", "")]
        {
            assert_eq!(Key::parse(none), None, "{none}");
        }
        assert!(!format!("{key:?}").contains(&key.as_str()[PREFIX.len()..]));
    }

    #[test]
    fn keys_are_masked_in_any_position_and_the_rest_is_unchanged() {
        let keys = [Key::new().unwrap(), Key::new().unwrap()];
        let [one, two] = [keys[0].as_str(), keys[1].as_str()];
        for (text, wanted) in [
            (String::new(), ""),
            ("monkey-ż key-1f key-".to_owned(), "monkey-ż key-1f key-"),
            (one.to_owned(), "[key]"),
            (format!("http://127.0.0.1:1/{one}/x?{two} ż"), "http://127.0.0.1:1/[key]/x?[key] ż"),
            (format!("key-{one}{two}"), "key-[key][key]"),
        ] {
            assert_eq!(mask_keys(&text), wanted);
        }
    }
}
