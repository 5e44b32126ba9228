import jwt
import pytest
import requests
from support import BASE


@pytest.fixture(scope="session")
def metadata():
    """The metadata document (RFC 8414), from which a client learns the endpoints."""
    return requests.get(f"{BASE}/.well-known/oauth-authorization-server").json()


@pytest.fixture(scope="session")
def keys(metadata):
    return jwt.PyJWKClient(metadata["jwks_uri"])
