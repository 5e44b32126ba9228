"""The KMS key's policy against people and roles of the account, by the IAM rules of ministack."""

import re

import boto3
import pytest
from ministack.core import iam_evaluator
from permissions import key_policy, statements
from template import TEXT, translate

TRANSLATED = translate(TEXT)
ACCOUNT = "111122223333"
ROLES = f"arn:aws:iam::{ACCOUNT}:role"
KEY = f"arn:aws:kms:eu-central-1:{ACCOUNT}:key/1234abcd"
THIS_RING = {"kms:encryptioncontext:product": "countersign", "kms:encryptioncontext:table": "SigningKeysTable"}

ADMINISTRATION = {
    "DescribeKey", "GetKeyPolicy", "GetKeyRotationStatus", "ListGrants", "ListKeyPolicies", "ListKeyRotations",
    "ListResourceTags", "PutKeyPolicy", "RevokeGrant", "EnableKey", "DisableKey", "ScheduleKeyDeletion",
    "CancelKeyDeletion", "EnableKeyRotation", "DisableKeyRotation", "RotateKeyOnDemand", "UpdateKeyDescription",
    "CreateAlias", "UpdateAlias", "DeleteAlias", "TagResource", "UntagResource",
}


def physical(value):
    """Resolves references: a role, a function and the key to an ARN, a table to its name here."""
    match value:
        case {"Fn::GetAtt": ["WrappingKey", "Arn"]}:
            return KEY
        case {"Fn::GetAtt": [name, "Arn"]} if name.endswith("Role"):
            return f"{ROLES}/{name}"
        case {"Fn::GetAtt": [name, "Arn"]} if name.endswith("Function"):
            return source_function(name)
        case {"Ref": name}:
            return name
        case {"Fn::Sub": text}:
            known = {"AWS::Partition": "aws", "AWS::AccountId": ACCOUNT, "AWS::StackName": "countersign"}
            return re.sub(r"\$\{([\w:]+)\}", lambda name: known[name[1]], text)
        case dict():
            return {key: physical(one) for key, one in value.items()}
        case list():
            return [physical(one) for one in value]
    return value


def source_function(name):
    return f"arn:aws:lambda:eu-central-1:{ACCOUNT}:function:{name}"


def decide(principal, action, identity_policy, **context):
    """Returns the decision about a call to KMS by a principal that its IAM policy lets do so."""
    call = iam_evaluator.EvalContext(
        principal_arn=principal, principal_type="AssumedRole", principal_account=ACCOUNT, action=f"kms:{action}",
        resource_arn=KEY, region="eu-central-1", service_context={**THIS_RING, **context},
    )
    policy = iam_evaluator.parse_policy_document({"Statement": physical(identity_policy)})
    identity = iam_evaluator.evaluate(call, [policy])
    on_key = {"Statement": physical(key_policy(TRANSLATED))}
    return iam_evaluator.combine_resource_policy(identity, call, on_key, ACCOUNT, required=True).decision


EVERYTHING = [{"Effect": "Allow", "Action": "kms:*", "Resource": "*"}]


def operations():
    """Returns every action of KMS. ReEncrypt is two: from the key and to the key."""
    kms = boto3.client("kms", region_name="eu-central-1", aws_access_key_id="none", aws_secret_access_key="none")
    return {*kms.meta.service_model.operation_names, "ReEncryptFrom", "ReEncryptTo"} - {"ReEncrypt"}


@pytest.mark.parametrize(
    "principal", [f"arn:aws:iam::{ACCOUNT}:user/administrator", f"{ROLES}/countersign-signers/new", f"{ROLES}/RotateRole"]
)
def test_an_identity_that_iam_lets_do_everything_administers_the_key_and_opens_nothing(principal):
    allowed = {action for action in operations() if decide(principal, action, EVERYTHING) == "Allow"}
    assert allowed == ADMINISTRATION | {"GenerateDataKeyPairWithoutPlaintext"}
    # A grant would overrule a missing Allow, and does not overrule a Deny.
    for action in ("Decrypt", "ReEncryptFrom", "ReEncryptTo", "CreateGrant"):
        assert decide(principal, action, EVERYTHING) == "Deny", action


@pytest.mark.parametrize(("identity", "name"), [("token", "Token"), ("refresh", "Refresh")])
def test_a_signing_role_decrypts_signing_keys_in_its_own_function_only(identity, name):
    role = f"{ROLES}/{name}Role"
    policy = [one for owner, one in statements(TRANSLATED) if owner == identity]
    own = {"lambda:sourcefunctionarn": source_function(f"{name}Function")}
    assert decide(role, "Decrypt", policy, **own) == "Allow"
    assert decide(f"{ROLES}/OtherRole", "Decrypt", policy, **own) == "Deny"
    for elsewhere in (
        {},
        {"lambda:sourcefunctionarn": source_function("Other")},
        {**own, "kms:encryptioncontext:table": "OtherTable"},
        {**own, "kms:encryptioncontext:product": "other"},
    ):
        assert decide(role, "Decrypt", policy, **elsewhere) == "ImplicitDeny", elsewhere
    for action in operations() - {"Decrypt"}:
        assert decide(role, action, policy, **own) != "Allow", action
    assert decide(role, "CreateGrant", EVERYTHING, **own) == "Deny"
