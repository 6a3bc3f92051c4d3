//! Values keep their exact bits, and values that JSON cannot represent are rejected at the boundary.

use std::time::Duration;

use lamplighter::{EnqueueError, prelude::*, testing::World};
use lamplighter_core::{job::InvalidJob, status::Status};
use serde_json::{Value, json};

/// Returns its argument.
#[task(queue, result = (f64, f32, u64, i64))]
async fn measure(_ctx: Context, wide: f64, narrow: f32, big: u64, low: i64, more: Value) -> TaskResult {
    let _ = more;
    Outcome::success("measured").with_data(&(wide, narrow, big, low))
}

/// Returns a value that JSON cannot represent.
#[task(queue, attempts = 3)]
async fn divide(_ctx: Context, by: f64) -> TaskResult {
    Outcome::success("divided").with_data(&json_of(1.0 / by))
}

#[derive(Serialize)]
struct Quotient {
    parts: Vec<f64>,
}

fn json_of(quotient: f64) -> Quotient {
    Quotient { parts: vec![0.0, quotient] }
}

#[tokio::test]
async fn v08_numbers_keep_their_exact_bits() {
    let world = World::new().await;
    let jobs = world.jobs();
    let (low, high) = (i64::MIN, u64::MAX);
    let wide = [117.633_311_394_000_17, 5e-324, f64::MAX, -0.0, 0.1, 1e23, 9_007_199_254_740_992.0];
    let narrow = [0.1_f32, f32::MAX, f32::MIN_POSITIVE, -0.0, 16_777_216.0, 1e10, 3.0];
    for (wide, narrow) in wide.into_iter().zip(narrow) {
        let job = Measure::enqueue(&jobs, wide, narrow, high, low, json!([1, 1.0])).await.unwrap();
        world.drain(Measure).await;
        let (a, b, c, d) = job.result(Duration::ZERO).await.unwrap();
        assert_eq!((a.to_bits(), b.to_bits(), c, d), (wide.to_bits(), narrow.to_bits(), high, low));
    }
}

#[tokio::test]
async fn v07_values_that_json_cannot_represent_are_rejected_with_their_path() {
    let world = World::new().await;
    let jobs = world.jobs();
    let refused = async |wide, narrow, more| {
        let error = Measure::enqueue(&jobs, wide, narrow, 1, 1, more).await.unwrap_err();
        assert!(matches!(error, EnqueueError::Invalid(InvalidJob::Unwritable(_))), "{error}");
        error.to_string()
    };
    let said = "the arguments cannot be written as JSON: ";
    assert_eq!(
        refused(f64::NAN, 1.0, json!(1)).await,
        format!("{said}`wide`: it is NaN, for which JSON has no number")
    );
    assert_eq!(
        refused(1.0, f32::NEG_INFINITY, json!(1)).await,
        format!("{said}`narrow`: it is an infinity, for which JSON has no number")
    );
    let nested = |depth| (0..depth).fold(json!(1), |inner, _| json!([inner]));
    let deep = refused(1.0, 1.0, nested(120)).await;
    assert!(deep.ends_with("it is nested more than 120 levels deep"), "{deep}");
    // One level less is accepted, and can be read.
    Measure::enqueue(&jobs, 1.0, 1.0, 1, 1, nested(119)).await.unwrap();
    assert_eq!(world.drain(Measure).await[0].status, Status::Completed);

    Divide::enqueue(&jobs, 0.0).await.unwrap();
    let runs = world.drain(Divide).await;
    let error = runs[0].error.as_ref().unwrap().to_string();
    assert!(error.contains("`parts[1]`: it is an infinity, for which JSON has no number"), "{error}");
    assert_eq!(runs[0].attempts.len(), 1, "an unwritable result is not retried");
}
