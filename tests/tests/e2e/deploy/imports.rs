//! Jobs that the site enqueues: over its function URL, with the permissions of its role.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::life::Life;

const PATIENCE: Duration = Duration::from_secs(60);

impl Life {
    pub async fn q16_its_site_enqueues_jobs(&self) {
        let ada = json!({ "email": "ada@example.org", "name": "Ada" });
        let invalid = self.post_import(&json!({ "users": [{ "email": 7, "name": "Ada" }] })).await;
        let error = "the arguments are invalid: `users[0].email` must be a text, and is a number";
        assert_eq!(invalid, (400, json!({ "error": error })));

        let accepted = self.post_import(&json!({ "users": [ada, ada] })).await;
        assert_eq!(accepted.0, 202, "{accepted:?}");
        let import = self.import_over(accepted.1["id"].as_str().unwrap()).await;
        assert_eq!(import, json!({ "status": "COMPLETED", "result": { "added": 1, "known": 1 } }));

        let accepted = self.post_import(&json!({ "users": [{ "email": "nobody", "name": "" }] })).await;
        let import = self.import_over(accepted.1["id"].as_str().unwrap()).await;
        assert_eq!(import["status"], "FAILED", "{import}");
        assert!(import["error"].as_str().unwrap().contains("`nobody` is not an email address"), "{import}");

        let (status, _) = self.get("/imports/01KAJ4QZ8M0000000000000000").await;
        assert_eq!(status, 404);
    }

    /// Waits until an import is over, and returns it.
    async fn import_over(&self, id: &str) -> Value {
        let started = Instant::now();
        loop {
            let (status, import) = self.get(&format!("/imports/{id}")).await;
            assert_eq!(status, 200, "{import}");
            if !["PENDING", "RUNNING"].contains(&import["status"].as_str().unwrap()) {
                return import;
            }
            assert!(started.elapsed() < PATIENCE, "{import}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    async fn post_import(&self, import: &Value) -> (u16, Value) {
        let url = self.site_url().await;
        let (status, body) = self.stack.world.aws.post(&url, "/import", &import.to_string()).await;
        (status, serde_json::from_str(&body).unwrap())
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        let (status, body) = self.stack.world.aws.get(&self.site_url().await, path).await;
        (status, serde_json::from_str(&body).unwrap())
    }

    async fn site_url(&self) -> String {
        let site = self.stack.function("site");
        self.stack.world.aws.function_url(&site).await.unwrap_or_else(|| panic!("{site} has no URL"))
    }
}
