//! Edits of a workspace's manifest that keep its comments and its order.

use lamplighter_project::folder_pattern::FolderPattern;
use toml_edit::{Array, DocumentMut, Item, Table, TableLike, Value};

use super::source::Crates;

/// The reason why a manifest cannot be edited.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ManifestError {
    /// The text is not TOML.
    #[error("Cargo.toml is not valid: {0}")]
    Syntax(#[from] toml_edit::TomlError),
    /// A key has a value of another type.
    #[error("`{key}` in Cargo.toml is not {expected}")]
    Type {
        /// The key.
        key: &'static str,
        /// The type that it must have.
        expected: &'static str,
    },
}

/// Makes folders members of the workspace, unless a pattern in `members` has them already. A package without a workspace becomes
/// one.
pub(crate) fn add_members(text: &str, folders: &[&str]) -> Result<String, ManifestError> {
    let mut document: DocumentMut = text.parse()?;
    let workspace = table(document.as_table_mut(), "workspace")?;
    let members = workspace.entry("members").or_insert_with(|| Item::Value(Value::Array(Array::new())));
    let members = members
        .as_array_mut()
        .ok_or(ManifestError::Type { key: "workspace.members", expected: "an array" })?;
    let patterns: Vec<_> = members.iter().filter_map(Value::as_str).filter_map(pattern).collect();
    let new: Vec<_> = folders.iter().filter(|folder| !is_covered(folder, &patterns)).collect();
    if new.is_empty() {
        return Ok(text.to_owned());
    }
    // A list with an item on each line goes on like that.
    let is_long = members
        .iter()
        .any(|member| member.decor().prefix().and_then(|it| it.as_str()).is_some_and(|it| it.contains('\n')));
    for folder in new {
        members.push(*folder);
        if is_long && let Some(last) = members.iter_mut().last() {
            last.decor_mut().set_prefix("\n    ");
        }
    }
    if is_long {
        members.set_trailing_comma(true);
        members.set_trailing("\n");
    }
    Ok(document.to_string())
}

/// Returns true if a pattern in `members` has the folder.
pub(crate) fn is_member(text: &str, folder: &str) -> Result<bool, ManifestError> {
    let document: DocumentMut = text.parse()?;
    let members = document.get("workspace").and_then(|workspace| workspace.get("members"));
    let patterns = members.and_then(Item::as_array).into_iter().flatten().filter_map(Value::as_str);
    Ok(is_covered(folder, &patterns.filter_map(pattern).collect::<Vec<_>>()))
}

/// Returns true if one of the patterns has the folder. A folder with a `*` must stand among them as it is.
fn is_covered(folder: &str, patterns: &[FolderPattern]) -> bool {
    let covers = |pattern: &FolderPattern| !folder.contains('*') && pattern.matches(folder);
    patterns.iter().any(|pattern| pattern.text() == folder || covers(pattern))
}

/// Reads a pattern in `members`. An invalid one has no folder.
fn pattern(text: &str) -> Option<FolderPattern> {
    FolderPattern::new(text).ok()
}

/// Adds the crates to `[workspace.dependencies]`. Crates in folders also replace the registry's, in
/// `[patch.crates-io]`. Existing entries stay unchanged.
pub(crate) fn add_crates(text: &str, crates: &Crates, names: &[&str]) -> Result<String, ManifestError> {
    let mut document: DocumentMut = text.parse()?;
    let workspace = table(document.as_table_mut(), "workspace")?;
    let dependencies = table(workspace, "dependencies")?;
    for name in names {
        if !dependencies.contains_key(name) {
            dependencies.insert(name, Item::Value(crates.dependency(name)));
        }
    }
    let patches: Vec<_> = crates.patches().collect();
    if !patches.is_empty() {
        let patch = table(document.as_table_mut(), "patch")?;
        let registry = table(patch, "crates-io")?;
        for (name, folder) in patches {
            if !registry.contains_key(name) {
                let folder = folder.to_string_lossy().into_owned();
                let value = toml_edit::InlineTable::from_iter([("path", Value::from(folder))]);
                registry.insert(name, Item::Value(Value::InlineTable(value)));
            }
        }
    }
    Ok(document.to_string())
}

/// Returns true if `[workspace.dependencies]` has the crate.
pub(crate) fn has_dependency(text: &str, name: &str) -> Result<bool, ManifestError> {
    let document: DocumentMut = text.parse()?;
    let dependencies = document.get("workspace").and_then(|workspace| workspace.get("dependencies"));
    Ok(dependencies.and_then(Item::as_table_like).is_some_and(|dependencies| dependencies.contains_key(name)))
}

/// Returns the table of a key, which is added if it is missing.
fn table<'a>(
    parent: &'a mut dyn TableLike,
    key: &'static str,
) -> Result<&'a mut dyn TableLike, ManifestError> {
    if !parent.contains_key(key) {
        let mut new = Table::new();
        // A table that only has tables needs no header of its own.
        new.set_implicit(true);
        parent.insert(key, Item::Table(new));
    }
    let found = parent.get_mut(key).and_then(Item::as_table_like_mut);
    found.ok_or(ManifestError::Type { key, expected: "a table" })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn members_are_added_and_comments_and_order_stay() {
        let text = "# ours\n[workspace]\nmembers = [\n    \"api\", # the API\n    \"libs/*\",\n]\nresolver = \"2\"\n";
        let edited = add_members(text, &["functions/pulse", "libs/tidy"]).unwrap();
        insta::assert_snapshot!(edited, @r#"
        # ours
        [workspace]
        members = [
            "api", # the API
            "libs/*",
            "functions/pulse",
        ]
        resolver = "2"
        "#);
        assert_eq!(add_members(&edited, &["functions/pulse", "libs/tidy"]).unwrap(), edited);
        let one_line =
            add_members("[workspace]\nmembers = [\"./functions/*\"]\n", &["functions/a", "b"]).unwrap();
        assert_eq!(one_line, "[workspace]\nmembers = [\"./functions/*\", \"b\"]\n");
    }

    #[test]
    fn a_package_becomes_a_workspace() {
        let text = "[package]\nname = \"api\"\n\n[dependencies]\nserde = \"1\" # for JSON\n";
        let edited = add_members(text, &["functions/tasks/*"]).unwrap();
        assert_eq!(edited, format!("{text}\n[workspace]\nmembers = [\"functions/tasks/*\"]\n"));
    }

    #[test]
    fn new_crates_are_added_beside_existing_ones() {
        let text = "[workspace]\n\n[workspace.dependencies]\nserde = \"1\"\nlamplighter = \"0.0.1\"\n";
        let edited = add_crates(text, &Crates::Registry, &["lamplighter", "lamplighter-pulse"]).unwrap();
        assert_eq!(edited, format!("{text}lamplighter-pulse = \"{}\"\n", env!("CARGO_PKG_VERSION")));
        let folders = [("lamplighter-core", "/x/core"), ("lamplighter", "/x/task")];
        let folders = folders.map(|(name, folder)| (name.to_owned(), PathBuf::from(folder)));
        let edited = add_crates("[workspace]\n", &Crates::Folders(folders.into()), &["lamplighter"]).unwrap();
        insta::assert_snapshot!(edited, @r#"
        [workspace]

        [workspace.dependencies]
        lamplighter = { path = "/x/task" }

        [patch.crates-io]
        lamplighter = { path = "/x/task" }
        lamplighter-core = { path = "/x/core" }
        "#);
    }

    #[test]
    fn an_invalid_manifest_is_refused_with_its_fault() {
        for (text, error) in [
            ("[workspace", "Cargo.toml is not valid: TOML parse error"),
            ("workspace = 1\n", "`workspace` in Cargo.toml is not a table"),
            ("[workspace]\nmembers = \"x\"\n", "`workspace.members` in Cargo.toml is not an array"),
        ] {
            let refused = add_members(text, &["a"]).unwrap_err().to_string();
            assert!(refused.starts_with(error), "{refused}");
        }
    }
}
