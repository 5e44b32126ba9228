"""TLS before the stand-ins for DynamoDB and KMS, with a certificate chain of AWS's length and
kind (RSA 2048)."""

import datetime
import socket
import ssl
import threading
import time
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from runtime import received


class Authority:
    """Files with a root, an intermediate and a server certificate for `localhost`."""

    def __init__(self, folder):
        root, intermediate, server = (rsa.generate_private_key(65537, 2048) for _ in range(3))
        top = certificate("root", root, "root", root, True)
        middle = certificate("intermediate", intermediate, "root", root, True)
        leaf = certificate("localhost", server, "intermediate", intermediate, False)
        self.bundle, self.chain = folder / "roots.pem", folder / "server.pem"
        self.bundle.write_bytes(pem(top))
        key = server.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        self.chain.write_bytes(key + pem(leaf) + pem(middle))


def certificate(name, key, issuer, issuer_key, is_authority):
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(
        subject_name=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]),
        issuer_name=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]),
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=now - datetime.timedelta(hours=1),
        not_valid_after=now + datetime.timedelta(days=1),
    )
    builder = builder.add_extension(x509.BasicConstraints(is_authority, None), critical=True)
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


def pem(certificate):
    return certificate.public_bytes(Encoding.PEM)


class Proxy:
    """Terminates TLS, forwards each request to `upstream`, returns its answer, and counts the
    requests."""

    def __init__(self, authority, upstream):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(authority.chain)
        self.upstream = (urlsplit(upstream).hostname, urlsplit(upstream).port)
        # Listens on the address that `localhost` resolves to first.
        (family, *_), *_ = socket.getaddrinfo("localhost", 0, type=socket.SOCK_STREAM)
        self.listener = socket.create_server(("localhost", 0), family=family)
        self.url = f"https://localhost:{self.listener.getsockname()[1]}"
        self.requests = self.waited = 0
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            connection, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        buffer, answers = bytearray(), bytearray()
        try:
            with self.context.wrap_socket(connection, server_side=True) as secure, socket.create_connection(
                self.upstream
            ) as upstream:
                upstream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                while request := received(secure, buffer):
                    started = time.perf_counter_ns()
                    upstream.sendall(request[0] + b"\r\n\r\n" + request[1])
                    answer = received(upstream, answers)
                    self.waited += time.perf_counter_ns() - started
                    self.requests += 1
                    secure.sendall(answer[0] + b"\r\n\r\n" + answer[1])
        except OSError:
            # A terminated function does not close its connections.
            pass
