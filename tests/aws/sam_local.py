"""Runs the functions in SAM's containers behind `sam local start-api`, over the store of
`countersign dev`.

Usage: sam_local.py SAM TEMPLATE, with `countersign` in COUNTERSIGN_BINARIES. Needs a Docker engine
that has SAM's base image for x86_64.
"""

import asyncio
import base64
import ipaddress
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from processes import Dev, Process

HOST = "host.docker.internal"


def docker(*command):
    return subprocess.run(["docker", *command], capture_output=True, text=True)


def bridge_address():
    """Returns the address by which containers reach this machine, or None if it is not an
    address of this machine: Docker Desktop forwards to this machine's loopback by itself."""
    networks = json.loads(docker("network", "inspect", "bridge", "--format", "{{json .IPAM.Config}}").stdout)
    network = next(network for network in networks if "." in network["Subnet"])
    # Older engines omit the gateway, which is the first address of the subnet.
    gateway = network.get("Gateway") or str(next(ipaddress.ip_network(network["Subnet"]).hosts()))
    try:
        with socket.socket() as probe:
            probe.bind((gateway, 0))
        return gateway
    except OSError:
        return None


def forward(address, port):
    """Forwards `port` of the bridge to loopback, the only interface on which `countersign dev`
    listens."""

    async def pump(reader, writer):
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    async def serve(reader, writer):
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(pump(reader, there_writer), pump(there_reader, writer))

    async def run():
        server = await asyncio.start_server(serve, address, port)
        await server.serve_forever()

    threading.Thread(target=lambda: asyncio.run(run()), daemon=True).start()


def free_port():
    """Returns a free port. SAM takes no port 0, so call this right before starting it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


class Api(Process):
    """`sam local start-api` with the environment of `countersign dev`."""

    def __init__(self, folder, sam, template, environment):
        variables = folder / "variables.json"
        variables.write_text(json.dumps({"Parameters": environment}))
        self.url = f"http://127.0.0.1:{free_port()}"
        super().__init__(
            folder / "sam.log", sam, "local", "start-api", "--template", template, "--env-vars", variables,
            "--port", self.url.rsplit(":", 1)[1], "--add-host", f"{HOST}:host-gateway",
            "--parameter-overrides", "Architecture=x86_64", "--skip-pull-image",
            # HOME and DOCKER_… select the Docker engine.
            env={
                **{name: value for name, value in os.environ.items() if name == "HOME" or name.startswith("DOCKER_")},
                "SAM_CLI_TELEMETRY": "0",
                "AWS_DEFAULT_REGION": "eu-central-1",
            },
        )
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


def check(folder, sam, template):
    with Dev(folder) as dev:
        store = urllib.parse.urlsplit(dev.environment["AWS_ENDPOINT_URL_DYNAMODB"])
        if address := bridge_address():
            forward(address, store.port)
        environment = {
            **dev.environment,
            "AWS_ENDPOINT_URL_DYNAMODB": f"http://{HOST}:{store.port}",
            # Overrides the template's value, which is a key of a stack that does not exist.
            "COUNTERSIGN_KMS_KEY_ID": "",
        }
        with Api(folder, sam, template, environment) as api:
            status, token = api.send("/oauth/token", "demo-service:demo-service-secret",
                                     grant_type="client_credentials", operator="alice.ops", brandKey="acme")
            assert (status, token.get("token_type")) == (200, "Bearer"), api.output()
            status, keys = api.send("/.well-known/jwks.json")
            header = token["access_token"].split(".")[0]
            kid = json.loads(base64.urlsafe_b64decode(header + "=" * (-len(header) % 4)))["kid"]
            assert status == 200 and kid in [key["kid"] for key in keys["keys"]], keys
            status, metadata = api.send("/.well-known/oauth-authorization-server")
            assert status == 200 and metadata["issuer"] == dev.environment["COUNTERSIGN_ISSUER"], metadata
            app = "demo-app:demo-app-secret"
            _, login = api.send("/oauth/token", app, grant_type="password", username="jane@example.com",
                                password="correct horse battery staple")
            status, renewed = api.send("/oauth/refresh", app, refresh_token=login["refresh_token"])
            assert status == 200, renewed
            status, active = api.send("/oauth/introspect", app, token=renewed["access_token"])
            assert (status, active["active"]) == (200, True), active
            status, refused = api.send("/oauth/token", "demo-app:wrong", grant_type="password")
            assert (status, refused["error"]) == (401, "invalid_client"), refused


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        check(Path(made), *sys.argv[1:])
    print("token, refresh, introspection, key set and metadata work through sam local start-api")
