"""Authlib as the client. It sends Basic credentials raw, where RFC 6749 2.3.1 would have them form-encoded."""

import jwt
import pytest
from authlib.integrations.base_client import OAuthError
from authlib.integrations.requests_client import OAuth2Session
from support import ALICE, BASE, JANE, SECRETS


@pytest.fixture
def session(metadata):
    def open_session(client, **options):
        return OAuth2Session(client, SECRETS[client], token_endpoint=metadata["token_endpoint"], **options)

    return open_session


def claims(token):
    """What the token says. That it may say so is for test_pyjwt_verifier.py."""
    return jwt.decode(token["access_token"], options={"verify_signature": False})


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
def test_client_credentials(session, method):
    app = session("demo-service", token_endpoint_auth_method=method)
    token = app.fetch_token(grant_type="client_credentials", brandKey="globex")
    assert token["token_type"] == "Bearer"
    assert set(token["scope"].split()) == {"reports:read", "reports:write"}
    assert "refresh_token" not in token
    assert claims(token)["sub"] == claims(token)["client_id"] == "demo-service"
    assert claims(token)["brandKey"] == "globex"


def test_a_client_may_act_for_an_operator(session):
    app = session("demo-service")
    token = app.fetch_token(grant_type="client_credentials", operator="alice.ops", brandKey="acme")
    assert claims(token)["operator"] == "alice.ops"
    assert claims(token)["sub"] == "demo-service"
    assert claims(token)["roles"] == ["reporting"]


def test_password_grant(session):
    token = session("demo-app").fetch_token(**JANE, brandKey="acme")
    assert claims(token)["sub"].startswith("usr_")
    assert claims(token)["roles"] == ["subscriber"]
    assert claims(token)["brandKey"] == "acme"
    assert "operator" not in claims(token)
    assert token["refresh_token"]


def test_the_only_brand_of_a_client_need_not_be_named(session):
    assert claims(session("demo-app").fetch_token(**JANE))["brandKey"] == "acme"


def test_operator_password_as_a_grant_of_our_own(session):
    token = session("demo-app").fetch_token(grant_type="operator_password", **ALICE, brandKey="acme")
    assert claims(token)["sub"].startswith("opr_")
    assert claims(token)["operator"] == "alice.ops"
    assert set(claims(token)["roles"]) == {"care-agent", "billing"}
    assert token["refresh_token"]


def test_fewer_scopes_on_request(session):
    token = session("demo-service", scope="reports:read").fetch_token(brandKey="acme")
    assert token["scope"] == claims(token)["scope"] == "reports:read"


@pytest.mark.parametrize("path", ["/oauth/token", "/oauth/refresh"])
def test_refresh(session, path):
    app = session("demo-app")
    first = app.fetch_token(**JANE)
    second = app.refresh_token(BASE + path)
    assert second["refresh_token"] != first["refresh_token"]
    assert claims(second)["sub"] == claims(first)["sub"]
    assert claims(second)["jti"] != claims(first)["jti"]


def test_an_operators_token_is_refreshed_as_the_operator(session):
    app = session("demo-app")
    app.fetch_token(grant_type="operator_password", **ALICE, brandKey="acme")
    assert claims(app.refresh_token())["operator"] == "alice.ops"


def test_a_refresh_may_narrow_and_the_next_one_has_all_again(session):
    app = session("demo-app")
    app.fetch_token(**JANE)
    assert app.refresh_token(scope="profile:read")["scope"] == "profile:read"
    assert set(app.refresh_token()["scope"].split()) == {"profile:read", "profile:write"}


def test_a_refresh_never_widens(session):
    app = session("demo-app")
    app.fetch_token(**JANE, scope="profile:read")
    with pytest.raises(OAuthError, match="invalid_scope"):
        app.refresh_token(scope="profile:read profile:write")


def test_introspection_of_an_access_token(session, metadata):
    app = session("demo-service")
    token = app.fetch_token(grant_type="client_credentials", brandKey="acme")
    answer = app.introspect_token(metadata["introspection_endpoint"], token=token["access_token"]).json()
    assert answer["active"] is True
    for name in ("sub", "client_id", "scope", "exp"):
        assert answer[name] == claims(token)[name]


def test_introspection_of_nonsense(session, metadata):
    answer = session("demo-service").introspect_token(metadata["introspection_endpoint"], token="nonsense")
    assert (answer.status_code, answer.json()) == (200, {"active": False})  # RFC 7662 2.2


def test_a_revoked_refresh_token_is_of_no_more_use(session, metadata):
    app = session("demo-app")
    refresh_token = app.fetch_token(**JANE)["refresh_token"]
    hint = {"token": refresh_token, "token_type_hint": "refresh_token"}
    assert app.introspect_token(metadata["introspection_endpoint"], **hint).json()["active"] is True
    assert app.revoke_token(metadata["revocation_endpoint"], **hint).status_code == 200
    assert app.introspect_token(metadata["introspection_endpoint"], **hint).json() == {"active": False}
    with pytest.raises(OAuthError, match="invalid_grant"):
        app.refresh_token(refresh_token=refresh_token)


def test_revoking_nonsense_is_no_error(session, metadata):
    answer = session("demo-app").revoke_token(metadata["revocation_endpoint"], token="nonsense")
    assert answer.status_code == 200  # RFC 7009 2.2


def test_the_token_opens_the_protected_api(session):
    app = session("demo-service")
    app.fetch_token(grant_type="client_credentials", brandKey="acme")
    assert app.get(f"{BASE}/api/reports").status_code == 200
