//! Texts from others, made safe for a terminal: escaped, measured, cut, padded and folded.
//!
//! Cells of a table go through [`fitted`], and texts of authors and jobs through [`escaped`].

use std::borrow::Cow;

use unicode_segmentation::UnicodeSegmentation as _;
use unicode_width::UnicodeWidthStr as _;

/// The mark of a cut.
const ELLIPSIS: &str = "…";

/// Escapes a text to one line without effects on the terminal. Control characters, including line ends, and characters that
/// change the text direction are written as in Rust: `\n`, `\r`, `\t`, `\u{1b}`, `\u{202e}`. Backslashes stay, so an
/// escaped text does not change.
pub fn escaped(text: &str) -> Cow<'_, str> {
    written(text, is_obeyed)
}

/// Escapes each line of a text as [`escaped`] does.
pub fn escaped_lines(text: &str) -> Cow<'_, str> {
    written(text, |c| c != '\n' && is_obeyed(c))
}

fn written(text: &str, is_escaped: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&is_escaped) {
        return Cow::Borrowed(text);
    }
    let mut written = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_escaped(c) {
            let code: String = match c {
                '\n' | '\r' | '\t' => c.escape_default().collect(),
                _ => c.escape_unicode().collect(),
            };
            written.push_str(&code);
        } else {
            written.push(c);
        }
    }
    Cow::Owned(written)
}

/// Returns true for characters that a terminal executes instead of showing: line ends, escape sequences, and changes of
/// the text direction.
fn is_obeyed(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{206f}')
}

/// The columns that an escaped text takes in a terminal.
pub fn width(text: &str) -> usize {
    text.width()
}

/// Escapes a text and cuts or pads it to exactly so many columns.
pub fn fitted(text: &str, columns: usize) -> String {
    let mut text = cut(&escaped(text), columns).into_owned();
    let gap = columns.saturating_sub(width(&text));
    text.extend(std::iter::repeat_n(' ', gap));
    text
}

/// Cuts an escaped text to at most so many columns, with an ellipsis. It never cuts within a displayed character.
pub fn cut(text: &str, columns: usize) -> Cow<'_, str> {
    if columns == 0 {
        return Cow::Borrowed("");
    }
    if width(text) <= columns {
        return Cow::Borrowed(text);
    }
    let kept = text[..beginning(text, columns - width(ELLIPSIS))].trim_end();
    Cow::Owned(format!("{kept}{ELLIPSIS}"))
}

/// The length in bytes of the longest prefix that takes at most so many columns.
fn beginning(text: &str, columns: usize) -> usize {
    let (mut end, mut taken) = (0, 0);
    for part in text.graphemes(true) {
        taken += width(part);
        if taken > columns {
            break;
        }
        end += part.len();
    }
    // Some scripts join neighbouring characters, so the whole may have another width than its parts.
    while width(&text[..end]) > columns {
        end -= text[..end].graphemes(true).next_back().map_or(end, str::len);
    }
    end
}

/// Escapes a text and folds it into lines of at most so many columns, between words or within a word that is too long. Lines
/// after the first are indented by `indent` more columns.
pub fn folded(text: &str, indent: usize, columns: usize) -> Vec<String> {
    let text = escaped(text);
    let start = text.len() - text.trim_start().len();
    let room_at = |start: usize| columns.saturating_sub(start).max(1);
    let mut lines = Vec::new();
    let (mut before, mut line) = (start.min(columns / 2), String::new());
    for word in text.split_whitespace() {
        let mut word = word;
        loop {
            let room = room_at(before);
            let joined = if line.is_empty() { word.to_owned() } else { format!("{line} {word}") };
            if width(&joined) <= room {
                line = joined;
                break;
            }
            if line.is_empty() {
                // At least one character, even if it is wider than the terminal.
                let first = word.graphemes(true).next().map_or(0, str::len);
                let (part, rest) = word.split_at(beginning(word, room).max(first));
                part.clone_into(&mut line);
                word = rest;
                if word.is_empty() {
                    break;
                }
            }
            lines.push(format!("{:before$}{}", "", std::mem::take(&mut line)));
            before = (start + indent).min(columns / 2);
        }
    }
    if !line.is_empty() || lines.is_empty() {
        lines.push(format!("{:before$}{line}", ""));
    }
    lines
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::{prelude::*, sample::select};

    use super::*;

    /// Parts of texts that a terminal shows.
    const PARTS: [&str; 34] = [
        "a",
        "zażółć",
        " ",
        "  ",
        "日本語",
        "한국어",
        "⚠️",
        "⚠",
        "👩‍👩‍👧‍👦",
        "👍🏽",
        "🇵🇱",
        "🇵",
        "1️⃣",
        "☂︎",
        "e\u{301}",
        "\u{301}",
        "\u{200d}",
        "\u{fe0f}",
        "\u{200b}",
        "لا",
        "שלום",
        "नमस्ते",
        "ก็",
        "ｱ",
        "Ａ",
        "\u{1f3fd}",
        "…",
        "\u{ad}",
        "\u{600}",
        "\u{3000}",
        "word",
        "\\",
        "\u{1100}\u{1161}",
        "🏴󠁧󠁢󠁥󠁮󠁧󠁿",
    ];
    /// Parts of texts that a terminal executes.
    const OBEYED: [&str; 14] = [
        "\u{1b}[2J",
        "\u{1b}]0;x\u{7}",
        "\r",
        "\n",
        "\r\n",
        "\t",
        "\0",
        "\u{7f}",
        "\u{85}",
        "\u{9b}31m",
        "\u{202e}",
        "\u{2066}",
        "\u{2028}",
        "\u{206a}",
    ];

    pub(crate) fn text() -> impl Strategy<Value = String> {
        let part = prop_oneof![
            6 => select(&PARTS[..]).prop_map(str::to_owned),
            2 => select(&OBEYED[..]).prop_map(str::to_owned),
            1 => any::<char>().prop_map(String::from),
        ];
        proptest::collection::vec(part, 0..40).prop_map(|parts| parts.concat())
    }

    fn is_safe(text: &str) -> bool {
        !text.chars().any(is_obeyed)
    }

    proptest! {
        #[test]
        fn any_text_is_as_wide_as_its_column(text in text(), columns in 0_usize..300) {
            let fitted = fitted(&text, columns);
            prop_assert_eq!(width(&fitted), columns, "{:?}", fitted);
            prop_assert!(is_safe(&fitted));
        }

        #[test]
        fn a_text_that_fits_is_whole_and_a_cut_text_is_a_prefix(text in text(), columns in 1_usize..60) {
            let text = escaped(&text);
            let cut = cut(&text, columns);
            if width(&text) <= columns {
                prop_assert_eq!(&*cut, &*text);
            } else {
                let kept = cut.strip_suffix(ELLIPSIS).unwrap();
                prop_assert!(text.starts_with(kept));
                let ends: Vec<_> = text.grapheme_indices(true).map(|(at, _)| at).collect();
                prop_assert!(ends.contains(&kept.len()) || text[kept.len()..].starts_with(char::is_whitespace));
            }
        }

        #[test]
        fn any_text_folds_into_its_columns_and_loses_no_word(text in text(), indent in 0_usize..8, columns in 20_usize..300) {
            let lines = folded(&text, indent, columns);
            prop_assert!(lines.iter().all(|line| width(line) <= columns && is_safe(line)), "{lines:#?}");
            let all = |text: &str| text.split_whitespace().collect::<String>();
            prop_assert_eq!(all(&lines.concat()), all(&escaped(&text)));
        }

        #[test]
        fn an_escaped_text_stays_the_same(text in text()) {
            let once = escaped(&text).into_owned();
            prop_assert!(is_safe(&once));
            prop_assert_eq!(escaped(&once), once.as_str());
        }
    }

    #[test]
    fn control_characters_are_escaped() {
        for (text, shown) in [
            ("plain, zażółć 日本 👍🏽", "plain, zażółć 日本 👍🏽"),
            ("\u{1b}]0;pwned\u{7}\u{1b}[2Jcleared", r"\u{1b}]0;pwned\u{7}\u{1b}[2Jcleared"),
            ("a\r\nb\nc\td\0", r"a\r\nb\nc\td\u{0}"),
            ("\u{9b}2J\u{85}\u{7f}", r"\u{9b}2J\u{85}\u{7f}"),
            ("third\u{202e}abc\u{2066}d\u{2069}", r"third\u{202e}abc\u{2066}d\u{2069}"),
            (r"C:\new \u{1b}", r"C:\new \u{1b}"),
        ] {
            assert_eq!(escaped(text), shown);
        }
        assert_eq!(escaped_lines("a\r\n\u{1b}b"), "a\\r\n\\u{1b}b");
    }

    #[test]
    fn a_cut_text_ends_in_an_ellipsis() {
        assert_eq!([3, 4, 5].map(|columns| cut("abcde", columns).into_owned()), ["ab…", "abc…", "abcde"]);
        for (text, columns, shown) in [
            ("日本語", 4, "日…"),
            ("日本語", 1, "…"),
            ("abc", 0, ""),
            ("⚠️ abcdefgh", 6, "⚠️ ab…"),
            ("👩‍👩‍👧‍👦👩‍👩‍👧‍👦", 3, "👩‍👩‍👧‍👦…"),
            ("🇵🇱🇩🇪", 3, "🇵🇱…"),
            ("e\u{301}e\u{301}e\u{301}", 2, "e\u{301}…"),
        ] {
            assert_eq!(cut(text, columns), shown);
        }
        assert_eq!(fitted("a\nb", 6), r"a\nb  ");
    }

    #[test]
    fn a_long_text_is_folded_between_words_and_a_long_word_within() {
        assert_eq!(folded("  one two three", 2, 11), ["  one two", "    three"]);
        assert_eq!(folded("abcdefghij kl", 0, 4), ["abcd", "efgh", "ij", "kl"]);
        assert_eq!(folded("", 2, 20), [""]);
    }
}
