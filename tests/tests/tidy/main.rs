//! Rules that no compiler checks: dependencies of crates and modules, the beginning, name and length of files, and the list
//! of behaviours.

mod behaviours;
mod modules;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, PackageId};
use lamplighter_e2e::repository;

/// Packages that `core` must not depend on, since they read a socket, a file or randomness, or wait. Names that end with `-`
/// are prefixes. `log` is not listed: the metadata unites the features of the whole workspace, so it appears below `jiff`,
/// although `core` is built without it.
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
    // For Lambda's platform, since other platforms add packages.
    let options = ["--locked", "--filter-platform", "x86_64-unknown-linux-gnu"].map(str::to_owned);
    let manifest = repository().join("Cargo.toml");
    MetadataCommand::new().manifest_path(manifest).other_options(options).exec().unwrap()
}

/// The direct and indirect dependencies of a package, without those of tests and build scripts only.
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
fn make_test_runs_each_test_program() {
    let makefile = fs::read_to_string(repository().join("Makefile")).unwrap();
    let (_, recipe) = makefile.split_once("\ntest:\n").unwrap();
    let (recipe, _) = recipe.split_once("\n\n").unwrap();
    let metadata = metadata();
    let targets = metadata.workspace_packages().into_iter().flat_map(|package| &package.targets);
    let programs: BTreeSet<_> =
        targets.filter(|target| target.is_test()).map(|target| &target.name).collect();
    assert!(programs.iter().any(|name| *name == "tidy"), "{programs:?}");
    for program in programs {
        assert!(recipe.contains(&format!("--test {program}")), "`make test` does not run {program}");
    }
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
fn core_reads_no_clock_randomness_or_environment() {
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
        // The local services only with the feature `testing`, for users' tests.
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
fn q16_an_application_that_enqueues_jobs_depends_on_no_runtime() {
    let tree = |more: &[&str]| {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command.args([
            "tree",
            "--locked",
            "--package",
            "lamplighter",
            "--edges",
            "normal",
            "--prefix",
            "none",
        ]);
        let output = command.args(more).current_dir(repository()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let lines = String::from_utf8(output.stdout).unwrap();
        lines.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect::<BTreeSet<_>>()
    };
    let of_tasks = ["lambda_runtime", "lamplighter-macros", "reqwest", "rustix", "tracing-subscriber"];
    let (all, jobs) = (tree(&[]), tree(&["--no-default-features"]));
    for package in of_tasks {
        assert!(all.contains(package) && !jobs.contains(package), "{package}: {jobs:?}");
    }
    for package in ["aws-sdk-dynamodb", "aws-sdk-sqs", "lamplighter-aws"] {
        assert!(jobs.contains(package), "{package}: {jobs:?}");
    }
}

#[test]
fn every_file_begins_with_a_module_doc_and_has_a_specific_name() {
    let sources = sources();
    assert!(sources.len() > 50, "only {} files were found", sources.len());
    for file in sources {
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("//! "), "{} does not begin with `//! `", file.display());
        let name = file.file_stem().unwrap().to_string_lossy();
        assert!(!["utils", "util", "common", "helpers"].contains(&name.as_ref()), "{}", file.display());
    }
}

#[test]
fn no_library_prints_with_a_macro() {
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
        // The macros panic if the output is closed, and block if nobody reads it.
        let found = code.find(|line| {
            ["print!(", "println!(", "eprint!(", "eprintln!(", "dbg!("].iter().any(|word| line.contains(word))
        });
        assert_eq!(found, None, "{} prints", file.display());
    }
}

/// The `src` folder of each package of the workspace, and the folder of each test program that has modules.
fn crates() -> Vec<PathBuf> {
    let metadata = metadata();
    let mut folders = Vec::new();
    for package in metadata.workspace_packages() {
        let root = package.manifest_path.parent().expect("a manifest is in a folder");
        folders.push(root.join("src").into_std_path_buf());
        let tests = package.targets.iter().filter(|target| target.is_test());
        let with_modules = tests.filter(|target| target.src_path.file_name() == Some("main.rs"));
        folders.extend(with_modules.map(|target| target.src_path.parent().unwrap().as_std_path().to_owned()));
    }
    folders
}

#[test]
fn no_modules_of_a_crate_depend_on_each_other_in_a_cycle() {
    let crates = crates();
    assert!(crates.len() > 15, "only {} packages were found", crates.len());
    let mut found = Vec::new();
    for src in crates {
        for cycle in modules::cycles(&src) {
            let names: Vec<_> = cycle.iter().map(|module| module.join("::")).collect();
            found.push(format!(
                "{}: {}",
                src.strip_prefix(repository()).unwrap().display(),
                names.join(", ")
            ));
        }
    }
    assert!(found.is_empty(), "move what these modules share to a lower module:\n{}", found.join("\n"));
}

#[test]
fn no_source_file_has_more_than_500_lines_before_its_tests() {
    let files = crates().into_iter().flat_map(|src| rust_files(&src));
    let is_tests = |file: &PathBuf| file.file_stem().is_some_and(|name| name == "tests");
    let long = files.filter(|file| !is_tests(file)).filter_map(|file| {
        let lines = without_tests(&fs::read_to_string(&file).unwrap()).lines().count();
        (lines > 500).then(|| format!("{} ({lines})", file.strip_prefix(repository()).unwrap().display()))
    });
    let long: Vec<_> = long.collect();
    assert!(long.is_empty(), "split these files: {}", long.join(", "));
}

/// The text of a file before its unit tests.
fn without_tests(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod ").next().unwrap_or_default()
}

/// All Rust files of the repository, without the inputs of compile tests.
fn sources() -> Vec<PathBuf> {
    let folders = ["shared", "functions", "cli", "tests", "benches"];
    let files = folders.iter().flat_map(|folder| rust_files(&repository().join(folder)));
    files.filter(|file| !file.components().any(|part| part.as_os_str() == "ui")).collect()
}

/// The Rust files in a folder and its folders.
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
