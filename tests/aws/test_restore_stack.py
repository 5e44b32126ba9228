"""`scripts/restore-stack` where CloudFormation does not do what it should."""

import pytest
from test_template import restore_stack

STACK = "login"


@pytest.fixture
def script(monkeypatch):
    """The script, with an AWS CLI that fails to wait. `statuses` has the status of the stack before and
    after, `change_set` what CloudFormation says of the change set, `called` the commands."""
    script = restore_stack()
    script.statuses, script.change_set, script.called = [None, "REVIEW_IN_PROGRESS"], {}, []

    def aws(service, command, *arguments):
        script.called.append(command)
        if command == "describe-stacks":
            if status := script.statuses.pop(0):
                return {"Stacks": [{"StackStatus": status}]}
            raise script.Failed(f"Stack with id {STACK} does not exist")
        if arguments[0] == "change-set-create-complete":
            raise script.Failed("Waiter ChangeSetCreateComplete failed")
        return {"create-change-set": {"Id": "arn"}, "describe-change-set": script.change_set}.get(command)

    monkeypatch.setattr(script, "aws", aws)
    return script


@pytest.mark.parametrize(
    ("change_set", "reported"),
    [
        ({"Status": "FAILED", "StatusReason": "the key is gone"}, "refuses the import: the key is gone"),
        ({"Status": "FAILED"}, "refuses the import: FAILED"),
        ({"Status": "CREATE_PENDING"}, "CREATE_PENDING: Waiter ChangeSetCreateComplete failed"),
    ],
)
def test_an_import_that_does_not_begin_leaves_no_empty_stack(script, change_set, reported):
    script.change_set = change_set
    with pytest.raises(script.Failed, match=reported):
        script.restore(STACK, "a-key", None)
    assert script.called.count("delete-stack") == 1 and "execute-change-set" not in script.called


@pytest.mark.parametrize("status", ["IMPORT_IN_PROGRESS", "IMPORT_COMPLETE", "UPDATE_COMPLETE"])
def test_a_stack_that_has_something_is_never_deleted(script, status):
    script.statuses, script.change_set = [None, status], {"Status": "CREATE_COMPLETE"}
    with pytest.raises(script.Failed):
        script.restore(STACK, "a-key", None)
    script.statuses = [status]
    with pytest.raises(script.Failed, match=f"is there, and {status}"):
        script.restore(STACK, "a-key", None)
    assert "delete-stack" not in script.called


def test_the_empty_stack_of_a_try_before_makes_room(script):
    script.statuses, script.change_set = ["REVIEW_IN_PROGRESS", "REVIEW_IN_PROGRESS"], {"Status": "FAILED"}
    with pytest.raises(script.Failed):
        script.restore(STACK, "a-key", None)
    assert script.called.index("delete-stack") < script.called.index("create-change-set")
