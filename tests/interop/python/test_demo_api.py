"""The protected demo API, as a caller sees it: RFC 6750 section 3.1."""

import pytest
import requests
from support import BASE, alice_tokens, jane_tokens, service_token, voice_token


def call(method, path, token=None):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return requests.request(method, f"{BASE}/api{path}", headers=headers)


def jane():
    return jane_tokens()["access_token"]


def alice():
    return alice_tokens()["access_token"]


def reader():
    return service_token(scope="reports:read")


def service_for_alice():
    return service_token(operator="alice.ops")


@pytest.mark.parametrize(
    ("method", "path", "caller"),
    [
        ("GET", "/whoami", voice_token),
        ("GET", "/whoami", jane),
        ("GET", "/reports", reader),
        ("POST", "/reports", service_token),
        ("GET", "/calls", voice_token),
        ("POST", "/calls", voice_token),
        ("DELETE", "/subscribers/17", alice),
    ],
)
def test_a_caller_with_the_right_is_let_in(method, path, caller):
    assert call(method, path, caller()).ok


@pytest.mark.parametrize(
    ("method", "path", "caller"),
    [
        ("GET", "/reports", voice_token),
        ("POST", "/reports", reader),
        ("GET", "/calls", service_token),
        ("POST", "/calls", service_token),
        ("DELETE", "/subscribers/17", jane),
        ("DELETE", "/subscribers/17", service_for_alice),
    ],
)
def test_an_authenticated_caller_without_the_right_is_refused(method, path, caller):
    answer = call(method, path, caller())
    assert answer.status_code == 403
    assert answer.headers["WWW-Authenticate"].startswith("Bearer ")
    assert 'error="insufficient_scope"' in answer.headers["WWW-Authenticate"]


@pytest.mark.parametrize("path", ["/whoami", "/reports"])
def test_without_credentials_the_challenge_names_no_error(path):
    answer = call("GET", path)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert "error" not in answer.headers["WWW-Authenticate"]


@pytest.mark.parametrize(
    "token",
    [lambda: "nonsense", lambda: voice_token()[:-4] + "AAAA", lambda: jane_tokens()["refresh_token"]],
    ids=["nonsense", "broken-signature", "refresh-token"],
)
def test_anything_but_an_access_token_is_invalid(token):
    answer = call("GET", "/whoami", token())
    assert answer.status_code == 401
    assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]
