//! CloudFormation as far as a dispatcher asks it: `DescribeStacks`, for stacks whose status is set in process.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{Arc, Mutex},
};

use axum::{
    Form, Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};

use crate::{
    loopback::{Loopback, ServeError},
    mutex::lock,
};

const NAMESPACE: &str = "http://cloudformation.amazonaws.com/doc/2010-05-15/";

/// Stacks that are served until this is dropped.
#[derive(Debug)]
pub struct Stacks {
    known: Known,
    server: Loopback,
}

type Known = Arc<Mutex<BTreeMap<String, Stack>>>;

#[derive(Debug, Clone)]
struct Stack {
    id: String,
    name: String,
    status: String,
    created: jiff::Timestamp,
}

impl Stacks {
    /// Serves an account without stacks on a free loopback port.
    pub async fn serve() -> Result<Self, ServeError> {
        let known = Known::default();
        let router = Router::new().route("/", post(answer)).with_state(Arc::clone(&known));
        Ok(Self { known, server: Loopback::serve(router).await? })
    }

    /// The endpoint, `http://127.0.0.1:<port>`.
    pub fn endpoint(&self) -> String {
        self.server.endpoint()
    }

    /// Adds the stack, or changes its status. `status` is CloudFormation's own word, such as
    /// `UPDATE_ROLLBACK_IN_PROGRESS`.
    pub fn set(&self, stack_id: &str, name: &str, status: &str) {
        let mut known = lock(&self.known);
        let created = known.get(stack_id).map_or_else(jiff::Timestamp::now, |stack| stack.created);
        let stack =
            Stack { id: stack_id.to_owned(), name: name.to_owned(), status: status.to_owned(), created };
        known.insert(stack_id.to_owned(), stack);
    }
}

async fn answer(State(known): State<Known>, Form(form): Form<BTreeMap<String, String>>) -> Response {
    let action = form.get("Action").map_or("", String::as_str);
    if action != "DescribeStacks" {
        return refusal(
            "InvalidAction",
            &format!("Could not find operation {action} for version 2010-05-15"),
        );
    }
    let wanted = form.get("StackName").filter(|name| !name.is_empty());
    let known = lock(&known);
    let found: Vec<&Stack> =
        known.values().filter(|stack| wanted.is_none_or(|it| *it == stack.id || *it == stack.name)).collect();
    match wanted {
        Some(name) if found.is_empty() => {
            refusal("ValidationError", &format!("Stack with id {name} does not exist"))
        }
        _ => xml(StatusCode::OK, description(&found)),
    }
}

fn description(stacks: &[&Stack]) -> String {
    let members = stacks.iter().fold(String::new(), |mut members, stack| {
        let _ = write!(
            members,
            "<member><StackId>{}</StackId><StackName>{}</StackName><CreationTime>{:.3}</CreationTime>\
             <StackStatus>{}</StackStatus><DisableRollback>false</DisableRollback></member>",
            escape(&stack.id),
            escape(&stack.name),
            stack.created,
            escape(&stack.status),
        );
        members
    });
    format!(
        "<DescribeStacksResponse xmlns=\"{NAMESPACE}\"><DescribeStacksResult><Stacks>{members}</Stacks>\
         </DescribeStacksResult><ResponseMetadata><RequestId>local</RequestId></ResponseMetadata>\
         </DescribeStacksResponse>"
    )
}

fn refusal(code: &str, message: &str) -> Response {
    let body = format!(
        "<ErrorResponse xmlns=\"{NAMESPACE}\"><Error><Type>Sender</Type><Code>{code}</Code>\
         <Message>{}</Message></Error><RequestId>local</RequestId></ErrorResponse>",
        escape(message)
    );
    xml(StatusCode::BAD_REQUEST, body)
}

fn xml(status: StatusCode, body: String) -> Response {
    (status, [(header::CONTENT_TYPE, "text/xml")], body).into_response()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
