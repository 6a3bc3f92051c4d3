//! The part of CloudFormation that a dispatcher calls: `DescribeStacks` and `DescribeStackEvents`. The stacks' status and their
//! resources' events are set in process.

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

/// The number of events in a page.
const PAGE: usize = 100;

const NAMESPACE: &str = "http://cloudformation.amazonaws.com/doc/2010-05-15/";

/// Stacks, served until this is dropped.
#[derive(Debug)]
pub struct Stacks {
    stacks: SharedStacks,
    server: Loopback,
}

type SharedStacks = Arc<Mutex<BTreeMap<String, Stack>>>;

#[derive(Debug, Clone)]
struct Stack {
    id: String,
    name: String,
    status: String,
    created: jiff::Timestamp,
    /// Oldest first.
    events: Vec<Event>,
}

#[derive(Debug, Clone)]
struct Event {
    at: jiff::Timestamp,
    logical_id: String,
    physical_id: String,
    status: String,
    properties: Option<String>,
}

impl Stacks {
    /// Serves an account that has no stacks yet on a free loopback port.
    pub async fn serve() -> Result<Self, ServeError> {
        let stacks = SharedStacks::default();
        let router = Router::new().route("/", post(answer)).with_state(Arc::clone(&stacks));
        Ok(Self { stacks, server: Loopback::serve(router).await? })
    }

    /// The endpoint's URL, with its key.
    pub fn endpoint(&self) -> String {
        self.server.endpoint()
    }

    /// Adds a stack, or changes its status, and publishes an event of that. `status` is one of CloudFormation's, such as
    /// `UPDATE_ROLLBACK_IN_PROGRESS`.
    pub fn set(&self, stack_id: &str, name: &str, status: &str) {
        let now = jiff::Timestamp::now();
        let mut stacks = lock(&self.stacks);
        let stack = stacks.entry(stack_id.to_owned()).or_insert_with(|| Stack {
            id: stack_id.to_owned(),
            name: name.to_owned(),
            status: String::new(),
            created: now,
            events: Vec::new(),
        });
        status.clone_into(&mut stack.status);
        stack.events.push(Event {
            at: now,
            logical_id: name.to_owned(),
            physical_id: stack_id.to_owned(),
            status: status.to_owned(),
            properties: None,
        });
    }

    /// Publishes that a resource has come to a status, such as `UPDATE_IN_PROGRESS`. An unknown stack has no events.
    pub fn publish(&self, stack_id: &str, logical_id: &str, status: &str, properties: &serde_json::Value) {
        if let Some(stack) = lock(&self.stacks).get_mut(stack_id) {
            stack.events.push(Event {
                at: jiff::Timestamp::now(),
                logical_id: logical_id.to_owned(),
                physical_id: format!("{}-{logical_id}", stack.name),
                status: status.to_owned(),
                properties: Some(properties.to_string()),
            });
        }
    }
}

async fn answer(State(stacks): State<SharedStacks>, Form(form): Form<BTreeMap<String, String>>) -> Response {
    let action = form.get("Action").map_or("", String::as_str);
    if !["DescribeStacks", "DescribeStackEvents"].contains(&action) {
        return refusal(
            "InvalidAction",
            &format!("Could not find operation {action} for version 2010-05-15"),
        );
    }
    let wanted = form.get("StackName").filter(|name| !name.is_empty());
    let stacks = lock(&stacks);
    let found: Vec<&Stack> = stacks
        .values()
        .filter(|stack| wanted.is_none_or(|it| *it == stack.id || *it == stack.name))
        .collect();
    match wanted {
        Some(name) if found.is_empty() => {
            refusal("ValidationError", &format!("Stack with id {name} does not exist"))
        }
        _ if action == "DescribeStackEvents" => {
            let first = form.get("NextToken").and_then(|token| token.parse().ok()).unwrap_or(0);
            xml(StatusCode::OK, events(&found, first))
        }
        _ => xml(StatusCode::OK, description(&found)),
    }
}

/// A page of a stack's events, newest first.
fn events(stacks: &[&Stack], first: usize) -> String {
    let all: Vec<_> =
        stacks.iter().flat_map(|stack| stack.events.iter().rev().map(|it| (*stack, it))).collect();
    let members = all.iter().skip(first).take(PAGE).enumerate().fold(
        String::new(),
        |mut members, (i, (stack, event))| {
            let properties = event.properties.as_deref().map_or_else(String::new, |properties| {
                format!("<ResourceProperties>{}</ResourceProperties>", escape(properties))
            });
            let _ = write!(
                members,
                "<member><StackId>{}</StackId><StackName>{}</StackName><EventId>{}</EventId>\
             <LogicalResourceId>{}</LogicalResourceId><PhysicalResourceId>{}</PhysicalResourceId>\
             <Timestamp>{:.3}</Timestamp><ResourceStatus>{}</ResourceStatus>{properties}</member>",
                escape(&stack.id),
                escape(&stack.name),
                all.len() - first - i,
                escape(&event.logical_id),
                escape(&event.physical_id),
                event.at,
                escape(&event.status),
            );
            members
        },
    );
    let next = if first + PAGE < all.len() {
        format!("<NextToken>{}</NextToken>", first + PAGE)
    } else {
        String::new()
    };
    format!(
        "<DescribeStackEventsResponse xmlns=\"{NAMESPACE}\"><DescribeStackEventsResult><StackEvents>{members}\
         </StackEvents>{next}</DescribeStackEventsResult><ResponseMetadata><RequestId>local</RequestId>\
         </ResponseMetadata></DescribeStackEventsResponse>"
    )
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
