"""Starts and ends the processes of the checks: `countersign dev`, ministack, and functions under
a Lambda runtime."""

import json
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import boto3

BINARIES = Path(os.environ["COUNTERSIGN_BINARIES"])
EVENTS = Path(__file__).parents[3] / "events"


def event(name):
    return json.loads((EVENTS / f"{name}.json").read_text())


class Process:
    """A child process whose output goes to a file."""

    def __init__(self, log, *command, env):
        self.log = log
        env = {"PATH": os.environ["PATH"], "RUST_BACKTRACE": "1", **env}
        with log.open("wb") as out:
            self.child = subprocess.Popen(
                command, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT
            )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        self.child.send_signal(signal.SIGCONT)
        self.child.terminate()
        try:
            self.child.wait(10)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait(10)

    def output(self):
        return self.log.read_text()

    def wait_for(self, condition):
        """Polls until `condition` returns something and returns that; at most a minute and while
        the process lives."""
        deadline = time.monotonic() + 60
        while self.child.poll() is None and time.monotonic() < deadline:
            if found := condition():
                return found
            time.sleep(0.05)
        raise AssertionError(f"not ready: {self.output()}")


class Dev(Process):
    """`countersign dev` with an empty data folder."""

    def __init__(self, folder, *options):
        self.data = folder / "data"
        command = [BINARIES / "countersign", "dev", "--port", "0", "--dynamodb-port", "0", "--data-dir", self.data]
        super().__init__(folder / "dev.log", *command, *options, env={})
        self.url = self.wait_for(lambda: re.search(r"^listening on (http://\S*[^\s/])", self.output(), re.M))[1]
        lines = (self.data / "env").read_text().splitlines()
        self.environment = dict(line.split("=", 1) for line in lines if not line.startswith("#"))


class Kms(Process):
    """ministack, with one symmetric key."""

    def __init__(self, folder):
        env = {
            # By default it listens on every interface and on a second port (8883), writes to /tmp,
            # and removes from the Docker daemon the containers that it takes for its own.
            "BIND_HOST": "127.0.0.1",
            "GATEWAY_PORT": "0",
            "SERVICES": "kms",
            "IOT_MTLS_ENABLED": "0",
            "SFTP_ENABLED": "0",
            "TMPDIR": str(folder),
            "DOCKER_HOST": f"unix://{folder}/none",
        }
        ministack = Path(sys.executable).with_name("ministack")
        super().__init__(folder / "kms.log", ministack, env=env)
        self.url = self.wait_for(lambda: re.search(r"Running on (http://127\.0\.0\.1:\d+)", self.output()))[1]
        self.wait_for(self.is_ready)
        self.client = boto3.client(
            "kms",
            endpoint_url=self.url,
            region_name="eu-central-1",
            aws_access_key_id="local",
            aws_secret_access_key="local",
        )
        self.key_id = self.client.create_key()["KeyMetadata"]["KeyId"]

    def is_ready(self):
        try:
            with urllib.request.urlopen(f"{self.url}/_ministack/ready", timeout=5):
                return True
        except OSError:
            return False


class Function(Process):
    """A function binary with a Lambda runtime API that hands it one event at a time."""

    def __init__(self, folder, name, env):
        self.events, self.answers = queue.Queue(), queue.Queue()
        events, answers = self.events, self.answers

        class Runtime(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # Head and body go out in one packet; two would wait for each other's acknowledgement.

            def do_GET(self):  # …/runtime/invocation/next
                self.reply(200, events.get())

            def do_POST(self):  # …/runtime/invocation/ID/response or /error
                body = self.rfile.read(int(self.headers["Content-Length"]))
                answers.put((self.path.rsplit("/", 1)[1], json.loads(body)))
                self.reply(202, b"")

            def reply(self, status, body):
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Lambda-Runtime-Aws-Request-Id", "8476a536-e9f4-11e8-9739-2dfe598c3fcd")
                self.send_header("Lambda-Runtime-Deadline-Ms", str(int(time.time() * 1000) + 30_000))
                self.send_header("Lambda-Runtime-Invoked-Function-Arn", f"arn:aws:lambda:::function:{name}")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Runtime)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        env = {
            "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{self.server.server_port}",
            "AWS_LAMBDA_FUNCTION_NAME": name,
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
            "AWS_LAMBDA_FUNCTION_VERSION": "1",
            **env,
        }
        super().__init__(folder / f"{name}-{time.monotonic_ns()}.log", BINARIES / name, env=env)

    def stop(self):
        super().stop()
        self.server.shutdown()
        self.server.server_close()

    def invoke(self, event):
        """Sends an event and returns what the function hands to the runtime: "response" or
        "error", and its document."""
        self.events.put(json.dumps(event).encode())
        try:
            return self.answers.get(timeout=30)
        except queue.Empty:
            raise AssertionError(f"no answer: {self.output()}") from None

    def answer(self, event):
        """Sends an event to an endpoint and returns the status, headers and JSON of its HTTP
        response."""
        kind, response = self.invoke(event)
        assert kind == "response", response
        headers = {name.lower(): value for name, value in response["headers"].items()}
        return response["statusCode"], headers, json.loads(response["body"])
