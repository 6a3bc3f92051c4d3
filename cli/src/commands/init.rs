//! `lamplighter init`: takes Lamplighter into an existing workspace.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use cargo_metadata::MetadataCommand;
use lamplighter_core::project;
use lamplighter_project::config;
use lamplighter_template::TEMPLATE;

use crate::{
    arguments::names::Misuse,
    scaffold::{
        changes::Changes,
        project::{APPLICATION, CRATES, functions, sam_settings, settings, workspace},
        source::Source,
    },
    terminal::output,
    tr,
    words::Words,
};

/// The folders in which a SAM template is looked for, from the workspace's.
const FOLDERS: [&str; 6] = ["", "infra", "sam", "deploy", "aws", "cloudformation"];
/// The names of SAM templates.
const NAMES: [&str; 4] = ["template.yaml", "template.yml", "sam.yaml", "sam.yml"];
/// The file of the stack's template if the default file exists already.
const BESIDE_THE_APPLICATION: &str = "infra/lamplighter.yaml";
/// The transform that makes a template a SAM template.
const SAM: &str = "AWS::Serverless-2016-10-31";

/// Adds Lamplighter to an existing workspace.
///
/// It moves no file: it adds members, dependencies and files. A package without a workspace becomes one.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Example:\n  lamplighter init --dry-run")]
pub(crate) struct Arguments {
    /// Writes nothing, and shows what would be written.
    #[arg(long)]
    dry_run: bool,
    /// The project's name. Default: the name of the workspace's folder.
    #[arg(long)]
    name: Option<String>,
    /// The SAM template with the application's resources, relative to the workspace. Default: the one that is found.
    #[arg(long, value_name = "FILE")]
    application: Option<PathBuf>,
    /// Where the crates of Lamplighter come from: `registry`, `path:FOLDER` or `git:URL`.
    #[arg(long, default_value = "registry", value_name = "SOURCE")]
    source: Source,
}

pub(crate) fn run(words: &Words, arguments: &Arguments) -> anyhow::Result<()> {
    let current = super::current_folder()?;
    let metadata = MetadataCommand::new()
        .current_dir(&current)
        .no_deps()
        .exec()
        .with_context(|| tr!(words, "init-no-workspace", folder = current.display().to_string()))?;
    let root = metadata.workspace_root.as_std_path();
    if root.join(config::FILE).exists() {
        bail!(tr!(words, "init-done", file = config::FILE));
    }
    let folder = root.file_name().unwrap_or_default().to_string_lossy();
    let name = project::name(arguments.name.as_deref(), &folder);
    let name = name.map_err(|error| Misuse(tr!(words, "init-name", error = error.to_string())))?;
    let crates = arguments.source.crates(&current, &CRATES)?;

    let mut changes = Changes::default();
    let manifest = fs::read_to_string(root.join("Cargo.toml")).context("cannot read Cargo.toml")?;
    let after = workspace(&manifest, &crates)?;
    changes.edit("Cargo.toml", manifest, after);
    functions(&mut changes);
    let application = application(words, root, arguments)?;
    if application.is_none() {
        changes.create(APPLICATION, include_str!("../../templates/application.yaml"));
    }
    let template = if root.join(TEMPLATE).exists() { BESIDE_THE_APPLICATION } else { TEMPLATE };
    settings(&name, application.as_deref().unwrap_or(APPLICATION), template, &mut changes);
    let has_sam_settings = root.join("samconfig.toml").exists();
    if !has_sam_settings {
        changes.create("samconfig.toml", sam_settings(&name, template));
    }
    ignored(root, &mut changes)?;
    changes.make(words, root, arguments.dry_run)?;
    if let Some(file) = application {
        output::line(tr!(words, "init-application", file = file, template = template));
    }
    if has_sam_settings {
        output::line(tr!(words, "init-sam-settings", file = "samconfig.toml", template = template));
    }
    output::line(if arguments.dry_run { tr!(words, "new-dry-run") } else { tr!(words, "init-next") });
    Ok(())
}

/// Finds the application's template, relative to the workspace.
fn application(words: &Words, root: &Path, arguments: &Arguments) -> anyhow::Result<Option<String>> {
    let found = if let Some(file) = &arguments.application {
        let text = fs::read_to_string(root.join(file))
            .with_context(|| format!("cannot read the template {}", file.display()))?;
        if !is_template(&text) {
            bail!(tr!(words, "init-no-template", file = file.display().to_string()));
        }
        Some(file.clone())
    } else {
        let mut files =
            FOLDERS.iter().flat_map(|folder| NAMES.iter().map(move |name| Path::new(folder).join(name)));
        let is_sam = |text: String| is_template(&text) && text.contains(SAM);
        files.find(|file| fs::read_to_string(root.join(file)).is_ok_and(is_sam))
    };
    Ok(found.map(|file| file.to_string_lossy().into_owned()))
}

/// Returns true if a text has the resources of a template.
fn is_template(text: &str) -> bool {
    serde_yaml_ng::from_str::<serde_yaml_ng::Value>(text)
        .is_ok_and(|template| template.get("Resources").is_some_and(serde_yaml_ng::Value::is_mapping))
}

/// Adds the folders of this machine's stacks to .gitignore.
fn ignored(root: &Path, changes: &mut Changes) -> anyhow::Result<()> {
    let path = root.join(".gitignore");
    if !path.exists() {
        changes.create(".gitignore", include_str!("../../templates/gitignore"));
        return Ok(());
    }
    let before = fs::read_to_string(&path).context("cannot read .gitignore")?;
    let has = |line: &str| {
        let name = line.trim_matches('/');
        before.lines().any(|line| line.trim().trim_matches('/') == name)
    };
    let missing: Vec<_> =
        include_str!("../../templates/gitignore").lines().filter(|line| !has(line)).collect();
    if !missing.is_empty() {
        let gap = if before.is_empty() || before.ends_with('\n') { "" } else { "\n" };
        let after = format!("{before}{gap}{}\n", missing.join("\n"));
        changes.edit(".gitignore", before, after);
    }
    Ok(())
}
