//! Describes why a run did not run, or did not complete. Most structured reasons are translated. Plain sentences, by an
//! author, a platform or an older record, stay unchanged.

use lamplighter_core::{
    reason::{Moment, Reason},
    run::Run,
    schedule,
};

use super::Words;
use crate::tr;

impl Words {
    /// Why a run ended as it did; nothing if its record says nothing.
    pub fn reason(&self, run: &Run) -> Option<String> {
        match &run.why {
            Some(reason) => Some(self.recorded(reason)),
            None => run.reason().map(str::to_owned),
        }
    }

    /// A reason as records keep it.
    pub fn recorded(&self, reason: &Reason) -> String {
        match reason {
            Reason::Disabled => tr!(self, "reason-disabled"),
            Reason::NotDue => tr!(self, "reason-not-due"),
            Reason::Held { run_id, until } => tr!(self, "reason-held", run = run_id, until = until),
            Reason::NotReplaced { run_id, until } => {
                tr!(self, "reason-would-not-end", run = run_id, until = until)
            }
            Reason::AlreadyRunning { run_id } => tr!(self, "reason-begun", run = run_id),
            Reason::TickRan { scheduled_for } => tr!(self, "reason-tick-ran", at = scheduled_for),
            Reason::DeploymentRan { entry } => tr!(self, "reason-deployment-ran", deployment = entry),
            Reason::AlreadyOver { run_id } => tr!(self, "reason-over", run = run_id),
            Reason::NeverRan { task } => tr!(self, "reason-never-ran", task = task),
            Reason::DependencyFailed { task, run_id, status } => {
                tr!(self, "reason-needs", task = task, status = status, run = run_id)
            }
            Reason::DependencyIncomplete { task } => tr!(self, "reason-incomplete", task = task),
            Reason::EarlierFailed { task } => tr!(self, "reason-earlier", task = task),
            Reason::JobNotCompleted { task, run_id, status } => {
                tr!(self, "reason-job", task = task, run = run_id, status = status)
            }
            Reason::JobMissing { task, run_id } => tr!(self, "reason-no-job", task = task, run = run_id),
            Reason::Lost { until } => tr!(self, "reason-lost", until = until),
            Reason::HostEnded => tr!(self, "reason-killed"),
            Reason::AttemptLost { attempt, until } => {
                tr!(self, "reason-attempt-lost", attempt = *attempt, until = until)
            }
            Reason::LeaseLost => tr!(self, "reason-lease-lost"),
            Reason::KilledLate => tr!(self, "reason-killed-late"),
            Reason::Expired { start_by } => tr!(self, "reason-expired", at = start_by),
            Reason::TimedOut { after_ms, since: Moment::AttemptBegan { attempt } } => {
                tr!(self, "reason-timed-out", time = self.duration(*after_ms), attempt = *attempt)
            }
            Reason::Cancelled { after_ms, since: Moment::AttemptBegan { attempt } } => {
                tr!(self, "reason-cancelled", time = self.duration(*after_ms), attempt = *attempt)
            }
            Reason::CancelledBeforeStart => tr!(self, "reason-cancelled-before"),
            Reason::CancelledAndLost => tr!(self, "reason-cancelled-lost"),
            Reason::CancelledOrDisabled => tr!(self, "reason-cancelled-side"),
            Reason::RunnerStopped => tr!(self, "reason-runner-stopped"),
            Reason::LaterDeploymentRan => tr!(self, "reason-later-deployment"),
            Reason::LaterRequest => tr!(self, "reason-later-request"),
            Reason::LaterUpdate => tr!(self, "reason-later-update"),
            Reason::RolledBack => tr!(self, "reason-rolled-back"),
            // Their texts are the platform's, or too rare to be worth a translation.
            Reason::TimedOut { .. }
            | Reason::Cancelled { .. }
            | Reason::AttemptUnanswered { .. }
            | Reason::ProcessEnded { .. }
            | Reason::FunctionEnded { .. }
            | Reason::FunctionTimedOut { .. }
            | Reason::FunctionNotStarted { .. }
            | Reason::NotATask { .. }
            | Reason::Unrecorded
            | Reason::StackMovedOn { .. }
            | Reason::Missed { .. }
            | Reason::Other { .. } => reason.to_string(),
        }
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
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use lamplighter_core::{
        catch_up::CatchUp,
        claim::{PastOccasion, Refusal},
        deployment::EntryKey,
        name::TaskName,
        run::Trigger,
        status::Status,
    };

    use super::*;
    use crate::words::Locale;

    const RUN: &str = "01J0000000000000000000000A";

    fn time() -> Timestamp {
        "2026-11-21T10:00:00Z".parse().unwrap()
    }

    fn said(reason: &Reason) -> [String; 3] {
        Locale::ALL.map(|locale| Words::new(locale).recorded(reason))
    }

    #[test]
    fn k04_every_refusal_of_core_is_translated() {
        let (run_id, until) = (RUN.parse().unwrap(), time());
        let entry = EntryKey::new(until, "r");
        for (refusal, expected) in [
            (Refusal::Disabled, ["disabled", "ausgeschaltet", "wyłączone"].map(str::to_owned)),
            (
                Refusal::NotDue,
                [
                    "its schedule function returned false",
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
                    format!("run {RUN} has already begun"),
                    format!("der Lauf {RUN} hat schon begonnen"),
                    format!("przebieg {RUN} już się zaczął"),
                ],
            ),
            (
                Refusal::AlreadyRan { occasion: PastOccasion::Tick(until) },
                [
                    "the scheduled time 2026-11-21T10:00:00Z has already had its run".to_owned(),
                    "für 21.11.2026 10:00:00 UTC gab es schon einen Lauf".to_owned(),
                    "termin 21.11.2026 10:00:00 UTC miał już swój przebieg".to_owned(),
                ],
            ),
            (
                Refusal::AlreadyRan { occasion: PastOccasion::Deployment(entry.clone()) },
                [
                    format!("the deployment {entry} has already had its run"),
                    format!("das Deployment {entry} hatte schon seinen Lauf"),
                    format!("wdrożenie {entry} miało już swój przebieg"),
                ],
            ),
        ] {
            assert_eq!(said(&refusal.reason()), expected);
        }
    }

    #[test]
    fn k04_in_english_the_reason_for_the_pulse_is_cores_sentence() {
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
    fn k04_reasons_are_written_from_their_fields() {
        let task: TaskName = "a".parse().unwrap();
        let reason = Reason::DependencyFailed {
            task: task.clone(),
            run_id: RUN.parse().unwrap(),
            status: Status::Failed,
        };
        assert_eq!(
            said(&reason)[1],
            format!("a wird gebraucht, und der letzte Lauf davon ist fehlgeschlagen ({RUN})")
        );
        let reason = Reason::TimedOut { after_ms: 2_000, since: Moment::AttemptBegan { attempt: 3 } };
        assert_eq!(
            said(&reason),
            [
                "timed out: the deadline passed 2.0 s after attempt 3 began",
                "Zeit abgelaufen: 2,0 s nach dem Beginn von Versuch 3 war die Zeit des Laufs um",
                "upłynął czas: 2,0 s po rozpoczęciu próby 3 skończył się czas przebiegu",
            ]
        );
    }

    #[test]
    fn k04_in_english_a_reason_without_shorter_words_is_cores_sentence() {
        let (task, run_id, until): (TaskName, _, _) = ("a".parse().unwrap(), RUN.parse().unwrap(), time());
        for reason in [
            Reason::DependencyIncomplete { task: task.clone() },
            Reason::EarlierFailed { task: task.clone() },
            Reason::JobNotCompleted { task: task.clone(), run_id, status: Status::Timeout },
            Reason::JobMissing { task, run_id },
            Reason::Lost { until },
            Reason::HostEnded,
            Reason::AttemptLost { attempt: 2, until },
            Reason::LeaseLost,
            Reason::KilledLate,
            Reason::Expired { start_by: until },
            Reason::CancelledBeforeStart,
            Reason::CancelledAndLost,
            Reason::CancelledOrDisabled,
            Reason::RunnerStopped,
            Reason::LaterDeploymentRan,
            Reason::LaterRequest,
            Reason::LaterUpdate,
            Reason::RolledBack,
        ] {
            let [english, german, polish] = said(&reason);
            assert_eq!(english.replace('`', ""), reason.to_string().replace('`', ""));
            assert!(german != english && polish != english && german != polish, "{english}");
        }
    }

    #[test]
    fn k04_a_sentence_without_fields_is_unchanged() {
        let run = Run::begun(RUN.parse().unwrap(), "a".parse().unwrap(), Trigger::Manual, time());
        for text in ["", "disabled", "`a` said no", "lost: nothing was heard of the run"] {
            assert_eq!(said(&Reason::Other { text: text.into() }), [text; 3]);
            let old = Run { skipped_reason: Some(text.into()), ..run.clone() };
            let words = Locale::ALL.map(|locale| Words::new(locale).reason(&old));
            assert_eq!(words, [Some(text); 3].map(|text| text.map(str::to_owned)));
        }
        assert_eq!(Words::new(Locale::En).reason(&run), None);
    }
}
