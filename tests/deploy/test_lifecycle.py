"""The life of a stack: a first deployment that fails, updates, two issuers in an account, deletion,
and the way back."""

import pytest
from botocore.exceptions import ClientError
from issuer import Issuer


@pytest.fixture(scope="module")
def second(account, checkout):
    """A second issuer in the account."""
    deployed = checkout.deploy("--stack-name", "second", Prefix="second-")
    assert deployed.returncode == 0, deployed.stdout + deployed.stderr
    return Issuer(account, "second")


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
    updated = checkout.deploy("--stack-name", "second", MaxAccessTtl="43200")
    assert updated.returncode == 0, updated.stdout + updated.stderr
    assert Issuer(second.account, "second").variables == {**second.variables, "COUNTERSIGN_MAX_ACCESS_TTL": "43200"}
    assert second.verify(session["access_token"])["client_id"] == "app"
    refreshed = second.post("/oauth/refresh", second.app, grant_type="refresh_token", refresh_token=session["refresh_token"])
    assert refreshed.status_code == 200, refreshed.text


@pytest.mark.parametrize(
    ("parameter", "value"),
    [("RotationPeriod", "60"), ("AnnouncementLead", "60"), ("JwksMaxAge", "86400"), ("MaxAccessTtl", "1")],
)
def test_a_parameter_with_which_no_function_would_start_is_refused(account, second, parameter, value):
    with pytest.raises(ClientError, match=parameter):
        account.client("cloudformation").update_stack(
            StackName="second",
            UsePreviousTemplate=True,
            Parameters=[{"ParameterKey": parameter, "ParameterValue": value}],
            Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
        )
    assert works(second)


def test_another_prefix_changes_nothing(checkout, second):
    checkout.deploy("--stack-name", "second", Prefix="third-")
    assert Issuer(second.account, "second").outputs == second.outputs
    assert works(second)


def test_a_failed_update_leaves_a_working_issuer(account, checkout, second):
    failed = checkout.deploy("--stack-name", "second", LogLevel="warn", RefreshConcurrency="2000")
    assert failed.returncode != 0, failed.stdout
    assert account.status("second") == "UPDATE_ROLLBACK_COMPLETE"
    assert works(second)


def test_a_first_deployment_that_fails_can_be_repeated(account, checkout):
    failed = checkout.deploy("--stack-name", "again", Prefix="again-", RefreshConcurrency="2000")
    assert failed.returncode != 0, failed.stdout
    assert any("UnreservedConcurrentExecution" in reason for reason in account.failures("again"))
    deleted = checkout.sam("delete", "--stack-name", "again", "--no-prompts")
    assert deleted.returncode == 0, deleted.stdout + deleted.stderr
    repeated = checkout.deploy("--stack-name", "again", Prefix="again-")
    assert repeated.returncode == 0, account.failures("again")
    assert works(Issuer(account, "again"))


def test_a_deleted_issuer_comes_back(account, checkout, second):
    session = second.log_in()
    iam = account.client("iam")
    refused = checkout.sam("delete", "--stack-name", "second", "--no-prompts")
    assert refused.returncode != 0 and account.status("second") == "DELETE_FAILED", refused.stdout
    for policy in second.administrator_policies():
        iam.detach_user_policy(UserName=second.administrator_name, PolicyArn=policy)
    deleted = checkout.sam("delete", "--stack-name", "second", "--no-prompts")
    assert deleted.returncode == 0 and account.status("second") == "gone", deleted.stdout + deleted.stderr
    assert len(second.items("signing-keys")) == 2 and second.items("clients")
    groups = account.client("logs").describe_log_groups(logGroupNamePrefix="/aws/lambda/second-")["logGroups"]
    assert {group["logGroupName"] for group in groups} >= {f"/aws/lambda/second-{name}" for name in ("token", "refresh")}
    assert session
