//! The texts that people read, in their language: a Fluent catalogue for each language in `cli/locales`, and [`tr!`].
//!
//! To add a text:
//! 1. add its line to `cli/locales/{en,de,pl}/<file>.ftl`, under a key that begins with the file's name:
//!    `history-more = { $count } more runs of { $task }`
//! 2. format it: `tr!(words, "history-more", count = left, task = name)` is a `String`
//!
//! Add a new file to [`FILES`]. A text may contain every value that is [`Localize`]: text, numbers (the catalogue chooses
//! their plurals), names, statuses, triggers, times and durations. Each value is written in the language of the text.
//! The tests beside this file check every key and variable of every `tr!` in all three languages.
//!
//! Not translated:
//! - `--json`, whose words are stable
//! - texts of a task's author
//! - the reasons of errors, which come unchanged from `core`, AWS and the system
//! - clap's `--help`, which has no other languages

mod locale;
mod localize;
mod phrase;
mod reason;
mod schedule;

use std::sync::OnceLock;

use fluent_bundle::{FluentArgs, FluentResource, FluentValue, concurrent::FluentBundle};
use lamplighter_core::status::Status;

pub use self::{
    locale::{Locale, UnknownLocale},
    localize::{Lines, Localize},
};

/// Formats a text of the catalogue: `tr!(words, "history-more", count = left, task = name)`.
#[macro_export]
macro_rules! tr {
    ($words:expr, $key:literal $(, $name:ident = $value:expr)* $(,)?) => {{
        let words: &$crate::words::Words = $words;
        words.text($key, &[$((stringify!($name), $crate::words::Localize::in_words(&$value, words))),*])
    }};
}

/// The files of the catalogue, each in the order of [`Locale::ALL`].
const FILES: &[[&str; 3]] = &files![
    "add", "ask", "build", "control", "cost", "deploy", "generate", "history", "init", "job", "jobs",
    "lookup", "logs", "main", "new", "next", "pulse", "reason", "runner", "schedule", "stats", "status",
    "tasks", "time", "types", "why"
];

macro_rules! files {
    ($($name:literal),+) => {
        [$([
            include_str!(concat!("../../locales/en/", $name, ".ftl")),
            include_str!(concat!("../../locales/de/", $name, ".ftl")),
            include_str!(concat!("../../locales/pl/", $name, ".ftl")),
        ]),+]
    };
}
use files;

type Bundle = FluentBundle<FluentResource>;

/// The texts of one language. A program creates them once.
pub struct Words {
    locale: Locale,
    bundle: Bundle,
    english: OnceLock<Bundle>,
    columns: Option<usize>,
}

impl Words {
    /// The texts of a language.
    pub fn new(locale: Locale) -> Self {
        Self { locale, bundle: bundle(locale), english: OnceLock::new(), columns: None }
    }

    /// Sets the width of the terminal in columns; none for lines of any length.
    #[must_use]
    pub fn with_width(self, columns: Option<usize>) -> Self {
        Self { columns, ..self }
    }

    /// The most columns of a line.
    pub fn columns(&self) -> Option<usize> {
        self.columns
    }

    /// The language.
    pub fn locale(&self) -> Locale {
        self.locale
    }

    /// Formats the text of a key. Callers use [`tr!`], whose keys and variables the tests check.
    ///
    /// A text that the language lacks is taken from English. A text that English lacks is a bug, which the tests find; the
    /// result is empty then.
    pub fn text(&self, key: &str, variables: &[(&str, FluentValue<'static>)]) -> String {
        let variables: FluentArgs<'_> =
            variables.iter().map(|(name, value)| (*name, value.clone())).collect();
        let said = formatted(&self.bundle, key, &variables)
            .or_else(|| formatted(self.english.get_or_init(|| bundle(Locale::En)), key, &variables));
        debug_assert!(said.is_some(), "the catalogue has no text `{key}`");
        said.unwrap_or_default()
    }

    /// A status in words.
    pub fn status(&self, status: Status) -> String {
        match status {
            Status::Pending => tr!(self, "status-pending"),
            Status::Running => tr!(self, "status-running"),
            Status::Completed => tr!(self, "status-completed"),
            Status::Failed => tr!(self, "status-failed"),
            Status::Timeout => tr!(self, "status-timeout"),
            Status::Cancelled => tr!(self, "status-cancelled"),
            Status::Skipped => tr!(self, "status-skipped"),
            Status::Blocked => tr!(self, "status-blocked"),
        }
    }
}

fn bundle(locale: Locale) -> Bundle {
    let mut bundle = Bundle::new_concurrent(vec![locale.language()]);
    // The marks around values order right-to-left texts, but terminals show them as garbage.
    bundle.set_use_isolating(false);
    bundle.set_formatter(Some(match locale {
        Locale::En => |value, _| localize::number(value, Locale::En),
        Locale::De => |value, _| localize::number(value, Locale::De),
        Locale::Pl => |value, _| localize::number(value, Locale::Pl),
    }));
    for texts in FILES {
        // Texts that do not parse, and duplicates, are left out here and found by the tests.
        let resource = FluentResource::try_new(texts[locale as usize].to_owned());
        let _ = bundle.add_resource(resource.unwrap_or_else(|(resource, _)| resource));
    }
    bundle
}

fn formatted(bundle: &Bundle, key: &str, variables: &FluentArgs<'_>) -> Option<String> {
    let pattern = bundle.get_message(key)?.value()?;
    let mut errors = Vec::new();
    let text = bundle.format_pattern(pattern, Some(variables), &mut errors);
    debug_assert!(errors.is_empty(), "the text `{key}` cannot be formatted: {errors:?}");
    Some(text.into_owned())
}

#[cfg(test)]
mod tests;
