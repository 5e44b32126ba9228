"""Runs MiniStack, an emulator of AWS, with its gaps filled where they stand between this template
and a deployment. Each gap names the rule of AWS that it restores.

Not enforced here, and so compared by test_wiring.py: permissions to invoke a function, and the role
of the schedule. Not made at all: metrics out of log lines, the evaluation of alarms, access logs,
throttling by API Gateway."""

import json
import re

from ministack import app
from ministack.core import iam_actions, iam_evaluator
from ministack.services import dynamodb, iam, scheduler
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
    """MiniStack ignores expiry and point-in-time recovery, gives an index no status, replaces a
    table whose name is taken, and deletes one that is protected."""
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
        return name, attributes

    def delete_unprotected(name, properties):
        if is_true(dynamodb._tables.get(name, {}).get("DeletionProtectionEnabled")):
            raise ValueError(f"Resource cannot be deleted as it is currently protected against deletion: {name}")
        delete(name, properties)

    HANDLERS["AWS::DynamoDB::Table"].update(create=create_fully, delete=delete_unprotected)


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
                scheduler._schedule_last_fired.setdefault(key, 0)
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


keep_alarms_on_expressions()
apply_every_property_of_a_table()
limit_reserved_concurrency()
refuse_to_delete_an_attached_policy()
start_a_rate_at_once()
resolve_the_encryption_context()
resolve_the_identity_of_a_function()
answer_for_apis_under_their_real_names()
app.main()
