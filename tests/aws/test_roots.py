"""The trusted roots: an endpoint's certificate must chain to Amazon's roots, or to those that
AWS_CA_BUNDLE names."""

import datetime
from pathlib import Path

import botocore
import pytest
from cryptography import x509
from processes import Function, event
from template import ROOT
from tls import Authority, Proxy


def certificates(file):
    return set(x509.load_pem_x509_certificates(file.read_bytes()))


def test_the_roots_are_those_of_amazon_in_the_list_of_awss_own_sdk():
    """Fails if a root of Amazon leaves that list or joins it, or if one expires within two
    years."""
    listed = certificates(Path(botocore.__file__).parent / "cacert.pem")
    of_amazon = {root for root in listed if "Amazon" in (name := root.subject.rfc4514_string()) or "Starfield Services" in name}
    (file,) = ROOT.glob("shared/*/src/**/roots.pem")
    ours = certificates(file)
    assert ours == of_amazon
    soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=730)
    assert all(root.not_valid_after_utc > soon for root in ours)


@pytest.fixture
def over_tls(dev, tmp_path):
    authority = Authority(tmp_path)
    store = Proxy(authority, dev.environment["AWS_ENDPOINT_URL_DYNAMODB"])
    deployed = {
        "AWS_ENDPOINT_URL_DYNAMODB": store.url,
        "COUNTERSIGN_ISSUER": "https://issuer.example.com",
        "COUNTERSIGN_DEV_ROTATION_PERIOD": "",
    }
    return authority, {**dev.environment, **deployed}


def test_aws_ca_bundle_makes_a_private_authority_trusted(over_tls, tmp_path):
    authority, environment = over_tls
    trusting = {**environment, "AWS_CA_BUNDLE": str(authority.bundle)}
    with Function(tmp_path, "token", trusting) as token:
        status, _, answer = token.answer(event("token-client-credentials"))
        assert status == 200 and answer["access_token"], token.output()


def test_without_aws_ca_bundle_only_amazon_is_trusted(over_tls, tmp_path):
    _, environment = over_tls
    with Function(tmp_path, "token", environment) as token:
        assert token.answer(event("token-client-credentials"))[0] == 503
        assert "UnknownIssuer" in token.output()


@pytest.mark.parametrize(
    ("bundle", "error"),
    [
        (None, "names a file that cannot be read"),
        ("no certificate", "names a file without certificates in PEM"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "names a file in which a certificate is broken"),
        ("-----BEGIN CERTIFICATE-----\n%\n-----END CERTIFICATE-----\n", "names a file in which a certificate is broken"),
    ],
)
def test_a_start_reports_a_bundle_that_cannot_be_used(bundle, error, dev, tmp_path):
    file = tmp_path / "bundle.pem"
    if bundle is not None:
        file.write_text(bundle)
    with Function(tmp_path, "token", {**dev.environment, "AWS_CA_BUNDLE": str(file), "AWS_REGION": ""}) as token:
        token.child.wait(20)
        assert token.child.returncode != 0
        assert f"AWS_CA_BUNDLE {error}" in token.output() and "AWS_REGION is not set" in token.output()
