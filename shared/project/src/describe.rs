//! What each task says of itself: its binary is run with `describe`.

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

/// The time a task has to describe itself. A program that ignores the argument may never end.
const LIMIT: Duration = Duration::from_secs(30);

/// A task and where it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedTask {
    /// What it says of itself.
    pub definition: Definition,
    /// The file that defines it, relative to the workspace.
    pub source: String,
    /// Its package's folder.
    pub folder: PathBuf,
}

/// Runs each task's binary, in the order of the names. Every task that is none is a fault.
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
    let ended =
        run(folder, binary).map_err(|error| format!("`{name} describe` could not be run: {error}"))?;
    let Some(Output { status, stdout, stderr }) = ended else {
        return Err(format!("`{name} describe` did not end within {} s", LIMIT.as_secs()));
    };
    if !status.success() {
        let said = String::from_utf8_lossy(&stderr);
        let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it said nothing");
        return Err(format!("`{name} describe` failed with {status}: {last}"));
    }
    let definition: Definition = serde_json::from_slice(&stdout)
        .map_err(|error| format!("`{name} describe` printed no definition: {error}"))?;
    if definition.name == *name {
        Ok(definition)
    } else {
        Err(format!("it is called `{}`, but its folder says `{name}`", definition.name))
    }
}

/// The program's output; nothing if it did not end in time.
fn run(folder: &Path, binary: &Path) -> io::Result<Option<Output>> {
    let mut child = Command::new(binary)
        .arg("describe")
        // As all processes of the project have it.
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

/// Reads beside the waiting, so that a program that says much is not held up by a full pipe.
fn reader(pipe: Option<impl Read + Send + 'static>) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut text = Vec::new();
        // What was read until an error still tells what the program said.
        let _ = pipe.map(|mut pipe| pipe.read_to_end(&mut text));
        text
    })
}
