"""Templates with one fault each. A check of this folder must find each of them, or it proves
nothing about the template without the fault."""

import re
from collections.abc import Callable
from typing import NamedTuple

import boto3
import pytest
import test_issuer
import test_wiring
from account import ROOT
from issuer import Issuer

TEXT = (ROOT / "template.yaml").read_text()


SIGNERS = "aws:PrincipalArn: [!GetAtt TokenRole.Arn, !GetAtt RefreshRole.Arn]"


class Mutation(NamedTuple):
    """A change of the template, the check that finds it, and what that reports."""

    old: str
    new: str
    check: Callable
    symptom: str
    front_door: str = "http-api"


MUTATIONS = {
    "token may not decrypt": Mutation(
        "Action: kms:Decrypt\n            Resource: !GetAtt WrappingKey.Arn",
        "Action: kms:DescribeKey\n            Resource: !GetAtt WrappingKey.Arn",
        test_issuer.test_a_service_gets_a_token, "client_credentials: 500"),
    "decryption is for another function": Mutation(
        "lambda:SourceFunctionArn: !GetAtt TokenFunction.Arn", "lambda:SourceFunctionArn: !GetAtt JwksFunction.Arn",
        test_issuer.test_a_service_gets_a_token, "client_credentials: 500"),
    "the KMS key names another role": Mutation(
        SIGNERS, "aws:PrincipalArn: [!GetAtt JwksRole.Arn, !GetAtt RefreshRole.Arn]",
        test_issuer.test_a_service_gets_a_token, "client_credentials: 500"),
    "the KMS key names every role": Mutation(
        SIGNERS, 'aws:PrincipalArn: "*"',
        test_issuer.test_no_other_identity_can_decrypt_a_signing_key, "decrypted"),
    "jwks may not project": Mutation(
        "dynamodb:Select: SPECIFIC_ATTRIBUTES", "dynamodb:Select: COUNT",
        test_issuer.test_it_publishes_its_metadata_and_its_keys, "server_error|temporarily_unavailable"),
    "rotate may not write": Mutation(
        "Action: [dynamodb:Query, dynamodb:PutItem, dynamodb:UpdateItem, dynamodb:DeleteItem]",
        "Action: [dynamodb:Query, dynamodb:UpdateItem, dynamodb:DeleteItem]",
        test_issuer.test_the_schedule_creates_the_first_keys, "AccessDenied"),
    "revoke reaches token": Mutation(
        "function:${AWS::StackName}-refresh\n", "function:${AWS::StackName}-token\n",
        test_issuer.test_a_revoked_session_ends, "grant_type is missing"),
    "refresh may not use the index": Mutation(
        "${PrincipalsTable.Arn}/index/by-id", "${PrincipalsTable.Arn}/index/by-name",
        test_issuer.test_an_access_token_is_introspected, "introspect: .*server_error|temporarily_unavailable"),
    "a route is missing": Mutation(
        "RouteKey: ANY /.well-known/openid-configuration", "RouteKey: ANY /.well-known/openid-config",
        test_issuer.test_it_publishes_its_metadata_and_its_keys, "openid-configuration: .*Not Found"),
    "sessions expire by another attribute": Mutation(
        "TimeToLiveSpecification: {AttributeName: expires", "TimeToLiveSpecification: {AttributeName: expiry",
        test_issuer.test_doctor_finds_no_fault, "expires its items by expiry"),
    "no table can be recovered": Mutation(
        "{PointInTimeRecoveryEnabled: true}", "{PointInTimeRecoveryEnabled: false}",
        test_issuer.test_doctor_finds_no_fault, "has no point-in-time recovery"),
    "a reader may not see the expiry": Mutation(
        "Action: dynamodb:DescribeTimeToLive", "Action: dynamodb:DescribeLimits",
        test_issuer.test_doctor_finds_no_fault, "cannot be checked"),
    "an administrator may do too much": Mutation(
        "Action: [dynamodb:GetItem, dynamodb:Scan, dynamodb:PutItem, dynamodb:DeleteItem]", "Action: dynamodb:*",
        test_issuer.test_an_administrator_may_do_no_more_than_administer, "clients"),
    "the API may not invoke": Mutation(
        "${AWS::AccountId}:${Door}/*", "${AWS::AccountId}:another/*",
        test_wiring.test_the_api_may_invoke_the_function_of_every_route, "no permission to invoke"),
    "the REST API may not invoke": Mutation(
        "${AWS::AccountId}:${Door}/*", "${AWS::AccountId}:${Door}/dev/*",
        test_wiring.test_the_rest_api_may_invoke_the_function_of_every_resource, "no permission to invoke", "rest-api"),
    "a resource of the REST API reaches another function": Mutation(
        "function:${AWS::StackName}-refresh/invocations", "function:${AWS::StackName}-token/invocations",
        test_issuer.test_a_revoked_session_ends, "grant_type is missing", "rest-api"),
    "the issuer's URL lacks the stage of the REST API": Mutation(
        "${AWS::URLSuffix}/prod", "${AWS::URLSuffix}",
        test_issuer.test_it_publishes_its_metadata_and_its_keys, "jwks.json: ", "rest-api"),
    "other APIs may not invoke the authorizer": Mutation(
        "${AWS::AccountId}:*/authorizers/*", "${AWS::AccountId}:*/authorizer/*",
        test_wiring.test_other_apis_may_invoke_the_authorizer, "no permission to invoke"),
    "the schedule may not invoke": Mutation(
        "Resource: !GetAtt RotateFunction.Arn", "Resource: !GetAtt TokenFunction.Arn",
        test_wiring.test_the_schedule_may_invoke_the_rotation, "may not invoke its target"),
    "a function may not write its log": Mutation(
        "Resource: !GetAtt JwksLogs.Arn", "Resource: !GetAtt TokenLogs.Arn",
        test_wiring.test_every_function_may_write_its_log_and_its_traces, "jwks: logs:"),
    "an alarm looks elsewhere": Mutation(
        "Namespace: !Sub ${AWS::StackName}-issuer\n", "Namespace: !Sub ${AWS::StackName}-issuers\n",
        test_wiring.test_the_alarms_and_the_dashboard_find_the_metrics_that_the_functions_write, "is never written"),
    "the dashboard searches elsewhere": Mutation(
        ",grant} MetricName", ",client} MetricName",
        test_wiring.test_the_alarms_and_the_dashboard_find_the_metrics_that_the_functions_write, "finds no Tokens"),
}


@pytest.fixture(scope="module")
def package(issuer):
    """Returns the template as `sam deploy` has packaged it for the issuer: with uploaded code."""
    deployed = boto3.client("cloudformation").get_template(StackName=issuer.stack, TemplateStage="Processed")
    text = TEXT
    for name, folder in re.findall(r"^  (\w+)Function:(?:\n    .*)*?\n      CodeUri: (.*)", TEXT, re.M):
        code = deployed["TemplateBody"]["Resources"][f"{name}Function"]["Properties"]["Code"]
        text = text.replace(f"CodeUri: {folder}\n", f"CodeUri: s3://{code['S3Bucket']}/{code['S3Key']}\n")
    assert "CodeUri: functions" not in text
    return text


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_fault_is_found(account, package, name):
    mutation = MUTATIONS[name]
    assert mutation.old in package
    template = package.replace(mutation.old, mutation.new)
    stack = f"mutant-{list(MUTATIONS).index(name)}"
    account.create_stack(
        stack, template, Architecture="x86_64", DeletionProtection="on", FrontDoor=mutation.front_door)
    with pytest.raises(AssertionError, match=mutation.symptom):
        mutation.check(Issuer(account, stack))
