import json
import subprocess

import boto3
import pytest
from processes import BINARIES, Dev, Function, Kms
from ring import Ring


@pytest.fixture(scope="session")
def kms(tmp_path_factory):
    with Kms(tmp_path_factory.mktemp("kms")) as kms:
        yield kms


@pytest.fixture(scope="session")
def dev(tmp_path_factory):
    with Dev(tmp_path_factory.mktemp("dev")) as dev:
        yield dev


@pytest.fixture
def environment(dev, kms):
    """The environment of `countersign dev`, but with KMS as on AWS."""
    shared = {name: value for name, value in dev.environment.items() if name != "COUNTERSIGN_LOCAL_KEY"}
    return {**shared, "COUNTERSIGN_KMS_KEY_ID": kms.key_id, "AWS_ENDPOINT_URL_KMS": kms.url}


@pytest.fixture
def countersign(environment):
    """Runs the program in that environment; returns its JSON, or its standard error if it fails."""

    def run(*arguments):
        command = [BINARIES / "countersign", *arguments, "--json"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
        return json.loads(done.stdout) if done.returncode == 0 else done.stderr

    return run


@pytest.fixture
def empty_ring(dev):
    database = boto3.resource(
        "dynamodb",
        endpoint_url=dev.environment["AWS_ENDPOINT_URL_DYNAMODB"],
        region_name=dev.environment["AWS_REGION"],
        aws_access_key_id="local",
        aws_secret_access_key="local",
    )
    ring = Ring(database.Table("countersign-signing-keys"))
    for seq in ring.items():
        ring.delete(seq)
    return ring


@pytest.fixture
def ring(empty_ring, countersign):
    """A new ring: key 1 signs, key 2 is announced."""
    countersign("key", "rotate")
    assert list(empty_ring.items()) == [1, 2]
    return empty_ring


@pytest.fixture
def function(environment, tmp_path):
    """Starts functions, each of them cold."""
    running = []

    def start(name, env=environment):
        running.append(Function(tmp_path, name, env))
        return running[-1]

    yield start
    for process in running:
        process.stop()
