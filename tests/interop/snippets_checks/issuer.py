"""An issuer under the tests' control: its keys, its tokens, and the times at which it is away."""

import base64
import http.server
import json
import socketserver
import threading
import time
import uuid

import jwt
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

AUDIENCE = "https://api.example.com"


def unpadded(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Key:
    def __init__(self):
        self.private = ec.generate_private_key(ec.SECP256R1())
        jwk = jwt.algorithms.ECAlgorithm.to_jwk(self.private.public_key(), as_dict=True)
        self.kid = uuid.uuid4().hex
        self.jwk = {"kty": "EC", "crv": "P-256", "x": jwk["x"], "y": jwk["y"], "use": "sig", "alg": "ES256"}
        self.jwk["kid"] = self.kid


class Issuer:
    """Serves the documents of `countersign dev`, with keys of its own. Nothing listens on its port
    before `open`."""

    def __init__(self, metadata):
        self.keys = [Key(), Key()]  # The second is announced and does not sign yet.
        self.status, self.fetches = 200, 0
        issuer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                issuer.fetches += self.path.endswith("jwks.json")
                document = {"keys": [key.jwk for key in issuer.keys]}
                if "configuration" in self.path or "authorization-server" in self.path:
                    document = json.loads(json.dumps(metadata).replace(metadata["issuer"], issuer.url))
                body = json.dumps(document).encode()
                self.send_response(issuer.status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Cache-Control", "public, max-age=2")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments):
                pass

        class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
            daemon_threads = True

        # Bound but not listening: a connection is refused.
        self.server = Server(("127.0.0.1", 0), Handler, bind_and_activate=False)
        self.server.server_bind()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def open(self):
        self.server.server_activate()
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def signed(self, payload):
        """Signs a payload that may be no object."""
        header = {"typ": "at+jwt", "alg": "ES256", "kid": self.keys[0].kid}
        parts = [unpadded(json.dumps(part).encode()) for part in (header, payload)]
        signature = jwt.algorithms.ECAlgorithm(hashes.SHA256).sign(".".join(parts).encode(), self.keys[0].private)
        return ".".join([*parts, unpadded(signature)])

    def token(self, *, key=None, header=(), **claims):
        """Signs the access token that Countersign would mint, except for the given members; None
        removes one."""
        key, now = key or self.keys[0], int(time.time())
        payload = {
            "iss": self.url,
            "sub": "demo-service",
            "aud": AUDIENCE,
            "exp": now + 3600,
            "iat": now,
            "jti": uuid.uuid4().hex[:22],
            "client_id": "demo-service",
            "scope": "reports:read reports:write",
            "roles": ["reporting"],
            "brandKey": "acme",
        } | claims
        header = {"typ": "at+jwt", "alg": "ES256", "kid": key.kid} | dict(header)
        return jwt.encode(
            {name: value for name, value in payload.items() if value is not None},
            key.private,
            algorithm="ES256",
            headers={name: value for name, value in header.items()},
        )
