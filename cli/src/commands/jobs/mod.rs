//! `lamplighter jobs`: those there are, the dead letters, and another go.

mod dead;
mod list;
mod one_job;
mod replay;

pub(crate) use self::one_job::{Abort, Result, Status, wait_and_print};
use super::Purpose;
use crate::words::Words;

/// Lists jobs, and those that failed with the messages that nobody understood; gives them another go.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  lamplighter jobs list\n  lamplighter jobs dead\n  lamplighter jobs replay send-receipt --all"
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    List(list::Arguments),
    Dead(dead::Arguments),
    Replay(replay::Arguments),
}

impl Arguments {
    pub(super) fn purpose(&self) -> Purpose {
        match self.what {
            What::List(_) | What::Dead(_) => Purpose::Answer,
            What::Replay(_) => Purpose::Report,
        }
    }
}

pub(crate) fn run(words: &Words, arguments: &Arguments) -> anyhow::Result<()> {
    match &arguments.what {
        What::List(arguments) => list::run(words, arguments),
        What::Dead(arguments) => dead::run(words, arguments),
        What::Replay(arguments) => replay::run(words, arguments),
    }
}
