"""The life of a stack: a first deployment that fails, updates, two issuers in an account, deletion,
and the way back."""

import itertools

import boto3
import pytest
from account import BINARIES, FUNCTIONS, ROOT, end_of
from botocore.exceptions import ClientError
from issuer import Issuer, doctors_faults
from samtranslator.yaml_helper import yaml_parse


@pytest.fixture(scope="module")
def second(account, checkout):
    """A second issuer in the account."""
    return Issuer(account, checkout.deploy_stack("second"))


def works(issuer):
    """Returns whether the issuer grants a token and verifiers accept it."""
    claims = issuer.verify(issuer.granted(issuer.service, "client_credentials")["access_token"])
    return claims["iss"] == issuer.url


def test_issuers_of_one_account_share_nothing(issuer, second):
    assert works(issuer) and works(second)
    refused = second.post("/oauth/token", issuer.service, grant_type="client_credentials")
    assert (refused.status_code, refused.json()["error"]) == (401, "invalid_client")
    keys = [{key["kid"] for key in one.get("/.well-known/jwks.json").json()["keys"]} for one in (issuer, second)]
    assert not keys[0] & keys[1]


def test_an_update_keeps_keys_clients_and_sessions(checkout, second):
    session = second.log_in()
    checkout.deploy_stack("second", MaxAccessTtl="43200")
    assert Issuer(second.account, "second").variables == {**second.variables, "COUNTERSIGN_MAX_ACCESS_TTL": "43200"}
    assert second.verify(session["access_token"])["client_id"] == "app"
    form = {"grant_type": "refresh_token", "refresh_token": session["refresh_token"]}
    refreshed = second.post("/oauth/refresh", second.app, **form)
    assert refreshed.status_code == 200, refreshed.text


@pytest.mark.parametrize(
    ("parameter", "value"),
    [("RotationPeriod", "60"), ("AnnouncementLead", "60"), ("JwksMaxAge", "86400"), ("MaxAccessTtl", "1")],
)
def test_a_parameter_with_which_no_function_would_start_is_refused(second, parameter, value):
    with pytest.raises(ClientError, match=parameter):
        boto3.client("cloudformation").update_stack(
            StackName="second",
            UsePreviousTemplate=True,
            Parameters=[{"ParameterKey": parameter, "ParameterValue": value}],
            Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
        )
    assert works(second)


def test_within_the_bounds_of_the_parameters_every_schedule_is_allowed(checkout, second):
    parameters = yaml_parse((checkout.folder / "template.yaml").read_text())["Parameters"]
    variables = {
        "RotationPeriod": "COUNTERSIGN_ROTATION_PERIOD",
        "AnnouncementLead": "COUNTERSIGN_ANNOUNCEMENT_LEAD",
        "JwksMaxAge": "COUNTERSIGN_JWKS_MAX_AGE",
        "MaxAccessTtl": "COUNTERSIGN_MAX_ACCESS_TTL",
        "MaxRefreshTtl": "COUNTERSIGN_MAX_REFRESH_TTL",
    }
    bounds = [(parameters[name]["MinValue"], parameters[name]["MaxValue"]) for name in variables]
    for extremes in itertools.product(*bounds):
        settings = dict(zip(variables.values(), map(str, extremes), strict=True))
        done = second.countersign("key", "list", **settings)
        assert done.returncode == 0, f"{settings}: {done.stderr}"


def test_a_failed_update_leaves_a_working_issuer(account, checkout, second):
    failed = checkout.try_deploy("--stack-name", "second", LogLevel="warn", RefreshConcurrency="2000")
    assert failed.returncode != 0, end_of(failed)
    assert account.status("second") == "UPDATE_ROLLBACK_COMPLETE"
    assert works(second)


@pytest.fixture(scope="module")
def repeated(account, checkout):
    """An issuer whose first deployment has failed."""
    failed = checkout.try_deploy("--stack-name", "repeated", RefreshConcurrency="2000")
    assert failed.returncode != 0, end_of(failed)
    assert any("UnreservedConcurrentExecution" in reason for reason in account.failures("repeated"))
    deleted = checkout.sam("delete", "--stack-name", "repeated", "--no-prompts")
    assert deleted.returncode == 0, end_of(deleted)
    return Issuer(account, checkout.deploy_stack("repeated"))


def test_a_first_deployment_that_fails_can_be_repeated(repeated):
    assert works(repeated)


def test_the_second_deployment_protects_the_tables(checkout, repeated):
    tables = ("clients", "principals", "signing-keys", "refresh-families", "attempts")
    faults = doctors_faults(repeated)
    assert sorted(faults) == sorted(f"{repeated.table(name)} is not protected from deletion" for name in tables)
    checkout.deploy_stack("repeated", DeletionProtection="on")
    assert doctors_faults(repeated) == []
    with pytest.raises(ClientError, match="protected against deletion"):
        boto3.client("dynamodb").delete_table(TableName=repeated.table("clients"))


def test_a_deleted_issuer_comes_back(account, checkout, second):
    second.log_in()
    kids = {key["kid"]["S"] for key in second.items("signing-keys")}
    # CloudFormation cannot delete a policy that is attached.
    refused = checkout.sam("delete", "--stack-name", "second", "--no-prompts")
    assert refused.returncode != 0 and account.status("second") == "DELETE_FAILED", end_of(refused)
    for policy in second.administrator_policies():
        boto3.client("iam").detach_user_policy(UserName=second.administrator_name, PolicyArn=policy)
    deleted = checkout.sam("delete", "--stack-name", "second", "--no-prompts")
    assert deleted.returncode == 0 and account.status("second") == "gone", end_of(deleted)
    groups = boto3.client("logs").describe_log_groups(logGroupNamePrefix="/aws/lambda/second-")["logGroups"]
    assert len(groups) == len(FUNCTIONS)

    restored = account.run(ROOT / "scripts/restore-stack", "second")
    assert restored.returncode == 0, end_of(restored)
    back = Issuer(account, checkout.deploy_stack("second"))
    assert back.variables["COUNTERSIGN_KMS_KEY_ID"] == second.variables["COUNTERSIGN_KMS_KEY_ID"]
    assert {key["kid"] for key in back.get("/.well-known/jwks.json").json()["keys"]} == kids
    claims = back.verify(back.granted(second.service, "client_credentials")["access_token"])
    assert claims["sub"] == "service"


def test_doctor_notices_another_kms_key(account, issuer, second):
    other = {**issuer.variables, "COUNTERSIGN_KMS_KEY_ID": second.variables["COUNTERSIGN_KMS_KEY_ID"]}
    done = account.run(BINARIES / "countersign", "doctor", environment=other)
    assert done.returncode == 1 and "and not by arn:aws:kms" in done.stdout, done.stdout
