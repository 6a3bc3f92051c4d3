//! Why a run did not run, or did not complete, in words. A record keeps the reason as one English sentence, as `--json`
//! shows it; here the sentences that `core` and the pulse write are known again. What authors and platforms said stays.

use jiff::Timestamp;
use lamplighter_core::{run::Run, schedule, status::Status};

use super::Words;
use crate::tr;

impl Words {
    /// Why a run ended as it did; nothing if its record says nothing.
    pub fn reason(&self, run: &Run) -> Option<String> {
        run.reason().map(|reason| self.recorded(reason))
    }

    /// A reason as records keep it.
    pub fn recorded(&self, reason: &str) -> String {
        self.kept_out(reason)
            .or_else(|| self.lost(reason))
            .or_else(|| self.blocked(reason))
            .unwrap_or_else(|| reason.to_owned())
    }

    /// Why the pulse starts a task, and not EventBridge Scheduler.
    pub fn for_the_pulse(&self, reason: &schedule::Reason) -> String {
        match reason {
            schedule::Reason::Dynamic => tr!(self, "reason-dynamic"),
            schedule::Reason::Inexpressible(it) => {
                tr!(self, "reason-inexpressible", schedule = it.schedule, part = it.reason)
            }
            schedule::Reason::Dependencies => tr!(self, "reason-dependencies"),
            schedule::Reason::Buffer => tr!(self, "reason-buffer"),
            schedule::Reason::CatchUpAll(catch_up) => {
                tr!(self, "reason-catch-up", policy = catch_up.to_string())
            }
            schedule::Reason::Jitter => tr!(self, "reason-jitter"),
        }
    }

    fn kept_out(&self, reason: &str) -> Option<String> {
        if reason == "disabled" {
            return Some(tr!(self, "reason-disabled"));
        }
        if reason.starts_with("not_due: ") {
            return Some(tr!(self, "reason-not-due"));
        }
        let replace = "; it was asked to end, and did not in time";
        if let Some([run, until]) =
            holes(reason, ["previous_instance_running: ", " holds the task until ", replace])
        {
            return Some(tr!(self, "reason-would-not-end", run = run, until = self.stamp(until)));
        }
        if let Some([run, until]) =
            holes(reason, ["previous_instance_running: ", " holds the task until ", ""])
        {
            return Some(tr!(self, "reason-held", run = run, until = self.stamp(until)));
        }
        if let Some([run]) = holes(reason, ["already_running: run ", " has begun already"]) {
            return Some(tr!(self, "reason-begun", run = run));
        }
        if let Some([at]) = holes(reason, ["already_ran: the scheduled time ", " has had its run"]) {
            return Some(tr!(self, "reason-tick-ran", at = self.stamp(at)));
        }
        let [deployment] = holes(reason, ["already_ran: the deployment ", " has had its run"])?;
        Some(tr!(self, "reason-deployment-ran", deployment = deployment))
    }

    fn lost(&self, reason: &str) -> Option<String> {
        if let Some([until]) =
            holes(reason, ["lost: nothing was heard of the run before its lease ended at ", ""])
        {
            return Some(tr!(self, "reason-lost", until = self.stamp(until)));
        }
        let killed = reason == "lost: the program that ran its function was ended before it was over";
        killed.then(|| tr!(self, "reason-killed"))
    }

    fn blocked(&self, reason: &str) -> Option<String> {
        if let Some([task]) = holes(reason, ["`", "` has never run, and this task depends on it"]) {
            return Some(tr!(self, "reason-never-ran", task = task));
        }
        let [task, status, run] =
            holes(reason, ["the last run of `", "` ended ", ", and this task depends on it: run ", ""])?;
        let status: Status = status.parse().ok()?;
        Some(tr!(self, "reason-needs", task = task, status = status, run = run))
    }

    /// An instant of a record, as the language writes it.
    fn stamp(&self, text: &str) -> String {
        text.parse::<Timestamp>().map_or_else(|_| text.to_owned(), |at| self.time(at))
    }
}

/// What stands between these parts of a text, if they are all there is else: one part more than holes.
fn holes<'a, const PARTS: usize, const HOLES: usize>(
    text: &'a str,
    parts: [&str; PARTS],
) -> Option<[&'a str; HOLES]> {
    let mut found = [""; HOLES];
    let mut rest = text.strip_prefix(parts[0])?;
    for (i, hole) in found.iter_mut().enumerate() {
        let part = *parts.get(i + 1)?;
        let end = if part.is_empty() { rest.len() } else { rest.find(part)? };
        *hole = &rest[..end];
        rest = &rest[end + part.len()..];
    }
    (rest.is_empty() && !found.contains(&"")).then_some(found)
}

#[cfg(test)]
mod tests {
    use lamplighter_core::{catch_up::CatchUp, claim::Refusal};

    use super::*;
    use crate::words::Locale;

    const RUN: &str = "01J0000000000000000000000A";

    fn told(reason: &str) -> [String; 3] {
        Locale::ALL.map(|locale| Words::new(locale).recorded(reason))
    }

    #[test]
    fn k04_every_refusal_of_core_is_known_again() {
        let until: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
        let run_id = RUN.parse().unwrap();
        for (refusal, expected) in [
            (Refusal::Disabled, ["disabled", "ausgeschaltet", "wyłączone"].map(str::to_owned)),
            (
                Refusal::NotDue,
                [
                    "its schedule function said no",
                    "ihre Zeitplan-Funktion hat nein gesagt",
                    "funkcja harmonogramu zadania odmówiła",
                ]
                .map(str::to_owned),
            ),
            (
                Refusal::PreviousInstanceRunning { run_id, until },
                [
                    format!("run {RUN} holds the task until 2026-11-21T10:00:00Z"),
                    format!("der Lauf {RUN} hält die Aufgabe bis 21.11.2026 10:00:00 UTC"),
                    format!("przebieg {RUN} zajmuje zadanie do 21.11.2026 10:00:00 UTC"),
                ],
            ),
            (
                Refusal::AlreadyRunning { run_id },
                [
                    format!("run {RUN} has begun already"),
                    format!("der Lauf {RUN} hat schon begonnen"),
                    format!("przebieg {RUN} już się zaczął"),
                ],
            ),
            (
                Refusal::AlreadyRan { occasion: format!("the scheduled time {until}") },
                [
                    "the scheduled time 2026-11-21T10:00:00Z has had its run".to_owned(),
                    "für 21.11.2026 10:00:00 UTC gab es schon einen Lauf".to_owned(),
                    "termin 21.11.2026 10:00:00 UTC miał już swój przebieg".to_owned(),
                ],
            ),
            (
                Refusal::AlreadyRan { occasion: "the deployment 7".to_owned() },
                [
                    "the deployment 7 has had its run".to_owned(),
                    "das Deployment 7 hatte schon seinen Lauf".to_owned(),
                    "wdrożenie 7 miało już swój przebieg".to_owned(),
                ],
            ),
        ] {
            assert_eq!(told(&refusal.to_string()), expected);
        }
    }

    #[test]
    fn k04_in_english_the_pulse_is_needed_for_what_core_says() {
        let refused = "*/10 * * * * *".parse::<schedule::Schedule>().unwrap().to_eventbridge().unwrap_err();
        let all = CatchUp::All { within: std::time::Duration::from_secs(3600) };
        for reason in [
            schedule::Reason::Dynamic,
            schedule::Reason::Inexpressible(refused),
            schedule::Reason::Dependencies,
            schedule::Reason::Buffer,
            schedule::Reason::CatchUpAll(all),
            schedule::Reason::Jitter,
        ] {
            assert_eq!(Words::new(Locale::En).for_the_pulse(&reason), reason.to_string());
        }
    }

    #[test]
    fn k04_reasons_of_the_pulse_are_known_again_and_others_stay() {
        let reason = format!("the last run of `a` ended FAILED, and this task depends on it: run {RUN}");
        assert_eq!(
            told(&reason)[1],
            format!("a wird gebraucht, und der letzte Lauf davon ist fehlgeschlagen ({RUN})")
        );
        let reason = "lost: nothing was heard of the run before its lease ended at 2026-11-21T10:00:00Z";
        assert_eq!(
            told(reason)[0],
            "lost: nothing was heard of the run before its lease ended at 2026-11-21T10:00:00Z"
        );
        for other in ["", "disabled by hand", "`a` said no", "already_ran: the deployment "] {
            assert_eq!(told(other), [other; 3]);
        }
    }
}
