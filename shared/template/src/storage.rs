//! The stack's table and bucket.

use lamplighter_aws::table::{JOBS_FOLDER, RUNS_FOLDER};
use lamplighter_core::{definition::DEFAULT_RETENTION, job::LONGEST_LIFE};
use lamplighter_project::Project;
use serde_yaml_ng::Value;

use super::{
    group::{Group, Skip, skipping},
    ids::{BUCKET, ON_AWS, TABLE},
    intrinsics::{attribute, reference, sub},
    yaml::{list, map},
};

/// The reason to use keys that AWS owns: one's own cost a dollar a month each.
pub(super) const NO_OWN_KEY: &str = "encrypted with a key that AWS owns; a key of one's own costs extra";

/// The days for which a value outlives its run's record: DynamoDB takes up to two to delete an expired item. Source:
/// Amazon DynamoDB Developer Guide, "Using time to live (TTL) in DynamoDB".
const DAYS_BEHIND: u64 = 3;
const DAY: u64 = 24 * 3600;

pub(super) fn groups(project: &Project) -> Vec<Group> {
    vec![table(), bucket(project)]
}

fn table() -> Group {
    let attribute_of = |name: &str, kind: &str| map! { "AttributeName" => name, "AttributeType" => kind };
    let key = |name: &str, kind: &str| map! { "AttributeName" => name, "KeyType" => kind };
    let table = map! {
        "Type" => "AWS::DynamoDB::Table",
        "DeletionPolicy" => "Delete",
        "UpdateReplacePolicy" => "Retain",
        "Properties" => map! {
            "BillingMode" => "PAY_PER_REQUEST",
            "AttributeDefinitions" => list![
                attribute_of("pk", "S"),
                attribute_of("sk", "S"),
                attribute_of("due_pk", "S"),
                attribute_of("due_at", "N"),
            ],
            "KeySchema" => list![key("pk", "HASH"), key("sk", "RANGE")],
            "GlobalSecondaryIndexes" => list![map! {
                "IndexName" => "due",
                "KeySchema" => list![key("due_pk", "HASH"), key("due_at", "RANGE")],
                "Projection" => map! { "ProjectionType" => "KEYS_ONLY" },
            }],
            "TimeToLiveSpecification" => map! { "AttributeName" => "expires_at", "Enabled" => true },
            "PointInTimeRecoverySpecification" => map! { "PointInTimeRecoveryEnabled" => true },
            "SSESpecification" => map! { "SSEEnabled" => true },
        },
    };
    Group::new("Locks, history and the deployments' ledgers.").with(
        TABLE,
        skipping(table, &[Skip("CKV_AWS_119", "encrypted with the key that AWS manages for DynamoDB")]),
    )
}

/// The days for which the bucket keeps the values of runs: as long as any task keeps its records.
fn retention_days(project: &Project) -> u64 {
    let longest = project.tasks.iter().map(|task| task.definition.retention).max();
    longest.unwrap_or(DEFAULT_RETENTION).as_secs().div_ceil(DAY) + DAYS_BEHIND
}

/// The days for which the bucket keeps the arguments of jobs: the longest life of a job, and then the longest retention
/// of its record. Returns nothing if there is no queue task.
fn job_retention_days(project: &Project) -> Option<u64> {
    let longest = project.queues().map(|(task, _)| task.definition.retention).max()?;
    Some((LONGEST_LIFE + longest).as_secs().div_ceil(DAY) + DAYS_BEHIND)
}

fn bucket(project: &Project) -> Group {
    let mut rules = vec![
        map! {
            "Id" => "forget-what-was-replaced",
            "Status" => "Enabled",
            "NoncurrentVersionExpiration" => map! { "NoncurrentDays" => 30 },
            "AbortIncompleteMultipartUpload" => map! { "DaysAfterInitiation" => 7 },
        },
        expiry("forget-runs", RUNS_FOLDER, retention_days(project)),
    ];
    rules.extend(job_retention_days(project).map(|days| expiry("forget-jobs", JOBS_FOLDER, days)));
    let bucket = map! {
        "Type" => "AWS::S3::Bucket",
        // A bucket with objects in it cannot be deleted, which would fail the deletion of the stack.
        "DeletionPolicy" => "RetainExceptOnCreate",
        "UpdateReplacePolicy" => "Retain",
        "Properties" => map! {
            "BucketEncryption" => map! {
                "ServerSideEncryptionConfiguration" => list![map! {
                    "ServerSideEncryptionByDefault" => map! { "SSEAlgorithm" => "AES256" },
                }],
            },
            "PublicAccessBlockConfiguration" => map! {
                "BlockPublicAcls" => true,
                "BlockPublicPolicy" => true,
                "IgnorePublicAcls" => true,
                "RestrictPublicBuckets" => true,
            },
            "OwnershipControls" => map! {
                "Rules" => list![map! { "ObjectOwnership" => "BucketOwnerEnforced" }],
            },
            "VersioningConfiguration" => map! { "Status" => "Enabled" },
            "LifecycleConfiguration" => map! {
                "Rules" => rules,
            },
        },
    };
    let policy = map! {
        "Type" => "AWS::S3::BucketPolicy",
        "Condition" => ON_AWS,
        "Properties" => map! {
            "Bucket" => reference(BUCKET),
            "PolicyDocument" => map! {
                "Version" => "2012-10-17",
                "Statement" => list![map! {
                    "Sid" => "OnlyEncryptedConnections",
                    "Effect" => "Deny",
                    "Principal" => "*",
                    "Action" => "s3:*",
                    "Resource" => list![attribute(BUCKET, "Arn"), sub(format!("${{{BUCKET}.Arn}}/*"))],
                    "Condition" => map! { "Bool" => map! { "aws:SecureTransport" => "false" } },
                }],
            },
        },
    };
    let access_log = Skip("CKV_AWS_18", "an access log needs a second bucket, which whoever needs one has");
    Group::new(
        "What tasks put into files, and the large values of runs. It stays when the stack goes, since one with objects \
         cannot be deleted.",
    )
    .with(BUCKET, skipping(bucket, &[access_log]))
    .with("LamplighterBucketPolicy", policy)
}

/// Renders the rule that deletes a folder's objects after some days.
fn expiry(id: &str, folder: &str, days: u64) -> Value {
    map! {
        "Id" => id,
        "Status" => "Enabled",
        "Prefix" => format!("{folder}/"),
        "ExpirationInDays" => days,
        "NoncurrentVersionExpiration" => map! { "NoncurrentDays" => 1 },
    }
}
