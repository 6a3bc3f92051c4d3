//! Parses the attribute `#[task(..)]`: its keys and their values.

use std::{fmt::Display, str::FromStr};

use jiff::{
    Timestamp,
    tz::{TimeZone, TimeZoneName},
};
use lamplighter_core::{
    assets::Asset,
    catch_up::CatchUp,
    definition::{Label, MAX_JITTER, MAX_TIMEOUT, OncePer, Overlap, Phase, Priority, RunOn},
    duration,
    name::TaskName,
    schedule::Schedule,
    zone::UnknownZone,
};
use proc_macro2::{Span, TokenStream};
use syn::{
    Error, Expr, ExprArray, ExprLit, ExprPath, ExprTuple, Ident, Lit, LitBool, Path, Result, Token, Type,
    parse::{Parse, ParseStream, Parser},
    punctuated::Punctuated,
    spanned::Spanned,
};

/// The parsed attribute of a task.
#[derive(Default)]
pub(crate) struct Attributes {
    pub queue: Option<Ident>,
    pub side: Option<Ident>,
    pub run_on: Option<Vec<RunOn>>,
    pub phase: Option<Phase>,
    pub once_per: Option<OncePer>,
    pub depends_on: Vec<String>,
    pub schedule: Option<When>,
    pub timezone: Option<String>,
    pub priority: Option<Priority>,
    pub overlap: Option<Overlap>,
    pub catch_up: Option<CatchUp>,
    pub jitter_ms: Option<u64>,
    pub run_once: Option<bool>,
    pub concurrency: Option<u32>,
    pub enqueues: Vec<String>,
    pub on_error: Option<Path>,
    pub on_shutdown: Option<Path>,
    pub category: Option<String>,
    pub tags: Vec<String>,
    pub retention_ms: Option<u64>,
    pub result: Option<Type>,
    pub timeout_ms: Option<u64>,
    pub attempts: Option<u32>,
    pub copy_assets: Vec<(String, Option<String>)>,
    pub validate: Option<Path>,
    pub rollback: Option<Path>,
    pub state: Option<Path>,
    pub teardown: Option<Path>,
}

/// The schedule of a cron task.
pub(crate) enum When {
    /// A cron expression, with its place in the source.
    Expression(Schedule, Span),
    /// A function that decides each minute whether the task is due.
    Function(Path),
}

const KEYS: &str = "queue, side, run_on, phase, once_per, depends_on, schedule, timezone, priority, overlap, catch_up, jitter, \
                    run_once, timeout, attempts, copy_assets, validate, rollback, state, teardown, concurrency, enqueues, \
                    on_error, on_shutdown, category, tags, \
                    retention, result";
/// Keys without a value.
const BARE: [&str; 2] = ["queue", "side"];
/// Keys of cron tasks only.
const OF_CRON: [&str; 6] = ["schedule", "timezone", "overlap", "catch_up", "jitter", "run_once"];
/// Keys of queue tasks only.
const OF_QUEUE: [&str; 1] = ["concurrency"];
/// Keys of side tasks only.
const OF_SIDE: [&str; 2] = ["on_error", "on_shutdown"];
/// Keys of tasks that run to completion: all but side tasks.
const OF_COMPLETING: [&str; 4] = ["timeout", "attempts", "rollback", "result"];
/// Keys of lifecycle tasks only.
const OF_LIFECYCLE: [&str; 3] = ["run_on", "phase", "once_per"];
/// Keys that require a cron expression.
const OF_EXPRESSION: [&str; 2] = ["timezone", "jitter"];

/// `key = value`, or a bare key.
struct Entry {
    key: Ident,
    value: Option<Value>,
}

enum Value {
    Expression(Expr),
    /// A type, e.g. `result = Vec<String>`. Types with arguments and tuples do not parse as expressions.
    Type(Type),
}

impl Parse for Entry {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let key: Ident = input.parse()?;
        let value = match input.parse::<Option<Token![=]>>()? {
            Some(_) if key == "result" => Some(Value::Type(input.parse()?)),
            Some(_) => Some(Value::Expression(input.parse()?)),
            None => None,
        };
        Ok(Self { key, value })
    }
}

pub(crate) fn parse(tokens: TokenStream) -> Result<Attributes> {
    let entries = Punctuated::<Entry, Token![,]>::parse_terminated.parse2(tokens)?;
    let mut attributes = Attributes::default();
    let mut seen: Vec<Ident> = Vec::new();
    for Entry { key, value } in entries {
        if seen.contains(&key) {
            return Err(Error::new(key.span(), format!("`{key}` is set twice")));
        }
        read(&mut attributes, &key, value)?;
        seen.push(key);
    }
    if let (Some(_), Some(side)) = (&attributes.queue, &attributes.side) {
        return Err(Error::new(
            side.span(),
            "`queue` and `side` are mutually exclusive: a task has one kind",
        ));
    }
    let foreign = foreign(&attributes);
    for key in &seen {
        if let Some((_, reason)) = foreign.iter().find(|(words, _)| words.iter().any(|word| key == word)) {
            return Err(Error::new(key.span(), format!("`{key}` {reason}")));
        }
    }
    if let Some(When::Expression(schedule, at)) = &attributes.schedule {
        let zone = TimeZone::get(attributes.timezone.as_deref().unwrap_or("UTC")).unwrap_or(TimeZone::UTC);
        schedule.first_after(&zone, Timestamp::now()).map_err(|invalid| error(*at, invalid))?;
    }
    if let (Some(teardown), None) = (&attributes.teardown, &attributes.state) {
        return Err(error(
            teardown.span(),
            "`teardown` requires `state`, which builds the value to tear down",
        ));
    }
    Ok(attributes)
}

/// Returns the keys that this kind of task does not accept, each with the reason.
fn foreign(attributes: &Attributes) -> Vec<(&'static [&'static str], &'static str)> {
    let mut foreign: Vec<(&[&str], _)> = Vec::new();
    if attributes.side.is_some() {
        foreign.extend([
            (&OF_LIFECYCLE[..], "is for lifecycle tasks; this is a side task"),
            (&OF_CRON, "is for cron tasks; this is a side task"),
            (&["priority"], "is for cron and queue tasks; this is a side task"),
            (&OF_QUEUE, "is for queue tasks; this is a side task"),
            (&["depends_on"], "is for lifecycle and cron tasks; this is a side task"),
            (&OF_COMPLETING, "is for tasks that run to completion; a side task runs as long as its runner"),
        ]);
        return foreign;
    }
    foreign.push((&OF_SIDE, "is for side tasks: add `side`, or remove this key"));
    if attributes.queue.is_some() {
        foreign.extend([
            (&OF_LIFECYCLE[..], "is for lifecycle tasks; this is a queue task"),
            (&OF_CRON, "is for cron tasks; this is a queue task"),
            (
                &["depends_on"],
                "is for lifecycle and cron tasks; make a job wait for another with `.after(&job)`",
            ),
        ]);
        return foreign;
    }
    foreign.push((&OF_QUEUE, "is for queue tasks: add `queue`, or remove this key"));
    match attributes.schedule {
        None => foreign.extend([
            (&OF_CRON[..], "is for cron tasks: add a `schedule`, or remove this key"),
            (&["priority"], "is for cron and queue tasks: add `schedule` or `queue`, or remove this key"),
        ]),
        Some(When::Expression(..)) => foreign.push((&OF_LIFECYCLE, OF_A_LIFECYCLE_TASK)),
        Some(When::Function(_)) => foreign.extend([
            (&OF_LIFECYCLE[..], OF_A_LIFECYCLE_TASK),
            (
                &OF_EXPRESSION,
                "requires a cron expression as `schedule`; this `schedule` is a function, which is called each minute",
            ),
        ]),
    }
    foreign
}

const OF_A_LIFECYCLE_TASK: &str = "is for lifecycle tasks; this is a cron task";

fn read(attributes: &mut Attributes, key: &Ident, value: Option<Value>) -> Result<()> {
    let word = key.to_string();
    if BARE.contains(&word.as_str()) {
        if value.is_some() {
            return Err(Error::new(key.span(), format!("`{key}` takes no value")));
        }
        let place = if key == "queue" { &mut attributes.queue } else { &mut attributes.side };
        *place = Some(key.clone());
        return Ok(());
    }
    let value = value.ok_or_else(|| match KEYS.split(", ").find(|known| *known == word) {
        Some(_) => Error::new(key.span(), format!("`{key}` requires a value: `{key} = ..`")),
        None => unknown(key),
    })?;
    let value = match value {
        Value::Type(result) => {
            attributes.result = Some(result);
            return Ok(());
        }
        Value::Expression(value) => value,
    };
    match word.as_str() {
        "run_on" => attributes.run_on = Some(list(&value, keyword)?),
        "phase" => attributes.phase = Some(keyword(&value)?),
        "once_per" => attributes.once_per = Some(keyword(&value)?),
        "depends_on" => {
            attributes.depends_on = list(&value, |name| Ok(parsed::<TaskName>(name)?.0))?;
        }
        "schedule" => {
            attributes.schedule = Some(match &value {
                Expr::Path(ExprPath { path, .. }) => When::Function(path.clone()),
                _ => When::Expression(parsed(&value)?.1, value.span()),
            });
        }
        "timezone" => attributes.timezone = Some(timezone(&value)?),
        "priority" => attributes.priority = Some(keyword(&value)?),
        "overlap" => attributes.overlap = Some(keyword(&value)?),
        "catch_up" => attributes.catch_up = Some(keyword(&value)?),
        "jitter" => attributes.jitter_ms = Some(jitter(&value)?),
        "run_once" => attributes.run_once = Some(flag(&value)?),
        "concurrency" => attributes.concurrency = Some(concurrency(&value)?),
        "enqueues" => {
            attributes.enqueues = list(&value, |name| Ok(parsed::<TaskName>(name)?.0))?;
        }
        "on_error" => attributes.on_error = Some(function(&value)?),
        "on_shutdown" => attributes.on_shutdown = Some(function(&value)?),
        "category" => attributes.category = Some(parsed::<Label>(&value)?.0),
        "tags" => attributes.tags = list(&value, |tag| Ok(parsed::<Label>(tag)?.0))?,
        "retention" => attributes.retention_ms = Some(retention(&value)?),
        "timeout" => attributes.timeout_ms = Some(timeout(&value)?),
        "attempts" => attributes.attempts = Some(attempts(&value)?),
        "copy_assets" => attributes.copy_assets = list(&value, asset)?,
        "validate" => attributes.validate = Some(function(&value)?),
        "rollback" => attributes.rollback = Some(function(&value)?),
        "state" => attributes.state = Some(function(&value)?),
        "teardown" => attributes.teardown = Some(function(&value)?),
        _ => return Err(unknown(key)),
    }
    Ok(())
}

fn unknown(key: &Ident) -> Error {
    Error::new(key.span(), format!("unknown key `{key}` of #[task]: expected one of {KEYS}"))
}

fn error(span: Span, reason: impl Display) -> Error {
    Error::new(span, reason.to_string())
}

fn list<T>(value: &Expr, item: impl Fn(&Expr) -> Result<T>) -> Result<Vec<T>> {
    match value {
        Expr::Array(ExprArray { elems, .. }) if elems.is_empty() => {
            Err(error(value.span(), "expected at least one item; to list nothing, remove the key"))
        }
        Expr::Array(ExprArray { elems, .. }) => elems.iter().map(item).collect(),
        other => Err(error(other.span(), "expected a list, e.g. `[Deploy]` or `[\"seed-data\"]`")),
    }
}

fn text(value: &Expr) -> Result<String> {
    match value {
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Ok(text.value()),
        other => Err(error(other.span(), "expected a string literal")),
    }
}

/// Parses a string literal as `T`. Returns the text and the value.
fn parsed<T: FromStr<Err: Display>>(value: &Expr) -> Result<(String, T)> {
    let text = text(value)?;
    let parsed = text.parse().map_err(|invalid| error(value.span(), invalid))?;
    Ok((text, parsed))
}

/// Parses a word of a closed set, bare or quoted: `Deploy` or `"deploy"`.
fn keyword<T: FromStr<Err: Display>>(value: &Expr) -> Result<T> {
    let word = match value {
        Expr::Path(ExprPath { path, .. }) => path.get_ident().map(Ident::to_string),
        other => Some(text(other)?),
    };
    let word = word.ok_or_else(|| error(value.span(), "expected a single word, e.g. `Deploy`"))?;
    word.parse().map_err(|invalid| error(value.span(), invalid))
}

fn timezone(value: &Expr) -> Result<String> {
    let name = text(value)?;
    // The name must match exactly: EventBridge accepts no other spelling.
    let known: Vec<_> = jiff::tz::db().available().collect();
    let known = known.iter().map(TimeZoneName::as_str);
    if known.clone().any(|known| known == name) {
        return Ok(name);
    }
    Err(error(value.span(), UnknownZone::new(&name, known)))
}

fn timeout(value: &Expr) -> Result<u64> {
    let timeout = duration::parse(&text(value)?).map_err(|invalid| error(value.span(), invalid))?;
    if timeout.is_zero() || timeout > MAX_TIMEOUT {
        return Err(error(value.span(), "a timeout must be between 1 ms and 900 s, the limit of Lambda"));
    }
    Ok(duration::millis(timeout))
}

fn jitter(value: &Expr) -> Result<u64> {
    let jitter = duration::parse(&text(value)?).map_err(|invalid| error(value.span(), invalid))?;
    if jitter > MAX_JITTER {
        return Err(error(value.span(), "`jitter` must be at most 1 h"));
    }
    Ok(duration::millis(jitter))
}

fn retention(value: &Expr) -> Result<u64> {
    let retention = duration::parse(&text(value)?).map_err(|invalid| error(value.span(), invalid))?;
    if retention.is_zero() {
        return Err(error(value.span(), "`retention` must be longer than zero, e.g. `\"30d\"`"));
    }
    Ok(duration::millis(retention))
}

fn flag(value: &Expr) -> Result<bool> {
    match value {
        Expr::Lit(ExprLit { lit: Lit::Bool(LitBool { value, .. }), .. }) => Ok(*value),
        other => Err(error(other.span(), "expected `true` or `false`")),
    }
}

fn attempts(value: &Expr) -> Result<u32> {
    positive(value, "expected the total number of attempts, at least 1")
}

fn concurrency(value: &Expr) -> Result<u32> {
    positive(value, "expected the number of jobs that may run at once, at least 1")
}

fn positive(value: &Expr, otherwise: &str) -> Result<u32> {
    let number = match value {
        Expr::Lit(ExprLit { lit: Lit::Int(number), .. }) => number.base10_parse::<u32>().ok(),
        _ => None,
    };
    number.filter(|number| *number > 0).ok_or_else(|| error(value.span(), otherwise))
}

fn asset(value: &Expr) -> Result<(String, Option<String>)> {
    let (from, to) = match value {
        Expr::Tuple(ExprTuple { elems, .. }) if elems.len() == 2 => (&elems[0], Some(&elems[1])),
        Expr::Lit(ExprLit { lit: Lit::Str(_), .. }) => (value, None),
        other => {
            return Err(error(
                other.span(),
                "expected a path, e.g. `\"public\"`, or a pair `(\"from\", \"to\")`",
            ));
        }
    };
    let (from_text, to_text) = (text(from)?, to.map(text).transpose()?);
    Asset::new(&from_text, to_text.as_deref()).map_err(|invalid| {
        let at_fault = to.filter(|_| invalid.role == "to").unwrap_or(from);
        error(at_fault.span(), invalid)
    })?;
    Ok((from_text, to_text))
}

fn function(value: &Expr) -> Result<Path> {
    match value {
        Expr::Path(ExprPath { path, .. }) => Ok(path.clone()),
        other => Err(error(other.span(), "expected the path of a function, e.g. `check`")),
    }
}
