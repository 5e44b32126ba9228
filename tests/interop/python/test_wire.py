"""Plain requests: what the token endpoint refuses, and the errors and headers of its answers."""

import jwt
import pytest
import requests
from support import BASE, JANE, SECRETS, ask, granted, jane_tokens, refresh, refused, service_token

TOKEN = f"{BASE}/oauth/token"
VOICE = ("demo-voice", SECRETS["demo-voice"])
GRANT = {"grant_type": "client_credentials"}
ACME = GRANT | {"brandKey": "acme"}
CHALLENGE = 'Basic realm="countersign", charset="UTF-8"'


def test_a_wrong_secret_and_an_unknown_client_get_the_same_challenge():
    answers = [
        requests.post(TOKEN, data=GRANT, auth=("demo-voice", "wrong")),
        requests.post(TOKEN, data=GRANT, auth=("nobody", "wrong")),
        requests.post(TOKEN, data=GRANT | {"client_id": "demo-voice", "client_secret": "wrong"}),
    ]
    for answer in answers:
        refused(answer, "invalid_client", status=401)
        assert answer.headers["WWW-Authenticate"] == CHALLENGE
    assert len({answer.text for answer in answers}) == 1


@pytest.mark.parametrize(
    ("form", "auth", "text"),
    [
        (GRANT, None, "there are no client credentials"),
        (GRANT | {"client_id": "demo-voice"}, None, "client_secret is missing"),
        (GRANT, ("demo-voice", ""), "no secret"),
        (GRANT, ("demo-voice", "größe".encode("latin-1")), "not UTF-8"),
    ],
    ids=["none", "no-secret-in-the-form", "no-secret-in-the-header", "latin-1"],
)
def test_missing_or_malformed_credentials_get_a_text_that_says_so(form, auth, text):
    answer = requests.post(TOKEN, data=form, auth=auth)
    refused(answer, "invalid_client", status=401)
    assert answer.headers["WWW-Authenticate"] == CHALLENGE
    assert text in answer.json()["error_description"]


@pytest.mark.parametrize("path", ["/oauth/refresh", "/oauth/revoke", "/oauth/introspect"])
def test_the_other_endpoints_require_the_same_client_authentication(path):
    form = {"refresh_token": "nonsense", "token": "nonsense"}
    answer = requests.post(BASE + path, data=form, auth=("demo-app", "wrong"))
    refused(answer, "invalid_client", status=401)
    assert answer.headers["WWW-Authenticate"] == CHALLENGE


@pytest.mark.parametrize(
    ("client", "form", "error"),
    [
        ("demo-service", GRANT | {"brandKey": "initech"}, "invalid_request"),
        ("demo-service", GRANT, "invalid_request"),
        ("demo-voice", ACME, "invalid_request"),
        ("demo-voice", {"scope": "calls:read"}, "invalid_request"),
        ("demo-voice", {"grant_type": ""}, "invalid_request"),
        ("demo-voice", {"grant_type": ["client_credentials", "client_credentials"]}, "invalid_request"),
        ("demo-service", ACME | {"scope": "reports:read calls:read"}, "invalid_scope"),
        ("demo-service", ACME | {"resource": "https://elsewhere.example.com"}, "invalid_target"),
        ("demo-service", ACME | {"operator": "bob.ops"}, "invalid_grant"),
        ("demo-voice", GRANT | {"operator": "alice.ops"}, "invalid_grant"),
        ("demo-voice", {"grant_type": "authorization_code"}, "unsupported_grant_type"),
        ("demo-voice", {"grant_type": "password", **JANE}, "unauthorized_client"),
        ("demo-app", ACME, "unauthorized_client"),
    ],
    ids=[
        "brand-of-another-client",
        "brand-not-named",
        "brand-for-a-client-without-brands",
        "no-grant-type",
        "empty-grant-type",
        "repeated-grant-type",
        "scope-of-another-client",
        "resource-of-another-client",
        "unknown-operator",
        "operator-of-another-client",
        "unknown-grant",
        "grant-not-granted",
        "client-credentials-not-granted",
    ],
)
def test_a_request_beyond_the_clients_rights_is_refused(client, form, error):
    refused(ask(client, **form), error)


def test_a_wrong_password_an_unknown_user_and_a_foreign_token_get_the_same_answer():
    jane = {"grant_type": "password", "brandKey": "acme", **JANE}
    answers = [
        ask("demo-app", **jane | {"password": "wrong"}),
        ask("demo-app", **jane | {"username": "nobody@example.com"}),
        refresh("nonsense"),
    ]
    for answer in answers:
        refused(answer, "invalid_grant")
    assert len({answer.text for answer in answers}) == 1


def test_client_credentials_in_two_places_are_refused():
    refused(ask("demo-voice", client_secret=SECRETS["demo-voice"], **GRANT), "invalid_request")


def test_a_client_id_beside_basic_must_be_the_same():
    granted(ask("demo-voice", client_id="demo-voice", **GRANT))
    refused(ask("demo-voice", client_id="demo-app", **GRANT), "invalid_request")


def test_a_parameter_in_the_query_string_is_refused():
    refused(requests.post(TOKEN, params={"scope": "calls:read"}, data=GRANT, auth=VOICE), "invalid_request")


def test_a_json_body_is_refused():
    refused(requests.post(TOKEN, json=GRANT, auth=VOICE), "invalid_request")


def test_any_method_but_post_is_refused():
    answer = requests.get(TOKEN)
    refused(answer, "invalid_request", status=405)
    assert answer.headers["Allow"] == "POST"


def test_a_body_of_more_than_16_kib_is_refused():
    refused(ask("demo-voice", padding="x" * 16 * 1024, **GRANT), "invalid_request", status=413)


def test_the_resource_parameter_becomes_the_audience():
    token = service_token(resource="https://api.example.com")
    assert jwt.decode(token, options={"verify_signature": False})["aud"] == "https://api.example.com"


def test_the_audience_parameter_means_the_same_and_a_token_has_one():
    token = service_token(audience="https://api.example.com")
    assert jwt.decode(token, options={"verify_signature": False})["aud"] == "https://api.example.com"
    two = ["https://api.example.com", "https://other.example.com"]
    refused(ask("demo-service", resource=two, **ACME), "invalid_target")


def test_a_refresh_at_its_own_endpoint_needs_no_grant_type():
    granted(ask("demo-app", "/oauth/refresh", refresh_token=jane_tokens()["refresh_token"]))


def test_a_retry_after_a_lost_answer_gets_the_same_successor():
    first = jane_tokens()["refresh_token"]
    once, again = (granted(refresh(first))["refresh_token"] for _ in range(2))
    token_of = {"token_type_hint": "refresh_token"}
    expiry = [
        granted(ask("demo-app", "/oauth/introspect", token=token, **token_of))["exp"] for token in (once, again)
    ]
    assert len(set(expiry)) == 1
    # Both are copies of one successor: after one of them is used, the other is one step behind and
    # no second branch.
    granted(refresh(once))
    granted(refresh(again))


def test_a_refresh_token_whose_successor_was_used_is_refused():
    first = jane_tokens()["refresh_token"]
    second = granted(refresh(first))["refresh_token"]
    third = granted(refresh(second))["refresh_token"]
    refused(refresh(first), "invalid_grant")
    # Within ten seconds this may be a slow parallel retry, so the newest token stays valid.
    granted(refresh(third))


@pytest.mark.parametrize("rotations", [0, 1, 2])
def test_revoking_the_newest_refresh_token_revokes_its_whole_family(rotations):
    family = [jane_tokens()["refresh_token"]]
    for _ in range(rotations):
        family.append(granted(refresh(family[-1]))["refresh_token"])
    assert ask("demo-app", "/oauth/revoke", token=family[-1]).status_code == 200
    for token in family:
        refused(refresh(token), "invalid_grant")


def test_a_refresh_token_is_bound_to_its_brand():
    refused(refresh(jane_tokens()["refresh_token"], brandKey="globex"), "invalid_grant")


def test_an_access_token_is_not_a_refresh_token():
    refused(refresh(jane_tokens()["access_token"]), "invalid_grant")


def test_a_client_without_the_refresh_grant_cannot_use_anothers_token():
    refused(refresh(jane_tokens()["refresh_token"], client="demo-voice"), "unauthorized_client")
