"""The programs of docs/verifying as they are printed. The tests of one program run in this order,
because the issuer is away at first and withdraws its key at the end."""

import time
from unittest.mock import ANY

import pytest
import requests
from forgeries import FORGERIES, now
from issuer import Key


def call(api, token=None, **headers):
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    return requests.get(api.url, headers=headers, timeout=20)


def poll(api, token, status, seconds=45):
    """Repeats a request until it has a status."""
    deadline = time.monotonic() + seconds
    while True:
        answer = call(api, token)
        if answer.status_code == status:
            return
        assert time.monotonic() < deadline, f"{answer.status_code} {answer.text}\n{api.log.read_text()[-3000:]}"
        time.sleep(0.2)


def challenged(program, answer, challenge):
    expected = challenge if program.challenges else ANY
    assert answer.headers.get("WWW-Authenticate", "") == expected


def test_an_issuer_that_is_away_is_no_fault_of_the_token(program, api, issuer):
    answer = call(api, issuer.token())
    assert answer.status_code == program.away, answer.text
    assert program.away != 503 or int(answer.headers["Retry-After"]) > 0
    issuer.status = 500
    issuer.open()
    assert call(api, issuer.token()).status_code == program.away


def test_it_recovers(api, issuer):
    issuer.status = 200
    poll(api, issuer.token(), 200)


def test_a_good_token_is_accepted(api, issuer):
    answer = call(api, issuer.token())
    assert (answer.status_code, answer.text.strip()) == (200, "reports for demo-service")
    answer = call(api, issuer.token(sub="usr_1", client_id="demo-app", scope="reports:read", operator="alice.ops"))
    assert (answer.status_code, answer.text.strip()) == (200, "reports for usr_1")


@pytest.mark.parametrize("authorization", [None, "Basic ZGVtbzpkZW1v", "Bearer", "Bearer "])
def test_without_a_token_there_is_a_challenge_and_no_error(program, api, authorization):
    answer = call(api, **({"Authorization": authorization} if authorization else {}))
    assert answer.status_code == 401
    challenged(program, answer, "Bearer")


@pytest.mark.parametrize("scope", [None, "reports:write", "reports:reader calls:read", ""])
def test_a_token_without_the_scope_is_refused(program, api, issuer, scope):
    answer = call(api, issuer.token(scope=scope))
    assert answer.status_code == 403
    challenged(program, answer, 'Bearer error="insufficient_scope", scope="reports:read"')


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_bad_token_is_refused(program, api, issuer, forgery):
    answer = call(api, FORGERIES[forgery](issuer))
    assert answer.status_code == 401, answer.text
    challenged(program, answer, 'Bearer error="invalid_token"')


@pytest.mark.parametrize("behind", [55, 1])
def test_a_clock_that_is_behind_accepts_a_new_token(api, issuer, behind):
    assert call(api, issuer.token(iat=now() + behind)).status_code == 200


def test_a_clock_that_is_ahead_accepts_a_token_until_it_expires(api, issuer):
    assert call(api, issuer.token(iat=now() - 3655, exp=now() - 55)).status_code == 200


def test_a_withdrawn_key_is_forgotten(api, issuer):
    withdrawn = issuer.token()
    poll(api, withdrawn, 200)
    issuer.keys = [issuer.keys[1], Key()]
    poll(api, withdrawn, 401, seconds=20)
    poll(api, issuer.token(), 200)
