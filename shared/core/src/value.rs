//! JSON values as they are sent and stored: written without loss, of bounded nesting, and in one form as
//! text.

use std::{cell::RefCell, collections::BTreeMap, fmt};

use serde::{
    Serialize,
    ser::{
        Error as _, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
        SerializeTupleStruct, SerializeTupleVariant, Serializer,
    },
};
use serde_json::Value;

/// The maximum nesting of lists and objects in a configuration, in arguments and in data. JSON readers stop
/// at 127 levels, and the message or record around a value has the rest.
pub const MAX_NESTING: usize = 120;

/// Returns whether a value is nested too deeply.
pub fn is_too_deep(value: &Value) -> bool {
    is_deeper(value, MAX_NESTING)
}

fn is_deeper(value: &Value, most: usize) -> bool {
    let deeper = |inner: &Value| most == 0 || is_deeper(inner, most - 1);
    match value {
        Value::Array(items) => most == 0 || items.iter().any(deeper),
        Value::Object(entries) => most == 0 || entries.values().any(deeper),
        _ => false,
    }
}

/// Returns the value as JSON text with sorted keys, in every build of `serde_json`.
pub fn sorted(value: &Value) -> String {
    match value {
        Value::Object(entries) => {
            let entries: BTreeMap<_, _> = entries.iter().collect();
            let entry =
                |(key, value): (&String, &&Value)| format!("{}:{}", Value::from(key.as_str()), sorted(value));
            let entries: Vec<_> = entries.iter().map(|(key, value)| entry((key, value))).collect();
            format!("{{{}}}", entries.join(","))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(sorted).collect::<Vec<_>>().join(",")),
        other => other.to_string(),
    }
}

/// The error of a value that JSON cannot represent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Unwritable {
    /// The place of the fault, such as `points[3].lat`; empty for the value itself.
    pub path: String,
    /// The fault.
    pub reason: String,
}

impl fmt::Display for Unwritable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_str() {
            "" => f.write_str(&self.reason),
            path => write!(f, "`{path}`: {}", self.reason),
        }
    }
}

/// Writes a value as JSON, or returns the place where JSON would lose something.
///
/// `serde_json` alone writes `null` for a float that is not a number, and has no limit of nesting.
pub fn written(value: &impl Serialize) -> Result<Value, Unwritable> {
    let place = RefCell::default();
    let strict = Strict { value, place: &place, left: MAX_NESTING };
    strict.serialize(serde_json::value::Serializer).map_err(|error| {
        let path = place.borrow().iter().enumerate().fold(String::new(), |path, (i, step)| {
            let dot = if i == 0 || step.starts_with('[') { "" } else { "." };
            path + dot + step
        });
        Unwritable { path, reason: error.to_string() }
    })
}

/// The path to the part that is being written.
type Place = RefCell<Vec<String>>;

/// A value that is written by [`Strictly`].
struct Strict<'a, T: ?Sized> {
    value: &'a T,
    place: &'a Place,
    left: usize,
}

impl<T: Serialize + ?Sized> Serialize for Strict<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { value, place, left } = *self;
        value.serialize(Strictly { inner: serializer, place, left, step: 0 })
    }
}

/// A serializer that refuses values which `inner` would write with a loss. It also writes lists and objects.
struct Strictly<'a, S> {
    inner: S,
    place: &'a Place,
    /// The number of levels that are left below.
    left: usize,
    /// The index of the next item of a list.
    step: usize,
}

impl<S> Strictly<'_, S> {
    /// Writes a part. After an error the part's segment stays in the path, so that the path leads to the fault.
    fn part<T: Serialize + ?Sized, E>(
        &mut self,
        step: impl Into<String>,
        value: &T,
        write: impl FnOnce(&mut S, &Strict<'_, T>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.place.borrow_mut().push(step.into());
        write(&mut self.inner, &Strict { value, place: self.place, left: self.left })?;
        self.place.borrow_mut().pop();
        Ok(())
    }

    fn next<T: Serialize + ?Sized, E>(
        &mut self,
        value: &T,
        write: impl FnOnce(&mut S, &Strict<'_, T>) -> Result<(), E>,
    ) -> Result<(), E> {
        let step = format!("[{}]", self.step);
        self.step += 1;
        self.part(step, value, write)
    }

    fn float<E: serde::ser::Error>(float: f64) -> Result<(), E> {
        if float.is_finite() {
            return Ok(());
        }
        let name = if float.is_nan() { "NaN" } else { "an infinity" };
        Err(E::custom(format_args!("it is {name}, for which JSON has no number")))
    }
}

impl<'a, S: Serializer> Strictly<'a, S> {
    /// Returns the writer for parts one or two levels below.
    fn below<C>(
        self,
        levels: usize,
        open: impl FnOnce(S) -> Result<C, S::Error>,
    ) -> Result<Strictly<'a, C>, S::Error> {
        let left = self.left.checked_sub(levels).ok_or_else(|| {
            // A full path would be as long as the nesting.
            self.place.borrow_mut().truncate(1);
            S::Error::custom(format_args!("it is nested more than {MAX_NESTING} levels deep"))
        })?;
        Ok(Strictly { inner: open(self.inner)?, place: self.place, left, step: 0 })
    }
}

macro_rules! plain {
    ($($method:ident: $type:ty),* $(,)?) => {
        $(fn $method(self, value: $type) -> Result<S::Ok, S::Error> { self.inner.$method(value) })*
    };
}

impl<'a, S: Serializer> Serializer for Strictly<'a, S> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = Strictly<'a, S::SerializeSeq>;
    type SerializeTuple = Strictly<'a, S::SerializeTuple>;
    type SerializeTupleStruct = Strictly<'a, S::SerializeTupleStruct>;
    type SerializeTupleVariant = Strictly<'a, S::SerializeTupleVariant>;
    type SerializeMap = Strictly<'a, S::SerializeMap>;
    type SerializeStruct = Strictly<'a, S::SerializeStruct>;
    type SerializeStructVariant = Strictly<'a, S::SerializeStructVariant>;

    plain! {
        serialize_bool: bool, serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64,
        serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64,
        serialize_char: char, serialize_str: &str, serialize_bytes: &[u8],
        serialize_unit_struct: &'static str,
    }

    fn serialize_i128(self, value: i128) -> Result<S::Ok, S::Error> {
        if value > i128::from(u64::MAX) || value < i128::from(i64::MIN) {
            let (least, most) = (i64::MIN, u64::MAX);
            let reason =
                format_args!("{value} is not within {least} and {most}, the whole numbers that JSON carries");
            return Err(S::Error::custom(reason));
        }
        self.inner.serialize_i128(value)
    }

    fn serialize_u128(self, value: u128) -> Result<S::Ok, S::Error> {
        self.serialize_i128(i128::try_from(value).unwrap_or(i128::MAX))
    }

    fn serialize_f32(self, value: f32) -> Result<S::Ok, S::Error> {
        Self::float(value.into())?;
        self.inner.serialize_f32(value)
    }

    fn serialize_f64(self, value: f64) -> Result<S::Ok, S::Error> {
        Self::float(value)?;
        self.inner.serialize_f64(value)
    }

    fn serialize_none(self) -> Result<S::Ok, S::Error> {
        self.inner.serialize_none()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        let Self { inner, place, left, .. } = self;
        inner.serialize_some(&Strict { value, place, left })
    }

    fn serialize_unit(self) -> Result<S::Ok, S::Error> {
        self.inner.serialize_unit()
    }

    fn serialize_unit_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
    ) -> Result<S::Ok, S::Error> {
        self.inner.serialize_unit_variant(name, index, variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        let Self { inner, place, left, .. } = self;
        inner.serialize_newtype_struct(name, &Strict { value, place, left })
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        let Strictly { inner, place, left, .. } = self.below(1, Ok)?;
        place.borrow_mut().push(variant.to_owned());
        let written =
            inner.serialize_newtype_variant(name, index, variant, &Strict { value, place, left })?;
        place.borrow_mut().pop();
        Ok(written)
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<Self::SerializeSeq, S::Error> {
        self.below(1, |inner| inner.serialize_seq(len))
    }

    fn serialize_tuple(self, len: usize) -> Result<Self::SerializeTuple, S::Error> {
        self.below(1, |inner| inner.serialize_tuple(len))
    }

    fn serialize_tuple_struct(
        self,
        name: &'static str,
        len: usize,
    ) -> Result<Self::SerializeTupleStruct, S::Error> {
        self.below(1, |inner| inner.serialize_tuple_struct(name, len))
    }

    fn serialize_tuple_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeTupleVariant, S::Error> {
        self.below(2, |inner| inner.serialize_tuple_variant(name, index, variant, len))
    }

    fn serialize_map(self, len: Option<usize>) -> Result<Self::SerializeMap, S::Error> {
        self.below(1, |inner| inner.serialize_map(len))
    }

    fn serialize_struct(self, name: &'static str, len: usize) -> Result<Self::SerializeStruct, S::Error> {
        self.below(1, |inner| inner.serialize_struct(name, len))
    }

    fn serialize_struct_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeStructVariant, S::Error> {
        self.below(2, |inner| inner.serialize_struct_variant(name, index, variant, len))
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

/// Implements the writers of parts with indices and of parts with names.
macro_rules! parts {
    (listed: $($listed:ident . $item:ident),*; named: $($named:ident),*) => {
        $(impl<S: $listed> $listed for Strictly<'_, S> {
            type Ok = S::Ok;
            type Error = S::Error;

            fn $item<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), S::Error> {
                self.next(value, |inner, value| inner.$item(value))
            }

            fn end(self) -> Result<S::Ok, S::Error> {
                self.inner.end()
            }
        })*
        $(impl<S: $named> $named for Strictly<'_, S> {
            type Ok = S::Ok;
            type Error = S::Error;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                key: &'static str,
                value: &T,
            ) -> Result<(), S::Error> {
                self.part(key, value, |inner, value| inner.serialize_field(key, value))
            }

            fn skip_field(&mut self, key: &'static str) -> Result<(), S::Error> {
                self.inner.skip_field(key)
            }

            fn end(self) -> Result<S::Ok, S::Error> {
                self.inner.end()
            }
        })*
    };
}

parts! {
    listed: SerializeSeq.serialize_element, SerializeTuple.serialize_element, SerializeTupleStruct.serialize_field,
        SerializeTupleVariant.serialize_field;
    named: SerializeStruct, SerializeStructVariant
}

impl<S: SerializeMap> SerializeMap for Strictly<'_, S> {
    type Ok = S::Ok;
    type Error = S::Error;

    /// The key stays in the path until its value is written.
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), S::Error> {
        self.inner.serialize_key(key)?;
        let name = match serde_json::to_value(key) {
            Ok(Value::String(name)) => name,
            Ok(other) => other.to_string(),
            Err(_) => String::new(),
        };
        self.place.borrow_mut().push(name);
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), S::Error> {
        self.inner.serialize_value(&Strict { value, place: self.place, left: self.left })?;
        self.place.borrow_mut().pop();
        Ok(())
    }

    fn end(self) -> Result<S::Ok, S::Error> {
        self.inner.end()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap};

    use proptest::prelude::*;
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    fn refused(value: &impl Serialize) -> String {
        written(value).unwrap_err().to_string()
    }

    #[derive(Serialize)]
    struct Route {
        name: &'static str,
        points: Vec<Point>,
        by_day: BTreeMap<u8, Shape>,
    }

    #[derive(Serialize)]
    struct Point {
        lat: f64,
        #[serde(flatten)]
        more: HashMap<String, f32>,
    }

    #[derive(Serialize)]
    enum Shape {
        Circle(f64),
        Box(f64, f64),
        Named { size: Option<f64> },
    }

    #[test]
    fn v07_a_number_that_json_lacks_is_named_with_its_location() {
        let route = |lat, more, shape| Route {
            name: "x",
            points: vec![
                Point { lat: 1.0, more: HashMap::new() },
                Point { lat, more: HashMap::from([("alt".to_owned(), more)]) },
            ],
            by_day: BTreeMap::from([(7, shape)]),
        };
        for (route, place, name) in [
            (route(f64::NAN, 1.0, Shape::Circle(1.0)), "points[1].lat", "NaN"),
            (route(1.0, f32::INFINITY, Shape::Circle(1.0)), "points[1].alt", "an infinity"),
            (route(1.0, 1.0, Shape::Circle(f64::NAN)), "by_day.7.Circle", "NaN"),
            (route(1.0, 1.0, Shape::Box(1.0, f64::NEG_INFINITY)), "by_day.7[1]", "an infinity"),
            (route(1.0, 1.0, Shape::Named { size: Some(f64::NAN) }), "by_day.7.size", "NaN"),
        ] {
            assert_eq!(refused(&route), format!("`{place}`: it is {name}, for which JSON has no number"));
        }
        assert_eq!(refused(&f32::NAN), "it is NaN, for which JSON has no number");
        let why = refused(&json_of(u128::from(u64::MAX) + 1));
        assert!(
            why.starts_with("`a`: 18446744073709551616 is not within -9223372036854775808 and 184"),
            "{why}"
        );
        assert_eq!(written(&json_of(u64::MAX.into())).unwrap(), json!({ "a": u64::MAX }));
        assert!(refused(&BTreeMap::from([((1, 2), 3)])).contains("key must be a string"));
    }

    fn json_of(number: u128) -> BTreeMap<&'static str, u128> {
        BTreeMap::from([("a", number)])
    }

    #[derive(Serialize)]
    enum Nested {
        Leaf,
        In(Box<Nested>),
        Of { inner: Box<Nested> },
    }

    #[test]
    fn v06_a_rust_value_may_be_nested_as_deep_as_the_limit_and_no_deeper() {
        let lists = |depth| (0..depth).fold(json!(1), |inner, _| json!([inner]));
        assert!(written(&lists(MAX_NESTING)).is_ok());
        let why = refused(&lists(MAX_NESTING + 1));
        assert_eq!(why, "`[0]`: it is nested more than 120 levels deep");
        // Each `In` adds one level of nesting, and each `Of` adds two.
        let one = |depth| (0..depth).fold(Nested::Leaf, |inner, _| Nested::In(Box::new(inner)));
        let two = |depth| (0..depth).fold(Nested::Leaf, |inner, _| Nested::Of { inner: Box::new(inner) });
        assert!(written(&one(120)).is_ok() && written(&one(121)).is_err());
        assert!(written(&two(60)).is_ok() && written(&two(61)).is_err());
        // Far deeper than any stack.
        let endless = (0..5_000).fold(Nested::Leaf, |inner, _| Nested::In(Box::new(inner)));
        assert!(written(&endless).is_err());
        for value in [written(&one(120)).unwrap(), written(&two(60)).unwrap()] {
            assert!(!is_too_deep(&value) && is_too_deep(&json!([value])));
        }
    }

    #[test]
    fn equal_values_have_one_text() {
        assert_eq!(
            sorted(&json!({ "b": [1, 1.0], "a": { "d": null, "c": "\"" } })),
            r#"{"a":{"c":"\"","d":null},"b":[1,1.0]}"#
        );
    }

    proptest! {
        #[test]
        fn v08_each_float_keeps_its_bits_through_text(bits: u64) {
            let float = f64::from_bits(bits);
            prop_assume!(float.is_finite());
            let text = written(&[float]).unwrap().to_string();
            let read: Value = serde_json::from_str(&text).unwrap();
            let typed: Vec<f64> = Vec::deserialize(&read).unwrap();
            prop_assert_eq!(typed[0].to_bits(), bits, "{}", text);
            let direct: Vec<f64> = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(direct[0].to_bits(), bits, "{}", text);
        }

        #[test]
        fn written_values_equal_those_of_serde_json(number: i64, wide: u64, text: String, list: Vec<Option<u8>>) {
            let value = (number, wide, text, list, BTreeMap::from([(number, Some('x'))]), ());
            prop_assert_eq!(written(&value).unwrap(), serde_json::to_value(&value).unwrap());
        }
    }
}
