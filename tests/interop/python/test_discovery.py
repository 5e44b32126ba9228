"""The metadata (RFC 8414) and the key set, as HTTP clients and caches see them."""

import requests
from support import BASE


def test_the_metadata_names_the_issuer_it_was_fetched_from(metadata):
    assert metadata["issuer"] == BASE  # RFC 8414 3.3


def test_the_metadata_lists_the_endpoints_and_grants_of_the_server(metadata):
    assert metadata["token_endpoint"] == f"{BASE}/oauth/token"
    assert metadata["revocation_endpoint"] == f"{BASE}/oauth/revoke"
    assert metadata["introspection_endpoint"] == f"{BASE}/oauth/introspect"
    assert metadata["jwks_uri"] == f"{BASE}/.well-known/jwks.json"
    assert set(metadata["grant_types_supported"]) == {
        "client_credentials",
        "password",
        "operator_password",
        "refresh_token",
    }
    assert set(metadata["token_endpoint_auth_methods_supported"]) == {"client_secret_basic", "client_secret_post"}
    assert isinstance(metadata["response_types_supported"], list)  # REQUIRED by RFC 8414 2, even if empty


def test_the_openid_path_serves_the_same_document(metadata):
    assert requests.get(f"{BASE}/.well-known/openid-configuration").json() == metadata


def test_the_key_set_may_be_cached_for_15_minutes_and_revalidated(metadata):
    fresh = requests.get(metadata["jwks_uri"])
    assert fresh.headers["Cache-Control"] == "public, max-age=900"
    again = requests.get(metadata["jwks_uri"], headers={"If-None-Match": fresh.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    for name in ("Cache-Control", "ETag"):  # with the headers of a 200 response (RFC 9110 15.4.5)
        assert again.headers[name] == fresh.headers[name]
    other = requests.get(metadata["jwks_uri"], headers={"If-None-Match": '"another"'})
    assert other.json() == fresh.json()
