//! The parts of a schema that apply to a value. The check, the merge, the normal form and the masking of
//! secrets use them.

use std::{fmt::Display, str::FromStr};

use serde_json::{Map, Value};

/// A schema as an object of keywords.
pub(crate) type Keywords = Map<String, Value>;

/// The patterns that schemars writes for maps with integer keys.
const WHOLE_KEYS: [&str; 2] = [r"^\d+$", r"^-?\d+$"];

/// Returns the target of a `$ref`, if it is within `root`.
pub(crate) fn target<'a>(schema: &Keywords, root: &'a Value) -> Option<&'a Value> {
    root.pointer(schema.get("$ref")?.as_str()?.strip_prefix('#')?)
}

/// Returns the schemas of a keyword that lists some: `anyOf`, `oneOf`, `allOf`, `prefixItems`.
pub(crate) fn listed<'a>(schema: &'a Keywords, keyword: &str) -> &'a [Value] {
    schema.get(keyword).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Returns the lists of alternatives of a schema.
pub(crate) fn alternatives(schema: &Keywords) -> impl Iterator<Item = &[Value]> {
    ["anyOf", "oneOf"].map(|keyword| listed(schema, keyword)).into_iter().filter(|list| !list.is_empty())
}

/// Returns the schemas that a value must fulfil together with `schema`: that one, its references, and their
/// `allOf`.
pub(crate) fn conjunction<'a>(schema: &'a Value, root: &'a Value) -> Vec<&'a Keywords> {
    let (mut all, mut open) = (Vec::<&Keywords>::new(), vec![schema]);
    while let Some(schema) = open.pop() {
        let Value::Object(schema) = schema else { continue };
        if all.iter().any(|known| std::ptr::eq(*known, schema)) {
            continue;
        }
        all.push(schema);
        open.extend(target(schema, root));
        open.extend(listed(schema, "allOf"));
    }
    all
}

/// Returns the schemas that apply together with `schemas`, each once. For a list of alternatives, `chosen`
/// returns those that apply.
pub(crate) fn applying<'a>(
    schemas: &[&'a Value],
    root: &'a Value,
    mut chosen: impl FnMut(&'a [Value]) -> Vec<&'a Value>,
) -> Vec<&'a Keywords> {
    let (mut all, mut open) = (Vec::<&Keywords>::new(), schemas.to_vec());
    while let Some(schema) = open.pop() {
        for schema in conjunction(schema, root) {
            if all.iter().any(|known| std::ptr::eq(*known, schema)) {
                continue;
            }
            all.push(schema);
            for branches in alternatives(schema) {
                open.extend(chosen(branches));
            }
        }
    }
    all
}

/// Returns the keys that a schema requires.
pub(crate) fn required(schema: &Keywords) -> impl Iterator<Item = &str> {
    listed(schema, "required").iter().filter_map(Value::as_str)
}

/// Returns the schema of one property.
pub(crate) fn property<'a>(schema: &'a Keywords, key: &str) -> Option<&'a Value> {
    schema.get("properties")?.get(key)
}

/// The schemas of an entry.
pub(crate) enum Entry<'a> {
    /// These apply; an empty list means that the schema does not mention the entry.
    Applies(Vec<&'a Value>),
    /// The entry is not allowed.
    Closed,
}

/// Returns the schemas of the entry with this key. A pattern other than those of integers may match every
/// key.
pub(crate) fn entry<'a>(schema: &'a Keywords, key: &str) -> Entry<'a> {
    let mut schemas: Vec<_> = property(schema, key).into_iter().collect();
    let patterns = schema.get("patternProperties").and_then(Value::as_object);
    let matching = |pattern: &str| match pattern {
        _ if pattern == WHOLE_KEYS[0] => is_number::<u64>(key),
        _ if pattern == WHOLE_KEYS[1] => is_number::<i64>(key),
        _ => true,
    };
    schemas.extend(patterns.into_iter().flatten().filter(|(pattern, _)| matching(pattern)).map(|(_, of)| of));
    if schemas.is_empty() {
        match schema.get("additionalProperties") {
            Some(Value::Bool(false)) => return Entry::Closed,
            other => schemas.extend(other),
        }
    }
    Entry::Applies(schemas)
}

/// Returns whether a key is an integer as serde writes and reads it: without leading zeros or a plus sign.
fn is_number<T: FromStr + Display>(key: &str) -> bool {
    key.parse::<T>().is_ok_and(|number| number.to_string() == key)
}

/// Returns the schema of the item at this index of a list.
pub(crate) fn item(schema: &Keywords, place: usize) -> Option<&Value> {
    listed(schema, "prefixItems").get(place).or_else(|| schema.get("items"))
}

/// Returns the schemas within a schema, without the targets of references.
pub(crate) fn subschemas(schema: &Keywords) -> impl Iterator<Item = &Value> {
    let named = ["properties", "patternProperties"].map(|keyword| schema.get(keyword));
    let named = named.into_iter().flatten().filter_map(Value::as_object).flat_map(Map::values);
    let one = ["items", "additionalProperties", "unevaluatedProperties"].map(|keyword| schema.get(keyword));
    let lists = ["prefixItems", "allOf", "anyOf", "oneOf"].map(|keyword| listed(schema, keyword));
    named.chain(one.into_iter().flatten()).chain(lists.into_iter().flatten())
}

/// Returns whether a schema allows anything, or only null: the alternative that makes a value optional.
pub(crate) fn is_nothing(schema: &Value) -> bool {
    match schema {
        Value::Object(schema) => schema.is_empty() || schema.get("type").is_some_and(|name| name == "null"),
        _ => true,
    }
}

/// Returns the only text that a schema allows.
pub(crate) fn only_text(schema: &Value) -> Option<&str> {
    let only = match schema.get("enum").and_then(Value::as_array).map(Vec::as_slice) {
        Some([only]) => Some(only),
        _ => schema.get("const"),
    };
    only.and_then(Value::as_str)
}

/// Returns the tags of an alternative: properties with one allowed text, or its only property if that is
/// required.
pub(crate) fn tags<'a>(alternative: &'a Value, root: &'a Value) -> Vec<(&'a str, Option<&'a str>)> {
    let all = conjunction(alternative, root);
    let properties = || all.iter().filter_map(|schema| schema.get("properties")?.as_object()).flatten();
    let tags = properties().filter_map(|(key, schema)| Some((key.as_str(), Some(only_text(schema)?))));
    let tags: Vec<_> = tags.collect();
    let mut needed = all.iter().flat_map(|schema| required(schema));
    match (needed.next(), needed.next(), properties().count()) {
        _ if !tags.is_empty() => tags,
        (Some(key), None, 1) => vec![(key, None)],
        _ => Vec::new(),
    }
}

/// Returns whether an object names an alternative by its tags; none if the alternative has no tags, or the
/// object lacks them.
pub(crate) fn is_named(alternative: &Value, entries: &Map<String, Value>, root: &Value) -> Option<bool> {
    match tags(alternative, root).as_slice() {
        [] => None,
        [(key, None)] => Some(entries.contains_key(*key)),
        tags => {
            let given = || tags.iter().filter(|(key, _)| entries.contains_key(*key));
            given().next()?;
            Some(given().all(|(key, text)| entries[*key].as_str() == *text))
        }
    }
}
