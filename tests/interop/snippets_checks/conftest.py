import os

import pytest
import requests
from issuer import Issuer
from programs import APIS, selected

BASE = os.environ["COUNTERSIGN_BASE"]


def pytest_configure(config):
    config.addinivalue_line("markers", "part(*names): the test belongs to these parts only")


def pytest_collection_modifyitems(config, items):
    """Deselects what belongs to other parts, so that a skipped test is never counted as passed."""
    parts = set(os.environ["COUNTERSIGN_PARTS"].split())
    others = []
    for item in items:
        mark = item.get_closest_marker("part")
        # pytest calls the parameter of an empty set NOTSET.
        if (mark and parts.isdisjoint(mark.args)) or "NOTSET" in item.nodeid:
            others.append(item)
    config.hook.pytest_deselected(items=others)
    items[:] = [item for item in items if item not in others]


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
