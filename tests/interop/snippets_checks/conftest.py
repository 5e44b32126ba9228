import os

import pytest
import requests
from issuer import Issuer
from programs import APIS, selected

BASE = os.environ["COUNTERSIGN_BASE"]


@pytest.fixture(scope="session")
def metadata():
    return requests.get(f"{BASE}/.well-known/openid-configuration").json()


@pytest.fixture(scope="module", params=selected(APIS), ids=lambda program: program.name)
def program(request):
    return request.param


@pytest.fixture(scope="module")
def issuer(program, metadata):
    return Issuer(metadata)


@pytest.fixture(scope="module")
def api(program, issuer):
    """The program, with an issuer that is not there yet and a JWKS cache of two seconds."""
    running = program.start(issuer.url, short=True)
    yield running
    running.stop()
