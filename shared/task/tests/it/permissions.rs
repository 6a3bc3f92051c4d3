//! The permissions of a task: it uses each of those in the example's template, and no other.

use lamplighter_core::status::Status;
use lamplighter_local::Bucket;
use lamplighter_testkit::permissions::{Watch, allowed};
use serde_json::json;

use crate::world::{RUN, World, deploy};

#[tokio::test]
async fn g03_a_task_uses_each_permission_of_its_role_and_no_other() {
    let world = World::new().await;
    let folder = tempfile::tempdir().unwrap();
    let bucket = Bucket::serve(folder.path(), "values").await.unwrap();
    let used = Watch::of(&[("DYNAMODB", &world.dynamodb), ("S3", &bucket.endpoint())]).await;
    let mut spec = world.spec(json!({ "config": { "mode": "large", "bytes": 250_000 } }));
    spec.environment.extend(bucket.variables());
    spec.environment.insert("LAMPLIGHTER_BUCKET".to_owned(), "values".to_owned());
    let variables = used.variables().into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
    spec.environment.extend(variables);
    world.host.register(spec);

    assert_eq!(world.run().await.status, Status::Completed);
    // The author's own transaction, with a check of the lease.
    world.switch("commit");
    assert_eq!(world.run().await.status, Status::Completed);
    // A rollback looks for an earlier record of its own.
    assert!(!world.invoke(deploy("rollback", RUN, "r1")).await.failed);
    for role in ["RunMigrationsRole", "SeedDataRole", "WarmCacheRole", "PurgeExpiredRole"] {
        assert_eq!(used.actions(), allowed(role), "{role}");
    }
}
