//! An event's top-level values, each as its own text: one that cannot be read does not keep the others from being read.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::{Value, value::RawValue};

/// An event as it was sent.
#[derive(Clone, Debug, Default)]
pub struct Event(BTreeMap<String, Box<RawValue>>);

impl Event {
    /// Reads the text of an event. One that is no object has no values.
    pub fn read(text: &str) -> Self {
        serde_json::from_str(text).unwrap_or_default()
    }

    /// The text of a value.
    pub fn raw(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(|value| value.get())
    }

    /// A value; null if it is not there. The error says why it cannot be read.
    pub fn value(&self, key: &str) -> serde_json::Result<Value> {
        self.raw(key).map_or(Ok(Value::Null), serde_json::from_str)
    }

    /// A value that is a text.
    pub fn text(&self, key: &str) -> Option<String> {
        serde_json::from_str(self.raw(key)?).ok()
    }

    /// The event that Lambda gave up on, if this is what it sends then, and the last error. Source: Lambda Developer
    /// Guide, "Capturing records of Lambda asynchronous invocations".
    pub fn lost(&self) -> Option<(Self, String)> {
        if self.0.contains_key("ResponseURL") {
            return None;
        }
        let event = Self::read(self.raw("requestPayload")?);
        let response = self.value("responsePayload").unwrap_or_default();
        let error = response["errorMessage"].as_str().unwrap_or("nothing that it could say");
        Some((event, error.to_owned()))
    }

    /// The event as text, with one more value.
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

/// A key. One that is no Unicode is no key of ours, and is read as far as it is.
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
