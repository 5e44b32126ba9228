"""The stack that the AWS CDK makes of a release is the template of that release."""

import json
import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest
from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse

ROOT = Path(__file__).parents[3]
# The packages of examples/cdk.
MODULES = Path(os.environ["COUNTERSIGN_CDK"])
FUNCTIONS = ("authorizer", "jwks", "refresh", "rotate", "token")
# examples/cdk/app.js
GIVEN = {"LogRetentionDays": 365}


@pytest.fixture(scope="module")
def assets(tmp_path_factory):
    """The folder of a release: archives, each with another program, and the template."""
    folder = tmp_path_factory.mktemp("assets")
    for name in FUNCTIONS:
        with zipfile.ZipFile(folder / f"{name}.zip", "w") as archive:
            archive.writestr("bootstrap", f"#!/bin/sh\nexec {name}\n")
    subprocess.run([ROOT / "scripts/deploy-assets", "--template-only", folder], check=True)
    return folder


@pytest.fixture(scope="module")
def synthesised(assets, tmp_path_factory):
    """The folder with what `cdk synth` writes: the CDK runs the program with these variables."""
    # A module finds its packages from its own folder.
    example, out = MODULES / "example", tmp_path_factory.mktemp("cdk.out")
    shutil.copytree(ROOT / "examples/cdk", example, dirs_exist_ok=True)
    variables = {"CDK_OUTDIR": str(out), "CDK_CONTEXT_JSON": json.dumps({"assets": str(assets)})}
    subprocess.run(["node", "app.js"], cwd=example, env={**os.environ, **variables}, check=True)
    return out


@pytest.fixture(scope="module")
def template(synthesised):
    return json.loads((synthesised / "countersign.template.json").read_text())


def normal(value):
    """Returns a part of a template in one of the spellings that CloudFormation takes for the same."""
    if isinstance(value, dict):
        if set(value) == {"Ref"} and value["Ref"] in GIVEN:
            return GIVEN[value["Ref"]]
        if set(value) == {"Fn::GetAtt"} and isinstance(value["Fn::GetAtt"], str):
            return {"Fn::GetAtt": value["Fn::GetAtt"].split(".", 1)}
        return {key: sorted(one) if key == "DependsOn" and isinstance(one, list) else normal(one)
                for key, one in value.items()}
    return [normal(one) for one in value] if isinstance(value, list) else value


def test_the_cdk_changes_nothing_but_the_code_of_the_functions(assets, template):
    released, made = normal(yaml_parse((assets / "template.yaml").read_text())), normal(template)
    for name in FUNCTIONS:
        for one in (released, made):
            del one["Resources"][f"{name.capitalize()}Function"]["Properties"]["CodeUri"]
    for name in GIVEN:
        del released["Parameters"][name]
    # How `cdk deploy` finds out that `cdk bootstrap` was run.
    del made["Parameters"]["BootstrapVersion"], made["Rules"]["CheckBootstrapVersion"]
    for section in sorted({*released, *made}):
        assert made.get(section) == released.get(section), section


def test_each_function_has_its_own_archive(assets, synthesised, template):
    for name in FUNCTIONS:
        code = template["Resources"][f"{name.capitalize()}Function"]["Properties"]["CodeUri"]
        assert (synthesised / f"asset.{code['Key']}").read_bytes() == (assets / f"{name}.zip").read_bytes()
        assert "cdk-hnb659fds-assets-" in code["Bucket"]["Fn::Sub"]


def test_cloudformation_can_transform_it(template):
    os.environ["AWS_DEFAULT_REGION"] = "eu-central-1"
    transformed = transform(template, {}, type("NoPolicies", (), {"load": staticmethod(dict)}))
    functions = [one for one in transformed["Resources"].values() if one["Type"] == "AWS::Lambda::Function"]
    assert len(functions) == len(FUNCTIONS)
    assert all("S3Bucket" in one["Properties"]["Code"] for one in functions)
