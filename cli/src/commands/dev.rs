//! `lamplighter dev`: as `start`, and what changes in the sources is what the next run has.

use std::sync::Arc;

use lamplighter_project::compile::Profile;
use lamplighter_runner::{
    events::Reporter,
    service::{Ends, serve},
    sources::Sources,
    start::{build, ready},
    watching::Watched,
};

use super::start::{How, headline, variables};
use crate::{
    stack::target::Place,
    terminal::reporter::{self, Terminal},
    words::Words,
};

/// Runs the tasks of the workspace on this machine, as `start` does, and builds what changes in its sources: the next run has
/// it. What cannot be built is shown, and the old code goes on.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  lamplighter dev --environment dev")]
pub(crate) struct Arguments {
    #[command(flatten)]
    how: How,
    #[command(flatten)]
    place: Place,
}

pub(crate) fn run(words: &Words, arguments: &Arguments) -> anyhow::Result<()> {
    let Arguments { how, place } = arguments;
    reporter::never_wait(words, how.json);
    let Some(variables) = variables(words, how.json)? else { return Ok(()) };
    let workspace = super::workspace()?;
    place.check(&workspace)?;
    // Before the build, so that what changes during it is not overlooked.
    let sources = Sources::of(&workspace, &place.home(&workspace));
    let seen = sources.look().stamp;
    let built = build(&workspace, &variables, how.environment.as_deref(), &how.secrets.file(), Profile::Dev)?;
    super::runtime()?.block_on(async {
        let ends = Ends::by_signals()?;
        let location = place.location(&workspace);
        let terminal = Arc::new(Terminal::new(words, how.json, &location.stack));
        let reporter: Arc<dyn Reporter> = Arc::<Terminal>::clone(&terminal);
        let mut service = ready(&workspace, &built, how.wanted(&location, &variables), &reporter).await?;
        headline(&terminal, &service, &built.project);
        let options = (how.environment.clone(), how.secrets.file());
        let watched = Watched::new(&workspace, sources, seen, built, variables, options, location);
        service.watched = Some(watched);
        serve(service, ends, reporter).await
    })
}
