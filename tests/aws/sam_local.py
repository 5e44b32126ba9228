"""The functions in SAM's containers behind `sam local start-api`, over the records of `countersign dev`.

Usage: sam_local.py SAM TEMPLATE, with `countersign` in COUNTERSIGN_BINARIES. Needs a Docker engine that has SAM's base image for x86_64.
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
    """Where containers see this machine, if that is an address of this machine: with Docker Desktop it is not, which
    takes them to its loopback by itself."""
    networks = json.loads(docker("network", "inspect", "bridge", "--format", "{{json .IPAM.Config}}").stdout)
    network = next(network for network in networks if "." in network["Subnet"])
    # Older engines leave out the gateway that they take: the subnet's first address.
    gateway = network.get("Gateway") or str(next(ipaddress.ip_network(network["Subnet"]).hosts()))
    try:
        with socket.socket() as probe:
            probe.bind((gateway, 0))
        return gateway
    except OSError:
        return None


def forward(address, port):
    """From `port` of the bridge to the same of loopback, where `countersign dev` listens and nowhere else."""

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
            # HOME and DOCKER_… lead to the engine that is meant.
            env={
                **{name: value for name, value in os.environ.items() if name == "HOME" or name.startswith("DOCKER_")},
                "SAM_CLI_TELEMETRY": "0",
                "AWS_DEFAULT_REGION": "eu-central-1",
            },
        )
        self.until(lambda: "Running on" in self.said())

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
            # The template's own value would stand: a key of the stack, which is not there.
            "COUNTERSIGN_KMS_KEY_ID": "",
        }
        with Api(folder, sam, template, environment) as api:
            status, token = api.send("/oauth/token", "demo-service:demo-service-secret",
                                     grant_type="client_credentials", operator="alice.ops", brandKey="acme")
            assert (status, token.get("token_type")) == (200, "Bearer"), api.said()
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
    print("token, refresh, introspection, key set and metadata through sam local start-api: as they should be")
