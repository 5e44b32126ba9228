"""An emulated AWS account in a region, under its real names, and the tools that an operator has."""

import datetime
import json
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import boto3
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

ROOT = Path(__file__).parents[2]
REGION = "eu-central-1"
TEMPLATES = "deploy-check-templates"
BINARIES = Path(os.environ["COUNTERSIGN_BINARIES"])
FUNCTIONS = ("authorizer", "jwks", "refresh", "rotate", "token")


def poll(condition, seconds=60):
    """Returns what `condition` returns, as soon as that is something."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"nothing after {seconds} s"
        time.sleep(0.1)
    return found


def end_of(done):
    """Returns the last lines that a program has printed."""
    return "\n".join((done.stdout + done.stderr).splitlines()[-25:])


class Certificates:
    """Files with a root certificate, and with a certificate for the names of AWS in this region and
    its key."""

    def __init__(self, folder):
        self.roots, self.chain = folder / "roots.pem", folder / "server.pem"
        root_key, server_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        parents = ["amazonaws.com", f"{REGION}.amazonaws.com"]
        parents += [f"{service}.{REGION}.amazonaws.com" for service in ("execute-api", "s3")]
        names = x509.SubjectAlternativeName([x509.DNSName(f"*.{parent}") for parent in parents])
        root = certificate("emulated authority", root_key, root_key, x509.BasicConstraints(True, None))
        server = certificate("emulated AWS", server_key, root_key, x509.BasicConstraints(False, None), names)
        self.roots.write_bytes(root.public_bytes(Encoding.PEM))
        key = server_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        self.chain.write_bytes(key + server.public_bytes(Encoding.PEM))


def certificate(name, key, authority, *extensions):
    """Makes a certificate that the key of the authority signs."""
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(
        subject_name=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]),
        issuer_name=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "emulated authority")]),
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=now - datetime.timedelta(hours=1),
        not_valid_after=now + datetime.timedelta(days=1),
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
    return builder.sign(authority, hashes.SHA256())


def serve_names():
    """Starts a name server on which every name below amazonaws.com is 127.0.0.1 and no other name
    exists (RFC 1035 section 4)."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 53))

    def serve():
        while True:
            query, client = server.recvfrom(512)
            labels, position = [], 12
            while length := query[position]:
                labels.append(query[position + 1 : position + 1 + length].decode().lower())
                position += 1 + length
            kind, _ = struct.unpack("!HH", query[position + 1 : position + 5])
            known = labels[-2:] == ["amazonaws", "com"]
            answers = known and kind == 1
            status = 0x8180 if known else 0x8183
            response = query[:2] + struct.pack("!HHHHH", status, 1, answers, 0, 0) + query[12 : position + 5]
            if answers:
                response += struct.pack("!HHHIH4B", 0xC00C, 1, 1, 5, 4, 127, 0, 0, 1)
            server.sendto(response, client)

    threading.Thread(target=serve, daemon=True).start()


class Account:
    """An account whose services, functions included, run in one process of the emulator."""

    def __init__(self, folder):
        self.folder = folder
        certificates = Certificates(folder)
        # What every tool here is told, as in the shell of an operator behind a company's proxy.
        self.environment = {
            # With the AWS CLI and the Python of this environment.
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(folder),
            "TMPDIR": str(folder),
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CA_BUNDLE": str(certificates.roots),
            "SAM_CLI_TELEMETRY": "0",
        }
        # The verifiers and the AWS SDK in this process.
        os.environ.update(self.environment, SSL_CERT_FILE=str(certificates.roots))
        serve_names()
        settings = {
            "AUTH": "true",
            "BIND_HOST": "127.0.0.1",
            # With TLS it listens on port 443 too.
            "USE_SSL": "1",
            "MINISTACK_SSL_CERT": str(certificates.chain),
            "MINISTACK_SSL_KEY": str(certificates.chain),
            "MINISTACK_REGION": REGION,
            "IOT_MTLS_ENABLED": "0",
            "SFTP_ENABLED": "0",
            "DOCKER_HOST": f"unix://{folder}/none",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        self.log = folder / "emulator.log"
        with self.log.open("wb") as out:
            self.emulator = subprocess.Popen(
                [sys.executable, Path(__file__).with_name("emulator.py")],
                env={**self.environment, **settings}, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
            )
        self.http = requests.Session()
        # No proxy, and no other roots, from the environment.
        self.http.trust_env = False
        self.http.verify = str(certificates.roots)
        poll(self.is_ready)
        boto3.client("s3").create_bucket(Bucket=TEMPLATES, CreateBucketConfiguration={"LocationConstraint": REGION})

    def is_ready(self):
        assert self.emulator.poll() is None, self.log.read_text()
        try:
            return self.http.get(f"https://sts.{REGION}.amazonaws.com/_ministack/ready", timeout=5).ok
        except requests.ConnectionError:
            return False

    def close(self):
        # It has nothing to save, and would wait for its connections to close.
        self.emulator.kill()
        self.emulator.wait()

    def run(self, *command, environment=None, only=None, **options):
        """Runs a program with the environment of an operator, or with `only` another one, and returns
        what it did."""
        environment = only or {**self.environment, **(environment or {})}
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, **options)

    def create_stack(self, stack, template, **parameters):
        """Creates a stack and requires that it succeeds."""
        # CloudFormation takes a template of this size from S3 only.
        boto3.client("s3").put_object(Bucket=TEMPLATES, Key=stack, Body=template)
        boto3.client("cloudformation").create_stack(
            StackName=stack,
            TemplateURL=f"https://s3.{REGION}.amazonaws.com/{TEMPLATES}/{stack}",
            Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()],
            Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
        )
        status = self.status(stack)
        assert status == "CREATE_COMPLETE", f"{status}: {self.failures(stack)}"

    def failures(self, stack):
        """Returns the reasons for which resources of a stack failed."""
        cloudformation = boto3.client("cloudformation")
        try:
            events = cloudformation.describe_stack_events(StackName=stack)["StackEvents"]
        except cloudformation.exceptions.ClientError:
            return []
        failed = [event for event in events if event["ResourceStatus"].endswith("FAILED")]
        return [f"{one['LogicalResourceId']}: {one.get('ResourceStatusReason')}" for one in failed]

    def outputs(self, stack):
        (described,) = boto3.client("cloudformation").describe_stacks(StackName=stack)["Stacks"]
        return {one["OutputKey"]: one["OutputValue"] for one in described.get("Outputs", [])}

    def status(self, stack):
        """Returns the status of a stack at the end of what it is doing, or "gone" without a stack."""
        cloudformation = boto3.client("cloudformation")

        def settled():
            try:
                (described,) = cloudformation.describe_stacks(StackName=stack)["Stacks"]
            except cloudformation.exceptions.ClientError:
                return "gone"
            status = described["StackStatus"]
            return None if status.endswith("_IN_PROGRESS") else status

        return poll(settled)

    def log_lines(self, group):
        """Yields the lines of a log group that are JSON."""
        logs = boto3.client("logs")
        for stream in logs.describe_log_streams(logGroupName=group)["logStreams"]:
            events = logs.get_log_events(logGroupName=group, logStreamName=stream["logStreamName"])["events"]
            for line in "\n".join(one["message"] for one in events).splitlines():
                if line.startswith("{"):
                    yield json.loads(line)


class Checkout:
    """A folder with what `sam build` leaves of this repository: the template, its settings, and a
    bootstrap for each function. That starts the binary of the last build, to save SAM the packing,
    and lets it trust the emulator: without AWS_CA_BUNDLE it trusts Amazon's own roots."""

    def __init__(self, account, folder):
        self.account, self.folder = account, folder
        roots = account.environment["AWS_CA_BUNDLE"]
        for name in FUNCTIONS:
            bootstrap = folder / "functions" / name / "bootstrap"
            bootstrap.parent.mkdir(parents=True)
            bootstrap.write_text(f"#!/bin/sh\nAWS_CA_BUNDLE='{roots}' exec '{BINARIES / name}'\n")
            bootstrap.chmod(0o755)
        for name in ("template.yaml", "samconfig.toml"):
            (folder / name).write_text((ROOT / name).read_text())

    def sam(self, *arguments):
        return self.account.run(os.environ["SAM"], *arguments, cwd=self.folder)

    def try_deploy(self, *arguments, **parameters):
        """Runs `sam deploy` as docs/deploy.md says, but without questions."""
        parameters = {"Architecture": "x86_64", **parameters}
        overrides = [f"{name}={value}" for name, value in parameters.items()]
        return self.sam("deploy", "--no-confirm-changeset", *arguments, "--parameter-overrides", *overrides)

    def deploy_stack(self, stack, **parameters):
        """Runs `sam deploy`, which must succeed, and returns the name of the stack."""
        done = self.try_deploy("--stack-name", stack, **parameters)
        assert done.returncode == 0, f"sam deploy: {self.account.failures(stack)}\n{end_of(done)}"
        return stack
