"""Two processes of one function over one store: what either has answered binds both."""

import base64
import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from processes import Function, event


@pytest.fixture
def pair(dev, tmp_path):
    folders = [tmp_path / name for name in ("one", "other")]
    for folder in folders:
        folder.mkdir()
    with Function(folders[0], "refresh", dev.environment) as one, Function(folders[1], "refresh", dev.environment) as other:
        yield one, other


@pytest.fixture
def log_in(dev, tmp_path):
    with Function(tmp_path, "token", dev.environment) as token:
        yield lambda: token.answer(event("token-password"))[2]["refresh_token"]


def sent(name, token):
    request = event(name)
    request["body"] = request["body"].replace("REFRESH_TOKEN", token)
    return request


def generation(answer):
    payload = answer["refresh_token"].split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return claims["family"], claims["generation"]


def test_one_token_at_both_at_once_has_one_successor(pair, log_in):
    with ThreadPoolExecutor(2) as at_once:
        for _ in range(5):
            used = first = log_in()
            for step in range(1, 5):
                answers = list(at_once.map(lambda function: function.answer(sent("refresh", used)), pair))
                assert [status for status, _, _ in answers] == [200, 200], "the second is a retry within ten seconds"
                one, other = (generation(answer) for _, _, answer in answers)
                assert one == other and one[1] == step
                used = answers[step % 2][2]["refresh_token"]
            # Written without a condition the family would stand at 1 again.
            assert pair[0].answer(sent("refresh", first))[0] == 400
            assert generation(pair[1].answer(sent("refresh", used))[2])[1] == 5


def test_what_one_revokes_the_other_refuses_at_once(pair, log_in):
    one, other = pair
    status, _, renewed = one.answer(sent("refresh", log_in()))
    assert status == 200
    assert one.answer(sent("revoke", renewed["refresh_token"]))[0] == 200
    status, _, refused = other.answer(sent("refresh", renewed["refresh_token"]))
    assert (status, refused["error"]) == (400, "invalid_grant")


def test_what_one_answered_before_it_died_stands(pair, log_in):
    one, other = pair
    status, _, renewed = one.answer(sent("refresh", log_in()))
    assert status == 200
    one.child.kill()
    one.child.wait()
    status, _, successor = other.answer(sent("refresh", renewed["refresh_token"]))
    assert status == 200 and generation(successor)[1] == 2
