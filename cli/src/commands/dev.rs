//! `lamplighter dev`: as `start`, and what changes in the sources is what the next run has.

use std::sync::Arc;

use super::start::{How, headline, variables};
use crate::{
    compile::Profile,
    runner::{
        service::{Ends, serve},
        sources::Sources,
        start::{build, ready},
        teller::{self, Teller},
        watching::Watched,
    },
    target::Place,
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
    teller::never_wait(words, how.json);
    let Some(variables) = variables(words, how.json)? else { return Ok(()) };
    let workspace = super::workspace()?;
    place.check(&workspace)?;
    // Before the build, so that what changes during it is not overlooked.
    let sources = Sources::of(&workspace, &place.home(&workspace));
    let seen = sources.look().stamp;
    let built = build(&workspace, &variables, how.environment.as_deref(), &how.secrets, Profile::Dev)?;
    super::runtime()?.block_on(async {
        let ends = Ends::by_signals()?;
        let teller = Arc::new(Teller::new(words, how.json, &place.stack(&workspace)));
        let wanted = how.wanted(place, &variables);
        let mut service = ready(&workspace, &built, wanted, &teller).await?;
        headline(&teller, &service, &built.project);
        let told = (how.environment.clone(), how.secrets.clone());
        let watched = Watched::new(&workspace, sources, seen, built, variables, told, place.clone());
        service.watched = Some(watched);
        serve(service, ends, teller).await
    })
}
