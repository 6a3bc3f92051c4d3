//! The table and the bucket.

use super::{
    Group, ON_AWS, Skip,
    intrinsics::{attribute, reference, sub},
    skipping,
    yaml::{list, map},
};

pub(super) const TABLE: &str = "LamplighterTable";
pub(super) const BUCKET: &str = "LamplighterBucket";

/// Why keys of one's own are not asked for: they cost a dollar a month each, and whoever needs them knows.
pub(super) const NO_OWN_KEY: &str = "encrypted with a key that AWS owns; a key of one's own costs extra";

pub(super) fn groups() -> Vec<Group> {
    vec![table(), bucket()]
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
                "Projection" => map! { "ProjectionType" => "ALL" },
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

fn bucket() -> Group {
    let bucket = map! {
        "Type" => "AWS::S3::Bucket",
        // A bucket with objects in it cannot be deleted, and a stack that fails to delete helps nobody.
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
                "Rules" => list![map! {
                    "Id" => "forget-what-was-replaced",
                    "Status" => "Enabled",
                    "NoncurrentVersionExpiration" => map! { "NoncurrentDays" => 30 },
                    "AbortIncompleteMultipartUpload" => map! { "DaysAfterInitiation" => 7 },
                }],
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
        "What tasks put into files. It stays when the stack goes, since one with objects cannot be deleted.",
    )
    .with(BUCKET, skipping(bucket, &[access_log]))
    .with("LamplighterBucketPolicy", policy)
}
