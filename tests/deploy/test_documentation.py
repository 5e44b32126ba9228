"""docs/deploy.md, followed to the letter by a new user: from the first deployment to a token, to its
protection, to an update, to its deletion and back."""

import os
import re

import boto3
import pytest
from account import BINARIES, REGION, ROOT, Checkout, end_of
from issuer import snippet

STACK = "login"


@pytest.fixture(scope="module")
def clone(account, tmp_path_factory):
    """A clone of this user's own, because `sam deploy --guided` writes into it."""
    clone = Checkout(account, tmp_path_factory.mktemp("clone"))
    (clone.folder / "scripts").symlink_to(ROOT / "scripts")
    return clone


@pytest.fixture(scope="module")
def answers(clone):
    """Returns what the user answers to `sam deploy --guided`: a name for the stack, and every default but
    those that are given."""
    parameters = (clone.folder / "template.yaml").read_text().partition("\nParameters:\n")[2].partition("\nRules:\n")[0]
    names = re.findall(r"(?m)^  (\w+):$", parameters)

    def answer(**given):
        # Confirm changes, roles, rollback; the configuration's file and section; then the change set.
        return "\n".join([STACK, REGION, *(given.get(name, "") for name in names), *[""] * 6, "y"]) + "\n"

    return answer


def parameters(*names):
    """Returns the values that parameters of the stack have now."""
    (described,) = boto3.client("cloudformation").describe_stacks(StackName=STACK)["Stacks"]
    values = {one["ParameterKey"]: one["ParameterValue"] for one in described["Parameters"]}
    return [values[name] for name in names]


def shell(account, clone, script, stdin=""):
    """Runs commands of the page in a user's shell."""
    environment = {
        **{name: value for name, value in account.environment.items() if not name.startswith("AWS_")},
        "AWS_CA_BUNDLE": account.environment["AWS_CA_BUNDLE"],
        "CURL_CA_BUNDLE": account.environment["AWS_CA_BUNDLE"],
        "AWS_CONFIG_FILE": str(clone.folder / "aws-config"),
        "PATH": f"{BINARIES}:{os.path.dirname(os.environ['SAM'])}:{account.environment['PATH']}",
        "SAM_CLI_TELEMETRY": "0",
    }
    return account.run("bash", "-euo", "pipefail", "-c", script, only=environment, cwd=clone.folder, input=stdin)


def test_from_the_first_deployment_to_a_token(account, clone, answers):
    iam = boto3.client("iam")
    iam.create_user(UserName="operator")
    everything = '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}'
    iam.put_user_policy(UserName="operator", PolicyName="everything", PolicyDocument=everything)
    key = iam.create_access_key(UserName="operator")["AccessKey"]
    profile = f"aws_access_key_id = {key['AccessKeyId']}\naws_secret_access_key = {key['SecretAccessKey']}\n"
    (clone.folder / "aws-config").write_text(f"[default]\n{profile}[profile admin]\n{profile}")

    build, deploy = snippet("deploy.md", "sam build").splitlines()
    assert build == "sam build"
    deployed = shell(account, clone, deploy, answers())
    assert deployed.returncode == 0, end_of(deployed)
    assert f"Successfully created/updated stack - {STACK} in {REGION}" in deployed.stdout

    commands = snippet("deploy.md", 'eval "$(aws cloudformation describe-stacks ')
    commands = commands.replace("--stack-name countersign", f"--stack-name {STACK}")
    commands, request = commands.split("\ncurl ")
    environment = commands.partition("\ncountersign")[0]
    # "within about a minute"
    doctor = f"countersign doctor --profile admin --region {REGION}"
    ready = shell(account, clone, f"{environment}\nfor _ in {{1..60}}; do {doctor} && exit; sleep 1; done\nexit 1")
    assert ready.returncode == 0, end_of(ready)
    done = shell(account, clone, commands)
    assert done.returncode == 0, end_of(done)
    secret = re.search(r"csgn_[\w-]+", done.stdout)[0]
    ask = f"{environment}\ncurl -sS {request.replace('csgn_…', secret)}"
    token = shell(account, clone, ask)
    assert '"access_token":' in token.stdout, end_of(token)

    # "Then protect the tables"
    protected = shell(account, clone, deploy, answers(DeletionProtection="on"))
    assert protected.returncode == 0, end_of(protected)
    table = boto3.client("dynamodb").describe_table(TableName=f"{STACK}-clients")["Table"]
    assert table["DeletionProtectionEnabled"]

    # "One client floods the issuer", in operate.md
    change = snippet("operate.md", "aws cloudformation update-stack").replace("--stack-name countersign", f"--stack-name {STACK}")
    changed = shell(account, clone, f"export AWS_DEFAULT_REGION={REGION}\n{change}")
    assert changed.returncode == 0 and account.status(STACK) == "UPDATE_COMPLETE", end_of(changed)
    assert parameters("RateLimit", "RefreshConcurrency", "JwksConcurrency") == ["100", "50", "20"]
    assert parameters("DeletionProtection", "BurstLimit") == ["on", "1000"], "the others keep their values"

    # "To change a parameter": the answers are in samconfig.toml by now.
    clear = re.search(r"`(sam deploy --parameter-overrides [^`]+)`", (ROOT / "docs/deploy.md").read_text())[1]
    cleared = shell(account, clone, clear, "y\n")
    assert "No changes to deploy" in cleared.stderr, end_of(cleared)  # They are empty, and the others keep their values.
    assert parameters("RateLimit", "DeletionProtection") == ["100", "on"]

    # "Updating and deleting"
    template = clone.folder / "template.yaml"
    template.write_text(template.read_text().replace("MemorySize: 512", "MemorySize: 640"))
    updated = shell(account, clone, "sam deploy", "y\n")
    assert updated.returncode == 0 and "UPDATE_COMPLETE" in updated.stdout, end_of(updated)
    assert parameters("RateLimit", "RefreshConcurrency", "DeletionProtection") == ["500", "0", "on"], "those of samconfig.toml"
    assert '"access_token":' in shell(account, clone, ask).stdout
    deleted = shell(account, clone, "sam delete", "y\ny\ny\n")
    assert deleted.returncode == 0 and account.status(STACK) == "gone", end_of(deleted)

    # "Bringing a deleted issuer back"
    restore, again = snippet("deploy.md", "AWS_DEFAULT_REGION=eu-central-1 scripts/restore-stack").splitlines()
    restored = shell(account, clone, restore.replace("stack countersign", f"stack {STACK}"))
    assert restored.returncode == 0, end_of(restored)
    assert again == "sam deploy"
    deployed = shell(account, clone, again, "y\n")
    assert deployed.returncode == 0, end_of(deployed)
    assert '"access_token":' in shell(account, clone, ask).stdout, "the client and the keys are the old ones"
