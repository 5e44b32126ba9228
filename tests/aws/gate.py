"""IAM between a function and its store: a proxy that enforces the policies of the template."""

import json
import re
import threading
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from permissions import as_list, resource_name, rows, statements
from template import TEXT, functions, resources, translate

PREFIX = "countersign-"
TRANSLATED = translate(TEXT)
TABLES = {
    table["Properties"]["TableName"]["Fn::Sub"].replace("${AWS::StackName}-", PREFIX): name
    for name, table in resources(TRANSLATED, "AWS::DynamoDB::Table").items()
}


def allowed_to(identity, database):
    """Returns what the policies of an identity allow on KMS and on the existing tables, as pairs
    of action and resource."""
    existing = {TABLES[name] for name in database.list_tables()["TableNames"]}
    return {
        (row.action, row.resource)
        for row in rows(TRANSLATED)
        if row.identity == identity and (row.action.startswith("kms:") or row.resource.partition("/")[0] in existing)
    }


class Gate:
    """A proxy before DynamoDB and KMS that serves one identity."""

    def __init__(self, identity, dynamodb, kms):
        self.used, self.refused = set(), []
        gate = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                service, operation = self.headers["X-Amz-Target"].split(".")
                request = json.loads(body)
                if service.startswith("DynamoDB"):
                    upstream, action = dynamodb, f"dynamodb:{operation}"
                    resource = TABLES.get(request.get("TableName"), "?")
                    if "IndexName" in request:
                        resource += f"/index/{request['IndexName']}"
                else:
                    upstream, action, resource = kms, f"kms:{operation}", "WrappingKey"
                if any(
                    owner == identity
                    and action in as_list(statement["Action"])
                    and resource in map(resource_name, as_list(statement["Resource"]))
                    and holds(statement.get("Condition", {}), context_of(request, identity))
                    for owner, statement in statements(TRANSLATED)
                ):
                    gate.used.add((action, resource))
                    self.forward(upstream, body)
                else:
                    gate.refused.append((action, resource, request))
                    refusal = {"__type": "AccessDeniedException", "message": f"{identity}: {action} on {resource}"}
                    self.reply(400, json.dumps(refusal).encode())

            def forward(self, upstream, body):
                headers = {name: value for name, value in self.headers.items() if name.lower() != "host"}
                try:
                    with urllib.request.urlopen(urllib.request.Request(upstream, body, headers), timeout=10) as answer:
                        self.reply(answer.status, answer.read())
                except urllib.error.HTTPError as error:
                    self.reply(error.code, error.read())

            def reply(self, status, body):
                self.send_response(status)
                self.send_header("Content-Type", "application/x-amz-json-1.0")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def context_of(request, identity):
    """Returns the condition keys of a request. A Query's attributes are those of its projection,
    its key and its filter. A function's credentials name the function."""
    context = {f"kms:EncryptionContext:{name}": [value] for name, value in request.get("EncryptionContext", {}).items()}
    if identity in functions(TRANSLATED):
        context["lambda:SourceFunctionArn"] = [f"{identity.capitalize()}Function"]
    if "Select" in request:
        context["dynamodb:Select"] = [request["Select"]]
    names = request.get("ExpressionAttributeNames", {})
    if "ProjectionExpression" in request:
        key = re.findall(r"(#?\w+) *=", request.get("KeyConditionExpression", ""))
        projected = [name.strip() for name in request["ProjectionExpression"].split(",")]
        context["dynamodb:Attributes"] = [names.get(name, name) for name in projected + key]
    return context


def holds(conditions, context):
    """Returns whether every condition holds, by the rules of IAM. An operator that is unknown
    here fails the test."""
    for operator, pairs in conditions.items():
        for key, wanted in pairs.items():
            values = {physical_name(value) for value in as_list(wanted)}
            match operator:
                case "StringEquals" | "ArnEquals" if not values & set(context.get(key, [])):
                    return False
                case "ForAllValues:StringEquals" if not set(context.get(key, [])) <= values:
                    return False
                case "StringEquals" | "ArnEquals" | "ForAllValues:StringEquals":
                    pass
                case _:
                    raise AssertionError(f"this gate does not support the condition operator {operator}")
    return True


def physical_name(value):
    """Returns the physical name of a table for a reference to it, and any other value unchanged."""
    name = resource_name(value)
    return next((physical for physical, logical in TABLES.items() if logical == name), name)
