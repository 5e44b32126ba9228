"""A deployed issuer, as operators, clients and verifiers meet it."""

import functools
import json
import re

import boto3
import jwt
from account import BINARIES, ROOT, poll

AUDIENCE = "https://api.example.com"
PASSWORD = "correct horse battery staple"


def snippet(page, start):
    """Returns the code block of a page of the documentation that starts like this, or whose fence
    ends like this."""
    text = (ROOT / "docs" / page).read_text()
    blocks = re.findall(r"^```(.*)\n((?s:.*?))^```$", text, re.M)
    (found,) = [code for fence, code in blocks if fence.endswith(start) or code.startswith(start)]
    return found


def doctors_faults(issuer):
    """Returns what `countersign doctor` finds wrong."""
    findings = json.loads(issuer.countersign("doctor").stdout)["findings"]
    return [finding["found"] for finding in findings if finding["state"] != "ok"]


class Issuer:
    """The issuer of a stack. It has clients and people after the first access to them."""

    def __init__(self, account, stack):
        self.account, self.stack = account, stack
        self.outputs = account.outputs(stack)
        self.url = self.outputs["Issuer"]
        self.variables = dict(one.split("=", 1) for one in self.outputs["Environment"].split()[1:])
        self.prefix = self.variables["COUNTERSIGN_TABLE_PREFIX"]

    # ── The administrator ──

    @functools.cached_property
    def administrator(self):
        """The credentials of an IAM user who has the published policies and nothing else."""
        iam = boto3.client("iam")
        self.administrator_name = f"{self.stack}-administrator"
        iam.create_user(UserName=self.administrator_name)
        for arn in self.administrator_policies():
            iam.attach_user_policy(UserName=self.administrator_name, PolicyArn=arn)
        key = iam.create_access_key(UserName=self.administrator_name)["AccessKey"]
        return {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}

    def administrator_policies(self):
        return [arn for name, arn in self.outputs.items() if name.endswith("PolicyArn")]

    def countersign(self, *arguments, stdin=None, **variables):
        """Runs the program as the administrator and returns what it did."""
        environment = {**self.administrator, **self.variables, **variables}
        return self.account.run(BINARIES / "countersign", *arguments, "--json", environment=environment, input=stdin)

    def administer(self, *arguments, stdin=None):
        """Runs the program as the administrator and returns what it printed."""
        done = self.countersign(*arguments, stdin=stdin)
        assert done.returncode == 0, f"countersign {' '.join(arguments)}: {done.stdout}{done.stderr}"
        return json.loads(done.stdout)

    def create_client(self, name, *options):
        created = self.administer("client", "create", name, "--audience", AUDIENCE, *options)
        return created["client_id"], created["client_secret"]

    @functools.cached_property
    def service(self):
        """The credentials of a client for its own tokens."""
        return self.create_client(
            "service", "--grant", "client_credentials", "--scope", "calls:read", "--role", "voice-admin")

    @functools.cached_property
    def app(self):
        """The credentials of a client with which people log in: jane, a user, and alice, an operator."""
        for kind, name in (("user", "jane"), ("operator", "alice")):
            self.administer(kind, "create", name, "--brand", "acme", "--role", "subscriber", "--password-stdin",
                            stdin=PASSWORD)
        grants = [word for grant in ("password", "operator_password", "refresh_token") for word in ("--grant", grant)]
        return self.create_client(
            "app", *grants, "--scope", "calls:read", "--brand", "acme", "--operator", "alice")

    def first_keys(self):
        """Waits for the first run of the rotation and returns the items of the signing keys."""
        group = f"/aws/lambda/{self.prefix}rotate"

        def keys_or_failure():
            if keys := self.items("signing-keys"):
                return keys
            failures = [line for line in self.account.log_lines(group) if line.get("level") == "ERROR"]
            assert not failures, f"the rotation failed: {failures}"

        return poll(keys_or_failure)

    # ── Clients and verifiers ──

    def get(self, path):
        return self.account.http.get(self.url + path, timeout=20)

    def post(self, path, credentials, **form):
        return self.account.http.post(self.url + path, auth=credentials, data=form, timeout=20)

    def granted(self, credentials, grant, **form):
        """Requests a token and returns the answer, which must grant it."""
        self.first_keys()
        response = self.post("/oauth/token", credentials, grant_type=grant, **form)
        assert response.status_code == 200, f"{grant}: {response.status_code} {response.text}"
        return response.json()

    def log_in(self):
        return self.granted(self.app, "password", username="jane", password=PASSWORD, brandKey="acme")

    def verify(self, token):
        """Returns the claims of an access token that is valid by the published keys."""
        keys = jwt.PyJWKClient(f"{self.url}/.well-known/jwks.json")
        verified = jwt.decode_complete(
            token, keys.get_signing_key_from_jwt(token), algorithms=["ES256"], issuer=self.url, audience=AUDIENCE,
            leeway=60, options={"require": ["sub", "exp", "iat", "jti", "client_id", "roles"]})
        assert verified["header"]["typ"] == "at+jwt"
        return verified["payload"]

    # ── The account around it ──

    def table(self, name):
        return f"{self.prefix}{name}"

    def items(self, name):
        return boto3.client("dynamodb").scan(TableName=self.table(name))["Items"]
