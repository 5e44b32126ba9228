"""How the programs of docs/verifying are configured, built and started."""

import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass

SNIPPETS = pathlib.Path(os.environ["COUNTERSIGN_SNIPPETS"])
WORK = pathlib.Path(os.environ["COUNTERSIGN_WORK"])
SUITES = pathlib.Path(__file__).resolve().parent.parent


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def run(*command, cwd):
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"


def go(folder, name):
    """The module's files are copied so that nothing is written into the sources."""
    for file in ("go.mod", "go.sum"):
        shutil.copy(SUITES / "go" / file, folder)
    run("go", "build", "-mod=readonly", "-o", "program", ".", cwd=folder)
    return ["./program"]


@dataclass(frozen=True)
class Program:
    """A program that protects `GET /reports` on port 8080 with the scope `reports:read`."""

    name: str
    files: tuple
    build: callable
    # How the page spells 15 minutes, and the two seconds that the tests put in its place.
    lifespan: tuple

    def start(self, issuer, short=False):
        port = free_port()
        folder = WORK / f"{self.name}-{port}"
        folder.mkdir(parents=True)
        replaced = {"https://issuer.example.com": issuer, "8080": str(port)}
        if short:
            replaced[self.lifespan[0]] = self.lifespan[1]
        texts = {file: (SNIPPETS / file).read_text() for file in self.files}
        for old, new in replaced.items():
            assert any(old in text for text in texts.values()), f"{self.name} does not contain {old}"
            texts = {file: text.replace(old, new) for file, text in texts.items()}
        for file, text in texts.items():
            (folder / pathlib.Path(file).name).write_text(text)
        return Running(self.build(folder, self.name), folder, port)


class Running:
    def __init__(self, command, folder, port):
        self.url, self.log = f"http://127.0.0.1:{port}/reports", folder / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return
            except OSError:
                assert self.process.poll() is None and time.monotonic() < deadline, self.log.read_text()
                time.sleep(0.05)

    def stop(self):
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


GO = ("15*time.Minute", "2*time.Second")
PARTS = {
    "go": [
        Program("golang-jwt", ("go/api.go", "go/golang_jwt.go"), go, ("15 * time.Minute", "2 * time.Second")),
        Program("jwx", ("go/api.go", "go/jwx.go"), go, GO),
        Program("go-oidc", ("go/api.go", "go/go_oidc.go"), go, GO),
        Program("zitadel", ("go/api.go", "go/zitadel.go"), go, GO),
    ],
}
PROGRAMS = PARTS[os.environ["COUNTERSIGN_PART"]]
