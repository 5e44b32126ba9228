"""A new stack is an issuer, behind either front door: first keys, administration, every grant, and
what the functions and the administrator may not do."""

import json

import boto3
import pytest
from botocore.exceptions import ClientError
from issuer import PASSWORD, doctors_faults


@pytest.fixture(scope="module", params=["http_issuer", "rest_issuer"], ids=["http-api", "rest-api"])
def issuer(request):
    return request.getfixturevalue(request.param)


def test_the_schedule_creates_the_first_keys(issuer):
    assert len(issuer.first_keys()) == 2


def test_doctor_finds_no_fault(issuer):
    issuer.first_keys()
    assert doctors_faults(issuer) == []


def test_it_publishes_its_metadata_and_its_keys(issuer):
    keys = {key["kid"]["S"] for key in issuer.first_keys()}
    published = issuer.get("/.well-known/jwks.json")
    assert published.status_code == 200, f"jwks.json: {published.text}"
    assert {key["kid"] for key in published.json()["keys"]} == keys
    assert "max-age=900" in published.headers["cache-control"]
    for name in ("oauth-authorization-server", "openid-configuration"):
        metadata = issuer.get(f"/.well-known/{name}")
        assert metadata.status_code == 200, f"{name}: {metadata.text}"
        assert metadata.json()["issuer"] == issuer.url
        assert metadata.json()["token_endpoint"] == issuer.url + "/oauth/token"


def test_a_service_gets_a_token(issuer):
    granted = issuer.granted(issuer.service, "client_credentials")
    claims = issuer.verify(granted["access_token"])
    assert (claims["iss"], claims["sub"], claims["roles"]) == (issuer.url, "service", ["voice-admin"])


@pytest.mark.parametrize(("grant", "username"), [("password", "jane"), ("operator_password", "alice")])
def test_people_log_in(issuer, grant, username):
    granted = issuer.granted(issuer.app, grant, username=username, password=PASSWORD, brandKey="acme")
    claims = issuer.verify(granted["access_token"])
    assert (claims["brandKey"], claims["client_id"], claims["roles"]) == ("acme", "app", ["subscriber"])


@pytest.mark.parametrize("path", ["/oauth/token", "/oauth/refresh"])
def test_a_session_is_refreshed(issuer, path):
    session = issuer.log_in()
    form = {"grant_type": "refresh_token", "refresh_token": session["refresh_token"]}
    refreshed = issuer.post(path, issuer.app, **form)
    assert refreshed.status_code == 200, f"{path}: {refreshed.text}"
    before, after = (issuer.verify(one["access_token"]) for one in (session, refreshed.json()))
    assert before["sub"] == after["sub"] and before["jti"] != after["jti"]


def test_an_access_token_is_introspected(issuer):
    access_token = issuer.log_in()["access_token"]
    introspected = issuer.post("/oauth/introspect", issuer.app, token=access_token)
    assert introspected.status_code == 200, f"introspect: {introspected.text}"
    assert introspected.json()["active"] is True and introspected.json()["client_id"] == "app"


def test_a_revoked_session_ends(issuer):
    refresh_token = issuer.log_in()["refresh_token"]
    introspect = {"token": refresh_token, "token_type_hint": "refresh_token"}
    before = issuer.post("/oauth/introspect", issuer.app, **introspect)
    assert before.status_code == 200 and before.json()["active"] is True, before.text
    revoked = issuer.post("/oauth/revoke", issuer.app, token=refresh_token)
    assert revoked.status_code == 200, f"revoke: {revoked.text}"
    assert issuer.post("/oauth/introspect", issuer.app, **introspect).json() == {"active": False}
    refused = issuer.post("/oauth/refresh", issuer.app, grant_type="refresh_token", refresh_token=refresh_token)
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")


def test_a_stolen_refresh_token_ends_the_session(issuer):
    stolen = issuer.log_in()["refresh_token"]
    refresh = {"grant_type": "refresh_token", "refresh_token": stolen}
    current = issuer.post("/oauth/refresh", issuer.app, **refresh).json()["refresh_token"]
    # Dates every rotation back to before the grace period.
    database = boto3.client("dynamodb")
    for item in issuer.items("refresh-families"):
        database.put_item(TableName=issuer.table("refresh-families"), Item={**item, "rotated_at": {"N": "0"}})
    for token in (stolen, current):
        refused = issuer.post("/oauth/refresh", issuer.app, grant_type="refresh_token", refresh_token=token)
        assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant"), refused.text


def test_wrong_requests_are_refused_by_the_endpoint_itself(issuer):
    wrong = issuer.post("/oauth/token", (issuer.service[0], "csgn_wrong"), grant_type="client_credentials")
    assert (wrong.status_code, wrong.json()["error"]) == (401, "invalid_client")
    # A REST API renames the challenge, as docs/deploy.md says.
    challenge = "x-amzn-remapped-www-authenticate" if issuer.url.endswith("/prod") else "www-authenticate"
    assert wrong.headers[challenge].startswith("Basic")
    assert issuer.get("/oauth/token").status_code == 405
    assert issuer.get("/nowhere").status_code in (403, 404)


# ── Permissions: the emulator enforces them, so these must fail ──


def refusal(call, **arguments):
    """Returns the code with which AWS refuses a call, or None."""
    try:
        call(**arguments)
    except ClientError as error:
        return error.response["Error"]["Code"]
    return None


def as_user(service, credentials):
    return boto3.client(
        service,
        aws_access_key_id=credentials["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=credentials["AWS_SECRET_ACCESS_KEY"],
    )


def test_an_administrator_may_do_no_more_than_administer(issuer):
    database = as_user("dynamodb", issuer.administrator)
    assert refusal(database.scan, TableName=issuer.table("clients")) is None
    for call, arguments in (
        (database.scan, {"TableName": issuer.table("refresh-families")}),
        (database.delete_table, {"TableName": issuer.table("clients")}),
        (database.update_table, {"TableName": issuer.table("clients"), "DeletionProtectionEnabled": False}),
    ):
        assert refusal(call, **arguments) == "AccessDeniedException", arguments


def test_no_other_identity_can_decrypt_a_signing_key(issuer):
    iam = boto3.client("iam")
    name = f"{issuer.stack}-everything"
    iam.create_user(UserName=name)
    everything = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    iam.put_user_policy(UserName=name, PolicyName="everything", PolicyDocument=json.dumps(everything))
    key = iam.create_access_key(UserName=name)["AccessKey"]
    credentials = {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
    kms = as_user("kms", credentials)
    assert refusal(kms.describe_key, KeyId=issuer.variables["COUNTERSIGN_KMS_KEY_ID"]) is None
    signing_key = issuer.first_keys()[0]
    context = {"product": "countersign", "table": issuer.table("signing-keys"), "seq": signing_key["seq"]["N"]}
    refused = refusal(kms.decrypt, CiphertextBlob=signing_key["wrapped"]["B"], EncryptionContext=context)
    assert refused == "AccessDeniedException", refused or "decrypted"
