"""Two processes of one function over one store: an answer of one binds the other."""

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


def event_with(name, token):
    request = event(name)
    request["body"] = request["body"].replace("REFRESH_TOKEN", token)
    return request


def generation(answer):
    payload = answer["refresh_token"].removeprefix("csgr_").split(".")[0]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return claims["family"], claims["generation"]


def test_concurrent_refreshes_at_both_give_one_successor(pair, log_in):
    with ThreadPoolExecutor(2) as pool:
        for _ in range(5):
            used = first = log_in()
            for step in range(1, 5):
                answers = list(pool.map(lambda function: function.answer(event_with("refresh", used)), pair))
                assert [status for status, _, _ in answers] == [200, 200], "the second is a retry within ten seconds"
                one, other = (generation(answer) for _, _, answer in answers)
                assert one == other and one[1] == step
                used = answers[step % 2][2]["refresh_token"]
            # With an unconditional write the family would be at generation 1 again.
            assert pair[0].answer(event_with("refresh", first))[0] == 400
            assert generation(pair[1].answer(event_with("refresh", used))[2])[1] == 5


def test_a_token_that_one_revokes_is_refused_by_the_other_at_once(pair, log_in):
    one, other = pair
    status, _, renewed = one.answer(event_with("refresh", log_in()))
    assert status == 200
    assert one.answer(event_with("revoke", renewed["refresh_token"]))[0] == 200
    status, _, refused = other.answer(event_with("refresh", renewed["refresh_token"]))
    assert (status, refused["error"]) == (400, "invalid_grant")


def test_an_answer_of_a_killed_process_remains_valid(pair, log_in):
    one, other = pair
    status, _, renewed = one.answer(event_with("refresh", log_in()))
    assert status == 200
    one.child.kill()
    one.child.wait()
    status, _, successor = other.answer(event_with("refresh", renewed["refresh_token"]))
    assert status == 200 and generation(successor)[1] == 2
