"""All permissions of the template, as rows of identity, action, resource and condition."""

import re
from typing import NamedTuple

import template


class Row(NamedTuple):
    identity: str
    action: str
    resource: str
    condition: str


# People's policies, by their names in the template.
PEOPLE = {
    "AdministratorPolicy": "an administrator",
    "KeyAdministratorPolicy": "a key administrator",
    "ReaderPolicy": "a reader",
}
# The identities of schedules, by their names in the template.
SCHEDULES = {
    "Rotation": "the rotation's schedule",
    "ClientsExport": "the exports, if there is an ExportBucket",
    "PrincipalsExport": "the exports, if there is an ExportBucket",
}


def statements(translated):
    """Yields each identity with a statement: functions in the order of the template, schedules,
    people."""
    for name, function in template.functions(translated).items():
        yield from statements_of_role(translated, name, function["Properties"]["Role"])
    # Two schedules may share a role.
    schedules = template.resources(translated, "AWS::Scheduler::Schedule").items()
    roles = {SCHEDULES[name]: schedule["Properties"]["Target"]["RoleArn"] for name, schedule in schedules}
    for identity, role in roles.items():
        yield from statements_of_role(translated, identity, role)
    for name, policy in template.resources(translated, "AWS::IAM::ManagedPolicy").items():
        yield from ((PEOPLE[name], one) for one in policy["Properties"]["PolicyDocument"]["Statement"])


def statements_of_role(translated, identity, reference):
    """Yields an identity with each statement of its role: of the role itself, and of policies that
    stand apart."""
    role = reference["Fn::GetAtt"][0]
    properties = translated["Resources"][role]["Properties"]
    assert "ManagedPolicyArns" not in properties, "the matrix cannot show what a managed policy allows"
    apart = template.resources(translated, "AWS::IAM::Policy").values()
    policies = properties["Policies"] + [
        policy["Properties"] for policy in apart if {"Ref": role} in policy["Properties"]["Roles"]]
    yield from ((identity, one) for policy in policies for one in policy["PolicyDocument"]["Statement"])


def rows(translated):
    """Yields the permissions of identities."""
    for identity, statement in statements(translated):
        assert statement["Effect"] == "Allow" and not {"NotAction", "NotResource"} & statement.keys(), statement
        for action in as_list(statement["Action"]):
            for resource in as_list(statement["Resource"]):
                yield Row(identity, action, resource_name(resource), conditions(statement))


def key_policy(translated):
    """Returns the statements of the KMS key's policy."""
    (key,) = template.resources(translated, "AWS::KMS::Key").values()
    return key["Properties"]["KeyPolicy"]["Statement"]


def key_policy_rows(translated, effect):
    """Yields what the KMS key's policy allows or denies. IAM must grant as well what it allows."""
    for statement in key_policy(translated):
        assert statement["Effect"] in ("Allow", "Deny") and statement["Resource"] == "*", statement
        if statement["Effect"] == effect:
            for action in as_list(statement["Action"]):
                principal = resource_name(statement["Principal"]["AWS"])
                yield Row(principal, action, "WrappingKey", conditions(statement))


def invocation_rows(translated):
    """Yields the permissions to invoke a function."""
    for permission in template.resources(translated, "AWS::Lambda::Permission").values():
        properties = permission["Properties"]
        yield Row(
            properties["Principal"],
            properties["Action"],
            properties["FunctionName"]["Ref"],
            f"aws:SourceArn like {resource_name(properties['SourceArn'])}",
        )


def as_list(value):
    return value if isinstance(value, list) else [value]


def resource_name(value):
    """Returns a reference as the resource's name in the template, without account, region and
    partition."""
    match value:
        case {"Fn::GetAtt": [name, "Arn"]} | {"Ref": name}:
            return name
        case {"Fn::Sub": [text, _]} | {"Fn::Sub": text}:
            return re.sub(r"\$\{AWS::\w+\}", "…", re.sub(r"\$\{(\w+)\.Arn\}", r"\1", text))
        case str():
            return value
    raise AssertionError(f"an unknown kind of reference to a resource: {value}")


def conditions(statement):
    found = []
    for operator, pairs in statement.get("Condition", {}).items():
        for key, value in pairs.items():
            found.append(f"{operator} {key}: {', '.join(resource_name(one) for one in as_list(value))}")
    return "; ".join(found)


HEAD = """\
# Permissions

`tests/aws/permissions.py` generates this page from `template.yaml` as CloudFormation receives it. `scripts/aws-check` fails
if the two differ. After an intended change, run:

```
PYTHONPATH=tests/aws target/venvs/aws/bin/python tests/aws/permissions.py >docs/permissions.md
```

Resources have their names from the template. A function's role has nothing else: no managed policy, and no permission
beyond this table. People have a policy for each task, and can have several.
"""

KEY_POLICY = """
## The KMS key

The key's policy applies together with IAM: an action needs both.
"""

DENIED = """
It denies, to administrators too:
"""

LIMITS = """
So the roles of `token` and `refresh` alone may decrypt, whatever else IAM allows, and only from their own function
(`lambda:SourceFunctionArn`). This is a boundary for everybody who cannot change it. Somebody who may change the key's policy, a
role of the two, or the code or configuration of their functions can still get at the private keys, and somebody who may write
the `signing-keys` table needs none of them: a key of their own will do. [SECURITY.md](../SECURITY.md#assets-and-attackers) says
what remains, and [operate.md](operate.md#has-somebody-changed-who-may-sign) lists the CloudTrail events of each of these ways.
"""

INVOCATIONS = """
## Who may invoke a function

The rotation's schedule above, every principal that the account's IAM allows `lambda:InvokeFunction`, and API Gateway, where
`${Door}` is the id of the stack's API, be it an HTTP API or a REST API:
"""


def table(found):
    lines = ["", "| who | action | resource | condition |", "|---|---|---|---|"]
    lines += [f"| {row.identity.replace('*', chr(92) + '*')} | `{row.action}` | {row.resource.replace('*', chr(92) + '*')} | {row.condition} |" for row in found]
    return "\n".join(lines) + "\n"


def document(translated):
    """Returns the text of docs/permissions.md."""
    allowed, denied = key_policy_rows(translated, "Allow"), key_policy_rows(translated, "Deny")
    return (HEAD + table(rows(translated)) + KEY_POLICY + table(allowed) + DENIED + table(denied) + LIMITS
            + INVOCATIONS + table(invocation_rows(translated)))


if __name__ == "__main__":
    print(document(template.translate(template.TEXT)), end="")
