"""The way from two dumps to working tokens, and the change of a secret."""

import json
import os
import re
import subprocess
import time
from pathlib import Path

import hashes
import pytest
import requests
from dumps import details_csv, jackson, registered_json, token_settings

PROGRAM = Path(os.environ["COUNTERSIGN_BINARIES"]) / "countersign"
# It has characters that a form encodes, and one that takes two bytes in UTF-8.
SECRET = "p&rtner sécret+1%"
MAPPING = """
[from]
brands = "/additional_information/brands"
operators = "/additional_information/operators"
[roles]
ROLE_REPORTING = "reporting"
"""


class Dev:
    """`countersign dev` with its data in a folder; its standard error goes to the file `errors`."""

    def __init__(self, folder, errors=None):
        self.folder, self.log = folder, folder / "dev.log"
        self.errors = errors or folder / "dev.err.log"
        self.start(0)

    def start(self, port):
        command = [PROGRAM, "dev", "--port", str(port), "--dynamodb-port", "0", "--data-dir", self.folder / "data"]
        with self.log.open("wb") as out, self.errors.open("ab") as errors:
            self.child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=errors)
        deadline = time.monotonic() + 60
        while not (ready := re.search(r"^listening on (http://\S*)$", self.log.read_text(), re.M)):
            assert self.child.poll() is None and time.monotonic() < deadline, self.errors.read_text()
            time.sleep(0.05)
        self.url = ready[1]
        lines = (self.folder / "data/env").read_text().splitlines()
        self.environment = dict(line.split("=", 1) for line in lines if not line.startswith("#"))

    def restart(self):
        self.stop()
        self.start(self.url.rsplit(":", 1)[1])

    def stop(self):
        self.child.terminate()
        self.child.wait(10)

    def run(self, *arguments, code=0):
        done = subprocess.run([PROGRAM, "--json", *arguments], env=self.environment, capture_output=True, text=True)
        assert done.returncode == code, (arguments, done.stderr)
        return json.loads(done.stdout)

    def token(self, client, secret=SECRET, **form):
        return requests.post(f"{self.url}/oauth/token", data=form, auth=(client.encode(), secret.encode()))


@pytest.fixture(scope="module")
def dev(tmp_path_factory):
    dev = Dev(tmp_path_factory.mktemp("walk"))
    yield dev
    dev.stop()


def names(makers):
    return [maker.__name__.replace("_", "-") for maker in makers]


@pytest.fixture(scope="module")
def dumps(dev):
    """Two dumps: one client for each hash, half of them in each table, and one application with
    users."""
    old, new = dev.folder / "oauth_client_details.csv", dev.folder / "oauth2_registered_client.json"
    both = list(zip(names(hashes.STRONG), hashes.STRONG, strict=True))
    brands = {"brands": ["acme"], "operators": ["alice.ops"]}
    details_csv(
        old,
        [
            {
                "client_id": name,
                "client_secret": make(SECRET),
                "scope": "reports:read,reports:write",
                "authorized_grant_types": "client_credentials",
                "authorities": "ROLE_REPORTING",
                "access_token_validity": 600,
                "additional_information": json.dumps(brands),
            }
            for name, make in [*both[::2], *zip(names(hashes.LEGACY), hashes.LEGACY, strict=True)]
        ],
    )
    registered = [
        {
            "client_id": name,
            "client_secret": make(SECRET),
            "client_name": name,
            "client_authentication_methods": "client_secret_basic",
            "authorization_grant_types": "client_credentials",
            "scopes": "reports:read",
            "client_settings": jackson({"settings.client.require-proof-key": False}),
            "token_settings": token_settings(300, 3600),
        }
        for name, make in both[1::2]
    ]
    app = {"client_id": "app", "authorization_grant_types": "password,operator_password,refresh_token"}
    registered_json(new, [*registered, registered[0] | app])
    (dev.folder / "mapping.toml").write_text(MAPPING)
    return old, new


@pytest.fixture(scope="module")
def imported(dev, dumps):
    audience = ["--audience", "https://api.example.com", "--mapping", dev.folder / "mapping.toml", "--brand", "acme"]
    arguments = ["client", "import", "spring", *dumps, *audience]
    dry = dev.run(*arguments, "--dry-run", code=4)
    verdicts = {row["id"]: row["verdict"] for row in dry["clients"]}
    assert {name for name, verdict in verdicts.items() if verdict == "refused"} == set(names(hashes.LEGACY))
    assert verdicts["app"] == "ready with a loss", "Spring returned the same refresh token again"
    done = dev.run(*arguments, "--allow-legacy")
    assert done["summary"]["actions"] == {"created": len(verdicts)}

    users = dev.folder / "users.json"
    rows = [{"username": f"{n}@example.com", "password": make(SECRET)} for n, make in enumerate(hashes.STRONG)]
    users.write_text("\n".join(json.dumps(row) for row in rows))
    assert dev.run("user", "import", users, "--brand", "acme", "--role", "subscriber")["summary"]["rows"] == len(rows)
    operators = dev.folder / "operators.csv"
    operators.write_text(f'username,password,brands\nbert.ops,{hashes.scrypt(SECRET)},"acme,globex"\n')
    dev.run("operator", "import", operators)
    repeated = dev.run(*arguments, "--allow-legacy")
    assert repeated["summary"]["actions"] == {"unchanged": len(verdicts)}
    dev.restart()
    return dev


@pytest.mark.parametrize("client", names(hashes.STRONG + hashes.LEGACY))
def test_a_client_keeps_its_secret(imported, client):
    for _ in range(2):
        answer = imported.token(client, grant_type="client_credentials", brandKey="acme", scope="reports:read")
        assert answer.status_code == 200, answer.text
        assert imported.token(client, SECRET + "!", grant_type="client_credentials").status_code == 401
    in_the_body = {"client_id": client, "client_secret": SECRET, "grant_type": "client_credentials"}
    assert requests.post(f"{imported.url}/oauth/token", data=in_the_body).status_code == 200


@pytest.mark.parametrize("number", range(len(hashes.STRONG)))
def test_a_user_keeps_the_password(imported, number):
    login = {"grant_type": "password", "username": f"{number}@example.com", "password": SECRET, "brandKey": "acme"}
    answer = imported.token("app", **login)
    assert answer.status_code == 200, answer.text
    refresh = {"grant_type": "refresh_token", "refresh_token": answer.json()["refresh_token"], "brandKey": "acme"}
    assert imported.token("app", **refresh).status_code == 200
    assert imported.token("app", **(login | {"password": "wrong"})).json()["error"] == "invalid_grant"


def test_operators_log_in_and_clients_act_for_them(imported):
    login = {"grant_type": "operator_password", "username": "bert.ops", "password": SECRET, "brandKey": "acme"}
    assert imported.token("app", **login).status_code == 200
    form = {"grant_type": "client_credentials", "operator": "alice.ops", "brandKey": "acme"}
    assert imported.token("bcrypt-2a", **form).status_code == 200


def test_bcrypt_compares_the_first_72_bytes_only_as_spring_does(imported):
    secret = "x" * 72
    dump = imported.folder / "long.csv"
    details_csv(
        dump,
        [
            {
                "client_id": "long",
                "client_secret": hashes.bcrypt_2a(secret),
                "scope": "a",
                "authorized_grant_types": "client_credentials",
            }
        ],
    )
    imported.run("client", "import", "spring", dump, "--audience", "a")
    for presented, status in [(secret, 200), (secret + "more", 200), (secret[1:], 401)]:
        assert imported.token("long", presented, grant_type="client_credentials").status_code == status


def test_a_secret_is_changed_without_downtime(imported):
    old = "argon2-v5-8"
    form = {"grant_type": "client_credentials", "brandKey": "acme"}
    second = imported.run("client", "secret", "add", old, "--expire-others", "7d")["client_secret"]
    assert imported.token(old, **form).status_code == 200
    first, added = imported.run("client", "secret", "list", old, "--audit-log", imported.errors)
    assert first["expires"] and first["last_used"] and not added["expires"] and not added["last_used"]
    # A new secret works within 2 seconds.
    deadline = time.monotonic() + 5
    while imported.token(old, second, **form).status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    revoke = [PROGRAM, "client", "secret", "revoke", old, first["id"], "--audit-log", imported.errors]
    unconfirmed = subprocess.run(
        revoke, env=imported.environment, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    assert unconfirmed.returncode == 1 and "It was last used" in unconfirmed.stderr, unconfirmed.stderr
    imported.run(*revoke[1:], "--yes")
    # Running processes refuse the old secret within a minute; a new process does at once.
    imported.restart()
    assert imported.token(old, **form).status_code == 401
    assert imported.token(old, second, **form).status_code == 200
