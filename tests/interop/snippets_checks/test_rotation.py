"""The programs of docs/verifying, all at the same time, with a `countersign dev` whose keys rotate.
None of them may refuse a token of it."""

import os
import pathlib
import subprocess
import time
from collections import deque

import jwt
import pytest
import requests
from programs import APIS, WORK, selected
from test_verifiers import call

PERIOD, WATCHED, PAUSE = 20, 65, 0.25


@pytest.fixture
def dev():
    """The URL of an issuer whose keys rotate every 20 s; its tokens live for 4 s."""
    WORK.mkdir(exist_ok=True)
    log, data = WORK / "rotating.log", WORK / "rotating"
    command = [pathlib.Path(os.environ["COUNTERSIGN_PROGRAM"]), "dev", "--port", "0", "--dynamodb-port", "0"]
    command += ["--data-dir", data, "--rotate-every", f"{PERIOD}s"]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    while not (lines := [line for line in log.read_text().splitlines() if line.startswith("listening on ")]):
        assert process.poll() is None, log.read_text()
        time.sleep(0.05)
    yield lines[0].split()[-1]
    process.kill()
    process.wait()


def granted(dev, client="demo-service", **form):
    form = {"grant_type": "client_credentials", "brandKey": "acme"} | form
    answer = requests.post(f"{dev}/oauth/token", data=form, auth=(client, f"{client}-secret"), timeout=10)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.part(*APIS)
def test_tokens_are_accepted_while_keys_rotate(dev):
    # A period of 20 s in place of 30 days: the JWKS may be cached for a second in place of a quarter of
    # an hour, so the programs get their short lifespans too.
    apis = {program.name: program.start(dev, short=True) for program in selected(APIS)}
    failures, kids, alive = [], set(), deque()

    def check(token, when):
        for name, api in apis.items():
            answer = call(api, token)
            if answer.status_code != 200:
                failures.append(f"{name}, {when}: {answer.status_code} {answer.text}")

    try:
        # A refresh token of the real issuer is for no API.
        jane = {"username": "jane@example.com", "password": "correct horse battery staple"}
        refresh = granted(dev, "demo-app", grant_type="password", **jane)["refresh_token"]
        for name, api in apis.items():
            assert call(api, refresh).status_code == 401, name
        end = time.monotonic() + WATCHED
        while time.monotonic() < end:
            token = granted(dev)["access_token"]
            kids.add(jwt.get_unverified_header(token)["kid"])
            check(token, "at once")
            alive.append((time.monotonic() + 3, token))
            while alive and alive[0][0] <= time.monotonic():
                check(alive.popleft()[1], "before it expires")
            time.sleep(PAUSE)
    finally:
        for api in apis.values():
            api.stop()
    assert not failures, failures[:5]
    assert len(kids) >= 3
