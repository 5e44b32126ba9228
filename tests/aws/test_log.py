"""What the functions tell CloudWatch: one line for every decision, metrics in it, and no secret in any."""

import base64
import json
import re
import subprocess
import urllib.error
import urllib.request

import pytest
from processes import BINARIES, EVENTS, Dev, Function, event

DECISION = {"client_id", "request_id", "cold_start", "duration_ms"}


def lines(function):
    """The audit lines, each of them JSON."""
    told = [json.loads(line) for line in function.said().splitlines()]
    return [line for line in told if "target" not in line]


def metrics(line):
    """What CloudWatch makes of the line: metric, dimensions as name and value, and the metric's value."""
    document = line["_aws"]
    assert document["Timestamp"] > 1_700_000_000_000
    for directive in document["CloudWatchMetrics"]:
        assert directive["Namespace"] == "countersign-issuer"
        for metric in directive["Metrics"]:
            for dimensions in directive["Dimensions"]:
                assert all(isinstance(line[name], str) for name in dimensions), "a dimension's value is a string"
                value = line[metric["Name"]]
                assert isinstance(value, int) and not isinstance(value, bool)
                yield metric["Name"], tuple((name, line[name]) for name in dimensions), value


@pytest.fixture
def token(dev, tmp_path):
    with Function(tmp_path, "token", {**dev.environment, "COUNTERSIGN_METRICS": "on"}) as token:
        yield token


def with_tokens(name, **tokens):
    sent = event(name)
    for word, value in tokens.items():
        sent["body"] = sent["body"].replace(word, value)
    return sent


def basic(credentials):
    return "Basic " + base64.b64encode(credentials.encode()).decode()


def test_every_decision_is_one_line_with_what_an_operator_asks_for(token):
    _, _, login = token.answer(event("token-operator-password"))
    refresh = with_tokens("token-refresh-token", REFRESH_TOKEN=login["refresh_token"])
    _, _, renewed = token.answer(refresh)
    wrong = event("token-password")
    wrong["body"] = wrong["body"].replace("correct", "wrong")
    assert token.answer(wrong)[0] == 400
    unknown = event("token-client-credentials")
    unknown["headers"]["authorization"] = basic("nobody:x")
    assert token.answer(unknown)[0] == 401
    issued, refreshed, refused, stranger = lines(token)

    assert (issued["event"], issued["grant"]) == ("issued", "operator_password")
    assert issued.keys() >= DECISION | {"sub", "operator", "brandKey", "jti", "kid", "scope", "family"}
    assert (issued["operator"], issued["brandKey"], issued["client_id"]) == ("alice.ops", "acme", "demo-app")
    assert (issued["cold_start"], refreshed["cold_start"]) == (True, False)
    assert (refreshed["grant"], refreshed["family"], refreshed["generation"]) == (
        "refresh_token", issued["family"], 1)
    assert refused.keys() >= DECISION | {"reason"}
    assert refused["secret_id"] == issued["secret_id"] and "secret_id" not in stranger
    assert (refused["error"], refused["username"]) == ("invalid_grant", "jane@example.com")
    assert (stranger["event"], stranger["reason"]) == ("refused", "client not authenticated: unknown client")
    for line in lines(token):
        assert line["request_id"] == "8476a536-e9f4-11e8-9739-2dfe598c3fcd"


def test_a_stolen_token_is_one_warning(token, database):
    _, _, login = token.answer(event("token-password"))
    refresh = with_tokens("token-refresh-token", REFRESH_TOKEN=login["refresh_token"])
    assert token.answer(refresh)[0] == 200
    # As if that had been long ago.
    table = "countersign-refresh-families"
    family = lines(token)[0]["family"]
    item = database.get_item(TableName=table, Key={"family": {"S": family}})["Item"]
    database.put_item(TableName=table, Item={**item, "rotated_at": {"N": "0"}})
    assert token.answer(refresh)[0] == 400
    *_, theft = lines(token)
    assert (theft["level"], theft["event"], theft["client_id"]) == ("WARN", "reuse detected", "demo-app")
    assert (theft["family"], theft["generation"]) == (family, 0)
    counted = {(name, by) for name, by, _ in metrics(theft)}
    assert counted >= {("RefreshReuse", ()), ("Refused", ()), ("Refused", (("error", "invalid_grant"),))}


def test_too_many_guesses_are_one_warning_that_says_at_whom(tmp_path):
    guess = event("token-client-credentials")
    guess["headers"]["authorization"] = basic("demo-service:wrong")
    login = event("token-password")
    login["body"] = login["body"].replace("correct", "wrong")
    # Counters of its own: nobody else is to be slowed down.
    with Dev(tmp_path) as dev, Function(tmp_path, "token", {**dev.environment, "COUNTERSIGN_METRICS": "on"}) as token:
        assert [token.answer(guess)[0] for _ in range(21)] == [401] * 20 + [429]
        assert [token.answer(login)[0] for _ in range(11)] == [400] * 10 + [429]
        told = lines(token)
    assert len(told) == 21 + 11
    client, user = told[20], told[31]
    for line in (client, user):
        assert (line["level"], line["event"], line["error"]) == ("WARN", "slowed down", "temporarily_unavailable")
        assert line["counter"] and 0 < line["wait_ms"] <= 1000
        assert {("GuessesRefused", ()), ("Refused", ())} <= {(name, by) for name, by, _ in metrics(line)}
    assert (client["presented"], user["client_id"], user["brandKey"]) == ("demo-service", "demo-app", "acme")


def test_whoever_uses_a_secret_is_seen_to_use_it(token, dev, tmp_path):
    """What `countersign client secret list --audit-log` goes by, at every endpoint that takes a secret."""
    _, _, login = token.answer(event("token-password"))
    (issued,) = lines(token)
    with Function(tmp_path, "refresh", dev.environment) as refresh:
        refresh.answer(with_tokens("introspect", ACCESS_TOKEN=login["access_token"]))
        refresh.answer(with_tokens("revoke", REFRESH_TOKEN=login["refresh_token"]))
        refresh.answer(with_tokens("refresh", REFRESH_TOKEN=login["refresh_token"]))
        told = lines(refresh)
    assert [line["event"] for line in told] == ["introspected", "revoked", "refused"]
    assert {line["secret_id"] for line in told} == {issued["secret_id"]}
    assert told[0]["active"] is True

    called = event("authorizer-http")
    with Function(tmp_path, "authorizer", {**dev.environment, "COUNTERSIGN_METRICS": "on"}) as authorizer:
        for credentials in ("demo-voice:demo-voice-secret", "demo-voice:wrong"):
            called["headers"]["authorization"] = basic(credentials)
            authorizer.invoke(called)
        known, wrong = lines(authorizer)
    assert (known["event"], known["client_id"]) == ("caller authenticated", "demo-voice") and known["secret_id"]
    assert (wrong["event"], wrong["presented"]) == ("caller refused", "demo-voice")


def test_metrics_count_what_happened(token):
    token.answer(event("token-client-credentials"))
    token.answer(event("token-password"))
    refused = event("token-password")
    refused["headers"]["authorization"] = basic("demo-app:wrong")
    token.answer(refused)
    first, second, third = (dict(((name, by), value) for name, by, value in metrics(line)) for line in lines(token))
    in_token = (("function", "token"),)
    assert first.pop(("Duration", in_token)) >= 0 and second.pop(("Duration", in_token)) >= 0
    assert first == {
        ("Tokens", ()): 1, ("Tokens", (("grant", "client_credentials"),)): 1, ("ColdStarts", in_token): 1,
    }
    assert second == {("Tokens", ()): 1, ("Tokens", (("grant", "password"),)): 1}
    assert third.keys() == {("Refused", ()), ("Refused", (("error", "invalid_client"),)), ("Duration", in_token)}


@pytest.mark.parametrize(("days", "soon"), [(29, True), (31, False)])
def test_a_token_for_a_secret_near_its_end_is_counted(days, soon, dev, tmp_path):
    program, environment = BINARIES / "countersign", {**dev.environment, "COUNTERSIGN_METRICS": "on"}
    client, grant, audience = f"ends-in-{days}", "client_credentials", "https://api.example.com"
    for command in (
        ["create", client, "--grant", grant, "--audience", audience, "--secret-stdin"],
        ["secret", "add", client, "--expire-others", f"{days}d"],
    ):
        subprocess.run([program, "client", *command], env=environment, input=b"a chosen one", check=True)
    sent = event("token-client-credentials")
    sent["headers"]["authorization"] = basic(f"{client}:a chosen one")
    sent["body"] = f"grant_type={grant}"
    with Function(tmp_path, "token", environment) as token:
        assert token.answer(sent)[0] == 200
        (line,) = lines(token)
    counted = [(by, value) for name, by, value in metrics(line) if name == "ExpiringSecrets"]
    assert counted == ([((("function", "token"),), 1)] if soon else [])
    assert isinstance(line["secret_expires"], int) and line.get("secret_ends_soon", False) == soon


@pytest.mark.parametrize(("setting", "seen"), [("on", False), ("by-brand", True), ("off", None), ("", None), ("loud", None)])
def test_a_brand_is_a_dimension_only_where_asked_for(setting, seen, dev, tmp_path):
    with Function(tmp_path, "token", {**dev.environment, "COUNTERSIGN_METRICS": setting}) as token:
        token.answer(event("token-password"))
        (line,) = lines(token)
    assert line["brandKey"] == "acme"
    if seen is None:
        assert "_aws" not in line
    else:
        assert any(by == (("brandKey", "acme"),) for _, by, _ in metrics(line)) == seen


def test_a_line_is_as_long_as_the_cost_is_reckoned_with(dev, tmp_path):
    told = re.search(r"(\d+) bytes, and (\d+) with metrics", (EVENTS.parent / "docs/cost.md").read_text())
    for setting, length in (("off", told[1]), ("on", told[2])):
        named = {"COUNTERSIGN_METRICS": setting, "AWS_LAMBDA_FUNCTION_NAME": "countersign-token"}
        with Function(tmp_path, "token", {**dev.environment, **named}) as token:
            for _ in range(2):
                assert token.answer(event("token-client-credentials"))[0] == 200
            line = token.said().splitlines()[1]
        assert abs(len(line) - int(length)) < 10, f"{setting}: {len(line)}"


def test_rotation_tells_the_age_of_the_key(dev, tmp_path):
    with Function(tmp_path, "rotate", {**dev.environment, "COUNTERSIGN_METRICS": "on"}) as rotate:
        assert rotate.invoke(event("rotate"))[0] == "response"
        (line,) = lines(rotate)
    ages = [value for name, by, value in metrics(line) if (name, by) == ("KeyAge", (("function", "rotate"),))]
    assert len(ages) == 1 and 0 <= ages[0] < 600


@pytest.mark.parametrize("name", ["token", "refresh", "jwks"])
@pytest.mark.parametrize("odd", [None, {}, [], "text", event("rotate"), {"Records": [{"eventSource": "aws:sqs"}]}])
def test_what_is_no_event_of_api_gateway_is_a_clear_error(name, odd, dev, tmp_path):
    with Function(tmp_path, name, dev.environment) as function:
        kind, error = function.invoke(odd)
        assert kind == "error" and "no event of an HTTP API or a REST API" in error["errorMessage"]
        assert "panic" not in function.said()
        assert function.invoke(event("jwks"))[0] == "response", "and it goes on"


def test_a_body_that_is_not_the_base64_it_claims_to_be_is_refused(token):
    for body in ("%", "grant_type=client_credentials", "e30", "\u00e9"):
        broken = {**event("token-client-credentials-base64"), "body": body}
        status, _, answer = token.answer(broken)
        assert (status, answer["error"]) == (400, "invalid_request"), body


def test_what_makes_no_uri_harms_nobody(token, dev, tmp_path):
    for header in ("host", "x-forwarded-proto"):
        for odd in ("a`b", "a b", "[::1", ":99999999", "\u00e9", "a" * 70000, ""):
            sent = event("token-client-credentials")
            sent["headers"][header] = odd
            assert token.answer(sent)[0] == 200, (header, odd)
    for query in ("a=\u0000", "a b", "a" * 70000):
        status, _, answer = token.answer({**event("token-client-credentials"), "rawQueryString": query})
        assert (status, answer["error"]) == (400, "invalid_request"), query
    with Function(tmp_path, "jwks", dev.environment) as jwks:
        for path in ("/`", ":99999999", "//", "", None, "a" * 70000, "/.well-known/jwks.json`"):
            assert jwks.answer({**event("jwks"), "rawPath": path})[0] == 404, path
        assert jwks.answer({**event("jwks"), "rawQueryString": "a b"})[0] == 200


def test_a_function_that_is_set_up_wrongly_names_every_variable(tmp_path, dev):
    wrong = {**dev.environment, "COUNTERSIGN_ISSUER": "", "COUNTERSIGN_MAX_ACCESS_TTL": "1h", "AWS_REGION": ""}
    with Function(tmp_path, "token", wrong) as token:
        token.child.wait(20)
        assert token.child.returncode != 0
        for name in ("COUNTERSIGN_ISSUER", "COUNTERSIGN_MAX_ACCESS_TTL", "AWS_REGION"):
            assert name in token.said()


def over_http(base, sent):
    """The same request to `countersign dev`, whatever it answers."""
    headers = {name: value for name, value in sent["headers"].items() if name != "content-length"}
    request = urllib.request.Request(base + sent["rawPath"], sent["body"].encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=30):
            pass
    except urllib.error.HTTPError:
        pass


def test_the_log_of_a_full_run_holds_no_secret(dev, tmp_path):
    """Every event file and more, with the log as loud as it gets: nothing that a caller could use again is in it."""
    loud = {**dev.environment, "COUNTERSIGN_METRICS": "on", "RUST_LOG": "trace"}
    secrets = {
        "demo-app-secret", "demo-service-secret", "demo-voice-secret", "correct horse battery staple",
        "operator-passphrase", "wrong-secret", "wrong-password", dev.environment["COUNTERSIGN_LOCAL_KEY"],
    }
    logs = []
    with Function(tmp_path, "token", loud) as token, Function(tmp_path, "refresh", loud) as refresh:
        def send(function, sent):
            secrets.add(sent["headers"].get("authorization", "Basic -").split(" ")[1])
            _, _, answer = function.answer(sent)
            over_http(dev.url, sent)
            secrets.update(answer.get(name) for name in ("access_token", "refresh_token") if name in answer)
            return answer

        for file in sorted(EVENTS.glob("token-*.json")):
            if "refresh" not in file.stem:
                assert "access_token" in send(token, event(file.stem)), file
        login = send(token, event("token-password"))
        login = send(token, with_tokens("token-refresh-token", REFRESH_TOKEN=login["refresh_token"]))
        login = send(refresh, with_tokens("refresh", REFRESH_TOKEN=login["refresh_token"]))
        for known in (login["access_token"], login["refresh_token"]):
            send(refresh, with_tokens("introspect", ACCESS_TOKEN=known))
        send(refresh, with_tokens("revoke", REFRESH_TOKEN=login["refresh_token"]))
        send(refresh, with_tokens("refresh", REFRESH_TOKEN=login["refresh_token"]))
        wrong = event("token-password")
        wrong["body"] = re.sub("password=[^&]*", "password=wrong-password", wrong["body"])
        send(token, wrong)
        wrong["headers"]["authorization"] = basic("demo-app:wrong-secret")
        send(token, wrong)
        for misplaced in ("username", "client_id", "scope", "grant_type"):
            odd = event("token-password")
            odd["body"] = re.sub(f"&?{misplaced}=[^&]*", "", odd["body"]) + f"&{misplaced}=correct+horse+battery+staple"
            send(token, odd)
        swapped = event("token-password")
        swapped["headers"]["authorization"] = basic("demo-app-secret:demo-app")
        send(token, swapped)
        # An event that is none, with a secret in it.
        token.invoke({"authorization": "demo-app-secret"})
        # What `countersign dev` prints beside its log are the demo's own commands.
        local = re.findall(r"^\S*\d\d:\d\d:\d\d.*$", dev.said(), re.M)
        logs = [token.said(), refresh.said(), "\n".join(local)]
    assert min(map(len, logs)) > 1000, "everybody said something"
    for log in logs:
        for secret in secrets - {"-"}:
            for spelled in (secret, secret.replace(" ", "+"), base64.b64encode(secret.encode()).decode()):
                assert spelled not in log, secret
        # Signatures, of which a token would bring one.
        assert not re.search(r"eyJ[\w-]+\.[\w-]+\.[\w-]+", log)
