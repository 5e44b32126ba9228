"""Keys rotate every 20 s while verifiers of another project verify every token; none may ever
fail."""

import json
import re
import time
import urllib.request
from base64 import b64encode
from collections import deque

import jwt
import pytest
from processes import Dev

PERIOD, WATCHED, PAUSE = 20, 65, 0.1
# Some verifiers keep a key set for two hours, whatever its max-age. With a period of 20 s in place
# of five hours, two hours become this many seconds.
FIXED_LIFESPAN = 2 * 3600 * PERIOD / (5 * 3600)


class PlainVerifier:
    """Keeps the key set for its whole lifespan: an unknown kid in the meantime is a failure."""

    def __init__(self, url, lifespan):
        self.url, self.lifespan, self.fetched_at = url, lifespan, None

    def key(self, token):
        if self.fetched_at is None or time.monotonic() - self.fetched_at >= self.lifespan:
            with urllib.request.urlopen(self.url, timeout=10) as response:
                self.keys = jwt.PyJWKSet.from_dict(json.load(response))
            self.fetched_at = time.monotonic()
        return self.keys[jwt.get_unverified_header(token)["kid"]]


class FetchingVerifier(jwt.PyJWKClient):
    """PyJWT's own client, which also fetches the key set for an unknown kid."""

    def key(self, token):
        return self.get_signing_key_from_jwt(token)


@pytest.fixture
def issuer(tmp_path):
    with Dev(tmp_path, "--rotate-every", f"{PERIOD}s") as dev:
        yield dev.url


def max_age_of(url):
    with urllib.request.urlopen(url, timeout=10) as response:
        assert response.headers["Cache-Control"] == "public, max-age=1"
        return int(re.search(r"max-age=(\d+)", response.headers["Cache-Control"])[1])


def request_token(issuer):
    pair = b64encode(b"demo-voice:demo-voice-secret").decode()
    request = urllib.request.Request(
        f"{issuer}/oauth/token",
        data=b"grant_type=client_credentials",
        headers={"Authorization": f"Basic {pair}"},
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        return json.load(response)["access_token"]


def test_every_verifier_can_verify_every_token(issuer, capsys):
    url = f"{issuer}/.well-known/jwks.json"
    lifespan = max_age_of(url)
    verifiers = {
        "PyJWKClient": FetchingVerifier(url, lifespan=lifespan),
        "by max-age": PlainVerifier(url, lifespan),
        "fixed lifespan": PlainVerifier(url, FIXED_LIFESPAN),
    }
    failures, kids, late = [], set(), 0

    def verify(token, when):
        nonlocal late
        for name, verifier in verifiers.items():
            try:
                jwt.decode(
                    token,
                    verifier.key(token),
                    algorithms=["ES256"],
                    audience="https://api.example.com",
                    issuer=issuer,
                )
            except jwt.ExpiredSignatureError:
                late += 1  # The machine was too slow, which is not the issuer's failure.
            except (jwt.PyJWTError, KeyError) as error:
                failures.append(f"{name}, {when}: {error!r}")

    alive, mints = deque(), 0
    end = time.monotonic() + WATCHED
    while time.monotonic() < end or alive:
        if time.monotonic() < end:
            token = request_token(issuer)
            mints += 1
            kids.add(jwt.get_unverified_header(token)["kid"])
            verify(token, "at once")
            claims = jwt.decode(token, options={"verify_signature": False})
            assert 3 <= claims["exp"] - claims["iat"] <= 5
            alive.append((claims["exp"], token))
        # Each token is verified again shortly before it expires: its key must still be published.
        while alive and alive[0][0] - 0.7 <= time.time():
            verify(alive.popleft()[1], "before it expires")
        time.sleep(PAUSE)

    with capsys.disabled():
        print(f" {mints} tokens of {len(kids)} keys, {late} late ", end="")
    assert not failures, failures[:5]
    assert len(kids) >= 3
    assert mints > WATCHED / PAUSE / 2 and late < mints / 20
