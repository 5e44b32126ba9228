import pytest
from account import Account, Checkout
from issuer import AUDIENCE, Issuer


@pytest.fixture(scope="session")
def account(tmp_path_factory):
    account = Account(tmp_path_factory.mktemp("account"))
    yield account
    account.close()


@pytest.fixture(scope="session")
def checkout(account, tmp_path_factory):
    return Checkout(account, tmp_path_factory.mktemp("checkout"))


@pytest.fixture(scope="session")
def http_issuer(account, checkout):
    """An issuer behind an HTTP API, the default."""
    return Issuer(account, checkout.deploy_stack("countersign", AuthorizerAudience=AUDIENCE, DeletionProtection="on"))


@pytest.fixture(scope="session")
def rest_issuer(account, checkout):
    """An issuer behind a REST API."""
    return Issuer(account, checkout.deploy_stack("rest", FrontDoor="rest-api", DeletionProtection="on"))


@pytest.fixture(scope="session")
def issuer(http_issuer):
    """The issuer of checks for which the front door makes no difference."""
    return http_issuer
