//! `lamplighter jobs`: the state, result and end of one job, and lists, dead letters and replays.

mod dead;
mod list;
mod one_job;
mod replay;

pub(crate) use self::one_job::{Abort, Result, Status, wait_and_print};
use super::Purpose;
use crate::words::Words;

/// Shows, aborts, lists and replays jobs.
///
/// `jobs status`, `jobs result` and `jobs abort` are the same as `status`, `result` and `abort`.
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Example:\n  lamplighter jobs list\n  lamplighter jobs dead\n  lamplighter jobs replay send-receipt --all"
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: JobsCommand,
}

#[derive(Debug, clap::Subcommand)]
enum JobsCommand {
    Status(Status),
    Result(Result),
    Abort(Abort),
    List(list::Arguments),
    Dead(dead::Arguments),
    Replay(replay::Arguments),
}

impl Arguments {
    pub(super) fn purpose(&self) -> Purpose {
        match self.command {
            JobsCommand::Status(_) | JobsCommand::Result(_) | JobsCommand::List(_) | JobsCommand::Dead(_) => {
                Purpose::Answer
            }
            JobsCommand::Abort(_) | JobsCommand::Replay(_) => Purpose::Report,
        }
    }
}

pub(crate) fn run(words: &Words, arguments: &Arguments) -> anyhow::Result<()> {
    match &arguments.command {
        JobsCommand::Status(arguments) => arguments.run(words),
        JobsCommand::Result(arguments) => arguments.run(words),
        JobsCommand::Abort(arguments) => arguments.run(words),
        JobsCommand::List(arguments) => list::run(words, arguments),
        JobsCommand::Dead(arguments) => dead::run(words, arguments),
        JobsCommand::Replay(arguments) => replay::run(words, arguments),
    }
}
