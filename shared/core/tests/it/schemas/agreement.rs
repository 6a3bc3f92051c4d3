//! The check and serde agree.

use lamplighter_core::schema::{check, normalised};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    sample::Sample,
    types::{Defaults, External2, Filter, all},
};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn v01_the_check_accepts_exactly_what_serde_accepts(seed: u64, wrong in 0_u64..20) {
        for (name, schema, read) in all() {
            let value = Sample::new(&schema, seed, wrong).value();
            let (checked, read) = (check(&value, &schema), read(&value));
            prop_assert_eq!(checked.is_ok(), read.is_ok(), "{} {}: {:?} {:?}\n{}", name, value, checked, read, schema);
        }
    }

    #[test]
    fn v02_the_normal_form_deserializes_to_the_same_value(seed: u64) {
        for (name, schema, read) in all() {
            let value = Sample::new(&schema, seed, 30).value();
            if check(&value, &schema).is_err() {
                continue;
            }
            let normal = normalised(&value, &schema);
            prop_assert_eq!(check(&normal, &schema), Ok(()), "{} {}: {}", name, value, normal);
            prop_assert_eq!(read(&normal), Ok(()), "{} {}: {}", name, value, normal);
            prop_assert_eq!(normalised(&normal, &schema), normal, "{} {}", name, value);
        }
    }
}

#[test]
fn v01_most_samples_without_mistakes_are_accepted() {
    for (name, schema, read) in all() {
        let taken = (0..2000).filter(|seed| read(&Sample::new(&schema, *seed, 0).value()).is_ok()).count();
        assert!(taken > 0, "{name}");
    }
}

#[test]
fn v02_equal_values_of_a_type_have_one_normal_form() {
    #[derive(serde::Serialize, schemars::JsonSchema)]
    struct Arguments {
        to: String,
        cc: Option<String>,
    }
    let schema = schemars::schema_for!((f64, f32, u64, serde_json::Value, Option<f64>)).to_value();
    let written = serde_json::to_value((1.0, 0.1_f32, 1_u64, 1, Some(-0.0))).unwrap();
    assert_eq!(normalised(&json!([1, 0.1, 1, 1, -0.0]), &schema), written);
    let schema = schemars::schema_for!(Defaults).to_value();
    let written = serde_json::to_value(Defaults::default()).unwrap();
    assert_eq!(normalised(&json!({ "rate": 0 }), &schema), written);
    let schema = schemars::schema_for!(Arguments).to_value();
    let written = serde_json::to_value(Arguments { to: "a".into(), cc: None }).unwrap();
    assert_eq!(normalised(&json!({ "to": "a" }), &schema), written);
}

#[test]
fn v03_ranges_and_formats_are_named() {
    fn refused<T: schemars::JsonSchema>(value: &Value, why: &str) {
        let schema = schemars::schema_for!(T).to_value();
        assert_eq!(check(value, &schema).unwrap_err().to_string(), why);
    }
    let whole = |least: i128, most: i128| format!("it must be a whole number from {least} to {most}");
    refused::<u32>(&json!(5_000_000_000_u64), &whole(0, u32::MAX.into()));
    refused::<u8>(&json!(-1), &whole(0, 255));
    refused::<i8>(&json!(128), &whole(-128, 127));
    refused::<i64>(&json!(u64::MAX), &whole(i64::MIN.into(), i64::MAX.into()));
    refused::<usize>(&json!(-1), &whole(0, u64::MAX.into()));
    let fraction = |least, most| whole(least, most) + ", without a fraction";
    refused::<u64>(&json!(18_446_744_073_709_551_616.0), &fraction(0, u64::MAX.into()));
    refused::<Option<u16>>(&json!(1.0), &fraction(0, u16::MAX.into()));
    refused::<std::num::NonZeroU8>(&json!(0), &whole(1, 255));
    refused::<std::num::NonZeroI32>(&json!(0), "it must not be 0");
    refused::<std::net::Ipv4Addr>(&json!("256.0.0.1"), "it must be an IPv4 address");
    refused::<External2>(&json!({ "tokn": "x" }), "it must have one of the keys `token`, `basic`");
    refused::<External2>(&json!({ "basic": { "user": "x" } }), "`basic.age` is missing");
    refused::<Filter>(&json!({ "type": "nto" }), r#"`type` must be one of "not", "maybe", "all", "eq""#);
    refused::<Filter>(&json!({ "value": "x" }), "`type` is missing");
    refused::<Filter>(&json!({ "type": "not", "of": { "type": "eq" } }), "`of.value` is missing");
    // Serde would make an infinity of it.
    let most = f32::MAX;
    refused::<f32>(&json!(1e39), &format!("it must be a number from -{most} to {most}"));
}
