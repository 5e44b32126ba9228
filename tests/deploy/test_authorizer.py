"""The authorizer before APIs of other stacks, which refer to it as docs/verifying.md says."""

import re
from pathlib import Path
from textwrap import indent

import pytest
from issuer import snippet

HTTP_API, REST_API = "AWS::ApiGatewayV2::Authorizer", "AWS::ApiGateway::Authorizer"


def documented_authorizer(kind):
    return snippet("verifying.md", f"Authorizer:\n  Type: {kind}")


def template(kind, authorizer):
    base = Path(__file__).with_name("http-api.yaml" if kind == HTTP_API else "rest-api.yaml").read_text()
    return base + indent(authorizer, "  ")


@pytest.fixture(
    scope="module",
    params=[(HTTP_API, "REQUEST"), (REST_API, "REQUEST"), (REST_API, "TOKEN")],
    ids=["http-api", "rest-api", "rest-api-token"],
)
def api(request, account, issuer):
    """Deploys an API, which imports the authorizer of the issuer. Returns its URL, the status with which it answers a bad token, and that with
    which it answers good Basic credentials."""
    kind, mode = request.param
    authorizer = re.sub(r"(\bType|AuthorizerType): REQUEST", rf"\1: {mode}", documented_authorizer(kind))
    assert f": {mode}" in authorizer
    stack = f"api-{kind.split('::')[1]}-{mode}"
    account.create_stack(stack, template(kind, authorizer))
    bad = 403 if kind == HTTP_API else 401
    # The event of a TOKEN authorizer lacks the caller's address, which HTTP Basic needs.
    return account.outputs(stack)["Url"], bad, 200 if mode == "REQUEST" else bad


@pytest.fixture(scope="module")
def service_token(issuer):
    return issuer.granted(issuer.service, "client_credentials")["access_token"]


@pytest.fixture(scope="module")
def user_token(issuer):
    return issuer.log_in()["access_token"]


@pytest.fixture
def call(account, api):
    url, _, _ = api

    def call(method, path, token=None, credentials=None):
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return account.http.request(method, url + path, headers=headers, auth=credentials, timeout=20)

    return call


def test_a_token_that_may_use_the_route(call, service_token):
    read = call("GET", "/api/calls", service_token)
    assert read.status_code == 200 and "service" in read.text, read.text
    # By its role; reading needs a scope.
    assert call("POST", "/api/calls", service_token).status_code == 200


def test_a_token_that_may_not_use_the_route(call, service_token, user_token):
    assert call("GET", "/api/calls", user_token).status_code == 200
    assert call("POST", "/api/calls", user_token).status_code == 403
    assert call("GET", "/api/reports", service_token).status_code == 403


def test_no_token_and_a_bad_token(call, api, service_token):
    _, bad, _ = api
    assert call("GET", "/api/calls").status_code == 401
    for token in ("x", service_token[:-4] + "AAAA"):
        assert call("GET", "/api/calls", token).status_code == bad


def test_basic_credentials(call, api, issuer):
    _, bad, good = api
    assert call("GET", "/api/calls", credentials=issuer.service).status_code == good
    assert call("GET", "/api/calls", credentials=(issuer.service[0], "csgn_wrong")).status_code == bad
