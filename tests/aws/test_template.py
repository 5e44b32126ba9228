"""The template is valid, and agrees with the code that it deploys."""

import re
import tomllib

import pytest
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


def test_every_route_has_its_own_rate_limit():
    (stage,) = resources(TRANSLATED, "AWS::ApiGatewayV2::Stage").values()
    routes = resources(TRANSLATED, "AWS::ApiGatewayV2::Route")
    limits = {"ThrottlingRateLimit": {"Ref": "RateLimit"}, "ThrottlingBurstLimit": {"Ref": "BurstLimit"}}
    keys = [route["Properties"]["RouteKey"] for route in routes.values()]
    assert stage["Properties"]["RouteSettings"] == {key: limits for key in keys}
    # API Gateway refuses settings of a route that does not exist yet.
    assert sorted(stage["DependsOn"]) == sorted(routes)


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
