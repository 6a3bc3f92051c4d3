//! The signals that ask a process to end.

use std::{
    fs, io,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that ask a process to end: SIGTERM, SIGHUP and, with [`EndSignals::of_anybody`], SIGINT.
///
/// When a terminal closes, its shell and the kernel each send SIGHUP. Several SIGHUPs within [`BURST`] count as one. If
/// SIGHUP is ignored when the process starts, as under `nohup`, it stays ignored.
#[derive(Debug)]
pub struct EndSignals {
    others: Vec<Signal>,
    hang_up: Option<Signal>,
    /// The time of the last SIGHUP that counted.
    hung_up: Option<Instant>,
}

/// The period in which the signals of one closing terminal arrive.
const BURST: Duration = Duration::from_secs(1);

impl EndSignals {
    /// Listens for SIGTERM and SIGHUP. Fails without a runtime that has I/O.
    pub fn of_system() -> io::Result<Self> {
        let hang_up = if ignores_hang_up() { None } else { Some(signal(SignalKind::hangup())?) };
        Ok(Self { others: vec![signal(SignalKind::terminate())?], hang_up, hung_up: None })
    }

    /// Listens for SIGINT too.
    pub fn of_anybody() -> io::Result<Self> {
        let mut signals = Self::of_system()?;
        signals.others.push(signal(SignalKind::interrupt())?);
        Ok(signals)
    }

    /// Waits for the next signal. Cancel safe.
    pub async fn next(&mut self) {
        std::future::poll_fn(|context| self.poll(context)).await;
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        while let Some(hang_up) = &mut self.hang_up
            && hang_up.poll_recv(context).is_ready()
        {
            if self.hung_up.is_none_or(|at| at.elapsed() >= BURST) {
                self.hung_up = Some(Instant::now());
                return Poll::Ready(());
            }
        }
        let mut fired = self.others.iter_mut().map(|signal| signal.poll_recv(context).is_ready());
        if fired.any(|fired| fired) { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// Returns true if this process ignores SIGHUP. Known on Linux only; false elsewhere.
fn ignores_hang_up() -> bool {
    fs::read_to_string("/proc/self/status").is_ok_and(|status| ignored_in(&status))
}

/// Returns true if SIGHUP, the first of all signals, is in the mask of ignored signals. Source: `proc_pid_status(5)`.
fn ignored_in(status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u128::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hang_up_is_ignored_where_the_first_bit_of_the_mask_is_set() {
        for (status, wanted) in [
            ("Name:\tx\nSigIgn:\t0000000000000001\nSigCgt:\t0000000000000000\n", true),
            ("SigIgn:\t0000000000001007\n", true),
            ("SigIgn:\t0000000000001006\nSigCgt:\t0000000000000001\n", false),
            ("SigIgn:\tx\n", false),
            ("", false),
        ] {
            assert_eq!(ignored_in(status), wanted, "{status:?}");
        }
    }
}
