"""The configurations of docs/verifying/proxies.md as they are printed."""

import http.server
import os
import subprocess
import threading

import pytest
from forgeries import FORGERIES, now
from issuer import Issuer, Key
from programs import SNIPPETS, SUITES, WORK, Running, free_port
from test_verifiers import call, poll

pytestmark = pytest.mark.part("platforms")
# oauth2-proxy looks at none of these; docs/verifying/proxies.md says so.
UNSEEN = {"typ JWT", "no typ", "a JWT in the place of a refresh token", "without client_id", "without roles"}


@pytest.fixture(scope="module")
def upstream():
    """An API that answers with the identity that the proxy passes on."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = f"{self.headers['X-Forwarded-Email']} {self.headers['X-Forwarded-Groups']}".encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture(scope="module")
def real_issuer(metadata):
    issuer = Issuer(metadata)
    issuer.open()
    return issuer


@pytest.fixture(scope="module")
def proxy(real_issuer, upstream):
    folder, port = WORK / "oauth2-proxy", free_port()
    folder.mkdir(parents=True)
    text = (SNIPPETS / "oauth2-proxy" / "oauth2-proxy.cfg").read_text()
    for old, new in {
        "https://issuer.example.com": real_issuer.url,
        "127.0.0.1:8080": f"127.0.0.1:{port}",
        "http://127.0.0.1:9000": upstream,
    }.items():
        assert old in text
        text = text.replace(old, new)
    (folder / "oauth2-proxy.cfg").write_text(text)
    program = folder / "oauth2-proxy"
    package = "github.com/oauth2-proxy/oauth2-proxy/v7"
    subprocess.run(["go", "build", "-o", program, package], cwd=SUITES / "platforms", check=True, timeout=1200)
    running = Running([program, "--config", "oauth2-proxy.cfg"], folder, port)
    yield running
    running.stop()


def test_oauth2_proxy_passes_on_who_calls(proxy, real_issuer):
    answer = call(proxy, real_issuer.token())
    assert (answer.status_code, answer.text) == (200, "demo-service reporting"), proxy.log.read_text()
    assert call(proxy, real_issuer.token(iat=now() + 55)).status_code == 200


def test_oauth2_proxy_refuses_callers_without_a_token(proxy):
    assert call(proxy).status_code == 401


@pytest.mark.parametrize("forgery", FORGERIES)
def test_oauth2_proxy_refuses_bad_tokens(proxy, real_issuer, forgery):
    expected = 200 if forgery in UNSEEN else 401
    assert call(proxy, FORGERIES[forgery](real_issuer)).status_code == expected


def test_oauth2_proxy_uses_its_keys_while_the_issuer_is_away(proxy, real_issuer):
    real_issuer.status = 500
    assert call(proxy, real_issuer.token()).status_code == 200
    assert call(proxy, real_issuer.token(key=real_issuer.keys[1])).status_code == 200
    assert call(proxy, real_issuer.token(key=Key())).status_code == 401
    real_issuer.status = 200


def test_oauth2_proxy_forgets_a_withdrawn_key_with_the_next_one(proxy, real_issuer):
    withdrawn, following = real_issuer.token(), Key()
    real_issuer.keys = [real_issuer.keys[1], following]
    assert call(proxy, withdrawn).status_code == 200
    poll(proxy, real_issuer.token(key=following), 200, seconds=5)
    assert call(proxy, withdrawn).status_code == 401


def test_kubernetes(metadata):
    environment = os.environ | {
        "COUNTERSIGN_BASE": metadata["issuer"],
        "AUTHENTICATION_CONFIGURATION": str(SNIPPETS / "kubernetes" / "authentication.yaml"),
    }
    done = subprocess.run(
        ["go", "test", "-count=1", "-v", "."],
        cwd=SUITES / "platforms", env=environment, capture_output=True, text=True, timeout=1500,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert "--- PASS: TestKubernetes" in done.stdout
