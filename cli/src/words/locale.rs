//! The language of the texts: the option, else the environment, else English.

use std::{fmt, str::FromStr};

use lamplighter_aws::environment::NotText;
use unic_langid::LanguageIdentifier;

/// The variables that name a language; the first one with a value decides. The last three are from POSIX.
const VARIABLES: [&str; 4] = ["LAMPLIGHTER_LOCALE", "LC_ALL", "LC_MESSAGES", "LANG"];

/// A language of the catalogue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the codes of ISO 639 need no explanation")]
pub enum Locale {
    #[default]
    En,
    De,
    Pl,
}

/// A language that the catalogue does not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is not a supported language: use `en`, `de` or `pl`")]
pub struct UnknownLocale {
    /// The given text.
    pub given: String,
}

impl Locale {
    /// All three, in the order of the catalogue.
    pub const ALL: [Self; 3] = [Self::En, Self::De, Self::Pl];

    /// The code, as `--locale` takes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::De => "de",
            Self::Pl => "pl",
        }
    }

    /// Reads the language from the environment. An unsupported language means English. The first variable with a value
    /// decides; it is an error if that value is not UTF-8.
    pub fn of_environment(
        variable: impl Fn(&str) -> Result<Option<String>, NotText>,
    ) -> Result<Self, NotText> {
        let said = VARIABLES.into_iter().find_map(|name| variable(name).transpose());
        Ok(said.transpose()?.and_then(|value| value.parse().ok()).unwrap_or_default())
    }

    /// The identifier by which Fluent chooses plurals.
    pub(super) fn language(self) -> LanguageIdentifier {
        // A test ensures that the codes parse.
        self.as_str().parse().unwrap_or_default()
    }
}

impl fmt::Display for Locale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Locale {
    type Err = UnknownLocale;

    /// Accepts `de`, `de-AT` and `de_AT.UTF-8` alike: the catalogue has one text for each language.
    fn from_str(text: &str) -> Result<Self, UnknownLocale> {
        let language = text.split(['-', '_', '.', '@']).next().unwrap_or_default();
        let known = |locale: &Self| locale.as_str().eq_ignore_ascii_case(language);
        Self::ALL.into_iter().find(known).ok_or_else(|| UnknownLocale { given: text.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use lamplighter_aws::environment::text;

    use super::*;

    #[test]
    fn k04_the_first_variable_with_a_value_decides() {
        let of = |variables: &[(&str, &str)]| {
            Locale::of_environment(|name| {
                text(
                    name,
                    variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).into()),
                )
            })
            .unwrap()
        };
        assert_eq!(of(&[]), Locale::En);
        assert_eq!(of(&[("LANG", "de_AT.UTF-8")]), Locale::De);
        assert_eq!(of(&[("LC_ALL", ""), ("LC_MESSAGES", "pl_PL"), ("LANG", "de_DE")]), Locale::Pl);
        assert_eq!(of(&[("LC_ALL", "C.UTF-8"), ("LANG", "de_DE")]), Locale::En);
        assert_eq!(of(&[("LC_ALL", "POSIX")]), Locale::En);
        assert_eq!(of(&[("LAMPLIGHTER_LOCALE", "PL"), ("LC_ALL", "de_DE")]), Locale::Pl);
        assert_eq!(of(&[("LANG", "fr_FR.UTF-8")]), Locale::En);
    }

    #[test]
    fn a_variable_that_is_not_utf_8_is_named_if_it_has_precedence() {
        let not_text = |name: &str| NotText { name: name.to_owned() };
        let of = |bad: &'static str| {
            Locale::of_environment(|name| match name {
                _ if name == bad => Err(not_text(name)),
                "LC_ALL" => Ok(Some("de".to_owned())),
                _ => Ok(None),
            })
        };
        assert_eq!(of("LAMPLIGHTER_LOCALE"), Err(not_text("LAMPLIGHTER_LOCALE")));
        assert_eq!(of("LC_ALL"), Err(not_text("LC_ALL")));
        assert_eq!(of("LANG"), Ok(Locale::De));
    }

    #[test]
    fn k04_an_unknown_language_is_refused_with_the_supported_ones() {
        let refused = "fr-CA".parse::<Locale>().unwrap_err().to_string();
        assert_eq!(refused, "`fr-CA` is not a supported language: use `en`, `de` or `pl`");
    }

    #[test]
    fn every_code_is_a_language() {
        for locale in Locale::ALL {
            assert_eq!(locale.language().to_string(), locale.as_str());
        }
    }
}
