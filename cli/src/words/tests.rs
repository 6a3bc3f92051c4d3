//! The catalogue is complete: it has exactly the texts of the code, in every language, with the same variables.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use fluent_bundle::FluentResource;
use proc_macro2::{Delimiter, TokenStream, TokenTree};

use super::*;

/// Keys and the variables of their texts.
type Keys = BTreeMap<String, BTreeSet<String>>;

fn folder(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Reads the keys of one language with their variables, and checks the rules of the files.
fn catalogue(locale: Locale) -> Keys {
    let mut keys = Keys::new();
    let mut files = 0;
    for path in
        fs::read_dir(folder("locales").join(locale.as_str())).unwrap().map(|entry| entry.unwrap().path())
    {
        let text = fs::read_to_string(&path).unwrap();
        let place = path.display();
        assert!(FILES.iter().any(|texts| texts[locale as usize] == text), "{place} is not in `FILES`");
        files += 1;
        let parsed = FluentResource::try_new(text.clone()).map_err(|(_, errors)| errors);
        assert!(parsed.is_ok(), "{place}: {:?}", parsed.err());
        let prefix = format!("{}-", path.file_stem().unwrap().to_string_lossy());
        let mut key = String::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            if let Some((name, _)) = line.split_once(" =").filter(|(name, _)| !name.starts_with([' ', '}'])) {
                name.clone_into(&mut key);
                assert!(key.starts_with(&prefix), "{place}: `{key}` does not begin with `{prefix}`");
                assert!(
                    keys.insert(key.clone(), BTreeSet::new()).is_none(),
                    "{place}: `{key}` is there twice"
                );
            }
            for after in line.split('$').skip(1) {
                let end = after.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(after.len());
                keys.get_mut(&key).unwrap().insert(after[..end].to_owned());
            }
        }
    }
    assert_eq!(files, FILES.len(), "every file of `FILES` is there in {locale}");
    keys
}

/// Collects the key and the variables of every `tr!` of the code, also within other macros.
fn said(tokens: TokenStream, found: &mut Vec<(String, BTreeSet<String>)>) {
    let tokens: Vec<_> = tokens.into_iter().collect();
    for (i, token) in tokens.iter().enumerate() {
        let TokenTree::Group(group) = token else { continue };
        said(group.stream(), found);
        let is_say = i >= 2
            && matches!(&tokens[i - 2], TokenTree::Ident(name) if name == "tr")
            && matches!(&tokens[i - 1], TokenTree::Punct(sign) if sign.as_char() == '!')
            && group.delimiter() == Delimiter::Parenthesis;
        if is_say {
            let tokens: Vec<_> = group.stream().into_iter().collect();
            let parts: Vec<_> = tokens
                .split(|token| matches!(token, TokenTree::Punct(sign) if sign.as_char() == ','))
                .collect();
            let key = parts[1][0].to_string().trim_matches('"').to_owned();
            let variables = parts[2..].iter().filter_map(|part| part.first()).map(ToString::to_string);
            found.push((key, variables.collect()));
        }
    }
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn k04_every_language_has_the_same_keys_and_variables() {
    let english = catalogue(Locale::En);
    assert!(english.len() > 30, "only {} keys were found", english.len());
    for locale in [Locale::De, Locale::Pl] {
        let other = catalogue(locale);
        for (key, variables) in &english {
            assert_eq!(other.get(key), Some(variables), "`{key}` in {locale}");
        }
        let more: Vec<_> = other.keys().filter(|key| !english.contains_key(*key)).collect();
        assert!(more.is_empty(), "only in {locale}: {more:?}");
    }
}

#[test]
fn k04_the_catalogue_has_exactly_the_texts_that_the_code_uses() {
    let catalogue = catalogue(Locale::En);
    let mut files = Vec::new();
    rust_files(&folder("src"), &mut files);
    let mut used = BTreeSet::new();
    for file in files {
        let mut found = Vec::new();
        said(fs::read_to_string(&file).unwrap().parse().unwrap(), &mut found);
        for (key, variables) in found {
            let place = file.display();
            assert_eq!(Some(&variables), catalogue.get(&key), "`{key}`, said in {place}");
            used.insert(key);
        }
    }
    assert!(used.len() > 30, "only {} keys were found", used.len());
    let unused: Vec<_> = catalogue.keys().filter(|key| !used.contains(*key)).collect();
    assert!(unused.is_empty(), "no code uses {unused:?}");
}

#[test]
fn k04_values_have_no_isolation_marks() {
    for locale in Locale::ALL {
        let text = tr!(&Words::new(locale), "tasks-none", folder = "here");
        assert!(text.contains("here") && !text.contains(['\u{2068}', '\u{2069}', '{', '$']), "{text:?}");
    }
}

#[test]
fn k04_plurals_are_those_of_the_language() {
    let said = |locale, count: u64| tr!(&Words::new(locale), "tasks-attempts", count = count);
    assert_eq!([1, 2, 5].map(|n| said(Locale::En, n)), ["1 attempt", "2 attempts", "5 attempts"]);
    assert_eq!([1, 2, 5].map(|n| said(Locale::De, n)), ["1 Versuch", "2 Versuche", "5 Versuche"]);
    assert_eq!(
        [1, 2, 5, 12, 22, 25].map(|n| said(Locale::Pl, n)),
        ["1 próba", "2 próby", "5 prób", "12 prób", "22 próby", "25 prób"]
    );
}
