//! A task for the tests that prints its secrets wherever it can.

use std::path::PathBuf;

use lamplighter::prelude::*;

/// The way to log in.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Auth {
    /// With a token.
    Token(Secret),
    /// With a name and a password.
    Basic {
        /// The name.
        user: String,
        /// The password.
        password: Secret,
    },
}

/// The configuration.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
pub struct Config {
    /// The way to log in.
    pub auth: Auth,
    /// A secret whose type does not mark it as one.
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

/// Prints its secrets.
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
