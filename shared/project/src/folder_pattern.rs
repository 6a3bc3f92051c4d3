//! Patterns of folders in a workspace, as cargo's `members` and `[project] tasks` have them.

use globset::{GlobBuilder, GlobMatcher};

/// A pattern of folders, relative to the workspace. `*` matches any text in one folder's name. `**` matches any number of folders.
#[derive(Clone, Debug)]
pub struct FolderPattern {
    text: String,
    matcher: GlobMatcher,
}

impl FolderPattern {
    /// Reads a pattern. A leading `./` and a trailing `/` have no meaning.
    ///
    /// # Errors
    ///
    /// The reason why the text is not a pattern.
    pub fn new(text: &str) -> Result<Self, String> {
        let text = text.trim_start_matches("./").trim_end_matches('/');
        let glob = GlobBuilder::new(text).literal_separator(true).build();
        let matcher = glob.map_err(|error| error.kind().to_string())?.compile_matcher();
        Ok(Self { text: text.to_owned(), matcher })
    }

    /// The pattern, without a leading `./` and a trailing `/`.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns true if a folder, relative to the workspace, matches the pattern.
    pub fn matches(&self, folder: &str) -> bool {
        self.matcher.is_match(folder)
    }
}
