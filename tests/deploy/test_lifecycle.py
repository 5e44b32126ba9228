"""The life of a stack: a first deployment that fails, updates, two issuers in an account, deletion,
the ways back, and the parameters of the front door."""

import functools
import itertools
import json

import boto3
import pytest
from account import BINARIES, FUNCTIONS, REGION, ROOT, end_of, poll
from botocore.exceptions import ClientError
from issuer import Issuer, doctors_faults, snippet
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
    refused = account.run(ROOT / "scripts/restore-stack", "second")
    assert refused.returncode == 1 and "the stack second is there" in refused.stderr, end_of(refused)
    assert works(second), "a living issuer stays as it is"
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


@pytest.fixture(scope="module")
def bucket():
    """A bucket in which exports survive the loss of a region."""
    boto3.client("s3").create_bucket(Bucket="exports", CreateBucketConfiguration={"LocationConstraint": REGION})
    return "exports"


def failing_at(account, folder, command):
    """Returns an environment in which the credentials end at a command of the AWS CLI."""
    (folder / "aws").write_text(
        f'#!/bin/bash\nif [[ " $* " == *" {command} "* ]]; then echo ExpiredToken >&2; exit 254; fi\n'
        f'PATH=${{PATH#*:}} exec aws "$@"\n')
    (folder / "aws").chmod(0o755)
    return {"PATH": f"{folder}:{account.environment['PATH']}"}


def test_a_lost_region_leaves_the_exports(account, checkout, bucket, tmp_path):
    lost = Issuer(account, checkout.deploy_stack("lost"))
    assert works(lost) and lost.log_in()
    # The first exports run when the schedules are created, after the clients.
    checkout.deploy_stack("lost", ExportBucket=bucket)
    s3 = boto3.client("s3")

    def exported():
        keys = [one["Key"] for one in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]
        return len([key for key in keys if key.endswith("manifest-summary.json")]) == 2

    poll(exported)
    kids = {key["kid"]["S"] for key in lost.items("signing-keys")}
    user = next(item["id"] for item in lost.items("principals") if "jane" in item["principal"]["S"])
    lose_everything(account, checkout, lost)

    # It can be repeated: here, what loads the tables is left.
    expiring = failing_at(account, tmp_path, "stack-create-complete")
    interrupted = account.run(ROOT / "scripts/restore-stack", "lost", "--exports", bucket, environment=expiring)
    assert interrupted.returncode == 1 and "ExpiredToken" in interrupted.stderr, end_of(interrupted)
    restored = account.run(ROOT / "scripts/restore-stack", "lost", "--exports", bucket)
    assert restored.returncode == 0, end_of(restored)
    assert account.status("lost-import") == "gone"
    back = Issuer(account, checkout.deploy_stack("lost"))
    back.app, back.service, back.administrator = lost.app, lost.service, lost.administrator
    for policy in back.administrator_policies():
        boto3.client("iam").attach_user_policy(UserName=lost.administrator_name, PolicyArn=policy)
    # The records are the old ones, and the keys, which the lost KMS key had encrypted, are not.
    assert back.verify(back.log_in()["access_token"])["sub"] == user["S"]
    assert works(back)
    assert not kids & {key["kid"] for key in back.get("/.well-known/jwks.json").json()["keys"]}
    faults = doctors_faults(back)
    assert faults and all("is not protected from deletion" in fault for fault in faults), faults


def lose_everything(account, checkout, lost):
    """Deletes a stack and all that it keeps."""
    for policy in lost.administrator_policies():
        boto3.client("iam").detach_user_policy(UserName=lost.administrator_name, PolicyArn=policy)
    deleted = checkout.sam("delete", "--stack-name", lost.stack, "--no-prompts")
    assert deleted.returncode == 0, end_of(deleted)
    for table in ("clients", "principals", "signing-keys", "refresh-families", "attempts"):
        boto3.client("dynamodb").delete_table(TableName=lost.table(table))
    logs = boto3.client("logs")
    for group in logs.describe_log_groups()["logGroups"]:
        if f"/{lost.stack}-" in group["logGroupName"]:
            logs.delete_log_group(logGroupName=group["logGroupName"])


def test_a_bad_deployment_is_rolled_back_by_command(account, checkout, tmp_path):
    """By the commands of docs/operate.md, without a build."""
    stack = checkout.deploy_stack("bad")
    before = Issuer(account, stack)
    assert works(before)
    save, roll_back = (snippet("operate.md", f"aws cloudformation {name}") for name in ("get-template", "deploy"))
    run = functools.partial(account.run, "bash", "-euo", "pipefail", "-c", cwd=tmp_path)
    commands = [text.replace("countersign", stack) for text in (save, roll_back)]
    saved = run(commands[0])
    assert saved.returncode == 0, end_of(saved)

    template = checkout.folder / "template.yaml"
    good = template.read_text()
    bad = good.replace("function:${AWS::StackName}-token\n", "function:${AWS::StackName}-jwks\n")
    assert bad != good
    template.write_text(bad)
    try:
        checkout.deploy_stack(stack)
    finally:
        template.write_text(good)
    assert before.post("/oauth/token", before.service, grant_type="client_credentials").status_code == 404
    rolled_back = run(commands[1])
    assert rolled_back.returncode == 0, end_of(rolled_back)
    assert works(before)


def deployed(api):
    """Returns the id of the deployment that the stage of a REST API serves, which must exist."""
    gateway = boto3.client("apigateway")
    served = gateway.get_stage(restApiId=api, stageName="prod")["deploymentId"]
    return gateway.get_deployment(restApiId=api, deploymentId=served)["id"]


def test_an_issuer_has_its_own_domain_behind_either_front_door(account, checkout):
    certificate = boto3.client("acm").request_certificate(DomainName="login.example.com")["CertificateArn"]
    parameters = {"DomainName": "login.example.com", "CertificateArn": certificate}
    for stack, door in (("domain", "http-api"), ("rest-domain", "rest-api")):
        parameters["DomainName"] = f"{stack}.example.com"
        outputs = account.outputs(checkout.deploy_stack(stack, FrontDoor=door, **parameters))
        assert outputs["Issuer"] == f"https://{stack}.example.com"
        assert f"COUNTERSIGN_ISSUER=https://{stack}.example.com " in outputs["Environment"]
        gateway = boto3.client("apigatewayv2")
        (mapping,) = gateway.get_api_mappings(DomainName=f"{stack}.example.com")["Items"]
        # Without a path: the URL of an issuer with a domain has no stage.
        assert (mapping.get("ApiMappingKey", ""), mapping["Stage"]) == ("", "prod" if door == "rest-api" else "$default")
    # A deployment copies DisableExecuteApiEndpoint.
    api = mapping["ApiId"]
    with_domain = deployed(api)
    checkout.deploy_stack(stack, FrontDoor=door, DomainName='""', CertificateArn='""')
    assert deployed(api) != with_domain


@pytest.mark.parametrize(
    ("parameters", "problem"),
    [
        ({"VpcEndpointIds": "vpce-0a1b2c"}, "VpcEndpointIds needs FrontDoor=rest-api"),
        ({"FrontDoor": "rest-api", "VpcEndpointIds": "vpce-0a1b2c", "DomainName": "a.example.com",
          "CertificateArn": "arn:aws:acm:eu-central-1:000000000000:certificate/a"}, "A private API has no DomainName"),
        ({"FrontDoor": "function-url"}, "FrontDoor"),
        ({"ExportBucket": "Not_A_Bucket"}, "ExportBucket"),
    ],
)
def test_parameters_that_contradict_each_other_are_refused(account, checkout, parameters, problem):
    refused = checkout.try_deploy("--stack-name", "contradiction", **parameters)
    assert refused.returncode != 0 and problem in refused.stdout + refused.stderr, end_of(refused)


def test_a_private_api_is_reached_through_its_endpoints_alone(account, checkout):
    url = account.outputs(checkout.deploy_stack(
        "private", FrontDoor="rest-api", VpcEndpointIds="vpce-0a1b2c,vpce-0d3e4f"))["Issuer"]
    api = boto3.client("apigateway").get_rest_api(restApiId=url.split("/")[2].split(".")[0])
    assert api["endpointConfiguration"]["types"] == ["PRIVATE"]
    assert api["endpointConfiguration"]["vpcEndpointIds"] == ["vpce-0a1b2c", "vpce-0d3e4f"]
    # API Gateway returns the document escaped, as in a text of JSON.
    (statement,) = json.loads(json.loads(f'"{api["policy"]}"'))["Statement"]
    assert statement["Condition"] == {"StringEquals": {"aws:SourceVpce": ["vpce-0a1b2c", "vpce-0d3e4f"]}}


def test_doctor_notices_another_kms_key(account, issuer, second):
    other = {**issuer.variables, "COUNTERSIGN_KMS_KEY_ID": second.variables["COUNTERSIGN_KMS_KEY_ID"]}
    done = account.run(BINARIES / "countersign", "doctor", environment=other)
    assert done.returncode == 1 and "and not by arn:aws:kms" in done.stdout, done.stdout
