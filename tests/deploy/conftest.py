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
def issuer(account, checkout):
    return Issuer(account, checkout.deploy_stack("countersign", AuthorizerAudience=AUDIENCE, DeletionProtection="on"))
