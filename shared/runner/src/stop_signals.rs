//! Ctrl-C and the other signals that stop a runner: the first lets runs finish, the second cancels them.

use lamplighter_aws::process::EndSignals;
use tokio_util::sync::CancellationToken;

/// The two ways to stop a runner.
#[derive(Clone, Debug, Default)]
pub struct StopTokens {
    /// Starts nothing new, and lets runs finish within the grace.
    pub stop: CancellationToken,
    /// Stops without waiting for runs: their processes are killed.
    pub at_once: CancellationToken,
}

impl StopTokens {
    /// Tokens that fire on SIGTERM, SIGHUP and SIGINT: the first signal fires `stop`, the second `at_once`.
    pub fn by_signals() -> anyhow::Result<Self> {
        let tokens = Self::default();
        let fired = tokens.clone();
        let mut signals = EndSignals::of_anybody()?;
        tokio::spawn(async move {
            for token in [&fired.stop, &fired.at_once] {
                signals.next().await;
                token.cancel();
            }
        });
        Ok(tokens)
    }
}
