"""The Python snippet of docs/verifying.md, which tests/interop/run extracts from the page."""

import base64
import datetime
import hashlib
import hmac
import json
import os
import pathlib

import jwt
import pytest
import requests
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from support import AUDIENCE, BASE, granted, jane_tokens, voice_token

SNIPPET = pathlib.Path(os.environ["COUNTERSIGN_SNIPPETS"], "verify_pyjwt.py").read_text()


def snippet(issuer, audience=AUDIENCE):
    """Returns the snippet's verify function, configured for an issuer and an audience."""
    module = {}
    exec(SNIPPET.replace("https://issuer.example.com", issuer).replace(AUDIENCE, audience), module)
    return module["verify"]


def token_of(client, secret):
    form = {"grant_type": "client_credentials"}
    return granted(requests.post(f"{BASE}/oauth/token", data=form, auth=(client, os.environ[secret])))["access_token"]


def unpadded(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@pytest.fixture
def issuer(metadata):
    return metadata["issuer"]


@pytest.fixture
def verify(issuer):
    return snippet(issuer)


def test_access_tokens_are_accepted(verify):
    assert verify(voice_token())["sub"] == "demo-voice"
    assert verify(jane_tokens()["access_token"])["roles"] == ["subscriber"]


def test_a_token_for_another_api_is_refused(verify, issuer):
    token = token_of("other-api", "OTHER_API_SECRET")
    assert snippet(issuer, "https://other.example.com")(token)["sub"] == "other-api"
    with pytest.raises(jwt.InvalidAudienceError):
        verify(token)


def test_an_audience_that_only_shares_a_prefix_is_refused(issuer):
    with pytest.raises(jwt.InvalidAudienceError):
        snippet(issuer, f"{AUDIENCE}/v2")(voice_token())


def test_another_issuer_with_the_same_keys_is_refused(issuer):
    with pytest.raises(jwt.InvalidIssuerError):
        snippet(issuer.replace("127.0.0.1", "localhost"))(voice_token())


def test_a_refresh_token_is_refused_even_with_its_own_audience(verify, issuer):
    token = jane_tokens()["refresh_token"]
    with pytest.raises(jwt.InvalidTokenError):
        verify(token)
    with pytest.raises(jwt.InvalidTokenError):
        snippet(issuer, issuer)(token)


def test_a_token_that_differs_in_its_type_only_is_refused(verify):
    token = token_of("typ-jwt", "TYP_JWT_SECRET")
    assert jwt.get_unverified_header(token)["typ"] == "JWT"
    with pytest.raises(jwt.InvalidTokenError, match="typ"):
        verify(token)


def test_an_expired_token_is_refused(verify, monkeypatch):
    token = voice_token()
    expired = jwt.decode(token, options={"verify_signature": False})["exp"] + 1

    class Later(datetime.datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.datetime.fromtimestamp(expired, tz)

    monkeypatch.setattr("jwt.api_jwt.datetime", Later)
    with pytest.raises(jwt.ExpiredSignatureError):
        verify(token)


def test_tampered_and_unsigned_tokens_and_hmac_with_the_public_key_are_refused(verify, keys):
    token = voice_token()
    header, payload, signature = token.split(".")
    claims = jwt.decode(token, options={"verify_signature": False}) | {"roles": ["billing"]}
    kid = jwt.get_unverified_header(token)["kid"]
    none = unpadded(json.dumps({"alg": "none", "typ": "at+jwt", "kid": kid}).encode())
    pem = keys.get_signing_key(kid).key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    confused = unpadded(json.dumps({"alg": "HS256", "typ": "at+jwt", "kid": kid}).encode()) + "." + payload
    tag = unpadded(hmac.new(pem, confused.encode(), hashlib.sha256).digest())
    for forged in (
        f"{header}.{unpadded(json.dumps(claims).encode())}.{signature}",
        f"{none}.{payload}.",
        f"{none}.{payload}.{signature}",
        f"{confused}.{tag}",
    ):
        with pytest.raises(jwt.InvalidTokenError):
            verify(forged)
