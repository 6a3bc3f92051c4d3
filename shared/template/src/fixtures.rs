//! A fixed project with an application, for tests.

pub(crate) use lamplighter_project::fixtures::*;

use crate::Application;

/// The application's template.
pub(crate) const APPLICATION: &str = r"
Parameters:
  Stage: {Type: String, Default: dev, AllowedValues: [dev, production]}
Resources:
  SiteRole:
    Type: AWS::IAM::Role
    Properties:
      AssumeRolePolicyDocument:
        Version: 2012-10-17
        Statement: [{Effect: Allow, Principal: {Service: lambda.amazonaws.com}, Action: 'sts:AssumeRole'}]
  SiteFunction:
    Type: AWS::Serverless::Function
    Metadata:
      checkov:
        skip:
          - {id: CKV_AWS_115, comment: serves all there is}
          - {id: CKV_AWS_116, comment: is only called synchronously}
          - {id: CKV_AWS_117, comment: needs no network of its own}
          - {id: CKV_AWS_173, comment: has no secrets in its environment}
    Properties:
      CodeUri: ../target/lamplighter/site.zip
      Handler: bootstrap
      Runtime: provided.al2023
      Role: !GetAtt SiteRole.Arn
      Environment: {Variables: {VERSION: !Ref Version, STAGE: !Sub '${Stage}'}}
Outputs:
  Site: {Value: !Ref SiteFunction}
";

/// The application.
pub(crate) fn application() -> Application {
    Application::parse("infra/application.yaml", APPLICATION).unwrap()
}
