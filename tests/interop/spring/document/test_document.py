"""Runs every command of docs/migrate-from-spring.md and compares its output with the document."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from test_walk import PROGRAM, Dev

ROOT = Path(__file__).parents[4]
DOCUMENT = ROOT / "docs/migrate-from-spring.md"
# Values that differ from run to run.
VARIABLE = {
    r"\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d [+-]\d\d:\d\d)?": "TIME",
    r"\((now|\d+ m?s ago|in [\ddhms ]+)\)": "AGE",
    r"\bhttp://127\.0\.0\.1:\d+": "STORE",
    r"\bcsgr_[\w.…-]+": "TOKEN",
    r"\beyJ[\w.…-]+": "TOKEN",
    r"\bcsgn_[\w…-]+": "SECRET",
    r" +": " ",
}
SECRET_ID = r"^(?:id +)?([\w-]{8})(?=$|  +(?:bcrypt|sha-256) )"


def steps():
    """Yields each command of the document with the output that the document shows."""
    for _, block in re.findall(r"^```([^\n]*)\n(.*?)^```$", DOCUMENT.read_text(), re.M | re.S):
        yield from re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.M)


def without_variables(text):
    for pattern, name in VARIABLE.items():
        text = re.sub(pattern, name, text)
    return text.strip()


class Reader:
    """Types the commands of the document in a folder with the dumps."""

    def __init__(self, dev):
        self.dev, self.folder = dev, dev.folder / "reader"
        (self.folder / ".curlrc").write_text("silent\n")
        # Secret ids of this run, by those of the document.
        self.ids = {}
        self.refresh_token = ""

    def type(self, command, documented):
        for in_document, here in self.ids.items():
            command = command.replace(in_document, here)
        variables = {
            "PATH": f"{PROGRAM.parent}:{os.environ['PATH']}",
            "HOME": str(self.folder),
            "NO_PROXY": "127.0.0.1",
            "B": self.dev.url,
            "R": self.refresh_token,
        }
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self.folder,
            env=self.dev.environment | variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        printed = done.stdout
        if refresh_token := re.search(r'"refresh_token":"([^"]+)', printed):
            self.refresh_token = refresh_token[1]
        self.ids.update(zip(re.findall(SECRET_ID, documented, re.M), re.findall(SECRET_ID, printed, re.M)))
        for in_document, here in self.ids.items():
            printed = printed.replace(here, in_document)
        assert without_variables(printed) == without_variables(documented), f"$ {command}\n{done.stdout}"


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    folder = tmp_path_factory.mktemp("document")
    shutil.copytree(ROOT / "tests/data", folder / "reader")
    log = re.search(r"`countersign dev 2> (\S+)`", DOCUMENT.read_text())[1]
    dev = Dev(folder, errors=folder / "reader" / log)
    yield Reader(dev)
    dev.stop()


def test_every_command_prints_what_the_document_shows(reader):
    walk = list(steps())
    curls = [step for step in walk if step[0].startswith("curl ")]
    assert (len(curls), len(walk)) == (5, 18)
    for command, documented in walk:
        reader.type(command, documented)
    reader.dev.restart()
    for command, documented in curls:
        reader.type(command, documented)
