"""The image of the local issuer, and the compose files of docs/testing-with-countersign.md.

Needs the image COUNTERSIGN_IMAGE in the engine COUNTERSIGN_ENGINE, and the page's snippets in
COUNTERSIGN_SNIPPETS. Run it by scripts/container-check.
"""

import base64
import json
import os
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import pytest

ENGINE, IMAGE = os.environ["COUNTERSIGN_ENGINE"], os.environ["COUNTERSIGN_IMAGE"]
SNIPPETS = Path(os.environ["COUNTERSIGN_SNIPPETS"])
CREDENTIALS = {"grant_type": "client_credentials"}


def run(*command, text=None):
    ended = subprocess.run(command, capture_output=True, text=True, input=text, timeout=120)
    assert ended.returncode == 0, f"{command}: {ended.stdout}{ended.stderr}"
    return ended.stdout.strip()


def inspect(what):
    return json.loads(run(ENGINE, "inspect", what))[0]


def wait_until_healthy(container):
    deadline = time.monotonic() + 60
    while (state := inspect(container)["State"])["Health"]["Status"] != "healthy":
        assert state["Running"] and time.monotonic() < deadline, run(ENGINE, "logs", container)
        time.sleep(0.2)


def address_of(container):
    """Returns the URL of a container's issuer in its network, which this machine is part of."""
    (network,) = inspect(container)["NetworkSettings"]["Networks"].values()
    return f"http://{network['IPAddress']}:3000"


def get(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)


def request_token(url, client, secret):
    request = urllib.request.Request(f"{url}/oauth/token", urllib.parse.urlencode(CREDENTIALS).encode())
    request.add_header("Authorization", "Basic " + base64.b64encode(f"{client}:{secret}".encode()).decode())
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def parts(token):
    decode = lambda part: json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return [decode(part) for part in token.split(".")[:2]]


@pytest.fixture
def locked_down():
    """A container with as few rights as an engine can give."""
    container = run(
        ENGINE, "run", "--detach", "--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges",
        "--tmpfs", "/data:uid=65532,gid=65532,mode=0700", "--publish", "127.0.0.1::3000", IMAGE,
    )
    yield container
    run(ENGINE, "rm", "--force", "--volumes", container)


def test_it_serves_without_root_without_capabilities_and_on_a_read_only_root(locked_down):
    image = inspect(IMAGE)
    assert image["Config"]["User"] == "65532:65532"
    assert image["Size"] < 60_000_000
    wait_until_healthy(locked_down)
    port = inspect(locked_down)["NetworkSettings"]["Ports"]["3000/tcp"][0]["HostPort"]
    status, answer = request_token(f"http://127.0.0.1:{port}", "demo-voice", "demo-voice-secret")
    assert status == 200 and parts(answer["access_token"])[1]["iss"] == "http://127.0.0.1:3000", answer
    # The store stays within the container.
    assert inspect(locked_down)["NetworkSettings"]["Ports"].keys() == {"3000/tcp"}


def test_the_program_in_the_container_administers_its_issuer(locked_down):
    wait_until_healthy(locked_down)
    created = run(
        ENGINE, "exec", locked_down, "countersign", "--json", "client", "create", "billing",
        "--grant", "client_credentials", "--audience", "https://bills.example.com",
    )
    port = inspect(locked_down)["NetworkSettings"]["Ports"]["3000/tcp"][0]["HostPort"]
    status, answer = request_token(f"http://127.0.0.1:{port}", "billing", json.loads(created)["client_secret"])
    assert status == 200 and parts(answer["access_token"])[1]["aud"] == "https://bills.example.com", answer


def test_a_container_in_the_same_network_namespace_finds_it_on_loopback(locked_down):
    wait_until_healthy(locked_down)
    # `doctor` fetches over http from loopback alone, as every API with countersign-verify does.
    found = run(
        ENGINE, "run", "--rm", "--network", f"container:{locked_down}", "--entrypoint", "countersign",
        "--env", "COUNTERSIGN_ISSUER=http://127.0.0.1:3000", IMAGE, "doctor",
    )
    assert "http://127.0.0.1:3000/.well-known/jwks.json has every key that it must have" in found


def compose_command():
    """Returns the command of Compose: a plugin, or a program of an older installation."""
    plugin = subprocess.run([ENGINE, "compose", "version"], capture_output=True)
    if plugin.returncode == 0:
        return [ENGINE, "compose"]
    return ["docker-compose"] if ENGINE == "docker" and shutil.which("docker-compose") else None


@pytest.mark.skipif(compose_command() is None, reason="the engine has no Compose")
def test_the_compose_files_of_the_page(tmp_path):
    files = []
    for name in ("compose.yaml", "compose.expired.yaml"):
        # An API is the reader's; the page's image is that of this run.
        text = (SNIPPETS / name).read_text().replace("image: countersign-dev", f"image: {IMAGE}")
        (tmp_path / name).write_text(text)
        files += ["--file", str(tmp_path / name)]
    compose = [*compose_command(), "--project-name", "countersign-check", *files]
    try:
        run(*compose, "up", "--detach", "issuer", "earlier")
        issuer, earlier = (run(*compose, "ps", "--quiet", service) for service in ("issuer", "earlier"))
        wait_until_healthy(issuer)
        wait_until_healthy(earlier)
        url = address_of(issuer)
        assert get(f"{url}/.well-known/oauth-authorization-server")["issuer"] == "http://issuer:3000"
        # More than the login throttle allows by default.
        statuses = {request_token(url, "demo-voice", f"guess-{guess}")[0] for guess in range(30)}
        assert statuses == {401}, "the page's file switches that counter off"

        status, answer = request_token(address_of(earlier), "demo-voice", "demo-voice-secret")
        assert status == 200, answer
        header, claims = parts(answer["access_token"])
        assert header["kid"] in [key["kid"] for key in get(f"{url}/.well-known/jwks.json")["keys"]]
        assert claims["iss"] == "http://issuer:3000"
        assert 3500 < time.time() - claims["exp"] < 3700
    finally:
        run(*compose, "down", "--volumes")
