"""The page that a robot's owner follows on a Jetson quotes what the programs print."""

import ast
import re
from pathlib import Path

import pytest

from depth_estimation_ros.model import PACKAGED

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = (REPOSITORY / "docs" / "jetson.md").read_text(encoding="utf-8")


def sentences() -> list[str]:
    """Return every text in the package's code; adjacent strings are one, and a value is ``{}``."""
    found = []
    for path in (REPOSITORY / "depth_estimation_ros").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = node.values
                found.append("".join(part.value if isinstance(part, ast.Constant) else "{}" for part in parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return found


SENTENCES = sentences()


def quoted() -> list[str]:
    """Return the words that the page quotes of our programs: not commands, paths, or the output of others (†)."""
    cells = re.findall(r"(?m)^\| ([^|†]+) \|", PAGE)
    prose = re.findall(r"(?m)^(?:prints|This takes|`is ready|The node uses|`no engine).*$", PAGE)
    words = [word for text in (*cells, *prose) for word in re.findall(r"`([^`]+)`", text)]
    return [word for word in words if " " in word]


def test_the_page_quotes_enough_to_be_worth_a_test():
    assert len(quoted()) >= 14


@pytest.mark.parametrize("words", quoted())
def test_what_the_page_quotes_is_what_a_program_prints(words):
    # The name of the model is a value.
    found = any(words.replace(PACKAGED["default"].stem, "{}") in sentence for sentence in SENTENCES)
    assert found, "no program prints this"


def test_every_option_on_the_page_is_one():
    help_texts = (REPOSITORY / "depth_estimation_ros" / "tools" / "build_engine.py").read_text(encoding="utf-8")
    for line in re.findall(r"build_engine default(.*)", PAGE):
        for option in re.findall(r"--[\w-]+", line):
            assert f'"{option}"' in help_texts
    for option in ("--workspace", "--precision", "--cameras", "--library"):
        assert f"`{option}" in PAGE and f'"{option}"' in help_texts
