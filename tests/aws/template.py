"""The template in the form that CloudFormation gets: translated by SAM's own translator, without
AWS."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from samtranslator.model.exceptions import InvalidDocumentException
from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "template.yaml").read_text()

# The translator requires a region but sends no request.
os.environ["AWS_DEFAULT_REGION"] = "eu-central-1"


class NoManagedPolicies:
    """Replaces the loader that asks AWS for the names of managed policies. The template uses
    none."""

    def load(self):
        return {}


class Invalid(Exception):
    """SAM or the linter refuses the template."""


def translate(text):
    """Translates a SAM template into its CloudFormation template."""
    template = yaml_parse(text)
    for resource in template["Resources"].values():
        if "CodeUri" in resource.get("Properties", {}):
            # As after `sam package`; the translator accepts no folder.
            resource["Properties"]["CodeUri"] = "s3://bucket/key"
    try:
        return transform(template, {}, NoManagedPolicies())
    except InvalidDocumentException as refused:
        raise Invalid("\n".join(cause.message for cause in refused.causes)) from refused


def lint(translated, folder, *ignored):
    """Raises Invalid with the output of cfn-lint if it finds a problem, except of ignored rules."""
    file = folder / "translated.json"
    file.write_text(json.dumps(translated))
    cfn_lint = Path(sys.executable).with_name("cfn-lint")
    done = subprocess.run(
        [cfn_lint, "--regions", "eu-central-1", *(word for rule in ignored for word in ("--ignore-checks", rule)), "--", file],
        capture_output=True, text=True, timeout=120,
    )
    if done.returncode != 0:
        raise Invalid(done.stdout + done.stderr)


def resources(translated, kind):
    """Returns the resources of a type, by logical id."""
    return {name: one for name, one in translated["Resources"].items() if one["Type"] == kind}


def functions(translated):
    """Returns the resources of the functions, by the name of their binary."""
    found = resources(translated, "AWS::Lambda::Function")
    return {resource["Properties"]["FunctionName"]["Fn::Sub"].removeprefix("${AWS::StackName}-"): resource
            for resource in found.values()}


def environment(function):
    return function["Properties"]["Environment"]["Variables"]


def crash_pattern():
    """Returns the pattern of the log lines that the alarm `function-errors` counts."""
    filters = resources(translate(TEXT), "AWS::Logs::MetricFilter")
    return filters["TokenCrashes"]["Properties"]["FilterPattern"]


def matches(pattern, line):
    """Returns whether a line of JSON matches a filter pattern of CloudWatch Logs. It knows the one
    form that the template has: a member, or another one, that equals a text."""
    terms = pattern.strip("{} ").split(" || ")
    alternatives = [re.fullmatch(r'\(\$((?:\.\w+)+) = "([^"]*)"\)', term) for term in terms]
    assert all(alternatives), pattern
    for alternative in alternatives:
        value = line
        for member in alternative[1].removeprefix(".").split("."):
            value = value.get(member) if isinstance(value, dict) else None
        if value == alternative[2]:
            return True
    return False
