"""What docs/verifying.md says about the claim `operator`."""

import jwt
import pytest
from programs import SNIPPETS
from test_rotation import granted

ALICE = {"grant_type": "operator_password", "username": "alice.ops", "password": "operator-passphrase"}
JANE = {"grant_type": "password", "username": "jane@example.com", "password": "correct horse battery staple"}


@pytest.mark.parametrize(
    ("client", "form", "claimed", "proven"),
    [
        ("demo-app", ALICE, "alice.ops", "alice.ops"),
        ("demo-service", {"operator": "alice.ops"}, "alice.ops", None),
        ("demo-service", {}, None, None),
        ("demo-app", JANE, None, None),
    ],
    ids=["logged in", "asserted", "none", "user"],
)
def test_an_operator_is_proven_by_a_login_only(metadata, client, form, claimed, proven):
    module = {}
    exec((SNIPPETS / "python" / "operator.py").read_text(), module)
    token = granted(metadata["issuer"], client, **form)["access_token"]
    claims = jwt.decode(token, options={"verify_signature": False})
    assert claims.get("operator") == claimed
    assert module["proven_operator"](claims) == proven
    assert (claims["sub"] == claims["client_id"]) == (client == "demo-service")
