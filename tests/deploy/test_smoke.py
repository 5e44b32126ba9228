"""scripts/aws-smoke, as far as the emulated account goes. It reports exactly what that lacks, so
these checks can fail; everything else must pass."""

import os
import re

import boto3
from account import BINARIES, ROOT, end_of

NOT_EMULATED = {
    "api gateway logs",
    "log lines become metrics",
    "the dashboard finds the metrics",
    "alarms are evaluated",
    "time outs count as crashes",
}


def test_the_smoke_test_passes_but_for_what_is_not_emulated(account, checkout):
    path = f"{BINARIES}:{os.path.dirname(os.environ['SAM'])}:{account.environment['PATH']}"
    environment = {"PATH": path, "SSL_CERT_FILE": account.environment["AWS_CA_BUNDLE"]}
    done = account.run(
        ROOT / "scripts/aws-smoke", "--stack", "smoke", "--built", checkout.folder, "--patience", "5",
        "Architecture=x86_64", environment=environment)
    outcomes = dict(re.findall(r"(?m)^\| ([a-z ]+) \| \d+ s \| (.*) \|$", done.stdout))
    assert len(outcomes) == 13, end_of(done)
    failed = {name for name, outcome in outcomes.items() if outcome != "ok"}
    assert failed == NOT_EMULATED, "\n".join(f"{name}: {outcome}" for name, outcome in outcomes.items())
    assert done.returncode == 1

    # It leaves nothing behind.
    assert account.status("smoke") == "gone"
    assert not [name for name in boto3.client("dynamodb").list_tables()["TableNames"] if name.startswith("smoke-")]
    groups = boto3.client("logs").describe_log_groups()["logGroups"]
    assert not [group for group in groups if "/smoke-" in group["logGroupName"]]
