//! `lamplighter build`: compiles every function and packages it.

use crate::{
    compile::{Linker, Profile},
    config::Config,
    package::{self, Package},
};

/// Compiles every task, the dispatcher and the other functions, and packages them below target/lamplighter.
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("how").args(["dev", "native"])))]
pub(crate) struct Arguments {
    /// Builds quickly with plain cargo, for this machine only.
    #[arg(long)]
    dev: bool,
    /// Links a release with this machine's own linker instead of zig.
    #[arg(long)]
    native: bool,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let workspace = super::workspace()?;
    let Arguments { dev, native, json } = *arguments;
    let profile = if dev {
        Profile::Dev
    } else {
        let architecture = Config::load(&workspace.root)?.build.architecture;
        Profile::Release { architecture, linker: if native { Linker::Native } else { Linker::Zig } }
    };
    let packages = package::package_all(&workspace, profile)?;
    if json {
        println!("{}", serde_json::to_string_pretty(&packages)?);
    } else {
        print!("{}", lines(&packages));
    }
    Ok(())
}

fn lines(packages: &[Package]) -> String {
    let width = packages.iter().map(|package| package.name.len()).max().unwrap_or(0);
    let line = |package: &Package| format!("{:width$}  {}\n", package.name, size(package.zip_bytes));
    packages.iter().map(line).collect()
}

/// A size in megabytes or kilobytes, with one decimal.
fn size(bytes: u64) -> String {
    let tenths = |unit: u64| (bytes * 10).div_ceil(unit);
    let (tenths, unit) = if bytes < 1_000_000 { (tenths(1000), "kB") } else { (tenths(1_000_000), "MB") };
    format!("{}.{} {unit}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_rounded_up() {
        assert_eq!([0, 1, 999_999, 1_000_001].map(size), ["0.0 kB", "0.1 kB", "1000.0 kB", "1.1 MB"]);
    }
}
