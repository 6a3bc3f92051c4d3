//! Reads the attribute: keys, and values that parse as what they stand for.

use std::{fmt::Display, str::FromStr};

use jiff::tz::TimeZoneName;
use lamplighter_core::{
    assets::Asset,
    definition::{MAX_TIMEOUT, OncePer, Phase, Priority, RunOn},
    duration,
    name::TaskName,
    schedule::Schedule,
    zone::UnknownZone,
};
use proc_macro2::{Span, TokenStream};
use syn::{
    Error, Expr, ExprArray, ExprLit, ExprPath, ExprTuple, Ident, Lit, Path, Result, Token,
    parse::{Parse, ParseStream, Parser},
    punctuated::Punctuated,
    spanned::Spanned,
};

/// The attribute of a task, read.
#[derive(Default)]
pub(crate) struct Attributes {
    pub run_on: Option<Vec<RunOn>>,
    pub phase: Option<Phase>,
    pub once_per: Option<OncePer>,
    pub depends_on: Vec<String>,
    pub schedule: Option<String>,
    pub timezone: Option<String>,
    pub priority: Option<Priority>,
    pub timeout_ms: Option<u64>,
    pub attempts: Option<u32>,
    pub copy_assets: Vec<(String, Option<String>)>,
    pub validate: Option<Path>,
    pub rollback: Option<Path>,
}

const KEYS: &str = "run_on, phase, once_per, depends_on, schedule, timezone, priority, timeout, attempts, \
                    copy_assets, validate, rollback";
/// What only cron tasks have.
const OF_CRON: [&str; 2] = ["timezone", "priority"];
/// What only lifecycle tasks have.
const OF_LIFECYCLE: [&str; 4] = ["run_on", "phase", "once_per", "depends_on"];

/// `key = value`, or a bare key.
struct Entry {
    key: Ident,
    value: Option<Expr>,
}

impl Parse for Entry {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let key = input.parse()?;
        let value = if input.parse::<Option<Token![=]>>()?.is_some() { Some(input.parse()?) } else { None };
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
    let (foreign, reason): (&[&str], _) = if attributes.schedule.is_some() {
        (&OF_LIFECYCLE, "is for lifecycle tasks, and this one has a `schedule`")
    } else {
        (&OF_CRON, "is for cron tasks, and this one has no `schedule`")
    };
    match seen.iter().find(|key| foreign.iter().any(|word| *key == word)) {
        Some(key) => Err(Error::new(key.span(), format!("`{key}` {reason}"))),
        None => Ok(attributes),
    }
}

fn read(attributes: &mut Attributes, key: &Ident, value: Option<Expr>) -> Result<()> {
    let word = key.to_string();
    if matches!(word.as_str(), "queue" | "side") {
        let message =
            format!("{word} tasks are not there yet: lifecycle tasks and, with `schedule`, cron tasks are");
        return Err(Error::new(key.span(), message));
    }
    let value = value.ok_or_else(|| match KEYS.split(", ").find(|known| *known == word) {
        Some(_) => Error::new(key.span(), format!("`{key}` needs a value: `{key} = ..`")),
        None => unknown(key),
    })?;
    match word.as_str() {
        "run_on" => attributes.run_on = Some(list(&value, known_word)?),
        "phase" => attributes.phase = Some(known_word(&value)?),
        "once_per" => attributes.once_per = Some(known_word(&value)?),
        "depends_on" => {
            attributes.depends_on = list(&value, |name| Ok(parsed::<TaskName>(name)?.0))?;
        }
        "schedule" => attributes.schedule = Some(parsed::<Schedule>(&value)?.0),
        "timezone" => attributes.timezone = Some(timezone(&value)?),
        "priority" => attributes.priority = Some(known_word(&value)?),
        "timeout" => attributes.timeout_ms = Some(timeout(&value)?),
        "attempts" => attributes.attempts = Some(attempts(&value)?),
        "copy_assets" => attributes.copy_assets = list(&value, asset)?,
        "validate" => attributes.validate = Some(function(&value)?),
        "rollback" => attributes.rollback = Some(function(&value)?),
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
    if jiff::tz::db().get(&name).is_ok() {
        return Ok(name);
    }
    let known: Vec<_> = jiff::tz::db().available().collect();
    Err(refused(value.span(), UnknownZone::new(&name, known.iter().map(TimeZoneName::as_str))))
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

fn attempts(value: &Expr) -> Result<u32> {
    let number = match value {
        Expr::Lit(ExprLit { lit: Lit::Int(number), .. }) => number.base10_parse::<u32>().ok(),
        _ => None,
    };
    number.filter(|number| *number > 0).ok_or_else(|| {
        refused(value.span(), "attempts are counted in total: a number of at least 1 must stand here")
    })
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
