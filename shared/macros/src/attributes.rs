//! Reads the attribute: keys, and values that parse as what they stand for.

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

/// The attribute of a task, read.
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

/// When a cron task runs.
pub(crate) enum When {
    /// At the times of a cron expression, which stands at that place.
    Expression(Schedule, Span),
    /// When this function says so.
    Function(Path),
}

const KEYS: &str = "queue, side, run_on, phase, once_per, depends_on, schedule, timezone, priority, overlap, catch_up, jitter, \
                    run_once, timeout, attempts, copy_assets, validate, rollback, state, teardown, concurrency, enqueues, \
                    on_error, on_shutdown, category, tags, \
                    retention, result";
/// What stands alone.
const BARE: [&str; 2] = ["queue", "side"];
/// What only cron tasks have.
const OF_CRON: [&str; 6] = ["schedule", "timezone", "overlap", "catch_up", "jitter", "run_once"];
/// What only queue tasks have.
const OF_QUEUE: [&str; 1] = ["concurrency"];
/// What only side tasks have.
const OF_SIDE: [&str; 2] = ["on_error", "on_shutdown"];
/// What only tasks have that come to an end.
const OF_AN_END: [&str; 4] = ["timeout", "attempts", "rollback", "result"];
/// What only lifecycle tasks have.
const OF_LIFECYCLE: [&str; 3] = ["run_on", "phase", "once_per"];
/// What only the times of an expression have.
const OF_EXPRESSION: [&str; 2] = ["timezone", "jitter"];

/// `key = value`, or a bare key.
struct Entry {
    key: Ident,
    value: Option<Value>,
}

enum Value {
    Expression(Expr),
    /// A type is no expression where it has arguments or is a tuple: `result = Vec<String>`.
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
            return Err(Error::new(key.span(), format!("`{key}` is given twice")));
        }
        read(&mut attributes, &key, value)?;
        seen.push(key);
    }
    if let (Some(_), Some(side)) = (&attributes.queue, &attributes.side) {
        return Err(Error::new(side.span(), "a task is of one kind, and this one has a `queue`"));
    }
    let foreign = foreign(&attributes);
    for key in &seen {
        if let Some((_, reason)) = foreign.iter().find(|(words, _)| words.iter().any(|word| key == word)) {
            return Err(Error::new(key.span(), format!("`{key}` {reason}")));
        }
    }
    if let Some(When::Expression(schedule, at)) = &attributes.schedule {
        let zone = TimeZone::get(attributes.timezone.as_deref().unwrap_or("UTC")).unwrap_or(TimeZone::UTC);
        schedule.first_after(&zone, Timestamp::now()).map_err(|error| refused(*at, error))?;
    }
    if let (Some(teardown), None) = (&attributes.teardown, &attributes.state) {
        return Err(refused(teardown.span(), "there is nothing to tear down: `state` says what is built"));
    }
    Ok(attributes)
}

/// The keys that a task of this kind cannot have, and why not.
fn foreign(attributes: &Attributes) -> Vec<(&'static [&'static str], &'static str)> {
    let mut foreign: Vec<(&[&str], _)> = Vec::new();
    if attributes.side.is_some() {
        foreign.extend([
            (&OF_LIFECYCLE[..], "is for lifecycle tasks, and this one is a side task"),
            (&OF_CRON, "is for cron tasks, and this one is a side task"),
            (&["priority"], "is for cron and queue tasks, and this one is a side task"),
            (&OF_QUEUE, "is for queue tasks, and this one is a side task"),
            (&["depends_on"], "is for lifecycle and cron tasks, and this one is a side task"),
            (&OF_AN_END, "is for tasks that come to an end, and a side task runs as long as its runner does"),
        ]);
        return foreign;
    }
    foreign.push((&OF_SIDE, "is for side tasks, and this one has no `side`"));
    if attributes.queue.is_some() {
        foreign.extend([
            (&OF_LIFECYCLE[..], "is for lifecycle tasks, and this one has a `queue`"),
            (&OF_CRON, "is for cron tasks, and this one has a `queue`"),
            (&["depends_on"], "is for lifecycle and cron tasks: a job waits for others by `.after(&job)`"),
        ]);
        return foreign;
    }
    foreign.push((&OF_QUEUE, "is for queue tasks, and this one has no `queue`"));
    match attributes.schedule {
        None => foreign.extend([
            (&OF_CRON[..], "is for cron tasks, and this one has no `schedule`"),
            (&["priority"], "is for cron and queue tasks, and this one has neither `schedule` nor `queue`"),
        ]),
        Some(When::Expression(..)) => foreign.push((&OF_LIFECYCLE, OF_A_LIFECYCLE_TASK)),
        Some(When::Function(_)) => foreign.extend([
            (&OF_LIFECYCLE[..], OF_A_LIFECYCLE_TASK),
            (
                &OF_EXPRESSION,
                "is for a schedule in quotes, and this one is a function, which is asked each minute",
            ),
        ]),
    }
    foreign
}

const OF_A_LIFECYCLE_TASK: &str = "is for lifecycle tasks, and this one has a `schedule`";

fn read(attributes: &mut Attributes, key: &Ident, value: Option<Value>) -> Result<()> {
    let word = key.to_string();
    if BARE.contains(&word.as_str()) {
        if value.is_some() {
            return Err(Error::new(key.span(), format!("`{key}` stands alone, without a value")));
        }
        let place = if key == "queue" { &mut attributes.queue } else { &mut attributes.side };
        *place = Some(key.clone());
        return Ok(());
    }
    let value = value.ok_or_else(|| match KEYS.split(", ").find(|known| *known == word) {
        Some(_) => Error::new(key.span(), format!("`{key}` needs a value: `{key} = ..`")),
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
        "run_on" => attributes.run_on = Some(list(&value, known_word)?),
        "phase" => attributes.phase = Some(known_word(&value)?),
        "once_per" => attributes.once_per = Some(known_word(&value)?),
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
        "priority" => attributes.priority = Some(known_word(&value)?),
        "overlap" => attributes.overlap = Some(known_word(&value)?),
        "catch_up" => attributes.catch_up = Some(known_word(&value)?),
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
    Error::new(key.span(), format!("`{key}` is not a key of #[task]: it must be one of {KEYS}"))
}

fn refused(span: Span, reason: impl Display) -> Error {
    Error::new(span, reason.to_string())
}

fn list<T>(value: &Expr, item: impl Fn(&Expr) -> Result<T>) -> Result<Vec<T>> {
    match value {
        Expr::Array(ExprArray { elems, .. }) if elems.is_empty() => {
            Err(refused(value.span(), "an empty list: leave the key out, or name something"))
        }
        Expr::Array(ExprArray { elems, .. }) => elems.iter().map(item).collect(),
        other => Err(refused(other.span(), "a list in `[ ]` must stand here")),
    }
}

fn text(value: &Expr) -> Result<String> {
    match value {
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Ok(text.value()),
        other => Err(refused(other.span(), "a text in quotes must stand here")),
    }
}

/// A text that parses as `T`, and what it parsed to.
fn parsed<T: FromStr<Err: Display>>(value: &Expr) -> Result<(String, T)> {
    let text = text(value)?;
    let parsed = text.parse().map_err(|error| refused(value.span(), error))?;
    Ok((text, parsed))
}

/// A word of a closed set, bare or in quotes: `Deploy` or `"deploy"`.
fn known_word<T: FromStr<Err: Display>>(value: &Expr) -> Result<T> {
    let word = match value {
        Expr::Path(ExprPath { path, .. }) => path.get_ident().map(Ident::to_string),
        other => Some(text(other)?),
    };
    let word = word.ok_or_else(|| refused(value.span(), "a single word must stand here"))?;
    word.parse().map_err(|error| refused(value.span(), error))
}

fn timezone(value: &Expr) -> Result<String> {
    let name = text(value)?;
    // By exactly its name, since EventBridge knows no other.
    let known: Vec<_> = jiff::tz::db().available().collect();
    let known = known.iter().map(TimeZoneName::as_str);
    if known.clone().any(|known| known == name) {
        return Ok(name);
    }
    Err(refused(value.span(), UnknownZone::new(&name, known)))
}

fn timeout(value: &Expr) -> Result<u64> {
    let timeout = duration::parse(&text(value)?).map_err(|error| refused(value.span(), error))?;
    if timeout.is_zero() || timeout > MAX_TIMEOUT {
        return Err(refused(
            value.span(),
            "a timeout must be within 1 ms and 900 s, which is what Lambda allows",
        ));
    }
    Ok(duration::millis(timeout))
}

fn jitter(value: &Expr) -> Result<u64> {
    let jitter = duration::parse(&text(value)?).map_err(|error| refused(value.span(), error))?;
    if jitter > MAX_JITTER {
        return Err(refused(value.span(), "a jitter must be at most 1 h"));
    }
    Ok(duration::millis(jitter))
}

fn retention(value: &Expr) -> Result<u64> {
    let retention = duration::parse(&text(value)?).map_err(|error| refused(value.span(), error))?;
    if retention.is_zero() {
        return Err(refused(
            value.span(),
            "records that are not kept at all cannot tell what ran: give a time such as `30d`",
        ));
    }
    Ok(duration::millis(retention))
}

fn flag(value: &Expr) -> Result<bool> {
    match value {
        Expr::Lit(ExprLit { lit: Lit::Bool(LitBool { value, .. }), .. }) => Ok(*value),
        other => Err(refused(other.span(), "`true` or `false` must stand here")),
    }
}

fn attempts(value: &Expr) -> Result<u32> {
    positive(value, "attempts are counted in total: a number of at least 1 must stand here")
}

fn concurrency(value: &Expr) -> Result<u32> {
    positive(value, "this is how many jobs may run at once: a number of at least 1 must stand here")
}

fn positive(value: &Expr, otherwise: &str) -> Result<u32> {
    let number = match value {
        Expr::Lit(ExprLit { lit: Lit::Int(number), .. }) => number.base10_parse::<u32>().ok(),
        _ => None,
    };
    number.filter(|number| *number > 0).ok_or_else(|| refused(value.span(), otherwise))
}

fn asset(value: &Expr) -> Result<(String, Option<String>)> {
    let (from, to) = match value {
        Expr::Tuple(ExprTuple { elems, .. }) if elems.len() == 2 => (&elems[0], Some(&elems[1])),
        Expr::Lit(ExprLit { lit: Lit::Str(_), .. }) => (value, None),
        other => return Err(refused(other.span(), "a path, or `(\"from\", \"to\")`, must stand here")),
    };
    let (from_text, to_text) = (text(from)?, to.map(text).transpose()?);
    Asset::new(&from_text, to_text.as_deref()).map_err(|error| {
        let at_fault = to.filter(|_| error.role == "to").unwrap_or(from);
        refused(at_fault.span(), error)
    })?;
    Ok((from_text, to_text))
}

fn function(value: &Expr) -> Result<Path> {
    match value {
        Expr::Path(ExprPath { path, .. }) => Ok(path.clone()),
        other => Err(refused(other.span(), "the name of a function must stand here")),
    }
}
