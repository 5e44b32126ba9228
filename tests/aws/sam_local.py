"""Runs the functions in SAM's containers, over the store of `countersign dev` and with the variables
that it writes: behind `sam local start-api`, and with each file of events/ by `sam local invoke`.

Usage: sam_local.py SAM TEMPLATE, with `countersign` in COUNTERSIGN_BINARIES. Needs a Docker engine
that has SAM's base image for x86_64.
"""

import base64
import ipaddress
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from processes import EVENTS, Dev, Process

# HOME and DOCKER_… select the Docker engine.
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if name == "HOME" or name.startswith("DOCKER_")},
    "PATH": os.environ["PATH"],
    "SAM_CLI_TELEMETRY": "0",
    "AWS_DEFAULT_REGION": "eu-central-1",
}


def docker(*command):
    return subprocess.run(["docker", *command], capture_output=True, text=True)


def store_options():
    """Returns the options of `countersign dev` that let containers reach its store: the address
    of Docker's bridge, or none if this machine does not have that address. Docker Desktop
    forwards to this machine's loopback by itself."""
    networks = json.loads(docker("network", "inspect", "bridge", "--format", "{{json .IPAM.Config}}").stdout)
    network = next(network for network in networks if "." in network["Subnet"])
    # Older engines omit the gateway, which is the first address of the subnet.
    gateway = network.get("Gateway") or str(next(ipaddress.ip_network(network["Subnet"]).hosts()))
    try:
        with socket.socket() as probe:
            probe.bind((gateway, 0))
        return ["--dynamodb-listen", gateway]
    except OSError:
        return []


def free_port():
    """Returns a free port. SAM takes no port 0, so call this right before starting it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


class Local:
    """`sam local` with the variables of a `countersign dev`."""

    def __init__(self, sam, template, dev):
        self.sam = sam
        self.options = [
            "--template", template, "--env-vars", dev.data / "sam-local.json",
            "--add-host", "host.docker.internal:host-gateway",
            "--parameter-overrides", "Architecture=x86_64", "--skip-pull-image",
        ]

    def invoke(self, function, event):
        """Sends an event to a function and returns its answer."""
        command = [self.sam, "local", "invoke", function, "--event", "-", *self.options]
        ended = subprocess.run(command, input=json.dumps(event), capture_output=True, text=True, env=ENVIRONMENT, timeout=120)
        assert ended.returncode == 0, ended.stderr
        return json.loads(ended.stdout)


class Api(Process):
    """`sam local start-api`."""

    def __init__(self, folder, local):
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        command = [local.sam, "local", "start-api", "--port", str(port), *local.options]
        super().__init__(folder / "sam.log", *command, env=ENVIRONMENT)
        self.wait_for(lambda: "Running on" in self.output())

    def send(self, path, client=None, **form):
        request = urllib.request.Request(self.url + path)
        if client:
            request.data = urllib.parse.urlencode(form).encode()
            request.add_header("Authorization", "Basic " + base64.b64encode(client.encode()).decode())
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)


def check_api(api, issuer):
    """Sends requests to every function behind the API."""
    status, token = api.send("/oauth/token", "demo-service:demo-service-secret",
                             grant_type="client_credentials", operator="alice.ops", brandKey="acme")
    assert (status, token.get("token_type")) == (200, "Bearer"), api.output()
    status, keys = api.send("/.well-known/jwks.json")
    header = token["access_token"].split(".")[0]
    kid = json.loads(base64.urlsafe_b64decode(header + "=" * (-len(header) % 4)))["kid"]
    assert status == 200 and kid in [key["kid"] for key in keys["keys"]], keys
    status, metadata = api.send("/.well-known/oauth-authorization-server")
    assert status == 200 and metadata["issuer"] == issuer, metadata
    app = "demo-app:demo-app-secret"
    login = log_in(api)
    status, renewed = api.send("/oauth/refresh", app, refresh_token=login["refresh_token"])
    assert status == 200, renewed
    status, active = api.send("/oauth/introspect", app, token=renewed["access_token"])
    assert (status, active["active"]) == (200, True), active
    status, refused = api.send("/oauth/token", "demo-app:wrong", grant_type="password")
    assert (status, refused["error"]) == (401, "invalid_client"), refused


def log_in(api):
    status, login = api.send("/oauth/token", "demo-app:demo-app-secret", grant_type="password",
                             username="jane@example.com", password="correct horse battery staple")
    assert status == 200, login
    return login


def function_of(name):
    for prefix, function in [
        ("token-", "Token"), ("refresh", "Refresh"), ("revoke", "Refresh"), ("introspect", "Refresh"),
        ("authorizer-", "Authorizer"), ("rotate", "Rotate"),
    ]:
        if name.startswith(prefix):
            return f"{function}Function"
    return "JwksFunction"


def with_tokens(event, login):
    """Replaces the placeholders of an event by tokens of a login, in a body in base64 too."""
    replace = lambda text: (text.replace("REFRESH_TOKEN", login["refresh_token"])
                            .replace("ACCESS_TOKEN", login["access_token"]))
    if event.get("isBase64Encoded"):
        event["body"] = base64.b64encode(replace(base64.b64decode(event["body"]).decode()).encode()).decode()
    return json.loads(replace(json.dumps(event)))


def check_events(local, api):
    """Sends every event file to its function by `sam local invoke`, with live tokens."""
    files = sorted(EVENTS.glob("*.json"))
    _, caller = api.send("/oauth/token", "demo-voice:demo-voice-secret", grant_type="client_credentials")
    for file in files:
        login = log_in(api)
        if file.stem.startswith("authorizer-"):
            login["access_token"] = caller["access_token"]
        answer = local.invoke(function_of(file.stem), with_tokens(json.loads(file.read_text()), login))
        if file.stem.startswith("authorizer-"):
            assert answer["policyDocument"]["Statement"][0]["Effect"] == "Allow", (file, answer)
        elif file.stem == "rotate":
            assert {"created", "deleted"} <= answer.keys(), answer
        else:
            assert answer["statusCode"] == 200, (file, answer)
            if re.match("introspect|token-|refresh", file.stem):
                assert re.search(r'"active":true|"access_token":', answer["body"]), (file, answer)
    return len(files)


def check(folder, sam, template):
    with Dev(folder, *store_options()) as dev:
        local = Local(sam, template, dev)
        with Api(folder, local) as api:
            check_api(api, dev.url)
            count = check_events(local, api)
    print("token, refresh, introspection, key set and metadata work through sam local start-api")
    print(f"{count} event files work through sam local invoke")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        check(Path(made), *sys.argv[1:])
