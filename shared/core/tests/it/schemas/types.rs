//! Types of every kind that schemars and serde know.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    num::{NonZeroI32, NonZeroU8},
};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

/// A secret text, as the task's crate has it.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Secret(String);

impl JsonSchema for Secret {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Secret".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "writeOnly": true })
    }
}

macro_rules! types {
    ($($item:item)*) => {
        $(
            #[derive(Debug, Deserialize, Serialize, JsonSchema)]
            $item
        )*
    };
}

types! {
    pub(crate) struct Plain { small: u8, text: String, maybe: Option<i16>, letter: char }
    #[serde(deny_unknown_fields)]
    pub(crate) struct Closed { on: bool, list: Vec<u16> }
    #[serde(default, rename_all = "camelCase")]
    #[derive(Default)]
    pub(crate) struct Defaults { how_many: u32, rate: f32, name: String }
    pub(crate) struct Flat { own: i8, #[serde(flatten)] rest: Closed2 }
    pub(crate) struct Closed2 { low: i32, high: Option<u64> }
    pub(crate) struct FlatMap { own: i8, #[serde(flatten)] rest: BTreeMap<String, u8> }
    pub(crate) struct FlatExternal { own: i8, #[serde(flatten)] how: External2 }
    pub(crate) struct FlatInternal { own: i8, #[serde(flatten)] how: Internal }
    #[serde(rename_all = "snake_case")]
    pub(crate) enum External2 { Token(String), Basic { user: String, age: u8 } }
    pub(crate) struct Newtype(u16);
    pub(crate) struct Pair(i64, Option<String>);
    pub(crate) struct Unit;
    #[serde(rename_all = "snake_case")]
    pub(crate) enum Word { On, Off }
    pub(crate) enum External { None, Also, One(u8), Two(u8, String), Some { a: i32, b: Option<bool> }, Inner(Box<External>) }
    #[serde(tag = "type", rename_all = "snake_case")]
    pub(crate) enum Internal { Nothing, Point { x: f64, y: f64 }, Wrapped(Closed2) }
    #[serde(tag = "t", content = "c")]
    pub(crate) enum Adjacent { Nothing, One(u32), Two(u8, u8), Some { a: u8 } }
    #[serde(untagged)]
    pub(crate) enum Untagged { Number(u8), Text(String), Named { key: String, more: Option<u8> }, Many(Vec<i8>) }
    #[serde(tag = "type", rename_all = "snake_case")]
    pub(crate) enum Filter { Not { of: Box<Filter> }, Maybe { of: Box<Filter> }, All { of: Vec<Filter> }, Eq { value: String } }
    pub(crate) struct Tree { name: String, left: Option<Box<Tree>>, right: Option<Box<Tree>> }
    pub(crate) struct Deep { list: Vec<Option<Untagged>>, by_name: BTreeMap<String, Internal>, pair: (Word, Adjacent) }
    pub(crate) struct Keys { by_number: BTreeMap<u64, u8>, signed: BTreeMap<i64, bool>, by_word: BTreeMap<String, Word> }
    pub(crate) struct Numbers {
        a: i8, b: i16, c: i32, d: i64, e: u8, f: u16, g: u32, h: u64, i: isize, j: usize, k: f32, l: f64,
        m: NonZeroU8, n: NonZeroI32,
    }
}

/// Reads a value as serde does from a value and from a text.
type Read = fn(&Value) -> Result<(), String>;

fn read<T: DeserializeOwned>(value: &Value) -> Result<(), String> {
    let of_value = serde_json::from_value::<T>(value.clone()).map(drop).map_err(|error| error.to_string());
    let of_text = serde_json::from_str::<T>(&value.to_string()).is_ok();
    assert_eq!(of_value.is_ok(), of_text, "{value}: {of_value:?}");
    of_value
}

/// Each type by its name, with its schema and serde's reader.
pub(crate) fn all() -> Vec<(&'static str, Value, Read)> {
    macro_rules! all {
        ($($type:ty),* $(,)?) => {
            vec![$((stringify!($type), schemars::schema_for!($type).to_value(), read::<$type> as Read)),*]
        };
    }
    all![
        i8, i16, i32, i64, i128, isize, u8, u16, u32, u64, u128, usize, f32, f64, bool, char, String, (), Value,
        NonZeroU8, NonZeroI32, Ipv4Addr, Ipv6Addr, IpAddr, Option<u8>, Option<Option<i32>>, Option<Plain>,
        Option<External>, Vec<u8>, Vec<Vec<i8>>, [u8; 3], [i16; 0], (u8,), (u8, String, Option<f32>), Box<u32>,
        BTreeMap<String, u8>, BTreeMap<u64, bool>, BTreeMap<i64, u8>, BTreeSet<u8>, Plain, Closed, Defaults, Flat,
        FlatMap, FlatExternal, FlatInternal, Newtype, Pair, Unit, Word, External, Internal, Adjacent, Untagged, Filter,
        Tree, Deep, Keys, Numbers, Vec<Filter>, BTreeMap<String, Adjacent>, (Internal, Untagged),
    ]
}

types! {
    #[serde(rename_all = "snake_case")]
    pub(crate) enum AuthExternal { None, Token(Secret), Basic { user: String, password: Secret }, Pair(String, Secret) }
    #[serde(tag = "type", rename_all = "snake_case")]
    pub(crate) enum AuthInternal { Token { token: Secret }, Basic { user: String, password: Secret }, Anyone }
    #[serde(tag = "t", content = "c", rename_all = "snake_case")]
    pub(crate) enum AuthAdjacent { Token(Secret), Basic { user: String, password: Secret }, Anyone }
    #[serde(untagged)]
    pub(crate) enum AuthUntagged { Token(Secret), Basic { user: String, password: Secret }, Many(Vec<Secret>) }
    pub(crate) struct Key(Secret);
    pub(crate) struct Holder { plain: String, external: Option<AuthExternal>, internal: Vec<AuthInternal>, key: Key }
    pub(crate) struct Flattened { plain: String, #[serde(flatten)] auth: AuthExternal }
    pub(crate) struct FlattenedInternal { plain: u8, #[serde(flatten)] auth: AuthInternal }
    pub(crate) struct FlattenedOption { plain: u8, #[serde(flatten)] auth: Option<AuthInternal> }
    #[serde(deny_unknown_fields)]
    pub(crate) struct Everywhere {
        tuple: (u8, Secret), list: Vec<Secret>, array: [Secret; 2], map: BTreeMap<String, Secret>,
        by_number: BTreeMap<u32, Secret>, option: Option<Secret>, nested: Vec<Option<(Secret, String)>>,
        adjacent: BTreeMap<String, AuthAdjacent>, untagged: Option<AuthUntagged>, default: Secret, items: Option<Box<Everywhere>>,
    }
}

/// Each type with secrets by its name, with its schema.
pub(crate) fn secretive() -> Vec<(&'static str, Value)> {
    macro_rules! all {
        ($($type:ty),* $(,)?) => { vec![$((stringify!($type), schemars::schema_for!($type).to_value())),*] };
    }
    all![
        Secret, Key, Option<Secret>, (u8, Secret), AuthExternal, AuthInternal, AuthAdjacent, AuthUntagged, Holder,
        Flattened, FlattenedInternal, FlattenedOption, Everywhere, BTreeMap<String, Option<AuthUntagged>>,
    ]
}
