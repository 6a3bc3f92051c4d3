//! The definition of each task, which its binary prints when it is run with `describe`.

use std::{
    collections::BTreeMap,
    io::{self, Read},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use lamplighter_core::definition::{Definition, Description};
use serde::{Deserialize, Serialize};

use crate::{
    compile::Binaries,
    fault::Faults,
    versions,
    workspace::{TaskBinary, Workspace},
};

/// The time within which a task must print its definition. A program that ignores the argument may never end.
const LIMIT: Duration = Duration::from_secs(30);

/// A task's definition, and the place where it was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DescribedTask {
    /// The definition.
    pub definition: Definition,
    /// The name of its binary.
    pub binary: String,
    /// The file that defines it, relative to the workspace.
    pub source: String,
    /// The folder of its package.
    pub folder: PathBuf,
}

/// Reads the definition of each task, in the order of the tasks' names. Runs the task's binary unless `known` returns
/// the definition. A binary without a valid definition is a fault.
pub fn describe(
    workspace: &Workspace,
    binaries: &Binaries,
    known: impl Fn(&str, &Path) -> Option<Definition>,
) -> Result<Vec<DescribedTask>, Faults> {
    let mut faults = Faults::default();
    let mut described: Vec<DescribedTask> = Vec::new();
    for task in &workspace.tasks {
        let definition = match binaries.paths.get(&task.name) {
            Some(binary) => match known(&task.name, binary) {
                Some(definition) => Ok(definition),
                None => definition(&workspace.root, task, binary),
            },
            None => Err("it was not built".to_owned()),
        };
        match definition {
            Ok(definition) => described.push(DescribedTask {
                definition,
                binary: task.name.clone(),
                source: task.source.clone(),
                folder: task.folder.clone(),
            }),
            Err(reason) => {
                let reason = format!(
                    "the binary `{}` of package `{}` has no usable task: {reason}",
                    task.name, task.package
                );
                faults.add(&task.source, "", reason);
            }
        }
    }
    described.sort_by(|a, b| a.definition.name.cmp(&b.definition.name));
    duplicates(workspace, &described, &mut faults);
    faults.none_or(described)
}

/// Adds a fault for each task whose name another task or another function has.
fn duplicates(workspace: &Workspace, described: &[DescribedTask], faults: &mut Faults) {
    let functions = workspace.functions.iter().map(|function| (function.name.as_str(), &function.manifest));
    let mut seen: BTreeMap<_, _> = functions.collect();
    for task in described {
        let name = task.definition.name.as_str();
        if let Some(first) = seen.insert(name, &task.source) {
            let reason =
                format!("`{name}` is also the name of {first}: each function needs a name of its own");
            faults.add(&task.source, "name", reason);
        }
    }
}

fn definition(folder: &Path, task: &TaskBinary, binary: &Path) -> Result<Definition, String> {
    let name = &task.name;
    let output =
        run(folder, binary).map_err(|error| format!("`{name} describe` could not be run: {error}"))?;
    let Some(Output { status, stdout, stderr }) = output else {
        return Err(format!("`{name} describe` did not end within {} s", LIMIT.as_secs()));
    };
    if !status.success() {
        let stderr = String::from_utf8_lossy(&stderr);
        let last = stderr.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it printed no error");
        return Err(format!("`{name} describe` failed with {status}: {last}"));
    }
    let none = |error| format!("`{name} describe` printed no definition: {error}");
    // A definition of another version may have another form, so the version is checked first.
    let Built { lamplighter } = serde_json::from_slice(&stdout).map_err(none)?;
    versions::check_task(&task.package, &lamplighter)?;
    let Description { definition, .. } = serde_json::from_slice(&stdout).map_err(none)?;
    Ok(definition)
}

/// The version that a task was built with, whatever else it prints.
#[derive(Deserialize)]
struct Built {
    lamplighter: String,
}

/// Returns the program's output, or nothing if it did not end in time.
fn run(folder: &Path, binary: &Path) -> io::Result<Option<Output>> {
    let mut child = Command::new(binary)
        .arg("describe")
        // The current folder of all processes of the project.
        .current_dir(folder)
        .env_remove("AWS_LAMBDA_RUNTIME_API")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let [stdout, stderr] = [reader(child.stdout.take()), reader(child.stderr.take())];
    let Some(status) = wait(&mut child)? else {
        child.kill()?;
        child.wait()?;
        return Ok(None);
    };
    let text = |reader: thread::JoinHandle<Vec<u8>>| reader.join().unwrap_or_default();
    Ok(Some(Output { status, stdout: text(stdout), stderr: text(stderr) }))
}

fn wait(child: &mut Child) -> io::Result<Option<ExitStatus>> {
    let deadline = Instant::now() + LIMIT;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// Reads on a thread of its own, so that a full pipe does not block the program.
fn reader(pipe: Option<impl Read + Send + 'static>) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut text = Vec::new();
        // The text that was read before an error is still useful.
        let _ = pipe.map(|mut pipe| pipe.read_to_end(&mut text));
        text
    })
}
