//! `lamplighter build`: compiles and packages every function.

use lamplighter_project::{
    compile::{Linker, Profile},
    config::Config,
    package::{self, Package},
};

use crate::{
    terminal::{output, show::table},
    tr,
    words::Words,
};

/// Compiles and packages every function.
///
/// The functions are the tasks, the dispatcher and the others of the workspace. The packages are written to
/// target/lamplighter.
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("how").args(["dev", "native"])))]
#[command(after_long_help = "Example:\n  lamplighter build --native")]
pub(crate) struct Arguments {
    /// Builds with plain cargo, for this machine only, which is faster.
    #[arg(long)]
    dev: bool,
    /// The environment. Overrides `environment` in lamplighter.toml.
    #[arg(long)]
    environment: Option<String>,
    /// Links with this machine's linker instead of zig.
    #[arg(long)]
    native: bool,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(words: &Words, arguments: &Arguments) -> anyhow::Result<()> {
    let workspace = super::workspace()?;
    let Arguments { dev, native, json, .. } = *arguments;
    let profile = if dev {
        Profile::Dev
    } else {
        let architecture = Config::load(&workspace.root)?.build.architecture;
        Profile::Release { architecture, linker: if native { Linker::Native } else { Linker::Zig } }
    };
    let packages = package::package_all(&workspace, profile, arguments.environment.as_deref())?;
    if json {
        output::plain(serde_json::to_string_pretty(&packages)?);
    } else {
        lines(words, &packages).iter().for_each(output::line);
    }
    Ok(())
}

fn lines(words: &Words, packages: &[Package]) -> Vec<String> {
    let rows = packages.iter().map(|package| [package.name.clone(), size(words, package.zip_bytes)]);
    table(words, 0, &rows.collect::<Vec<_>>())
}

/// A size in megabytes or kilobytes, with one decimal.
fn size(words: &Words, bytes: u64) -> String {
    let tenths = |unit: u64| {
        let tenths = (bytes * 10).div_ceil(unit);
        words.decimal(&format!("{}.{}", tenths / 10, tenths % 10))
    };
    if bytes < 1_000_000 {
        tr!(words, "build-size-kb", size = tenths(1000))
    } else {
        tr!(words, "build-size-mb", size = tenths(1_000_000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::Locale;

    #[test]
    fn sizes_are_rounded_up() {
        let words = Words::new(Locale::En);
        assert_eq!(
            [0, 1, 999_999, 1_000_001].map(|bytes| size(&words, bytes)),
            ["0.0 kB", "0.1 kB", "1000.0 kB", "1.1 MB"]
        );
    }
}
