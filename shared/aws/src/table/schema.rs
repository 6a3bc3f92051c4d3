//! Creating the table on a local engine. In AWS the stack's template creates it, with the same schema.

use aws_sdk_dynamodb::{
    error::ProvideErrorMetadata as _,
    operation::create_table::CreateTableError,
    types::{
        AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection,
        ProjectionType, ScalarAttributeType, TimeToLiveSpecification,
    },
};

use super::{Table, TableError};

/// Creates the table, unless it exists.
pub async fn create(client: &aws_sdk_dynamodb::Client, name: &str) -> Result<(), TableError> {
    let key =
        |name: &str, kind: KeyType| KeySchemaElement::builder().attribute_name(name).key_type(kind).build();
    let attribute = |name: &str, kind: ScalarAttributeType| {
        AttributeDefinition::builder().attribute_name(name).attribute_type(kind).build()
    };
    let table = Table::new(client.clone(), name);
    let incomplete = |error| table.failed("describe the table", &error);
    let due = GlobalSecondaryIndex::builder()
        .index_name("due")
        .key_schema(key("due_pk", KeyType::Hash).map_err(incomplete)?)
        .key_schema(key("due_at", KeyType::Range).map_err(incomplete)?)
        .projection(Projection::builder().projection_type(ProjectionType::KeysOnly).build())
        .build()
        .map_err(incomplete)?;
    let created = client
        .create_table()
        .table_name(name)
        .billing_mode(BillingMode::PayPerRequest)
        .key_schema(key("pk", KeyType::Hash).map_err(incomplete)?)
        .key_schema(key("sk", KeyType::Range).map_err(incomplete)?)
        .attribute_definitions(attribute("pk", ScalarAttributeType::S).map_err(incomplete)?)
        .attribute_definitions(attribute("sk", ScalarAttributeType::S).map_err(incomplete)?)
        .attribute_definitions(attribute("due_pk", ScalarAttributeType::S).map_err(incomplete)?)
        .attribute_definitions(attribute("due_at", ScalarAttributeType::N).map_err(incomplete)?)
        .global_secondary_indexes(due)
        .send()
        .await;
    match created {
        Ok(_) => {}
        Err(error)
            if error.as_service_error().is_some_and(CreateTableError::is_resource_in_use_exception) => {}
        Err(error) => return Err(table.failed("create the table", &error)),
    }
    expire(&table).await
}

/// Enables time to live on the attribute `expires_at`.
async fn expire(table: &Table) -> Result<(), TableError> {
    let specification = TimeToLiveSpecification::builder().enabled(true).attribute_name("expires_at").build();
    let specification = specification.map_err(|error| table.failed("describe the table", &error))?;
    let update = table.client.update_time_to_live().table_name(&table.name);
    match update.time_to_live_specification(specification).send().await {
        Ok(_) => Ok(()),
        // It is enabled already.
        Err(error) if error.code() == Some("ValidationException") => Ok(()),
        Err(error) => Err(table.failed("have items expire", &error)),
    }
}
