"""Measures the function binaries under a Lambda Runtime API of this repository.
scripts/bench-lambda builds the binaries, names their folders and starts this."""

import argparse
import base64
import io
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path

import boto3
import jwt
from processes import BINARIES, Dev, Kms, event
from runtime import Function, one_processor_awake, rss_of
from tls import Authority, Proxy

FUNCTIONS = ["token", "refresh", "jwks", "authorizer", "rotate"]
LAMBDA = Path(os.environ["COUNTERSIGN_LAMBDA_BINARIES"])
REFERENCES = Path(os.environ["COUNTERSIGN_HELLO_BINARIES"])
# The smallest functions to compare with: behind an API, without one, and without one but with a raw
# signature per event.
REFERENCE_NAMES = ["hello", "bare", "floor"]
AUDIENCE = "https://api.example.com"
ISSUER = "https://issuer.example.com"
MIB = 1 << 20


@dataclass
class Row:
    """One line of the table: a median of runs with minimum and maximum, and whether it meets its
    target."""

    what: str
    target: str
    measured: str
    verdict: str


def spread(values, digits=2):
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:.{digits}f} ({low:.{digits}f}–{high:.{digits}f})"


def ratio(what, values, most, detail):
    met = statistics.median(values) <= most
    return Row(what, f"≤ {most}", f"{spread(values)}; {detail}", "met" if met else "MISSED")


def at_most(what, value, most, unit):
    return Row(what, f"≤ {most} {unit}", f"{value:.2f} {unit}", "met" if value <= most else "MISSED")


class Bench:
    """The environment of the functions: the store, KMS, TLS before both, and the clients in the
    store."""

    def __init__(self, folder, dev, kms, clients):
        self.dev, self.kms = dev, kms
        authority = Authority(folder)
        self.store_proxy = Proxy(authority, self.dev.environment["AWS_ENDPOINT_URL_DYNAMODB"])
        self.kms_proxy = Proxy(authority, self.kms.url)
        # The variables that Lambda and the template set. The session token of a role is about as
        # long.
        local = {name: value for name, value in self.dev.environment.items() if name != "COUNTERSIGN_LOCAL_KEY"}
        production = {
            **local,
            "COUNTERSIGN_ISSUER": ISSUER,
            "AWS_SESSION_TOKEN": "t" * 1000,
            "COUNTERSIGN_KMS_KEY_ID": self.kms.key_id,
            "COUNTERSIGN_METRICS": "on",
            "RUST_LOG": "info",
        }
        production.pop("AWS_ENDPOINT_URL_DYNAMODB")
        # AWS's own endpoints and roots. They get no request, since a start sends none.
        self.production = production
        self.reachable = {
            **production,
            "AWS_ENDPOINT_URL_DYNAMODB": self.store_proxy.url,
            "AWS_ENDPOINT_URL_KMS": self.kms_proxy.url,
            "AWS_CA_BUNDLE": str(authority.bundle),
        }
        self.set_up(clients)

    def set_up(self, clients):
        """Creates keys that KMS wraps, and copies of one client under different ids."""
        upstream = {
            "AWS_ENDPOINT_URL_DYNAMODB": self.dev.environment["AWS_ENDPOINT_URL_DYNAMODB"],
            "AWS_ENDPOINT_URL_KMS": self.kms.url,
        }
        database = boto3.resource(
            "dynamodb",
            endpoint_url=upstream["AWS_ENDPOINT_URL_DYNAMODB"],
            region_name=self.dev.environment["AWS_REGION"],
            aws_access_key_id="local",
            aws_secret_access_key="local",
        )
        ring = database.Table("countersign-signing-keys")
        for item in ring.scan()["Items"]:
            ring.delete_item(Key={"ring": item["ring"], "seq": item["seq"]})

        def countersign(*arguments):
            command = [BINARIES / "countersign", *arguments, "--json"]
            environment = {**self.production, **upstream, "AWS_SESSION_TOKEN": ""}
            done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
            assert done.returncode == 0, done.stderr
            return json.loads(done.stdout)

        countersign("key", "rotate")
        made = countersign(
            *("client", "create", "bench", "--name", "Bench", "--grant", "client_credentials"),
            *("--scope", "reports:read", "--scope", "reports:write", "--role", "reporting"),
            *("--brand", "acme", "--brand", "globex", "--operator", "alice.ops", "--audience", AUDIENCE),
        )
        self.secret = made["client_secret"]
        table = database.Table("countersign-clients")
        record = table.get_item(Key={"client_id": "bench"})["Item"]
        with table.batch_writer() as batch:
            for number in range(clients):
                batch.put_item({**record, "client_id": f"bench-{number}"})

    def event(self, client):
        """Returns events/token-client-credentials-base64.json, as API Gateway sends it, with the
        credentials of a client."""
        request = event("token-client-credentials-base64")
        credentials = base64.b64encode(f"{client}:{self.secret}".encode()).decode()
        request["headers"]["authorization"] = f"Basic {credentials}"
        return json.dumps(request).encode()

    def function(self, name, environment=None, wrapper=()):
        """Starts the function of that name, under the command `wrapper` if there is one."""
        if name in REFERENCE_NAMES:
            binary, variables = REFERENCES / name / "bootstrap", {}
        else:
            binary, variables = LAMBDA / name / "bootstrap", environment or self.reachable
        return Function([*wrapper, str(binary)], {**variables, "AWS_LAMBDA_FUNCTION_NAME": f"countersign-{name}"})

    def verify(self, answers):
        """Verifies every token with the key set that the jwks function publishes. Returns their
        number."""
        with self.function("jwks") as jwks:
            document = json.loads(json.loads(jwks.invoke(json.dumps(event("jwks")).encode()))["body"])
        keys = jwt.PyJWKSet.from_dict(document)
        seen = set()
        for answer in answers:
            answer = json.loads(answer)
            assert answer["statusCode"] == 200, answer
            token = json.loads(answer["body"])["access_token"]
            key = keys[jwt.get_unverified_header(token)["kid"]]
            claims = jwt.decode(token, key, algorithms=["ES256"], audience=AUDIENCE, issuer=ISSUER)
            assert (claims["operator"], claims["brandKey"]) == ("alice.ops", "acme"), claims
            seen.add(claims["jti"])
        assert len(seen) == len(answers), "no two tokens are the same"
        return len(answers)


def signature():
    """Measures the nanoseconds of CPU of one raw signature, at this moment."""
    return int(subprocess.run([REFERENCES / "signature" / "bootstrap"], capture_output=True, check=True, text=True).stdout)


def measured(bench, runs, invocations):
    """Returns the rows. Each run measures everything once, so that compared figures are only
    seconds apart."""
    names = ["hello", *FUNCTIONS]
    start = {name: [] for name in names}
    first = {name: [] for name in ("hello", "token")}
    first_waits, first_cpu, reads = [], [], []
    cost = {name: [] for name in ("signature", *REFERENCE_NAMES, "cached", "uncached")}
    answers = []
    for _ in range(runs):
        # In turn, so that other load on the machine affects all of them equally.
        one = {name: [] for name in names}
        for _ in range(9):
            for name in names:
                with bench.function(name, bench.production) as function:
                    one[name].append(function.start_up)
        for name in names:
            start[name].append(statistics.median(one[name]))

        for name in ("hello", "token"):
            one = []
            for _ in range(5):
                with bench.function(name) as function:
                    waited = bench.store_proxy.waited + bench.kms_proxy.waited
                    cpu, answered = function.cpu_of_each([bench.event("bench")])
                    one.append((function.wall, bench.store_proxy.waited + bench.kms_proxy.waited - waited, cpu))
                if name == "token":
                    answers += answered
            wall, waits, cpu = sorted(one)[2]
            first[name].append(wall)
            if name == "token":
                first_waits.append(waits)
                first_cpu.append(cpu)

        before = signature()
        for name in REFERENCE_NAMES:
            with bench.function(name) as function:
                function.cpu_of_each([bench.event("bench")] * 500)
                cost[name].append(function.cpu_of_each([bench.event("bench")] * invocations)[0])
        with bench.function("token") as token:
            token.cpu_of_each([bench.event("bench")] * 500)
            cpu, answered = token.cpu_of_each([bench.event("bench")] * invocations)
            cost["cached"].append(cpu)
            answers += answered
        with bench.function("token") as token:
            # The operator is cached, but each request comes from another client.
            clients = [f"bench-{number}" for number in range(invocations + 100)]
            token.cpu_of_each([bench.event(client) for client in clients[:100]])
            requests = bench.store_proxy.requests
            cpu, answered = token.cpu_of_each([bench.event(client) for client in clients[100:]])
            cost["uncached"].append(cpu)
            reads.append((bench.store_proxy.requests - requests) / invocations)
            answers += answered
        cost["signature"].append((before + signature()) / 2)

    grown, more = memory(bench)
    answers += more
    verified = bench.verify(answers)

    def against(values, floor):
        return [value / least for value, least in zip(values, floor)]

    µs = {name: f"{statistics.median(values) / 1000:.1f} µs" for name, values in cost.items()}
    rows = [
        ratio(
            f"start-up CPU of {name}, against hello world",
            against(start[name], start["hello"]),
            1.8,
            f"{statistics.median(start[name]) / 1e6:.2f} ms against {statistics.median(start['hello']) / 1e6:.2f} ms",
        )
        for name in FUNCTIONS
    ]
    rows += [
        ratio(
            "first invocation of token, wall, against hello world's",
            against(first["token"], first["hello"]),
            3,
            f"{statistics.median(first['token']) / 1e6:.2f} ms (of which the stand-ins for DynamoDB and KMS "
            f"{statistics.median(first_waits) / 1e6:.2f} ms; CPU of the function {statistics.median(first_cpu) / 1e6:.2f} ms) "
            f"against {statistics.median(first['hello']) / 1e6:.2f} ms",
        ),
        ratio(
            "warm token, client cached, CPU against hello world and one signature",
            against(cost["cached"], [sum(pair) for pair in zip(cost["hello"], cost["signature"])]),
            1.6,
            f"{µs['cached']} against {µs['hello']} and {µs['signature']}",
        ),
        ratio(
            "warm token, client cached, CPU against one signature",
            against(cost["cached"], cost["signature"]),
            4.0,
            f"{µs['cached']} against {µs['signature']}; hello world {µs['hello']}, the bare runtime {µs['bare']}, "
            f"the bare runtime and one signature {µs['floor']}",
        ),
        ratio(
            "the same with one uncached GetItem over TLS",
            against(cost["uncached"], cost["signature"]),
            14,
            f"{µs['uncached']}; {statistics.median(reads):.2f} reads for each",
        ),
    ]
    rows += [at_most(f"zip of {name}", zipped(name) / 1e6, 3.0, "MB") for name in FUNCTIONS]
    at_first, after_1000, after_10000 = (value / MIB for value in grown)
    rows.append(at_most("memory of token at the first next", at_first, 8, "MiB"))
    growth = after_10000 - after_1000
    rows.append(
        Row(
            "memory of token after 10,000 tokens",
            "no growth",
            f"{after_10000:.2f} MiB, and {after_1000:.2f} MiB after 1,000",
            "met" if growth <= 1 / 16 else "MISSED",
        )
    )
    return rows, verified


def memory(bench):
    """Measures the memory at the first next, after 1,000 and after 10,000 tokens to one client.
    Returns a sample of answers too."""
    with bench.function("token", bench.reachable) as token:
        sizes, answers = [rss_of(token.pid)], []
        for count in (1000, 9000):
            _, answered = token.cpu_of_each([bench.event("bench")] * count)
            sizes.append(rss_of(token.pid))
            answers += [*answered[:10], *answered[-10:]]
    return sizes, answers


def print_instructions(bench):
    """Prints the instructions of the functions in user space, by callgrind, and the page faults
    of a start."""

    def counted(name, environment, clients):
        with bench.function(name, environment, ("valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null")) as function:
            for client in clients:
                function.invoke(bench.event(client))
        return int(re.search(rb"Collected : (\d+)", function.output).group(1))

    print("| | instructions | page faults |\n|---|---|---|")
    for name in (*REFERENCE_NAMES, *FUNCTIONS):
        with bench.function(name, bench.production) as function:
            pass
        print(f"| {name}, exec to first next | {counted(name, bench.production, []):,} | {function.faults} |")
    for what, name, clients in [
        *((f"{name}, an invocation", name, ["bench"] * 250) for name in REFERENCE_NAMES),
        ("token, client cached, an invocation", "token", ["bench"] * 250),
        ("token, one GetItem over TLS besides", "token", [f"bench-{number}" for number in range(250)]),
    ]:
        of_each = (counted(name, None, clients) - counted(name, None, clients[:50])) // 200
        print(f"| {what} | {of_each:,} | |")


def zipped(name):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.write(LAMBDA / name / "bootstrap", "bootstrap")
    return len(archive.getvalue())


def machine():
    with open("/proc/cpuinfo") as info:
        models = (line.split(": ")[1].strip() for line in info if line.startswith("model name"))
        model = next(models, "processors")
    return f"{os.cpu_count()} × {model}, {platform.machine()}, Linux {platform.release()}, load {os.getloadavg()[0]:.1f}"


def main():
    # scripts/bench-lambda prints the help.
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--invocations", type=int, default=2000)
    parser.add_argument("--instructions", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with one_processor_awake(), Dev(folder) as dev, Kms(folder) as kms:
            bench = Bench(folder, dev, kms, options.invocations + 100)
            if options.instructions:
                print_instructions(bench)
                return
            rows, verified = measured(bench, options.runs, options.invocations)
    if options.json:
        json.dump({"machine": machine(), "verified": verified, "rows": [asdict(row) for row in rows]}, sys.stdout, ensure_ascii=False)
        print()
        return
    print("| what | target | measured | verdict |\n|---|---|---|---|")
    for row in rows:
        print(f"| {row.what} | {row.target} | {row.measured} | {row.verdict} |")
    print(f"\n{machine()}\n{verified} tokens verified; {options.runs} runs of {options.invocations} warm invocations")


if __name__ == "__main__":
    main()
