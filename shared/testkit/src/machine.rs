//! A table, a host of functions, their log and a folder.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use lamplighter_aws::{
    clients::{direct_dynamodb, local_dynamodb},
    table::{Table, create},
};
use lamplighter_local::{Engine, HostOptions, LambdaHost};
use tempfile::TempDir;

use crate::log::Log;

/// The name of the table.
const TABLE: &str = "lamplighter";
/// The pause before a failed event's first retry.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// A table on an embedded engine, and a host of functions.
pub struct Machine {
    /// The table.
    pub table: Table,
    /// The endpoint of the table.
    pub dynamodb: String,
    /// The host.
    pub host: Arc<LambdaHost>,
    /// The lines that the functions have printed.
    pub log: Log,
    engine: Engine,
    folder: TempDir,
}

impl Machine {
    /// Starts a host without functions, and creates an empty table.
    pub async fn new() -> Self {
        let engine = Engine::memory().unwrap();
        let dynamodb = engine.serve().await.unwrap();
        let client = local_dynamodb(&dynamodb);
        create(&client, TABLE).await.unwrap();
        let (log, sink) = Log::new();
        let options = HostOptions { retry_pause: RETRY_PAUSE, ..HostOptions::default() };
        let host = Arc::new(LambdaHost::start_with(options, sink).await.unwrap());
        let folder = tempfile::tempdir().unwrap();
        Self { table: Table::new(client, TABLE), dynamodb, host, log, engine, folder }
    }

    /// The folder of the test.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Returns the variables with which a function reaches the table.
    pub fn variables(&self) -> BTreeMap<String, String> {
        let variables = [("AWS_ENDPOINT_URL_DYNAMODB", self.dynamodb.as_str()), ("LAMPLIGHTER_TABLE", TABLE)];
        variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
    }

    /// The table, accessed without a socket.
    pub fn direct_table(&self) -> Table {
        Table::new(direct_dynamodb(self.engine.client()), TABLE)
    }

    /// Ends all processes, and closes the table.
    pub async fn end(self) {
        self.host.shutdown().await;
        self.engine.close().await;
    }
}
