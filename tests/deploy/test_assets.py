"""`scripts/deploy-assets`: a deployment from the archives of a release, without a build."""

import os
import re
import zipfile

import pytest
from account import BINARIES, FUNCTIONS, ROOT, end_of
from issuer import Issuer

SCRIPT = ROOT / "scripts/deploy-assets"


def archives(folder, contents):
    """Makes the archive of each function, as `cargo lambda build --output-format zip` does."""
    folder.mkdir()
    for name in FUNCTIONS:
        bootstrap = zipfile.ZipInfo("bootstrap")
        bootstrap.external_attr = 0o755 << 16
        with zipfile.ZipFile(folder / f"{name}.zip", "w") as archive:
            archive.writestr(bootstrap, contents(name))
    return folder


def deploy(account, *arguments):
    path = f"{os.path.dirname(os.environ['SAM'])}:{account.environment['PATH']}"
    return account.run(SCRIPT, *arguments, environment={"PATH": path})


def test_a_release_is_deployed_from_its_archives(account, checkout, tmp_path):
    # Programs that trust the emulator, as in `Checkout`.
    folder = archives(tmp_path / "assets", lambda name: (checkout.folder / f"functions/{name}/bootstrap").read_text())
    done = deploy(account, folder, "--stack-name", "assets", "--no-confirm-changeset",
                  "--parameter-overrides", "Architecture=x86_64", "MaxAccessTtl=7200")
    assert done.returncode == 0, f"{account.failures('assets')}\n{end_of(done)}"
    issuer = Issuer(account, "assets")
    assert issuer.variables["COUNTERSIGN_MAX_ACCESS_TTL"] == "7200"
    claims = issuer.verify(issuer.granted(issuer.service, "client_credentials")["access_token"])
    assert (claims["iss"], claims["sub"]) == (issuer.url, "service")


@pytest.mark.parametrize(("machine", "architecture"), [(0x3E, "x86_64"), (0xB7, "arm64")])
def test_the_template_allows_the_architecture_of_the_programs_alone(account, tmp_path, machine, architecture):
    folder = archives(tmp_path / "assets", lambda _: b"\x7fELF".ljust(18, b"\0") + bytes([machine, 0]))
    done = deploy(account, "--template-only", folder)
    assert done.returncode == 0, end_of(done)
    template = (folder / "template.yaml").read_text()
    assert re.search(rf"Default: {architecture}\n    AllowedValues: \[{architecture}\]", template)
    assert re.findall(r"CodeUri: (\S+)", template) == [f"{name}.zip" for name in
                                                     ("token", "refresh", "jwks", "authorizer", "rotate")]


def test_archives_that_cannot_work_are_refused_before_a_deployment(account, tmp_path):
    real = (BINARIES / "token").read_bytes()[:64]
    other = real[:18] + bytes([0xB7]) + real[19:]
    mixed = archives(tmp_path / "mixed", lambda name: real if name != "jwks" else other)
    done = deploy(account, mixed, "--stack-name", "mixed")
    assert done.returncode == 1 and "jwks is for arm64" in done.stderr, end_of(done)
    (mixed / "rotate.zip").unlink()
    done = deploy(account, mixed, "--stack-name", "mixed")
    assert done.returncode == 1 and "rotate.zip" in done.stderr, end_of(done)
    assert not (mixed / "template.yaml").exists() and account.status("mixed") == "gone"
