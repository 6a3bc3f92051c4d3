//! The check of a value against a schema. Its cost is linear in the size of the value.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
};

use serde_json::{Map, Value};

use super::{
    keywords,
    parts::{self, Entry, Keywords, listed, required, target},
};

/// A segment of a path from a value to a part of it.
#[derive(Clone, Debug)]
pub(super) enum PathSegment {
    Key(String),
    Place(usize),
}

/// A violation, with the segments of its path in reverse order.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    pub steps: Vec<PathSegment>,
    pub reason: String,
}

impl Fault {
    fn here(reason: impl Into<String>) -> Self {
        Self { steps: Vec::new(), reason: reason.into() }
    }

    fn below(mut self, step: PathSegment) -> Self {
        self.steps.push(step);
        self
    }
}

/// Verdicts on parts of the value; none while a verdict is being computed.
type Verdicts = HashMap<(*const Value, *const Value), Option<Result<(), Fault>>>;

/// Checks values against the parts of one schema.
///
/// The target of a `$ref` is checked once for each part of the value. Every recursion of a schema goes
/// through a `$ref`. So the cost is limited by the size of the value times that of the schema.
pub(crate) struct Checker<'a> {
    root: &'a Value,
    /// Required keys must be there.
    is_whole: bool,
    verdicts: RefCell<Verdicts>,
    steps: Cell<usize>,
}

impl<'a> Checker<'a> {
    /// Creates a checker of whole values.
    pub(crate) fn new(root: &'a Value) -> Self {
        Self { root, is_whole: true, verdicts: RefCell::default(), steps: Cell::new(0) }
    }

    /// Creates a checker of values that may lack required keys.
    pub(crate) fn of_parts(root: &'a Value) -> Self {
        Self { is_whole: false, ..Self::new(root) }
    }

    /// Returns the number of pairs of value and schema that were considered.
    #[cfg(test)]
    pub(super) fn steps(&self) -> usize {
        self.steps.get()
    }

    /// Returns whether a value fulfils a part of the schema.
    pub(crate) fn is_fulfilled(&self, value: &'a Value, schema: &'a Value) -> bool {
        self.check(value, schema).is_ok()
    }

    pub(super) fn check(&self, value: &'a Value, schema: &'a Value) -> Result<(), Fault> {
        self.steps.set(self.steps.get() + 1);
        let schema = match schema {
            Value::Object(schema) => schema,
            Value::Bool(false) => return Err(Fault::here("must not be there")),
            _ => return Ok(()),
        };
        keywords::check(value, schema).map_err(Fault::here)?;
        match value {
            Value::Array(items) => {
                for (i, item) in items.iter().enumerate() {
                    let Some(schema) = parts::item(schema, i) else { break };
                    self.check(item, schema).map_err(|fault| fault.below(PathSegment::Place(i)))?;
                }
            }
            Value::Object(entries) => self.entries(entries, schema)?,
            _ => {}
        }
        if let Some(target) = target(schema, self.root) {
            self.remembered(value, target)?;
        }
        for branch in listed(schema, "allOf") {
            self.check(value, branch)?;
        }
        for (word, most) in [("anyOf", usize::MAX), ("oneOf", 1)] {
            self.one_of(value, listed(schema, word), most)?;
        }
        if schema.get("not").is_some_and(|not| self.is_fulfilled(value, not)) {
            let only = schema["not"].get("const").map(|word| format!("must not be {word}"));
            return Err(Fault::here(
                only.unwrap_or_else(|| "matches a schema that is not allowed".to_owned()),
            ));
        }
        self.unevaluated(value, schema)
    }

    fn remembered(&self, value: &'a Value, target: &'a Value) -> Result<(), Fault> {
        let key = (std::ptr::from_ref(value), std::ptr::from_ref(target));
        if let Some(known) = self.verdicts.borrow().get(&key) {
            // A cycle of references adds nothing.
            return known.clone().unwrap_or(Ok(()));
        }
        self.verdicts.borrow_mut().insert(key, None);
        let verdict = self.check(value, target);
        self.verdicts.borrow_mut().insert(key, Some(verdict.clone()));
        verdict
    }

    fn entries(&self, entries: &'a Map<String, Value>, schema: &'a Keywords) -> Result<(), Fault> {
        let below = |key: &str| PathSegment::Key(key.to_owned());
        if self.is_whole
            && let Some(key) = required(schema).find(|key| !entries.contains_key(*key))
        {
            return Err(Fault::here("is missing").below(below(key)));
        }
        for (key, value) in entries {
            match parts::entry(schema, key) {
                Entry::Applies(schemas) => {
                    for schema in schemas {
                        self.check(value, schema).map_err(|fault| fault.below(below(key)))?;
                    }
                }
                Entry::Closed => return Err(Fault::here("is not known").below(below(key))),
            }
        }
        Ok(())
    }

    /// Checks alternatives of which the value must fulfil one.
    fn one_of(&self, value: &'a Value, branches: &'a [Value], most: usize) -> Result<(), Fault> {
        if branches.is_empty() {
            return Ok(());
        }
        let checked: Vec<_> = branches.iter().map(|branch| self.check(value, branch)).collect();
        let fulfilled = checked.iter().filter(|checked| checked.is_ok()).count();
        if fulfilled == 0 {
            return Err(self.nearest(value, branches, checked));
        }
        // A value that may lack required keys may lack the key that distinguishes the alternatives.
        if fulfilled > most && self.is_whole {
            return Err(Fault::here(format!(
                "matches {fulfilled} of the allowed schemas, and must match one"
            )));
        }
        Ok(())
    }

    /// Returns the fault of a value that fulfils no alternative: the fault in the alternative that the value's
    /// tag names, or else the fault with the longest path.
    fn nearest(&self, value: &Value, branches: &'a [Value], checked: Vec<Result<(), Fault>>) -> Fault {
        if let Some(words) = branches.iter().map(words).collect::<Option<Vec<_>>>() {
            return Fault::here(format!("must be one of {}", words.concat().join(", ")));
        }
        let is_named = |branch| value.as_object().and_then(|it| parts::is_named(branch, it, self.root));
        let named: Vec<_> = branches.iter().map(is_named).collect();
        let mut faults = Vec::new();
        for (fault, named) in checked.into_iter().zip(named) {
            match fault {
                Err(fault) if named == Some(true) => return fault,
                Err(fault) => faults.push(fault),
                Ok(()) => {}
            }
        }
        if let Some(fault) = self.unnamed(value, branches) {
            return fault;
        }
        let furthest = faults.into_iter().max_by_key(|fault| fault.steps.len());
        furthest
            .filter(|fault| !fault.steps.is_empty())
            .unwrap_or_else(|| Fault::here(format!("matches none of the {} allowed schemas", branches.len())))
    }

    /// Returns the fault of an object that names no alternative, if each alternative has a tag.
    fn unnamed(&self, value: &Value, branches: &'a [Value]) -> Option<Fault> {
        let entries = value.as_object()?;
        let are_objects = |branch: &&Value| !parts::is_nothing(branch) && words(branch).is_none();
        let tags: Vec<_> =
            branches.iter().filter(are_objects).map(|branch| parts::tags(branch, self.root)).collect();
        let firsts: Vec<_> = tags.iter().map(|tags| tags.first().copied()).collect::<Option<_>>()?;
        let (key, _) = *firsts.first()?;
        if firsts.iter().all(|(_, text)| text.is_none()) {
            let keys: Vec<_> = firsts.iter().map(|(key, _)| format!("`{key}`")).collect();
            return Some(Fault::here(format!("must have one of the keys {}", keys.join(", "))));
        }
        let texts: Option<Vec<_>> = firsts
            .iter()
            .map(|(of, text)| text.filter(|_| *of == key).map(|text| format!("{text:?}")))
            .collect();
        let fault = match entries.get(key) {
            Some(_) => Fault::here(format!("must be one of {}", texts?.join(", "))),
            None => Fault::here("is missing"),
        };
        Some(fault.below(PathSegment::Key(key.to_owned())))
    }

    /// Checks `unevaluatedProperties` as schemars writes it: closed objects with flattened parts.
    fn unevaluated(&self, value: &'a Value, schema: &'a Keywords) -> Result<(), Fault> {
        let (Value::Object(entries), Some(Value::Bool(false))) = (value, schema.get("unevaluatedProperties"))
        else {
            return Ok(());
        };
        match entries.keys().find(|key| !self.is_evaluated(key, value, schema)) {
            Some(key) => Err(Fault::here("is not known").below(PathSegment::Key(key.clone()))),
            None => Ok(()),
        }
    }

    fn is_evaluated(&self, key: &str, value: &'a Value, schema: &'a Keywords) -> bool {
        let here = matches!(parts::entry(schema, key), Entry::Applies(schemas) if !schemas.is_empty());
        let must = target(schema, self.root).into_iter().chain(listed(schema, "allOf"));
        let may = ["anyOf", "oneOf"].map(|word| listed(schema, word)).into_iter().flatten();
        let mut others = must.chain(may.filter(|branch| self.is_fulfilled(value, branch)));
        here || others.any(|other| {
            other
                .as_object()
                .is_some_and(|other| !std::ptr::eq(other, schema) && self.is_evaluated(key, value, other))
        })
    }
}

/// Returns the words that an alternative allows, if it allows nothing else.
fn words(branch: &Value) -> Option<Vec<String>> {
    let word = branch.get("const").map(|word| vec![word.to_string()]);
    word.or_else(|| Some(branch.get("enum")?.as_array()?.iter().map(Value::to_string).collect()))
}
