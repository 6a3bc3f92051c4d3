//! Compile errors of `#[task]` point at the author's code. Review changed snapshots: the caret must be under the fault, and
//! the text must name the expected value.

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::Mutex,
    thread,
    time::SystemTime,
};

/// The variable that, set to `overwrite`, updates the snapshots.
const MODE: &str = "COMPILE_ERRORS";

#[test]
fn c02_every_error_points_at_the_authors_code() {
    let compiler = Compiler::new();
    let mut cases: Vec<_> = fs::read_dir("tests/ui").unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.retain(|path| path.extension().is_some_and(|extension| extension == "rs"));
    assert!(cases.len() > 50, "only {} cases were found", cases.len());
    let (cases, faults) = (Mutex::new(cases), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let Some(case) = cases.lock().unwrap().pop() else { break };
                    if let Some(fault) = compiler.fault_of(&case) {
                        faults.lock().unwrap().push(format!("{}: {fault}", case.display()));
                    }
                }
            });
        }
    });
    let mut faults = faults.into_inner().unwrap();
    faults.sort();
    assert!(
        faults.is_empty(),
        "{}\n\n{MODE}=overwrite updates the snapshots; then review them",
        faults.join("\n\n")
    );
}

/// Compiles cases against the library of this test, so that no dependency is compiled again.
struct Compiler {
    dependencies: PathBuf,
    lamplighter: PathBuf,
    made: tempfile::TempDir,
}

impl Compiler {
    fn new() -> Self {
        let dependencies = env::current_exe().unwrap().parent().unwrap().to_owned();
        let made = tempfile::tempdir().unwrap();
        let compiler = Self { lamplighter: newest_library(&dependencies), dependencies, made };
        // `derive(Serialize)` refers to `serde`. The folder may have several, so the library's own is re-exported.
        let serde = compiler.made.path().join("serde.rs");
        fs::write(&serde, "pub use lamplighter::prelude::serde::*;").unwrap();
        let output = compiler.compile(&serde, "lib", &[]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        compiler
    }

    /// Returns the fault of a case, if any.
    fn fault_of(&self, case: &Path) -> Option<String> {
        let mut serde = OsString::from("serde=");
        serde.push(self.made.path().join("libserde.rmeta"));
        let output = self.compile(case, "bin", &["--extern".into(), serde]);
        if output.status.success() {
            return Some("it compiles, but must not".to_owned());
        }
        let said = normalised(&String::from_utf8(output.stderr).unwrap());
        let snapshot = case.with_extension("stderr");
        if env::var_os(MODE).is_some_and(|mode| mode == "overwrite") {
            fs::write(&snapshot, &said).unwrap();
        }
        let expected = fs::read_to_string(&snapshot).unwrap_or_default();
        (expected != said).then(|| format!("expected:\n{expected}\nsaid:\n{said}"))
    }

    fn compile(&self, source: &Path, kind: &str, more: &[OsString]) -> Output {
        let (mut lamplighter, mut dependencies) =
            (OsString::from("lamplighter="), OsString::from("dependency="));
        lamplighter.push(&self.lamplighter);
        dependencies.push(&self.dependencies);
        let package = Path::new(env!("CARGO_MANIFEST_DIR"));
        Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
            // Cargo starts the compiler here, too. Paths of the library's source are relative to this folder.
            .current_dir(package.ancestors().nth(2).unwrap())
            // With this variable the compiler's advice is the same as under cargo.
            .env("CARGO_CRATE_NAME", "case")
            .args(["--edition", "2024", "--emit", "metadata", "--allow", "dead_code", "--color", "never"])
            .args(["--diagnostic-width", "140", "--crate-type", kind, "--out-dir"])
            .arg(self.made.path())
            .arg("--extern")
            .arg(lamplighter)
            .arg("-L")
            .arg(dependencies)
            .args(more)
            .arg(package.join(source))
            .output()
            .unwrap()
    }
}

/// Returns the library that was compiled last from the repository's source, which is at least as new as that of this test.
fn newest_library(dependencies: &Path) -> PathBuf {
    let written =
        |path: &PathBuf| path.metadata().and_then(|data| data.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
    // The tests of projects outside the repository compile the packed library to the same folder.
    let is_ours = |path: &PathBuf| {
        let name = path.file_stem().unwrap().to_string_lossy();
        let sources = path.with_file_name(name.trim_start_matches("lib")).with_extension("d");
        fs::read_to_string(sources).is_ok_and(|list| list.contains(" shared/task/src/lib.rs"))
    };
    fs::read_dir(dependencies)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rlib"))
        .filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("liblamplighter-"))
        .filter(is_ours)
        .max_by_key(written)
        .unwrap_or_else(|| panic!("no `liblamplighter-*.rlib` in {}", dependencies.display()))
}

/// Returns the compiler's errors about a case, without the parts that depend on this machine, on line numbers of the
/// library's source, or on the number of types in its dependencies.
fn normalised(said: &str) -> String {
    let of_the_case = concat!(env!("CARGO_MANIFEST_DIR"), "/");
    let mut diagnostics = Vec::new();
    for diagnostic in said.trim_end().split("\n\n") {
        if [
            "error: aborting due to ",
            "For more information about ",
            "Some errors have detailed explanations",
        ]
        .iter()
        .any(|summary| diagnostic.starts_with(summary))
        {
            continue;
        }
        let mut lines = Vec::new();
        let mut in_library = false;
        for line in diagnostic.lines() {
            let text = line.trim_start();
            let indent = &line[..line.len() - text.len()];
            if text.contains("the full name for the type has been written to")
                || text.contains("using `--verbose`")
            {
                continue;
            }
            in_library &= !line.starts_with(char::is_alphabetic);
            lines.push(if let Some(place) = text.strip_prefix("--> ") {
                let own = place.strip_prefix(of_the_case);
                in_library = own.is_none();
                let place = own.unwrap_or_else(|| place.split(':').next().unwrap_or(place));
                format!("{indent}--> {}", place.trim_start_matches("shared/task/"))
            } else if text.starts_with("and ") && text.ends_with(" others") {
                format!("{indent}and $N others")
            } else if in_library {
                format!("{indent}{}{}", " ".repeat(digits(text)), &text[digits(text)..])
            } else {
                line.to_owned()
            });
        }
        // The margin also fits the line numbers of the library's source, so its excess width is removed.
        let arrow = lines.iter().find_map(|line| line.find("--> ")).unwrap_or_default();
        let widest = lines.iter().map(|line| digits(line.trim_start())).max().unwrap_or_default();
        let margin = " ".repeat(arrow.saturating_sub(widest));
        let lines: Vec<_> =
            lines.iter().map(|line| line.strip_prefix(&margin).unwrap_or(line).trim_end()).collect();
        diagnostics.push(lines.join("\n"));
    }
    diagnostics.join("\n\n") + "\n"
}

/// The number of digits at the start of a text.
fn digits(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}
