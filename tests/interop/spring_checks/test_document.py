"""docs/migrate-from-spring.md: every command in it is run, and says what the document says."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from test_walk import PROGRAM, Dev

ROOT = Path(__file__).parents[3]
DOCUMENT = ROOT / "docs/migrate-from-spring.md"
# What no two runs have in common.
VARIABLE = {
    r"\d{4}-\d\d-\d\dT[\d:.]+Z": "TIME",
    r"\b\d{1,3} m?s\b": "AGE",
    r"\beyJ[\w.…-]+": "TOKEN",
    r"\bcsgn_[\w…-]+": "SECRET",
    r" +": " ",
}
SECRET_ID = r"^(?:id +)?([\w-]{8})(?=$|  +(?:bcrypt|sha-256) )"


def steps():
    """The commands and, of each, what the document says that it prints."""
    for _, block in re.findall(r"^```(\w*)\n(.*?)^```$", DOCUMENT.read_text(), re.M | re.S):
        yield from re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.M)


def constant(text):
    for what, name in VARIABLE.items():
        text = re.sub(what, name, text)
    return text.strip()


class Reader:
    """Somebody who types the commands of the document, beside the dumps."""

    def __init__(self, dev):
        self.dev, self.folder = dev, dev.folder / "reader"
        (self.folder / ".curlrc").write_text("silent\n")
        # This run's secret ids by the document's.
        self.ids = {}
        self.refresh_token = ""

    def type(self, command, told):
        for in_document, here in self.ids.items():
            command = command.replace(in_document, here)
        local = {
            "PATH": f"{PROGRAM.parent}:{os.environ['PATH']}",
            "HOME": str(self.folder),
            "NO_PROXY": "127.0.0.1",
            "B": self.dev.url,
            "R": self.refresh_token,
        }
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self.folder,
            env=self.dev.environment | local,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        said = done.stdout
        if refresh_token := re.search(r'"refresh_token":"([^"]+)', said):
            self.refresh_token = refresh_token[1]
        self.ids.update(zip(re.findall(SECRET_ID, told, re.M), re.findall(SECRET_ID, said, re.M)))
        for in_document, here in self.ids.items():
            said = said.replace(here, in_document)
        assert constant(said) == constant(told), f"$ {command}\n{done.stdout}"


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    folder = tmp_path_factory.mktemp("document")
    shutil.copytree(ROOT / "tests/data", folder / "reader")
    log = re.search(r"`countersign dev 2> (\S+)`", DOCUMENT.read_text())[1]
    dev = Dev(folder, errors=folder / "reader" / log)
    yield Reader(dev)
    dev.stop()


def test_every_command_says_what_the_document_says(reader):
    walk = list(steps())
    curls = [step for step in walk if step[0].startswith("curl ")]
    assert (len(curls), len(walk)) == (5, 18)
    for command, told in walk:
        reader.type(command, told)
    reader.dev.restart()
    for command, told in curls:
        reader.type(command, told)
