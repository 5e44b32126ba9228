"""Permissions that the emulator does not enforce, compared as they are deployed: to invoke a
function, to write a log, to start the rotation. And the names by which the alarms and the dashboard
find metrics."""

import json
import re
from fnmatch import fnmatchcase

import boto3
from account import FUNCTIONS, REGION


def as_list(value):
    return value if isinstance(value, list) else [value]


def role_allows(role_arn, action, resource):
    """Returns whether the inline policies of a role allow an action, by exact names and `*`."""
    iam, role = boto3.client("iam"), role_arn.rpartition("/")[2]
    documents = [
        iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
        for name in iam.list_role_policies(RoleName=role)["PolicyNames"]
    ]
    return any(
        statement["Effect"] == "Allow"
        and "Condition" not in statement
        and action in as_list(statement["Action"])
        and any(fnmatchcase(resource, pattern) for pattern in as_list(statement["Resource"]))
        for document in documents
        for statement in document["Statement"]
    )


def api_gateway_may_invoke(function, source):
    """Returns whether the policy of a function lets API Gateway invoke it on behalf of an ARN."""
    policy = json.loads(boto3.client("lambda").get_policy(FunctionName=function)["Policy"])
    return any(
        statement["Effect"] == "Allow"
        and statement["Principal"] == {"Service": "apigateway.amazonaws.com"}
        and statement["Action"] == "lambda:InvokeFunction"
        and fnmatchcase(source, statement["Condition"]["ArnLike"]["AWS:SourceArn"])
        for statement in policy["Statement"]
    )


def source_arn(api, rest):
    number = boto3.client("sts").get_caller_identity()["Account"]
    return f"arn:aws:execute-api:{REGION}:{number}:{api}/{rest}"


def test_the_api_may_invoke_the_function_of_every_route(issuer):
    gateway = boto3.client("apigatewayv2")
    api = re.match(r"https://(\w+)\.", issuer.url)[1]
    integrations = {one["IntegrationId"]: one for one in gateway.get_integrations(ApiId=api)["Items"]}
    routes = gateway.get_routes(ApiId=api)["Items"]
    assert len(routes) == 7
    for route in routes:
        path = route["RouteKey"].split(" ")[1]
        function = integrations[route["Target"].removeprefix("integrations/")]["IntegrationUri"].rpartition(":")[2]
        source = source_arn(api, f"$default/POST{path}")
        assert api_gateway_may_invoke(function, source), f"{path}: no permission to invoke {function}"


def test_the_rest_api_may_invoke_the_function_of_every_resource(rest_issuer):
    gateway = boto3.client("apigateway")
    api = re.match(r"https://(\w+)\.", rest_issuer.url)[1]
    resources = [one for one in gateway.get_resources(restApiId=api, limit=500)["items"] if one.get("resourceMethods")]
    assert len(resources) == 7
    for resource in resources:
        integration = gateway.get_integration(restApiId=api, resourceId=resource["id"], httpMethod="ANY")
        function = re.search(r":function:([\w-]+)/invocations$", integration["uri"])[1]
        source = source_arn(api, f"prod/POST{resource['path']}")
        assert api_gateway_may_invoke(function, source), f"{resource['path']}: no permission to invoke {function}"
    stage = gateway.get_stage(restApiId=api, stageName="prod")
    assert rest_issuer.outputs["StageArn"].endswith(f"/restapis/{api}/stages/prod")
    # API Gateway applies it to each method by itself.
    assert stage["methodSettings"]["*/*"]["throttlingRateLimit"] == 500


def test_other_apis_may_invoke_the_authorizer(issuer):
    source = source_arn("another1", "authorizers/abc123")
    assert api_gateway_may_invoke(issuer.prefix + "authorizer", source), "no permission to invoke"
    assert not api_gateway_may_invoke(issuer.prefix + "authorizer", source_arn("another1", "$default/GET/"))


def test_the_schedule_may_invoke_the_rotation(issuer):
    schedule = boto3.client("scheduler").get_schedule(Name=issuer.prefix + "rotate")
    target, role = schedule["Target"]["Arn"], schedule["Target"]["RoleArn"]
    assert target.endswith(f":function:{issuer.prefix}rotate")
    assert role_allows(role, "lambda:InvokeFunction", target), "the schedule may not invoke its target"
    (trust,) = boto3.client("iam").get_role(RoleName=role.rpartition("/")[2])["Role"][
        "AssumeRolePolicyDocument"]["Statement"]
    assert (trust["Effect"], trust["Principal"], trust["Action"]) == (
        "Allow", {"Service": "scheduler.amazonaws.com"}, "sts:AssumeRole")


def test_the_schedules_of_exports_may_export(account, checkout):
    boto3.client("s3").create_bucket(Bucket="more-exports", CreateBucketConfiguration={"LocationConstraint": REGION})
    stack = checkout.deploy_stack("exporting", ExportBucket="more-exports")
    for table in ("clients", "principals"):
        target = boto3.client("scheduler").get_schedule(Name=f"{stack}-export-{table}")["Target"]
        request = json.loads(target["Input"])
        # A bucket that somebody else took over after its deletion gets nothing.
        assert request["S3BucketOwner"] == boto3.client("sts").get_caller_identity()["Account"]
        assert request["TableArn"].endswith(f":table/{stack}-{table}")
        assert role_allows(target["RoleArn"], "dynamodb:ExportTableToPointInTime", request["TableArn"])
        written = f"arn:aws:s3:::{request['S3Bucket']}/{request['S3Prefix']}/AWSDynamoDB/1-a/data/a.json.gz"
        # The actions of "Requesting a table export" in the DynamoDB developer guide.
        for action in ("s3:PutObject", "s3:PutObjectAcl", "s3:AbortMultipartUpload"):
            assert role_allows(target["RoleArn"], action, written), f"the export may not write: {action}"


def test_every_function_may_write_its_log_and_its_traces(issuer):
    for name in FUNCTIONS:
        function = boto3.client("lambda").get_function_configuration(FunctionName=issuer.prefix + name)
        group = function["LoggingConfig"]["LogGroup"]
        assert group == f"/aws/lambda/{issuer.prefix}{name}"
        (described,) = boto3.client("logs").describe_log_groups(logGroupNamePrefix=group)["logGroups"]
        for action in ("logs:CreateLogStream", "logs:PutLogEvents"):
            assert role_allows(function["Role"], action, described["arn"]), f"{name}: {action}"
        # Which is billed, and so off by default.
        assert function["TracingConfig"]["Mode"] == "PassThrough"
        assert role_allows(function["Role"], "xray:PutTraceSegments", "*")


def test_the_alarms_and_the_dashboard_find_the_metrics_that_the_functions_write(issuer):
    issuer.granted(issuer.service, "client_credentials")
    issuer.post("/oauth/token", (issuer.service[0], "csgn_wrong"), grant_type="client_credentials")
    written = set(written_metrics(issuer))
    names = {name for _, name, _ in written}
    assert {"KeyAge", "Tokens", "Refused", "ColdStarts"} <= names

    alarms = boto3.client("cloudwatch").describe_alarms(AlarmNamePrefix=issuer.prefix)["MetricAlarms"]
    for alarm in alarms:
        wanted = (alarm["Namespace"], alarm["MetricName"], tuple(one["Name"] for one in alarm["Dimensions"]))
        assert wanted in written or alarm["MetricName"] not in names, f"{alarm['AlarmName']}: {wanted} is never written"
    assert "KeyAge" in {alarm["MetricName"] for alarm in alarms}

    for namespace, dimensions, name in searches(issuer):
        assert (namespace, name, dimensions) in written or name not in names, f"the dashboard finds no {name}"
    assert {"Tokens", "Refused", "ColdStarts"} <= {name for _, _, name in searches(issuer)}


def written_metrics(issuer):
    """Yields namespace, name and dimensions of the metrics in the log (the embedded metric format)."""
    for name in FUNCTIONS:
        for line in issuer.account.log_lines(f"/aws/lambda/{issuer.prefix}{name}"):
            for directive in line.get("_aws", {}).get("CloudWatchMetrics", []):
                for metric in directive["Metrics"]:
                    for dimensions in directive["Dimensions"]:
                        yield directive["Namespace"], metric["Name"], tuple(dimensions)


def dashboard(issuer):
    name = issuer.prefix + "issuer"
    return json.loads(boto3.client("cloudwatch").get_dashboard(DashboardName=name)["DashboardBody"])


def searches(issuer):
    """Yields namespace, dimensions and metric of the dashboard's search expressions. A namespace with
    other characters than letters and digits must stand in double quotes (CloudWatch search syntax)."""
    for widget in dashboard(issuer)["widgets"]:
        for metric in widget["properties"].get("metrics", []):
            for expression in re.findall(r"SEARCH\('(.*?)'", json.dumps(metric[0]).replace('\\"', '"')):
                found = re.fullmatch(r'\{"([\w.-]+)",([\w,]+)\} MetricName="(\w+)"', expression)
                assert found, f"not a search in a quoted namespace: {expression}"
                yield found[1], tuple(found[2].split(",")), found[3]


def test_the_dashboard_shows_every_alarm(issuer):
    (shown,) = [widget["properties"]["alarms"] for widget in dashboard(issuer)["widgets"] if widget["type"] == "alarm"]
    alarms = boto3.client("cloudwatch").describe_alarms(AlarmNamePrefix=issuer.prefix)["MetricAlarms"]
    assert sorted(shown) == sorted(alarm["AlarmArn"] for alarm in alarms)
