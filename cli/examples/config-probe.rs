//! A task whose configuration has a variant with secrets, numbers and a text.

use lamplighter::prelude::*;

/// The way to sign in.
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
    auth: Auth,
    batch_size: u32,
    rate: f64,
    note: String,
}

impl Default for Config {
    fn default() -> Self {
        let auth = Auth::Basic { user: "x".into(), password: Secret::default() };
        Self { auth, batch_size: 100, rate: 0.5, note: String::new() }
    }
}

/// Prints how it signs in.
#[task(schedule = "0 0 1 1 *")]
pub async fn config_probe(ctx: Context<Config>) -> TaskResult {
    let Config { auth, batch_size, rate, note } = &*ctx.config;
    let told = match auth {
        Auth::Token(token) => format!("by a token: {}", token.expose()),
        Auth::Basic { user, password } => format!("{user}: {}", password.expose()),
    };
    Outcome::success(told).with_data(&(batch_size, rate.to_bits(), note.len()))
}

lamplighter::main!(ConfigProbe);
