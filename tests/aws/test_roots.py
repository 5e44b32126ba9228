"""What an endpoint's certificate must chain to: Amazon's own roots, or those that AWS_CA_BUNDLE names."""

import datetime
from pathlib import Path

import botocore
import pytest
from cryptography import x509
from processes import Function, event
from template import ROOT
from tls import Authority, Proxy


def roots(file):
    return set(x509.load_pem_x509_certificates(file.read_bytes()))


def test_the_roots_are_those_of_amazon_in_the_list_that_awss_own_sdk_ships():
    """A root that leaves that list, one that is added, or one with less than two years to go fails here."""
    listed = roots(Path(botocore.__file__).parent / "cacert.pem")
    amazons = {root for root in listed if "Amazon" in (name := root.subject.rfc4514_string()) or "Starfield Services" in name}
    ours = roots(ROOT / "shared/issuer/src/store/roots.pem")
    assert ours == amazons
    soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=730)
    assert all(root.not_valid_after_utc > soon for root in ours)


@pytest.fixture
def over_tls(dev, tmp_path):
    authority = Authority(tmp_path)
    store = Proxy(authority, dev.environment["AWS_ENDPOINT_URL_DYNAMODB"])
    return authority, {**dev.environment, "AWS_ENDPOINT_URL_DYNAMODB": store.url, "COUNTERSIGN_DEV_ROTATION_PERIOD": ""}


def test_a_store_behind_a_certificate_of_ones_own_is_reached_through_aws_ca_bundle(over_tls, tmp_path):
    authority, environment = over_tls
    trusting = {**environment, "AWS_CA_BUNDLE": str(authority.bundle)}
    with Function(tmp_path, "token", trusting) as token:
        status, _, answer = token.answer(event("token-client-credentials"))
        assert status == 200 and answer["access_token"], token.said()


def test_nobody_but_amazon_is_trusted_unless_told(over_tls, tmp_path):
    _, environment = over_tls
    with Function(tmp_path, "token", environment) as token:
        assert token.answer(event("token-client-credentials"))[0] == 503
        assert "UnknownIssuer" in token.said()


@pytest.mark.parametrize(
    ("bundle", "told"),
    [
        (None, "names a file that cannot be read"),
        ("no certificate", "names a file without certificates in PEM"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "names a file in which a certificate is broken"),
        ("-----BEGIN CERTIFICATE-----\n%\n-----END CERTIFICATE-----\n", "names a file in which a certificate is broken"),
    ],
)
def test_a_bundle_that_cannot_be_used_is_named_at_the_start(bundle, told, dev, tmp_path):
    file = tmp_path / "bundle.pem"
    if bundle is not None:
        file.write_text(bundle)
    with Function(tmp_path, "token", {**dev.environment, "AWS_CA_BUNDLE": str(file), "AWS_REGION": ""}) as token:
        token.child.wait(20)
        assert token.child.returncode != 0
        assert f"AWS_CA_BUNDLE {told}" in token.said() and "AWS_REGION is not set" in token.said()
