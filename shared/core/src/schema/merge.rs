//! Overrides of a value, as its schema defines them.

use serde_json::{Map, Value};

use super::{
    check::Checker,
    parts::{self, Entry, Keywords, applying, is_named, is_nothing},
};

/// Merges `over` into `base`: objects key by key at any depth, anything else as a whole. Null as a whole
/// changes nothing.
///
/// An override for an enum replaces the whole variant, whatever the enum's tagging. It is merged key by key
/// only if it is incomplete by itself and may be of the variant of `base`.
#[must_use]
pub fn merged(base: Value, over: Value, schema: &Value) -> Value {
    if over.is_null() { base } else { Merger { root: schema }.merged(base, over, &[schema]) }
}

struct Merger<'a> {
    root: &'a Value,
}

impl<'a> Merger<'a> {
    fn merged(&self, base: Value, over: Value, schemas: &[&'a Value]) -> Value {
        let (mut base, mut over) = match (base, over) {
            (Value::Object(base), Value::Object(over)) => (base, over),
            (_, over) => return over,
        };
        let Place { all, enums } = self.place(schemas);
        let is_own = |key: &str| all.iter().any(|schema| parts::property(schema, key).is_some());
        for variants in &enums {
            let belongs = |key: &str| !is_own(key) && (enums.len() == 1 || self.is_of(variants, key));
            let (old, new) = (split(&mut base, belongs), split(&mut over, belongs));
            base.extend(self.variant(old, new, variants));
        }
        for (key, value) in over {
            let schemas = all.iter().filter_map(|schema| match parts::entry(schema, &key) {
                Entry::Applies(schemas) => Some(schemas),
                Entry::Closed => None,
            });
            let schemas: Vec<_> = schemas.flatten().collect();
            let value = match base.remove(&key) {
                Some(before) => self.merged(before, value, &schemas),
                None => value,
            };
            base.insert(key, value);
        }
        Value::Object(base)
    }

    /// Returns the schemas that apply at a place, and its enums: several if they are flattened into one
    /// struct.
    fn place(&self, schemas: &[&'a Value]) -> Place<'a> {
        let mut enums = Vec::new();
        let all = applying(schemas, self.root, |branches| {
            let some: Vec<_> = branches.iter().filter(|branch| !is_nothing(branch)).collect();
            // A single alternative is an option.
            if some.len() != 1 {
                enums.push(some);
                return Vec::new();
            }
            some
        });
        Place { all, enums }
    }

    /// Returns whether a key belongs to one of the variants.
    fn is_of(&self, variants: &[&'a Value], key: &str) -> bool {
        variants.iter().any(|variant| {
            let Place { all, enums } = self.place(&[variant]);
            all.iter().any(|schema| parts::property(schema, key).is_some())
                || enums.iter().any(|variants| self.is_of(variants, key))
        })
    }

    fn variant(&self, old: Object, new: Object, variants: &[&'a Value]) -> Object {
        if new.is_empty() || old.is_empty() {
            return if new.is_empty() { old } else { new };
        }
        let (old, new) = (Value::Object(old), Value::Object(new));
        match self.shared(&old, &new, variants) {
            Some(variant) => object(self.merged(old, new, &[variant])),
            None => object(new),
        }
    }

    /// Returns the variant of both values, if the new one is incomplete by itself.
    fn shared(&self, old: &Value, new: &Value, variants: &[&'a Value]) -> Option<&'a Value> {
        let (whole, parts) = (Checker::new(self.root), Checker::of_parts(self.root));
        if variants.iter().any(|variant| whole.is_fulfilled(new, variant)) {
            return None;
        }
        // The check reports a fault in the named variant later.
        let may_be = |value: &Value, variant| {
            let named = value.as_object().and_then(|it| is_named(variant, it, self.root));
            named.unwrap_or_else(|| parts.is_fulfilled(value, variant))
        };
        let is_whole = variants.iter().any(|variant| whole.is_fulfilled(old, variant));
        let is = |variant| if is_whole { whole.is_fulfilled(old, variant) } else { may_be(old, variant) };
        variants.iter().copied().find(|variant| is(variant) && may_be(new, variant))
    }
}

struct Place<'a> {
    all: Vec<&'a Keywords>,
    enums: Vec<Vec<&'a Value>>,
}

type Object = Map<String, Value>;

/// Takes out the entries whose keys belong.
fn split(entries: &mut Object, belongs: impl Fn(&str) -> bool) -> Object {
    let (taken, left) = std::mem::take(entries).into_iter().partition(|(key, _)| belongs(key));
    *entries = left;
    taken
}

fn object(value: Value) -> Object {
    match value {
        Value::Object(entries) => entries,
        _ => Object::new(),
    }
}
