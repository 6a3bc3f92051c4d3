//! The answer to a custom resource's request, within CloudFormation's limit of 4096 bytes.

use serde_json::{Map, Value, json};

use crate::digest::sha256;

/// The maximum length of an answer's body. Source: CloudFormation User Guide, "Custom resource response
/// objects".
pub const MAX_ANSWER_BYTES: usize = 4096;
/// The maximum length of a physical id, in bytes. Source: the same page.
const MAX_PHYSICAL_ID: usize = 1024;
/// The maximum length of a physical id in JSON. With the other ids, of at most 512 bytes each, it leaves room
/// for a reason.
const MAX_ESCAPED_ID: usize = 1536;
/// The maximum length of a ledger's name. DynamoDB allows partition keys of 2048 bytes.
const MAX_KEY: usize = 1024;

/// The addressee of an answer: the fields of an event that are required to answer it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addressee {
    /// The stack's ARN.
    pub stack_id: String,
    /// The request's id.
    pub request_id: String,
    /// The resource's name in the template.
    pub logical_resource_id: String,
    /// The physical id of the resource, from its creation.
    pub physical_resource_id: Option<String>,
}

impl Addressee {
    /// Returns the stack's name from its ARN `arn:aws:cloudformation:<region>:<account>:stack/<name>/<uuid>`.
    /// Returns an id of another form whole.
    pub fn stack_name(&self) -> &str {
        self.stack_id.split('/').nth(1).unwrap_or(&self.stack_id)
    }

    /// Returns the name of the resource's ledger: the escaped stack ARN and logical id, or a digest of both if
    /// they are too long. The name is unique to the resource. It has at most 1024 bytes, so it fits a key of
    /// the table.
    pub fn ledger(&self) -> String {
        let escaped = |id: &str| id.replace('%', "%25").replace('#', "%23");
        let whole = format!("{}#{}", escaped(&self.stack_id), escaped(&self.logical_resource_id));
        if whole.len() <= MAX_KEY { whole } else { format!("sha256:{}", sha256(&whole)) }
    }

    /// Returns the name of the ledger in earlier versions: the stack's name and the logical id.
    pub fn ledger_by_name(&self) -> String {
        format!("{}#{}", self.stack_name(), self.logical_resource_id)
    }

    /// Returns the resource's physical id, which must never change. With another id CloudFormation would
    /// replace the resource and delete the old one.
    ///
    /// If the id has more than 1024 bytes, or more than 1536 bytes in JSON, it is cut and ends with its digest.
    /// The answer then has room for a reason.
    pub fn physical_id(&self) -> String {
        let made = || format!("lamplighter-{}-{}", self.stack_name(), self.logical_resource_id);
        let id = self.physical_resource_id.clone().filter(|id| !id.is_empty()).unwrap_or_else(made);
        if id.len() <= MAX_PHYSICAL_ID && escaped_len(&id) <= MAX_ESCAPED_ID {
            return id;
        }
        let digest = sha256(&id);
        let fits = |text: &str| {
            text.len() + 1 + digest.len() <= MAX_PHYSICAL_ID
                && escaped_len(text) + 1 + digest.len() <= MAX_ESCAPED_ID
        };
        let beginning =
            (0..id.len().min(MAX_PHYSICAL_ID)).rev().map(|end| &id[..id.floor_char_boundary(end)]);
        let beginning = beginning.into_iter().find(|text| fits(text)).unwrap_or_default();
        format!("{beginning}-{digest}")
    }
}

/// Returns the length of a text in JSON, without its quotes.
fn escaped_len(text: &str) -> usize {
    Value::from(text).to_string().len() - 2
}

/// The verdict of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The stack may continue.
    pub success: bool,
    /// The reason for the stack's events; may be empty after a success.
    pub reason: String,
    /// Attributes that are left out last: the versions, and the status of each task.
    pub statuses: Vec<(String, String)>,
    /// Attributes with the tasks' messages.
    pub messages: Vec<(String, String)>,
    /// Attributes with the tasks' data.
    pub data: Vec<(String, String)>,
}

impl Verdict {
    /// Creates a failure without attributes.
    pub fn failed(reason: impl Into<String>) -> Self {
        Self { success: false, reason: reason.into(), ..Self::succeeded() }
    }

    /// Creates a success without attributes.
    pub fn succeeded() -> Self {
        Self {
            success: true,
            reason: String::new(),
            statuses: Vec::new(),
            messages: Vec::new(),
            data: Vec::new(),
        }
    }
}

/// The maximum length of a reason. CloudFormation shows about 1000 characters of it.
const MAX_REASON: usize = 2048;
/// The length to which messages are cut before one is left out, in bytes.
const MESSAGE_BYTES: usize = 128;

/// Renders the body of the answer: at most [`MAX_ANSWER_BYTES`] of JSON, for ids of at most 512 bytes of JSON
/// each.
///
/// If it is too long, parts are left out: first data, the longest first; then messages, which are first cut
/// to 128 bytes; then the end of the reason; and last the statuses. The reason names what is left out. The
/// table has everything.
pub fn render(to: &Addressee, verdict: &Verdict) -> String {
    let mut fit = Fit::of(verdict);
    loop {
        let body = fit.body(to, verdict.success);
        if body.len() <= MAX_ANSWER_BYTES || !fit.leave_something_out() {
            return body;
        }
    }
}

/// The parts of a verdict that are in the answer.
struct Fit<'a> {
    verdict: &'a Verdict,
    reason_bytes: usize,
    statuses: Vec<(String, String)>,
    messages: Vec<(String, String)>,
    data: Vec<(String, String)>,
}

impl<'a> Fit<'a> {
    fn of(verdict: &'a Verdict) -> Self {
        Self {
            verdict,
            reason_bytes: MAX_REASON,
            statuses: verdict.statuses.clone(),
            messages: verdict.messages.clone(),
            data: verdict.data.clone(),
        }
    }

    /// Leaves out the least important part. Returns false if nothing is left to leave out.
    fn leave_something_out(&mut self) -> bool {
        if remove_longest(&mut self.data) {
            return true;
        }
        if self.messages.iter().any(|(_, message)| message.len() > MESSAGE_BYTES) {
            for (_, message) in &mut self.messages {
                *message = shortened(message, MESSAGE_BYTES);
            }
            return true;
        }
        if remove_longest(&mut self.messages) {
            return true;
        }
        if self.reason_bytes > 32 && !self.verdict.reason.is_empty() {
            self.reason_bytes = (self.reason_bytes / 4 * 3).min(self.verdict.reason.len()).max(32);
            return true;
        }
        self.statuses.pop().is_some()
    }

    fn body(&self, to: &Addressee, success: bool) -> String {
        let mut body = json!({
            "Status": if success { "SUCCESS" } else { "FAILED" },
            "PhysicalResourceId": to.physical_id(),
            "StackId": to.stack_id,
            "RequestId": to.request_id,
            "LogicalResourceId": to.logical_resource_id,
        });
        let reason = self.reason(success);
        if !reason.is_empty() {
            body["Reason"] = Value::String(reason);
        }
        let attributes: Map<_, _> = [&self.statuses, &self.messages, &self.data]
            .into_iter()
            .flatten()
            .map(|(key, value)| (key.clone(), Value::String(value.clone())))
            .collect();
        if !attributes.is_empty() {
            body["Data"] = Value::Object(attributes);
        }
        body.to_string()
    }

    fn reason(&self, success: bool) -> String {
        let reason = match self.verdict.reason.as_str() {
            "" if !success => "no reason was given",
            reason => reason,
        };
        let left_out: Vec<_> = [
            ("data", self.verdict.data.len() - self.data.len()),
            ("message", self.verdict.messages.len() - self.messages.len()),
            ("status", self.verdict.statuses.len() - self.statuses.len()),
        ]
        .into_iter()
        .filter(|(_, missing)| *missing > 0)
        .map(|(what, missing)| format!("{what} of {missing} {}", if missing == 1 { "task" } else { "tasks" }))
        .collect();
        let reason = shortened(reason, self.reason_bytes);
        match (reason.is_empty(), left_out.is_empty()) {
            (_, true) => reason,
            (true, false) => format!("left out for their size: {}", left_out.join(", ")),
            (false, false) => format!("{reason} (left out for their size: {})", left_out.join(", ")),
        }
    }
}

/// Removes the attribute with the longest value; the last one of several.
fn remove_longest(attributes: &mut Vec<(String, String)>) -> bool {
    let longest = attributes.iter().enumerate().max_by_key(|(_, (_, value))| value.len());
    let longest = longest.map(|(place, _)| place);
    longest.map(|place| attributes.remove(place)).is_some()
}

/// Returns the text, or as much of its beginning as fits in `bytes` with an ellipsis.
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
    fn l15_an_existing_physical_id_is_kept() {
        assert_eq!(addressee().physical_id(), "lamplighter-shop-LamplighterBefore");
        let old = Addressee { physical_resource_id: Some("old".into()), ..addressee() };
        assert_eq!(old.physical_id(), "old");
    }

    #[test]
    fn a_failure_has_its_reason_and_a_success_its_data() {
        let failed: Value = serde_json::from_str(&render(&addressee(), &Verdict::failed("why"))).unwrap();
        assert_eq!((failed["Status"].as_str(), failed["Reason"].as_str()), (Some("FAILED"), Some("why")));
        let verdict = Verdict { messages: vec![("a.message".into(), "m".into())], ..Verdict::succeeded() };
        let succeeded: Value = serde_json::from_str(&render(&addressee(), &verdict)).unwrap();
        assert_eq!(succeeded["Data"]["a.message"], "m");
        assert_eq!(succeeded.get("Reason"), None);
    }

    #[test]
    fn d11_the_longest_data_is_omitted_first_and_every_status_is_kept() {
        let of_tasks = |attribute: &str, value: &dyn Fn(usize) -> String| {
            (0..100).map(|i| (format!("t{i:02}.{attribute}"), value(i))).collect::<Vec<_>>()
        };
        let verdict = Verdict {
            statuses: of_tasks("status", &|_| "COMPLETED".into()),
            messages: of_tasks("message", &|_| "ran".into()),
            data: of_tasks("data", &|i| "x".repeat(if i == 7 { 3 } else { 900 + i })),
            ..Verdict::succeeded()
        };
        let all: Value = serde_json::from_str(&render(&addressee(), &verdict)).unwrap();
        for i in 0..100 {
            assert_eq!(all["Data"][format!("t{i:02}.status")], "COMPLETED");
        }
        assert!(
            all["Reason"].as_str().unwrap().contains("left out for their size: data of 100 tasks"),
            "{all}"
        );

        let few = Verdict {
            statuses: of_tasks("status", &|_| "COMPLETED".into())[..18].to_vec(),
            messages: Vec::new(),
            data: of_tasks("data", &|i| "x".repeat(100 * i))[..18].to_vec(),
            ..Verdict::succeeded()
        };
        let some: Value = serde_json::from_str(&render(&addressee(), &few)).unwrap();
        let kept = |i: usize| some["Data"].get(format!("t{i:02}.data")).is_some();
        let first_gone = (0..18).find(|i| !kept(*i)).unwrap();
        assert!(first_gone > 3 && (first_gone..18).all(|i| !kept(i)), "{some}");
    }

    #[test]
    fn d10_ids_of_any_length_are_cut_to_the_limit_and_are_stable() {
        let long = "\u{1}".repeat(700);
        for (physical, stack, logical) in [
            (Some(long.as_str()), "shop", "Tasks"),
            (Some("x".repeat(1025).as_str()), "shop", "Tasks"),
            (None, "s".repeat(440).as_str(), "l".repeat(512).as_str()),
            (None, "s".repeat(512).as_str(), "ü".repeat(256).as_str()),
        ] {
            let to = Addressee {
                stack_id: format!("arn/{stack}/1"),
                request_id: "r".repeat(512),
                logical_resource_id: logical.into(),
                physical_resource_id: physical.map(str::to_owned),
            };
            let body = render(&to, &Verdict::failed("why".repeat(1000)));
            assert!(body.len() <= MAX_ANSWER_BYTES, "{}", body.len());
            let answer: Value = serde_json::from_str(&body).unwrap();
            let id = answer["PhysicalResourceId"].as_str().unwrap();
            assert!((1..=1024).contains(&id.len()));
            let again = Addressee { physical_resource_id: Some(id.into()), ..to };
            assert_eq!(again.physical_id(), id);
        }
    }

    #[test]
    fn l26_two_resources_never_share_a_ledger() {
        let ledger = |stack: &str, logical: &str| {
            Addressee { stack_id: stack.into(), logical_resource_id: logical.into(), ..addressee() }.ledger()
        };
        assert_ne!(ledger("a#b", "c"), ledger("a", "b#c"));
        assert_ne!(ledger("a%23b", "c"), ledger("a#b", "c"));
        assert_eq!(ledger("arn:x", "Tasks"), "arn:x#Tasks");
        let (one, other) = ("#".repeat(500), format!("{}%", "#".repeat(499)));
        assert_ne!(ledger(&one, "c"), ledger(&other, "c"));
        assert!(ledger(&one, &other).len() <= MAX_KEY);
    }

    proptest! {
        /// L12: any answer fits, and begins with the important parts.
        #[test]
        fn l12_an_answer_always_fits(
            reason in "\\PC{0,2000}|[\\x00-\\x1f\"]{0,3000}",
            statuses in prop::collection::vec(("[a-z.]{1,50}", "[A-Z]{1,9}"), 0..103),
            messages in prop::collection::vec(("[a-z.]{1,50}", ".{0,400}"), 0..40),
            data in prop::collection::vec(("[a-z.]{1,50}", ".{0,400}"), 0..40),
            ids in prop::array::uniform3("[\\x00-\\x1f]{1,85}|\\PC{1,128}|[a-z]{512}"),
        ) {
            let verdict = Verdict { success: false, reason: reason.clone(), statuses, messages, data };
            let [stack_id, request_id, logical_resource_id] = ids;
            let to = Addressee { stack_id, request_id, logical_resource_id, physical_resource_id: None };
            let body = render(&to, &verdict);
            prop_assert!(body.len() <= MAX_ANSWER_BYTES);
            let answer: Value = serde_json::from_str(&body).unwrap();
            prop_assert_eq!(answer["RequestId"].as_str(), Some(to.request_id.as_str()));
            let text = answer["Reason"].as_str().unwrap();
            let text = text.rsplit_once(" (left out").map_or(text, |(text, _)| text).trim_end_matches('…').to_owned();
            prop_assert!(!text.is_empty() && (reason.is_empty() || reason.starts_with(&text)));
        }
    }
}
