"""The key cache of docs/verifying/php.md, which is in a folder that every user of the machine may write to."""

import json
import os
import time

import pytest
from issuer import Issuer, Key
from programs import APIS
from test_verifiers import call

pytestmark = pytest.mark.part("php")


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


@pytest.fixture
def issuer(metadata):
    issuer = Issuer(metadata)
    issuer.open()
    return issuer


@pytest.fixture
def api(temporary, issuer):
    """The program, after a request that filled its cache."""
    running = APIS["php"][0].start(issuer.url)
    assert call(running, issuer.token()).status_code == 200
    yield running
    running.stop()


def cache_in(folder):
    [cache] = folder.rglob("*.json")
    return cache


def plant(cache, key, age=0):
    cache.write_text(json.dumps({key.kid: key.jwk}))
    os.utime(cache, (time.time() - age, time.time() - age))


def test_the_cache_is_readable_by_its_user_only(api, temporary):
    cache = cache_in(temporary)
    assert cache.parent != temporary
    assert (cache.parent.stat().st_mode & 0o777, cache.stat().st_mode & 0o777) == (0o700, 0o600)


FOLDERS = ["writable folder", "readable folder", "link", "file"]
if os.geteuid() == 0:  # Only root can give a folder away.
    FOLDERS.append("folder of another user")


@pytest.mark.parametrize("planted", FOLDERS)
def test_keys_in_a_folder_of_others_are_not_trusted(api, issuer, temporary, planted):
    cache, forger = cache_in(temporary), Key()
    folder, aside = cache.parent, temporary / "aside"
    plant(cache, forger)
    if planted in ("link", "file"):
        folder.rename(aside)
    if planted == "link":
        folder.symlink_to(aside)
    elif planted == "file":
        folder.write_text("")
    elif planted == "folder of another user":
        os.chown(folder, 65534, 65534)
    else:
        folder.chmod(0o777 if planted == "writable folder" else 0o755)
    forged = issuer.token(key=forger)
    assert call(api, forged).status_code == 503
    assert call(api, issuer.token()).status_code == 503
    assert folder.name in api.log.read_text()


@pytest.mark.parametrize("ahead", [5, 10**9])
def test_a_cache_from_the_future_is_stale(api, issuer, temporary, ahead):
    withdrawn = Key()
    plant(cache_in(temporary), withdrawn, age=-ahead)
    assert call(api, issuer.token(key=withdrawn)).status_code == 401
    assert call(api, issuer.token()).status_code == 200
