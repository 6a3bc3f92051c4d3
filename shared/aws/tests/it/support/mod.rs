//! A table on an embedded engine, and a meter of what its requests cost.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use aws_sdk_dynamodb::{
    config::{
        BehaviorVersion, ConfigBag, Credentials, Intercept, Region, RuntimeComponents,
        interceptors::{
            AfterDeserializationInterceptorContextRef, BeforeSerializationInterceptorContextMut,
            BeforeTransmitInterceptorContextRef,
        },
    },
    error::BoxError,
    operation::{
        put_item::{PutItemInput, PutItemOutput},
        query::{QueryInput, QueryOutput},
        transact_write_items::{TransactWriteItemsInput, TransactWriteItemsOutput},
        update_item::{UpdateItemInput, UpdateItemOutput},
    },
    types::ReturnConsumedCapacity,
};
use lamplighter_aws::table::{Table, create};
use lamplighter_local::Engine;

/// The cost of requests: the operation and the units that the engine reports for it.
#[derive(Clone, Debug, Default)]
#[expect(clippy::type_complexity, reason = "it is named here and nowhere else")]
pub struct Meter(Arc<Mutex<Vec<(String, Option<f64>)>>>);

impl Meter {
    /// Returns the cost since the last call.
    pub fn spent(&self) -> Vec<(String, Option<f64>)> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Intercept for Meter {
    fn name(&self) -> &'static str {
        "Meter"
    }

    fn modify_before_serialization(
        &self,
        context: &mut BeforeSerializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let total = Some(ReturnConsumedCapacity::Total);
        if let Some(input) = context.input_mut().downcast_mut::<UpdateItemInput>() {
            input.return_consumed_capacity = total;
        } else if let Some(input) = context.input_mut().downcast_mut::<PutItemInput>() {
            input.return_consumed_capacity = total;
        } else if let Some(input) = context.input_mut().downcast_mut::<QueryInput>() {
            input.return_consumed_capacity = total;
        } else if let Some(input) = context.input_mut().downcast_mut::<TransactWriteItemsInput>() {
            input.return_consumed_capacity = total;
        }
        Ok(())
    }

    fn read_before_transmit(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        // The meter cannot distinguish concurrent requests, so a test that reads their cost sends them one by one.
        let operation = context.request().headers().get("x-amz-target").unwrap_or_default();
        let operation = operation.rsplit('.').next().unwrap_or_default().to_owned();
        self.0.lock().unwrap().push((operation, None));
        Ok(())
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Ok(output) = context.output_or_error() {
            let update = output.downcast_ref::<UpdateItemOutput>().and_then(|o| o.consumed_capacity());
            let put = output.downcast_ref::<PutItemOutput>().and_then(|o| o.consumed_capacity());
            let query = output.downcast_ref::<QueryOutput>().and_then(|o| o.consumed_capacity());
            let transaction = output.downcast_ref::<TransactWriteItemsOutput>();
            let transaction = transaction.and_then(|output| output.consumed_capacity().first());
            if let Some(last) = self.0.lock().unwrap().last_mut() {
                last.1 = update
                    .or(put)
                    .or(query)
                    .or(transaction)
                    .and_then(aws_sdk_dynamodb::types::ConsumedCapacity::capacity_units);
            }
        }
        Ok(())
    }
}

/// Lets a number of requests through and fails all later ones, as if the process had died.
#[derive(Debug)]
struct Dying(AtomicUsize);

impl Intercept for Dying {
    fn name(&self) -> &'static str {
        "Dying"
    }

    fn read_before_transmit(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let left = self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        left.map(|_| ()).map_err(|_| "the process has died".into())
    }
}

/// An embedded engine with one table, and the meter of its client.
pub struct Embedded {
    pub table: Table,
    pub meter: Meter,
    pub engine: Engine,
}

impl Embedded {
    /// The table of a process that dies after this number of requests.
    pub fn dying_after(&self, requests: usize) -> Table {
        let config = self.table.client().config().to_builder();
        let client = config.interceptor(Dying(requests.into())).build();
        Table::new(aws_sdk_dynamodb::Client::from_conf(client), "lamplighter")
    }
}

pub async fn embedded() -> Embedded {
    let engine = Engine::memory().unwrap();
    let endpoint = engine.serve().await.unwrap();
    let meter = Meter::default();
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::for_tests())
        .endpoint_url(endpoint)
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .interceptor(meter.clone())
        .build();
    let client = aws_sdk_dynamodb::Client::from_conf(config);
    create(&client, "lamplighter").await.unwrap();
    meter.spent();
    Embedded { table: Table::new(client, "lamplighter"), meter, engine }
}
