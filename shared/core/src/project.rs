//! The name of a project and of its stack: the one in `lamplighter.toml`, or else the name of the workspace's
//! folder.

use std::fmt;

/// The maximum length. Source: CloudFormation API Reference, `CreateStack`, `StackName`, which also has the
/// rule for characters.
pub const MAX_LEN: usize = 128;
/// The suggested name if the folder's name cannot be adapted.
const PLACEHOLDER: &str = "my-project";

/// The error of a word that is not a stack's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{word}` is not a stack's name: it must be {rule}", rule = Rule)]
pub struct InvalidStackName {
    /// The given word.
    pub word: String,
}

/// The reason why a project has no name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Nameless {
    /// The given name is invalid.
    #[error(transparent)]
    Given(#[from] InvalidStackName),
    /// No name is given, and the folder's name is invalid.
    #[error(
        "is missing, and the workspace's folder `{folder}` gives none: a name must be {rule}; write \
         `name = \"{suggestion}\"`",
        rule = Rule
    )]
    Folder {
        /// The folder's name.
        folder: String,
        /// A valid name similar to the folder's.
        suggestion: String,
    },
}

/// The rule for names, in words.
struct Rule;

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "1 to {MAX_LEN} letters from A to Z, digits and hyphens, beginning with a letter")
    }
}

/// Returns the name of a project: the given one, or else its folder's.
///
/// Neither is adapted. An adapted name could become another one in the next release.
pub fn name(given: Option<&str>, folder: &str) -> Result<String, Nameless> {
    match given {
        Some(given) => {
            check(given)?;
            Ok(given.to_owned())
        }
        None if is_name(folder) => Ok(folder.to_owned()),
        None => Err(Nameless::Folder { folder: folder.to_owned(), suggestion: suggestion(folder) }),
    }
}

/// Checks that a word is a stack's name.
pub fn check(word: &str) -> Result<(), InvalidStackName> {
    if is_name(word) { Ok(()) } else { Err(InvalidStackName { word: word.to_owned() }) }
}

fn is_name(word: &str) -> bool {
    word.len() <= MAX_LEN
        && word.starts_with(|c: char| c.is_ascii_alphabetic())
        && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
}

/// Returns a valid name similar to a folder's, or a placeholder if letters would be lost.
fn suggestion(folder: &str) -> String {
    let words = folder.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let mut name = words.collect::<Vec<_>>().join("-");
    name.truncate(MAX_LEN);
    if is_name(&name) && folder.is_ascii() { name } else { PLACEHOLDER.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_has_its_configured_name_or_else_its_folders() {
        let long = "a".repeat(MAX_LEN);
        for (given, folder, wanted) in [
            (None, "shop", "shop"),
            (None, "Shop-2", "Shop-2"),
            (None, "a", "a"),
            (None, "a--b-", "a--b-"),
            (None, long.as_str(), long.as_str()),
            (Some("shop"), "my_shop", "shop"),
            (Some("shop"), "", "shop"),
        ] {
            assert_eq!(name(given, folder).as_deref(), Ok(wanted));
        }
    }

    #[test]
    fn a_folder_with_an_unusable_name_is_refused_with_a_suggestion() {
        let long = "a".repeat(MAX_LEN + 1);
        for (folder, suggestion) in [
            ("my_shop", "my-shop"),
            ("My Shop", "My-Shop"),
            ("shop.git", "shop-git"),
            (".shop", "shop"),
            ("-shop", "shop"),
            ("_", PLACEHOLDER),
            ("123", PLACEHOLDER),
            ("7-shops", PLACEHOLDER),
            ("ünï", PLACEHOLDER),
            ("caf\u{e9}", PLACEHOLDER),
            ("店", PLACEHOLDER),
            ("a\nb", "a-b"),
            ("a\u{fffd}", PLACEHOLDER),
            ("", PLACEHOLDER),
            (long.as_str(), &long[..MAX_LEN]),
        ] {
            let Err(refused) = name(None, folder) else { panic!("{folder} is taken") };
            assert_eq!(
                refused,
                Nameless::Folder { folder: folder.to_owned(), suggestion: suggestion.to_owned() }
            );
            assert_eq!(check(suggestion), Ok(()), "{folder}");
            let text = refused.to_string();
            assert!(
                text.contains(&format!("`{folder}`")) && text.contains(&format!("`name = \"{suggestion}\"`")),
                "{text}"
            );
        }
    }

    #[test]
    fn an_invalid_configured_name_is_refused_although_the_folders_is_valid() {
        for given in ["", "my_shop", "1a", "a b", "../x", "ünï"] {
            let refused = name(Some(given), "shop").unwrap_err();
            assert_eq!(refused, Nameless::Given(InvalidStackName { word: given.to_owned() }));
            assert!(refused.to_string().contains("letters from A to Z"), "{refused}");
        }
    }
}
