"""Least privilege: the exact matrix of permissions, and the rules that every change of it must
keep."""

import pytest
from permissions import document, key_policy_rows, rows
from template import ROOT, TEXT, functions, resources, translate

TRANSLATED = translate(TEXT)
PUBLIC_ATTRIBUTES = (
    "ForAllValues:StringEquals dynamodb:Attributes: ring, seq, kid, jwk, announced_at, known_at, activates_at, "
    "longest_access, longest_refresh, withdrawn_at, erased_at; StringEquals dynamodb:Select: SPECIFIC_ATTRIBUTES"
)
THIS_RING = (
    "StringEquals kms:EncryptionContext:product: countersign; "
    "StringEquals kms:EncryptionContext:table: SigningKeysTable"
)


def test_the_matrix_equals_the_published_page():
    assert document(TRANSLATED) == (ROOT / "docs/permissions.md").read_text()


def test_every_function_has_its_own_role():
    roles = [function["Properties"]["Role"]["Fn::GetAtt"][0] for function in functions(TRANSLATED).values()]
    assert sorted(functions(TRANSLATED)) == ["authorizer", "jwks", "refresh", "rotate", "token"]
    assert len(set(roles)) == len(roles)
    unlisted = resources(TRANSLATED, "AWS::IAM::Role").keys() - {*roles, "RotationRole"}
    assert not unlisted, "the matrix does not show these roles"
    assert not resources(TRANSLATED, "AWS::IAM::Policy") and not resources(TRANSLATED, "AWS::IAM::RolePolicy")


def test_nothing_is_allowed_by_wildcard():
    for row in rows(TRANSLATED):
        assert "*" not in row.action, row
        # X-Ray has no resource-level permissions.
        assert row.resource != "*" or row.action.startswith("xray:"), row


def test_only_an_administrator_writes_clients_and_principals():
    writers = {
        row.identity
        for row in rows(TRANSLATED)
        if row.resource in ("ClientsTable", "PrincipalsTable") and row.action.split(":")[1].startswith(("Put", "Update", "Delete", "Batch"))
    }
    assert writers == {"an administrator"}


def test_identities_that_make_private_keys_cannot_decrypt_them():
    kms = {(row.identity, row.action, row.condition) for row in rows(TRANSLATED) if row.action.startswith("kms:")}
    assert kms == {
        ("token", "kms:Decrypt", THIS_RING),
        ("refresh", "kms:Decrypt", THIS_RING),
        ("rotate", "kms:GenerateDataKeyPairWithoutPlaintext", THIS_RING),
        ("an administrator", "kms:GenerateDataKeyPairWithoutPlaintext", THIS_RING),
        ("an administrator", "kms:DescribeKey", ""),
    }
    (decrypt,) = [row for row in key_policy_rows(TRANSLATED) if row.action == "kms:Decrypt"]
    assert decrypt.condition == f"ArnLike aws:PrincipalArn: arn:…:iam::…:role/${{Prefix}}signers/*; {THIS_RING}"
    signers = {name for name, role in resources(TRANSLATED, "AWS::IAM::Role").items()
               if role["Properties"].get("Path") == {"Fn::Sub": "/${Prefix}signers/"}}
    assert signers == {"TokenRole", "RefreshRole"}


@pytest.mark.parametrize("function", ["jwks", "authorizer"])
def test_a_function_that_only_publishes_keys_reads_the_public_attributes_only(function):
    on_keys = [row for row in rows(TRANSLATED) if row.identity == function and row.resource == "SigningKeysTable"]
    assert [(row.action, row.condition) for row in on_keys] == [("dynamodb:Query", PUBLIC_ATTRIBUTES)]


@pytest.mark.parametrize(
    ("narrow", "wide"),
    [
        ("Action: [dynamodb:GetItem]", "Action: [dynamodb:GetItem, dynamodb:PutItem]"),
        ("Action: kms:Decrypt\n                Resource: !GetAtt WrappingKey.Arn", 'Action: kms:Decrypt\n                Resource: "*"'),
        ("                    dynamodb:Select: SPECIFIC_ATTRIBUTES\n", "                    dynamodb:Select: ALL_ATTRIBUTES\n"),
    ],
)
def test_a_wider_permission_is_noticed(narrow, wide):
    assert narrow in TEXT
    assert document(translate(TEXT.replace(narrow, wide, 1))) != (ROOT / "docs/permissions.md").read_text()
