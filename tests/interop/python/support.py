"""Shared by the suites: the server's address, its demo records, and the checks that every answer
must pass."""

import os
import re

import requests

BASE = os.environ["COUNTERSIGN_BASE"]
AUDIENCE = "https://api.example.com"

SECRETS = {name: f"{name}-secret" for name in ("demo-service", "demo-voice", "demo-app")}
JANE = {"username": "jane@example.com", "password": "correct horse battery staple"}
ALICE = {"username": "alice.ops", "password": "operator-passphrase"}


def ask(client, path="/oauth/token", **form):
    """Sends a plain request of a demo client, for what an OAuth library would not send or would
    hide."""
    return requests.post(BASE + path, data=form, auth=(client, SECRETS[client]))


def granted(response):
    assert response.status_code == 200, response.text
    check_uncacheable_json(response)
    return response.json()


def refused(response, error, status=400):
    assert (response.status_code, response.json().get("error")) == (status, error), response.text
    check_uncacheable_json(response)
    # The characters that error_description may contain (RFC 6749 5.2).
    assert re.fullmatch(r"[\x20-\x21\x23-\x5b\x5d-\x7e]*", response.json().get("error_description", ""))


def check_uncacheable_json(response):
    """Checks the headers that RFC 6749 5.1 requires of responses with tokens; Countersign sends
    them with errors too."""
    assert response.headers["Content-Type"] == "application/json;charset=UTF-8"
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["Pragma"] == "no-cache"


def service_token(**form):
    form = {"grant_type": "client_credentials", "brandKey": "acme"} | form
    return granted(ask("demo-service", **form))["access_token"]


def voice_token():
    return granted(ask("demo-voice", grant_type="client_credentials"))["access_token"]


def jane_tokens(**form):
    return granted(ask("demo-app", grant_type="password", brandKey="acme", **JANE, **form))


def alice_tokens(**form):
    return granted(ask("demo-app", grant_type="operator_password", brandKey="acme", **ALICE, **form))


def refresh(token, client="demo-app", **form):
    return ask(client, grant_type="refresh_token", refresh_token=token, **form)
