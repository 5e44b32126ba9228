import jwt
import pytest
import requests
from support import BASE


@pytest.fixture(scope="session")
def metadata():
    """RFC 8414: the one place from which a client learns the endpoints."""
    return requests.get(f"{BASE}/.well-known/oauth-authorization-server").json()


@pytest.fixture(scope="session")
def keys(metadata):
    return jwt.PyJWKClient(metadata["jwks_uri"])
