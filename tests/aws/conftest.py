import boto3
import pytest
from gate import Gate
from processes import Dev, Kms


@pytest.fixture(scope="session")
def kms(tmp_path_factory):
    with Kms(tmp_path_factory.mktemp("kms")) as kms:
        yield kms


@pytest.fixture(scope="module")
def dev(tmp_path_factory):
    with Dev(tmp_path_factory.mktemp("dev")) as dev:
        yield dev


@pytest.fixture(scope="module")
def database(dev):
    return boto3.client(
        "dynamodb",
        endpoint_url=dev.environment["AWS_ENDPOINT_URL_DYNAMODB"],
        region_name=dev.environment["AWS_REGION"],
        aws_access_key_id="local",
        aws_secret_access_key="local",
    )


@pytest.fixture
def gated(dev, kms):
    """Opens a gate for an identity. Returns it with an environment as on AWS, except that the
    endpoints are the gate's."""
    gates = []

    def open_gate(identity):
        gates.append(Gate(identity, dev.environment["AWS_ENDPOINT_URL_DYNAMODB"], kms.url))
        local = {name: value for name, value in dev.environment.items() if name != "COUNTERSIGN_LOCAL_KEY"}
        url = gates[-1].url
        endpoints = {"AWS_ENDPOINT_URL_DYNAMODB": url, "AWS_ENDPOINT_URL_KMS": url}
        return gates[-1], {**local, **endpoints, "COUNTERSIGN_KMS_KEY_ID": kms.key_id}

    yield open_gate
    for gate in gates:
        gate.close()
