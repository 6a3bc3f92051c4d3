//! The answer to a custom resource's request, within the 4096 bytes that CloudFormation takes.

use serde_json::{Map, Value, json};

/// The longest body that CloudFormation takes. Source: CloudFormation User Guide, "Custom resource response
/// objects".
pub const MAX_ANSWER_BYTES: usize = 4096;

/// Whom an answer is for: what must be known of an event to answer it at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addressee {
    /// The stack's ARN.
    pub stack_id: String,
    /// The request's id.
    pub request_id: String,
    /// The resource's name in the template.
    pub logical_resource_id: String,
    /// The id that the resource was given when it was created.
    pub physical_resource_id: Option<String>,
}

impl Addressee {
    /// The stack's name, out of its ARN `arn:aws:cloudformation:<region>:<account>:stack/<name>/<uuid>`.
    /// An id of another form stands for itself.
    pub fn stack_name(&self) -> &str {
        self.stack_id.split('/').nth(1).unwrap_or(&self.stack_id)
    }

    /// The ledger of the resource.
    pub fn ledger(&self) -> String {
        format!("{}#{}", self.stack_name(), self.logical_resource_id)
    }

    /// The resource's id, which must never change: another one would make CloudFormation replace the resource
    /// and delete the old.
    pub fn physical_id(&self) -> String {
        let made = || format!("lamplighter-{}-{}", self.stack_name(), self.logical_resource_id);
        self.physical_resource_id.clone().filter(|id| !id.is_empty()).unwrap_or_else(made)
    }
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether the stack may go on.
    pub success: bool,
    /// What went wrong, for the stack's events; may be empty after a success.
    pub reason: String,
    /// The attributes of the resource, in order.
    pub data: Vec<(String, String)>,
}

impl Verdict {
    /// A failure without data.
    pub fn failed(reason: impl Into<String>) -> Self {
        Self { success: false, reason: reason.into(), data: Vec::new() }
    }

    /// A success without data.
    pub fn succeeded() -> Self {
        Self { success: true, reason: String::new(), data: Vec::new() }
    }
}

/// The body of the answer: at most [`MAX_ANSWER_BYTES`] of JSON.
///
/// What does not fit is shortened, the longest values first to go: each of the data to 512 bytes, then 128, then
/// left out; and the reason to what remains, never less than its first 512 bytes. The whole is in the table.
pub fn render(to: &Addressee, verdict: &Verdict) -> String {
    let all = verdict.data.len();
    let steps = [(usize::MAX, all), (512, all), (128, all), (128, 3), (128, 0)];
    let fitting = steps.into_iter().find_map(|(longest, entries)| {
        let body = body(to, verdict, 2048, longest, entries);
        (body.len() <= MAX_ANSWER_BYTES).then_some(body)
    });
    fitting
        .or_else(|| {
            [512, 128, 32]
                .into_iter()
                .map(|reason| body(to, verdict, reason, 0, 0))
                .find(|b| b.len() <= MAX_ANSWER_BYTES)
        })
        .unwrap_or_else(|| body(to, verdict, 0, 0, 0))
}

fn body(
    to: &Addressee,
    verdict: &Verdict,
    reason_bytes: usize,
    value_bytes: usize,
    entries: usize,
) -> String {
    let mut body = json!({
        "Status": if verdict.success { "SUCCESS" } else { "FAILED" },
        "PhysicalResourceId": to.physical_id(),
        "StackId": to.stack_id,
        "RequestId": to.request_id,
        "LogicalResourceId": to.logical_resource_id,
    });
    if !verdict.reason.is_empty() || !verdict.success {
        let reason = if verdict.reason.is_empty() { "no reason was given" } else { &verdict.reason };
        body["Reason"] = Value::String(shortened(reason, reason_bytes));
    }
    let data: Map<_, _> = verdict
        .data
        .iter()
        .take(entries)
        .map(|(key, value)| (key.clone(), Value::String(shortened(value, value_bytes))))
        .collect();
    if !data.is_empty() {
        body["Data"] = Value::Object(data);
    }
    body.to_string()
}

/// The text, or as much of its beginning as fits in `bytes` together with an ellipsis.
pub fn shortened(text: &str, bytes: usize) -> String {
    if text.len() <= bytes {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(bytes.saturating_sub('…'.len_utf8()));
    format!("{}…", &text[..end])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn addressee() -> Addressee {
        Addressee {
            stack_id: "arn:aws:cloudformation:eu-central-1:1:stack/shop/5b2f".into(),
            request_id: "r-1".into(),
            logical_resource_id: "LamplighterBefore".into(),
            physical_resource_id: None,
        }
    }

    #[test]
    fn l15_the_physical_id_is_the_resources_own_once_it_has_one() {
        assert_eq!(addressee().physical_id(), "lamplighter-shop-LamplighterBefore");
        let old = Addressee { physical_resource_id: Some("old".into()), ..addressee() };
        assert_eq!(old.physical_id(), "old");
    }

    #[test]
    fn a_failure_says_why_and_a_success_says_what() {
        let failed: Value = serde_json::from_str(&render(&addressee(), &Verdict::failed("why"))).unwrap();
        assert_eq!((failed["Status"].as_str(), failed["Reason"].as_str()), (Some("FAILED"), Some("why")));
        let verdict = Verdict { data: vec![("a.message".into(), "m".into())], ..Verdict::succeeded() };
        let succeeded: Value = serde_json::from_str(&render(&addressee(), &verdict)).unwrap();
        assert_eq!(succeeded["Data"]["a.message"], "m");
        assert_eq!(succeeded.get("Reason"), None);
    }

    proptest! {
        /// L12: whatever is said, the answer is accepted, and begins with what matters.
        #[test]
        fn l12_an_answer_always_fits(reason in "\\PC{0,2000}|[\\x00-\\x1f\"]{0,3000}", data in prop::collection::vec(("[a-z.]{1,50}", ".{0,400}"), 0..40)) {
            let verdict = Verdict { success: false, reason: reason.clone(), data };
            let body = render(&addressee(), &verdict);
            prop_assert!(body.len() <= MAX_ANSWER_BYTES);
            let answer: Value = serde_json::from_str(&body).unwrap();
            let told = answer["Reason"].as_str().unwrap().trim_end_matches('…').to_owned();
            prop_assert!(!told.is_empty() && (reason.is_empty() || reason.starts_with(&told)));
        }
    }
}
