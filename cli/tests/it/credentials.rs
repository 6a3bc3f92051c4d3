//! Commands against AWS without valid credentials. A small server answers as AWS does.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    process::{Command, Output},
    thread,
};

/// CloudFormation's response to credentials that it refuses. Source: AWS CloudFormation API Reference, "Common Errors".
fn refusal(code: &str, message: &str) -> String {
    format!(
        "<ErrorResponse xmlns=\"http://cloudformation.amazonaws.com/doc/2010-05-15/\"><Error><Type>Sender</Type>\
         <Code>{code}</Code><Message>{message}</Message></Error><RequestId>r</RequestId></ErrorResponse>"
    )
}

/// Starts a server that gives every request this response, and returns its URL.
fn server(status: &'static str, body: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.unwrap();
            // The request fits into one read.
            let _ = client.read(&mut [0; 16_384]);
            let head = format!(
                "HTTP/1.1 {status}\r\ncontent-type: text/xml\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                body.len()
            );
            let _ = client.write_all(format!("{head}{body}").as_bytes());
        }
    });
    url
}

/// Shows the history of a stack in AWS, in an empty folder, with these variables and no others.
fn history(variables: &[(&str, &str)]) -> Output {
    let empty = tempfile::tempdir().unwrap();
    Command::new(env!("CARGO_BIN_EXE_lamplighter"))
        .args(["history", "--stack", "shop"])
        .current_dir(empty.path())
        .env_clear()
        .env("HOME", empty.path())
        .env("AWS_REGION", "eu-west-1")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .envs(variables.iter().copied())
        .output()
        .unwrap()
}

#[test]
fn n04_missing_and_refused_credentials_are_an_error_with_a_remedy() {
    let keys = [("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE"), ("AWS_SECRET_ACCESS_KEY", "example")];
    let refused = |code: &str, message: &str| {
        let url = server("403 Forbidden", refusal(code, message));
        history(&[&keys[..], &[("AWS_ENDPOINT_URL", &url)]].concat())
    };
    for (output, expected) in [
        (
            history(&[]),
            "no AWS credentials were found: name a profile of ~/.aws/config with --profile or AWS_PROFILE, or sign in, for example \
             with `aws sso login`",
        ),
        (
            refused("ExpiredToken", "The security token included in the request is expired"),
            "The security token included in the request is expired (ExpiredToken): sign in, for example with `aws sso login`",
        ),
        (
            refused("InvalidClientTokenId", "The security token included in the request is invalid."),
            "The security token included in the request is invalid (InvalidClientTokenId): check the profile and its \
             credentials",
        ),
        (
            refused(
                "AccessDenied",
                "User: arn:aws:iam::1:user/ada is not authorized to perform: cloudformation:DescribeStacks",
            ),
            "is not authorized to perform: cloudformation:DescribeStacks (AccessDenied)",
        ),
        (
            refused("ValidationError", "Stack with id shop does not exist"),
            "Stack with id shop does not exist (ValidationError)",
        ),
    ] {
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(output.stdout.is_empty() && stderr.lines().count() == 1, "{stderr}");
        assert!(stderr.starts_with("error: stack `shop` cannot be read: "), "{stderr}");
        assert!(stderr.contains(expected), "{stderr}");
    }
}
