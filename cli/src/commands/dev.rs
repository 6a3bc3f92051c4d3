//! `lamplighter dev`: runs the tasks as `start` does, and rebuilds them when their sources change.

use std::sync::Arc;

use lamplighter_project::compile::Profile;
use lamplighter_runner::{
    build::build, events::Reporter, service::serve, sources::Sources, start::ready, stop_signals::StopTokens,
    watching::WatchedSources,
};

use super::start::{RunnerArguments, headline, variables};
use crate::{
    stack::target::Place,
    terminal::reporter::{self, Terminal},
    words::Words,
};

/// Runs the tasks as `start` does, and rebuilds them on changes.
///
/// The next run of a task uses its new code. If a build fails, its errors are shown and the previous code stays in use.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Example:\n  lamplighter dev --environment dev")]
pub(crate) struct Arguments {
    #[command(flatten)]
    options: RunnerArguments,
    #[command(flatten)]
    place: Place,
}

pub(crate) fn run(words: &Words, arguments: &Arguments) -> anyhow::Result<()> {
    let Arguments { options, place } = arguments;
    reporter::never_wait(words, options.json);
    let Some(variables) = variables(words, options.json)? else { return Ok(()) };
    let workspace = super::workspace()?;
    place.check(&workspace)?;
    // Before the build, so that changes during the build are noticed.
    let sources = Sources::of(&workspace, &place.home(&workspace));
    let seen = sources.scan().stamp;
    let built =
        build(&workspace, &variables, options.environment.as_deref(), &options.secrets.file(), Profile::Dev)?;
    super::runtime()?.block_on(async {
        let stops = StopTokens::by_signals()?;
        let location = place.location(&workspace);
        let terminal = Arc::new(Terminal::new(words, options.json, &location.stack));
        let reporter: Arc<dyn Reporter> = Arc::<Terminal>::clone(&terminal);
        let mut service = ready(&workspace, &built, options.wanted(&location, &variables), &reporter).await?;
        headline(&terminal, &service, &built.project);
        let options = (options.environment.clone(), options.secrets.file());
        let watched = WatchedSources::new(&workspace, sources, seen, built, variables, options, location);
        service.watched = Some(watched);
        serve(service, stops, reporter).await
    })
}
