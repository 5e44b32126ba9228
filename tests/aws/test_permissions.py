"""Least privilege: the exact matrix of permissions, and the rules that every change of it must
keep."""

import pytest
from permissions import document, rows
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
    unlisted = resources(TRANSLATED, "AWS::IAM::Role").keys() - {*roles, "RotationRole", "ExportRole"}
    assert not unlisted, "the matrix does not show these roles"
    apart = resources(TRANSLATED, "AWS::IAM::Policy").values()
    assert all(len(policy["Properties"]["Roles"]) == 1 for policy in apart)
    assert not resources(TRANSLATED, "AWS::IAM::RolePolicy")


def test_nothing_is_allowed_by_wildcard():
    for row in rows(TRANSLATED):
        assert "*" not in row.action, row
        # X-Ray has no resource-level permissions.
        assert row.resource != "*" or row.action.startswith("xray:"), row


def writers(*tables):
    writes = ("Put", "Update", "Delete", "Batch")
    return {
        row.identity
        for row in rows(TRANSLATED)
        if row.resource in tables and row.action.split(":")[1].startswith(writes)
    }


def test_each_table_that_people_write_has_its_own_writers():
    assert writers("ClientsTable", "PrincipalsTable") == {"an administrator"}
    assert writers("SigningKeysTable") == {"rotate", "a key administrator"}
    assert "a reader" not in writers(*resources(TRANSLATED, "AWS::DynamoDB::Table"))


def test_identities_that_make_private_keys_cannot_decrypt_them():
    kms = {(row.identity, row.action, row.condition) for row in rows(TRANSLATED) if row.action.startswith("kms:")}
    assert kms == {
        ("token", "kms:Decrypt", f"ArnEquals lambda:SourceFunctionArn: TokenFunction; {THIS_RING}"),
        ("refresh", "kms:Decrypt", f"ArnEquals lambda:SourceFunctionArn: RefreshFunction; {THIS_RING}"),
        ("rotate", "kms:GenerateDataKeyPairWithoutPlaintext", THIS_RING),
        ("rotate", "kms:DescribeKey", ""),
        ("a key administrator", "kms:GenerateDataKeyPairWithoutPlaintext", THIS_RING),
        ("a reader", "kms:DescribeKey", ""),
    }


@pytest.mark.parametrize("identity", ["jwks", "authorizer", "a key administrator", "a reader"])
def test_an_identity_that_does_not_sign_reads_the_public_attributes_only(identity):
    reads = {
        (row.action, row.condition)
        for row in rows(TRANSLATED)
        if row.identity == identity and row.resource == "SigningKeysTable"
        and row.action in ("dynamodb:Query", "dynamodb:GetItem", "dynamodb:Scan", "dynamodb:BatchGetItem")
    }
    # `doctor` also compares the KMS key with the one that encrypted the private halves.
    attributes = PUBLIC_ATTRIBUTES.replace("erased_at", "erased_at, kms_key") if identity == "a reader" else PUBLIC_ATTRIBUTES
    assert reads == {("dynamodb:Query", attributes)}


@pytest.mark.parametrize(
    ("narrow", "wide"),
    [
        ("Action: [dynamodb:GetItem]", "Action: [dynamodb:GetItem, dynamodb:PutItem]"),
        ("Action: kms:Decrypt\n            Resource: !GetAtt WrappingKey.Arn", 'Action: kms:Decrypt\n            Resource: "*"'),
        ("                lambda:SourceFunctionArn: !GetAtt TokenFunction.Arn\n", "                lambda:SourceFunctionArn: '*'\n"),
        ("                    dynamodb:Select: SPECIFIC_ATTRIBUTES\n", "                    dynamodb:Select: ALL_ATTRIBUTES\n"),
    ],
)
def test_a_wider_permission_is_noticed(narrow, wide):
    assert narrow in TEXT
    assert document(translate(TEXT.replace(narrow, wide, 1))) != (ROOT / "docs/permissions.md").read_text()
