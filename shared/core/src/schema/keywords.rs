//! The keywords for plain values: types, words, numbers and counts.

use core::net;
use std::cmp::Ordering;

use serde_json::{Number, Value};

use super::parts::{Keywords, listed};

/// Checks the keywords that do not look into parts of the value. The error says what is required.
pub(super) fn check(value: &Value, schema: &Keywords) -> Result<(), String> {
    words(value, schema)?;
    match value {
        Value::Number(number) => bounds(number, schema),
        Value::String(text) => {
            if ["minLength", "maxLength"].iter().any(|word| schema.contains_key(*word)) {
                counted(text.chars().count(), schema, "Length", "characters")?;
            }
            address(text, schema)
        }
        Value::Array(items) => counted(items.len(), schema, "Items", "items"),
        Value::Object(entries) => counted(entries.len(), schema, "Properties", "entries"),
        Value::Null | Value::Bool(_) => Ok(()),
    }
}

/// Checks `type`, `enum` and `const`.
fn words(value: &Value, schema: &Keywords) -> Result<(), String> {
    if !is_of_type(value, schema) {
        let whole = value.is_number().then(|| whole(schema)).flatten();
        return Err(if let Some((least, most)) = whole {
            format!("must be a whole number from {least} to {most}, without a fraction")
        } else {
            let wanted: Vec<_> = types(schema).map(in_words).collect();
            format!("must be {}, and is {}", wanted.join(" or "), is_in_words(value))
        });
    }
    let allowed = listed(schema, "enum");
    if schema.get("enum").is_some_and(Value::is_array) && !allowed.contains(value) {
        let words: Vec<_> = allowed.iter().map(Value::to_string).collect();
        return Err(format!("must be one of {}", words.join(", ")));
    }
    match schema.get("const") {
        Some(word) if word != value => Err(format!("must be {word}")),
        _ => Ok(()),
    }
}

fn types(schema: &Keywords) -> impl Iterator<Item = &str> {
    let one = schema.get("type").and_then(Value::as_str);
    one.into_iter().chain(listed(schema, "type").iter().filter_map(Value::as_str))
}

/// Returns whether the value is of one of the types. A number with a fraction or an exponent is never an
/// integer, since serde reads none as one.
pub(crate) fn is_of_type(value: &Value, schema: &Keywords) -> bool {
    let is = |name: &str| match (name, value) {
        ("integer", Value::Number(number)) => !number.is_f64(),
        _ => name == type_of(value),
    };
    let mut types = types(schema).peekable();
    types.peek().is_none() || types.any(is)
}

/// Returns whether numbers there are floating-point numbers.
pub(super) fn is_float(schema: &Keywords) -> bool {
    types(schema).any(|name| name == "number")
}

pub(super) fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn in_words(name: &str) -> &str {
    match name {
        "boolean" => "true or false",
        "number" => "a number",
        "integer" => "a whole number",
        "string" => "a text",
        "array" => "a list",
        "object" => "an object",
        other => other,
    }
}

fn is_in_words(value: &Value) -> &str {
    if value.is_f64() { "a number with a fraction" } else { in_words(type_of(value)) }
}

/// Returns the range of an integer format that schemars gives to Rust's types. JSON carries at most 64 bits,
/// for 128-bit types too.
fn range(format: &str) -> Option<(i128, i128)> {
    Some(match format {
        "int8" => (i8::MIN.into(), i8::MAX.into()),
        "int16" => (i16::MIN.into(), i16::MAX.into()),
        "int32" => (i32::MIN.into(), i32::MAX.into()),
        "int64" | "int" => (i64::MIN.into(), i64::MAX.into()),
        "int128" => (i64::MIN.into(), u64::MAX.into()),
        "uint8" => (0, u8::MAX.into()),
        "uint16" => (0, u16::MAX.into()),
        "uint32" => (0, u32::MAX.into()),
        "uint64" | "uint" | "uint128" => (0, u64::MAX.into()),
        _ => return None,
    })
}

/// Returns the range of integers that are allowed, if the schema is for integers of some format.
fn whole(schema: &Keywords) -> Option<(i128, i128)> {
    let (least, most) = range(schema.get("format")?.as_str()?)?;
    let bound = |word: &str| schema.get(word).and_then(Value::as_number).and_then(integer);
    let least = bound("minimum").map_or(least, |bound| least.max(bound));
    let most = bound("maximum").map_or(most, |bound| most.min(bound));
    Some((least, most))
}

fn integer(number: &Number) -> Option<i128> {
    number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from))
}

fn bounds(number: &Number, schema: &Keywords) -> Result<(), String> {
    if let (Some((least, most)), Some(integer)) = (whole(schema), integer(number))
        && !(least..=most).contains(&integer)
    {
        return Err(format!("must be a whole number from {least} to {most}"));
    }
    if schema.get("format").is_some_and(|format| format == "float") && single(number).is_none() {
        return Err(format!("must be a number from {} to {}", f32::MIN, f32::MAX));
    }
    for (word, kept, reason) in [
        ("minimum", [Ordering::Greater, Ordering::Equal].as_slice(), "must be at least"),
        ("maximum", &[Ordering::Less, Ordering::Equal], "must be at most"),
        ("exclusiveMinimum", &[Ordering::Greater], "must be more than"),
        ("exclusiveMaximum", &[Ordering::Less], "must be less than"),
    ] {
        if let Some(Value::Number(bound)) = schema.get(word)
            && !compared(number, bound).is_some_and(|order| kept.contains(&order))
        {
            return Err(format!("{reason} {bound}"));
        }
    }
    Ok(())
}

/// Returns the number in single precision, as serde reads it; none if it is out of range, where serde would
/// return infinity.
pub(super) fn single(number: &Number) -> Option<f32> {
    #[expect(clippy::cast_possible_truncation, reason = "this is what serde does")]
    number.as_f64().map(|number| number as f32).filter(|number| number.is_finite())
}

/// Compares two numbers. Integers are compared as such: beyond 2^53 a float cannot distinguish neighbours.
fn compared(a: &Number, b: &Number) -> Option<Ordering> {
    match (integer(a), integer(b)) {
        (Some(a), Some(b)) => Some(a.cmp(&b)),
        _ => a.as_f64()?.partial_cmp(&b.as_f64()?),
    }
}

/// Checks `minLength` and `maxLength`, `minItems` and `maxItems`, or `minProperties` and `maxProperties`.
fn counted(count: usize, schema: &Keywords, what: &str, of: &str) -> Result<(), String> {
    let bound = |word: &str| schema.get(&format!("{word}{what}")).and_then(Value::as_u64);
    let count = u64::try_from(count).unwrap_or(u64::MAX);
    if let Some(min) = bound("min").filter(|min| count < *min) {
        return Err(format!("must have at least {min} {of}, and has {count}"));
    }
    if let Some(max) = bound("max").filter(|max| count > *max) {
        return Err(format!("must have at most {max} {of}, and has {count}"));
    }
    Ok(())
}

/// Checks the formats of addresses, which serde reads with the standard library. Other formats are not
/// checked.
fn address(text: &str, schema: &Keywords) -> Result<(), String> {
    let (is_one, what) = match schema.get("format").and_then(Value::as_str) {
        Some("ipv4") => (text.parse::<net::Ipv4Addr>().is_ok(), "an IPv4 address"),
        Some("ipv6") => (text.parse::<net::Ipv6Addr>().is_ok(), "an IPv6 address"),
        Some("ip") => (text.parse::<net::IpAddr>().is_ok(), "an IP address"),
        _ => return Ok(()),
    };
    if is_one { Ok(()) } else { Err(format!("must be {what}")) }
}
