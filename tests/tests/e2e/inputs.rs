//! Runs the fuzz targets on the committed corpus, so that fixed faults stay fixed.

#[path = "../../../fuzz/inputs.rs"]
mod targets;

use std::{fs, path::Path};

/// Runs a target on the files of its corpus.
fn over_corpus(target: &str, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let files = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let mut count = 0;
    for file in files {
        println!("{}", file.display());
        run(&fs::read(&file).unwrap());
        count += 1;
    }
    assert!(count >= 3, "the corpus of {target} has {count} inputs");
}

#[test]
fn schedules_of_the_corpus() {
    over_corpus("schedules", targets::schedules);
}

#[test]
fn envelopes_of_the_corpus() {
    over_corpus("envelopes", targets::envelopes);
}

#[test]
fn messages_of_the_corpus() {
    over_corpus("messages", targets::messages);
}

#[test]
fn project_files_of_the_corpus() {
    over_corpus("project_file", targets::project_file);
}

#[test]
fn applications_of_the_corpus() {
    over_corpus("application", targets::application);
}

#[test]
fn items_of_the_corpus() {
    over_corpus("items", targets::items);
}
