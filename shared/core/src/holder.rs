//! Holders of leases: the word that distinguishes one claim from every other.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The unique id of one claim: `<claimant>#<nonce>`.
///
/// If a claim finds its own holder in the table, an earlier attempt of the same write succeeded, and its
/// response was lost. The claimant is the invocation or the runner that made the claim. Once the claimant is
/// known to be gone, its leases can be revoked.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Holder(String);

impl Holder {
    /// The holder of one claim by `claimant`. No other claim may have the nonce.
    pub fn new(claimant: impl fmt::Display, nonce: impl fmt::Display) -> Self {
        Self(format!("{claimant}#{nonce}"))
    }

    /// The claimant; nothing if the holder does not name one. A nonce has no `#`, and a claimant may have some.
    pub fn claimant(&self) -> Option<&str> {
        self.0.rsplit_once('#').map(|(claimant, _)| claimant)
    }

    /// Returns true if that claimant made the claim.
    pub fn is_of(&self, claimant: &str) -> bool {
        self.claimant() == Some(claimant)
    }

    /// The holder as it is stored.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for Holder {
    fn from(word: String) -> Self {
        Self(word)
    }
}

impl From<&str> for Holder {
    fn from(word: &str) -> Self {
        Self(word.to_owned())
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_names_its_claimant() {
        let holder = Holder::new("host-a", "1f");
        assert_eq!((holder.as_str(), holder.claimant()), ("host-a#1f", Some("host-a")));
        assert!(holder.is_of("host-a") && !holder.is_of("host") && !holder.is_of("host-a#1f"));
        let nested = Holder::new(&holder, "2e");
        assert!(nested.is_of("host-a#1f") && !nested.is_of("host-a"));
    }

    #[test]
    fn a_text_without_a_claimant_matches_no_claimant() {
        for word in ["", "1f"] {
            let holder = Holder::from(word);
            assert_eq!(holder.claimant(), None);
            assert!(!holder.is_of(word));
        }
    }

    #[test]
    fn a_holder_is_stored_as_its_text() {
        let holder = Holder::new("request", "0123");
        assert_eq!(serde_json::to_value(&holder).unwrap(), "request#0123");
        assert_eq!(serde_json::from_str::<Holder>("\"request#0123\"").unwrap(), holder);
    }
}
