//! The permissions that a function uses, compared with those of its role in the example's template.

use std::{
    collections::BTreeSet,
    path::Path,
    sync::{Arc, Mutex},
};

use crate::proxy::{Fault, Proxy};

/// Proxies before services, which note the actions of each request as IAM names them.
pub struct Watch {
    actions: Arc<Mutex<BTreeSet<String>>>,
    proxies: Vec<(String, Proxy)>,
}

impl Watch {
    /// Starts a proxy for each service, such as `DYNAMODB`, and its endpoint.
    pub async fn of(services: &[(&'static str, &str)]) -> Self {
        let mut watch = Self { actions: Arc::default(), proxies: Vec::new() };
        for &(service, endpoint) in services {
            let (proxy, actions) = (Proxy::before(endpoint).await, Arc::clone(&watch.actions));
            proxy.rule(move |request| {
                actions.lock().unwrap().extend(actions_of(service, request));
                Fault::None
            });
            watch.proxies.push((format!("AWS_ENDPOINT_URL_{service}"), proxy));
        }
        watch
    }

    /// The variables that lead a function to the proxies.
    pub fn variables(&self) -> Vec<(&str, &str)> {
        self.proxies.iter().map(|(variable, proxy)| (variable.as_str(), proxy.endpoint.as_str())).collect()
    }

    /// Returns the actions so far.
    pub fn actions(&self) -> BTreeSet<String> {
        self.actions.lock().unwrap().clone()
    }

    /// Returns the actions so far, and forgets them.
    pub fn take(&self) -> BTreeSet<String> {
        std::mem::take(&mut *self.actions.lock().unwrap())
    }
}

/// The actions of a request, whose beginning arrives in one read. DynamoDB authorizes each item of a transaction.
fn actions_of(service: &str, request: &str) -> Vec<String> {
    let after = |start: &str, end: &[char]| Some(request.split_once(start)?.1.split(end).next()?.to_owned());
    match service {
        "DYNAMODB" => match after("DynamoDB_20120810.", &['\r']).expect(request).as_str() {
            "TransactWriteItems" => {
                let items = ["Put", "Update", "Delete", "ConditionCheck"];
                let items = items.into_iter().filter(|item| request.contains(&format!("\"{item}\":{{")));
                let actions: Vec<_> = items.map(|item| format!("dynamodb:{item}Item")).collect();
                assert!(!actions.is_empty(), "{request}");
                actions
            }
            operation => vec![format!("dynamodb:{operation}")],
        },
        "LAMBDA" if request.starts_with("GET ") => vec!["lambda:GetFunctionConfiguration".to_owned()],
        "LAMBDA" => vec!["lambda:InvokeFunction".to_owned()],
        "S3" if request.starts_with("GET ") => vec!["s3:GetObject".to_owned()],
        "S3" if request.starts_with("DELETE ") => vec!["s3:DeleteObject".to_owned()],
        "S3" => vec!["s3:PutObject".to_owned()],
        // IAM has no action of its own for a batch. Source: Service Authorization Reference, Amazon SQS.
        "SQS" => {
            let operation = after("AmazonSQS.", &['\r']).expect(request);
            vec![format!("sqs:{}", operation.trim_end_matches("Batch"))]
        }
        "CLOUDFORMATION" => {
            vec![format!("cloudformation:{}", after("Action=", &['&', '\r']).expect(request))]
        }
        _ => panic!("no actions of {service} are known"),
    }
}

/// The actions that the example's template allows a role, without those on its own log.
pub fn allowed(role: &str) -> BTreeSet<String> {
    let template = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../infra/template.yaml");
    let template = std::fs::read_to_string(template).unwrap();
    let (_, resource) = template.split_once(&format!("\n  {role}:\n")).unwrap();
    let (resource, _) = resource.split_once("\n\n").unwrap();
    let words =
        resource.split(|c: char| !c.is_alphanumeric() && c != ':').filter(|word| !word.ends_with(':'));
    let of = |service| words.clone().filter(move |word| word.starts_with(service)).map(str::to_owned);
    ["dynamodb:", "s3:", "lambda:", "cloudformation:", "sqs:"].into_iter().flat_map(of).collect()
}
