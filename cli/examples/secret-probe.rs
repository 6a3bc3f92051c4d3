//! A task that has secrets and tells them wherever it can, for the tests.

use std::path::PathBuf;

use lamplighter::prelude::*;

/// How it logs in.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Auth {
    /// By a token.
    Token(Secret),
    /// By a name and a password.
    Basic {
        /// The name.
        user: String,
        /// The password.
        password: Secret,
    },
}

/// What it has.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
pub struct Config {
    /// How it logs in.
    pub auth: Auth,
    /// A secret that its type does not tell.
    pub url: String,
    /// `fail`, `panic`; anything else succeeds.
    pub mode: String,
    /// The file in which the test finds the secrets as they arrived.
    pub texts: PathBuf,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            auth: Auth::Token(Secret::default()),
            url: String::new(),
            mode: String::new(),
            texts: PathBuf::new(),
        }
    }
}

/// Tells its secrets.
#[task(schedule = "0 0 1 1 *", attempts = 1)]
pub async fn secret_probe(ctx: Context<Config>) -> TaskResult {
    let (Auth::Token(secret) | Auth::Basic { password: secret, .. }) = &ctx.config.auth;
    let secret = secret.expose();
    let url = &ctx.config.url;
    std::fs::write(&ctx.config.texts, serde_json::json!([secret, url]).to_string())?;
    println!("printed {secret} and {url}");
    tracing::info!(config = ?ctx.config, plain = secret, quoted = ?secret, url, "logged {secret}, {:?}", ctx.config);
    match ctx.config.mode.as_str() {
        "fail" => Err(TaskError::new(format!("refused {secret:?} at {url}"))),
        "panic" => panic!("refused {secret} at {url}"),
        _ => Outcome::success(format!("used {secret}"))
            .with_data(&serde_json::json!({ "used": secret, secret: url })),
    }
}

lamplighter::main!(SecretProbe);
