"""Bad tokens, each of which differs from a good one in one respect."""

import base64
import hashlib
import hmac
import json
import time

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from issuer import AUDIENCE, Key, unpadded


def parts(token):
    return token.split(".")


def with_header(token, **members):
    """Replaces members of the header and keeps the signature."""
    header, payload, signature = parts(token)
    changed = json.loads(base64.urlsafe_b64decode(header + "==")) | members
    return f"{unpadded(json.dumps(changed).encode())}.{payload}.{signature}"


def tampered(issuer):
    header, payload, signature = parts(issuer.token())
    claims = json.loads(base64.urlsafe_b64decode(payload + "==")) | {"roles": ["billing"]}
    return f"{header}.{unpadded(json.dumps(claims).encode())}.{signature}"


def unsigned(issuer):
    header, payload, _ = parts(with_header(issuer.token(), alg="none"))
    return f"{header}.{payload}."


def confused(issuer):
    """HS256 with the public key as its secret."""
    key = issuer.keys[0].private.public_key()
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    signed = with_header(issuer.token(), alg="HS256").rsplit(".", 1)[0]
    return f"{signed}.{unpadded(hmac.new(pem, signed.encode(), hashlib.sha256).digest())}"


def under_anothers_kid(issuer):
    return issuer.token(key=Key(), header={"kid": issuer.keys[0].kid})


def with_parts(token, header=None, payload=None):
    """Replaces the bytes of the header or of the payload and keeps the rest."""
    kept = parts(token)
    replaced = [kept[at] if part is None else unpadded(part) for at, part in enumerate((header, payload))]
    return ".".join([*replaced, kept[2]])


def in_json(issuer):
    """The JSON serialization of a JWS (RFC 7515 section 7.2), without a signature."""
    return json.dumps({"payload": parts(issuer.token())[1], "signatures": []}, separators=(",", ":"))


def without_kid(issuer):
    header = {"typ": "at+jwt", "alg": "ES256"}
    payload = parts(issuer.token())[1]
    signature = unpadded(bytes(range(64)))
    return f"{unpadded(json.dumps(header).encode())}.{payload}.{signature}"


# Headers and payloads that are no JSON object, and members of the wrong type.
NO_OBJECTS = {"a list": b"[]", "a number": b"5", "null": b"null", "a string": b'"x"', "no UTF-8": b"\xff", "empty": b""}
ODD_MEMBERS = {
    "alg is a list": {"alg": ["ES256"]},
    "alg is null": {"alg": None},
    "typ is a list": {"typ": ["at+jwt"]},
    "kid is a number": {"kid": 5},
    "kid is a list": {"kid": ["x"]},
    "kid is an object": {"kid": {"x": 1}},
    "kid is empty": {"kid": ""},
}


def now():
    return int(time.time())


FORGERIES = {
    "expired": lambda issuer: issuer.token(iat=now() - 3720, exp=now() - 120),
    "for another API": lambda issuer: issuer.token(aud="https://other.example.com"),
    "for an API whose URL begins the same": lambda issuer: issuer.token(aud=AUDIENCE + "/v2"),
    "of another issuer": lambda issuer: issuer.token(iss="https://evil.example.com"),
    "of an issuer whose URL begins the same": lambda issuer: issuer.token(iss=issuer.url + "/"),
    "alg none": unsigned,
    "alg none with a signature": lambda issuer: with_header(issuer.token(), alg="none"),
    "HS256 with the public key": confused,
    "tampered": tampered,
    "signed by another key": under_anothers_kid,
    "without a signature": lambda issuer: issuer.token().rsplit(".", 1)[0] + ".",
    "typ JWT": lambda issuer: issuer.token(header={"typ": "JWT"}),
    "no typ": lambda issuer: issuer.token(header={"typ": None}),
    "a refresh token": lambda issuer: "csgr_" + ".".join(parts(issuer.token())[1:]),
    "a JWT in the place of a refresh token": lambda issuer: issuer.token(header={"typ": "refresh+jwt"}),
    "without exp": lambda issuer: issuer.token(exp=None),
    "without aud": lambda issuer: issuer.token(aud=None),
    "without iss": lambda issuer: issuer.token(iss=None),
    "without client_id": lambda issuer: issuer.token(client_id=None),
    "without roles": lambda issuer: issuer.token(roles=None),
    "no JWT": lambda issuer: "nonsense",
    "three empty parts": lambda issuer: "..",
    "a JWS in JSON": in_json,
    "forged without kid": without_kid,
    "a header without members": lambda issuer: with_parts(issuer.token(), header=b"{}"),
    **{
        f"a header that is {name}": lambda issuer, part=part: with_parts(issuer.token(), header=part)
        for name, part in NO_OBJECTS.items()
    },
    **{
        f"a payload that is {name}": lambda issuer, part=part: with_parts(issuer.token(), payload=part)
        for name, part in NO_OBJECTS.items()
    },
    "a signed list": lambda issuer: issuer.signed([]),
    "a signed number": lambda issuer: issuer.signed(5),
    **{name: lambda issuer, odd=odd: with_header(issuer.token(), **odd) for name, odd in ODD_MEMBERS.items()},
    # Last: a library that fetches keys for an unknown kid may wait before it does so again.
    "an unknown kid": lambda issuer: issuer.token(key=Key()),
}
