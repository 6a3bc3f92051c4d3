//! `lamplighter cost`: what the functions of a stack cost in AWS in a month.

use std::time::Duration;

use jiff::Timestamp;
use lamplighter_aws::table::{Counted, Pulses};
use lamplighter_core::{
    cost::{Cost, MONTH, PRICES, Prices, Starter, Usage, runs_of_month},
    definition::Cron,
    duration,
    name::TaskName,
    schedule::{Driver, driver},
    statistics::Window,
};
use lamplighter_project::{
    architecture::Architecture,
    functions::{FunctionKind, FunctionPlan, functions},
};
use serde::Serialize;

use crate::{
    arguments::time::{duration as time, zone_of},
    stack::{each_task, target::Place},
    terminal::{
        output,
        show::{table, wrapped},
    },
    tr,
    words::Words,
};

/// The number of the newest pulses whose times are averaged: those of an hour.
const PULSES: u16 = 60;
/// The pulses of a month.
const PULSES_OF_MONTH: u64 = MONTH.as_secs() / 60;

/// Estimates what the functions cost in AWS in a month.
///
/// The runs of a cron task are those of its schedule. For any other task, and for a schedule function, they are the recorded runs of
/// the last 30 days; calls of a schedule function that declined are not counted. The time of a run is the average of the last 30
/// days, or that of --assume. The estimate has invocations, their time, writes to the table, EventBridge Scheduler and SQS, at the
/// list prices of us-east-1. It leaves out storage, logs, the free tier and the dispatcher.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Example:\n  lamplighter cost --assume 5s")]
pub(crate) struct Arguments {
    /// The time of a run of a function that has not run in the last 30 days.
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "1s")]
    assume: Duration,
    /// The environment. Overrides `environment` in lamplighter.toml.
    #[arg(long)]
    environment: Option<String>,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

/// The estimate, as `--json` prints it. Amounts are in US dollars.
#[derive(Debug, Serialize)]
struct Estimate {
    days: u64,
    prices: Prices,
    functions: Vec<FunctionCost>,
    total: f64,
}

/// The cost of one function.
#[derive(Debug, Serialize)]
struct FunctionCost {
    /// The name behind the stack's.
    function: String,
    starter: Starter,
    runs: u64,
    average_ms: u64,
    /// True if the function has not run lately, so that the average is an assumption.
    is_assumed: bool,
    memory_mb: u32,
    #[serde(flatten)]
    cost: Cost,
    total: f64,
}

/// The measured runs of a function.
#[derive(Clone, Copy, Debug, Default)]
struct Measured {
    /// The runs of the last 30 days.
    runs: u64,
    /// Their average time; none if none ran.
    average_ms: Option<u64>,
}

pub(crate) fn run(words: &Words, arguments: &Arguments) -> anyhow::Result<()> {
    // A stack keeps neither the memory nor the architecture of its functions, so the sources decide.
    let catalog = super::compiled(Some(&arguments.place), &super::current_folder()?)?;
    let project = super::project(&catalog, arguments.environment.as_deref())?;
    let now = Timestamp::now();
    let plans: Vec<_> = functions(&project).into_iter().filter(|plan| plan.in_stack).collect();
    let tasks: Vec<TaskName> =
        plans.iter().filter_map(|plan| Some(plan.kind.task()?.name().clone())).collect();
    let (counted, pulses) = super::runtime()?.block_on(async {
        let target = arguments.place.open(&catalog).await?;
        let range = Window::Month.before(now);
        let counted = each_task::statistics(&target.table, &tasks, &range, now).await;
        let pulses = target.table.pulses(PULSES).await;
        target.close(words).await;
        anyhow::Ok((counted?, pulses?))
    })?;
    let mut of_tasks = counted.iter().map(of_task);
    let architecture = project.build.architecture;
    let mut listed = Vec::new();
    for plan in &plans {
        let measured = match plan.kind {
            FunctionKind::Pulse => of_pulses(&pulses),
            // They run in deployments only.
            FunctionKind::Dispatcher | FunctionKind::Fallback => continue,
            _ => of_tasks.next().unwrap_or_default(),
        };
        listed.push(cost_of(plan, measured, arguments.assume, architecture, now)?);
    }
    let total = listed.iter().map(|function| function.total).sum();
    let estimate = Estimate { days: MONTH.as_secs() / 86_400, prices: PRICES, functions: listed, total };
    if arguments.json {
        output::plain(serde_json::to_string_pretty(&estimate)?);
        return Ok(());
    }
    for line in lines(words, &estimate) {
        output::line(line);
    }
    Ok(())
}

fn of_task(counted: &Counted) -> Measured {
    let Counted { statistics, .. } = counted;
    let durations = &statistics.durations;
    let average_ms = (durations.count > 0).then(|| durations.average_ms());
    Measured { runs: statistics.total(), average_ms }
}

fn of_pulses(pulses: &Pulses) -> Measured {
    let times: Vec<u64> = pulses.records.iter().filter_map(|record| record.duration_ms).collect();
    let average_ms = times.iter().sum::<u64>().checked_div(times.len() as u64);
    Measured { runs: PULSES_OF_MONTH, average_ms }
}

fn cost_of(
    plan: &FunctionPlan<'_>,
    measured: Measured,
    assumed: Duration,
    architecture: Architecture,
    now: Timestamp,
) -> anyhow::Result<FunctionCost> {
    let (starter, runs) = match plan.kind {
        FunctionKind::Cron(_, cron) => {
            (starter_of(cron), runs_of_month(cron, &zone_of(cron)?, now).unwrap_or(measured.runs))
        }
        FunctionKind::Queue(..) => (Starter::Queue, measured.runs),
        FunctionKind::Pulse => (Starter::Schedule, measured.runs),
        FunctionKind::Lifecycle(..) | FunctionKind::Dispatcher | FunctionKind::Fallback => {
            (Starter::Deployment, measured.runs)
        }
    };
    let average_ms = measured.average_ms.unwrap_or_else(|| duration::millis(assumed));
    let usage = Usage {
        starter,
        runs,
        duration: Duration::from_millis(average_ms),
        memory_mb: plan.memory_mb,
        is_arm: architecture == Architecture::Arm64,
    };
    let cost = usage.cost(&PRICES);
    Ok(FunctionCost {
        function: plan.name.to_owned(),
        starter,
        runs,
        average_ms,
        is_assumed: measured.average_ms.is_none(),
        memory_mb: plan.memory_mb,
        cost,
        total: cost.total(),
    })
}

fn starter_of(cron: &Cron) -> Starter {
    match driver(cron) {
        Driver::EventBridge { .. } => Starter::Schedule,
        Driver::Pulse { .. } => Starter::Pulse,
    }
}

/// A line of headings, a line for each function, and the sum.
fn lines(words: &Words, estimate: &Estimate) -> Vec<String> {
    let dollars = |amount: f64| {
        let digits = if amount == 0.0 || amount >= 1.0 { 2 } else { 4 };
        words.decimal(&format!("{amount:.digits$}"))
    };
    let mut rows = vec![[
        tr!(words, "cost-function"),
        tr!(words, "cost-total"),
        tr!(words, "cost-runs"),
        tr!(words, "cost-average"),
        tr!(words, "cost-lambda"),
        tr!(words, "cost-table"),
        tr!(words, "cost-trigger"),
    ]];
    rows.extend(estimate.functions.iter().map(|function| {
        let average = words.duration(function.average_ms);
        [
            function.function.clone(),
            dollars(function.total),
            function.runs.to_string(),
            if function.is_assumed { tr!(words, "cost-assumed", duration = average) } else { average },
            dollars(function.cost.lambda),
            dollars(function.cost.table),
            dollars(function.cost.trigger),
        ]
    }));
    let mut lines = table(words, 0, &rows);
    let region = estimate.prices.region;
    let sum = tr!(words, "cost-sum", amount = dollars(estimate.total), region = region);
    lines.extend(wrapped(words, 2, &sum));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::Locale;

    #[test]
    fn k05_the_table_of_costs_is_aligned_and_rounded() {
        let function = |name: &str, starter, runs, average_ms, is_assumed| {
            let duration = Duration::from_millis(average_ms);
            let cost = Usage { starter, runs, duration, memory_mb: 256, is_arm: false }.cost(&PRICES);
            let total = cost.total();
            let function = name.to_owned();
            FunctionCost { function, starter, runs, average_ms, is_assumed, memory_mb: 256, cost, total }
        };
        let functions = vec![
            function("purge-expired", Starter::Schedule, 30, 1000, true),
            function("send-mail", Starter::Queue, 2_000_000, 85, false),
            function("seed-data", Starter::Deployment, 0, 1000, true),
        ];
        let total = functions.iter().map(|function| function.total).sum();
        let estimate = Estimate { days: 30, prices: PRICES, functions, total };
        insta::assert_snapshot!(lines(&Words::new(Locale::En), &estimate).join("\n"), @"
        function       USD     runs     average          Lambda  table   trigger
        purge-expired  0.0002  30       1.0 s (assumed)  0.0001  0.0001  0.0000
        send-mail      7.26    2000000  85 ms            1.11    3.75    2.40
        seed-data      0.00    0        1.0 s (assumed)  0.00    0.00    0.00
        7.26 USD in 30 days, at the list prices of us-east-1, without the free tier, storage, logs and the dispatcher
        ");
    }
}
