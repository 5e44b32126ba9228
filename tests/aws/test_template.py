"""The template is valid, and agrees with the code that it deploys."""

import hashlib
import importlib.machinery
import importlib.util
import json
import re
import tomllib
from pathlib import Path

import pytest
from samtranslator.yaml_helper import yaml_parse
from template import ROOT, TEXT, Invalid, crash_pattern, environment, functions, lint, resources, translate

TRANSLATED = translate(TEXT)

# Lambda itself sets these.
SET_BY_LAMBDA = {
    "AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_LAMBDA_FUNCTION_NAME",
}
KMS = {"COUNTERSIGN_KMS_KEY_ID", "COUNTERSIGN_LOCAL_KEY", "AWS_ENDPOINT_URL_KMS"}
AUTHORIZER = {"COUNTERSIGN_AUDIENCE", "COUNTERSIGN_AUTHORIZER_CACHING"}


def test_the_translated_template_is_valid(tmp_path):
    lint(TRANSLATED, tmp_path)


@pytest.mark.parametrize(
    ("valid", "invalid", "problem"),
    [
        ("Runtime: provided.al2023", "Runtime: provided.al2032", "provided.al2032"),
        ("!GetAtt TokenRole.Arn", "!GetAtt TokenRoll.Arn", "TokenRoll"),
        ("BillingMode: PAY_PER_REQUEST", "BillingMode: PAY_PER_REQUEST_PLEASE", "PAY_PER_REQUEST_PLEASE"),
        ("ProtocolType: HTTP", "Protocol: HTTP", "'Protocol' was unexpected"),
        ("MemorySize: 512", "MemorySize: 64", "64"),
    ],
)
def test_an_invalid_template_is_refused(valid, invalid, problem, tmp_path):
    assert valid in TEXT
    with pytest.raises(Invalid, match=re.escape(problem)):
        lint(translate(TEXT.replace(valid, invalid)), tmp_path)


def variables_read():
    """Returns the names of the environment variables in the code of the functions."""
    folders = [*ROOT.glob("shared/*/src"), ROOT / "functions"]
    sources = [file.read_text() for folder in folders for file in folder.rglob("*.rs")]
    return set(re.findall(r'"((?:COUNTERSIGN|AWS|RUST)_[A-Z0-9_]+)"', "\n".join(sources))) - SET_BY_LAMBDA


def test_every_variable_that_a_function_reads_is_declared():
    read = variables_read()
    for name, function in functions(TRANSLATED).items():
        others = (set() if name in ("token", "refresh", "rotate") else KMS) | (
            set() if name == "authorizer" else AUTHORIZER)
        declared = set(environment(function))
        assert read - others <= declared, name
        assert not declared & others, name


def test_a_panic_ends_its_request_and_not_the_process():
    """Without this line of the profile, cargo lambda, and so `sam build`, would abort on a panic."""
    with open(ROOT / "Cargo.toml", "rb") as file:
        assert tomllib.load(file)["profile"]["release"]["panic"] == "unwind"


def test_every_route_reaches_the_same_function_as_under_cargo_lambda():
    with open(ROOT / "Cargo.toml", "rb") as file:
        local = tomllib.load(file)["workspace"]["metadata"]["lambda"]["watch"]["router"]
    integrations = resources(TRANSLATED, "AWS::ApiGatewayV2::Integration")
    routed = {}
    for route in resources(TRANSLATED, "AWS::ApiGatewayV2::Route").values():
        method, path = route["Properties"]["RouteKey"].split(" ")
        assert method == "ANY", "the endpoint answers 405 itself, as OAuth requires"
        integration = re.fullmatch(r"integrations/\$\{(\w+)\}", route["Properties"]["Target"]["Fn::Sub"])[1]
        function = integrations[integration]["Properties"]["IntegrationUri"]["Fn::Sub"]
        routed[path] = function.partition(":function:${AWS::StackName}-")[2]
    assert routed == {path: served[0]["function"] for path, served in local.items()}
    assert set(routed.values()) < set(functions(TRANSLATED))
    (rest_api,) = resources(TRANSLATED, "AWS::ApiGateway::RestApi").values()
    resourced = {}
    for path, methods in rest_api["Properties"]["Body"]["paths"].items():
        assert list(methods) == ["x-amazon-apigateway-any-method"]
        uri = methods["x-amazon-apigateway-any-method"]["x-amazon-apigateway-integration"]["uri"]["Fn::Sub"]
        resourced[path] = re.search(r":function:\$\{AWS::StackName\}-(\w+)/invocations$", uri)[1]
    assert resourced == routed, "the same behind the REST API"


def test_every_route_has_its_own_rate_limit():
    (stage,) = resources(TRANSLATED, "AWS::ApiGatewayV2::Stage").values()
    routes = resources(TRANSLATED, "AWS::ApiGatewayV2::Route")
    limits = {"ThrottlingRateLimit": {"Ref": "RateLimit"}, "ThrottlingBurstLimit": {"Ref": "BurstLimit"}}
    keys = [route["Properties"]["RouteKey"] for route in routes.values()]
    assert stage["Properties"]["RouteSettings"] == {key: limits for key in keys}
    # API Gateway refuses settings of a route that does not exist yet.
    assert sorted(stage["DependsOn"]) == sorted(routes)
    (stage,) = resources(TRANSLATED, "AWS::ApiGateway::Stage").values()
    # API Gateway applies what all methods have in common to each of them by itself.
    assert stage["Properties"]["MethodSettings"] == [{"ResourcePath": "/*", "HttpMethod": "*", **limits}]


def test_each_front_door_is_created_alone():
    kinds = {"HasHttpApi": "AWS::ApiGatewayV2::", "HasRestApi": "AWS::ApiGateway::"}
    for condition, start in kinds.items():
        own = {name: one for name, one in TRANSLATED["Resources"].items() if one["Type"].startswith(start)}
        shared = {"Domain", "DomainMapping"}
        assert own and all(one["Condition"].startswith(condition) for name, one in own.items() if name not in shared)


def test_a_changed_definition_of_the_rest_api_is_deployed():
    properties = yaml_parse(TEXT)["Resources"]["RestApi"]["Properties"]
    deployed = json.dumps([properties["Body"], properties["Policy"]], sort_keys=True)
    digest = hashlib.sha256(deployed.encode()).hexdigest()[:8]
    conditions = {name: one["Condition"] for name, one in resources(TRANSLATED, "AWS::ApiGateway::Deployment").items()}
    # One for each value of DisableExecuteApiEndpoint, made anew when the domain comes or goes.
    assert conditions == {
        f"RestApiDeployment{digest}": "HasRestApiWithoutDomain", f"RestApiDomainDeployment{digest}": "HasRestApiWithDomain"}


def restore_stack():
    """Returns the script as a module."""
    loader = importlib.machinery.SourceFileLoader("restore_stack", str(ROOT / "scripts/restore-stack"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


def test_the_templates_of_a_restoration_are_valid(monkeypatch, tmp_path):
    script = restore_stack()
    declarations, retained = script.retained_resources(TEXT)
    written = []

    def aws(*arguments):
        if "describe-stacks" in arguments:
            raise script.Failed(f"Stack with id {arguments[-1]} does not exist")
        if "list-tables" in arguments:
            return {"TableNames": ["lost-attempts", "other-clients"]}
        if arguments[0] == "s3api":
            return {"Contents": [{"Key": f"{arguments[5]}0{day}-a/manifest-summary.json"} for day in (1, 3, 2)]}
        if "create-stack" in arguments:
            written.append(Path(arguments[-1].removeprefix("file://")).read_text())

    monkeypatch.setattr(script, "aws", aws)
    script.make_from_exports("lost", "exports", declarations, retained)
    # Every conditional value must have its condition there. Unused declarations and a name without a
    # variable do no harm.
    for text in [*written, script.template_with(declarations, map(script.without_properties, retained.values()))]:
        lint(translate(text), tmp_path, "W1020", "W2001", "W8001")
    assert "S3KeyPrefix: lost-clients/AWSDynamoDB/03-a/data/" in written[0], "the last export"
    assert "TableName: !Sub lost-clients\n" in written[0]


def test_tables_the_kms_key_and_logs_survive_the_stack_but_not_a_failed_creation():
    kinds = ("AWS::DynamoDB::Table", "AWS::KMS::Key", "AWS::Logs::LogGroup")
    retained = {name: one for kind in kinds for name, one in resources(TRANSLATED, kind).items()}
    assert len(retained) == 5 + 1 + 6
    for name, resource in retained.items():
        assert (resource["DeletionPolicy"], resource["UpdateReplacePolicy"]) == ("RetainExceptOnCreate", "Retain"), name


def test_the_code_writes_every_metric_of_the_alarms_and_the_dashboard():
    (metrics_source,) = ROOT.glob("shared/*/src/**/metrics.rs")
    written = set(re.findall(r'"([A-Z]\w+)"', metrics_source.read_text()))
    alarms = [alarm["Properties"] for alarm in resources(TRANSLATED, "AWS::CloudWatch::Alarm").values()]
    metrics = [one["MetricStat"]["Metric"] for alarm in alarms for one in alarm.get("Metrics", []) if "MetricStat" in one]
    own = {one["MetricName"] for one in alarms + metrics if one.get("Namespace") == {"Fn::Sub": "${AWS::StackName}-issuer"}}
    (dashboard,) = resources(TRANSLATED, "AWS::CloudWatch::Dashboard").values()
    body = dashboard["Properties"]["DashboardBody"]["Fn::Sub"][0]
    own |= set(re.findall(r'MetricName=\\"(\w+)\\"', body)) | set(re.findall(r'"\$\{AWS::StackName\}-issuer", "(\w+)"', body))
    counted = {"Crashes"}
    assert own and own <= written | counted


def test_one_pattern_counts_the_crashes_of_every_function_that_answers():
    filters = [one["Properties"] for one in resources(TRANSLATED, "AWS::Logs::MetricFilter").values()]
    groups = {one["LogGroupName"]["Ref"] for one in filters}
    assert groups == {"TokenLogs", "RefreshLogs", "JwksLogs", "AuthorizerLogs"}
    assert {one["FilterPattern"] for one in filters} == {crash_pattern()}
    metric = {"MetricNamespace": {"Fn::Sub": "${AWS::StackName}-issuer"}, "MetricName": "Crashes", "MetricValue": "1"}
    assert all(one["MetricTransformations"] == [metric] for one in filters)
    source = "\n".join(file.read_text() for file in (ROOT / "shared/lambda/src").glob("*.rs"))
    for message in ("a panic", "the function stopped"):
        assert f'"{message}"' in crash_pattern() and f'"{message}");' in source


def sums():
    """Yields each alarm that counts several metrics, with its expression and their ids."""
    for name, alarm in resources(TRANSLATED, "AWS::CloudWatch::Alarm").items():
        metrics = alarm["Properties"].get("Metrics", [])
        ids = [one["Id"] for one in metrics if "MetricStat" in one]
        if len(ids) > 1:
            yield name, next(one["Expression"] for one in metrics if "Expression" in one), metrics


def test_a_sum_of_an_alarm_counts_a_metric_without_data_as_none():
    watched = {}
    for name, expression, metrics in sums():
        stats = {one["Id"]: one["MetricStat"]["Metric"] for one in metrics if "MetricStat" in one}
        assert expression == " + ".join(f"FILL({one}, 0)" for one in stats), name
        watched[name] = {
            (one["MetricName"], one.get("Dimensions", [{"Value": {"Ref": ""}}])[0]["Value"]["Ref"])
            for one in stats.values()
        }
    endpoints = ["TokenFunction", "RefreshFunction", "JwksFunction"]
    assert watched == {
        "ThrottlesAlarm": {("Throttles", one) for one in [*endpoints, "AuthorizerFunction"]},
        "FunctionErrorsAlarm": {("Errors", one) for one in endpoints} | {("Crashes", "")},
    }


def test_the_cost_estimate_counts_the_metrics_of_the_alarms():
    """AWS bills an alarm for each metric that it watches."""
    alarms = [alarm["Properties"] for alarm in resources(TRANSLATED, "AWS::CloudWatch::Alarm").values()]
    watched = sum(sum("MetricStat" in one for one in alarm.get("Metrics", [])) or 1 for alarm in alarms)
    estimate = re.search(r"(\d+) alarms, which watch (\d+) metrics × \$0\.10 \| (\d+\.\d\d)", (ROOT / "docs/cost.md").read_text())
    assert (int(estimate[1]), int(estimate[2]), float(estimate[3])) == (len(alarms), watched, watched / 10)


def test_every_alarm_has_its_response_in_the_runbook():
    runbook = (ROOT / "docs/operate.md").read_text()
    for alarm in resources(TRANSLATED, "AWS::CloudWatch::Alarm").values():
        name = alarm["Properties"]["AlarmName"]["Fn::Sub"].removeprefix("${AWS::StackName}-")
        assert f"`{name}`" in runbook, name


def rings_at(alarm):
    """Returns what the runbook says of the threshold of an alarm: a number and a time."""
    if "ExtendedStatistic" in alarm:
        return f"{alarm['Threshold'] // 1000} s", f"{alarm['Period'] * alarm['EvaluationPeriods'] // 60} minutes"
    threshold = alarm["Threshold"]["Ref"] if isinstance(alarm["Threshold"], dict) else alarm["Threshold"]
    metrics = [one["MetricStat"] for one in alarm.get("Metrics", []) if "MetricStat" in one]
    period = alarm.get("Period") or metrics[0]["Period"]
    return threshold, "an hour" if period == 3600 else f"{period // 60} minutes"


def test_the_runbook_has_the_threshold_of_every_alarm():
    runbook = (ROOT / "docs/operate.md").read_text().partition("## When an alarm rings")[2]
    rows = dict(re.findall(r"(?m)^\| `([a-z-]+)` \| ([^|]+) \|", runbook))
    alarms = [one["Properties"] for one in resources(TRANSLATED, "AWS::CloudWatch::Alarm").values()]
    assert rows.keys() == {one["AlarmName"]["Fn::Sub"].removeprefix("${AWS::StackName}-") for one in alarms}
    for alarm in alarms:
        name = alarm["AlarmName"]["Fn::Sub"].removeprefix("${AWS::StackName}-")
        assert alarm["AlarmActions"] == alarm["OKActions"] == [{"Ref": "AlarmTopic"}], name
        if name == "key-too-old":
            assert (alarm["Threshold"], alarm["EvaluationPeriods"]) == (86400, 3)
            assert rows[name] == "a signing key a day older than `RotationPeriod`, for 3 hours"
            continue
        expected = rings_at(alarm)
        assert all(str(part) in rows[name] for part in expected), (name, expected, rows[name])


# Members of the access log's lines that no audit line has.
ACCESS = {"ip", "route", "status", "latency", "functionRequestId"}
QUERY_WORDS = {
    "filter", "stats", "count", "as", "n", "by", "sort", "desc", "asc", "limit", "pct", "latest", "last", "ispresent", "in", "and",
    "like", "timestamp", "p50", "p99", "tokens",
}


def test_the_queries_of_the_runbook_name_members_of_the_log():
    runbook = (ROOT / "docs/operate.md").read_text()
    queries = re.findall(r"`((?:filter|stats) [^`]+)`", runbook)
    queries += [block for block in re.findall(r"(?s)```\n(.*?)```", runbook) if block.startswith(("filter", "stats"))]
    assert len(queries) > 20
    audit = set(re.findall(r"(?m)^    pub (\w+): ", (ROOT / "shared/issuer/src/audit.rs").read_text()))
    source = "\n".join(file.read_text() for file in (ROOT / "shared").rglob("*.rs"))
    known = audit | ACCESS | QUERY_WORDS | set(re.findall(r'"(\w+)"', source))
    for query in queries:
        words = set(re.findall(r"[A-Za-z_]\w*", re.sub(r'"[^"]*"', "", query)))
        assert words <= known, (query, words - known)


def test_the_first_screen_quotes_the_price_of_the_defaults():
    cost = (ROOT / "docs/cost.md").read_text()
    first_screen = (ROOT / "README.md").read_text()[:3000]
    requests = re.search(r"\*\*without logs\*\* \| \| \*\*([\d.]+)", cost)[1]
    million = re.search(r"\*\*with logs and metrics, the default\*\* \| \| \*\*([\d.]+)", cost)[1]
    month = re.search(r"\*\*with the defaults\*\* \| \*\*([\d.]+)", cost)[1]
    for amount in (requests, million, month):
        assert f"${amount}" in first_screen, amount
    monthly = cost.partition("## Each month")[2].partition("**with the defaults**")[0]
    assert sum(float(one) for one in re.findall(r"(?m)\| (\d+\.\d\d) \|$", monthly)) == pytest.approx(float(month))
    # What the table takes for the defaults.
    parameters = yaml_parse(TEXT)["Parameters"]
    defaults = {name: parameters[name]["Default"] for name in ("FrontDoor", "Tracing", "Metrics", "ExportBucket", "LogLevel")}
    assert defaults == {"FrontDoor": "http-api", "Tracing": "PassThrough", "Metrics": "on", "ExportBucket": "", "LogLevel": "info"}


def test_the_comparison_follows_from_the_cost():
    cost, comparison = ((ROOT / f"docs/{name}.md").read_text() for name in ("cost", "comparison"))
    thousand = float(re.search(r"graduated tiers that begin at \$(\d+\.\d+)", cost)[1])
    million, month = re.search(r"against \$([\d.]+) and \$([\d.]+) a month here", cost).groups()
    equal = float(month) / (thousand / 1_000 - float(million) / 1_000_000)
    assert f"some {round(equal, -2):,.0f} machine tokens a month" in comparison


def test_the_serverless_application_repository_gets_the_version_of_the_workspace():
    with open(ROOT / "Cargo.toml", "rb") as file:
        workspace = tomllib.load(file)["workspace"]["package"]
    application = yaml_parse(TEXT)["Metadata"]["AWS::ServerlessRepo::Application"]
    assert application["SemanticVersion"] == workspace["version"]
    assert application["SpdxLicenseId"] == workspace["license"]
