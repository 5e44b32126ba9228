"""Runs MiniStack, an emulator of AWS, with its gaps filled where they stand between this template
and a deployment. Each gap names the rule of AWS that it restores.

Not enforced here, and so compared by test_wiring.py: permissions to invoke a function, and the roles
of the schedules. Not made at all: metrics out of log lines, the evaluation of alarms, access logs,
throttling by API Gateway."""

import gzip
import json
import re
import time

from ministack import app
from ministack.core import iam_actions, iam_evaluator
from ministack.services import apigateway_v1, dynamodb, eventbridge, iam, s3, scheduler
from ministack.services.cloudformation import provisioners

HANDLERS = provisioners._RESOURCE_HANDLERS


def keep_alarms_on_expressions():
    """CloudFormation creates alarms on metric math; MiniStack refuses them. It gets an alarm on
    the first metric of the expression."""
    record = provisioners._cw_metric_alarm_record

    def record_of_first_metric(name, properties):
        if "Metrics" in properties:
            first = next(one["MetricStat"] for one in properties["Metrics"] if "MetricStat" in one)
            properties = {**properties, **first["Metric"], "Period": first["Period"], "Statistic": first["Stat"]}
            del properties["Metrics"]
        return record(name, properties)

    provisioners._cw_metric_alarm_record = record_of_first_metric


def apply_every_property_of_a_table():
    """MiniStack ignores expiry, point-in-time recovery and the import from S3, gives an index no
    status, replaces a table whose name is taken, and deletes one that is protected."""
    create, delete = HANDLERS["AWS::DynamoDB::Table"]["create"], HANDLERS["AWS::DynamoDB::Table"]["delete"]

    def create_fully(logical_id, properties, stack):
        if properties["TableName"] in dynamodb._tables:
            raise ValueError(f"{properties['TableName']} already exists")
        name, attributes = create(logical_id, properties, stack)
        if expiry := properties.get("TimeToLiveSpecification"):
            dynamodb._update_ttl({"TableName": name, "TimeToLiveSpecification": expiry})
        for index in dynamodb._tables[name]["GlobalSecondaryIndexes"]:
            index["IndexStatus"] = "ACTIVE"
        recovery = properties.get("PointInTimeRecoverySpecification", {})
        dynamodb._pitr_settings[name] = is_true(recovery.get("PointInTimeRecoveryEnabled"))
        if source := properties.get("ImportSourceSpecification"):
            import_items(name, source)
        return name, attributes

    def delete_unprotected(name, properties):
        if is_true(dynamodb._tables.get(name, {}).get("DeletionProtectionEnabled")):
            raise ValueError(f"Resource cannot be deleted as it is currently protected against deletion: {name}")
        delete(name, properties)

    HANDLERS["AWS::DynamoDB::Table"].update(create=create_fully, delete=delete_unprotected)


def import_items(table, source):
    """Loads the items of an export, in DynamoDB's JSON."""
    assert (source["InputFormat"], source["InputCompressionType"]) == ("DYNAMODB_JSON", "GZIP"), source
    bucket, prefix = source["S3BucketSource"]["S3Bucket"], source["S3BucketSource"]["S3KeyPrefix"]
    keys = [key for key in s3._buckets[bucket]["objects"] if key.startswith(prefix)]
    if not keys:
        raise ValueError(f"no objects below {prefix}")
    for key in keys:
        for line in gzip.decompress(s3._get_object_data(bucket, key)).splitlines():
            dynamodb._put_item({"TableName": table, "Item": json.loads(line)["Item"]})


def write_exports():
    """ExportTableToPointInTime writes the items and, at its end, manifests below
    PREFIX/AWSDynamoDB/ID/; MiniStack writes nothing."""
    export = dynamodb._export_table_to_point_in_time

    def export_to_s3(request):
        table = dynamodb._table_name_from_arn(request["TableArn"])
        if not dynamodb._pitr_settings.get(table):
            raise ValueError(f"Point in time recovery is not enabled for table '{table}'")
        response = export(request)
        folder = f"{request['S3Prefix']}/AWSDynamoDB/{time.time_ns() // 1_000_000}-{time.time_ns() % 0xffffffff:08x}"
        items = [item for items in dynamodb._tables[table]["items"].values() for item in items.values()]
        lines = "".join(json.dumps({"Item": item}) + "\n" for item in items)
        bucket = request["S3Bucket"]
        s3._put_object(bucket, f"{folder}/data/abcdefghijklmnopqrstuvwxyz.json.gz", gzip.compress(lines.encode()), {})
        summary = json.dumps({"tableArn": request["TableArn"], "itemCount": len(items)})
        s3._put_object(bucket, f"{folder}/manifest-summary.json", summary.encode(), {})
        return response

    dynamodb._export_table_to_point_in_time = export_to_s3
    invoke = eventbridge._invoke_target

    def invoke_any(target, event, schedule):
        """EventBridge Scheduler also calls the APIs of services (universal targets)."""
        if target["Arn"] == "arn:aws:scheduler:::aws-sdk:dynamodb:exportTableToPointInTime":
            return export_to_s3(json.loads(target["Input"]))
        return invoke(target, event, schedule)

    eventbridge._invoke_target = invoke_any


def is_true(value):
    return str(value).lower() == "true"


def limit_reserved_concurrency():
    """Lambda keeps 100 of the account's 1,000 executions unreserved."""
    handlers = HANDLERS["AWS::Lambda::Function"]

    def limited(handler):
        def provision(*arguments, **options):
            properties = next(one for one in reversed(arguments) if isinstance(one, dict))
            if int(properties.get("ReservedConcurrentExecutions", 0)) > 900:
                raise ValueError("Specified ReservedConcurrentExecutions for function decreases account's "
                                 "UnreservedConcurrentExecution below its minimum value of [100].")
            return handler(*arguments, **options)

        return provision

    handlers.update(create=limited(handlers["create"]), update=limited(handlers["update"]))


def refuse_to_delete_an_attached_policy():
    """IAM's DeletePolicy fails while the policy is attached to a user or a role."""
    delete = HANDLERS["AWS::IAM::ManagedPolicy"]["delete"]

    def delete_detached(arn, properties):
        owners = [*iam._users.values(), *iam._roles.values()]
        if any(arn in owner.get("AttachedPolicies", []) for owner in owners):
            raise ValueError("Cannot delete a policy attached to entities.")
        delete(arn, properties)

    HANDLERS["AWS::IAM::ManagedPolicy"]["delete"] = delete_detached


def start_a_rate_at_once():
    """EventBridge Scheduler starts a rate without a start date at once (its user guide, "Schedule
    types"); MiniStack waits for the first interval, and looks every ten seconds."""
    tick = scheduler._tick_schedules

    def tick_new_ones_too():
        for key, schedule in list(scheduler._schedules._data.items()):
            if schedule["ScheduleExpression"].startswith("rate(") and not schedule.get("StartDate"):
                # One that was deleted may have run under the same name.
                if scheduler._schedule_last_fired.get(key, 0) < schedule["CreationDate"]:
                    scheduler._schedule_last_fired[key] = 0
        tick()

    scheduler._tick_schedules = tick_new_ones_too
    scheduler._SCHEDULE_TICK_INTERVAL = 0.5


def resolve_the_encryption_context():
    """KMS has the condition keys kms:EncryptionContext:NAME."""
    resolve = iam_actions.request_tag_context

    def resolve_with_encryption_context(service, action, body, parameters):
        found = resolve(service, action, body, parameters)
        if service == "kms":
            context = json.loads(body or "{}").get("EncryptionContext", {})
            found = {**found, **{f"kms:EncryptionContext:{name}": value for name, value in context.items()}}
        return found

    iam_actions.request_tag_context = resolve_with_encryption_context


def resolve_the_identity_of_a_function():
    """aws:PrincipalArn of a role's session is the ARN of the role, with its path; MiniStack has that
    of the session. And a request of a function carries lambda:SourceFunctionArn; in MiniStack, the
    session of a function has its name."""
    resolve = iam_evaluator._resolve_condition_key

    def resolve_role_and_function(key, context):
        session = context.principal_arn
        if ":assumed-role/" in session:
            if key.lower() == "aws:principalarn":
                name = iam_evaluator._role_name_from_assumed_arn(session)
                return iam._roles.get_scoped(context.principal_account, None, name)["Arn"]
            if key.lower() == "lambda:sourcefunctionarn":
                function = session.rpartition("/")[2]
                return f"arn:aws:lambda:{context.region}:{context.principal_account}:function:{function}"
        return resolve(key, context)

    iam_evaluator._resolve_condition_key = resolve_role_and_function


def answer_for_apis_under_their_real_names():
    """An API's host is ID.execute-api.REGION.amazonaws.com. MiniStack knows APIs below
    MINISTACK_HOST only, and if that is amazonaws.com, it takes other services for buckets."""
    app._EXECUTE_API_RE = re.compile(r"([a-z0-9]{8,10})\.execute-api\.[a-z0-9-]+\.amazonaws\.com(?::443)?$")


def serve_any_method_of_a_definition():
    """An OpenAPI document has an extension for a method that stands for all (API Gateway developer
    guide, "x-amazon-apigateway-any-method"); MiniStack imports the methods of HTTP only."""
    apigateway_v1._OPENAPI_HTTP_METHODS = {*apigateway_v1._OPENAPI_HTTP_METHODS, "any"}
    import_path = apigateway_v1._import_path_item

    def import_any_method(api, path, item, *rest):
        names = {"x-amazon-apigateway-any-method": "any"}
        import_path(api, path, {names.get(name, name): operation for name, operation in item.items()}, *rest)

    apigateway_v1._import_path_item = import_any_method


def name_the_types_of_an_endpoint():
    """CloudFormation's Types and VpcEndpointIds are types and vpcEndpointIds of API Gateway; MiniStack
    keeps the former, which no client reads."""
    create = HANDLERS["AWS::ApiGateway::RestApi"]["create"]

    def create_translated(logical_id, properties, stack):
        endpoint = properties.get("EndpointConfiguration", {})
        endpoint = {name[0].lower() + name[1:]: value for name, value in endpoint.items()}
        return create(logical_id, {**properties, "EndpointConfiguration": endpoint}, stack)

    HANDLERS["AWS::ApiGateway::RestApi"]["create"] = create_translated


def rename_the_challenge_of_a_rest_api():
    """A REST API renames some headers of a function's answer, WWW-Authenticate among them (API Gateway
    developer guide, "Important notes")."""
    invoke = apigateway_v1._invoke_lambda_proxy_v1

    async def invoke_and_rename(*arguments, **options):
        status, headers, body = await invoke(*arguments, **options)
        names = {"www-authenticate": "x-amzn-Remapped-WWW-Authenticate"}
        return status, {names.get(name.lower(), name): value for name, value in headers.items()}, body

    apigateway_v1._invoke_lambda_proxy_v1 = invoke_and_rename


keep_alarms_on_expressions()
apply_every_property_of_a_table()
limit_reserved_concurrency()
refuse_to_delete_an_attached_policy()
start_a_rate_at_once()
write_exports()
serve_any_method_of_a_definition()
name_the_types_of_an_endpoint()
rename_the_challenge_of_a_rest_api()
resolve_the_encryption_context()
resolve_the_identity_of_a_function()
answer_for_apis_under_their_real_names()
app.main()
