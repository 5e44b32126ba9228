"""Keys that a KMS wraps: what the table holds of them, and when the real functions sign with
them."""

import base64
import json
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import jwt
import pytest
from boto3.dynamodb.types import Binary
from botocore.exceptions import ClientError
from processes import Kms, event
from ring import point, private_key_of, public_key_of

AUDIENCE = "https://api.example.com"
TOKEN, JWKS, ROTATE = event("token-client-credentials"), event("jwks"), event("rotate")


def granted(answer):
    status, _, body = answer
    assert status == 200, body
    return body["access_token"]


def kid_of(token):
    return jwt.get_unverified_header(token)["kid"]


def refused(answer, status, error):
    """Checks for an OAuth error: in JSON that no cache stores, and without any part of a token."""
    actual, headers, body = answer
    assert (actual, body["error"]) == (status, error), body
    assert set(body) == {"error", "error_description"}
    assert headers["content-type"] == "application/json;charset=UTF-8"
    assert headers["cache-control"] == "no-store"
    assert ("retry-after" in headers) == (status == 503)


def check_no_secret_in(log, *secrets):
    for secret in [b"demo-service-secret", *secrets]:
        encoded = base64.b64encode(secret).decode().rstrip("=")
        spellings = [encoded, encoded.replace("+", "-").replace("/", "_"), secret.hex(), str(list(secret))]
        assert not any(text in log for text in [*spellings, secret.decode("latin-1")])


def secrets_of(kms, ring, seq):
    pkcs8, key = private_key_of(kms, ring, seq)
    return pkcs8, key.private_numbers().private_value.to_bytes(32, "big"), ring.wrapped(seq)


def test_an_empty_ring_gets_a_signing_key_and_an_announced_key(empty_ring, countersign):
    done = countersign("key", "rotate")
    signing, announced = countersign("key", "list")
    assert (signing["seq"], signing["state"]) == (1, "signing")
    assert (announced["seq"], announced["state"]) == (2, "announced")
    kids = [signing["kid"], announced["kid"]]
    assert done == {"signing": kids[:1], "announced": kids[1:], "created": kids, "deleted": []}


def test_only_kms_can_decrypt_the_private_key_of_an_item_and_only_in_its_place(ring, kms):
    for seq, item in ring.items().items():
        assert set(item) == {
            *("ring", "seq", "kid", "jwk", "announced_at", "known_at", "activates_at"),
            *("longest_access", "longest_refresh", "wrapped", "kms_key"),
        }
        jwk = json.loads(item["jwk"])
        assert set(jwk) == {"kty", "crv", "x", "y", "kid", "use", "alg"}
        assert jwk["kid"] == item["kid"]

        pkcs8, key = private_key_of(kms, ring, seq)
        assert point(key.public_key()) == point(public_key_of(item))
        scalar = key.private_numbers().private_value.to_bytes(32, "big")
        assert scalar in pkcs8 and scalar not in ring.wrapped(seq)

        right = ring.context(seq)
        for wrong in ({**right, "seq": "3"}, {**right, "table": "other"}, {**right, "more": "x"}, {}):
            with pytest.raises(ClientError, match="InvalidCiphertextException"):
                kms.client.decrypt(KeyId=kms.key_id, CiphertextBlob=ring.wrapped(seq), EncryptionContext=wrong)


def test_a_token_verifies_against_the_key_set(ring, function, environment):
    # The function that publishes the key set has no access to KMS.
    without_kms = {name: value for name, value in environment.items() if "KMS" not in name}
    token, jwks = function("token"), function("jwks", without_kms)
    status, headers, key_set = jwks.answer(JWKS)
    assert (status, headers["cache-control"]) == (200, "public, max-age=900")
    assert [key["kid"] for key in key_set["keys"]] == [item["kid"] for item in ring.items().values()]
    assert not any("d" in key for key in key_set["keys"])

    keys = jwt.PyJWKSet.from_dict(key_set)
    for _ in range(3):
        access = granted(token.answer(TOKEN))
        claims = jwt.decode(
            access,
            keys[kid_of(access)],
            algorithms=["ES256"],
            audience=AUDIENCE,
            issuer=environment["COUNTERSIGN_ISSUER"],
        )
        assert (claims["sub"], claims["operator"]) == ("demo-service", "alice.ops")
        assert kid_of(access) == ring.item(1)["kid"]


def from_another_item(ring, _):
    ring.set(1, wrapped=ring.item(2)["wrapped"])


def moved_to_another_number(ring, _):
    ring.copy(1, 3)
    ring.delete(1)


def under_another_public_key(ring, _):
    other = ring.item(2)
    ring.set(1, jwk=other["jwk"], kid=other["kid"])


def generated(ring, kms, spec):
    """Writes what an attacker could who may use the KMS key, in the right encryption context."""
    pair = kms.client.generate_data_key_pair_without_plaintext(
        KeyId=kms.key_id, KeyPairSpec=spec, EncryptionContext=ring.context(1)
    )
    ring.set(1, wrapped=Binary(pair["PrivateKeyCiphertextBlob"]))


def flipped(at):
    return lambda ring, _: ring.flip(1, at)


REFUSED = "KMS refuses: InvalidCiphertextException"
OTHER_KEY = "the private key is not the one of the published public key"
NO_KEY = "not a PKCS#8 P-256 private key"


# ministack's ciphertext: 36 bytes of key id, 32 of the context's hash, 16 of nonce, then the PKCS#8
# under a stream cipher without an authentication tag. So ministack decrypts what AWS would refuse,
# and Countersign has to check the result. In the 138 bytes of OpenSSL's PKCS#8 the scalar starts at
# 36 and the 65 bytes of the public key at 73.
@pytest.mark.parametrize(
    ("tamper", "reason"),
    [
        (from_another_item, REFUSED),
        (moved_to_another_number, REFUSED),
        (under_another_public_key, OTHER_KEY),
        (lambda ring, kms: generated(ring, kms, "ECC_NIST_P256"), OTHER_KEY),
        (lambda ring, kms: generated(ring, kms, "ECC_NIST_P384"), NO_KEY),
        (lambda ring, kms: generated(ring, kms, "RSA_2048"), NO_KEY),
        (flipped(36), REFUSED),
        (flipped(68), NO_KEY),
        (flipped(84), NO_KEY),
        (flipped(84 + 36), NO_KEY),
        (flipped(84 + 67), NO_KEY),
        (flipped(84 + 137), NO_KEY),
        (lambda ring, _: ring.set(1, wrapped=Binary(ring.wrapped(1)[:-1])), NO_KEY),
        (lambda ring, _: ring.set(1, wrapped=Binary(b"x")), REFUSED),
        (lambda ring, _: ring.set(1, wrapped=None), "its private half is not there"),
    ],
    ids=[
        *("from-another-item", "moved", "other-public-key", "other-private-key", "other-curve", "rsa"),
        *("context-flipped", "nonce-flipped", "start-flipped", "scalar-flipped", "point-flipped", "end-flipped"),
        *("cut", "garbage", "erased"),
    ],
)
def test_a_key_that_was_tampered_with_does_not_sign(ring, kms, function, tamper, reason):
    secrets = [*secrets_of(kms, ring, 1), *secrets_of(kms, ring, 2)]
    tamper(ring, kms)
    token = function("token")
    refused(token.answer(TOKEN), 500, "server_error")
    assert reason in token.output()
    check_no_secret_in(token.output(), *secrets)


@pytest.mark.parametrize(
    "garbage",
    [
        {"jwk": "{}", "kid": "x"},
        {"jwk": "not JSON"},
        {"jwk": None},
        {"kid": "x"},
        {"activates_at": "soon"},
        {"withdrawn_at": "once"},
        {"longest_access": -1},
    ],
    ids=str,
)
def test_an_item_that_is_not_a_key_is_skipped_and_stays_unchanged(ring, countersign, function, garbage):
    healthy = [item["kid"] for item in ring.items().values()]
    ring.copy(2, 3, **{"activates_at": 1, **garbage})
    corrupt = ring.item(3)

    token, jwks, rotate = function("token"), function("jwks"), function("rotate")
    assert kid_of(granted(token.answer(TOKEN))) == healthy[0]
    _, _, key_set = jwks.answer(JWKS)
    assert [key["kid"] for key in key_set["keys"]] == healthy
    for process in (token, jwks):
        assert "a signing key's item cannot be used" in process.output()

    # The successor has been published for a day, so it takes over. The next key gets the number
    # after the corrupt item's.
    successor = ring.item(2)
    ring.set(2, **{name: int(successor[name]) - 86_400_000 for name in ("announced_at", "known_at")})
    done = countersign("key", "rotate")
    assert (done["signing"], done["announced"]) == (healthy[1:], done["created"])
    assert ring.item(4)["kid"] in done["created"]
    ring.delete(4)
    kind, done = rotate.invoke(ROTATE)
    assert (kind, len(done["created"])) == ("response", 1)
    assert ring.item(3) == corrupt


@pytest.mark.parametrize(
    "name", ["announced_at", "activates_at", "withdrawn_at", "longest_access", "longest_refresh"]
)
def test_an_absurd_number_in_an_item_does_not_stop_the_functions(ring, countersign, function, name):
    healthy = [item["kid"] for item in ring.items().values()]
    ring.copy(2, 3, **{"activates_at": 1, name: 2**64 - 1})
    assert kid_of(granted(function("token").answer(TOKEN))) == healthy[0]
    status, _, key_set = function("jwks").answer(JWKS)
    assert status == 200 and {key["kid"] for key in key_set["keys"]} >= set(healthy)
    assert function("rotate").invoke(ROTATE)[0] == "response"
    assert [key["state"] for key in countersign("key", "list") if key["seq"] < 3] == ["signing", "announced"]


def test_the_schedule_creates_missing_keys_once(empty_ring, function):
    nothing = ("response", {"created": [], "deleted": []})
    rotate = function("rotate")
    for missing in ([1, 2], [2]):
        for seq in missing:
            empty_ring.delete(seq)
        kind, done = rotate.invoke(ROTATE)
        assert kind == "response"
        assert done == {"created": [empty_ring.item(seq)["kid"] for seq in missing], "deleted": []}
        assert rotate.invoke(ROTATE) == nothing
    # Another, cold instance finds nothing to do either.
    assert function("rotate").invoke(ROTATE) == nothing
    assert list(empty_ring.items()) == [1, 2]


def test_concurrent_rotations_create_no_surplus_key(empty_ring, function):
    runs = [function("rotate") for _ in range(4)]
    with ThreadPoolExecutor(len(runs)) as pool:
        done = list(pool.map(lambda rotate: rotate.invoke(ROTATE), runs))
    assert list(empty_ring.items()) == [1, 2]
    assert {kind for kind, _ in done} == {"response"}
    created = [kid for _, run in done for kid in run["created"]]
    assert sorted(created) == sorted(item["kid"] for item in empty_ring.items().values())


@pytest.fixture
def own_kms(empty_ring, environment, tmp_path):
    """A KMS that the test may stop; it replaces the shared one in the environment."""
    with Kms(tmp_path) as kms:
        environment |= {"COUNTERSIGN_KMS_KEY_ID": kms.key_id, "AWS_ENDPOINT_URL_KMS": kms.url}
        yield kms


def test_without_kms_a_missing_key_is_an_error_in_response_and_log(own_kms, ring, function, countersign):
    rotate = function("rotate")
    own_kms.stop()
    kind, error = rotate.invoke(ROTATE)
    assert kind == "error", "every run looks at the KMS key, so that the alarm rings before a key is due"
    ring.delete(2)
    kind, error = rotate.invoke(ROTATE)
    assert kind == "error"
    assert "KMS" in error["errorMessage"], error
    lines = [json.loads(line) for line in rotate.output().splitlines() if line.startswith("{")]
    failed = [line for line in lines if line.get("event") == "failed" and line["endpoint"] == "rotate"]
    assert any(line["reason"].startswith("signing key 2: KMS is out of reach") for line in failed), lines
    assert list(ring.items()) == [1]
    ring.delete(1)
    error = countersign("key", "rotate")
    assert "KMS is out of reach" in error


@pytest.mark.parametrize("outage", ["stopped", "hangs", "refuses"])
def test_without_kms_warm_functions_keep_signing_and_cold_ones_report_the_outage(own_kms, ring, function, outage):
    warm = function("token")
    granted(warm.answer(TOKEN))
    match outage:
        case "stopped":
            own_kms.stop()
        case "hangs":
            own_kms.child.send_signal(signal.SIGSTOP)
        case "refuses":
            own_kms.client.disable_key(KeyId=own_kms.key_id)
    granted(warm.answer(TOKEN))

    cold = function("token")
    start = time.monotonic()
    answer = cold.answer(TOKEN)
    assert time.monotonic() - start < 6
    if outage == "refuses":
        refused(answer, 500, "server_error")
        assert "KMS refuses: DisabledException" in cold.output()
        own_kms.client.enable_key(KeyId=own_kms.key_id)
    else:
        refused(answer, 503, "temporarily_unavailable")
        assert "KMS is out of reach" in cold.output()
        own_kms.child.send_signal(signal.SIGCONT)
    if outage != "stopped":
        granted(cold.answer(TOKEN))
