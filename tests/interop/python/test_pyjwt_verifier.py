"""PyJWT as the resource server: it has the token and the published key set, nothing else."""

import base64
import hashlib
import json

import jwt
import pytest
import requests
from support import AUDIENCE, alice_tokens, jane_tokens, service_token, voice_token

# The claims that RFC 9068 2.2 requires, then those of Countersign. `scope` is always there, since
# all demo clients have some.
ALWAYS = {"iss", "sub", "aud", "exp", "iat", "jti", "client_id", "scope", "roles"}


@pytest.fixture
def verify(keys, metadata):
    def decode(token, audience=AUDIENCE):
        return jwt.decode(
            token,
            keys.get_signing_key_from_jwt(token),
            algorithms=["ES256"],
            audience=audience,
            issuer=metadata["issuer"],
            options={"require": sorted(ALWAYS)},
        )

    return decode


def unpadded(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def thumbprint(jwk):
    """Computes the thumbprint (RFC 7638) over the required members of the key, sorted, without
    white space."""
    required = {name: jwk[name] for name in ("crv", "kty", "x", "y")}
    canonical = json.dumps(required, sort_keys=True, separators=(",", ":"))
    return unpadded(hashlib.sha256(canonical.encode()).digest())


@pytest.mark.parametrize(
    ("mint", "optional"),
    [
        (voice_token, set()),
        (service_token, {"brandKey"}),
        (lambda: service_token(operator="alice.ops"), {"brandKey", "operator"}),
        (lambda: jane_tokens()["access_token"], {"brandKey"}),
        (lambda: alice_tokens()["access_token"], {"brandKey", "operator"}),
    ],
    ids=["client", "client-of-a-brand", "client-for-an-operator", "user", "operator"],
)
def test_an_access_token_verifies_and_has_the_documented_claims_only(verify, mint, optional):
    assert set(verify(mint())) == ALWAYS | optional


def test_claims_have_the_documented_types(verify):
    claims = verify(service_token(operator="alice.ops"))
    assert all(type(claims[name]) is int for name in ("iat", "exp"))
    assert all(type(claims[name]) is str for name in ("sub", "client_id", "scope", "operator", "brandKey"))
    assert all(type(role) is str for role in claims["roles"])
    assert len(base64.urlsafe_b64decode(claims["jti"] + "==")) == 16


def test_no_two_tokens_have_the_same_jti(verify):
    assert verify(voice_token())["jti"] != verify(voice_token())["jti"]


def test_the_header_is_alg_typ_and_kid_and_nothing_else():
    header = jwt.get_unverified_header(voice_token())
    assert header == {"alg": "ES256", "typ": "at+jwt", "kid": header["kid"]}


def test_every_kid_is_the_thumbprint_of_its_key(metadata):
    published = requests.get(metadata["jwks_uri"]).json()["keys"]
    assert [jwk["kid"] for jwk in published] == [thumbprint(jwk) for jwk in published]
    assert jwt.get_unverified_header(voice_token())["kid"] in [jwk["kid"] for jwk in published]


def test_the_key_set_has_public_p256_signing_keys_only(metadata):
    for jwk in requests.get(metadata["jwks_uri"]).json()["keys"]:
        assert (jwk["kty"], jwk["crv"], jwk["use"], jwk["alg"]) == ("EC", "P-256", "sig", "ES256")
        assert "d" not in jwk


def test_the_successor_of_the_signing_key_is_already_published(metadata):
    assert len(requests.get(metadata["jwks_uri"]).json()["keys"]) == 2


def test_a_tampered_claim_breaks_the_signature(verify):
    header, payload, signature = voice_token().split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    claims["roles"] = ["billing"]
    forged = unpadded(json.dumps(claims).encode())
    with pytest.raises(jwt.InvalidSignatureError):
        verify(f"{header}.{forged}.{signature}")


def test_the_signature_of_another_token_is_refused(verify):
    content = voice_token().rsplit(".", 1)[0]
    signature = voice_token().rsplit(".", 1)[1]
    with pytest.raises(jwt.InvalidSignatureError):
        verify(f"{content}.{signature}")


def test_a_refresh_token_is_no_jwt():
    with pytest.raises(jwt.DecodeError):
        jwt.get_unverified_header(jane_tokens()["refresh_token"])


def test_expires_in_is_the_lifetime_of_the_token(verify):
    answer = jane_tokens()
    claims = verify(answer["access_token"])
    assert type(answer["expires_in"]) is int
    assert answer["expires_in"] == claims["exp"] - claims["iat"]
