//! The tasks of a stack as they were last deployed.

use lamplighter_core::{
    definition::{Definition, Kind, Lifecycle},
    deployed::DeployedTasks,
};

use crate::support::embedded;

fn task(name: &str, description: &str) -> Definition {
    let definition = Definition::new(name.parse().unwrap(), Kind::Lifecycle(Lifecycle::default()));
    Definition { description: description.to_owned(), ..definition }
}

fn deployed(version: &str, tasks: Vec<Definition>) -> DeployedTasks {
    let deployed_at = "2026-11-29T03:00:00Z".parse().unwrap();
    DeployedTasks { version: version.into(), environment: "prod".into(), deployed_at, tasks }
}

#[tokio::test]
async fn n04_the_deployed_tasks_are_kept_and_replaced_as_a_whole() {
    let world = embedded().await;
    let table = &world.table;
    assert_eq!(table.deployed().await.unwrap(), None);
    let first = deployed("1", vec![task("a", "first"), task("b", "")]);
    table.keep_deployed(&first).await.unwrap();
    assert_eq!(table.deployed().await.unwrap(), Some(first.clone()));
    // The same tasks again are not written.
    let again = DeployedTasks { deployed_at: "2026-11-30T00:00:00Z".parse().unwrap(), ..first.clone() };
    table.keep_deployed(&again).await.unwrap();
    assert_eq!(table.deployed().await.unwrap(), Some(first));
    let second = deployed("2", vec![task("a", "second"), task("c", &"x".repeat(100_000))]);
    table.keep_deployed(&second).await.unwrap();
    assert_eq!(table.deployed().await.unwrap(), Some(second), "`b` is removed, and 100 KB fit");
}
