"""scripts/aws-smoke, as far as the emulated account goes. It reports exactly what that lacks, so
these checks can fail; everything else must pass."""

import os
import re

import boto3
from account import BINARIES, ROOT, Checkout, end_of

NOT_EMULATED = {
    "api gateway logs",
    "log lines become metrics",
    "the dashboard finds the metrics",
    "alarms are evaluated",
    "time outs count as crashes",
}
# What `sam deploy --guided` may have saved for another stack.
SAVED = """version = 0.1

[default.global.parameters]
region = "us-west-2"

[default.deploy.parameters]
stack_name = "countersign"
region = "us-west-2"
s3_bucket = "another-bucket"
parameter_overrides = "DeletionProtection=\\"on\\" RateLimit=\\"7\\" ExportBucket=\\"others-exports\\""
"""


def smoke(account, *arguments, **variables):
    path = f"{BINARIES}:{os.path.dirname(os.environ['SAM'])}:{account.environment['PATH']}"
    environment = {"PATH": path, "SSL_CERT_FILE": account.environment["AWS_CA_BUNDLE"], **variables}
    return account.run(ROOT / "scripts/aws-smoke", *arguments, environment=environment)


def tables_and_logs():
    """Yields the names of all tables and log groups, from every page of the answers."""
    for page in boto3.client("dynamodb").get_paginator("list_tables").paginate():
        yield from page["TableNames"]
    for page in boto3.client("logs").get_paginator("describe_log_groups").paginate():
        yield from (group["logGroupName"] for group in page["logGroups"])


def test_the_smoke_test_passes_but_for_what_is_not_emulated(account, tmp_path):
    clone = Checkout(account, tmp_path)
    (tmp_path / "samconfig.toml").write_text(SAVED)
    done = smoke(account, "--stack", "smoke", "--built", clone.folder, "--patience", "5")
    outcomes = dict(re.findall(r"(?m)^\| ([a-z ]+) \| \d+ s \| (.*) \|$", done.stdout))
    assert len(outcomes) == 13, end_of(done)
    failed = {name for name, outcome in outcomes.items() if outcome != "ok"}
    assert failed == NOT_EMULATED, "\n".join(f"{name}: {outcome}" for name, outcome in outcomes.items())
    assert done.returncode == 1

    # It leaves nothing behind.
    assert account.status("smoke") == "gone"
    assert not [name for name in tables_and_logs() if "smoke-" in name]


def test_a_name_that_is_taken_is_refused_before_anything_happens(account):
    """Of a living issuer, and of a deleted one that has left a table or a log."""
    account.create_stack("taken", "Resources: {Topic: {Type: AWS::SNS::Topic}}")
    table, group = "taken-refresh-families", "/aws/lambda/taken-jwks"
    boto3.client("dynamodb").create_table(
        TableName=table, BillingMode="PAY_PER_REQUEST", KeySchema=[{"AttributeName": "family", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "family", "AttributeType": "S"}])
    boto3.client("logs").create_log_group(logGroupName=group)
    done = smoke(account, "--stack", "taken", "--patience", "5")
    assert done.returncode == 1 and not done.stdout, end_of(done)
    for name in ("the stack taken", table, group):
        assert name in done.stderr, end_of(done)
    assert account.status("taken") == "CREATE_COMPLETE"
    assert {table, group} <= set(tables_and_logs())


def test_without_a_region_it_does_nothing(account):
    done = smoke(account, AWS_REGION="", AWS_DEFAULT_REGION="")
    assert done.returncode == 1 and not done.stdout and "there is no region" in done.stderr, end_of(done)
