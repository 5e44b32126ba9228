"""Each function, built for arm64, answers each of its events."""

import base64

import pytest
from processes import BINARIES, EVENTS, Dev, Function, event

# Files of events/ by their function; those without a line here are for `token`.
FUNCTIONS = {
    "refresh": ("refresh", "revoke", "introspect"),
    "jwks": ("jwks", "oauth-authorization-server", "openid-configuration"),
    "authorizer": ("authorizer",),
    "rotate": ("rotate",),
}
NAMES = sorted(file.stem for file in EVENTS.glob("*.json"))


def function_of(name):
    for function, starts in FUNCTIONS.items():
        if name.startswith(starts):
            return function
    return "token"


@pytest.fixture(scope="module")
def dev(tmp_path_factory):
    with Dev(tmp_path_factory.mktemp("dev")) as dev:
        yield dev


@pytest.fixture(scope="module")
def functions(dev, tmp_path_factory):
    folder = tmp_path_factory.mktemp("functions")
    environment = {**dev.environment, "COUNTERSIGN_AUDIENCE": "https://api.example.com"}
    started = {name: Function(folder, name, environment) for name in ("token", *FUNCTIONS)}
    yield started
    for function in started.values():
        function.stop()


def test_the_functions_are_built_for_arm64(functions):
    for name in functions:
        binary = (BINARIES / name).read_text().split('"')[-2]
        with open(binary, "rb") as file:
            # ELF, 64 bit, little-endian; e_machine is EM_AARCH64.
            head = file.read(20)
        assert head[:6] == b"\x7fELF\x02\x01" and head[18:20] == b"\xb7\x00", name


@pytest.mark.parametrize("name", NAMES)
def test_an_event_is_answered(name, functions):
    kind, answer = functions[function_of(name)].invoke(filled(event(name), functions["token"]))
    assert kind == "response", answer
    if name == "rotate":
        assert answer == {"created": [], "deleted": []}
    elif name.startswith("authorizer"):
        (statement,) = answer["policyDocument"]["Statement"]
        assert statement["Effect"] == "Allow", answer
    else:
        assert answer["statusCode"] == 200, answer


def filled(request, token):
    """Puts live tokens in the place of the placeholders that events/README.md lists."""
    _, _, login = token.answer(event("token-password"))
    voice = event("token-client-credentials")
    voice["headers"]["authorization"] = "Basic " + base64.b64encode(b"demo-voice:demo-voice-secret").decode()
    voice["body"] = "grant_type=client_credentials"
    _, _, voice = token.answer(voice)
    tokens = {"REFRESH_TOKEN": login["refresh_token"], "ACCESS_TOKEN": voice["access_token"]}
    return replaced(request, tokens)


def replaced(value, tokens):
    match value:
        case dict():
            replacement = {name: replaced(one, tokens) for name, one in value.items()}
            if value.get("isBase64Encoded"):
                form = base64.b64decode(value["body"]).decode()
                replacement["body"] = base64.b64encode(replaced(form, tokens).encode()).decode()
            return replacement
        case list():
            return [replaced(one, tokens) for one in value]
        case str():
            for placeholder, token in tokens.items():
                value = value.replace(placeholder, token)
    return value
