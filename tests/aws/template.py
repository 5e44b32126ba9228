"""The template in the form that CloudFormation gets: translated by SAM's own translator, without
AWS."""

import json
import os
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


def lint(translated, folder):
    """Raises Invalid with the output of cfn-lint if it finds a problem."""
    file = folder / "translated.json"
    file.write_text(json.dumps(translated))
    cfn_lint = Path(sys.executable).with_name("cfn-lint")
    done = subprocess.run(
        [cfn_lint, "--regions", "eu-central-1", "--", file], capture_output=True, text=True, timeout=120
    )
    if done.returncode != 0:
        raise Invalid(done.stdout + done.stderr)


def resources(translated, kind):
    """Returns the resources of a type, by logical id."""
    return {name: one for name, one in translated["Resources"].items() if one["Type"] == kind}


def functions(translated):
    """Returns the resources of the functions, by the name of their binary."""
    found = resources(translated, "AWS::Lambda::Function")
    return {resource["Properties"]["FunctionName"]["Fn::Sub"].removeprefix("${Prefix}"): resource
            for resource in found.values()}


def environment(function):
    return function["Properties"]["Environment"]["Variables"]
