"""The programs of docs/clients.md as they are printed: with the right secret, with a wrong one, and
with a secret full of characters that must be encoded."""

import http.server
import json
import os
import subprocess
import threading

import pytest
from conftest import BASE
from programs import CLIENTS, SNIPPETS, SUITES, USERS, WORK, go, selected

REPORTS = {"brandKey": "acme", "reports": ["daily usage", "unbilled calls"]}
# Made by tests/interop/snippets.
ODD_SECRET = os.environ["ODD_SECRET"]


@pytest.fixture
def refusing(metadata):
    """An issuer that refuses every client; returns its URL and the bodies that were sent to it."""
    bodies = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.answer(200, json.dumps(metadata).replace(metadata["issuer"], url))

        def do_POST(self):
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
            self.answer(401, '{"error":"invalid_client","error_description":"client authentication failed"}')

        def answer(self, status, body):
            self.send_response(status)
            self.send_header("Content-Type", "application/json;charset=UTF-8")
            self.send_header("Content-Length", str(len(body)))
            if status == 401:
                self.send_header("WWW-Authenticate", 'Basic realm="countersign"')
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield url, bodies
    server.shutdown()


def run_refused(folder, command):
    environment = os.environ | {"CLIENT_SECRET": "not-the-secret"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0 and "invalid_client" in done.stdout + done.stderr


@pytest.mark.parametrize("client", selected(CLIENTS), ids=lambda client: client.name)
def test_a_refused_request_is_sent_once(client, refusing):
    url, bodies = refusing
    folder = WORK / f"{client.name}-refused"
    run_refused(folder, client.write(folder, {"https://issuer.example.com": url}))
    assert len(bodies) == 1 and "client_secret" not in bodies[0]


@pytest.mark.part("go")
def test_without_its_auth_style_go_sends_a_refused_request_twice(refusing):
    url, bodies = refusing
    folder = WORK / "x_oauth2-without-style"
    folder.mkdir(parents=True)
    text = (SNIPPETS / "clients" / "go" / "x_oauth2.go").read_text().replace("https://issuer.example.com", url)
    lines = [line for line in text.splitlines() if "AuthStyle" not in line and '"golang.org/x/oauth2"' not in line]
    (folder / "main.go").write_text("\n".join(lines))
    run_refused(folder, go(folder, ["main.go"]))
    assert ["client_secret" in body for body in bodies] == [False, True]


@pytest.mark.part("java")
def test_http_url_connection_hides_the_reason_of_a_401(refusing):
    url, _ = refusing
    source = SUITES / "java" / "HttpUrlConnection.java"
    done = subprocess.run(["java", source, url], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines() == [
        "buffered: no body in the exception",
        "buffered: invalid_client in the error stream",
        "streaming: cannot retry due to server authentication, in streaming mode",
        "streaming: no error stream",
    ], done.stdout + done.stderr


@pytest.fixture(scope="module", params=selected(CLIENTS), ids=lambda client: client.name)
def client(request):
    """Builds the program; returns a function that runs it with an id and a secret."""
    folder = WORK / request.param.name
    urls = {"https://issuer.example.com": BASE, "https://api.example.com/reports": f"{BASE}/api/reports"}
    command = request.param.write(folder, urls)

    def run(secret):
        environment = os.environ | {"CLIENT_SECRET": secret}
        return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)

    return run


@pytest.fixture(params=selected(USERS), ids=lambda user: user.name)
def user(request):
    """Builds a program that logs a user in; returns its folder and a function that runs it."""
    folder = WORK / request.param.name
    urls = {"https://issuer.example.com": BASE, "https://api.example.com/reports": f"{BASE}/api/whoami"}
    command = request.param.write(folder, urls)

    def run(**variables):
        environment = os.environ | {"CLIENT_SECRET": "demo-app-secret"} | variables
        return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)

    return folder, run


def test_a_user_logs_in_once_and_refreshes_after_that(user):
    folder, run = user
    done = run(USER_PASSWORD="not the password")
    assert done.returncode != 0 and "invalid_grant" in done.stdout + done.stderr
    sessions = []
    for variables in ({"USER_PASSWORD": "correct horse battery staple"}, {}, {}):
        done = run(**variables)
        assert done.returncode == 0, done.stdout + done.stderr
        claims = json.loads(done.stdout)
        assert (claims["client_id"], claims["brandKey"]) == ("demo-app", "acme")
        sessions.append((folder / "session").read_text())
        assert (folder / "session").stat().st_mode & 0o077 == 0
    assert len(set(sessions)) == 3 and all(session.startswith("csgr_") for session in sessions)


@pytest.mark.parametrize("secret", ["demo-service-secret", ODD_SECRET], ids=["plain", "odd"])
def test_it_gets_a_token_and_calls_the_api(client, secret):
    done = client(secret)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout) == REPORTS, done.stdout + done.stderr


def test_a_refusal_is_reported_and_the_secret_is_not(client):
    done = client("not-the-secret+")
    assert done.returncode != 0
    output = done.stdout + done.stderr
    assert "invalid_client" in output, output
    assert "not-the-secret" not in output
