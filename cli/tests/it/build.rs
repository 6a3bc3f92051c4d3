//! L10, L11, G06: the packages that `build` writes.

use std::{
    fs::{self, File},
    io::Read,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use crate::fixture::Workspace;

/// A workspace with a task that has files of several kinds, and a dispatcher.
fn shop() -> Workspace {
    let workspace = Workspace::new();
    let assets = json!([{ "from": "migrations", "to": "migrations" }, { "from": "scripts/setup.sql", "to": "setup.sql" }]);
    workspace.task("migrate", "migrate", json!({ "copy_assets": assets }));
    workspace.write("functions/tasks/migrate/migrations/1.sql", "create table a;");
    workspace.write("functions/tasks/migrate/migrations/later/run.sh", "#!/bin/sh\n");
    workspace.write("functions/tasks/migrate/scripts/setup.sql", "select 1;");
    let script = workspace.path("functions/tasks/migrate/migrations/later/run.sh");
    fs::set_permissions(script, fs::Permissions::from_mode(0o755)).unwrap();
    workspace.dispatcher();
    workspace
}

/// Name, mode and content of each file of a zip, in its order.
fn unzipped(path: &Path) -> Vec<(String, u32, Vec<u8>)> {
    let mut zip = zip::ZipArchive::new(File::open(path).unwrap()).unwrap();
    let count = zip.len();
    let entry = |i| {
        let mut file = zip.by_index(i).unwrap();
        let mut content = Vec::new();
        file.read_to_end(&mut content).unwrap();
        (file.name().to_owned(), file.unix_mode().unwrap() & 0o777, content)
    };
    (0..count).map(entry).collect()
}

#[test]
fn l10_a_package_has_the_binary_and_its_files_as_zip_and_as_folder() {
    let workspace = shop();
    let text = workspace.run(&["build", "--dev"]).succeeded();
    let lines: Vec<_> = text.lines().map(|line| line.split_whitespace().next().unwrap()).collect();
    assert_eq!(lines, ["dispatcher", "migrate"]);
    assert!(text.lines().all(|line| line.ends_with("kB") || line.ends_with("MB")), "{text}");

    let entries = unzipped(&workspace.path("target/lamplighter/migrate.zip"));
    let names: Vec<_> = entries.iter().map(|(name, mode, _)| (name.as_str(), *mode)).collect();
    assert_eq!(
        names,
        [
            ("assets/migrations/1.sql", 0o644),
            ("assets/migrations/later/run.sh", 0o755),
            ("assets/setup.sql", 0o644),
            ("bootstrap", 0o755),
        ]
    );
    assert_eq!(entries[2].2, b"select 1;");
    for (name, mode, content) in entries {
        let path = workspace.path("target/lamplighter/migrate").join(name);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, mode, "{}", path.display());
        assert_eq!(fs::read(&path).unwrap(), content, "{}", path.display());
    }
}

#[test]
fn l10_equal_content_makes_an_equal_zip_at_any_time() {
    let workspace = shop();
    let zip = || fs::read(workspace.path("target/lamplighter/migrate.zip")).unwrap();
    workspace.run(&["build", "--dev"]).succeeded();
    let before = zip();
    workspace.write("functions/tasks/migrate/scripts/setup.sql", "select 1;");
    workspace.run(&["build", "--dev"]).succeeded();
    assert_eq!(zip(), before, "a file's time is not in the zip");
}

#[test]
fn changed_packages_are_built_again() {
    let workspace = shop();
    let build = || workspace.run(&["build", "--dev"]).succeeded();
    build();
    let folder = workspace.path("target/lamplighter/migrate");
    let script = folder.join("assets/migrations/later/run.sh");
    let zip = workspace.path("target/lamplighter/migrate.zip");
    let before = fs::read(&zip).unwrap();
    fs::remove_file(&zip).unwrap();
    build();
    assert_eq!(fs::read(&zip).unwrap(), before);
    fs::set_permissions(&script, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(folder.join("more"), "").unwrap();
    build();
    assert_eq!(fs::metadata(&script).unwrap().permissions().mode() & 0o777, 0o755);
    assert!(!folder.join("more").exists());
    workspace.write("functions/tasks/migrate/migrations/1.sql", "create table b;");
    build();
    assert_eq!(fs::read(folder.join("assets/migrations/1.sql")).unwrap(), b"create table b;");
    assert_ne!(fs::read(&zip).unwrap(), before);
}

#[test]
fn packages_of_removed_functions_are_deleted_wherever_the_target_folder_is() {
    let workspace = shop();
    workspace.write("target/lamplighter/gone/bootstrap", "");
    workspace.write("target/lamplighter/gone.zip", "");
    let target = tempfile::tempdir().unwrap();
    let ended = workspace.run_with(&["build", "--dev", "--json"], &[("CARGO_TARGET_DIR", target.path())]);
    let packages: Value = serde_json::from_str(&ended.succeeded()).unwrap();
    assert_eq!(packages[0]["name"], "dispatcher");
    let zip = PathBuf::from(packages[1]["zip"].as_str().unwrap());
    assert_eq!(
        zip.canonicalize().unwrap(),
        workspace.path("target/lamplighter/migrate.zip").canonicalize().unwrap()
    );
    assert_eq!(packages[1]["zip_bytes"], fs::metadata(zip).unwrap().len());
    assert!(!workspace.path("target/lamplighter/gone").exists());
    assert!(!workspace.path("target/lamplighter/gone.zip").exists());
}

/// A release of a small program, by the cargo-lambda that `tests/setup` installs.
#[test]
fn g06_a_release_is_stripped_and_small() {
    let workspace = Workspace::new();
    workspace.task("migrate", "migrate", json!({}));
    workspace.dispatcher();
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools/cargo-lambda/bin");
    assert!(tools.is_dir(), "{} is missing: run tests/setup", tools.display());
    let path = format!("{}:{}", tools.display(), std::env::var("PATH").unwrap());
    let build = |arguments: &[&str]| {
        let ended = workspace.run_with(arguments, &[("PATH", Path::new(&path))]);
        let packages: Value = serde_json::from_str(&ended.succeeded()).unwrap();
        let migrate =
            packages.as_array().unwrap().iter().find(|package| package["name"] == "migrate").unwrap();
        let entries = unzipped(Path::new(migrate["zip"].as_str().unwrap()));
        let [(name, mode, binary)] = &entries[..] else { panic!("one file: {entries:?}") };
        assert_eq!((name.as_str(), mode), ("bootstrap", &0o755));
        let symbols = String::from_utf8_lossy(binary).contains("\0.symtab\0");
        (migrate["zip_bytes"].as_u64().unwrap(), symbols)
    };
    let (debug, has_symbols) = build(&["build", "--dev", "--json"]);
    assert!(has_symbols, "a debug build can be debugged");
    let (release, has_symbols) = build(&["build", "--native", "--json"]);
    assert!(!has_symbols && release < debug, "{release} of {debug} bytes");
    assert!(release < 400_000, "the standard library alone: {release} bytes");
}

/// A `cargo` whose command `lambda` runs a script.
fn cargo(workspace: &Workspace, lambda: &str) -> PathBuf {
    let cargo = workspace.path("cargo");
    let script =
        format!("#!/bin/sh\nif [ \"$1\" = lambda ]; then\n{lambda}\nfi\nexec '{}' \"$@\"\n", env!("CARGO"));
    workspace.write("cargo", &script);
    fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).unwrap();
    cargo
}

#[test]
fn without_cargo_lambda_the_error_says_how_to_install_it() {
    let workspace = shop();
    let cargo = cargo(&workspace, "echo 'error: no such command: `lambda`' >&2; exit 101");
    let error = workspace.run_with(&["build"], &[("CARGO", &cargo)]).failed();
    assert!(
        error.contains("`pip install cargo-lambda`") && error.contains("`lamplighter build --dev`"),
        "{error}"
    );
}

#[test]
fn g06_cargo_lambda_builds_a_release_for_the_projects_architecture() {
    let workspace = shop();
    workspace.write("lamplighter.toml", "[build]\narchitecture = \"arm64\"\n");
    let build = "[ \"$2\" = --version ] && exit 0\necho \"$*\" > called\n\
                 for name in dispatcher migrate; do mkdir -p target/lambda/$name; \
                 echo $name > target/lambda/$name/bootstrap; done; exit 0";
    let cargo = cargo(&workspace, build);
    let run = |arguments: &[&str]| {
        workspace.run_with(arguments, &[("CARGO", &cargo)]).succeeded();
        workspace.read("called")
    };
    let called = run(&["build"]);
    assert!(called.starts_with("lambda build --release --output-format binary --lambda-dir /"), "{called}");
    assert!(called.contains(" --arm64 ") && !called.contains("--compiler"), "{called}");
    assert!(called.contains("--package migrate --bin migrate"), "{called}");
    let entries = unzipped(&workspace.path("target/lamplighter/migrate.zip"));
    assert_eq!(entries.last().unwrap().2, b"migrate\n");
    assert!(run(&["build", "--native"]).contains("--compiler cargo"));
}
