"""The log of the functions: one line with metrics for every decision, and no secret in any line."""

import base64
import json
import re
import subprocess
import urllib.error
import urllib.request

import pytest
from processes import BINARIES, EVENTS, Dev, Function, event
from template import crash_pattern, matches

DECISION = {"client_id", "request_id", "cold_start", "duration_ms"}


def lines(function):
    """Returns the audit lines. Every line of the log must be JSON."""
    logged = [json.loads(line) for line in function.output().splitlines()]
    return [line for line in logged if "target" not in line]


def metrics(line):
    """Yields the metrics that CloudWatch reads from a line: name, dimensions as name and value,
    and the metric's value."""
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


def event_with(name, **tokens):
    request = event(name)
    for placeholder, token in tokens.items():
        request["body"] = request["body"].replace(placeholder, token)
    return request


def basic(credentials):
    return "Basic " + base64.b64encode(credentials.encode()).decode()


def test_every_decision_is_one_line_with_the_facts_for_an_operator(token):
    _, _, login = token.answer(event("token-operator-password"))
    refresh = event_with("token-refresh-token", REFRESH_TOKEN=login["refresh_token"])
    _, _, renewed = token.answer(refresh)
    wrong = event("token-password")
    wrong["body"] = wrong["body"].replace("correct", "wrong")
    assert token.answer(wrong)[0] == 400
    unknown = event("token-client-credentials")
    unknown["headers"]["authorization"] = basic("nobody:x")
    assert token.answer(unknown)[0] == 401
    issued, refreshed, refused, unknown_client = lines(token)

    assert (issued["event"], issued["grant"]) == ("issued", "operator_password")
    assert issued.keys() >= DECISION | {"sub", "operator", "brandKey", "jti", "kid", "scope", "family"}
    assert (issued["operator"], issued["brandKey"], issued["client_id"]) == ("alice.ops", "acme", "demo-app")
    assert (issued["cold_start"], refreshed["cold_start"]) == (True, False)
    assert (refreshed["grant"], refreshed["family"], refreshed["generation"]) == (
        "refresh_token", issued["family"], 1)
    assert refused.keys() >= DECISION | {"reason"}
    assert refused["secret_id"] == issued["secret_id"] and "secret_id" not in unknown_client
    assert (refused["error"], refused["username"]) == ("invalid_grant", "jane@example.com")
    assert (unknown_client["event"], unknown_client["reason"]) == ("refused", "client not authenticated: unknown client")
    for line in lines(token):
        assert line["request_id"] == "8476a536-e9f4-11e8-9739-2dfe598c3fcd"


def reuse_a_refresh_token(token, database):
    """Uses a refresh token twice, the first time long ago. Returns its family."""
    _, _, login = token.answer(event("token-password"))
    refresh = event_with("token-refresh-token", REFRESH_TOKEN=login["refresh_token"])
    assert token.answer(refresh)[0] == 200
    # Dates the rotation back to long ago.
    table = "countersign-refresh-families"
    family = lines(token)[0]["family"]
    item = database.get_item(TableName=table, Key={"family": {"S": family}})["Item"]
    database.put_item(TableName=table, Item={**item, "rotated_at": {"N": "0"}})
    assert token.answer(refresh)[0] == 400
    return family


def test_the_reuse_of_a_refresh_token_is_one_warning(token, database):
    family = reuse_a_refresh_token(token, database)
    *_, reuse = lines(token)
    assert (reuse["level"], reuse["event"], reuse["client_id"]) == ("WARN", "reuse detected", "demo-app")
    assert (reuse["family"], reuse["generation"]) == (family, 0)
    counted = {(name, by) for name, by, _ in metrics(reuse)}
    assert counted >= {("RefreshReuse", ()), ("Refused", ()), ("Refused", (("error", "invalid_grant"),))}


def test_each_throttled_login_is_one_warning_that_names_the_target(tmp_path):
    def guess(number):
        guess = event("token-client-credentials")
        guess["headers"]["authorization"] = basic(f"demo-service:wrong-{number}")
        return guess

    def login(number):
        login = event("token-password")
        login["body"] = login["body"].replace("correct", f"wrong-{number}")
        return login

    def until_throttled(request):
        statuses = [token.answer(request(0))[0]]
        while statuses[-1] != 429:
            statuses.append(token.answer(request(len(statuses)))[0])
        return statuses

    # In a store of this test alone, so that no other test is throttled.
    with Dev(tmp_path) as dev, Function(tmp_path, "token", {**dev.environment, "COUNTERSIGN_METRICS": "on"}) as token:
        # The throttle takes one guess in 256 for a repetition of the last one, which is not counted.
        *refused, _ = at_secret = until_throttled(guess)
        assert set(refused) == {401} and 20 <= len(refused) <= 26
        *refused, _ = at_password = until_throttled(login)
        assert set(refused) == {400} and 10 <= len(refused) <= 16
        logged = lines(token)
    assert len(logged) == len(at_secret) + len(at_password)
    client, user = logged[len(at_secret) - 1], logged[-1]
    for line in (client, user):
        assert (line["level"], line["event"], line["error"]) == ("WARN", "slowed down", "temporarily_unavailable")
        assert line["counter"] and 0 < line["wait_ms"] <= 1000
        assert {("GuessesRefused", ()), ("Refused", ())} <= {(name, by) for name, by, _ in metrics(line)}
    assert (client["presented"], user["client_id"], user["brandKey"]) == ("demo-service", "demo-app", "acme")


def test_every_use_of_a_client_secret_is_logged(token, dev, tmp_path):
    """`countersign client secret list --audit-log` relies on this at every endpoint that takes a
    secret."""
    _, _, login = token.answer(event("token-password"))
    (issued,) = lines(token)
    with Function(tmp_path, "refresh", dev.environment) as refresh:
        refresh.answer(event_with("introspect", ACCESS_TOKEN=login["access_token"]))
        refresh.answer(event_with("revoke", REFRESH_TOKEN=login["refresh_token"]))
        refresh.answer(event_with("refresh", REFRESH_TOKEN=login["refresh_token"]))
        logged = lines(refresh)
    assert [line["event"] for line in logged] == ["introspected", "revoked", "refused"]
    assert {line["secret_id"] for line in logged} == {issued["secret_id"]}
    assert logged[0]["active"] is True

    call = event("authorizer-http")
    with Function(tmp_path, "authorizer", {**dev.environment, "COUNTERSIGN_METRICS": "on"}) as authorizer:
        for credentials in ("demo-voice:demo-voice-secret", "demo-voice:wrong"):
            call["headers"]["authorization"] = basic(credentials)
            authorizer.invoke(call)
        known, wrong = lines(authorizer)
    assert (known["event"], known["client_id"]) == ("caller authenticated", "demo-voice") and known["secret_id"]
    assert (wrong["event"], wrong["presented"]) == ("caller refused", "demo-voice")


def test_metrics_count_tokens_and_refusals(token):
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
def test_a_token_for_a_secret_that_expires_soon_is_counted(days, soon, dev, tmp_path):
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


@pytest.mark.parametrize(("setting", "is_dimension"), [("on", False), ("by-brand", True), ("off", None), ("", None), ("loud", None)])
def test_a_brand_is_a_dimension_only_with_by_brand(setting, is_dimension, dev, tmp_path):
    with Function(tmp_path, "token", {**dev.environment, "COUNTERSIGN_METRICS": setting}) as token:
        token.answer(event("token-password"))
        (line,) = lines(token)
    assert line["brandKey"] == "acme"
    if is_dimension is None:
        assert "_aws" not in line
    else:
        assert any(by == (("brandKey", "acme"),) for _, by, _ in metrics(line)) == is_dimension


def test_a_brand_is_a_dimension_only_if_the_client_lists_it(dev, tmp_path):
    """A client with `*` may name any text as its brand, and AWS bills every dimension."""
    program, client, audience = BINARIES / "countersign", "any-brand", "https://api.example.com"
    create = ["create", client, "--grant", "client_credentials", "--audience", audience, "--brand", "*", "--secret-stdin"]
    subprocess.run([program, "client", *create], env=dev.environment, input=b"a chosen one", check=True)
    with Function(tmp_path, "token", {**dev.environment, "COUNTERSIGN_METRICS": "by-brand"}) as token:
        request = event("token-client-credentials")
        request["headers"]["authorization"] = basic(f"{client}:a chosen one")
        request["body"] = "grant_type=client_credentials&brandKey=any-text"
        assert token.answer(request)[0] == 200
        token.answer(event("token-client-credentials"))
        free, listed = lines(token)
    assert free["brandKey"] == "any-text"
    assert [by for name, by, _ in metrics(free) if name == "Tokens"] == [(), (("grant", "client_credentials"),)]
    assert ("Tokens", (("brandKey", listed["brandKey"]),), 1) in metrics(listed)


def test_a_line_is_as_long_as_the_cost_estimate_assumes(dev, tmp_path):
    estimate = re.search(r"(\d+) bytes, and (\d+) with metrics", (EVENTS.parent / "docs/cost.md").read_text())
    for setting, length in (("off", estimate[1]), ("on", estimate[2])):
        changes = {"COUNTERSIGN_METRICS": setting, "AWS_LAMBDA_FUNCTION_NAME": "countersign-token"}
        with Function(tmp_path, "token", {**dev.environment, **changes}) as token:
            for _ in range(2):
                assert token.answer(event("token-client-credentials"))[0] == 200
            line = token.output().splitlines()[1]
        assert abs(len(line) - int(length)) < 10, f"{setting}: {len(line)}"


def test_rotation_reports_the_age_of_the_key(dev, tmp_path):
    with Function(tmp_path, "rotate", {**dev.environment, "COUNTERSIGN_METRICS": "on"}) as rotate:
        assert rotate.invoke(event("rotate"))[0] == "response"
        (line,) = lines(rotate)
    ages = [value for name, by, value in metrics(line) if (name, by) == ("KeyAge", (("function", "rotate"),))]
    assert len(ages) == 1 and 0 <= ages[0] < 600


def check_no_panic_logged(function):
    assert "a panic" not in function.output(), "an alarm counts these lines"


def check_unreadable(answer):
    """Checks for the OAuth error that answers an event that cannot be read."""
    status, headers, body = answer
    assert (status, body["error"]) == (400, "invalid_request"), body
    assert body["error_description"] == "the event cannot be read"
    assert headers["content-type"] == "application/json;charset=UTF-8"
    assert headers["cache-control"] == "no-store"


@pytest.mark.parametrize("name", ["token", "refresh", "jwks"])
@pytest.mark.parametrize("odd", [None, {}, [], "text", event("rotate"), {"Records": [{"eventSource": "aws:sqs"}]}])
def test_an_event_that_is_not_of_api_gateway_is_answered_400(name, odd, dev, tmp_path):
    with Function(tmp_path, name, dev.environment) as function:
        check_unreadable(function.answer(odd))
        (line,) = lines(function)
        assert (line["event"], line["reason"]) == ("refused", "the event cannot be read")
        check_no_panic_logged(function)
        assert function.invoke(event("jwks"))[0] == "response", "the function keeps running"


def test_a_body_that_is_declared_base64_and_is_not_is_refused(token):
    for body in ("%", "grant_type=client_credentials", "e30", "\u00e9"):
        check_unreadable(token.answer({**event("token-client-credentials-base64"), "body": body}))
    check_no_panic_logged(token)


def test_a_host_changes_nothing(token):
    for header in ("host", "x-forwarded-proto"):
        for odd in ("", "a`b", "a b", "[::1", ":99999999", "a#b", "a?b=", "u@a", "a" * 70000, "\u00e9"):
            request = event("token-client-credentials")
            request["headers"][header] = odd
            assert token.answer(request)[0] == 200, f"{header}: {odd[:99]}"
    # A parameter in the query is refused, and no host hides the query.
    request = {**event("token-client-credentials"), "rawQueryString": "client_secret=a"}
    request["headers"]["host"] = "a#"
    assert token.answer(request)[0] == 400
    check_no_panic_logged(token)


def test_a_path_or_query_that_is_not_one_of_a_uri_is_answered_400(token, dev, tmp_path):
    for query in ("a=\u0000", "a b", "a=b#c", "a" * 70000):
        check_unreadable(token.answer({**event("token-client-credentials"), "rawQueryString": query}))
    with Function(tmp_path, "jwks", dev.environment) as jwks:
        for path in ("/`", ":99999999", "", None, "a" * 70000, "/.well-known/jwks.json`", "/.well-known/jwks.json#"):
            check_unreadable(jwks.answer({**event("jwks"), "rawPath": path}))
        assert jwks.answer({**event("jwks"), "rawPath": "//"})[0] == 404
        check_unreadable(jwks.answer({**event("jwks"), "rawQueryString": "a b"}))
        assert jwks.answer(event("jwks"))[0] == 200, "the function keeps running"
        check_no_panic_logged(jwks)


@pytest.mark.parametrize("name", ["token", "refresh", "jwks", "authorizer"])
def test_a_misconfigured_function_names_every_wrong_variable_in_a_line_that_an_alarm_counts(name, tmp_path, dev):
    wrong = {**dev.environment, "COUNTERSIGN_ISSUER": "", "COUNTERSIGN_MAX_ACCESS_TTL": "1h", "AWS_REGION": ""}
    with Function(tmp_path, name, {**wrong, "RUST_LOG": "error"}) as function:
        function.child.wait(20)
        assert function.child.returncode != 0
        (line,) = [json.loads(line) for line in function.output().splitlines()]
    assert line["level"] == "ERROR" and matches(crash_pattern(), line)
    for variable in ("COUNTERSIGN_ISSUER", "COUNTERSIGN_MAX_ACCESS_TTL", "AWS_REGION"):
        assert variable in line["error"]


@pytest.mark.parametrize("level", ["error", "warn", "off"])
def test_no_level_silences_the_metrics_that_alarms_count(level, dev, database, tmp_path):
    environment = {**dev.environment, "COUNTERSIGN_METRICS": "on", "RUST_LOG": level}
    with Function(tmp_path, "token", environment) as token:
        reuse_a_refresh_token(token, database)
        counted = {name for line in lines(token) for name, _, _ in metrics(line)}
    assert counted >= {"Tokens", "RefreshReuse"}
    with Function(tmp_path, "rotate", environment) as rotate:
        rotate.invoke(event("rotate"))
        (line,) = lines(rotate)
    assert "KeyAge" in {name for name, _, _ in metrics(line)}


def send_over_http(base, sent):
    """Sends the same request to `countersign dev` and ignores the answer."""
    headers = {name: value for name, value in sent["headers"].items() if name != "content-length"}
    request = urllib.request.Request(base + sent["rawPath"], sent["body"].encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=30):
            pass
    except urllib.error.HTTPError:
        pass


def test_the_log_of_a_full_run_holds_no_secret(dev, tmp_path):
    """Every event file and more, at the most verbose log level: nothing that a caller could use
    again is in the log."""
    verbose = {**dev.environment, "COUNTERSIGN_METRICS": "on", "RUST_LOG": "trace"}
    secrets = {
        "demo-app-secret", "demo-service-secret", "demo-voice-secret", "correct horse battery staple",
        "operator-passphrase", "wrong-secret", "wrong-password", dev.environment["COUNTERSIGN_LOCAL_KEY"],
    }
    logs = []
    with Function(tmp_path, "token", verbose) as token, Function(tmp_path, "refresh", verbose) as refresh:
        def send(function, sent):
            secrets.add(sent["headers"].get("authorization", "Basic -").split(" ")[1])
            _, _, answer = function.answer(sent)
            send_over_http(dev.url, sent)
            secrets.update(answer.get(name) for name in ("access_token", "refresh_token") if name in answer)
            return answer

        for file in sorted(EVENTS.glob("token-*.json")):
            if "refresh" not in file.stem:
                assert "access_token" in send(token, event(file.stem)), file
        login = send(token, event("token-password"))
        login = send(token, event_with("token-refresh-token", REFRESH_TOKEN=login["refresh_token"]))
        login = send(refresh, event_with("refresh", REFRESH_TOKEN=login["refresh_token"]))
        for known in (login["access_token"], login["refresh_token"]):
            send(refresh, event_with("introspect", ACCESS_TOKEN=known))
        send(refresh, event_with("revoke", REFRESH_TOKEN=login["refresh_token"]))
        send(refresh, event_with("refresh", REFRESH_TOKEN=login["refresh_token"]))
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
        # A document with a secret in it that is not an event.
        token.invoke({"authorization": "demo-app-secret"})
        # Besides its log, `countersign dev` prints the commands of the demo, which hold the demo's
        # secrets.
        local = re.findall(r"^\S*\d\d:\d\d:\d\d.*$", dev.output(), re.M)
        logs = [token.output(), refresh.output(), "\n".join(local)]
    assert min(map(len, logs)) > 1000, "every process has logged something"
    for log in logs:
        for secret in secrets - {"-"}:
            for spelling in (secret, secret.replace(" ", "+"), base64.b64encode(secret.encode()).decode()):
                assert spelling not in log, secret
        # Matches the signature of any token.
        assert not re.search(r"eyJ[\w-]+\.[\w-]+\.[\w-]+", log)
