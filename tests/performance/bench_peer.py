"""Measures the CPU per token over plain HTTP, of `countersign dev` and of node's oidc-provider,
for scripts/bench-peer."""

import argparse
import base64
import json
import os
import shutil
import socket
import statistics
import subprocess
import tempfile
import threading
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import jwt
from processes import BINARIES, Dev, Process
from runtime import cpu_of, one_processor_awake, received, rss_of

AUDIENCE = "https://api.example.com"
PEER = Path(os.environ["COUNTERSIGN_PEER"])
CONNECTIONS = 8
FEW, MANY = 1, 64
BODY = b"grant_type=client_credentials&scope=reports%3Aread"


class Peer(Process):
    def __init__(self, folder, secret):
        super().__init__(
            folder / "peer.log",
            *(shutil.which("node"), PEER / "server.js", secret, AUDIENCE),
            env={"NODE_ENV": "production"},
        )
        port = self.wait_for(lambda: [line for line in self.output().splitlines() if line.startswith("port ")])[0][5:]
        self.url = f"http://127.0.0.1:{port}"


def load(url, path, secret, count, connections=CONNECTIONS):
    """Requests `count` tokens over persistent connections, one request at a time on each.
    Returns the answers."""
    host = urlsplit(url)
    credentials = base64.b64encode(f"bench:{secret}".encode())
    request = (
        b"POST %b HTTP/1.1\r\nHost: %b\r\nAuthorization: Basic %b\r\nAccept: application/json\r\n"
        b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n%b"
    ) % (path.encode(), host.netloc.encode(), credentials, len(BODY), BODY)
    answers = []

    def request_tokens(share):
        buffer = bytearray()
        with socket.create_connection((host.hostname, host.port)) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for _ in range(share):
                connection.sendall(request)
                answers.append(received(connection, buffer))

    threads = [threading.Thread(target=request_tokens, args=(count // connections,)) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == count // connections * connections, "a connection broke"
    return answers


def verify(answers, url, keys):
    """Verifies every token with the published keys."""
    with urllib.request.urlopen(url + keys) as document:
        keys = jwt.PyJWKSet.from_dict(json.load(document))
    for head, body in answers:
        assert head.startswith(b"HTTP/1.1 200 "), (head, body)
        token = json.loads(body)["access_token"]
        key = keys[jwt.get_unverified_header(token)["kid"]]
        claims = jwt.decode(token, key, algorithms=["ES256"], audience=AUDIENCE, issuer=url)
        assert (claims["client_id"], claims["scope"]) == ("bench", "reports:read"), claims


def main():
    # scripts/bench-peer prints the help.
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--tokens", type=int, default=4000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    cpu = {"countersign": [], "oidc-provider": []}
    by_connections = {FEW: [], CONNECTIONS: cpu["countersign"], MANY: []}
    with one_processor_awake(), tempfile.TemporaryDirectory() as folder, Dev(Path(folder)) as dev:
        command = [
            *(BINARIES / "countersign", "client", "create", "bench", "--name", "Bench", "--grant", "client_credentials"),
            *("--scope", "reports:read", "--scope", "reports:write", "--audience", AUDIENCE, "--json"),
        ]
        secret = json.loads(subprocess.check_output(command, env=dev.environment))["client_secret"]
        with Peer(Path(folder), secret) as peer:
            servers = {
                "countersign": (dev, "/oauth/token", "/.well-known/jwks.json"),
                "oidc-provider": (peer, "/token", "/jwks"),
            }
            for name, (server, path, keys) in servers.items():
                verify(load(server.url, path, secret, 3000), server.url, keys)  # Gives V8 time to compile hot code.

            def measure(name, connections=CONNECTIONS):
                server, path, keys = servers[name]
                before = cpu_of(server.child.pid)
                answers = load(server.url, path, secret, options.tokens, connections)
                spent = cpu_of(server.child.pid) - before
                verify(answers, server.url, keys)
                return spent / len(answers) / 1000

            for _ in range(options.runs):
                for name, spent in cpu.items():
                    spent.append(measure(name))
                for connections in (FEW, MANY):
                    by_connections[connections].append(measure("countersign", connections))
            memory = {name: rss_of(server.child.pid) / (1 << 20) for name, (server, *_) in servers.items()}
    ratios = [peer / own for own, peer in zip(cpu["countersign"], cpu["oidc-provider"])]
    found = {
        "cpu_µs": {name: statistics.median(values) for name, values in cpu.items()},
        "range_µs": {name: [min(values), max(values)] for name, values in cpu.items()},
        "memory_mib": memory,
        "countersign_µs_by_connections": {str(n): statistics.median(spent) for n, spent in by_connections.items()},
        "times_less": statistics.median(ratios),
        "met": statistics.median(ratios) >= 10,
    }
    if options.json:
        print(json.dumps(found, ensure_ascii=False))
        return
    print("| | CPU for a token | memory |\n|---|---|---|")
    for name, values in cpu.items():
        least, most = found["range_µs"][name]
        print(f"| {name} | {statistics.median(values):.1f} µs ({least:.1f}–{most:.1f}) | {memory[name]:.0f} MiB |")
    print("\n| connections | CPU for a token of countersign's |\n|---|---|")
    for connections, spent in by_connections.items():
        print(f"| {connections} | {statistics.median(spent):.1f} µs ({min(spent):.1f}–{max(spent):.1f}) |")
    print(
        f"\n1/{found['times_less']:.1f} (1/{min(ratios):.1f}–1/{max(ratios):.1f}); the target is 1/10: "
        + ("met" if found["met"] else "MISSED")
        + f"\n{options.runs} runs of {options.tokens} tokens to each, all of them verified"
    )


if __name__ == "__main__":
    main()
