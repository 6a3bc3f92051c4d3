//! Rules that no compiler checks: what `core` may depend on, and how files begin and are called.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, PackageId};
use lamplighter_e2e::repository;

/// What nothing below `core` may be: whatever reads a socket, a file or randomness, or waits. The metadata unites the
/// features of the whole workspace, so the mere facade `log` is seen below `jiff`, though `core` builds it without.
const IMPURE: [&str; 11] = [
    "aws-",
    "futures",
    "getrandom",
    "hyper",
    "lambda",
    "mio",
    "rand",
    "reqwest",
    "rusqlite",
    "tokio",
    "tracing",
];

fn metadata() -> Metadata {
    // For the platform that functions run on: others add shims of their own.
    let options = ["--locked", "--filter-platform", "x86_64-unknown-linux-gnu"].map(str::to_owned);
    let manifest = repository().join("Cargo.toml");
    MetadataCommand::new().manifest_path(manifest).other_options(options).exec().unwrap()
}

/// The packages that `name` is built from, however far, without what only its tests and build scripts need.
fn built_from(metadata: &Metadata, name: &str) -> BTreeSet<String> {
    let resolve = metadata.resolve.as_ref().unwrap();
    let nodes: BTreeMap<&PackageId, _> = resolve.nodes.iter().map(|node| (&node.id, node)).collect();
    let start = &metadata.packages.iter().find(|package| package.name.as_str() == name).unwrap().id;
    let (mut open, mut seen) = (vec![start], BTreeSet::new());
    while let Some(id) = open.pop() {
        for dependency in &nodes[id].deps {
            let normal = dependency.dep_kinds.iter().any(|kind| kind.kind == DependencyKind::Normal);
            if normal && seen.insert(&dependency.pkg) {
                open.push(&dependency.pkg);
            }
        }
    }
    seen.into_iter().map(|id| metadata[id].name.to_string()).collect()
}

#[test]
fn core_depends_on_nothing_that_does_io() {
    let packages = built_from(&metadata(), "lamplighter-core");
    assert!(packages.contains("serde_json"), "the search finds dependencies: {packages:?}");
    let impure = |name: &&String| {
        IMPURE.iter().any(|word| {
            name.as_str() == *word || name.starts_with(&format!("{}-", word.trim_end_matches('-')))
        })
    };
    assert_eq!(packages.iter().filter(impure).collect::<Vec<_>>(), Vec::<&String>::new());
}

#[test]
fn core_asks_for_no_time_randomness_or_environment() {
    for file in rust_files(&repository().join("shared/core/src")) {
        let text = fs::read_to_string(&file).unwrap();
        for word in [
            "::now()",
            "std::env",
            "std::fs",
            "std::net",
            "std::thread",
            "println!",
            "async fn",
            "log::",
            "tracing::",
        ] {
            assert!(!text.contains(word), "{} has `{word}`", file.display());
        }
    }
}

#[test]
fn dependencies_point_one_way() {
    let metadata = metadata();
    for (package, below) in [
        ("lamplighter-core", &[][..]),
        ("lamplighter-macros", &["lamplighter-core"]),
        ("lamplighter-aws", &["lamplighter-core"]),
        // The local parts only with its feature `testing`, for users' tests.
        ("lamplighter", &["lamplighter-core", "lamplighter-aws", "lamplighter-macros", "lamplighter-local"]),
        ("lamplighter-local", &[]),
        ("lamplighter-project", &["lamplighter-core"]),
        ("lamplighter-template", &["lamplighter-core", "lamplighter-aws", "lamplighter-project"]),
    ] {
        let ours = built_from(&metadata, package).into_iter().filter(|name| name.starts_with("lamplighter"));
        assert_eq!(
            ours.collect::<BTreeSet<_>>(),
            below.iter().map(|name| (*name).to_owned()).collect(),
            "{package}"
        );
    }
}

#[test]
fn every_file_says_what_it_is_for_and_none_is_a_drawer() {
    let sources: Vec<_> = ["shared", "functions", "cli", "tests", "benches"]
        .iter()
        .flat_map(|folder| rust_files(&repository().join(folder)))
        .filter(|file| !file.components().any(|part| part.as_os_str() == "ui"))
        .collect();
    assert!(sources.len() > 50, "only {} files were found", sources.len());
    for file in sources {
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("//! "), "{} does not begin by saying what it is for", file.display());
        let name = file.file_stem().unwrap().to_string_lossy();
        assert!(!["utils", "util", "common", "helpers"].contains(&name.as_ref()), "{}", file.display());
    }
}

#[test]
fn nothing_prints_by_a_macro_that_fails_or_waits() {
    let folders = [
        "cli",
        "shared/aws",
        "shared/dispatcher",
        "shared/local",
        "shared/project",
        "shared/pulse",
        "shared/runner",
        "shared/task",
        "shared/template",
    ];
    for file in folders.iter().flat_map(|folder| rust_files(&repository().join(folder).join("src"))) {
        let text = fs::read_to_string(&file).unwrap();
        let mut code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        // They panic where they cannot print, and wait where nobody reads.
        let found = code.find(|line| {
            ["print!(", "println!(", "eprint!(", "eprintln!(", "dbg!("].iter().any(|word| line.contains(word))
        });
        assert_eq!(found, None, "{} prints", file.display());
    }
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}
