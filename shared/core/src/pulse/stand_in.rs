//! Stands in for `schedule::due` until it is there.

use std::str::FromStr;

use jiff::{Timestamp, tz::TimeZone};

use crate::{catch_up::CatchUp, definition::Cron, name::TaskName};

pub(super) enum Due {
    Waiting {
        #[expect(dead_code, reason = "as in what it stands for")]
        next: Option<Timestamp>,
    },
    Come {
        run: Vec<Timestamp>,
        missed: Missed,
        #[expect(dead_code, reason = "as in what it stands for")]
        next: Option<Timestamp>,
    },
}

#[derive(Default)]
pub(super) struct Missed {
    pub(super) ticks: Vec<Timestamp>,
}

pub(super) fn due(cron: &Cron, _: &TaskName, zone: &TimeZone, last: Timestamp, now: Timestamp) -> Due {
    let Some(schedule) = &cron.schedule else { return Due::Waiting { next: None } };
    let Ok(parsed) = croner::Cron::from_str(schedule.as_str()) else { return Due::Waiting { next: None } };
    let mut ticks: Vec<Timestamp> = parsed
        .iter_after(last.to_zoned(zone.clone()))
        .map(|tick| tick.timestamp())
        .take_while(|tick| *tick <= now)
        .collect();
    let Some(newest) = ticks.last().copied() else { return Due::Waiting { next: None } };
    let age = |tick: Timestamp| now.duration_since(tick).unsigned_abs();
    let first = match cron.catch_up {
        CatchUp::All { within } => ticks.partition_point(|tick| age(*tick) > within),
        CatchUp::None if age(newest).as_secs() > 120 => ticks.len(),
        CatchUp::None | CatchUp::Last => ticks.len() - 1,
    };
    let run = ticks.split_off(first);
    Due::Come { run, missed: Missed { ticks }, next: None }
}
