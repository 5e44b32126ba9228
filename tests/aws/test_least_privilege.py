"""The real binaries behind the policies of the template: each permission is needed, and none is
missing."""

import json
import subprocess
import time

import pytest
from gate import TABLES, TRANSLATED, allowed_to
from processes import BINARIES, EVENTS, Function, event
from template import resources

DAY = 24 * 3600 * 1000


def test_the_tables_equal_those_that_the_code_creates(database):
    for physical in database.list_tables()["TableNames"]:
        declared = resources(TRANSLATED, "AWS::DynamoDB::Table")[TABLES[physical]]["Properties"]
        created = database.describe_table(TableName=physical)["Table"]
        assert sorted(created["KeySchema"], key=str) == sorted(declared["KeySchema"], key=str), physical
        by_name = [sorted(one["AttributeDefinitions"], key=str) for one in (created, declared)]
        assert by_name[0] == by_name[1], physical
        expiry = database.describe_time_to_live(TableName=physical)["TimeToLiveDescription"]
        wanted = declared.get("TimeToLiveSpecification", {})
        assert expiry.get("AttributeName") == wanted.get("AttributeName"), physical


@pytest.fixture
def ring(database, gated, tmp_path):
    """A ring that KMS wraps: empties the ring that `countersign dev` has made, and has the
    rotate function fill it."""
    table = "countersign-signing-keys"
    for item in database.scan(TableName=table)["Items"]:
        database.delete_item(TableName=table, Key={name: item[name] for name in ("ring", "seq")})
    gate, environment = gated("rotate")
    with Function(tmp_path, "rotate", environment) as rotate:

        def run():
            kind, done = rotate.invoke(event("rotate"))
            assert kind == "response", (done, rotate.output())
            return done

        def activate(seq, ago):
            database.update_item(
                TableName=table,
                Key={"ring": {"S": "issuer"}, "seq": {"N": str(seq)}},
                UpdateExpression="SET activates_at = :at",
                ExpressionAttributeValues={":at": {"N": str(int(time.time() * 1000) - ago)}},
            )

        assert len(run()["created"]) == 2
        yield gate, run, activate


def test_rotate_has_exactly_the_permissions_that_it_uses(ring, database):
    gate, run, activate = ring
    activate(1, 200 * DAY)
    activate(2, 190 * DAY)
    done = run()
    assert len(done["created"]) == len(done["deleted"]) == 1, "key 3 is announced, and key 1 is no longer needed"
    activate(3, DAY)
    assert len(run()["created"]) == 1, "key 4 is announced, and the private half of key 2 is erased"
    assert gate.refused == []
    assert gate.used == allowed_to("rotate", database)


def event_with(name, **tokens):
    request = event(name)
    for placeholder, token in tokens.items():
        request["body"] = request["body"].replace(placeholder, token)
    return request


@pytest.mark.parametrize("name", ["token", "refresh"])
def test_a_signing_function_has_exactly_the_permissions_that_it_uses(name, ring, database, gated, tmp_path):
    gate, environment = gated(name)
    _, outside = gated("token")
    with Function(tmp_path, "token", environment if name == "token" else outside) as token:
        for file in sorted(EVENTS.glob("token-*.json")):
            if "refresh" not in file.stem:
                status, _, login = token.answer(event(file.stem))
                assert status == 200, (login, token.output())
        _, _, login = token.answer(event("token-password"))
        status, _, login = token.answer(event_with("token-refresh-token", REFRESH_TOKEN=login["refresh_token"]))
        assert status == 200, token.output()
    if name == "refresh":
        with Function(tmp_path, "refresh", environment) as refresh:
            status, _, login = refresh.answer(event_with("refresh", REFRESH_TOKEN=login["refresh_token"]))
            assert status == 200, refresh.output()
            for known in (login["access_token"], login["refresh_token"] + "&token_type_hint=refresh_token"):
                assert refresh.answer(event_with("introspect", ACCESS_TOKEN=known))[2]["active"]
            assert refresh.answer(event_with("revoke", REFRESH_TOKEN=login["refresh_token"]))[0] == 200
    assert gate.refused == []
    assert gate.used == allowed_to(name, database)


def test_jwks_has_exactly_the_permissions_that_it_uses(ring, database, gated, tmp_path):
    gate, environment = gated("jwks")
    with Function(tmp_path, "jwks", environment) as jwks:
        for name in ("jwks", "oauth-authorization-server", "openid-configuration"):
            assert jwks.answer(event(name))[0] == 200, jwks.output()
    assert gate.refused == []
    assert gate.used == allowed_to("jwks", database)


def test_a_function_with_the_role_of_another_is_refused(ring, gated, tmp_path):
    gate, environment = gated("jwks")
    with Function(tmp_path, "token", environment) as token:
        assert token.answer(event("token-client-credentials"))[0] == 500
        assert "AccessDeniedException" in token.output()
    assert gate.refused
    gate, environment = gated("rotate")
    with Function(tmp_path, "jwks", {**environment, "RUST_LOG": "debug"}) as jwks:
        assert jwks.answer(event("jwks"))[0] == 200
    assert gate.used == {("dynamodb:Query", "SigningKeysTable")}


@pytest.fixture
def people(gated):
    """Opens a gate for a person. Returns it with the `countersign` program behind it."""

    def open_gate(identity):
        gate, environment = gated(identity)
        # The ring of the running server is no longer that of the table.
        environment.pop("COUNTERSIGN_ISSUER")

        def countersign(line, stdin="", succeeds=True):
            command = [BINARIES / "countersign", "--json", *line.split()]
            done = subprocess.run(command, env=environment, input=stdin, capture_output=True, text=True, timeout=60)
            assert (done.returncode == 0) == succeeds, (line, done.stdout, done.stderr)
            return json.loads(done.stdout) if done.stdout else done.stderr

        return gate, countersign

    return open_gate


def test_an_administrator_has_exactly_the_permissions_that_the_program_uses(ring, database, people):
    gate, countersign = people("an administrator")
    countersign("client create billing --name B --grant client_credentials --scope a --audience https://a.example")
    countersign("client update billing --name Billing")
    countersign("client list")
    countersign("client delete billing --yes")
    countersign("user create bob --brand acme --password-stdin", "a password\n")
    countersign("user update bob --brand acme --role x")
    countersign("user list")
    countersign("user delete bob --brand acme --yes")
    assert gate.refused == []
    assert gate.used == allowed_to("an administrator", database)
    for line in ("key list", "key rotate"):
        assert "AccessDenied" in str(countersign(line, succeeds=False))


def test_a_key_administrator_has_exactly_the_permissions_that_the_program_uses(ring, database, people):
    gate, countersign = people("a key administrator")
    _, _, activate = ring
    activate(1, 200 * DAY)
    activate(2, 190 * DAY)
    assert len(countersign("key rotate")["deleted"]) == 1
    (signing,) = [key["kid"] for key in countersign("key list") if key["state"] == "signing"]
    countersign(f"key withdraw {signing} --force --yes")
    assert gate.refused == []
    assert gate.used == allowed_to("a key administrator", database)
    for line in ("client list", "user list"):
        assert "AccessDenied" in str(countersign(line, succeeds=False))


def test_a_reader_has_exactly_the_permissions_that_the_program_uses(ring, database, people, kms):
    gate, countersign = people("a reader")
    for line in ("client list", "client show demo-app", "user list", "operator list", "key list"):
        countersign(line)
    assert f"{kms.key_id} is enabled" in str(countersign("doctor"))
    kms.client.disable_key(KeyId=kms.key_id)
    try:
        report = countersign("doctor", succeeds=False)
    finally:
        kms.client.enable_key(KeyId=kms.key_id)
    (finding,) = [one for one in report["findings"] if one["check"] == "kms"]
    assert finding["state"] == "broken"
    assert "is Disabled" in finding["found"] and "enable-key" in finding["remedy"]
    assert gate.refused == []
    # Only tables on AWS have backups; scripts/deploy-check runs the program with this permission.
    backups = {("dynamodb:DescribeContinuousBackups", name) for name in TABLES.values()}
    assert gate.used == allowed_to("a reader", database) - backups
    (signing,) = [key["kid"] for key in countersign("key list") if key["state"] == "signing"]
    for line in ("client delete demo-app --yes", f"key withdraw {signing} --force --yes"):
        assert "AccessDenied" in str(countersign(line, succeeds=False))


def schedule_deletion(kms):
    kms.client.schedule_key_deletion(KeyId=kms.key_id, PendingWindowInDays=7)


def cancel_deletion(kms):
    kms.client.cancel_key_deletion(KeyId=kms.key_id)
    kms.client.enable_key(KeyId=kms.key_id)


@pytest.mark.parametrize(
    ("break_key", "mend_key", "state"),
    [
        (lambda kms: kms.client.disable_key(KeyId=kms.key_id), lambda kms: kms.client.enable_key(KeyId=kms.key_id), "Disabled"),
        (schedule_deletion, cancel_deletion, "PendingDeletion"),
    ],
)
def test_rotate_fails_while_the_kms_key_is_not_enabled(break_key, mend_key, state, ring, gated, kms, tmp_path):
    """Although the ring needs no new key: the alarm rings before a caller notices."""
    _, environment = gated("rotate")
    with Function(tmp_path, "rotate", environment) as rotate:
        break_key(kms)
        try:
            kind, _ = rotate.invoke(event("rotate"))
        finally:
            mend_key(kms)
        assert kind == "error"
        assert f"is {state}" in rotate.output()
        assert rotate.invoke(event("rotate"))[0] == "response"
