"""The programs of docs/clients.md as they are printed: with the right secret, with a wrong one, and
with a secret full of characters that must be encoded."""

import json
import os
import subprocess

import pytest
from conftest import BASE
from programs import CLIENTS, USERS, WORK, selected

REPORTS = {"brandKey": "acme", "reports": ["daily usage", "unbilled calls"]}
# Made by tests/interop/snippets.
ODD_SECRET = os.environ["ODD_SECRET"]


@pytest.fixture(scope="module", params=selected(CLIENTS), ids=lambda client: client.name)
def client(request):
    """Builds the program; returns a function that runs it with an id and a secret."""
    folder = WORK / request.param.name
    urls = {"https://issuer.example.com": BASE, "https://api.example.com/reports": f"{BASE}/api/reports"}
    command = request.param.write(folder, urls)

    def run(secret):
        environment = os.environ | {"CLIENT_SECRET": secret}
        return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)

    return run


@pytest.fixture(params=selected(USERS), ids=lambda user: user.name)
def user(request):
    """Builds a program that logs a user in; returns its folder and a function that runs it."""
    folder = WORK / request.param.name
    urls = {"https://issuer.example.com": BASE, "https://api.example.com/reports": f"{BASE}/api/whoami"}
    command = request.param.write(folder, urls)

    def run(**variables):
        environment = os.environ | {"CLIENT_SECRET": "demo-app-secret"} | variables
        return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)

    return folder, run


def test_a_user_logs_in_once_and_refreshes_after_that(user):
    folder, run = user
    done = run(USER_PASSWORD="not the password")
    assert done.returncode != 0 and "invalid_grant" in done.stdout + done.stderr
    sessions = []
    for variables in ({"USER_PASSWORD": "correct horse battery staple"}, {}, {}):
        done = run(**variables)
        assert done.returncode == 0, done.stdout + done.stderr
        claims = json.loads(done.stdout)
        assert (claims["client_id"], claims["brandKey"]) == ("demo-app", "acme")
        sessions.append((folder / "session").read_text())
        assert (folder / "session").stat().st_mode & 0o077 == 0
    assert len(set(sessions)) == 3 and all(session.startswith("csgr_") for session in sessions)


@pytest.mark.parametrize("secret", ["demo-service-secret", ODD_SECRET], ids=["plain", "odd"])
def test_it_gets_a_token_and_calls_the_api(client, secret):
    done = client(secret)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout) == REPORTS, done.stdout + done.stderr


def test_a_refusal_is_reported_and_the_secret_is_not(client):
    done = client("not-the-secret+")
    assert done.returncode != 0
    output = done.stdout + done.stderr
    assert "invalid_client" in output, output
    assert "not-the-secret" not in output
