"""Authlib as the client. It sends Basic credentials raw, although RFC 6749 2.3.1 has them
form-encoded."""

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
    """Returns the claims without verifying them, which test_pyjwt_verifier.py covers."""
    return jwt.decode(token["access_token"], options={"verify_signature": False})


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
def test_client_credentials_give_a_token_for_the_client(session, method):
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


def test_a_user_logs_in_with_the_password_grant(session):
    token = session("demo-app").fetch_token(**JANE, brandKey="acme")
    assert claims(token)["sub"].startswith("usr_")
    assert claims(token)["roles"] == ["subscriber"]
    assert claims(token)["brandKey"] == "acme"
    assert "operator" not in claims(token)
    assert token["refresh_token"]


def test_a_client_with_one_brand_need_not_name_it(session):
    assert claims(session("demo-app").fetch_token(**JANE))["brandKey"] == "acme"


def test_operator_password_works_as_an_extension_grant(session):
    token = session("demo-app").fetch_token(grant_type="operator_password", **ALICE, brandKey="acme")
    assert claims(token)["sub"].startswith("opr_")
    assert claims(token)["operator"] == "alice.ops"
    assert set(claims(token)["roles"]) == {"care-agent", "billing"}
    assert token["refresh_token"]


def test_a_client_may_request_fewer_scopes(session):
    token = session("demo-service", scope="reports:read").fetch_token(brandKey="acme")
    assert token["scope"] == claims(token)["scope"] == "reports:read"


@pytest.mark.parametrize("path", ["/oauth/token", "/oauth/refresh"])
def test_a_refresh_gives_new_tokens_for_the_same_user(session, path):
    app = session("demo-app")
    first = app.fetch_token(**JANE)
    second = app.refresh_token(BASE + path)
    assert second["refresh_token"] != first["refresh_token"]
    assert claims(second)["sub"] == claims(first)["sub"]
    assert claims(second)["jti"] != claims(first)["jti"]


def test_a_refreshed_operator_token_still_names_the_operator(session):
    app = session("demo-app")
    app.fetch_token(grant_type="operator_password", **ALICE, brandKey="acme")
    assert claims(app.refresh_token())["operator"] == "alice.ops"


def test_a_refresh_may_narrow_the_scope_and_the_next_one_has_all_of_it(session):
    app = session("demo-app")
    app.fetch_token(**JANE)
    assert app.refresh_token(scope="profile:read")["scope"] == "profile:read"
    assert set(app.refresh_token()["scope"].split()) == {"profile:read", "profile:write"}


def test_a_refresh_never_widens_the_scope(session):
    app = session("demo-app")
    app.fetch_token(**JANE, scope="profile:read")
    with pytest.raises(OAuthError, match="invalid_scope"):
        app.refresh_token(scope="profile:read profile:write")


def test_introspection_returns_the_claims_of_an_access_token(session, metadata):
    app = session("demo-service")
    token = app.fetch_token(grant_type="client_credentials", brandKey="acme")
    answer = app.introspect_token(metadata["introspection_endpoint"], token=token["access_token"]).json()
    assert answer["active"] is True
    for name in ("sub", "client_id", "scope", "exp"):
        assert answer[name] == claims(token)[name]


def test_introspection_of_nonsense_is_inactive(session, metadata):
    answer = session("demo-service").introspect_token(metadata["introspection_endpoint"], token="nonsense")
    assert (answer.status_code, answer.json()) == (200, {"active": False})  # RFC 7662 2.2


def test_a_revoked_refresh_token_is_refused(session, metadata):
    app = session("demo-app")
    refresh_token = app.fetch_token(**JANE)["refresh_token"]
    hint = {"token": refresh_token, "token_type_hint": "refresh_token"}
    assert app.introspect_token(metadata["introspection_endpoint"], **hint).json()["active"] is True
    assert app.revoke_token(metadata["revocation_endpoint"], **hint).status_code == 200
    assert app.introspect_token(metadata["introspection_endpoint"], **hint).json() == {"active": False}
    with pytest.raises(OAuthError, match="invalid_grant"):
        app.refresh_token(refresh_token=refresh_token)


def test_revoking_nonsense_is_not_an_error(session, metadata):
    answer = session("demo-app").revoke_token(metadata["revocation_endpoint"], token="nonsense")
    assert answer.status_code == 200  # RFC 7009 2.2


def test_the_token_opens_the_protected_api(session):
    app = session("demo-service")
    app.fetch_token(grant_type="client_credentials", brandKey="acme")
    assert app.get(f"{BASE}/api/reports").status_code == 200
