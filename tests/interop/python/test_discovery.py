"""RFC 8414 metadata and the key set, as any HTTP client and cache sees them."""

import requests
from support import BASE


def test_the_issuer_is_where_the_metadata_was_found(metadata):
    assert metadata["issuer"] == BASE  # RFC 8414 3.3


def test_the_metadata_says_what_the_server_does(metadata):
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
    assert isinstance(metadata["response_types_supported"], list)  # REQUIRED in RFC 8414 2, empty or not


def test_the_openid_path_has_the_same_document(metadata):
    assert requests.get(f"{BASE}/.well-known/openid-configuration").json() == metadata


def test_the_key_set_may_be_kept_for_15_minutes_and_revalidated(metadata):
    fresh = requests.get(metadata["jwks_uri"])
    assert fresh.headers["Cache-Control"] == "public, max-age=900"
    again = requests.get(metadata["jwks_uri"], headers={"If-None-Match": fresh.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    for name in ("Cache-Control", "ETag"):  # RFC 9110 15.4.5: as the 200 would have them
        assert again.headers[name] == fresh.headers[name]
    other = requests.get(metadata["jwks_uri"], headers={"If-None-Match": '"another"'})
    assert other.json() == fresh.json()
