"""Everything that the template allows anybody, as rows of who, action, resource and condition."""

import re
from typing import NamedTuple

import template


class Row(NamedTuple):
    who: str
    action: str
    resource: str
    condition: str


def statements(translated):
    """Who and a statement: functions in the order of the template, the schedule, administrators."""
    for name, function in template.functions(translated).items():
        role = translated["Resources"][function["Properties"]["Role"]["Fn::GetAtt"][0]]
        yield from ((name, statement) for statement in of_role(role))
    for schedule in template.resources(translated, "AWS::Scheduler::Schedule").values():
        role = translated["Resources"][schedule["Properties"]["Target"]["RoleArn"]["Fn::GetAtt"][0]]
        yield from (("the schedule", statement) for statement in of_role(role))
    for policy in template.resources(translated, "AWS::IAM::ManagedPolicy").values():
        document = policy["Properties"]["PolicyDocument"]
        yield from (("an administrator", statement) for statement in document["Statement"])


def of_role(role):
    properties = role["Properties"]
    assert "ManagedPolicyArns" not in properties, "what a managed policy allows is not spelled out"
    return [one for policy in properties["Policies"] for one in policy["PolicyDocument"]["Statement"]]


def rows(translated):
    """What identities may do."""
    for who, statement in statements(translated):
        assert statement["Effect"] == "Allow" and not {"NotAction", "NotResource"} & statement.keys(), statement
        for action in listed(statement["Action"]):
            for resource in listed(statement["Resource"]):
                yield Row(who, action, spelled(resource), conditions(statement))


def key_policy_rows(translated):
    """What the KMS key allows, to whom the account's IAM allows it too."""
    (key,) = template.resources(translated, "AWS::KMS::Key").values()
    for statement in key["Properties"]["KeyPolicy"]["Statement"]:
        assert statement["Effect"] == "Allow" and statement["Resource"] == "*", statement
        for action in listed(statement["Action"]):
            yield Row(spelled(statement["Principal"]["AWS"]), action, "WrappingKey", conditions(statement))


def invocation_rows(translated):
    """Who may invoke a function."""
    for permission in template.resources(translated, "AWS::Lambda::Permission").values():
        properties = permission["Properties"]
        yield Row(
            properties["Principal"],
            properties["Action"],
            properties["FunctionName"]["Ref"],
            f"aws:SourceArn like {spelled(properties['SourceArn'])}",
        )


def listed(value):
    return value if isinstance(value, list) else [value]


def spelled(value):
    """A reference by the resource's name in the template; account, region and partition are not told apart."""
    match value:
        case {"Fn::GetAtt": [name, "Arn"]} | {"Ref": name}:
            return name
        case {"Fn::Sub": text}:
            return re.sub(r"\$\{AWS::\w+\}", "…", text)
        case str():
            return value
    raise AssertionError(f"a new way of naming a resource: {value}")


def conditions(statement):
    told = []
    for operator, pairs in statement.get("Condition", {}).items():
        for key, value in pairs.items():
            told.append(f"{operator} {key}: {', '.join(spelled(one) for one in listed(value))}")
    return "; ".join(told)


HEAD = """\
# Permissions

`tests/aws/permissions.py` generates this page from `template.yaml` as CloudFormation receives it. `scripts/aws-check` fails
if the two differ. After an intended change, run:

```
PYTHONPATH=tests/aws target/aws/venv/bin/python tests/aws/permissions.py >docs/permissions.md
```

Resources have their names from the template. A function's role has nothing else: no managed policy, and no permission
beyond this table.
"""

KEY_POLICY = """
## The KMS key

The key's policy applies together with IAM: an action needs both. Only the roles below the path `${Prefix}signers/`, those
of `token` and `refresh`, may decrypt, whatever else IAM allows.
"""

INVOCATIONS = """
## Who may invoke a function

The schedule above, every principal that the account's IAM allows `lambda:InvokeFunction`, and:
"""


def table(found):
    lines = ["", "| who | action | resource | condition |", "|---|---|---|---|"]
    lines += [f"| {row.who} | `{row.action}` | {row.resource.replace('*', chr(92) + '*')} | {row.condition} |" for row in found]
    return "\n".join(lines) + "\n"


def document(translated):
    """docs/permissions.md."""
    return (HEAD + table(rows(translated)) + KEY_POLICY + table(key_policy_rows(translated)) + INVOCATIONS
            + table(invocation_rows(translated)))


if __name__ == "__main__":
    print(document(template.translate(template.TEXT)), end="")
