//! `docs/behaviours.md` and the tests' names: each row has a test, and each code in a test's name has a row.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use lamplighter_e2e::repository;

use crate::sources;

/// The codes of the document's rows, e.g. `L05`, in order.
fn rows() -> Vec<String> {
    let text = fs::read_to_string(repository().join("docs/behaviours.md")).unwrap();
    let cells = text.lines().filter_map(|line| line.strip_prefix("| ")?.split(' ').next());
    cells.filter(|cell| is_code(&cell.to_lowercase())).map(str::to_owned).collect()
}

fn is_code(word: &str) -> bool {
    matches!(word.as_bytes(), [letter, tens, ones]
        if letter.is_ascii_lowercase() && tens.is_ascii_digit() && ones.is_ascii_digit())
}

/// The codes that a function's name begins with, e.g. `L04` and `L07` of `l04_l07_create_and_update`.
fn codes(name: &str) -> impl Iterator<Item = String> {
    name.split('_').take_while(|word| is_code(word)).map(str::to_uppercase)
}

/// The codes in the names of all tests, each with the file of one of them.
fn tested() -> BTreeMap<String, String> {
    let mut tested = BTreeMap::new();
    for file in sources() {
        let text = fs::read_to_string(&file).unwrap();
        let names = text.split("fn ").skip(1);
        let names =
            names.map(|rest| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or(""));
        for code in names.flat_map(codes) {
            tested.insert(code, file.display().to_string());
        }
    }
    tested
}

#[test]
fn each_row_has_a_test_and_each_code_in_a_tests_name_has_a_row() {
    let (rows, tested) = (rows(), tested());
    assert!(rows.len() > 100, "only {} rows were found", rows.len());
    let unique: BTreeSet<_> = rows.iter().collect();
    assert_eq!(unique.len(), rows.len(), "a code has two rows in docs/behaviours.md");
    let untested: Vec<_> = rows.iter().filter(|code| !tested.contains_key(*code)).collect();
    assert!(untested.is_empty(), "rows of docs/behaviours.md without a test: {untested:?}");
    let unknown: Vec<_> = tested.iter().filter(|(code, _)| !unique.contains(code)).collect();
    assert!(unknown.is_empty(), "codes in tests' names without a row in docs/behaviours.md: {unknown:?}");
}

#[test]
fn the_codes_of_a_name_are_its_first_words() {
    let codes = |name| codes(name).collect::<Vec<_>>();
    assert_eq!(codes("l04_l07_l12_create_and_update"), ["L04", "L07", "L12"]);
    assert_eq!(codes("q05_20_minutes_are_in_time"), ["Q05"]);
    assert_eq!(codes("a_task_with_d12_in_its_name"), Vec::<String>::new());
}
