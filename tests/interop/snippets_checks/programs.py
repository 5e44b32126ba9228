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


# Builders: each gets a folder with a program's files, the first of which has `main`, and returns the
# command that starts it.


def go(folder, files):
    for file in ("go.mod", "go.sum"):
        shutil.copy(SUITES / "go" / file, folder)
    run("go", "build", "-mod=readonly", "-o", "program", ".", cwd=folder)
    return ["./program"]


def java(folder, files):
    classpath = f"{folder}:{os.environ['JARS']}/*"
    run("javac", "-cp", classpath, "-d", ".", *files, cwd=folder)
    return ["java", "-XX:TieredStopAtLevel=1", "-cp", classpath, files[0].removesuffix(".java")]


def quarkus(folder, files):
    """Builds the application once. Each program has a configuration of its own beside it."""
    application = WORK / "quarkus"
    if not application.exists():
        (application / "src/main/java").mkdir(parents=True)
        shutil.copy(SUITES / "java/quarkus/pom.xml", application)
        for source in folder.glob("*.java"):
            shutil.copy(source, application / "src/main/java")
        run("mvn", "--quiet", "--batch-mode", "package", cwd=application)
    (folder / "config").mkdir()
    (folder / "application.properties").rename(folder / "config/application.properties")
    return ["java", "-jar", str(application / "target/quarkus-app/quarkus-run.jar")]


def node(folder, files):
    # An ES module finds its packages from its own folder.
    (folder / "node_modules").symlink_to(os.environ["NODE_MODULES"])
    (folder / "package.json").write_text('{"type": "module"}')
    return ["node", files[0]]


def python(folder, files):
    return [sys.executable, files[0]]


def php(folder, files):
    return ["php", files[0]]


def php_server(folder, files):
    return ["php", "-S", "127.0.0.1:PORT", files[0]]


def ruby(folder, files):
    return ["ruby", files[0]]


def shell(folder, files):
    return ["sh", files[0]]


@dataclass(frozen=True)
class Client:
    """A program of docs/clients.md: it gets a token and calls an API."""

    name: str
    files: tuple
    build: callable

    def write(self, folder, replaced):
        """Writes the program into a new folder and builds it. Returns the command that starts it."""
        folder.mkdir(parents=True)
        texts = {pathlib.Path(file).name: (SNIPPETS / file).read_text() for file in self.files}
        for old, new in replaced.items():
            assert any(old in text for text in texts.values()), f"{self.name} does not contain {old}"
            texts = {file: text.replace(old, new) for file, text in texts.items()}
        for file, text in texts.items():
            (folder / file).write_text(text)
        return self.build(folder, list(texts))


@dataclass(frozen=True)
class Api(Client):
    """A program of docs/verifying: it protects `GET /reports` on port 8080 with the scope
    `reports:read`."""

    # What the page says of the lifespan of the keys, and the two seconds that the tests put in its
    # place, in pairs. Without it, the program honours the max-age of the JWKS.
    lifespan: tuple
    # The status while the issuer is away, and the challenges; of a framework that decides them itself,
    # docs/verifying says so.
    away: int = 503
    challenges: bool = True

    def start(self, issuer, short=False):
        port = free_port()
        folder = WORK / f"{self.name}-{port}"
        replaced = {"https://issuer.example.com": issuer} | (dict(zip(self.lifespan[::2], self.lifespan[1::2])) if short else {})
        if self.build is not php_server:
            replaced["8080"] = str(port)
        command = self.write(folder, replaced)
        return Running([argument.replace("PORT", str(port)) for argument in command], folder, port)


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


JAVA = ("Duration.ofMinutes(15)", "Duration.ofSeconds(2)")
QUARKUS = tuple(f"java/quarkus/{name}" for name in ("application.properties", "AccessTokensOnly.java", "Reports.java"))
JWKS_RSA = (".rateLimited(10, 1, TimeUnit.MINUTES)", ".rateLimited(10, 1, TimeUnit.SECONDS)")
NIMBUS = (".cache(900_000, 15_000)", ".cache(2_000, 500)", ".rateLimited(30_000)", ".rateLimited(100)")
GO = ("15*time.Minute", "2*time.Second")

CLIENTS = {
    "shell": [Client("curl", ("clients/curl.sh",), shell)],
    "node": [Client(name, (f"clients/{name}.js",), node) for name in ("fetch", "axios", "simple-oauth2", "openid-client")],
    "python": [Client(name, (f"clients/with_{name}.py",), python) for name in ("requests", "httpx", "authlib")],
    "go": [Client(name, (f"clients/go/{name}.go",), go) for name in ("x_oauth2", "zitadel_client")],
    "java": [
        Client(name, (f"clients/{name}.java",), java)
        for name in ("JdkClient", "Apache5Client", "Apache4Client", "OkHttp", "VertxClient")
    ],
    "php": [Client("php-curl", ("clients/curl.php",), php)],
    "ruby": [Client("ruby-oauth2", ("clients/oauth2_client.rb",), ruby)],
}
USERS = {
    "shell": [Client("curl-user", ("clients/user.sh",), shell)],
    "node": [Client("fetch-user", ("clients/user.js",), node)],
    "python": [Client("requests-user", ("clients/user.py",), python)],
    "go": [Client("x_oauth2-user", ("clients/go/user.go",), go)],
}
APIS = {
    "node": [
        Api("jose", ("node/api.js", "node/jose/verify.js"), node, ("15 * 60_000", "2_000")),
        Api("aws-jwt-verify", ("node/api.js", "node/aws/verify.js"), node, ("15 * 60_000", "2_000")),
    ],
    "java": [
        Api("nimbus", ("java/Api.java", "java/nimbus/TokenVerifier.java"), java, NIMBUS),
        Api("jose4j", ("java/Api.java", "java/jose4j/TokenVerifier.java"), java, ()),
        Api("java-jwt", ("java/Api.java", "java/java-jwt/TokenVerifier.java"), java, JAVA + JWKS_RSA),
        Api("jjwt", ("java/Api.java", "java/jjwt/TokenVerifier.java"), java, JAVA),
        Api("quarkus", QUARKUS, quarkus, ("=15M", "=2S", "interval=30S", "interval=1S"), away=401, challenges=False),
        Api("vertx", ("java/vertx/VertxApi.java",), java, JAVA),
    ],
    "python": [Api("pyjwt", ("python/api.py",), python, ("lifespan=900", "lifespan=2"))],
    "ruby": [Api("ruby-jwt", ("ruby/api.rb",), ruby, ("age > 900", "age > 2"))],
    "php": [Api("php", ("php/api.php",), php_server, ("$age > 900", "$age > 2"))],
    "go": [
        Api("golang-jwt", ("go/api.go", "go/golang_jwt.go"), go, ("15 * time.Minute", "2 * time.Second")),
        Api("jwx", ("go/api.go", "go/jwx.go"), go, GO),
        Api("go-oidc", ("go/api.go", "go/go_oidc.go"), go, GO),
        Api("zitadel", ("go/api.go", "go/zitadel.go"), go, GO),
    ],
}


def selected(programs):
    return [program for part in os.environ["COUNTERSIGN_PARTS"].split() for program in programs.get(part, [])]
