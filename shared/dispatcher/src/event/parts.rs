//! An event's top-level values, each kept as JSON text of its own, so that an invalid value does not affect the others.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::{Value, value::RawValue};

/// An unparsed event.
#[derive(Clone, Debug, Default)]
pub struct Event(BTreeMap<String, Box<RawValue>>);

impl Event {
    /// Splits the text of an event into its values. A text that is no object has none.
    pub fn read(text: &str) -> Self {
        serde_json::from_str(text).unwrap_or_default()
    }

    /// The JSON text of a value.
    pub fn raw(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(|value| value.get())
    }

    /// Parses a value; a missing one is null.
    pub fn value(&self, key: &str) -> serde_json::Result<Value> {
        self.raw(key).map_or(Ok(Value::Null), serde_json::from_str)
    }

    /// Parses a value that is a string. Returns `None` for any other value.
    pub fn text(&self, key: &str) -> Option<String> {
        serde_json::from_str(self.raw(key)?).ok()
    }

    /// Returns the original event and its last error, if this is the record of an event whose deliveries all failed. Source:
    /// Lambda Developer Guide, "Capturing records of Lambda asynchronous invocations".
    pub fn undelivered(&self) -> Option<(Self, String)> {
        if self.0.contains_key("ResponseURL") {
            return None;
        }
        let event = Self::read(self.raw("requestPayload")?);
        let response = self.value("responsePayload").unwrap_or_default();
        let error = response["errorMessage"].as_str().unwrap_or("an error without a message");
        Some((event, error.to_owned()))
    }

    /// The event as JSON text, with one value added or replaced.
    pub fn with(&self, key: &str, value: &str) -> String {
        let entry = |key: &str, value: &str| format!("{}:{value}", Value::from(key));
        let others = self.0.iter().filter(|(name, _)| *name != key);
        let others = others.map(|(name, value)| entry(name, value.get()));
        let entries: Vec<_> = others.chain([entry(key, &Value::from(value).to_string())]).collect();
        format!("{{{}}}", entries.join(","))
    }
}

impl<'de> Deserialize<'de> for Event {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Event;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Event, A::Error> {
                let mut entries = BTreeMap::new();
                while let Some((Key(key), value)) = map.next_entry::<Key, Box<RawValue>>()? {
                    entries.insert(key, value);
                }
                Ok(Event(entries))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

/// A key. Invalid Unicode in it is replaced, since no key that the dispatcher reads has any.
struct Key(String);

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = Key;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }

            fn visit_str<E>(self, text: &str) -> Result<Key, E> {
                Ok(Key(text.to_owned()))
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Key, E> {
                Ok(Key(String::from_utf8_lossy(bytes).into_owned()))
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}
