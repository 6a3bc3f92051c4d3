//! The files of a project, new or in a workspace that exists.

use std::path::Path;

use lamplighter_core::definition::Definition;
use lamplighter_project::{
    Project,
    config::{self, Config},
    describe::DescribedTask,
    versions,
};
use lamplighter_template::{Application, TEMPLATE, render};

use super::{
    changes::Changes,
    filled,
    manifest::{self, ManifestError},
    source::Crates,
    task::{Kind, NewTask},
};

/// The crates of a project.
pub(crate) const CRATES: [&str; 3] = ["lamplighter", "lamplighter-dispatcher", "lamplighter-pulse"];
/// The folders of the framework's functions, which are members of a project's workspace.
const MEMBERS: [&str; 2] = ["functions/dispatcher", "functions/pulse"];
/// The default folder of new tasks.
pub(crate) const TASKS: &str = "functions/tasks";
/// The file with the application's own resources in a new project.
pub(crate) const APPLICATION: &str = "infra/application.yaml";

/// Adds the files of a new project with one task of each kind.
pub(crate) fn new(name: &str, kinds: &[Kind], crates: &Crates) -> anyhow::Result<Changes> {
    let mut changes = Changes::default();
    let manifest = include_str!("../../templates/Cargo.toml");
    changes.create("Cargo.toml", manifest::add_crates(manifest, crates, &CRATES)?);
    functions(&mut changes);
    let mut tasks = Vec::new();
    for kind in kinds {
        let task = NewTask::example(*kind)?;
        task.write(Path::new(TASKS), &mut changes);
        tasks.push(task);
    }
    settings(name, APPLICATION, TEMPLATE, &mut changes);
    changes.create("samconfig.toml", sam_settings(name, TEMPLATE));
    let application = include_str!("../../templates/application.yaml");
    changes.create(APPLICATION, application);
    changes.create(TEMPLATE, template(name, &tasks, application)?);
    changes.create(".gitignore", include_str!("../../templates/gitignore"));
    changes.create("README.md", filled(include_str!("../../templates/README.md"), &[("project", name)]));
    changes.create(".github/workflows/deploy.yml", deploy_workflow());
    Ok(changes)
}

/// Adds the packages of the framework's functions.
pub(crate) fn functions(changes: &mut Changes) {
    for (name, source) in [
        ("dispatcher", include_str!("../../templates/dispatcher.rs")),
        ("pulse", include_str!("../../templates/pulse.rs")),
    ] {
        let manifest = format!(
            "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\npublish = false\n\n\
             [dependencies]\nlamplighter-{name}.workspace = true\n"
        );
        changes.create(format!("functions/{name}/Cargo.toml"), manifest);
        changes.create(format!("functions/{name}/src/main.rs"), source);
    }
}

/// Adds lamplighter.toml. It names the stack's template only if that is not the default.
pub(crate) fn settings(name: &str, application: &str, template: &str, changes: &mut Changes) {
    let template = if template == TEMPLATE { String::new() } else { format!("template = \"{template}\"\n") };
    let values = [("project", name), ("application", application), ("template", &template)];
    changes.create(config::FILE, filled(include_str!("../../templates/lamplighter.toml"), &values));
}

/// The workflow that tests and deploys the project, with this version of the program.
fn deploy_workflow() -> String {
    filled(include_str!("../../templates/deploy.yml"), &[("version", versions::OURS)])
}

/// The settings of `sam deploy`.
pub(crate) fn sam_settings(name: &str, template: &str) -> String {
    filled(include_str!("../../templates/samconfig.toml"), &[("project", name), ("template", template)])
}

/// Edits the manifest of a workspace, or of a package that becomes one.
pub(crate) fn workspace(text: &str, crates: &Crates) -> Result<String, ManifestError> {
    manifest::add_crates(&manifest::add_members(text, &MEMBERS)?, crates, &CRATES)
}

/// Renders the stack's template of a new project. Its tasks need not be compiled for it: their definitions are known.
fn template(name: &str, tasks: &[NewTask], application: &str) -> anyhow::Result<String> {
    let described = |task: &NewTask| -> anyhow::Result<DescribedTask> {
        let definition: Definition = serde_json::from_str(task.kind.definition())?;
        let folder = Path::new(TASKS).join(task.name.as_str());
        let source = format!("{}/src/lib.rs", folder.display());
        Ok(DescribedTask { definition, binary: task.name.to_string(), source, folder })
    };
    let mut described = tasks.iter().map(described).collect::<anyhow::Result<Vec<_>>>()?;
    described.sort_by(|a, b| a.definition.name.cmp(&b.definition.name));
    let project = Project::resolve(name, described, &Config::default(), None)?;
    let application = Application::parse(APPLICATION, application)?;
    Ok(render(&project, Some(&application))?)
}
