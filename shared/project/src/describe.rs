//! The definition of each task, which its binary prints when it is run with `describe`.

use std::{
    collections::BTreeMap,
    io::{self, Read},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use lamplighter_core::definition::Definition;

use crate::{
    fault::Faults,
    workspace::{TaskPackage, Workspace},
};

/// The time within which a task must print its definition. A program that ignores the argument may never end.
const LIMIT: Duration = Duration::from_secs(30);

/// A task's definition, and the place where it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedTask {
    /// The definition.
    pub definition: Definition,
    /// The file that defines it, relative to the workspace.
    pub source: String,
    /// The folder of its package.
    pub folder: PathBuf,
}

/// Runs each task's binary and reads the definition, in the order of the names. A binary without a valid definition is a fault.
pub fn describe(
    workspace: &Workspace,
    binaries: &BTreeMap<String, PathBuf>,
) -> Result<Vec<DescribedTask>, Faults> {
    let mut faults = Faults::default();
    let mut described = Vec::new();
    for task in &workspace.tasks {
        let definition = match binaries.get(task.name.as_str()) {
            Some(binary) => definition(&workspace.root, task, binary),
            None => Err("its binary was not built".to_owned()),
        };
        match definition {
            Ok(definition) => described.push(DescribedTask {
                definition,
                source: task.source.clone(),
                folder: task.folder.clone(),
            }),
            Err(reason) => {
                faults.add(&task.source, "", format!("package `{}` has no task: {reason}", task.package));
            }
        }
    }
    faults.none_or(described)
}

fn definition(folder: &Path, task: &TaskPackage, binary: &Path) -> Result<Definition, String> {
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
    let definition: Definition = serde_json::from_slice(&stdout)
        .map_err(|error| format!("`{name} describe` printed no definition: {error}"))?;
    if definition.name == *name {
        Ok(definition)
    } else {
        Err(format!("the task is named `{}`, but its folder is named `{name}`", definition.name))
    }
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
